#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Counts what a `make check` really ran: reads automake's .trs results and Check's own totals in the
# .log beside each. Prints "passed failed skipped". A test program without Check's totals counts as
# one; a program that failed counts at least one failure, whatever its log says.
set -eu

if [ $# -ne 1 ] || [ ! -d "$1" ]; then
    echo "usage: count-tests.sh BUILD-DIRECTORY" >&2
    exit 2
fi

passed=0 failed=0 skipped=0
while IFS= read -r trs; do
    result=$(sed -n 's/^:global-test-result: *\([A-Z]*\).*/\1/p' "$trs")
    log=${trs%.trs}.log
    checks=0 bad=0 has_totals=no
    if [ -f "$log" ]; then
        read -r has_totals checks bad <<<"$(awk '
            /^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+/ {
                line = $0; gsub(/[^0-9 ]/, "", line); split(line, n, " ")
                checks += n[2]; bad += n[3] + n[4]; has = 1
            }
            END { print has ? "yes" : "no", checks + 0, bad + 0 }' "$log")"
    fi
    case $result in
    PASS)
        [ "$has_totals" = yes ] || checks=1
        ;;
    SKIP)
        skipped=$((skipped + 1))
        continue
        ;;
    *) # FAIL, ERROR, XPASS, XFAIL, or a result file cut short
        if [ "$bad" -eq 0 ]; then
            bad=1
            checks=$((checks + 1))
        fi
        ;;
    esac
    passed=$((passed + checks - bad))
    failed=$((failed + bad))
done < <(find "$1" -name '*.trs' | sort)
echo "$passed $failed $skipped"
