/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ranks.c - what programs do with the library, each part checked; run under dsmrun by ranks.sh.
 *
 * Usage: ranks SCENARIO [SEED]. Exits 0 when every check held on this rank; prints what did not.
 * RANKS_SHRINK=N in the environment: what is only repeated is repeated N times less.
 */
#define _GNU_SOURCE
#include <dsm/dsm.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define PAGE 4096u

static uint64_t seed = 1;
static unsigned shrink = 1;

static unsigned repeats(unsigned n)
{
    return n / shrink > 0 ? n / shrink : 1;
}

static void fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "rank %u: %s:%d: %s (seed %" PRIu64 ")\n", dsm_rank(), file, line, what, seed);
    dsm_abort(1);
}
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail(__FILE__, __LINE__, #condition);                                                  \
    } while (0)

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void *shared(size_t bytes, enum dsm_placement placement, uint64_t unit)
{
    struct dsm_alloc_options options;
    void *p = NULL;
    dsm_alloc_options_init(&options);
    options.placement = placement;
    options.unit_bytes = unit;
    options.name = "test";
    CHECK(dsm_alloc(bytes, &options, &p) == 0);
    return p;
}

/* Every rank writes its share, everybody reads everything, in turns, for several rounds. */
static void fill_and_check(enum dsm_placement placement, uint64_t unit, size_t n_words)
{
    uint64_t *a = shared(n_words * 8, placement, unit);
    uint32_t rank = dsm_rank(), n = dsm_size();
    for (size_t i = rank; i < n_words; i += 509)
        CHECK(a[i] == 0); /* never written reads as zero */
    CHECK(dsm_barrier() == 0);
    for (uint64_t round = 1; round <= 3; round++) {
        size_t lo = n_words * ((rank + round) % n) / n, hi = n_words * ((rank + round) % n + 1) / n;
        for (size_t i = lo; i < hi; i++)
            a[i] = round * 1000003 + i;
        CHECK(dsm_barrier() == 0);
        for (size_t i = 0; i < n_words; i += 61)
            CHECK(a[i] == round * 1000003 + i);
        CHECK(dsm_barrier() == 0);
    }
    if (rank == n - 1)
        CHECK(dsm_free(a) == 0);
    CHECK(dsm_barrier() == 0);
}

static void scenario_fill(void)
{
    size_t n_words = shrink > 1 ? 16000 : 40000; /* tens of pages for each rank at least */
    for (int placement = DSM_PLACE_BLOCK; placement <= DSM_PLACE_FIRST_TOUCH; placement++)
        fill_and_check((enum dsm_placement)placement, 0, n_words);
}

static void scenario_units(void)
{
    for (uint64_t unit = 4096; unit <= 2u << 20; unit *= 8) {
        size_t n_words = repeats(1u << 19);
        fill_and_check(DSM_PLACE_CYCLIC, unit, n_words < unit / 4 ? unit / 4 : n_words);
    }
    fill_and_check(DSM_PLACE_BLOCK, 2u << 20, 1u << 19);
}

struct counter {
    uint64_t value;
    uint64_t pad[511];
    uint64_t other_page;
};

static void *lock_worker(void *arg)
{
    struct counter *c = arg;
    for (unsigned i = 0; i < repeats(300); i++) {
        CHECK(dsm_lock(c) == 0);
        uint64_t v = c->value;
        c->other_page = v;
        c->value = v + 1;
        CHECK(c->other_page == v);
        CHECK(dsm_unlock(c) == 0);
    }
    return NULL;
}

/* The first rank takes the lock and gives it back without a pause, so that the recalls for the
 * others find it in every moment of that. */
static void take_in_a_hurry(struct counter *c)
{
    uint64_t n_others = dsm_size() - 1;
    for (uint64_t round = 1; round <= repeats(1500); round++) {
        uint64_t seen = 0, n_takes = 0;
        while (dsm_rank() == 0 ? seen < round * n_others : n_takes == 0) {
            CHECK(dsm_lock(&c->other_page) == 0);
            if (dsm_rank() > 0)
                c->other_page++;
            seen = c->other_page;
            n_takes++;
            CHECK(dsm_unlock(&c->other_page) == 0);
        }
        CHECK(dsm_barrier() == 0);
    }
}

