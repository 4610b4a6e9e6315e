/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_peer.c - a peer up, lost, gone; what other threads ask of the loop's thread, and deadlines.
 */
#define _GNU_SOURCE
#include "net/rdma.h"
#include "net/address.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/rng.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

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
    struct sockaddr_storage address;
    socklen_t len;
    if (dsm_address_parse(text, &address, &len) || address.ss_family != AF_INET)
        return DSM_E_INVAL;
    memcpy(&peer->address, &address, sizeof peer->address);
    return 0;
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
    dsm_chores_start_ticking(&net->chores);
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
        dsm_chores_ask(&peer->conns[0].net->chores, &peer->chore, DSM_RDMA_CHORE_LOSE);
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
        dsm_rdma_flush(net);
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

static void on_chores(uv_async_t *async)
{
    struct dsm_net *net = async->data;
    if (net->is_closing)
        return;
    int before = dsm_rdma_enter();
    struct dsm_chore *next, *chore = dsm_chores_take(&net->chores);
    for (; chore; chore = next) {
        struct dsm_rdma_peer *peer =
            (void *)((uint8_t *)chore - offsetof(struct dsm_rdma_peer, chore));
        unsigned what;
        next = dsm_chore_done(chore, &what);
        if (what & DSM_RDMA_CHORE_CONNECT)
            dsm_rdma_peer_connect(peer);
        if (what & DSM_RDMA_CHORE_LOSE)
            dsm_rdma_peer_end(peer, false);
    }
    dsm_rdma_hello_mail(net);
    if (dsm_rdma_region_work(net))
        dsm_chores_wake(&net->chores);
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
    if (!is_waiting)
        dsm_chores_stop_ticking(&net->chores);
    dsm_rdma_leave(before);
    dsm_rdma_flush(net); /* what was read at the end of a link */
}

int dsm_rdma_chore_open(struct dsm_net *net)
{
    return dsm_chores_open(&net->chores, net->loop, net, on_chores, on_tick, &net->n_handles);
}
