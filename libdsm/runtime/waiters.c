/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * waiters.c - threads that wait: who reads the network, who sleeps, who wakes whom.
 *
 * One waiting thread at a time reads, for everybody (driver->reader, guarded by the driver's lock);
 * the network is claimed as long as there is one, so that the service thread sleeps on. The others
 * poll their own word for a while and then sleep on it. A reader that is done hands the reading to
 * the next waiter before it leaves, or gives the claim back.
 *
 * A signal handler of the program may fault while the thread it interrupted waits in a call. The
 * interrupted wait cannot go on before the handler returns, so only the innermost wait of a thread
 * may read: the inner one takes the reading over from the outer one, or keeps others from giving it
 * to the outer one, and hands it back. With the uffd backend the inner wait is in the kernel: the
 * reading is taken from the thread when its fault is heard of.
 *
 * A handler that does not fault keeps its thread all the same, and others may have to be served
 * before it ends: it looks at a page again and again until it changes. So the service thread
 * watches for how long the reader has not come back from its sleep (dsm_waiters_watch).
 */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "runtime/driver.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

/* Longest sleep in one go. Bounds how late a wait notices its deadline; wake-ups do not need it. */
#define WAIT_SLICE_NS (100 * DSM_NS_PER_MS)
/* Polling a little longer than waits have lately been pays; beyond this a sleep costs little in
 * comparison (a wake-up on an idle processor is about 30 us). */
#define SPIN_MAX_NS (200 * DSM_NS_PER_US)
#define SPIN_MIN_NS (20 * DSM_NS_PER_US)
/* Who does not come back from a sleep of one slice is in a signal handler, or has no processor. */
#define AWAY_NS (2 * WAIT_SLICE_NS)
/*
 * A polling thread that lost its processor for so long was in somebody's way: the host is busier
 * than the count of ranks and threads says. Nobody polls for a while then, longer each time it
 * happens again soon after.
 */
#define CROWDED_GAP_NS (500 * DSM_NS_PER_US)
#define CROWDED_MIN_NS (20 * DSM_NS_PER_MS)
#define CROWDED_MAX_NS DSM_NS_PER_S

/* Whether the ranks of this host leave so many processors to others. */
static bool has_spare(const struct dsm_driver *d, uint32_t n_spare)
{
    uint32_t threads = atomic_load_explicit(&d->n_threads, memory_order_relaxed);
    return (uint64_t)(threads ? threads : 1) * d->config.n_local_ranks + n_spare <= d->n_processors;
}

uint64_t dsm_waiters_spin_ns(const struct dsm_driver *d)
{
    if (d->config.spin_us >= 0)
        return (uint64_t)d->config.spin_us * DSM_NS_PER_US;
    if (atomic_load_explicit(&d->crowded_until_ns, memory_order_relaxed) > dsm_clock_ns())
        return 0;
    if (!has_spare(d, 0))
        return 0;
    uint64_t recent_ns = atomic_load_explicit(&d->recent_wait_ns, memory_order_relaxed);
    uint64_t spin = 2 * recent_ns;
    /* Waits much longer than any polling: sleep soon. */
    if (recent_ns > 10 * SPIN_MAX_NS)
        return SPIN_MIN_NS;
    return spin < SPIN_MIN_NS ? SPIN_MIN_NS : spin > SPIN_MAX_NS ? SPIN_MAX_NS : spin;
}

uint64_t dsm_service_spin_ns(const struct dsm_driver *d)
{
    if (d->config.spin_us < 0 && !has_spare(d, 1))
        return 0;
    return dsm_waiters_spin_ns(d) / 4; /* requests come in bursts */
}

/* Called with the times of two looks in a row of a polling thread. */
static void notice_gap(struct dsm_driver *d, uint64_t before_ns, uint64_t now_ns)
{
    if (now_ns - before_ns < CROWDED_GAP_NS || d->config.spin_us >= 0)
        return;
    uint64_t until = atomic_load_explicit(&d->crowded_until_ns, memory_order_relaxed);
    uint64_t span = atomic_load_explicit(&d->crowded_span_ns, memory_order_relaxed);
    bool is_again = now_ns < until + span;
    span = !is_again ? CROWDED_MIN_NS : span >= CROWDED_MAX_NS / 2 ? CROWDED_MAX_NS : 2 * span;
    atomic_store_explicit(&d->crowded_span_ns, span, memory_order_relaxed);
    atomic_store_explicit(&d->crowded_until_ns, now_ns + span, memory_order_relaxed);
}

/* (locked) */
static void set_claim(struct dsm_driver *d, bool claim)
{
    if (claim == d->is_claimed)
        return;
    d->is_claimed = claim;
    if (claim)
        d->net_ops->claim(d->net);
    else
        d->net_ops->release(d->net);
}

/* Whether its thread can read for it: not while a signal handler of the program runs for long or
 * waits in that thread, be it here or, with the uffd backend, in the kernel. (locked) */
static bool can_read(const struct dsm_driver *d, const struct dsm_waiter *w)
{
    return w->thread->top == w && !atomic_load(&w->is_away) &&
           !(d->async_table && d->async_table[w->thread->tid % DSM_TID_LIMIT].is_active);
}

static void wake_sleeper(struct dsm_waiter *w)
{
    if (w->wake_fd < 0) {
        dsm_futex_wake(&w->word, 1);
        return;
    }
    uint64_t one = 1;
    /* Fails only when the counter is full, and then it is readable anyway. */
    (void)!syscall(SYS_write, w->wake_fd, &one, sizeof one);
}

/* With the claim: its thread may be in read_network still, beyond where it takes it. (locked) */
static void make_reader(struct dsm_driver *d, struct dsm_waiter *w)
{
    set_claim(d, true);
    d->reader = w;
    if (atomic_exchange(&w->word, DSM_WAIT_READING) == DSM_WAIT_SLEEPING)
        wake_sleeper(w);
}

/* The oldest wait that can read. (locked) */
static struct dsm_waiter *next_reader(struct dsm_driver *d)
{
    for (struct dsm_waiter *w = d->waiting; w; w = w->next)
        if (can_read(d, w) && atomic_load(&w->word) != DSM_WAIT_DONE)
            return w;
    return NULL;
}

/* The reader watches its word from now on. (locked) */
static void stop_reading(struct dsm_driver *d)
{
    uint32_t reading = DSM_WAIT_READING;
    atomic_compare_exchange_strong(&d->reader->word, &reading, DSM_WAIT_SPINNING);
    d->reader = NULL;
}

static void elect_reader(struct dsm_driver *d)
{
    struct dsm_waiter *next = next_reader(d);
    if (next)
        make_reader(d, next);
    else
        set_claim(d, false);
}

void dsm_waiters_thread_is_stuck(struct dsm_driver *d, uint32_t tid)
{
    if (d->reader && d->reader->thread->tid == tid) {
        stop_reading(d);
        elect_reader(d);
    }
}

void dsm_waiters_thread_goes_on(struct dsm_driver *d)
{
    if (d->net && !d->reader)
        elect_reader(d);
}

void dsm_waiters_watch(struct dsm_driver *d)
{
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    uint64_t since_ns = d->reader ? atomic_load(&d->reader->open_since_ns) : 0;
    if (since_ns && dsm_clock_ns() > since_ns + AWAY_NS) {
        atomic_store(&d->reader->is_away, true);
        stop_reading(d);
        elect_reader(d);
    }
    dsm_driver_leave(d, &guard);
}

/* The thread is back from a sleep. It has looked at its word, or is about to. */
static void come_back(struct dsm_driver *d, struct dsm_waiter *w)
{
    if (!atomic_load(&w->is_away))
        return;
    dsm_mutex_lock(&d->lock);
    atomic_store(&w->is_away, false);
    if (!d->reader)
        elect_reader(d);
    dsm_mutex_unlock(&d->lock);
}

void dsm_waiter_add(struct dsm_driver *d, struct dsm_waiter *w, dsm_page_t unit, bool in_handler)
{
    *w = (struct dsm_waiter){.rank = DSM_RANK_NONE,
                             .thread = &dsm_thread_self,
                             .outer = dsm_thread_self.top,
                             .in_handler = in_handler,
                             .wake_fd = -1,
                             .unit = unit,
                             .served_by = DSM_RANK_NONE};
    dsm_thread_self.top = w;
    if (d->async_table)
        (void)dsm_thread_id(); /* for can_read */
    struct dsm_waiter **at = &d->waiting;
    while (*at) {
        w->prev = *at;
        at = &(*at)->next;
    }
    *at = w;
    if (!d->net)
        return;
    if (d->reader && d->reader->thread == w->thread)
        stop_reading(d); /* the wait we interrupted */
    if (!d->reader) {
        d->reader = w;
        atomic_store(&w->word, DSM_WAIT_READING);
    }
}

void dsm_waiter_remove(struct dsm_driver *d, struct dsm_waiter *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        d->waiting = w->next;
    if (w->next)
        w->next->prev = w->prev;
    w->thread->top = w->outer;
    if (!d->net)
        return;
    if (d->reader == w)
        d->reader = NULL;
    if (!d->reader)
        elect_reader(d);
}

void dsm_waiter_complete(struct dsm_driver *d, struct dsm_waiter *w, int error, dsm_rank_t rank)
{
    if (atomic_load(&w->word) == DSM_WAIT_DONE)
        return;
    w->error = error;
    w->rank = rank;
    uint32_t before = atomic_exchange(&w->word, DSM_WAIT_DONE);
    if (before == DSM_WAIT_SLEEPING)
        wake_sleeper(w);
    else if (before == DSM_WAIT_READING && w->thread != &dsm_thread_self &&
             atomic_load(&w->is_blocked))
        d->net_ops->kick(d->net);
}

void dsm_waiters_wake_unit(struct dsm_driver *d, dsm_page_t unit, int error, dsm_rank_t rank)
{
    for (struct dsm_waiter *w = d->waiting; w; w = w->next)
        if (w->unit == unit)
            dsm_waiter_complete(d, w, error, rank);
}

/* How long to sleep from now: up to the deadline, the core's timer, and one slice. */
static uint64_t sleep_ns(struct dsm_driver *d, uint64_t now, uint64_t deadline_ns)
{
    uint64_t until = atomic_load(&d->timer_at_ns);
    if (deadline_ns < until)
        until = deadline_ns;
    if (until <= now)
        return 0;
    return until - now < WAIT_SLICE_NS ? until - now : WAIT_SLICE_NS;
}

/*
 * Sleeps until the network has something. Outside the fault handler the program's signals are let
 * through meanwhile: nothing is held here but the reading, which an inner wait can take over.
 * True when there is something.
 */
static bool block_in_network(struct dsm_driver *d, struct dsm_waiter *w, uint64_t ns,
                             const struct dsm_signal_mask *mask)
{
    long n_ready = 0;
    if (mask)
        atomic_store(&w->open_since_ns, dsm_clock_ns());
    atomic_store(&w->is_blocked, true);
    if (atomic_load(&w->word) == DSM_WAIT_READING) {
        struct timespec t = {(time_t)(ns / DSM_NS_PER_S), (long)(ns % DSM_NS_PER_S)};
        struct pollfd p = {.fd = d->net_ops->poll_fd(d->net), .events = POLLIN};
        uint64_t all = ~0ull;
        n_ready = syscall(SYS_ppoll, &p, 1, &t, mask ? &mask->bits : &all, sizeof all);
    }
    atomic_store(&w->is_blocked, false);
    atomic_store(&w->open_since_ns, 0);
    return n_ready > 0;
}

void dsm_waiter_claim(struct dsm_driver *d, const struct dsm_waiter *w)
{
    dsm_mutex_lock(&d->lock);
    if (d->reader == w)
        set_claim(d, true);
    dsm_mutex_unlock(&d->lock);
}

/* Reads for everybody until this wait is done, has lost the reading, or its time is up. */
static void read_network(struct dsm_driver *d, struct dsm_waiter *w, uint64_t deadline_ns,
                         const struct dsm_signal_mask *mask)
{
    uint64_t spin_ns = dsm_waiters_spin_ns(d);
    bool is_there = false;
    /* Only now, when the request has left: the claim's system call costs nothing in its flight. */
    dsm_waiter_claim(d, w);
    uint64_t last_ns = dsm_clock_ns(), now = last_ns;
    while (atomic_load_explicit(&w->word, memory_order_acquire) == DSM_WAIT_READING) {
        /* What is there after a sleep may be under another thread's hands, the service thread's:
         * then a poll with a timeout waits for that one, where one without would look again and
         * again and keep the processor from it. */
        int n = d->net_ops->poll(d->net, is_there ? 1 : 0);
        is_there = false;
        dsm_driver_flush(d);
        uint64_t before = now;
        now = dsm_clock_ns();
        if (now >= atomic_load_explicit(&d->timer_at_ns, memory_order_relaxed))
            dsm_driver_timer(d, now);
        if (n > 0) {
            last_ns = now;
            continue;
        }
        notice_gap(d, before, now);
        if (now >= deadline_ns)
            return;
        if (now - last_ns < spin_ns) {
            __builtin_ia32_pause();
            continue;
        }
        is_there = block_in_network(d, w, sleep_ns(d, now, deadline_ns), mask);
        now = dsm_clock_ns();
    }
}

/* Waits on its own word while somebody else reads. */
static void watch_word(struct dsm_driver *d, struct dsm_waiter *w, uint64_t deadline_ns,
                       const struct dsm_signal_mask *mask)
{
    uint64_t start_ns = dsm_clock_ns(), spin_ns = dsm_waiters_spin_ns(d), now = start_ns;
    for (;;) {
        uint32_t state = atomic_load_explicit(&w->word, memory_order_acquire);
        uint64_t before = now;
        now = dsm_clock_ns();
        if (state == DSM_WAIT_DONE || state == DSM_WAIT_READING || now >= deadline_ns)
            return;
        if (now - start_ns < spin_ns) {
            notice_gap(d, before, now);
            __builtin_ia32_pause();
            continue;
        }
        uint32_t expected = DSM_WAIT_SPINNING;
        if (!atomic_compare_exchange_strong(&w->word, &expected, DSM_WAIT_SLEEPING) &&
            expected != DSM_WAIT_SLEEPING)
            continue;
        uint64_t ns = deadline_ns - now < WAIT_SLICE_NS ? deadline_ns - now : WAIT_SLICE_NS;
        struct timespec t = {(time_t)(ns / DSM_NS_PER_S), (long)(ns % DSM_NS_PER_S)};
        struct dsm_signal_mask blocked;
        if (mask) {
            atomic_store(&w->open_since_ns, now);
            dsm_signals_restore(mask);
        }
        dsm_futex_wait(&w->word, DSM_WAIT_SLEEPING, &t);
        if (mask) {
            dsm_signals_block(&blocked);
            atomic_store(&w->open_since_ns, 0);
            come_back(d, w);
        }
    }
}

int dsm_waiter_wait(struct dsm_driver *d, struct dsm_waiter *w, uint64_t deadline_ns,
                    const struct dsm_signal_mask *mask)
{
    uint64_t start_ns = dsm_clock_ns();
    for (;;) {
        uint32_t state = atomic_load_explicit(&w->word, memory_order_acquire);
        if (state == DSM_WAIT_DONE)
            break;
        if (state == DSM_WAIT_READING)
            read_network(d, w, deadline_ns, mask);
        else
            watch_word(d, w, deadline_ns, mask);
        come_back(d, w);
        if (dsm_clock_ns() >= deadline_ns && atomic_load(&w->word) != DSM_WAIT_DONE)
            return DSM_E_TIMEOUT;
    }
    uint64_t took_ns = dsm_clock_ns() - start_ns;
    /* A hint: a lost update is fine. */
    uint64_t recent_ns = atomic_load_explicit(&d->recent_wait_ns, memory_order_relaxed);
    atomic_store_explicit(&d->recent_wait_ns, (7 * recent_ns + took_ns) / 8, memory_order_relaxed);
    return w->error;
}

int dsm_driver_call(struct dsm_driver *d, struct dsm_waiter *w, const struct dsm_event *event)
{
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    dsm_waiter_add(d, w, DSM_PAGE_NONE, false);
    dsm_driver_step(d, event);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
    int error = dsm_waiter_wait(d, w, UINT64_MAX, &guard.mask);
    dsm_mutex_lock(&d->lock);
    dsm_waiter_remove(d, w);
    dsm_driver_leave(d, &guard);
    return error;
}

/* ---- threads that use the region ----------------------------------------------------------- */

/* glibc keeps the values of the first keys inside the thread's own block; setting one of the others
 * may allocate, which a fault handler must not. */
#define KEYS_WITHOUT_ALLOCATION 32

static pthread_key_t thread_key;
static bool has_thread_key;

/* One more or less, and more or less that wait for work. Time in which threads wait for work and
 * nobody else is there is time without work. */
static void count(struct dsm_driver *d, int n, int n_resting)
{
    struct dsm_driver_guard guard;
    struct dsm_driver_stats *s = &d->stats;
    atomic_fetch_add(&d->n_threads, (uint32_t)n);
    dsm_driver_enter(d, &guard);
    uint64_t now = dsm_clock_ns();
    s->n_threads += (uint64_t)n;
    s->n_resting += (uint64_t)n_resting;
    s->thread_ns -= n * (int64_t)now;
    if (s->n_threads > 0 || s->n_resting == 0) {
        s->work_ns += s->resting_since_ns ? now - s->resting_since_ns : 0;
        s->resting_since_ns = 0;
    } else if (s->resting_since_ns == 0) {
        s->resting_since_ns = now;
    }
    dsm_driver_leave(d, &guard);
}

static void forget_thread(void *driver)
{
    count(driver, -1, 0);
}

void dsm_waiters_setup(void)
{
    if (!has_thread_key)
        has_thread_key = pthread_key_create(&thread_key, forget_thread) == 0;
    if (has_thread_key && thread_key >= KEYS_WITHOUT_ALLOCATION)
        dsm_log(DSM_LOG_INFO,
                "the program had %u thread keys before dsm_init: threads that end "
                "still count as users of the region",
                thread_key);
}

void dsm_waiters_count_thread(struct dsm_driver *d)
{
    if (dsm_thread_self.is_counted)
        return;
    dsm_thread_self.is_counted = true;
    if (has_thread_key && thread_key < KEYS_WITHOUT_ALLOCATION)
        pthread_setspecific(thread_key, d);
    count(d, 1, 0);
}

void dsm_waiters_thread_rests(struct dsm_driver *d)
{
    dsm_waiters_count_thread(d);
    count(d, -1, 1);
}

void dsm_waiters_thread_works(struct dsm_driver *d)
{
    count(d, 1, -1);
}

void dsm_histogram_add(struct dsm_histogram *h, uint64_t ns)
{
    unsigned bucket = ns < 2 ? 0 : 63u - (unsigned)__builtin_clzll(ns);
    h->bucket[bucket < DSM_HIST_BUCKETS ? bucket : DSM_HIST_BUCKETS - 1]++;
    h->count++;
    h->total_ns += ns;
    if (ns > h->max_ns)
        h->max_ns = ns;
}
