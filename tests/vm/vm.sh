#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A throw-away virtual machine for tests that need another kernel than this machine's: a stock Debian
# kernel in QEMU, this machine's file system below it (9p, read-only, with a layer in the guest's
# memory on top), and a Soft-RoCE device rxe0. Runs one command there, as root, and returns its exit
# status. Nothing of the guest outlives the call except what was fetched, which is kept.
#
# Needs the packages qemu-system-x86, busybox-static, cpio, kmod, zstd and xz-utils, and no privilege.
# KVM is used where it works; software emulation does otherwise.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${DSM_VM_DIR:-$here/../../_build/vm}
kernels="6.12 6.1"
# The guest could not be started, or ended without telling how the command did.
status_no_vm=125
kvm_trial_s=15
boots=3

usage() {
    cat <<END
usage: tests/vm/vm.sh run [option...] COMMAND    run a shell command in a virtual machine
       tests/vm/vm.sh pair [option...] COMMAND   in two that are connected to each other
       tests/vm/vm.sh fetch [--kernel V]         only fetch the kernels and unpack them
  --kernel V      Debian's kernel of this series, of: $kernels (6.12)
  --memory M      MiB of memory in each guest (2048)
  --processors N  (2; for pair 1)
  --timeout S     seconds until a guest is ended, exit status 124 (600)
  --netdev D      what rxe0 is made on: eth0, dummy0, or none for no device (eth0)
  --share DIR     a directory of this machine that the command finds at /out, writable
The command runs in the present directory; there it finds VM_IP, the address of rxe0's interface, and
for pair VM_INDEX (0 or 1) and VM_PEER_IP. Its output has both stdout and stderr. The exit status is
the command's; for pair that of the first that failed; $status_no_vm when a guest could not be started.
Kernels are kept in \$DSM_VM_DIR, now $cache
END
}

die() {
    echo "vm.sh: $*" >&2
    exit $status_no_vm
}

bad_usage() {
    echo "vm.sh: $*" >&2
    exit 2
}

number() {
    [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] && [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] ||
        bad_usage "$1 '$2': allowed is a number from $3 to $4"
}

action='' command='' kernel='' memory=2048 processors='' limit=600 netdev=eth0 share=''
while [ $# -gt 0 ]; do
    case $1 in
    --kernel | --memory | --processors | --timeout | --netdev | --share)
        [ $# -ge 2 ] || bad_usage "$1 needs a value; try --help"
        ;;
    esac
    case $1 in
    --kernel)
        [[ " $kernels " == *" $2 "* ]] || bad_usage "--kernel '$2': allowed are $kernels"
        kernel=$2
        shift
        ;;
    --memory) number "$1" "$2" 256 65536 && memory=$2 && shift ;;
    --processors) number "$1" "$2" 1 64 && processors=$2 && shift ;;
    --timeout) number "$1" "$2" 1 86400 && limit=$2 && shift ;;
    --netdev)
        case $2 in eth0 | dummy0 | none) ;; *) bad_usage "--netdev '$2': allowed are eth0, dummy0 and none" ;; esac
        netdev=$2
        shift
        ;;
    --share)
        [ -d "$2" ] && [ -w "$2" ] || bad_usage "--share '$2': no directory to write to"
        share=$(cd "$2" && pwd)
        shift
        ;;
    -h | --help) usage; exit 0 ;;
    -*) bad_usage "unknown option '$1'; try --help" ;;
    *)
        if [ -z "$action" ]; then
            case $1 in run | pair | fetch) action=$1 ;; *) bad_usage "unknown action '$1'; allowed are run, pair and fetch" ;; esac
        elif [ -z "$command" ] && [ "$action" != fetch ]; then
            command=$1
        else
            bad_usage "'$1' is one argument too many: the command is one, in quotes"
        fi
        ;;
    esac
    shift
done
[ -n "$action" ] || bad_usage "no action; allowed are run, pair and fetch (try --help)"
[ "$action" = fetch ] || [ -n "$command" ] || bad_usage "$action needs a command"

