/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_tcp.c - the transport suite over tcp, and what only sockets can do wrong: strangers at the
 * port, peers that speak nonsense or nothing, addresses that lead nowhere.
 */
#define _GNU_SOURCE
#include "tests/conformance/net_suite.h"
#include "tests/conformance/net_cluster.h"
#include "tests/conformance/net_tcp_bell.h"
#include "net/hello.h"
#include "base/bytes.h"
#include "base/rng.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct dsm_net_ops *const ops = &dsm_net_tcp;

/* ---- a stranger with a socket ---- */

static struct sockaddr_in address_of(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    const char *colon = strrchr(text, ':');
    char host[64] = {0};
    ck_assert_ptr_nonnull(colon);
    memcpy(host, text, (size_t)(colon - text));
    address.sin_port = htons((uint16_t)atoi(colon + 1));
    ck_assert_int_eq(inet_pton(AF_INET, host, &address.sin_addr), 1);
    return address;
}

static void knock_with(int fd, struct endpoint *e)
{
    char text[96];
    ck_assert_int_eq(ops->address(e->net, text, sizeof text), 0);
    struct sockaddr_in address = address_of(text);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
}

static int knock(struct endpoint *e)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    knock_with(fd, e);
    return fd;
}

static void say(int fd, const void *bytes, size_t len)
{
    ck_assert_int_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Waits until the other end hangs up; the bytes that came before. */
static size_t hear_the_end(int fd, uint8_t *out, size_t out_bytes)
{
    size_t n = 0;
    for (;;) {
        uint8_t byte;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ck_assert_msg(poll(&p, 1, GUARD_S * 1000) == 1, "the connection stays open");
        ssize_t got = recv(fd, &byte, 1, 0);
        if (got <= 0) {
            close(fd);
            return n;
        }
        ck_assert_uint_lt(n, out_bytes);
        out[n++] = byte;
    }
}

static void hear_all(int fd, uint8_t *out, size_t len)
{
    while (len) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ck_assert_msg(poll(&p, 1, GUARD_S * 1000) == 1, "no answer");
        ssize_t got = recv(fd, out, len, 0);
        ck_assert_int_gt(got, 0);
        out += got;
        len -= (size_t)got;
    }
}

static struct dsm_hello_answer hear_answer(int fd)
{
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    struct dsm_hello_answer answer;
    const char *reason;
    hear_all(fd, packet, DSM_HELLO_PREFIX_BYTES);
    uint32_t len = dsm_get_u32(packet);
    ck_assert_uint_le(len, DSM_HELLO_MAX_BYTES);
    hear_all(fd, packet, len);
    ck_assert_int_eq(dsm_hello_unpack_answer(packet, len, &answer, &reason), 0);
    return answer;
}

/* As the clusters of these tests say it. */
static struct dsm_hello hello_of(uint32_t rank, uint32_t to_rank, uint32_t n_ranks, unsigned lane,
                                 uint64_t attempt)
{
    return (struct dsm_hello){
        .format_version = DSM_HELLO_FORMAT_VERSION,
        .token = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
        .rank = rank,
        .to_rank = to_rank,
        .n_ranks = n_ranks,
        .lane = lane,
        .epoch = 1,
        .page_bytes = 4096,
        .attempt = attempt,
        .build = "0.1.0-test",
    };
}

static void say_hello(int fd, const struct dsm_hello *hello)
{
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    say(fd, packet, dsm_hello_pack(hello, packet));
}

/* A false rank 1 that is connected to rank 0 properly. fds[lane that it sends on]. */
static void impersonate(struct endpoint *e, uint32_t n_ranks, int fds[2])
{
    for (unsigned lane = 0; lane < 2; lane++) {
        struct dsm_hello hello = hello_of(1, 0, n_ranks, lane, 77);
        fds[lane] = knock(e);
        say_hello(fds[lane], &hello);
        struct dsm_hello_answer answer = hear_answer(fds[lane]);
        ck_assert_int_eq(answer.status, DSM_HELLO_ACCEPTED);
        ck_assert_uint_eq(answer.hello.rank, 0);
        ck_assert_uint_eq(answer.hello.lane, lane ^ 1);
    }
}

static void meet(struct cluster *c, uint32_t a, uint32_t b)
{
    uint64_t before = endpoint_get(c->at[b], c->at[b]->next_in[a][LANE_REQUEST]);
    ck_assert_int_eq(endpoint_send(c->at[a], b, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0), 0);
    ops->flush(c->at[a]->net);
    endpoint_wait(c->at[b], c->at[b]->next_in[a][LANE_REQUEST] == before + 1);
}

