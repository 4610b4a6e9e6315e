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
 *
 * A turn is one hold, or a tenure (tenure.h) where threads here would want the token back at once.
 * While a tenure runs the fast path stays open although the token was recalled: who releases looks
 * whether it is over, and for a lock that nobody takes any more the driver's timer does.
 *
 * A token that comes from a rank whose threads want it again will be recalled, but maybe later than
 * a thread here could take the lock a thousand times. So it serves one turn and is then parked:
 * CONTENDED, held by nobody, until the recall comes.
 *
 * A thread that waits for a time and gives up leaves the queue; its rank's place in the queue of
 * ranks it cannot leave. The token comes all the same, on the request lane, which is always read,
 * and stays or is passed on.
 */
#define _GNU_SOURCE
#include "runtime/locks.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "runtime/observe.h"
#include "runtime/tenure.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ABSENT, FREE, HELD, CONTENDED };

struct dsm_lock_record {
    _Atomic uint32_t word;
    bool is_asked;     /* the core was asked for the token */
    bool is_recalled;  /* another rank waits for it */
    bool is_expected;  /* a recall is sure to come */
    bool is_parked;    /* held by nobody and kept for that recall */
    bool is_abandoned; /* the thread that held it has ended; who holds it, or the lock, guards this
                        */
    bool is_ended;     /* destroyed; not yet back with who did it */
    struct dsm_thread *_Atomic holder;
    struct dsm_lock_waiter *first, **last;
    uint64_t id;
    _Atomic uint64_t retakes; /* by the holder, while it holds: nobody else adds */
    uint64_t n_served;        /* holds that were given to the queue */
    struct dsm_tenure tenure;
    uint64_t look_ns;             /* when to look at the tenure; 0: not in the list of those */
    struct dsm_lock_record *kept; /* the next in that list */
    struct dsm_lock_record *_Atomic chain;
    struct dsm_lock_record *all;
};

/* Chains grow beyond this many locks; the table itself is paid for by what is touched. */
#define N_BUCKETS (1u << 20)

struct dsm_locks {
    struct dsm_lock_record *_Atomic *buckets;
    struct dsm_lock_record *all;
    struct dsm_lock_record *kept; /* recalled, and kept for a tenure */
    uint64_t lowest, highest;     /* ids of the records */
    uint64_t generation; /* tells thread-local caches of one dsm_init from those of another */
};

static _Atomic uint64_t lock_generation;
static pthread_key_t exit_key;
static bool has_exit_key;

static void leave_locks(void *driver);

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
    locks->lowest = UINT64_MAX;
    if (!has_exit_key)
        has_exit_key = pthread_key_create(&exit_key, leave_locks) == 0;
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
            __atomic_store_n(&locks->all, fresh, __ATOMIC_RELAXED);
            locks->lowest = id < locks->lowest ? id : locks->lowest;
            locks->highest = id > locks->highest ? id : locks->highest;
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

/* Asks for the token, unless that has been done. Somebody who waits to the end reads the reply
 * lane; for those who may give up it comes on the other one. (locked) */
static void ask(struct dsm_driver *d, struct dsm_lock_record *r, bool is_try)
{
    if (r->is_asked)
        return;
    r->is_asked = true;
    bool is_async = true;
    for (const struct dsm_lock_waiter *w = r->first; w; w = w->next)
        is_async &= w->may_give_up;
    uint64_t now_ns = dsm_clock_ns();
    dsm_tenure_asked(&r->tenure, now_ns);
    struct dsm_event event = {.type = DSM_EVENT_LOCK_ACQUIRE,
                              .now_ns = now_ns,
                              .lock = {.id = r->id, .is_async = is_async, .is_try = is_try}};
    dsm_driver_step(d, &event);
}

static struct dsm_lock_waiter *take_first(struct dsm_lock_record *r)
{
    struct dsm_lock_waiter *first = r->first;
    r->first = first->next;
    if (!r->first)
        r->last = &r->first;
    return first;
}

/* The thread has the lock now. What it is to be told of its state. */
static int begin_hold(struct dsm_lock_record *r, struct dsm_thread *thread)
{
    int error = r->is_abandoned ? DSM_E_ABANDONED : 0;
    r->is_abandoned = false;
    thread->n_locks++;
    atomic_store_explicit(&r->holder, thread, memory_order_relaxed);
    return error;
}

static bool is_to_be_told(const struct dsm_lock_record *r)
{
    return r->first && (r->first->is_gone || (r->is_ended && !r->first->is_ending));
}