PATH=$PATH:/usr/sbin:/sbin
for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio modprobe:kmod zstd:zstd \
    xz:xz-utils flock:util-linux; do
    command -v "${tool%:*}" >/dev/null || die "no ${tool%:*} here; on Debian: apt-get install ${tool#*:}"
done
mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || die "cannot write to $cache: point DSM_VM_DIR elsewhere"
cache=$(cd "$cache" && pwd)

# ---- the kernel ---------------------------------------------------------------------------------

# What apt calls the newest kernel of a series: the name without flavours, and not its meta-package.
newest_package() {
    apt-cache "${apt_options[@]}" search --names-only \
        "^linux-image-${1//./\\.}\.[0-9.]+(\+[a-z0-9.]+)?(-[0-9]+)?-amd64\$" |
        awk '{ print $1 }' | sort -V | tail -n 1
}

# apt-get download needs no privilege, but lists that are there and not too old. Where they are not,
# lists of our own are made; that needs none either.
download() {
    local series=$1 dir=$2 package
    apt_options=()
    package=$(newest_package "$series")
    if [ -n "$package" ] && (cd "$dir" && apt-get -q download "$package") >"$dir/apt.log" 2>&1; then
        return 0
    fi
    mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
    apt_options=(-o "Dir::State::Lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt"
        -o Acquire::Retries=3 -o "APT::Sandbox::User=$(id -un)")
    apt-get -q "${apt_options[@]}" update >>"$dir/apt.log" 2>&1 ||
        die "apt-get update failed: $(grep -m 1 '^E:' "$dir/apt.log" || tail -n 1 "$dir/apt.log")"
    package=$(newest_package "$series")
    [ -n "$package" ] || die "apt knows no package linux-image-$series*-amd64"
    (cd "$dir" && apt-get -q "${apt_options[@]}" download "$package") >>"$dir/apt.log" 2>&1 ||
        die "apt-get download $package failed: $(grep -m 1 '^E:' "$dir/apt.log")"
}

# The kernel proper from its self-extracting image: QEMU starts it directly, which saves unpacking it
# in the guest. Offsets as in the kernel's Documentation/arch/x86/boot.rst.
unpack_vmlinux() {
    local image=$1 sectors offset length magic
    sectors=$(od -An -tu1 -j 497 -N 1 "$image")
    read -r offset length <<<"$(od -An -tu4 -j 584 -N 8 "$image")"
    offset=$(((sectors + 1) * 512 + offset))
    magic=$(od -An -tx4 -j "$offset" -N 4 "$image")
    # The last four bytes are the unpacked size and none of the compressor's.
    tail -c +$((offset + 1)) "$image" | head -c $((length - 4)) >"$2.packed"
    case $magic in
    *fd2fb528) zstd -dcq "$2.packed" >"$2" ;;
    *587a37fd) xz -dc "$2.packed" >"$2" ;;
    *) die "$image is packed in a way unknown here (magic$magic)" ;;
    esac
    rm -f "$2.packed"
    [ "$(head -c 4 "$2" | tail -c 3)" = ELF ] || die "$image does not unpack to a kernel"
}

# The first programs of the guest: busybox, the modules it needs to reach the file system and the
# network, in the order of loading, and init.
make_initrd() {
    local dir=$1 version=$2 root=$1/initrd.d n=100 module
    rm -rf "$root"
    mkdir -p "$root"/{bin,modules,proc,sys,dev,root,lower,layer}
    cp "$(command -v busybox)" "$root/bin/busybox"
    for module in virtio_pci virtio_console 9pnet_virtio 9p overlay virtio_net virtio_rng dummy veth \
        ib_uverbs rdma_ucm rdma_rxe; do
        modprobe -d "$dir" -S "$version" --show-depends "$module" ||
            die "kernel $version has no module $module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$dir/modules.list"
    while read -r module; do
        n=$((n + 1))
        case $module in
        *.xz) xz -dc "$module" >"$root/modules/$n.ko" ;;
        *.zst) zstd -dcq "$module" >"$root/modules/$n.ko" ;;
        *) cp "$module" "$root/modules/$n.ko" ;;
        esac
    done <"$dir/modules.list"
    cp "$here/init" "$root/init"
    chmod 755 "$root/init"
    (cd "$root" && find . | cpio -o -H newc --quiet) >"$dir/initrd"
    rm -rf "$root"
}

