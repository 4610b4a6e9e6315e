/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_ahead_test.c - fetching ahead by itself: what it saves where faults have a trend, and that it
 * stays away where they have none, or where it did not pay. Rank 0 is the home of all and writes
 * first; rank 1 reads.
 */
#include <check.h>
#include <stdlib.h>

#include "base/rng.h"
#include "tests/sim/world.h"

#define PAGES 1024u

struct job {
    struct sim_world *world;
    struct sim_op *ops[2];
    uint32_t n_ops[2];
};

static void open_job(struct job *job, uint32_t ahead_bytes)
{
    const struct dsm_placement_entry all = {.first = 0,
                                            .n_pages = PAGES,
                                            .unit_pages = 1,
                                            .kind = DSM_PLACEMENT_RANK,
                                            .block_pages = 1};
    struct sim_config config;

    sim_config_init_steady(&config, 2, PAGES + 64);
    config.is_transcribed = false;
    config.has_runs = true;
    config.ahead_bytes = ahead_bytes;
    *job = (struct job){.world = sim_open(&config)};
    ck_assert_int_eq(dsm_placement_add(sim_placement(job->world), &all), 0);
    for (int rank = 0; rank < 2; rank++)
        job->ops[rank] = calloc(8 * PAGES, sizeof *job->ops[rank]);
}

static void add(struct job *job, uint32_t rank, dsm_page_t page, bool is_write)
{
    job->ops[rank][job->n_ops[rank]++] = (struct sim_op){
        .kind = SIM_OP_ACCESS, .n_pages = 1, .pages = {page}, .writes = {is_write}, .ip = 1};
}

/* All ranks meet. */
static void add_barrier(struct job *job)
{
    for (int rank = 0; rank < 2; rank++)
        job->ops[rank][job->n_ops[rank]++] =
            (struct sim_op){.kind = SIM_OP_COLLECTIVE, .collective = DSM_COLLECTIVE_BARRIER};
}

static struct dsm_core_counters run(struct job *job)
{
    struct dsm_core_counters counters;

    for (uint32_t rank = 0; rank < 2; rank++)
        sim_play(job->world, rank, job->ops[rank], job->n_ops[rank]);
    if (!sim_run(job->world, UINT64_MAX))
        ck_abort_msg("%s", sim_error(job->world));
    dsm_core_counters(sim_core(job->world, 1), &counters);
    sim_close(job->world);
    free(job->ops[0]);
    free(job->ops[1]);
    return counters;
}

static void write_all(struct job *job)
{
    for (dsm_page_t page = 0; page < PAGES; page++)
        add(job, 0, page, true);
    add_barrier(job);
}

START_TEST(sequential_reader_faults_seldom_and_wastes_nothing)
{
    struct job job;

    open_job(&job, 512 << 10);
    write_all(&job);
    for (dsm_page_t page = 0; page < PAGES; page++)
        add(&job, 1, page, false);
    struct dsm_core_counters c = run(&job);
    /* Those that come before their bytes wait for a request that is under way: no new one. */
    ck_assert_uint_le(c.messages[DSM_MSG_REQUEST], 60);
    ck_assert_uint_ge(c.ahead_asked, PAGES * 9 / 10);
    ck_assert_uint_ge(c.ahead_used, PAGES * 8 / 10);
    ck_assert_uint_eq(c.ahead_wasted, 0);
}
END_TEST

START_TEST(reader_that_goes_backwards_is_followed)
{
    struct job job;

    open_job(&job, 512 << 10);
    write_all(&job);
    for (dsm_page_t page = PAGES; page-- > 0;)
        add(&job, 1, page, false);
    struct dsm_core_counters c = run(&job);
    ck_assert_uint_ge(c.ahead_used, PAGES * 8 / 10);
}
END_TEST

START_TEST(stride_is_followed_and_what_is_between_is_left_alone)
{
    enum { STRIDE = 5 };
    struct job job;

    open_job(&job, 512 << 10);
    write_all(&job);
    for (dsm_page_t page = 0; page < PAGES; page += STRIDE)
        add(&job, 1, page, false);
    struct dsm_core_counters c = run(&job);
    ck_assert_uint_ge(c.ahead_used, PAGES / STRIDE * 7 / 10);
    ck_assert_uint_le(c.ahead_asked, PAGES / STRIDE);
}
END_TEST

