/* SPDX-License-Identifier: BSD-3-Clause */
/* net_suite.c - what every transport promises (net.h), as tests. */
#include "tests/conformance/net_suite.h"
#include "tests/conformance/net_cluster.h"
#include "base/bytes.h"
#include "base/rng.h"
#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define CASE_TIMEOUT_S 240

static const struct dsm_net_ops *ops;

static void must_send(struct endpoint *e, uint32_t to, unsigned lane, enum kind kind, uint32_t len,
                      uint8_t *payload, uint64_t cookie)
{
    int error = endpoint_send(e, to, lane, kind, len, payload, cookie);
    ck_assert_msg(error == 0, "rank %u could not send to %u: %d %s", e->rank, to, error,
                  to < e->n_ranks ? e->lost_why[to] : "");
}

/* The two are connected, both ways, when this returns. */
static void meet(struct cluster *c, uint32_t a, uint32_t b)
{
    uint64_t before = endpoint_get(c->at[b], c->at[b]->next_in[a][LANE_REQUEST]);
    must_send(c->at[a], b, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0);
    ops->flush(c->at[a]->net);
    endpoint_wait(c->at[b], c->at[b]->next_in[a][LANE_REQUEST] == before + 1);
}

/* ---- frames ---- */

START_TEST(frames_arrive_in_order_on_each_lane)
{
    struct cluster c;
    enum { N = 2000 };
    uint8_t payload[4096 + 8];
    cluster_open(&c, ops, 2, NULL);
    for (unsigned i = 0; i < N; i++) {
        must_send(c.at[0], 1, LANE_REQUEST, KIND_PLAIN, i % 300, payload, 0);
        must_send(c.at[0], 1, LANE_REPLY, KIND_PLAIN, i % 4097, payload, 0);
        if (i % 7 == 0)
            ops->flush(c.at[0]->net);
    }
    ops->flush(c.at[0]->net);
    /* Nobody claims: the service thread reads the request lane, and it alone. */
    endpoint_wait(c.at[1], c.at[1]->next_in[0][LANE_REQUEST] == N);
    ck_assert_uint_eq(endpoint_get(c.at[1], c.at[1]->n_on_service), N);
    ck_assert_uint_eq(endpoint_get(c.at[1], c.at[1]->next_in[0][LANE_REPLY]), 0);
    endpoint_poll_until(c.at[1], c.at[1]->next_in[0][LANE_REPLY] == N);
    cluster_close(&c);
}
END_TEST

/* Lengths around every limit that there is, in random order, some of them unwanted. */
START_TEST(payload_lands_where_on_header_says_or_nowhere)
{
    static const uint32_t lens[] = {0,    1,    63,   64,   65,    4031,  4032,  4095,
                                    4096, 4097, 4160, 8192, 65472, 65535, 65536, 300};
    enum { N = 600 };
    struct cluster c;
    uint64_t seed = test_seed("payload_lands_where_on_header_says_or_nowhere");
    cluster_open(&c, ops, 2, NULL);
    struct endpoint *from = c.at[0], *to = c.at[1];
    uint8_t *payloads = malloc((size_t)N * (DSM_NET_MAX_PAYLOAD + 8));
    ck_assert_ptr_nonnull(payloads);
    unsigned n_wanted = 0;
    for (unsigned i = 0; i < N; i++) {
        uint32_t len = lens[dsm_rng_below(&seed, sizeof lens / sizeof *lens)];
        enum kind kind = dsm_rng_below(&seed, 4) == 0 ? KIND_DISCARD : KIND_PLAIN;
        n_wanted += kind == KIND_PLAIN && len > 0;
        must_send(from, 1, LANE_REPLY, kind, len, payloads + i * (size_t)(DSM_NET_MAX_PAYLOAD + 8),
                  endpoint_cookie(from));
        if (dsm_rng_below(&seed, 5) == 0)
            ops->flush(from->net);
    }
    ops->flush(from->net);
    endpoint_poll_until(to, to->next_in[0][LANE_REPLY] == N &&
                                to->payloads_in[0][LANE_REPLY] == n_wanted);
    endpoint_wait(from, from->n_sent == N);
    free(payloads);
    cluster_close(&c);
}
END_TEST

START_TEST(payload_without_cookie_may_change_after_send)
{
    enum { N = 300 };
    struct cluster c;
    uint8_t payload[4096 + 8];
    cluster_open(&c, ops, 2, NULL);
    for (unsigned i = 0; i < N; i++) {
        must_send(c.at[0], 1, LANE_REQUEST, KIND_PLAIN, 4096, payload, 0);
        memset(payload, 0xee, sizeof payload);
    }
    ops->flush(c.at[0]->net);
    endpoint_wait(c.at[1], c.at[1]->payloads_in[0][LANE_REQUEST] == N);
    cluster_close(&c);
}
END_TEST

