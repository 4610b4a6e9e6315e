/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * faulty.c - delays and cuts. A frame to be sent gets a time, not before that of the frame ahead of
 * it in the same lane, and goes to the wrapped transport when a timer of the loop says so.
 *
 * Per peer: the queue's lock guards the delayed frames and is all that send takes. tx is held by
 * who hands frames on and over on_sent; rx over the callbacks of reading; a cut or loss takes both,
 * so that nothing about the peer is said after on_lost.
 */
#include "net/faulty.h"
#include "net/loop.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/rng.h"
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define N_LANES        2
#define MAX_FRAMES     (64u << 10)
#define MAX_COPY_BYTES 4096u
#define RETRY_NS       (200 * DSM_NS_PER_US) /* the wrapped transport's queue was full */

struct frame {
    struct frame *next;
    uint64_t due_ns;
    uint64_t cookie;
    const void *payload;
    uint32_t key;
    uint8_t header[DSM_NET_HEADER_BYTES];
    uint8_t copy[];
};

struct lane {
    struct frame *head;
    struct frame **tail;
    uint32_t n_frames;
    uint64_t last_due_ns;
};

struct peer {
    struct dsm_mutex queue_lock;
    struct lane lanes[N_LANES];
    bool is_gone; /* nothing is taken any more; queue_lock */
    struct dsm_mutex tx;
    struct dsm_mutex rx;
    bool is_lost; /* on_lost was called; rx */
};

struct dsm_net {
    const struct dsm_net_ops *inner_ops;
    struct dsm_net *inner;
    struct dsm_net_handler handler;
    struct dsm_net_faulty_plan plan;
    uint32_t self;
    uint32_t n_ranks;
    struct peer *peers;
    struct dsm_mutex rng_lock;
    uint64_t rng;
    int timer_fd;
    uv_poll_t timer;
};

/* Of the tests' process; read by open. */
static struct dsm_net_faulty_plan next_plan = {.seed = 1, .max_delay_us = 300, .late_percent = 30};

void dsm_net_faulty_set_plan(const struct dsm_net_faulty_plan *plan)
{
    next_plan = *plan;
}

/* ---- sending ---- */

static uint64_t draw_delay_ns(struct dsm_net *net)
{
    dsm_mutex_lock(&net->rng_lock);
    bool is_late = dsm_rng_below(&net->rng, 100) < net->plan.late_percent;
    uint64_t delay_us = dsm_rng_below(&net->rng, net->plan.max_delay_us + 1ull);
    dsm_mutex_unlock(&net->rng_lock);
    return is_late ? delay_us * DSM_NS_PER_US : 0;
}

static void arm(struct dsm_net *net, uint64_t at_ns)
{
    const struct itimerspec at = {.it_value = {.tv_sec = (time_t)(at_ns / DSM_NS_PER_S),
                                               .tv_nsec = (long)(at_ns % DSM_NS_PER_S)}};
    if (timerfd_settime(net->timer_fd, TFD_TIMER_ABSTIME, &at, NULL))
        abort(); /* of a test */
}

