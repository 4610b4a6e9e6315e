/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp_conn.c - a connection's life after its hello: up, its end, the loss of a peer. Who
 * ends what is told in tcp.h.
 */
#define _GNU_SOURCE
#include "net/tcp.h"
#include "net/sys.h"
#include "base/errors.h"
#include "base/log.h"
#include <stdlib.h>
#include <string.h>

const char *dsm_tcp_lane_name(unsigned lane)
{
    return lane == DSM_TCP_REQUEST ? "request" : "reply";
}

void dsm_tcp_conn_init(struct dsm_tcp_conn *conn, struct dsm_net *net, struct dsm_tcp_peer *peer,
                       unsigned tx_lane)
{
    conn->net = net;
    conn->peer = peer;
    conn->tx_lane = tx_lane;
    conn->rx_lane = tx_lane ^ 1;
    conn->fd = conn->bell_fd = -1;
    dsm_frame_queue_init(&conn->tx.queue);
    atomic_init(&conn->halves_left, 2);
}

int dsm_tcp_conn_attach(struct dsm_tcp_conn *conn, int fd, struct dsm_shm *shm)
{
    conn->fd = fd;
    conn->shm = shm;
    atomic_fetch_add(&conn->halves_left, 1);
    conn->buffers = malloc(sizeof *conn->buffers);
    return conn->buffers ? 0 : DSM_E_NOMEM;
}

int dsm_tcp_conn_start(struct dsm_tcp_conn *conn)
{
    dsm_mutex_lock(&conn->rx.lock);
    conn->rx.is_up = true;
    dsm_mutex_unlock(&conn->rx.lock);
    if (conn->shm)
        dsm_tcp_shm_add(conn);
    else
        atomic_store(&conn->net->has_sockets, true);
    int error = dsm_tcp_poll_add(conn);
    if (conn->shm)
        dsm_tcp_poll_new_ring(conn);
    if (!error)
        dsm_tcp_tx_up(conn);
    return error;
}

static void peer_ended(struct dsm_tcp_peer *peer)
{
    const struct dsm_net_handler *handler = &peer->conns[0].net->handler;
    int ending = DSM_TCP_LIVE; /* connection by connection, after a farewell */
    if (!atomic_compare_exchange_strong(&peer->ending, &ending, DSM_TCP_QUIET) &&
        ending == DSM_TCP_LOSING)
        handler->on_lost(handler->user, peer->rank, peer->error, peer->why);
}

void dsm_tcp_half_ended(struct dsm_tcp_conn *conn)
{
    if (atomic_fetch_sub(&conn->halves_left, 1) != 1)
        return;
    if (conn->fd >= 0) {
        /* Again, since the writer may have armed it after the reading half had ended. Closing alone
         * would not do: a forked child may still have the socket. */
        dsm_tcp_poll_remove(conn);
        dsm_sys_close(conn->fd);
        conn->fd = -1;
    }
    dsm_tcp_bell_close(conn);
    if (atomic_fetch_sub(&conn->peer->conns_left, 1) == 1)
        peer_ended(conn->peer);
}

void dsm_tcp_conn_end_rx(struct dsm_tcp_conn *conn)
{
    if (!dsm_mutex_trylock(&conn->rx.lock))
        return; /* its reader looks at is_ending after the lock */
    bool was_ended = conn->rx.is_ended;
    conn->rx.is_ended = true;
    dsm_mutex_unlock(&conn->rx.lock);
    if (was_ended)
        return;
    if (conn->fd >= 0)
        dsm_tcp_poll_remove(conn);
    dsm_tcp_half_ended(conn);
}

static void conn_end(struct dsm_tcp_conn *conn)
{
    if (atomic_exchange(&conn->is_ending, true))
        return;
    dsm_tcp_conn_end_rx(conn);
    dsm_tcp_tx_end(conn);
}

void dsm_tcp_peer_end(struct dsm_tcp_peer *peer, bool is_quiet, int error, const char *why)
{
    int live = DSM_TCP_LIVE;
    if (!atomic_compare_exchange_strong(&peer->ending, &live,
                                        is_quiet ? DSM_TCP_QUIET : DSM_TCP_LOSING))
        return;
    peer->error = error;
    dsm_format(peer->why, sizeof peer->why, "%s", why);
    for (unsigned lane = 0; lane < DSM_TCP_LANES; lane++)
        conn_end(&peer->conns[lane]);
}

void dsm_tcp_peer_lose(struct dsm_tcp_peer *peer, int error, const char *why)
{
    dsm_tcp_peer_end(peer, atomic_load(&peer->has_left), error, why);
}

bool dsm_tcp_expel(struct dsm_net *net, uint32_t rank, const char *why)
{
    if (rank >= net->n_ranks || rank == net->self)
        return false;
    dsm_tcp_peer_drop_links(&net->peers[rank]);
    dsm_tcp_peer_end(&net->peers[rank], false, DSM_E_PEER, why);
    return atomic_load(&net->peers[rank].ending) == DSM_TCP_LOSING;
}

/* The peer has ended. What it replied before is in the other socket, perhaps the very answer that
 * somebody waits for, so it is read here even if nobody holds the claim. */
static void read_to_the_end(struct dsm_tcp_conn *conn)
{
    while (dsm_tcp_rx_read(conn, DSM_TCP_WAIT, true) > 0)
        ;
}

void dsm_tcp_conn_eof(struct dsm_tcp_conn *conn, int error_number)
{
    struct dsm_tcp_peer *peer = conn->peer;
    if (atomic_load(&peer->has_left)) {
        conn_end(conn); /* it alone: the other may have more to read */
        return;
    }
    if (conn->rx_lane == DSM_TCP_REPLY && !atomic_load(&peer->ending)) {
        /* The farewell comes on the request lane, which may not have been read as far yet. */
        conn_end(conn);
        dsm_chores_ask(&peer->conns[0].net->chores, &peer->chore, DSM_TCP_CHORE_HALF_ENDED);
        return;
    }
    if (conn->rx_lane == DSM_TCP_REQUEST)
        read_to_the_end(&peer->conns[DSM_TCP_REQUEST]);
    char why[DSM_TCP_WHY_BYTES];
    dsm_mutex_lock(&conn->tx.lock);
    int write_errno = conn->tx.write_errno;
    uint64_t sent_bytes = conn->tx.sent_bytes;
    dsm_mutex_unlock(&conn->tx.lock);
    const char *cause = write_errno    ? strerrordesc_np(write_errno)
                        : error_number ? strerrordesc_np(error_number)
                                       : "closed by the peer";
    dsm_format(why, sizeof why,
               "rank %u is gone: %s lane: %s, after %lu bytes received and %lu sent", peer->rank,
               dsm_tcp_lane_name(conn->rx_lane), cause, conn->rx.received_bytes, sent_bytes);
    dsm_tcp_peer_lose(peer, DSM_E_PEER, why);
}
