/* SPDX-License-Identifier: BSD-3-Clause */
/* net_tcp_sockets.c - the transport suite over tcp as between hosts: no memory is shared. */
#include "tests/conformance/net_suite.h"
#include "tests/conformance/net_cluster.h"

START_TEST(frames_go_through_sockets)
{
    struct cluster c;
    uint8_t payload[DSM_TEST_PATTERN_BYTES];
    struct dsm_net_counters counters;
    cluster_open(&c, &dsm_net_tcp, 2, NULL);
    ck_assert_int_eq(endpoint_send(c.at[0], 1, LANE_REQUEST, KIND_PLAIN, 4096, payload, 0), 0);
    dsm_net_tcp.flush(c.at[0]->net);
    endpoint_wait(c.at[1], c.at[1]->payloads_in[0][LANE_REQUEST] == 1);
    dsm_net_tcp.counters(c.at[0]->net, &counters);
    ck_assert_uint_eq(counters.shared, 0);
    ck_assert_uint_eq(counters.bells, 0);
    cluster_close(&c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tcp sockets");
    TCase *tcase = tcase_create("sockets");
    tcase_add_test(tcase, frames_go_through_sockets);
    suite_add_tcase(suite, tcase);
    cluster_is_socket_only = true;
    return net_suite_run(&dsm_net_tcp, suite);
}
