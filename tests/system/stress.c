/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stress.c - what once hung, died or was refused between real processes; run under dsmrun by
 * stress.sh.
 *
 * Usage: stress SCENARIO [SEED]. Exits 0 when every check held on this rank; prints what did not.
 * Random choices follow from the seed and the rank; how the ranks interleave does not.
 */
#define _GNU_SOURCE
#include <dsm/dsm.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE       4096u
#define PAGE_WORDS (PAGE / 8)

static uint64_t seed = 1;

static void fail(int line, const char *what)
{
    fprintf(stderr, "rank %u: %s:%d: %s (seed %" PRIu64 ")\n", dsm_rank(), __FILE__, line, what,
            seed);
    dsm_abort(1);
}
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail(__LINE__, #condition);                                                            \
    } while (0)

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t random_start(uint64_t salt)
{
    return (seed * 1000003 + dsm_rank()) * 0x9e3779b97f4a7c15ull + salt + 1;
}

static void *shared(size_t bytes, uint64_t unit_bytes)
{
    struct dsm_alloc_options options;
    void *p = NULL;
    dsm_alloc_options_init(&options);
    options.placement = DSM_PLACE_CYCLIC;
    options.unit_bytes = unit_bytes;
    CHECK(dsm_alloc(bytes, &options, &p) == 0);
    return p;
}

/* ---- signal handlers that fault while their thread waits, for a page or in a call ----------- */

enum { SIGNAL_PAGES = 64, SIGNAL_THREADS = 4, SIGNAL_ROUNDS = 400 };
static struct {
    uint64_t *words;
    atomic_uint n_running;
} signals;

static void fault_in_handler(int number)
{
    static _Thread_local uint64_t state;
    int saved = errno;
    (void)number;
    if (state == 0)
        state = random_start((uint64_t)gettid());
    uint64_t *word = &signals.words[next_random(&state) % SIGNAL_PAGES * PAGE_WORDS];
    if (state >> 40 & 1)
        *(volatile uint64_t *)word = state;
    else
        (void)*(volatile uint64_t *)word;
    errno = saved;
}

static void *be_interrupted(void *index)
{
    uint64_t state = random_start(7 * (uint64_t)(uintptr_t)index);
    for (int i = 0; i < SIGNAL_ROUNDS; i++) {
        uint64_t *page = &signals.words[next_random(&state) % SIGNAL_PAGES * PAGE_WORDS];
        switch (next_random(&state) % 4) {
        case 0:
            *(volatile uint64_t *)(page + 1) = state;
            break;
        case 1:
            (void)*(volatile uint64_t *)(page + 1);
            break;
        case 2:
            CHECK(dsm_lock(page) == 0);
            CHECK(dsm_unlock(page) == 0);
            break;
        default:
            dsm_fetch_add_u64(&signals.words[2], 1);
        }
    }
    atomic_fetch_sub(&signals.n_running, 1);
    return NULL;
}

