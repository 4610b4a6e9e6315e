#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What the library does between real processes, over every trap backend of this machine.
# RANKS_TRAPS and RANKS_SEED override what is run. For machines that are slow because they are emulated:
# RANKS_FLAGS (of dsmrun), RANKS_LIMIT_S (of a job), RANKS_SHRINK (repeats divided by that), and
# RANKS_SMALL, which leaves out what is there for its size and tells how long each job took.
set -u
build=${abs_top_builddir:-$PWD}
# shellcheck disable=SC2206 # flags for every job, as words
dsmrun=("$build/dsmrun/dsmrun" ${RANKS_FLAGS-})
ranks=$build/tests/system/ranks
seed=${RANKS_SEED:-$(date +%s)}
limit_s=${RANKS_LIMIT_S:-120}
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# expect STATUS PATTERN COMMAND...: the exit status, and a line on stderr (empty: none wanted).
expect() {
    local status=$1 pattern=$2 start=$SECONDS
    shift 2
    timeout -k 5 "$limit_s" "$@" >"$work/out" 2>"$work/err"
    local got=$?
    if [ "$got" -ne "$status" ] || { [ -n "$pattern" ] && ! grep -Eq "$pattern" "$work/err"; } ||
        { [ -z "$pattern" ] && [ -s "$work/err" ]; }; then
        failed=$((failed + 1))
        echo "FAILED (status $got, wanted $status${pattern:+ and /$pattern/}): DSM_TRAP=${DSM_TRAP-} $*"
        sed 's/^/  | /' "$work/out" "$work/err" | tail -n 20
    else
        passed=$((passed + 1))
        [ -z "${RANKS_SMALL-}" ] || echo "  $((SECONDS - start)) s: $(sed 's/.* -n/-n/; s|[^ ]*/ranks ||' <<<"$*")"
    fi
}

echo "seed $seed"
for t in ${RANKS_TRAPS:-sigbus uffd segv}; do
    export DSM_TRAP=$t
    for scenario in fill units locks atomics malloc prefetch sweep straddle where random collectives bells \
        interrupted handler; do
        expect 0 '' "${dsmrun[@]}" -n 2 "$ranks" "$scenario" "$seed"
    done
    for scenario in fill malloc sweep random collectives bells; do
        expect 0 '' "${dsmrun[@]}" -n 4 "$ranks" "$scenario" "$seed"
    done
    expect 0 '' "$ranks" malloc "$seed"
    expect 0 '' "$ranks" bells
    expect 0 '' "${dsmrun[@]}" -n 1 "$ranks" random "$seed"
    if [ -n "${RANKS_SMALL-}" ]; then
        expect 0 '' env EVICT_MIB=4 "${dsmrun[@]}" -n 4 --mem-max 3M "$ranks" evict
    else
        expect 0 '' env EVICT_MIB=64 "${dsmrun[@]}" -n 4 --mem-max 24M "$ranks" evict
    fi
done
unset DSM_TRAP
# As between hosts. (Over rdma it changes nothing.)
if [ -z "${RANKS_SMALL-}" ]; then
    for scenario in fill units locks random bells handler; do
        expect 0 '' env DSM_SHM=0 "${dsmrun[@]}" -n 4 "$ranks" "$scenario" "$seed"
    done
fi
[ -n "${RANKS_SMALL-}" ] || expect 0 '' "${dsmrun[@]}" -n 8 --mem-max 64M "$ranks" evict
expect 137 'rank 3 .* died of signal 9' "${dsmrun[@]}" -n 4 "$ranks" die
expect 1 'rank 3 ' "${dsmrun[@]}" -n 4 "$ranks" leave
expect 137 'lost with rank 2' env DSM_ON_LOSS=continue "${dsmrun[@]}" -n 3 "$ranks" survive
left=$(pgrep -f "^[^ ]*/(lt-)?ranks " | wc -l) # by the name that libtool gives it
[ "$left" -eq 0 ] || { failed=$((failed + 1)); echo "FAILED: $left processes are left behind"; }
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