static void scenario_locks(void)
{
    enum { THREADS = 3 };
    struct counter *c = shared(sizeof *c, DSM_PLACE_RANK, 0);
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, lock_worker, c) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    CHECK(dsm_barrier() == 0);
    CHECK(c->value == (uint64_t)repeats(300) * THREADS * dsm_size());
    CHECK(dsm_barrier() == 0);
    if (dsm_rank() == 0)
        c->other_page = 0;
    CHECK(dsm_barrier() == 0);
    take_in_a_hurry(c);
    CHECK(dsm_barrier() == 0);
    CHECK(dsm_lock(c) == 0);
    CHECK(dsm_lock(c) == DSM_E_DEADLOCK);
    CHECK(dsm_unlock(c) == 0);
    CHECK(dsm_unlock(c) == DSM_E_NOTHELD);
    CHECK(dsm_lock(NULL) == DSM_E_RANGE);
    CHECK(dsm_barrier() == 0);
}

static void *atomic_worker(void *arg)
{
    uint64_t *p = arg;
    for (int i = 0; i < 2000; i++)
        dsm_fetch_add_u64(p, 1);
    return NULL;
}

static void scenario_atomics(void)
{
    uint64_t *p = shared(PAGE, DSM_PLACE_BLOCK, 0);
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&t[i], NULL, atomic_worker, p) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    CHECK(dsm_barrier() == 0);
    CHECK(*p == 4000ull * dsm_size());
    CHECK(dsm_barrier() == 0);
}

/*
 * Every type with every operation, against the same fold on one rank: rank r has first + r * step,
 * which wraps around in small types, and signed ones begin below zero.
 */
#define CHECK_FOLD(T, U, TYPE, OP, first, step, expression)                                        \
    do {                                                                                           \
        T mine_[3], x = 0;                                                                         \
        for (uint32_t i_ = 0; i_ < 3; i_++)                                                        \
            mine_[i_] = (T)((U)(first) + (U)dsm_rank() * (U)(step));                               \
        CHECK(dsm_allreduce(mine_, 3, TYPE, OP) == 0);                                             \
        for (uint32_t r_ = 0; r_ < dsm_size(); r_++) {                                             \
            T y = (T)((U)(first) + (U)r_ * (U)(step));                                             \
            x = r_ == 0 ? y : (T)(expression);                                                     \
        }                                                                                          \
        for (uint32_t i_ = 0; i_ < 3; i_++)                                                        \
            CHECK(memcmp(&mine_[i_], &x, sizeof x) == 0);                                          \
    } while (0)

#define CHECK_NUMBERS(T, U, TYPE, first, step)                                                     \
    CHECK_FOLD(T, U, TYPE, DSM_MIN, first, step, y < x ? y : x);                                   \
    CHECK_FOLD(T, U, TYPE, DSM_MAX, first, step, y > x ? y : x)

#define CHECK_INTEGERS(T, U, TYPE, first, step)                                                    \
    CHECK_NUMBERS(T, U, TYPE, first, step);                                                        \
    CHECK_FOLD(T, U, TYPE, DSM_SUM, first, step, (U)((U)x + (U)y));                                \
    CHECK_FOLD(T, U, TYPE, DSM_PROD, first, step, (U)(1u * (U)x * (U)y));                          \
    CHECK_FOLD(T, U, TYPE, DSM_BAND, first, step, x &y);                                           \
    CHECK_FOLD(T, U, TYPE, DSM_BOR, first, step, x | y);                                           \
    CHECK_FOLD(T, U, TYPE, DSM_BXOR, first, step, x ^ y)

#define CHECK_REALS(T, TYPE)                                                                       \
    CHECK_NUMBERS(T, T, TYPE, -1.5, 0.25);                                                         \
    /* Small whole numbers: exact in whatever order they are folded. */                            \
    CHECK_FOLD(T, T, TYPE, DSM_SUM, -3, 2, x + y);                                                 \
    CHECK_FOLD(T, T, TYPE, DSM_PROD, -3, 2, x *y)

