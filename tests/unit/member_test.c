/* SPDX-License-Identifier: BSD-3-Clause */
/* member_test.c - dsmd's decisions about one job; each test is what was said, line by line. */
#include "member_lab.h"
#include "dsmd/base_search.h"
#include <check.h>
#include <dsm/dsm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct lab lab;

#define ck_said(expected) ck_assert_str_eq(lab_take(&lab), expected)

static void open_job(uint32_t n_ranks)
{
    lab_open(&lab, n_ranks, 5000, false);
}

static void close_lab(void)
{
    lab_close(&lab);
}

/* ---- forming ------------------------------------------------------------------------------- */

START_TEST(a_complete_job_agrees_the_base_and_starts)
{
    open_job(2);
    lab_join(&lab, 7, 1);
    ck_said("");
    lab_join(&lab, 8, 0);
    ck_said("7: propose 1 0x200000000000\n8: propose 1 0x200000000000\n");
    lab_answer(&lab, 8, 1, LAB_MAPPED);
    ck_said("");
    lab_answer(&lab, 7, 1, LAB_MAPPED);
    ck_said("8: start rank 0 epoch 1\n7: start rank 1 epoch 1\n"
            "note: started, transport tcp: every rank has it\n");
    ck_assert_uint_eq(dsm_member_job_base(lab.job), 0x200000000000);
}
END_TEST

START_TEST(ranks_without_a_number_take_the_free_ones_in_order_of_joining)
{
    open_job(4);
    lab_join(&lab, 1, -1);
    lab_join(&lab, 2, 2);
    lab_join(&lab, 3, -1);
    lab_join(&lab, 4, 0);
    for (uint32_t i = 1; i <= 4; i++)
        lab_answer(&lab, i, 1, LAB_MAPPED);
    ck_assert_uint_eq(dsm_member_job_rank(lab.job, 0)->conn, 4);
    ck_assert_uint_eq(dsm_member_job_rank(lab.job, 1)->conn, 1);
    ck_assert_uint_eq(dsm_member_job_rank(lab.job, 2)->conn, 2);
    ck_assert_uint_eq(dsm_member_job_rank(lab.job, 3)->conn, 3);
}
END_TEST

START_TEST(ranks_of_one_host_are_told_so)
{
    open_job(3);
    lab_join(&lab, 1, 0);
    lab.join.host_id = "other";
    lab_join(&lab, 2, 1);
    lab.join.host_id = "h";
    lab_join(&lab, 3, 2);
    ck_assert_uint_eq(dsm_member_job_rank(lab.job, 0)->host_index, 0);
    ck_assert_uint_eq(dsm_member_job_rank(lab.job, 1)->host_index, 1);
    ck_assert_uint_eq(dsm_member_job_rank(lab.job, 2)->host_index, 0);
}
END_TEST

START_TEST(a_base_that_one_rank_cannot_map_gives_way_to_what_it_offers)
{
    open_job(2);
    lab_join(&lab, 1, 0);
    lab_join(&lab, 2, 1);
    lab_take(&lab);
    lab_answer(&lab, 1, 1, LAB_MAPPED);
    lab_answer(&lab, 2, 1, 0x123456789000);
    ck_said("1: propose 2 0x123456800000\n2: propose 2 0x123456800000\n");
    lab_answer(&lab, 2, 2, LAB_MAPPED);
    lab_answer(&lab, 1, 2, 0);
    ck_said("1: propose 3 0x400000000000\n2: propose 3 0x400000000000\n");
    lab_answer(&lab, 1, 2, LAB_MAPPED); /* of the last round: too late to count */
    lab_answer(&lab, 1, 3, LAB_MAPPED);
    lab_answer(&lab, 2, 3, LAB_MAPPED);
    ck_said("1: start rank 0 epoch 1\n2: start rank 1 epoch 1\n"
            "note: started, transport tcp: every rank has it\n");
}
END_TEST