/* ---- strangers ---- */

START_TEST(garbage_at_the_port_is_hung_up_on)
{
    struct cluster c;
    uint8_t bytes[3000], out[DSM_HELLO_PACKET_BYTES];
    uint64_t seed = test_seed("garbage_at_the_port_is_hung_up_on");
    cluster_open(&c, ops, 2, NULL);
    for (unsigned round = 0; round < 200; round++) {
        size_t len = 5 + dsm_rng_below(&seed, sizeof bytes - 5);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)dsm_rng_next(&seed);
        if (round % 2) /* a length that is allowed, and then nonsense */
            dsm_put_u32(bytes, (uint32_t)dsm_rng_below(&seed, len - 4 < 512 ? len - 4 : 512));
        int fd = knock(c.at[0]);
        (void)!send(fd, bytes, len, MSG_NOSIGNAL);
        (void)shutdown(fd, SHUT_WR); /* a length of zero bytes is not the end of a message */
        ck_assert_uint_le(hear_the_end(fd, out, sizeof out), sizeof out);
    }
    meet(&c, 1, 0); /* as if nothing had been */
    cluster_close(&c);
}
END_TEST

START_TEST(hello_that_is_too_long_is_hung_up_on_before_it_is_read)
{
    struct cluster c;
    uint8_t out[16];
    static const uint32_t lens[] = {DSM_HELLO_MAX_BYTES + 1, 1u << 20, UINT32_MAX};
    cluster_open(&c, ops, 2, NULL);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t prefix[4];
        dsm_put_u32(prefix, lens[i]);
        int fd = knock(c.at[0]);
        say(fd, prefix, sizeof prefix); /* the rest never comes */
        ck_assert_uint_eq(hear_the_end(fd, out, sizeof out), 0);
    }
    cluster_close(&c);
}
END_TEST

START_TEST(stranger_that_says_nothing_or_too_slowly_is_hung_up_on)
{
    struct cluster c;
    uint8_t out[16];
    struct cluster_options options = {.odd_rank = UINT32_MAX, .connect_timeout_s = 0.5};
    cluster_open(&c, ops, 2, &options);
    int silent = knock(c.at[0]), slow = knock(c.at[0]);
    uint8_t prefix[4];
    dsm_put_u32(prefix, DSM_HELLO_MAX_BYTES);
    for (unsigned i = 0; i < 4; i++)
        say(slow, prefix + i, 1);
    /* One byte at a time until it hangs up; each of them would restart a naive timer. */
    for (unsigned i = 0;; i++) {
        struct pollfd p = {.fd = slow, .events = POLLIN};
        if (poll(&p, 1, 100) == 1)
            break;
        (void)!send(slow, "x", 1, MSG_NOSIGNAL);
        ck_assert_uint_lt(i, DSM_HELLO_MAX_BYTES - 2); /* or it would be whole */
    }
    hear_the_end(slow, out, sizeof out);
    ck_assert_uint_eq(hear_the_end(silent, out, sizeof out), 0);
    meet(&c, 0, 1);
    cluster_close(&c);
}
END_TEST

START_TEST(crowd_of_strangers_keeps_no_peer_out)
{
    enum { N = 300 };
    struct cluster c;
    int fds[N];
    cluster_open(&c, ops, 2, NULL);
    for (unsigned i = 0; i < N; i++)
        fds[i] = knock(c.at[0]);
    meet(&c, 1, 0);
    unsigned n_open = count_descriptors();
    ck_assert_uint_lt(n_open, N + 160); /* the oldest have been hung up on */
    for (unsigned i = 0; i < N; i++)
        close(fds[i]);
    cluster_close(&c);
}
END_TEST

static void refused_hello(struct endpoint *e, const struct dsm_hello *hello, int error,
                          const char *text)
{
    int fd = knock(e);
    uint8_t out[DSM_HELLO_PACKET_BYTES];
    say_hello(fd, hello);
    struct dsm_hello_answer answer = hear_answer(fd);
    ck_assert_int_eq(answer.status, DSM_HELLO_REFUSED);
    ck_assert_int_eq(answer.error, error);
    ck_assert_msg(strstr(answer.reason, text) != NULL, "\"%s\" tells not of %s", answer.reason,
                  text);
    ck_assert_uint_eq(hear_the_end(fd, out, sizeof out), 0);
}

