/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_plan.c - sizes: of what a device allows, as much as so many ranks need. */
#include "net/rdma_plan.h"
#include "base/bytes.h"
#include "base/log.h"
#include <dsm/dsm.h>

/* Receive buffers in all that a rank sets aside while its peers are few; each gets no more than
 * MOST_CREDITS, and with many peers no fewer than LEAST_CREDITS. */
#define SHARED_CREDITS 256u
#define MOST_CREDITS   64u
#define LEAST_CREDITS  4u
/* Messages that need no credit: two for each lane that tell credits, the hello and what follows its
 * answer, and the last one; all on the request lane. */
#define FREE_MESSAGES 7u
#define MOST_DEPTH    128u
#define LEAST_DEPTH   16u
/* Rings of queues are pinned as well on cards whose library makes them: an entry's bytes, at most.
 */
#define SEND_ENTRY_BYTES       256u
#define RECEIVE_ENTRY_BYTES    64u
#define COMPLETION_ENTRY_BYTES 64u

static uint64_t whole_pages(uint64_t bytes)
{
    return DSM_ALIGN_UP(bytes, 4096ul);
}

size_t dsm_rdma_slab_bytes(uint64_t n)
{
    return whole_pages(DSM_RDMA_SLAB_HEAD_BYTES + n * sizeof(struct dsm_rdma_buffer));
}

static uint32_t credits_for(uint32_t n_peers)
{
    uint32_t credits = SHARED_CREDITS / n_peers;
    return credits > MOST_CREDITS    ? MOST_CREDITS
           : credits < LEAST_CREDITS ? LEAST_CREDITS
                                     : credits;
}

static uint64_t need_of(const struct dsm_rdma_plan *plan)
{
    uint64_t n_peers = plan->n_peers;
    uint64_t need = dsm_rdma_slab_bytes(DSM_RDMA_SEND_BUFFERS) +
                    whole_pages((uint64_t)plan->send_entries * COMPLETION_ENTRY_BYTES);
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        uint64_t receives = n_peers * plan->peer_receives[lane];
        need += n_peers * dsm_rdma_slab_bytes(plan->peer_receives[lane]) +
                n_peers * whole_pages((uint64_t)(plan->depth + DSM_RDMA_LINK_REQUESTS) *
                                      SEND_ENTRY_BYTES) +
                whole_pages(receives * RECEIVE_ENTRY_BYTES) +
                whole_pages(receives * COMPLETION_ENTRY_BYTES);
    }
    return need;
}

int dsm_rdma_plan_make(const struct ibv_device_attr *attr, uint32_t n_ranks,
                       struct dsm_rdma_plan *out, char *why, size_t why_bytes)
{
    struct dsm_rdma_plan plan = {.n_peers = n_ranks > 1 ? n_ranks - 1 : 1};
    plan.credits = credits_for(plan.n_peers);
    plan.peer_receives[0] = plan.credits + FREE_MESSAGES;
    plan.peer_receives[1] = plan.credits + 1;
    uint64_t receives = (uint64_t)plan.n_peers * plan.peer_receives[0];
    uint64_t depth = (uint64_t)attr->max_cqe / (2ull * plan.n_peers);
    if (depth > (uint64_t)attr->max_qp_wr / 2)
        depth = (uint64_t)attr->max_qp_wr / 2;
    for (plan.depth = MOST_DEPTH; plan.depth > depth; plan.depth /= 2)
        ;
    if (plan.depth < LEAST_DEPTH || receives > (uint64_t)attr->max_srq_wr ||
        receives > (uint64_t)attr->max_cqe || 2ull * plan.n_peers > (uint64_t)attr->max_qp) {
        dsm_format(
            why, why_bytes,
            "it has %d queue pairs, %d receives in a shared queue and %d completions; needed "
            "are %u, %lu and %llu",
            attr->max_qp, attr->max_srq_wr, attr->max_cqe, 2 * plan.n_peers, receives,
            2ull * LEAST_DEPTH * plan.n_peers);
        return DSM_E_LIMIT;
    }
    plan.send_entries = 2 * plan.n_peers * plan.depth;
    plan.need_bytes = need_of(&plan);
    *out = plan;
    return 0;
}

bool dsm_rdma_plan_on_demand(const struct ibv_device_attr_ex *attr, uint64_t len_bytes, char *why,
                             size_t why_bytes)
{
    if (!(attr->odp_caps.general_caps & IBV_ODP_SUPPORT))
        dsm_format(why, why_bytes, "no paging on demand");
    else if (!(attr->odp_caps.per_transport_caps.rc_odp_caps & IBV_ODP_SUPPORT_WRITE))
        dsm_format(why, why_bytes, "paging on demand, but not for writes on connected queue pairs");
    else if (len_bytes > attr->orig_attr.max_mr_size)
        dsm_format(why, why_bytes, "paging on demand, for at most %lu MiB at a time",
                   (uint64_t)attr->orig_attr.max_mr_size >> 20);
    else {
        dsm_format(why, why_bytes, "pages on demand: nothing of the region is pinned");
        return true;
    }
    return false;
}
