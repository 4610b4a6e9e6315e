#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What runs in the guests of roce.sh, in a build directory: jobs and suites over rxe0, each bounded.
# A line for each, "PASS: name" or "FAIL: name" with the end of its output, and the last line
# "suite: N passed, M failed", where a program that counts its own tests stands for as many.
#   suite.sh TRAPS PART...   TRAPS: a list with commas
# Parts: device, refusals, choice, limits, conformance, traps, ranks, kernels.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
traps=${1//,/ }
shift
# Jobs take seconds, on an emulated machine too: what reaches this hangs.
limit_s=150
# A rank that an emulated processor keeps waiting is not dead.
lease_s=60
# What is only repeated is repeated so many times less.
shrink=16
dsmrun="dsmrun/dsmrun --lease $lease_s"
ranks=tests/system/ranks
export CK_TIMEOUT_MULTIPLIER=30
# A guest is slow to start; nothing here is decided by that.
export DSM_JOIN_TIMEOUT=120
passed=0 failed=0
out=$(mktemp)

# count NAME STATUS PASSED FAILED [REASON]: what took since started.
count() {
    passed=$((passed + $3))
    failed=$((failed + $4))
    if [ "$2" -eq 0 ] && [ "$4" -eq 0 ]; then
        echo "PASS: $1 ($((SECONDS - started)) s)"
        grep '^  [0-9]* s: ' "$out"
    else
        [ "$4" -gt 0 ] || failed=$((failed + 1))
        echo "FAIL: $1 (status $2${5:+, wanted $5})"
        tail -n 40 "$out" | sed 's/^/  | /'
    fi
}

# expect NAME STATUS PATTERN COMMAND...: the exit status, and a line of the output (extended regular
# expression); "" for no condition.
expect() {
    local name=$1 status=$2 pattern=$3 started=$SECONDS got
    shift 3
    timeout -k 10 "$limit_s" "$@" >"$out" 2>&1
    got=$?
    if [ "$got" -eq "$status" ] && { [ -z "$pattern" ] || grep -Eq -e "$pattern" "$out"; }; then
        count "$name" 0 1 0
    else
        count "$name" "$got" 0 1 "$status${pattern:+ and /$pattern/}"
    fi
}

# check_suite NAME COMMAND...: a program of libcheck.
check_suite() {
    local name=$1 started=$SECONDS status totals
    shift
    timeout -k 10 300 "$@" >"$out" 2>&1
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

# What the device has open: listeners, registered memory and all else.
resources() {
    rdma resource show
    rdma resource show cm_id
}

# refused NAME PATTERN COMMAND...: exit status 1 and a line that says why; nobody runs, listens or has
# memory registered afterwards.
refused() {
    local before after n=0
    before=$(resources)
    expect "$1" 1 "$2" "${@:3}"
    expect "$1: nothing is left running" 1 '' pgrep -f '^[^ ]*/(lt-)?(hello|ranks)( |$)'
    # A process that is gone may be cleared away behind its parent's back.
    until after=$(resources) && [ "$after" = "$before" ] || [ "$n" -ge 60 ]; do
        n=$((n + 1))
        sleep 1
    done
    expect "$1: nothing is left open" 0 '' test "$after" = "$before"
}

as_nobody="setpriv --reuid 65534 --regid 65534 --clear-groups bash -c"

part_refusals() {
    local on_two='export DSM_RDMA_DEVICE=rxe$DSM_RANK; exec examples/hello'
    refused "a wrong device" 'DSM_RDMA_DEVICE=mlx5_9: .*rxe0' $dsmrun -n 2 --rdma-device mlx5_9 examples/hello
    refused "a wrong port" 'DSM_RDMA_PORT=7: ' $dsmrun -n 2 --rdma-port 7 examples/hello
    refused "an MTU that does not exist" '--rdma-mtu 1000: allowed are 256, 512' $dsmrun -n 2 --rdma-mtu 1000 examples/hello
    refused "a GID index without address" 'DSM_RDMA_GID_INDEX=77: ' $dsmrun -n 2 --rdma-gid-index 77 examples/hello
    refused "RLIMIT_MEMLOCK too low" \
        'rdma: [0-9]+ KiB of locked memory are needed .* RLIMIT_MEMLOCK allows 16 KiB: raise it with ulimit -l' \
        $as_nobody "ulimit -l 16; exec $dsmrun -n 2 --transport rdma examples/hello"
    refused "two transports in one job" 'rank 1 .* wants transport rdma, rank 0 .* wants tcp' \
        $dsmrun -n 2 sh -c '[ $DSM_RANK = 0 ] && export DSM_TRANSPORT=tcp || export DSM_TRANSPORT=rdma; exec examples/hello'
    # A second device in a network to which there is no way.
    ip link add dummy1 type dummy
    ip addr add 10.88.0.1/24 dev dummy1
    ip link set dummy1 up mtu 9000
    expect "a second device" 0 '^rxe1 on dummy1 \(10.88.0.1/24\)' "$top/deploy/soft-roce.sh" up dummy1
    ip route del local 10.88.0.1 dev dummy1 table local
    ip route del 10.88.0.0/24 dev dummy1
    # One of the two finds none, the other waits for it, whichever begins.
    refused "no route between two ranks" \
        'rank [01] at 10\.(88|77)\.0\.1:[0-9]+: .*([Uu]nreachable|[Nn]o route|no way to|no connection within [0-9]+ ms)' \
        $dsmrun -n 2 --transport rdma sh -c "$on_two"
    expect "auto takes tcp there, and says why" 0 'transport tcp: .*rank 1 .* is in the network 10.88.0.0/24' \
        env DSM_LOG=info $dsmrun -n 2 sh -c "$on_two"
    expect "the second device is removed" 0 '^rxe1 removed' "$top/deploy/soft-roce.sh" down dummy1
    ip link del dummy1
}

# The suite of every transport (other builds, sizes, epochs and tokens among what it refuses), and
# what only a card does.
part_conformance() {
    check_suite "transport conformance over rdma" tests/conformance/net_rdma
}

# The trap backends themselves, on this kernel.
part_traps() {
    local trap
    for trap in $traps; do
        check_suite "trap conformance, $trap" "tests/conformance/trap_$trap"
    done
}

# Coherence between processes, on 2, 3 and 4 ranks; deaths and farewells among them.
part_ranks() {
    local trap status totals started
    for trap in $traps; do
        started=$SECONDS
        DSM_TRANSPORT=rdma RANKS_TRAPS=$trap RANKS_SEED=${RANKS_SEED:-1} RANKS_SMALL=yes \
            RANKS_SHRINK=$shrink RANKS_FLAGS="--lease $lease_s" RANKS_LIMIT_S=$limit_s \
            timeout -k 10 350 "$top/tests/system/ranks.sh" >"$out" 2>&1
        status=$?
        totals=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$out")
        # shellcheck disable=SC2086
        count "coherence over rdma, trap $trap" "$status" ${totals:-0 1}
    done
}

# Who decides for what, and who is told; what was not chosen is closed.
part_choice() {
    expect "auto takes rdma and says why" 0 'transport rdma: every rank has it, in the network 10.77.0.0/24' \
        env DSM_LOG=info $dsmrun -n 2 examples/hello
    expect "the statistics name it" 0 'statistics of rank 1, transport rdma \(every rank has it' \
        $dsmrun -n 2 --stats examples/hello
    expect "tcp can be demanded" 0 'transport tcp: rank 0 .* wants it' \
        env DSM_LOG=info $dsmrun -n 2 --transport tcp examples/hello
    expect "a miss costs one post and one completion" 0 '^traffic: 5 operations, 0 above' \
        env DSM_FETCH_AHEAD=0 DSM_MIGRATORY=0 $dsmrun -n 2 --transport rdma tests/system/traffic
    expect "memory that was registered goes back when it is freed" 0 '^reuse: 6 rounds over rdma' \
        $dsmrun -n 2 --transport rdma tests/system/reuse
    expect "the ranks of a job over rdma listen on the device" 0 '' \
        env RANKS_COMMAND='[ $(rdma resource show cm_id | grep -c LISTEN) -eq 2 ]' \
        $dsmrun -n 2 --transport rdma "$ranks" command
    expect "where one rank takes tcp none keeps the device open" 0 '' \
        env RANKS_COMMAND='[ -z "$(rdma resource show cm_id)" ] && ! rdma resource show mr | grep -q pid' \
        $dsmrun -n 2 sh -c '[ $DSM_RANK = 0 ] || export DSM_TRANSPORT=tcp; exec "$0" command' "$ranks"
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
    expect "nothing may be pinned" 0 '' env RANKS_SHRINK=$shrink \
        $dsmrun -n 2 --transport rdma --rdma-pin-max 0 "$ranks" random 1
    expect "RLIMIT_MEMLOCK just enough for messages" 0 'statistics of rank 1, transport rdma' \
        $as_nobody "ulimit -l 4096; exec $dsmrun -n 2 --transport rdma --stats $ranks fill 1"
    expect "RLIMIT_MEMLOCK too low, and tcp instead" 0 'transport tcp: rank 0 .* has no transport rdma: it cannot be opened: a limit was reached' \
        $as_nobody "ulimit -l 16; DSM_LOG=info exec $dsmrun -n 2 examples/hello"
}

for part in "$@"; do
    case $part in
    device | refusals | choice | limits | conformance | traps | ranks | kernels) "part_$part" ;;
    *) echo "suite.sh: no part '$part'" >&2 && exit 2 ;;
    esac
done
rm -f "$out"
echo "suite: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