START_TEST(hello_that_does_not_fit_is_refused_with_a_reason)
{
    struct cluster c;
    struct dsm_hello hello;
    cluster_open(&c, ops, 3, NULL);
    hello = hello_of(1, 0, 3, 0, 5);
    hello.token[0] ^= 0x80;
    refused_hello(c.at[0], &hello, DSM_E_AUTH, "wrong job token");
    hello = hello_of(3, 0, 3, 0, 5);
    refused_hello(c.at[0], &hello, DSM_E_MISMATCH, "rank 3, the job has 0 to 2");
    hello = hello_of(1, 2, 3, 0, 5);
    refused_hello(c.at[0], &hello, DSM_E_MISMATCH, "wants rank 2, this is rank 0");
    hello = hello_of(1, 0, 3, 2, 5);
    refused_hello(c.at[0], &hello, DSM_E_MISMATCH, "lane 2");
    hello = hello_of(1, 0, 3, 0, 5);
    hello.page_bytes = 65536;
    refused_hello(c.at[0], &hello, DSM_E_MISMATCH, "65536 bytes");
    hello = hello_of(1, 0, 3, 0, 5);
    hello.format_version = 9;
    refused_hello(c.at[0], &hello, DSM_E_MISMATCH, "version 9");
    meet(&c, 0, 1);
    cluster_close(&c);
}
END_TEST

/* What is said to one without the token is fixed, so nothing of the job leaks. */
START_TEST(one_without_the_token_learns_nothing)
{
    struct cluster c;
    uint8_t heard[DSM_HELLO_PACKET_BYTES];
    struct dsm_hello hello = hello_of(1, 0, 2, 0, 5);
    struct dsm_hello_answer expected = {
        .status = DSM_HELLO_REFUSED, .error = DSM_E_AUTH, .reason = "wrong job token"};
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    memset(hello.token, 0, sizeof hello.token);
    strcpy(hello.build, "other");
    cluster_open(&c, ops, 2, NULL);
    int fd = knock(c.at[0]);
    say_hello(fd, &hello);
    size_t n = hear_the_end(fd, heard, sizeof heard);
    ck_assert_uint_eq(n, dsm_hello_pack_answer(&expected, packet));
    ck_assert_mem_eq(heard, packet, n);
    cluster_close(&c);
}
END_TEST

START_TEST(second_of_a_rank_is_refused)
{
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    meet(&c, 1, 0); /* rank 1 made the connection */
    struct dsm_hello hello = hello_of(1, 0, 2, 0, 5);
    refused_hello(c.at[0], &hello, DSM_E_BUSY, "rank 1 is connected already");
    meet(&c, 1, 0);
    cluster_close(&c);
}
END_TEST

START_TEST(lane_said_twice_is_refused)
{
    struct cluster c;
    cluster_open(&c, ops, 2, NULL);
    struct dsm_hello hello = hello_of(1, 0, 2, 1, 5);
    int fd = knock(c.at[0]);
    say_hello(fd, &hello);
    ck_assert_int_eq(hear_answer(fd).status, DSM_HELLO_ACCEPTED);
    refused_hello(c.at[0], &hello, DSM_E_BUSY, "twice");
    close(fd);
    meet(&c, 1, 0);
    cluster_close(&c);
}
END_TEST

/* A peer that got one connection accepted and vanished does not block the way for ever. */
START_TEST(attempt_left_half_done_makes_way)
{
    struct cluster c;
    for (unsigned round = 0; round < 4; round++) {
        cluster_open(&c, ops, 2, NULL);
        struct dsm_hello hello = hello_of(1, 0, 2, round % 2, 5);
        int fd = knock(c.at[0]);
        say_hello(fd, &hello);
        ck_assert_int_eq(hear_answer(fd).status, DSM_HELLO_ACCEPTED);
        if (round < 2) { /* rank 0 has something to say, and waits for the rest of the attempt */
            ck_assert_int_eq(endpoint_send(c.at[0], 1, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0), 0);
            endpoint_settle(c.at[0]);
            close(fd);
            endpoint_wait(c.at[1], c.at[1]->next_in[0][LANE_REQUEST] == 1);
        } else { /* the real rank 1 comes with an attempt of its own */
            meet(&c, 1, 0);
            close(fd);
        }
        cluster_close(&c);
    }
}
END_TEST

/* ---- on the lanes ---- */

