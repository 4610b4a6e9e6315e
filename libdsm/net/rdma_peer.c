/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_peer.c - a peer up, lost, gone; what other threads ask of the loop's thread, and deadlines.
 */
#define _GNU_SOURCE
#include "net/rdma.h"
#include "base/async.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/rng.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 50

const char *dsm_rdma_lane_name(unsigned lane)
{
    return lane == DSM_RDMA_REQUEST ? "request" : "reply";
}

void dsm_rdma_peer_init(struct dsm_net *net, struct dsm_rdma_peer *peer, uint32_t rank)
{
    peer->rank = rank;
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        struct dsm_rdma_conn *conn = &peer->conns[lane];
        conn->net = net;
        conn->peer = peer;
        conn->lane = lane;
        dsm_frame_queue_init(&conn->tx.queue);
    }
}

void dsm_rdma_peer_free(struct dsm_rdma_peer *peer)
{
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        dsm_frame_queue_free(&peer->conns[lane].tx.queue);
        free(peer->conns[lane].tx.posted);
        free(peer->conns[lane].tx.scratch);
    }
}

int dsm_rdma_peer_set_address(struct dsm_rdma_peer *peer, const char *text)
{
    const char *colon = strrchr(text, ':');
    char host[INET_ADDRSTRLEN];
    size_t host_bytes = colon ? (size_t)(colon - text) : 0;
    uint64_t port;
    if (host_bytes == 0 || host_bytes >= sizeof host ||
        dsm_parse_u64(colon + 1, 1, UINT16_MAX, &port))
        return DSM_E_INVAL;
    memcpy(host, text, host_bytes);
    host[host_bytes] = '\0';
    peer->address.sin_family = AF_INET;
    peer->address.sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &peer->address.sin_addr) == 1 ? 0 : DSM_E_INVAL;
}

void dsm_rdma_peer_connect(struct dsm_rdma_peer *peer)
{
    struct dsm_net *net = peer->conns[0].net;
    if (peer->state != DSM_RDMA_NONE || peer->has_ended || !net->has_peers ||
        atomic_load(&peer->is_losing))
        return;
    peer->state = DSM_RDMA_CONNECTING;
    peer->attempt = dsm_rng_next(&net->rng);
    peer->is_ours = true;
    peer->deadline_ns = dsm_clock_ns() + net->connect_timeout_ns;
    dsm_rdma_tick_start(net);
    dsm_rdma_link_connect(peer);
}

static int prepare_conn(struct dsm_rdma_conn *conn, uint32_t credits)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    tx->posted = calloc(conn->net->depth, sizeof *tx->posted);
    tx->scratch = malloc(sizeof *tx->scratch);
    tx->credits = credits;
    tx->requests_left = conn->net->depth;
    return tx->posted && tx->scratch ? 0 : DSM_E_NOMEM;
}

int dsm_rdma_peer_up(struct dsm_rdma_peer *peer, struct dsm_rdma_link *link,
                     const struct dsm_hello *hello)
{
    struct dsm_net *net = link->net;
    int error = dsm_rdma_memory_admit(net, net->n_admitted + 1);
    if (!error)
        error = dsm_rdma_link_trust(link);
    for (unsigned lane = 0; lane < DSM_RDMA_LANES && !error; lane++)
        error = prepare_conn(&peer->conns[lane], hello->credits);
    if (error)
        return error;
    net->n_admitted++;
    peer->memory = hello->memory_addr;
    peer->memory_bytes = hello->memory_bytes;
    peer->state = DSM_RDMA_UP;
    link->state = DSM_RDMA_LINK_UP;
    atomic_store_explicit(&link->mail_state, DSM_RDMA_MAIL_FRAMES, memory_order_release);
    return 0;
}

/* ---- the end ---- */

/* True for the first one, which is told. */
static bool note_why(struct dsm_rdma_peer *peer, int error, const char *why)
{
    dsm_mutex_lock(&peer->why_lock);
    bool is_first = !atomic_exchange(&peer->is_losing, true);
    if (is_first) {
        peer->error = error;
        dsm_format(peer->why, sizeof peer->why, "%s", why);
    }
    dsm_mutex_unlock(&peer->why_lock);
    return is_first;
}

void dsm_rdma_peer_break(struct dsm_rdma_peer *peer, int error, const char *why)
{
    if (note_why(peer, error, why))
        dsm_rdma_chore(peer, DSM_RDMA_CHORE_LOSE);
}

void dsm_rdma_peer_end(struct dsm_rdma_peer *peer, bool is_quiet)
{
    struct dsm_net *net = peer->conns[0].net;
    if (peer->has_ended)
        return;
    peer->has_ended = true;
    atomic_store(&peer->is_losing, true);
    dsm_rdma_region_note_loss(net);
    if (peer->link)
        dsm_rdma_link_close(peer->link);
    /* Nothing of the peer can write here any more, and all that had come from it has been read. */
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        dsm_rdma_tx_down(&peer->conns[lane]);
        dsm_rdma_tx_drain(&peer->conns[lane]);
    }
    peer->was_told = !is_quiet && !atomic_load(&peer->has_left);
    if (peer->was_told)
        net->handler.on_lost(net->handler.user, peer->rank, peer->error, peer->why);
}

void dsm_rdma_peer_fail(struct dsm_rdma_peer *peer, int error, const char *why)
{
    (void)note_why(peer, error, why);
    dsm_rdma_peer_end(peer, false);
}