static int faulty_send(struct dsm_net *net, uint32_t to, unsigned lane, const uint8_t *header,
                       const void *payload, uint64_t cookie, uint32_t key)
{
    uint32_t len_bytes = dsm_get_u32(header + DSM_NET_LEN_AT);
    if (to >= net->n_ranks || to == net->self || lane >= N_LANES ||
        len_bytes > DSM_NET_MAX_PAYLOAD || (len_bytes && !payload) ||
        (!cookie && len_bytes > MAX_COPY_BYTES))
        return DSM_E_INVAL;
    uint32_t copy_bytes = cookie ? 0 : len_bytes;
    struct frame *frame = malloc(sizeof *frame + copy_bytes);
    if (!frame)
        return DSM_E_NOMEM;
    *frame =
        (struct frame){.cookie = cookie, .payload = cookie ? payload : frame->copy, .key = key};
    memcpy(frame->header, header, sizeof frame->header);
    if (copy_bytes)
        memcpy(frame->copy, payload, copy_bytes);
    uint64_t due_ns = dsm_clock_ns() + draw_delay_ns(net);
    struct peer *peer = &net->peers[to];
    struct lane *queue = &peer->lanes[lane];
    int error = 0;
    dsm_mutex_lock(&peer->queue_lock);
    if (peer->is_gone)
        error = DSM_E_PEER;
    else if (queue->n_frames >= MAX_FRAMES)
        error = DSM_E_NOMEM;
    if (!error) {
        frame->due_ns = due_ns > queue->last_due_ns ? due_ns : queue->last_due_ns;
        queue->last_due_ns = frame->due_ns;
        *queue->tail = frame;
        queue->tail = &frame->next;
        queue->n_frames++;
    }
    dsm_mutex_unlock(&peer->queue_lock);
    if (error)
        free(frame);
    return error;
}

/* queue_lock held. */
static struct frame *take_head(struct lane *lane)
{
    struct frame *frame = lane->head;
    lane->head = frame->next;
    if (!lane->head)
        lane->tail = &lane->head;
    lane->n_frames--;
    return frame;
}

/* tx held: what is still here comes back. */
static void hand_back(struct dsm_net *net, struct peer *peer)
{
    for (unsigned i = 0; i < N_LANES; i++) {
        for (;;) {
            dsm_mutex_lock(&peer->queue_lock);
            peer->is_gone = true;
            struct frame *frame = peer->lanes[i].head ? take_head(&peer->lanes[i]) : NULL;
            dsm_mutex_unlock(&peer->queue_lock);
            if (!frame)
                break;
            if (frame->cookie)
                net->handler.on_sent(net->handler.user, frame->cookie);
            free(frame);
        }
    }
}

/* tx held. Hands on what is due; the time of the next frame in *next_ns. */
static void pass_on(struct dsm_net *net, uint32_t to, unsigned lane, uint64_t now_ns,
                    uint64_t *next_ns)
{
    struct peer *peer = &net->peers[to];
    int error = 0;
    dsm_mutex_lock(&peer->queue_lock);
    while (peer->lanes[lane].head && !error) {
        struct frame *frame = peer->lanes[lane].head;
        uint64_t at_ns = frame->due_ns;
        if (at_ns <= now_ns) {
            error = net->inner_ops->send(net->inner, to, lane, frame->header, frame->payload,
                                         frame->cookie, frame->key);
            if (!error)
                free(take_head(&peer->lanes[lane]));
            at_ns = now_ns + RETRY_NS;
        } else {
            error = DSM_E_BUSY;
        }
        if (error && error != DSM_E_PEER && at_ns < *next_ns)
            *next_ns = at_ns;
    }
    dsm_mutex_unlock(&peer->queue_lock);
    if (error == DSM_E_PEER)
        hand_back(net, peer);
}

static void pass_on_all(struct dsm_net *net, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    for (uint32_t to = 0; to < net->n_ranks; to++) {
        if (!dsm_mutex_trylock(&net->peers[to].tx)) {
            next_ns = now_ns + RETRY_NS; /* another does it, but perhaps not the newest */
            continue;
        }
        for (unsigned lane = 0; lane < N_LANES; lane++)
            pass_on(net, to, lane, now_ns, &next_ns);
        dsm_mutex_unlock(&net->peers[to].tx);
    }
    if (next_ns != UINT64_MAX)
        arm(net, next_ns);
    net->inner_ops->flush(net->inner);
}

static void faulty_flush(struct dsm_net *net)
{
    pass_on_all(net, dsm_clock_ns());
}

