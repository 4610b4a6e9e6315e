/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_ahead_test.c - fetching ahead by itself: what it saves where faults have a trend, and that it
 * stays away where they have none, or where it did not pay. Rank 0 is the home of all but the heap;
 * rank 1 is looked at.
 */
#include <check.h>
#include <stdlib.h>

#include "base/rng.h"
#include "tests/sim/world.h"

#define PAGES 1024u
#define HEAP  512u

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

    sim_config_init_steady(&config, 2, PAGES + HEAP);
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

/* A reader takes the first four pages of what the other rank goes on writing: what is fetched
 * behind them is taken away unused each time, and soon it is not fetched any more. */
START_TEST(units_that_go_to_and_fro_are_left_alone)
{
    enum { ROUNDS = 40, READ = 4, WRITTEN = 24 };
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
    ck_assert_uint_ge(c.ahead_wasted, 4);
    ck_assert_uint_le(c.ahead_asked, 8 * ROUNDS / 4);
}
END_TEST

/* Of each row of four pages three are read, as a rank does that transposes its half of a matrix. */
START_TEST(rows_of_which_a_part_is_read_are_followed_and_the_rest_is_left_alone)
{
    struct job job;
    uint64_t n_read = 0;

    open_job(&job, 512 << 10);
    write_all(&job);
    for (dsm_page_t page = 0; page < PAGES; page++)
        if (page % 4 < 3) {
            add(&job, 1, page, false);
            n_read++;
        }
    struct dsm_core_counters c = run(&job);
    ck_assert_uint_ge(c.ahead_used, n_read * 7 / 10);
    ck_assert_uint_le(c.ahead_asked, n_read);
    ck_assert_uint_eq(c.ahead_wasted, 0);
    ck_assert_uint_le(c.messages[DSM_MSG_REQUEST], n_read / 2);
}
END_TEST

START_TEST(two_arrays_in_turn_are_followed)
{
    enum { FAR = 300 };
    struct job job;

    open_job(&job, 512 << 10);
    write_all(&job);
    for (dsm_page_t page = 0; page < FAR; page++) {
        add(&job, 1, page, false);
        add(&job, 1, FAR + page, false);
    }
    struct dsm_core_counters c = run(&job);
    ck_assert_uint_ge(c.ahead_used, 2 * FAR * 7 / 10);
    ck_assert_uint_le(c.ahead_wasted, 8);
}
END_TEST

/* ---- for writing */

/* Rank 1 is the owner of all, and rank 0 has read it; rank 1 writes every stride-th unit again. */
static struct dsm_core_counters write_what_was_read(uint32_t ahead_bytes, uint64_t stride)
{
    struct job job;

    open_job(&job, ahead_bytes);
    for (dsm_page_t page = 0; page < PAGES; page++)
        add(&job, 1, page, true);
    add_barrier(&job);
    for (dsm_page_t page = 0; page < PAGES; page++)
        add(&job, 0, page, false);
    add_barrier(&job);
    for (dsm_page_t page = 0; page < PAGES; page += stride)
        add(&job, 1, page, true);
    return run(&job);
}

START_TEST(writer_of_what_others_have_read_asks_in_runs)
{
    struct dsm_core_counters off = write_what_was_read(0, 1),
                             on = write_what_was_read(512 << 10, 1);

    ck_assert_uint_eq(off.ahead_write_asked, 0);
    ck_assert_uint_eq(off.faults_upgrade, PAGES);
    ck_assert_uint_le(on.faults_upgrade, PAGES / 10);
    ck_assert_uint_ge(on.ahead_write_used, PAGES * 8 / 10);
    ck_assert_uint_eq(on.ahead_write_wasted, 0);
    ck_assert_uint_le(on.messages[DSM_MSG_REQUEST], off.messages[DSM_MSG_REQUEST] / 4);
}
END_TEST

START_TEST(writer_with_a_stride_is_followed_and_what_is_between_stays_shared)
{
    enum { STRIDE = 4 };
    struct dsm_core_counters c = write_what_was_read(512 << 10, STRIDE);

    ck_assert_uint_le(c.faults_upgrade, PAGES / STRIDE / 4);
    ck_assert_uint_ge(c.ahead_write_used, PAGES / STRIDE * 7 / 10);
}
END_TEST