bool dsm_rdma_expel(struct dsm_net *net, uint32_t rank, const char *why)
{
    if (rank >= net->n_ranks || rank == net->self)
        return false;
    struct dsm_rdma_peer *peer = &net->peers[rank];
    if (!peer->has_ended) {
        int before = dsm_rdma_enter();
        atomic_store(&peer->has_left, false); /* whatever it said before: the caller is told */
        dsm_rdma_peer_fail(peer, DSM_E_PEER, why);
        dsm_rdma_leave(before);
    }
    return peer->was_told;
}

void dsm_rdma_device_gone(struct dsm_net *net, const char *why)
{
    dsm_log(DSM_LOG_ERROR, "rdma: %s port %u is of no use any more: %s", net->place.device,
            net->place.port, why);
    for (uint32_t rank = 0; rank < net->n_ranks; rank++) {
        char line[DSM_RDMA_WHY_BYTES];
        dsm_format(line, sizeof line, "rank %u cannot be reached: %s: %s", rank, net->place.device,
                   why);
        if (net->peers[rank].state != DSM_RDMA_NONE)
            dsm_rdma_peer_fail(&net->peers[rank], DSM_E_PEER, line);
    }
}

/* ---- chores ---- */

void dsm_rdma_chore(struct dsm_rdma_peer *peer, unsigned chore)
{
    struct dsm_net *net = peer->conns[0].net;
    if (atomic_fetch_or(&peer->chores, chore) == 0) {
        peer->next_chore = atomic_load_explicit(&net->chores, memory_order_relaxed);
        while (!atomic_compare_exchange_weak(&net->chores, &peer->next_chore, peer))
            ;
    }
    dsm_async_send(&net->chore_async);
}

static void on_chores(uv_async_t *async)
{
    struct dsm_net *net = async->data;
    if (net->is_closing)
        return;
    int before = dsm_rdma_enter();
    struct dsm_rdma_peer *peer = atomic_exchange(&net->chores, NULL);
    while (peer) {
        struct dsm_rdma_peer *next = peer->next_chore;
        unsigned chores = atomic_exchange(&peer->chores, 0);
        if (chores & DSM_RDMA_CHORE_CONNECT)
            dsm_rdma_peer_connect(peer);
        if (chores & DSM_RDMA_CHORE_LOSE)
            dsm_rdma_peer_end(peer, false);
        peer = next;
    }
    dsm_rdma_hello_mail(net);
    if (dsm_rdma_region_work(net))
        dsm_async_send(async);
    dsm_rdma_leave(before);
    dsm_rdma_flush(net);
}

/* ---- deadlines ---- */

/* True: one was over, and the list may be another one now. */
static bool expire_one(struct dsm_net *net, uint64_t now_ns, bool *is_waiting)
{
    for (struct dsm_rdma_link *link = net->links; link; link = link->next) {
        if (link->state == DSM_RDMA_LINK_UP)
            continue;
        *is_waiting = true;
        if (now_ns < link->deadline_ns)
            continue;
        if (link->state == DSM_RDMA_LINK_REFUSED) {
            dsm_rdma_link_close(link);
        } else {
            char why[DSM_RDMA_WHY_BYTES];
            dsm_format(why, sizeof why, "no connection within %llu ms",
                       net->connect_timeout_ns / DSM_NS_PER_MS);
            dsm_rdma_hello_broken(link, DSM_E_TIMEOUT, link->peer ? why : "no hello in time");
        }
        return true;
    }
    return false;
}

/* The peer's attempt, for which ours made way, has not come. */
static void expire_yielded(struct dsm_net *net, uint64_t now_ns, bool *is_waiting)
{
    for (uint32_t rank = 0; rank < net->n_ranks; rank++) {
        struct dsm_rdma_peer *peer = &net->peers[rank];
        char why[DSM_RDMA_WHY_BYTES];
        if (peer->state != DSM_RDMA_YIELDED || peer->has_ended)
            continue;
        *is_waiting = true;
        if (now_ns < peer->deadline_ns)
            continue;
        dsm_format(why, sizeof why, "rank %u: its connection did not come within %llu ms", rank,
                   net->connect_timeout_ns / DSM_NS_PER_MS);
        dsm_rdma_peer_fail(peer, DSM_E_TIMEOUT, why);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct dsm_net *net = timer->data;
    uint64_t now_ns = dsm_clock_ns();
    bool is_waiting = false;
    int before = dsm_rdma_enter();
    while (expire_one(net, now_ns, &is_waiting))
        ;
    expire_yielded(net, now_ns, &is_waiting);
    if (!is_waiting) {
        net->is_ticking = false;
        uv_timer_stop(timer);
    }
    dsm_rdma_leave(before);
}

void dsm_rdma_tick_start(struct dsm_net *net)
{
    if (net->is_ticking)
        return;
    net->is_ticking = true;
    uv_timer_start(&net->tick, on_tick, TICK_MS, TICK_MS);
}

int dsm_rdma_chore_open(struct dsm_net *net)
{
    net->chore_async.data = net;
    net->tick.data = net;
    if (uv_timer_init(net->loop, &net->tick))
        return DSM_E_SYSTEM;
    net->n_handles++;
    if (uv_async_init(net->loop, &net->chore_async, on_chores))
        return DSM_E_SYSTEM;
    net->n_handles++;
    return 0;
}
