#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A rank that dies while the others finish is told to them by dsm_finalize, over the transport that
# DSM_TRANSPORT names (tcp).
set -u
for round in 1 2 3 4 5; do
    out=$(DSM_ON_LOSS=continue timeout -k 10 120 dsmrun/dsmrun -n 3 --transport "${DSM_TRANSPORT:-tcp}" \
        tests/system/lost_last 2>&1)
    status=$?
    if [ "$status" -ne 137 ] || [ "$(grep -c '^finalize: DSM_E_PEER$' <<<"$out")" -ne 2 ]; then
        printf 'round %s: status %s\n%s\n' "$round" "$status" "$out"
        exit 1
    fi
done
