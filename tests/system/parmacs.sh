#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A program that uses every PARMACS macro runs on one and on several ranks over every trap backend;
# programs end as they should; what cannot work is refused with one line.
set -u
src=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
build=${abs_top_builddir:-$PWD}
dsmrun=$build/dsmrun/dsmrun
dsmcc=$build/dsmcc/dsmcc
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
for name in $(compgen -e | grep '^DSM' || true); do
    unset "$name"
done
unset CC CFLAGS

# shellcheck source=tests/system/parmacs-needs.sh
. "$src/tests/system/parmacs-needs.sh"

# expect STATUS OUT ERR COMMAND...: the exit status; a line of the output that matches; the one line
# on stderr matches, or there is none (empty).
expect() {
    local status=$1 out=$2 err=$3 got lines
    shift 3
    timeout -k 5 120 "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    lines=$(wc -l <"$work/err")
    if [ "$got" -ne "$status" ] || { [ -n "$out" ] && ! grep -Eq "$out" "$work/out"; } ||
        [ "$lines" -ne "$([ -n "$err" ] && echo 1 || echo 0)" ] ||
        { [ -n "$err" ] && ! grep -Eq "$err" "$work/err"; }; then
        failed=$((failed + 1))
        echo "FAILED (status $got, wanted $status, /$out/ and /$err/): DSM_TRAP=${DSM_TRAP-} $*"
        sed 's/^/  | /' "$work/out" "$work/err" | tail -n 20
    else
        passed=$((passed + 1))
    fi
}

cd "$work" || exit 1
for file in team.h team.c things.c rest.c; do
    m4 "$src/share/dsm/parmacs.m4" "$src/tests/system/parmacs/$file.in" >"$file" || exit 1