START_TEST(frame_with_a_payload_that_is_too_long_ends_the_peer)
{
    for (unsigned lane = 0; lane < 2; lane++) {
        struct cluster c;
        int fds[2];
        uint8_t header[DSM_NET_HEADER_BYTES] = {0};
        cluster_open(&c, ops, 2, NULL);
        impersonate(c.at[0], 2, fds);
        dsm_put_u32(header + DSM_NET_LEN_AT, 70000);
        say(fds[lane], header, sizeof header);
        endpoint_poll_until(c.at[0], c.at[0]->n_lost[1] == 1);
        ck_assert_int_eq(c.at[0]->lost_error[1], DSM_E_PROTO);
        ck_assert_ptr_nonnull(strstr(c.at[0]->lost_why[1], "70000"));
        ck_assert_ptr_nonnull(strstr(c.at[0]->lost_why[1], "65536"));
        uint8_t out[8];
        ck_assert_uint_eq(hear_the_end(fds[0], out, sizeof out), 0);
        ck_assert_uint_eq(hear_the_end(fds[1], out, sizeof out), 0);
        cluster_close(&c);
    }
}
END_TEST

/* Frames that arrive in the smallest and oddest pieces. */
START_TEST(frames_in_pieces_are_put_together)
{
    enum { N = 60 };
    struct cluster c;
    int fds[2];
    uint64_t seed = test_seed("frames_in_pieces_are_put_together");
    cluster_open(&c, ops, 2, NULL);
    impersonate(c.at[0], 2, fds);
    static uint8_t stream[N * (DSM_NET_HEADER_BYTES + 5000)];
    size_t len = 0;
    for (unsigned i = 0; i < N; i++) {
        uint32_t payload_len = (uint32_t)dsm_rng_below(&seed, 4600);
        memset(stream + len, 0, DSM_NET_HEADER_BYTES);
        dsm_put_u64(stream + len, i);
        dsm_put_u32(stream + len + 8, i % 5 == 3 ? KIND_DISCARD : KIND_PLAIN);
        dsm_put_u32(stream + len + DSM_NET_LEN_AT, payload_len);
        make_pattern(stream + len + DSM_NET_HEADER_BYTES, payload_len, 1, 0, LANE_REQUEST, i);
        len += DSM_NET_HEADER_BYTES + payload_len;
    }
    for (size_t at = 0; at < len;) {
        size_t piece =
            dsm_rng_below(&seed, 3) ? 1 + dsm_rng_below(&seed, 70) : 1 + dsm_rng_below(&seed, 9000);
        piece = piece < len - at ? piece : len - at;
        say(fds[LANE_REQUEST], stream + at, piece);
        at += piece;
        if (dsm_rng_below(&seed, 2))
            endpoint_settle(c.at[0]); /* read before more comes */
    }
    endpoint_wait(c.at[0], c.at[0]->next_in[1][LANE_REQUEST] == N);
    close(fds[0]);
    close(fds[1]);
    cluster_close(&c);
}
END_TEST

/* What on_payload decided is carried out at the end of the batch. */
START_TEST(payload_that_comes_alone_ends_a_batch)
{
    enum { LEN = 4000 };
    static uint8_t frame[DSM_NET_HEADER_BYTES + DSM_TEST_PATTERN_BYTES];
    for (unsigned is_claimed = 0; is_claimed < 2; is_claimed++) {
        struct cluster c;
        int fds[2];
        cluster_open(&c, ops, 2, NULL);
        struct endpoint *e = c.at[0];
        impersonate(e, 2, fds);
        memset(frame, 0, DSM_NET_HEADER_BYTES);
        dsm_put_u32(frame + DSM_NET_LEN_AT, LEN);
        make_pattern(frame + DSM_NET_HEADER_BYTES, LEN, 1, 0, LANE_REQUEST, 0);
        say(fds[LANE_REQUEST], frame, DSM_NET_HEADER_BYTES + LEN / 2);
        endpoint_wait(e, e->next_in[1][LANE_REQUEST] == 1);
        endpoint_settle(e);
        uint64_t before = endpoint_get(e, e->n_batches);
        if (is_claimed)
            ops->claim(e->net);
        say(fds[LANE_REQUEST], frame + DSM_NET_HEADER_BYTES + LEN / 2, LEN / 2);
        if (is_claimed)
            endpoint_poll_until(e, e->payloads_in[1][LANE_REQUEST] == 1);
        else
            endpoint_wait(e, e->payloads_in[1][LANE_REQUEST] == 1);
        endpoint_settle(e);
        ck_assert_uint_eq(endpoint_get(e, e->n_batches), before + 1);
        close(fds[0]);
        close(fds[1]);
        cluster_close(&c);
    }
}
END_TEST

