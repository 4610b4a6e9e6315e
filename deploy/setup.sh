#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Installs the Debian packages that building, running and testing need. Does nothing, and needs no
# privilege, where all of them are there already.
set -eu

usage() {
    cat <<'END'
usage: deploy/setup.sh [run|vm|test] [--list] [--help]
  run     what building and running needs
  vm      the same, and virtual machines with Debian's kernels and Soft-RoCE
  test    all of that, and what the whole test suite needs (default)
  --list  print the packages and install nothing
END
}

# What configure asks for, and what a bare machine lacks to run configure at all.
run_packages="autoconf automake libtool pkg-config gcc libc6-dev make
    protobuf-c-compiler libprotobuf-c-dev libuv1-dev libjansson-dev libinih-dev libdw-dev libncurses-dev check libibverbs-dev librdmacm-dev procps"
# clang: second compiler and fuzzers. g++, gfortran: examples in other languages. python3, jq: tests
# that read reports. openssh: ranks on several hosts, made of network namespaces. man-db: the pages are
# formatted and read. lz4: apt's lists as some machines keep them. chromium: the page of dsm-report is
# read in a browser.
test_packages="clang libclang-rt-dev g++ gfortran python3 jq openssh-server openssh-client man-db
    gdb lz4 chromium"
# Virtual machines for other kernels (tests/vm).
vm_packages="qemu-system-x86 busybox-static cpio kmod zstd xz-utils iproute2 ibverbs-providers"

what=test
list=no
for arg in "$@"; do
    case $arg in
    run | vm | test) what=$arg ;;
    --list) list=yes ;;
    -h | --help) usage; exit 0 ;;
    *)
        echo "setup.sh: unknown argument '$arg'; allowed are run, vm, test, --list and --help" >&2
        exit 2
        ;;
    esac
done

packages=$run_packages
[ "$what" = run ] || packages="$packages $vm_packages"
[ "$what" != test ] || packages="$packages $test_packages"
if [ "$list" = yes ]; then
    printf '%s\n' $packages
    exit 0
fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "setup.sh: no apt-get here; install the like of: $(echo $packages)" \
        "(or use deploy/Containerfile), then call quickstart.sh with --no-setup" >&2
    exit 1
fi

missing=
for package in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | head -n 1) || true
    [ "$state" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo "setup: every package is already installed"
    exit 0
fi

# Assignments to sudo's command line pass through env: sudo drops the caller's environment.
if [ "$(id -u)" -eq 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; }; then
    as_root="sudo env"
else
    echo "setup.sh: needs root or sudo for: apt-get install$missing" >&2
    exit 1
fi
as_root="$as_root DEBIAN_FRONTEND=noninteractive"
apt_flags="-q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3"

# A list that fails to refresh (a third-party source without network, say) need not stop the others.
update() { $as_root apt-get $apt_flags update </dev/null || true; }
install_missing() {
    $as_root apt-get $apt_flags install -y --no-install-recommends $missing </dev/null
}

case $missing in
*openssh-server*)
    echo "setup: openssh-server is for the tests that launch ranks by ssh;" \
        "stop and disable the service 'ssh' if this machine should not listen" ;;
esac
echo "setup: installing$missing"
ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || update
if ! install_missing; then
    echo "setup: apt-get failed; refreshing the lists and trying once more"
    update
    if ! install_missing; then
        echo "setup.sh: apt-get could not install:$missing" >&2
        exit 1
    fi
fi
