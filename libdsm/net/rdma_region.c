/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_region.c - the region's memory, registered in chunks on first use, so that peers may write
 * into it and we may write from it without a copy.
 *
 * Registering a chunk allocates and pins all of it, and takes long, so the loop's thread does it
 * and whoever asked goes without this time. Chunks stay registered: to know that no peer holds the
 * key of a chunk any more would take a word to each. What is given back inside one is cleared by
 * the caller and stays pinned, within the limit.
 *
 * landing, source and unpin, the last up to when the memory is given back, are called under one
 * lock of the caller's (send runs under it too). So a chunk is not asked for between unpin's yes
 * and the hole.
 */
#define _GNU_SOURCE
#include "net/rdma.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <sys/mman.h>

/* Large enough for the largest payload at its alignment; small, as a program that touches one page
 * in each pays for all of it. */
#define CHUNK_BYTES (256u << 10)
/* Registered in one turn of the loop, which has requests to serve. */
#define CHUNKS_AT_ONCE 2
_Static_assert(CHUNK_BYTES % DSM_NET_MAX_PAYLOAD == 0, "an aligned payload lies in one chunk");

#define ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE)

static uint64_t chunk_bytes(const struct dsm_rdma_region *region, uint64_t index)
{
    uint64_t rest = region->len_bytes - index * CHUNK_BYTES;
    return rest < CHUNK_BYTES ? rest : CHUNK_BYTES;
}

/* A device that takes page faults itself needs nothing pinned. */
static void try_on_demand(struct dsm_net *net)
{
    struct ibv_device_attr_ex attr;
    const uint32_t needed = IBV_ODP_SUPPORT_WRITE;
    if (ibv_query_device_ex(net->verbs, NULL, &attr) ||
        !(attr.odp_caps.general_caps & IBV_ODP_SUPPORT) ||
        (attr.odp_caps.per_transport_caps.rc_odp_caps & needed) != needed)
        return;
    net->region.on_demand = ibv_reg_mr(net->pd, net->region.memory, net->region.len_bytes,
                                       ACCESS | IBV_ACCESS_ON_DEMAND);
    dsm_log(DSM_LOG_INFO, "rdma: %s pages on demand: %s", net->place.device,
            net->region.on_demand ? "nothing of the region is pinned" : strerrordesc_np(errno));
}

int dsm_rdma_region_set(struct dsm_net *net, void *memory, size_t len_bytes)
{
    struct dsm_rdma_region *region = &net->region;
    uint64_t n = (len_bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
    region->memory = memory;
    region->len_bytes = len_bytes;
    if (region->pin_max_bytes == 0)
        return 0;
    try_on_demand(net);
    if (region->on_demand)
        return 0;
    region->chunks = mmap(NULL, n * sizeof *region->chunks, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region->chunks == MAP_FAILED) {
        region->chunks = NULL;
        return DSM_E_NOMEM;
    }
    region->n_chunks = n;
    return 0;
}

/* The chunk that all of the bytes are in, or NULL. */
static struct dsm_rdma_chunk *chunk_of(const struct dsm_rdma_region *region, const void *addr,
                                       size_t len_bytes)
{
    uint64_t offset = (uint64_t)((uintptr_t)addr - (uintptr_t)region->memory);
    if (!region->chunks || len_bytes == 0 || (uintptr_t)addr < (uintptr_t)region->memory ||
        offset >= region->len_bytes || len_bytes > region->len_bytes - offset ||
        offset / CHUNK_BYTES != (offset + len_bytes - 1) / CHUNK_BYTES)
        return NULL;
    return &region->chunks[offset / CHUNK_BYTES];
}

/* Signal-handler safe. */
static void ask(struct dsm_net *net, struct dsm_rdma_chunk *chunk)
{
    struct dsm_rdma_region *region = &net->region;
    if (atomic_load_explicit(&region->is_full, memory_order_relaxed) ||
        atomic_exchange(&chunk->is_asked, true))
        return;
    uint32_t index = (uint32_t)(chunk - region->chunks) + 1;
    chunk->next = atomic_load_explicit(&region->asked, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&region->asked, &chunk->next, index))
        ;
    uv_async_send(&net->chore_async);
}

uint32_t dsm_rdma_landing(struct dsm_net *net, const void *addr, size_t len_bytes)
{
    if (net->region.on_demand)
        return net->region.on_demand->rkey;
    struct dsm_rdma_chunk *chunk = chunk_of(&net->region, addr, len_bytes);
    if (!chunk)
        return 0;
    uint32_t key = atomic_load_explicit(&chunk->rkey, memory_order_acquire);
    if (!key)
        ask(net, chunk);
    return key;
}

