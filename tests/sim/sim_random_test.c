/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_random_test.c - long random programs over the simulated job. Every read must return the last
 * write, every thread must finish, and the invariants hold after every step.
 *
 * DSM_TEST_SEED replays one seed; DSM_TEST_RUNS is how many seeds each test takes.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "tests/sim/world.h"

static uint64_t first_seed = 1;
static uint64_t n_runs = 40;

struct mix {
    uint64_t n_pages;
    uint32_t n_ranks;
    uint32_t n_ops;
    uint32_t write_percent;
    uint32_t wide_percent; /* instructions that need several pages */
    uint32_t prefetch_percent;
};

static void random_access_program(struct sim_world *w, struct sim_thread *t, struct sim_op *op)
{
    const struct mix *mix = sim_thread_user(t);
    uint64_t *rng = sim_rng(w);
    uint32_t i;

    if (sim_thread_ops_done(t) >= mix->n_ops)
        return;
    if (dsm_rng_below(rng, 100) < mix->prefetch_percent) {
        op->kind = SIM_OP_PREFETCH;
        op->pages[0] = dsm_rng_below(rng, mix->n_pages);
        op->n_pages = 1 + (uint32_t)dsm_rng_below(rng, mix->n_pages - op->pages[0]);
        op->writes[0] = dsm_rng_below(rng, 100) < mix->write_percent;
        return;
    }
    op->kind = SIM_OP_ACCESS;
    op->n_pages = 1;
    if (dsm_rng_below(rng, 100) < mix->wide_percent)
        op->n_pages = 2 + (uint32_t)dsm_rng_below(rng, 2);
    for (i = 0; i < op->n_pages; i++) {
        op->pages[i] = dsm_rng_below(rng, mix->n_pages);
        op->writes[i] = dsm_rng_below(rng, 100) < mix->write_percent;
    }
    op->ip = 1 + dsm_rng_below(rng, 4);
}

static void run_mix(const struct sim_config *config, struct mix *mix, uint32_t n_threads)
{
    struct sim_world *w = sim_open(config);
    dsm_rank_t rank;
    uint32_t i;

    mix->n_pages = config->n_pages;
    for (rank = 0; rank < config->n_ranks; rank++)
        for (i = 0; i < n_threads; i++)
            sim_thread_add(w, rank, random_access_program, mix);
    if (!sim_run(w, UINT64_MAX))
        ck_abort_msg("%s", sim_error(w));
    sim_close(w);
}

START_TEST(every_read_returns_the_last_write)
{
    uint64_t seed;

    for (seed = first_seed; seed < first_seed + n_runs; seed++) {
        struct sim_config config;
        struct mix mix = {.n_ops = 300, .write_percent = 40};

        sim_config_init(&config, (uint32_t)(2 + seed % 5), 1 + seed % 4 * 40, seed);
        run_mix(&config, &mix, (uint32_t)(1 + seed % 3));
    }
}
END_TEST

START_TEST(instructions_that_need_several_pages_make_progress)
{
    uint64_t seed;

    for (seed = first_seed; seed < first_seed + n_runs; seed++) {
        struct sim_config config;
        struct mix mix = {.n_ops = 150, .write_percent = 60, .wide_percent = 70};

        sim_config_init(&config, (uint32_t)(2 + seed % 4), 6, seed);
        run_mix(&config, &mix, (uint32_t)(1 + seed % 2));
    }
}
END_TEST

/* One thread's walk through the region. */
struct walker {
    uint64_t page, stride, n_left, ip;
    bool is_write;
};

#define WALK_PAGES 96u
#define WALK_OPS   400u

/* Walks from random places with a stride, which cores fetch ahead of, across each other's ways. */
static void walking_program(struct sim_world *w, struct sim_thread *t, struct sim_op *op)
{
    struct walker *walker = sim_thread_user(t);
    uint64_t *rng = sim_rng(w);

    if (sim_thread_ops_done(t) >= WALK_OPS)
        return;
    if (walker->n_left == 0 || walker->page >= WALK_PAGES)
        *walker = (struct walker){.page = dsm_rng_below(rng, WALK_PAGES),
                                  .stride = 1 + dsm_rng_below(rng, 3) / 2,
                                  .n_left = 1 + dsm_rng_below(rng, 60),
                                  .ip = 1 + dsm_rng_below(rng, 4),
                                  .is_write = dsm_rng_below(rng, 100) < 25};
    op->kind = SIM_OP_ACCESS;
    op->n_pages = 1;
    op->pages[0] = walker->page;
    op->writes[0] = walker->is_write;
    op->ip = walker->ip;
    walker->page += walker->stride;
    walker->n_left--;
}

