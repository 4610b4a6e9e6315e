#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# dsmd as a daemon of its own: many jobs, hostile strangers, bad settings, its end and its loss.
# shellcheck source=tests/system/dsmd_support.sh
. "${srcdir:-.}/tests/system/dsmd_support.sh"

# open_dsmd OPTION...: a daemon on any port; $daemon_pid, $address; what it says is in $work/log.
open_dsmd() {
    : >"$work/log"
    "$dsmd" --port 0 "$@" >>"$work/log" 2>&1 </dev/null &
    daemon_pid=$!
    wait_for 20 grep -q 'listening on' "$work/log" || fail 'dsmd does not listen'
    address=$(sed -n 's/.*listening on //p' "$work/log" | head -n 1)
}

close_dsmd() {
    kill -TERM "$daemon_pid"
    wait "$daemon_pid"
    check 'dsmd ends in good order' [ $? -eq 0 ]
}

# job N ARGUMENT...: ranks of one job in the background, output in $work/N.*; $pids.
job() {
    local n=$1 token rank
    shift
    token=$(new_token)
    pids=
    for ((rank = 0; rank < n; rank++)); do
        : >"$work/$rank.out"
        DSM_DAEMON=$address DSM_TOKEN=$token DSM_NRANKS=$n DSM_RANK=$rank "$client" "$@" \
            >>"$work/$rank.out" 2>&1 </dev/null &
        pids="$pids $!"
    done
    job_token=$token
}

# ended WHAT STATUSES: how the ranks of $pids must end, in the order of ranks.
ended() {
    local pid all=
    for pid in $pids; do
        wait "$pid"
        all="$all $?"
    done
    check "$1 (statuses$all)" [ "${all# }" = "$2" ]
}

rank_is_in() {
    grep -q "^rank $1 of" "$work/$1.out"
}

# ---- settings ----
expect 1 'unknown option --prot' "$dsmd" --prot 1
expect 1 'option --port needs a value' "$dsmd" --port
expect 1 'unexpected argument x' "$dsmd" x
expect 1 '--port 70000: allowed are 0 to 65535' "$dsmd" --port 70000
expect 1 '--lease never: allowed are 0.1 to 86400 seconds, or off' "$dsmd" --lease never
expect 1 '--listen ,: allowed are' "$dsmd" --listen ,
expect 1 'cannot listen on 192.0.2.1 port [0-9]+: address not available' "$dsmd" --listen 192.0.2.1
expect 1 'cannot listen on no.such.host.invalid: ' "$dsmd" --listen no.such.host.invalid
expect 1 '/no/such: No such file' "$dsmd" --config /no/such
expect 1 '/: Is a directory' "$dsmd" --config /
printf '# all is well\nport = 0\n\nprot = 1\n' >"$work/conf"
expect 1 'conf line 4: unknown setting prot; allowed are listen, port,' "$dsmd" --config "$work/conf"
printf 'max_jobs = many\n' >"$work/conf"
expect 1 'conf line 1: max_jobs = many: allowed are 1 to' "$dsmd" --config "$work/conf"
printf '[net]\nport = 0\n' >"$work/conf"
expect 1 'conf line 2: section \[net\]: allowed are none' "$dsmd" --config "$work/conf"
printf 'port\n' >"$work/conf"
expect 1 'conf line 1: allowed is NAME = VALUE' "$dsmd" --config "$work/conf"
check 'help' sh -c "'$dsmd' --help | grep -q '^Usage: dsmd'"
check 'version' sh -c "'$dsmd' --version | grep -q '^dsmd [0-9]'"

