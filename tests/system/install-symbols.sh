#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The library shows dsm_* and the functions it stands in front of, as dsm(7) lists them, and nothing
# else: whatever else it showed could clash with a program's own names. Likewise the libraries of
# JIAJIA's and TreadMarks' calls, each with its names.
set -eu
src=${srcdir:-$(dirname "$0")/../..}
manual=$src/libdsm/dsm.7
header=$src/libdsm/include/dsm/dsm.h
failures=0

complain() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

# The lists of functions in the manual: lines in bold between .nf and .fi.
documented=$(sed -n '/^\.nf$/,/^\.fi$/ s/^\.B //p' "$manual" | tr -s ' ' '\n' | sort)
[ -n "$documented" ] || complain "dsm(7) lists no functions"
twice=$(uniq -d <<<"$documented")
[ -z "$twice" ] || complain "dsm(7) lists twice:" $twice

# check FILE NM-FLAGS
check() {
    local file=$1 count=0 name
    shift
    [ -f "$file" ] || { complain "$file was not built"; return; }
    while read -r name; do
        count=$((count + 1))
        case $name in
        dsm_* | DW.ref.*) ;; # the latter: of the compiler, for unwinding, one in each program
        *) grep -qx "$name" <<<"$documented" || complain "$file shows $name, which dsm(7) does not list" ;;
        esac
    done < <(nm "$@" "$file" 2>/dev/null | awk 'NF == 3 && $2 ~ /[A-TV-Z]/ { print $3 }' | sort -u)
    # And the other way round.
    while read -r name; do
        # In a static program nothing may stand before the C library's own exit, which writes its buffers.
        [ "$name $file" != "exit .libs/libdsm.a" ] || continue
        nm "$@" "$file" 2>/dev/null | grep -q " [TW] $name\$" || complain "dsm(7) lists $name, which $file does not show"
    done <<<"$documented"
    [ "$count" -gt 20 ] || complain "$file shows only $count names"
    echo "$file: $count names"
}

# The sanitizers' run-time brings names of its own.
if nm -D .libs/libdsm.so 2>/dev/null | grep -qE '__(asan|tsan)_init'; then
    echo "built with a sanitizer, which adds names: the plain build checks this"
    exit 77
fi

if [ -f .libs/libdsm.so ]; then
    check .libs/libdsm.so -D --defined-only
    # Every function of the header is there.
    while read -r name; do
        nm -D --defined-only .libs/libdsm.so | grep -q " T $name\$" || complain "$name is missing"
    done < <(sed -n 's/^DSM_API .*[ *]\(dsm_[a-z0-9_]*\)(.*/\1/p' "$header")
fi
[ ! -f .libs/libdsm.a ] || check .libs/libdsm.a --defined-only --extern-only
# compat LIBRARY HEADER PATTERN: it shows what the header declares, and those names alone.
compat() {
    local file name
    for file in .libs/libdsm-$1.so .libs/libdsm-$1.a; do
        [ -f "$file" ] || continue
        while read -r name; do
            grep -qE "^($3|dsm_compat_[a-z_]*)\$" <<<"$name" || complain "$file shows $name"
            case $file:$name in
            *.so:dsm_compat_*) complain "$file shows $name" ;;
            esac
        done < <(nm $([ "${file%.so}" = "$file" ] || echo -D) --defined-only --extern-only "$file" |
            awk 'NF == 3 && $2 ~ /[A-TV-Z]/ { print $3 }' | sort -u)
    done
    while read -r name; do
        [ ! -f ".libs/libdsm-$1.so" ] || nm -D --defined-only ".libs/libdsm-$1.so" | grep -q " [TBD] $name\$" ||
            complain "$name is missing in libdsm-$1.so"
        declared=$((declared + 1))
    done < <(sed -nE 's,/\*.*,,; s/ TMK_NORETURN//; s/^(JIA|TMK)_API .*[ *]([a-zA-Z_0-9]+)(\(.*|;.*)$/\2/p' "$src/compat/include/dsm/$2")
}
declared=0
compat jia jia.h 'jiapid|jiahosts|jia_[a-z0-9_]+'
compat tmk Tmk.h 'Tmk_[a-z_]+|tmk_distribute_[a-z_]+'
[ "$declared" -gt 40 ] || complain "jia.h and Tmk.h declare only $declared names"

[ -f .libs/libdsm.so ] || [ -f .libs/libdsm.a ] || complain "no library was built"
exit $((failures != 0))
