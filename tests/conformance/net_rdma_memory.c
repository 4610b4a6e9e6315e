/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_rdma_memory.c - bytes written straight to their place; memory that is registered, given back
 * and let go; the limit on it.
 */
#include "tests/conformance/net_node.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const struct dsm_net_ops *const ops = &dsm_net_rdma;

/* How many bytes from the offset on are alike, and whether they may be punched. */
static size_t unpin_run(struct node *n, uint64_t offset, size_t len_bytes, bool *is_free_out)
{
    pthread_mutex_lock(&n->lock);
    size_t run = ops->unpin(n->net, n->memory + offset, len_bytes, is_free_out);
    pthread_mutex_unlock(&n->lock);
    ck_assert_uint_gt(run, 0);
    ck_assert_uint_le(run, len_bytes);
    return run;
}

/* All of it: true when nothing is registered. */
static bool unpin(struct node *n, uint64_t offset, size_t len_bytes)
{
    bool is_all_free = true, is_free;
    for (size_t at = 0; at < len_bytes; is_all_free = is_all_free && is_free)
        at += unpin_run(n, offset + at, len_bytes - at, &is_free);
    return is_all_free;
}

/* ---- landing ---- */

START_TEST(bytes_without_a_key_are_copied_to_the_same_place)
{
    struct node nodes[2];
    open_pair(nodes, &(struct dsm_net_rdma_config){.has_pin_max = true});
    memset(nodes[0].memory, 0x5c, 65536);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_uint_eq(ops->landing(nodes[1].net, nodes[1].memory, 4096), 0);
    ck_assert(unpin(&nodes[1], 0, MEMORY_BYTES));
    send_bytes(&nodes[0], 0, 0, 65536, 0);
    await(&nodes[1], &nodes[1].n_payloads, 1);
    await(&nodes[0], &nodes[0].n_sent, 1);
    ck_assert_int_eq(memcmp(nodes[0].memory, nodes[1].memory, MEMORY_BYTES), 0);
    ck_assert_uint_eq(counters_of(&nodes[1]).landed, 0);
    close_pair(nodes);
}
END_TEST

START_TEST(write_with_a_key_that_was_never_given_is_a_loss)
{
    struct node nodes[2];
    open_pair(nodes, NULL);
    uint32_t key = key_of(&nodes[1], 0, 4096);
    memset(nodes[0].memory, 0x77, 4096);
    send_bytes(&nodes[0], 0, 0, 4096, key ^ 0x5a5a5a5a);
    await(&nodes[0], &nodes[0].n_lost, 1);
    await(&nodes[0], &nodes[0].n_sent, 1);
    await(&nodes[1], &nodes[1].n_lost, 1);
    ck_assert_uint_eq(nodes[1].memory[0], 0);
    close_pair(nodes);
}
END_TEST

/* ---- pinning ---- */

START_TEST(only_registered_memory_is_kept_from_being_punched)
{
    struct node nodes[2];
    bool is_free;
    open_pair(nodes, NULL);
    ck_assert(unpin(&nodes[0], 0, MEMORY_BYTES));
    (void)key_of(&nodes[0], CHUNK_BYTES, 4096);
    (void)key_of(&nodes[0], 2 * CHUNK_BYTES, 4096);
    ck_assert(!unpin(&nodes[0], CHUNK_BYTES, 4096));
    ck_assert_uint_eq(unpin_run(&nodes[0], 4096, MEMORY_BYTES - 4096, &is_free),
                      CHUNK_BYTES - 4096);
    ck_assert(is_free);
    ck_assert_uint_eq(
        unpin_run(&nodes[0], CHUNK_BYTES + 4096, MEMORY_BYTES - CHUNK_BYTES - 4096, &is_free),
        2 * CHUNK_BYTES - 4096);
    ck_assert(!is_free);
    ck_assert(unpin(&nodes[0], 3 * CHUNK_BYTES, MEMORY_BYTES - 3 * CHUNK_BYTES));
    close_pair(nodes);
}
END_TEST

/* What is used stays, with the key that it had. */
START_TEST(memory_of_which_some_is_used_stays_registered)
{
    struct node nodes[2];
    open_pair(nodes, NULL);
    uint32_t key = key_of(&nodes[1], 0, 4096);
    ck_assert(!unpin(&nodes[1], 4096, 4096));
    await(&nodes[1], &nodes[1].n_asked, 1);
    ck_assert_uint_eq(key_of(&nodes[1], 0, 4096), key);
    ck_assert_uint_eq(counters_of(&nodes[1]).pinned_bytes, CHUNK_BYTES);
    memset(nodes[0].memory, 0x3d, 4096);
    send_bytes(&nodes[0], 0, 0, 4096, key);
    await(&nodes[1], &nodes[1].n_payloads, 1);
    ck_assert_uint_eq(counters_of(&nodes[1]).landed, 1);
    ck_assert_int_eq(memcmp(nodes[0].memory, nodes[1].memory, MEMORY_BYTES), 0);
    close_pair(nodes);
}
END_TEST