START_TEST(what_is_fetched_ahead_is_as_good_as_what_was_asked_for)
{
    uint64_t seed, asked = 0, used = 0, asked_to_write = 0;

    for (seed = first_seed; seed < first_seed + n_runs; seed++) {
        struct sim_config config;
        struct walker walkers[8] = {{0}};
        struct sim_world *w;
        dsm_rank_t rank;
        uint32_t i;

        sim_config_init(&config, (uint32_t)(2 + seed % 3), WALK_PAGES, seed);
        config.ahead_bytes = 16384u << 2 * (seed % 3);
        config.has_runs = seed % 4 > 0;
        /* Bytes leave slowly: units are wanted here while they are on their way elsewhere. */
        config.payload = (struct sim_delay){1000, 60000};
        config.done = (struct sim_delay){1000, 60000};
        if (seed % 5 == 0)
            config.frame_limit = WALK_PAGES / config.n_ranks + 20;
        w = sim_open(&config);
        for (i = 0; i < 2 * config.n_ranks; i++)
            sim_thread_add(w, i % config.n_ranks, walking_program, &walkers[i]);
        if (!sim_run(w, UINT64_MAX))
            ck_abort_msg("%s", sim_error(w));
        for (rank = 0; rank < config.n_ranks; rank++) {
            struct dsm_core_counters counters;

            dsm_core_counters(sim_core(w, rank), &counters);
            asked += counters.ahead_asked;
            used += counters.ahead_used;
            asked_to_write += counters.ahead_write_asked;
        }
        sim_close(w);
    }
    ck_assert_uint_gt(asked, 10 * n_runs);
    ck_assert_uint_gt(used, 0);
    ck_assert_uint_gt(asked_to_write, n_runs);
}
END_TEST

/* Odd operations take a lock, even ones give it back, and at every 50th all ranks meet. */
static void sync_program(struct sim_world *w, struct sim_thread *t, struct sim_op *op)
{
    const struct mix *mix = sim_thread_user(t);
    uint64_t done = sim_thread_ops_done(t);
    uint64_t lock = (done / 4 * 7 + 3) % 5;

    (void)w;
    if (done >= mix->n_ops)
        return;
    op->id = lock;
    switch (done % 4) {
    case 0:
        op->kind = SIM_OP_LOCK;
        return;
    case 1:
        op->kind = SIM_OP_ACCESS;
        op->n_pages = 1;
        op->pages[0] = lock % mix->n_pages;
        op->writes[0] = true;
        op->ip = 9;
        return;
    case 2:
        op->kind = SIM_OP_UNLOCK;
        return;
    default:
        op->kind = SIM_OP_COLLECTIVE;
        op->collective = (enum dsm_collective_kind)(done / 4 % 3);
        op->root = (uint32_t)(done % 5 % mix->n_ranks);
        return;
    }
}

START_TEST(prefetched_units_are_as_good_as_faulted_ones)
{
    uint64_t seed;

    for (seed = first_seed; seed < first_seed + n_runs; seed++) {
        struct sim_config config;
        struct mix mix = {.n_ops = 200, .write_percent = 30, .prefetch_percent = 25};

        sim_config_init(&config, (uint32_t)(2 + seed % 4), 90, seed);
        config.prefetch_window = (uint32_t)(1 + seed % 70);
        run_mix(&config, &mix, (uint32_t)(1 + seed % 2));
    }
}
END_TEST

START_TEST(locks_exclude_and_collectives_meet)
{
    uint64_t seed;

    for (seed = first_seed; seed < first_seed + n_runs; seed++) {
        struct sim_config config;
        struct mix mix = {.n_ops = 240, .n_pages = 8};
        struct sim_world *w;
        dsm_rank_t rank;

        sim_config_init(&config, (uint32_t)(1 + seed % 9), 8, seed);
        mix.n_ranks = config.n_ranks;
        w = sim_open(&config);
        for (rank = 0; rank < config.n_ranks; rank++)
            sim_thread_add(w, rank, sync_program, &mix);
        if (!sim_run(w, UINT64_MAX))
            ck_abort_msg("%s", sim_error(w));
        sim_close(w);
    }
}
END_TEST

