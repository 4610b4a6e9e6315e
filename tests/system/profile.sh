#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Profiles: what is counted, also of a rank that was killed; what dsm-report makes of it, in text and
# in a browser's page; what it says to files that are no profiles.
# shellcheck source=tests/system/dsmd_support.sh
. "${srcdir:-.}/tests/system/dsmd_support.sh"
report=$build/report/dsm-report
job=$build/tests/system/profile_job
rounds=20
export TMPDIR=$work

# has PATTERN: a line of the report.
has() {
    check "the report says /$1/" grep -Eq "$1" "$work/report"
}

# of TITLE LINES PATTERN: within so many lines behind the one that names the unit.
of_unit() {
    check "$1: /$3/" sh -c "grep -F -A $2 -e '$1' '$work/report' | grep -Eq '$3'"
}

# waits OBJECT TIMES FUNCTION TIMES: so many waits, of which so many are in a line of the function.
waits() {
    of_unit ". $1: " 0 "$2 times, [0-9.]+ ms, the longest [0-9.]+ ms\$"
    of_unit ". $1: " 3 "profile_job.c:[0-9]+ \($3\): ($4) times, [0-9.]+ ms\$"
}

for trap in ${PROFILE_TRAPS:-sigbus segv}; do
    export DSM_TRAP=$trap
    expect 0 '' "$dsmrun" -n 3 --profile "$work/a.dsmprof" "$job" $rounds
    check "$trap: nothing is left in TMPDIR" sh -c "[ -z \"\$(find '$work' -name 'dsmprof-*')\" ]"
    "$report" "$work/a.dsmprof" -o "$work/a.html" >"$work/report" 2>"$work/err"
    check "$trap: dsm-report" sh -c "[ $? -eq 0 ]"
    # Rank 0 and rank 1 take the page from each other in every round, at different words but once.
    of_unit '<i>halves</i>&" + 0x0 (4 KiB)' 0 "$((2 * rounds)) faults, .* $((2 * rounds - 1)) bounces: false sharing"
    of_unit '<i>halves</i>&"' 1 "rank 0: 0 read, $rounds write, 0 upgrade, lost $rounds times; at \+0x0$"
    of_unit '<i>halves</i>&"' 2 "rank 1: 0 read, $rounds write, 0 upgrade, lost $((rounds - 1)) times; at \+0x0 \+0x4$"
    of_unit '<i>halves</i>&"' 4 "profile_job.c:[0-9]+ \(main\): 0 read, $rounds write"
    of_unit 'word + 0x0 (4 KiB)' 0 "$((2 * rounds)) faults, .* $((2 * rounds - 1)) bounces: true sharing"
    of_unit 'word + 0x0 (4 KiB)' 1 "rank 0: 0 read, 1 write, $((rounds - 1)) upgrade"
    of_unit 'word + 0x0 (4 KiB)' 2 "rank 1: $rounds read, 0 write, 0 upgrade"
    # A lock that the other rank had waits once a round on each; so does every call on an object.
    waits "lock word + 0x50" $((2 * rounds)) take_and_give $((2 * rounds))
    waits "reader-writer lock word + 0xf0" $rounds synchronise $rounds
    waits "semaphore word + 0xa0" $((2 * rounds)) synchronise $rounds
    waits "barriers of ranks" $((3 * (5 * rounds + 1))) main "$rounds|$((3 * rounds))"
    has ": 3 ranks, .* $((4 * rounds)) faults \($rounds read, $((2 * rounds + 1)) write, $((rounds - 1)) upgrade\)"
    has "^  pins +0 +$rounds +0  units pinned\$"
    check "no warning" sh -c "! grep -E 'good order|no room|cut off|nothing' '$work/report'"
done
unset DSM_TRAP

# Bytes received from rank 0: rank 1 fetches both pages in every round.
has "^ +1 +$((2 * rounds * 4)) +0 +0\$"

# Without dsmrun's gathering: one file a rank, read together.
expect 0 '' env DSM_PROFILE="$work/alone" "$dsmrun" -n 2 "$job" 3
"$report" "$work"/alone.? >"$work/report"
has ": 2 ranks, .* 12 faults"

# A rank that is killed leaves what it recorded until then; the others, which are ended, as well.
expect 137 'rank 1 .* died of signal 9' "$dsmrun" -n 2 --profile "$work/b.dsmprof" "$job" $rounds die
"$report" "$work/b.dsmprof" >"$work/report"
has ": 2 ranks, .* $((4 * rounds)) faults"
has '^rank 1 \(pid [0-9]+\) did not end in good order$'
of_unit '<i>halves</i>&"' 0 "$((2 * rounds)) faults"

