/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_modes_test.c - the counted mappings against a count from scratch, and what is given up. */
#include "base/clock.h"
#include "base/rng.h"
#include "trap/modes.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE   4096ul
#define BASE_A 0x100000000ul
#define BASE_B 0x900000000ul

static uint64_t seed;
static struct dsm_modes modes;

static uint64_t count_mappings(void)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < DSM_TRAP_MAX_VIEWS; i++) {
        const struct dsm_mode_view *view = &modes.views[i];
        for (size_t page = 0; page < view->n_pages; page++)
            n += page == 0 || view->modes[page] != view->modes[page - 1];
    }
    return n;
}

/* Counts of the blocks, and the ring, from scratch. */
static void assert_blocks(void)
{
    uint64_t n_ring = 0;
    for (unsigned i = 0; i < DSM_TRAP_MAX_VIEWS; i++) {
        const struct dsm_mode_view *view = &modes.views[i];
        for (size_t first = 0; first < view->n_pages; first += DSM_MODE_BLOCK_PAGES) {
            const struct dsm_mode_block *block = &view->blocks[first / DSM_MODE_BLOCK_PAGES];
            unsigned n_edges = 0, n_open = 0;
            for (size_t page = first; page < first + DSM_MODE_BLOCK_PAGES && page < view->n_pages;
                 page++) {
                n_edges += page > 0 && view->modes[page] != view->modes[page - 1];
                n_open += view->modes[page] != DSM_MODE_NONE;
            }
            ck_assert_uint_eq(block->n_edges, n_edges);
            ck_assert_uint_eq(block->n_open, n_open);
            ck_assert_int_eq(block->next != NULL, n_edges > 0);
            n_ring += n_edges > 0;
        }
    }
    ck_assert_uint_eq(modes.n_ring, n_ring);
    uint64_t on_ring = 0;
    const struct dsm_mode_block *at = modes.hand;
    while (at && (on_ring++ == 0 || at != modes.hand))
        at = at->next;
    ck_assert_uint_eq(at ? on_ring - 1 : 0, n_ring);
}

static void set(uintptr_t base, size_t first, size_t n, enum dsm_mode mode)
{
    struct dsm_mode_range range = dsm_modes_range(&modes, base + first * PAGE, n * PAGE);
    ck_assert_ptr_nonnull(range.view);
    ck_assert_uint_eq(range.first, first);
    ck_assert_uint_eq(range.n_pages, n);
    int64_t growth = dsm_modes_growth(&range, mode);
    uint64_t before = modes.n_mappings;
    dsm_modes_set(&modes, &range, mode);
    ck_assert_int_eq((int64_t)(modes.n_mappings - before), growth);
}

START_TEST(counts_stay_exact_through_random_changes)
{
    enum { PAGES_A = 3 * DSM_MODE_BLOCK_PAGES + 17, PAGES_B = 700, ROUNDS = 4000 };
    uint64_t rng = seed;
    ck_assert_int_eq(dsm_modes_add(&modes, BASE_A, PAGES_A * PAGE), 0);
    ck_assert_int_eq(dsm_modes_add(&modes, BASE_B, PAGES_B * PAGE), 0);
    ck_assert_uint_eq(modes.n_mappings, 2);
    for (int i = 0; i < ROUNDS; i++) {
        bool is_a = dsm_rng_below(&rng, 2);
        size_t n_pages = is_a ? PAGES_A : PAGES_B, first = dsm_rng_below(&rng, n_pages);
        /* Mostly single pages, sometimes runs, sometimes to the end. */
        uint64_t kind = dsm_rng_below(&rng, 20);
        size_t n = kind < 15 ? 1 : 1 + dsm_rng_below(&rng, kind < 19 ? 9 : n_pages);
        if (n > n_pages - first)
            n = n_pages - first;
        set(is_a ? BASE_A : BASE_B, first, n, (enum dsm_mode)dsm_rng_below(&rng, 3));
        ck_assert_uint_eq(modes.n_mappings, count_mappings());
        if (i % 50 == 0)
            assert_blocks();
    }
    assert_blocks();
    dsm_modes_remove(&modes, BASE_A);
    ck_assert_uint_eq(modes.n_mappings, count_mappings());
    assert_blocks();
    dsm_modes_remove(&modes, BASE_B);
    ck_assert_uint_eq(modes.n_mappings, 0);
    ck_assert_ptr_null(modes.hand);
}
END_TEST