START_TEST(dropped_ranges_start_again_at_zero)
{
    uint64_t seed;

    for (seed = first_seed; seed < first_seed + n_runs; seed++) {
        struct sim_config config;
        struct mix mix = {.n_ops = 40, .write_percent = 50, .prefetch_percent = 10};
        struct sim_world *w;
        uint32_t round, i;

        sim_config_init(&config, (uint32_t)(2 + seed % 4), 64, seed);
        mix.n_pages = config.n_pages;
        w = sim_open(&config);
        for (round = 0; round < 6; round++) {
            for (i = 0; i < 2 * config.n_ranks; i++)
                sim_thread_add(w, i % config.n_ranks, random_access_program, &mix);
            if (!sim_run(w, UINT64_MAX))
                ck_abort_msg("%s", sim_error(w));
            /* Two at a time, by different managers; prefetches may still be under way. */
            for (i = 0; i < 8; i++)
                sim_prefetch(w, i % config.n_ranks, i * 8, 8, DSM_ACCESS_READ);
            sim_drop(w, round % config.n_ranks, 0, 20, round);
            sim_drop(w, (round + 1) % config.n_ranks, 20, 44, round);
            if (!sim_run(w, UINT64_MAX))
                ck_abort_msg("%s", sim_error(w));
            ck_assert_uint_eq(sim_drops_done(w), 2 * (round + 1));
            for (i = 0; i < config.n_ranks; i++) {
                struct dsm_core_counters counters;

                dsm_core_counters(sim_core(w, i), &counters);
                ck_assert_uint_eq(counters.frames_pages, 0);
                ck_assert_uint_eq(counters.directory_entries, 0);
            }
        }
        sim_close(w);
    }
}
END_TEST

START_TEST(a_limit_on_frames_loses_nothing)
{
    uint64_t seed, moved = 0, dropped = 0;

    for (seed = first_seed; seed < first_seed + n_runs; seed++) {
        struct sim_config config;
        struct mix mix = {.n_ops = 250, .write_percent = 40, .prefetch_percent = 4};
        dsm_rank_t rank;
        struct sim_world *w;
        uint32_t i;

        sim_config_init(&config, (uint32_t)(2 + seed % 4), 64, seed);
        /* All ranks together have a little more than the region. */
        config.frame_limit = 64 / config.n_ranks + 6 + seed % 9;
        mix.n_pages = config.n_pages;
        if (seed % 2)
            mix.wide_percent = 20;
        w = sim_open(&config);
        for (i = 0; i < 2 * config.n_ranks; i++)
            sim_thread_add(w, i % config.n_ranks, random_access_program, &mix);
        if (!sim_run(w, UINT64_MAX))
            ck_abort_msg("%s", sim_error(w));
        for (rank = 0; rank < config.n_ranks; rank++) {
            struct dsm_core_counters counters;

            dsm_core_counters(sim_core(w, rank), &counters);
            ck_assert_uint_le(counters.frames_peak_pages, config.frame_limit);
            moved += counters.evicted_owned;
            dropped += counters.evicted_shared + counters.evicted_zero;
        }
        ck_assert_uint_eq(sim_failures(w), 0);
        sim_close(w);
    }
    ck_assert_uint_gt(moved, n_runs);
    ck_assert_uint_gt(dropped, n_runs);
}
END_TEST

START_TEST(when_all_ranks_are_full_a_fault_fails_and_nothing_hangs)
{
    uint64_t seed, failed = 0;

    for (seed = first_seed; seed < first_seed + n_runs; seed++) {
        struct sim_config config;
        struct mix mix = {.n_ops = 100, .write_percent = 80};
        struct sim_world *w;
        uint32_t i;

        sim_config_init(&config, (uint32_t)(1 + seed % 4), 64, seed);
        config.frame_limit = 6 + seed % 5;
        mix.n_pages = config.n_pages;
        w = sim_open(&config);
        for (i = 0; i < 2 * config.n_ranks; i++)
            sim_thread_add(w, i % config.n_ranks, random_access_program, &mix);
        if (!sim_run(w, UINT64_MAX))
            ck_abort_msg("%s", sim_error(w));
        failed += sim_failures(w);
        sim_close(w);
    }
    ck_assert_uint_gt(failed, n_runs);
}
END_TEST

/* Every rank stores across the same pages at once, each in another order. */
static void crossing_program(struct sim_world *w, struct sim_thread *t, struct sim_op *op)
{
    const struct mix *mix = sim_thread_user(t);
    uint32_t n = (uint32_t)mix->n_pages, i;

    (void)w;
    if (sim_thread_ops_done(t) >= mix->n_ops)
        return;
    op->kind = SIM_OP_ACCESS;
    op->ip = 5;
    op->n_pages = n;
    for (i = 0; i < n; i++) {
        op->pages[i] = sim_thread_rank(t) % 2 ? n - 1 - i : i;
        op->writes[i] = true;
    }
}

