#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What runs in the guests of roce.sh, in a build directory: jobs and suites over rxe0, each bounded.
# A line for each, "PASS: name" or "FAIL: name" with the end of its output, and the last line
# "suite: N passed, M failed", where a program that counts its own tests stands for as many.
#   suite.sh TRAPS PART...   TRAPS: a list with commas
# Parts: device, conformance, ranks, choice, kernels, limits.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
traps=${1//,/ }
shift
# A rank that an emulated processor keeps waiting is not dead.
lease_s=60
dsmrun="dsmrun/dsmrun --lease $lease_s"
ranks=tests/system/ranks
export CK_TIMEOUT_MULTIPLIER=30
# A guest is slow to start; nothing here is decided by that.
export DSM_JOIN_TIMEOUT=120
passed=0 failed=0
out=$(mktemp)

# count NAME STATUS PASSED FAILED [REASON]
count() {
    passed=$((passed + $3))
    failed=$((failed + $4))
    if [ "$2" -eq 0 ] && [ "$4" -eq 0 ]; then
        echo "PASS: $1 ($SECONDS s)"
    else
        [ "$4" -gt 0 ] || failed=$((failed + 1))
        echo "FAIL: $1 (status $2${5:+, wanted $5})"
        tail -n 40 "$out" | sed 's/^/  | /'
    fi
}

# expect NAME STATUS PATTERN COMMAND...: the exit status, and a line of the output (extended regular
# expression); "" for no condition.
expect() {
    local name=$1 status=$2 pattern=$3 got
    shift 3
    timeout -k 10 240 "$@" >"$out" 2>&1
    got=$?
    if [ "$got" -eq "$status" ] && { [ -z "$pattern" ] || grep -Eq "$pattern" "$out"; }; then
        count "$name" 0 1 0
    else
        count "$name" "$got" 0 1 "$status${pattern:+ and /$pattern/}"
    fi
}

# check_suite NAME COMMAND...: a program of libcheck.
check_suite() {
    local name=$1 status totals
    shift
    timeout -k 10 500 "$@" >"$out" 2>&1
    status=$?
    totals=$(awk '/^[0-9]+%: Checks: / { gsub(/[^0-9 ]/, ""); n += $2; bad += $3 + $4 }
        END { print n - bad, bad + 0 }' "$out")
    # shellcheck disable=SC2086
    count "$name" "$status" $totals
}

# The device is made and removed by the script that is meant for it.
part_device() {
    expect "the device is there" 0 '^rxe0 on eth0 \(10.77.0.1/24\): 4: ACTIVE' "$top/deploy/soft-roce.sh" status
    expect "it is removed" 0 '^rxe0 removed from eth0' "$top/deploy/soft-roce.sh" down eth0
    expect "then there is none" 1 '^no Soft-RoCE device' "$top/deploy/soft-roce.sh" status
    expect "and rdma is an error with the reason" 1 'rank 0 .* has no transport rdma: no RDMA device' \
        $dsmrun -n 2 --transport rdma examples/hello
    expect "and dsm_info says so" 0 '^  rdma +no .*no RDMA device' dsm_info/dsm_info
    expect "it is made again" 0 '^rxe0 on eth0' "$top/deploy/soft-roce.sh" up eth0
    expect "making it twice does no harm" 0 '^rxe0 on eth0' "$top/deploy/soft-roce.sh" up eth0
    expect "dsm_info lists its address" 0 'GID [0-9]+: 10.77.0.1, RoCE v2' dsm_info/dsm_info
}

part_conformance() {
    check_suite "transport conformance over rdma" tests/conformance/net_rdma
}

# Coherence between processes, on 2, 3 and 4 ranks; deaths and farewells among them.
part_ranks() {
    local trap status totals
    for trap in $traps; do
        DSM_TRANSPORT=rdma RANKS_TRAPS=$trap RANKS_SEED=${RANKS_SEED:-1} RANKS_SMALL=yes \
            RANKS_FLAGS="--lease $lease_s" RANKS_LIMIT_S=300 \
            timeout -k 10 600 "$top/tests/system/ranks.sh" >"$out" 2>&1
        status=$?
        totals=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$out")
        # shellcheck disable=SC2086
        count "coherence over rdma, trap $trap" "$status" ${totals:-0 1}
    done
}

# Who decides for what, and who is told.
part_choice() {
    expect "auto takes rdma and says why" 0 'transport rdma: every rank has it, in the network 10.77.0.0/24' \
        env DSM_LOG=info $dsmrun -n 2 examples/hello
    expect "the statistics name it" 0 'statistics of rank 1, transport rdma \(every rank has it' \
        $dsmrun -n 2 --stats examples/hello
    expect "tcp can be demanded" 0 'transport tcp: rank 0 .* wants it' \
        env DSM_LOG=info $dsmrun -n 2 --transport tcp examples/hello
    expect "auto gives way where one rank may not" 1 'rank 1 .* wants transport rdma, rank 0 .* wants tcp' \
        $dsmrun -n 2 sh -c '[ $DSM_RANK = 0 ] && export DSM_TRANSPORT=tcp || export DSM_TRANSPORT=rdma; exec examples/hello'
    expect "a miss costs one post and one completion" 0 '^traffic: 5 operations, 0 above' \
        env DSM_FETCH_AHEAD=0 $dsmrun -n 2 --transport rdma tests/system/traffic
    expect "a wrong device" 1 'DSM_RDMA_DEVICE=mlx5_9' $dsmrun -n 2 --rdma-device mlx5_9 examples/hello
    expect "a GID index without address" 1 'DSM_RDMA_GID_INDEX=77' $dsmrun -n 2 --rdma-gid-index 77 examples/hello
    expect "a trap for this kernel" 0 "${traps%% *}:" env DSM_LOG=info examples/hello
}

# kernel NAME RANKS TRAP ARGUMENT...
kernel() {
    local name=$1 n=$2 trap=$3
    shift 3
    expect "$name on $n ranks over rdma, trap $trap" 0 '^result .*verified=yes' \
        $dsmrun -n "$n" --transport rdma --trap "$trap" "examples/$name" "$@"
}

part_kernels() {
    local trap n
    for trap in $traps; do
        for n in 2 4; do
            kernel lu "$n" "$trap" -n 256 -b 32
            kernel stencil "$n" "$trap" -n 128 -i 20
        done
    done
}

# Registration: less than the region, and less than the limit of an ordinary user.
part_limits() {
    expect "a region larger than what may be pinned" 0 '' \
        $dsmrun -n 2 --transport rdma --region-size 4G --rdma-pin-max 1M "$ranks" fill 1
    expect "nothing may be pinned" 0 '' \
        $dsmrun -n 2 --transport rdma --rdma-pin-max 0 "$ranks" random 1
    expect "RLIMIT_MEMLOCK too low" 1 'rdma.*(RLIMIT_MEMLOCK|ulimit -l)' \
        setpriv --reuid 65534 --regid 65534 --clear-groups \
        bash -c 'ulimit -l 16; exec dsmrun/dsmrun --lease 60 -n 2 --transport rdma examples/hello'
    expect "RLIMIT_MEMLOCK too low, and tcp instead" 0 'transport tcp: rank 0 .* has no transport rdma: it cannot be opened: a limit was reached' \
        setpriv --reuid 65534 --regid 65534 --clear-groups \
        bash -c 'ulimit -l 16; DSM_LOG=info exec dsmrun/dsmrun --lease 60 -n 2 examples/hello'
}

for part in "$@"; do
    case $part in
    device | conformance | ranks | choice | kernels | limits) "part_$part" ;;
    *) echo "suite.sh: no part '$part'" >&2 && exit 2 ;;
    esac
done
rm -f "$out"
echo "suite: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