static void on_timer(uv_poll_t *timer, int status, int events)
{
    struct dsm_net *net = timer->data;
    uint64_t n;
    (void)status;
    (void)events;
    (void)!read(net->timer_fd, &n, sizeof n); /* another thread may have set it anew */
    pass_on_all(net, dsm_clock_ns());
}

/* ---- reading ---- */

static int on_header(void *user, uint32_t from, unsigned lane, const uint8_t *header,
                     void **dst_out, uint64_t *token_out)
{
    struct dsm_net *net = user;
    struct peer *peer = &net->peers[from];
    int result = 0;
    dsm_mutex_lock(&peer->rx);
    *dst_out = NULL;
    if (!peer->is_lost)
        result = net->handler.on_header(net->handler.user, from, lane, header, dst_out, token_out);
    dsm_mutex_unlock(&peer->rx);
    return result;
}

static void on_payload(void *user, uint32_t from, unsigned lane, const uint8_t *header,
                       uint64_t token)
{
    struct dsm_net *net = user;
    struct peer *peer = &net->peers[from];
    dsm_mutex_lock(&peer->rx);
    if (!peer->is_lost)
        net->handler.on_payload(net->handler.user, from, lane, header, token);
    dsm_mutex_unlock(&peer->rx);
}

static void on_sent(void *user, uint64_t cookie)
{
    struct dsm_net *net = user;
    net->handler.on_sent(net->handler.user, cookie);
}

static void on_lost(void *user, uint32_t rank, int error, const char *why)
{
    struct dsm_net *net = user;
    struct peer *peer = &net->peers[rank];
    dsm_mutex_lock(&peer->tx);
    hand_back(net, peer);
    dsm_mutex_unlock(&peer->tx);
    dsm_mutex_lock(&peer->rx);
    bool was_lost = peer->is_lost;
    peer->is_lost = true;
    dsm_mutex_unlock(&peer->rx);
    if (!was_lost)
        net->handler.on_lost(net->handler.user, rank, error, why);
}

static void on_batch_end(void *user)
{
    struct dsm_net *net = user;
    net->handler.on_batch_end(net->handler.user);
}

static uint64_t service_spin_ns(void *user)
{
    struct dsm_net *net = user;
    return net->handler.service_spin_ns(net->handler.user);
}

void dsm_net_faulty_cut(struct dsm_net *net, uint32_t rank)
{
    char why[80];
    dsm_format(why, sizeof why, "rank %u was cut off", rank);
    on_lost(net, rank, DSM_E_PEER, why);
}

/* ---- the rest ---- */

static int faulty_probe(char *why, size_t why_bytes)
{
    dsm_format(why, why_bytes, "for tests");
    return 0;
}

static void faulty_free(struct dsm_net *net)
{
    if (net->timer_fd >= 0)
        close(net->timer_fd);
    free(net->peers);
    free(net);
}

static int open_over(const struct dsm_net_ops *inner_ops, const struct dsm_net_config *config,
                     const struct dsm_net_handler *handler, struct dsm_net **net_out)
{
    struct dsm_net *net = calloc(1, sizeof *net);
    if (!net)
        return DSM_E_NOMEM;
    net->inner_ops = inner_ops;
    net->handler = *handler;
    net->plan = next_plan;
    net->rng = next_plan.seed;
    net->self = UINT32_MAX;
    net->n_ranks = config->n_ranks;
    net->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    net->peers = calloc(net->n_ranks, sizeof *net->peers);
    if (net->timer_fd < 0 || !net->peers) {
        faulty_free(net);
        return DSM_E_NOMEM;
    }
    for (uint32_t rank = 0; rank < net->n_ranks; rank++)
        for (unsigned lane = 0; lane < N_LANES; lane++)
            net->peers[rank].lanes[lane].tail = &net->peers[rank].lanes[lane].head;
    const struct dsm_net_handler ours = {
        net, on_header, on_payload, on_sent, on_lost, on_batch_end, service_spin_ns, NULL, NULL};
    int error = inner_ops->open(config, &ours, &net->inner);
    if (error) {
        faulty_free(net);
        return error;
    }
    net->timer.data = net;
    if (uv_poll_init(config->loop, &net->timer, net->timer_fd) ||
        uv_poll_start(&net->timer, UV_READABLE, on_timer))
        abort(); /* of a test */
    *net_out = net;
    return 0;
}