static void check_small_integers(void)
{
    CHECK_INTEGERS(int8_t, uint8_t, DSM_INT8, -100, 70);
    CHECK_INTEGERS(uint8_t, uint8_t, DSM_UINT8, 250, 3);
    CHECK_INTEGERS(int16_t, uint16_t, DSM_INT16, -30000, 20000);
    CHECK_INTEGERS(uint16_t, uint16_t, DSM_UINT16, 65533, 1);
}

static void check_large_integers(void)
{
    CHECK_INTEGERS(int32_t, uint32_t, DSM_INT32, -2000000000, 1500000000);
    CHECK_INTEGERS(uint32_t, uint32_t, DSM_UINT32, 4000000000u, 70000);
    CHECK_INTEGERS(int64_t, uint64_t, DSM_INT64, INT64_MIN + 5, INT64_MAX / 2);
    CHECK_INTEGERS(uint64_t, uint64_t, DSM_UINT64, UINT64_MAX - 1, 1);
}

static void scenario_collectives(void)
{
    check_small_integers();
    check_large_integers();
    CHECK_REALS(float, DSM_FLOAT);
    CHECK_REALS(double, DSM_DOUBLE);
    uint32_t rank = dsm_rank(), n = dsm_size();
    static uint64_t big[3000];
    for (uint32_t root = 0; root < n; root++) {
        for (size_t i = 0; i < 3000; i++)
            big[i] = rank == root ? root * 7919 + i : 0;
        CHECK(dsm_bcast(big, sizeof big, root) == 0);
        for (size_t i = 0; i < 3000; i++)
            CHECK(big[i] == root * 7919 + i);
    }
    for (int round = 0; round < 50; round++) {
        int64_t sum = rank + 1;
        CHECK(dsm_allreduce(&sum, 1, DSM_INT64, DSM_SUM) == 0);
        CHECK(sum == (int64_t)n * (n + 1) / 2);
        double top[700];
        for (int i = 0; i < 700; i++)
            top[i] = rank * 10.0 + i;
        CHECK(dsm_allreduce(top, 700, DSM_DOUBLE, DSM_MAX) == 0);
        for (int i = 0; i < 700; i++)
            CHECK(top[i] == (n - 1) * 10.0 + i);
        uint32_t bits = 1u << rank;
        CHECK(dsm_allreduce(&bits, 1, DSM_UINT32, DSM_BOR) == 0);
        CHECK(bits == (1u << n) - 1);
    }
    float f = 1;
    CHECK(dsm_allreduce(&f, 1, DSM_FLOAT, DSM_BXOR) == DSM_E_INVAL);
    CHECK(dsm_bcast(big, 8, n) == DSM_E_INVAL);
    if (n >= 3) {
        uint32_t members[] = {2, 0};
        uint64_t *p = shared(PAGE, DSM_PLACE_RANK, 0);
        for (uint64_t round = 1; round <= 20 && rank != 1; round++) {
            if (rank == 0)
                *p = round;
            if (rank == 0 || rank == 2)
                CHECK(dsm_barrier_group(members, 2) == 0);
            if (rank == 2)
                CHECK(*p == round);
            if (rank == 0 || rank == 2)
                CHECK(dsm_barrier_group(members, 2) == 0);
        }
        if (rank == 1)
            CHECK(dsm_barrier_group(members, 2) == DSM_E_INVAL);
    }
    CHECK(dsm_barrier() == 0);
}

/* ---- signal handlers in the way ---- */

#define TICKS_BEFORE 10

static pid_t partner; /* of two ranks the other one's process */
static uint64_t *words;
static volatile sig_atomic_t n_ticks;

/* Words for both ranks; and signals between them stay pending until they are waited for. */
static void meet_partner(void)
{
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGUSR1);
    sigaddset(&ours, SIGUSR2);
    CHECK(pthread_sigmask(SIG_BLOCK, &ours, NULL) == 0);
    words = shared(6 * PAGE, DSM_PLACE_BLOCK, 0);
    words[(2 + dsm_rank()) * 512] = (uint64_t)getpid();
    CHECK(dsm_barrier() == 0);
    partner = (pid_t)words[(3 - dsm_rank()) * 512];
}

