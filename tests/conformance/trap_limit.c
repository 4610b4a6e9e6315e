/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_limit.c - many pages, many mappings, many views. */
#define _GNU_SOURCE
#include "trap_suite.h"
#include "base/errors.h"
#include "base/rng.h"
#include "trap/map_count.h"
#include "trap/views.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct owner owner;

static uint64_t n_mappings(void)
{
    struct dsm_map_count count;
    dsm_map_count_read(&count);
    return count.in_use;
}

static void *touch_some(void *argument)
{
    uintptr_t which = (uintptr_t)argument;
    void *block = malloc(100000);
    memset(block, 1, 100000);
    free(block);
    app_word(&owner, which * 100)[2]++;
    return NULL;
}

static void make_threads(unsigned n)
{
    pthread_t threads[64];
    for (unsigned i = 0; i < n; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, touch_some, (void *)(uintptr_t)i), 0);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

START_TEST(two_hundred_thousand_pages_in_alternating_states_leave_room_for_the_program)
{
    enum { N = 200000, OWN_MAPPINGS = 3000 };
    static void *own[OWN_MAPPINGS];
    struct dsm_map_count count;
    dsm_map_count_read(&count);
    uint64_t before = count.in_use;
    ck_assert_uint_gt(count.limit, before);
    owner_open(&owner, suite_ops, N, false);
    for (size_t page = 0; page < N; page++) {
        if (page % 2)
            *app_word(&owner, page) = page;
        else
            ck_assert_uint_eq(*app_word(&owner, page), 0);
        if (page % 20000 == 0) {
            uint64_t ours = n_mappings() - before;
            ck_assert_msg(ours <= (count.limit - before) / 2 + 64, "%lu mappings of %lu",
                          (unsigned long)ours, (unsigned long)count.limit);
            make_threads(8);
        }
    }
    printf("%s: %lu mappings for %d pages in alternating states, limit %lu\n", suite_ops->name,
           (unsigned long)(n_mappings() - before), N, (unsigned long)count.limit);
    /* The program goes on: mappings that cannot merge, threads, and again the region. */
    for (int i = 0; i < OWN_MAPPINGS; i++) {
        own[i] =
            mmap(NULL, PAGE, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ck_assert_ptr_ne(own[i], MAP_FAILED);
    }
    make_threads(64);
    for (size_t page = 0; page < N; page += 7)
        ck_assert_uint_eq(*app_word(&owner, page), page % 2 ? page : 0);
    for (size_t page = 1; page < N; page += 14)
        *app_word(&owner, page) += 1;
    for (size_t page = 1; page < N; page += 14)
        ck_assert_uint_eq(*frame_word(&owner, page), page % 2 ? page + 1 : 1);
    for (int i = 0; i < OWN_MAPPINGS; i++)
        munmap(own[i], PAGE);
    owner_close(&owner);
}
END_TEST

/* A small budget: everything is given up and mapped again all the time, and all is right. */
START_TEST(small_mapping_budget_changes_nothing_but_the_number_of_faults)
{
    enum { N = 30000, ROUNDS = 60000 };
    uint64_t rng = suite_seed(), before = n_mappings();
    uint32_t *counts = calloc(N, sizeof *counts);
    owner_open_with(&owner, suite_ops, N, true, (struct dsm_trap_config){.map_budget_percent = 1});
    for (int i = 0; i < ROUNDS; i++) {
        size_t page = dsm_rng_below(&rng, N), other = dsm_rng_below(&rng, N);
        app_word(&owner, page)[3]++;
        counts[page]++;
        ck_assert_uint_eq(*app_word(&owner, other), owner_word(other));
        if (i % 5 == 0)
            owner_downgrade(&owner, dsm_rng_below(&rng, N), 1);
        if (i % 7 == 0)
            owner_unmap(&owner, dsm_rng_below(&rng, N - 40), 40);
        if (i % 11 == 0)
            owner_map(&owner, dsm_rng_below(&rng, N - 3), 3, true);
    }
    ck_assert_uint_le(n_mappings() - before, 65530 / 100 + 64);
    for (size_t page = 0; page < N; page++)
        ck_assert_uint_eq(frame_word(&owner, page)[3], counts[page]);
    /* No store gets through where the owner thinks it does not. */
    for (size_t page = 0; page < N; page++) {
        uint32_t n_writes = owner.n_writes;
        if (owner.states[page] == PAGE_WRITE)
            continue;
        app_word(&owner, page)[4] = 1;
        ck_assert_uint_eq(owner.n_writes, n_writes + 1);
    }
    free(counts);
    owner_close(&owner);
}
END_TEST

START_TEST(copy_over_many_pages_ends_with_a_small_budget)
{
    enum { N = 20000 };
    owner_open_with(&owner, suite_ops, N, false, (struct dsm_trap_config){.map_budget_percent = 1});
    for (size_t page = 0; page < N; page += 2)
        *app_word(&owner, page) = page;
    void *from = (void *)app_addr(&owner, 0), *to = (void *)(app_addr(&owner, N / 2) + 8);
    size_t n = PAGE * (N / 2 - 1);
    __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(n) : : "memory");
    for (size_t page = 0; page < N / 2 - 1; page += 2)
        ck_assert_uint_eq(app_word(&owner, N / 2 + page)[1], page);
    owner_close(&owner);
}
END_TEST

