#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# dsmrun with real processes on this host: output, input, exit status, signals, the end of everything.
# shellcheck source=tests/system/dsmd_support.sh
. "${srcdir:-.}/tests/system/dsmd_support.sh"

# ---- a launcher of plain programs ----
expect 0 '' "$dsmrun" -n 3 true
expect 1 'rank [012] \(.*, pid [0-9]+\) exited with status 1' "$dsmrun" -n 3 false
expect 7 'rank 1 \(.*\) exited with status 7$' "$dsmrun" -n 3 sh -c '[ $DSM_RANK != 1 ] || exit 7; sleep 60'
expect 139 'rank 2 \(.*\) died of signal 11 \(Segmentation fault\)' \
    "$dsmrun" -n 3 sh -c '[ $DSM_RANK != 2 ] || kill -11 $$; sleep 60'
expect 127 'cannot run ./no-such-program: No such file or directory$' "$dsmrun" -n 2 ./no-such-program
expect 127 'cannot run /etc/passwd: Permission denied$' "$dsmrun" -n 2 /etc/passwd
expect 127 'cannot change to the directory /no/such: No such file' "$dsmrun" -n 2 --wdir /no/such true

# ---- bad options ----
expect 1 '-n 0: allowed are 1 to 4096' "$dsmrun" -n 0 true
expect 1 '-n x: allowed are' "$dsmrun" -n x true
expect 1 '-n 5000: allowed are' "$dsmrun" -n 5000 true
expect 1 'unknown option --bogus' "$dsmrun" --bogus true
expect 1 'unknown option -q' "$dsmrun" -q true
expect 1 'option -n needs a value' "$dsmrun" -n
expect 1 'no program given' "$dsmrun" -n 2
expect 1 '--trap soft: allowed are auto, sigbus, uffd, segv' "$dsmrun" --trap soft true
expect 1 '--rdma-port 0: allowed is a number from 1 to 255' "$dsmrun" --rdma-port 0 true
expect 1 '--rdma-gid-index x: allowed is a number from 0 to 65535' "$dsmrun" --rdma-gid-index x true
expect 1 '--rdma-mtu 1500: allowed are 256, 512, 1024, 2048, 4096' "$dsmrun" --rdma-mtu 1500 true
expect 1 '--rdma-pin-max much: allowed is a size from 0' "$dsmrun" --rdma-pin-max much true
expect 1 '--rdma-device: allowed is the name of a device' "$dsmrun" --rdma-device '' true
expect 1 '--transport pigeon: allowed are auto, tcp, rdma' "$dsmrun" --transport pigeon true
expect 1 '--region-size 12X: allowed' "$dsmrun" --region-size 12X true
expect 1 '--region-size 32T: allowed is a size from 1048576 to 17592186044416' "$dsmrun" --region-size 32T true
expect 1 '--mem-max none: allowed' "$dsmrun" --mem-max none true
expect 1 '--stats=xml|--stats xml: allowed are text, json' "$dsmrun" --stats=xml true
expect 1 '--lease 0: allowed are' "$dsmrun" --lease 0 true
expect 1 '--join-timeout -1: allowed are' "$dsmrun" --join-timeout=-1 true
expect 1 '--base here: allowed' "$dsmrun" --base here true
expect 1 '--log loud: allowed are' "$dsmrun" --log loud true
expect 1 '--env .*: there is no such variable' "$dsmrun" --env NO_SUCH_VARIABLE true
expect 1 'allowed is one of the two' "$dsmrun" --host a --hostfile b true
expect 1 '"a b": allowed is NAME' "$dsmrun" --host 'a b' true
expect 1 '"-oProxyCommand=x": allowed is NAME' "$dsmrun" --host=-oProxyCommand=x true
expect 1 '3 ranks asked for, the hosts have room for 2' "$dsmrun" -n 3 --host localhost:2 true
expect 1 '--hostfile: /no/such: No such file' "$dsmrun" --hostfile /no/such true
printf 'localhost # here\n\nlocalhost slots=x\n' >"$work/hosts"
expect 1 'hosts line 3: "localhost slots=x": allowed' "$dsmrun" --hostfile "$work/hosts" true
: >"$work/hosts"
expect 1 'hosts: no host in it' "$dsmrun" --hostfile "$work/hosts" true
expect 1 'host no-such-host.invalid: cannot find the host' "$dsmrun" --host no-such-host.invalid true
expect 1 'DSM_LOG=loud: allowed' env DSM_LOG=loud "$dsmrun" true
check 'help' sh -c "'$dsmrun' --help | grep -q '^Usage: dsmrun -n N'"
check 'version' sh -c "'$dsmrun' --version | grep -q '^dsmrun [0-9]'"