START_TEST(a_base_the_user_chose_is_the_only_one_tried)
{
    open_job(2);
    lab_join(&lab, 1, 0);
    lab.join.base = 0x300000000000;
    lab_join(&lab, 2, 1);
    ck_said("1: propose 1 0x300000000000\n2: propose 1 0x300000000000\n");
    lab_answer(&lab, 2, 1, LAB_MAPPED);
    lab_answer(&lab, 1, 1, 0x400000000000);
#define WHY                                                                                        \
    "no base address for the region that all can map (1 tried): rank 0 (h, pid 101) cannot map "   \
    "1073741824 bytes at 0x300000000000: taken; it offers 0x400000000000\n"
    ck_said("1: refuse -4 " WHY "2: refuse -4 " WHY "note: failed -4 " WHY);
#undef WHY
}
END_TEST

START_TEST(a_base_that_cannot_be_is_refused_with_what_is_allowed)
{
    open_job(2);
    lab.join.base = 0x300000001000;
    lab_join(&lab, 1, 0);
    ck_assert_ptr_nonnull(strstr(lab_take(&lab), "at base 0x300000001000: allowed are multiples"));
    ck_assert_int_eq(dsm_member_job_state(lab.job), DSM_JOB_ENDED);
}
END_TEST

START_TEST(ranks_that_want_different_bases_are_both_named)
{
    open_job(3);
    lab_join(&lab, 1, 0);
    lab.join.base = 0x300000000000;
    lab_join(&lab, 2, 1);
    lab.join.base = 0x310000000000;
    lab_join(&lab, 3, 2);
#define WHY                                                                                        \
    "rank 2 (h, pid 103) wants the base 0x310000000000, rank 1 (h, pid 102) wants "                \
    "0x300000000000\n"
    ck_said("3: refuse -11 " WHY "1: refuse -11 " WHY "2: refuse -11 " WHY "note: failed -11 " WHY);
#undef WHY
}
END_TEST

static const struct {
    const char *what;
    struct dsm_member_join differs;
} mismatches[] = {
    {"rank 1 (h, pid 102) has build b2, rank 0 (h, pid 101) has b", {.build = "b2"}},
    {"rank 1 (h, pid 102) has processor c2, rank 0 (h, pid 101) has c", {.cpu = "c2"}},
    {"no transport is common to all ranks: rank 1 (h, pid 102) has no transport tcp",
     {.transport = "rdma"}},
    {"rank 1 (h, pid 102) has page size 16384, rank 0 (h, pid 101) has 4096",
     {.page_bytes = 16384}},
    {"rank 1 (h, pid 102) has region size 2147483648, rank 0 (h, pid 101) has 1073741824",
     {.region_bytes = 1ull << 31}},
    {"rank 1 (h, pid 102) asks for a job of 3 ranks, rank 0 (h, pid 101) is of 2", {.n_ranks = 3}},
};

START_TEST(a_rank_of_another_kind_ends_the_job_with_one_line)
{
    const struct dsm_member_join *differs = &mismatches[_i].differs;
    char expected[2048];
    const char *what = mismatches[_i].what;
    open_job(2);
    lab_join(&lab, 1, 0);
    if (differs->build)
        lab.join.build = differs->build;
    if (differs->cpu)
        lab.join.cpu = differs->cpu;
    if (differs->transport)
        lab.join.transport = differs->transport;
    if (differs->page_bytes)
        lab.join.page_bytes = differs->page_bytes;
    if (differs->region_bytes)
        lab.join.region_bytes = differs->region_bytes;
    if (differs->n_ranks)
        lab.join.n_ranks = differs->n_ranks;
    lab_join(&lab, 2, 1);
    /* What is wrong with the job as a whole is told in the order of joining. */
    unsigned first = differs->transport ? 1 : 2, second = differs->transport ? 2 : 1;
    snprintf(expected, sizeof expected,
             "%u: refuse -11 %s\n%u: refuse -11 %s\nnote: failed -11 %s\n", first, what, second,
             what, what);
    ck_said(expected);
}
END_TEST

