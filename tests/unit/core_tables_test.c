/* SPDX-License-Identifier: BSD-3-Clause */
/* core_tables_test.c - arena, hash table, directory and placement. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "core/state.h"

#define SEED 20261121u

static struct dsm_placement_table *new_placement(uint32_t n_ranks)
{
    struct dsm_placement_table *placement = NULL;

    ck_assert_int_eq(dsm_placement_init(&placement, n_ranks), 0);
    return placement;
}

/* A core of its own memory; free(core). */
static struct dsm_core *new_core(const struct dsm_placement_table *placement, uint32_t n_ranks,
                                 uint64_t n_pages)
{
    struct dsm_core_config config = {
        .n_ranks = n_ranks, .n_pages = n_pages, .placement = placement};
    size_t bytes = dsm_core_memory_bytes(&config);
    struct dsm_core *core = NULL;
    void *memory = aligned_alloc(4096, bytes);

    memset(memory, 0, bytes);
    ck_assert_int_eq(dsm_core_init(memory, &config, &core), 0);
    return core;
}

START_TEST(arena_uses_freed_nodes_again_zeroed)
{
    struct dsm_placement_table *placement = new_placement(1);
    struct dsm_core *core = new_core(placement, 1, 16);
    dsm_ref a = dsm_take(core, 100), b = dsm_take(core, 700);

    memset(dsm_at(core, a), 0xff, 100);
    ck_assert_uint_ne(a, b);
    ck_assert_uint_eq(dsm_arena_node_bytes(100), 128);
    ck_assert_uint_eq(dsm_arena_node_bytes(256), 256);
    ck_assert_uint_eq(dsm_arena_node_bytes(257), 512);
    ck_assert_uint_eq(dsm_arena_node_bytes(700), 1024);
    dsm_give(core, a, 100);
    ck_assert_uint_eq(dsm_take(core, 128), a);
    ck_assert_uint_eq(*(unsigned char *)dsm_at(core, a), 0);
    dsm_give(core, b, 700);
    ck_assert_uint_eq(dsm_take(core, 1024), b);
    free(core);
    dsm_placement_close(placement);
}
END_TEST

START_TEST(table_finds_every_key_while_it_grows)
{
    struct dsm_placement_table *placement = new_placement(1);
    struct dsm_core *core = new_core(placement, 1, 1 << 16);
    static const uint64_t strides[] = {1, 16, 1024, 4097};
    uint64_t longest = 0, bucket, i, n = 8192;
    size_t k;

    for (k = 0; k < sizeof strides / sizeof strides[0]; k++) {
        for (i = 0; i < n; i++) {
            dsm_ref ref = dsm_take(core, sizeof(struct dsm_node));

            dsm_table_add(&core->locks, core, ref, i * strides[k] + 1);
            if (i % 7 == 0)
                ck_assert_uint_ne(dsm_table_find(&core->locks, core, (i / 2) * strides[k] + 1), 0);
        }
        for (bucket = 0; bucket < dsm_table_n_buckets(&core->locks); bucket++) {
            uint64_t length = 0;
            dsm_ref ref = dsm_table_bucket(&core->locks, core, bucket);

            while (ref) {
                length++;
                ref = ((struct dsm_node *)dsm_at(core, ref))->next;
            }
            longest = length > longest ? length : longest;
        }
        ck_assert_uint_lt(longest, 20);
        for (i = 0; i < n; i++) {
            dsm_ref ref = dsm_table_find(&core->locks, core, i * strides[k] + 1);

            ck_assert_uint_ne(ref, 0);
            dsm_table_remove(&core->locks, core, ref);
            dsm_give(core, ref, sizeof(struct dsm_node));
        }
        ck_assert_uint_eq(core->locks.n, 0);
    }
    free(core);
    dsm_placement_close(placement);
}
END_TEST

