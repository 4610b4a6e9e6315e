/* SPDX-License-Identifier: BSD-3-Clause */
/* collective.c - see collective.h. */
#define _GNU_SOURCE
#include "runtime/collective.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "runtime/observe.h"
#include "wire/frame.h"
#include <stdlib.h>
#include <string.h>

/* A group that this rank takes part in at the moment; on the stack of the calling thread. */
struct group_call {
    struct group_call *next;
    uint64_t group;
    struct dsm_waiter wait;
};

struct dsm_collective {
    uint32_t n_rounds;      /* most rounds a collective over all ranks has: up and down a tree */
    uint8_t *received;      /* [2][n_rounds][DSM_COLLECTIVE_BYTES] */
    uint32_t *received_len; /* [2][n_rounds] */
    uint8_t payload[DSM_COLLECTIVE_BYTES] __attribute__((aligned(16)));
    uint32_t payload_len;
    enum dsm_type type;
    enum dsm_op op;
    struct group_call *calls; /* under way */
};

static uint32_t log2_up(uint32_t n)
{
    uint32_t rounds = 0;
    while ((1ull << rounds) < n)
        rounds++;
    return rounds;
}

int dsm_collective_open(struct dsm_driver *d)
{
    struct dsm_collective *c = calloc(1, sizeof *c);
    if (!c)
        return DSM_E_NOMEM;
    c->n_rounds = 2 * log2_up(d->config.n_ranks) + 1;
    c->received = malloc(2ull * c->n_rounds * DSM_COLLECTIVE_BYTES);
    c->received_len = calloc(2ull * c->n_rounds, sizeof *c->received_len);
    if (!c->received || !c->received_len) {
        free(c->received);
        free(c->received_len);
        free(c);
        return DSM_E_NOMEM;
    }
    d->collective = c;
    return 0;
}

void dsm_collective_close(struct dsm_driver *d)
{
    free(d->collective->received);
    free(d->collective->received_len);
    free(d->collective);
    d->collective = NULL;
}

static size_t slot_of(const struct dsm_collective *c, uint64_t sequence, uint32_t round)
{
    return (sequence & 1) * c->n_rounds + round;
}

int dsm_collective_buffer(struct dsm_driver *d, const struct dsm_message *m, void **dst_out)
{
    struct dsm_collective *c = d->collective;
    if (m->object != 0 || m->count >= c->n_rounds || m->len > DSM_COLLECTIVE_BYTES)
        return DSM_E_PROTO;
    size_t slot = slot_of(c, m->txn, m->count);
    c->received_len[slot] = m->len;
    *dst_out = c->received + slot * DSM_COLLECTIVE_BYTES;
    return 0;
}

/* ---- reductions ---------------------------------------------------------------------------- */

#define FOLD(T, into, from, n, expression)                                                         \
    do {                                                                                           \
        T *a_ = (T *)(void *)(into);                                                               \
        const T *b_ = (const T *)(const void *)(from);                                             \
        for (size_t i_ = 0; i_ < (n) / sizeof(T); i_++) {                                          \
            T x = a_[i_], y = b_[i_];                                                              \
            a_[i_] = (T)(expression);                                                              \
        }                                                                                          \
    } while (0)

#define FOLD_ANY(T)                                                                                \
    case DSM_SUM:                                                                                  \
        FOLD(T, into, from, bytes, x + y);                                                         \
        break;                                                                                     \
    case DSM_PROD:                                                                                 \
        FOLD(T, into, from, bytes, x *y);                                                          \
        break;                                                                                     \
    case DSM_MIN:                                                                                  \
        FOLD(T, into, from, bytes, y < x ? y : x);                                                 \
        break;                                                                                     \
    case DSM_MAX:                                                                                  \
        FOLD(T, into, from, bytes, y > x ? y : x);                                                 \
        break

