/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sync.c - see sync.h.
 *
 * Every question has one final answer. A wait whose time is over asks for it to be ended and waits
 * on, for a moment, until the manager has said how it ended.
 *
 * A thread that sleeps at a condition variable gives its lock back when the manager has it in the
 * queue, and is not woken by the signal: it is put into the lock's queue, and wakes up holding it.
 */
#define _GNU_SOURCE
#include "runtime/sync.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "runtime/locks.h"
#include "runtime/observe.h"
#include <pthread.h>
#include <stdlib.h>

/* A question that waits for its answer; on the stack of the calling thread. */
struct sync_wait {
    struct sync_wait *next;
    uint32_t request;
    struct dsm_lock_waiter waiter; /* only .wait is used but for condition variables */
    bool is_cond;
    bool is_queued; /* a condition variable: the lock has been given back */
    uint64_t lock;  /* ... that one */
    bool is_answered;
    int error; /* the answer */
    uint64_t value;
};

struct dsm_sync {
    struct sync_wait *waits; /* under the driver's lock */
    uint32_t last_request;
};

/* A reader-writer lock that a thread holds; in a list of that thread. */
struct dsm_rw_hold {
    struct dsm_rw_hold *next;
    uint64_t id;
    bool is_write;
};

static pthread_key_t exit_key;
static bool has_exit_key;

static void leave_rw_locks(void *driver);

int dsm_sync_open(struct dsm_driver *d)
{
    d->sync = calloc(1, sizeof *d->sync);
    if (!d->sync)
        return DSM_E_NOMEM;
    if (!has_exit_key)
        has_exit_key = pthread_key_create(&exit_key, leave_rw_locks) == 0;
    return 0;
}

void dsm_sync_close(struct dsm_driver *d)
{
    free(d->sync);
    d->sync = NULL;
}

/* ---- questions and answers ----------------------------------------------------------------- */

static struct sync_wait *find_wait(const struct dsm_sync *sync, uint64_t request)
{
    struct sync_wait *w = sync->waits;
    while (w && w->request != request)
        w = w->next;
    return w;
}

/* A number that no wait under way has. (locked) */
static uint32_t next_request(struct dsm_sync *sync)
{
    do
        sync->last_request++;
    while (sync->last_request == 0 || find_wait(sync, sync->last_request));
    return sync->last_request;
}

void dsm_sync_on_done(struct dsm_driver *d, const struct dsm_action *a)
{
    struct sync_wait *w = find_wait(d->sync, a->id);
    if (!w)
        return;
    w->is_answered = true;
    w->error = a->error;
    w->value = a->message.txn;
    if (w->is_queued)
        dsm_locks_enqueue(d, w->lock, &w->waiter);
    else
        dsm_waiter_complete(d, &w->waiter.wait, a->error, a->rank);
}

void dsm_sync_on_queued(struct dsm_driver *d, const struct dsm_action *a)
{
    struct sync_wait *w = find_wait(d->sync, a->id);
    if (!w || !w->is_cond)
        return;
    w->is_queued = true;
    dsm_locks_let_go(d, w->lock, w->waiter.wait.thread);
}

static void step_cancel(struct dsm_driver *d, const struct sync_wait *w)
{
    struct dsm_event event = {
        .type = DSM_EVENT_SYNC_CANCEL, .now_ns = dsm_clock_ns(), .sync.request = w->request};
    dsm_driver_step(d, &event);
}

static const enum dsm_profile_object observed_as[DSM_SYNC_N_KINDS] = {
    [DSM_SYNC_NONE] = DSM_PROFILE_ANY, /* dsm_sync_destroy */
    [DSM_SYNC_RWLOCK] = DSM_PROFILE_RWLOCK,
    [DSM_SYNC_CONDITION] = DSM_PROFILE_CONDITION,
    [DSM_SYNC_SEMAPHORE] = DSM_PROFILE_SEMAPHORE,
    [DSM_SYNC_FLAG] = DSM_PROFILE_FLAG,
    [DSM_SYNC_TICKETS] = DSM_PROFILE_TICKETS,
    [DSM_SYNC_BARRIER] = DSM_PROFILE_THREADS,
    [DSM_SYNC_WORD32] = DSM_PROFILE_WORD,
    [DSM_SYNC_WORD64] = DSM_PROFILE_WORD,
};

