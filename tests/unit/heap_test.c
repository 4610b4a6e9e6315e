/* SPDX-License-Identifier: BSD-3-Clause */
/* heap_test.c - the region's address space against simple models. */
#include "base/rng.h"
#include "runtime/heap.h"
#include "runtime/heap_small.h"
#include "runtime/heap_space.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed;

#define N_GRANULES 1000

START_TEST(space_deals_every_granule_once)
{
    struct dsm_heap_space *space;
    static uint8_t owner[N_GRANULES]; /* 0: free */
    struct {
        uint64_t first, n;
    } blocks[64] = {{0}};
    uint64_t rng = seed, n_taken = 0, n_refused = 0;
    memset(owner, 0, sizeof owner);
    ck_assert_int_eq(dsm_heap_space_open(&space, N_GRANULES), 0);
    for (int i = 0; i < 20000; i++) {
        unsigned slot = (unsigned)dsm_rng_below(&rng, 64);
        if (blocks[slot].n) {
            uint64_t first = blocks[slot].first, n = blocks[slot].n;
            ck_assert_uint_eq(dsm_heap_space_size(space, first), n);
            dsm_heap_space_close_block(space, first);
            ck_assert_uint_eq(dsm_heap_space_size(space, first), 0);
            dsm_heap_space_give(space, first, n);
            memset(owner + first, 0, n);
            blocks[slot].n = 0;
            continue;
        }
        uint64_t n = 1 + dsm_rng_below(&rng, 40), alignment = 1ull << dsm_rng_below(&rng, 6);
        uint64_t modulus = dsm_rng_below(&rng, 3) ? 1 : 7, residue = dsm_rng_below(&rng, 7), first;
        if (modulus > 1)
            n = 1;
        if (dsm_heap_space_take(space, n, alignment, modulus, residue, &first)) {
            n_refused++;
            continue;
        }
        ck_assert_uint_le(first + n, N_GRANULES);
        ck_assert(modulus > 1 ? first % modulus == residue : first % alignment == 0);
        for (uint64_t g = first; g < first + n; g++)
            ck_assert_msg(!owner[g], "granule %lu dealt twice, seed %lu", (unsigned long)g,
                          (unsigned long)seed);
        memset(owner + first, 1, n);
        blocks[slot].first = first;
        blocks[slot].n = n;
        n_taken++;
    }
    ck_assert_uint_gt(n_taken, 1000);
    ck_assert_uint_gt(n_refused, 0);
    dsm_heap_space_close(space);
}
END_TEST

START_TEST(space_refuses_what_does_not_fit)
{
    struct dsm_heap_space *space;
    uint64_t first;
    ck_assert_int_eq(dsm_heap_space_open(&space, 10), 0);
    ck_assert_int_eq(dsm_heap_space_take(space, 11, 1, 1, 0, &first), DSM_E_NOSPACE);
    ck_assert_int_eq(dsm_heap_space_take(space, 0, 1, 1, 0, &first), DSM_E_NOSPACE);
    ck_assert_int_eq(dsm_heap_space_take(space, 10, 1, 1, 0, &first), 0);
    ck_assert_int_eq(dsm_heap_space_take(space, 1, 1, 1, 0, &first), DSM_E_NOSPACE);
    dsm_heap_space_give(space, 0, 10);
    ck_assert_int_eq(dsm_heap_space_take(space, 1, 1, 16, 15, &first), DSM_E_NOSPACE);
    ck_assert_int_eq(dsm_heap_space_take(space, 9, 1, 1, 0, &first), 0);
    ck_assert_uint_eq(dsm_heap_space_size(space, 3), 0); /* inside, not the start */
    ck_assert_uint_eq(dsm_heap_space_size(space, 12345), 0);
    ck_assert_int_eq(dsm_heap_space_take(space, 1, 1, 1, 0, &first), 0);
    ck_assert(!dsm_heap_space_is_cut(space, first));
    dsm_heap_space_cut(space, first);
    ck_assert(dsm_heap_space_is_cut(space, first));
    ck_assert_uint_eq(dsm_heap_space_size(space, first), 0); /* it cannot be freed as a block */
    dsm_heap_space_close_block(space, first);
    ck_assert(!dsm_heap_space_is_cut(space, first));
    dsm_heap_space_give(space, first, 1);
    ck_assert(!dsm_heap_space_is_cut(space, 12345));
    dsm_heap_space_close(space);
}
END_TEST