/* And so is what on_sent decided: while a connection was made, and when its socket was full. */
START_TEST(bytes_that_leave_by_themselves_end_a_batch)
{
    enum { N = 1024 };
    static uint8_t payload[DSM_NET_MAX_PAYLOAD], heard[1 << 20];
    struct cluster c;
    int fds[2];
    cluster_open(&c, ops, 2, NULL);
    struct endpoint *e = c.at[0];
    ck_assert_int_eq(
        endpoint_send(e, 1, LANE_REQUEST, KIND_DISCARD, 8, payload, endpoint_cookie(e)), 0);
    endpoint_wait(e, e->n_sent == 1);
    endpoint_settle(e);
    ck_assert_uint_gt(endpoint_get(e, e->n_batches), 0);
    cluster_close(&c);

    cluster_open(&c, ops, 2, NULL);
    e = c.at[0];
    impersonate(e, 2, fds);
    endpoint_settle(e);
    uint64_t before = endpoint_get(e, e->n_batches);
    for (unsigned i = 0; i < N; i++)
        ck_assert_int_eq(endpoint_send(e, 1, LANE_REQUEST, KIND_DISCARD, DSM_NET_MAX_PAYLOAD,
                                       payload, endpoint_cookie(e)),
                         0);
    ops->flush(e->net);
    ck_assert_uint_lt(endpoint_get(e, e->n_sent), N); /* 64 MiB: more than sockets take */
    for (size_t left = (size_t)N * (DSM_NET_HEADER_BYTES + DSM_NET_MAX_PAYLOAD); left;) {
        size_t part = left < sizeof heard ? left : sizeof heard;
        hear_all(fds[LANE_REPLY], heard, part);
        left -= part;
    }
    endpoint_wait(e, e->n_sent == N);
    endpoint_settle(e);
    ck_assert_uint_gt(endpoint_get(e, e->n_batches), before);
    close(fds[0]);
    close(fds[1]);
    cluster_close(&c);
}
END_TEST

START_TEST(garbage_on_a_lane_ends_in_a_loss_and_nothing_else)
{
    uint64_t seed = test_seed("garbage_on_a_lane_ends_in_a_loss_and_nothing_else");
    for (unsigned round = 0; round < 30; round++) {
        struct cluster c;
        int fds[2];
        uint8_t bytes[4096];
        cluster_open(&c, ops, 3, NULL);
        impersonate(c.at[0], 3, fds);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)dsm_rng_next(&seed);
        dsm_put_u32(bytes + 8, KIND_REFUSE); /* as a driver finds it that decodes the header */
        (void)!send(fds[round % 2], bytes, 64 + dsm_rng_below(&seed, sizeof bytes - 64),
                    MSG_NOSIGNAL);
        endpoint_poll_until(c.at[0], c.at[0]->n_lost[1] == 1);
        ck_assert_int_eq(c.at[0]->lost_error[1], DSM_E_PROTO);
        meet(&c, 2, 0);
        close(fds[0]);
        close(fds[1]);
        cluster_close(&c);
    }
}
END_TEST

START_TEST(peer_that_ends_within_a_frame_is_lost)
{
    struct cluster c;
    int fds[2];
    uint8_t header[DSM_NET_HEADER_BYTES + 10] = {0};
    cluster_open(&c, ops, 2, NULL);
    impersonate(c.at[0], 2, fds);
    dsm_put_u32(header + DSM_NET_LEN_AT, 4096);
    say(fds[LANE_REQUEST], header, sizeof header);
    endpoint_wait(c.at[0], c.at[0]->next_in[1][LANE_REQUEST] == 1);
    close(fds[LANE_REQUEST]);
    endpoint_wait(c.at[0], c.at[0]->n_lost[1] == 1);
    ck_assert_uint_eq(endpoint_get(c.at[0], c.at[0]->payloads_in[1][LANE_REQUEST]), 0);
    close(fds[LANE_REPLY]);
    cluster_close(&c);
}
END_TEST

/* The farewell would come with the requests, so the end of the replies alone is looked at again. */
START_TEST(peer_of_which_one_connection_ends_is_lost_after_a_while)
{
    struct cluster c;
    int fds[2];
    cluster_open(&c, ops, 2, NULL);
    impersonate(c.at[0], 2, fds);
    close(fds[LANE_REPLY]);
    endpoint_poll_until(c.at[0], c.at[0]->n_lost[1] == 1);
    ck_assert_ptr_nonnull(strstr(c.at[0]->lost_why[1], "did not follow"));
    close(fds[LANE_REQUEST]);
    cluster_close(&c);
}
END_TEST