/* Asks and waits for the answer. (locked on entry and return) */
static int ask_and_wait(struct dsm_driver *d, struct sync_wait *w, struct dsm_event *event,
                        int64_t timeout_ns, const struct dsm_signal_mask *mask)
{
    uint64_t start_ns = event->now_ns = dsm_clock_ns();
    uint64_t deadline_ns = timeout_ns > 0 ? dsm_deadline_ns(start_ns, timeout_ns) : UINT64_MAX;
    event->type = DSM_EVENT_SYNC;
    event->sync.request = w->request = next_request(d->sync);
    event->sync.is_try = timeout_ns == 0 && !w->is_cond;
    w->next = d->sync->waits;
    d->sync->waits = w;
    dsm_waiter_add(d, &w->waiter.wait, DSM_PAGE_NONE, false);
    dsm_driver_step(d, event);
    if (timeout_ns == 0 && w->is_cond)
        step_cancel(d, w);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
    (void)dsm_waiter_wait(d, &w->waiter.wait, deadline_ns, mask);
    dsm_mutex_lock(&d->lock);
    if (atomic_load(&w->waiter.wait.word) != DSM_WAIT_DONE) { /* the time is over */
        if (!w->is_answered)
            step_cancel(d, w);
        dsm_mutex_unlock(&d->lock);
        dsm_driver_flush(d);
        (void)dsm_waiter_wait(d, &w->waiter.wait, UINT64_MAX, mask);
        dsm_mutex_lock(&d->lock);
    }
    /* The answer: it may have come between the end of the time and the lock. */
    int error = w->waiter.wait.error;
    dsm_waiter_remove(d, &w->waiter.wait);
    struct sync_wait **at = &d->sync->waits;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    uint64_t end_ns = dsm_clock_ns();
    dsm_histogram_add(&d->stats.sync_wait[event->sync.kind], end_ns - start_ns);
    dsm_observe_wait(d, observed_as[event->sync.kind], event->sync.id, start_ns, end_ns);
    return error;
}

int dsm_sync_call(struct dsm_driver *d, const struct dsm_sync_request *request, int64_t timeout_ns,
                  uint64_t *value_out)
{
    struct dsm_event event = {.sync = {.id = request->id,
                                       .kind = request->kind,
                                       .op = request->op,
                                       .a = request->a,
                                       .b = request->b}};
    struct sync_wait w = {.is_cond = false};
    struct dsm_driver_guard guard;
    dsm_waiters_count_thread(d);
    dsm_driver_enter(d, &guard);
    d->stats.sync_calls[request->kind]++;
    int error = ask_and_wait(d, &w, &event, timeout_ns, &guard.mask);
    dsm_driver_leave(d, &guard);
    /* An ABANDONED lock is held all the same. */
    if (value_out && (error == 0 || error == DSM_E_ABANDONED))
        *value_out = w.value;
    return error;
}

int dsm_sync_cond_wait(struct dsm_driver *d, uint64_t id, uint64_t lock, int64_t timeout_ns)
{
    struct dsm_event event = {
        .sync = {.id = id, .kind = DSM_SYNC_CONDITION, .op = DSM_SYNC_OP_SLEEP}};
    struct sync_wait w = {.is_cond = true, .lock = lock};
    struct dsm_driver_guard guard;
    dsm_waiters_count_thread(d);
    dsm_driver_enter(d, &guard);
    d->stats.sync_calls[DSM_SYNC_CONDITION]++;
    int lock_error = ask_and_wait(d, &w, &event, timeout_ns, &guard.mask);
    dsm_driver_leave(d, &guard);
    /* That the lock could not be had again, or in what state it is, matters more. */
    return w.is_queued && lock_error ? lock_error : w.error;
}