# ---- what a rank finds ----
printf 'localhost:1\nlocalhost slots=2\n' >"$work/hosts"
"$dsmrun" --hostfile "$work/hosts" --tag-output --trap segv --region-size 1G --mem-max 64M --stats=json \
    --env EXTRA=yes sh -c 'echo $DSM_RANK $DSM_NRANKS $DSM_LOCAL_RANKS $DSM_TRAP $DSM_REGION_SIZE \
    $DSM_MEM_MAX $DSM_STATS $EXTRA ${#DSM_TOKEN} ${DSM_DAEMON%:*}' >"$work/out" 2>"$work/err"
sort "$work/out" >"$work/sorted"
printf '[0] 0 3 1 segv 1G 64M json yes 32 127.0.0.1\n[1] 1 3 2 segv 1G 64M json yes 32 127.0.0.1\n[2] 2 3 2 segv 1G 64M json yes 32 127.0.0.1\n' >"$work/want"
check 'environment of ranks' cmp "$work/sorted" "$work/want"
# Every command line that there is during the job: the token is in none.
# shellcheck disable=SC2016
check 'the token is in no command line' "$dsmrun" -n 2 bash -c '
    ! cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" "\n" | grep -qf <(echo "$DSM_TOKEN")'
check 'the address space is the same in all ranks' sh -c \
    "[ \$('$dsmrun' -n 3 cat /proc/self/maps | grep 'r-xp.*libc\|heap\|stack' | sort -u | wc -l) -eq 3 ]"

# ---- output ----
"$dsmrun" -n 4 sh -c 'i=0; while [ $i -lt 2000 ]; do echo "line of $DSM_RANK $DSM_RANK $DSM_RANK"; i=$((i+1)); done' >"$work/out" 2>&1
check 'whole lines' sh -c "[ \$(grep -Ec '^line of ([0-3]) \\1 \\1\$' '$work/out') -eq 8000 ]"
"$dsmrun" -n 3 sh -c 'head -c 700000 /dev/zero | tr "\0" $DSM_RANK; echo' >"$work/out" 2>&1
check 'long lines stay together' sh -c "[ \$(tr -s 0-9 <'$work/out' | sort | tr -d '\n') = 012 ] && [ \$(wc -c <'$work/out') -eq 2100003 ]"
"$dsmrun" -n 2 --tag-output sh -c 'printf "a\nb" ' >"$work/out" 2>&1
check 'an unfinished last line is finished' sh -c "[ \$(sort '$work/out' | tr '\n' ' ' | tr -d ' ') = '[0]a[0]b[1]a[1]b' ]"
"$dsmrun" -n 1 printf 'a\nb' >"$work/out" 2>&1
check 'one rank: every byte as it is' sh -c "[ \$(wc -c <'$work/out') -eq 3 ]"
"$dsmrun" -n 2 sh -c 'echo out; echo err >&2' >"$work/out" 2>"$work/err"
check 'standard error apart' sh -c "grep -qx out '$work/out' && ! grep -q err '$work/out' && [ \$(grep -cx err '$work/err') -eq 2 ]"
# shellcheck disable=SC2094
timeout 60 "$dsmrun" -n 2 yes 2>"$work/err" | head -n 1 >"$work/out"
check 'a closed reader ends the job as in any pipe' sh -c "[ ${PIPESTATUS[0]} -eq 141 ] && grep -q 'cannot write to standard output: Broken pipe' '$work/err'"

