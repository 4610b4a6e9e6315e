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

#include "proto/profile.h"
#include <dsm/dsm.h>
#include <stdatomic.h>

#define DSM_LIVE_NAME     "dsm-live"
#define DSM_LIVE_MAGIC    0x45564c4d53444431ull
#define DSM_LIVE_VERSION  2u
#define DSM_LIVE_EVERY_MS 250u
#define DSM_LIVE_ALLOCS   16u /* the hottest of all */
#define DSM_LIVE_WAITS    16u /* likewise */

struct dsm_live_alloc {
    uint64_t addr, bytes, faults; /* faults that other ranks had to be asked for */
    char name[32];
};

/* Calls of one place in the program that waited at one object. */
struct dsm_live_wait {
    uint64_t addr; /* of the object's name; 0: it has none */
    uint64_t ip;   /* the call */
    uint64_t count, wait_ns;
    uint32_t object; /* enum dsm_profile_object */
    uint32_t zero;
};

struct dsm_live {
    uint64_t magic;
    uint32_t version, size_bytes;
    _Atomic uint32_t seq;
    uint32_t rank, n_ranks, pid, job; /* job: equal in all ranks of it */
    uint32_t n_allocs, n_waits;
    uint64_t start_ns, updated_ns; /* monotonic */
    char host[64];
    struct dsm_stats stats;
    struct dsm_live_alloc allocs[DSM_LIVE_ALLOCS];
    struct dsm_live_wait waits[DSM_LIVE_WAITS];
    /* Where the code of the program itself lies, and from which byte of which file. */
    uint64_t code_start, code_end, code_offset;
    char code_path[256];
};

#endif