/* ---- the transport ---- */

static const struct dsm_member_offer card = {"rdma", "10.77.0.1:5", "10.77.0.0/24", ""};
static const struct dsm_member_offer other_card = {"rdma", "10.78.0.1:5", "10.78.0.0/24", ""};
static const struct dsm_member_offer no_card = {"rdma", "", "", "no device"};
static const struct dsm_member_offer socket = {"tcp", "127.0.0.1:6", "", ""};

/* A rank joins that has rdma so, and tcp. */
static void join_with(uint64_t conn, const struct dsm_member_offer *rdma, const char *wanted)
{
    const struct dsm_member_offer both[] = {*rdma, socket};
    const struct dsm_member_offer *only = wanted && strcmp(wanted, "tcp") == 0 ? &socket : rdma;
    lab.join.offers = wanted ? only : both;
    lab.join.n_offers = wanted ? 1 : 2;
    lab.join.wanted_transport = wanted;
    lab_join(&lab, conn, (int32_t)conn - 1);
    lab.join.offers = NULL;
}

/* Two ranks that can use the transport start, for the reason. */
static void assert_started_with(const char *transport, const char *address, const char *reason)
{
    lab_take(&lab);
    lab_answer(&lab, 1, 1, LAB_MAPPED);
    lab_answer(&lab, 2, 1, LAB_MAPPED);
    ck_assert_str_eq(dsm_member_job_transport(lab.job), transport);
    ck_assert_str_eq(dsm_member_job_transport_reason(lab.job), reason);
    ck_assert_str_eq(dsm_member_job_rank(lab.job, 0)->lane_address, address);
    char expected[400];
    snprintf(expected, sizeof expected,
             "1: start rank 0 epoch 1\n2: start rank 1 epoch 1\n"
             "note: started, transport %s: %s\n",
             transport, reason);
    ck_said(expected);
}

START_TEST(the_best_transport_that_every_rank_has_is_taken)
{
    open_job(2);
    join_with(1, &card, NULL);
    join_with(2, &card, NULL);
    assert_started_with("rdma", card.lane_address,
                        "every rank has it, in the network 10.77.0.0/24");
}
END_TEST

START_TEST(a_transport_that_one_rank_has_not_is_not_taken)
{
    open_job(2);
    join_with(1, &card, NULL);
    join_with(2, &no_card, NULL);
    assert_started_with("tcp", socket.lane_address,
                        "rank 1 (h, pid 102) has no transport rdma: no device");
}
END_TEST

START_TEST(a_transport_by_which_ranks_are_apart_is_not_taken)
{
    open_job(2);
    join_with(1, &card, NULL);
    join_with(2, &other_card, NULL);
    assert_started_with("tcp", socket.lane_address,
                        "rank 1 (h, pid 102) is in the network 10.78.0.0/24 of rdma, "
                        "rank 0 (h, pid 101) in 10.77.0.0/24");
}
END_TEST

START_TEST(a_transport_that_is_wanted_is_taken_also_across_networks)
{
    open_job(2);
    join_with(1, &card, NULL);
    join_with(2, &other_card, "rdma");
    assert_started_with("rdma", card.lane_address, "rank 1 (h, pid 102) wants it");
}
END_TEST

START_TEST(a_rank_without_the_wanted_transport_ends_the_job_with_its_reason)
{
    open_job(2);
    join_with(1, &card, "rdma");
    join_with(2, &no_card, "rdma");
#define WHY "rank 1 (h, pid 102) has no transport rdma: no device (rank 0 (h, pid 101) wants it)\n"
    ck_said("1: refuse -11 " WHY "2: refuse -11 " WHY "note: failed -11 " WHY);
#undef WHY
    ck_assert_int_eq(dsm_member_job_state(lab.job), DSM_JOB_ENDED);
}
END_TEST

