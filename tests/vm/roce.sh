#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The tests over Soft-RoCE, in virtual machines: call it in a build directory with the tests built.
# Prints what ran and a last line "roce: N passed, M failed"; a guest that does not start, or gives no
# count, is a failure.
set -u
here=$(cd "$(dirname "$0")" && pwd)
limit=${DSM_VM_LIMIT_S:-600}
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

[ -x dsmrun/dsmrun ] && [ -x tests/system/ranks ] || {
    echo "roce.sh: no build with tests in $PWD" >&2
    exit 2
}

# guest TITLE ACTION KERNEL COMMAND
guest() {
    local start=$SECONDS status counts
    echo "-- $1"
    "$here/vm.sh" "$2" --kernel "$3" --timeout "$limit" "$4" >"$log" 2>&1
    status=$?
    cat "$log"
    counts=$(sed -n 's/^suite: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log")
    if [ -z "$counts" ]; then
        counts="$(grep -c '^vm [01]: PASS: ' "$log") $(grep -c '^vm [01]: FAIL: ' "$log")"
    fi
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
    if [ "$status" -ne 0 ] && [ "${counts#* }" -eq 0 ]; then
        failed=$((failed + 1))
        echo "FAIL: $1: the guest's status is $status"
    fi
    echo "-- $1: $((SECONDS - start)) s"
}

suite=$(printf '%q' "$here/suite.sh")
guest "kernel 6.12" run 6.12 "$suite sigbus,uffd device conformance ranks choice kernels limits"
guest "kernel 6.1" run 6.1 "$suite segv choice ranks kernels"
token=$(od -An -tx1 -N16 /dev/urandom | tr -d ' \n')
guest "two machines, a rank in each" pair 6.12 "$(printf '%q' "$here/pair.sh") $token"
echo "roce: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
