#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# dsmtop beside a running job: what it prints for programs, what it draws on a terminal, what it
# refuses. The job waits until it is told to go on, so nothing here depends on how fast anything is.
# shellcheck source=tests/system/dsmd_support.sh
. "${srcdir:-.}/tests/system/dsmd_support.sh"
top=$build/dsmtop/dsmtop
job=$build/tests/system/profile_job
rounds=40
mkfifo "$work/go"
"$dsmrun" -n 2 "$job" $rounds wait <"$work/go" >"$work/job.out" 2>"$work/job.err" &
pid=$!
exec 7>"$work/go"

# The job says when its rounds are over; a rank shows its counters every quarter of a second.
is_there() {
    grep -q '^waiting$' "$work/job.out" &&
        rank_pid=$(sed -n 's/^rank 0 is //p' "$work/job.out") && [ -n "$rank_pid" ] &&
        "$top" --json -p "$rank_pid" >"$work/json" 2>"$work/err" &&
        jq -e ".ranks | length == 2 and .[0].faults_write >= $((rounds + 1)) and .[1].faults_read >= $rounds" \
            "$work/json" >/dev/null
}
check 'the job is seen' wait_for 120 is_there
check 'its ranks are in order' jq -e '[.ranks[].rank] == [0, 1] and .n_ranks == 2' "$work/json"
check 'its faults' jq -e ".ranks[1].faults_write == $rounds and .ranks[0].faults_upgrade == $((rounds - 1))" "$work/json"
check 'its barriers' jq -e ".ranks[0].barriers >= $((4 * rounds))" "$work/json"
check 'its allocations' jq -e '[.allocations[].name] | sort == ["<i>halves</i>&\"", "word"]' "$work/json"
# All but the first write of rank 0 to each, who is at home there, take another rank.
check 'their faults' jq -e "[.allocations[].faults] | add == $((4 * rounds - 2))" "$work/json"
check 'where it waited' jq -e "[.waits[] | select(.object == \"semaphore word + 0xa0\" and (.code | test(\"^profile_job.c:[0-9]+ .synchronise.\$\"))) | .times] == [$rounds, $rounds]" "$work/json"
number=$(jq -r .job "$work/json")
"$top" --list >"$work/list"
check '--list' grep -Eq "^$number +2 +2 +[0-9]+$" "$work/list"
"$top" --batch -j "$number" -n 2 -d 0.1 >"$work/text"
check '--batch' sh -c "[ \$(grep -c '^job $number' '$work/text') -eq 2 ]"
check 'a wait in text' grep -Eq ' +[0-9.]+ s +[0-9]+ times  .*profile_job.c:[0-9]+ \(' "$work/text"
check 'the allocation in text' grep -Eq ' MB  0x[0-9a-f]+  word$' "$work/text"

# On a terminal of 24 lines and 120 columns, driven by a program.
python3 - "$top" "$rank_pid" >"$work/out" 2>"$work/err" <<'END'
import os, pty, select, sys
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(TERM="xterm", LINES="24", COLUMNS="120")
    os.execv(sys.argv[1], [sys.argv[1], "-p", sys.argv[2], "-d", "0.2"])
seen, asked = b"", False
while True:
    if not select.select([fd], [], [], 120)[0]:
        sys.exit(f"nothing was drawn for two minutes: {seen!r}")
    try:
        piece = os.read(fd, 65536)
    except OSError:
        break
    if not piece:
        break
    seen += piece
    if not asked and b"memory MB" in seen and b"word" in seen and sys.argv[2].encode() in seen:
        os.write(fd, b"q")
        asked = True
status = os.waitpid(pid, 0)[1]
print("drawn and ended" if asked and status == 0 else f"asked {asked}, status {status}: {seen!r}")
END
check 'the screen' grep -qx 'drawn and ended' "$work/out"