START_TEST(ranks_that_want_different_transports_are_both_named)
{
    open_job(2);
    join_with(1, &card, "tcp");
    join_with(2, &card, "rdma");
#define WHY "rank 1 (h, pid 102) wants transport rdma, rank 0 (h, pid 101) wants tcp\n"
    ck_said("1: refuse -11 " WHY "2: refuse -11 " WHY "note: failed -11 " WHY);
#undef WHY
}
END_TEST

START_TEST(a_rank_that_lists_no_transport_has_that_of_its_address)
{
    open_job(2);
    join_with(1, &card, NULL);
    lab.join.n_offers = 0;
    lab_join(&lab, 2, 1);
    assert_started_with("tcp", socket.lane_address, "rank 1 (h, pid 102) has no transport rdma");
    ck_assert_str_eq(dsm_member_job_rank(lab.job, 1)->lane_address, lab.join.lane_address);
}
END_TEST

START_TEST(a_number_that_is_taken_is_refused_and_the_job_goes_on)
{
    open_job(2);
    lab_join(&lab, 1, 0);
    lab_join(&lab, 2, 0);
    ck_said("2: refuse -11 rank 0 (h, pid 102): the number is taken by h, pid 101\n"
            "note: refused -11 rank 0 (h, pid 102): the number is taken by h, pid 101\n");
    lab_closed(&lab, 2);
    lab_join(&lab, 3, 1);
    ck_said("1: propose 1 0x200000000000\n3: propose 1 0x200000000000\n");
}
END_TEST

START_TEST(a_rank_too_many_is_refused_and_the_job_goes_on)
{
    open_job(1);
    lab_run(&lab, 1);
    lab_join(&lab, 2, -1);
    ck_said("2: refuse -15 a rank (h, pid 102) is one too many: the job has all of its 1 ranks\n"
            "note: refused -15 a rank (h, pid 102) is one too many: the job has all of its 1 "
            "ranks\n");
    lab_closed(&lab, 2);
    ck_said("");
    ck_assert_int_eq(dsm_member_job_state(lab.job), DSM_JOB_RUNNING);
}
END_TEST

START_TEST(a_job_that_is_not_complete_in_time_names_the_missing)
{
    open_job(8);
    lab.join.join_timeout_ns = 3000000000;
    lab_join(&lab, 1, 4);
    lab_join(&lab, 2, 1);
    lab_pass(&lab, 2999);
    ck_said("");
    lab_pass(&lab, 1);
#define WHY "the job is not complete in time: 6 of 8 ranks missing: 0, 2-3, 5-7\n"
    ck_said("1: refuse -7 " WHY "2: refuse -7 " WHY "note: failed -7 " WHY);
#undef WHY
}
END_TEST

START_TEST(missing_ranks_have_no_numbers_when_the_others_have_none)
{
    open_job(3);
    lab_join(&lab, 1, -1);
    lab_pass(&lab, 60000);
    ck_said("1: refuse -7 the job is not complete in time: 2 of 3 ranks missing\n"
            "note: failed -7 the job is not complete in time: 2 of 3 ranks missing\n");
}
END_TEST

START_TEST(a_rank_that_does_not_say_whether_it_can_map_is_named)
{
    open_job(2);
    lab_join(&lab, 1, 0);
    lab_join(&lab, 2, 1);
    lab_answer(&lab, 1, 1, LAB_MAPPED);
    lab_take(&lab);
    lab_pass(&lab, 60000);
    ck_assert_ptr_nonnull(strstr(lab_take(&lab),
                                 "1 of 2 ranks did not say in time whether they can map the "
                                 "region; the first is rank 1 (h, pid 102)\n"));
}
END_TEST

START_TEST(a_rank_that_goes_before_the_job_is_complete_may_be_replaced)
{
    open_job(2);
    lab_join(&lab, 1, 0);
    lab_join(&lab, 2, 0);
    lab_take(&lab);
    lab_closed(&lab, 1);
    ck_said("note: over\n"); /* nobody is left */
    lab_close(&lab);
    open_job(3);
    lab_join(&lab, 1, 0);
    lab_join(&lab, 2, 1);
    lab_closed(&lab, 1);
    ck_said("");
    lab_join(&lab, 3, 0);
    lab_join(&lab, 4, 2);
    ck_said("2: propose 1 0x200000000000\n3: propose 1 0x200000000000\n"
            "4: propose 1 0x200000000000\n");
}
END_TEST

