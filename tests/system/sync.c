/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sync.c - the synchronisation calls between real processes; run under dsmrun by sync.sh.
 *
 * Usage: sync SCENARIO. Exits 0 when every check held on this rank; prints what did not. Everything
 * that waits is ended by somebody else, never by a time.
 */
#define _GNU_SOURCE
#include <dsm/dsm.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS 2u
#define GUARD   ((int64_t)100 * 1000000000) /* only a hang takes so long */

static void fail(const char *file, int line, const char *what, int value)
{
    fprintf(stderr, "rank %u: %s:%d: %s is %d (%s)\n", dsm_rank(), file, line, what, value,
            dsm_errname(value));
    dsm_abort(1);
}
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail(__FILE__, __LINE__, #condition, 0);                                               \
    } while (0)
#define EXPECT(call, wanted)                                                                       \
    do {                                                                                           \
        int error_ = (call);                                                                       \
        if (error_ != (wanted))                                                                    \
            fail(__FILE__, __LINE__, #call, error_);                                               \
    } while (0)
#define OK(call) EXPECT(call, 0)

/* What all scenarios share; the names are addresses in a page that nobody touches. */
struct shared {
    uint64_t counter, copy;
    uint64_t ring[4], n_in, n_out, sum;
    uint64_t n_started, n_counted;
    uint64_t counts[64];
    uint64_t given[64];
};
static struct shared *sh;
static char *names;
static bool is_home_first; /* of the names: rank 0 instead of the last */

enum {
    LOCK,
    RWLOCK,
    COND,
    OTHER_COND,
    SEM,
    FLAG,
    OTHER_FLAG,
    TICKETS,
    BARRIER,
    WORD32,
    WORD64,
    OTHER_LOCK
};
static const void *name(unsigned i)
{
    return names + 64 * i;
}

static void set_up(void)
{
    void *p = NULL;
    OK(dsm_alloc(sizeof *sh, NULL, &p));
    sh = p;
    struct dsm_alloc_options options;
    dsm_alloc_options_init(&options);
    options.placement = DSM_PLACE_RANK;
    options.rank = is_home_first ? 0 : dsm_size() - 1;
    OK(dsm_alloc(4096, &options, &p));
    names = p;
}

struct worker {
    pthread_t thread;
    uint32_t number; /* among all of the job */
    void (*run)(uint32_t number);
};

static void *run_worker(void *arg)
{
    const struct worker *w = arg;
    w->run(w->number);
    return NULL;
}

/* n threads on every rank. */
static void run_threads(uint32_t n, void (*run)(uint32_t number))
{
    struct worker workers[16];
    for (uint32_t i = 0; i < n; i++) {
        workers[i] = (struct worker){.number = dsm_rank() * n + i, .run = run};
        CHECK(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]) == 0);
    }
    for (uint32_t i = 0; i < n; i++)
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
    OK(dsm_barrier());
}

static uint32_t n_workers(void)
{
    return THREADS * dsm_size();
}

/* ---- every kind ---------------------------------------------------------------------------- */

#define ROUNDS 50u

static void read_and_write(uint32_t number)
{
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if ((i + number) % 3 == 0) {
            OK(dsm_rwlock_write(name(RWLOCK), GUARD));
            EXPECT(dsm_rwlock_read(name(RWLOCK), 0), DSM_E_DEADLOCK);
            sh->counter++;
            sh->copy++;
        } else {
            OK(dsm_rwlock_read(name(RWLOCK), GUARD));
            CHECK(sh->counter == sh->copy);
        }
        OK(dsm_rwlock_unlock(name(RWLOCK)));
    }
}

#define ITEMS 60u

