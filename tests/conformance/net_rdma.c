/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_rdma.c - the transport suite over rdma, and what only a card does: bytes written straight to
 * their place, registration and its limits, devices that are not there. Skipped where there is no
 * device.
 */
#define _GNU_SOURCE
#include "tests/conformance/net_suite.h"
#include "base/bytes.h"
#include <dsm/dsm.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define MEMORY_BYTES (1u << 20)
#define OFFSET_AT    16 /* u64 in the test's headers: where the payload goes; UINT64_MAX: nowhere */
#define GUARD_S      60

static const struct dsm_net_ops *const ops = &dsm_net_rdma;

/* A rank with memory that its peer may write to. */
struct node {
    struct dsm_net *net;
    uint8_t *memory;
    uv_loop_t loop;
    uv_async_t stop;
    pthread_t thread;
    pthread_mutex_t lock;
    unsigned n_headers, n_payloads, n_sent, n_lost;
    int lost_error;
    char lost_why[300];
};

static int on_header(void *user, uint32_t from, unsigned lane, const uint8_t *header,
                     void **dst_out, uint64_t *token_out)
{
    struct node *n = user;
    uint64_t offset = dsm_get_u64(header + OFFSET_AT);
    (void)from;
    (void)lane;
    pthread_mutex_lock(&n->lock);
    n->n_headers++;
    pthread_mutex_unlock(&n->lock);
    *dst_out = offset == UINT64_MAX ? NULL : n->memory + offset;
    *token_out = offset;
    return 0;
}

static void on_payload(void *user, uint32_t from, unsigned lane, const uint8_t *header,
                       uint64_t token)
{
    struct node *n = user;
    (void)from;
    (void)lane;
    pthread_mutex_lock(&n->lock);
    n->n_payloads += dsm_get_u64(header + OFFSET_AT) == token;
    pthread_mutex_unlock(&n->lock);
}

static void on_sent(void *user, uint64_t cookie)
{
    struct node *n = user;
    pthread_mutex_lock(&n->lock);
    n->n_sent += cookie == 7;
    pthread_mutex_unlock(&n->lock);
}

static void on_lost(void *user, uint32_t rank, int error, const char *why)
{
    struct node *n = user;
    (void)rank;
    pthread_mutex_lock(&n->lock);
    n->n_lost++;
    n->lost_error = error;
    snprintf(n->lost_why, sizeof n->lost_why, "%s", why);
    pthread_mutex_unlock(&n->lock);
}

static void on_batch_end(void *user)
{
    (void)user;
}

static uint64_t service_spin_ns(void *user)
{
    (void)user;
    return 0;
}

static void on_stop(uv_async_t *stop)
{
    struct node *n = stop->data;
    ops->close(n->net);
    uv_close((uv_handle_t *)stop, NULL);
}

static void *service(void *user)
{
    uv_run(user, UV_RUN_DEFAULT);
    return NULL;
}

static int node_open(struct node *n, uint32_t rank, const struct dsm_net_rdma_config *rdma)
{
    const struct dsm_net_handler handler = {n,       on_header,    on_payload,     on_sent,
                                            on_lost, on_batch_end, service_spin_ns};
    struct dsm_net_config config = {
        .self = rank, .n_ranks = 2, .epoch = 1, .build = "0.1.0-test", .loop = &n->loop};
    memset(n, 0, sizeof *n);
    pthread_mutex_init(&n->lock, NULL);
    ck_assert_int_eq(uv_loop_init(&n->loop), 0);
    if (rdma)
        config.rdma = *rdma;
    int error = ops->open(&config, &handler, &n->net);
    if (error) {
        uv_run(&n->loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&n->loop), 0);
    }
    return error;
}