START_TEST(small_blocks_do_not_overlap)
{
    enum { SLOTS = 700, GRANULES = 64 };
    struct dsm_heap_small *small;
    static uint8_t used[GRANULES * DSM_GRANULE_BYTES / 16];
    static struct {
        uint64_t offset;
        size_t size;
    } blocks[SLOTS];
    static uint8_t granule_taken[GRANULES];
    uint64_t rng = seed, given_back = 0;
    memset(used, 0, sizeof used);
    memset(blocks, 0, sizeof blocks);
    memset(granule_taken, 0, sizeof granule_taken);
    ck_assert_int_eq(dsm_heap_small_open(&small, GRANULES), 0);
    for (int i = 0; i < 12000; i++) {
        unsigned slot = (unsigned)dsm_rng_below(&rng, SLOTS);
        if (blocks[slot].size) {
            uint64_t granule, usable = dsm_heap_small_size(small, blocks[slot].offset);
            ck_assert_uint_ge(usable, blocks[slot].size);
            memset(used + blocks[slot].offset / 16, 0, usable / 16);
            ck_assert_int_eq(dsm_heap_small_give(small, blocks[slot].offset, &granule), 0);
            ck_assert_int_eq(dsm_heap_small_give(small, blocks[slot].offset, &granule),
                             DSM_E_INVAL);
            blocks[slot].size = 0;
            continue;
        }
        size_t size = 1 + dsm_rng_below(&rng, dsm_rng_below(&rng, 8) ? 300 : DSM_SMALL_MAX_BYTES);
        unsigned class = dsm_heap_small_class(size);
        uint64_t offset;
        if (!dsm_heap_small_take(small, class, &offset)) {
            uint64_t granule = 0;
            while (granule < GRANULES && granule_taken[granule])
                granule++;
            if (granule == GRANULES)
                continue;
            granule_taken[granule] = 1;
            ck_assert_int_eq(dsm_heap_small_add(small, class, granule), 0);
            ck_assert(dsm_heap_small_take(small, class, &offset));
        }
        uint64_t usable = dsm_heap_small_size(small, offset);
        ck_assert_uint_ge(usable, size);
        ck_assert_uint_eq(offset % 16, 0);
        if (size >= 4096)
            ck_assert_uint_eq(offset % 4096, 0);
        for (uint64_t u = offset / 16; u < (offset + usable) / 16; u++) {
            ck_assert_msg(!used[u], "block overlaps at %lu, seed %lu", (unsigned long)u * 16,
                          (unsigned long)seed);
            used[u] = 1;
        }
        blocks[slot].offset = offset;
        blocks[slot].size = size;
    }
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        uint64_t granule;
        if (!blocks[slot].size)
            continue;
        ck_assert_int_eq(dsm_heap_small_give(small, blocks[slot].offset, &granule), 0);
        given_back += granule != UINT64_MAX;
    }
    ck_assert_uint_gt(given_back, 0);
    uint64_t granule;
    ck_assert_int_eq(dsm_heap_small_give(small, 16, &granule), DSM_E_INVAL);
    ck_assert_int_eq(dsm_heap_small_give(small, GRANULES * DSM_GRANULE_BYTES + 5, &granule),
                     DSM_E_INVAL);
    dsm_heap_small_close(small);
}
END_TEST

int main(void)
{
    const char *given = getenv("HEAP_TEST_SEED");
    seed = given ? strtoull(given, NULL, 0) : 20260101;
    printf("HEAP_TEST_SEED=%lu\n", (unsigned long)seed);
    Suite *suite = suite_create("heap");
    TCase *tcase = tcase_create("heap");
    tcase_add_test(tcase, space_deals_every_granule_once);
    tcase_add_test(tcase, space_refuses_what_does_not_fit);
    tcase_add_test(tcase, small_blocks_do_not_overlap);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