#define FOLD_INTEGERS(T)                                                                           \
    switch (op) {                                                                                  \
        FOLD_ANY(T);                                                                               \
    case DSM_BAND:                                                                                 \
        FOLD(T, into, from, bytes, x &y);                                                          \
        break;                                                                                     \
    case DSM_BOR:                                                                                  \
        FOLD(T, into, from, bytes, x | y);                                                         \
        break;                                                                                     \
    case DSM_BXOR:                                                                                 \
        FOLD(T, into, from, bytes, x ^ y);                                                         \
        break;                                                                                     \
    }                                                                                              \
    break

#define FOLD_REALS(T)                                                                              \
    switch (op) {                                                                                  \
        FOLD_ANY(T);                                                                               \
    case DSM_BAND:                                                                                 \
    case DSM_BOR:                                                                                  \
    case DSM_BXOR: /* refused at the call */                                                       \
        break;                                                                                     \
    }                                                                                              \
    break

/* Integers wrap: signed ones are folded as unsigned where the result is the same bits. */
static enum dsm_type wrapping(enum dsm_type type)
{
    switch (type) {
    case DSM_INT8:
        return DSM_UINT8;
    case DSM_INT16:
        return DSM_UINT16;
    case DSM_INT32:
        return DSM_UINT32;
    case DSM_INT64:
        return DSM_UINT64;
    case DSM_UINT8:
    case DSM_UINT16:
    case DSM_UINT32:
    case DSM_UINT64:
    case DSM_FLOAT:
    case DSM_DOUBLE:
        break;
    }
    return type;
}

static void fold(void *into, const void *from, size_t bytes, enum dsm_type type, enum dsm_op op)
{
    if (op == DSM_SUM || op == DSM_PROD)
        type = wrapping(type);
    if (op == DSM_PROD && type == DSM_UINT16) { /* as int, 65535 * 65535 would overflow */
        FOLD(uint16_t, into, from, bytes, 1u * x * y);
        return;
    }
    switch (type) {
    case DSM_INT8:
        FOLD_INTEGERS(int8_t);
    case DSM_UINT8:
        FOLD_INTEGERS(uint8_t);
    case DSM_INT16:
        FOLD_INTEGERS(int16_t);
    case DSM_UINT16:
        FOLD_INTEGERS(uint16_t);
    case DSM_INT32:
        FOLD_INTEGERS(int32_t);
    case DSM_INT64:
        FOLD_INTEGERS(int64_t);
    case DSM_UINT32:
        FOLD_INTEGERS(uint32_t);
    case DSM_UINT64:
        FOLD_INTEGERS(uint64_t);
    case DSM_FLOAT:
        FOLD_REALS(float);
    case DSM_DOUBLE:
        FOLD_REALS(double);
    }
}

static size_t type_bytes(enum dsm_type type)
{
    switch (type) {
    case DSM_INT8:
    case DSM_UINT8:
        return 1;
    case DSM_INT16:
    case DSM_UINT16:
        return 2;
    case DSM_INT32:
    case DSM_UINT32:
    case DSM_FLOAT:
        return 4;
    case DSM_INT64:
    case DSM_UINT64:
    case DSM_DOUBLE:
        return 8;
    }
    return 0;
}

/* ---- actions ------------------------------------------------------------------------------- */

static struct group_call *find_call(struct dsm_collective *c, uint64_t group)
{
    for (struct group_call *call = c->calls; call; call = call->next)
        if (call->group == group)
            return call;
    return NULL;
}

static void send_round(struct dsm_driver *d, const struct dsm_action *a)
{
    struct dsm_collective *c = d->collective;
    struct dsm_message m = a->message;
    m.len = a->has_payload ? c->payload_len : 0;
    uint8_t header[DSM_MESSAGE_HEADER_BYTES];
    dsm_frame_encode(&m, header);
    /* Copied by the transport: the payload changes with the next round. A lost peer is told by
     * on_lost. */
    if (d->net)
        (void)d->net_ops->send(d->net, a->to, a->lane, header, m.len ? c->payload : NULL, 0, 0);
    atomic_store(&d->has_unsent, true);
}

