#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The library shows dsm_* and the functions it stands in front of, as dsm(7) lists them, and nothing
# else: whatever else it showed could clash with a program's own names.
set -eu
src=${srcdir:-$(dirname "$0")/../..}
manual=$src/libdsm/dsm.7
header=$src/libdsm/include/dsm/dsm.h
failures=0

complain() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

# Names of functions in the manual, markup removed.
documented=$(sed 's/\\-/-/g; s/\\f.//g; s/^\.BR\? //' "$manual" | grep -oE '[a-zA-Z_0-9]+' | sort -u)

# check FILE NM-FLAGS
check() {
    local file=$1 count=0 name
    shift
    [ -f "$file" ] || { complain "$file was not built"; return; }
    while read -r name; do
        count=$((count + 1))
        case $name in
        dsm_*) ;;
        *) grep -qx "$name" <<<"$documented" || complain "$file shows $name, which dsm(7) does not list" ;;
        esac
    done < <(nm "$@" "$file" 2>/dev/null | awk 'NF == 3 && $2 ~ /[A-TV-Z]/ { print $3 }' | sort -u)
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
[ -f .libs/libdsm.so ] || [ -f .libs/libdsm.a ] || complain "no library was built"
exit $((failures != 0))