START_TEST(program_that_uses_the_mappings_up_gets_them_from_us)
{
    enum { N = 60000 };
    struct dsm_map_count count;
    if (SUITE_SANITIZED) {
        printf("SKIPPED, NOT TESTED: the last mapping taken: a sanitizer cannot do without\n");
        return;
    }
    owner_open(&owner, suite_ops, N, false);
    for (size_t page = 1; page < N; page += 2)
        *app_word(&owner, page) = page;
    /* The program takes all that is left, to the last. */
    dsm_map_count_read(&count);
    char *own = mmap(NULL, (size_t)count.limit * 2 * PAGE, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(own, MAP_FAILED);
    size_t i = 0;
    while (mprotect(own + i * 2 * PAGE, PAGE, PROT_READ) == 0)
        i++;
    for (size_t page = 0; page < N; page += 2)
        *app_word(&owner, page) = page;
    owner_downgrade(&owner, 7, 1);
    owner_unmap(&owner, 9, 1);
    for (size_t page = 0; page < N; page++)
        ck_assert_uint_eq(*app_word(&owner, page), page);
    munmap(own, (size_t)count.limit * 2 * PAGE);
    owner_close(&owner);
}
END_TEST

START_TEST(one_view_too_many_is_refused)
{
    static struct owner more[DSM_TRAP_MAX_VIEWS];
    owner_open(&owner, suite_ops, 1, true);
    for (int i = 1; i < DSM_TRAP_MAX_VIEWS; i++)
        owner_open_more(&more[i], &owner, 1, true);
    int fd = memfd_create("one", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(fd, PAGE), 0);
    void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_int_eq(suite_ops->attach(owner.trap, p, NULL, fd, PAGE), DSM_E_LIMIT);
    for (int i = 1; i < DSM_TRAP_MAX_VIEWS; i++) {
        ck_assert_uint_eq(*app_word(&more[i], 0), owner_word(0));
        owner_close(&more[i]);
    }
    owner_close(&owner);
}
END_TEST

START_TEST(sixteen_terabytes_cost_what_is_touched)
{
    size_t len = (size_t)16 << 40;
    struct dsm_trap *trap;
    if (SUITE_SANITIZED) {
        printf("SKIPPED, NOT TESTED: 16 TiB: a sanitizer leaves no such hole\n");
        return;
    }
    int fd = memfd_create("large", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
    owner = (struct owner){.ops = suite_ops};
    owner_open(&owner, suite_ops, 1, true);
    trap = owner.trap;
    void *app = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    uint8_t *frame = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    ck_assert_ptr_ne(app, MAP_FAILED);
    ck_assert_ptr_ne(frame, MAP_FAILED);
    ck_assert_int_eq(suite_ops->attach(trap, app, frame, fd, len), 0);
    for (size_t at = 0; at < len; at += len / 64) {
        frame[at] = 9;
        ck_assert_int_eq(suite_ops->map_write(trap, (uintptr_t)app + at, PAGE), 0);
        ck_assert_int_eq(((volatile uint8_t *)app)[at], 9);
        ck_assert_int_eq(suite_ops->downgrade(trap, (uintptr_t)app + at, PAGE), 0);
        ck_assert_int_eq(((volatile uint8_t *)app)[at], 9);
    }
    ck_assert_int_eq(suite_ops->unmap(trap, (uintptr_t)app, len), 0);
    ck_assert_int_eq(suite_ops->detach(trap, app, len), 0);
    munmap(app, len);
    munmap(frame, len);
    close(fd);
    owner_close(&owner);
}
END_TEST

TCase *trap_limit_case(void)
{
    TCase *c = tcase_create("limit");
    tcase_set_timeout(c, 180);
    tcase_add_test(c, two_hundred_thousand_pages_in_alternating_states_leave_room_for_the_program);
    tcase_add_test(c, small_mapping_budget_changes_nothing_but_the_number_of_faults);
    tcase_add_test(c, copy_over_many_pages_ends_with_a_small_budget);
    tcase_add_test(c, program_that_uses_the_mappings_up_gets_them_from_us);
    tcase_add_test(c, one_view_too_many_is_refused);
    tcase_add_test(c, sixteen_terabytes_cost_what_is_touched);
    return c;
}