/* A bounded queue: even threads put in, odd ones take out. */
static void produce_and_consume(uint32_t number)
{
    for (uint32_t i = 0; i < ITEMS; i++) {
        OK(dsm_lock(name(LOCK)));
        if (number % 2 == 0) {
            while (sh->n_in - sh->n_out == 4)
                OK(dsm_cond_wait(name(COND), name(LOCK), GUARD));
            sh->ring[sh->n_in++ % 4] = i + 1;
            OK(dsm_cond_signal(name(OTHER_COND)));
        } else {
            while (sh->n_in == sh->n_out)
                OK(dsm_cond_wait(name(OTHER_COND), name(LOCK), GUARD));
            sh->sum += sh->ring[sh->n_out++ % 4];
            OK(dsm_cond_signal(name(COND)));
        }
        OK(dsm_unlock(name(LOCK)));
    }
}

static void meet_and_deal(uint32_t number)
{
    for (uint32_t round = 1; round <= 5; round++) {
        int64_t index;
        sh->counts[number]++;
        OK(dsm_barrier_threads(name(BARRIER), n_workers(), GUARD));
        for (uint32_t i = 0; i < n_workers(); i++)
            CHECK(sh->counts[i] == round);
        OK(dsm_barrier_threads(name(BARRIER), n_workers(), GUARD));
        for (;;) {
            OK(dsm_ticket_next(name(TICKETS), 40, n_workers(), GUARD, &index));
            if (index < 0)
                break;
            CHECK(index < 40);
            (void)dsm_fetch_add_u64(&sh->given[index], 1);
        }
        for (uint32_t i = 0; i < 40; i++)
            CHECK(sh->given[i] == round);
        OK(dsm_barrier_threads(name(BARRIER), n_workers(), GUARD));
    }
}

/* A semaphore of 1 is a lock; flags order the threads. */
static void count_and_order(uint32_t number)
{
    for (uint32_t i = 0; i < ROUNDS; i++) {
        OK(dsm_sem_wait(name(SEM), GUARD));
        sh->counter++;
        OK(dsm_sem_post(name(SEM), 1));
    }
    OK(dsm_flag_await(name(FLAG), number, GUARD));
    CHECK(sh->n_counted == number);
    sh->n_counted++;
    OK(dsm_flag_add(name(FLAG), 1));
    /* One place: put waits until it is free, take until it is not. */
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (number % 2 == 0)
            OK(dsm_flag_put(name(OTHER_FLAG), 1, GUARD));
        else
            OK(dsm_flag_take(name(OTHER_FLAG), 1, GUARD));
    }
}

static void change_words(uint32_t number)
{
    uint32_t before32 = 0;
    uint64_t before64 = 0;
    (void)number;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        OK(dsm_word_fetch_add_u32(name(WORD32), UINT32_MAX, NULL)); /* minus one */
        for (uint64_t seen = 0;; seen = before64) {                 /* one more, by comparing */
            OK(dsm_word_compare_swap_u64(name(WORD64), seen, seen + 1, &before64));
            if (before64 == seen)
                break;
        }
    }
    OK(dsm_word_fetch_add_u32(name(WORD32), 0, &before32));
    CHECK(before32 >= UINT32_MAX - n_workers() * ROUNDS);
}

static void scenario_objects(void)
{
    uint64_t value = 0;
    uint32_t word = 0;
    set_up();
    run_threads(THREADS, read_and_write);
    CHECK(sh->counter == sh->copy && sh->counter > 0);
    OK(dsm_barrier());
    sh->counter = 0;
    run_threads(THREADS, produce_and_consume);
    CHECK(sh->n_in == sh->n_out && sh->n_in == dsm_size() * ITEMS);
    CHECK(sh->sum == dsm_size() * (uint64_t)ITEMS * (ITEMS + 1) / 2);
    run_threads(THREADS, meet_and_deal);
    if (dsm_rank() == 0)
        OK(dsm_sem_set(name(SEM), 1));
    OK(dsm_barrier());
    run_threads(THREADS, count_and_order);
    CHECK(sh->counter == n_workers() * ROUNDS);
    OK(dsm_sem_value(name(SEM), &value));
    CHECK(value == 1);
    OK(dsm_flag_count(name(FLAG), &value));
    CHECK(value == n_workers());
    run_threads(THREADS, change_words);
    OK(dsm_word_exchange_u64(name(WORD64), n_workers() * ROUNDS, &value));
    CHECK(value == n_workers() * ROUNDS);
    OK(dsm_barrier());
    OK(dsm_word_exchange_u32(name(WORD32), 7, &word));
    OK(dsm_word_compare_swap_u32(name(WORD32), 7, 7, &word));
    CHECK(word == 7);
    struct dsm_stats s = {.struct_size = sizeof s};
    OK(dsm_stats_get(&s));
    CHECK(s.rwlock_acquires == THREADS * ROUNDS && s.rwlock_wait.count == s.rwlock_acquires);
    CHECK(s.thread_barriers == THREADS * 15 && s.word_calls > 0 && s.ticket_calls > 0);
    CHECK(s.semaphore_calls >= 2 * THREADS * ROUNDS && s.flag_calls > 0 && s.condition_calls > 0);
}

