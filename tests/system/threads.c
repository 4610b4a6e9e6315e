/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * threads.c - many threads, threads that come and go, children and coroutines, all while pages are
 * being fetched; run under dsmrun by threads.sh.
 *
 * Usage: threads SCENARIO. Exits 0 when every check held on this rank; prints what did not.
 */
#define _GNU_SOURCE
#include <dsm/dsm.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE    4096u
#define N_PAGES 10000u

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "rank %u: %s:%d: %s\n", dsm_rank(), __FILE__, __LINE__, #condition);   \
            dsm_abort(1);                                                                          \
        }                                                                                          \
    } while (0)

static char *pages;

static uint64_t *word(uint32_t page)
{
    return (uint64_t *)(void *)(pages + (size_t)page * PAGE + 8);
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 33);
}

static void set_up(uint32_t n_pages)
{
    void *p = NULL;
    CHECK(dsm_alloc((size_t)n_pages * PAGE, NULL, &p) == 0);
    pages = p;
}

/* The sum of all words is what everybody added. */
static void check_sum(uint32_t n_pages, uint64_t added_here)
{
    uint64_t sum = 0;
    CHECK(dsm_allreduce(&added_here, 1, DSM_UINT64, DSM_SUM) == 0);
    CHECK(dsm_prefetch(pages, (size_t)n_pages * PAGE, DSM_READ) == 0);
    for (uint32_t i = 0; i < n_pages; i++)
        sum += *word(i);
    CHECK(sum == added_here);
    CHECK(dsm_barrier() == 0);
}

/* ---- 64 threads, 10,000 pages -------------------------------------------------------------- */

#define CROWD        64u
#define TOUCHES      160u
#define SHARED_PAGES 50u /* that everybody fights for */

static void *touch_pages(void *arg)
{
    uint64_t state = (uintptr_t)arg * 7919 + dsm_rank() * 104729 + 1;
    for (uint32_t i = 0; i < TOUCHES; i++) {
        uint32_t page =
            i % 16 == 0 ? next_random(&state) % SHARED_PAGES : next_random(&state) % N_PAGES;
        if (i % 5 == 1)
            CHECK(__atomic_load_n(word(page), __ATOMIC_RELAXED) < UINT32_MAX);
        (void)dsm_fetch_add_u64(word(page), 1);
    }
    return NULL;
}