START_TEST(what_cannot_be_sent_is_refused_at_once)
{
    struct cluster c;
    static uint8_t payload[DSM_NET_MAX_PAYLOAD];
    uint8_t header[DSM_NET_HEADER_BYTES] = {0};
    cluster_open(&c, ops, 2, NULL);
    struct dsm_net *net = c.at[0]->net;
    ck_assert_int_eq(ops->send(net, 0, 0, header, NULL, 0, 0), DSM_E_INVAL); /* to itself */
    ck_assert_int_eq(ops->send(net, 2, 0, header, NULL, 0, 0), DSM_E_INVAL); /* to nobody */
    ck_assert_int_eq(ops->send(net, 1, 2, header, NULL, 0, 0), DSM_E_INVAL); /* no such lane */
    dsm_put_u32(header + DSM_NET_LEN_AT, 4097);
    ck_assert_int_eq(ops->send(net, 1, 0, header, payload, 0, 0), DSM_E_INVAL); /* not copied */
    dsm_put_u32(header + DSM_NET_LEN_AT, DSM_NET_MAX_PAYLOAD + 1);
    ck_assert_int_eq(ops->send(net, 1, 0, header, payload, 1, 0), DSM_E_INVAL); /* too long */
    dsm_put_u32(header + DSM_NET_LEN_AT, 1);
    ck_assert_int_eq(ops->send(net, 1, 0, header, NULL, 1, 0), DSM_E_INVAL); /* no bytes */
    meet(&c, 0, 1);
    cluster_close(&c);
}
END_TEST

START_TEST(many_frames_go_out_with_one_flush)
{
    enum { N = 20000 };
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    meet(&c, 0, 1);
    for (unsigned i = 0; i < N; i++)
        must_send(c.at[0], 1, LANE_REQUEST, KIND_PLAIN, 0, NULL,
                  i % 2 ? endpoint_cookie(c.at[0]) : 0);
    ops->flush(c.at[0]->net);
    endpoint_wait(c.at[1], c.at[1]->next_in[0][LANE_REQUEST] == N + 1);
    endpoint_wait(c.at[0], c.at[0]->n_sent == N / 2);
    /* Fewer batches than frames: they were read in runs. How long these are depends on who is
     * faster. */
    ck_assert_uint_lt(endpoint_get(c.at[1], c.at[1]->n_batches), N / 2);
    cluster_close(&c);
}
END_TEST

START_TEST(queue_beyond_its_bound_is_refused_and_what_was_taken_arrives)
{
    struct cluster c;
    uint8_t payload[8 + 8];
    cluster_open(&c, ops, 2, NULL);
    uint64_t n = 0;
    int error;
    while ((error = endpoint_send(c.at[0], 1, LANE_REPLY, KIND_PLAIN, 8, payload, 0)) == 0)
        ck_assert_uint_lt(++n, 10u << 20);
    ck_assert_int_eq(error, DSM_E_NOMEM);
    ck_assert_uint_ge(n, 1000);
    ops->flush(c.at[0]->net);
    endpoint_poll_until(c.at[1], c.at[1]->next_in[0][LANE_REPLY] == n);
    /* There is room again. */
    must_send(c.at[0], 1, LANE_REPLY, KIND_PLAIN, 8, payload, 0);
    ops->flush(c.at[0]->net);
    endpoint_poll_until(c.at[1], c.at[1]->next_in[0][LANE_REPLY] == n + 1);
    cluster_close(&c);
}
END_TEST

/* Each puts far more than sockets hold on its way before anybody reads a byte. */
START_TEST(two_that_send_before_reading_do_not_stop_each_other)
{
    enum { N = 512 }; /* of 64 KiB, each way and lane: 64 MiB in all */
    struct cluster c;
    static uint8_t payload[2][DSM_TEST_PATTERN_BYTES];
    cluster_open(&c, ops, 2, NULL);
    meet(&c, 0, 1);
    for (unsigned i = 0; i < N; i++) {
        for (uint32_t rank = 0; rank < 2; rank++) {
            struct endpoint *e = c.at[rank];
            must_send(e, 1 - rank, LANE_REPLY, KIND_DISCARD, DSM_NET_MAX_PAYLOAD, payload[rank],
                      endpoint_cookie(e));
            ops->flush(e->net);
        }
    }
    ck_assert_uint_lt(endpoint_get(c.at[0], c.at[0]->n_sent), N); /* the sockets did fill */
    for (uint32_t rank = 0; rank < 2; rank++)
        endpoint_poll_until(c.at[rank], c.at[rank]->next_in[1 - rank][LANE_REPLY] == N);
    endpoint_wait(c.at[0], c.at[0]->n_sent == N);
    endpoint_wait(c.at[1], c.at[1]->n_sent == N);
    cluster_close(&c);
}
END_TEST

