#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# dsm-bench-shapes: every program is right in every way it was built, its table has a row for each
# number of ranks with what was counted, and what it cannot do it says in one line.
set -u
src=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
build=${abs_top_builddir:-$PWD}
shapes=$build/bench/dsm-bench-shapes
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
for name in $(compgen -e | grep '^DSM' || true); do
    unset "$name"
done
unset CC
export CFLAGS=-O1
mkdir "$work/tmp"
export TMPDIR=$work/tmp

# shellcheck source=tests/system/parmacs-needs.sh
. "$src/tests/system/parmacs-needs.sh"

is() { # TEXT COMMAND...
    local text=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $text"
        sed 's/^/  | /' "$work/out" "$work/err" | tail -n 40
    fi
}

# gives STATUS ERR COMMAND...: one line on stderr that matches ERR, or none (empty).
gives() {
    local status=$1 err=$2 got lines
    shift 2
    timeout -k 5 300 "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    lines=$(wc -l <"$work/err")
    is "status $got, wanted $status, /$err/: $*" test "$got" -eq "$status"
    if [ -n "$err" ]; then
        is "one line, /$err/: $*" test "$lines" -eq 1
        is "/$err/: $*" grep -Eq "$err" "$work/err"
    else
        is "no line on stderr: $*" test "$lines" -eq 0
    fi
    is "no file stays: $*" test -z "$(ls "$TMPDIR")"
}

# What any run must have counted, however the ranks ran.
row_is_whole() { # PROGRAM RANKS THREADS
    awk -v program="$1" -v ranks="$2" -v threads="$3" '
        function is_number(text) { return text ~ /^[0-9]+[.][0-9]+$/ }
        $1 == program && $2 == ranks {
            n++
            whole = is_number($3) && is_number($4) && is_number($5) &&
                (threads ? is_number($6) && is_number($7) : $6 == "-" && $7 == "-") &&
                (ranks == 1 ? $8 == 0 : $8 > 0) && $9 > 0 && $10 >= 0 && $10 <= $9 && $11 > 0 &&
                NF == 16
        }
        END { exit !(n == 1 && whole) }' "$work/out"
}

gives 0 '' "$shapes" --list
programs=$(cat "$work/out")
is "seven programs" test "$(wc -w <<<"$programs")" -eq 7
gives 0 '' "$shapes" --quick
n_rows=0
for program in $programs; do
    threads=1
    [[ $program = jia_* || $program = tmk_* ]] && threads=0
    for ranks in 1 2 4; do
        is "a whole row of $program with $ranks ranks" row_is_whole "$program" "$ranks" "$threads"
        n_rows=$((n_rows + 1))
    done
done
is "$n_rows rows and three lines above" test "$(wc -l <"$work/out")" -eq $((n_rows + 3))

gives 0 '' "$shapes" --quick --only tasks --ranks 3 --runs 2
is "a row of tasks with 3 ranks" row_is_whole tasks 3 1
is "one row" test "$(wc -l <"$work/out")" -eq 4

gives 2 "^dsm-bench-shapes: --only 'sort': allowed are lu,.*,tasks" "$shapes" --only lu,sort
gives 2 "^dsm-bench-shapes: --ranks '0': allowed are numbers from 1 to 1024" "$shapes" --ranks 2,0
gives 2 "^dsm-bench-shapes: --runs 'few': allowed is a number from 1 to 1000" "$shapes" --runs few
gives 2 '^dsm-bench-shapes: --only: a value is missing' "$shapes" --only
gives 2 "^dsm-bench-shapes: unknown option '--fast'" "$shapes" --fast
gives 1 'the compiler no-such-cc is not there' env DSMCC_CC=no-such-cc "$shapes" --quick
gives 1 'there is no /no/dsmrun$' env DSMRUN=/no/dsmrun "$shapes" --quick

# A program that is wrong, and one of which nothing was counted.
printf '#!/bin/sh\necho wrong answer\nexit 1\n' >"$work/wrong"
printf '#!/bin/sh\necho right 1.0\n' >"$work/uncounted"
chmod +x "$work/wrong" "$work/uncounted"
DSMRUN=$work/wrong timeout -k 5 300 "$shapes" --quick --only lu >"$work/out" 2>"$work/err" </dev/null
is "a wrong answer ends it with status 1" test $? -eq 1
is "it says what the program said" grep -q '^wrong answer$' "$work/err"
is "it says which" grep -q '^dsm-bench-shapes: lu, 1 ranks: status 1$' "$work/err"
gives 1 '^dsm-bench-shapes: lu, 1 ranks: no statistics were written$' \
    env DSMRUN="$work/uncounted" "$shapes" --quick --only lu

left=$(pgrep -f "^$work/" | wc -l)
is "$left processes are left behind" test "$left" -eq 0
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
