/* SPDX-License-Identifier: BSD-3-Clause */
/* net_faulty_loop.c - the transport suite over a bad network of queues, and that it is bad. */
#include "tests/conformance/net_suite.h"
#include "tests/conformance/net_cluster.h"
#include "net/faulty.h"
#include <stdlib.h>
#include <string.h>

static const struct dsm_net_ops *const ops = &dsm_net_faulty_loop;

/* The endpoints check that no frame overtakes another of its lane. */
START_TEST(lanes_overtake_each_other)
{
    struct cluster c;
    uint64_t n = 0;
    struct dsm_net_faulty_plan plan = {test_seed("lanes_overtake_each_other"), 2000, 50};
    dsm_net_faulty_set_plan(&plan);
    cluster_open(&c, ops, 2, NULL);
    struct timespec deadline = guard_deadline();
    struct endpoint *to = c.at[1];
    do { /* in step, as they are sent; not as they come */
        for (unsigned lane = 0; lane < TEST_LANES; lane++)
            ck_assert_int_eq(endpoint_send(c.at[0], 1, lane, KIND_PLAIN, 0, NULL, 0), 0);
        ops->flush(c.at[0]->net);
        n++;
        if (n % 50 == 0)
            endpoint_poll_until(to, to->n_frames == 2 * n);
        ck_assert_msg(is_before(&deadline), "the lanes stay in step");
    } while (endpoint_get(to, to->lead[0]) < 3 || endpoint_get(to, to->lead[1]) < 3);
    endpoint_poll_until(to, to->n_frames == 2 * n);
    cluster_close(&c);
}
END_TEST

START_TEST(peer_that_is_cut_off_is_lost_to_one_side)
{
    struct cluster c;
    uint8_t payload[64 + 8];
    cluster_open(&c, ops, 3, NULL);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_eq(endpoint_send(c.at[0], 1, LANE_REPLY, KIND_PLAIN, 64, payload,
                                       endpoint_cookie(c.at[0])),
                         0);
    ops->flush(c.at[0]->net);
    dsm_net_faulty_cut(c.at[0]->net, 1);
    ck_assert_uint_eq(endpoint_get(c.at[0], c.at[0]->n_lost[1]), 1);
    ck_assert_int_eq(endpoint_send(c.at[0], 1, LANE_REPLY, KIND_PLAIN, 0, NULL, 0), DSM_E_PEER);
    /* Rank 1 knows nothing, and what it says goes nowhere. */
    ck_assert_int_eq(endpoint_send(c.at[1], 0, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0), 0);
    ck_assert_int_eq(endpoint_send(c.at[1], 2, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0), 0);
    ck_assert_int_eq(endpoint_send(c.at[2], 0, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0), 0);
    ops->flush(c.at[1]->net);
    ops->flush(c.at[2]->net);
    endpoint_wait(c.at[2], c.at[2]->next_in[1][LANE_REQUEST] == 1);
    endpoint_wait(c.at[0], c.at[0]->next_in[2][LANE_REQUEST] == 1);
    ck_assert_uint_eq(endpoint_get(c.at[1], c.at[1]->n_lost[0]), 0);
    endpoint_close(c.at[1]);
    endpoint_settle(c.at[0]);
    ck_assert_uint_eq(endpoint_get(c.at[0], c.at[0]->n_lost[1]), 1); /* not again */
    ck_assert_uint_eq(endpoint_get(c.at[0], c.at[0]->next_in[1][LANE_REQUEST]), 0);
    cluster_close(&c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("faulty");
    TCase *faults = tcase_create("faults");
    tcase_set_timeout(faults, 240);
    tcase_add_test(faults, lanes_overtake_each_other);
    tcase_add_test(faults, peer_that_is_cut_off_is_lost_to_one_side);
    suite_add_tcase(suite, faults);
    return net_suite_run(ops, suite);
}