# ---- jobs ----
open_dsmd
check 'loopback is the default' sh -c "case $address in 127.0.0.1:*) ;; *) exit 1;; esac"
expect 1 "cannot listen on 127.0.0.1 port ${address#*:}: address already in use" "$dsmd" --port "${address#*:}"
job 3 leave
ended 'a job without dsmrun' '0 0 0'
job 2 wait 1:signal=9
ended 'a death without dsmrun' '10 137'
check 'and its reason' grep -q 'view 2 without rank 1: rank 1 (.*) .* its control connection without leaving the job' "$work/0.out"
job 2 wait 1:abort=5
ended 'an abort without dsmrun' '5 5'
check 'dsmd logs it' grep -q 'dsmd: job [0-9]*: rank 1 (.*) ended the job with status 5: the test wants it' "$work/log"
job 2 0:timeout=1 1:timeout=1 1:rank=0
ended 'the same number twice: that rank is refused, then the other is missing' '11 11'
check 'the same number twice' sh -c "cat '$work'/[01].out | grep -q 'the number is taken'"
check 'the same number twice' sh -c "cat '$work'/[01].out | grep -q '1 of 2 ranks missing: 1'"
job 2 stay=3000
first_pids=$pids
wait_for 20 rank_is_in 0
DSM_DAEMON=$address DSM_TOKEN=$job_token DSM_NRANKS=2 DSM_LOG=info "$client" >"$work/stranger" 2>&1
check 'one rank too many' sh -c "[ $? -eq 11 ] && grep -q 'one too many: the job has all of its 2 ranks' '$work/stranger'"
job 2 leave
ended 'two jobs at a time' '0 0'
pids=$first_pids
ended 'the first one goes on' '0 0'
check 'states of jobs are freed' wait_for 10 sh -c \
    "[ \$(grep -c 'job [0-9]*: over' '$work/log') -eq \$(grep -o 'job [0-9]*:' '$work/log' | sort -u | wc -l) ]"
DSM_DAEMON=$address DSM_TOKEN=00 "$client" >"$work/stranger" 2>&1
check 'a token that is none' [ $? -ne 0 ]

# ---- DSM_DAEMON and dsmrun ----
DSM_DAEMON=$address expect 0 '' "$dsmrun" -n 3 "$client" leave
DSM_DAEMON=$address expect 4 'rank 1 .* exited with status 4' "$dsmrun" -n 3 "$client" hold 1:exit=4
DSM_DAEMON=127.0.0.1:1 expect 11 'rank [01] .* exited with status 11' "$dsmrun" -n 2 "$client" leave
check 'a dsmd that is not there' grep -q 'client: cannot join the job at dsmd 127.0.0.1:1: connection refused' "$work/err"
DSM_DAEMON=nonsense expect 11 'exited with status 11' "$dsmrun" -n 1 "$client" leave
check 'an address that is none' grep -q 'DSM_DAEMON=nonsense: allowed is host:port' "$work/err"
DSM_DAEMON=$address DSM_TOKEN=xyz expect 1 'DSM_TOKEN: allowed are 32 hex digits' "$dsmrun" -n 1 "$client" leave