/* ---- who reads when ---- */

START_TEST(under_a_claim_the_service_thread_reads_nothing)
{
    enum { N = 500 };
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    meet(&c, 0, 1);
    ops->claim(c.at[1]->net);
    endpoint_settle(c.at[1]);
    uint64_t before = endpoint_get(c.at[1], c.at[1]->n_on_service);
    for (unsigned i = 0; i < N; i++) {
        must_send(c.at[0], 1, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0);
        ops->flush(c.at[0]->net);
    }
    endpoint_poll_until(c.at[1], c.at[1]->next_in[0][LANE_REQUEST] == N + 1);
    ck_assert_uint_eq(endpoint_get(c.at[1], c.at[1]->n_on_service), before);
    cluster_close(&c);
}
END_TEST

struct pinger {
    struct endpoint *e;
    unsigned n;
};

/* A ping is sent when the answer to the last has come, so one forgotten request stops it. */
static void *ping(void *user)
{
    struct pinger *p = user;
    for (unsigned i = 0; i < p->n; i++) {
        must_send(p->e, 1, LANE_REQUEST, KIND_ECHO, 0, NULL, 0);
        ops->flush(p->e->net);
        endpoint_poll_until(p->e, p->e->next_in[1][LANE_REPLY] == i + 1);
    }
    return NULL;
}

static void claim_and_release(uint64_t spin_ns)
{
    struct cluster c;
    uint64_t seed = test_seed("claim and release");
    struct cluster_options options = {.odd_rank = UINT32_MAX, .spin_ns = spin_ns};
    cluster_open(&c, ops, 2, &options);
    struct pinger pinger = {c.at[0], 4000};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, ping, &pinger), 0);
    struct endpoint *e = c.at[1];
    for (;;) {
        pthread_mutex_lock(&e->lock);
        bool is_done = e->next_in[0][LANE_REQUEST] >= pinger.n;
        ck_assert_msg(!e->failure[0], "%s", e->failure);
        pthread_mutex_unlock(&e->lock);
        if (is_done)
            break;
        ops->claim(e->net);
        for (uint64_t i = dsm_rng_below(&seed, 4); i > 0; i--)
            ops->poll(e->net, 0);
        ops->release(e->net);
        /* Leaves the service thread a chance, of a random length. */
        uint64_t n_yields = dsm_rng_below(&seed, 30);
        for (uint64_t i = 0; i < n_yields; i++)
            sched_yield();
        if (dsm_rng_below(&seed, 8) == 0) /* until the service thread has read something */
            endpoint_wait(e, e->next_in[0][LANE_REQUEST] >= pinger.n || e->n_on_service > e->mark ||
                                 ((e->mark = e->n_on_service), false));
    }
    pthread_join(thread, NULL);
    cluster_close(&c);
}

START_TEST(release_forgets_nothing_that_came_under_a_claim)
{
    claim_and_release(0);
}
END_TEST

START_TEST(release_forgets_nothing_while_the_service_thread_polls)
{
    claim_and_release(50000);
}
END_TEST

START_TEST(release_finds_what_lay_there)
{
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    meet(&c, 0, 1);
    for (unsigned i = 0; i < 200; i++) {
        ops->claim(c.at[1]->net);
        endpoint_settle(
            c.at[1]); /* a turn of the service thread that began before may still read */
        must_send(c.at[0], 1, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0);
        ops->flush(c.at[0]->net);
        struct pollfd fd = {.fd = ops->poll_fd(c.at[1]->net), .events = POLLIN};
        ck_assert_int_eq(poll(&fd, 1, GUARD_S * 1000), 1); /* it is there, and nobody reads it */
        ops->release(c.at[1]->net);
        endpoint_wait(c.at[1], c.at[1]->next_in[0][LANE_REQUEST] == i + 2);
    }
    cluster_close(&c);
}
END_TEST

static void *kick(void *user)
{
    struct endpoint *e = user;
    ops->kick(e->net);
    return NULL;
}

START_TEST(kick_ends_a_poll_that_waits)
{
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    for (unsigned i = 0; i < 100; i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, kick, c.at[0]), 0);
        ops->claim(c.at[0]->net);
        ck_assert_int_eq(ops->poll(c.at[0]->net, -1), 0); /* without it, for ever */
        ops->release(c.at[0]->net);
        pthread_join(thread, NULL);
    }
    cluster_close(&c);
}
END_TEST

