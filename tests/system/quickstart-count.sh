#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The totals that end the test suite are those of the results, good and bad.
set -eu
deploy=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)/deploy
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# result NAME RESULT [LOG-TEXT]
result() {
    mkdir -p "$(dirname "$dir/$1")"
    printf ':test-result: %s\n:global-test-result: %s\n:recheck: no\n' "$2" "$2" >"$dir/$1.trs"
    printf '%s' "${3-}" >"$dir/$1.log"
}

expect() {
    local got
    got=$("$deploy/count-tests.sh" "$dir")
    if [ "$got" != "$1" ]; then
        echo "FAIL: $2: counted '$got', expected '$1'"
        exit 1
    fi
    echo "ok: $2: $got"
}

expect "0 0 0" "nothing ran"
result plain PASS
expect "1 0 0" "a script that passes counts one"
result a/check PASS $'Running suite(s): a\n100%: Checks: 12, Failures: 0, Errors: 0\n'
expect "13 0 0" "Check's own totals count"
result b/check FAIL $'75%: Checks: 8, Failures: 1, Errors: 1\nb.c:3:F: ...\n'
expect "19 2 0" "failed checks count beside passed ones"
result killed FAIL $'100%: Checks: 5, Failures: 0, Errors: 0\n'
expect "24 3 0" "a program that failed after clean totals counts one failure"
result hung ERROR
expect "24 4 0" "an error without totals counts one failure"
result two/suites PASS $'100%: Checks: 2, Failures: 0, Errors: 0\n100%: Checks: 3, Failures: 0, Errors: 0\n'
expect "29 4 0" "several totals in one log add up"
result other SKIP
expect "29 4 1" "skipped ones are neither"
printf '' >"$dir/empty.trs"
expect "29 5 1" "a result cut short is a failure"
result liar PASS $'50%: Checks: 2, Failures: 1, Errors: 0\n'
expect "30 6 1" "a failure counts even where the program claims success"
