/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * locks.c - see locks.h.
 *
 * States of a record's word:
 *
 *     ABSENT --lend--> FREE <--> HELD --waiter or recall--> CONTENDED
 *        ^               |                                     |
 *        +----recall-----+------------ returned --------------+
 *
 * FREE <-> HELD is the fast path, without the driver's lock; every other change happens under it.
 * CONTENDED tells the holder to release through the slow path: a thread of this rank queues, or the
 * token was recalled. A recall is served before the rank's own queue: ranks take turns.
 */
#define _GNU_SOURCE
#include "runtime/locks.h"
#include "base/clock.h"
#include "base/errors.h"
#include "runtime/observe.h"
#include <stdlib.h>
#include <sys/mman.h>

enum { ABSENT, FREE, HELD, CONTENDED };

struct lock_waiter {
    struct dsm_waiter wait;
    struct lock_waiter *next;
};

struct dsm_lock_record {
    _Atomic uint32_t word;
    bool is_asked;    /* the core was asked for the token */
    bool is_recalled; /* another rank waits for it */
    struct dsm_thread *_Atomic holder;
    struct lock_waiter *first, **last;
    uint64_t id;
    uint64_t retakes; /* by the holder, while it holds */
    struct dsm_lock_record *_Atomic chain;
    struct dsm_lock_record *all;
};

/* Chains grow beyond this many locks; the table itself is paid for by what is touched. */
#define N_BUCKETS (1u << 20)

struct dsm_locks {
    struct dsm_lock_record *_Atomic *buckets;
    struct dsm_lock_record *all;
    uint64_t generation; /* tells thread-local caches of one dsm_init from those of another */
};

static _Atomic uint64_t lock_generation;

int dsm_locks_open(struct dsm_driver *d)
{
    struct dsm_locks *locks = calloc(1, sizeof *locks);
    if (!locks)
        return DSM_E_NOMEM;
    void *p = mmap(NULL, N_BUCKETS * sizeof *locks->buckets, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        free(locks);
        return DSM_E_NOMEM;
    }
    locks->buckets = p;
    locks->generation = atomic_fetch_add(&lock_generation, 1) + 1;
    d->locks = locks;
    return 0;
}

void dsm_locks_close(struct dsm_driver *d)
{
    while (d->locks->all) {
        struct dsm_lock_record *r = d->locks->all;
        d->locks->all = r->all;
        free(r);
    }
    munmap(d->locks->buckets, N_BUCKETS * sizeof *d->locks->buckets);
    free(d->locks);
    d->locks = NULL;
}

static struct dsm_lock_record *_Atomic *bucket_of(struct dsm_locks *locks, uint64_t id)
{
    return &locks->buckets[(id * 0x9e3779b97f4a7c15ull) >> 44]; /* the top 20 bits */
}

static struct dsm_lock_record *find(struct dsm_locks *locks, uint64_t id)
{
    struct dsm_lock_record *r = atomic_load_explicit(bucket_of(locks, id), memory_order_acquire);
    while (r && r->id != id)
        r = atomic_load_explicit(&r->chain, memory_order_acquire);
    return r;
}

/* Finds or makes the record; NULL when out of memory. */
static struct dsm_lock_record *record_of(struct dsm_driver *d, uint64_t id)
{
    struct dsm_locks *locks = d->locks;
    unsigned slot = (unsigned)(id >> 4 ^ id >> 12) % DSM_THREAD_LOCK_CACHE;
    if (dsm_thread_self.locks[slot].id == id &&
        dsm_thread_self.locks[slot].generation == locks->generation)
        return dsm_thread_self.locks[slot].record;
    struct dsm_lock_record *r = find(locks, id);
    if (!r) {
        struct dsm_lock_record *fresh = calloc(1, sizeof *fresh);
        if (!fresh)
            return NULL;
        fresh->id = id;
        fresh->last = &fresh->first;
        struct dsm_driver_guard guard;
        dsm_driver_enter(d, &guard);
        r = find(locks, id);
        if (!r) {
            struct dsm_lock_record *_Atomic *bucket = bucket_of(locks, id);
            atomic_store(&fresh->chain, atomic_load(bucket));
            atomic_store_explicit(bucket, fresh, memory_order_release);
            fresh->all = locks->all;
            locks->all = fresh;
            r = fresh;
            fresh = NULL;
        }
        dsm_driver_leave(d, &guard);
        free(fresh);
    }
    dsm_thread_self.locks[slot].id = id;
    dsm_thread_self.locks[slot].record = r;
    dsm_thread_self.locks[slot].generation = locks->generation;
    return r;
}

static bool change(struct dsm_lock_record *r, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong(&r->word, &from, to);
}

/* (locked) */
static void ask(struct dsm_driver *d, struct dsm_lock_record *r)
{
    if (r->is_asked)
        return;
    r->is_asked = true;
    struct dsm_event event = {
        .type = DSM_EVENT_LOCK_ACQUIRE, .now_ns = dsm_clock_ns(), .lock.id = r->id};
    dsm_driver_step(d, &event);
}

