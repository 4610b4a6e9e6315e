#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# configure names what is missing by its Debian package, all at once, and refuses wrong options.
set -eu
src=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
failures=0
unset PKG_CONFIG_PATH PKG_CONFIG_LIBDIR CC CFLAGS LDFLAGS MAKEFLAGS CONFIG_SITE || true

# says TEXT COMMAND...: configure fails, and its one line of error has TEXT.
says() {
    local text=$1 status=0 error
    shift
    "$@" >out 2>&1 </dev/null || status=$?
    error=$(grep -i 'configure: error' out || true)
    if [ "$status" -eq 0 ] || [[ $error != *"$text"* ]]; then
        echo "FAIL: $*: status $status, said '${error:-$(tail -n 3 out)}', expected '$text'"
        failures=$((failures + 1))
    else
        echo "ok: $error"
    fi
}

# Programs of this machine but those given.
path_without() {
    local name
    rm -rf bin
    mkdir bin
    ln -s /usr/bin/* /bin/* bin/ 2>/dev/null || true
    for name in "$@"; do
        rm -f bin/$name
    done
}

says "apt-get install libuv1-dev libprotobuf-c-dev" env PKG_CONFIG_LIBDIR=/nowhere "$src/configure"
# Every package that configure names is one that set-up installs.
for package in $(sed -n 's/.*configure: error: .*apt-get install //p' out); do
    "$src/deploy/setup.sh" run --list | grep -qx "$package" || {
        echo "FAIL: deploy/setup.sh does not install $package"
        failures=$((failures + 1))
    }
done
grep -q ' check$' out || {
    echo "FAIL: configure does not name all that is missing at once: $(tail -n 1 out)"
    failures=$((failures + 1))
}
path_without protoc-c
says "apt-get install protobuf-c-compiler" env PATH="$dir/bin" "$src/configure"
path_without pkg-config '*-pkg-config' pkgconf
says "apt-get install pkg-config" env PATH="$dir/bin" "$src/configure"
path_without '*gcc*' 'clang*' cc c89 c99 '*tcc' icc cl cl.exe
says "apt-get install gcc libc6-dev" env PATH="$dir/bin" "$src/configure"
printf '#!/bin/sh\ncase "$*" in *ibverbs*) exit 1 ;; esac\nexec pkg-config "$@"\n' >pkg-config-without-rdma
chmod +x pkg-config-without-rdma
says "apt-get install libibverbs-dev librdmacm-dev" \
    env PKG_CONFIG="$dir/pkg-config-without-rdma" "$src/configure" \
    --with-rdma=yes
says "--enable-sanitizers=memory: allowed are address, thread and no" \
    "$src/configure" --enable-sanitizers=memory
exit $((failures != 0))