START_TEST(random_reader_asks_for_nothing_ahead)
{
    uint64_t rng = 7;
    struct job job;

    open_job(&job, 512 << 10);
    write_all(&job);
    for (uint32_t i = 0; i < PAGES; i++)
        add(&job, 1, dsm_rng_below(&rng, PAGES), false);
    struct dsm_core_counters c = run(&job);
    ck_assert_uint_le(c.ahead_asked, PAGES / 50);
}
END_TEST

START_TEST(switched_off_it_asks_for_nothing)
{
    struct job job;

    open_job(&job, 0);
    write_all(&job);
    for (dsm_page_t page = 0; page < PAGES; page++)
        add(&job, 1, page, false);
    struct dsm_core_counters c = run(&job);
    ck_assert_uint_eq(c.ahead_asked, 0);
    ck_assert_uint_eq(c.messages[DSM_MSG_REQUEST], PAGES);
}
END_TEST

/* A reader takes the first three pages of what the other rank goes on writing: what is fetched
 * behind them is taken away unused each time, and soon it is not fetched any more. */
START_TEST(units_that_go_to_and_fro_are_left_alone)
{
    enum { ROUNDS = 40, READ = 3, WRITTEN = 24 };
    struct job job;

    open_job(&job, 512 << 10);
    for (int round = 0; round < ROUNDS; round++) {
        for (dsm_page_t page = 0; page < WRITTEN; page++)
            add(&job, 0, page, true);
        add_barrier(&job);
        for (dsm_page_t page = 0; page < READ; page++)
            add(&job, 1, page, false);
        add_barrier(&job);
    }
    struct dsm_core_counters c = run(&job);
    ck_assert_uint_ge(c.ahead_wasted, 8);
    ck_assert_uint_le(c.ahead_asked, 8 * ROUNDS / 4);
}
END_TEST

START_TEST(nothing_behind_the_end_of_an_allocation_is_asked_for)
{
    struct dsm_core_unit_info info;
    struct job job;

    open_job(&job, 512 << 10);
    write_all(&job);
    for (dsm_page_t page = PAGES - 4; page < PAGES; page++)
        add(&job, 1, page, false);
    add_barrier(&job);
    for (uint32_t rank = 0; rank < 2; rank++)
        sim_play(job.world, rank, job.ops[rank], job.n_ops[rank]);
    ck_assert(sim_run(job.world, UINT64_MAX));
    dsm_core_inspect(sim_core(job.world, 1), PAGES - 1, &info);
    ck_assert_uint_eq(info.access, DSM_ACCESS_READ);
    for (dsm_page_t page = PAGES; page < PAGES + 64; page++) {
        dsm_core_inspect(sim_core(job.world, 1), page, &info);
        ck_assert_uint_eq(info.access, DSM_ACCESS_NONE);
    }
    sim_close(job.world);
    free(job.ops[0]);
    free(job.ops[1]);
}
END_TEST

/* The second page is here before it is asked for: nothing had to be seen first. */
START_TEST(what_is_said_to_be_read_is_fetched_ahead_from_the_first_fault)
{
    static const struct {
        enum dsm_advice_kind kind;
        uint64_t n_least, n_most;
    } cases[] = {{DSM_ADVICE_KIND_NORMAL, 0, 0},
                 {DSM_ADVICE_KIND_READ_MOSTLY, 8, 8},
                 {DSM_ADVICE_KIND_WRITE_ONCE, 64, 128}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct job job;

        open_job(&job, 512 << 10);
        sim_advise(job.world, 1, 0, PAGES, cases[i].kind);
        write_all(&job);
        add(&job, 1, 100, false);
        struct dsm_core_counters c = run(&job);
        ck_assert_uint_ge(c.ahead_asked, cases[i].n_least);
        ck_assert_uint_le(c.ahead_asked, cases[i].n_most);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ahead");
    TCase *tc = tcase_create("ahead");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, sequential_reader_faults_seldom_and_wastes_nothing);
    tcase_add_test(tc, reader_that_goes_backwards_is_followed);
    tcase_add_test(tc, stride_is_followed_and_what_is_between_is_left_alone);
    tcase_add_test(tc, random_reader_asks_for_nothing_ahead);
    tcase_add_test(tc, switched_off_it_asks_for_nothing);
    tcase_add_test(tc, what_is_said_to_be_read_is_fetched_ahead_from_the_first_fault);
    tcase_add_test(tc, units_that_go_to_and_fro_are_left_alone);
    tcase_add_test(tc, nothing_behind_the_end_of_an_allocation_is_asked_for);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