# ---- the page ----
check 'the page loads nothing' sh -c "! grep -Eiq '<script|<link|src=|https?:' '$work/a.html'"
check 'names are escaped' grep -q '&lt;i&gt;halves&lt;/i&gt;&amp;&quot; + 0x0' "$work/a.html"
check 'names are nowhere raw' sh -c "! grep -q '<i>' '$work/a.html'"
browser=$(command -v chromium || command -v chromium-browser || true)
if [ -z "$browser" ]; then
    echo "SKIPPED: no chromium here: the page was not opened in a browser"
elif nm -D "$build/.libs/libdsm.so" 2>/dev/null | grep -q __asan_init; then
    echo "SKIPPED: the page is opened in a browser by the build without sanitizers"
else
    # What the browser made of it, as text: every number is looked for where a reader finds it.
    timeout -k 5 120 "$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync \
        --disable-dev-shm-usage --user-data-dir="$work/chromium" --dump-dom "file://$work/a.html" \
        >"$work/dom" 2>"$work/browser.err" </dev/null
    check 'the browser reads the page' sh -c "[ $? -eq 0 ]"
    python3 "${srcdir:-.}/tests/system/profile_page.py" "$work/dom" $rounds >"$work/out" 2>"$work/err"
    check "the browser's numbers" sh -c "[ $? -eq 0 ]"
fi

# ---- files that are none ----
bad() {
    local pattern=$1
    shift
    timeout 60 "$report" "$@" >"$work/out" 2>"$work/err" </dev/null
    local got=$?
    if [ $got -ne 2 ] || [ "$(wc -l <"$work/err")" -ne 1 ] || ! grep -Eqe "$pattern" "$work/err"; then
        fail "status $got, wanted 2 and one line with /$pattern/: $*"
    else
        pass
    fi
}
bad 'no profile given' -q
bad 'unknown option --frob' --frob x
bad '--top 0: allowed are 1 to 10000' --top 0 x
bad 'option -o needs a value' -o
bad '/nonexistent: No such file' /nonexistent
bad 'this is no dsm profile \(at byte 0\)' "$job"
: >"$work/empty"
bad 'the file is empty' "$work/empty"
bad 'no regular file' "$work"
head -c 64 "$work/a.dsmprof" >"$work/header"
bad 'no rank has written anything' "$work/header"
{ head -c 8 "$work/a.dsmprof"; printf '\7'; tail -c +10 "$work/a.dsmprof"; } >"$work/version"
bad 'a profile of another version of dsm: formats 2 and 3 are read \(at byte 8\)' "$work/version"
# A file of the version before has no counters behind the words; the rest of it is told as ever.
python3 - "$work/a.dsmprof" "$work/before" "$work/mixed" <<'EOF_PYTHON' || fail 'a file of version 2'
import struct, sys
bytes_ = bytearray(open(sys.argv[1], "rb").read())
struct.pack_into("<I", bytes_, 8, 2)
open(sys.argv[3], "wb").write(bytes_)
at = 64
while at < len(bytes_):
    tag, room = struct.unpack_from("<I4xQ", bytes_, at)
    if tag == 0x4556494C:
        (n_ranks,) = struct.unpack_from("<Q", bytes_, at + 64)
        struct.pack_into("<Q", bytes_, at + 16, 25 + n_ranks)
    at += room
open(sys.argv[2], "wb").write(bytes_)
EOF_PYTHON
"$report" "$work/before" >"$work/report" 2>"$work/err"
check 'a profile of the version before' sh -c "[ $? -eq 0 ]"
has ": 3 ranks, .* $((4 * rounds)) faults"
has '^  not in a file of this version$'
check 'no counters' sh -c "! grep -q '^  pins' '$work/report'"
bad "a rank's words are not as many as its job has ranks" "$work/mixed"
bad 'rank 0 is there twice' "$work/a.dsmprof" "$work/a.dsmprof"
bad 'ranks of jobs of 3 and of 2 ranks are mixed' "$work/a.dsmprof" "$work/alone.0"
head -c $(($(stat -c %s "$work/a.dsmprof") - 70)) "$work/a.dsmprof" >"$work/cut"
"$report" "$work/cut" >"$work/report" 2>"$work/err"
check 'a file that is cut off' sh -c "[ $? -eq 0 ]"
has 'the file is cut off'
expect 2 '--profile /no/such/x: cannot be written: No such file' "$dsmrun" -n 2 --profile /no/such/x true
expect 127 'cannot make /no/such/dsmprof-' env TMPDIR=/no/such "$dsmrun" -n 2 --profile "$work/x" true
check 'help' sh -c "'$report' --help | grep -q '^Usage: dsm-report'"
check 'version' sh -c "'$report' --version | grep -q '^dsm-report [0-9]'"
end_test
