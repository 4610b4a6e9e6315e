#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A page that ranks take from each other faster than they use it is named in the log: by each rank that
# finds so, once, with the numbers and the remedy. The job goes on until one of them has said it.
# shellcheck source=tests/system/dsmd_support.sh
. "${srcdir:-.}/tests/system/dsmd_support.sh"
mkfifo "$work/go"
timeout -k 5 300 "$dsmrun" -n 2 "$build/tests/system/bounce" <"$work/go" >"$work/out" 2>"$work/err" &
pid=$!
exec 7>"$work/go"
line='^dsm\[[01]\]: the unit at 0x[0-9a-f]+ \(fought over \+ 0x1000\) is taken away faster than it is used: [0-9]+ times in [0-9]+ ms, in which it was waited for [0-9]+ ms and here for [0-9]+ ms; keep what different ranks write in units of their own, .*\(dsmrun --profile shows who does\)$'
is_told() {
    grep -Eq "$line" "$work/err"
}
check 'the page is named' wait_for 120 is_told
exec 7>&-
wait "$pid"
check 'the job ends well' sh -c "[ $? -eq 0 ] && [ \$(grep -c '^rank [01] wrote ' '$work/out') -eq 2 ]"

others() {
    grep -Evc "$line" "$work/err"
}
check 'nothing else is said' sh -c "[ $(others) -eq 0 ]"
cut -d: -f1 "$work/err" | sort | uniq -d >"$work/twice"
check 'no rank says it twice' sh -c "[ ! -s '$work/twice' ]"
# The numbers bear it out; times are in whole milliseconds.
numbers() {
    sed -E 's/.* used: ([0-9]+) times .* waited for ([0-9]+) ms and here for ([0-9]+) ms;.*/\1 \2 \3/' "$work/err" |
        awk '$1 < 20000 || $2 < $3 { wrong = 1 } END { exit wrong || NR == 0 }'
}
check 'with numbers that say so' numbers
end_test
