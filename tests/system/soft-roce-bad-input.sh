#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What soft-roce.sh is told wrongly is one line. Nothing here makes a device.
set -u
script=$(cd "$(dirname "$0")/../.." && pwd)/deploy/soft-roce.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# expect STATUS LINE ARGUMENT...
expect() {
    local status=$1 line=$2 got
    shift 2
    bash "$script" "$@" >"$work/out" 2>"$work/err"
    got=$?
    if [ "$got" -ne "$status" ] || ! grep -Eq -- "$line" "$work/err" || [ "$(wc -l <"$work/err")" -ne 1 ]; then
        failed=$((failed + 1))
        echo "FAILED (status $got, wanted $status and /$line/): soft-roce.sh $*"
        sed 's/^/  | /' "$work/out" "$work/err"
    fi
}

expect 2 'no action; allowed are up, down and status'
expect 2 "unknown action 'sideways'; allowed are up, down and status" sideways
expect 2 "'more' is one argument too many" status lo more
expect 1 "no interface 'none0'; there are: " up none0
expect 1 "no interface 'none0'; there are: " down none0
expect 1 'not on lo' up lo
[ "$failed" -eq 0 ] && echo "every bad input was told"
exit $((failed > 0))
