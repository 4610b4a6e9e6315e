/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_transcript_test.c - each protocol rule as a short story: who does what, and what is decided.
 *
 * Page p has its home at rank p / 16 % n; every message takes 1,000 ns unless its lane is blocked.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/errors.h"
#include "core/trace.h"
#include "tests/sim/world.h"

#define HOME0 0
#define HOME1 16
#define HOME2 32

static struct sim_world *open_world(uint32_t n_ranks)
{
    struct sim_config config;

    sim_config_init_steady(&config, n_ranks, 64);
    return sim_open(&config);
}

static struct sim_world *open_world_with(uint32_t n_ranks, uint64_t hold_ns, uint64_t frame_limit)
{
    struct sim_config config;

    sim_config_init_steady(&config, n_ranks, 64);
    config.hold_ns = hold_ns;
    config.frame_limit = frame_limit;
    return sim_open(&config);
}

static struct sim_op lock_op(enum sim_op_kind kind, uint64_t id)
{
    return (struct sim_op){.kind = kind, .id = id};
}

static struct sim_op collective_op(enum dsm_collective_kind kind, uint32_t root)
{
    return (struct sim_op){.kind = SIM_OP_COLLECTIVE, .collective = kind, .root = root};
}

/* One instruction that stores to both pages. */
static struct sim_op wide_op(dsm_page_t first, dsm_page_t second)
{
    return (struct sim_op){.kind = SIM_OP_ACCESS,
                           .n_pages = 2,
                           .pages = {first, second},
                           .writes = {true, true},
                           .ip = 77};
}

static void run(struct sim_world *w)
{
    if (!sim_run(w, UINT64_MAX))
        ck_abort_msg("%s", sim_error(w));
}

/* What happened so far is no part of the story. */
static void forget(struct sim_world *w)
{
    run(w);
    sim_transcript(w);
}

static void expect(struct sim_world *w, const char *story)
{
    const char *happened = sim_transcript(w);

    if (strcmp(happened, story) != 0)
        ck_abort_msg("expected:\n%s\nhappened:\n%s", story, happened);
}

static void run_and_expect(struct sim_world *w, const char *story)
{
    run(w);
    expect(w, story);
}