static bool has_tenure(const struct dsm_lock_record *r)
{
    return atomic_load_explicit(&r->tenure.until_ns, memory_order_relaxed) != 0;
}

static uint64_t count_holds(const struct dsm_lock_record *r)
{
    return atomic_load_explicit(&r->retakes, memory_order_relaxed) + r->n_served;
}

/* This rank has the lock and nobody holds it: the first in its queue gets it, or it is kept.
 * (locked) */
static void settle(struct dsm_driver *d, struct dsm_lock_record *r)
{
    bool is_next_elsewhere = (r->is_recalled || r->is_expected) && !has_tenure(r);
    while (is_to_be_told(r))
        dsm_waiter_complete(d, &take_first(r)->wait, DSM_E_GONE, DSM_RANK_NONE);
    if (!r->first) {
        r->is_parked = is_next_elsewhere;
        r->is_ended &= r->is_parked; /* who ended it will not recall it: that rank is gone */
        atomic_store(&r->word, r->is_parked ? CONTENDED : FREE);
        return;
    }
    struct dsm_lock_waiter *first = take_first(r);
    int error = begin_hold(r, first->wait.thread);
    r->is_ended = false;
    r->n_served++;
    /* Where a tenure is due, it begins when this hold ends. */
    bool is_due = dsm_tenure_is_due(&r->tenure, r->first != NULL);
    atomic_store(&r->word, r->first || is_next_elsewhere || is_due ? CONTENDED : HELD);
    dsm_waiter_complete(d, &first->wait, error, DSM_RANK_NONE);
}

/* (locked) */
static void forget_look(struct dsm_driver *d, struct dsm_lock_record *r)
{
    if (r->look_ns == 0)
        return;
    r->look_ns = 0;
    struct dsm_lock_record **at = &d->locks->kept;
    while (*at != r)
        at = &(*at)->kept;
    *at = r->kept;
}

/* (locked) */
static void look_later(struct dsm_driver *d, struct dsm_lock_record *r, uint64_t at_ns)
{
    if (r->look_ns == 0) {
        r->kept = d->locks->kept;
        d->locks->kept = r;
    }
    r->look_ns = at_ns;
    if (at_ns < d->locks_timer_at_ns)
        dsm_driver_set_locks_timer(d, at_ns);
}

/* The token goes back; asks for it again when threads of this rank queue. (locked) */
static void give_back(struct dsm_driver *d, struct dsm_lock_record *r)
{
    uint64_t now_ns = dsm_clock_ns();
    forget_look(d, r);
    dsm_tenure_left(&r->tenure, now_ns);
    struct dsm_event event = {.type = DSM_EVENT_LOCK_RETURNED,
                              .now_ns = now_ns,
                              .lock = {.id = r->id,
                                       .wants_again = r->first != NULL,
                                       .is_abandoned = r->is_abandoned,
                                       .is_ended = r->is_ended}};
    r->is_recalled = r->is_expected = r->is_parked = r->is_abandoned = r->is_ended = false;
    atomic_store(&r->word, ABSENT);
    dsm_driver_step(d, &event);
    /* Where the next rank is gone the token has come straight back. */
    if (r->first && atomic_load(&r->word) == ABSENT)
        ask(d, r, false);
}

/* At a release: whether threads of this rank may have it again before others. (locked) */
static bool goes_on_here(struct dsm_driver *d, struct dsm_lock_record *r)
{
    uint64_t now_ns = dsm_clock_ns();
    bool is_due = dsm_tenure_is_due(&r->tenure, r->first != NULL);
    if (r->is_ended || (has_tenure(r) && dsm_tenure_is_over(&r->tenure, now_ns, count_holds(r))))
        dsm_tenure_end(&r->tenure);
    else if (is_due)
        dsm_tenure_begin(&r->tenure, now_ns, count_holds(r));
    if (has_tenure(r) && r->is_recalled && r->look_ns == 0)
        look_later(d, r, dsm_tenure_first_look_ns(&r->tenure, now_ns, count_holds(r)));
    return has_tenure(r);
}

/* The holder has let go. (locked) */
static void pass_on(struct dsm_driver *d, struct dsm_lock_record *r)
{
    if (goes_on_here(d, r)) {
        settle(d, r);
    } else if (r->is_recalled) {
        give_back(d, r);
    } else if (r->is_expected) {
        r->is_parked = true;
        atomic_store(&r->word, CONTENDED);
    } else {
        settle(d, r);
    }
}

/* Takes the lock, or makes sure that its holder passes it on through the slow path. The word may
 * change under us between FREE and HELD only. (locked) */
