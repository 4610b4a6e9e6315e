#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# bash completes every option that a program's --help lists, and nothing that it refuses.
set -u
src=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
build=${abs_top_builddir:-$PWD}
failures=0

fail() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

# words LINE...: what is offered behind these words, in COMPREPLY.
words() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    _dsm
}

offers() {
    local wanted=$1
    shift
    words "$@"
    printf '%s\n' ${COMPREPLY[@]+"${COMPREPLY[@]}"} | grep -qxe "$wanted" || fail "behind '$*' there is no $wanted: ${COMPREPLY[*]-}"
}

for program in dsmrun/dsmrun dsmd/dsmd bench/dsm-bench report/dsm-report dsmtop/dsmtop; do
    name=${program##*/}
    complete -r "$name" 2>/dev/null
    # shellcheck disable=SC1090
    . "$src/deploy/completions/$name" || fail "completions/$name cannot be read"
    complete -p "$name" 2>/dev/null | grep -q -- '-F _dsm ' || fail "$name has no completion"
    flags=$("$build/$program" --help | grep '^ *-' | grep -oE '(^|[ ,;])--[a-z][a-z-]*' | tr -d ' ,;' | sort -u)
    [ "$(wc -w <<<"$flags")" -ge 4 ] || fail "$name --help shows few options: $flags"
    words "$build/$program" --
    for flag in $flags; do
        printf '%s\n' "${COMPREPLY[@]}" | grep -qxe "$flag" || fail "$name $flag is not offered"
    done
    for flag in "${COMPREPLY[@]}"; do
        # Refused options are told with this word; those that lack a value with another.
        "$build/$program" "$flag" </dev/null 2>&1 | grep -q 'unknown option' && fail "$name refuses $flag"
    done
    echo "ok: $name: ${#COMPREPLY[@]} options"
done
offers sigbus "$build/dsmrun/dsmrun" --trap s
offers warn "$build/dsmrun/dsmrun" -n 2 --log ''
offers off "$build/dsmrun/dsmrun" --lease o
offers read_miss "$build/bench/dsm-bench" --only read_m
. "$src/deploy/completions/dsm-bench-shapes" || fail "completions/dsm-bench-shapes cannot be read"
complete -p dsm-bench-shapes | grep -q -- '-F _dsm ' || fail "dsm-bench-shapes has no completion"
offers --runs "$build/bench/dsm-bench-shapes" --
offers tmk_tsp "$build/bench/dsm-bench-shapes" --only tmk_t
offers "$src/README.md" "$build/report/dsm-report" "$src/READ"
exit $((failures != 0))
