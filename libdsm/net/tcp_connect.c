/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp_connect.c - how two ranks come to have their lanes: attempts, hellos, and what happens when
 * both connect at once. All of it runs on the loop's thread.
 *
 * An attempt is two sockets, one for each lane to send on, with the same number in their hellos; it
 * counts when both have been accepted. When both ranks try, the lower rank's attempt counts: the
 * lower rank answers the other's hello with YIELD, the higher one drops its own. Frames wait in the
 * lanes' queues, so nothing is lost by that.
 */
#define _GNU_SOURCE
#include "net/tcp.h"
#include "net/address.h"
#include "net/hello.h"
#include "net/sys.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/rng.h"
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

/* Sockets that have not said who they are: what all peers can need, and some. */
#define SPARE_STRANGERS 64u

enum link_state {
    LINK_CONNECTING,
    LINK_AWAITS_ANSWER,
    LINK_AWAITS_HELLO,
    LINK_READY, /* its hello is done; the other lane's is not */
};

/* A socket on its way to be a connection. */
struct dsm_tcp_link {
    struct dsm_net *net;
    uv_poll_t watch;
    int fd;
    bool is_ours;
    enum link_state state;
    struct dsm_tcp_peer *peer; /* NULL: a stranger */
    unsigned lane;             /* that we send on */
    uint64_t deadline_ns;
    uint32_t in_bytes;
    struct dsm_shm *shm; /* that both ends will use, if the answer says so */
    char who[80];        /* the other end's address */
    struct dsm_tcp_link *next;
    uint8_t in[DSM_HELLO_PACKET_BYTES];
};

static void on_link_event(uv_poll_t *watch, int status, int events);

/* ---- links ---- */

static void on_link_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Takes the link out of everything. Its socket and memory are the caller's. */
static int link_release(struct dsm_tcp_link *link)
{
    struct dsm_net *net = link->net;
    struct dsm_tcp_link **at = &net->links;
    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    if (net->links_tail == &link->next)
        net->links_tail = at;
    if (link->peer && link->peer->links[link->lane] == link)
        link->peer->links[link->lane] = NULL;
    if (!link->peer)
        net->n_strangers--;
    int fd = link->fd;
    uv_poll_stop(&link->watch);
    uv_close((uv_handle_t *)&link->watch, on_link_closed);
    return fd;
}

static void link_close(struct dsm_tcp_link *link)
{
    dsm_tcp_shm_free(link->shm);
    dsm_sys_close(link_release(link));
}

static struct dsm_tcp_link *link_new(struct dsm_net *net, int fd, enum link_state state)
{
    struct dsm_tcp_link *link = calloc(1, sizeof *link);
    if (!link)
        return NULL;
    if (uv_poll_init(net->loop, &link->watch, fd)) {
        free(link);
        return NULL;
    }
    link->net = net;
    link->fd = fd;
    link->state = state;
    link->watch.data = link;
    link->deadline_ns = dsm_clock_ns() + net->connect_timeout_ns;
    *net->links_tail = link;
    net->links_tail = &link->next;
    net->n_strangers++; /* until it has a peer */
    uv_poll_start(&link->watch, state == LINK_CONNECTING ? UV_WRITABLE : UV_READABLE,
                  on_link_event);
    dsm_chores_start_ticking(&net->chores);
    return link;
}

static void link_set_peer(struct dsm_tcp_link *link, struct dsm_tcp_peer *peer, unsigned lane)
{
    link->peer = peer;
    link->lane = lane;
    peer->links[lane] = link;
    link->net->n_strangers--;
}

void dsm_tcp_peer_drop_links(struct dsm_tcp_peer *peer)
{
    for (unsigned lane = 0; lane < DSM_TCP_LANES; lane++)
        if (peer->links[lane])
            link_close(peer->links[lane]);
}

/* A fresh socket takes a packet of this size at once, or something is wrong with it. */
static bool link_say(struct dsm_tcp_link *link, uint8_t *packet, size_t len_bytes)
{
    struct iovec iov = {packet, len_bytes};
    return dsm_sys_sendv(link->fd, &iov, 1) == (long)len_bytes;
}