/* ---- fairness ------------------------------------------------------------------------------ */

#define ACQUISITIONS 10000u

/* Counted once everybody has had it: before that some had nobody to contend with. */
static void contend(uint32_t number)
{
    bool has_started = false, goes_on = true;
    while (goes_on) {
        OK(dsm_lock(name(LOCK)));
        sh->n_started += !has_started;
        has_started = true;
        goes_on = sh->n_counted < ACQUISITIONS;
        if (goes_on && sh->n_started == n_workers()) {
            sh->counts[number]++;
            sh->n_counted++;
        }
        OK(dsm_unlock(name(LOCK)));
    }
}

static void scenario_fair(void)
{
    uint64_t least = UINT64_MAX, most = 0;
    set_up();
    run_threads(THREADS, contend);
    for (uint32_t i = 0; i < n_workers(); i++) {
        least = sh->counts[i] < least ? sh->counts[i] : least;
        most = sh->counts[i] > most ? sh->counts[i] : most;
    }
    if (dsm_rank() == 0)
        printf("luckiest %" PRIu64 ", unluckiest %" PRIu64 "\n", most, least);
    CHECK(most <= 2 * least);
}

/* ---- tokens that are kept for a while ------------------------------------------------------- */

/* All ranks take the lock again and again until the counter is there, so that they come to keep the
 * token. */
static void take_until(uint64_t count)
{
    for (bool goes_on = true; goes_on;) {
        OK(dsm_lock(name(LOCK)));
        goes_on = sh->counter < count;
        sh->counter += goes_on;
        OK(dsm_unlock(name(LOCK)));
    }
}

/* One rank then has no more use for it, and no call into the library that could tell it that others
 * have: they get it all the same. It waits for that without a call, too. */
static void scenario_kept(void)
{
    volatile uint64_t *given;
    set_up();
    given = sh->given;
    for (uint32_t i = 0; i < 100; i++) {
        take_until(200 * (i + 1));
        if (dsm_rank() == 0) {
            while (given[1] <= i)
                sched_yield();
        } else {
            OK(dsm_lock(name(LOCK)));
            given[dsm_rank()] = i + 1;
            OK(dsm_unlock(name(LOCK)));
        }
    }
    CHECK(sh->counter == 200 * 100);
    OK(dsm_barrier());
}

/* ---- waits that are given up --------------------------------------------------------------- */

static _Atomic uint32_t n_locked, n_timed_out;

static void impatient(uint32_t number)
{
    uint64_t random = number * 0x9e3779b97f4a7c15ull + 1;
    for (uint32_t i = 0; i < 300; i++) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        int64_t patience = i % 3 == 0 ? 0 : (int64_t)(random >> 45); /* up to half a millisecond */
        int error = i % 10 == 9 ? dsm_lock(name(LOCK)) : dsm_lock_timed(name(LOCK), patience);
        if (error == 0) {
            sh->counter++;
            sh->copy++;
            CHECK(sh->counter == sh->copy);
            OK(dsm_unlock(name(LOCK)));
            n_locked++;
        } else {
            EXPECT(error, DSM_E_TIMEOUT);
            n_timed_out++;
        }
        error = dsm_sem_wait(name(SEM), patience);
        if (error == 0)
            OK(dsm_sem_post(name(SEM), 1));
        else
            EXPECT(error, DSM_E_TIMEOUT);
        error = dsm_rwlock_write(name(RWLOCK), patience);
        if (error == 0)
            OK(dsm_rwlock_unlock(name(RWLOCK)));
        else
            EXPECT(error, DSM_E_TIMEOUT);
    }
}

