/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_refusal_test.c - messages that no correct peer sends are refused and change nothing; messages
 * that come too late are thrown away; wrong arguments and full memory are answered.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/errors.h"
#include "core/trace.h"
#include "tests/sim/world.h"

#define N_RANKS      3
#define OWNED_BY_2   0u /* home 0; rank 1 shares it */
#define ASKED_BY_1   1u /* home 0; rank 1's read is under way */
#define UPGRADE_BY_1 2u /* home 0; rank 2 owns it, rank 1 shares it and wants to write */

static struct sim_world *w;
static struct dsm_message m;

static void set_up(void)
{
    struct sim_config config;

    sim_config_init_steady(&config, N_RANKS, 64);
    w = sim_open(&config);
    sim_write(w, 2, OWNED_BY_2);
    sim_write(w, 2, ASKED_BY_1);
    sim_write(w, 2, UPGRADE_BY_1);
    ck_assert(sim_run(w, UINT64_MAX));
    sim_read(w, 1, OWNED_BY_2);
    sim_read(w, 1, UPGRADE_BY_1);
    ck_assert(sim_run(w, UINT64_MAX));
    sim_block(w, 2, 1, DSM_LANE_REPLY);
    sim_read(w, 1, ASKED_BY_1);
    sim_write(w, 1, UPGRADE_BY_1);
    ck_assert(sim_run(w, UINT64_MAX));
    sim_transcript(w);
}

static void tear_down(void)
{
    sim_close(w);
}

/* What the step answers, having checked that a refusal changes not one byte of the state. */
static int hand_in(dsm_rank_t to)
{
    const struct dsm_core *core = sim_core(w, to);
    size_t bytes = dsm_core_used_bytes(core);
    void *before = malloc(bytes);
    int error;

    memcpy(before, core, bytes);
    error = sim_forge(w, to, &m);
    if (error)
        ck_assert(dsm_core_used_bytes(core) == bytes && memcmp(before, core, bytes) == 0);
    free(before);
    return error;
}