static struct dsm_hello own_hello(const struct dsm_net *net, uint32_t to_rank, unsigned lane,
                                  uint64_t attempt)
{
    const struct dsm_hello_self self = {net->self, net->n_ranks, net->epoch, net->token,
                                        net->build};
    struct dsm_hello hello = dsm_hello_of(&self, to_rank, attempt);
    hello.lane = lane;
    return hello;
}

/* ---- peers ---- */

/* No way to the peer. */
void dsm_tcp_peer_fail(struct dsm_tcp_peer *peer, int error, const char *why)
{
    char line[DSM_TCP_WHY_BYTES];
    char who[80];
    dsm_address_text((struct sockaddr *)&peer->address, peer->address_len, who, sizeof who);
    dsm_format(line, sizeof line, "rank %u at %s: %s", peer->rank, who, why);
    dsm_tcp_peer_drop_links(peer);
    dsm_tcp_peer_lose(peer, error, line);
}

/* Both connections have said their hellos. */
static void peer_up(struct dsm_tcp_peer *peer)
{
    const struct dsm_net_handler *handler = &peer->conns[0].net->handler;
    int error = 0;
    peer->state = DSM_TCP_UP;
    for (unsigned lane = 0; lane < DSM_TCP_LANES; lane++) {
        struct dsm_tcp_link *link = peer->links[lane];
        struct dsm_shm *shm = link->shm;
        int result = dsm_tcp_conn_attach(&peer->conns[lane], link_release(link), shm);
        error = error ? error : result;
    }
    for (unsigned lane = 0; lane < DSM_TCP_LANES && !error; lane++)
        error = dsm_tcp_conn_start(&peer->conns[lane]);
    handler->on_batch_end(handler->user); /* on_sent may have sent something */
    if (error)
        dsm_tcp_peer_fail(peer, error, dsm_error_text(error));
    for (unsigned lane = 0; lane < DSM_TCP_LANES; lane++)
        dsm_tcp_half_ended(&peer->conns[lane]);
}

/* The incoming attempt came to nothing. */
void dsm_tcp_peer_unaccept(struct dsm_tcp_peer *peer)
{
    dsm_tcp_peer_drop_links(peer);
    peer->state = DSM_TCP_NONE;
    if (atomic_load(&peer->is_wanted))
        dsm_tcp_peer_connect(peer);
}

static const char *lane_connect(struct dsm_tcp_peer *peer, unsigned lane)
{
    struct dsm_net *net = peer->conns[0].net;
    int fd = socket(peer->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return strerrordesc_np(errno);
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&peer->address, peer->address_len) && errno != EINPROGRESS) {
        const char *why = strerrordesc_np(errno);
        dsm_sys_close(fd);
        return why;
    }
    struct dsm_tcp_link *link = link_new(net, fd, LINK_CONNECTING);
    if (!link) {
        dsm_sys_close(fd);
        return "out of memory";
    }
    link->is_ours = true;
    dsm_address_text((struct sockaddr *)&peer->address, peer->address_len, link->who,
                     sizeof link->who);
    link_set_peer(link, peer, lane);
    return NULL;
}

void dsm_tcp_peer_connect(struct dsm_tcp_peer *peer)
{
    struct dsm_net *net = peer->conns[0].net;
    if (peer->state != DSM_TCP_NONE || !peer->has_address || atomic_load(&peer->ending))
        return;
    peer->state = DSM_TCP_CONNECTING;
    peer->attempt = dsm_rng_next(&net->rng);
    peer->is_ours = true;
    peer->deadline_ns = dsm_clock_ns() + net->connect_timeout_ns;
    dsm_tcp_peer_watch(peer);
    for (unsigned lane = 0; lane < DSM_TCP_LANES; lane++) {
        const char *why = lane_connect(peer, lane);
        if (why) {
            dsm_tcp_peer_fail(peer, DSM_E_CONNECT, why);
            return;
        }
    }
}

/* ---- the side that connects ---- */