static void set_unused(struct node *n, bool is_unused)
{
    pthread_mutex_lock(&n->lock);
    n->is_unused = is_unused;
    pthread_mutex_unlock(&n->lock);
}

/* Registered, written to, given back, and all over again: as a job that frees and reuses does it.
 */
START_TEST(memory_that_is_not_used_any_more_is_let_go_and_goes_back)
{
    struct node nodes[2];
    open_pair(nodes, NULL);
    set_unused(&nodes[1], true);
    for (unsigned round = 1; round <= 8; round++) {
        uint64_t offset = round % 4 * CHUNK_BYTES;
        uint32_t key = key_of(&nodes[1], offset, 4096);
        ck_assert_uint_eq(counters_of(&nodes[1]).pinned_bytes, CHUNK_BYTES);
        ck_assert_uint_eq(resident_bytes(&nodes[1]), CHUNK_BYTES);
        memset(nodes[0].memory + offset, (int)round, 4096);
        send_bytes(&nodes[0], offset, offset, 4096, key);
        await(&nodes[1], &nodes[1].n_payloads, round);
        ck_assert_uint_eq(counters_of(&nodes[1]).landed, round);
        ck_assert_uint_eq(nodes[1].memory[offset], round);
        ck_assert(!unpin(&nodes[1], offset, 4096));
        await(&nodes[1], &nodes[1].n_unpinned, round);
        ck_assert_uint_eq(counters_of(&nodes[1]).pinned_bytes, 0);
        ck_assert_uint_eq(counters_of(&nodes[1]).unpinned, round);
        ck_assert_uint_eq(resident_bytes(&nodes[1]), 0);
        ck_assert(unpin(&nodes[1], 0, MEMORY_BYTES));
        ck_assert_uint_eq(nodes[1].memory[offset], 0);
        memset(nodes[1].memory + offset, 0, 4096); /* it is there again, as with a new owner */
        ck_assert_uint_eq(resident_bytes(&nodes[1]), 4096);
        ck_assert_int_eq(madvise(nodes[1].memory, MEMORY_BYTES, MADV_REMOVE), 0);
    }
    close_pair(nodes);
}
END_TEST

START_TEST(what_was_let_go_makes_room_below_the_limit)
{
    struct node nodes[2];
    open_pair(nodes,
              &(struct dsm_net_rdma_config){.has_pin_max = true, .pin_max_bytes = CHUNK_BYTES});
    set_unused(&nodes[0], true);
    for (unsigned round = 1; round <= 6; round++) {
        uint64_t here = round % 4 * CHUNK_BYTES, elsewhere = (round + 1) % 4 * CHUNK_BYTES;
        (void)key_of(&nodes[0], here, 4096);
        pthread_mutex_lock(&nodes[0].lock);
        ck_assert_uint_eq(ops->landing(nodes[0].net, nodes[0].memory + elsewhere, 4096), 0);
        pthread_mutex_unlock(&nodes[0].lock);
        ck_assert(!unpin(&nodes[0], here, CHUNK_BYTES));
        await(&nodes[0], &nodes[0].n_unpinned, round);
        ck_assert_uint_le(counters_of(&nodes[0]).pinned_bytes, CHUNK_BYTES);
    }
    close_pair(nodes);
}
END_TEST

static void expel_rank_1(struct node *n)
{
    ck_assert(ops->expel(n->net, 1, "rank 1 is expelled"));
}

/* A request may have died with the peer while its key is with somebody who lives. */
START_TEST(what_was_registered_before_a_loss_stays_registered)
{
    struct node nodes[2];
    open_pair(nodes, NULL);
    set_unused(&nodes[0], true);
    uint32_t key = key_of(&nodes[0], 0, 4096);
    node_run(&nodes[0], expel_rank_1);
    await(&nodes[0], &nodes[0].n_lost, 1);
    ck_assert(!unpin(&nodes[0], 0, CHUNK_BYTES));
    for (unsigned round = 1; round <= 2; round++) { /* the second comes after the first was seen */
        (void)key_of(&nodes[0], CHUNK_BYTES, 4096);
        ck_assert(!unpin(&nodes[0], CHUNK_BYTES, CHUNK_BYTES));
        await(&nodes[0], &nodes[0].n_unpinned, round);
    }
    ck_assert_uint_eq(key_of(&nodes[0], 0, 4096), key);
    ck_assert_uint_eq(counters_of(&nodes[0]).pinned_bytes, CHUNK_BYTES);
    close_pair(nodes);
}
END_TEST