START_TEST(poll_waits_no_longer_than_asked)
{
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    ops->claim(c.at[0]->net);
    ck_assert_int_eq(ops->poll(c.at[0]->net, 0), 0);
    ck_assert_int_eq(ops->poll(c.at[0]->net, 1), 0);
    ck_assert_int_eq(ops->poll(c.at[0]->net, 20000), 0);
    ops->release(c.at[0]->net);
    cluster_close(&c);
}
END_TEST

/* What announced a frame may come after it: then a look that finds nothing makes it silent. */
static void falls_silent(struct endpoint *e, struct pollfd *fd)
{
    struct timespec deadline = guard_deadline();
    while (poll(fd, 1, 0) == 1) {
        ops->claim(e->net);
        ck_assert_int_eq(ops->poll(e->net, 1), 0);
        ops->release(e->net);
        ck_assert_msg(is_before(&deadline), "readable, and there is nothing");
    }
}

START_TEST(poll_fd_tells_what_poll_would_find)
{
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    meet(&c, 0, 1);
    struct pollfd fd = {.fd = ops->poll_fd(c.at[1]->net), .events = POLLIN};
    falls_silent(c.at[1], &fd);
    must_send(c.at[0], 1, LANE_REPLY, KIND_PLAIN, 0, NULL, 0);
    ops->flush(c.at[0]->net);
    ck_assert_int_eq(poll(&fd, 1, GUARD_S * 1000), 1);
    endpoint_poll_until(c.at[1], c.at[1]->next_in[0][LANE_REPLY] == 1);
    falls_silent(c.at[1], &fd);
    cluster_close(&c);
}
END_TEST

/* ---- connecting ---- */

static void *send_one(void *user)
{
    struct endpoint *e = user;
    must_send(e, 1 - e->rank, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0);
    ops->flush(e->net);
    return NULL;
}

START_TEST(two_that_connect_at_once_lose_nothing)
{
    for (unsigned round = 0; round < 40; round++) {
        struct cluster c;
        pthread_t threads[2];
        cluster_open(&c, ops, 2, NULL);
        for (uint32_t rank = 0; rank < 2; rank++)
            ck_assert_int_eq(pthread_create(&threads[rank], NULL, send_one, c.at[rank]), 0);
        for (uint32_t rank = 0; rank < 2; rank++) {
            endpoint_wait(c.at[rank], c.at[rank]->next_in[1 - rank][LANE_REQUEST] == 1);
            pthread_join(threads[rank], NULL);
        }
        /* The reply lanes work as well, and nobody lost anybody. */
        for (uint32_t rank = 0; rank < 2; rank++) {
            must_send(c.at[rank], 1 - rank, LANE_REPLY, KIND_PLAIN, 0, NULL, 0);
            ops->flush(c.at[rank]->net);
        }
        for (uint32_t rank = 0; rank < 2; rank++) {
            endpoint_poll_until(c.at[rank], c.at[rank]->next_in[1 - rank][LANE_REPLY] == 1);
            ck_assert_uint_eq(endpoint_get(c.at[rank], c.at[rank]->n_lost[1 - rank]), 0);
        }
        cluster_close(&c);
    }
}
END_TEST

START_TEST(nobody_connects_before_the_first_send)
{
    struct cluster c;
    unsigned before = count_descriptors();
    cluster_open(&c, ops, 4, NULL);
    unsigned opened = count_descriptors();
    ck_assert(!ops->is_connected(c.at[0]->net, 1));
    meet(&c, 0, 1);
    ck_assert(ops->is_connected(c.at[0]->net, 1) && ops->is_connected(c.at[1]->net, 0));
    ck_assert(!ops->is_connected(c.at[0]->net, 2) && !ops->is_connected(c.at[2]->net, 0));
    unsigned met = count_descriptors();
    ck_assert_uint_gt(opened, before);
    if (ops == &dsm_net_tcp)
        /* Two connections, both ends here, and to each lane's reader the pipe that wakes it. */
        ck_assert_uint_eq(met - opened, cluster_is_socket_only ? 4 : 8);
    cluster_close(&c);
}
END_TEST

struct talker {
    struct endpoint *e;
    uint64_t seed;
};
enum { TALK_FRAMES = 400, TALK_RANKS = 8 };