static bool take_or_contend(struct dsm_lock_record *r)
{
    for (;;) {
        if (change(r, FREE, HELD))
            return true;
        uint32_t word = atomic_load(&r->word);
        if (word == ABSENT || word == CONTENDED || change(r, HELD, CONTENDED))
            return false;
    }
}

/* (locked) */
static void enqueue(struct dsm_lock_record *r, struct dsm_lock_waiter *w)
{
    w->next = NULL;
    w->is_gone = w->is_ending = false;
    *r->last = w;
    r->last = &w->next;
}

/* (locked) */
static bool dequeue(struct dsm_lock_record *r, struct dsm_lock_waiter *w)
{
    struct dsm_lock_waiter **at = &r->first;
    while (*at && *at != w)
        at = &(*at)->next;
    if (!*at)
        return false;
    *at = w->next;
    if (r->last == &w->next)
        r->last = at;
    return true;
}

/* Queues for the lock and waits. (locked) */
static int wait_in_queue(struct dsm_driver *d, struct dsm_lock_record *r, int64_t timeout_ns,
                         uint64_t start_ns, const struct dsm_signal_mask *mask)
{
    struct dsm_lock_waiter w = {.may_give_up = timeout_ns >= 0, .is_try = timeout_ns == 0};
    if (w.is_try && (atomic_load(&r->word) != ABSENT || r->is_asked))
        return DSM_E_TIMEOUT; /* held here, or waited for here */
    enqueue(r, &w);
    dsm_waiter_add(d, &w.wait, DSM_PAGE_NONE, false);
    if (atomic_load(&r->word) == ABSENT)
        ask(d, r, w.is_try);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
    /* Who tries is answered soon: by the token, or by being told that it is held. */
    uint64_t deadline_ns = timeout_ns > 0 ? dsm_deadline_ns(start_ns, timeout_ns) : UINT64_MAX;
    int error = dsm_waiter_wait(d, &w.wait, deadline_ns, mask);
    dsm_mutex_lock(&d->lock);
    if (!dequeue(r, &w))
        error = w.wait.error; /* it was served just now */
    dsm_waiter_remove(d, &w.wait);
    return error;
}

int dsm_locks_acquire(struct dsm_driver *d, uint64_t id, int64_t timeout_ns)
{
    struct dsm_lock_record *r = record_of(d, id);
    if (!r)
        return DSM_E_NOMEM;
    if (!dsm_thread_self.has_exit_key) {
        dsm_thread_self.has_exit_key = true;
        if (has_exit_key)
            pthread_setspecific(exit_key, d);
    }
    if (change(r, FREE, HELD)) {
        uint64_t retakes = atomic_load_explicit(&r->retakes, memory_order_relaxed);
        atomic_store_explicit(&r->retakes, retakes + 1, memory_order_relaxed);
        return begin_hold(r, &dsm_thread_self);
    }
    if (atomic_load_explicit(&r->holder, memory_order_relaxed) == &dsm_thread_self)
        return DSM_E_DEADLOCK;

    uint64_t start_ns = dsm_clock_ns();
    struct dsm_driver_guard guard;
    dsm_waiters_count_thread(d);
    dsm_driver_enter(d, &guard);
    int error = take_or_contend(r) ? begin_hold(r, &dsm_thread_self)
                                   : wait_in_queue(d, r, timeout_ns, start_ns, &guard.mask);
    d->stats.lock_acquires += error == 0;
    d->stats.lock_timeouts += error == DSM_E_TIMEOUT;
    uint64_t end_ns = dsm_clock_ns();
    dsm_histogram_add(&d->stats.lock_wait, end_ns - start_ns);
    dsm_observe_wait(d, DSM_PROFILE_MUTEX, dsm_region_offset(d->region, id), start_ns, end_ns);
    dsm_driver_leave(d, &guard);
    return error;
}

void dsm_locks_enqueue(struct dsm_driver *d, uint64_t id, struct dsm_lock_waiter *w)
{
    struct dsm_lock_record *r = find(d->locks, id);
    w->may_give_up = w->is_try = false;
    if (take_or_contend(r)) {
        dsm_waiter_complete(d, &w->wait, begin_hold(r, w->wait.thread), DSM_RANK_NONE);
        return;
    }
    enqueue(r, w);
    if (atomic_load(&r->word) == ABSENT)
        ask(d, r, false);
}

static void end_hold(struct dsm_lock_record *r, struct dsm_thread *thread)
{
    thread->n_locks--;
    atomic_store_explicit(&r->holder, NULL, memory_order_relaxed);
}