/* Both ranks write all, one after the other: of what it has lost a rank asks for nothing ahead. */
START_TEST(what_was_lost_to_a_writer_is_not_asked_for_ahead)
{
    struct dsm_core_counters c;
    uint64_t before;
    struct job job;

    open_job(&job, 512 << 10);
    for (dsm_page_t page = 0; page < PAGES; page++)
        add(&job, 1, page, true);
    before = run(&job).ahead_write_asked;

    open_job(&job, 512 << 10);
    for (dsm_page_t page = 0; page < PAGES; page++)
        add(&job, 1, page, true);
    add_barrier(&job);
    for (dsm_page_t page = 0; page < PAGES; page++)
        add(&job, 0, page, true);
    add_barrier(&job);
    for (dsm_page_t page = 0; page < PAGES; page++)
        add(&job, 1, page, true);
    c = run(&job);
    ck_assert_uint_gt(before, 0);
    ck_assert_uint_eq(c.ahead_write_asked, before);
}
END_TEST

/* The writer comes no further than the first units that it asks for ahead, and the reader takes
 * them back each time. */
START_TEST(what_is_read_before_it_is_written_is_not_asked_for_long)
{
    enum { ROUNDS = 40, WRITTEN = 5, READ = 24 };
    struct job job;

    open_job(&job, 512 << 10);
    for (dsm_page_t page = 0; page < READ; page++)
        add(&job, 1, page, true);
    for (int round = 0; round < ROUNDS; round++) {
        add_barrier(&job);
        for (dsm_page_t page = 0; page < READ; page++)
            add(&job, 0, page, false);
        add_barrier(&job);
        for (dsm_page_t page = 0; page < WRITTEN; page++)
            add(&job, 1, page, true);
    }
    struct dsm_core_counters c = run(&job);
    ck_assert_uint_ge(c.ahead_write_wasted, 2);
    ck_assert_uint_le(c.ahead_write_asked, 2 * ROUNDS / 4 + READ);
}
END_TEST

/* ---- the heap */

/* Rank 0 writes pages of no allocation, rank 1 reads the first n; returns how many it asked for. */
static struct dsm_core_counters read_heap(uint64_t first, uint64_t n)
{
    const uint64_t heap = PAGES; /* behind what open_job has placed */
    struct job job;

    open_job(&job, 512 << 10);
    for (dsm_page_t page = heap; page < heap + HEAP; page++)
        add(&job, 0, page, true);
    add_barrier(&job);
    for (dsm_page_t page = heap + first; page < heap + first + n; page++)
        add(&job, 1, page, false);
    return run(&job);
}

START_TEST(in_the_heap_no_stripe_is_entered_that_was_not_used)
{
    struct dsm_core_counters c = read_heap(0, DSM_HEAP_STRIPE_PAGES);

    ck_assert_uint_ge(c.ahead_asked, DSM_HEAP_STRIPE_PAGES / 2);
    ck_assert_uint_lt(c.ahead_asked, DSM_HEAP_STRIPE_PAGES);
}
END_TEST

START_TEST(in_the_heap_a_stream_goes_on_where_the_thread_crosses_a_border)
{
    struct dsm_core_counters c = read_heap(0, HEAP);

    ck_assert_uint_ge(c.ahead_used, HEAP * 7 / 10);
    ck_assert_uint_le(c.faults_read, HEAP / 5);
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
    for (dsm_page_t page = PAGES; page < PAGES + HEAP; page++) {
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
    tcase_add_test(tc, rows_of_which_a_part_is_read_are_followed_and_the_rest_is_left_alone);
    tcase_add_test(tc, two_arrays_in_turn_are_followed);
    tcase_add_test(tc, writer_of_what_others_have_read_asks_in_runs);
    tcase_add_test(tc, writer_with_a_stride_is_followed_and_what_is_between_stays_shared);
    tcase_add_test(tc, what_was_lost_to_a_writer_is_not_asked_for_ahead);
    tcase_add_test(tc, what_is_read_before_it_is_written_is_not_asked_for_long);
    tcase_add_test(tc, in_the_heap_no_stripe_is_entered_that_was_not_used);
    tcase_add_test(tc, in_the_heap_a_stream_goes_on_where_the_thread_crosses_a_border);
    tcase_add_test(tc, nothing_behind_the_end_of_an_allocation_is_asked_for);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