static void scenario_timed(void)
{
    uint64_t value = 0, all = 0;
    set_up();
    if (dsm_rank() == 0)
        OK(dsm_sem_set(name(SEM), 2));
    OK(dsm_barrier());
    run_threads(THREADS, impatient);
    all = n_locked;
    OK(dsm_allreduce(&all, 1, DSM_UINT64, DSM_SUM));
    CHECK(sh->counter == all);
    OK(dsm_sem_value(name(SEM), &value));
    CHECK(value == 2);
    struct dsm_stats s = {.struct_size = sizeof s};
    OK(dsm_stats_get(&s));
    CHECK(s.lock_timeouts == n_timed_out && s.lock_acquires >= n_locked);
    /* Held elsewhere: a try says so, at once, and the lock is to be had afterwards. */
    OK(dsm_barrier());
    if (dsm_rank() == 0)
        OK(dsm_lock(name(LOCK)));
    OK(dsm_barrier());
    if (dsm_rank() != 0)
        EXPECT(dsm_trylock(name(LOCK)), DSM_E_TIMEOUT);
    OK(dsm_barrier());
    if (dsm_rank() == 0) {
        EXPECT(dsm_trylock(name(LOCK)), DSM_E_DEADLOCK);
        OK(dsm_unlock(name(LOCK)));
    }
    OK(dsm_barrier());
    /* Free elsewhere: a try gets it. Never used before: likewise. */
    if (dsm_rank() == dsm_size() - 1) {
        OK(dsm_trylock(names + 1000));
        OK(dsm_unlock(names + 1000));
    }
    OK(dsm_barrier());
    if (dsm_rank() == 0) {
        OK(dsm_trylock(names + 1000));
        OK(dsm_unlock(names + 1000));
    }
    OK(dsm_lock(name(LOCK)));
    EXPECT(dsm_cond_wait(name(COND), name(LOCK), 0), DSM_E_TIMEOUT);
    EXPECT(dsm_cond_wait(name(COND), name(LOCK), 1000), DSM_E_TIMEOUT);
    OK(dsm_unlock(name(LOCK))); /* it was held again */
    EXPECT(dsm_flag_await(name(FLAG), 1, 1000), DSM_E_TIMEOUT);
    EXPECT(dsm_barrier_threads(name(BARRIER), n_workers() + 1, 1000), DSM_E_TIMEOUT);
    OK(dsm_barrier());
}

/* ---- errors -------------------------------------------------------------------------------- */

static const void *awaited;
static int wait_result;

static void *wait_for_sem(void *arg)
{
    (void)arg;
    wait_result = dsm_sem_wait(awaited, GUARD);
    return NULL;
}

/* A thread that waits for a semaphore; it is in the queue when this returns, by its count. */
static pthread_t start_waiting(const void *sem)
{
    pthread_t thread;
    awaited = sem;
    wait_result = 1;
    CHECK(pthread_create(&thread, NULL, wait_for_sem, NULL) == 0);
    return thread;
}

static void *exit_with_locks(void *arg)
{
    (void)arg;
    OK(dsm_lock(name(LOCK)));
    OK(dsm_rwlock_write(name(RWLOCK), GUARD));
    return NULL;
}

/* GONE, whether the wait had begun when the object ended or a new one took its place. */
static void end_of_wait(pthread_t thread, const void *sem)
{
    /* If the wait begins after the end of the object, it waits at a new one. */
    struct timespec pause = {0, 1000000};
    while (pthread_tryjoin_np(thread, NULL) != 0) {
        nanosleep(&pause, NULL);
        OK(dsm_sync_destroy(sem));
    }
    EXPECT(wait_result, DSM_E_GONE);
}

struct lock_wait {
    const void *lock;
    _Atomic int tid;
    int result;
};