static void await_signal(int number)
{
    const struct timespec guard = {60, 0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    while (sigtimedwait(&set, NULL, &guard) != number)
        CHECK(errno == EINTR);
}

/* The first page is still on its way to the thread below, if the trap lets signals through. */
static void on_tick(int signal)
{
    (void)signal;
    n_ticks++;
    if (n_ticks != TICKS_BEFORE)
        return;
    CHECK(words[512] == 7);
    CHECK(kill(partner, SIGUSR1) == 0);
    await_signal(SIGUSR2);
}

static void fault_and_be_interrupted(void)
{
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    const struct itimerval ticking = {{0, 1000}, {0, 1000}}, over = {{0, 0}, {0, 0}};
    sigset_t ticks, before;
    sigemptyset(&ticks);
    sigaddset(&ticks, SIGALRM);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &ticking, NULL) == 0);
    uint64_t seen = *(volatile uint64_t *)words;
    CHECK(seen == 5 || seen == 6);
    CHECK(pthread_sigmask(SIG_BLOCK, &ticks, &before) == 0);
    while (n_ticks < TICKS_BEFORE)
        sigsuspend(&before);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &over, NULL) == 0);
}

/*
 * A signal handler that faults interrupts a fault of its thread, and stays for as long as the other
 * rank needs to have the page back: nobody comes back to the fault before.
 */
static void scenario_interrupted(void)
{
    meet_partner();
    if (dsm_rank() == 0)
        words[512] = 7;
    CHECK(dsm_barrier() == 0);
    if (dsm_rank() == 0) {
        words[0] = 5;
        int error = dsm_pin(words, PAGE, DSM_WRITE, 300000000);
        CHECK(error == 0 || error == DSM_E_TIMEOUT);
    }
    CHECK(dsm_barrier() == 0);
    if (dsm_rank() == 1) {
        fault_and_be_interrupted();
    } else {
        await_signal(SIGUSR1);
        (void)dsm_unpin(words, PAGE); /* ended by its time, where signals wait for the page */
        CHECK(dsm_fetch_add_u64(words, 1) == 5);
        CHECK(kill(partner, SIGUSR2) == 0);
    }
    CHECK(dsm_barrier() == 0);
}

static void wait_for_word(int signal)
{
    volatile uint64_t *awaited = words;
    (void)signal;
    CHECK(kill(partner, SIGUSR1) == 0);
    while (awaited[0] == 0)
        ;
    awaited[512] = 1;
    CHECK(kill(partner, SIGUSR2) == 0);
}

/* A signal handler that interrupts a barrier looks at a page until another rank has written it. */
static void scenario_handler(void)
{
    struct sigaction action = {.sa_handler = wait_for_word, .sa_flags = SA_RESTART};
    const struct itimerval soon = {{0, 0}, {0, 20000}};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    meet_partner();
    CHECK(words[0] == 0); /* both have a copy */
    CHECK(dsm_barrier() == 0);
    if (dsm_rank() == 0) {
        await_signal(SIGUSR1);
        words[0] = 1;
        await_signal(SIGUSR2);
    } else {
        CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    }
    CHECK(dsm_barrier() == 0);
    CHECK(words[512] == 1);
    CHECK(dsm_barrier() == 0);
}

static sem_t rang;
static _Atomic uint32_t rings_from[64], ring_in_handler_error;

static void on_ring(void *user, uint32_t from)
{
    rings_from[from] += *(uint32_t *)user;
    sem_post(&rang);
}

static void ring_next(int signal)
{
    (void)signal;
    if (dsm_ring((dsm_rank() + 1) % dsm_size()))
        ring_in_handler_error = 1;
}

static void wait_for_ring(void)
{
    while (sem_wait(&rang) != 0)
        CHECK(errno == EINTR);
}

/* A token goes round the ranks, each told by the bell alone; every other time rung from a signal
 * handler. */