static int open_over_tcp(const struct dsm_net_config *config, const struct dsm_net_handler *handler,
                         struct dsm_net **net_out)
{
    return open_over(&dsm_net_tcp, config, handler, net_out);
}

static int open_over_loop(const struct dsm_net_config *config,
                          const struct dsm_net_handler *handler, struct dsm_net **net_out)
{
    return open_over(&dsm_net_loop, config, handler, net_out);
}

static int faulty_address(struct dsm_net *net, char *out, size_t out_bytes)
{
    return net->inner_ops->address(net->inner, out, out_bytes);
}

static int faulty_set_peers(struct dsm_net *net, uint32_t self, const char *const *addresses)
{
    net->self = self;
    return net->inner_ops->set_peers(net->inner, self, addresses);
}

static void faulty_claim(struct dsm_net *net)
{
    net->inner_ops->claim(net->inner);
}

static void faulty_release(struct dsm_net *net)
{
    net->inner_ops->release(net->inner);
}

static int faulty_poll(struct dsm_net *net, int64_t timeout_us)
{
    return net->inner_ops->poll(net->inner, timeout_us);
}

static void faulty_kick(struct dsm_net *net)
{
    net->inner_ops->kick(net->inner);
}

static int faulty_poll_fd(struct dsm_net *net)
{
    return net->inner_ops->poll_fd(net->inner);
}

static void faulty_peer_left(struct dsm_net *net, uint32_t rank)
{
    net->inner_ops->peer_left(net->inner, rank);
}

static bool faulty_expel(struct dsm_net *net, uint32_t rank, const char *why)
{
    return net->inner_ops->expel(net->inner, rank, why);
}

static bool faulty_is_connected(struct dsm_net *net, uint32_t rank)
{
    if (rank >= net->n_ranks)
        return false;
    struct peer *peer = &net->peers[rank];
    dsm_mutex_lock(&peer->queue_lock);
    bool has_frames = peer->lanes[0].head || peer->lanes[1].head;
    bool is_gone = peer->is_gone;
    dsm_mutex_unlock(&peer->queue_lock);
    return !is_gone && (has_frames || net->inner_ops->is_connected(net->inner, rank));
}

static void on_timer_closed(uv_handle_t *handle)
{
    faulty_free(handle->data);
}

static void faulty_close(struct dsm_net *net)
{
    pass_on_all(net,
                UINT64_MAX - RETRY_NS); /* late or not: what was flushed leaves before the end */
    net->inner_ops->close(net->inner);
    for (uint32_t rank = 0; rank < net->n_ranks; rank++)
        hand_back(net, &net->peers[rank]);
    uv_close((uv_handle_t *)&net->timer, on_timer_closed);
}

#define FAULTY_OPS(over)                                                                           \
    {                                                                                              \
        .name = "faulty(" #over ")", .probe = faulty_probe, .open = open_over_##over,              \
        .address = faulty_address, .set_peers = faulty_set_peers, .send = faulty_send,             \
        .flush = faulty_flush, .claim = faulty_claim, .release = faulty_release,                   \
        .poll = faulty_poll, .kick = faulty_kick, .poll_fd = faulty_poll_fd,                       \
        .peer_left = faulty_peer_left, .expel = faulty_expel, .is_connected = faulty_is_connected, \
        .close = faulty_close,                                                                     \
    }

const struct dsm_net_ops dsm_net_faulty_tcp = FAULTY_OPS(tcp);
const struct dsm_net_ops dsm_net_faulty_loop = FAULTY_OPS(loop);