static void link_connected(struct dsm_tcp_link *link)
{
    struct dsm_tcp_peer *peer = link->peer;
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &len))
        error = errno;
    if (error) {
        dsm_tcp_peer_fail(peer, DSM_E_CONNECT, strerrordesc_np(error));
        return;
    }
    struct dsm_hello hello = own_hello(link->net, peer->rank, link->lane, peer->attempt);
    link->shm = dsm_tcp_shm_offer(link->net, link->fd, &hello);
    if (link->shm) {
        dsm_tcp_landing_offer(link->net, &hello);
        dsm_tcp_bell_offer(link->net, &hello);
    }
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    if (!link_say(link, packet, dsm_hello_pack(&hello, packet))) {
        dsm_tcp_peer_fail(peer, DSM_E_CONNECT, "the connection ended before the hello");
        return;
    }
    link->state = LINK_AWAITS_ANSWER;
    uv_poll_start(&link->watch, UV_READABLE, on_link_event);
}

static void take_answer(struct dsm_tcp_link *link, const uint8_t *bytes, size_t len_bytes)
{
    struct dsm_tcp_peer *peer = link->peer;
    struct dsm_hello_answer answer;
    char why[DSM_TCP_WHY_BYTES];
    const char *reason;
    if (dsm_hello_unpack_answer(bytes, len_bytes, &answer, &reason)) {
        dsm_format(why, sizeof why, "malformed answer to the hello: %s", reason);
        dsm_tcp_peer_fail(peer, DSM_E_PROTO, why);
        return;
    }
    switch (answer.status) {
    case DSM_HELLO_REFUSED:
        dsm_format(why, sizeof why, "refused: %s", answer.reason);
        dsm_tcp_peer_fail(peer, answer.error, why);
        return;
    case DSM_HELLO_YIELD:
        dsm_tcp_peer_drop_links(peer);
        peer->state = DSM_TCP_YIELDED; /* until the peer's hello comes, or the deadline */
        return;
    case DSM_HELLO_ACCEPTED:
        break;
    }
    struct dsm_hello own = own_hello(link->net, peer->rank, link->lane, peer->attempt);
    int error = dsm_hello_check(&own, &answer.hello, why, sizeof why);
    if (!error && (answer.hello.rank != peer->rank || answer.hello.lane != (link->lane ^ 1) ||
                   answer.hello.attempt != peer->attempt)) {
        dsm_format(why, sizeof why, "rank %u lane %u answered where rank %u lane %u was asked",
                   answer.hello.rank, answer.hello.lane, peer->rank, link->lane ^ 1);
        error = DSM_E_MISMATCH;
    }
    if (error) {
        dsm_tcp_peer_fail(peer, error, why);
        return;
    }
    if (link->shm)
        dsm_shm_close_name(link->shm);
    if (link->shm && answer.hello.shared.nonce != link->shm->nonce) {
        dsm_tcp_shm_free(link->shm);
        link->shm = NULL;
    }
    if (link->shm) {
        dsm_tcp_landing_open(peer, &answer.hello);
        dsm_tcp_bell_open(&peer->conns[link->lane], &answer.hello);
    }
    /* The peer sees both lanes accepted before we do, and may send frames already: leave them in
     * the socket. */
    link->state = LINK_READY;
    uv_poll_stop(&link->watch);
    struct dsm_tcp_link *other = peer->links[link->lane ^ 1];
    if (other && other->state == LINK_READY)
        peer_up(peer);
}

/* ---- the side that is connected to ---- */

static void link_refuse(struct dsm_tcp_link *link, int error, const char *why)
{
    struct dsm_hello_answer answer = {.status = DSM_HELLO_REFUSED, .error = error};
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    dsm_format(answer.reason, sizeof answer.reason, "%s", why);
    (void)link_say(link, packet, dsm_hello_pack_answer(&answer, packet));
    dsm_refusals_note(&link->net->refusals, link->net->self, link->who, error, why);
    link_close(link);
}

static void link_yield(struct dsm_tcp_link *link)
{
    struct dsm_hello_answer answer = {.status = DSM_HELLO_YIELD};
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    (void)link_say(link, packet, dsm_hello_pack_answer(&answer, packet));
    link_close(link);
}

