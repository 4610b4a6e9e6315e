/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_rdma_loss.c - peers that die, are expelled, cannot be reached or are none, and devices that
 * go: each is one line, and nothing of it is written here any more.
 */
#define _GNU_SOURCE
#include "tests/conformance/net_node.h"
#include "net/hello.h"
#include "base/bytes.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <rdma/rdma_cma.h>
#include <rdma/rdma_verbs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct dsm_net_ops *const ops = &dsm_net_rdma;

/* ---- expelled ---- */

struct writer {
    struct node *n;
    uint32_t key;
};

/* Writes a page of rank 1's over and over, each time another content, until it may not. */
static void *write_on(void *user)
{
    struct writer *w = user;
    time_t since = time(NULL);
    for (unsigned i = 0;; i++) {
        memset(w->n->memory, (int)i, 65536);
        int error = try_send_bytes(w->n, 1, 0, 0, 65536, w->key);
        if (error == DSM_E_PEER)
            return NULL;
        if (error)
            sched_yield();
        ck_assert_msg(!is_late(since), "rank 1 takes bytes for ever");
    }
}

static uint8_t when_expelled[65536];

static void expel_and_look(struct node *n)
{
    ck_assert(ops->expel(n->net, 0, "rank 0 is expelled"));
    memcpy(when_expelled, n->memory, sizeof when_expelled);
}

START_TEST(nothing_of_an_expelled_rank_is_written_any_more)
{
    struct node nodes[2];
    pthread_t thread;
    open_pair(nodes, NULL);
    (void)key_of(&nodes[0], 0, 65536); /* so that it can be written from there */
    struct writer w = {&nodes[0], key_of(&nodes[1], 0, 65536)};
    ck_assert_int_eq(pthread_create(&thread, NULL, write_on, &w), 0);
    for (time_t since = time(NULL); counters_of(&nodes[1]).landed < 20; sched_yield())
        ck_assert(!is_late(since));
    node_run(&nodes[1], expel_and_look);
    ck_assert_uint_eq(nodes[1].n_lost, 1);
    unsigned n_headers = nodes[1].n_headers;
    await(&nodes[0], &nodes[0].n_lost, 1); /* now nothing of it is under way */
    pthread_join(thread, NULL);
    ck_assert_int_eq(memcmp(nodes[1].memory, when_expelled, sizeof when_expelled), 0);
    ck_assert_uint_eq(nodes[1].n_headers, n_headers);
    close_pair(nodes);
}
END_TEST

/* ---- killed ---- */

/* A rank 1 in a process of its own, until it is killed. */
static pid_t start_child(int addresses_in, int address_out)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child)
        return child;
    struct node n;
    char own[96], other[96] = "";
    const char *addresses[2] = {other, own};
    if (node_open(&n, 1, NULL))
        _exit(1);
    node_address(&n, own, sizeof own);
    if (write(address_out, own, sizeof own) != sizeof own ||
        read(addresses_in, other, sizeof other) != sizeof other)
        _exit(2);
    node_start(&n, 1, addresses);
    for (;;)
        pause();
}

static void kill_a_peer(bool has_traffic)
{
    struct node n;
    int to_child[2], from_child[2], status;
    char own[96] = "", other[96] = "";
    const char *addresses[2] = {own, other};
    ck_assert_int_eq(pipe(to_child), 0);
    ck_assert_int_eq(pipe(from_child), 0);
    pid_t child = start_child(to_child[0], from_child[1]);
    ck_assert_int_eq(node_open(&n, 0, NULL), 0);
    node_address(&n, own, sizeof own);
    ck_assert_int_eq(read(from_child[0], other, sizeof other), sizeof other);
    ck_assert_int_eq(write(to_child[1], own, sizeof own), sizeof own);
    node_start(&n, 0, addresses);
    send_bytes(&n, 0, 0, 4096, 0);
    await(&n, &n.n_sent, 1);
    unsigned n_given = 1;
    for (; has_traffic && n_given < 200; n_given++)
        send_bytes(&n, 0, 0, 65536, 0);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    await(&n, &n.n_lost, 1);
    await(&n, &n.n_sent, n_given);
    ck_assert_int_eq(n.lost_error, DSM_E_PEER);
    ck_assert_msg(strstr(n.lost_why, "rank 1 is gone") && !strchr(n.lost_why, '\n'), "\"%s\"",
                  n.lost_why);
    ck_assert_int_eq(try_send_bytes(&n, 1, 0, 0, 64, 0), DSM_E_PEER);
    node_close(&n);
    for (unsigned i = 0; i < 2; i++) {
        close(to_child[i]);
        close(from_child[i]);
    }
}

START_TEST(peer_that_is_killed_is_lost)
{
    kill_a_peer(false);
}
END_TEST

