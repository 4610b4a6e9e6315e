/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop.c - ranks of one process, for tests. It behaves like tcp where callers can tell: frames wait
 * in a send queue until flush, an inbox takes so many bytes and no more until it is read,
 * connecting is lazy and says the same hello, and what a rank sent before it closed arrives before
 * its end.
 *
 * One lock, the hub's, guards everything that two ranks share: who is there and all inboxes. It is
 * never held over a callback. Per peer, tx says who writes and reports, rx who reads; both are held
 * over callbacks, and whoever declares the peer lost takes them first, so that no callback about it
 * comes later. send takes the queue's lock alone.
 */
#include "net/loop.h"
#include "net/hello.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/mutex.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define N_LANES        2
#define MAX_FRAMES     (64u << 10)
#define MAX_COPY_BYTES 4096u
#define INBOX_BYTES    (256u << 10) /* like a socket's buffers */
#define FRAMES_AT_ONCE 256
#define ADDRESS_PREFIX "loop:"

enum { LANE_REQUEST, LANE_REPLY };

struct frame {
    struct frame *next;
    uint64_t cookie;
    const uint8_t *payload; /* the sender's until it is in an inbox; then ours, after the frame */
    uint32_t len_bytes;
    bool is_end; /* no frame: the sender has closed */
    uint8_t header[DSM_NET_HEADER_BYTES];
    uint8_t bytes[]; /* of a copied payload */
};

struct queue {
    struct frame *head;
    struct frame **tail;
    uint32_t n_frames;
    size_t n_bytes;
};

struct peer {
    /* The hub's lock: */
    uint64_t id; /* of its endpoint; 0: address unknown */
    bool is_up;
    bool was_lost_there; /* the other end will not have us */
    struct queue inbox[N_LANES];
    /* Our own: */
    struct dsm_mutex queue_lock;
    struct queue out[N_LANES];
    struct dsm_mutex tx;
    struct dsm_mutex rx[N_LANES];
    atomic_bool writes_again;
    atomic_bool is_wanted;
    atomic_bool has_left;
    atomic_bool is_gone; /* lost, or left and closed */
    atomic_bool is_lost;
    atomic_bool has_ended[N_LANES];
};

struct dsm_net {
    struct dsm_net_handler handler;
    uint64_t id;
    uint32_t self; /* UINT32_MAX before set_peers */
    uint32_t n_ranks;
    uint32_t epoch;
    uint8_t token[16];
    char *build;
    struct peer *peers;
    struct dsm_net *next; /* in the hub */
    int ready_fd;         /* eventfd: something to poll for */
    bool is_ready;        /* it is written; the hub's lock */
    bool is_kicked;       /* the hub's lock */
    atomic_bool is_claimed;
    uv_async_t service;    /* requests are there */
    uv_async_t connecting; /* a peer is wanted, or has become able */
    uv_async_t writable;   /* an inbox has room again */
    unsigned n_handles;
};

/* The tests' process is the network. */
static struct {
    struct dsm_mutex lock;
    struct dsm_net *endpoints;
    uint64_t last_id;
} hub;

/* ---- queues ---- */

static void queue_init(struct queue *queue)
{
    *queue = (struct queue){.tail = &queue->head};
}

static void queue_put(struct queue *queue, struct frame *frame)
{
    frame->next = NULL;
    *queue->tail = frame;
    queue->tail = &frame->next;
    queue->n_frames++;
    queue->n_bytes += DSM_NET_HEADER_BYTES + frame->len_bytes;
}

static struct frame *queue_take(struct queue *queue)
{
    struct frame *frame = queue->head;
    if (!frame)
        return NULL;
    queue->head = frame->next;
    if (!queue->head)
        queue->tail = &queue->head;
    queue->n_frames--;
    queue->n_bytes -= DSM_NET_HEADER_BYTES + frame->len_bytes;
    return frame;
}

static void queue_free(struct queue *queue)
{
    for (struct frame *frame; (frame = queue_take(queue));)
        free(frame);
}

/* A frame that owns its payload. */
static struct frame *frame_copy(const uint8_t *header, const void *payload, uint32_t len_bytes,
                                uint64_t cookie)
{
    struct frame *frame = malloc(sizeof *frame + len_bytes);
    if (!frame)
        return NULL;
    *frame = (struct frame){.cookie = cookie, .len_bytes = len_bytes, .payload = frame->bytes};
    memcpy(frame->header, header, sizeof frame->header);
    if (len_bytes)
        memcpy(frame->bytes, payload, len_bytes);
    return frame;
}

