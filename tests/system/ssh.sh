#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# dsmrun over ssh: three hosts made of network namespaces, with real sshd's and throw-away keys.
skip() {
    echo "SKIPPED: $1"
    exit 77
}
[ "$(id -u)" -eq 0 ] || skip 'network namespaces need root'
for tool in ip ssh ssh-keygen; do command -v $tool >/dev/null || skip "there is no $tool"; done
sshd=$(command -v sshd || echo /usr/sbin/sshd)
[ -x "$sshd" ] || skip 'there is no sshd (openssh-server)'
# shellcheck source=tests/system/dsmd_support.sh
. "${srcdir:-.}/tests/system/dsmd_support.sh"
net=dsm$$
chmod 755 "$work"

# shellcheck disable=SC2317
clean_up() {
    local host
    for host in a b; do
        [ ! -f "$work/sshd-$host.pid" ] || kill "$(cat "$work/sshd-$host.pid")" 2>/dev/null
    done
    for host in l a b; do ip netns del "$net$host" 2>/dev/null; done
}
trap clean_up EXIT
ip netns add "${net}l" 2>"$work/err" || skip "network namespaces are forbidden: $(cat "$work/err")"
here() { ip netns exec "${net}l" "$@"; }
ip -n "${net}l" link add name br0 type bridge 2>"$work/err" || skip "no bridge: $(cat "$work/err")"
ip -n "${net}l" addr add 10.77.0.1/24 dev br0
ip -n "${net}l" link set br0 up
ip -n "${net}l" link set lo up
i=2
for host in a b; do
    ip netns add "$net$host"
    ip -n "${net}l" link add "to$host" type veth peer name eth0 netns "$net$host" || skip 'no veth'
    ip -n "${net}l" link set "to$host" master br0 up
    ip -n "$net$host" addr add 10.77.0.$i/24 dev eth0
    ip -n "$net$host" link set eth0 up
    ip -n "$net$host" link set lo up
    i=$((i + 1))
done
ssh-keygen -q -t ed25519 -N '' -f "$work/host_key"
ssh-keygen -q -t ed25519 -N '' -f "$work/user_key"
ssh-keygen -q -t ed25519 -N '' -f "$work/other_key"
cp "$work/user_key.pub" "$work/authorized"
mkdir -p /run/sshd
for host in a b; do
    cat >"$work/sshd-$host.conf" <<CONF
Port 2222
ListenAddress 0.0.0.0
HostKey $work/host_key
AuthorizedKeysFile $work/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
PidFile $work/sshd-$host.pid
CONF
    env -u DSM_TEST_MARK ip netns exec "$net$host" "$sshd" -f "$work/sshd-$host.conf" -E "$work/sshd-$host.log" ||
        skip "sshd does not start: $(tail -n 1 "$work/sshd-$host.log")"
done
for i in 2 3 9; do echo "[10.77.0.$i]:2222 $(cut -d' ' -f1,2 "$work/host_key.pub")"; done >"$work/known"
cat >"$work/ssh.conf" <<CONF
Host nodea
    HostName 10.77.0.2
Host nodeb
    HostName 10.77.0.3
Host gone
    HostName 10.77.0.9
Host closed
    HostName 10.77.0.2
    Port 2223
Host stranger
    HostName 10.77.0.2
    IdentityFile $work/other_key
Host nodea nodeb
    IdentityFile $work/user_key
Host *
    Port 2222
    User root
    IdentitiesOnly yes
    UserKnownHostsFile $work/known
    StrictHostKeyChecking yes
    BatchMode yes
    ConnectTimeout 5
CONF
ssh="ssh -T -F $work/ssh.conf"
run=(ip netns exec "${net}l" "$dsmrun" --ssh "$ssh")
for host in nodea nodeb; do
    # shellcheck disable=SC2086
    wait_for 20 here $ssh $host true || fail "sshd of $host does not answer: $(here $ssh $host true 2>&1)"
done
# On a host without a job only its sshd runs.
is_quiet() {
    [ "$(ip netns pids "$net$1")" = "$(cat "$work/sshd-$1.pid")" ]
}
hosts_are_quiet() {
    is_quiet a && is_quiet b
}

# ---- jobs over hosts ----
expect 0 '' "${run[@]}" -n 4 --host nodea:2,nodeb:2 "$client" leave
check 'ranks 0 and 1 have the address of their host' [ "$(grep -c 'rank [01] of 4: .* address 10.77.0.2:' "$work/out")" -eq 2 ]
check 'ranks 2 and 3 have the address of theirs' [ "$(grep -c 'rank [23] of 4: .* address 10.77.0.3:' "$work/out")" -eq 2 ]
expect 0 '' "${run[@]}" -n 3 --host localhost,nodea,nodeb "$client" leave
check 'the rank here has the address that the others see' grep -q 'rank 0 of 3: .* address 10.77.0.1:' "$work/out"
expect 0 '' "${run[@]}" --host nodeb "$client" leave
printf 'nodea slots=2\nnodeb:1\n' >"$work/hosts"
# shellcheck disable=SC2016
"${run[@]}" --hostfile "$work/hosts" --tag-output --env EXTRA=yes sh -c \
    'echo $DSM_RANK/$DSM_NRANKS $DSM_LOCAL_RANKS $EXTRA ${DSM_DAEMON%:*} $DSM_LISTEN $PWD' >"$work/out" 2>"$work/err" </dev/null
