/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_race.c - what several threads see. Threads only count; the test thread asserts. */
#define _GNU_SOURCE
#include "trap_suite.h"
#include "base/rng.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct owner owner;

static void start(pthread_t *threads, unsigned n, void *(*run)(void *))
{
    for (unsigned i = 0; i < n; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)i), 0);
}

static void join(const pthread_t *threads, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static pthread_barrier_t gate;
static _Atomic uint32_t n_right;

static void *read_one_page(void *argument)
{
    (void)argument;
    pthread_barrier_wait(&gate);
    n_right += *app_word(&owner, 1) == owner_word(1);
    return NULL;
}

START_TEST(sixty_four_threads_on_one_page_make_one_fetch)
{
    enum { N = 64 };
    pthread_t threads[N];
    owner_open(&owner, suite_ops, 4, true);
    pthread_barrier_init(&gate, NULL, N);
    start(threads, N, read_one_page);
    join(threads, N);
    ck_assert_uint_eq(n_right, N);
    ck_assert_uint_eq(owner.n_fills, 1);
    ck_assert_uint_ge(owner.n_faults, 1);
    ck_assert_uint_le(owner.n_faults, N);
    owner_close(&owner);
}
END_TEST

static void *write_own_page(void *argument)
{
    size_t page = (size_t)(uintptr_t)argument;
    pthread_barrier_wait(&gate);
    n_right += *app_word(&owner, page) == owner_word(page);
    *app_word(&owner, page) = page;
    return NULL;
}

START_TEST(threads_fault_on_different_pages_at_once)
{
    enum { N = 100 };
    pthread_t threads[N];
    owner_open(&owner, suite_ops, N, true);
    pthread_barrier_init(&gate, NULL, N);
    start(threads, N, write_own_page);
    join(threads, N);
    ck_assert_uint_eq(n_right, N);
    for (size_t page = 0; page < N; page++)
        ck_assert_uint_eq(*frame_word(&owner, page), page);
    ck_assert_uint_eq(owner.n_reads, N);
    ck_assert_uint_eq(owner.n_writes, N);
    owner_close(&owner);
}
END_TEST

/*
 * Two threads wait for one page. The second event is answered by mapping it, which lets both go,
 * and the answering goes on while the test detaches: that has to wait.
 */
static struct {
    _Atomic uint32_t n_calls, is_detached, is_late;
} slow;

static enum dsm_fault_result answer_slowly(void *user, const struct dsm_fault *fault)
{
    const struct timespec patience = {.tv_nsec = 300000000};
    (void)user, (void)fault;
    if (++slow.n_calls != 2)
        return DSM_FAULT_RETRY;
    *frame_word(&owner, 1) = owner_word(1);
    owner.ops->map_read(owner.trap, app_addr(&owner, 1), PAGE);
    dsm_futex_wait(&slow.is_detached, 0, &patience);
    slow.is_late = slow.is_detached;
    return DSM_FAULT_RETRY;
}

START_TEST(detach_waits_for_the_fault_that_is_being_served)
{
    enum { N = 2 };
    pthread_t threads[N];
    if (!suite_is_async())
        return; /* the others serve a fault in the thread that uses the view */
    struct dsm_trap_config config = {.on_fault = answer_slowly};
    owner_open(&owner, suite_ops, 4, true); /* for its views alone */
    size_t len = owner.n_pages * PAGE;
    ck_assert_int_eq(suite_ops->detach(owner.trap, (void *)owner.app, len), 0);
    suite_ops->close(owner.trap);
    ck_assert_int_eq(mprotect((void *)owner.app, len, PROT_READ | PROT_WRITE), 0);
    ck_assert_int_eq(suite_ops->open(&config, &owner.trap), 0);
    ck_assert_int_eq(
        suite_ops->attach(owner.trap, (void *)owner.app, (void *)owner.frame, owner.memfd, len), 0);
    pthread_barrier_init(&gate, NULL, N);
    start(threads, N, read_one_page);
    join(threads, N);
    ck_assert_uint_eq(n_right, N);
    ck_assert_int_eq(suite_ops->detach(owner.trap, (void *)owner.app, len), 0);
    slow.is_detached = 1;
    dsm_futex_wake(&slow.is_detached, 1);
    suite_ops->close(owner.trap);
    ck_assert_uint_eq(slow.is_late, 0);
}
END_TEST

static atomic_bool stop;

static void *store_without_end(void *argument)
{
    volatile uint64_t *word = app_word(&owner, (size_t)(uintptr_t)argument);
    for (uint64_t i = 1; !stop; i++)
        *word = i;
    return NULL;
}

static bool run_on(unsigned which_allowed)
{
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (unsigned cpu = 0, n = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && n++ == which_allowed)
            CPU_SET(cpu, &one);
    }
    return CPU_COUNT(&one) == 1 && pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0;
}

static void *store_on_second_processor(void *argument)
{
    run_on(1);
    return store_without_end(argument);
}

/*
 * The owner's lock is held from the call on, so that no trap can give the page back: a frame that
 * still changes was written through a mapping that should be gone. Rounds count when the thread was
 * seen to store right up to the call, which needs a second processor.
 */
