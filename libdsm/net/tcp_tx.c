/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp_tx.c - the send queue of a connection. Frames are queued under the lock; one thread at a time
 * takes them from the head, many to a system call, without the lock, so that nobody who queues
 * waits for the socket. All of it runs in signal handlers.
 */
#include "net/tcp.h"
#include "net/sys.h"
#include "base/bytes.h"
#include "base/errors.h"
#include <stddef.h>

/* System calls that one writer makes in a row; what is left then goes out through EPOLLOUT, so that
 * a thread that wants to go on does not carry the traffic of all others for ever. */
#define MAX_WRITES 64

int dsm_tcp_send(struct dsm_net *net, uint32_t to, unsigned lane, const uint8_t *header,
                 const void *payload, uint64_t cookie, uint32_t key)
{
    uint32_t len_bytes = dsm_get_u32(header + DSM_NET_LEN_AT);
    if (to >= net->n_ranks || to == net->self || lane >= DSM_TCP_LANES ||
        len_bytes > DSM_NET_MAX_PAYLOAD || (len_bytes && !payload) ||
        (!cookie && len_bytes > DSM_FRAME_QUEUE_COPY_BYTES))
        return DSM_E_INVAL;
    struct dsm_tcp_peer *peer = &net->peers[to];
    struct dsm_tcp_conn *conn = &peer->conns[lane];
    dsm_mutex_lock(&conn->tx.lock);
    int error = conn->tx.is_ending || conn->tx.is_failed
                    ? DSM_E_PEER
                    : dsm_frame_queue_put(&conn->tx.queue, header, payload, len_bytes, cookie, key);
    bool is_up = conn->tx.is_up;
    dsm_mutex_unlock(&conn->tx.lock);
    if (error)
        return error;
    if (!is_up) {
        /* If the connection came up meanwhile, that wrote the queue and the chore finds nothing to
         * do. */
        if (!atomic_exchange(&peer->is_wanted, true))
            dsm_chores_ask(&peer->conns[0].net->chores, &peer->chore, DSM_TCP_CHORE_CONNECT);
        return 0;
    }
    if (!atomic_exchange(&conn->is_dirty, true)) {
        conn->next_dirty = atomic_load_explicit(&net->dirty, memory_order_relaxed);
        while (!atomic_compare_exchange_weak(&net->dirty, &conn->next_dirty, conn))
            ;
    }
    return 0;
}

void dsm_tcp_flush(struct dsm_net *net)
{
    if (!atomic_load_explicit(&net->dirty, memory_order_relaxed))
        return;
    struct dsm_tcp_conn *conn = atomic_exchange(&net->dirty, NULL);
    while (conn) {
        struct dsm_tcp_conn *next = conn->next_dirty;
        /* Cleared before the queue is looked at: a frame queued after that puts the connection on
         * the list again. */
        atomic_store(&conn->is_dirty, false);
        dsm_tcp_tx_write(conn);
        conn = next;
    }
}

/* Lock held. Fills the buffers from the head of the queue. A frame whose payload is to be copied to
 * its place first comes alone: so the peer hears of it, and of those before it, without delay. */
static size_t gather(struct dsm_tcp_conn *conn, size_t *bytes_out, struct dsm_tcp_landing *landing)
{
    struct iovec *iov = conn->buffers->iov;
    size_t n = 0, bytes = 0, skip = conn->tx.head_sent_bytes;
    struct dsm_queued_frame *frame = conn->tx.queue.head;
    *landing = (struct dsm_tcp_landing){0};
    for (unsigned i = 0; frame && !landing->len_bytes && i < DSM_TCP_GATHER;
         i++, frame = frame->next) {
        if (skip == 0 && dsm_tcp_landing_is_due(conn, frame)) {
            if (i > 0)
                break;
            *landing = dsm_tcp_landing_take(conn, frame);
        }
        if (skip < DSM_NET_HEADER_BYTES) {
            iov[n++] = (struct iovec){(uint8_t *)(uintptr_t)frame->header + skip,
                                      DSM_NET_HEADER_BYTES - skip};
            bytes += DSM_NET_HEADER_BYTES - skip;
            skip = 0;
        } else {
            skip -= DSM_NET_HEADER_BYTES;
        }
        if (frame->len_bytes > skip) {
            iov[n++] = (struct iovec){(uint8_t *)(uintptr_t)frame->payload + skip,
                                      frame->len_bytes - skip};
            bytes += frame->len_bytes - skip;
        }
        skip = 0;
    }
    *bytes_out = bytes;
    return n;
}

/* Lock held. The socket took these bytes; returns how many cookies are in the buffers. */
static unsigned retire(struct dsm_tcp_conn *conn, size_t bytes)
{
    struct dsm_tcp_tx *tx = &conn->tx;
    unsigned n = 0;
    tx->sent_bytes += bytes;
    bytes += tx->head_sent_bytes;
    while (tx->queue.head && bytes >= DSM_NET_HEADER_BYTES + tx->queue.head->len_bytes) {
        bytes -= DSM_NET_HEADER_BYTES + tx->queue.head->len_bytes;
        uint64_t cookie = dsm_frame_queue_take(&tx->queue);
        if (cookie)
            conn->buffers->cookies[n++] = cookie;
    }
    tx->head_sent_bytes = (uint32_t)bytes;
    return n;
}