/* The message as a correct peer would send it, with `change` made to it, is refused by `to`. */
#define REFUSES(to, start, change)                                                                 \
    do {                                                                                           \
        char text[200];                                                                            \
        start;                                                                                     \
        change;                                                                                    \
        dsm_trace_message(&m, text, sizeof text);                                                  \
        ck_assert_msg(hand_in(to) == DSM_E_PROTO, "not refused: %s (%s)", text, #change);          \
    } while (0)

static void request(void)
{
    sim_message_init(w, &m, 1, DSM_MSG_REQUEST, 5);
    m.access = DSM_ACCESS_READ;
    m.count = 1;
    m.request = 900;
}

static void forward(void)
{
    sim_message_init(w, &m, 0, DSM_MSG_FORWARD, OWNED_BY_2);
    m.access = DSM_ACCESS_READ;
    m.peer = 1;
    m.txn = 9;
    m.prior = 1;
    m.request = 900;
}

static void invalidate(void)
{
    sim_message_init(w, &m, 0, DSM_MSG_INVALIDATE, OWNED_BY_2);
    m.peer = 2;
    m.txn = 9;
    m.prior = 2;
    m.request = 900;
}

/* Of what rank 1 asked for first and second: their request numbers follow from the story. */
static void grant(void)
{
    sim_message_init(w, &m, 2, DSM_MSG_GRANT, ASKED_BY_1);
    m.access = DSM_ACCESS_READ;
    m.txn = 2;
    m.request = 3;
    m.len = m.room = DSM_PAGE_BYTES;
}

static void ack(void)
{
    sim_message_init(w, &m, 0, DSM_MSG_ACK, UPGRADE_BY_1);
    m.txn = 3;
    m.request = 4;
}

START_TEST(stories_start_from_what_they_say)
{
    struct dsm_core_unit_info info;

    dsm_core_inspect(sim_core(w, 2), OWNED_BY_2, &info);
    ck_assert(info.is_owner && info.access == DSM_ACCESS_READ);
    dsm_core_inspect(sim_core(w, 1), ASKED_BY_1, &info);
    ck_assert(info.is_pending && info.access == DSM_ACCESS_NONE);
    dsm_core_inspect(sim_core(w, 1), UPGRADE_BY_1, &info);
    ck_assert(info.is_pending && info.access == DSM_ACCESS_READ);
    /* Unchanged they are all taken: so it is the changes that are refused. */
    grant();
    ck_assert_int_eq(hand_in(1), 0);
    ck_assert_ptr_nonnull(strstr(sim_transcript(w), "1 receives 1"));
    forward();
    ck_assert_int_eq(hand_in(2), 0);
    invalidate();
    ck_assert_int_eq(hand_in(1), 0);
    request();
    ck_assert_int_eq(hand_in(0), 0);
    ack();
    ck_assert_int_eq(hand_in(1), 0);
}
END_TEST

START_TEST(senders_and_types_that_cannot_be)
{
    REFUSES(0, request(), m.from = N_RANKS);
    REFUSES(0, request(), m.from = 0);
    REFUSES(0, request(), m.type = DSM_MSG_NONE);
    REFUSES(0, request(), m.type = DSM_MSG_N_TYPES);
    REFUSES(0, request(), m.type = DSM_MSG_HEAP_ASK); /* the runtime's own */
}
END_TEST

START_TEST(requests_that_cannot_be)
{
    REFUSES(0, request(), m.object = 64);
    REFUSES(0, request(), m.object = UINT64_MAX);
    REFUSES(0, request(), m.count = 0);
    REFUSES(0, request(), m.count = DSM_RUN_MAX_UNITS + 1);
    REFUSES(2, request(), (m.object = 40, m.count = 30));
    REFUSES(0, request(), m.access = DSM_ACCESS_NONE);
    REFUSES(0, request(), m.access = 4);
    REFUSES(0, request(), m.request = 0);
    REFUSES(0, request(), m.access = DSM_ACCESS_OWN); /* by whom was it offered? */
}
END_TEST

START_TEST(orders_that_cannot_be)
{
    REFUSES(2, forward(), m.object = 9); /* never touched there */
    REFUSES(2, forward(), m.from = 1);   /* not the home */
    REFUSES(2, forward(), m.prior = 0);
    REFUSES(2, forward(), m.prior = 9);
    REFUSES(2, forward(), m.prior = 8); /* no grant is on its way */
    REFUSES(2, forward(), m.peer = 2);
    REFUSES(2, forward(), m.peer = N_RANKS);
    REFUSES(2, forward(), m.acks = N_RANKS);
    REFUSES(2, forward(), m.access = DSM_ACCESS_NONE);
    REFUSES(2, forward(), m.access = 4);
    REFUSES(1, forward(), (m.peer = 2, m.prior = 2));    /* rank 1 is no owner */
    REFUSES(2, invalidate(), (m.peer = 1, m.prior = 1)); /* rank 2 is the owner */
    REFUSES(1, invalidate(), m.from = 2);
    REFUSES(1, invalidate(), m.txn = 2);
}
END_TEST

START_TEST(grants_that_cannot_be)
{
    REFUSES(1, grant(), m.access = DSM_ACCESS_WRITE);
    REFUSES(1, grant(), m.txn = 0);
    REFUSES(1, grant(), m.acks = 1);
    REFUSES(1, grant(), m.acks = N_RANKS);
    REFUSES(1, grant(), m.len = 0);
    REFUSES(1, grant(), m.len = 100);
    REFUSES(1, grant(), m.len = 2 * DSM_PAGE_BYTES);
    REFUSES(1, grant(), m.room = 2 * DSM_PAGE_BYTES);
    REFUSES(1, grant(), m.offset = DSM_PAGE_BYTES);
    REFUSES(1, grant(), m.flags = DSM_MSG_F_ZERO);
    REFUSES(1, grant(), (m.flags = DSM_MSG_F_ZERO, m.len = 0)); /* not from the home */
    REFUSES(1, grant(), (m.flags = DSM_MSG_F_NO_BYTES, m.len = 0));
    /* Bytes for a page that the program can see. */
    REFUSES(1, grant(), (m.object = UPGRADE_BY_1, m.request = 4, m.access = DSM_ACCESS_WRITE));
}
END_TEST

START_TEST(acknowledgements_and_refusals_that_cannot_be)
{
    REFUSES(1, ack(), (m.object = ASKED_BY_1, m.request = 3)); /* a reader awaits none */
    REFUSES(1, ack(), m.txn = 1);
    REFUSES(1, ack(), (m.type = DSM_MSG_REFUSE, m.from = 2, m.access = DSM_ACCESS_WRITE));
    REFUSES(1, ack(), (m.type = DSM_MSG_REFUSE, m.access = DSM_ACCESS_READ));
    /* No more of them than there are other ranks. */
    ack();
    ck_assert_int_eq(hand_in(1), 0);
    ck_assert_int_eq(hand_in(1), 0);
    REFUSES(1, ack(), (void)0);
}
END_TEST

START_TEST(offers_that_cannot_be)
{
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_OFFER, 5), m.count = 0);
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_OFFER, 5), m.count = DSM_RUN_MAX_UNITS + 1);
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_OFFER, 60), m.count = 5);
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_OFFER, 64), m.count = 1);
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_OFFER_REPLY, 5), m.count = 1);
}
END_TEST