# The same through dsmd alone, as for ranks on other hosts.
environment() {
    tr '\0' '\n' <"/proc/$rank_pid/environ" | sed -n "s/^$1=//p"
}
daemon=$(environment DSM_DAEMON) token=$(environment DSM_TOKEN)
DSM_TOKEN=$token
export DSM_TOKEN
through_daemon() {
    "$top" --json --daemon "$daemon" >"$work/json" 2>"$work/err" &&
        jq -e '[.ranks[].rank] == [0, 1] and .n_ranks == 2 and ([.ranks[].is_here] | any | not)' \
            "$work/json" >/dev/null
}
check 'dsmd tells of all ranks' wait_for 120 through_daemon
check 'their numbers' jq -e ".ranks[1].faults_write == $rounds and .ranks[1].pid != .ranks[0].pid" "$work/json"
check 'their host' jq -e ".ranks[1].host == \"$(hostname)\" and .job == \"$number\"" "$work/json"
check 'their allocations' jq -e "[.allocations[].faults] | add == $((4 * rounds - 2))" "$work/json"
says() {
    local status=$1 pattern=$2
    shift 2
    "$@" >"$work/out" 2>"$work/err" </dev/null
    local got=$?
    check "status $status and /$pattern/ (status $got): $*" sh -c \
        "[ $got -eq $status ] && [ \$(wc -l <'$work/err') -eq 1 ] && grep -Eq '$pattern' '$work/err'"
}
says 1 'does not tell what the ranks do: no job here has this token' \
    env DSM_TOKEN=00000000000000000000000000000000 "$top" --json --daemon "$daemon"
says 2 'DSM_TOKEN must name the job: 32 hex digits' env DSM_TOKEN=1 "$top" --json --daemon "$daemon"
says 1 'cannot connect to dsmd at 127.0.0.1:1: Connection refused' "$top" --json --daemon 127.0.0.1:1
says 1 'nonsense: where dsmd is: allowed is host:port' "$top" --json --daemon nonsense
unset DSM_TOKEN

exec 7>&-
wait "$pid"
check 'the job ends well' sh -c "[ $? -eq 0 ]"
gone() {
    ! "$top" --json -p "$rank_pid" >"$work/out" 2>"$work/err"
}
check 'it is seen no more' wait_for 60 gone
check 'and that is said' grep -q 'no such job of this user has ranks on this host' "$work/err"

# A rank that cannot be found on this host is heard of through dsmd.
rm -f "$work/go"
mkfifo "$work/go"
"$dsmrun" -n 2 "$job" 2 wait hide <"$work/go" >"$work/job.out" 2>"$work/job.err" &
pid=$!
exec 7>"$work/go"
both_are_there() {
    grep -q '^waiting$' "$work/job.out" && rank_pid=$(sed -n 's/^rank 0 is //p' "$work/job.out") &&
        "$top" --json -p "$rank_pid" >"$work/json" 2>"$work/err" &&
        jq -e '[.ranks[] | [.rank, .is_here]] == [[0, true], [1, false]]' "$work/json" >/dev/null
}
check 'the hidden rank is seen' wait_for 120 both_are_there
check 'its faults are' jq -e '.ranks[1].faults_write == 2' "$work/json"
check 'both have a line' sh -c "[ \$('$top' --batch -p $rank_pid -n 2 -d 0.1 | grep -Ec '^ +[01] +[0-9]+ ') -eq 4 ]"
exec 7>&-
wait "$pid"
check 'that job ends well, too' sh -c "[ $? -eq 0 ]"

# A job that works on more memory than it may hold is told so, once.
# shellcheck disable=SC2016
timeout -k 5 120 "$dsmrun" -n 2 sh -c '[ "$DSM_RANK" != 0 ] || export DSM_MEM_MAX=1M; exec "$@"' \
    sh "$job" 40 walk >"$work/out" 2>"$work/err" </dev/null
check 'the walk ends well' sh -c "[ $? -eq 0 ]"
check 'a memory limit below the working set is told once' sh -c \
    "[ \$(grep -c 'dsm\[0\]: this rank works on more memory than it may hold: .* with a limit of 1 MiB; raise DSM_MEM_MAX' '$work/err') -eq 1 ]"
check 'and nothing else' sh -c "[ \$(wc -l <'$work/err') -eq 1 ]"

refuses() {
    local pattern=$1
    shift
    timeout 60 "$top" "$@" >"$work/out" 2>"$work/err" </dev/null
    local got=$?
    if [ $got -ne 2 ] || [ "$(wc -l <"$work/err")" -ne 1 ] || ! grep -Eqe "$pattern" "$work/err"; then
        fail "status $got, wanted 2 and one line with /$pattern/: $*"
    else
        pass
    fi
}
refuses '--pid x: allowed is' --pid x
refuses '--job 0: allowed is' --job 0
refuses '--delay 0: allowed is 0.1 to 3600 seconds' -d 0
refuses '--looks 0: allowed is' -n 0
refuses 'unknown option --frob' --frob
refuses 'option -p needs a value' -p
refuses 'unexpected argument x' x
check 'help' sh -c "'$top' --help | grep -q '^Usage: dsmtop'"
check 'version' sh -c "'$top' --version | grep -q '^dsmtop [0-9]'"
end_test