START_TEST(directory_keeps_sharers_sorted_with_their_last_grant)
{
    enum { N = 1500 };
    struct dsm_placement_table *placement = new_placement(N);
    struct dsm_core *core = new_core(placement, N, 16);
    struct dsm_dir *dir = dsm_directory_get(core, 3);
    uint64_t rng = SEED, empty_bytes = core->counters.directory_bytes;
    dsm_txn_t expected[N] = {0};
    uint32_t step, rank, n = 0;

    for (step = 1; step < 20000; step++) {
        rank = (uint32_t)dsm_rng_below(&rng, step < 10000 ? N : 40);
        if (dsm_rng_below(&rng, 3)) {
            n += expected[rank] == 0;
            dsm_directory_add_sharer(core, dir, rank, step);
            expected[rank] = step;
        } else {
            n -= expected[rank] != 0;
            dsm_directory_remove_sharer(core, dir, rank);
            expected[rank] = 0;
        }
        ck_assert_uint_eq(dir->n_sharers, n);
        ck_assert_int_eq(dsm_directory_has_sharer(core, dir, rank), expected[rank] != 0);
    }
    for (rank = 0, step = 0; rank < N; rank++) {
        if (!expected[rank])
            continue;
        ck_assert_uint_eq(dsm_directory_sharers(core, dir)[step].rank, rank);
        ck_assert_uint_eq(dsm_directory_sharers(core, dir)[step].txn, expected[rank]);
        step++;
    }
    for (rank = 0; rank < N; rank++)
        dsm_directory_remove_sharer(core, dir, rank);
    ck_assert_uint_eq(dir->n_sharers, 0);
    ck_assert_uint_eq(core->counters.directory_bytes, empty_bytes);
    free(core);
    dsm_placement_close(placement);
}
END_TEST

START_TEST(placement_gives_every_page_one_unit_and_one_home)
{
    struct dsm_placement_table *p = new_placement(3);
    struct dsm_placement_entry block = {
        .first = 64, .n_pages = 40, .unit_pages = 4, .kind = DSM_PLACEMENT_BLOCK};
    struct dsm_placement_entry cyclic = {.first = 128,
                                         .n_pages = 64,
                                         .unit_pages = 2,
                                         .kind = DSM_PLACEMENT_CYCLIC,
                                         .rank = 1,
                                         .block_pages = 4};
    struct dsm_placement_entry one = {
        .first = 512, .n_pages = 512, .unit_pages = 512, .kind = DSM_PLACEMENT_RANK, .rank = 2};
    struct dsm_unit u;
    uint32_t rank;

    ck_assert_int_eq(dsm_placement_add(p, &one), 0);
    ck_assert_int_eq(dsm_placement_add(p, &cyclic), 0);
    ck_assert_int_eq(dsm_placement_add(p, &block), 0);
    /* rank r has units [r*10/3, (r+1)*10/3) of the ten */
    for (rank = 0; rank < 3; rank++) {
        uint64_t first = rank * 10 / 3, last = (rank + 1) * 10 / 3 - 1;

        ck_assert_uint_eq(dsm_placement_unit(p, 64 + first * 4).home, rank);
        ck_assert_uint_eq(dsm_placement_unit(p, 64 + last * 4 + 3).home, rank);
    }
    u = dsm_placement_unit(p, 71);
    ck_assert_uint_eq(u.first, 68);
    ck_assert_uint_eq(u.n_pages, 4);
    u = dsm_placement_unit(p, 133);
    ck_assert_uint_eq(u.first, 132);
    ck_assert_uint_eq(u.home, 2);
    ck_assert_uint_eq(dsm_placement_unit(p, 128).home, 1);
    u = dsm_placement_unit(p, 1000);
    ck_assert_uint_eq(u.first, 512);
    ck_assert_uint_eq(u.home, 2);
    u = dsm_placement_unit(p, 104); /* heap */
    ck_assert_uint_eq(u.first, 104);
    ck_assert_uint_eq(u.n_pages, 1);
    ck_assert_uint_eq(u.home, 104 / DSM_HEAP_STRIPE_PAGES % 3);
    ck_assert_ptr_null(dsm_placement_find(p, 104));
    ck_assert_ptr_null(dsm_placement_find(p, 63));
    ck_assert_ptr_nonnull(dsm_placement_find(p, 103));
    ck_assert_int_eq(dsm_placement_remove(p, 65), DSM_E_INVAL);
    ck_assert_int_eq(dsm_placement_remove(p, 64), 0);
    ck_assert_ptr_null(dsm_placement_find(p, 65));
    dsm_placement_close(p);
}
END_TEST