/* ---- the hub; its lock held ---- */

static struct dsm_net *hub_find(uint64_t id)
{
    struct dsm_net *net = hub.endpoints;
    while (net && net->id != id)
        net = net->next;
    return net;
}

static void hub_wake(struct dsm_net *net, unsigned lane)
{
    uint64_t one = 1;
    if (!net->is_ready) {
        net->is_ready = true;
        if (write(net->ready_fd, &one, sizeof one) != sizeof one)
            abort();
    }
    if (lane == LANE_REQUEST && !atomic_load(&net->is_claimed))
        uv_async_send(&net->service);
}

static bool hub_has_requests(const struct dsm_net *net)
{
    for (uint32_t rank = 0; rank < net->n_ranks; rank++)
        if (net->peers[rank].inbox[LANE_REQUEST].head)
            return true;
    return false;
}

static bool hub_has_frames(const struct dsm_net *net)
{
    for (uint32_t rank = 0; rank < net->n_ranks; rank++)
        if (net->peers[rank].inbox[LANE_REPLY].head)
            return true;
    return hub_has_requests(net);
}

/* ready_fd is readable only while there is something. */
static void hub_unready(struct dsm_net *net)
{
    uint64_t value;
    if (!net->is_ready || net->is_kicked || hub_has_frames(net))
        return;
    net->is_ready = false;
    if (read(net->ready_fd, &value, sizeof value) != sizeof value)
        abort();
}

/* ---- sending ---- */

static int loop_send(struct dsm_net *net, uint32_t to, unsigned lane, const uint8_t *header,
                     const void *payload, uint64_t cookie, uint32_t key)
{
    uint32_t len_bytes = dsm_get_u32(header + DSM_NET_LEN_AT);
    (void)key;
    if (to >= net->n_ranks || to == net->self || lane >= N_LANES ||
        len_bytes > DSM_NET_MAX_PAYLOAD || (len_bytes && !payload) ||
        (!cookie && len_bytes > MAX_COPY_BYTES))
        return DSM_E_INVAL;
    struct peer *peer = &net->peers[to];
    int error = 0;
    dsm_mutex_lock(&peer->queue_lock);
    if (atomic_load(&peer->is_gone)) {
        error = DSM_E_PEER;
    } else if (peer->out[lane].n_frames >= MAX_FRAMES) {
        error = DSM_E_NOMEM;
    } else {
        struct frame *frame = frame_copy(header, payload, cookie ? 0 : len_bytes, cookie);
        if (frame) {
            frame->len_bytes = len_bytes;
            if (cookie)
                frame->payload = payload;
            queue_put(&peer->out[lane], frame);
        } else {
            error = DSM_E_NOMEM;
        }
    }
    dsm_mutex_unlock(&peer->queue_lock);
    if (!error && !atomic_exchange(&peer->is_wanted, true))
        uv_async_send(&net->connecting);
    return error;
}

/* Puts the head of the queue into the peer's inbox. False: there is none, or no room. */
static bool pass_on(struct dsm_net *net, struct peer *peer, unsigned lane, uint64_t *cookie_out)
{
    bool is_taken = false;
    *cookie_out = 0;
    dsm_mutex_lock(&peer->queue_lock);
    struct frame *frame = peer->out[lane].head;
    dsm_mutex_lock(&hub.lock);
    struct dsm_net *other = hub_find(peer->id);
    struct queue *inbox = other ? &other->peers[net->self].inbox[lane] : NULL;
    if (frame && peer->is_up && (!inbox || inbox->n_bytes < INBOX_BYTES)) {
        struct frame *copy =
            inbox ? frame_copy(frame->header, frame->payload, frame->len_bytes, 0) : NULL;
        if (copy) {
            queue_put(inbox, copy);
            hub_wake(other, lane);
        } /* else its end is in our inbox already */
        is_taken = true;
        *cookie_out = frame->cookie;
        free(queue_take(&peer->out[lane]));
    }
    dsm_mutex_unlock(&hub.lock);
    dsm_mutex_unlock(&peer->queue_lock);
    return is_taken;
}