START_TEST(lock_messages_that_cannot_be)
{
    dsm_rank_t to, refused = 0;

    for (to = 0; to < N_RANKS; to++) {
        sim_message_init(w, &m, (to + 1) % N_RANKS, DSM_MSG_LOCK_ACQUIRE, 5);
        refused += hand_in(to) == DSM_E_PROTO;
        REFUSES(to, sim_message_init(w, &m, (to + 1) % N_RANKS, DSM_MSG_LOCK_GRANT, 6), (void)0);
        REFUSES(to, sim_message_init(w, &m, (to + 1) % N_RANKS, DSM_MSG_LOCK_FORWARD, 6),
                m.peer = (to + 2) % N_RANKS);
    }
    ck_assert_uint_eq(refused, N_RANKS - 1); /* all but the lock's manager */
}
END_TEST

START_TEST(questions_and_answers_about_objects_that_cannot_be)
{
    uint32_t take = DSM_SYNC_OP_TAKE, semaphore = DSM_SYNC_SEMAPHORE << 8;

    /* Without a question; an operation that the kind has not, that is none, a kind that is none. */
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_SYNC_ANSWER, 8), m.request = 1);
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_SYNC_ASK, 8),
            m.acks = take | DSM_SYNC_BARRIER << 8);
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_SYNC_ASK, 8),
            m.acks = DSM_SYNC_N_OPS | semaphore);
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_SYNC_ASK, 8),
            m.acks = take | DSM_SYNC_N_KINDS << 8);
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_SYNC_ASK, 8),
            m.acks = DSM_SYNC_OP_DESTROY | semaphore);
    /* A name outside the region; no answer wanted to what has one. */
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_SYNC_ASK, UINT64_MAX), m.acks = take | semaphore);
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_SYNC_ASK, 8),
            (m.acks = take | semaphore, m.flags = DSM_MSG_F_ASYNC));
    REFUSES(0, sim_message_init(w, &m, 1, DSM_MSG_LOCK_BUSY, 6), (void)0);
}
END_TEST

START_TEST(collective_messages_that_cannot_be)
{
    REFUSES(0, sim_message_init(w, &m, 2, DSM_MSG_COLLECTIVE, 0), (m.txn = 1, m.count = 4));
    REFUSES(0, sim_message_init(w, &m, 2, DSM_MSG_COLLECTIVE, 0), m.txn = 0);
    REFUSES(0, sim_message_init(w, &m, 2, DSM_MSG_COLLECTIVE, 0), m.txn = 2);
    sim_message_init(w, &m, 2, DSM_MSG_COLLECTIVE, 0);
    m.txn = 1;
    ck_assert_int_eq(hand_in(0), 0);
    ck_assert_int_eq(hand_in(0), DSM_E_PROTO); /* twice */
}
END_TEST

START_TEST(drop_messages_that_cannot_be)
{
    REFUSES(1, sim_message_init(w, &m, 0, DSM_MSG_DROP_BEGIN, 32), (m.txn = 1, m.count = 0));
    REFUSES(1, sim_message_init(w, &m, 0, DSM_MSG_DROP_BEGIN, 32), (m.txn = 1, m.count = 33));
    REFUSES(1, sim_message_init(w, &m, 0, DSM_MSG_DROP_BEGIN, 64), (m.txn = 1, m.count = 1));
    REFUSES(1, sim_message_init(w, &m, 0, DSM_MSG_DROP_CLEAR, 32), (m.txn = 1, m.count = 4));
    REFUSES(1, sim_message_init(w, &m, 0, DSM_MSG_DROP_DONE, 32), (m.txn = 1, m.count = 4));
    sim_message_init(w, &m, 0, DSM_MSG_DROP_BEGIN, 32);
    m.txn = 1;
    m.count = 4;
    ck_assert_int_eq(hand_in(1), 0);
    ck_assert_int_eq(hand_in(1), DSM_E_PROTO);
    REFUSES(1, sim_message_init(w, &m, 2, DSM_MSG_DROP_BEGIN, 34), (m.txn = 5, m.count = 4));
    REFUSES(1, sim_message_init(w, &m, 0, DSM_MSG_DROP_CLEAR, 32), (m.txn = 1, m.count = 5));
}
END_TEST

