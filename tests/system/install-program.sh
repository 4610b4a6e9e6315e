#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A program outside the tree builds with pkg-config against an installed copy, shared and static,
# and runs alone and under the installed dsmrun.
set -eu
src=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
build=$PWD
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL DESTDIR TESTS || true
for name in $(compgen -e | grep '^DSM_' || true); do
    unset "$name"
done

fail() {
    echo "FAIL: $*"
    exit 1
}

# variable NAME: a make variable of this build.
variable() {
    printf 'include Makefile\nshow-variable:\n\t@echo $(%s)\n' "$1" |
        make -s -C "$build" -f - show-variable
}

make -s install DESTDIR="$dir/root" >"$dir/install.log" 2>&1 || {
    tail -n 20 "$dir/install.log"
    fail "make install"
}
libdir=$(variable libdir)
bindir=$(variable bindir)
root=$dir/root
export PKG_CONFIG_PATH=$root$libdir/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
flags=$(pkg-config --cflags --libs dsm) || fail "pkg-config does not know dsm"
[ "$(pkg-config --modversion dsm)" = "$(sed -n 's/^AC_INIT(\[dsm\], \[\(.*\)\])/\1/p' "$src/configure.ac")" ] ||
    fail "dsm.pc names another version"

# The program of dsm(3), as printed there.
sed -n '/^#include <dsm\/dsm.h>$/,/^\.EE$/p' "$src/libdsm/dsm.3" | sed '/^\.EE$/d; s/\\e/\\/g; s/\\-/-/g' >"$dir/sum.c"
grep -q dsm_init "$dir/sum.c" || fail "no program in dsm(3)"
# And the one of README.md.
sed -n '/^```c$/,/^```$/p' "$src/README.md" | grep -v '^```' >"$dir/cells.c"
grep -q dsm_init "$dir/cells.c" || fail "no program in README.md"
cc=$(variable CC)
cd "$dir"
extra=
if nm -D "$build/.libs/libdsm.so" 2>/dev/null | grep -q __asan_init; then extra="-fsanitize=address,undefined"; fi
if nm -D "$build/.libs/libdsm.so" 2>/dev/null | grep -q __tsan_init; then extra="-fsanitize=thread"; fi
$cc -Wall -Wextra -Wno-unused-parameter -Werror $extra sum.c $flags -o sum-shared || fail "shared: $flags"
# PKG_CONFIG_SYSROOT_DIR is for dsm alone; what it needs is this machine's own.
private=$(env -u PKG_CONFIG_SYSROOT_DIR pkg-config --static --libs dsm | sed 's/-ldsm//; s/-L[^ ]*//')
$cc $extra sum.c -I"$root$(pkg-config --variable=includedir dsm | sed "s,^$root,,")" \
    "$root$libdir/libdsm.a" $private -o sum-static || fail "static: $private"

# expect TEXT COMMAND...
expect() {
    local text=$1 got
    shift
    got=$("$@" </dev/null) || fail "$*: status $?"
    [ "$got" = "$text" ] || fail "$*: printed '$got', expected '$text'"
    echo "ok: $*: $got"
}
export LD_LIBRARY_PATH=$root$libdir
for program in ./sum-shared ./sum-static; do
    expect "the sum is 1" "$program"
    expect "the sum is 10" "$root$bindir/dsmrun" -n 4 "$program"
done

$cc -Wall -Wextra -Wno-unused-parameter -Werror $extra cells.c $flags -o cells || fail "README's program"
expect "4 ranks: the sum is 499999500000" "$root$bindir/dsmrun" -n 4 ./cells

# Programs with the calls of JIAJIA and TreadMarks, as they include them.
printf '#include "jia.h"\n#include "setting.h"\n#include <stdio.h>\nint main(int c, char **v)\n{\n jia_init(c, v);\n jia_barrier(1);\n if (!jiapid)\n  printf("%%d\\n", jiahosts);\n jia_exit();\n return 0;\n}\n' >jia.c
printf '#include "Tmk.h"\n#include <stdio.h>\nint *p;\nmain(argc, argv)\nint argc;\nchar **argv;\n{\n Tmk_startup(argc, argv);\n if (Tmk_proc_id == 0) {\n  p = (int *)Tmk_malloc(4);\n  *p = 40;\n  Tmk_distribute(&p, sizeof p);\n }\n Tmk_barrier(0);\n if (Tmk_proc_id == Tmk_nprocs - 1)\n  printf("%%d\\n", *p + Tmk_nprocs);\n Tmk_exit(0);\n}\n' >tmk.c
$cc $extra jia.c $(pkg-config --cflags --libs dsm-jia) -o jia || fail "dsm-jia: $(pkg-config --cflags --libs dsm-jia)"
$cc -std=gnu89 -w $extra tmk.c $(pkg-config --cflags --libs dsm-tmk) -o tmk || fail "dsm-tmk: $(pkg-config --cflags --libs dsm-tmk)"
expect "2" "$root$bindir/dsmrun" -n 2 ./jia
expect "43" "$root$bindir/dsmrun" -n 3 ./tmk
$cc $extra jia.c $(pkg-config --cflags dsm-jia) "$root$libdir/libdsm-jia.a" "$root$libdir/libdsm.a" $private -o jia-static ||
    fail "static: dsm-jia"
expect "2" "$root$bindir/dsmrun" -n 2 ./jia-static

# C++ may include the header.
if command -v g++ >/dev/null; then
    printf '#include <dsm/dsm.h>\n#include <dsm/jia.h>\n#include <dsm/Tmk.h>\nint main() { jia_barrier(1); return dsm_init(nullptr) < 0; }\n' >cxx.cc
    g++ -Wall -Wextra -Werror -pedantic -c cxx.cc $(pkg-config --cflags dsm) -o cxx.o || fail "C++"
fi
cd "$build"
make -s uninstall DESTDIR="$root" >"$dir/uninstall.log" 2>&1 || fail "make uninstall"
left=$(find "$root" ! -type d)
[ -z "$left" ] || fail "make uninstall left: $left"