static void scenario_signals(void)
{
    struct sigaction action = {.sa_handler = fault_in_handler};
    pthread_t threads[SIGNAL_THREADS];
    signals.words = shared(SIGNAL_PAGES * PAGE, 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    atomic_store(&signals.n_running, SIGNAL_THREADS);
    CHECK(dsm_barrier() == 0);
    for (uintptr_t i = 0; i < SIGNAL_THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, be_interrupted, (void *)i) == 0);
    while (atomic_load(&signals.n_running) > 0) {
        for (int i = 0; i < SIGNAL_THREADS; i++)
            pthread_kill(threads[i], SIGUSR1);
        usleep(300);
    }
    for (int i = 0; i < SIGNAL_THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(dsm_barrier() == 0);
}

/* ---- memory that was used before it was allocated ------------------------------------------- */

/* A hint that waits behind another one outlives the memory it speaks of. */
static void scenario_hints(void)
{
    size_t long_bytes = 64u << 20, bytes = 4u << 20;
    uint8_t *ahead = shared(long_bytes, 0);
    for (int round = 0; round < 6; round++) {
        uint8_t *p = shared(bytes, round % 2 ? 16 * PAGE : PAGE);
        for (size_t i = dsm_rank() * 16 * PAGE; i < bytes; i += dsm_size() * 16 * PAGE) {
            CHECK(p[i] == 0);
            p[i] = 1;
        }
        CHECK(dsm_prefetch(ahead, long_bytes, DSM_READ) == 0);
        CHECK(dsm_prefetch(p, bytes, DSM_READ) == 0);
        CHECK(dsm_barrier() == 0);
        if (dsm_rank() == 0)
            CHECK(dsm_free(p) == 0);
        CHECK(dsm_barrier() == 0);
        for (size_t i = 0; i < long_bytes; i += 9 * PAGE) /* keeps the hints going */
            (void)*(volatile uint8_t *)(ahead + i);
    }
    CHECK(dsm_barrier() == 0);
}

/* A wild access left pages behind where an allocation with larger units comes to lie. */
static void scenario_wild(void)
{
    size_t bytes = 4u << 20;
    uint8_t *base = dsm_base();
    for (size_t i = dsm_rank() * PAGE; i < 2 * bytes; i += 3 * dsm_size() * PAGE) {
        (void)*(volatile uint8_t *)(base + i);
        if (i % 7 == 0)
            base[i] = 1;
    }
    CHECK(dsm_barrier() == 0);
    uint8_t *p = shared(bytes, 16 * PAGE);
    for (size_t i = dsm_rank() * PAGE; i < bytes; i += dsm_size() * PAGE) {
        CHECK(p[i] == 0);
        p[i] = 1;
    }
    CHECK(dsm_barrier() == 0);
    for (size_t i = 0; i < bytes; i += PAGE)
        CHECK(p[i] == 1);
    CHECK(dsm_barrier() == 0);
}

/* ---- more locks than a small region has pages ----------------------------------------------- */

static void scenario_locks(void)
{
    enum { LOCKS = 40000 };
    char *base = dsm_base();
    CHECK(LOCKS * 16 <= dsm_region_bytes());
    for (size_t i = 0; i < LOCKS; i++) {
        char *lock = base + (i + dsm_rank() * 1000) % LOCKS * 16;
        CHECK(dsm_lock(lock) == 0);
        CHECK(dsm_unlock(lock) == 0);
    }
    CHECK(dsm_barrier() == 0);
}

/* ---- until something kills it ---------------------------------------------------------------- */

static void scenario_forever(void)
{
    enum { PAGES = 256 };
    uint64_t *p = shared(PAGES * PAGE, 0), state = random_start(0);
    for (;;) {
        for (int i = 0; i < 300; i++) {
            uint64_t *page = &p[next_random(&state) % PAGES * PAGE_WORDS];
            uint64_t *lock = &p[(state >> 20 & 3) * PAGE_WORDS];
            void *block;
            switch (next_random(&state) % 8) {
            case 0:
            case 1:
            case 2:
                *page = state;
                break;
            case 3:
                CHECK(dsm_lock(lock) == 0);
                lock[1]++;
                CHECK(dsm_unlock(lock) == 0);
                break;
            case 4:
                block = dsm_malloc(next_random(&state) % 100000 + 1);
                CHECK(block);
                CHECK(dsm_free(block) == 0);
                break;
            case 5:
                CHECK(dsm_prefetch(p, PAGES * PAGE, state >> 33 & 1 ? DSM_READ : DSM_WRITE) == 0);
                break;
            default:
                (void)*(volatile uint64_t *)page;
            }
        }
        CHECK(dsm_barrier() == 0);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"signals", scenario_signals}, {"hints", scenario_hints},     {"wild", scenario_wild},
        {"locks", scenario_locks},     {"forever", scenario_forever},
    };
    if (argc > 2)
        seed = strtoull(argv[2], NULL, 10);
    if (dsm_init(NULL))
        return 1;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (argc > 1 && strcmp(argv[1], scenarios[i].name) == 0) {
            scenarios[i].run();
            return dsm_finalize() ? 1 : 0;
        }
    }
    fprintf(stderr, "usage: stress signals|hints|wild|locks|forever [seed]\n");
    return 2;
}