START_TEST(instructions_that_take_the_same_pages_in_opposite_order_go_on)
{
    uint64_t seed, longest_ns = 0;

    for (seed = first_seed; seed < first_seed + n_runs; seed++) {
        struct sim_config config;
        struct mix mix = {.n_ops = 60, .n_pages = 2 + seed % 3};
        struct sim_world *w;
        dsm_rank_t rank;

        sim_config_init(&config, (uint32_t)(2 + seed % 3), mix.n_pages, seed);
        config.think = (struct sim_delay){0, 10};
        w = sim_open(&config);
        for (rank = 0; rank < config.n_ranks; rank++)
            sim_thread_add(w, rank, crossing_program, &mix);
        if (!sim_run(w, UINT64_MAX))
            ck_abort_msg("%s", sim_error(w));
        if (sim_longest_wait_ns(w) > longest_ns)
            longest_ns = sim_longest_wait_ns(w);
        sim_close(w);
    }
    printf("longest wait for an instruction of several pages: %lu us\n",
           (unsigned long)longest_ns / 1000);
    ck_assert_uint_lt(longest_ns, 50000000);
}
END_TEST

/* A rank goes in the middle of everything. Threads may fail or wait for ever (the runtime's timeout
 * ends that), but no step may be refused and nothing wrong may be read. */
START_TEST(a_lost_rank_upsets_nobody_s_state)
{
    uint64_t seed;

    for (seed = first_seed; seed < first_seed + n_runs; seed++) {
        struct sim_config config;
        struct mix mix = {.n_ops = 100, .write_percent = 50, .prefetch_percent = 10};
        struct mix sync = {.n_ops = 100, .n_pages = 8};
        struct sim_world *w;
        uint32_t i;

        sim_config_init(&config, (uint32_t)(2 + seed % 5), 40, seed);
        if (seed % 2)
            config.frame_limit = 40 / config.n_ranks + 8;
        mix.n_pages = config.n_pages;
        sync.n_ranks = config.n_ranks;
        w = sim_open(&config);
        for (i = 0; i < 2 * config.n_ranks; i++)
            sim_thread_add(w, i % config.n_ranks, random_access_program, &mix);
        for (i = 0; i < config.n_ranks; i++)
            sim_thread_add(w, i, sync_program, &sync);
        sim_allow_waiting(w);
        if (!sim_run(w, 10000 + seed * 7919 % 2000000))
            ck_abort_msg("%s", sim_error(w));
        sim_kill(w, (dsm_rank_t)(seed % config.n_ranks));
        if (seed % 3 == 0 && config.n_ranks > 3)
            sim_kill(w, (dsm_rank_t)((seed + 1) % config.n_ranks));
        if (!sim_run(w, 10000000000))
            ck_abort_msg("%s", sim_error(w));
        sim_close(w);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulated job, random programs");
    TCase *tc = tcase_create("random");
    SRunner *runner;
    int failed;

    if (getenv("DSM_TEST_SEED")) {
        first_seed = strtoull(getenv("DSM_TEST_SEED"), NULL, 0);
        n_runs = 1;
    }
    if (getenv("DSM_TEST_RUNS"))
        n_runs = strtoull(getenv("DSM_TEST_RUNS"), NULL, 0);
    printf("seeds %lu to %lu; DSM_TEST_SEED=N replays one\n", (unsigned long)first_seed,
           (unsigned long)(first_seed + n_runs - 1));
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, every_read_returns_the_last_write);
    tcase_add_test(tc, prefetched_units_are_as_good_as_faulted_ones);
    tcase_add_test(tc, what_is_fetched_ahead_is_as_good_as_what_was_asked_for);
    tcase_add_test(tc, locks_exclude_and_collectives_meet);
    tcase_add_test(tc, dropped_ranges_start_again_at_zero);
    tcase_add_test(tc, a_limit_on_frames_loses_nothing);
    tcase_add_test(tc, when_all_ranks_are_full_a_fault_fails_and_nothing_hangs);
    tcase_add_test(tc, instructions_that_take_the_same_pages_in_opposite_order_go_on);
    tcase_add_test(tc, a_lost_rank_upsets_nobody_s_state);
    tcase_add_test(tc, instructions_that_need_several_pages_make_progress);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