done
for macro in $(sed -n 's/^define(\([A-Z0-9_]*\),.*/\1/p' "$src/share/dsm/parmacs.m4"); do
    grep -qw "$macro" "$src"/tests/system/parmacs/*.in ||
        { failed=$((failed + 1)); echo "FAILED: no program here uses $macro"; }
done
build_team() {
    local name=$1
    shift
    "$dsmcc" -Wall -Wextra -O1 "$@" team.c things.c -o "$name" || { echo "FAILED: dsmcc $*"; exit 1; }
}
build_team team
build_team fixed -no-pie
build_team owning --private-globals
build_team mallocs --shared-malloc
"$dsmcc" -Wall -Wextra -O1 rest.c -o rest || { echo "FAILED: dsmcc rest.c"; exit 1; }
# A language that is named is that of the sources, not of what is linked.
"$dsmcc" -O1 -x c rest.c -o named || { failed=$((failed + 1)); echo "FAILED: dsmcc -x c"; }
team=$work/team

for t in ${PARMACS_TRAPS:-sigbus uffd segv}; do
    export DSM_TRAP=$t
    for job in "1 1" "1 3" "2 2" "3 5"; do
        read -r ranks workers <<<"$job"
        expect 0 '^right$' '' "$dsmrun" -n "$ranks" "$team" "$workers"
        lines=$(grep -c '^a line of worker [0-9]*, long .* care$' out)
        [ "$lines" -eq "$workers" ] || { failed=$((failed + 1)); echo "FAILED: $lines lines, torn"; }
    done
    expect 0 '^at exit: 64 4711$' '' "$dsmrun" -n 2 "$team" 3 rounds
    expect 0 '^at exit: 18 4711$' '' "$dsmrun" -n 2 "$team" 2 fork
    expect 0 '^right$' '' "$dsmrun" -n 2 "$team" 3 calls
    expect 0 '^right$' '' "$dsmrun" -n 2 "$team" 3 exec
    expect 0 '^right$' '' "$dsmrun" -n 3 "$team" 4 exit-in-worker
    expect 0 '^right$' '' "$dsmrun" -n 3 "$work/owning" 3 private
    expect 0 '^right$' '' "$dsmrun" -n 3 "$work/owning" 3 private-beside
    expect 0 '^right$' '' "$dsmrun" -n 2 "$work/mallocs" 4 malloc
    expect 0 '^right$' '' "$dsmrun" -n 2 "$work/rest" 3
done
unset DSM_TRAP
expect 0 '^right$' '' "$team" 3
expect 0 '^right$' '' "$dsmrun" -n 2 "$work/fixed" 3
expect 0 '^right$' '' "$dsmrun" -n 3 "$team" 3 no-wait
expect 0 '^right$' '' "$dsmrun" -n 2 "$team" 2 clock
expect 0 '^usage$' '' "$dsmrun" -n 3 "$team" 2 help

expect 0 '^right$' '' env DSM_GLOBALS=private "$dsmrun" -n 2 "$team" 2 private
expect 0 '^right$' '' "$dsmrun" -n 2 "$work/mallocs" 3

expect 1 '' 'with private globals each rank has room for one worker: 2 ranks' \
    "$dsmrun" -n 2 "$work/owning" 3 private
expect 1 '' 'a worker on rank [12] called exit\(5\)' "$dsmrun" -n 3 "$team" 3 worker-fails
expect 7 '' 'main\(\) ended with status 7 while 1 workers ran' "$dsmrun" -n 2 "$team" 2 main-fails
expect 1 '' 'CREATE was used by a worker' "$dsmrun" -n 2 "$team" 2 create-in-worker
expect 1 '' 'CREATE: there is no function to run' "$dsmrun" -n 2 "$team" 2 create-nothing
expect 1 '' 'UNLOCK: this worker does not hold the lock 0x' "$dsmrun" -n 2 "$team" 2 unlock
expect 1 '' 'LOCK: this worker holds the lock 0x[0-9a-f]* already' "$dsmrun" -n 2 "$team" 2 lock-twice
expect 1 '' 'LOCK: 0x[0-9a-f]* is not shared' "$dsmrun" -n 2 "$team" 2 local-lock
for macro in BARRIER LOCK CREATE WAIT_FOR_END WAITPAUSE CONDVARBCAST GETSUB GET_PID MAIN_END; do
    expect 1 '' "$macro was used before MAIN_INITENV" "$dsmrun" -n 2 "$team" 2 "early-${macro,,}"
done
for limit in 0 65537 few; do
    expect 1 '' "DSM_WORKERS_MAX=$limit: allowed is a number from 1 to 65536" \
        env DSM_WORKERS_MAX=$limit "$dsmrun" -n 2 "$team" 2
done
expect 1 '' 'DSM_ON_LOSS=continue: .* allowed is abort' env DSM_ON_LOSS=continue "$dsmrun" -n 2 "$team" 2
expect 1 '' '2 workers run already, and no more are allowed \(DSM_WORKERS_MAX\)' \
    env DSM_WORKERS_MAX=2 "$dsmrun" -n 2 "$team" 4
expect 1 '' 'DSM_GLOBALS=both: allowed is shared or private' env DSM_GLOBALS=both "$dsmrun" -n 2 "$team" 2
expect 1 '' 'loaded at 0x.* randomisation is on \(dsmrun switches it off, unless --randomize' \
    "$dsmrun" --randomize -n 2 "$team" 2

# A system that does not let randomisation be switched off, as container run-times do.
cc -O1 -Wall -Wextra "$src/tests/system/parmacs/refuse.c" -o refuse || exit 1
if ./refuse true; then
    expect 1 '' 'randomisation is on and cannot be switched off here \(personality: Operation not permitted\)' \
        ./refuse "$dsmrun" -n 2 "$team" 2
    expect 0 '^right$' '' ./refuse "$dsmrun" -n 2 "$work/fixed" 3
else
    echo "not tried: a job whose randomisation cannot be switched off (no seccomp filters here)"
fi

# Where the time went: the parts of each rank's statistics belong together.
for t in ${PARMACS_TRAPS:-sigbus uffd segv}; do
    expect 0 '^right$' '' env DSM_TRAP=$t DSM_STATS=json:stats "$dsmrun" -n 2 "$team" 3
    for rank in 0 1; do
        value() { # NAME: of the counter, or of the sum of a histogram
            sed -En "s/.*\"$1\":(\{\"count\":[0-9]+,\"total_ns\":)?([0-9]+).*/\2/p" stats.$rank
        }
        if [ "$(value fault_latency)" -gt 0 ] &&
            [ "$(value fault_latency)" -eq $(($(value time_fault_read_ns) + $(value time_fault_write_ns))) ] &&
            [ "$(value time_compute_ns)" -gt 0 ] &&
            [ "$(value time_threads_ns)" -eq $(($(value time_compute_ns) + $(value time_fault_read_ns) + \
                $(value time_fault_write_ns) + $(value time_lock_ns) + $(value time_barrier_ns) + \
                $(value time_sync_ns) + $(value time_work_ns))) ]; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "FAILED: the times of rank $rank with DSM_TRAP=$t:"
            grep -oE '"(time_[a-z_]*|fault_latency)":[^,]*(,"total_ns":[0-9]*)?' stats.$rank
        fi
    done