static void scenario_crowd(void)
{
    pthread_t threads[CROWD];
    set_up(N_PAGES);
    for (uintptr_t i = 0; i < CROWD; i++)
        CHECK(pthread_create(&threads[i], NULL, touch_pages, (void *)i) == 0);
    for (uint32_t i = 0; i < CROWD; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    check_sum(N_PAGES, (uint64_t)CROWD * TOUCHES);
}

/* ---- while others fault -------------------------------------------------------------------- */

#define FEW_PAGES 200u
#define N_BUSY    3u

static _Atomic bool is_over;
static _Atomic uint64_t n_added;

static void *stay_busy(void *arg)
{
    uint64_t state = (uintptr_t)arg * 31 + dsm_rank() + 1;
    while (!is_over) {
        (void)dsm_fetch_add_u64(word(next_random(&state) % FEW_PAGES), 1);
        n_added++;
    }
    return NULL;
}

static void *touch_a_few(void *arg)
{
    uint64_t state = (uintptr_t)arg * 17 + dsm_rank() + 1;
    for (int i = 0; i < 3; i++) {
        (void)dsm_fetch_add_u64(word(next_random(&state) % FEW_PAGES), 1);
        n_added++;
    }
    return NULL;
}

static void with_busy_threads(void (*run)(void))
{
    pthread_t threads[N_BUSY];
    set_up(FEW_PAGES);
    is_over = false;
    n_added = 0;
    for (uintptr_t i = 0; i < N_BUSY; i++)
        CHECK(pthread_create(&threads[i], NULL, stay_busy, (void *)i) == 0);
    run();
    is_over = true;
    for (uint32_t i = 0; i < N_BUSY; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    check_sum(FEW_PAGES, n_added);
}

static void come_and_go(void)
{
    for (uintptr_t round = 0; round < 60; round++) {
        pthread_t threads[4];
        for (uintptr_t i = 0; i < 4; i++)
            CHECK(pthread_create(&threads[i], NULL, touch_a_few, (void *)(4 * round + i)) == 0);
        for (uint32_t i = 0; i < 4; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* A child is no rank: it may do what it likes with memory of its own, and ends. */
static void have_children(void)
{
    extern char **environ;
    for (int i = 0; i < 12; i++) {
        char path[] = "/bin/true", *argv[] = {path, NULL};
        int status = -1;
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            char here[PAGE];
            memset(here, i, sizeof here);
            _exit(here[PAGE - 1] == i && dsm_lock(pages) == DSM_E_STATE ? 40 + i : 1);
        }
        while (waitpid(pid, &status, 0) < 0)
            CHECK(errno == EINTR);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 40 + i);
        CHECK(posix_spawn(&pid, path, NULL, NULL, argv, environ) == 0);
        while (waitpid(pid, &status, 0) < 0)
            CHECK(errno == EINTR);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        (void)touch_a_few((void *)(uintptr_t)i);
    }
}

/* ---- coroutines ---------------------------------------------------------------------------- */

#define N_ROUTINES  8u
#define STACK_BYTES 65536u

static ucontext_t hub, routines[N_ROUTINES];
static uint32_t n_ended;

static void routine(unsigned number)
{
    uint64_t state = number * 101 + dsm_rank() + 1;
    for (int i = 0; i < 20; i++) {
        (void)dsm_fetch_add_u64(word(next_random(&state) % FEW_PAGES), 1);
        n_added++;
        CHECK(swapcontext(&routines[number], &hub) == 0);
    }
    n_ended++;
}

/* Each fault finds the thread on another stack, which it must leave as it is. */
static void run_coroutines(void)
{
    void *stacks[N_ROUTINES];
    n_ended = 0;
    for (unsigned i = 0; i < N_ROUTINES; i++) {
        stacks[i] = malloc(STACK_BYTES);
        CHECK(stacks[i] && getcontext(&routines[i]) == 0);
        routines[i].uc_stack.ss_sp = stacks[i];
        routines[i].uc_stack.ss_size = STACK_BYTES;
        routines[i].uc_link = &hub;
        makecontext(&routines[i], (void (*)(void))(uintptr_t)routine, 1, i);
    }
    for (int turn = 0; turn < 21; turn++)
        for (unsigned i = 0; i < N_ROUTINES; i++)
            CHECK(swapcontext(&hub, &routines[i]) == 0);
    CHECK(n_ended == N_ROUTINES);
    for (unsigned i = 0; i < N_ROUTINES; i++)
        free(stacks[i]);
}

static void scenario_busy(void)
{
    with_busy_threads(come_and_go);
    with_busy_threads(have_children);
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    printf("SKIP: coroutines, whose stacks sanitizers do not know\n");
#else
    with_busy_threads(run_coroutines);
#endif
}

/* ---- after the end ------------------------------------------------------------------------- */

static pthread_barrier_t has_touched, has_finalized;

static void *outlive(void *arg)
{
    (void)touch_a_few(arg);
    (void)pthread_barrier_wait(&has_touched);
    (void)pthread_barrier_wait(&has_finalized);
    return NULL;
}

/* Threads that used the region end only after dsm_finalize, whose result this is. */
static int finalize_before_threads(void)
{
    pthread_t threads[N_BUSY];
    set_up(FEW_PAGES);
    CHECK(pthread_barrier_init(&has_touched, NULL, N_BUSY + 1) == 0);
    CHECK(pthread_barrier_init(&has_finalized, NULL, N_BUSY + 1) == 0);
    for (uintptr_t i = 0; i < N_BUSY; i++)
        CHECK(pthread_create(&threads[i], NULL, outlive, (void *)i) == 0);
    (void)pthread_barrier_wait(&has_touched);
    int error = dsm_finalize();
    (void)pthread_barrier_wait(&has_finalized);
    for (uint32_t i = 0; i < N_BUSY; i++)
        if (pthread_join(threads[i], NULL) != 0)
            return 1;
    return error;
}

int main(int argc, char **argv)
{
    const char *scenario = argc == 2 ? argv[1] : "";
    if (strcmp(scenario, "crowd") != 0 && strcmp(scenario, "busy") != 0 &&
        strcmp(scenario, "late") != 0) {
        fprintf(stderr, "usage: threads crowd | busy | late\n");
        return 2;
    }
    if (dsm_init(NULL))
        return 2;
    if (strcmp(scenario, "late") == 0)
        return finalize_before_threads() ? 1 : 0;
    if (strcmp(scenario, "crowd") == 0)
        scenario_crowd();
    else
        scenario_busy();
    return dsm_finalize() ? 1 : 0;
}