START_TEST(a_rank_that_goes_while_the_base_is_agreed_ends_the_job)
{
    open_job(2);
    lab_join(&lab, 1, 0);
    lab_join(&lab, 2, 1);
    lab_take(&lab);
    lab_closed(&lab, 2);
    ck_said("1: refuse -8 rank 1 (h, pid 102) hung up while the job was formed\n"
            "note: failed -8 rank 1 (h, pid 102) hung up while the job was formed\n");
    lab_closed(&lab, 1);
    ck_said("note: over\n");
}
END_TEST

/* ---- running ------------------------------------------------------------------------------- */

START_TEST(a_closed_connection_is_a_death_at_once)
{
    open_job(3);
    lab_run(&lab, 3);
    lab_closed(&lab, 2);
    ck_said("1: view 2 without 1: rank 1 (h, pid 102) hung up without leaving the job\n"
            "3: view 2 without 1: rank 1 (h, pid 102) hung up without leaving the job\n"
            "note: died 1: rank 1 (h, pid 102) hung up without leaving the job\n");
    lab_closed(&lab, 1);
    ck_said("3: view 3 without 0: rank 0 (h, pid 101) hung up without leaving the job\n"
            "note: died 0: rank 0 (h, pid 101) hung up without leaving the job\n");
    lab_closed(&lab, 2); /* again: nothing */
    ck_said("");
}
END_TEST

START_TEST(a_rank_that_left_is_no_death)
{
    open_job(2);
    lab_run(&lab, 2);
    lab_leave(&lab, 1);
    ck_said("1: left 0\n2: left 0\n");
    lab_leave(&lab, 1); /* again: nothing */
    ck_said("");
    lab_closed(&lab, 1);
    ck_said("");
    lab_leave(&lab, 2);
    lab_closed(&lab, 2);
    ck_said("2: left 1\nnote: over\n");
    ck_assert(dsm_member_job_is_over(lab.job));
}
END_TEST

START_TEST(a_silent_rank_dies_when_its_lease_ends)
{
    open_job(2);
    lab_run(&lab, 2);
    lab_pass(&lab, 4000);
    lab_beat(&lab, 1, 17);
    ck_said("1: reply 17\n");
    lab_pass(&lab, 999);
    ck_said("");
    lab_pass(&lab, 1);
    ck_said("2: refuse -7 rank 1 (h, pid 102) was silent for 5000 ms (lease 5000 ms)\n"
            "1: view 2 without 1: rank 1 (h, pid 102) was silent for 5000 ms (lease 5000 ms)\n"
            "note: died 1: rank 1 (h, pid 102) was silent for 5000 ms (lease 5000 ms)\n");
}
END_TEST

START_TEST(without_a_lease_silence_is_no_death)
{
    lab_open(&lab, 2, 0, false);
    lab_run(&lab, 2);
    lab_pass(&lab, 1000000);
    ck_said("");
    lab_closed(&lab, 1);
    ck_assert_ptr_nonnull(strstr(lab_take(&lab), "view 2 without 0"));
}
END_TEST

START_TEST(a_daemon_that_did_not_run_accuses_nobody)
{
    open_job(2);
    lab_run(&lab, 2);
    lab_stall(&lab, 60000);
    ck_said("");
    lab_pass(&lab, 1000);
    lab_beat(&lab, 1, 1);
    lab_take(&lab);
    lab_pass(&lab, 5000);
    ck_assert_ptr_nonnull(
        strstr(lab_take(&lab), "view 2 without 1: rank 1 (h, pid 102) was silent"));
}
END_TEST