START_TEST(peer_that_is_killed_within_frames_is_lost_and_every_cookie_comes_back)
{
    kill_a_peer(true);
}
END_TEST

/* ---- not to be reached ---- */

static void lose_rank_1_at(const char *address, const char *text, const char *text_too)
{
    struct node n;
    char own[96];
    const char *addresses[2] = {own, address};
    ck_assert_int_eq(node_open(&n, 0, NULL), 0);
    node_address(&n, own, sizeof own);
    node_start(&n, 0, addresses);
    send_bytes(&n, 0, 0, 64, 0);
    await(&n, &n.n_lost, 1);
    await(&n, &n.n_sent, 1);
    printf("%s\n", n.lost_why);
    ck_assert(n.lost_error == DSM_E_CONNECT || n.lost_error == DSM_E_TIMEOUT);
    ck_assert_msg((strstr(n.lost_why, text) || strstr(n.lost_why, text_too)) &&
                      strstr(n.lost_why, address) && !strchr(n.lost_why, '\n'),
                  "\"%s\" tells not of %s, %s", n.lost_why, text, address);
    node_close(&n);
}

START_TEST(address_where_nobody_listens_is_a_loss)
{
    struct node n;
    char address[96];
    ck_assert_int_eq(node_open(&n, 0, NULL), 0);
    node_address(&n, address, sizeof address);
    ops->close(n.net);
    uv_run(&n.loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&n.loop), 0);
    lose_rank_1_at(address, "Connection refused", "Connection refused");
}
END_TEST

/* 192.0.2.0/24 is for documentation: nobody has it; there may be a route that leads nowhere.
 * 127.0.0.1 is here, and has no device. */
START_TEST(address_without_a_route_is_a_loss)
{
    node_connect_timeout_s = 2;
    lose_rank_1_at("192.0.2.1:7433", "no way to that address", "no connection within 2000 ms");
    lose_rank_1_at("127.0.0.1:7433", "", "");
    node_connect_timeout_s = 0;
}
END_TEST

/* ---- strangers ---- */

/* What the transport has in the private data and in the word of a hello. */
struct ident {
    uint8_t magic[4], qp_number[4], psn[4], mtu, reserved[3];
};
#define WORD_BYTES 32u
enum { KIND_HELLO = 1, KIND_ANSWER = 2, KIND_READY = 3 };

/* One that connects by hand. */
struct stranger {
    struct rdma_cm_id *id;
    struct ibv_mr *mr;
    uint8_t in[4224];
    uint8_t out[1024];
};

static bool knock(struct stranger *s, struct node *door, const struct ident *ident)
{
    char text[96];
    node_address(door, text, sizeof text);
    char *colon = strrchr(text, ':');
    struct rdma_addrinfo hints = {.ai_port_space = RDMA_PS_TCP}, *info;
    struct ibv_qp_init_attr attr = {
        .cap = {.max_send_wr = 4, .max_recv_wr = 4, .max_send_sge = 1, .max_recv_sge = 1},
        .qp_type = IBV_QPT_RC};
    struct rdma_conn_param param = {.private_data = ident,
                                    .private_data_len = ident ? sizeof *ident : 0,
                                    .responder_resources = 1,
                                    .initiator_depth = 1,
                                    .retry_count = 7,
                                    .rnr_retry_count = 7};
    *colon = '\0';
    ck_assert_int_eq(rdma_getaddrinfo(text, colon + 1, &hints, &info), 0);
    ck_assert_int_eq(rdma_create_ep(&s->id, info, NULL, &attr), 0);
    rdma_freeaddrinfo(info);
    ck_assert_ptr_nonnull(s->mr = rdma_reg_msgs(s->id, s, sizeof *s));
    ck_assert_int_eq(rdma_post_recv(s->id, NULL, s->in, sizeof s->in, s->mr), 0);
    return rdma_connect(s->id, &param) == 0;
}

static void say(struct stranger *s, uint8_t kind, const void *bytes, size_t len_bytes)
{
    struct ibv_wc wc;
    memset(s->out, 0, sizeof s->out);
    s->out[0] = kind;
    memcpy(s->out + WORD_BYTES, bytes, len_bytes);
    ck_assert_int_eq(
        rdma_post_send(s->id, NULL, s->out, WORD_BYTES + len_bytes, s->mr, IBV_SEND_SIGNALED), 0);
    ck_assert_int_eq(rdma_get_send_comp(s->id, &wc), 1);
}

