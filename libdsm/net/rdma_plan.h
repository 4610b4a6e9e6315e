/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_plan.h - how large queues and buffers are for so many ranks on a device, what of that is
 * pinned, and whether the region must be. Decides from what the device says; asks and makes
 * nothing.
 */
#ifndef DSM_NET_RDMA_PLAN_H
#define DSM_NET_RDMA_PLAN_H

#include "net/net.h"
#include <infiniband/verbs.h>

#define DSM_RDMA_LANES 2

#define DSM_RDMA_WORD_BYTES 32u
#define DSM_RDMA_HEAD_BYTES (DSM_RDMA_WORD_BYTES + DSM_NET_HEADER_BYTES)
#define DSM_RDMA_PART_BYTES 4096u /* of payload in a message: a page */
/* The longest message; a multiple of the cache line. */
#define DSM_RDMA_MESSAGE_BYTES 4224u

/* Registered memory for one message, sent or received. */
struct dsm_rdma_buffer {
    struct dsm_rdma_buffer *next;
    uint32_t lkey;
    uint32_t len_bytes; /* received */
    uint8_t pad[48];
    uint8_t bytes[DSM_RDMA_MESSAGE_BYTES];
};

struct dsm_rdma_slab {
    struct dsm_rdma_slab *next;
    size_t len_bytes;
    struct ibv_mr *mr;
};

#define DSM_RDMA_SLAB_HEAD_BYTES 64u
_Static_assert(sizeof(struct dsm_rdma_slab) <= DSM_RDMA_SLAB_HEAD_BYTES, "buffers lie behind it");

/* To send from. */
#define DSM_RDMA_SEND_BUFFERS 320u
/* Of a queue pair, beside the connection's: the link's own messages. */
#define DSM_RDMA_LINK_REQUESTS 4u

struct dsm_rdma_plan {
    uint32_t n_peers;
    uint32_t credits; /* of each peer, for each lane */
    uint32_t depth;   /* of a send queue; a power of two, by which counts that wrap are divided */
    uint32_t peer_receives[DSM_RDMA_LANES]; /* buffers set aside for each peer */
    uint32_t send_entries;                  /* of the queue of send completions */
    uint64_t need_bytes;                    /* pinned for all this, once every peer is connected */
};

/* Of a slab of n buffers, which is whole pages. */
size_t dsm_rdma_slab_bytes(uint64_t n);
/* Errors: LIMIT; why: the numbers. */
int dsm_rdma_plan_make(const struct ibv_device_attr *attr, uint32_t n_ranks,
                       struct dsm_rdma_plan *out, char *why, size_t why_bytes);
/* Whether the device takes page faults on what we let peers write to and write from, so that
 * nothing of the region has to be pinned; one line why (not). */
bool dsm_rdma_plan_on_demand(const struct ibv_device_attr_ex *attr, uint64_t len_bytes, char *why,
                             size_t why_bytes);

#endif