/* ---- reader-writer locks ------------------------------------------------------------------- */

static struct dsm_rw_hold **find_hold(uint64_t id)
{
    struct dsm_rw_hold **at = &dsm_thread_self.rw_holds;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

int dsm_sync_rw_lock(struct dsm_driver *d, uint64_t id, bool is_write, int64_t timeout_ns)
{
    struct dsm_sync_request request = {.id = id,
                                       .kind = DSM_SYNC_RWLOCK,
                                       .op = is_write ? DSM_SYNC_OP_WRITE_LOCK
                                                      : DSM_SYNC_OP_READ_LOCK};
    if (*find_hold(id))
        return DSM_E_DEADLOCK;
    struct dsm_rw_hold *hold = malloc(sizeof *hold);
    if (!hold)
        return DSM_E_NOMEM;
    int error = dsm_sync_call(d, &request, timeout_ns, NULL);
    if (error && error != DSM_E_ABANDONED) {
        free(hold);
        return error;
    }
    if (has_exit_key)
        pthread_setspecific(exit_key, d);
    *hold = (struct dsm_rw_hold){dsm_thread_self.rw_holds, id, is_write};
    dsm_thread_self.rw_holds = hold;
    return error;
}

/* Nobody waits for an answer. */
static void send_release(struct dsm_driver *d, uint64_t id, enum dsm_sync_op op)
{
    struct dsm_event event = {.type = DSM_EVENT_SYNC,
                              .now_ns = dsm_clock_ns(),
                              .sync = {.id = id, .kind = DSM_SYNC_RWLOCK, .op = op}};
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    dsm_driver_step(d, &event);
    dsm_driver_leave(d, &guard);
}

int dsm_sync_rw_unlock(struct dsm_driver *d, uint64_t id)
{
    struct dsm_rw_hold **at = find_hold(id), *hold = *at;
    if (!hold)
        return DSM_E_NOTHELD;
    *at = hold->next;
    send_release(d, id, hold->is_write ? DSM_SYNC_OP_WRITE_UNLOCK : DSM_SYNC_OP_READ_UNLOCK);
    free(hold);
    return 0;
}

/* A thread ends and holds some: a destructor of thread-specific data. */
static void leave_rw_locks(void *driver)
{
    struct dsm_driver *d = driver;
    while (dsm_thread_self.rw_holds) {
        struct dsm_rw_hold *hold = dsm_thread_self.rw_holds;
        dsm_thread_self.rw_holds = hold->next;
        if (d->sync) {
            dsm_log(DSM_LOG_ERROR,
                    "a thread ended while it held the reader-writer lock 0x%lx for %s",
                    (unsigned long)(dsm_region_addr(d->region, hold->id >> DSM_PAGE_SHIFT) +
                                    hold->id % DSM_PAGE_BYTES),
                    hold->is_write ? "writing; the next to take it is told" : "reading");
            send_release(d, hold->id,
                         hold->is_write ? DSM_SYNC_OP_ABANDON : DSM_SYNC_OP_READ_UNLOCK);
        }
        free(hold);
    }
}

bool dsm_sync_has_names(const struct dsm_driver *d)
{
    return dsm_core_has_objects(d->core) || dsm_locks_has_any(d);
}

void dsm_sync_forget_range(struct dsm_driver *d, uint64_t first, uint64_t n_bytes)
{
    struct dsm_event event = {.type = DSM_EVENT_SYNC_FORGET, .forget = {first, n_bytes}};
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    event.now_ns = dsm_clock_ns();
    dsm_driver_step(d, &event);
    dsm_locks_forget(d, (uintptr_t)d->region->app + first, n_bytes);
    dsm_driver_leave(d, &guard);
}