static void shoot_down(int (*call)(struct dsm_trap *, uintptr_t, size_t))
{
    enum { RACES = 500, LOOKS = 200, PATIENCE = 1000 };
    pthread_t thread;
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof allowed, &allowed);
    if (CPU_COUNT(&allowed) < 2) {
        printf("SKIPPED, NOT TESTED: shoot-down against a storing thread: one processor only\n");
        return;
    }
    owner_open(&owner, suite_ops, 2, true);
    start(&thread, 1, store_on_second_processor);
    run_on(0);
    uint32_t n_late = 0, n_raced = 0, n_rounds = 0;
    for (uint32_t n_faults = 0; n_raced < RACES; n_rounds++) {
        owner_wait_faults(&owner, n_faults + 1); /* it stores again */
        uint64_t before = *frame_word(&owner, 0);
        for (int i = 0; i < PATIENCE && *frame_word(&owner, 0) == before; i++)
            __builtin_ia32_pause();
        uint64_t mask = owner_enter(&owner);
        n_faults = owner.n_faults;
        before = *frame_word(&owner, 0);
        for (int i = 0; i < PATIENCE && *frame_word(&owner, 0) == before; i++)
            __builtin_ia32_pause();
        n_raced += *frame_word(&owner, 0) != before;
        int error = call(owner.trap, app_addr(&owner, 0), PAGE);
        uint64_t at_return = *frame_word(&owner, 0);
        for (int i = 0; i < LOOKS; i++)
            n_late += *frame_word(&owner, 0) != at_return;
        owner.states[0] = PAGE_NONE;
        owner_leave(&owner, mask);
        ck_assert_int_eq(error, 0);
    }
    stop = true;
    join(&thread, 1);
    printf("%s: %u rounds, %u met a storing thread, %u late stores\n", suite_ops->name, n_rounds,
           n_raced, n_late);
    ck_assert_uint_eq(n_late, 0);
    owner_close(&owner);
}

START_TEST(no_store_reaches_the_frame_after_downgrade_returned)
{
    shoot_down(suite_ops->downgrade);
}
END_TEST

START_TEST(no_store_reaches_the_frame_after_unmap_returned)
{
    shoot_down(suite_ops->unmap);
}
END_TEST

static _Atomic uint32_t n_wrong;

/* Increments its own word of every page, and keeps the allocator busy. */
static void *allocate_and_count(void *argument)
{
    enum { ROUNDS = 2000 };
    size_t who = (size_t)(uintptr_t)argument;
    uint64_t rng = suite_seed() + who;
    void *blocks[32] = {NULL};
    for (int i = 0; i < ROUNDS; i++) {
        size_t slot = dsm_rng_below(&rng, 32), bytes = 1 + dsm_rng_below(&rng, 20000);
        free(blocks[slot]);
        blocks[slot] = malloc(bytes);
        memset(blocks[slot], (int)who, bytes);
        size_t page = dsm_rng_below(&rng, owner.n_pages);
        app_word(&owner, page)[1 + who]++;
        n_wrong += *app_word(&owner, page) != owner_word(page);
    }
    for (unsigned i = 0; i < 32; i++)
        free(blocks[i]);
    return NULL;
}

static void *take_pages_away(void *argument)
{
    (void)argument;
    uint64_t rng = suite_seed() + 99;
    while (!stop) {
        size_t page = dsm_rng_below(&rng, owner.n_pages);
        uint64_t mask = owner_enter(&owner);
        bool unmaps = dsm_rng_below(&rng, 2) == 0;
        int error = (unmaps ? owner.ops->unmap
                            : owner.ops->downgrade)(owner.trap, app_addr(&owner, page), PAGE);
        if (unmaps)
            owner.states[page] = PAGE_NONE;
        else if (owner.states[page] == PAGE_WRITE)
            owner.states[page] = PAGE_READ;
        owner_leave(&owner, mask);
        n_wrong += error != 0;
        sched_yield();
    }
    return NULL;
}

START_TEST(busy_threads_lose_no_update_while_pages_come_and_go)
{
    enum { N = 6 };
    pthread_t threads[N], taker;
    owner_open(&owner, suite_ops, 64, true);
    start(&taker, 1, take_pages_away);
    start(threads, N, allocate_and_count);
    join(threads, N);
    stop = true;
    join(&taker, 1);
    ck_assert_uint_eq(n_wrong, 0);
    for (size_t who = 0; who < N; who++) {
        uint64_t sum = 0;
        for (size_t page = 0; page < owner.n_pages; page++)
            sum += frame_word(&owner, page)[1 + who];
        ck_assert_uint_eq(sum, 2000);
    }
    owner_close(&owner);
}
END_TEST

TCase *trap_race_case(void)
{
    TCase *c = tcase_create("race");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, sixty_four_threads_on_one_page_make_one_fetch);
    tcase_add_test(c, threads_fault_on_different_pages_at_once);
    tcase_add_test(c, detach_waits_for_the_fault_that_is_being_served);
    tcase_add_test(c, no_store_reaches_the_frame_after_downgrade_returned);
    tcase_add_test(c, no_store_reaches_the_frame_after_unmap_returned);
    tcase_add_test(c, busy_threads_lose_no_update_while_pages_come_and_go);
    return c;
}