static void open_pair(struct node nodes[2], const struct dsm_net_rdma_config *rdma)
{
    char texts[2][96];
    const char *addresses[2] = {texts[0], texts[1]};
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(node_open(&nodes[i], i, rdma), 0);
        ck_assert_int_eq(ops->address(nodes[i].net, texts[i], sizeof texts[i]), 0);
    }
    for (uint32_t i = 0; i < 2; i++) {
        struct node *n = &nodes[i];
        n->memory =
            mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ck_assert_ptr_ne(n->memory, MAP_FAILED);
        n->stop.data = n;
        ck_assert_int_eq(ops->set_peers(n->net, i, addresses), 0);
        ck_assert_int_eq(ops->set_memory(n->net, n->memory, MEMORY_BYTES), 0);
        ck_assert_int_eq(uv_async_init(&n->loop, &n->stop, on_stop), 0);
        ck_assert_int_eq(pthread_create(&n->thread, NULL, service, &n->loop), 0);
    }
}

static void close_pair(struct node nodes[2])
{
    for (uint32_t i = 0; i < 2; i++) {
        uv_async_send(&nodes[i].stop);
        pthread_join(nodes[i].thread, NULL);
        ck_assert_int_eq(uv_loop_close(&nodes[i].loop), 0);
        munmap(nodes[i].memory, MEMORY_BYTES);
    }
}

static bool is_late(time_t since)
{
    return time(NULL) > since + GUARD_S;
}

/* Waits until *count of n is value. */
static void await(struct node *n, const unsigned *count, unsigned value)
{
    for (time_t since = time(NULL);;) {
        pthread_mutex_lock(&n->lock);
        unsigned now = *count;
        pthread_mutex_unlock(&n->lock);
        if (now == value)
            return;
        ck_assert_msg(!is_late(since), "it is %u, and does not become %u: %s", now, value,
                      n->lost_why);
        sched_yield();
    }
}

/* The loop's thread registers it meanwhile. */
static uint32_t key_of(struct node *n, uint64_t offset, size_t len_bytes)
{
    uint32_t key;
    for (time_t since = time(NULL); !(key = ops->landing(n->net, n->memory + offset, len_bytes));) {
        ck_assert_msg(!is_late(since), "no key for offset %lu", (unsigned long)offset);
        sched_yield();
    }
    return key;
}

/* From rank 0's memory at from, told to belong at to. */
static void send_bytes(struct node *n, uint64_t from, uint64_t to, uint32_t len, uint32_t key)
{
    uint8_t header[DSM_NET_HEADER_BYTES] = {0};
    dsm_put_u64(header + OFFSET_AT, to);
    dsm_put_u32(header + DSM_NET_LEN_AT, len);
    ck_assert_int_eq(ops->send(n->net, 1, 0, header, n->memory + from, 7, key), 0);
    ops->flush(n->net);
}

static uint64_t landed(struct node *n)
{
    struct dsm_net_counters counters;
    ops->counters(n->net, &counters);
    return counters.landed;
}

START_TEST(bytes_are_written_to_the_place_that_a_key_opens)
{
    static const uint32_t lens[] = {1, 64, 4096, 65536};
    struct node nodes[2];
    open_pair(nodes, NULL);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t offset = i * 65536u;
        /* Our own memory is not registered for the first: that goes through a buffer. */
        if (i > 1)
            (void)key_of(&nodes[0], offset, lens[i]);
        uint32_t key = key_of(&nodes[1], offset, lens[i]);
        memset(nodes[0].memory + offset, (int)(0xa1 + i), lens[i]);
        send_bytes(&nodes[0], offset, offset, lens[i], key);
        await(&nodes[1], &nodes[1].n_payloads, i + 1);
        await(&nodes[0], &nodes[0].n_sent, i + 1);
        ck_assert_uint_eq(landed(&nodes[1]), i + 1);
        ck_assert_int_eq(memcmp(nodes[0].memory, nodes[1].memory, MEMORY_BYTES), 0);
    }
    close_pair(nodes);
}
END_TEST

START_TEST(bytes_without_a_key_are_copied_to_the_same_place)
{
    struct node nodes[2];
    open_pair(nodes, &(struct dsm_net_rdma_config){.has_pin_max = true});
    memset(nodes[0].memory, 0x5c, 65536);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_uint_eq(ops->landing(nodes[1].net, nodes[1].memory, 4096), 0);
    ck_assert(ops->unpin(nodes[1].net, nodes[1].memory, MEMORY_BYTES));
    send_bytes(&nodes[0], 0, 0, 65536, 0);
    await(&nodes[1], &nodes[1].n_payloads, 1);
    await(&nodes[0], &nodes[0].n_sent, 1);
    ck_assert_int_eq(memcmp(nodes[0].memory, nodes[1].memory, MEMORY_BYTES), 0);
    ck_assert_uint_eq(landed(&nodes[1]), 0);
    close_pair(nodes);
}
END_TEST