void dsm_collective_on_action(struct dsm_driver *d, const struct dsm_action *a)
{
    struct dsm_collective *c = d->collective;
    size_t slot = slot_of(c, a->message.txn, a->message.count);
    struct group_call *call;
    switch (a->type) {
    case DSM_ACTION_COLLECTIVE_SEND:
        send_round(d, a);
        break;
    case DSM_ACTION_COLLECTIVE_COMBINE:
        fold(c->payload, c->received + slot * DSM_COLLECTIVE_BYTES, c->payload_len, c->type, c->op);
        break;
    case DSM_ACTION_COLLECTIVE_TAKE:
        c->payload_len = c->received_len[slot];
        memcpy(c->payload, c->received + slot * DSM_COLLECTIVE_BYTES, c->payload_len);
        break;
    default: /* COLLECTIVE_DONE */
        call = find_call(c, a->id);
        if (call)
            dsm_waiter_complete(d, &call->wait, a->error, a->rank);
    }
}

/* ---- calls --------------------------------------------------------------------------------- */

/* Enters a collective and waits for its end; payload in and out for group 0. */
static int run(struct dsm_driver *d, struct dsm_event *event, void *payload, uint32_t len,
               enum dsm_type type, enum dsm_op op)
{
    struct dsm_collective *c = d->collective;
    struct group_call call = {.group = event->collective.group};
    struct dsm_driver_guard guard;
    dsm_waiters_count_thread(d);
    dsm_driver_enter(d, &guard);
    if (find_call(c, call.group)) {
        dsm_driver_leave(d, &guard);
        return DSM_E_BUSY;
    }
    call.next = c->calls;
    c->calls = &call;
    uint64_t start_ns = event->now_ns = dsm_clock_ns();
    if (call.group == 0) {
        c->payload_len = len;
        c->type = type;
        c->op = op;
        if (len)
            memcpy(c->payload, payload, len);
    }
    dsm_waiter_add(d, &call.wait, DSM_PAGE_NONE, false);
    dsm_driver_step(d, event);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
    int error = dsm_waiter_wait(d, &call.wait, UINT64_MAX, &guard.mask);
    dsm_mutex_lock(&d->lock);
    dsm_waiter_remove(d, &call.wait);
    dsm_rank_t rank = call.wait.rank;
    for (struct group_call **at = &c->calls; *at; at = &(*at)->next) {
        if (*at == &call) {
            *at = call.next;
            break;
        }
    }
    uint32_t got = c->payload_len;
    uint8_t result[DSM_COLLECTIVE_BYTES];
    if (!error && len)
        memcpy(result, c->payload, got < len ? got : len);
    bool is_barrier = event->collective.kind == DSM_COLLECTIVE_BARRIER;
    uint64_t end_ns = dsm_clock_ns();
    if (is_barrier) {
        d->stats.barriers++;
        dsm_histogram_add(&d->stats.barrier_wait, end_ns - start_ns);
    }
    dsm_observe_wait(d, is_barrier ? DSM_PROFILE_RANKS : DSM_PROFILE_COLLECTIVE, 0, start_ns,
                     end_ns);
    dsm_driver_leave(d, &guard);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "rank %u waits in a collective that rank %u will not reach (%s)",
                d->config.self, rank, d->loss_text[0] ? d->loss_text : "it has left the job");
        return error;
    }
    if (len && got != len) {
        dsm_log(DSM_LOG_ERROR, "a collective was entered with %u bytes here and %u elsewhere", len,
                got);
        return DSM_E_MISMATCH;
    }
    if (len)
        memcpy(payload, result, len);
    return 0;
}

static struct dsm_event world_event(const struct dsm_driver *d, enum dsm_collective_kind kind,
                                    uint32_t root)
{
    return (struct dsm_event){.type = DSM_EVENT_COLLECTIVE,
                              .collective = {.kind = kind,
                                             .n_members = d->config.n_ranks,
                                             .self_index = d->config.self,
                                             .root_index = root}};
}

int dsm_collective_barrier(struct dsm_driver *d)
{
    struct dsm_event event = world_event(d, DSM_COLLECTIVE_BARRIER, 0);
    return run(d, &event, NULL, 0, DSM_INT32, DSM_SUM);
}