START_TEST(placement_refuses_overlaps_and_wrong_units)
{
    struct dsm_placement_table *p = new_placement(2);
    struct dsm_placement_entry good = {
        .first = 64, .n_pages = 32, .unit_pages = 8, .kind = DSM_PLACEMENT_BLOCK};
    struct dsm_placement_entry bad;

    ck_assert_int_eq(dsm_placement_add(p, &good), 0);
#define REFUSES(change)                                                                            \
    do {                                                                                           \
        bad = (struct dsm_placement_entry){.first = 128,                                           \
                                           .n_pages = 32,                                          \
                                           .unit_pages = 8,                                        \
                                           .kind = DSM_PLACEMENT_CYCLIC,                           \
                                           .block_pages = 8};                                      \
        change;                                                                                    \
        ck_assert_int_eq(dsm_placement_add(p, &bad), DSM_E_INVAL);                                 \
    } while (0)
    REFUSES(bad.first = 88);                     /* overlaps the end */
    REFUSES((bad.first = 40, bad.n_pages = 32)); /* overlaps the start */
    REFUSES(bad.first = 132);                    /* not a multiple of the unit */
    REFUSES(bad.n_pages = 36);                   /* likewise */
    REFUSES(bad.n_pages = 0);
    REFUSES(bad.unit_pages = 0);
    REFUSES(bad.unit_pages = 6);
    REFUSES(bad.unit_pages = 1024);
    REFUSES(bad.rank = 2);
    REFUSES(bad.block_pages = 0);
    REFUSES(bad.block_pages = 12);
    REFUSES(bad.kind = 9);
    dsm_placement_close(p);
}
END_TEST

/* Against one byte for each page. */
START_TEST(advice_says_what_was_said_last)
{
    enum { N_PAGES = 64, N_ROUNDS = 2000 };
    uint8_t said[N_PAGES] = {0};
    uint64_t rng = SEED;
    struct dsm_advice_table table = {0};

    for (int round = 0; round < N_ROUNDS; round++) {
        dsm_page_t first = dsm_rng_below(&rng, N_PAGES);
        uint64_t n = 1 + dsm_rng_below(&rng, N_PAGES - first);
        uint8_t kind = (uint8_t)dsm_rng_below(&rng, 5);
        uint32_t room = dsm_advice_room(&table);

        if (table.capacity < room)
            free(dsm_advice_grow(&table, malloc(room * sizeof *table.ranges), room));
        dsm_advice_set(&table, first, n, (enum dsm_advice_kind)kind);
        memset(said + first, kind, n);
        for (dsm_page_t page = 0; page < N_PAGES; page++) {
            const struct dsm_advice_range *range = dsm_advice_find(&table, page);

            ck_assert_uint_eq(range ? range->kind : 0, said[page]);
        }
    }
    /* Without room to split a range, the part behind what is taken out is forgotten. */
    dsm_advice_set(&table, 0, N_PAGES, DSM_ADVICE_KIND_PRIVATE);
    table.capacity = 1;
    dsm_advice_set(&table, 10, 2, DSM_ADVICE_KIND_NORMAL);
    ck_assert_ptr_nonnull(dsm_advice_find(&table, 9));
    ck_assert_ptr_null(dsm_advice_find(&table, 10));
    ck_assert_ptr_null(dsm_advice_find(&table, 12));
    free(table.ranges);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core tables");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    printf("seed %u\n", SEED);
    tcase_add_test(tc, arena_uses_freed_nodes_again_zeroed);
    tcase_add_test(tc, advice_says_what_was_said_last);
    tcase_add_test(tc, table_finds_every_key_while_it_grows);
    tcase_add_test(tc, directory_keeps_sharers_sorted_with_their_last_grant);
    tcase_add_test(tc, placement_gives_every_page_one_unit_and_one_home);
    tcase_add_test(tc, placement_refuses_overlaps_and_wrong_units);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
