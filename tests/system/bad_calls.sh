#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Calls with arguments that they must refuse: alone, and in jobs.
set -u
build=${abs_top_builddir:-$PWD}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
# A public function that the table does not name is a failure: of the header, inline ones included.
header=${srcdir:-$(dirname "$0")/../..}/libdsm/include/dsm/dsm.h
table=${srcdir:-$(dirname "$0")/../..}/tests/system/bad_calls.c
# Not those that are the processor's own instructions, on a pointer.
functions=$(sed -nE '/^(DSM_API|static inline) /{/volatile/d; s/.*\b(dsm_[a-z0-9_]+)\(.*/\1/p}' "$header")
[ "$(wc -w <<<"$functions")" -ge 60 ] || { failures=1; echo "FAILED: the header shows too few functions"; }
for name in $functions; do
    grep -q "[^\"a-z_]$name(" "$table" || { failures=1; echo "FAILED: $name is not in the table of bad_calls.c"; }
done
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