# ---- input ----
seq 1 300000 >"$work/in"
"$dsmrun" -n 3 sh -c 'cat; exit 0' <"$work/in" >"$work/out" 2>"$work/err"
check 'input goes to rank 0, the others have none' cmp "$work/in" "$work/out"
check 'a rank that does not read' sh -c "yes | timeout 20 '$dsmrun' -n 2 true"
mkfifo "$work/fifo"
exec 7<>"$work/fifo"
check 'input that never comes' timeout 20 "$dsmrun" -n 2 true <&7
exec 7>&-

# ---- signals ----
for s in INT TERM HUP QUIT USR1 USR2; do
    # shellcheck disable=SC2016
    start "$dsmrun" -n 2 bash -c 'trap "echo got '$s'; exit 0" '$s'; echo ready; while :; do sleep 0.05; done'
    wait_for 20 has_lines "$work/out" 2 || fail "ranks are not ready"
    kill -"$s" $pid
    wait $pid
    check "SIG$s is passed on" sh -c "[ $? -eq 0 ] && [ \$(grep -c 'got $s' '$work/out') -eq 2 ]"
done
start "$dsmrun" -n 2 sh -c 'echo ready; exec sleep 1000'
wait_for 20 has_lines "$work/out" 2
kill -TERM $pid
wait $pid
check 'SIGTERM ends a rank that does not mind it' \
    sh -c "[ $? -eq 143 ] && grep -q 'died of signal 15 (Terminated)' '$work/err'"