done
# The thread that takes work for the others is not counted while they work: one worker on each rank
# has no more time than there was.
began=$(date +%s%N)
expect 0 '^right$' '' env DSM_STATS=json:stats "$dsmrun" -n 2 "$work/rest" 2 idle
took=$(($(date +%s%N) - began))
for rank in 0 1; do
    if [ "$(value time_threads_ns)" -gt 1000000000 ] && [ "$(value time_threads_ns)" -le "$took" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: rank $rank has $(value time_threads_ns) ns of $took"
    fi
done
timeout 60 env DSM_STATS=text "$dsmrun" -n 2 "$team" 3 >out 2>err </dev/null
[ "$(grep -cE '^  time +[0-9.]+ s of threads: computing [0-9.]+ %, read faults [0-9.]+ %, write faults' err)" -eq 2 ] ||
    { failed=$((failed + 1)); echo "FAILED: two lines of times"; grep time err; }

# Programs that were built otherwise.
file_link=$("$dsmcc" --showme-link)
compile=$("$dsmcc" --showme-compile)
cc -O1 ${compile/-fPIC/-fno-pie} team.c things.c -no-pie $file_link -o copies
expect 1 '' 'keeps (stdout|stderr) of another library .*R_X86_64_COPY' "$dsmrun" -n 2 ./copies 2
cc -O1 $compile team.c things.c ${file_link/-z,now/-z,lazy} -o lazy
expect 1 '' 'binds lazily' "$dsmrun" -n 2 ./lazy 2
cc -O1 $compile team.c things.c ${file_link/--build-id=sha1/--build-id=none} -o nameless
expect 1 '' 'has no build id' "$dsmrun" -n 2 ./nameless 2
cc -O1 $compile team.c things.c ${file_link#*--wrap=main} -o plain
expect 1 '' 'was not linked as one with workers: build it with dsmcc' ./plain 2
expect 1 '' 'was not linked as one with workers: build it with dsmcc' "$dsmrun" -n 3 ./plain 2
build_team counted --coverage
expect 1 '' 'built with --coverage, whose own data would be among them' "$dsmrun" -n 2 ./counted 2
if command -v clang >/dev/null; then
    CC=clang build_team counted --coverage
    expect 1 '' 'built with --coverage, whose own data would be among them' "$dsmrun" -n 2 ./counted 2
else
    echo "not tried: a program of clang's with --coverage (no clang here)"
fi
build_team poisoned -fsanitize=address
expect 1 '' 'built with -fsanitize=address, whose own data would be among them' \
    env ASAN_OPTIONS=detect_leaks=0 "$dsmrun" -n 2 ./poisoned 2
expect 0 '^right$' '' env ASAN_OPTIONS=detect_leaks=0 DSM_GLOBALS=private "$dsmrun" -n 2 ./poisoned 2 private
libraries=$(sed -n "s/^dependency_libs='\(.*\)'/\1/p" "$build/libdsm.la")
cc -O1 $compile team.c things.c ${file_link/-ldsm/"$build/.libs/libdsm.a" $libraries} -o static
expect 1 '' 'libdsm is linked statically, and its own state would be among them' \
    "$dsmrun" -n 2 ./static 2
echo 'void *malloc(unsigned long n); void *malloc(unsigned long n) { static char m[1 << 22]; static unsigned long at; n = (n + 15) / 16 * 16; return (at += n) < sizeof m ? m + at - n : 0; } void free(void *p); void free(void *p) { (void)p; }' >own.c
"$dsmcc" -O1 -fno-builtin own.c team.c things.c -o allocates
expect 1 '' 'brings a malloc of its own, whose state would be among them' "$dsmrun" -n 2 ./allocates 2
build_team other -DOTHER=1 -g3
printf '#!/bin/sh\nif [ "$DSM_RANK" = 1 ]; then exec %s "$@"; fi\nexec %s "$@"\n' \
    "$work/other" "$work/team" >mixed
chmod +x mixed
expect 1 '' 'the executable here has build id [0-9a-f]{40}, that of rank 0 [0-9a-f]{40}' \
    "$dsmrun" -n 2 ./mixed 2
# Another C library on one rank: a copy whose build id begins otherwise.
libc=$(ldd "$team" | sed -n 's/.*libc\.so\.6 => \([^ ]*\) .*/\1/p')
at=$(readelf -SW "$libc" | sed -n 's/.* \.note\.gnu\.build-id *NOTE *[0-9a-f]* *\([0-9a-f]*\) .*/\1/p')
id=$(readelf -n "$libc" | sed -n 's/ *Build ID: *\([0-9a-f]*\)$/\1/p')
mkdir -p otherwise && cp "$libc" otherwise/libc.so.6 && chmod u+w otherwise/libc.so.6
printf dsmx | dd of=otherwise/libc.so.6 bs=1 seek=$((0x${at:-0} + 16)) conv=notrunc 2>dd.err ||
    cat dd.err
printf '#!/bin/sh\nif [ "$DSM_RANK" = 1 ]; then exec env LD_LIBRARY_PATH=%s %s "$@"; fi\nexec %s "$@"\n' \
    "$work/otherwise" "$team" "$team" >libraries
chmod +x libraries
expect 1 '' "the C library here has build id 64736d78${id:8}, that of rank 0 $id: all ranks must use the same" \
    "$dsmrun" -n 2 ./libraries 2
expect 0 '^right$' '' env LD_LIBRARY_PATH="$work/otherwise" "$dsmrun" -n 2 "$team" 2

expect 2 '' 'DSMCC_CC=dsmcc: it takes the compiler' env DSMCC_CC=dsmcc "$dsmcc" -c team.c

left=$(pgrep -f "^$work/" | wc -l)
[ "$left" -eq 0 ] || { failed=$((failed + 1)); echo "FAILED: $left processes are left behind"; }
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