/* Sends to everybody on both lanes, and reads under claims between. */
static void *talk(void *user)
{
    struct talker *t = user;
    struct endpoint *e = t->e;
    uint8_t payload[4096 + 8];
    for (unsigned i = 0; i < TALK_FRAMES; i++) {
        for (uint32_t to = 0; to < TALK_RANKS; to++) {
            if (to == e->rank)
                continue;
            for (unsigned lane = 0; lane < TEST_LANES; lane++)
                must_send(e, to, lane, KIND_PLAIN, (uint32_t)dsm_rng_below(&t->seed, 600), payload,
                          0);
        }
        if (dsm_rng_below(&t->seed, 3))
            ops->flush(e->net);
        if (dsm_rng_below(&t->seed, 4) == 0) {
            ops->claim(e->net);
            ops->poll(e->net, 0);
            ops->release(e->net);
        }
    }
    ops->flush(e->net);
    endpoint_poll_until(e, e->n_frames == 2 * TALK_FRAMES * (TALK_RANKS - 1));
    return NULL;
}

START_TEST(eight_ranks_talk_all_to_all)
{
    struct cluster c;
    struct talker talkers[TALK_RANKS];
    pthread_t threads[TALK_RANKS];
    uint64_t seed = test_seed("eight_ranks_talk_all_to_all");
    cluster_open(&c, ops, TALK_RANKS, NULL);
    for (uint32_t rank = 0; rank < TALK_RANKS; rank++) {
        talkers[rank] = (struct talker){c.at[rank], dsm_rng_next(&seed)};
        ck_assert_int_eq(pthread_create(&threads[rank], NULL, talk, &talkers[rank]), 0);
    }
    for (uint32_t rank = 0; rank < TALK_RANKS; rank++)
        pthread_join(threads[rank], NULL);
    cluster_close(&c);
}
END_TEST

/* ---- refusals ---- */

/* Rank 1 differs in one thing; rank 0's frame does not reach it, and rank 0 is told why. */
static void refuse(const struct cluster_options *options, int error, const char *text,
                   const char *text_too)
{
    struct cluster c;
    cluster_open(&c, ops, 2, options);
    uint64_t cookie = endpoint_cookie(c.at[0]);
    must_send(c.at[0], 1, LANE_REQUEST, KIND_PLAIN, 0, NULL, cookie);
    ops->flush(c.at[0]->net);
    endpoint_wait(c.at[0], c.at[0]->n_lost[1] == 1 && c.at[0]->n_sent == 1);
    ck_assert_int_eq(c.at[0]->lost_error[1], error);
    ck_assert_msg(strstr(c.at[0]->lost_why[1], text) && strstr(c.at[0]->lost_why[1], text_too),
                  "\"%s\" tells not of %s, %s", c.at[0]->lost_why[1], text, text_too);
    ck_assert_uint_eq(endpoint_get(c.at[1], c.at[1]->n_frames), 0);
    ck_assert_int_eq(endpoint_send(c.at[0], 1, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0), DSM_E_PEER);
    cluster_close(&c);
}

START_TEST(wrong_token_is_refused)
{
    refuse(&(struct cluster_options){.odd_rank = 1, .has_odd_token = true}, DSM_E_AUTH,
           "wrong job token", "rank 1");
    refuse(&(struct cluster_options){.odd_rank = 0, .has_odd_token = true}, DSM_E_AUTH,
           "wrong job token", "rank 1");
}
END_TEST

START_TEST(other_build_is_refused_naming_both)
{
    refuse(&(struct cluster_options){.odd_rank = 1, .odd_build = "0.9.9-odd"}, DSM_E_MISMATCH,
           "0.9.9-odd", "0.1.0-test");
}
END_TEST

START_TEST(other_job_size_is_refused_naming_both)
{
    refuse(&(struct cluster_options){.odd_rank = 0, .odd_n_ranks = 7}, DSM_E_MISMATCH, "7 ranks",
           "rank 1 2");
}
END_TEST

START_TEST(other_epoch_is_refused_naming_both)
{
    refuse(&(struct cluster_options){.odd_rank = 1, .odd_epoch = 41}, DSM_E_MISMATCH, "41", "in 1");
}
END_TEST

START_TEST(another_rank_than_meant_is_refused)
{
    struct cluster c;
    struct cluster_options options = {.odd_rank = 0, .has_swapped_addresses = true};
    cluster_open(&c, ops, 3, &options);
    must_send(c.at[0], 2, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0); /* that address is our own */
    must_send(c.at[0], 1, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0); /* this one is right */
    ops->flush(c.at[0]->net);
    endpoint_wait(c.at[0], c.at[0]->n_lost[2] == 1);
    ck_assert_int_eq(c.at[0]->lost_error[2], DSM_E_MISMATCH);
    endpoint_wait(c.at[1], c.at[1]->next_in[0][LANE_REQUEST] == 1);
    cluster_close(&c);
}
END_TEST

