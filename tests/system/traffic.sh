#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What a miss, an upgrade, a lock and a barrier cost the network may not grow: traffic.c counts, on
# two ranks over the transport that DSM_TRANSPORT names (tcp). Nothing is fetched ahead, and no
# page comes as the only copy at a read, so that each page is an operation of its own.
set -u
out=$(mktemp)
trap 'rm -f "$out"' EXIT
DSM_FETCH_AHEAD=0 DSM_MIGRATORY=0 timeout -k 10 240 dsmrun/dsmrun -n 2 --transport "${DSM_TRANSPORT:-tcp}" \
    tests/system/traffic 2>&1 | tee "$out"
[ "${PIPESTATUS[0]}" -eq 0 ] && grep -q '^traffic: 5 operations, 0 above' "$out"
