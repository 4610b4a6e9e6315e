/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * live.h - what a running rank shows of itself to dsmtop: a page or two in a memfd named
 * DSM_LIVE_NAME, which the kernel lets the same user (and root) open through /proc/PID/fd. Nothing
 * is left behind when the rank ends, however it ends. To other hosts the same goes through dsmd
 * (Show and Shown in proto/control.proto), while somebody watches. Both sides are of the same
 * build: version and size must be equal.
 *
 * Written by the rank's service thread every DSM_LIVE_EVERY_MS: seq is odd meanwhile. A reader
 * copies, and takes the copy when seq was even and the same before and after.
 */
#ifndef DSM_PROTO_LIVE_H
#define DSM_PROTO_LIVE_H

#include <dsm/dsm.h>
#include <stdatomic.h>

#define DSM_LIVE_NAME     "dsm-live"
#define DSM_LIVE_MAGIC    0x45564c4d53444431ull
#define DSM_LIVE_VERSION  2u
#define DSM_LIVE_EVERY_MS 250u
#define DSM_LIVE_ALLOCS   16u /* the hottest of all */

struct dsm_live_alloc {
    uint64_t addr, bytes, faults; /* faults that other ranks had to be asked for */
    char name[32];
};

struct dsm_live {
    uint64_t magic;
    uint32_t version, size_bytes;
    _Atomic uint32_t seq;
    uint32_t rank, n_ranks, pid, job; /* job: equal in all ranks of it */
    uint32_t n_allocs;
    uint64_t start_ns, updated_ns; /* monotonic */
    char host[64];
    struct dsm_stats stats;
    struct dsm_live_alloc allocs[DSM_LIVE_ALLOCS];
};

#endif
