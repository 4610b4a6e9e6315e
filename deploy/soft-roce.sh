#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# An RDMA device of software (Soft-RoCE, the kernel's rdma_rxe) on an Ethernet interface, to try the
# rdma transport where there is no card.
set -eu

usage() {
    cat <<'END'
usage: deploy/soft-roce.sh up|down|status [INTERFACE]
  up      makes a device on the interface: default the one of the default route
  down    removes the devices on the interface: default on all
  status  lists the devices; exit status 1 when there is none
up and down need root, and a kernel with rdma_rxe.
END
}

die() {
    echo "soft-roce: $*" >&2
    exit 1
}

bad_usage() {
    echo "soft-roce: $*" >&2
    exit 2
}

case ${1:-} in
-h | --help) usage; exit 0 ;;
up | down | status) action=$1 ;;
'') bad_usage "no action; allowed are up, down and status" ;;
*) bad_usage "unknown action '$1'; allowed are up, down and status" ;;
esac
[ $# -le 2 ] || bad_usage "'$3' is one argument too many; usage: soft-roce.sh $action [INTERFACE]"
interface=${2:-}

if [ -n "$interface" ] && [ ! -d "/sys/class/net/$interface" ]; then
    die "no interface '$interface'; there are: $(ls /sys/class/net | tr '\n' ' ')"
fi
# rdma_cm finds no device for the addresses of lo.
[ "$interface" != lo ] || die "not on lo, for whose addresses no device is found: ip link add dummy0 type dummy," \
    "give that an address, and call this with dummy0"

# "DEVICE INTERFACE" of each device of software.
devices() {
    local device
    for device in /sys/class/infiniband/*; do
        [ -f "$device/parent" ] && echo "$(basename "$device") $(cat "$device/parent")"
    done
    return 0
}

address_of() {
    ip -4 -o addr show dev "$1" scope global | awk '{ print $4; exit }'
}

status() {
    local found=no device on
    while read -r device on; do
        [ -z "$interface" ] || [ "$on" = "$interface" ] || continue
        found=yes
        echo "$device on $on ($(address_of "$on" || true)): $(cat "/sys/class/infiniband/$device/ports/1/state")"
    done < <(devices)
    [ "$found" = yes ] || echo "no Soft-RoCE device${interface:+ on $interface}"
    [ "$found" = yes ]
}

up() {
    local on n=0
    command -v ip >/dev/null && command -v rdma >/dev/null || die "no ip or rdma here; on Debian: apt-get install iproute2"
    if [ -z "$interface" ]; then
        interface=$(ip -4 route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p;q')
        [ -n "$interface" ] || die "no default route: name an interface; there are: $(ls /sys/class/net | tr '\n' ' ')"
    fi
    [ -n "$(address_of "$interface")" ] || die "$interface has no IPv4 address: ip addr add ADDRESS/24 dev $interface"
    if devices | grep -q " $interface\$"; then
        status
        return
    fi
    [ "$(id -u)" -eq 0 ] || die "up needs root"
    [ -d /sys/module/rdma_rxe ] || modprobe rdma_rxe 2>/dev/null ||
        die "kernel $(uname -r) has no rdma_rxe: take a kernel with it (Debian's have), or deploy/quickstart.sh roce," \
            "which starts one in a virtual machine"
    while [ -e "/sys/class/infiniband/rxe$n" ]; do
        n=$((n + 1))
    done
    rdma link add "rxe$n" type rxe netdev "$interface" || die "cannot make rxe$n on $interface"
    on=$(cat "/sys/class/net/$interface/mtu")
    [ "$on" -ge 4200 ] || echo "soft-roce: a page takes several packets on $interface with its MTU of $on;" \
        "where the network can: ip link set $interface mtu 9000"
    status
}

down() {
    local device on
    [ "$(id -u)" -eq 0 ] || die "down needs root"
    while read -r device on; do
        [ -z "$interface" ] || [ "$on" = "$interface" ] || continue
        rdma link delete "$device" || die "cannot remove $device"
        echo "$device removed from $on"
    done < <(devices)
}

"$action"