static void write_peer(struct dsm_net *net, struct peer *peer)
{
    do {
        if (!dsm_mutex_trylock(&peer->tx)) {
            /* Whoever writes looks again after it has let go. */
            atomic_store(&peer->writes_again, true);
            if (!dsm_mutex_trylock(&peer->tx))
                return;
        }
        atomic_store(&peer->writes_again, false);
        for (unsigned lane = 0; lane < N_LANES; lane++) {
            uint64_t cookie;
            while (!atomic_load(&peer->is_gone) && pass_on(net, peer, lane, &cookie))
                if (cookie)
                    net->handler.on_sent(net->handler.user, cookie);
        }
        dsm_mutex_unlock(&peer->tx);
    } while (atomic_load(&peer->writes_again));
}

static void loop_flush(struct dsm_net *net)
{
    for (uint32_t rank = 0; rank < net->n_ranks; rank++)
        if (atomic_load(&net->peers[rank].is_wanted))
            write_peer(net, &net->peers[rank]);
}

/* ---- loss ---- */

/* No further callback about the peer but these. tx held. */
static void hand_back(struct dsm_net *net, struct peer *peer)
{
    for (unsigned lane = 0; lane < N_LANES; lane++) {
        struct frame *frame;
        for (;;) {
            dsm_mutex_lock(&peer->queue_lock);
            frame = queue_take(&peer->out[lane]);
            dsm_mutex_unlock(&peer->queue_lock);
            if (!frame)
                break;
            if (frame->cookie)
                net->handler.on_sent(net->handler.user, frame->cookie);
            free(frame);
        }
    }
}

/* The peer has ended; no rx held. */
static void end_peer(struct dsm_net *net, struct peer *peer, bool is_quiet, int error,
                     const char *why)
{
    if (atomic_exchange(&peer->is_lost, true))
        return;
    dsm_mutex_lock(&peer->queue_lock); /* what is sent later is refused */
    atomic_store(&peer->is_gone, true);
    dsm_mutex_unlock(&peer->queue_lock);
    dsm_mutex_lock(&peer->tx);
    hand_back(net, peer);
    dsm_mutex_unlock(&peer->tx);
    for (unsigned lane = 0; lane < N_LANES; lane++) {
        dsm_mutex_lock(&peer->rx[lane]);
        dsm_mutex_lock(&hub.lock);
        queue_free(&peer->inbox[lane]);
        dsm_mutex_unlock(&hub.lock);
        dsm_mutex_unlock(&peer->rx[lane]);
    }
    if (!is_quiet)
        net->handler.on_lost(net->handler.user, (uint32_t)(peer - net->peers), error, why);
}

/* Tells the other side that we are gone, after all that it has not read yet. */
static void say_end(struct dsm_net *net, struct peer *peer)
{
    dsm_mutex_lock(&hub.lock);
    struct dsm_net *other = peer->is_up ? hub_find(peer->id) : NULL;
    for (unsigned lane = 0; other && lane < N_LANES; lane++) {
        struct frame *end = calloc(1, sizeof *end);
        if (!end)
            abort();
        end->is_end = true;
        queue_put(&other->peers[net->self].inbox[lane], end);
        hub_wake(other, lane);
    }
    if (other)
        other->peers[net->self].was_lost_there = true;
    peer->is_up = false;
    dsm_mutex_unlock(&hub.lock);
}

static void lose_peer(struct dsm_net *net, struct peer *peer, int error, const char *why)
{
    say_end(net, peer);
    end_peer(net, peer, atomic_load(&peer->has_left), error, why);
}

static int read_lane(struct dsm_net *net, uint32_t from, unsigned lane);

static void take_end(struct dsm_net *net, struct peer *peer, unsigned lane)
{
    char why[200];
    atomic_store(&peer->has_ended[lane], true);
    if (atomic_load(&peer->has_left)) {
        if (atomic_load(&peer->has_ended[LANE_REQUEST]) &&
            atomic_load(&peer->has_ended[LANE_REPLY]))
            lose_peer(net, peer, 0, "left");
        return;
    }
    if (lane == LANE_REPLY)
        return; /* the farewell comes on the request lane, perhaps unread so far */
    while (read_lane(net, (uint32_t)(peer - net->peers), LANE_REPLY))
        ; /* what it replied before is handed over, even if nobody holds the claim */
    dsm_format(why, sizeof why, "rank %u is gone: its endpoint was closed",
               (uint32_t)(peer - net->peers));
    lose_peer(net, peer, DSM_E_PEER, why);
}