int dsm_collective_barrier_group(struct dsm_driver *d, const uint32_t *ranks, uint32_t n_ranks)
{
    if (!ranks || n_ranks == 0 || n_ranks > d->config.n_ranks)
        return DSM_E_INVAL;
    uint64_t *seen = calloc((d->config.n_ranks + 63) / 64, sizeof *seen);
    if (!seen)
        return DSM_E_NOMEM;
    uint32_t self_index = UINT32_MAX;
    uint64_t group = 0xcbf29ce484222325ull; /* FNV-1a over the list */
    bool is_valid = true;
    for (uint32_t i = 0; i < n_ranks && is_valid; i++) {
        uint32_t r = ranks[i];
        is_valid = r < d->config.n_ranks && !(seen[r / 64] >> r % 64 & 1);
        if (!is_valid)
            break;
        seen[r / 64] |= 1ull << r % 64;
        if (r == d->config.self)
            self_index = i;
        for (int shift = 0; shift < 32; shift += 8)
            group = (group ^ (r >> shift & 0xff)) * 0x100000001b3ull;
    }
    free(seen);
    if (!is_valid || self_index == UINT32_MAX)
        return DSM_E_INVAL;
    struct dsm_event event = {.type = DSM_EVENT_COLLECTIVE,
                              .collective = {.group = group ? group : 1,
                                             .kind = DSM_COLLECTIVE_BARRIER,
                                             .members = ranks,
                                             .n_members = n_ranks,
                                             .self_index = self_index}};
    return run(d, &event, NULL, 0, DSM_INT32, DSM_SUM);
}

int dsm_collective_bcast(struct dsm_driver *d, void *buf, size_t len, uint32_t root)
{
    if ((!buf && len) || root >= d->config.n_ranks)
        return DSM_E_INVAL;
    /* The private copy keeps faults out of the locked part when buf is shared memory. */
    for (size_t at = 0; at < len; at += DSM_COLLECTIVE_BYTES) {
        uint32_t n = (uint32_t)(len - at < DSM_COLLECTIVE_BYTES ? len - at : DSM_COLLECTIVE_BYTES);
        uint8_t chunk[DSM_COLLECTIVE_BYTES];
        if (d->config.self == root)
            memcpy(chunk, (const uint8_t *)buf + at, n);
        struct dsm_event event = world_event(d, DSM_COLLECTIVE_BCAST, root);
        int error = run(d, &event, chunk, n, DSM_INT32, DSM_SUM);
        if (error)
            return error;
        if (d->config.self != root)
            memcpy((uint8_t *)buf + at, chunk, n);
    }
    return 0;
}

int dsm_collective_allreduce(struct dsm_driver *d, void *buf, size_t count, enum dsm_type type,
                             enum dsm_op op)
{
    size_t width = type_bytes(type);
    bool is_bitwise = op == DSM_BAND || op == DSM_BOR || op == DSM_BXOR;
    bool is_real = type == DSM_FLOAT || type == DSM_DOUBLE;
    if ((!buf && count) || !width || (unsigned)op > DSM_BXOR || (is_bitwise && is_real) ||
        count > SIZE_MAX / 8)
        return DSM_E_INVAL;
    size_t len = count * width;
    for (size_t at = 0; at < len; at += DSM_COLLECTIVE_BYTES) {
        uint32_t n = (uint32_t)(len - at < DSM_COLLECTIVE_BYTES ? len - at : DSM_COLLECTIVE_BYTES);
        uint8_t chunk[DSM_COLLECTIVE_BYTES] __attribute__((aligned(16)));
        memcpy(chunk, (const uint8_t *)buf + at, n);
        struct dsm_event event = world_event(d, DSM_COLLECTIVE_ALLREDUCE, 0);
        int error = run(d, &event, chunk, n, type, op);
        if (error)
            return error;
        memcpy((uint8_t *)buf + at, chunk, n);
    }
    return 0;
}