static void hear(struct stranger *s, struct dsm_hello_answer *answer)
{
    struct ibv_wc wc;
    const char *reason;
    ck_assert_int_eq(rdma_get_recv_comp(s->id, &wc), 1);
    ck_assert_int_eq(wc.status, IBV_WC_SUCCESS);
    ck_assert_uint_eq(s->in[0], KIND_ANSWER);
    const uint8_t *packet = s->in + WORD_BYTES;
    ck_assert_int_eq(dsm_hello_unpack_answer(packet + DSM_HELLO_PREFIX_BYTES, dsm_get_u32(packet),
                                             answer, &reason),
                     0);
}

/* Waits until the other end has hung up. */
static void hear_the_end(struct stranger *s)
{
    enum rdma_cm_event_type type;
    do {
        struct rdma_cm_event *event;
        ck_assert_int_eq(rdma_get_cm_event(s->id->channel, &event), 0);
        type = event->event;
        ck_assert_int_eq(rdma_ack_cm_event(event), 0);
        /* Rejected: it hung up before it knew that the connection stands. */
    } while (type != RDMA_CM_EVENT_DISCONNECTED && type != RDMA_CM_EVENT_REJECTED);
    struct ibv_wc wc;
    ck_assert_int_eq(ibv_poll_cq(s->id->recv_cq, 1, &wc), 0); /* without an answer */
}

/* Hangs up, if it is still connected. */
static void go(struct stranger *s)
{
    (void)rdma_dereg_mr(s->mr);
    rdma_destroy_ep(s->id);
}

static struct ident good_ident(void)
{
    struct ident ident = {.mtu = IBV_MTU_1024};
    dsm_put_u32(ident.magic, 0x314d5344u);
    dsm_put_u32(ident.qp_number, 17);
    return ident;
}

static struct dsm_hello good_hello(void)
{
    return (struct dsm_hello){.format_version = DSM_HELLO_FORMAT_VERSION,
                              .rank = 1,
                              .n_ranks = 2,
                              .epoch = 1,
                              .page_bytes = (uint32_t)sysconf(_SC_PAGESIZE),
                              .attempt = 5,
                              .build = "0.1.0-test",
                              .credits = 4};
}

static void be_refused(struct node *door, const struct dsm_hello *hello, int error,
                       const char *text)
{
    struct stranger s = {0};
    struct ident ident = good_ident();
    struct dsm_hello_answer answer;
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    ck_assert(knock(&s, door, &ident));
    say(&s, KIND_HELLO, packet, dsm_hello_pack(hello, packet));
    hear(&s, &answer);
    ck_assert_int_eq(answer.status, DSM_HELLO_REFUSED);
    ck_assert_int_eq(answer.error, error);
    ck_assert_msg(strstr(answer.reason, text), "\"%s\" tells not of %s", answer.reason, text);
    go(&s);
}

/* A rank 0 that waits for others. */
static void open_door(struct node *n)
{
    const char *addresses[2] = {"10.0.0.1:1", "10.0.0.1:2"};
    ck_assert_int_eq(node_open(n, 0, NULL), 0);
    node_start(n, 0, addresses);
}

START_TEST(hello_that_does_not_fit_is_refused_with_a_reason)
{
    struct node door;
    open_door(&door);
    struct dsm_hello hello = good_hello();
    hello.format_version = 99;
    be_refused(&door, &hello, DSM_E_MISMATCH, "rank 1 has version 99");
    hello = good_hello();
    hello.token[3] ^= 1;
    be_refused(&door, &hello, DSM_E_AUTH, "wrong job token");
    hello = good_hello();
    snprintf(hello.build, sizeof hello.build, "9.9.9");
    be_refused(&door, &hello, DSM_E_MISMATCH, "9.9.9");
    hello = good_hello();
    hello.credits = 0;
    be_refused(&door, &hello, DSM_E_PROTO, "0 credits");
    ck_assert_uint_eq(door.n_lost, 0);
    node_close(&door);
}
END_TEST

/* A peer that claims to have handled what it was never sent: credits would be wrong for ever. */
START_TEST(peer_that_has_handled_more_than_there_was_is_lost)
{
    struct node door;
    struct stranger s = {0};
    struct ident ident = good_ident();
    struct dsm_hello hello = good_hello();
    struct dsm_hello_answer answer;
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    open_door(&door);
    ck_assert(knock(&s, &door, &ident));
    say(&s, KIND_HELLO, packet, dsm_hello_pack(&hello, packet));
    hear(&s, &answer);
    ck_assert_int_eq(answer.status, DSM_HELLO_ACCEPTED);
    memset(s.out, 0, sizeof s.out);
    s.out[0] = KIND_READY;
    dsm_put_u32(s.out + 8, 3); /* of the reply lane */
    ck_assert_int_eq(rdma_post_send(s.id, NULL, s.out, WORD_BYTES, s.mr, 0), 0);
    await(&door, &door.n_lost, 1);
    ck_assert_int_eq(door.lost_error, DSM_E_PROTO);
    ck_assert_msg(strstr(door.lost_why, "it has handled 3 messages of the reply lane"), "\"%s\"",
                  door.lost_why);
    go(&s);
    node_close(&door);
}
END_TEST