START_TEST(all_silent_ranks_are_found_in_one_go)
{
    open_job(3);
    lab_run(&lab, 3);
    lab_pass(&lab, 4000);
    lab_beat(&lab, 2, 1);
    lab_take(&lab);
    lab_pass(&lab, 1000);
    const char *said = lab_take(&lab);
    ck_assert_ptr_nonnull(strstr(said, "2: view 2 without 0"));
    ck_assert_ptr_nonnull(strstr(said, "2: view 3 without 2"));
}
END_TEST

START_TEST(an_abort_reaches_all_others_and_ends_the_job)
{
    open_job(3);
    lab_run(&lab, 3);
    lab_abort(&lab, 2, 9);
#define WHY "rank 1 (h, pid 102) ended the job with status 9: why\n"
    ck_said("1: aborted by 1 with 9: " WHY "3: aborted by 1 with 9: " WHY
            "note: aborted by 1 with 9: " WHY);
#undef WHY
    lab_abort(&lab, 1, 3); /* too late */
    lab_closed(&lab, 2);
    lab_closed(&lab, 1);
    ck_said("");
    lab_pass(&lab, 5000); /* one does not go */
    ck_said("3: drop\nnote: over\n");
}
END_TEST

START_TEST(stopping_dsmd_aborts_the_job)
{
    open_job(1);
    lab_run(&lab, 1);
    lab_stop(&lab);
    ck_said("1: aborted by -1 with 1: dsmd is stopping\nnote: aborted by -1 with 1: dsmd is "
            "stopping\n");
}
END_TEST

START_TEST(strangers_and_the_dead_are_not_heard)
{
    open_job(1);
    lab_run(&lab, 1);
    lab_beat(&lab, 99, 1);
    lab_leave(&lab, 99);
    lab_abort(&lab, 99, 1);
    lab_answer(&lab, 99, 1, LAB_MAPPED);
    lab_answer(&lab, 1, 1, 0);
    ck_said("");
    lab_closed(&lab, 1);
    lab_take(&lab);
    lab_beat(&lab, 1, 1);
    lab_abort(&lab, 1, 1);
    ck_said("");
}
END_TEST

/* ---- managed by a launcher ----------------------------------------------------------------- */

static void open_managed(uint32_t n_ranks)
{
    lab_open(&lab, n_ranks, 5000, true);
}

START_TEST(a_death_is_told_with_its_exit_status)
{
    open_managed(2);
    lab_run(&lab, 2);
    lab_closed(&lab, 2);
    ck_said("note: lost 1\n");
    lab_exited(&lab, 1, false, "rank 1 died of signal 9 (Killed)");
    ck_said("1: view 2 without 1: rank 1 died of signal 9 (Killed)\n"
            "note: died 1: rank 1 died of signal 9 (Killed)\n");
}
END_TEST

START_TEST(an_exit_heard_before_the_connection_closes_waits_for_it)
{
    open_managed(2);
    lab_run(&lab, 2);
    lab_exited(&lab, 1, true, "rank 1 exited with status 0");
    ck_said("");
    lab_closed(&lab, 2);
    ck_said("1: view 2 without 1: rank 1 exited with status 0 without leaving the job "
            "(dsm_finalize)\n"
            "note: died 1: rank 1 exited with status 0 without leaving the job (dsm_finalize)\n");
}
END_TEST

START_TEST(an_exit_status_that_does_not_come_is_not_waited_for_long)
{
    open_managed(2);
    lab_run(&lab, 2);
    lab_closed(&lab, 1);
    lab_take(&lab);
    lab_pass(&lab, 199);
    ck_said("");
    lab_pass(&lab, 1);
    ck_said("2: view 2 without 0: rank 0 (h, pid 101) hung up without leaving the job\n"
            "note: died 0: rank 0 (h, pid 101) hung up without leaving the job\n");
}
END_TEST

START_TEST(an_exit_after_leaving_is_nothing)
{
    open_managed(2);
    lab_run(&lab, 2);
    lab_leave(&lab, 1);
    lab_take(&lab);
    lab_closed(&lab, 1);
    lab_exited(&lab, 0, true, "rank 0 exited with status 0");
    ck_said("");
}
END_TEST