/* ---- loss ---- */

START_TEST(peer_that_ends_is_lost_once_and_every_cookie_comes_back)
{
    enum { N = 200 };
    struct cluster c;
    static uint8_t payload[DSM_TEST_PATTERN_BYTES];
    cluster_open(&c, ops, 3, NULL);
    meet(&c, 0, 1);
    meet(&c, 0, 2);
    for (unsigned i = 0; i < N; i++) /* more than the sockets hold: nobody reads that lane */
        must_send(c.at[0], 1, LANE_REPLY, KIND_DISCARD, DSM_NET_MAX_PAYLOAD, payload,
                  endpoint_cookie(c.at[0]));
    ops->flush(c.at[0]->net);
    endpoint_close(c.at[1]);
    endpoint_wait(c.at[0], c.at[0]->n_lost[1] == 1);
    ck_assert_uint_eq(endpoint_get(c.at[0], c.at[0]->n_sent), N); /* before the loss */
    ck_assert_int_eq(c.at[0]->lost_error[1], DSM_E_PEER);
    ck_assert_ptr_nonnull(strstr(c.at[0]->lost_why[1], "rank 1"));
    uint64_t cookie = endpoint_cookie(c.at[0]);
    ck_assert_int_eq(endpoint_send(c.at[0], 1, LANE_REPLY, KIND_PLAIN, 0, NULL, cookie),
                     DSM_E_PEER);
    meet(&c, 0, 2); /* the others are as before */
    ck_assert_uint_eq(endpoint_get(c.at[0], c.at[0]->n_lost[2]), 0);
    cluster_close(&c);
}
END_TEST

START_TEST(loss_is_found_under_a_claim)
{
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    meet(&c, 0, 1);
    ops->claim(c.at[0]->net);
    endpoint_close(c.at[1]);
    endpoint_poll_until(c.at[0], c.at[0]->n_lost[1] == 1);
    cluster_close(&c);
}
END_TEST

/* Ends without a farewell, as a process that dies: what it had sent is there before the loss. */
START_TEST(last_replies_of_a_peer_come_before_its_loss)
{
    enum { N = 40 };
    struct cluster c;
    uint8_t payload[4096 + 8];
    for (unsigned round = 0; round < 10; round++) {
        cluster_open(&c, ops, 2, NULL);
        meet(&c, 1, 0);
        for (unsigned i = 0; i < N; i++)
            must_send(c.at[1], 0, LANE_REPLY, KIND_PLAIN, 4096, payload, 0);
        ops->flush(c.at[1]->net);
        endpoint_close(c.at[1]);
        endpoint_wait(c.at[0], c.at[0]->n_lost[1] == 1); /* nobody claims */
        ck_assert_uint_eq(endpoint_get(c.at[0], c.at[0]->next_in[1][LANE_REPLY]), N);
        cluster_close(&c);
    }
}
END_TEST

START_TEST(peer_that_says_farewell_is_no_loss_and_its_last_words_arrive)
{
    enum { N = 50 };
    struct cluster c;
    uint8_t payload[4096 + 8];
    for (unsigned round = 0; round < 20; round++) {
        cluster_open(&c, ops, 2, NULL);
        meet(&c, 0, 1);
        for (unsigned i = 0; i < N; i++) {
            must_send(c.at[1], 0, LANE_REPLY, KIND_PLAIN, 4096, payload, 0);
            must_send(c.at[1], 0, LANE_REQUEST, KIND_PLAIN, 4096, payload, 0);
            must_send(c.at[0], 1, LANE_REPLY, KIND_PLAIN, 4096, payload, 0); /* never read */
        }
        must_send(c.at[1], 0, LANE_REQUEST, KIND_FAREWELL, 0, NULL, 0);
        ops->flush(c.at[0]->net);
        ops->flush(c.at[1]->net);
        endpoint_close(c.at[1]);
        endpoint_poll_until(c.at[0], c.at[0]->next_in[1][LANE_REPLY] == N &&
                                         c.at[0]->next_in[1][LANE_REQUEST] == N + 1);
        /* Ends here as well, without a word. */
        ops->claim(c.at[0]->net);
        while (endpoint_probe(c.at[0], 1) != DSM_E_PEER)
            ops->poll(c.at[0]->net, 1000);
        ops->release(c.at[0]->net);
        ck_assert_uint_eq(endpoint_get(c.at[0], c.at[0]->n_lost[1]), 0);
        cluster_close(&c);
    }
}
END_TEST

