/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * heap.c - see heap.h: the calls, the questions between ranks, and the service thread's answers.
 */
#define _GNU_SOURCE
#include "runtime/heap.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "proto/live.h"
#include "runtime/collective.h"
#include "runtime/heap_small.h"
#include "runtime/heap_space.h"
#include "runtime/observe.h"
#include "runtime/sync.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MANAGER 0u

/* What a question asks; message.count. Offsets are bytes from the start of the region. */
enum heap_question {
    ASK_GRANULE = 1, /* one granule whose home is the asker */
    ASK_RUN,         /* txn granules, first a multiple of `prior` granules */
    ASK_UNITS, /* likewise, for an allocation with units of its own: nobody has any page of it */
    ASK_GIVE,  /* granule that holds offset object is not needed any more */
    ASK_FREE_LARGE, /* free the large block at offset object */
    ASK_FREE_SMALL, /* free the small block at offset object (asked of its owner) */
    ASK_SIZE_LARGE, /* bytes of the block at offset object */
    ASK_SIZE_SMALL,
};

struct question {
    dsm_rank_t from;
    struct dsm_message message;
};

/* A drop on its way, at the manager. */
struct drop {
    struct drop *next;
    uint64_t serial;
    uint64_t granule, n_granules;
    struct question asked_by;
    bool is_taking;   /* ahead of an allocation, not behind one */
    bool is_complete; /* under the driver's lock */
};

struct allocation {
    struct allocation *next;
    dsm_page_t first;
    uint64_t n_pages;
    uint64_t faults; /* for which other ranks were asked; about, where allocations are many */
    char name[32];
};

struct dsm_heap {
    /* the asking side */
    pthread_mutex_t asking;   /* one question at a time; held while waiting for the answer */
    struct dsm_waiter *asker; /* under the driver's lock, like the next three */
    dsm_rank_t asked;
    struct dsm_message answer;
    uint32_t serial;
    pthread_mutex_t small_lock; /* never held while waiting */
    struct dsm_heap_small *small;
    /* the answering side; the ring is under the driver's lock, the rest is the service thread's */
    struct question *ring;
    uint32_t ring_first, ring_n, ring_capacity;
    struct dsm_heap_space *space; /* at the manager */
    struct drop *drops;           /* list under the driver's lock */
    uint64_t drop_serial;
    struct allocation *allocations; /* under the driver's lock, like the next */
    uint64_t n_far_faults;
};

int dsm_heap_open(struct dsm_driver *d)
{
    struct dsm_heap *h = calloc(1, sizeof *h);
    if (!h)
        return DSM_E_NOMEM;
    uint64_t n_granules = d->region->len_bytes / DSM_GRANULE_BYTES;
    h->ring_capacity = d->config.n_ranks + 1; /* a question a rank, and one kick of our own */
    h->ring = calloc(h->ring_capacity, sizeof *h->ring);
    int error = h->ring ? dsm_heap_small_open(&h->small, n_granules) : DSM_E_NOMEM;
    if (!error && d->config.self == MANAGER)
        error = dsm_heap_space_open(&h->space, n_granules);
    if (error) {
        if (h->small)
            dsm_heap_small_close(h->small);
        free(h->ring);
        free(h);
        return error;
    }
    pthread_mutex_init(&h->asking, NULL);
    pthread_mutex_init(&h->small_lock, NULL);
    d->heap = h;
    return 0;
}

void dsm_heap_close(struct dsm_driver *d)
{
    struct dsm_heap *h = d->heap;
    while (h->allocations) {
        struct allocation *a = h->allocations;
        h->allocations = a->next;
        free(a);
    }
    while (h->drops) {
        struct drop *drop = h->drops;
        h->drops = drop->next;
        free(drop);
    }
    if (h->space)
        dsm_heap_space_close(h->space);
    dsm_heap_small_close(h->small);
    pthread_mutex_destroy(&h->asking);
    pthread_mutex_destroy(&h->small_lock);
    free(h->ring);
    free(h);
    d->heap = NULL;
}