static void scenario_bells(void)
{
    uint32_t rank = dsm_rank(), n = dsm_size(), one = 1;
    uint32_t before = (rank + n - 1) % n, next = (rank + 1) % n;
    const uint64_t rounds = repeats(200);
    uint64_t *token = shared(PAGE, DSM_PLACE_RANK, 0);
    CHECK(sem_init(&rang, 0, 0) == 0 && signal(SIGUSR1, ring_next) != SIG_ERR);
    CHECK(dsm_ring(n) == DSM_E_INVAL);
    /* May come before there is a handler, and is kept. */
    CHECK(dsm_ring(next) == 0);
    CHECK(dsm_barrier() == 0);
    CHECK(dsm_on_ring(on_ring, &one) == 0);
    wait_for_ring();
    CHECK(rings_from[before] == 1);
    CHECK(dsm_barrier() == 0);
    if (rank == 0)
        CHECK(dsm_ring(next) == 0);
    for (uint64_t round = 0; round < rounds; round++) {
        wait_for_ring();
        CHECK(*token == round * n + (rank ? rank : n) - 1);
        if (rank == 0 && round + 1 == rounds)
            break;
        ++*token;
        if (round % 2 == 0)
            CHECK(dsm_ring(next) == 0);
        else
            CHECK(raise(SIGUSR1) == 0 && !ring_in_handler_error);
    }
    CHECK(dsm_barrier() == 0);
    CHECK(rings_from[before] == 1 + rounds);
    CHECK(dsm_on_ring(NULL, NULL) == 0);
    CHECK(dsm_barrier() == 0);
    for (int i = 0; i < 1000; i++)
        CHECK(dsm_ring(next) == 0); /* nobody answers */
    CHECK(dsm_barrier() == 0);
    CHECK(rings_from[before] == 1 + rounds);
}

/* Any rank allocates, the next frees, contents travel by pointer. */
static void scenario_malloc(void)
{
    enum { SLOTS = 64 };
    struct slot {
        uint64_t *block;
        uint64_t n_words;
    };
    uint32_t rank = dsm_rank(), n = dsm_size();
    struct slot *slots = shared(n * SLOTS * sizeof *slots, DSM_PLACE_BLOCK, 0);
    uint64_t state = seed * 77 + rank + 1;
    for (unsigned round = 0; round < repeats(8); round++) {
        for (int i = 0; i < SLOTS; i++) {
            struct slot *s = &slots[rank * SLOTS + i];
            s->n_words = 1 + next_random(&state) % (i % 16 == 0 ? 60000 : 500);
            s->block = dsm_malloc(s->n_words * 8);
            CHECK(s->block);
            CHECK(s->n_words * 8 < PAGE || (uintptr_t)s->block % PAGE == 0);
            for (uint64_t w = 0; w < s->n_words; w += 37)
                s->block[w] = (uintptr_t)&s->block[w];
        }
        CHECK(dsm_barrier() == 0);
        struct slot *theirs = &slots[(rank + 1) % n * SLOTS];
        for (int i = 0; i < SLOTS; i++) {
            for (uint64_t w = 0; w < theirs[i].n_words; w += 37)
                CHECK(theirs[i].block[w] == (uintptr_t)&theirs[i].block[w]);
            if (i == 5) {
                theirs[i].block = dsm_realloc(theirs[i].block, theirs[i].n_words * 16);
                CHECK(theirs[i].block);
                CHECK(theirs[i].block[0] == theirs[i].block[0]);
            }
            CHECK(dsm_free(theirs[i].block) == 0);
        }
        CHECK(dsm_barrier() == 0);
    }
    uint64_t *z = dsm_calloc(1000, 8);
    CHECK(z);
    for (int i = 0; i < 1000; i++)
        CHECK(z[i] == 0);
    CHECK(dsm_free(z) == 0);
    CHECK(dsm_free(NULL) == 0);
    void *aligned = dsm_aligned_alloc(1u << 20, 100);
    CHECK(aligned && (uintptr_t)aligned % (1u << 20) == 0);
    CHECK(dsm_free(aligned) == 0);
    CHECK(!dsm_malloc(dsm_region_bytes() + 1) && errno == ENOMEM);
    CHECK(dsm_barrier() == 0);
}

