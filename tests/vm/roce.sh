#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The tests over Soft-RoCE, in virtual machines: call it in a build directory with the tests built.
# Prints what ran and a last line "roce: N passed, M failed"; a guest that does not start, or gives no
# count, is a failure.
# Several guests, each short: the seconds that each took are printed. One that reaches its limit hangs,
# on a slow machine too, and those after it are not started, so that a hang costs its time once.
set -u
here=$(cd "$(dirname "$0")" && pwd)
limit=${DSM_VM_LIMIT_S:-600}
passed=0 failed=0 hung=''
lines=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

[ -x dsmrun/dsmrun ] && [ -x tests/system/ranks ] || {
    echo "roce.sh: no build with tests in $PWD" >&2
    exit 2
}

# report TITLE SECONDS PASSED FAILED
report() {
    passed=$((passed + $3))
    failed=$((failed + $4))
    lines+=("$(printf '%-42s %4d s %4d passed %3d failed' "$@")")
}

# guest TITLE ACTION KERNEL COMMAND
guest() {
    local start=$SECONDS status counts good bad
    if [ -n "$hung" ]; then
        echo "FAIL: $1: not started, because '$hung' hung"
        report "$1" 0 0 1
        return
    fi
    echo "-- $1"
    "$here/vm.sh" "$2" --kernel "$3" --timeout "$limit" "$4" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    counts=$(sed -n 's/^suite: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log")
    [ -n "$counts" ] || counts="$(grep -Ec '^(vm [01]: )?PASS: ' "$log") $(grep -Ec '^(vm [01]: )?FAIL: ' "$log")"
    read -r good bad <<<"$counts"
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
        echo "FAIL: $1: the guest's status is $status"
    elif [ "$status" -eq 0 ] && [ "$good" -eq 0 ]; then
        bad=$((bad + 1))
        echo "FAIL: $1: no test ran"
    fi
    [ "$status" -ne 124 ] || hung=$1
    report "$1" $((SECONDS - start)) "$good" "$bad"
}

suite=$(printf '%q' "$here/suite.sh")
token=$(od -An -tx1 -N16 /dev/urandom | tr -d ' \n')
guest "6.12: device, choice, bad input, limits" run 6.12 "$suite sigbus device choice refusals limits"
guest "6.12: conformance, kernels" run 6.12 "$suite sigbus,uffd conformance kernels"
guest "6.12: coherence, sigbus" run 6.12 "$suite sigbus ranks"
guest "6.12: coherence, uffd" run 6.12 "$suite uffd ranks"
guest "6.1: coherence, kernels, segv" run 6.1 "$suite segv choice ranks kernels"
guest "6.12: two machines, a rank in each" pair 6.12 "$(printf '%q' "$here/pair.sh") $token"
printf '%s\n' "${lines[@]}"
echo "roce: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
