#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Calls with arguments that they must refuse: alone, and in jobs.
set -u
build=${abs_top_builddir:-$PWD}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
for run in "" "$build/dsmrun/dsmrun -n 1" "$build/dsmrun/dsmrun -n 3"; do
    # shellcheck disable=SC2086
    timeout -k 5 120 $run "$build/tests/system/bad_calls" >"$work/out" 2>"$work/err"
    status=$?
    if [ "$status" -ne 0 ] || ! grep -q 'all were refused' "$work/out"; then
        failures=$((failures + 1))
        echo "FAILED (status $status): ${run:-alone}"
        grep -E 'FAILED|calls were wrong' "$work/out" "$work/err" | head -n 30
        tail -n 5 "$work/err"
    else
        echo "ok: ${run:-alone}"
    fi
done
[ "$failures" -eq 0 ]