START_TEST(one_that_does_not_speak_as_a_rank_is_turned_away)
{
    struct node door;
    struct ident bad = good_ident();
    open_door(&door);
    bad.magic[0] ^= 1;
    struct stranger s = {0};
    ck_assert(!knock(&s, &door, &bad));
    go(&s);
    ck_assert(!knock(&s, &door, NULL));
    go(&s);
    ck_assert_uint_eq(door.n_lost, 0);
    node_close(&door);
}
END_TEST

START_TEST(garbage_in_place_of_a_hello_is_hung_up_on)
{
    static const uint8_t garbage[300] = {0xff, 0xff, 0xff, 0x7f};
    struct node door;
    struct ident ident = good_ident();
    open_door(&door);
    for (unsigned i = 0; i < 3; i++) {
        struct stranger s = {0};
        ck_assert(knock(&s, &door, &ident));
        say(&s, i == 2 ? 77 : KIND_HELLO, garbage + (i == 1 ? 4 : 0), i == 2 ? 0 : 40);
        hear_the_end(&s);
        go(&s);
    }
    ck_assert_uint_eq(door.n_lost, 0);
    node_close(&door);
}
END_TEST

/* ---- the device goes ---- */

static bool run(const char *command)
{
    int status = system(command);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* On a device of its own, over an interface of its own; that takes privilege. */
START_TEST(device_that_goes_is_the_loss_of_every_peer)
{
    if (!run("{ ip link add dsmtest0 type dummy && ip address add 10.78.0.1/24 dev dsmtest0 && "
             "ip link set dsmtest0 up && rdma link add dsmrxe0 type rxe netdev dsmtest0; } "
             ">/dev/null 2>&1")) {
        printf("skipped: no device can be made here\n");
        (void)run("ip link delete dsmtest0 2>/dev/null");
        return;
    }
    struct node nodes[2];
    open_pair(nodes, &(struct dsm_net_rdma_config){.device = "dsmrxe0"});
    (void)key_of(&nodes[1], 0, 4096);
    send_bytes(&nodes[0], 0, 0, 4096, 0);
    await(&nodes[1], &nodes[1].n_payloads, 1);
    /* The kernel lets it go when nobody has it open any more, which is when this process has ended:
     * so a child does it that has nothing open and is not waited for. */
    if (fork() == 0) {
        (void)setsid();
        (void)execl(
            "/bin/sh", "sh", "-c",
            "{ rdma link delete dsmrxe0; ip link delete dsmtest0; } >/dev/null 2>&1 </dev/null",
            (char *)NULL);
        _exit(1);
    }
    for (uint32_t i = 0; i < 2; i++) {
        await(&nodes[i], &nodes[i].n_lost, 1);
        ck_assert_int_eq(nodes[i].lost_error, DSM_E_PEER);
        printf("%s\n", nodes[i].lost_why);
        /* Or the other one has seen it first, and hung up. */
        ck_assert_msg(strstr(nodes[i].lost_why, "dsmrxe0: it was removed") ||
                          strstr(nodes[i].lost_why, "is gone"),
                      "\"%s\"", nodes[i].lost_why);
        ck_assert_int_eq(try_send_bytes(&nodes[i], 1 - i, 0, 0, 64, 0), DSM_E_PEER);
    }
    close_pair(nodes);
}
END_TEST

TCase *net_rdma_loss(void)
{
    TCase *loss = tcase_create("loss over rdma");
    tcase_add_test(loss, nothing_of_an_expelled_rank_is_written_any_more);
    tcase_add_test(loss, peer_that_is_killed_is_lost);
    tcase_add_test(loss, peer_that_is_killed_within_frames_is_lost_and_every_cookie_comes_back);
    tcase_add_test(loss, address_where_nobody_listens_is_a_loss);
    tcase_add_test(loss, address_without_a_route_is_a_loss);
    tcase_add_test(loss, device_that_goes_is_the_loss_of_every_peer);
    return loss;
}

TCase *net_rdma_strangers(void)
{
    TCase *strangers = tcase_create("strangers over rdma");
    tcase_add_test(strangers, hello_that_does_not_fit_is_refused_with_a_reason);
    tcase_add_test(strangers, one_that_does_not_speak_as_a_rank_is_turned_away);
    tcase_add_test(strangers, peer_that_has_handled_more_than_there_was_is_lost);
    tcase_add_test(strangers, garbage_in_place_of_a_hello_is_hung_up_on);
    return strangers;
}
