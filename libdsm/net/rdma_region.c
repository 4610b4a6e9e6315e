/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_region.c - the region's memory, registered in chunks on first use, so that peers may write
 * into it and we may write from it without a copy.
 *
 * Registering a chunk allocates and pins all of it, and takes long, so the loop's thread does it
 * and whoever asked goes without this time. It also lets chunks go: of which the caller has given
 * back some (unpin; he clears that), and says that he uses nothing more (is_unused). Then no key of
 * the chunk is with a peer, since a key lives as long as the request it went out with; and nothing
 * is being written from it. Only the keys of requests that were given up because their home died
 * may be with somebody who lives, and a write with a key that is void would break the connection to
 * him: so what was registered before a loss stays so.
 *
 * landing and unpin, the latter up to when the memory is given back, are called under one lock of
 * the caller's (send runs under it too), which is_unused takes. So a chunk is not asked for between
 * unpin's yes and the hole, and no key is given out between is_unused and the end of the chunk: the
 * key is taken off before is_unused is asked, and put back when it says no.
 */
#define _GNU_SOURCE
#include "net/rdma.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Large enough for the largest payload at its alignment; small, as a program that touches one page
 * in each pays for all of it. */
#define CHUNK_BYTES (256u << 10)
/* Registered, or let go, in one turn of the loop, which has requests to serve. */
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
    char why[120];
    if (ibv_query_device_ex(net->verbs, NULL, &attr))
        return;
    if (dsm_rdma_plan_on_demand(&attr, net->region.len_bytes, why, sizeof why)) {
        net->region.on_demand = dsm_rdma_register(
            net->pd, net->region.memory, net->region.len_bytes, ACCESS | IBV_ACCESS_ON_DEMAND);
        if (!net->region.on_demand)
            dsm_format(why, sizeof why, "paging on demand was refused: %s", strerrordesc_np(errno));
    }
    dsm_log(DSM_LOG_INFO, "rdma: %s: %s", net->place.device, why);
}

/* A chunk is in memory as a whole, however little of it is used, so the caller says how much that
 * may be. Half of it, unless somebody wants more: the rest is for him. */
static void limit_pins(struct dsm_rdma_region *region, uint64_t most_bytes)
{
    uint64_t most = region->has_pin_max || most_bytes == UINT64_MAX ? most_bytes : most_bytes / 2;
    if (region->pin_max_bytes <= most)
        return;
    if (region->has_pin_max)
        dsm_log(DSM_LOG_WARN,
                "DSM_RDMA_PIN_MAX: no more than %lu KiB are registered, half of what this rank may "
                "hold (DSM_MEM_MAX), or what is left beside the largest unit",
                most >> 10);
    region->pin_max_bytes = most;
}