# fetch SERIES: leaves vmlinux, initrd and the modules in $cache/SERIES.
fetch() {
    local dir=$cache/$1 version
    mkdir -p "$dir"
    exec 8>"$dir/lock"
    flock 8
    if ! cmp -s "$here/init" "$dir/made-with"; then
        rm -f "$dir/made-with"
        if [ ! -f "$dir/unpacked" ]; then
            rm -rf "${dir:?}"/*.deb "$dir/boot" "$dir/lib"
            download "$1" "$dir"
            dpkg --fsys-tarfile "$dir"/linux-image-*.deb | tar -x -C "$dir" ./boot ./lib/modules ||
                die "cannot unpack $(ls "$dir"/*.deb) in $dir"
            rm -f "$dir"/*.deb
            version=$(ls "$dir/lib/modules")
            depmod -b "$dir" "$version" || die "depmod failed for kernel $version"
            unpack_vmlinux "$dir/boot/vmlinuz-$version" "$dir/vmlinux"
            echo "$version" >"$dir/unpacked"
        fi
        make_initrd "$dir" "$(cat "$dir/unpacked")"
        cp "$here/init" "$dir/made-with"
    fi
    exec 8>&-
}

# ---- the guest ----------------------------------------------------------------------------------

# KVM that opens need not be KVM that runs: inside another virtual machine it may stand still. So a
# guest that only ends is tried, once for each start of this machine.
choose_accelerator() {
    local known=$cache/accelerator trial boot_id
    boot_id=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || hostname)
    trial=${DSM_VM_ACCEL:-}
    if [ -z "$trial" ] && [ "$(sed -n 1p "$known" 2>/dev/null)" = "$boot_id" ]; then
        trial=$(sed -n 2p "$known")
    elif [ -z "$trial" ]; then
        trial=tcg
        if (: <>/dev/kvm) 2>/dev/null && setpriv --pdeathsig KILL timeout -k 5 "$kvm_trial_s" qemu-system-x86_64 \
            -M q35 -accel kvm -cpu max -m 512 -nodefaults -display none -no-reboot -kernel "$cache/$kernel/vmlinux" \
            -initrd "$cache/$kernel/initrd" -append "quiet panic=-1 vm.trial" </dev/null >/dev/null 2>&1; then
            trial=kvm
        fi
        printf '%s\n' "$boot_id" "$trial" >"$known"
    fi
    case $trial in
    kvm) accelerator=(-accel kvm) ;;
    tcg) accelerator=(-accel tcg,thread=multi) ;;
    *) bad_usage "DSM_VM_ACCEL=$trial: allowed are kvm and tcg" ;;
    esac
}

# A kernel that patches its own code can fall over under emulation with several threads before it has
# run anything. Such a guest has done nothing: another is started.
boot() {
    local try status
    for try in $(seq "$boots"); do
        status=0
        boot_once "$@" || status=$?
        if [ "$status" -ne "$status_no_vm" ] || [ -e "$work/$1/started" ] || [ -s "$work/$1/status" ]; then
            break
        fi
        [ "$try" -eq "$boots" ] || echo "vm.sh: the guest ended before its command began: once more" >&2
    done
    return "$status"
}

# boot_once INDEX IP PEER-IP QEMU-NETDEV: runs a guest to its end, the command's output on stdout.
boot_once() {
    local index=$1 ip=$2 peer_ip=$3 net=$4 dir=$work/$1 status
    mkdir -p "$dir"
    printf '%s\n' "$command" >"$dir/command"
    {
        declare -p netdev ip
        printf 'export VM_IP=%q VM_INDEX=%q VM_PEER_IP=%q\n' "$ip" "$index" "$peer_ip"
        printf 'cd %q\n' "$PWD"
    } >"$dir/settings"
    cp "$here/guest.sh" "$dir/guest.sh"
    local shares=(-virtfs "local,path=$dir,mount_tag=vm,security_model=none")
    [ -z "$share" ] || shares+=(-virtfs "local,path=$share,mount_tag=out,security_model=none")
    status=0
    setpriv --pdeathsig TERM timeout -k 10 "$limit" qemu-system-x86_64 -M q35 "${accelerator[@]}" -cpu max \
        -smp "$processors" -m "$memory" -nodefaults -display none -no-reboot \
        -kernel "$cache/$kernel/vmlinux" -initrd "$cache/$kernel/initrd" \
        -append "console=ttyS0 loglevel=4 panic=-1 mitigations=off random.trust_cpu=on" \
        -serial "file:$dir/console" \
        -device virtio-serial -device virtserialport,chardev=output \
        -add-fd fd=3,set=1 -chardev file,id=output,path=/dev/fdset/1,append=on \
        -object rng-random,filename=/dev/urandom,id=random -device virtio-rng-pci,rng=random \
        -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
        -virtfs "local,path=$cache/$kernel/lib/modules,mount_tag=modules,security_model=none,readonly=on" \
        "${shares[@]}" -netdev "$net,id=net" \
        -device "virtio-net-pci,netdev=net,mac=52:54:00:77:00:0$((index + 1)),romfile=" \
        </dev/null 3>&1 >"$dir/qemu" 2>&1 || status=$?
    if [ -s "$dir/status" ]; then
        status=$(cat "$dir/status")
        if [ "$status" -ne 0 ] && [ -s "$dir/kernel" ]; then
            echo "vm.sh: the command's exit status is $status; the last of the guest's kernel log:" >&2
            cat "$dir/kernel" >&2
        fi
        return "$status"
    fi
    tail -n 40 "$dir/console" >&2 2>/dev/null || true
    if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
        echo "vm.sh: the guest (kernel $kernel, ${accelerator[1]}) did not end within $limit s and was stopped" >&2
        return 124
    fi
    echo "vm.sh: the guest (kernel $kernel, ${accelerator[1]}) gave no result; QEMU's exit status is" \
        "$status: $(tail -n 1 "$dir/qemu" | tr -d '\r')" >&2
    return $status_no_vm
}

if [ "$action" = fetch ]; then
    for series in ${kernel:-$kernels}; do
        fetch "$series"
        echo "kernel $(cat "$cache/$series/unpacked")"
    done
    exit 0
fi

kernel=${kernel:-6.12}
fetch "$kernel"
choose_accelerator
work=$(mktemp -d "${TMPDIR:-/tmp}/vm.XXXXXX")
guests=()
# QEMU has the parent's death for its end, but not the death of somebody between.
stop() {
    trap - EXIT
    [ "${#guests[@]}" -eq 0 ] || kill "${guests[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

status=0
if [ "$action" = run ]; then
    processors=${processors:-2}
    boot 0 10.77.0.1 '' user,restrict=on &
    guests+=($!)
    wait "${guests[0]}" || status=$?
else
    processors=${processors:-1}
    a=local.type=unix,local.path=$work/0.sock
    b=local.type=unix,local.path=$work/1.sock
    boot 0 10.77.0.1 10.77.0.2 "dgram,$a,${b//local/remote}" > >(sed -u 's/^/vm 0: /') &
    guests+=($!)
    boot 1 10.77.0.2 10.77.0.1 "dgram,$b,${a//local/remote}" > >(sed -u 's/^/vm 1: /') &
    guests+=($!)
    for guest in "${guests[@]}"; do
        one=0
        wait "$guest" || one=$?
        [ "$status" -ne 0 ] || status=$one
    done
fi
guests=()
exit "$status"