START_TEST(cold_pieces_always_pay_and_spare_what_is_kept)
{
    enum { PAGES = 20 * DSM_MODE_BLOCK_PAGES };
    uint64_t rng = seed;
    ck_assert_int_eq(dsm_modes_add(&modes, BASE_A, PAGES * PAGE), 0);
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < 3000; i++)
            set(BASE_A, dsm_rng_below(&rng, PAGES), 1, (enum dsm_mode)dsm_rng_below(&rng, 3));
        size_t kept = dsm_rng_below(&rng, PAGES);
        struct dsm_mode_range keep = dsm_modes_range(&modes, BASE_A + kept * PAGE, PAGE), cold;
        /* Until only the block of the kept page is left, and what cannot pay. */
        for (int n = 0; dsm_modes_find_cold(&modes, &keep, &cold); n++) {
            ck_assert_int_lt(n, 100);
            ck_assert(kept < cold.first || kept >= cold.first + cold.n_pages);
            uint64_t before = modes.n_mappings;
            dsm_modes_set(&modes, &cold, DSM_MODE_NONE);
            ck_assert_uint_lt(modes.n_mappings, before);
        }
        ck_assert_uint_le(modes.n_mappings, DSM_MODE_BLOCK_PAGES + 3);
        assert_blocks();
    }
    dsm_modes_remove(&modes, BASE_A);
}
END_TEST

START_TEST(warm_blocks_outlive_cold_ones)
{
    enum { BLOCKS = 8 };
    struct dsm_mode_range cold, keep = {.view = NULL};
    ck_assert_int_eq(dsm_modes_add(&modes, BASE_A, BLOCKS * DSM_MODE_BLOCK_PAGES * PAGE), 0);
    for (size_t block = 0; block < BLOCKS; block++)
        set(BASE_A, block * DSM_MODE_BLOCK_PAGES + 7, 1, DSM_MODE_READ);
    ck_assert(dsm_modes_find_cold(&modes, &keep, &cold)); /* all cool now */
    for (size_t block = 0; block < BLOCKS; block++) {
        if (block != 5)
            set(BASE_A, block * DSM_MODE_BLOCK_PAGES + 9, 1, DSM_MODE_WRITE);
    }
    ck_assert(dsm_modes_find_cold(&modes, &keep, &cold));
    ck_assert_uint_eq(cold.first, 5 * DSM_MODE_BLOCK_PAGES);
    dsm_modes_remove(&modes, BASE_A);
}
END_TEST

START_TEST(ranges_outside_every_view_are_told)
{
    ck_assert_int_eq(dsm_modes_add(&modes, BASE_A, 4 * PAGE), 0);
    ck_assert_ptr_nonnull(dsm_modes_range(&modes, BASE_A + 3 * PAGE, PAGE).view);
    ck_assert_ptr_null(dsm_modes_range(&modes, BASE_A + 3 * PAGE, 2 * PAGE).view);
    ck_assert_ptr_null(dsm_modes_range(&modes, BASE_A + 4 * PAGE, PAGE).view);
    ck_assert_ptr_null(dsm_modes_range(&modes, BASE_A - PAGE, PAGE).view);
    ck_assert_ptr_null(dsm_modes_range(&modes, BASE_A + PAGE, SIZE_MAX).view);
    dsm_modes_remove(&modes, BASE_A);
}
END_TEST

int main(void)
{
    const char *text = getenv("TRAP_SEED");
    seed = text ? strtoull(text, NULL, 0) : dsm_clock_ns();
    printf("TRAP_SEED=%llu replays this run\n", (unsigned long long)seed);
    Suite *suite = suite_create("trap modes");
    TCase *c = tcase_create("modes");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, counts_stay_exact_through_random_changes);
    tcase_add_test(c, cold_pieces_always_pay_and_spare_what_is_kept);
    tcase_add_test(c, warm_blocks_outlive_cold_ones);
    tcase_add_test(c, ranges_outside_every_view_are_told);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed != 0;
}