static void *wait_for_lock(void *arg)
{
    struct lock_wait *w = arg;
    w->tid = gettid();
    w->result = dsm_lock(w->lock);
    if (w->result == 0)
        OK(dsm_unlock(w->lock));
    return NULL;
}

/* Until the thread sleeps, which it nearly always does in the lock's queue. */
static void wait_until_it_sleeps(const struct lock_wait *w)
{
    char path[64], text[64];
    do {
        const struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
        text[0] = 'r';
        snprintf(path, sizeof path, "/proc/self/task/%d/syscall", w->tid);
        FILE *f = w->tid ? fopen(path, "r") : NULL;
        if (f && !fgets(text, sizeof text, f))
            text[0] = 'r';
        if (f)
            fclose(f);
    } while (text[0] < '0' || text[0] > '9'); /* "running", or the number of a system call */
}

/* The memory of a lock is freed while another rank waits for it: the waiter is told when its turn
 * comes, and the lock begins anew. One that had not come to the queue yet just gets the lock. */
static void check_lock_in_freed_memory(void)
{
    uint32_t last = dsm_size() - 1, rank = dsm_rank();
    int32_t is_told = 0;
    for (int i = 0; i < 50 && !is_told; i++) {
        uint64_t block = 0;
        struct lock_wait w = {.result = 1};
        pthread_t thread;
        if (rank == 0) {
            block = (uintptr_t)dsm_malloc(1 << 20);
            OK(dsm_lock((const void *)(block + 32)));
        }
        OK(dsm_bcast(&block, sizeof block, 0));
        w.lock = (const void *)(block + 32);
        if (rank == last) {
            CHECK(pthread_create(&thread, NULL, wait_for_lock, &w) == 0);
            wait_until_it_sleeps(&w);
            OK(dsm_free((void *)block));
        }
        OK(dsm_barrier());
        if (rank == 0)
            OK(dsm_unlock(w.lock));
        if (rank == last)
            CHECK(pthread_join(thread, NULL) == 0 && (w.result == 0 || w.result == DSM_E_GONE));
        is_told = w.result == DSM_E_GONE;
        OK(dsm_allreduce(&is_told, 1, DSM_INT32, DSM_MAX));
        OK(dsm_lock(w.lock));
        OK(dsm_unlock(w.lock));
        OK(dsm_barrier());
    }
    CHECK(is_told);
}

/* The thread that holds a lock destroys it while a thread of every rank waits: all of them are
 * told, but those that had not come to the queue yet, and the lock begins anew. */
static void check_destroyed_lock(void)
{
    int32_t n_told = 0;
    for (int i = 0; i < 50 && n_told < (int32_t)dsm_size(); i++) {
        struct lock_wait w = {.lock = name(OTHER_LOCK), .result = 1};
        pthread_t thread;
        if (dsm_rank() == 0)
            OK(dsm_lock(w.lock));
        OK(dsm_barrier());
        CHECK(pthread_create(&thread, NULL, wait_for_lock, &w) == 0);
        wait_until_it_sleeps(&w);
        OK(dsm_barrier());
        if (dsm_rank() == 0) {
            OK(dsm_sync_destroy(w.lock));
            EXPECT(dsm_unlock(w.lock), DSM_E_NOTHELD);
        }
        CHECK(pthread_join(thread, NULL) == 0 && (w.result == 0 || w.result == DSM_E_GONE));
        OK(dsm_barrier());
        OK(dsm_lock(w.lock));
        OK(dsm_unlock(w.lock));
        n_told = w.result == DSM_E_GONE;
        OK(dsm_allreduce(&n_told, 1, DSM_INT32, DSM_SUM));
    }
    CHECK(n_told == (int32_t)dsm_size());
    /* Held by another thread, or by none: left as it is. */
    if (dsm_rank() == 0)
        OK(dsm_lock(name(OTHER_LOCK)));
    OK(dsm_barrier());
    OK(dsm_rank() == 0 ? 0 : dsm_sync_destroy(name(OTHER_LOCK)));
    EXPECT(dsm_lock_timed(name(OTHER_LOCK), 0), dsm_rank() == 0 ? DSM_E_DEADLOCK : DSM_E_TIMEOUT);
    OK(dsm_barrier());
    OK(dsm_rank() == 0 ? dsm_unlock(name(OTHER_LOCK)) : 0);
    OK(dsm_barrier());
}

