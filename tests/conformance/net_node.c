/* SPDX-License-Identifier: BSD-3-Clause */
/* net_node.c - ranks in one process, with memory of their own. */
#define _GNU_SOURCE
#include "tests/conformance/net_node.h"
#include "base/bytes.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

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
    n->n_sent += cookie == NODE_COOKIE;
    pthread_mutex_unlock(&n->lock);
}

static void on_lost(void *user, uint32_t rank, int error, const char *why)
{
    struct node *n = user;
    pthread_mutex_lock(&n->lock);
    n->n_lost++;
    n->lost_rank = rank;
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

static bool is_unused(void *user, const void *addr, size_t len_bytes)
{
    struct node *n = user;
    pthread_mutex_lock(&n->lock);
    bool answer = n->is_unused && (const uint8_t *)addr >= n->memory &&
                  (const uint8_t *)addr + len_bytes <= n->memory + MEMORY_BYTES;
    n->n_asked++;
    pthread_mutex_unlock(&n->lock);
    return answer;
}

static void on_unpinned(void *user, const void *addr, size_t len_bytes)
{
    struct node *n = user;
    int error = fallocate(n->memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          (const uint8_t *)addr - n->memory, (off_t)len_bytes);
    pthread_mutex_lock(&n->lock);
    n->n_unpinned += !error;
    pthread_mutex_unlock(&n->lock);
}

static void on_stop(uv_async_t *stop)
{
    struct node *n = stop->data;
    node_ops->close(n->net);
    uv_close((uv_handle_t *)stop, NULL);
    uv_close((uv_handle_t *)&n->run, NULL);
}

static void on_run(uv_async_t *run)
{
    struct node *n = run->data;
    n->task(n);
    pthread_mutex_lock(&n->lock);
    n->n_run++;
    pthread_mutex_unlock(&n->lock);
}

static void *service(void *user)
{
    uv_run(user, UV_RUN_DEFAULT);
    return NULL;
}

const struct dsm_net_ops *node_ops;
double node_connect_timeout_s;
bool node_is_private;

int node_open(struct node *n, uint32_t rank, const struct dsm_net_rdma_config *rdma)
{
    const struct dsm_net_handler handler = {n,          on_header,    on_payload,      on_sent,
                                            on_lost,    on_batch_end, service_spin_ns, is_unused,
                                            on_unpinned};
    struct dsm_net_config config = {.self = rank,
                                    .n_ranks = 2,
                                    .epoch = 1,
                                    .build = "0.1.0-test",
                                    .loop = &n->loop,
                                    .connect_timeout_s = node_connect_timeout_s};
    memset(n, 0, sizeof *n);
    n->most_bytes = UINT64_MAX;
    pthread_mutex_init(&n->lock, NULL);
    ck_assert_int_eq(uv_loop_init(&n->loop), 0);
    if (rdma)
        config.rdma = *rdma;
    int error = node_ops->open(&config, &handler, &n->net);
    if (error) {
        uv_run(&n->loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&n->loop), 0);
    }
    return error;
}

void node_address(struct node *n, char *out, size_t out_bytes)
{
    ck_assert_int_eq(node_ops->address(n->net, out, out_bytes), 0);
}

void node_start(struct node *n, uint32_t rank, const char *const *addresses)
{
    n->memory_fd = memfd_create("node", MFD_CLOEXEC);
    ck_assert_int_ge(n->memory_fd, 0);
    ck_assert_int_eq(ftruncate(n->memory_fd, MEMORY_BYTES), 0);
    n->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, n->memory_fd, 0);
    ck_assert_ptr_ne(n->memory, MAP_FAILED);
    ck_assert_int_eq(node_ops->set_peers(n->net, rank, addresses), 0);
    ck_assert_int_eq(node_ops->set_memory(n->net, n->memory, MEMORY_BYTES,
                                          node_is_private ? -1 : n->memory_fd, n->most_bytes,
                                          &n->pinned_most),
                     0);
    n->stop.data = n->run.data = n;
    ck_assert_int_eq(uv_async_init(&n->loop, &n->stop, on_stop), 0);
    ck_assert_int_eq(uv_async_init(&n->loop, &n->run, on_run), 0);
    ck_assert_int_eq(pthread_create(&n->thread, NULL, service, &n->loop), 0);
}

void node_close(struct node *n)
{
    uv_async_send(&n->stop);
    pthread_join(n->thread, NULL);
    ck_assert_int_eq(uv_loop_close(&n->loop), 0);
    munmap(n->memory, MEMORY_BYTES);
    close(n->memory_fd);
}

void open_pair(struct node nodes[2], const struct dsm_net_rdma_config *rdma)
{
    char texts[2][96];
    const char *addresses[2] = {texts[0], texts[1]};
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(node_open(&nodes[i], i, rdma), 0);
        node_address(&nodes[i], texts[i], sizeof texts[i]);
    }
    for (uint32_t i = 0; i < 2; i++)
        node_start(&nodes[i], i, addresses);
}

void close_pair(struct node nodes[2])
{
    for (uint32_t i = 0; i < 2; i++)
        node_close(&nodes[i]);
}

bool is_late(time_t since)
{
    return time(NULL) > since + NODE_GUARD_S;
}

void await(struct node *n, const unsigned *count, unsigned value)
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

void node_run(struct node *n, void (*task)(struct node *n))
{
    unsigned before = n->n_run;
    n->task = task;
    uv_async_send(&n->run);
    await(n, &n->n_run, before + 1);
}

uint32_t key_of(struct node *n, uint64_t offset, size_t len_bytes)
{
    for (time_t since = time(NULL);;) {
        pthread_mutex_lock(&n->lock);
        uint32_t key = node_ops->landing(n->net, n->memory + offset, len_bytes);
        pthread_mutex_unlock(&n->lock);
        if (key)
            return key;
        ck_assert_msg(!is_late(since), "no key for offset %lu", (unsigned long)offset);
        sched_yield();
    }
}

int try_send_bytes(struct node *n, uint32_t rank, uint64_t from, uint64_t to, uint32_t len,
                   uint32_t key)
{
    uint8_t header[DSM_NET_HEADER_BYTES] = {0};
    dsm_put_u64(header + OFFSET_AT, to);
    dsm_put_u32(header + DSM_NET_LEN_AT, len);
    pthread_mutex_lock(&n->lock);
    int error = node_ops->send(n->net, rank, 0, header, n->memory + from, NODE_COOKIE, key);
    pthread_mutex_unlock(&n->lock);
    node_ops->flush(n->net);
    return error;
}

void send_bytes(struct node *n, uint64_t from, uint64_t to, uint32_t len, uint32_t key)
{
    ck_assert_int_eq(try_send_bytes(n, 1, from, to, len, key), 0);
}

struct dsm_net_counters counters_of(struct node *n)
{
    struct dsm_net_counters counters;
    node_ops->counters(n->net, &counters);
    return counters;
}

uint64_t resident_bytes(const struct node *n)
{
    struct stat status;
    ck_assert_int_eq(fstat(n->memory_fd, &status), 0);
    return (uint64_t)status.st_blocks * 512;
}