sort "$work/out" >"$work/sorted"
printf '[0] 0/3 2 yes 10.77.0.1 10.77.0.2 %s\n[1] 1/3 2 yes 10.77.0.1 10.77.0.2 %s\n[2] 2/3 1 yes 10.77.0.1 10.77.0.3 %s\n' \
    "$PWD" "$PWD" "$PWD" >"$work/want"
check 'environment of remote ranks' cmp "$work/sorted" "$work/want"
# shellcheck disable=SC2016
expect 0 '' "${run[@]}" -n 2 --host nodea,nodeb bash -c \
    '! cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" "\n" | grep -qf <(echo "$DSM_TOKEN")'
seq 1 200000 >"$work/in"
"${run[@]}" -n 2 --host nodea,nodeb cat <"$work/in" >"$work/out" 2>"$work/err"
check 'input and output' cmp "$work/in" "$work/out"
ranks=$build/tests/system/ranks
expect 0 '' "${run[@]}" -n 4 --host localhost:2,nodea:1,nodeb:1 --region-size 1G "$ranks" random 1
expect 0 '' "${run[@]}" -n 2 --host nodea,nodeb --region-size 1G "$ranks" locks 1
check 'hosts are quiet' wait_for 10 hosts_are_quiet

# ---- failures ----
expect 137 'rank 2 \(nodeb, pid [0-9]+\) died of signal 9 \(Killed\)' "${run[@]}" -n 3 --host nodea:2,nodeb:1 "$client" hold 2:signal=9
# shellcheck disable=SC2016
expect 5 'rank 0 \(nodea, pid [0-9]+\) exited with status 5' "${run[@]}" -n 2 --host nodea,nodeb sh -c '[ $DSM_RANK != 0 ] || exit 5; sleep 1000'
expect 6 'rank 1 \(.*\) ended the job with status 6' "${run[@]}" -n 2 --host nodea,nodeb "$client" wait 1:abort=6
expect 127 'host nodea: cannot run ./no-such-program: No such file' "${run[@]}" --host nodea ./no-such-program
expect 127 'host nodea: cannot change to the directory /no/such' "${run[@]}" --host nodea --wdir /no/such true
expect 1 'host nodea: cannot start ranks there: .*/no/such.*not found|No such file' "${run[@]}" --host nodea --remote-dsmrun /no/such true
expect 1 'host closed: cannot start ranks there: ssh: connect to host 10.77.0.2 port 2223: Connection refused' "${run[@]}" --host localhost,closed true
expect 1 'host gone: cannot start ranks there: ssh: connect to host 10.77.0.9 port 2222: (No route to host|Connection timed out)' "${run[@]}" --host nodea,gone "$client"
expect 1 'host stranger: cannot start ranks there: .*Permission denied \(publickey' "${run[@]}" --host stranger true
check 'hosts are quiet after failures' wait_for 10 hosts_are_quiet

# ---- signals and ends ----
start "${run[@]}" -n 2 --host nodea,nodeb bash -c 'trap "echo got it; exit 0" USR1; echo ready; while :; do sleep 0.05; done'
wait_for 20 has_lines "$work/out" 2
kill -USR1 "$pid"
wait "$pid"
check 'signals reach other hosts' sh -c "[ $? -eq 0 ] && [ \$(grep -c 'got it' '$work/out') -eq 2 ]"
for victim in dsmrun ssh; do
    start "${run[@]}" -n 2 --host nodea,nodeb bash -c 'sleep 1000 & setsid sleep 1001 & echo ready; wait'
    wait_for 20 has_lines "$work/out" 2
    if [ $victim = dsmrun ]; then
        kill -9 "$pid"
    else
        pkill -9 -P "$pid" -x ssh
    fi
    wait "$pid" 2>/dev/null
    check "kill -9 of $victim leaves nothing on other hosts" wait_for 20 hosts_are_quiet
done
check 'and is told' grep -Eq 'host node[ab]: lost: its supervisor died of signal 9' "$work/err"
# The cable is pulled: the lease says it, here and there.
start "${run[@]}" --lease 2 -n 2 --host nodea,nodeb "$client" hold
wait_for 20 has_lines "$work/out" 2
ip -n "${net}l" link set tob down
wait "$pid"
check 'a host that is cut off' sh -c "[ $? -eq 1 ] && grep -Eq 'rank 1 \(.*\) was silent for [0-9]+ ms \(lease 2000 ms\)' '$work/err'"
ip -n "${net}l" link set tob up
check 'nothing survives there either' wait_for 60 hosts_are_quiet
end_test
