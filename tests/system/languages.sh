#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The C++ and the Fortran example, built with what is installed for them, on one rank and on three.
set -u
src=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
library=$PWD/.libs/libdsm.so
dsmrun=$PWD/dsmrun/dsmrun
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0 run=0

if [ ! -f "$library" ]; then
    echo "SKIP: no shared library was built"
    exit 77
fi
if nm -D "$library" | grep -qE '__(asan|tsan)_init'; then
    echo "SKIP: the library is instrumented, and programs of other compilers are not"
    exit 77
fi

fail() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

# try NAME COMMAND...: the command builds $work/NAME, which is right on 1 and on 3 ranks.
try() {
    local name=$1 out
    shift
    if ! "$@" -o "$work/$name" "$library" -Wl,-rpath,"${library%/*}" 2>"$work/log"; then
        fail "$name is not built: $(cat "$work/log")"
        return
    fi
    [ -s "$work/log" ] && fail "$name: warnings: $(cat "$work/log")"
    for n in 1 3; do
        out=$(timeout -k 5 100 "$dsmrun" -n "$n" "$work/$name" 2>&1) && grep -q ': right' <<<"$out" ||
            fail "$name on $n ranks: $out"
        echo "$name: $out"
    done
    run=$((run + 1))
}

if command -v g++ >/dev/null; then
    try tasks g++ -std=c++17 -Wall -Wextra -Wconversion -I"$src/libdsm/include" \
        "$src/examples/tasks.cpp" -pthread
else
    echo "SKIP: no g++; the C++ example was not built"
fi
if command -v gfortran >/dev/null; then
    try heat gfortran -std=f2008 -Wall -J"$work" "$src/libdsm/include/dsm/dsm.f90" \
        "$src/examples/heat.f90"
else
    echo "SKIP: no gfortran; the Fortran example was not built"
fi
[ "$failures" -eq 0 ] || exit 1
[ "$run" -gt 0 ] || exit 77