static void await_limit(struct node *n, uint64_t most_bytes)
{
    const char *addresses[2] = {"10.0.0.1:1", "10.0.0.1:2"};
    n->most_bytes = 2 * CHUNK_BYTES;
    node_start(n, 0, addresses);
    ck_assert_uint_eq(n->pinned_most, most_bytes);
    for (uint64_t at = 0; at < most_bytes; at += CHUNK_BYTES)
        (void)key_of(n, at, 4096);
    pthread_mutex_lock(&n->lock);
    ck_assert_uint_eq(ops->landing(n->net, n->memory + most_bytes, 4096), 0);
    pthread_mutex_unlock(&n->lock);
    set_unused(n, true);
    ck_assert(!unpin(n, 0, CHUNK_BYTES)); /* the loop's thread has seen what was asked before */
    await(n, &n->n_unpinned, 1);
    ck_assert_uint_eq(counters_of(n).pinned_bytes, most_bytes - CHUNK_BYTES);
    node_close(n);
}

START_TEST(limit_is_within_what_the_caller_allows)
{
    struct node n;
    ck_assert_int_eq(node_open(&n, 0, NULL), 0);
    await_limit(&n, CHUNK_BYTES);
    ck_assert_int_eq(node_open(&n, 0,
                               &(struct dsm_net_rdma_config){.has_pin_max = true,
                                                             .pin_max_bytes = MEMORY_BYTES}),
                     0);
    await_limit(&n, 2 * CHUNK_BYTES);
}
END_TEST

START_TEST(key_is_given_up_to_the_limit)
{
    enum { STEP = 4096 };
    struct node nodes[2];
    open_pair(nodes, &(struct dsm_net_rdma_config){.has_pin_max = true,
                                                   .pin_max_bytes = MEMORY_BYTES / 2});
    for (time_t since = time(NULL);;) {
        uint64_t n_keys = 0;
        for (uint64_t at = 0; at < MEMORY_BYTES; at += STEP)
            n_keys += ops->landing(nodes[0].net, nodes[0].memory + at, STEP) != 0;
        ck_assert_uint_le(n_keys * STEP, MEMORY_BYTES / 2);
        if (n_keys * STEP == MEMORY_BYTES / 2)
            break;
        ck_assert(!is_late(since));
        sched_yield();
    }
    ck_assert_uint_eq(counters_of(&nodes[0]).pinned_bytes, MEMORY_BYTES / 2);
    close_pair(nodes);
}
END_TEST

/* ---- choosing ---- */

START_TEST(device_port_address_and_mtu_that_do_not_exist_are_refused)
{
    static const struct dsm_net_rdma_config bad[] = {
        {.device = "nosuch0"}, {.port = 77},  {.has_gid_index = true, .gid_index = 60000},
        {.mtu = 8192},         {.mtu = 1000},
    };
    struct node node;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(node_open(&node, 0, &bad[i]), DSM_E_INVAL);
}
END_TEST

TCase *net_rdma_landing(void)
{
    TCase *landing = tcase_create("landing");
    tcase_add_test(landing, bytes_without_a_key_are_copied_to_the_same_place);
    tcase_add_test(landing, write_with_a_key_that_was_never_given_is_a_loss);
    return landing;
}

TCase *net_rdma_pinning(void)
{
    TCase *pinning = tcase_create("pinning");
    tcase_add_test(pinning, only_registered_memory_is_kept_from_being_punched);
    tcase_add_test(pinning, memory_of_which_some_is_used_stays_registered);
    tcase_add_test(pinning, memory_that_is_not_used_any_more_is_let_go_and_goes_back);
    tcase_add_test(pinning, what_was_let_go_makes_room_below_the_limit);
    tcase_add_test(pinning, what_was_registered_before_a_loss_stays_registered);
    tcase_add_test(pinning, limit_is_within_what_the_caller_allows);
    tcase_add_test(pinning, key_is_given_up_to_the_limit);
    return pinning;
}

TCase *net_rdma_choosing(void)
{
    TCase *choosing = tcase_create("choosing");
    tcase_add_test(choosing, device_port_address_and_mtu_that_do_not_exist_are_refused);
    return choosing;
}