static void scenario_prefetch(void)
{
    size_t n_words = (8u << 20) / 8;
    uint64_t *a = shared(n_words * 8, DSM_PLACE_CYCLIC, 0);
    uint32_t rank = dsm_rank(), n = dsm_size();
    for (uint32_t writer = 0; writer < n; writer++) {
        if (rank == writer) {
            CHECK(dsm_prefetch(a, n_words * 8, DSM_WRITE) == 0);
            for (size_t i = 0; i < n_words; i++)
                a[i] = writer * 31 + i;
        }
        CHECK(dsm_barrier() == 0);
        CHECK(dsm_prefetch(a, n_words * 8, DSM_READ) == 0);
        for (size_t i = 0; i < n_words; i += 13)
            CHECK(a[i] == writer * 31 + i);
        CHECK(dsm_barrier() == 0);
    }
    CHECK(dsm_prefetch((uint8_t *)dsm_base() + dsm_region_bytes() - 1, 2, DSM_READ) == DSM_E_RANGE);
    CHECK(dsm_prefetch(a, 1, (enum dsm_access)7) == DSM_E_INVAL);
}

/* The first rank writes everything, then each reads the block that is its own home one page after
 * the other: what is fetched ahead are long runs, of which a transport that writes straight into
 * their frames may not go beyond what it opened. */
static void scenario_sweep(void)
{
    const size_t n_words = dsm_size() * (512u << 10) / 8;
    uint64_t *a = shared(n_words * 8, DSM_PLACE_BLOCK, 0);
    size_t lo = n_words * dsm_rank() / dsm_size(), hi = n_words * (dsm_rank() + 1) / dsm_size();
    for (uint64_t round = 1; round <= 3; round++) {
        for (size_t i = 0; i < n_words && dsm_rank() == 0; i += 64)
            a[i] = round << 32 | i;
        CHECK(dsm_barrier() == 0);
        for (size_t i = lo; i < hi; i += 64)
            CHECK(a[i] == (round << 32 | i));
        CHECK(dsm_barrier() == 0);
    }
}

/* A command of the caller's while the job runs: the shell's status decides. */
static void scenario_command(void)
{
    const char *command = getenv("RANKS_COMMAND");
    CHECK(command && dsm_barrier() == 0);
    if (dsm_rank() == 0)
        CHECK(system(command) == 0);
    CHECK(dsm_barrier() == 0);
}

/* Stores that straddle two pages, taken by all ranks in opposite order. */
static void scenario_straddle(void)
{
    uint8_t *p = shared(4 * PAGE, DSM_PLACE_CYCLIC, 0);
    uint32_t rank = dsm_rank();
    uint64_t *word = (uint64_t *)(void *)(p + PAGE - 4);
    for (unsigned i = 0; i < repeats(2000); i++) {
        if (rank % 2)
            memmove(p + PAGE - 2048, p + 2 * PAGE - 2048, 4096);
        else
            memmove(p + 2 * PAGE - 2048, p + PAGE - 2048, 4096);
        *(volatile uint64_t *)word = (uint64_t)rank << 32 | rank;
    }
    CHECK(dsm_barrier() == 0);
    uint64_t v = *(volatile uint64_t *)word;
    CHECK((uint32_t)v < dsm_size());
    CHECK(dsm_barrier() == 0);
}

/* A region larger than all but the sum of the ranks' memory. */
static void scenario_evict(void)
{
    size_t n_pages = (256u << 20) / PAGE;
    const char *scale = getenv("EVICT_MIB");
    if (scale)
        n_pages = ((size_t)atol(scale) << 20) / PAGE;
    const uint64_t n_rounds = repeats(2);
    uint64_t *a = shared(n_pages * PAGE, DSM_PLACE_CYCLIC, 0);
    if (dsm_rank() == 0) {
        for (uint64_t round = 1; round <= n_rounds; round++) {
            for (size_t i = 0; i < n_pages; i++) {
                a[i * 512] = round << 32 | i;
                a[i * 512 + 511] = ~(uint64_t)i;
            }
            for (size_t i = 0; i < n_pages; i++) {
                CHECK(a[i * 512] == (round << 32 | i));
                CHECK(a[i * 512 + 511] == ~(uint64_t)i);
            }
        }
    }
    CHECK(dsm_barrier() == 0);
    for (size_t i = dsm_rank(); i < n_pages; i += 97)
        CHECK(a[i * 512] == (n_rounds << 32 | i));
    CHECK(dsm_barrier() == 0);
    struct dsm_stats s = {.struct_size = sizeof s};
    CHECK(dsm_stats_get(&s) == 0);
    if (dsm_rank() == 0)
        CHECK(s.evicted_owned > 0);
}