/* ---- a lock that is destroyed again and again --------------------------------------------------
 */

static _Atomic uint64_t n_held, n_destroyed;

/* Waits for the lock, for ever, for a time or not at all; every fifth holder destroys it. */
static void *lock_and_destroy(void *arg)
{
    uint64_t seed = (uintptr_t)arg;
    for (int i = 0; i < 300; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned dice = (unsigned)(seed >> 40);
        int error = dsm_lock_timed(name(OTHER_LOCK), dice % 4       ? DSM_FOREVER
                                                     : dice / 4 % 2 ? 100000
                                                                    : 0);
        CHECK(error == 0 || error == DSM_E_GONE || (error == DSM_E_TIMEOUT && dice % 4 == 0));
        if (error)
            continue;
        volatile uint64_t *counter = &sh->counter;
        *counter = *counter + 1; /* two holders at once would lose one */
        n_held++;
        if (dice / 8 % 5) {
            OK(dsm_unlock(name(OTHER_LOCK)));
        } else {
            OK(dsm_sync_destroy(name(OTHER_LOCK)));
            EXPECT(dsm_unlock(name(OTHER_LOCK)), DSM_E_NOTHELD);
            n_destroyed++;
        }
    }
    return NULL;
}

static void scenario_destroyed(void)
{
    pthread_t threads[THREADS];
    set_up();
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, lock_and_destroy,
                             (void *)(uintptr_t)(100 * dsm_rank() + i + 1)) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    uint64_t n = n_held;
    OK(dsm_allreduce(&n, 1, DSM_UINT64, DSM_SUM));
    CHECK(sh->counter == n);
    n = n_destroyed;
    OK(dsm_allreduce(&n, 1, DSM_UINT64, DSM_SUM));
    CHECK(n > 0);
    OK(dsm_lock(name(OTHER_LOCK)));
    OK(dsm_unlock(name(OTHER_LOCK)));
    OK(dsm_barrier());
}

