#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Litmus tests between real processes: no outcome that sequential consistency forbids, in each of
# LITMUS_ROUNDS rounds (10,000; a run on demand takes 100,000) of each test in each layout.
# LITMUS_SEED and LITMUS_TRAPS (sigbus, uffd, segv; default: the one that is chosen) override.
set -u
build=${abs_top_builddir:-$PWD}
rounds=${LITMUS_ROUNDS:-10000}
seed=${LITMUS_SEED:-$(date +%s)}
# Ten times what a quiet machine needs: a hang, not a slow machine, is what ends a run.
limit_s=$((200 + rounds / 40))
failed=0

echo "seed $seed, $rounds rounds"
for t in ${LITMUS_TRAPS:-auto}; do
    for n in 2 3 4; do
        echo "trap $t, $n ranks"
        DSM_TRAP=$t timeout -k 5 "$limit_s" "$build/dsmrun/dsmrun" -n "$n" \
            "$build/tests/system/litmus" --rounds "$rounds" --seed "$seed"
        status=$?
        if [ "$status" -ne 0 ]; then
            echo "FAILED: $n ranks, trap $t, exit status $status; seed $seed"
            failed=1
        fi
    done
done
exit "$failed"