/* Of two attempts at once the lower rank's counts. */
static bool wins_over(const struct dsm_tcp_peer *peer)
{
    return peer->is_ours && peer->rank > peer->conns[0].net->self;
}

/* Makes the peer ready for an attempt of its own. False: the link has been answered and closed. */
static bool make_way(struct dsm_tcp_link *link, struct dsm_tcp_peer *peer,
                     const struct dsm_hello *hello)
{
    char why[DSM_TCP_WHY_BYTES];
    if (atomic_load(&peer->ending)) {
        dsm_format(why, sizeof why, "rank %u was lost before", peer->rank);
        link_refuse(link, DSM_E_PEER, why);
        return false;
    }
    switch (peer->state) {
    case DSM_TCP_UP:
        if (wins_over(peer) && dsm_clock_ns() < peer->deadline_ns) {
            /* An attempt that the peer gave up for ours; its hello was on its way already. */
            link_yield(link);
            return false;
        }
        dsm_format(why, sizeof why, "rank %u is connected already", peer->rank);
        link_refuse(link, DSM_E_BUSY, why);
        return false;
    case DSM_TCP_CONNECTING:
        if (wins_over(peer)) {
            link_yield(link);
            return false;
        }
        break;
    case DSM_TCP_ACCEPTING:
        if (peer->attempt == hello->attempt) {
            if (!peer->links[hello->lane ^ 1])
                return true;
            dsm_format(why, sizeof why, "rank %u said hello twice on lane %u", peer->rank,
                       hello->lane);
            link_refuse(link, DSM_E_BUSY, why);
            return false;
        }
        break;
    case DSM_TCP_NONE:
    case DSM_TCP_YIELDED:
        break;
    }
    dsm_tcp_peer_drop_links(peer);
    peer->state = DSM_TCP_ACCEPTING;
    peer->attempt = hello->attempt;
    peer->is_ours = false;
    peer->deadline_ns = dsm_clock_ns() + link->net->connect_timeout_ns;
    dsm_tcp_peer_watch(peer);
    return true;
}

static void take_hello(struct dsm_tcp_link *link, const uint8_t *bytes, size_t len_bytes)
{
    struct dsm_net *net = link->net;
    struct dsm_hello hello;
    char why[DSM_TCP_WHY_BYTES];
    const char *reason;
    if (dsm_hello_unpack(bytes, len_bytes, &hello, &reason)) {
        dsm_format(why, sizeof why, "malformed hello: %s", reason);
        dsm_refusals_note(&net->refusals, net->self, link->who, DSM_E_PROTO, why);
        link_close(link);
        return;
    }
    struct dsm_hello own = own_hello(net, hello.rank, hello.lane ^ 1, hello.attempt);
    int error = dsm_hello_check(&own, &hello, why, sizeof why);
    if (error) {
        link_refuse(link, error, why);
        return;
    }
    struct dsm_tcp_peer *peer = &net->peers[hello.rank];
    if (!make_way(link, peer, &hello))
        return;
    link->shm = dsm_tcp_shm_take(net, &hello, &own);
    if (link->shm) {
        dsm_tcp_landing_open(peer, &hello);
        dsm_tcp_landing_offer(net, &own);
        dsm_tcp_bell_open(&peer->conns[own.lane], &hello);
        dsm_tcp_bell_offer(net, &own);
    }
    struct dsm_hello_answer answer = {.status = DSM_HELLO_ACCEPTED, .hello = own};
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    link_set_peer(link, peer, own.lane);
    link->state = LINK_READY;
    if (!link_say(link, packet, dsm_hello_pack_answer(&answer, packet))) {
        dsm_tcp_peer_unaccept(peer);
        return;
    }
    struct dsm_tcp_link *other = peer->links[hello.lane];
    if (other && other->state == LINK_READY)
        peer_up(peer);
}

/* ---- both ---- */