START_TEST(peer_whose_frame_is_refused_is_lost)
{
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    meet(&c, 0, 1);
    must_send(c.at[0], 1, LANE_REQUEST, KIND_REFUSE, 0, NULL, 0);
    /* Is not believed any more, and not taken if rank 1 has hung up already. */
    int error = endpoint_send(c.at[0], 1, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0);
    ck_assert(error == 0 || error == DSM_E_PEER);
    ops->flush(c.at[0]->net);
    endpoint_wait(c.at[1], c.at[1]->n_lost[0] == 1);
    ck_assert_int_eq(c.at[1]->lost_error[0], DSM_E_PROTO);
    ck_assert_uint_eq(endpoint_get(c.at[1], c.at[1]->next_in[0][LANE_REQUEST]), 1);
    endpoint_wait(c.at[0], c.at[0]->n_lost[1] == 1);
    cluster_close(&c);
}
END_TEST

/* ---- expelled ---- */

static void expel_rank_0(struct endpoint *e)
{
    e->mark = ops->expel(e->net, 0, "rank 0 is expelled") ? 1 : 2;
}

struct stream {
    struct endpoint *e;
    atomic_bool has_begun;
};

/* Sends to rank 1 for as long as it takes it. */
static void *stream(void *user)
{
    struct stream *s = user;
    uint8_t payload[4096 + 8];
    struct timespec deadline = guard_deadline();
    for (unsigned i = 0;; i++) {
        int error = endpoint_send(s->e, 1, i % 2, KIND_PLAIN, 4096, payload, 0);
        s->e->ops->flush(s->e->net);
        atomic_store(&s->has_begun, i > 100);
        if (error == DSM_E_PEER)
            return NULL;
        if (error)
            sched_yield();
        ck_assert_msg(is_before(&deadline), "rank 1 takes frames for ever");
    }
}

/* A frame after on_lost is noted by the endpoint itself. */
START_TEST(expelled_peer_is_lost_once_and_nothing_of_it_comes_after)
{
    struct cluster c;
    pthread_t thread;
    cluster_open(&c, ops, 2, NULL);
    meet(&c, 0, 1);
    struct stream s = {.e = c.at[0]};
    ck_assert_int_eq(pthread_create(&thread, NULL, stream, &s), 0);
    endpoint_poll_until(c.at[1], c.at[1]->next_in[0][LANE_REPLY] > 20 || atomic_load(&s.has_begun));
    endpoint_run(c.at[1], expel_rank_0);
    ck_assert_uint_eq(endpoint_get(c.at[1], c.at[1]->mark), 1);
    endpoint_wait(c.at[1], c.at[1]->n_lost[0] == 1);
    ck_assert_int_eq(c.at[1]->lost_error[0], DSM_E_PEER);
    ck_assert_str_eq(c.at[1]->lost_why[0], "rank 0 is expelled");
    ck_assert_int_eq(endpoint_send(c.at[1], 0, LANE_REPLY, KIND_PLAIN, 0, NULL, 0), DSM_E_PEER);
    endpoint_wait(c.at[0], c.at[0]->n_lost[1] == 1); /* it finds out */
    pthread_join(thread, NULL);
    endpoint_run(c.at[1], expel_rank_0); /* a second time is none */
    ck_assert_uint_eq(endpoint_get(c.at[1], c.at[1]->mark), 1);
    ck_assert_uint_eq(endpoint_get(c.at[1], c.at[1]->n_lost[0]), 1);
    cluster_close(&c);
}
END_TEST

START_TEST(peer_that_was_never_met_can_be_expelled)
{
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    endpoint_run(c.at[1], expel_rank_0);
    endpoint_wait(c.at[1], c.at[1]->n_lost[0] == 1);
    ck_assert_int_eq(endpoint_send(c.at[1], 0, LANE_REPLY, KIND_PLAIN, 0, NULL, 0), DSM_E_PEER);
    must_send(c.at[0], 1, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0); /* and gets in no more */
    ops->flush(c.at[0]->net);
    endpoint_wait(c.at[0], c.at[0]->n_lost[1] == 1);
    ck_assert_uint_eq(endpoint_get(c.at[1], c.at[1]->n_frames), 0);
    cluster_close(&c);
}
END_TEST

/* ---- closing ---- */

START_TEST(close_with_traffic_in_flight_hands_everything_back)
{
    static uint8_t payload[DSM_TEST_PATTERN_BYTES];
    uint64_t seed = test_seed("close_with_traffic_in_flight_hands_everything_back");
    for (unsigned round = 0; round < 3; round++) {
        struct cluster c;
        cluster_open(&c, ops, 3, NULL);
        for (unsigned i = 0; i < 300; i++) {
            uint32_t from = (uint32_t)dsm_rng_below(&seed, 3);
            uint32_t to = (from + 1 + (uint32_t)dsm_rng_below(&seed, 2)) % 3;
            struct endpoint *e = c.at[from];
            must_send(e, to, (unsigned)dsm_rng_below(&seed, 2), KIND_DISCARD, 65536, payload,
                      endpoint_cookie(e));
            if (i % 3 == 0)
                ops->flush(e->net);
        }
        cluster_close(&c); /* looks at every cookie */
    }
}
END_TEST

