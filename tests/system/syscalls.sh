#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# System calls on shared memory do what they do on private memory, over every trap of this machine.
# SYSCALLS_TRAPS overrides which: a test for each does; arguments are the names of cases, all when there are none.
set -u
src=${srcdir:-$(dirname "$0")/../..}
build=${abs_top_builddir:-$PWD}
failed=0

# Every function that the library stands in front of for the sake of memory has its case.
if [ $# -eq 0 ] && ! nm -D "$build/.libs/libdsm.so" 2>/dev/null | grep -qE '__(asan|tsan)_init'; then
    cases=$("$build/tests/system/syscalls" --list)
    while read -r name; do
        grep -qx "$name" <<<"$cases" || { echo "FAILED: no case for $name"; failed=$((failed + 1)); }
    done < <(sed -n '/^\.SS Wrapped/,/^\.SS Touch/ { /^\.nf/,/^\.fi/ s/^\.B //p }' "$src/libdsm/dsm.7" | tr ' ' '\n')
fi
for t in ${SYSCALLS_TRAPS:-sigbus uffd segv}; do
    echo "trap $t:"
    DSM_TRAP=$t timeout -k 5 560 "$build/dsmrun/dsmrun" -n 2 "$build/tests/system/syscalls" "$@" ||
        { echo "FAILED: trap $t, status $?"; failed=$((failed + 1)); }
done
[ "$failed" -eq 0 ]
