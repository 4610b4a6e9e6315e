#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Programs that once hung or ended the job, and ranks killed at random moments.
# STRESS_SEED and STRESS_KILLS override the seed and the number of kills (50 for a thorough run).
set -u
build=${abs_top_builddir:-$PWD}
dsmrun=$build/dsmrun/dsmrun
stress=$build/tests/system/stress
seed=${STRESS_SEED:-$(date +%s)}
kills=${STRESS_KILLS:-9}
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DSM_FAULT_TIMEOUT=20

note() { # note OK? WHAT...
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: DSM_TRAP=${DSM_TRAP-} ${*:2}"
        sed 's/^/  | /' "$work/err" | tail -n 20
    fi
}

run() {
    timeout -k 5 60 "$dsmrun" "$@" >"$work/out" 2>"$work/err" && [ ! -s "$work/err" ]
    note $? "$@"
}

# The ranks of `stress forever KEY`: neither dsmrun nor timeout, and not libtool's wrapper.
ranks_of() {
    pgrep -f "^[^ ]*stress $1\$"
}

# One rank dies at a random moment: dsmrun says so, nothing hangs, nothing stays behind.
kill_one() {
    timeout -k 5 30 "$dsmrun" -n 4 "$stress" forever "$1" >"$work/out" 2>"$work/err" &
    local job=$! ms=$((RANDOM % 600 + 50)) rank=$((RANDOM % 4 + 1)) victim="" status
    for _ in $(seq 200); do # until all run
        victim=$(ranks_of "forever $1" | sed -n 4p)
        [ -n "$victim" ] && break
        sleep 0.05
    done
    sleep "0.$(printf %03d "$ms")"
    victim=$(ranks_of "forever $1" | sed -n "${rank}p")
    kill -9 "$victim"
    wait "$job"
    status=$?
    [ "$status" -eq 137 ] && grep -q 'died of signal 9' "$work/err"
    note $? "kill -9 of a rank after $ms ms: status $status"
}

echo "seed $seed"
RANDOM=$((seed % 32768))
for t in sigbus uffd segv; do
    export DSM_TRAP=$t
    run -n 2 "$stress" signals "$seed"
    run -n 3 "$stress" hints "$seed"
    run -n 3 "$stress" wild "$seed"
    for i in $(seq $((kills / 3))); do
        kill_one "$((seed + i))"
    done
done
unset DSM_TRAP
run -n 2 --region-size 1M "$stress" locks "$seed"
left=$(ranks_of '.*' | wc -l)
[ "$left" -eq 0 ]
note $? "$left processes are left behind"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