/* ---- reading ---- */

enum read_result { READ_NOTHING, READ_FRAME, READ_END, READ_BROKEN };

/* rx of the lane held. */
static enum read_result read_frame(struct dsm_net *net, uint32_t from, unsigned lane)
{
    struct peer *peer = &net->peers[from];
    const struct dsm_net_handler *handler = &net->handler;
    dsm_mutex_lock(&hub.lock);
    struct frame *frame = atomic_load(&peer->is_lost) ? NULL : queue_take(&peer->inbox[lane]);
    struct dsm_net *other = frame ? hub_find(peer->id) : NULL;
    if (other)
        uv_async_send(&other->writable);
    hub_unready(net);
    dsm_mutex_unlock(&hub.lock);
    if (!frame)
        return READ_NOTHING;
    enum read_result result = frame->is_end ? READ_END : READ_FRAME;
    void *dst = NULL;
    uint64_t token = 0;
    if (!frame->is_end &&
        handler->on_header(handler->user, from, lane, frame->header, &dst, &token)) {
        result = READ_BROKEN;
    } else if (dst && frame->len_bytes) {
        memcpy(dst, frame->payload, frame->len_bytes);
        handler->on_payload(handler->user, from, lane, frame->header, token);
    }
    free(frame);
    return result;
}

static int read_lane(struct dsm_net *net, uint32_t from, unsigned lane)
{
    struct peer *peer = &net->peers[from];
    enum read_result result = READ_FRAME;
    int n = 0;
    if (!dsm_mutex_trylock(&peer->rx[lane]))
        return 0;
    while (n < FRAMES_AT_ONCE && (result = read_frame(net, from, lane)) == READ_FRAME)
        n++;
    dsm_mutex_unlock(&peer->rx[lane]);
    if (result == READ_END)
        take_end(net, peer, lane);
    if (result == READ_BROKEN) {
        char why[200];
        dsm_format(why, sizeof why, "rank %u sent a frame on lane %u that was refused", from, lane);
        lose_peer(net, peer, DSM_E_PROTO, why);
    }
    return n;
}

static int read_all(struct dsm_net *net, unsigned first_lane, unsigned last_lane)
{
    int n = 0;
    for (uint32_t from = 0; from < net->n_ranks; from++)
        for (unsigned lane = first_lane; lane <= last_lane; lane++)
            n += read_lane(net, from, lane);
    if (n)
        net->handler.on_batch_end(net->handler.user);
    return n;
}

/* True: return from poll, a kick has come. */
static bool take_kick(struct dsm_net *net)
{
    dsm_mutex_lock(&hub.lock);
    bool is_kicked = net->is_kicked;
    net->is_kicked = false;
    hub_unready(net);
    dsm_mutex_unlock(&hub.lock);
    return is_kicked;
}

static int loop_poll(struct dsm_net *net, int64_t timeout_us)
{
    int n = read_all(net, LANE_REQUEST, LANE_REPLY);
    if (take_kick(net) || n || timeout_us == 0)
        return n;
    struct pollfd fd = {.fd = net->ready_fd, .events = POLLIN};
    int timeout_ms = timeout_us < 0 ? -1 : (int)((timeout_us + 999) / 1000);
    (void)poll(&fd, 1, timeout_ms);
    n = read_all(net, LANE_REQUEST, LANE_REPLY);
    (void)take_kick(net);
    return n;
}

static void loop_claim(struct dsm_net *net)
{
    atomic_store(&net->is_claimed, true);
}

/* Requests that are there shall not be forgotten. */
static void wake_for_rest(struct dsm_net *net)
{
    dsm_mutex_lock(&hub.lock);
    bool has_requests = hub_has_requests(net);
    dsm_mutex_unlock(&hub.lock);
    if (has_requests)
        uv_async_send(&net->service);
}

static void loop_release(struct dsm_net *net)
{
    atomic_store(&net->is_claimed, false);
    wake_for_rest(net);
}

static void loop_kick(struct dsm_net *net)
{
    dsm_mutex_lock(&hub.lock);
    net->is_kicked = true;
    hub_wake(net, LANE_REPLY);
    dsm_mutex_unlock(&hub.lock);
}