START_TEST(never_written_page_is_granted_by_the_home_without_bytes)
{
    struct sim_world *w = open_world(3);

    sim_read(w, 1, HOME0);
    run_and_expect(w, "1 faults: read 0\n"
                      "1 sends 0: REQUEST read 0\n"
                      "0 sends 1: GRANT read 0, txn 1, zero\n"
                      "1 maps zero 0 for reading\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(first_writer_becomes_the_owner_and_zero_copies_go)
{
    struct sim_world *w = open_world(3);

    sim_read(w, 1, HOME0);
    forget(w);
    sim_write(w, 2, HOME0);
    run_and_expect(w, "2 faults: write 0\n"
                      "2 sends 0: REQUEST write 0\n"
                      "0 sends 1: INVALIDATE 0 for 2, txn 2 after 1\n"
                      "0 sends 2: GRANT write 0, txn 2, 1 acks, zero\n"
                      "1 unmaps 0\n"
                      "1 sends 2: ACK 0, txn 2\n"
                      "2 maps zero 0 for writing\n"
                      "2 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(zero_copy_is_upgraded_where_it_is)
{
    struct sim_world *w = open_world(3);

    sim_read(w, 1, HOME0);
    forget(w);
    sim_write(w, 1, HOME0);
    run_and_expect(w, "1 faults: write 0\n"
                      "1 sends 0: REQUEST write 0, has a copy\n"
                      "0 sends 1: GRANT write 0, txn 2, no bytes\n"
                      "1 maps 0 for writing\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(own_page_needs_no_message)
{
    struct sim_world *w = open_world(3);

    sim_write(w, 1, HOME1);
    run_and_expect(w, "1 faults: write 16\n"
                      "1 maps zero 16 for writing\n"
                      "1 wakes the threads at 16\n");
    sim_close(w);
}
END_TEST

START_TEST(owner_is_downgraded_and_sends_straight_to_the_reader)
{
    struct sim_world *w = open_world(3);

    sim_write(w, 2, HOME0);
    forget(w);
    sim_read(w, 1, HOME0);
    run_and_expect(w, "1 faults: read 0\n"
                      "1 sends 0: REQUEST read 0\n"
                      "0 sends 2: FORWARD read 0 for 1, txn 2 after 1\n"
                      "2 downgrades 0\n"
                      "2 sends 1: GRANT read 0, txn 2, 4096 bytes\n"
                      "1 receives 0\n"
                      "1 maps 0 for reading\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(home_that_owns_answers_in_two_hops)
{
    struct sim_world *w = open_world(3);

    sim_write(w, 0, HOME0);
    forget(w);
    sim_read(w, 1, HOME0);
    run_and_expect(w, "1 faults: read 0\n"
                      "1 sends 0: REQUEST read 0\n"
                      "0 downgrades 0\n"
                      "0 sends 1: GRANT read 0, txn 2, 4096 bytes\n"
                      "1 receives 0\n"
                      "1 maps 0 for reading\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(reader_is_invalidated_before_the_writer_is_granted)
{
    struct sim_world *w = open_world(4);

    sim_write(w, 0, HOME0);
    run(w);
    sim_read(w, 1, HOME0);
    run(w);
    sim_read(w, 2, HOME0);
    forget(w);
    sim_write(w, 3, HOME0);
    run_and_expect(w, "3 faults: write 0\n"
                      "3 sends 0: REQUEST write 0\n"
                      "0 sends 1: INVALIDATE 0 for 3, txn 4 after 2\n"
                      "0 sends 2: INVALIDATE 0 for 3, txn 4 after 3\n"
                      "0 unmaps 0\n"
                      "0 sends 3: GRANT write 0, txn 4, 2 acks, 4096 bytes\n"
                      "1 unmaps 0\n"
                      "2 unmaps 0\n"
                      "3 receives 0\n"
                      "1 sends 3: ACK 0, txn 4\n"
                      "2 sends 3: ACK 0, txn 4\n"
                      "3 maps 0 for writing\n"
                      "3 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(upgrade_moves_no_bytes)
{
    struct sim_world *w = open_world(3);

    sim_write(w, 2, HOME0);
    run(w);
    sim_read(w, 1, HOME0);
    forget(w);
    sim_write(w, 1, HOME0);
    run_and_expect(w, "1 faults: write 0\n"
                      "1 sends 0: REQUEST write 0, has a copy\n"
                      "0 sends 2: FORWARD write 0 for 1, txn 3 after 1, no bytes\n"
                      "2 unmaps 0\n"
                      "2 sends 1: GRANT write 0, txn 3, no bytes\n"
                      "1 maps 0 for writing\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(owner_that_was_downgraded_is_upgraded_by_the_home)
{
    struct sim_world *w = open_world(3);

    sim_write(w, 2, HOME0);
    run(w);
    sim_read(w, 1, HOME0);
    forget(w);
    sim_write(w, 2, HOME0);
    run_and_expect(w, "2 faults: write 0\n"
                      "2 sends 0: REQUEST write 0, has a copy\n"
                      "0 sends 1: INVALIDATE 0 for 2, txn 3 after 2\n"
                      "0 sends 2: GRANT write 0, txn 3, 1 acks, no bytes\n"
                      "1 unmaps 0\n"
                      "1 sends 2: ACK 0, txn 3\n"
                      "2 maps 0 for writing\n"
                      "2 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

/* Rank 2 writes, rank 1 reads and then writes: from now on a reader is granted the only copy. */
static struct sim_world *open_world_that_migrates(void)
{
    struct sim_config config;
    struct sim_world *w;

    sim_config_init_steady(&config, 3, 64);
    config.has_migration = true;
    w = sim_open(&config);
    sim_write(w, 2, HOME0);
    run(w);
    sim_read(w, 1, HOME0);
    run(w);
    sim_write(w, 1, HOME0);
    forget(w);
    return w;
}

static struct dsm_core_counters counters_of(const struct sim_world *w, dsm_rank_t rank)
{
    struct dsm_core_counters counters;

    dsm_core_counters(sim_core(w, rank), &counters);
    return counters;
}

START_TEST(page_that_migrates_is_granted_exclusively_at_the_read)
{
    struct sim_world *w = open_world_that_migrates();

    sim_read(w, 2, HOME0);
    run_and_expect(w, "2 faults: read 0\n"
                      "2 sends 0: REQUEST read 0\n"
                      "0 sends 1: FORWARD read 0 for 2, txn 4 after 3, exclusive\n"
                      "1 unmaps 0\n"
                      "1 sends 2: GRANT read 0, txn 4, 4096 bytes, exclusive\n"
                      "2 receives 0\n"
                      "2 maps 0 for reading\n"
                      "2 wakes the threads at 0\n");
    sim_write(w, 2, HOME0);
    run_and_expect(w, "2 faults: write 0\n"
                      "2 maps 0 for writing\n"
                      "2 wakes the threads at 0\n");
    ck_assert_uint_eq(counters_of(w, 0).migratory_found, 1);
    ck_assert_uint_eq(counters_of(w, 2).migratory_reads, 1);
    ck_assert_uint_eq(counters_of(w, 2).migratory_writes, 1);
    /* Written: it goes on so. */
    sim_read(w, 1, HOME0);
    run(w);
    ck_assert_uint_eq(counters_of(w, 0).migratory_undone, 0);
    ck_assert_uint_eq(counters_of(w, 1).migratory_reads, 1);
    sim_close(w);
}
END_TEST

START_TEST(page_that_is_handed_over_unwritten_does_not_migrate_any_more)
{
    struct sim_world *w = open_world_that_migrates();

    sim_read(w, 2, HOME0);
    forget(w);
    sim_read(w, 1, HOME0);
    run_and_expect(w, "1 faults: read 0\n"
                      "1 sends 0: REQUEST read 0\n"
                      "0 sends 2: FORWARD read 0 for 1, txn 5 after 4, exclusive\n"
                      "2 sends 0: UNWRITTEN 0\n"
                      "2 unmaps 0\n"
                      "2 sends 1: GRANT read 0, txn 5, 4096 bytes, exclusive\n"
                      "1 receives 0\n"
                      "1 maps 0 for reading\n"
                      "1 wakes the threads at 0\n");
    ck_assert_uint_eq(counters_of(w, 0).migratory_undone, 1);
    sim_read(w, 2, HOME0);
    run_and_expect(w, "2 faults: read 0\n"
                      "2 sends 0: REQUEST read 0\n"
                      "0 sends 1: FORWARD read 0 for 2, txn 6 after 5\n"
                      "1 sends 2: GRANT read 0, txn 6, 4096 bytes\n"
                      "2 receives 0\n"
                      "2 maps 0 for reading\n"
                      "2 wakes the threads at 0\n");
    /* Rank 1 had the only copy, unwritten; now it is not the only one. */
    sim_write(w, 1, HOME0);
    run_and_expect(w, "1 faults: write 0\n"
                      "1 sends 0: REQUEST write 0, has a copy\n"
                      "0 sends 2: INVALIDATE 0 for 1, txn 7 after 6\n"
                      "0 sends 1: GRANT write 0, txn 7, 1 acks, no bytes\n"
                      "2 unmaps 0\n"
                      "2 sends 1: ACK 0, txn 7\n"
                      "1 maps 0 for writing\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(page_that_did_not_migrate_after_all_needs_twice_the_signs)
{
    struct sim_world *w = open_world_that_migrates();
    dsm_rank_t rank = 1;

    sim_read(w, 2, HOME0);
    run(w);
    sim_read(w, 1, HOME0);
    run(w);
    ck_assert_uint_eq(counters_of(w, 0).migratory_undone, 1);
    sim_write(w, 1, HOME0);
    run(w);
    for (int sign = 1; sign <= 2; sign++) {
        ck_assert_uint_eq(counters_of(w, 0).migratory_found, 1);
        rank = 3 - rank;
        sim_read(w, rank, HOME0);
        run(w);
        sim_write(w, rank, HOME0);
        run(w);
    }
    ck_assert_uint_eq(counters_of(w, 0).migratory_found, 2);
    sim_close(w);
}
END_TEST

START_TEST(page_with_several_readers_does_not_migrate)
{
    struct sim_config config;
    struct sim_world *w;

    sim_config_init_steady(&config, 3, 64);
    config.has_migration = true;
    w = sim_open(&config);
    for (int round = 0; round < 4; round++) {
        sim_write(w, 2, HOME0);
        run(w);
        sim_read(w, 1, HOME0);
        sim_read(w, 0, HOME0);
        run(w);
        sim_write(w, 1, HOME0);
        run(w);
    }
    ck_assert_uint_eq(counters_of(w, 0).migratory_found, 0);
    sim_close(w);
}
END_TEST

START_TEST(two_sharers_that_upgrade_do_not_wait_for_each_other)
{
    struct sim_world *w = open_world(3);

    sim_write(w, 0, HOME0);
    run(w);
    sim_read(w, 1, HOME0);
    sim_read(w, 2, HOME0);
    forget(w);
    sim_write(w, 1, HOME0);
    sim_write(w, 2, HOME0);
    run_and_expect(w, "1 faults: write 0\n"
                      "1 sends 0: REQUEST write 0, has a copy\n"
                      "2 faults: write 0\n"
                      "2 sends 0: REQUEST write 0, has a copy\n"
                      "0 sends 2: INVALIDATE 0 for 1, txn 4 after 3\n"
                      "0 unmaps 0\n"
                      "0 sends 1: FORWARD write 0 for 2, txn 5 after 4\n"
                      "0 sends 1: GRANT write 0, txn 4, 1 acks, no bytes\n"
                      "2 unmaps 0\n"
                      "2 sends 1: ACK 0, txn 4\n"
                      "1 maps 0 for writing\n"
                      "1 wakes the threads at 0\n"
                      "1 unmaps 0\n"
                      "1 sends 2: GRANT write 0, txn 5, 4096 bytes\n"
                      "1 faults: write 0\n"
                      "1 sends 0: REQUEST write 0\n"
                      "2 receives 0\n"
                      "0 sends 2: FORWARD write 0 for 1, txn 6 after 5\n"
                      "2 maps 0 for writing\n"
                      "2 wakes the threads at 0\n"
                      "2 unmaps 0\n"
                      "2 sends 1: GRANT write 0, txn 6, 4096 bytes\n"
                      "1 receives 0\n"
                      "1 maps 0 for writing\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(acknowledgement_that_comes_before_the_grant_counts)
{
    struct sim_world *w = open_world(3);

    sim_write(w, 0, HOME0);
    run(w);
    sim_read(w, 1, HOME0);
    forget(w);
    sim_block(w, 0, 2, DSM_LANE_REPLY);
    sim_write(w, 2, HOME0);
    run_and_expect(w, "2 faults: write 0\n"
                      "2 sends 0: REQUEST write 0\n"
                      "0 sends 1: INVALIDATE 0 for 2, txn 3 after 2\n"
                      "0 unmaps 0\n"
                      "0 sends 2: GRANT write 0, txn 3, 1 acks, 4096 bytes\n"
                      "1 unmaps 0\n"
                      "1 sends 2: ACK 0, txn 3\n");
    sim_unblock(w, 0, 2, DSM_LANE_REPLY);
    run_and_expect(w, "2 receives 0\n"
                      "2 maps 0 for writing\n"
                      "2 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(forward_waits_for_the_grant_it_names)
{
    struct sim_world *w = open_world(3);

    sim_write(w, 0, HOME0);
    forget(w);
    sim_block(w, 0, 1, DSM_LANE_REPLY);
    sim_write(w, 1, HOME0);
    run(w);
    sim_read(w, 2, HOME0);
    run_and_expect(w, "1 faults: write 0\n"
                      "1 sends 0: REQUEST write 0\n"
                      "0 unmaps 0\n"
                      "0 sends 1: GRANT write 0, txn 2, 4096 bytes\n"
                      "2 faults: read 0\n"
                      "2 sends 0: REQUEST read 0\n"
                      "0 sends 1: FORWARD read 0 for 2, txn 3 after 2\n");
    sim_unblock(w, 0, 1, DSM_LANE_REPLY);
    run_and_expect(w, "1 receives 0\n"
                      "1 maps 0 for writing\n"
                      "1 wakes the threads at 0\n"
                      "1 downgrades 0\n"
                      "1 sends 2: GRANT read 0, txn 3, 4096 bytes\n"
                      "1 faults: write 0\n"
                      "1 sends 0: REQUEST write 0, has a copy\n"
                      "2 receives 0\n"
                      "0 sends 2: INVALIDATE 0 for 1, txn 4 after 3\n"
                      "0 sends 1: GRANT write 0, txn 4, 1 acks, no bytes\n"
                      "2 maps 0 for reading\n"
                      "2 wakes the threads at 0\n"
                      "2 unmaps 0\n"
                      "2 sends 1: ACK 0, txn 4\n"
                      "1 maps 0 for writing\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(invalidate_waits_for_the_read_grant_it_names)
{
    struct sim_world *w = open_world(3);

    sim_write(w, 0, HOME0);
    forget(w);
    sim_block(w, 0, 1, DSM_LANE_REPLY);
    sim_read(w, 1, HOME0);
    run(w);
    sim_write(w, 2, HOME0);
    run_and_expect(w, "1 faults: read 0\n"
                      "1 sends 0: REQUEST read 0\n"
                      "0 downgrades 0\n"
                      "0 sends 1: GRANT read 0, txn 2, 4096 bytes\n"
                      "2 faults: write 0\n"
                      "2 sends 0: REQUEST write 0\n"
                      "0 sends 1: INVALIDATE 0 for 2, txn 3 after 2\n"
                      "0 unmaps 0\n"
                      "0 sends 2: GRANT write 0, txn 3, 1 acks, 4096 bytes\n"
                      "2 receives 0\n");
    sim_unblock(w, 0, 1, DSM_LANE_REPLY);
    run_and_expect(w, "1 receives 0\n"
                      "1 maps 0 for reading\n"
                      "1 wakes the threads at 0\n"
                      "1 unmaps 0\n"
                      "1 faults: read 0\n"
                      "1 sends 2: ACK 0, txn 3\n"
                      "1 sends 0: REQUEST read 0\n"
                      "2 maps 0 for writing\n"
                      "0 sends 2: FORWARD read 0 for 1, txn 4 after 3\n"
                      "2 wakes the threads at 0\n"
                      "2 downgrades 0\n"
                      "2 sends 1: GRANT read 0, txn 4, 4096 bytes\n"
                      "1 receives 0\n"
                      "1 maps 0 for reading\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(reclaimed_mapping_is_made_again_without_a_message)
{
    struct sim_world *w = open_world(2);

    sim_write(w, 1, HOME0);
    forget(w);
    sim_reclaim(w, 1, HOME0);
    sim_write(w, 1, HOME0);
    run_and_expect(w, "1 faults: write 0\n"
                      "1 maps 0 for writing\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(threads_of_one_rank_share_one_request)
{
    struct sim_world *w = open_world(2);

    sim_write(w, 0, HOME0);
    forget(w);
    sim_read(w, 1, HOME0);
    sim_read(w, 1, HOME0);
    sim_write(w, 1, HOME0);
    run_and_expect(w, "1 faults: read 0\n"
                      "1 sends 0: REQUEST read 0\n"
                      "1 faults: read 0\n"
                      "1 faults: write 0\n"
                      "0 downgrades 0\n"
                      "0 sends 1: GRANT read 0, txn 2, 4096 bytes\n"
                      "1 receives 0\n"
                      "1 maps 0 for reading\n"
                      "1 wakes the threads at 0\n"
                      "1 faults: write 0\n"
                      "1 sends 0: REQUEST write 0, has a copy\n"
                      "0 unmaps 0\n"
                      "0 sends 1: GRANT write 0, txn 3, no bytes\n"
                      "1 maps 0 for writing\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(prefetch_asks_for_a_run_with_one_message_and_a_fault_joins_it)
{
    struct sim_world *w = open_world(2);

    sim_write(w, 0, 1);
    sim_write(w, 0, 2);
    forget(w);
    sim_prefetch(w, 1, 1, 2, DSM_ACCESS_READ);
    sim_read(w, 1, 2);
    run_and_expect(w, "1 prefetches: read 1+2\n"
                      "1 sends 0: REQUEST read 1 and 1 more, async\n"
                      "1 faults: read 2\n"
                      "0 downgrades 1\n"
                      "0 sends 1: GRANT read 1, txn 2, 4096 bytes, async\n"
                      "0 downgrades 2\n"
                      "0 sends 1: GRANT read 2, txn 2, 4096 bytes, async\n"
                      "1 receives 1\n"
                      "1 receives 2\n"
                      "1 maps 1 for reading\n"
                      "1 maps 2 for reading\n"
                      "1 wakes the threads at 2\n");
    sim_prefetch(w, 1, 1, 2, DSM_ACCESS_READ);
    run_and_expect(w, "1 prefetches: read 1+2\n");
    sim_close(w);
}
END_TEST

START_TEST(large_unit_travels_in_chunks)
{
    struct sim_world *w = open_world(2);
    struct dsm_placement_entry entry = {
        .first = 32, .n_pages = 32, .unit_pages = 32, .kind = DSM_PLACEMENT_RANK};

    ck_assert_int_eq(dsm_placement_add(sim_placement(w), &entry), 0);
    sim_write(w, 0, 40);
    forget(w);
    sim_read(w, 1, 63);
    run_and_expect(w, "1 faults: read 63\n"
                      "1 sends 0: REQUEST read 32\n"
                      "0 downgrades 32\n"
                      "0 sends 1: GRANT read 32, txn 2, 131072 bytes\n"
                      "1 receives 32 at 0\n"
                      "1 receives 32 at 65536\n"
                      "1 maps 32 for reading\n"
                      "1 wakes the threads at 32\n");
    sim_close(w);
}
END_TEST

START_TEST(range_is_dropped_in_two_rounds)
{
    struct sim_world *w = open_world(2);

    sim_write(w, 1, HOME0);
    run(w);
    sim_read(w, 0, HOME0);
    forget(w);
    sim_drop(w, 0, 0, 16, 7);
    run_and_expect(w, "0 drops 0+16 everywhere, serial 7\n"
                      "0 sends 1: DROP_BEGIN 0+16, serial 7\n"
                      "1 sends 0: DROP_DONE 0+16, serial 7\n"
                      "0 sends 1: DROP_CLEAR 0+16, serial 7\n"
                      "0 drops 0+16\n"
                      "1 drops 0+16\n"
                      "1 sends 0: DROP_DONE 0+16, serial 7\n"
                      "0 has dropped serial 7 everywhere\n");
    sim_read(w, 1, HOME0);
    run_and_expect(w, "1 faults: read 0\n"
                      "1 sends 0: REQUEST read 0\n"
                      "0 sends 1: GRANT read 0, txn 1, zero\n"
                      "1 maps zero 0 for reading\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(drop_waits_for_the_request_under_way)
{
    struct sim_world *w = open_world(2);
    struct sim_thread *late;

    sim_write(w, 0, HOME0);
    forget(w);
    sim_block(w, 0, 1, DSM_LANE_REPLY);
    sim_read(w, 1, HOME0);
    run(w);
    sim_drop(w, 0, 0, 16, 7);
    late = sim_read(w, 1, HOME0 + 1);
    run_and_expect(w, "1 faults: read 0\n"
                      "1 sends 0: REQUEST read 0\n"
                      "0 downgrades 0\n"
                      "0 sends 1: GRANT read 0, txn 2, 4096 bytes\n"
                      "0 drops 0+16 everywhere, serial 7\n"
                      "0 sends 1: DROP_BEGIN 0+16, serial 7\n"
                      "1 faults: read 1\n"
                      "1 sends 0: REQUEST read 1\n"
                      "0 sends 1: REFUSE read 1\n");
    sim_unblock(w, 0, 1, DSM_LANE_REPLY);
    run_and_expect(w, "1 receives 0\n"
                      "1 has lost 1\n"
                      "1 maps 0 for reading\n"
                      "1 sends 0: DROP_DONE 0+16, serial 7\n"
                      "1 wakes the threads at 0\n"
                      "0 sends 1: DROP_CLEAR 0+16, serial 7\n"
                      "0 drops 0+16\n"
                      "1 drops 0+16\n"
                      "1 sends 0: DROP_DONE 0+16, serial 7\n"
                      "0 has dropped serial 7 everywhere\n");
    ck_assert(sim_has_failed(late));
    sim_close(w);
}
END_TEST

START_TEST(request_to_a_lost_home_and_for_a_lost_owner_s_page_fail)
{
    struct sim_world *w = open_world(3);
    struct sim_thread *waits, *asks;

    sim_write(w, 2, HOME0);
    forget(w);
    sim_block(w, 2, 1, DSM_LANE_REPLY);
    waits = sim_read(w, 1, HOME2);
    run(w);
    sim_kill(w, 2);
    run_and_expect(w, "1 faults: read 32\n"
                      "1 sends 2: REQUEST read 32\n"
                      "2 sends 1: GRANT read 32, txn 1, zero\n"
                      "0 learns that 2 is gone\n"
                      "1 learns that 2 is gone\n"
                      "1 has lost 32 with 2\n");
    ck_assert(sim_has_failed(waits));
    asks = sim_read(w, 1, HOME0);
    run_and_expect(w, "1 faults: read 0\n"
                      "1 sends 0: REQUEST read 0\n"
                      "0 sends 1: REFUSE read 0, 2 is gone\n"
                      "1 has lost 0 with 2\n");
    ck_assert(sim_has_failed(asks));
    sim_close(w);
}
END_TEST

START_TEST(grant_is_held_until_its_time_is_over)
{
    struct sim_world *w = open_world_with(2, 20000, 0);

    sim_write(w, 0, HOME0);
    sim_run(w, 50000);
    sim_transcript(w);
    sim_write(w, 1, HOME0);
    sim_run(w, 2500);
    expect(w, "1 faults: write 0\n"
              "1 sends 0: REQUEST write 0\n"
              "0 unmaps 0\n"
              "0 sends 1: GRANT write 0, txn 2, 4096 bytes\n"
              "1 receives 0\n"
              "1 maps 0 for writing\n"
              "1 wakes the threads at 0\n");
    sim_write(w, 0, HOME0);
    run_and_expect(w, "0 faults: write 0\n"
                      "0 sends 1: FORWARD write 0 for 0, txn 3 after 2\n"
                      "1 asks for a timer at 72070\n"
                      "1 unmaps 0\n"
                      "1 sends 0: GRANT write 0, txn 3, 4096 bytes\n"
                      "0 receives 0\n"
                      "0 maps 0 for writing\n"
                      "0 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(lower_page_is_kept_while_its_instruction_waits_for_a_higher_one)
{
    struct sim_world *w = open_world_with(3, 5000, 0);
    struct sim_op op = wide_op(HOME1, HOME2);

    sim_block(w, 2, 0, DSM_LANE_REPLY);
    sim_play(w, 0, &op, 1);
    sim_run(w, 10000);
    sim_write(w, 1, HOME1);
    sim_run(w, 100000);
    expect(w, "0 faults: write 16\n"
              "0 sends 1: REQUEST write 16\n"
              "1 sends 0: GRANT write 16, txn 1, zero\n"
              "0 maps zero 16 for writing\n"
              "0 wakes the threads at 16\n"
              "0 faults: write 32\n"
              "0 sends 2: REQUEST write 32\n"
              "2 sends 0: GRANT write 32, txn 1, zero\n"
              "1 faults: write 16\n"
              "1 sends 0: FORWARD write 16 for 1, txn 2 after 1\n"
              "0 asks for a timer at 1000002040\n");
    sim_unblock(w, 2, 0, DSM_LANE_REPLY);
    run_and_expect(w, "0 maps zero 32 for writing\n"
                      "0 wakes the threads at 32\n"
                      "0 asks for a timer at 115030\n"
                      "0 unmaps 16\n"
                      "0 sends 1: GRANT write 16, txn 2, 4096 bytes\n"
                      "1 receives 16\n"
                      "1 maps 16 for writing\n"
                      "1 wakes the threads at 16\n");
    sim_close(w);
}
END_TEST

START_TEST(higher_page_is_given_up_while_its_instruction_waits_for_a_lower_one)
{
    struct sim_world *w = open_world_with(3, 5000, 0);
    struct sim_op op = wide_op(HOME2, HOME1);

    sim_block(w, 1, 0, DSM_LANE_REPLY);
    sim_play(w, 0, &op, 1);
    sim_run(w, 10000);
    sim_transcript(w);
    sim_write(w, 2, HOME2);
    sim_run(w, 100000);
    expect(w, "2 faults: write 32\n"
              "2 sends 0: FORWARD write 32 for 2, txn 2 after 1\n"
              "0 unmaps 32\n"
              "0 sends 2: GRANT write 32, txn 2, 4096 bytes\n"
              "2 receives 32\n"
              "2 maps 32 for writing\n"
              "2 wakes the threads at 32\n");
    sim_unblock(w, 1, 0, DSM_LANE_REPLY);
    run(w);
    sim_close(w);
}
END_TEST

START_TEST(near_the_limit_zero_copies_go_first_and_owned_pages_are_offered)
{
    struct sim_world *w = open_world_with(2, DSM_HOLD_NONE, 4);

    sim_read(w, 1, 1);
    run(w);
    sim_write(w, 1, 2);
    run(w);
    sim_write(w, 1, 3);
    forget(w);
    sim_write(w, 1, 4);
    run(w);
    sim_write(w, 1, 5);
    run_and_expect(w, "1 faults: write 4\n"
                      "1 sends 0: REQUEST write 4\n"
                      "1 unmaps 1\n"
                      "1 gives the frame of 1 back\n"
                      "0 sends 1: GRANT write 4, txn 1, zero\n"
                      "1 maps zero 4 for writing\n"
                      "1 wakes the threads at 4\n"
                      "1 faults: write 5\n"
                      "1 sends 0: REQUEST write 5\n"
                      "1 sends 0: OFFER 2: 1 units\n"
                      "0 sends 1: GRANT write 5, txn 1, zero\n"
                      "0 sends 1: OFFER_REPLY 2: 1 units, room 3\n"
                      "0 sends 1: FORWARD own 2 for 0, txn 2 after 1, async\n"
                      "1 maps zero 5 for writing\n"
                      "1 unmaps 2\n"
                      "1 sends 0: GRANT own 2, txn 2, 4096 bytes, async\n"
                      "1 wakes the threads at 5\n"
                      "1 gives the frame of 2 back\n"
                      "0 receives 2\n");
    sim_close(w);
}
END_TEST

START_TEST(offered_page_that_another_rank_wrote_meanwhile_stays_there)
{
    struct sim_world *w = open_world_with(3, DSM_HOLD_NONE, 3);

    sim_write(w, 1, 1);
    run(w);
    sim_write(w, 1, 2);
    forget(w);
    sim_block(w, 2, 0, DSM_LANE_REQUEST);
    sim_write(w, 1, 3);
    run(w);
    sim_transcript(w);
    sim_write(w, 0, 1);
    run_and_expect(w, "0 faults: write 1\n"
                      "0 sends 1: FORWARD write 1 for 0, txn 2 after 1\n"
                      "1 unmaps 1\n"
                      "1 sends 0: GRANT write 1, txn 2, 4096 bytes\n"
                      "1 sends 0: OFFER 2: 1 units\n"
                      "0 sends 1: OFFER_REPLY 2: 1 units, room 2\n"
                      "0 sends 1: FORWARD own 2 for 0, txn 2 after 1, async\n"
                      "0 receives 1\n"
                      "0 maps 1 for writing\n"
                      "0 wakes the threads at 1\n"
                      "1 unmaps 2\n"
                      "1 sends 0: GRANT own 2, txn 2, 4096 bytes, async\n"
                      "1 gives the frame of 2 back\n"
                      "0 receives 2\n");
    sim_unblock(w, 2, 0, DSM_LANE_REQUEST);
    run_and_expect(w, "0 sends 2: REFUSE own 1, async\n");
    sim_close(w);
}
END_TEST

START_TEST(token_goes_straight_from_holder_to_next_and_stays_where_nobody_asks)
{
    struct sim_world *w = open_world(3);
    struct sim_op ops[] = {lock_op(SIM_OP_LOCK, 5), lock_op(SIM_OP_UNLOCK, 5),
                           lock_op(SIM_OP_LOCK, 5), lock_op(SIM_OP_UNLOCK, 5)};

    sim_play(w, 1, ops, 4);
    run_and_expect(w, "1 wants lock 5\n"
                      "1 sends 2: LOCK_ACQUIRE 5\n"
                      "2 sends 1: LOCK_GRANT 5\n"
                      "1 lends lock 5, number 1\n");
    sim_play(w, 2, ops, 1);
    run_and_expect(w, "2 wants lock 5\n"
                      "2 sends 1: LOCK_FORWARD 5 for 2\n"
                      "1 recalls lock 5\n"
                      "1 gets lock 5 back from its threads\n"
                      "1 sends 2: LOCK_GRANT 5, number 1\n"
                      "2 lends lock 5, number 2\n");
    sim_close(w);
}
END_TEST

START_TEST(barrier_of_three_takes_two_rounds)
{
    struct sim_world *w = open_world(3);
    struct sim_op op = collective_op(DSM_COLLECTIVE_BARRIER, 0);
    dsm_rank_t rank;

    for (rank = 0; rank < 3; rank++)
        sim_play(w, rank, &op, 1);
    run_and_expect(w, "0 enters a collective of group 0\n"
                      "0 sends 1: COLLECTIVE of group 0, number 1 round 0\n"
                      "1 enters a collective of group 0\n"
                      "1 sends 2: COLLECTIVE of group 0, number 1 round 0\n"
                      "2 enters a collective of group 0\n"
                      "2 sends 0: COLLECTIVE of group 0, number 1 round 0\n"
                      "1 sends 0: COLLECTIVE of group 0, number 1 round 1\n"
                      "2 sends 1: COLLECTIVE of group 0, number 1 round 1\n"
                      "0 sends 2: COLLECTIVE of group 0, number 1 round 1\n"
                      "0 leaves the collective of group 0\n"
                      "1 leaves the collective of group 0\n"
                      "2 leaves the collective of group 0\n");
    sim_close(w);
}
END_TEST

START_TEST(broadcast_passes_the_payload_to_those_who_lack_it)
{
    struct sim_world *w = open_world(3);
    struct sim_op op = collective_op(DSM_COLLECTIVE_BCAST, 1);
    dsm_rank_t rank;

    for (rank = 0; rank < 3; rank++)
        sim_play(w, rank, &op, 1);
    run_and_expect(w, "0 enters a collective of group 0\n"
                      "0 sends 1: COLLECTIVE of group 0, number 1 round 0\n"
                      "1 enters a collective of group 0\n"
                      "1 sends 2: COLLECTIVE of group 0, number 1 round 0, with payload\n"
                      "2 enters a collective of group 0\n"
                      "2 sends 0: COLLECTIVE of group 0, number 1 round 0\n"
                      "1 sends 0: COLLECTIVE of group 0, number 1 round 1, with payload\n"
                      "2 takes what came in round 0\n"
                      "2 sends 1: COLLECTIVE of group 0, number 1 round 1\n"
                      "0 sends 2: COLLECTIVE of group 0, number 1 round 1\n"
                      "0 takes what came in round 1\n"
                      "0 leaves the collective of group 0\n"
                      "1 leaves the collective of group 0\n"
                      "2 leaves the collective of group 0\n");
    sim_close(w);
}
END_TEST

START_TEST(reduction_goes_up_a_tree_and_down_again)
{
    struct sim_world *w = open_world(3);
    struct sim_op op = collective_op(DSM_COLLECTIVE_ALLREDUCE, 0);
    dsm_rank_t rank;

    for (rank = 0; rank < 3; rank++)
        sim_play(w, rank, &op, 1);
    run_and_expect(w, "0 enters a collective of group 0\n"
                      "1 enters a collective of group 0\n"
                      "1 sends 0: COLLECTIVE of group 0, number 1 round 0, with payload\n"
                      "2 enters a collective of group 0\n"
                      "2 sends 0: COLLECTIVE of group 0, number 1 round 1, with payload\n"
                      "0 combines what came in round 0\n"
                      "0 combines what came in round 1\n"
                      "0 sends 2: COLLECTIVE of group 0, number 1 round 3, with payload\n"
                      "0 sends 1: COLLECTIVE of group 0, number 1 round 2, with payload\n"
                      "0 leaves the collective of group 0\n"
                      "2 takes what came in round 3\n"
                      "2 leaves the collective of group 0\n"
                      "1 takes what came in round 2\n"
                      "1 leaves the collective of group 0\n");
    sim_close(w);
}
END_TEST

START_TEST(unit_is_dropped_while_an_order_of_a_lost_home_waits_for_a_hold)
{
    struct sim_world *w = open_world_with(3, 5000000, 0);

    sim_write(w, 2, HOME1);
    ck_assert(sim_run(w, 50000)); /* written, and held for 5 ms */
    sim_write(w, 0, HOME1);
    ck_assert(sim_run(w, 20000)); /* the forward waits at rank 2 */
    sim_kill(w, 1);
    ck_assert(sim_run(w, 20000));
    ck_assert_uint_eq(sim_failures(w), 1);
    sim_drop(w, 0, HOME1, 16, 7);
    run(w);
    ck_assert_uint_eq(sim_drops_done(w), 1);
    sim_close(w);
}
END_TEST

START_TEST(pinned_page_stays_until_it_is_let_go)
{
    struct sim_world *w = open_world(2);

    ck_assert_int_eq(sim_pin(w, 1, HOME0, DSM_ACCESS_WRITE, 1000000), DSM_E_BUSY);
    sim_write(w, 1, HOME0);
    run(w);
    ck_assert_int_eq(sim_pin(w, 1, HOME0, DSM_ACCESS_WRITE, 1000000), 0);
    sim_transcript(w);
    sim_read(w, 0, HOME0);
    ck_assert(sim_run(w, 100000));
    expect(w, "0 faults: read 0\n"
              "0 sends 1: FORWARD read 0 for 0, txn 2 after 1\n"
              "1 asks for a timer at 1000000\n");
    sim_unpin(w, 1, HOME0);
    run_and_expect(w, "1 lets go of 0\n"
                      "1 downgrades 0\n"
                      "1 sends 0: GRANT read 0, txn 2, 4096 bytes\n"
                      "1 needs no timer\n"
                      "0 receives 0\n"
                      "0 maps 0 for reading\n"
                      "0 wakes the threads at 0\n");
    /* Pinned for reading: readers do not wait, a writer does, and no longer than the time given. */
    ck_assert_int_eq(sim_pin(w, 1, HOME0, DSM_ACCESS_READ, sim_now_ns(w) + 500000), 0);
    uint64_t end_ns = sim_now_ns(w) + 500000;
    sim_write(w, 0, HOME0);
    run(w);
    ck_assert_uint_ge(sim_now_ns(w), end_ns);
    ck_assert_uint_lt(sim_now_ns(w), end_ns + 10000);
    ck_assert_uint_eq(counters_of(w, 1).pins, 2);
    ck_assert_uint_eq(counters_of(w, 1).pins_ended, 1);
    sim_unpin(w, 1, HOME0); /* too late: nothing */
    run(w);
    sim_close(w);
}
END_TEST

START_TEST(pin_is_not_made_longer_while_another_rank_waits)
{
    struct sim_world *w = open_world(2);
    uint64_t end_ns;

    sim_write(w, 1, HOME0);
    run(w);
    end_ns = sim_now_ns(w) + 500000;
    ck_assert_int_eq(sim_pin(w, 1, HOME0, DSM_ACCESS_WRITE, end_ns), 0);
    sim_write(w, 0, HOME0);
    ck_assert(sim_run(w, 100000));
    ck_assert_int_eq(sim_pin(w, 1, HOME0, DSM_ACCESS_WRITE, end_ns + 10000000), 0);
    run(w);
    ck_assert_uint_lt(sim_now_ns(w), end_ns + 10000);
    sim_close(w);
}
END_TEST

START_TEST(hints_are_served_by_their_deadline)
{
    struct sim_config config;
    struct sim_world *w;

    sim_config_init_steady(&config, 2, 64);
    config.prefetch_window = 1;
    w = sim_open(&config);
    sim_block(w, 0, 1, DSM_LANE_REQUEST);
    sim_prefetch(w, 1, HOME0, 1, DSM_ACCESS_READ); /* asked for at once */
    sim_prefetch(w, 1, HOME0 + 2, 1, DSM_ACCESS_READ);
    sim_prefetch_by(w, 1, HOME0 + 4, 1, DSM_ACCESS_READ, 90000);
    sim_prefetch_by(w, 1, HOME0 + 6, 1, DSM_ACCESS_READ, 80000);
    sim_prefetch_by(w, 1, HOME0 + 8, 3, DSM_ACCESS_READ, 20000);
    sim_prefetch_by(w, 1, HOME0 + 12, 1, DSM_ACCESS_READ, 80000);
    ck_assert(sim_run(w, 40000)); /* too late for one of them */
    sim_transcript(w);
    sim_unblock(w, 0, 1, DSM_LANE_REQUEST);
    run(w);
    const char *happened = sim_transcript(w), *at = happened;
    static const char *const order[] = {"REQUEST read 6", "REQUEST read 12", "REQUEST read 4",
                                        "REQUEST read 2"};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        at = strstr(at, order[i]);
        if (!at)
            ck_abort_msg("%s is missing or out of order in:\n%s", order[i], happened);
    }
    ck_assert_ptr_null(strstr(happened, "REQUEST read 8"));
    ck_assert_uint_eq(counters_of(w, 1).prefetch_late, 3);
    sim_close(w);
}
END_TEST

START_TEST(hints_leave_room_to_a_thread_that_waits)
{
    struct sim_config config;
    struct sim_world *w;

    sim_config_init_steady(&config, 2, 64);
    config.prefetch_window = 16;
    w = sim_open(&config);
    sim_block(w, 0, 1, DSM_LANE_REQUEST);
    sim_block(w, 0, 1, DSM_LANE_REPLY);
    sim_read(w, 1, HOME0 + 15);
    ck_assert(sim_run(w, 10000));
    sim_prefetch(w, 1, HOME0, 12, DSM_ACCESS_READ);
    ck_assert_uint_eq(counters_of(w, 1).prefetch_asked, 2); /* an eighth of the window */
    sim_unblock(w, 0, 1, DSM_LANE_REPLY);
    ck_assert(sim_run(w, 10000));
    ck_assert_uint_eq(counters_of(w, 1).prefetch_asked, 12);
    sim_unblock(w, 0, 1, DSM_LANE_REQUEST);
    run(w);
    sim_close(w);
}
END_TEST

START_TEST(what_is_migratory_by_advice_is_asked_for_writing_at_the_read)
{
    struct sim_world *w = open_world(2);

    sim_write(w, 0, HOME0);
    run(w);
    sim_advise(w, 1, HOME0, 1, DSM_ADVICE_KIND_MIGRATORY);
    sim_transcript(w);
    sim_read(w, 1, HOME0);
    run_and_expect(w, "1 faults: read 0\n"
                      "1 sends 0: REQUEST write 0\n"
                      "0 unmaps 0\n"
                      "0 sends 1: GRANT write 0, txn 2, 4096 bytes\n"
                      "1 receives 0\n"
                      "1 maps 0 for writing\n"
                      "1 wakes the threads at 0\n");
    sim_close(w);
}
END_TEST

START_TEST(what_is_read_mostly_by_advice_is_never_taken_by_a_reader)
{
    struct sim_world *w = open_world_that_migrates();

    sim_advise(w, 2, HOME0, 1, DSM_ADVICE_KIND_READ_MOSTLY);
    sim_read(w, 2, HOME0);
    run(w);
    ck_assert_uint_eq(counters_of(w, 2).migratory_reads, 0);
    /* There is a copy now, so another reader gets none alone either. */
    sim_read(w, 0, HOME0);
    run(w);
    ck_assert_uint_eq(counters_of(w, 0).migratory_reads, 0);
    sim_write(w, 1, HOME0);
    run(w);
    sim_close(w);
}
END_TEST

START_TEST(what_others_want_of_private_memory_is_counted)
{
    struct sim_world *w = open_world(2);

    sim_advise(w, 0, HOME0, 2, DSM_ADVICE_KIND_PRIVATE);
    sim_write(w, 0, HOME0);
    sim_write(w, 0, HOME0 + 2);
    run(w);
    sim_read(w, 1, HOME0);
    sim_read(w, 1, HOME0 + 2);
    run(w);
    ck_assert_uint_eq(counters_of(w, 0).private_asked, 1);
    sim_close(w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("protocol rules");
    TCase *tc = tcase_create("stories");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, never_written_page_is_granted_by_the_home_without_bytes);
    tcase_add_test(tc, first_writer_becomes_the_owner_and_zero_copies_go);
    tcase_add_test(tc, zero_copy_is_upgraded_where_it_is);
    tcase_add_test(tc, own_page_needs_no_message);
    tcase_add_test(tc, owner_is_downgraded_and_sends_straight_to_the_reader);
    tcase_add_test(tc, home_that_owns_answers_in_two_hops);
    tcase_add_test(tc, reader_is_invalidated_before_the_writer_is_granted);
    tcase_add_test(tc, upgrade_moves_no_bytes);
    tcase_add_test(tc, owner_that_was_downgraded_is_upgraded_by_the_home);
    tcase_add_test(tc, page_that_migrates_is_granted_exclusively_at_the_read);
    tcase_add_test(tc, page_that_is_handed_over_unwritten_does_not_migrate_any_more);
    tcase_add_test(tc, page_that_did_not_migrate_after_all_needs_twice_the_signs);
    tcase_add_test(tc, page_with_several_readers_does_not_migrate);
    tcase_add_test(tc, what_is_migratory_by_advice_is_asked_for_writing_at_the_read);
    tcase_add_test(tc, what_is_read_mostly_by_advice_is_never_taken_by_a_reader);
    tcase_add_test(tc, what_others_want_of_private_memory_is_counted);
    tcase_add_test(tc, pinned_page_stays_until_it_is_let_go);
    tcase_add_test(tc, pin_is_not_made_longer_while_another_rank_waits);
    tcase_add_test(tc, hints_are_served_by_their_deadline);
    tcase_add_test(tc, hints_leave_room_to_a_thread_that_waits);
    tcase_add_test(tc, unit_is_dropped_while_an_order_of_a_lost_home_waits_for_a_hold);
    tcase_add_test(tc, two_sharers_that_upgrade_do_not_wait_for_each_other);
    tcase_add_test(tc, acknowledgement_that_comes_before_the_grant_counts);
    tcase_add_test(tc, forward_waits_for_the_grant_it_names);
    tcase_add_test(tc, invalidate_waits_for_the_read_grant_it_names);
    tcase_add_test(tc, reclaimed_mapping_is_made_again_without_a_message);
    tcase_add_test(tc, threads_of_one_rank_share_one_request);
    tcase_add_test(tc, prefetch_asks_for_a_run_with_one_message_and_a_fault_joins_it);
    tcase_add_test(tc, large_unit_travels_in_chunks);
    tcase_add_test(tc, range_is_dropped_in_two_rounds);
    tcase_add_test(tc, drop_waits_for_the_request_under_way);
    tcase_add_test(tc, request_to_a_lost_home_and_for_a_lost_owner_s_page_fail);
    tcase_add_test(tc, grant_is_held_until_its_time_is_over);
    tcase_add_test(tc, lower_page_is_kept_while_its_instruction_waits_for_a_higher_one);
    tcase_add_test(tc, higher_page_is_given_up_while_its_instruction_waits_for_a_lower_one);
    tcase_add_test(tc, near_the_limit_zero_copies_go_first_and_owned_pages_are_offered);
    tcase_add_test(tc, offered_page_that_another_rank_wrote_meanwhile_stays_there);
    tcase_add_test(tc, token_goes_straight_from_holder_to_next_and_stays_where_nobody_asks);
    tcase_add_test(tc, barrier_of_three_takes_two_rounds);
    tcase_add_test(tc, broadcast_passes_the_payload_to_those_who_lack_it);
    tcase_add_test(tc, reduction_goes_up_a_tree_and_down_again);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