uint32_t dsm_rdma_source(struct dsm_net *net, const void *addr, size_t len_bytes)
{
    if (net->region.on_demand)
        return net->region.on_demand->lkey;
    struct dsm_rdma_chunk *chunk = chunk_of(&net->region, addr, len_bytes);
    return chunk && atomic_load_explicit(&chunk->rkey, memory_order_acquire)
               ? atomic_load_explicit(&chunk->lkey, memory_order_relaxed)
               : 0;
}

void dsm_rdma_region_ask(struct dsm_net *net, const void *addr)
{
    struct dsm_rdma_chunk *chunk = chunk_of(&net->region, addr, 1);
    if (chunk && !atomic_load_explicit(&chunk->is_asked, memory_order_relaxed))
        ask(net, chunk);
}

bool dsm_rdma_unpin(struct dsm_net *net, const void *addr, size_t len_bytes)
{
    const struct dsm_rdma_region *region = &net->region;
    uint64_t first = (uint64_t)((uintptr_t)addr - (uintptr_t)region->memory) / CHUNK_BYTES;
    uint64_t end =
        (uint64_t)((uintptr_t)addr + len_bytes - (uintptr_t)region->memory + CHUNK_BYTES - 1) /
        CHUNK_BYTES;
    if (!region->chunks) /* or on demand: the card follows the page tables */
        return true;
    for (uint64_t i = first; i < end && i < region->n_chunks; i++)
        if (atomic_load(&region->chunks[i].is_asked))
            return false;
    return true;
}

/* No more from now on; those asked for and not registered may be punched again. */
static void say_full(struct dsm_net *net, int number)
{
    struct dsm_rdma_region *region = &net->region;
    if (atomic_exchange(&region->is_full, true))
        return;
    if (number)
        dsm_log(DSM_LOG_WARN,
                "rdma: %lu KiB of the region are registered, the kernel refuses more: %s; the "
                "rest is copied through buffers (ulimit -l)",
                atomic_load(&region->pinned_bytes) >> 10, strerrordesc_np(number));
    else
        dsm_log(DSM_LOG_INFO,
                "rdma: %lu KiB of the region are registered, DSM_RDMA_PIN_MAX allows %lu KiB; the "
                "rest is copied through buffers",
                atomic_load(&region->pinned_bytes) >> 10, region->pin_max_bytes >> 10);
}

static void register_chunk(struct dsm_net *net, uint64_t index)
{
    struct dsm_rdma_region *region = &net->region;
    struct dsm_rdma_chunk *chunk = &region->chunks[index];
    uint64_t len_bytes = chunk_bytes(region, index);
    int number = 0;
    if (atomic_load(&region->pinned_bytes) + len_bytes <= region->pin_max_bytes) {
        chunk->mr = ibv_reg_mr(net->pd, region->memory + index * CHUNK_BYTES, len_bytes, ACCESS);
        number = chunk->mr ? 0 : errno;
    }
    if (!chunk->mr) {
        say_full(net, number);
        atomic_store(&chunk->is_asked, false);
        return;
    }
    atomic_fetch_add(&region->pinned_bytes, len_bytes);
    atomic_store_explicit(&chunk->lkey, chunk->mr->lkey, memory_order_relaxed);
    atomic_store_explicit(&chunk->rkey, chunk->mr->rkey, memory_order_release);
}

static bool take_asked(struct dsm_rdma_region *region, uint64_t *index_out)
{
    /* Only this thread takes, so the first one's link does not change. */
    uint32_t index = atomic_load(&region->asked);
    while (index &&
           !atomic_compare_exchange_weak(&region->asked, &index, region->chunks[index - 1].next))
        ;
    *index_out = index - 1;
    return index != 0;
}

bool dsm_rdma_region_register(struct dsm_net *net)
{
    uint64_t index;
    for (int i = 0; i < CHUNKS_AT_ONCE; i++) {
        if (!net->region.chunks || !take_asked(&net->region, &index))
            return false;
        register_chunk(net, index);
    }
    return atomic_load(&net->region.asked) != 0;
}

void dsm_rdma_region_close(struct dsm_net *net)
{
    struct dsm_rdma_region *region = &net->region;
    if (region->on_demand)
        (void)ibv_dereg_mr(region->on_demand);
    region->on_demand = NULL;
    if (!region->chunks)
        return;
    uint64_t left = atomic_load(&region->pinned_bytes);
    /* Chunks without a registration were perhaps never touched: their part of the table stays so.
     */
    for (uint64_t i = 0; left > 0 && i < region->n_chunks; i++) {
        if (!region->chunks[i].mr)
            continue;
        (void)ibv_dereg_mr(region->chunks[i].mr);
        left -= chunk_bytes(region, i);
    }
    munmap(region->chunks, region->n_chunks * sizeof *region->chunks);
    region->chunks = NULL;
}
