# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Read by the tests that build programs with shared global variables, which have set build: skips
# where that cannot be.
skip() {
    echo "skipped: $*"
    exit 77
}
if nm -D "$build/.libs/libdsm.so" 2>/dev/null | grep -qE '__(asan|tsan)_init'; then
    skip "built with a sanitizer, whose data would be shared: the plain build runs this"
fi
[ -f "$build/.libs/libdsm.so" ] || skip "no shared library was built"
command -v m4 >/dev/null || skip "no m4"
command -v cc >/dev/null || skip "no cc"