/* ---- questions and answers ----------------------------------------------------------------- */

/* (locked) */
static int enqueue(struct dsm_driver *d, dsm_rank_t from, const struct dsm_message *m)
{
    struct dsm_heap *h = d->heap;
    if (h->ring_n == h->ring_capacity)
        return DSM_E_PROTO; /* somebody has two questions on the way */
    h->ring[(h->ring_first + h->ring_n++) % h->ring_capacity] = (struct question){from, *m};
    if (d->wake_service)
        d->wake_service(d->service);
    return 0;
}

/* (locked) */
static int take_answer(struct dsm_driver *d, const struct dsm_message *m)
{
    struct dsm_heap *h = d->heap;
    if (!h->asker || m->request != h->serial)
        return 0; /* too late: the question was given up */
    h->answer = *m;
    dsm_waiter_complete(d, h->asker, 0, DSM_RANK_NONE);
    return 0;
}

int dsm_heap_on_message(struct dsm_driver *d, const struct dsm_message *m)
{
    return m->type == DSM_MSG_HEAP_ANSWER ? take_answer(d, m) : enqueue(d, m->from, m);
}

static void answer(struct dsm_driver *d, const struct question *q, int error, uint64_t object,
                   uint64_t bytes)
{
    struct dsm_message m = {.type = DSM_MSG_HEAP_ANSWER,
                            .object = object,
                            .txn = bytes,
                            .acks = (uint32_t)-error,
                            .request = q->message.request};
    if (q->from != d->config.self) {
        dsm_driver_send(d, q->from, DSM_LANE_REPLY, &m);
        return;
    }
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    (void)take_answer(d, &m); /* our own question: it is the one that waits */
    dsm_driver_leave(d, &guard);
}

void dsm_heap_on_dead(struct dsm_driver *d, dsm_rank_t rank)
{
    struct dsm_heap *h = d->heap;
    if (h->asker && h->asked == rank)
        dsm_waiter_complete(d, h->asker, DSM_E_PEER, rank);
}

/* Asks rank `to` and waits; m is the question and becomes the answer. */
static int ask(struct dsm_driver *d, dsm_rank_t to, struct dsm_message *m)
{
    struct dsm_heap *h = d->heap;
    struct dsm_waiter w;
    struct dsm_driver_guard guard;
    m->type = to == MANAGER ? DSM_MSG_HEAP_ASK : DSM_MSG_HEAP_FREE;
    pthread_mutex_lock(&h->asking);
    dsm_driver_enter(d, &guard);
    m->request = ++h->serial;
    h->asker = &w;
    h->asked = to;
    dsm_waiter_add(d, &w, DSM_PAGE_NONE, false);
    int error = 0;
    if (dsm_driver_is_dead(d, to))
        error = DSM_E_PEER;
    else if (to == d->config.self)
        error = enqueue(d, to, m);
    else
        dsm_driver_send(d, to, DSM_LANE_REQUEST, m);
    if (error)
        dsm_waiter_complete(d, &w, error, to);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
    uint64_t limit_ns = (uint64_t)(d->config.fault_timeout_s * (double)DSM_NS_PER_S);
    error = dsm_waiter_wait(d, &w, dsm_clock_ns() + limit_ns, &guard.mask);
    dsm_mutex_lock(&d->lock);
    dsm_waiter_remove(d, &w);
    h->asker = NULL;
    if (!error)
        *m = h->answer;
    dsm_driver_leave(d, &guard);
    pthread_mutex_unlock(&h->asking);
    return error ? error : -(int)m->acks;
}

/* ---- the answering side -------------------------------------------------------------------- */