START_TEST(a_process_that_ends_before_it_joins_ends_the_wait_of_the_others)
{
#define WHY "rank 1 exited with status 0 before it joined the job; the others wait for it\n"
    open_managed(2);
    lab_join(&lab, 1, 0);
    lab_exited(&lab, 1, true, "rank 1 exited with status 0");
    ck_said("1: refuse -8 " WHY "note: failed -8 " WHY);
    lab_close(&lab);
    open_managed(2); /* and when it ended first */
    lab_exited(&lab, 1, true, "rank 1 exited with status 0");
    ck_said("");
    lab_join(&lab, 1, 0);
    ck_said("1: refuse -8 " WHY "note: failed -8 " WHY "note: over\n");
#undef WHY
}
END_TEST

START_TEST(programs_that_never_join_are_nobodys_business)
{
    open_managed(2);
    lab_exited(&lab, 0, true, "rank 0 exited with status 0");
    lab_exited(&lab, 1, true, "rank 1 exited with status 0");
    lab_pass(&lab, 100000);
    ck_said("");
    ck_assert(!dsm_member_job_is_over(lab.job));
}
END_TEST

START_TEST(a_managed_job_that_is_over_takes_nobody)
{
    open_managed(1);
    lab_run(&lab, 1);
    lab_leave(&lab, 1);
    lab_closed(&lab, 1);
    ck_said("1: left 0\nnote: over\n");
    lab_join(&lab, 2, 0);
    ck_assert_ptr_nonnull(strstr(lab_take(&lab), "comes too late: the job has ended\n"));
}
END_TEST

/* ---- bases --------------------------------------------------------------------------------- */

START_TEST(every_default_base_is_possible_and_proposed_once)
{
    static const uint64_t sizes[] = {1 << 20, 64ull << 30, 1ull << 40, 16ull << 40};
    for (unsigned i = 0; i < 4; i++) {
        struct dsm_base_search search;
        uint64_t base, last[DSM_BASE_MAX_CANDIDATES], n = 0;
        dsm_base_search_init(&search, sizes[i], 0);
        while ((base = dsm_base_search_next(&search))) {
            ck_assert(dsm_base_is_possible(base, sizes[i]));
            for (uint64_t j = 0; j < n; j++)
                ck_assert_uint_ne(base, last[j]);
            last[n++] = base;
        }
        ck_assert_uint_ge(n, 2);
        ck_assert_uint_eq(last[0], 0x200000000000);
    }
}
END_TEST