/* Gives the lock, which this rank has and nobody holds, to the first in its queue. (locked) */
static void hand_to_first(struct dsm_driver *d, struct dsm_lock_record *r)
{
    struct lock_waiter *first = r->first;
    r->first = first->next;
    if (!r->first)
        r->last = &r->first;
    atomic_store(&r->holder, first->wait.thread);
    atomic_store(&r->word, r->first || r->is_recalled ? CONTENDED : HELD);
    dsm_waiter_complete(d, &first->wait, 0, DSM_RANK_NONE);
}

/* The token goes back; asks for it again when threads of this rank queue. (locked) */
static void give_back(struct dsm_driver *d, struct dsm_lock_record *r)
{
    r->is_recalled = false;
    atomic_store(&r->word, ABSENT);
    struct dsm_event event = {
        .type = DSM_EVENT_LOCK_RETURNED, .now_ns = dsm_clock_ns(), .lock.id = r->id};
    dsm_driver_step(d, &event);
    /* Where the next rank is gone the token has come straight back. */
    if (r->first && atomic_load(&r->word) == ABSENT)
        ask(d, r);
}

int dsm_locks_acquire(struct dsm_driver *d, uint64_t id)
{
    struct dsm_lock_record *r = record_of(d, id);
    if (!r)
        return DSM_E_NOMEM;
    if (change(r, FREE, HELD)) {
        atomic_store_explicit(&r->holder, &dsm_thread_self, memory_order_relaxed);
        r->retakes++;
        return 0;
    }
    if (atomic_load_explicit(&r->holder, memory_order_relaxed) == &dsm_thread_self)
        return DSM_E_DEADLOCK;

    uint64_t start_ns = dsm_clock_ns();
    struct lock_waiter w = {.next = NULL};
    struct dsm_driver_guard guard;
    int error = 0;
    dsm_waiters_count_thread(d);
    dsm_driver_enter(d, &guard);
    for (;;) { /* the word may change under us between FREE and HELD only */
        if (change(r, FREE, HELD)) {
            atomic_store(&r->holder, &dsm_thread_self);
            goto out;
        }
        uint32_t word = atomic_load(&r->word);
        if (word == ABSENT || word == CONTENDED || change(r, HELD, CONTENDED))
            break;
    }
    *r->last = &w;
    r->last = &w.next;
    dsm_waiter_add(d, &w.wait, DSM_PAGE_NONE, false);
    if (atomic_load(&r->word) == ABSENT)
        ask(d, r);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
    error = dsm_waiter_wait(d, &w.wait, UINT64_MAX, &guard.mask);
    dsm_mutex_lock(&d->lock);
    dsm_waiter_remove(d, &w.wait);
out:
    d->stats.lock_acquires++;
    uint64_t end_ns = dsm_clock_ns();
    dsm_histogram_add(&d->stats.lock_wait, end_ns - start_ns);
    dsm_observe_lock(d, id, start_ns, end_ns);
    dsm_driver_leave(d, &guard);
    return error;
}

int dsm_locks_release(struct dsm_driver *d, uint64_t id)
{
    struct dsm_lock_record *r = record_of(d, id);
    if (!r)
        return DSM_E_NOMEM;
    if (atomic_load_explicit(&r->holder, memory_order_relaxed) != &dsm_thread_self)
        return DSM_E_NOTHELD;
    atomic_store_explicit(&r->holder, NULL, memory_order_relaxed);
    if (change(r, HELD, FREE))
        return 0;

    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    if (r->is_recalled)
        give_back(d, r);
    else if (r->first)
        hand_to_first(d, r);
    else
        atomic_store(&r->word, FREE);
    dsm_driver_leave(d, &guard);
    return 0;
}

void dsm_locks_on_lend(struct dsm_driver *d, uint64_t id)
{
    struct dsm_lock_record *r = find(d->locks, id);
    if (!r)
        return; /* a peer granted what no thread here has asked for, after a rank was lost */
    r->is_asked = false;
    if (r->first)
        hand_to_first(d, r);
    else
        atomic_store(&r->word, FREE);
}

void dsm_locks_on_recall(struct dsm_driver *d, uint64_t id)
{
    struct dsm_lock_record *r = find(d->locks, id);
    if (!r)
        return;
    r->is_recalled = true;
    for (;;) {
        if (change(r, FREE, CONTENDED)) {
            give_back(d, r);
            return;
        }
        if (atomic_load(&r->word) != HELD || change(r, HELD, CONTENDED))
            return; /* its holder releases through the slow path */
    }
}

void dsm_locks_on_lost(struct dsm_driver *d, uint64_t id, int error, dsm_rank_t rank)
{
    struct dsm_lock_record *r = find(d->locks, id);
    if (!r)
        return;
    r->is_asked = false;
    while (r->first) {
        struct lock_waiter *w = r->first;
        r->first = w->next;
        dsm_waiter_complete(d, &w->wait, error, rank);
    }
    r->last = &r->first;
}

uint64_t dsm_locks_retakes(struct dsm_driver *d)
{
    uint64_t sum = 0;
    for (struct dsm_lock_record *r = d->locks->all; r; r = r->all)
        sum += r->retakes;
    return sum;
}
