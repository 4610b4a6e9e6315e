/* SPDX-License-Identifier: BSD-3-Clause */
/* net_cluster.c - ranks in one process, and the checks on all that they get. */
#define _GNU_SOURCE
#include "tests/conformance/net_cluster.h"
#include "base/bytes.h"
#include "base/rng.h"
#include <check.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define GUARD_BYTES 64u
#define GUARD_VALUE 0xa5

struct timespec guard_deadline(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += GUARD_S;
    return t;
}

bool is_before(const struct timespec *deadline)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec < deadline->tv_sec;
}

uint64_t test_seed(const char *who)
{
    const char *text = getenv("DSM_TEST_SEED");
    uint64_t seed = 0;
    if (text)
        seed = strtoull(text, NULL, 0);
    else if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        abort();
    printf("%s: DSM_TEST_SEED=%llu\n", who, (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

unsigned count_descriptors(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

void make_pattern(uint8_t *out, uint32_t len, uint32_t from, uint32_t to, unsigned lane,
                  uint64_t number)
{
    uint64_t state = (uint64_t)from << 40 ^ (uint64_t)to << 32 ^ (uint64_t)lane << 56 ^ number;
    uint32_t at = 0;
    for (; at + 8 <= len; at += 8)
        dsm_put_u64(out + at, dsm_rng_next(&state));
    uint64_t last = dsm_rng_next(&state);
    memcpy(out + at, &last, len - at);
}

__attribute__((format(printf, 2, 3))) static void note_failure(struct endpoint *e,
                                                               const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!e->failure[0])
        vsnprintf(e->failure, sizeof e->failure, format, args);
    va_end(args);
}

static bool has_whole_guards(const uint8_t *place, uint32_t len)
{
    for (uint32_t i = 0; i < GUARD_BYTES; i++)
        if (place[i] != GUARD_VALUE || place[GUARD_BYTES + len + i] != GUARD_VALUE)
            return false;
    return true;
}

static void answer(struct endpoint *e, uint32_t to, uint32_t len)
{
    static _Thread_local uint8_t payload[4096];
    int error = endpoint_send(e, to, LANE_REPLY, KIND_PLAIN, len, payload, 0);
    if (error) {
        pthread_mutex_lock(&e->lock);
        note_failure(e, "rank %u: answer to %u failed: %d", e->rank, to, error);
        pthread_mutex_unlock(&e->lock);
    }
}

static int on_header(void *user, uint32_t from, unsigned lane, const uint8_t *header,
                     void **dst_out, uint64_t *token_out)
{
    struct endpoint *e = user;
    uint64_t number = dsm_get_u64(header);
    uint32_t kind = dsm_get_u32(header + 8), len = dsm_get_u32(header + DSM_NET_LEN_AT);
    if (kind == KIND_REFUSE)
        return -1;
    if (kind == KIND_FAREWELL)
        e->ops->peer_left(e->net, from);
    pthread_mutex_lock(&e->lock);
    if (number != e->next_in[from][lane])
        note_failure(e, "rank %u: frame %llu of rank %u lane %u came, %llu was expected", e->rank,
                     (unsigned long long)number, from, lane,
                     (unsigned long long)e->next_in[from][lane]);
    if (e->n_lost[from])
        note_failure(e, "rank %u: a frame of rank %u came after its loss", e->rank, from);
    e->next_in[from][lane] = number + 1;
    e->n_frames++;
    int64_t lead = (int64_t)(e->next_in[from][lane] - e->next_in[from][lane ^ 1]);
    if (lead > e->lead[lane])
        e->lead[lane] = lead;
    if (e->is_running && pthread_equal(pthread_self(), e->thread))
        e->n_on_service++;
    uint8_t *place = e->place[from][lane];
    memset(place, GUARD_VALUE, len + 2 * GUARD_BYTES);
    *dst_out = kind == KIND_DISCARD ? NULL : place + GUARD_BYTES;
    *token_out = number ^ 0x5a5a5a5a5a5a5a5aull;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
    if (kind == KIND_ECHO)
        answer(e, from, len);
    return 0;
}

static void on_payload(void *user, uint32_t from, unsigned lane, const uint8_t *header,
                       uint64_t token)
{
    static _Thread_local uint8_t expected[DSM_NET_MAX_PAYLOAD + 8];
    struct endpoint *e = user;
    uint64_t number = dsm_get_u64(header);
    uint32_t len = dsm_get_u32(header + DSM_NET_LEN_AT);
    make_pattern(expected, len, from, e->rank, lane, number);
    pthread_mutex_lock(&e->lock);
    const uint8_t *place = e->place[from][lane];
    if (token != (number ^ 0x5a5a5a5a5a5a5a5aull))
        note_failure(e, "rank %u: another frame's token", e->rank);
    if (memcmp(place + GUARD_BYTES, expected, len) != 0)
        note_failure(e, "rank %u: payload of frame %llu of rank %u lane %u differs", e->rank,
                     (unsigned long long)number, from, lane);
    if (!has_whole_guards(place, len))
        note_failure(e, "rank %u: bytes beside the place of frame %llu", e->rank,
                     (unsigned long long)number);
    if (dsm_get_u32(header + 8) == KIND_DISCARD)
        note_failure(e, "rank %u: on_payload for what was thrown away", e->rank);
    e->payloads_in[from][lane]++;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static void on_sent(void *user, uint64_t cookie)
{
    struct endpoint *e = user;
    pthread_mutex_lock(&e->lock);
    if (cookie >= TEST_MAX_COOKIES || cookie == 0 || cookie > e->next_cookie)
        note_failure(e, "rank %u: a cookie that nobody gave: %llu", e->rank,
                     (unsigned long long)cookie);
    else if (e->sent[cookie]++)
        note_failure(e, "rank %u: cookie %llu came back twice", e->rank,
                     (unsigned long long)cookie);
    e->n_sent++;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static void on_lost(void *user, uint32_t rank, int error, const char *why)
{
    struct endpoint *e = user;
    pthread_mutex_lock(&e->lock);
    if (e->n_lost[rank]++)
        note_failure(e, "rank %u: rank %u was lost twice", e->rank, rank);
    e->lost_error[rank] = error;
    snprintf(e->lost_why[rank], sizeof e->lost_why[rank], "%s", why);
    if (strchr(why, '\n') || !*why)
        note_failure(e, "rank %u: the reason of a loss is not one line: \"%s\"", e->rank, why);
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static void on_batch_end(void *user)
{
    struct endpoint *e = user;
    pthread_mutex_lock(&e->lock);
    e->n_batches++;
    pthread_mutex_unlock(&e->lock);
    e->ops->flush(e->net);
}

static uint64_t service_spin_ns(void *user)
{
    return ((struct endpoint *)user)->spin_ns;
}

static void on_stop(uv_async_t *stop)
{
    struct endpoint *e = stop->data;
    e->ops->close(e->net);
    uv_close((uv_handle_t *)stop, NULL);
    uv_close((uv_handle_t *)&e->settle, NULL);
}

static void on_settle(uv_async_t *settle)
{
    struct endpoint *e = settle->data;
    pthread_mutex_lock(&e->lock);
    void (*task)(struct endpoint *) = e->task;
    e->task = NULL;
    pthread_mutex_unlock(&e->lock);
    if (task)
        task(e);
    pthread_mutex_lock(&e->lock);
    e->n_settled++;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

void endpoint_settle(struct endpoint *e)
{
    uint64_t before = endpoint_get(e, e->n_settled);
    uv_async_send(&e->settle);
    endpoint_wait(e, e->n_settled > before);
}

void endpoint_run(struct endpoint *e, void (*task)(struct endpoint *e))
{
    pthread_mutex_lock(&e->lock);
    e->task = task;
    pthread_mutex_unlock(&e->lock);
    endpoint_settle(e);
}

static void *service(void *user)
{
    struct endpoint *e = user;
    uv_run(&e->loop, UV_RUN_DEFAULT); /* until every handle is closed */
    return NULL;
}

bool cluster_is_socket_only;

static struct endpoint *endpoint_new(const struct dsm_net_ops *ops, uint32_t rank, uint32_t n_ranks,
                                     const struct cluster_options *options)
{
    struct endpoint *e = calloc(1, sizeof *e);
    ck_assert_ptr_nonnull(e);
    bool is_odd = options->odd_rank == rank;
    e->ops = ops;
    e->rank = rank;
    e->n_ranks = n_ranks;
    e->spin_ns = options->spin_ns;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
    for (uint32_t i = 0; i < n_ranks; i++)
        for (unsigned lane = 0; lane < TEST_LANES; lane++)
            ck_assert_ptr_nonnull(e->place[i][lane] =
                                      malloc(DSM_NET_MAX_PAYLOAD + 2 * GUARD_BYTES));
    ck_assert_int_eq(uv_loop_init(&e->loop), 0);
    e->stop.data = e;
    ck_assert_int_eq(uv_async_init(&e->loop, &e->stop, on_stop), 0);
    e->settle.data = e;
    ck_assert_int_eq(uv_async_init(&e->loop, &e->settle, on_settle), 0);
    const struct dsm_net_handler handler = {
        e, on_header, on_payload, on_sent, on_lost, on_batch_end, service_spin_ns, NULL, NULL};
    struct dsm_net_config config = {
        .self = rank % 2 ? UINT32_MAX : rank, /* known before, or only with the peers */
        .n_ranks = is_odd && options->odd_n_ranks ? options->odd_n_ranks : n_ranks,
        .epoch = is_odd && options->odd_epoch ? options->odd_epoch : 1,
        .token = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
        .build = is_odd && options->odd_build ? options->odd_build : "0.1.0-test",
        .loop = &e->loop,
        .connect_timeout_s = options->connect_timeout_s,
        .is_socket_only = cluster_is_socket_only,
    };
    if (is_odd && options->has_odd_token)
        config.token[15] ^= 1;
    ck_assert_int_eq(ops->open(&config, &handler, &e->net), 0);
    return e;
}

void cluster_open(struct cluster *cluster, const struct dsm_net_ops *ops, uint32_t n_ranks,
                  const struct cluster_options *options)
{
    static const struct cluster_options none = {.odd_rank = UINT32_MAX};
    char texts[TEST_MAX_RANKS][96];
    const char *addresses[TEST_MAX_RANKS];
    ck_assert_uint_le(n_ranks, TEST_MAX_RANKS);
    options = options ? options : &none;
    cluster->n_ranks = n_ranks;
    for (uint32_t i = 0; i < TEST_MAX_RANKS; i++)
        addresses[i] = "127.0.0.1:1"; /* for a rank that thinks there are more */
    for (uint32_t i = 0; i < n_ranks; i++) {
        cluster->at[i] = endpoint_new(ops, i, n_ranks, options);
        ck_assert_int_eq(ops->address(cluster->at[i]->net, texts[i], sizeof texts[i]), 0);
        addresses[i] = texts[i];
    }
    for (uint32_t i = 0; i < n_ranks; i++) {
        const char *seen[TEST_MAX_RANKS];
        memcpy(seen, addresses, sizeof seen);
        if (i == options->odd_rank && options->has_swapped_addresses)
            for (uint32_t k = 0; k < n_ranks; k++)
                seen[k] = addresses[n_ranks - 1 - k];
        if (i == 0 && options->address_of_rank_1)
            seen[1] = options->address_of_rank_1;
        ck_assert_int_eq(ops->set_peers(cluster->at[i]->net, i, seen), 0);
    }
    for (uint32_t i = 0; i < n_ranks; i++) {
        struct endpoint *e = cluster->at[i];
        pthread_mutex_lock(&e->lock);
        ck_assert_int_eq(pthread_create(&e->thread, NULL, service, e), 0);
        e->is_running = true;
        pthread_mutex_unlock(&e->lock);
    }
}

void endpoint_close(struct endpoint *e)
{
    if (!e->is_running)
        return;
    uv_async_send(&e->stop);
    pthread_join(e->thread, NULL);
    e->is_running = false;
    ck_assert_int_eq(uv_loop_close(&e->loop), 0); /* nothing of the transport is left in it */
}

void cluster_close(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->n_ranks; i++)
        endpoint_close(cluster->at[i]);
    for (uint32_t i = 0; i < cluster->n_ranks; i++) {
        struct endpoint *e = cluster->at[i];
        ck_assert_msg(!e->failure[0], "%s", e->failure);
        for (uint64_t cookie = 1; cookie <= e->next_cookie; cookie++)
            ck_assert_msg(e->sent[cookie] == 1, "rank %u: cookie %llu came back %u times", e->rank,
                          (unsigned long long)cookie, e->sent[cookie]);
        for (uint32_t k = 0; k < e->n_ranks; k++)
            for (unsigned lane = 0; lane < TEST_LANES; lane++)
                free(e->place[k][lane]);
        pthread_mutex_destroy(&e->lock);
        pthread_cond_destroy(&e->changed);
        free(e);
    }
}

uint64_t endpoint_cookie(struct endpoint *e)
{
    pthread_mutex_lock(&e->lock);
    uint64_t cookie = ++e->next_cookie;
    ck_assert_uint_lt(cookie, TEST_MAX_COOKIES);
    pthread_mutex_unlock(&e->lock);
    return cookie;
}

int endpoint_probe(struct endpoint *e, uint32_t to)
{
    int error = endpoint_send(e, to, LANE_REQUEST, KIND_PLAIN, 0, NULL, 0);
    e->ops->flush(e->net);
    return error;
}

int endpoint_send(struct endpoint *e, uint32_t to, unsigned lane, enum kind kind, uint32_t len,
                  uint8_t *payload, uint64_t cookie)
{
    uint8_t header[DSM_NET_HEADER_BYTES] = {0};
    /* Numbers are given and frames queued under one lock, as the driver does it. */
    pthread_mutex_lock(&e->lock);
    uint64_t number = e->next_out[to][lane];
    dsm_put_u64(header, number);
    dsm_put_u32(header + 8, kind);
    dsm_put_u32(header + DSM_NET_LEN_AT, len);
    if (len && kind != KIND_DISCARD) /* nobody looks at it; one place may serve many frames */
        make_pattern(payload, len, e->rank, to, lane, number);
    int error = e->ops->send(e->net, to, lane, header, len ? payload : NULL, cookie, 0);
    if (!error)
        e->next_out[to][lane]++;
    else if (cookie && cookie < TEST_MAX_COOKIES)
        e->sent[cookie] = 1; /* not given, so it does not come back */
    pthread_mutex_unlock(&e->lock);
    return error;
}
