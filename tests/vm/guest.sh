# SPDX-License-Identifier: BSD-3-Clause
# In the guest, after init: the network and its device, the command, its exit status, the end.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
. /vm/settings

finish() {
    if [ "$1" -ne 0 ]; then
        dmesg 2>/dev/null | tail -n 40 >/vm/kernel
    fi
    echo "$1" >/vm/status.new
    mv /vm/status.new /vm/status
    sync /vm/status
    exec /bin/busybox poweroff -f
}

# Programs that open their standard output a second time find a pipe, which may be opened; the port
# itself may be open only once.
mkfifo /run/output
cat /run/output >/dev/vport*p1 &
carrier=$!
exec >/run/output 2>&1

hostname "vm$VM_INDEX"
ip link set lo up
if [ "$netdev" != none ]; then
    [ "$netdev" != dummy0 ] || ip link add dummy0 type dummy
    ip addr add "$ip/24" dev "$netdev" && ip link set "$netdev" up mtu 9000 &&
        rdma link add rxe0 type rxe netdev "$netdev" || {
        echo "guest: cannot make rxe0 on $netdev"
        exec >/dev/null 2>&1
        wait "$carrier"
        finish 125
    }
fi
ulimit -l unlimited
: >/vm/started
bash /vm/command </dev/null
status=$?
exec >/dev/null 2>&1
# What the command left running may hold the pipe for ever.
(sleep 5 && kill "$carrier") &
wait "$carrier"
finish "$status"
