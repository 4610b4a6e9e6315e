#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# One rank in each of two connected guests, over rdma: the same script in both. The first one's dsmd
# forms the job.
#   pair.sh TOKEN
set -u
export DSM_TOKEN=$1 DSM_NRANKS=2 DSM_RANK=$VM_INDEX DSM_TRANSPORT=rdma DSM_LISTEN=$VM_IP
export RANKS_SHRINK=16 DSM_DAEMON=10.77.0.1:7433 DSM_JOIN_TIMEOUT=150 DSM_LOG=info
daemon=
if [ "$VM_INDEX" = 0 ]; then
    dsmd/dsmd --listen "$VM_IP" --port 7433 --lease off &
    daemon=$!
else
    # The first may boot more slowly; a job is joined by a daemon that is there.
    n=0
    until (: <>/dev/tcp/10.77.0.1/7433) 2>/dev/null; do
        n=$((n + 1))
        [ "$n" -lt 120 ] || { echo "FAIL: no dsmd at 10.77.0.1"; exit 1; }
        sleep 1
    done
fi
timeout -k 10 200 tests/system/ranks random 1
status=$?
if [ -n "$daemon" ]; then
    kill "$daemon"
    wait "$daemon"
fi
[ "$status" -eq 0 ] && echo "PASS: rank $DSM_RANK in a machine of its own" ||
    echo "FAIL: rank $DSM_RANK in a machine of its own (status $status)"
exit "$status"