static uint64_t dropped_at(dsm_rank_t rank)
{
    struct dsm_core_counters counters;

    dsm_core_counters(sim_core(w, rank), &counters);
    return counters.messages_dropped;
}

START_TEST(what_comes_from_another_epoch_or_job_or_too_late_is_thrown_away)
{
    uint64_t before = dropped_at(1);

    grant();
    m.epoch = 2;
    ck_assert_int_eq(hand_in(1), 0);
    ck_assert_str_eq(sim_transcript(w), "1 discards the bytes of 1\n");
    grant();
    m.job = 1;
    ck_assert_int_eq(hand_in(1), 0);
    ck_assert_str_eq(sim_transcript(w), "1 discards the bytes of 1\n");
    grant();
    m.request = 2; /* answered long ago */
    ck_assert_int_eq(hand_in(1), 0);
    ck_assert_str_eq(sim_transcript(w), "1 discards the bytes of 1\n");
    ack();
    m.request = 2;
    ck_assert_int_eq(hand_in(1), 0);
    m.type = DSM_MSG_REFUSE;
    ck_assert_int_eq(hand_in(1), 0);
    ck_assert_uint_eq(dropped_at(1), before + 5);
}
END_TEST

START_TEST(what_comes_from_a_lost_rank_is_thrown_away)
{
    struct dsm_event event = {.type = DSM_EVENT_VIEW, .view.rank = 2};
    struct dsm_action_list actions = {.capacity = dsm_core_max_actions(sim_core(w, 1))};

    actions.items = calloc(actions.capacity, sizeof *actions.items);
    ck_assert_int_eq(dsm_core_step((struct dsm_core *)(uintptr_t)sim_core(w, 1), &event, &actions),
                     0);
    free(actions.items);
    grant();
    ck_assert_int_eq(hand_in(1), 0);
    ck_assert_str_eq(sim_transcript(w), "1 discards the bytes of 1\n");
}
END_TEST

START_TEST(unit_that_the_home_does_not_know_so_is_refused_to_the_asker)
{
    request();
    m.object = 20; /* home 1 */
    ck_assert_int_eq(hand_in(0), 0);
    ck_assert_str_eq(sim_transcript(w), "0 sends 1: REFUSE read 20\n");
}
END_TEST

/* ---- arguments and memory */

static struct dsm_placement_table *placement;

static int try_init(struct dsm_core_config config, void *memory)
{
    struct dsm_core *core;

    config.placement = placement;
    return dsm_core_init(memory, &config, &core);
}

START_TEST(wrong_configurations_are_refused)
{
    struct dsm_core_config good = {.n_ranks = 2, .n_pages = 16, .memory_bytes = 1 << 20}, bad;
    void *memory = aligned_alloc(4096, 1 << 20);

    memset(memory, 0, 1 << 20);
    ck_assert_int_eq(dsm_placement_init(&placement, 2), 0);
#define WRONG(change, expected)                                                                    \
    do {                                                                                           \
        bad = good;                                                                                \
        bad.change;                                                                                \
        ck_assert_int_eq(try_init(bad, memory), expected);                                         \
    } while (0)
    WRONG(n_ranks = 0, DSM_E_INVAL);
    WRONG(n_ranks = DSM_RANKS_MAX + 1, DSM_E_INVAL);
    WRONG(self = 2, DSM_E_INVAL);
    WRONG(n_pages = 0, DSM_E_INVAL);
    WRONG(n_pages = ((uint64_t)1 << 32) + 1, DSM_E_INVAL);
    WRONG(memory_bytes = 1000, DSM_E_NOMEM);
    bad = good;
    bad.placement = NULL;
    ck_assert_uint_eq(dsm_core_memory_bytes(&bad), 0);
    ck_assert_int_eq(try_init(good, (char *)memory + 8), DSM_E_INVAL);
    ck_assert_int_eq(try_init(good, memory), 0);
    dsm_placement_close(placement);
    free(memory);
}
END_TEST