START_TEST(bytes_that_landed_and_are_not_wanted_make_no_payload)
{
    struct node nodes[2];
    open_pair(nodes, NULL);
    uint32_t key = key_of(&nodes[1], 0, 4096);
    send_bytes(&nodes[0], 0, UINT64_MAX, 4096, key);
    await(&nodes[1], &nodes[1].n_headers, 1);
    await(&nodes[0], &nodes[0].n_sent, 1);
    send_bytes(&nodes[0], 0, 0, 4096, key); /* all is well after it */
    await(&nodes[1], &nodes[1].n_payloads, 1);
    ck_assert_uint_eq(nodes[1].n_headers, 2);
    close_pair(nodes);
}
END_TEST

START_TEST(peer_that_writes_where_nobody_asked_is_lost)
{
    struct node nodes[2];
    open_pair(nodes, NULL);
    uint32_t key = key_of(&nodes[1], 0, 8192);
    send_bytes(&nodes[0], 0, 4096, 4096, key); /* it belongs at 4096, and was written at 0 */
    await(&nodes[1], &nodes[1].n_lost, 1);
    ck_assert_int_eq(nodes[1].lost_error, DSM_E_PROTO);
    ck_assert_ptr_nonnull(strstr(nodes[1].lost_why, "nobody asked"));
    ck_assert_uint_eq(nodes[1].n_payloads, 0);
    await(&nodes[0], &nodes[0].n_lost, 1);
    await(&nodes[0], &nodes[0].n_sent, 1);
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

START_TEST(only_registered_memory_is_kept_from_being_punched)
{
    struct node nodes[2];
    open_pair(nodes, NULL);
    ck_assert(ops->unpin(nodes[0].net, nodes[0].memory, MEMORY_BYTES));
    (void)key_of(&nodes[0], 0, 4096);
    ck_assert(!ops->unpin(nodes[0].net, nodes[0].memory, 4096));
    ck_assert(!ops->unpin(nodes[0].net, nodes[0].memory, MEMORY_BYTES));
    ck_assert(ops->unpin(nodes[0].net, nodes[0].memory + MEMORY_BYTES / 2, MEMORY_BYTES / 2));
    close_pair(nodes);
}
END_TEST

START_TEST(key_is_given_up_to_the_limit)
{
    enum { STEP = 4096 };
    struct node nodes[2];
    struct dsm_net_counters counters;
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
    ops->counters(nodes[0].net, &counters);
    ck_assert_uint_eq(counters.pinned_bytes, MEMORY_BYTES / 2);
    close_pair(nodes);
}
END_TEST

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

static Suite *make_suite(void)
{
    Suite *suite = suite_create("rdma, memory");
    TCase *landing = tcase_create("landing");
    tcase_add_test(landing, bytes_are_written_to_the_place_that_a_key_opens);
    tcase_add_test(landing, bytes_without_a_key_are_copied_to_the_same_place);
    tcase_add_test(landing, bytes_that_landed_and_are_not_wanted_make_no_payload);
    tcase_add_test(landing, peer_that_writes_where_nobody_asked_is_lost);
    tcase_add_test(landing, write_with_a_key_that_was_never_given_is_a_loss);
    tcase_add_test(landing, only_registered_memory_is_kept_from_being_punched);
    tcase_add_test(landing, key_is_given_up_to_the_limit);
    tcase_add_test(landing, device_port_address_and_mtu_that_do_not_exist_are_refused);
    tcase_set_timeout(landing, 240);
    suite_add_tcase(suite, landing);
    return suite;
}

int main(void)
{
    char why[600];
    if (ops->probe(why, sizeof why)) {
        printf("skipped: %s\n", why);
        return 77;
    }
    return net_suite_run(ops, make_suite());
}