# ---- strangers ----
port=${address#*:}
stranger() {
    exec 8<>"/dev/tcp/127.0.0.1/$port"
    printf '%b' "$1" >&8
    timeout 5 cat <&8 >"$work/answer"
    exec 8>&-
}
stranger 'GET / HTTP/1.0\r\n\r\n'
check 'another protocol' grep -aq '542393671 bytes long, allowed are 4096' "$work/answer"
stranger '\x05\x00\x00\x00hello'
check 'garbage' grep -aq 'not a control message' "$work/answer"
stranger '\x00\x00\x00\x00'
check 'an empty message' grep -aq 'empty or unknown message' "$work/answer"
stranger '\x04\x00\x00\x00\x1a\x02\x08\x01'
check 'a beat before the join' grep -aq 'the first message is no join' "$work/answer"
stranger '\x05\x00\x00\x00\xa2\x01\x02\x08\x01'
check "dsmd's own kind of message" grep -aq 'message of the other side' "$work/answer"
stranger '\x04\x00\x00\x00\x0a\x02\x08\x63'
check 'another version' grep -aq 'the rank speaks control protocol 99, dsmd 1' "$work/answer"
check 'dsmd says who' grep -Eq 'dsmd: malformed message from 127.0.0.1 port [0-9]+: not a control message' "$work/log"
# More connections that say nothing than there may be: the rest is closed, and ranks get in later.
for ((i = 0; i < 300; i++)); do exec {fd}<>"/dev/tcp/127.0.0.1/$port" && fds="${fds-} $fd"; done
check 'too many strangers' wait_for 10 grep -q 'too many connections (256) that have not joined' "$work/log"
for fd in $fds; do exec {fd}>&-; done
job 2 leave
ended 'jobs go on after that' '0 0'
close_dsmd

# ---- limits ----
printf 'max_jobs = 1\nmax_ranks = 2\nlease = 0.5\nport = 0\nlisten = 127.0.0.1, 127.0.0.2\n' >"$work/conf"
open_dsmd --config "$work/conf" --lease 2
check 'two addresses' [ "$(grep -c 'listening on 127.0.0.[12]:' "$work/log")" -eq 2 ]
job 3 leave
ended 'a job that is too large' '11 11 11'
check 'a job that is too large' sh -c "grep -q 'a job of 3 ranks was asked for, the limit of dsmd is 2' '$work/0.out'"
job 2 stay=2000
first_pids=$pids
wait_for 20 rank_is_in 0
job 1 leave
ended 'a job too many' '11'
pids=$first_pids
ended 'the one that was there' '0 0'
job 1 leave
ended 'room again afterwards' '0'
job 2 wait 1:stop
wait_for 20 rank_is_in 1
stopped=$(sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$work/1.out")
check 'the flag wins over the file: a lease of 2 s' wait_for 20 grep -q 'was silent for [0-9]* ms (lease 2000 ms)' "$work/0.out"
kill -CONT "$stopped"
ended 'the stalled rank is told when it wakes' '10 12'
close_dsmd

# ---- the end of dsmd ----
open_dsmd
job 2 stay=3000
wait_for 20 rank_is_in 0
first_pids=$pids
kill -TERM "$daemon_pid"
wait_for 20 grep -q 'no new jobs; waiting for 1' "$work/log"
job 1 leave
ended 'draining: no new jobs' '11'
check 'draining: no new jobs' sh -c "grep -q 'takes no new jobs' '$work/0.out'"
pids=$first_pids
ended 'draining: the old ones run on' '0 0'
wait "$daemon_pid"
check 'drained' [ $? -eq 0 ]
open_dsmd --drain-timeout 0.2
job 2 hold
wait_for 20 rank_is_in 0
kill -TERM "$daemon_pid"
ended 'draining has an end' '1 1'
check 'and says so' grep -q 'aborted by -1 with 1: dsmd is stopping' "$work/0.out"
wait "$daemon_pid"
check 'dsmd ends then' [ $? -eq 0 ]
open_dsmd
job 2 hold
wait_for 20 rank_is_in 0
wait_for 20 rank_is_in 1
kill -9 "$daemon_pid"
ended 'kill -9 of dsmd: ranks hear of it' '12 12'
check 'and why' grep -q 'lost dsmd: it closed the control connection' "$work/0.out"
wait "$daemon_pid" 2>/dev/null
open_dsmd --lease 2
job 2 hold
wait_for 20 rank_is_in 0
wait_for 20 rank_is_in 1
kill -STOP "$daemon_pid"
ended 'a dsmd that hangs: ranks hear nothing' '12 12'
check 'and say so' grep -q 'lost dsmd: it was silent for [0-9]* ms (lease 2000 ms)' "$work/0.out"
kill -CONT "$daemon_pid"
close_dsmd
# A daemon that hangs for less than the ranks' patience accuses nobody when it goes on.
open_dsmd --lease 4
job 4 stay=6000
for rank in 0 1 2 3; do wait_for 20 rank_is_in $rank; done
kill -STOP "$daemon_pid"
sleep 2.5
kill -CONT "$daemon_pid"
ended 'a pause of dsmd' '0 0 0 0'
close_dsmd
end_test