static int loop_poll_fd(struct dsm_net *net)
{
    return net->ready_fd;
}

static void on_service(uv_async_t *async)
{
    struct dsm_net *net = async->data;
    uint64_t until_ns = 0;
    do {
        if (atomic_load(&net->is_claimed))
            return;
        if (read_all(net, LANE_REQUEST, LANE_REQUEST))
            until_ns = dsm_clock_ns() + net->handler.service_spin_ns(net->handler.user);
    } while (dsm_clock_ns() < until_ns);
    wake_for_rest(net);
}

/* ---- connecting ---- */

static struct dsm_hello own_hello(const struct dsm_net *net, uint32_t to_rank)
{
    const struct dsm_hello_self self = {net->self, net->n_ranks, net->epoch, net->token,
                                        net->build};
    return dsm_hello_of(&self, to_rank, 0);
}

/* The hub's lock held. 0 also when the other end cannot tell yet. */
static int shake_hands(struct dsm_net *net, uint32_t rank, char *why, size_t why_bytes)
{
    struct peer *peer = &net->peers[rank];
    struct dsm_net *other = hub_find(peer->id);
    if (peer->is_up || (other && other->self == UINT32_MAX))
        return 0;
    if (!other || other == net || peer->was_lost_there ||
        atomic_load(&other->peers[net->self].is_lost)) {
        dsm_format(why, why_bytes, "rank %u is not there", rank);
        return other == net ? DSM_E_MISMATCH : DSM_E_CONNECT;
    }
    struct dsm_hello ours = own_hello(net, rank);
    struct dsm_hello theirs = own_hello(other, net->self);
    char reason[DSM_HELLO_REASON_BYTES];
    int error = dsm_hello_check(&theirs, &ours, reason, sizeof reason);
    if (error) {
        dsm_format(why, why_bytes, "rank %u refused: %s", rank, reason);
        return error;
    }
    other->peers[net->self].is_up = true;
    other->peers[net->self].id = net->id;
    atomic_store(&other->peers[net->self].is_wanted, true);
    uv_async_send(&other->writable);
    peer->is_up = true;
    return 0;
}

static void on_connecting(uv_async_t *async)
{
    struct dsm_net *net = async->data;
    for (uint32_t rank = 0; rank < net->n_ranks; rank++) {
        struct peer *peer = &net->peers[rank];
        char why[300];
        if (!atomic_load(&peer->is_wanted) || atomic_load(&peer->is_lost))
            continue;
        dsm_mutex_lock(&hub.lock);
        int error = peer->id ? shake_hands(net, rank, why, sizeof why) : 0;
        dsm_mutex_unlock(&hub.lock);
        if (error)
            lose_peer(net, peer, error, why);
        else
            write_peer(net, peer);
    }
}

static void on_writable(uv_async_t *async)
{
    loop_flush(async->data);
}

static int loop_set_peers(struct dsm_net *net, uint32_t self, const char *const *addresses)
{
    const size_t prefix_bytes = sizeof ADDRESS_PREFIX - 1;
    if (self >= net->n_ranks)
        return DSM_E_INVAL;
    dsm_mutex_lock(&hub.lock);
    net->self = self;
    for (uint32_t rank = 0; rank < net->n_ranks; rank++)
        net->peers[rank].id = strncmp(addresses[rank], ADDRESS_PREFIX, prefix_bytes) == 0
                                  ? strtoull(addresses[rank] + prefix_bytes, NULL, 10)
                                  : UINT64_MAX; /* nobody's */
    for (struct dsm_net *other = hub.endpoints; other; other = other->next)
        uv_async_send(&other->connecting); /* who waited for us may go on, and so may we */
    dsm_mutex_unlock(&hub.lock);
    return 0;
}

/* ---- opening and closing ---- */

static int loop_probe(char *why, size_t why_bytes)
{
    dsm_format(why, why_bytes, "memory is always there");
    return 0;
}

static void loop_free(struct dsm_net *net)
{
    for (uint32_t rank = 0; net->peers && rank < net->n_ranks; rank++) {
        for (unsigned lane = 0; lane < N_LANES; lane++) {
            queue_free(&net->peers[rank].inbox[lane]);
            queue_free(&net->peers[rank].out[lane]);
        }
    }
    if (net->ready_fd >= 0)
        close(net->ready_fd);
    free(net->peers);
    free(net->build);
    free(net);
}

