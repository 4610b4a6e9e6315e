/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_memory.c - the protection domain, the lanes' shared receive queues, and registered buffers.
 * Slabs are shared mappings, so that a forked child copies nothing under the card's hands, and are
 * left out of the child (MADV_DONTFORK). They do not need ibv_fork_init, nor do the region's views,
 * which are the same.
 */
#define _GNU_SOURCE
#include "net/rdma.h"
#include "base/bytes.h"
#include "base/errors.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEPT_BUFFERS 64u /* for hellos, which do not wait for frames */
/* ---- limits ---- */

static bool may_lock_all(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data))
        return false;
    return data[CAP_IPC_LOCK / 32].effective & (1u << (CAP_IPC_LOCK % 32));
}

/* What the transport pins to run at all; beyond that the region is pinned, as far as allowed. */
static int check_limit(struct dsm_net *net, const struct dsm_net_rdma_config *config)
{
    uint64_t need = net->plan.need_bytes, most = UINT64_MAX;
    struct rlimit limit;
    if (!may_lock_all() && !getrlimit(RLIMIT_MEMLOCK, &limit)) {
        if (limit.rlim_cur < limit.rlim_max) {
            limit.rlim_cur = limit.rlim_max;
            (void)setrlimit(RLIMIT_MEMLOCK, &limit);
            (void)getrlimit(RLIMIT_MEMLOCK, &limit);
        }
        if (limit.rlim_cur < need) {
            dsm_log(DSM_LOG_ERROR,
                    "rdma: %lu KiB of locked memory are needed for messages of %u ranks, "
                    "RLIMIT_MEMLOCK allows %lu KiB: raise it with ulimit -l, "
                    "/etc/security/limits.conf (memlock) or LimitMEMLOCK= of the service",
                    need >> 10, net->n_ranks, (uint64_t)limit.rlim_cur >> 10);
            return DSM_E_LIMIT;
        }
        most = limit.rlim_cur - need;
    }
    net->region.has_pin_max = config->has_pin_max;
    net->region.pin_max_bytes =
        config->has_pin_max && config->pin_max_bytes < most ? config->pin_max_bytes : most;
    return 0;
}

static int plan(struct dsm_net *net)
{
    char why[200];
    int error = dsm_rdma_plan_make(&net->attr, net->n_ranks, &net->plan, why, sizeof why);
    if (error)
        dsm_log(DSM_LOG_ERROR, "rdma: %s cannot serve %u ranks: %s", net->place.device,
                net->n_ranks, why);
    net->credits = net->plan.credits;
    net->depth = net->plan.depth;
    return error;
}

/* ---- buffers ---- */

static int add_slab(struct dsm_net *net, uint64_t n, struct dsm_rdma_buffer **list)
{
    size_t len_bytes = dsm_rdma_slab_bytes(n);
    struct dsm_rdma_slab *slab =
        mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (slab == MAP_FAILED)
        return DSM_E_NOMEM;
    (void)madvise(slab, len_bytes, MADV_DONTFORK);
    (void)madvise(slab, len_bytes, MADV_DONTDUMP);
    slab->mr = dsm_rdma_register(net->pd, slab, len_bytes, IBV_ACCESS_LOCAL_WRITE);
    if (!slab->mr) {
        dsm_log(DSM_LOG_ERROR, "rdma: %lu KiB for messages cannot be registered: %s (ulimit -l)",
                (uint64_t)len_bytes >> 10, strerrordesc_np(errno));
        munmap(slab, len_bytes);
        return DSM_E_NOMEM;
    }
    slab->len_bytes = len_bytes;
    slab->next = net->slabs;
    net->slabs = slab;
    uint8_t *at = (uint8_t *)slab + DSM_RDMA_SLAB_HEAD_BYTES;
    for (uint64_t i = 0; i < n; i++) {
        struct dsm_rdma_buffer *buffer = (void *)(at + i * sizeof *buffer);
        buffer->lkey = slab->mr->lkey;
        buffer->next = *list;
        *list = buffer;
    }
    return 0;
}

static struct dsm_rdma_buffer *take_above(struct dsm_net *net, uint32_t n_kept)
{
    dsm_mutex_lock(&net->buffers_lock);
    struct dsm_rdma_buffer *buffer = net->n_free_buffers > n_kept ? net->free_buffers : NULL;
    if (buffer) {
        net->free_buffers = buffer->next;
        net->n_free_buffers--;
    } else {
        atomic_store(&net->is_short_of_buffers, true);
    }
    dsm_mutex_unlock(&net->buffers_lock);
    return buffer;
}

struct dsm_rdma_buffer *dsm_rdma_buffer_take(struct dsm_net *net)
{
    return take_above(net, KEPT_BUFFERS);
}

struct dsm_rdma_buffer *dsm_rdma_buffer_take_kept(struct dsm_net *net)
{
    return take_above(net, 0);
}