static void link_broken(struct dsm_tcp_link *link, const char *why)
{
    if (link->is_ours) {
        dsm_tcp_peer_fail(link->peer, DSM_E_CONNECT, why);
    } else if (link->peer) {
        dsm_tcp_peer_unaccept(link->peer);
    } else if (link->in_bytes == 0) {
        /* Came and went: a peer that ended meanwhile, or somebody who looks which ports are open.
         */
        dsm_log(DSM_LOG_INFO, "rank %u: a connection from %s went without a word: %s",
                link->net->self, link->who, why);
        link_close(link);
    } else {
        dsm_refusals_note(&link->net->refusals, link->net->self, link->who, DSM_E_PROTO, why);
        link_close(link);
    }
}

/* Reads not a byte beyond the message: what follows is for the connection. */
static void link_read(struct dsm_tcp_link *link)
{
    for (;;) {
        uint32_t need = DSM_HELLO_PREFIX_BYTES;
        if (link->in_bytes >= DSM_HELLO_PREFIX_BYTES) {
            uint32_t len_bytes = dsm_get_u32(link->in);
            if (len_bytes > DSM_HELLO_MAX_BYTES) {
                char why[DSM_TCP_WHY_BYTES];
                dsm_format(why, sizeof why, "hello of %u bytes, at most %u are allowed", len_bytes,
                           DSM_HELLO_MAX_BYTES);
                link_broken(link, why);
                return;
            }
            need += len_bytes;
            if (link->in_bytes == need)
                break;
        }
        struct iovec iov = {link->in + link->in_bytes, need - link->in_bytes};
        long got = dsm_sys_recvv(link->fd, &iov, 1);
        if (got == -EAGAIN || got == -EINTR)
            return;
        if (got <= 0) {
            link_broken(link,
                        got ? strerrordesc_np((int)-got) : "closed before the hello was said");
            return;
        }
        link->in_bytes += (uint32_t)got;
    }
    const uint8_t *message = link->in + DSM_HELLO_PREFIX_BYTES;
    size_t len_bytes = link->in_bytes - DSM_HELLO_PREFIX_BYTES;
    if (link->is_ours)
        take_answer(link, message, len_bytes);
    else
        take_hello(link, message, len_bytes);
}

static void on_link_event(uv_poll_t *watch, int status, int events)
{
    struct dsm_tcp_link *link = watch->data;
    (void)events;
    if (status < 0 && link->state != LINK_CONNECTING) {
        link_broken(link, uv_strerror(status));
        return;
    }
    switch (link->state) {
    case LINK_CONNECTING:
        link_connected(link);
        return;
    case LINK_AWAITS_ANSWER:
    case LINK_AWAITS_HELLO:
        link_read(link);
        return;
    case LINK_READY:
        /* Theirs: a peer sends nothing before both lanes are accepted, so this is its end. */
        link_broken(link, "closed before the other lane was accepted");
        return;
    }
}

/* ---- what the listener and the clock do to links ---- */

static void shed_a_stranger(struct dsm_net *net)
{
    struct dsm_tcp_link *oldest = net->links;
    while (oldest && oldest->peer)
        oldest = oldest->next;
    if (!oldest)
        return;
    dsm_refusals_note(&net->refusals, net->self, oldest->who, DSM_E_LIMIT,
                      "too many connections that have not said hello");
    link_close(oldest);
}

void dsm_tcp_link_accept(struct dsm_net *net, int fd, const struct sockaddr *from, socklen_t len)
{
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (net->n_strangers >= DSM_TCP_LANES * net->n_ranks + SPARE_STRANGERS)
        shed_a_stranger(net);
    struct dsm_tcp_link *link = link_new(net, fd, LINK_AWAITS_HELLO);
    if (link)
        dsm_address_text(from, len, link->who, sizeof link->who);
    else
        dsm_sys_close(fd);
}

void dsm_tcp_links_expire(struct dsm_net *net, uint64_t now_ns)
{
    for (struct dsm_tcp_link *link = net->links, *next; link; link = next) {
        next = link->next;
        if (!link->peer && now_ns >= link->deadline_ns) {
            dsm_refusals_note(&net->refusals, net->self, link->who, DSM_E_TIMEOUT,
                              "no hello in time");
            link_close(link);
        }
    }
}

void dsm_tcp_links_close(struct dsm_net *net)
{
    while (net->links)
        link_close(net->links);
}