static void report(struct dsm_net *net, const uint64_t *cookies, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        net->handler.on_sent(net->handler.user, cookies[i]);
}

/* The writer's last act: hands everything back. Nothing is queued any more. */
static void drain(struct dsm_tcp_conn *conn)
{
    struct dsm_tcp_tx *tx = &conn->tx;
    for (;;) {
        uint64_t cookies[16];
        unsigned n = 0;
        dsm_mutex_lock(&tx->lock);
        while (tx->queue.head && n < 16) {
            uint64_t cookie = dsm_frame_queue_take(&tx->queue);
            if (cookie)
                cookies[n++] = cookie;
        }
        bool is_empty = !tx->queue.head;
        dsm_mutex_unlock(&tx->lock);
        report(conn->net, cookies, n);
        if (is_empty)
            break;
    }
    dsm_tcp_half_ended(conn);
}

/* Writer, lock held: one system call and what follows from it. False: the socket takes no more. */
static bool write_once(struct dsm_tcp_conn *conn)
{
    struct dsm_tcp_tx *tx = &conn->tx;
    size_t asked;
    struct dsm_tcp_landing landing;
    size_t n_iov = gather(conn, &asked, &landing);
    dsm_mutex_unlock(&tx->lock);
    if (landing.len_bytes)
        dsm_tcp_landing_copy(conn, &landing);
    long taken = conn->shm ? dsm_tcp_shm_write(conn, conn->buffers->iov, n_iov)
                           : dsm_sys_sendv(conn->fd, conn->buffers->iov, n_iov);
    bool is_dead =
        taken < 0 && taken != -EAGAIN && taken != -EINTR && taken != -ENOBUFS && taken != -ENOMEM;
    if (is_dead) /* the reading side, which tells a loss from a farewell, is to find the end */
        (void)shutdown(conn->fd, SHUT_RDWR);
    dsm_mutex_lock(&tx->lock);
    if (is_dead) {
        tx->is_failed = true;
        tx->write_errno = (int)-taken;
    }
    if (taken < 0)
        return taken == -EINTR;
    atomic_fetch_add_explicit(&conn->net->n_writes, 1, memory_order_relaxed);
    unsigned n = retire(conn, (size_t)taken);
    if (n) {
        dsm_mutex_unlock(&tx->lock);
        report(conn->net, conn->buffers->cookies, n);
        dsm_mutex_lock(&tx->lock);
    }
    return (size_t)taken == asked;
}

void dsm_tcp_tx_write(struct dsm_tcp_conn *conn)
{
    struct dsm_tcp_tx *tx = &conn->tx;
    dsm_mutex_lock(&tx->lock);
    if (tx->is_writing || !tx->is_up || tx->is_ending) {
        tx->has_news = conn->shm != NULL;
        dsm_mutex_unlock(&tx->lock);
        return;
    }
    tx->is_writing = true;
    tx->has_news = false;
    bool takes_more = true;
    unsigned n_writes = 0;
    while (!tx->is_ending) {
        if (tx->queue.head && !tx->is_failed && takes_more && n_writes++ < MAX_WRITES) {
            takes_more = write_once(conn);
            continue;
        }
        bool wants = tx->queue.head && !tx->is_failed;
        enum dsm_tcp_room room = !wants                     ? DSM_TCP_ROOM_UNWANTED
                                 : conn->shm && !takes_more ? DSM_TCP_ROOM_BELL
                                                            : DSM_TCP_ROOM_SOCKET;
        if (room == DSM_TCP_ROOM_BELL && room == tx->room) { /* a bell is for one time */
            takes_more = dsm_shm_want_room(&conn->shm->tx);
            if (takes_more)
                continue;
        }
        if (room == tx->room) {
            if (!tx->has_news)
                break;
            /* Who has taken the bell found us writing. */
            tx->has_news = false;
            takes_more = true;
            continue;
        }
        /* Frames queued while this is armed or disarmed without the lock are seen in the next
         * round; armed, they are the next writer's. */
        tx->room = room;
        dsm_mutex_unlock(&tx->lock);
        dsm_tcp_poll_want_room(conn, room);
        if (room == DSM_TCP_ROOM_BELL)
            takes_more = dsm_shm_want_room(&conn->shm->tx);
        dsm_mutex_lock(&tx->lock);
    }
    if (tx->is_ending) {
        /* Whoever ended it saw a writer and left the rest to it; it stays the writer for good. */
        dsm_mutex_unlock(&tx->lock);
        drain(conn);
        return;
    }
    tx->is_writing = false;
    dsm_mutex_unlock(&tx->lock);
}

void dsm_tcp_tx_up(struct dsm_tcp_conn *conn)
{
    dsm_mutex_lock(&conn->tx.lock);
    conn->tx.is_up = true;
    dsm_mutex_unlock(&conn->tx.lock);
    dsm_tcp_tx_write(conn);
}

void dsm_tcp_tx_end(struct dsm_tcp_conn *conn)
{
    struct dsm_tcp_tx *tx = &conn->tx;
    dsm_mutex_lock(&tx->lock);
    tx->is_ending = true;
    bool is_ours = !tx->is_writing;
    tx->is_writing = true;
    dsm_mutex_unlock(&tx->lock);
    if (is_ours)
        drain(conn);
}