START_TEST(full_memory_is_an_answer_and_changes_nothing)
{
    struct dsm_core_config config = {.n_ranks = 2, .n_pages = 1 << 16};
    struct dsm_action_list actions = {0};
    struct dsm_event event = {.type = DSM_EVENT_FAULT, .fault.access = DSM_ACCESS_READ};
    struct dsm_core *core;
    void *memory;
    size_t used;
    int error = 0;

    ck_assert_int_eq(dsm_placement_init(&placement, 2), 0);
    config.placement = placement;
    memory = calloc(1, 64 << 20);
    /* The least that init takes, most of it for the tables, and a little more. */
    while (try_init(config, (void *)DSM_ALIGN_UP((uintptr_t)memory, 4096)) == DSM_E_NOMEM ||
           config.memory_bytes == 0)
        config.memory_bytes += 65536;
    config.memory_bytes += 65536;
    memset(memory, 0, 64 << 20);
    ck_assert_int_eq(dsm_core_init((void *)DSM_ALIGN_UP((uintptr_t)memory, 4096), &config, &core),
                     0);
    actions.capacity = dsm_core_max_actions(core);
    actions.items = calloc(actions.capacity, sizeof *actions.items);
    while (!error) {
        used = dsm_core_used_bytes(core);
        actions.n = 0;
        error = dsm_core_step(core, &event, &actions);
        event.fault.page++;
    }
    ck_assert_int_eq(error, DSM_E_NOMEM);
    ck_assert_uint_gt(event.fault.page, 100);
    ck_assert_uint_eq(dsm_core_used_bytes(core), used);
    ck_assert_uint_eq(actions.n, 0);
    free(actions.items);
    free(memory);
    dsm_placement_close(placement);
}
END_TEST

START_TEST(wrong_events_are_refused)
{
    struct dsm_core *core = (struct dsm_core *)(uintptr_t)sim_core(w, 0);
    struct dsm_action_list actions = {.capacity = dsm_core_max_actions(core)};
    struct dsm_event fault = {.type = DSM_EVENT_FAULT, .fault = {.page = 64, .access = 1}};
    struct dsm_event prefetch = {.type = DSM_EVENT_PREFETCH, .prefetch = {60, 5, 1, 0, false}};
    struct dsm_event drop = {.type = DSM_EVENT_DROP, .drop = {60, 5, 1}};
    struct dsm_event view = {.type = DSM_EVENT_VIEW, .view.rank = 0};
    struct dsm_event enter = {.type = DSM_EVENT_COLLECTIVE,
                              .collective = {.n_members = N_RANKS, .self_index = 0}};

    actions.items = calloc(actions.capacity, sizeof *actions.items);
    ck_assert_int_eq(dsm_core_step(core, &fault, &actions), DSM_E_INVAL);
    fault.fault.page = 3;
    fault.fault.access = DSM_ACCESS_OWN;
    ck_assert_int_eq(dsm_core_step(core, &fault, &actions), DSM_E_INVAL);
    ck_assert_int_eq(dsm_core_step(core, &prefetch, &actions), DSM_E_INVAL);
    ck_assert_int_eq(dsm_core_step(core, &drop, &actions), DSM_E_INVAL);
    ck_assert_int_eq(dsm_core_step(core, &view, &actions), DSM_E_INVAL);
    ck_assert_int_eq(dsm_core_step(core, &enter, &actions), 0);
    actions.n = 0;
    ck_assert_int_eq(dsm_core_step(core, &enter, &actions), DSM_E_BUSY);
    actions.n = 1; /* not all the room that was promised */
    fault.fault.access = DSM_ACCESS_READ;
    ck_assert_int_eq(dsm_core_step(core, &fault, &actions), DSM_E_INVAL);
    free(actions.items);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("refusals");
    TCase *tc = tcase_create("messages"), *args = tcase_create("arguments");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, stories_start_from_what_they_say);
    tcase_add_test(tc, senders_and_types_that_cannot_be);
    tcase_add_test(tc, requests_that_cannot_be);
    tcase_add_test(tc, orders_that_cannot_be);
    tcase_add_test(tc, grants_that_cannot_be);
    tcase_add_test(tc, acknowledgements_and_refusals_that_cannot_be);
    tcase_add_test(tc, offers_that_cannot_be);
    tcase_add_test(tc, lock_messages_that_cannot_be);
    tcase_add_test(tc, questions_and_answers_about_objects_that_cannot_be);
    tcase_add_test(tc, collective_messages_that_cannot_be);
    tcase_add_test(tc, drop_messages_that_cannot_be);
    tcase_add_test(tc, what_comes_from_another_epoch_or_job_or_too_late_is_thrown_away);
    tcase_add_test(tc, what_comes_from_a_lost_rank_is_thrown_away);
    tcase_add_test(tc, unit_that_the_home_does_not_know_so_is_refused_to_the_asker);
    tcase_add_test(tc, wrong_events_are_refused);
    tcase_add_test(args, wrong_configurations_are_refused);
    tcase_add_test(args, full_memory_is_an_answer_and_changes_nothing);
    suite_add_tcase(suite, tc);
    suite_add_tcase(suite, args);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