START_TEST(no_descriptor_stays_behind)
{
    struct cluster c;
    uint8_t payload[4096 + 8];
    unsigned before = 0;
    for (unsigned round = 0; round < 5; round++) {
        cluster_open(&c, ops, 4, NULL);
        for (uint32_t from = 0; from < 4; from++) {
            for (uint32_t to = 0; to < 4; to++) {
                if (from == to)
                    continue;
                must_send(c.at[from], to, LANE_REQUEST, KIND_PLAIN, 4096, payload, 0);
                ops->flush(c.at[from]->net);
            }
        }
        endpoint_wait(c.at[3], c.at[3]->next_in[0][LANE_REQUEST] == 1);
        endpoint_close(c.at[2]);
        cluster_close(&c);
        if (round == 0)
            before = count_descriptors(); /* the first round may open what stays for good */
        ck_assert_uint_eq(count_descriptors(), before);
    }
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create(ops->name);
    TCase *frames = tcase_create("frames");
    tcase_add_test(frames, frames_arrive_in_order_on_each_lane);
    tcase_add_test(frames, payload_lands_where_on_header_says_or_nowhere);
    tcase_add_test(frames, payload_without_cookie_may_change_after_send);
    tcase_add_test(frames, what_cannot_be_sent_is_refused_at_once);
    tcase_add_test(frames, many_frames_go_out_with_one_flush);
    tcase_add_test(frames, queue_beyond_its_bound_is_refused_and_what_was_taken_arrives);
    tcase_add_test(frames, two_that_send_before_reading_do_not_stop_each_other);
    TCase *reading = tcase_create("reading");
    tcase_add_test(reading, under_a_claim_the_service_thread_reads_nothing);
    tcase_add_test(reading, release_forgets_nothing_that_came_under_a_claim);
    tcase_add_test(reading, release_forgets_nothing_while_the_service_thread_polls);
    tcase_add_test(reading, release_finds_what_lay_there);
    tcase_add_test(reading, kick_ends_a_poll_that_waits);
    tcase_add_test(reading, poll_waits_no_longer_than_asked);
    tcase_add_test(reading, poll_fd_tells_what_poll_would_find);
    TCase *connecting = tcase_create("connecting");
    tcase_add_test(connecting, two_that_connect_at_once_lose_nothing);
    tcase_add_test(connecting, nobody_connects_before_the_first_send);
    tcase_add_test(connecting, eight_ranks_talk_all_to_all);
    TCase *refusals = tcase_create("refusals");
    tcase_add_test(refusals, wrong_token_is_refused);
    tcase_add_test(refusals, other_build_is_refused_naming_both);
    tcase_add_test(refusals, other_job_size_is_refused_naming_both);
    tcase_add_test(refusals, other_epoch_is_refused_naming_both);
    tcase_add_test(refusals, another_rank_than_meant_is_refused);
    TCase *loss = tcase_create("loss");
    tcase_add_test(loss, peer_that_ends_is_lost_once_and_every_cookie_comes_back);
    tcase_add_test(loss, loss_is_found_under_a_claim);
    tcase_add_test(loss, last_replies_of_a_peer_come_before_its_loss);
    tcase_add_test(loss, peer_that_says_farewell_is_no_loss_and_its_last_words_arrive);
    tcase_add_test(loss, peer_whose_frame_is_refused_is_lost);
    tcase_add_test(loss, expelled_peer_is_lost_once_and_nothing_of_it_comes_after);
    tcase_add_test(loss, peer_that_was_never_met_can_be_expelled);
    TCase *closing = tcase_create("closing");
    tcase_add_test(closing, close_with_traffic_in_flight_hands_everything_back);
    tcase_add_test(closing, no_descriptor_stays_behind);
    TCase *const cases[] = {frames, reading, connecting, refusals, loss, closing};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        tcase_set_timeout(cases[i], CASE_TIMEOUT_S);
        suite_add_tcase(suite, cases[i]);
    }
    return suite;
}

int net_suite_run(const struct dsm_net_ops *under_test, Suite *extra)
{
    ops = under_test;
    SRunner *runner = srunner_create(make_suite());
    if (extra)
        srunner_add_suite(runner, extra);
    srunner_run_all(runner, CK_ENV);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