int dsm_rdma_region_set(struct dsm_net *net, void *memory, size_t len_bytes, int fd,
                        uint64_t most_bytes, uint64_t *pinned_out)
{
    (void)fd;
    struct dsm_rdma_region *region = &net->region;
    uint64_t n = (len_bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
    region->memory = memory;
    region->len_bytes = len_bytes;
    *pinned_out = 0;
    if (region->has_pin_max && region->pin_max_bytes == 0)
        return 0;
    try_on_demand(net);
    if (region->on_demand)
        return 0;
    limit_pins(region, most_bytes);
    if (region->pin_max_bytes < CHUNK_BYTES)
        return 0;
    region->chunks = mmap(NULL, n * sizeof *region->chunks, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region->chunks == MAP_FAILED) {
        region->chunks = NULL;
        return DSM_E_NOMEM;
    }
    region->n_chunks = n;
    *pinned_out = region->pin_max_bytes < len_bytes ? region->pin_max_bytes : len_bytes;
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

/* Lists of chunks: any thread puts, also in a signal handler; the loop's thread takes. */

static void put(struct dsm_net *net, _Atomic uint32_t *list, struct dsm_rdma_chunk *chunk,
                uint32_t *next)
{
    uint32_t index = (uint32_t)(chunk - net->region.chunks) + 1;
    *next = atomic_load_explicit(list, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(list, next, index))
        ;
    dsm_chores_wake(&net->chores);
}

static struct dsm_rdma_chunk *take_asked(struct dsm_rdma_region *region)
{
    /* Only this thread takes, so the first one's link does not change. */
    uint32_t index = atomic_load(&region->asked);
    while (index && !atomic_compare_exchange_weak(&region->asked, &index,
                                                  region->chunks[index - 1].next_asked))
        ;
    return index ? &region->chunks[index - 1] : NULL;
}

static struct dsm_rdma_chunk *take_given_back(struct dsm_rdma_region *region)
{
    uint32_t index = atomic_load(&region->given_back);
    while (index && !atomic_compare_exchange_weak(&region->given_back, &index,
                                                  region->chunks[index - 1].next_given_back))
        ;
    return index ? &region->chunks[index - 1] : NULL;
}

/* Signal-handler safe. */
static void ask(struct dsm_net *net, struct dsm_rdma_chunk *chunk)
{
    if (!atomic_load_explicit(&net->region.is_full, memory_order_relaxed) &&
        !atomic_exchange(&chunk->is_asked, true))
        put(net, &net->region.asked, chunk, &chunk->next_asked);
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

size_t dsm_rdma_unpin(struct dsm_net *net, const void *addr, size_t len_bytes, bool *is_free_out)
{
    struct dsm_rdma_region *region = &net->region;
    uint64_t offset = (uint64_t)((uintptr_t)addr - (uintptr_t)region->memory);
    uint64_t first = offset / CHUNK_BYTES, end = (offset + len_bytes - 1) / CHUNK_BYTES + 1, i;
    *is_free_out = true;
    if (!region->chunks) /* or on demand: the card follows the page tables */
        return len_bytes;
    for (i = first; i < end; i++) {
        struct dsm_rdma_chunk *chunk = &region->chunks[i];
        bool is_asked = atomic_load(&chunk->is_asked); /* the loop's thread may end that */
        if (i == first)
            *is_free_out = !is_asked;
        else if (is_asked == *is_free_out)
            break;
        if (!*is_free_out && !atomic_exchange(&chunk->is_given_back, true))
            put(net, &region->given_back, chunk, &chunk->next_given_back);
    }
    return i < end ? i * CHUNK_BYTES - offset : len_bytes;
}

/* ---- the loop's thread ---- */

/* No more for now; those asked for and not registered may be punched again. */
static void note_full(struct dsm_net *net, int number)
{
    struct dsm_rdma_region *region = &net->region;
    atomic_store(&region->is_full, true);
    if (region->was_full)
        return;
    region->was_full = true;
    if (number)
        dsm_log(DSM_LOG_WARN,
                "rdma: %lu KiB of the region are registered, the kernel refuses %u KiB more: %s; "
                "the rest is copied through buffers (raise ulimit -l)",
                atomic_load(&region->pinned_bytes) >> 10, CHUNK_BYTES >> 10,
                strerrordesc_np(number));
    else
        dsm_log(DSM_LOG_INFO,
                "rdma: %lu KiB of the region are registered, at most %lu KiB may be "
                "(DSM_RDMA_PIN_MAX); the rest is copied through buffers",
                atomic_load(&region->pinned_bytes) >> 10, region->pin_max_bytes >> 10);
}

static uint64_t index_of(const struct dsm_rdma_region *region, const struct dsm_rdma_chunk *chunk)
{
    return (uint64_t)(chunk - region->chunks);
}

static void register_chunk(struct dsm_net *net, struct dsm_rdma_chunk *chunk)
{
    struct dsm_rdma_region *region = &net->region;
    uint64_t index = index_of(region, chunk), len_bytes = chunk_bytes(region, index);
    int number = 0;
    if (atomic_load(&region->pinned_bytes) + len_bytes <= region->pin_max_bytes) {
        chunk->mr =
            dsm_rdma_register(net->pd, region->memory + index * CHUNK_BYTES, len_bytes, ACCESS);
        number = chunk->mr ? 0 : errno;
    }
    if (!chunk->mr) {
        note_full(net, number);
        atomic_store(&chunk->is_asked, false);
        return;
    }
    chunk->n_losses = region->n_losses;
    atomic_fetch_add(&region->pinned_bytes, len_bytes);
    atomic_store_explicit(&chunk->lkey, chunk->mr->lkey, memory_order_relaxed);
    atomic_store_explicit(&chunk->rkey, chunk->mr->rkey, memory_order_release);
}

/* False: somebody may still write to it, or from it. */
static bool deregister(struct dsm_net *net, struct dsm_rdma_chunk *chunk, uint8_t *bytes,
                       uint64_t len_bytes)
{
    struct dsm_rdma_region *region = &net->region;
    uint32_t rkey = atomic_exchange(&chunk->rkey, 0);
    if (!net->handler.is_unused(net->handler.user, bytes, len_bytes) || ibv_dereg_mr(chunk->mr)) {
        atomic_store_explicit(&chunk->rkey, rkey, memory_order_release);
        return false;
    }
    chunk->mr = NULL;
    atomic_store_explicit(&chunk->lkey, 0, memory_order_relaxed);
    atomic_fetch_sub(&region->pinned_bytes, len_bytes);
    atomic_fetch_add(&region->n_unpinned, 1);
    atomic_store(&region->is_full, false);
    atomic_store(&chunk->is_asked, false);
    return true;
}

static void let_go(struct dsm_net *net, struct dsm_rdma_chunk *chunk)
{
    struct dsm_rdma_region *region = &net->region;
    uint64_t index = index_of(region, chunk), len_bytes = chunk_bytes(region, index);
    uint8_t *bytes = region->memory + index * CHUNK_BYTES;
    atomic_store(&chunk->is_given_back,
                 false); /* what is given back from now on is looked at anew */
    if (!net->handler.is_unused || !net->handler.on_unpinned ||
        (chunk->mr && chunk->n_losses != region->n_losses))
        return;
    /* As a rule some of it is in use. Keys are not taken off to find that out. */
    if (chunk->mr && !net->handler.is_unused(net->handler.user, bytes, len_bytes))
        return;
    /* Without a registration: it came to nothing after unpin had said no. */
    if (!chunk->mr || deregister(net, chunk, bytes, len_bytes))
        net->handler.on_unpinned(net->handler.user, bytes, len_bytes);
}

bool dsm_rdma_region_work(struct dsm_net *net)
{
    struct dsm_rdma_region *region = &net->region;
    struct dsm_rdma_chunk *chunk;
    if (!region->chunks)
        return false;
    for (int i = 0; i < CHUNKS_AT_ONCE && (chunk = take_asked(region)); i++)
        register_chunk(net, chunk);
    if (atomic_load(&region->asked)) /* one of them may be among those given back */
        return true;
    for (int i = 0; i < CHUNKS_AT_ONCE && (chunk = take_given_back(region)); i++)
        let_go(net, chunk);
    return atomic_load(&region->given_back) != 0;
}

void dsm_rdma_region_note_loss(struct dsm_net *net)
{
    net->region.n_losses++;
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
