#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Memory that is freed goes back to the system and can be had again, over the transport that
# DSM_TRANSPORT names (tcp).
set -u
out=$(timeout -k 10 240 dsmrun/dsmrun -n 2 --transport "${DSM_TRANSPORT:-tcp}" tests/system/reuse 2>&1)
status=$?
printf '%s\n' "$out"
[ "$status" -eq 0 ] && grep -q '^reuse: 6 rounds over ' <<<"$out"