static int loop_open(const struct dsm_net_config *config, const struct dsm_net_handler *handler,
                     struct dsm_net **net_out)
{
    struct dsm_net *net = calloc(1, sizeof *net);
    if (!net)
        return DSM_E_NOMEM;
    net->handler = *handler;
    net->self = UINT32_MAX;
    net->n_ranks = config->n_ranks;
    net->epoch = config->epoch;
    memcpy(net->token, config->token, sizeof net->token);
    net->build = strdup(config->build);
    net->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    net->peers = calloc(net->n_ranks, sizeof *net->peers);
    if (!net->build || net->ready_fd < 0 || !net->peers) {
        loop_free(net);
        return DSM_E_NOMEM;
    }
    for (uint32_t rank = 0; rank < net->n_ranks; rank++) {
        for (unsigned lane = 0; lane < N_LANES; lane++) {
            queue_init(&net->peers[rank].inbox[lane]);
            queue_init(&net->peers[rank].out[lane]);
        }
    }
    struct {
        uv_async_t *async;
        uv_async_cb callback;
    } const handles[] = {{&net->service, on_service},
                         {&net->connecting, on_connecting},
                         {&net->writable, on_writable}};
    for (unsigned i = 0; i < sizeof handles / sizeof *handles; i++) {
        if (uv_async_init(config->loop, handles[i].async, handles[i].callback))
            abort(); /* of a test */
        handles[i].async->data = net;
        net->n_handles++;
    }
    dsm_mutex_lock(&hub.lock);
    net->id = ++hub.last_id;
    net->next = hub.endpoints;
    hub.endpoints = net;
    dsm_mutex_unlock(&hub.lock);
    *net_out = net;
    return 0;
}

static int loop_address(struct dsm_net *net, char *out, size_t out_bytes)
{
    dsm_format(out, out_bytes, ADDRESS_PREFIX "%lu", net->id);
    return 0;
}

static bool loop_is_connected(struct dsm_net *net, uint32_t rank)
{
    return rank < net->n_ranks && atomic_load(&net->peers[rank].is_wanted) &&
           !atomic_load(&net->peers[rank].is_gone);
}

static void loop_peer_left(struct dsm_net *net, uint32_t rank)
{
    if (rank < net->n_ranks)
        atomic_store(&net->peers[rank].has_left, true);
}

static bool loop_expel(struct dsm_net *net, uint32_t rank, const char *why)
{
    if (rank >= net->n_ranks)
        return false;
    struct peer *peer = &net->peers[rank];
    bool was_told = atomic_load(&peer->is_lost) && !atomic_load(&peer->has_left);
    bool is_first = !atomic_load(&peer->is_lost);
    say_end(net, peer);
    end_peer(net, peer, false, DSM_E_PEER, why);
    return was_told || is_first;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct dsm_net *net = handle->data;
    if (--net->n_handles == 0)
        loop_free(net);
}

static void loop_close(struct dsm_net *net)
{
    loop_flush(net);
    for (uint32_t rank = 0; rank < net->n_ranks; rank++) {
        say_end(net, &net->peers[rank]);
        end_peer(net, &net->peers[rank], true, 0, "closed here");
    }
    dsm_mutex_lock(&hub.lock);
    struct dsm_net **at = &hub.endpoints;
    while (*at != net)
        at = &(*at)->next;
    *at = net->next;
    dsm_mutex_unlock(&hub.lock);
    uv_close((uv_handle_t *)&net->service, on_handle_closed);
    uv_close((uv_handle_t *)&net->connecting, on_handle_closed);
    uv_close((uv_handle_t *)&net->writable, on_handle_closed);
}

const struct dsm_net_ops dsm_net_loop = {
    .name = "loop",
    .probe = loop_probe,
    .open = loop_open,
    .address = loop_address,
    .set_peers = loop_set_peers,
    .send = loop_send,
    .flush = loop_flush,
    .claim = loop_claim,
    .release = loop_release,
    .poll = loop_poll,
    .kick = loop_kick,
    .poll_fd = loop_poll_fd,
    .peer_left = loop_peer_left,
    .expel = loop_expel,
    .is_connected = loop_is_connected,
    .close = loop_close,
};