static void scenario_where(void)
{
    uint8_t *p = shared(16 * PAGE, DSM_PLACE_RANK, 8192);
    struct dsm_where w;
    CHECK(dsm_where(p + 5 * PAGE, &w) == 0);
    CHECK(w.unit_addr == (uintptr_t)p + 4 * PAGE && w.unit_bytes == 8192);
    CHECK(w.alloc_addr == (uintptr_t)p && w.alloc_bytes == 16 * PAGE);
    CHECK(strcmp(w.alloc_name, "test") == 0);
    CHECK(w.home == 0 && w.state == DSM_STATE_NONE);
    CHECK(dsm_barrier() == 0);
    if (dsm_rank() == dsm_size() - 1) {
        p[5 * PAGE] = 1;
        CHECK(dsm_where(p + 5 * PAGE, &w) == 0);
        CHECK(w.state == DSM_STATE_WRITE && w.is_owner);
    }
    CHECK(dsm_barrier() == 0);
    if (dsm_rank() == 0) {
        CHECK(dsm_where(p + 5 * PAGE, &w) == 0);
        CHECK(w.owner == dsm_size() - 1);
    }
    CHECK(dsm_where(NULL, &w) == DSM_E_RANGE);
    CHECK(dsm_barrier() == 0);
}

static struct random_world {
    uint64_t *words;
    size_t n_words;
} world;

static void *random_worker(void *arg)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + (uint64_t)(uintptr_t)arg + 1;
    for (unsigned i = 0; i < repeats(4000); i++) {
        size_t at = next_random(&state) % world.n_words;
        switch (next_random(&state) % 4) {
        case 0:
            dsm_fetch_add_u64(&world.words[at], 1);
            break;
        case 1: { /* move one from here to there under two locks, in order */
            size_t to = next_random(&state) % world.n_words;
            size_t lo = at < to ? at : to, hi = at < to ? to : at;
            if (lo == hi)
                break;
            CHECK(dsm_lock(&world.words[lo]) == 0);
            CHECK(dsm_lock(&world.words[hi]) == 0);
            dsm_fetch_add_u64(&world.words[at], (uint64_t)-1);
            dsm_fetch_add_u64(&world.words[to], 1);
            CHECK(dsm_unlock(&world.words[hi]) == 0);
            CHECK(dsm_unlock(&world.words[lo]) == 0);
            dsm_fetch_add_u64(&world.words[at], 1);
            break;
        }
        case 2:
            (void)*(volatile uint64_t *)&world.words[at];
            dsm_fetch_add_u64(&world.words[at], 1);
            break;
        default:
            (void)dsm_prefetch(&world.words[at],
                               3 * PAGE < (world.n_words - at) * 8 ? 3 * PAGE
                                                                   : (world.n_words - at) * 8,
                               next_random(&state) % 2 ? DSM_READ : DSM_WRITE);
            dsm_fetch_add_u64(&world.words[at], 1);
        }
    }
    return NULL;
}

/* Threads of all ranks add to words of few pages: the sum tells whether one was ever lost. */
static void scenario_random(void)
{
    enum { THREADS = 2, PAGES = 24 };
    world.n_words = PAGES * 512;
    world.words = shared(PAGES * PAGE, DSM_PLACE_CYCLIC, 0);
    pthread_t t[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, random_worker, (void *)(dsm_rank() * THREADS + i)) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    CHECK(dsm_barrier() == 0);
    uint64_t sum = 0;
    for (size_t i = 0; i < world.n_words; i++)
        sum += world.words[i];
    uint64_t most = (uint64_t)repeats(4000) * THREADS * dsm_size();
    CHECK(sum <= most && sum >= most - most / 512); /* case 1 with lo == hi adds nothing */
    CHECK(dsm_barrier() == 0);
}