/* Drops a run of granules on all ranks; the question is answered when that is done. */
static void start_drop(struct dsm_driver *d, const struct question *q, uint64_t granule, uint64_t n,
                       bool is_taking)
{
    struct dsm_heap *h = d->heap;
    struct drop *drop = calloc(1, sizeof *drop);
    if (!drop) {
        if (is_taking)
            dsm_heap_space_give(h->space, granule, n);
        answer(d, q, DSM_E_NOMEM, 0, 0);
        return;
    }
    if (!is_taking)
        dsm_heap_space_close_block(h->space, granule);
    *drop = (struct drop){.serial = ++h->drop_serial,
                          .granule = granule,
                          .n_granules = n,
                          .asked_by = *q,
                          .is_taking = is_taking};
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    drop->next = h->drops;
    h->drops = drop;
    struct dsm_event event = {
        .type = DSM_EVENT_DROP,
        .now_ns = dsm_clock_ns(),
        .drop = {granule * DSM_GRANULE_PAGES, n * DSM_GRANULE_PAGES, drop->serial}};
    dsm_driver_step(d, &event);
    dsm_driver_leave(d, &guard);
}

void dsm_heap_on_dropped(struct dsm_driver *d, uint64_t serial)
{
    for (struct drop *drop = d->heap->drops; drop; drop = drop->next) {
        if (drop->serial == serial)
            drop->is_complete = true;
    }
    if (d->wake_service)
        d->wake_service(d->service);
}

static void finish_drops(struct dsm_driver *d)
{
    for (;;) {
        struct dsm_driver_guard guard;
        dsm_driver_enter(d, &guard);
        struct drop **at = &d->heap->drops;
        while (*at && !(*at)->is_complete)
            at = &(*at)->next;
        struct drop *drop = *at;
        if (drop)
            *at = drop->next;
        dsm_driver_leave(d, &guard);
        if (!drop)
            return;
        if (!drop->is_taking)
            dsm_heap_space_give(d->heap->space, drop->granule, drop->n_granules);
        answer(d, &drop->asked_by, 0, drop->granule * DSM_GRANULE_BYTES, 0);
        free(drop);
    }
}

/* A large block goes back, or, by the rank that has cut it, a granule: nobody else can free that,
 * or a small block at its start that is freed twice would take its live neighbours along. */
static void free_run(struct dsm_driver *d, const struct question *q, bool is_cut)
{
    const struct dsm_heap_space *space = d->heap->space;
    uint64_t offset = q->message.object, granule = offset / DSM_GRANULE_BYTES, n = 0;
    if (space && is_cut)
        n = dsm_heap_space_is_cut(space, granule) ? 1 : 0;
    else if (space)
        n = dsm_heap_space_size(space, granule);
    if (n == 0 || offset % DSM_GRANULE_BYTES) {
        answer(d, q, DSM_E_INVAL, 0, 0);
        return;
    }
    start_drop(d, q, granule, n, false);
}

/* Frees one of our small blocks, whose home this rank is: so it has the objects named by it, and
 * they end before somebody else gets the memory. granule_out as in dsm_heap_small_give. */
static int free_small(struct dsm_driver *d, uint64_t offset, uint64_t *granule_out)
{
    struct dsm_heap *h = d->heap;
    if (dsm_sync_has_names(d)) {
        pthread_mutex_lock(&h->small_lock);
        uint64_t bytes = dsm_heap_small_size(h->small, offset);
        pthread_mutex_unlock(&h->small_lock);
        if (bytes)
            dsm_sync_forget_range(d, offset, bytes);
    }
    pthread_mutex_lock(&h->small_lock);
    int error = dsm_heap_small_give(h->small, offset, granule_out);
    pthread_mutex_unlock(&h->small_lock);
    return error;
}