bool dsm_locks_is_held(struct dsm_driver *d, uint64_t id)
{
    const struct dsm_lock_record *r = find(d->locks, id);
    return r && atomic_load_explicit(&r->holder, memory_order_relaxed) == &dsm_thread_self;
}

void dsm_locks_let_go(struct dsm_driver *d, uint64_t id, struct dsm_thread *thread)
{
    struct dsm_lock_record *r = find(d->locks, id);
    end_hold(r, thread);
    if (!change(r, HELD, FREE))
        pass_on(d, r);
}

int dsm_locks_release(struct dsm_driver *d, uint64_t id)
{
    struct dsm_lock_record *r = record_of(d, id);
    if (!r)
        return DSM_E_NOMEM;
    if (atomic_load_explicit(&r->holder, memory_order_relaxed) != &dsm_thread_self)
        return DSM_E_NOTHELD;
    bool is_over = has_tenure(r) && dsm_tenure_is_over(&r->tenure, dsm_clock_ns(), count_holds(r));
    end_hold(r, &dsm_thread_self);
    if (!is_over && change(r, HELD, FREE))
        return 0;

    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    pass_on(d, r);
    dsm_driver_leave(d, &guard);
    return 0;
}

/* Waits like anybody who asks now, at the end of the queue; see core/lock.c. */
static int end_and_wait(struct dsm_driver *d, struct dsm_lock_record *r,
                        const struct dsm_signal_mask *mask)
{
    struct dsm_lock_waiter w = {.next = NULL};
    enqueue(r, &w);
    w.is_ending = true;
    dsm_waiter_add(d, &w.wait, DSM_PAGE_NONE, false);
    end_hold(r, &dsm_thread_self);
    atomic_store(&r->word, CONTENDED);
    r->is_ended = true;
    pass_on(d, r);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
    int error = dsm_waiter_wait(d, &w.wait, UINT64_MAX, mask);
    dsm_mutex_lock(&d->lock);
    if (!dequeue(r, &w))
        error = w.wait.error;
    dsm_waiter_remove(d, &w.wait);
    return error;
}

int dsm_locks_end(struct dsm_driver *d, uint64_t id)
{
    struct dsm_lock_record *r = find(d->locks, id);
    if (!r || atomic_load_explicit(&r->holder, memory_order_relaxed) != &dsm_thread_self)
        return 0;
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    int error = end_and_wait(d, r, &guard.mask);
    dsm_driver_leave(d, &guard);
    if (error == DSM_E_GONE) /* its memory was freed meanwhile */
        return 0;
    return error && error != DSM_E_ABANDONED ? error : dsm_locks_release(d, id);
}

static bool has_ending(const struct dsm_lock_record *r)
{
    const struct dsm_lock_waiter *w = r->first;
    while (w && !w->is_ending)
        w = w->next;
    return w != NULL;
}

void dsm_locks_on_lend(struct dsm_driver *d, uint64_t id, uint8_t flags)
{
    struct dsm_lock_record *r = find(d->locks, id);
    if (!r)
        return; /* a peer granted what no thread here has asked for, after a rank was lost */
    r->is_asked = false;
    r->is_ended = flags & DSM_MSG_F_ENDED;
    /* On its way as ended it was wanted by this rank. */
    r->is_expected = flags & DSM_MSG_F_WANTED && !(r->is_ended && has_ending(r));
    r->is_abandoned = flags & DSM_MSG_F_ABANDONED;
    dsm_tenure_arrived(&r->tenure);
    settle(d, r);
}

static void say_held(struct dsm_driver *d, const struct dsm_lock_record *r)
{
    struct dsm_event event = {
        .type = DSM_EVENT_LOCK_HELD, .now_ns = dsm_clock_ns(), .lock.id = r->id};
    dsm_driver_step(d, &event);
}

void dsm_locks_on_recall(struct dsm_driver *d, uint64_t id, uint8_t flags)
{
    struct dsm_lock_record *r = find(d->locks, id);
    if (!r)
        return;
    r->is_recalled = true;
    r->is_expected = false;
    uint64_t now_ns = dsm_clock_ns(), holds = count_holds(r);
    if (has_tenure(r) && dsm_tenure_is_over(&r->tenure, now_ns, holds))
        dsm_tenure_end(&r->tenure);
    if (has_tenure(r) && !(flags & DSM_MSG_F_TRY)) {
        look_later(d, r, dsm_tenure_first_look_ns(&r->tenure, now_ns, holds));
        return;
    }
    if (r->is_parked || take_or_contend(r)) {
        give_back(d, r);
        return;
    }
    if (flags & DSM_MSG_F_TRY)
        say_held(d, r);
}