START_TEST(reset_is_a_loss)
{
    struct cluster c;
    int fds[2];
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    cluster_open(&c, ops, 2, NULL);
    impersonate(c.at[0], 2, fds);
    for (unsigned lane = 0; lane < 2; lane++) {
        ck_assert_int_eq(setsockopt(fds[lane], SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
        close(fds[lane]);
    }
    endpoint_wait(c.at[0], c.at[0]->n_lost[1] == 1);
    ck_assert_int_eq(c.at[0]->lost_error[1], DSM_E_PEER);
    cluster_close(&c);
}
END_TEST

/* ---- addresses ---- */

/* A listener of the test's own; its address. */
static int listen_here(char *text, size_t text_bytes)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(text, text_bytes, "127.0.0.1:%u", ntohs(address.sin_port));
    return fd;
}

static void lose_rank_1_at(const char *address, double timeout_s, int error, const char *text)
{
    struct cluster c;
    struct cluster_options options = {
        .odd_rank = UINT32_MAX, .connect_timeout_s = timeout_s, .address_of_rank_1 = address};
    uint8_t payload[8 + 8];
    cluster_open(&c, ops, 2, &options);
    unsigned n_taken = 0;
    for (int sent = 0; n_taken < 10 && sent == 0; n_taken += sent == 0) {
        sent = endpoint_send(c.at[0], 1, n_taken % 2, KIND_PLAIN, 8, payload,
                             endpoint_cookie(c.at[0]));
        ck_assert(sent == 0 || (sent == DSM_E_PEER && n_taken)); /* lost meanwhile */
    }
    ops->flush(c.at[0]->net);
    endpoint_wait(c.at[0], c.at[0]->n_lost[1] == 1);
    ck_assert_uint_eq(endpoint_get(c.at[0], c.at[0]->n_sent), n_taken);
    ck_assert_int_eq(c.at[0]->lost_error[1], error);
    ck_assert_msg(strstr(c.at[0]->lost_why[1], text) && strstr(c.at[0]->lost_why[1], address),
                  "\"%s\" tells not of %s, %s", c.at[0]->lost_why[1], text, address);
    cluster_close(&c);
}

START_TEST(address_where_nobody_listens_is_a_loss)
{
    char text[64];
    close(listen_here(text, sizeof text));
    lose_rank_1_at(text, 10, DSM_E_CONNECT, "Connection refused");
}
END_TEST

START_TEST(listener_that_says_nothing_is_given_up)
{
    char text[64];
    int fd = listen_here(text, sizeof text);
    lose_rank_1_at(text, 0.3, DSM_E_TIMEOUT, "within 300 ms");
    close(fd);
}
END_TEST

struct liar {
    int listen_fd;
    const uint8_t *bytes;
    size_t len;
};

/* Answers two connections with what it was given. */
static void *lie(void *user)
{
    struct liar *liar = user;
    for (unsigned i = 0; i < 2; i++) {
        int fd = accept(liar->listen_fd, NULL, NULL);
        if (fd < 0)
            break;
        (void)!send(fd, liar->bytes, liar->len, MSG_NOSIGNAL);
        uint8_t byte;
        while (recv(fd, &byte, 1, 0) > 0)
            ;
        close(fd);
    }
    return NULL;
}

static void lose_liar(const uint8_t *bytes, size_t len, int error, const char *text)
{
    char address[64];
    struct liar liar = {listen_here(address, sizeof address), bytes, len};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, lie, &liar), 0);
    lose_rank_1_at(address, 10, error, text);
    (void)shutdown(liar.listen_fd, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(liar.listen_fd);
}

START_TEST(listener_that_answers_nonsense_is_given_up)
{
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    size_t len;
    lose_liar((const uint8_t *)"\x03\0\0\0\xff\xff\xff", 7, DSM_E_PROTO, "does not parse");
    lose_liar((const uint8_t *)"HTTP/1.0 200 OK\r\n\r\n", 19, DSM_E_CONNECT, "at most 512");
    struct dsm_hello_answer answer = {.status = DSM_HELLO_ACCEPTED,
                                      .hello = hello_of(1, 0, 2, 1, 1)};
    answer.hello.token[3] ^= 1; /* one that does not know the token */
    len = dsm_hello_pack_answer(&answer, packet);
    lose_liar(packet, len, DSM_E_AUTH, "wrong job token");
    answer.hello = hello_of(1, 0, 2, 1, 1); /* of another attempt */
    len = dsm_hello_pack_answer(&answer, packet);
    lose_liar(packet, len, DSM_E_MISMATCH, "answered where");
}
END_TEST