static void serve_question(struct dsm_driver *d, const struct question *q)
{
    struct dsm_heap *h = d->heap;
    const struct dsm_message *m = &q->message;
    uint64_t granule = 0, bytes = 0;
    int error;
    switch ((enum heap_question)m->count) {
    case ASK_UNITS:
        /* A program that read or prefetched there before has copies of single pages, which would
         * be taken for units of the allocation. */
        error = h->space
                    ? dsm_heap_space_take(h->space, m->txn, m->prior ? m->prior : 1, 1, 0, &granule)
                    : DSM_E_PROTO;
        if (error)
            answer(d, q, error, 0, 0);
        else
            start_drop(d, q, granule, m->txn, true);
        return;
    case ASK_GRANULE:
    case ASK_RUN:
        if (!h->space)
            break;
        error =
            m->count == ASK_GRANULE
                ? dsm_heap_space_take(h->space, 1, 1, d->config.n_ranks, q->from, &granule)
                : dsm_heap_space_take(h->space, m->txn, m->prior ? m->prior : 1, 1, 0, &granule);
        if (!error && m->count == ASK_GRANULE)
            dsm_heap_space_cut(h->space, granule);
        answer(d, q, error, granule * DSM_GRANULE_BYTES, 0);
        return;
    case ASK_GIVE:
        free_run(d, q, true);
        return;
    case ASK_FREE_LARGE:
        free_run(d, q, false);
        return;
    case ASK_FREE_SMALL:
        /* The service thread cannot wait for the manager: an empty granule stays here. */
        answer(d, q, free_small(d, m->object, NULL), 0, 0);
        return;
    case ASK_SIZE_LARGE:
        if (h->space && m->object % DSM_GRANULE_BYTES == 0)
            bytes =
                dsm_heap_space_size(h->space, m->object / DSM_GRANULE_BYTES) * DSM_GRANULE_BYTES;
        answer(d, q, bytes ? 0 : DSM_E_INVAL, 0, bytes);
        return;
    case ASK_SIZE_SMALL:
        pthread_mutex_lock(&h->small_lock);
        bytes = dsm_heap_small_size(h->small, m->object);
        pthread_mutex_unlock(&h->small_lock);
        answer(d, q, bytes ? 0 : DSM_E_INVAL, 0, bytes);
        return;
    }
    dsm_log(DSM_LOG_ERROR, "rank %u asked the heap an unknown question (%u)", q->from, m->count);
    answer(d, q, DSM_E_PROTO, 0, 0);
}

void dsm_heap_serve(struct dsm_driver *d)
{
    struct dsm_heap *h = d->heap;
    finish_drops(d);
    for (;;) {
        struct dsm_driver_guard guard;
        struct question q;
        dsm_driver_enter(d, &guard);
        bool has_question = h->ring_n > 0;
        if (has_question) {
            q = h->ring[h->ring_first];
            h->ring_first = (h->ring_first + 1) % h->ring_capacity;
            h->ring_n--;
        }
        dsm_driver_leave(d, &guard);
        if (!has_question)
            break;
        serve_question(d, &q);
    }
    finish_drops(d); /* in a job of one a drop is complete at once */
    dsm_driver_flush(d);
}

/* ---- the calls ----------------------------------------------------------------------------- */

static uint64_t offset_of(const struct dsm_driver *d, const void *addr)
{
    return (uint64_t)((const uint8_t *)addr - d->region->app);
}

/* The rank whose small block this would be. */
static dsm_rank_t small_owner(const struct dsm_driver *d, uint64_t offset)
{
    return (dsm_rank_t)(offset / DSM_GRANULE_BYTES % d->config.n_ranks);
}

static int take_run(struct dsm_driver *d, enum heap_question kind, uint64_t bytes,
                    uint64_t alignment, uint64_t *offset_out)
{
    struct dsm_message m = {.count = kind,
                            .txn = DSM_ALIGN_UP(bytes, DSM_GRANULE_BYTES) / DSM_GRANULE_BYTES,
                            .prior =
                                alignment > DSM_GRANULE_BYTES ? alignment / DSM_GRANULE_BYTES : 1};
    int error = ask(d, MANAGER, &m);
    if (!error)
        *offset_out = m.object;
    return error;
}