/* Looks at a lock that is kept for a tenure. (locked) */
static void look(struct dsm_driver *d, struct dsm_lock_record *r, uint64_t now_ns)
{
    uint64_t again_ns =
        dsm_tenure_look(&r->tenure, now_ns, count_holds(r), atomic_load(&r->word) == FREE);
    if (again_ns) {
        look_later(d, r, again_ns);
        return;
    }
    forget_look(d, r);
    dsm_tenure_end(&r->tenure);
    if (take_or_contend(r)) /* else who holds it gives it back */
        give_back(d, r);
}

void dsm_locks_on_timer(struct dsm_driver *d, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    for (struct dsm_lock_record *r = d->locks->kept, *after; r; r = after) {
        after = r->kept;
        if (r->look_ns <= now_ns)
            look(d, r, now_ns);
    }
    for (struct dsm_lock_record *r = d->locks->kept; r; r = r->kept)
        next_ns = r->look_ns < next_ns ? r->look_ns : next_ns;
    dsm_driver_set_locks_timer(d, next_ns);
}

void dsm_locks_on_busy(struct dsm_driver *d, uint64_t id)
{
    struct dsm_lock_record *r = find(d->locks, id);
    for (struct dsm_lock_waiter *w = r ? r->first : NULL, *next; w; w = next) {
        next = w->next;
        if (!w->is_try)
            continue;
        dequeue(r, w);
        dsm_waiter_complete(d, &w->wait, DSM_E_TIMEOUT, DSM_RANK_NONE);
    }
}

void dsm_locks_on_lost(struct dsm_driver *d, uint64_t id, int error, dsm_rank_t rank)
{
    struct dsm_lock_record *r = find(d->locks, id);
    if (!r)
        return;
    r->is_asked = false;
    while (r->first)
        dsm_waiter_complete(d, &take_first(r)->wait, error, rank);
}

/* Who was to ask again may be the one that is gone. */
void dsm_locks_on_dead(struct dsm_driver *d)
{
    for (struct dsm_lock_record *r = d->locks->all; r; r = r->all) {
        r->is_expected = false;
        if (!r->is_parked)
            continue;
        r->is_parked = false;
        settle(d, r);
    }
}

bool dsm_locks_has_any(const struct dsm_driver *d)
{
    return __atomic_load_n(&d->locks->all, __ATOMIC_RELAXED) != NULL;
}

void dsm_locks_forget(struct dsm_driver *d, uint64_t first, uint64_t n_bytes)
{
    const struct dsm_locks *locks = d->locks;
    if (!locks->all || first > locks->highest || locks->lowest >= first + n_bytes)
        return;
    for (struct dsm_lock_record *r = locks->all; r; r = r->all) {
        if (r->id - first >= n_bytes)
            continue;
        unsigned n_waiting = 0;
        for (struct dsm_lock_waiter *w = r->first; w; w = w->next, n_waiting++)
            w->is_gone = true;
        bool is_held = atomic_load(&r->holder) != NULL;
        if (n_waiting || is_held)
            dsm_log(DSM_LOG_ERROR,
                    "memory at 0x%lx was freed while a lock is named by it: %s held by a thread of "
                    "this rank, %u wait",
                    (unsigned long)r->id, is_held ? "it is" : "it is not", n_waiting);
    }
}

/* A thread ends and holds locks: who takes them next is told. As a destructor of thread-specific
 * data, not in a signal handler. */
static void leave_locks(void *driver)
{
    struct dsm_driver *d = driver;
    struct dsm_driver_guard guard;
    if (dsm_thread_self.n_locks == 0 || !d->locks)
        return;
    dsm_driver_enter(d, &guard);
    for (struct dsm_lock_record *r = d->locks->all; r; r = r->all) {
        if (atomic_load(&r->holder) != &dsm_thread_self)
            continue;
        dsm_log(DSM_LOG_ERROR,
                "a thread ended while it held lock 0x%lx; the next to take it is told",
                (unsigned long)r->id);
        end_hold(r, &dsm_thread_self);
        r->is_abandoned = true;
        if (!change(r, HELD, FREE))
            pass_on(d, r);
    }
    dsm_driver_leave(d, &guard);
}

uint64_t dsm_locks_retakes(struct dsm_driver *d)
{
    uint64_t sum = 0;
    for (struct dsm_lock_record *r = d->locks->all; r; r = r->all)
        sum += atomic_load_explicit(&r->retakes, memory_order_relaxed);
    return sum;
}