/* A rank dies while the others wait for it: dsmrun ends the job and names it. */
static void scenario_die(void)
{
    CHECK(dsm_barrier() == 0);
    if (dsm_rank() == dsm_size() - 1)
        raise(SIGKILL);
    (void)dsm_barrier();
    fail(__FILE__, __LINE__, "a barrier with a dead rank came to an end");
}

/* A rank ends without dsm_finalize while the others wait for it. */
static void scenario_leave(void)
{
    CHECK(dsm_barrier() == 0);
    if (dsm_rank() == dsm_size() - 1)
        exit(0);
    (void)dsm_barrier();
    fail(__FILE__, __LINE__, "a barrier with a rank that left came to an end");
}

static sigjmp_buf after_bus;

static void on_bus(int signal)
{
    (void)signal;
    siglongjmp(after_bus, 1);
}

/* DSM_ON_LOSS=continue: what the dead rank had is gone, the rest goes on. */
static void scenario_survive(void)
{
    uint32_t last = dsm_size() - 1;
    uint64_t *mine = shared(dsm_size() * PAGE, DSM_PLACE_BLOCK, 0);
    struct sigaction action = {.sa_handler = on_bus};
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
    mine[dsm_rank() * 512] = dsm_rank() + 1;
    if (dsm_rank() == 0)
        mine[last * 512 + 1] = 5; /* a race on purpose: whoever comes last owns the page */
    int error = dsm_barrier();    /* PEER: it died while this rank was still in the barrier */
    CHECK(error == 0 || error == DSM_E_PEER);
    if (dsm_rank() == last) {
        mine[last * 512] = 7;
        raise(SIGKILL);
    }
    while (dsm_barrier() == 0)
        ; /* until the death is known */
    volatile int has_failed = 0;
    if (sigsetjmp(after_bus, 1) == 0)
        (void)*(volatile uint64_t *)&mine[last * 512];
    else
        has_failed = 1;
    CHECK(has_failed);
    CHECK(mine[dsm_rank() * 512] == dsm_rank() + 1u);
    CHECK(mine[0] == 1);
    /* Over tcp nobody may write to another's memory here: he might be lost and live. */
    struct dsm_stats stats = {.struct_size = sizeof stats};
    CHECK(dsm_stats_get(&stats) == 0);
    CHECK(stats.net_landed == 0 || strcmp(dsm_transport_name(), "tcp") != 0);
    CHECK(dsm_barrier() == DSM_E_PEER);
    CHECK(dsm_finalize() == DSM_E_PEER);
    exit(0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"fill", scenario_fill},
        {"units", scenario_units},
        {"locks", scenario_locks},
        {"atomics", scenario_atomics},
        {"malloc", scenario_malloc},
        {"prefetch", scenario_prefetch},
        {"sweep", scenario_sweep},
        {"command", scenario_command},
        {"straddle", scenario_straddle},
        {"evict", scenario_evict},
        {"where", scenario_where},
        {"random", scenario_random},
        {"collectives", scenario_collectives},
        {"bells", scenario_bells},
        {"interrupted", scenario_interrupted},
        {"handler", scenario_handler},
        {"die", scenario_die},
        {"leave", scenario_leave},
        {"survive", scenario_survive},
    };
    const char *divisor = getenv("RANKS_SHRINK");
    if (argc > 2)
        seed = strtoull(argv[2], NULL, 0);
    if (divisor && atoi(divisor) > 0)
        shrink = (unsigned)atoi(divisor);
    for (size_t i = 0; argc > 1 && i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(argv[1], scenarios[i].name) != 0)
            continue;
        int error = dsm_init(NULL);
        if (error)
            return 2;
        scenarios[i].run();
        error = dsm_finalize();
        if (error)
            fprintf(stderr, "dsm_finalize: %s\n", dsm_strerror(error));
        return error ? 1 : 0;
    }
    fprintf(stderr, "usage: ranks SCENARIO [SEED]\n");
    return 2;
}
