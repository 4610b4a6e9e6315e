#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Synchronisation between real processes: every kind, fairness, waits that are given up, errors, the
# death of a rank. SYNC_TRAPS overrides over which trap backends.
set -u
build=${abs_top_builddir:-$PWD}
# TSan knows some ranges of addresses alone; and it does not see that a fault goes from thread to
# thread with the uffd trap.
if nm -D "$build/.libs/libdsm.so" 2>/dev/null | grep -q __tsan_init; then
    export DSM_BASE=0x2000000000 DSM_REGION_SIZE=1G TRAPS="segv sigbus"
fi
dsmrun=$build/dsmrun/dsmrun
sync=$build/tests/system/sync
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# expect STATUS PATTERN COMMAND...: the exit status, and every line on stderr matches (empty: none).
expect() {
    local status=$1 pattern=$2
    shift 2
    timeout -k 5 120 "$@" >"$work/out" 2>"$work/err"
    local got=$?
    if [ "$got" -ne "$status" ] || grep -Evq "${pattern:-^\$}" "$work/err"; then
        failed=$((failed + 1))
        echo "FAILED (status $got, wanted $status): DSM_TRAP=${DSM_TRAP-} $*"
        sed 's/^/  | /' "$work/out" "$work/err" | tail -n 20
    else
        passed=$((passed + 1))
        cat "$work/out"
    fi
}

for t in ${SYNC_TRAPS:-${TRAPS:-sigbus uffd segv}}; do
    export DSM_TRAP=$t
    expect 0 '' "$dsmrun" -n 3 "$sync" objects
done
unset DSM_TRAP
expect 0 '' "$sync" objects
expect 0 '' "$dsmrun" -n 4 "$sync" fair
for n in 2 3; do
    expect 0 '' "$dsmrun" -n $n "$sync" kept
done
for n in 1 2 3; do
    expect 0 '' "$dsmrun" -n $n "$sync" timed
    expect 0 '' "$dsmrun" -n $n "$sync" destroyed
    # Its bytes lie where TSan has none.
    [ -n "${TRAPS-}" ] || expect 0 'cannot be distributed' "$dsmrun" -n $n "$sync" distribute
    expect 0 'a thread ended while it held|was freed while a lock is named by it' "$dsmrun" -n $n "$sync" errors
done
for scenario in survive survive-home; do # the manager of all objects dies, or somebody else
    expect 137 'going on without it|died of signal 9|waits in a collective' \
        env DSM_ON_LOSS=continue "$dsmrun" -n 3 "$sync" $scenario
done
left=$(pgrep -f "^[^ ]*/(lt-)?sync (objects|fair|kept|timed|destroyed|errors|survive|distribute)" | wc -l)
[ "$left" -eq 0 ] || { failed=$((failed + 1)); echo "FAILED: $left processes are left behind"; }
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