static int take_small(struct dsm_driver *d, size_t size, uint64_t *offset_out)
{
    struct dsm_heap *h = d->heap;
    unsigned class = dsm_heap_small_class(size);
    for (;;) {
        pthread_mutex_lock(&h->small_lock);
        bool has = dsm_heap_small_take(h->small, class, offset_out);
        pthread_mutex_unlock(&h->small_lock);
        if (has)
            return 0;
        struct dsm_message m = {.count = ASK_GRANULE};
        int error = ask(d, MANAGER, &m);
        if (error)
            return error;
        pthread_mutex_lock(&h->small_lock);
        error = dsm_heap_small_add(h->small, class, m.object / DSM_GRANULE_BYTES);
        pthread_mutex_unlock(&h->small_lock);
        if (error)
            return error;
    }
}

int dsm_heap_alloc(struct dsm_driver *d, size_t size, size_t alignment, void **addr_out)
{
    uint64_t offset;
    if (size > d->region->len_bytes)
        return DSM_E_NOSPACE;
    /* Blocks of a power of two up to 4 KiB are aligned to their size, larger classes to a page. */
    if (alignment > 16 && size < alignment && alignment <= DSM_PAGE_BYTES)
        size = alignment;
    if (alignment > 16 && alignment < DSM_PAGE_BYTES)
        size = DSM_ALIGN_UP(size, DSM_PAGE_BYTES);
    bool is_small = size <= DSM_SMALL_MAX_BYTES && alignment <= DSM_PAGE_BYTES;
    int error =
        is_small ? take_small(d, size, &offset) : take_run(d, ASK_RUN, size, alignment, &offset);
    if (!error)
        *addr_out = d->region->app + offset;
    return error;
}

int dsm_heap_size(struct dsm_driver *d, void *addr, uint64_t *bytes_out)
{
    uint64_t offset = offset_of(d, addr);
    struct dsm_message m = {.count = ASK_SIZE_SMALL, .object = offset};
    int error = ask(d, small_owner(d, offset), &m);
    if (error == DSM_E_INVAL) {
        m = (struct dsm_message){.count = ASK_SIZE_LARGE, .object = offset};
        error = ask(d, MANAGER, &m);
    }
    if (!error)
        *bytes_out = m.txn;
    return error;
}

int dsm_heap_free(struct dsm_driver *d, void *addr)
{
    uint64_t offset = offset_of(d, addr), granule;
    dsm_rank_t owner = small_owner(d, offset);
    struct dsm_message m = {.count = ASK_FREE_SMALL, .object = offset};
    int error;
    if (owner == d->config.self) {
        error = free_small(d, offset, &granule);
        if (!error && granule != UINT64_MAX) {
            m = (struct dsm_message){.count = ASK_GIVE, .object = granule * DSM_GRANULE_BYTES};
            return ask(d, MANAGER, &m);
        }
    } else {
        error = ask(d, owner, &m);
    }
    if (error == DSM_E_INVAL) {
        m = (struct dsm_message){.count = ASK_FREE_LARGE, .object = offset};
        error = ask(d, MANAGER, &m);
    }
    return error;
}

/* ---- collective allocation ----------------------------------------------------------------- */

/* What rank 0 tells the others, and what all compare. */
struct agreement {
    int64_t error;
    uint64_t offset;
    uint64_t size, unit_bytes, block_bytes;
    uint32_t placement, rank;
};

static int check_options(const struct dsm_driver *d, size_t size, const struct dsm_alloc_options *o)
{
    uint64_t unit = o->unit_bytes;
    bool is_unit = unit >= DSM_PAGE_BYTES && unit <= DSM_UNIT_MAX_PAGES * DSM_PAGE_BYTES &&
                   (unit & (unit - 1)) == 0;
    if (size == 0 || !is_unit || (unsigned)o->placement > DSM_PLACE_FIRST_TOUCH ||
        o->rank >= d->config.n_ranks || o->block_bytes % unit) {
        dsm_log(
            DSM_LOG_ERROR,
            "dsm_alloc: size %lu, unit %lu, block %lu, placement %u, rank %u: the size must be at "
            "least 1, the unit a power of two from 4096 to 2097152, the block a multiple of it, "
            "the rank below %u",
            (unsigned long)size, (unsigned long)unit, (unsigned long)o->block_bytes,
            (unsigned)o->placement, o->rank, d->config.n_ranks);
        return DSM_E_INVAL;
    }
    return 0;
}

