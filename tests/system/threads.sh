#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Many threads, threads that come and go, children and coroutines, over every trap backend.
# THREADS_TRAPS overrides which.
set -u
build=${abs_top_builddir:-$PWD}
# TSan knows some ranges of addresses alone; and it does not see that a fault goes from thread to
# thread with the uffd trap.
if nm -D "$build/.libs/libdsm.so" 2>/dev/null | grep -q __tsan_init; then
    export DSM_BASE=0x2000000000 DSM_REGION_SIZE=1G TRAPS="segv sigbus"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
for trap in ${THREADS_TRAPS:-${TRAPS:-sigbus uffd segv}}; do
    for scenario in crowd busy late; do
        DSM_TRAP=$trap timeout -k 5 200 "$build/dsmrun/dsmrun" -n 2 "$build/tests/system/threads" \
            $scenario >"$work/out" 2>&1
        status=$?
        if [ "$status" -ne 0 ]; then
            failures=$((failures + 1))
            echo "FAILED (status $status): $trap $scenario"
            tail -n 20 "$work/out"
        else
            echo "ok: $trap $scenario"
            grep SKIP "$work/out"
        fi
    done
done
[ "$failures" -eq 0 ]