static int open_with(const char *host, uint32_t n_ranks, uv_loop_t *loop, struct dsm_net **net)
{
    const struct dsm_net_handler handler = {0};
    const struct dsm_net_config config = {
        .n_ranks = n_ranks, .build = "b", .listen_host = host, .loop = loop};
    return ops->open(&config, &handler, net);
}

START_TEST(host_to_listen_on_that_cannot_be_is_refused)
{
    uv_loop_t loop;
    struct dsm_net *net = NULL;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    unsigned before = count_descriptors();
    ck_assert_int_eq(open_with("0.0.0.0", 2, &loop, &net), DSM_E_INVAL);
    ck_assert_int_eq(open_with("::", 2, &loop, &net), DSM_E_INVAL);
    ck_assert_int_eq(open_with("203.0.113.1", 2, &loop, &net), DSM_E_SYSTEM); /* not ours */
    ck_assert_int_eq(open_with("127.0.0.1", 0, &loop, &net), DSM_E_INVAL);
    ck_assert_int_eq(open_with("127.0.0.1", 1u << 20, &loop, &net), DSM_E_INVAL);
    ck_assert_ptr_null(net);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_uint_eq(count_descriptors(), before);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

START_TEST(address_of_a_peer_that_cannot_be_is_refused)
{
    static const char *const bad[] = {"",           "127.0.0.1",       ":80",
                                      "127.0.0.1:", "127.0.0.1:http",  "a.host:80",
                                      "[::1:80",    "127.0.0.1:99999", "300.0.0.1:80"};
    uv_loop_t loop;
    struct dsm_net *net;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(open_with(NULL, 2, &loop, &net), 0);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *addresses[2] = {"127.0.0.1:1", bad[i]};
        ck_assert_msg(ops->set_peers(net, 0, addresses) == DSM_E_INVAL, "\"%s\" was taken", bad[i]);
    }
    const char *good[2] = {"127.0.0.1:1", "[::1]:80"};
    ck_assert_int_eq(ops->set_peers(net, 2, good), DSM_E_INVAL); /* no such rank */
    ck_assert_int_eq(ops->set_peers(net, 0, good), 0);
    ops->close(net);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

START_TEST(transports_are_listed_by_name)
{
    const struct dsm_net_ops *listed[DSM_NET_MAX_TRANSPORTS] = {NULL};
    char why[200];
    size_t n = 0;
    ck_assert_int_eq(dsm_net_list(NULL, listed, &n, why, sizeof why), 0);
    ck_assert_uint_eq(n, DSM_NET_MAX_TRANSPORTS);
    ck_assert_ptr_eq(listed[n - 1], ops); /* what is always there comes last */
    ck_assert_int_eq(dsm_net_list("auto", listed, &n, why, sizeof why), 0);
    ck_assert_uint_eq(n, DSM_NET_MAX_TRANSPORTS);
    ck_assert_int_eq(dsm_net_list("tcp", listed, &n, why, sizeof why), 0);
    ck_assert_uint_eq(n, 1);
    ck_assert_ptr_eq(listed[0], ops);
    ck_assert_int_eq(dsm_net_list("pigeon", listed, &n, why, sizeof why), DSM_E_INVAL);
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(why, "transport \"pigeon\": allowed are auto, tcp and rdma");
}
END_TEST

START_TEST(the_network_of_an_address_is_that_of_its_interface)
{
    char network[64];
    dsm_net_network_of("127.0.0.1:80", network, sizeof network);
    ck_assert_str_eq(network, "127.0.0.0/8");
    /* 192.0.2.0/24 is for documentation: nobody has it. */
    static const char *const none[] = {"192.0.2.1:80", "127.0.0.1", "",
                                       "[::2]:80",     "rank:80",   ":80"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        dsm_net_network_of(none[i], network, sizeof network);
        ck_assert_msg(!*network, "\"%s\" is in %s", none[i], network);
    }
}
END_TEST

/* ---- descriptors ---- */

START_TEST(every_descriptor_is_closed_on_exec)
{
    struct cluster c;
    char before[1024] = {0};
    for (int fd = 0; fd < (int)sizeof before; fd++)
        before[fd] = fcntl(fd, F_GETFD) >= 0;
    cluster_open(&c, ops, 2, NULL);
    meet(&c, 0, 1);
    unsigned n_ours = 0;
    for (int fd = 0; fd < (int)sizeof before; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags < 0 || before[fd])
            continue;
        n_ours++;
        ck_assert_msg(flags & FD_CLOEXEC, "descriptor %d stays open in a program that is run", fd);
    }
    ck_assert_uint_ge(n_ours, 14);
    cluster_close(&c);
}
END_TEST