/* Enters the allocation into the tables of this rank. */
static int record(struct dsm_driver *d, const struct agreement *a, const char *name)
{
    static const uint32_t kinds[] = {DSM_PLACEMENT_BLOCK, DSM_PLACEMENT_CYCLIC, DSM_PLACEMENT_RANK,
                                     DSM_PLACEMENT_FIRST_TOUCH};
    uint64_t unit_pages = a->unit_bytes / DSM_PAGE_BYTES;
    struct dsm_placement_entry entry = {
        .first = a->offset / DSM_PAGE_BYTES,
        .n_pages = DSM_ALIGN_UP(a->size, a->unit_bytes) / DSM_PAGE_BYTES,
        .unit_pages = (uint32_t)unit_pages,
        .kind = kinds[a->placement],
        .rank = a->rank,
        .block_pages = a->block_bytes ? a->block_bytes / DSM_PAGE_BYTES : unit_pages,
    };
    struct allocation *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return DSM_E_NOMEM;
    fresh->first = entry.first;
    fresh->n_pages = entry.n_pages;
    dsm_format(fresh->name, sizeof fresh->name, "%s", name ? name : "");
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    int error = dsm_placement_add(d->placement, &entry);
    if (!error) {
        fresh->next = d->heap->allocations;
        d->heap->allocations = fresh;
        dsm_observe_alloc(d, fresh->first, fresh->n_pages, fresh->name);
    }
    dsm_driver_leave(d, &guard);
    if (error)
        free(fresh);
    return error;
}

void dsm_heap_forget(struct dsm_driver *d, dsm_page_t first, uint64_t n_pages)
{
    const struct dsm_placement_entry *entry = dsm_placement_find(d->placement, first);
    if (!entry || entry->first != first || entry->n_pages > n_pages)
        return;
    (void)dsm_placement_remove(d->placement, first);
    for (struct allocation *a = d->heap->allocations; a; a = a->next)
        if (a->first == first)
            a->n_pages = 0; /* freed when the heap closes: no free() on the fault path */
}

bool dsm_heap_describe(struct dsm_driver *d, dsm_page_t page, struct dsm_where *where)
{
    if (page >= dsm_region_border(d->region)) {
        where->alloc_addr = (uint64_t)(uintptr_t)d->region->globals;
        where->alloc_bytes = d->region->globals_bytes;
        dsm_format(where->alloc_name, sizeof where->alloc_name, "global variables");
        return true;
    }
    for (struct allocation *a = d->heap->allocations; a; a = a->next) {
        if (page - a->first >= a->n_pages)
            continue;
        where->alloc_addr = (uint64_t)(uintptr_t)d->region->app + a->first * DSM_PAGE_BYTES;
        where->alloc_bytes = a->n_pages * DSM_PAGE_BYTES;
        memcpy(where->alloc_name, a->name, sizeof where->alloc_name);
        return true;
    }
    return false;
}

/*
 * Allocations that fault come to the front of the list, so that the hot ones are found in a few
 * steps. A page that is not among the first NEAR_ALLOCATIONS, like all of dsm_malloc's, is looked
 * for in the rest now and then: of thousands of allocations a walk at each fault is not free.
 */
#define NEAR_ALLOCATIONS 32u
#define FAR_EVERY        64u

void dsm_heap_count_fault(struct dsm_driver *d, dsm_page_t page)
{
    struct dsm_heap *h = d->heap;
    uint32_t steps = 0;
    for (struct allocation **at = &h->allocations; *at; at = &(*at)->next) {
        struct allocation *a = *at;
        if (++steps == NEAR_ALLOCATIONS && h->n_far_faults++ % FAR_EVERY != 0)
            return;
        if (page - a->first >= a->n_pages)
            continue;
        a->faults++;
        *at = a->next;
        a->next = h->allocations;
        h->allocations = a;
        return;
    }
}