static void scenario_errors(void)
{
    pthread_t thread;
    set_up();
    uint32_t last = dsm_size() - 1, rank = dsm_rank();

    /* Kinds. */
    if (rank == 0)
        OK(dsm_sem_post(name(SEM), 1));
    OK(dsm_barrier());
    EXPECT(dsm_flag_set(name(SEM), 1), DSM_E_KIND);
    EXPECT(dsm_rwlock_read(name(SEM), GUARD), DSM_E_KIND);
    EXPECT(dsm_cond_signal(name(SEM)), DSM_E_KIND);
    EXPECT(dsm_barrier_threads(name(SEM), 1, GUARD), DSM_E_KIND);
    EXPECT(dsm_sem_post(name(SEM), INT64_MAX), DSM_E_LIMIT);
    OK(dsm_lock(name(SEM))); /* a lock may have the name too */
    OK(dsm_unlock(name(SEM)));
    OK(dsm_barrier());

    /* Who holds what. */
    EXPECT(dsm_unlock(name(LOCK)), DSM_E_NOTHELD);
    EXPECT(dsm_rwlock_unlock(name(RWLOCK)), DSM_E_NOTHELD);
    EXPECT(dsm_cond_wait(name(COND), name(LOCK), 0), DSM_E_NOTHELD);
    OK(dsm_lock(name(LOCK)));
    EXPECT(dsm_lock(name(LOCK)), DSM_E_DEADLOCK);
    OK(dsm_unlock(name(LOCK)));
    OK(dsm_barrier());

    /* A thread that ends holding locks: the next to take them, anywhere, is told, once. */
    if (rank == 0) {
        CHECK(pthread_create(&thread, NULL, exit_with_locks, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    OK(dsm_barrier());
    if (rank == last) {
        EXPECT(dsm_lock(name(LOCK)), DSM_E_ABANDONED);
        OK(dsm_unlock(name(LOCK)));
        OK(dsm_lock(name(LOCK)));
        OK(dsm_unlock(name(LOCK)));
        EXPECT(dsm_rwlock_read(name(RWLOCK), GUARD), DSM_E_ABANDONED);
        OK(dsm_rwlock_unlock(name(RWLOCK)));
        OK(dsm_rwlock_write(name(RWLOCK), GUARD));
        OK(dsm_rwlock_unlock(name(RWLOCK)));
    }
    OK(dsm_barrier());

    /* Objects that end while somebody waits: destroyed, in a large block, in a small block. */
    OK(dsm_sync_destroy(name(SEM)));
    thread = start_waiting(name(SEM));
    if (rank == last)
        OK(dsm_sync_destroy(name(SEM)));
    end_of_wait(thread, name(SEM));
    OK(dsm_barrier());
    uint64_t blocks[2] = {0};
    if (rank == 0) {
        blocks[0] = (uintptr_t)dsm_malloc(100);
        blocks[1] = (uintptr_t)dsm_malloc(1 << 20);
        OK(dsm_sem_set((const void *)(blocks[0] + 8), 5));
        OK(dsm_sem_set((const void *)(blocks[1] + 70000), 5));
    }
    OK(dsm_bcast(blocks, sizeof blocks, 0));
    for (int i = 0; i < 2; i++) {
        const char *sem = (const char *)blocks[i] + (i ? 70000 : 8);
        uint64_t value = 1;
        OK(dsm_barrier());
        if (rank == last)
            OK(dsm_free((void *)blocks[i]));
        OK(dsm_barrier());
        OK(dsm_sem_value(sem, &value)); /* begins anew */
        CHECK(value == 0);
        OK(dsm_barrier());
    }
    if (rank == 0)
        blocks[0] = (uintptr_t)dsm_malloc(100);
    OK(dsm_bcast(blocks, sizeof blocks, 0));
    thread = start_waiting((const void *)(blocks[0] + 16));
    if (rank == last)
        OK(dsm_free((void *)blocks[0]));
    end_of_wait(thread, (const void *)(blocks[0] + 16));
    OK(dsm_barrier());

    check_lock_in_freed_memory();
    check_destroyed_lock();

    /* Parties that differ. */
    if (rank == 0) {
        thread = start_waiting(name(OTHER_FLAG)); /* to have somebody else wait */
        EXPECT(dsm_barrier_threads(name(BARRIER), 2, 0), DSM_E_TIMEOUT);
        end_of_wait(thread, name(OTHER_FLAG));
    }
    OK(dsm_barrier());
}

/* ---- private bytes for everybody ------------------------------------------------------------- */

#define DISTRIBUTED ((char *)0x7d0000000000) /* the same everywhere, and nobody's */

static void scenario_distribute(void)
{
    uint32_t last = dsm_size() - 1;
    size_t len = 3 * 4096;
    char *p = mmap(DISTRIBUTED, 5 * 4096, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(p == DISTRIBUTED);
    set_up();
    for (uint32_t turn = 0; turn < dsm_size(); turn++) {
        if (turn == dsm_rank()) {
            memset(p + 100, 'a' + (int)turn, len);
            OK(dsm_distribute(p + 100, len));
        }
        OK(dsm_barrier());
        for (size_t i = 0; i < len; i++)
            CHECK(p[100 + i] == (char)('a' + turn));
        CHECK(p[99] == 0 && p[100 + len] == 0);
        OK(dsm_barrier());
    }
    OK(dsm_distribute(p, 0));
    /* Where it cannot be written, one rank's fault, and where it cannot be read. */
    if (dsm_rank() == last)
        CHECK(mprotect(p, 4096, PROT_READ) == 0 && munmap(p + 4 * 4096, 4096) == 0);
    OK(dsm_barrier());
    if (dsm_rank() == 0) {
        int wanted = last == 0 ? 0 : DSM_E_RANGE;
        EXPECT(dsm_distribute(p, 8), wanted);
        EXPECT(dsm_distribute(p + 2 * 4096, 2 * 4096), 0);
    }
    /* Then nobody gets what could be read of it. */
    if (dsm_rank() == last) {
        memset(p + 2 * 4096, 'z', 2 * 4096);
        EXPECT(dsm_distribute(p + 2 * 4096, 3 * 4096), DSM_E_RANGE);
        EXPECT(dsm_distribute(p + 4 * 4096 - 8, 16), DSM_E_RANGE);
    }
    OK(dsm_barrier());
    for (size_t i = 2 * 4096; i < 4 * 4096 && dsm_rank() != last; i++)
        CHECK(p[i] != 'z');
    OK(dsm_barrier());
}

/* ---- a rank dies --------------------------------------------------------------------------- */

static int results[4];

static void *wait_one(void *arg)
{
    uintptr_t which = (uintptr_t)arg;
    switch (which) {
    case 0:
        results[0] = dsm_sem_wait(name(SEM), GUARD);
        break;
    case 1:
        results[1] = dsm_flag_await(name(FLAG), 1, GUARD);
        break;
    case 2:
        results[2] = dsm_barrier_threads(name(BARRIER), 100, GUARD);
        break;
    default:
        results[3] = dsm_lock(name(LOCK)); /* PEER where it is the lost rank's */
        if (results[3] == 0)
            results[3] = dsm_cond_wait(name(COND), name(LOCK), GUARD);
        (void)dsm_unlock(name(LOCK)); /* NOTHELD where the lock went with the rank */
    }
    return NULL;
}

/* With DSM_ON_LOSS=continue: all waits of the survivors end. */
static void scenario_survive(void)
{
    static const unsigned objects[] = {SEM, FLAG, BARRIER, COND};
    const struct timespec pause = {0, 1000000};
    uint32_t last = dsm_size() - 1, survivors[8];
    pthread_t threads[4];
    struct dsm_alloc_options options;
    void *ready = NULL;
    set_up();
    /* Its manager lives on: who dies in the moment in which it hears may not have answered others.
     */
    dsm_alloc_options_init(&options);
    options.placement = DSM_PLACE_RANK;
    OK(dsm_alloc(4096, &options, &ready));
    OK(dsm_barrier());
    if (dsm_rank() == last) {
        OK(dsm_flag_await(ready, 4 * last, GUARD));
        raise(SIGKILL);
    }
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, wait_one, (void *)i) == 0);
    OK(dsm_flag_add(ready, 4));
    EXPECT(dsm_barrier(), DSM_E_PEER); /* until the death is known */
    for (int i = 0; i < 4; i++) {
        /* A wait that begins after the loss is one of the survivors' own: they end it, but for the
         * barrier, which is lost. */
        while (pthread_tryjoin_np(threads[i], NULL) != 0) {
            nanosleep(&pause, NULL);
            if (objects[i] != BARRIER)
                (void)dsm_sync_destroy(name(objects[i]));
        }
        EXPECT(results[i] == DSM_E_GONE ? DSM_E_PEER : results[i], DSM_E_PEER);
    }
    EXPECT(results[2], DSM_E_PEER);
    for (uint32_t i = 0; i < last; i++)
        survivors[i] = i;
    OK(dsm_barrier_group(survivors, last)); /* nobody leaves while others ask it */
    EXPECT(dsm_finalize(), DSM_E_PEER);
    exit(0);
}

static void scenario_survive_the_other(void)
{
    is_home_first = true;
    scenario_survive();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"objects", scenario_objects},
        {"fair", scenario_fair},
        {"timed", scenario_timed},
        {"errors", scenario_errors},
        {"survive", scenario_survive},
        {"survive-home", scenario_survive_the_other},
        {"distribute", scenario_distribute},
        {"destroyed", scenario_destroyed},
        {"kept", scenario_kept},
    };
    for (size_t i = 0; argc > 1 && i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(argv[1], scenarios[i].name) != 0)
            continue;
        if (dsm_init(NULL))
            return 2;
        scenarios[i].run();
        return dsm_finalize() ? 1 : 0;
    }
    fprintf(stderr, "usage: sync SCENARIO\n");
    return 2;
}