START_TEST(suggestions_come_next_aligned_and_once)
{
    struct dsm_base_search search;
    dsm_base_search_init(&search, 1 << 20, 0);
    dsm_base_search_next(&search);
    dsm_base_search_suggest(&search, 0x500000000001);
    dsm_base_search_suggest(&search, 0x500000200000); /* the same, aligned */
    dsm_base_search_suggest(&search, 0x200000000000); /* known */
    dsm_base_search_suggest(&search, 0x1000);         /* too low */
    dsm_base_search_suggest(&search, UINT64_MAX);     /* too high */
    dsm_base_search_suggest(&search, 0x7fffffe00001); /* no room above */
    ck_assert_uint_eq(dsm_base_search_next(&search), 0x500000200000);
    ck_assert_uint_eq(dsm_base_search_next(&search), 0x400000000000);
    for (uint64_t i = 1; i < 100; i++)
        dsm_base_search_suggest(&search, 0x600000000000 + (i << 21));
    unsigned n = 0;
    while (dsm_base_search_next(&search))
        n++;
    ck_assert_uint_eq(n, DSM_BASE_MAX_CANDIDATES - 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("member");
    TCase *forming = tcase_create("forming"), *running = tcase_create("running");
    TCase *managed = tcase_create("managed"), *bases = tcase_create("bases");
    tcase_add_checked_fixture(forming, NULL, close_lab);
    tcase_add_checked_fixture(running, NULL, close_lab);
    tcase_add_checked_fixture(managed, NULL, close_lab);
    tcase_add_test(forming, a_complete_job_agrees_the_base_and_starts);
    tcase_add_test(forming, ranks_without_a_number_take_the_free_ones_in_order_of_joining);
    tcase_add_test(forming, ranks_of_one_host_are_told_so);
    tcase_add_test(forming, a_base_that_one_rank_cannot_map_gives_way_to_what_it_offers);
    tcase_add_test(forming, a_base_the_user_chose_is_the_only_one_tried);
    tcase_add_test(forming, a_base_that_cannot_be_is_refused_with_what_is_allowed);
    tcase_add_test(forming, ranks_that_want_different_bases_are_both_named);
    tcase_add_loop_test(forming, a_rank_of_another_kind_ends_the_job_with_one_line, 0,
                        sizeof mismatches / sizeof mismatches[0]);
    tcase_add_test(forming, the_best_transport_that_every_rank_has_is_taken);
    tcase_add_test(forming, a_transport_that_one_rank_has_not_is_not_taken);
    tcase_add_test(forming, a_transport_by_which_ranks_are_apart_is_not_taken);
    tcase_add_test(forming, a_transport_that_is_wanted_is_taken_also_across_networks);
    tcase_add_test(forming, a_rank_without_the_wanted_transport_ends_the_job_with_its_reason);
    tcase_add_test(forming, ranks_that_want_different_transports_are_both_named);
    tcase_add_test(forming, a_rank_that_lists_no_transport_has_that_of_its_address);
    tcase_add_test(forming, a_number_that_is_taken_is_refused_and_the_job_goes_on);
    tcase_add_test(forming, a_rank_too_many_is_refused_and_the_job_goes_on);
    tcase_add_test(forming, a_job_that_is_not_complete_in_time_names_the_missing);
    tcase_add_test(forming, missing_ranks_have_no_numbers_when_the_others_have_none);
    tcase_add_test(forming, a_rank_that_does_not_say_whether_it_can_map_is_named);
    tcase_add_test(forming, a_rank_that_goes_before_the_job_is_complete_may_be_replaced);
    tcase_add_test(forming, a_rank_that_goes_while_the_base_is_agreed_ends_the_job);
    tcase_add_test(running, a_closed_connection_is_a_death_at_once);
    tcase_add_test(running, a_rank_that_left_is_no_death);
    tcase_add_test(running, a_silent_rank_dies_when_its_lease_ends);
    tcase_add_test(running, without_a_lease_silence_is_no_death);
    tcase_add_test(running, a_daemon_that_did_not_run_accuses_nobody);
    tcase_add_test(running, all_silent_ranks_are_found_in_one_go);
    tcase_add_test(running, an_abort_reaches_all_others_and_ends_the_job);
    tcase_add_test(running, stopping_dsmd_aborts_the_job);
    tcase_add_test(running, strangers_and_the_dead_are_not_heard);
    tcase_add_test(managed, a_death_is_told_with_its_exit_status);
    tcase_add_test(managed, an_exit_heard_before_the_connection_closes_waits_for_it);
    tcase_add_test(managed, an_exit_status_that_does_not_come_is_not_waited_for_long);
    tcase_add_test(managed, an_exit_after_leaving_is_nothing);
    tcase_add_test(managed, a_process_that_ends_before_it_joins_ends_the_wait_of_the_others);
    tcase_add_test(managed, programs_that_never_join_are_nobodys_business);
    tcase_add_test(managed, a_managed_job_that_is_over_takes_nobody);
    tcase_add_test(bases, every_default_base_is_possible_and_proposed_once);
    tcase_add_test(bases, suggestions_come_next_aligned_and_once);
    suite_add_tcase(suite, forming);
    suite_add_tcase(suite, running);
    suite_add_tcase(suite, managed);
    suite_add_tcase(suite, bases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
