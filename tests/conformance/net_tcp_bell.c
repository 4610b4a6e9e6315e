/* SPDX-License-Identifier: BSD-3-Clause */
/* net_tcp_bell.c - how ranks of one host wake each other: through pipes, or else the sockets. */
#define _GNU_SOURCE
#include "tests/conformance/net_tcp_bell.h"
#include "tests/conformance/net_cluster.h"
#include "net/tcp.h"
#include <netinet/in.h>
#include <netinet/tcp.h>

enum { N_PINGS = 300 };

static const struct dsm_net_ops *const ops = &dsm_net_tcp;

/* The kernel's struct tcp_info (linux/tcp.h, which does not go with netinet/tcp.h) up to what is
 * looked at here; that of the C library ends before. */
struct info {
    uint8_t state;
    uint8_t others[127];
    uint64_t bytes_received;
};

/* Of all that this process has received through sockets that are connected. */
static uint64_t socket_bytes(void)
{
    uint64_t n_bytes = 0;
    for (int fd = 0; fd < 1024; fd++) {
        struct info info = {0};
        socklen_t len = sizeof info;
        if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
            info.state == TCP_ESTABLISHED && len == sizeof info)
            n_bytes += info.bytes_received;
    }
    return n_bytes;
}

static uint64_t bells_of(struct endpoint *e)
{
    struct dsm_net_counters counters;
    ops->counters(e->net, &counters);
    return counters.bells;
}

/* Each waits for the answer to the last, asleep; one bell forgotten stops it. The first finds the
 * other's service thread asleep. */
static void ping(struct cluster *c, unsigned n)
{
    struct endpoint *from = c->at[0];
    const uint32_t to = 1;
    endpoint_settle(c->at[to]);
    uint64_t before = endpoint_get(from, from->next_in[to][LANE_REPLY]);
    for (unsigned i = 0; i < n; i++) {
        ck_assert_int_eq(endpoint_send(from, to, LANE_REQUEST, KIND_ECHO, 0, NULL, 0), 0);
        ops->flush(from->net);
        endpoint_poll_until(from, from->next_in[to][LANE_REPLY] == before + i + 1);
    }
}

START_TEST(ranks_of_one_host_leave_the_sockets_alone)
{
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    ping(&c, 1);
    uint64_t bytes = socket_bytes(), bells = bells_of(c.at[0]);
    ck_assert_uint_gt(bytes, 0); /* the hellos */
    ping(&c, N_PINGS);
    ck_assert_uint_gt(bells_of(c.at[0]), bells);
    ck_assert_uint_eq(socket_bytes(), bytes);
    cluster_close(&c);
}
END_TEST

/* As where the pipe is another's by now. Loop test: rank 1's pipes, or those of both. */
START_TEST(where_there_is_no_pipe_the_sockets_carry_bells)
{
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    for (int rank = 1; rank >= _i; rank--)
        for (unsigned lane = 0; lane < DSM_TCP_LANES; lane++)
            c.at[rank]->net->bells[lane].name.inode ^= 1;
    ping(&c, 1);
    uint64_t bytes = socket_bytes(), bells = bells_of(c.at[0]);
    ping(&c, N_PINGS);
    ck_assert_uint_gt(bells_of(c.at[0]), bells);
    ck_assert_uint_gt(socket_bytes(), bytes);
    cluster_close(&c);
}
END_TEST

TCase *net_tcp_bells(void)
{
    TCase *tcase = tcase_create("bells");
    tcase_add_test(tcase, ranks_of_one_host_leave_the_sockets_alone);
    tcase_add_loop_test(tcase, where_there_is_no_pipe_the_sockets_carry_bells, 0, 2);
    return tcase;
}