void dsm_rdma_buffer_give(struct dsm_net *net, struct dsm_rdma_buffer *buffer)
{
    dsm_mutex_lock(&net->buffers_lock);
    buffer->next = net->free_buffers;
    net->free_buffers = buffer;
    net->n_free_buffers++;
    dsm_mutex_unlock(&net->buffers_lock);
}

/* Signal-handler safe. A shared receive queue has room for every buffer that there is, so this
 * cannot fail but by a device that is gone, which ends all links by itself. */
void dsm_rdma_receive_again(struct dsm_rdma_lane *lane, struct dsm_rdma_buffer **buffers, int n)
{
    struct ibv_recv_wr *wr = lane->wr, *bad;
    struct ibv_sge *sge = lane->sge;
    for (int i = 0; i < n; i++) {
        sge[i] = (struct ibv_sge){(uintptr_t)buffers[i]->bytes, DSM_RDMA_MESSAGE_BYTES,
                                  buffers[i]->lkey};
        wr[i] = (struct ibv_recv_wr){.wr_id = (uintptr_t)buffers[i],
                                     .next = i + 1 < n ? &wr[i + 1] : NULL,
                                     .sg_list = &sge[i],
                                     .num_sge = 1};
    }
    if (n)
        (void)ibv_post_srq_recv(lane->srq, wr, &bad);
}

void dsm_rdma_receive_one(struct dsm_rdma_lane *lane, struct dsm_rdma_buffer *buffer)
{
    dsm_mutex_lock(&lane->cq.lock);
    dsm_rdma_receive_again(lane, &buffer, 1);
    dsm_mutex_unlock(&lane->cq.lock);
}

int dsm_rdma_memory_admit(struct dsm_net *net, uint32_t n_peers)
{
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        uint64_t need = (uint64_t)n_peers * net->plan.peer_receives[lane];
        struct dsm_rdma_buffer *list = NULL;
        if (need <= net->lanes[lane].n_posted)
            continue;
        int error = add_slab(net, need - net->lanes[lane].n_posted, &list);
        if (error)
            return error;
        net->lanes[lane].n_posted = (uint32_t)need;
        while (list) {
            struct dsm_rdma_buffer *buffer = list;
            list = list->next;
            dsm_rdma_receive_one(&net->lanes[lane], buffer);
        }
    }
    return 0;
}

/* ---- open and close ---- */

static int open_lane(struct dsm_net *net, unsigned lane)
{
    uint64_t n = net->plan.n_peers * (uint64_t)net->plan.peer_receives[lane];
    struct ibv_srq_init_attr attr = {.attr = {.max_wr = (uint32_t)n, .max_sge = 1}};
    int error = dsm_rdma_cq_open(net, &net->lanes[lane].cq, (uint32_t)n);
    if (error)
        return error;
    net->lanes[lane].srq = ibv_create_srq(net->pd, &attr);
    if (net->lanes[lane].srq)
        return 0;
    dsm_log(DSM_LOG_ERROR, "rdma: %s gives no shared receive queue of %lu: %s", net->place.device,
            n, strerrordesc_np(errno));
    return DSM_E_SYSTEM;
}

int dsm_rdma_memory_open(struct dsm_net *net, const struct dsm_net_rdma_config *config)
{
    int error = plan(net);
    if (!error)
        error = check_limit(net, config);
    if (error)
        return error;
    net->pd = ibv_alloc_pd(net->verbs);
    if (!net->pd) {
        dsm_log(DSM_LOG_ERROR, "rdma: %s gives no protection domain: %s", net->place.device,
                strerrordesc_np(errno));
        return DSM_E_SYSTEM;
    }
    for (unsigned lane = 0; lane < DSM_RDMA_LANES && !error; lane++)
        error = open_lane(net, lane);
    if (!error)
        error = dsm_rdma_cq_open(net, &net->sends, net->plan.send_entries);
    if (!error)
        error = add_slab(net, DSM_RDMA_SEND_BUFFERS, &net->free_buffers);
    net->n_free_buffers = error ? 0 : DSM_RDMA_SEND_BUFFERS;
    return error;
}

void dsm_rdma_memory_close(struct dsm_net *net)
{
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        if (net->lanes[lane].srq)
            (void)ibv_destroy_srq(net->lanes[lane].srq);
        net->lanes[lane].srq = NULL;
        dsm_rdma_cq_close(&net->lanes[lane].cq);
    }
    dsm_rdma_cq_close(&net->sends);
    while (net->slabs) {
        struct dsm_rdma_slab *slab = net->slabs;
        net->slabs = slab->next;
        (void)ibv_dereg_mr(slab->mr);
        munmap(slab, slab->len_bytes);
    }
    net->free_buffers = NULL;
    if (net->pd)
        (void)ibv_dealloc_pd(net->pd);
    net->pd = NULL;
}