uint32_t dsm_heap_hottest(struct dsm_driver *d, struct dsm_live_alloc *out, uint32_t most)
{
    struct dsm_driver_guard guard;
    uint32_t n = 0;
    dsm_driver_enter(d, &guard);
    for (const struct allocation *a = d->heap->allocations; a; a = a->next) {
        if (a->n_pages == 0 || a->faults == 0)
            continue;
        uint32_t at = n;
        while (at > 0 && out[at - 1].faults < a->faults)
            at--;
        if (at == most)
            continue;
        n += n < most;
        memmove(&out[at + 1], &out[at], (n - at - 1) * sizeof *out);
        out[at] = (struct dsm_live_alloc){.addr = (uint64_t)(uintptr_t)d->region->app +
                                                  a->first * DSM_PAGE_BYTES,
                                          .bytes = a->n_pages * DSM_PAGE_BYTES,
                                          .faults = a->faults};
        memcpy(out[at].name, a->name, sizeof out[at].name);
    }
    dsm_driver_leave(d, &guard);
    return n;
}

int dsm_heap_alloc_collective(struct dsm_driver *d, size_t size,
                              const struct dsm_alloc_options *options, void **addr_out)
{
    struct dsm_alloc_options o = *options;
    if (o.unit_bytes == 0)
        o.unit_bytes = DSM_PAGE_BYTES;
    int32_t result = check_options(d, size, &o);
    struct agreement mine = {.size = size,
                             .unit_bytes = o.unit_bytes,
                             .block_bytes = o.block_bytes,
                             .placement = o.placement,
                             .rank = o.rank};
    struct agreement agreed = mine;
    if (d->config.self == MANAGER) {
        agreed.error = result;
        if (!result)
            agreed.error = take_run(d, ASK_UNITS, DSM_ALIGN_UP(size, o.unit_bytes), o.unit_bytes,
                                    &agreed.offset);
    }
    int error = dsm_collective_bcast(d, &agreed, sizeof agreed, MANAGER);
    if (error)
        return error;
    mine.error = agreed.error;
    mine.offset = agreed.offset;
    if (!result)
        result = (int32_t)agreed.error;
    if (!result && memcmp(&mine, &agreed, sizeof mine) != 0) {
        dsm_log(
            DSM_LOG_ERROR,
            "dsm_alloc: this rank asked for %lu bytes (unit %lu, block %lu, placement %u), rank "
            "%u for %lu (unit %lu, block %lu, placement %u): every rank must pass the same",
            (unsigned long)mine.size, (unsigned long)mine.unit_bytes,
            (unsigned long)mine.block_bytes, mine.placement, MANAGER, (unsigned long)agreed.size,
            (unsigned long)agreed.unit_bytes, (unsigned long)agreed.block_bytes, agreed.placement);
        result = DSM_E_MISMATCH;
    }
    bool is_recorded = !result && !(result = record(d, &agreed, o.name));
    int32_t worst = result; /* codes are negative: the smallest wins */
    error = dsm_collective_allreduce(d, &worst, 1, DSM_INT32, DSM_MIN);
    if (!error)
        error = worst;
    if (error) {
        if (is_recorded) {
            struct dsm_driver_guard guard;
            dsm_driver_enter(d, &guard);
            dsm_heap_forget(d, agreed.offset / DSM_PAGE_BYTES,
                            DSM_ALIGN_UP(size, DSM_GRANULE_BYTES) / DSM_PAGE_BYTES);
            dsm_driver_leave(d, &guard);
        }
        if (d->config.self == MANAGER && !agreed.error)
            (void)dsm_heap_free(d, d->region->app + agreed.offset);
        return result ? result : error;
    }
    *addr_out = d->region->app + agreed.offset;
    return 0;
}