START_TEST(soft_limit_on_files_is_raised)
{
    struct rlimit limit;
    uv_loop_t loop;
    struct dsm_net *net;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t hard = limit.rlim_max;
    limit.rlim_cur = 100 < hard ? 100 : hard;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(open_with(NULL, 1024, &loop, &net), 0); /* 1,024 ranks are possible */
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_uint_eq(limit.rlim_cur, hard);
    ops->close(net);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

/* With no descriptor left a peer waits at the door; it gets in when there is one again. */
START_TEST(peer_gets_in_after_descriptors_ran_out)
{
    enum { N = 4096 };
    struct cluster c;
    int fillers[N], fds[2];
    unsigned n = 0;
    struct rlimit limit;
    cluster_open(&c, ops, 2, NULL);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = count_descriptors() + 20;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (unsigned lane = 0; lane < 2; lane++)
        ck_assert_int_ge(fds[lane] = socket(AF_INET, SOCK_STREAM, 0), 0);
    while (n < N && (fillers[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        n++;
    ck_assert_int_eq(errno, EMFILE);
    for (unsigned lane = 0; lane < 2; lane++) {
        struct dsm_hello hello = hello_of(1, 0, 2, lane, 5);
        knock_with(fds[lane], c.at[0]);
        say_hello(fds[lane], &hello);
    }
    endpoint_settle(c.at[0]);
    endpoint_settle(c.at[0]); /* it has seen that it cannot accept */
    while (n > 0)
        close(fillers[--n]);
    for (unsigned lane = 0; lane < 2; lane++) {
        ck_assert_int_eq(hear_answer(fds[lane]).status, DSM_HELLO_ACCEPTED);
        close(fds[lane]);
    }
    cluster_close(&c);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("tcp, sockets");
    TCase *strangers = tcase_create("strangers");
    tcase_add_test(strangers, garbage_at_the_port_is_hung_up_on);
    tcase_add_test(strangers, hello_that_is_too_long_is_hung_up_on_before_it_is_read);
    tcase_add_test(strangers, stranger_that_says_nothing_or_too_slowly_is_hung_up_on);
    tcase_add_test(strangers, crowd_of_strangers_keeps_no_peer_out);
    tcase_add_test(strangers, hello_that_does_not_fit_is_refused_with_a_reason);
    tcase_add_test(strangers, one_without_the_token_learns_nothing);
    tcase_add_test(strangers, second_of_a_rank_is_refused);
    tcase_add_test(strangers, lane_said_twice_is_refused);
    tcase_add_test(strangers, attempt_left_half_done_makes_way);
    TCase *lanes = tcase_create("lanes");
    tcase_add_test(lanes, frame_with_a_payload_that_is_too_long_ends_the_peer);
    tcase_add_test(lanes, frames_in_pieces_are_put_together);
    tcase_add_test(lanes, payload_that_comes_alone_ends_a_batch);
    tcase_add_test(lanes, bytes_that_leave_by_themselves_end_a_batch);
    tcase_add_test(lanes, garbage_on_a_lane_ends_in_a_loss_and_nothing_else);
    tcase_add_test(lanes, peer_that_ends_within_a_frame_is_lost);
    tcase_add_test(lanes, peer_of_which_one_connection_ends_is_lost_after_a_while);
    tcase_add_test(lanes, reset_is_a_loss);
    TCase *addresses = tcase_create("addresses");
    tcase_add_test(addresses, address_where_nobody_listens_is_a_loss);
    tcase_add_test(addresses, listener_that_says_nothing_is_given_up);
    tcase_add_test(addresses, listener_that_answers_nonsense_is_given_up);
    tcase_add_test(addresses, host_to_listen_on_that_cannot_be_is_refused);
    tcase_add_test(addresses, address_of_a_peer_that_cannot_be_is_refused);
    tcase_add_test(addresses, transports_are_listed_by_name);
    tcase_add_test(addresses, the_network_of_an_address_is_that_of_its_interface);
    TCase *descriptors = tcase_create("descriptors");
    tcase_add_test(descriptors, every_descriptor_is_closed_on_exec);
    tcase_add_test(descriptors, soft_limit_on_files_is_raised);
    tcase_add_test(descriptors, peer_gets_in_after_descriptors_ran_out);
    TCase *const cases[] = {strangers, lanes, addresses, descriptors, net_tcp_bells()};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        tcase_set_timeout(cases[i], 240);
        suite_add_tcase(suite, cases[i]);
    }
    return suite;
}

int main(void)
{
    return net_suite_run(ops, make_suite());
}