start "$dsmrun" -n 2 bash -c 'trap "echo no" INT; trap "" TERM; echo ready; while :; do sleep 0.05; done'
wait_for 20 has_lines "$work/out" 2
kill -INT $pid
check 'the first SIGINT is for the ranks' wait_for 20 has_lines "$work/out" 4
kill -INT $pid
wait $pid
check 'the second SIGINT ends those who ignore it' sh -c "[ $? -eq 130 ] && grep -q 'ended by signal 2' '$work/err'"
# Stopped like a shell does it, for longer than the lease; then everything goes on.
start "$dsmrun" --lease 2 -n 2 "$client" stay=8000
wait_for 20 has_lines "$work/out" 2
rank_pid=$(sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$work/out" | head -n 1)
kill -TSTP $pid
check 'SIGTSTP stops dsmrun' wait_for 10 is_state $pid T
check 'SIGTSTP stops the ranks' wait_for 10 is_state "$rank_pid" T
sleep 4 # two leases, in which nobody may be missed
kill -CONT $pid
wait $pid
check 'SIGCONT: the job goes on' sh -c "[ $? -eq 0 ] && [ ! -s '$work/err' ]"

# ---- the end of a job ----
expect 3 'rank 1 \(.*\) exited with status 3$' "$dsmrun" -n 4 "$client" wait 1:exit=3
check 'all others hear of it' sh -c "grep -c 'view 2 without rank 1: rank 1 (.*) exited with status 3' '$work/out' | grep -q '[123]'"
expect 134 'rank 2 \(.*\) died of signal 6' "$dsmrun" -n 4 "$client" wait 2:signal=6
expect 137 'rank 0 \(.*\) died of signal 9 \(Killed\)' "$dsmrun" -n 2 "$client" hold 0:signal=9
expect 1 'rank 1 \(.*\) exited with status 0 without leaving the job \(dsm_finalize\)' "$dsmrun" -n 3 "$client" hold 1:exit=0
expect 7 'rank 1 \(.*\) ended the job with status 7: the test wants it$' "$dsmrun" -n 4 "$client" wait 1:abort=7
expect 1 'rank 1 \(.*\) was silent for [0-9]+ ms \(lease 2000 ms\)' "$dsmrun" --lease 2 -n 3 "$client" hold 1:stop
expect 0 '' "$dsmrun" --lease off -n 2 "$client" stay=1000
expect 0 '' "$dsmrun" -n 8 "$client" leave
expect 0 '' "$dsmrun" -n 1 "$client" leave
expect 0 '' "$dsmrun" -n 64 "$client" leave

# ---- jobs that cannot be ----
expect 1 'cannot start: rank [01] .* has build .*, rank [01] .* has' "$dsmrun" -n 2 "$client" 1:build=other
expect 1 'cannot start: no transport is common to all ranks: rank 1 .* has no transport tcp' "$dsmrun" -n 2 "$client" 1:transport=rdma
expect 1 'cannot start: rank 1 .* has no transport rdma: no card \(rank 0 .* wants it\)' \
    "$dsmrun" -n 2 "$client" transport=rdma wants=rdma 1:lacks='no card'
expect 1 'cannot start: rank [01] .* wants transport .*, rank [01] .* wants' "$dsmrun" -n 2 "$client" 0:wants=tcp 1:wants=rdma
expect 1 'cannot start: no transport is common to all ranks: rank 1 .* is in the network 10.0.2.0/24 of tcp, rank 0 .* in 10.0.1.0/24' \
    "$dsmrun" -n 2 "$client" 0:network=10.0.1.0/24 1:network=10.0.2.0/24
expect 1 'cannot start: rank [01] .* has region size [0-9]+, rank [01] .* has [0-9]+' "$dsmrun" -n 2 "$client" 1:region=2G
expect 1 'cannot start: rank [01] .* asks for a job of 5 ranks, .* is of 2' "$dsmrun" -n 2 "$client" 1:n_ranks=5
expect 1 'cannot start: .* wants the base 0x.*, .* wants 0x' "$dsmrun" -n 2 "$client" 0:base=0x300000000000 1:base=0x310000000000
expect 1 'cannot start: no base address .*\(6 tried\): rank 1 .* cannot map 1073741824 bytes at 0x[0-9a-f]+: something is mapped there; it offers no hole' \
    "$dsmrun" -n 2 "$client" 1:nohole
expect 1 'cannot start: no base .*\(1 tried\): rank 1 .*at 0x300000000000: .*; it offers 0x310000000000' \
    "$dsmrun" -n 2 "$client" 0:base=0x300000000000 1:unmappable=0x200000000000-0x310000000000
expect 1 'base 0x300000001000: allowed are multiples' "$dsmrun" --base 0x300000001000 -n 1 "$client"
expect 0 '' "$dsmrun" -n 2 "$client" 1:unmappable=0x200000000000-0x210000000000
check 'the base one rank offered' sh -c "[ \$(grep -c 'base 0x210000000000' '$work/out') -eq 2 ]"
expect 1 'not complete in time: 2 of 4 ranks missing: 1-2$' \
    "$dsmrun" --join-timeout 1 -n 4 sh -c 'case $DSM_RANK in [12]) sleep 100;; *) '"$client timeout=1"';; esac'
expect 1 'rank 1 \(.*\) exited with status 0 before it joined the job; the others wait for it' \
    "$dsmrun" -n 2 sh -c '[ $DSM_RANK = 1 ] || '"$client"
# Another process with the number of a rank: it alone is refused.
# shellcheck disable=SC2016
expect 0 'refused: rank 0 .* one too many: the job has all of its 2 ranks|refused: .*the number is taken' \
    "$dsmrun" -n 2 sh -c 'if [ $DSM_RANK = 0 ]; then '"$client"' stay=3000 & while ! grep -q "rank 0" '"$work/out"' 2>/dev/null; do sleep 0.05; done; '"$client"' ; wait; else exec '"$client"' stay=3000; fi'
# Somebody else on this machine finds the port, but has no token.
start "$dsmrun" -n 1 sh -c 'echo $DSM_DAEMON; exec '"$client"' stay=2000'
wait_for 20 has_lines "$work/out" 2
DSM_DAEMON=$(head -n 1 "$work/out") DSM_TOKEN=$(new_token) DSM_NRANKS=1 DSM_LOG=info "$client" >"$work/stranger" 2>&1
check 'a wrong token is refused' sh -c "[ $? -eq 11 ] && grep -q 'wrong job token' '$work/stranger' && grep -q DSM_E_AUTH '$work/stranger'"
wait $pid
check 'the job does not mind' [ $? -eq 0 ]
check 'both sides say it' grep -Eq 'dsmrun: 127.0.0.1 port [0-9]+: refused: wrong job token from rank -1 \(.*\)' "$work/err"

# ---- a start that takes long ----
# Somebody at a terminal is told what it waits for; rank 1 joins when that has been said.
python3 - "$dsmrun" "$client" "$work/go" >"$work/out" 2>&1 <<'END'
import os, pty, select, sys
dsmrun, client, go = sys.argv[1:]
pid, fd = pty.fork()
if pid == 0:
    wait = '[ "$DSM_RANK" = 0 ] || until [ -e "$1" ]; do sleep 0.1; done; exec "$0" leave'
    os.execv(dsmrun, [dsmrun, "-n", "2", "sh", "-c", wait, client, go])
seen = b""
while select.select([fd], [], [], 100)[0]:
    try:
        piece = os.read(fd, 4096)
    except OSError:
        break
    seen += piece
    if b"1 of 2 ranks have joined" in seen:
        open(go, "w").close()
print(seen, os.waitpid(pid, 0)[1])
END
check 'the ranks that have joined are told of, once' sh -c \
    "[ \$(grep -o 'dsmrun: 1 of 2 ranks have joined' '$work/out' | wc -l) -eq 1 ] && grep -q ' 0\$' '$work/out'"

# ---- nothing survives ----
# Ranks with children of their own: in the group, in another group, in another session.
# shellcheck disable=SC2016
tree='sleep 1000 & setsid sleep 1001 & bash -c "set -m; sleep 1002 & wait" & echo rank $$; wait'
for victim in dsmrun supervisor; do
    DSM_TEST_PART=rank start "$dsmrun" -n 2 bash -c "$tree"
    wait_for 20 has_lines "$work/out" 2 || fail 'ranks are not ready'
    wait_for 20 sh -c "pgrep -P \$(sed -n 's/rank //p' '$work/out' | head -n 1) -x sleep" >/dev/null
    all=$(marked)
    supervisor=$(pgrep -P $pid)
    check "a whole tree runs ($victim)" [ "$(echo "$all" | wc -l)" -ge 10 ]
    if [ $victim = dsmrun ]; then kill -9 $pid; else kill -9 "$supervisor"; fi
    wait $pid 2>/dev/null
    if [ $victim = dsmrun ]; then
        check "kill -9 of dsmrun leaves nothing" wait_for 10 nothing_left
    else
        check "kill -9 of the supervisor leaves no rank" wait_for 10 is_gone "$(sed -n 's/rank //p' "$work/out" | head -n 1)"
        check "kill -9 of the supervisor is told" grep -q 'host localhost: lost: its supervisor died of signal 9' "$work/err"
        for p in $(marked); do kill -9 "$p"; done
    fi
done
DSM_TEST_PART=rank "$dsmrun" -n 2 bash -c 'sleep 1000 & setsid sleep 1001 & exit 0' >"$work/out" 2>"$work/err" </dev/null
check 'what ranks leave behind ends with the job' sh -c "[ $? -eq 0 ]"
check 'nothing is left behind' nothing_left
end_test
