/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp_rx.c - the receive state of a connection: headers to the stage, payload to where on_header
 * says. One system call takes the rest of a payload and what follows it. All of it runs in signal
 * handlers.
 */
#include "net/tcp.h"
#include "net/sys.h"
#include "base/bytes.h"
#include "base/errors.h"
#include "base/log.h"
#include <stdio.h>

/* One connection is read for at most so long before the others get their turn. */
#define MAX_BYTES_AT_ONCE (512u << 10)

/* How reading a connection went. */
struct outcome {
    int n_frames;
    bool is_eof; /* or a read failed: error_number */
    int error_number;
    bool is_malformed;
    bool is_elsewhere;  /* bytes were written where they do not belong */
    uint32_t len_bytes; /* the length that is too large; 0: on_header refused */
};

/* Payload bytes have arrived in their place. */
static void payload_arrived(struct dsm_tcp_conn *conn, uint32_t bytes)
{
    struct dsm_tcp_rx *rx = &conn->rx;
    const struct dsm_net_handler *handler = &conn->net->handler;
    rx->payload_left -= bytes;
    if (!rx->dst)
        return;
    rx->dst += bytes;
    if (rx->payload_left == 0)
        handler->on_payload(handler->user, conn->peer->rank, conn->rx_lane, rx->header, rx->token);
}

/* The payload is in its place already. False: that is another. */
static bool take_landed(struct dsm_tcp_conn *conn, uint32_t told, struct outcome *outcome)
{
    struct dsm_tcp_rx *rx = &conn->rx;
    atomic_fetch_add_explicit(&conn->net->n_landed, 1, memory_order_relaxed);
    if (rx->dst && !dsm_tcp_landing_is_place(conn->net, told, rx->dst)) {
        outcome->is_malformed = outcome->is_elsewhere = true;
        return false;
    }
    if (rx->payload_left)
        payload_arrived(conn, rx->payload_left);
    return true;
}

/* Header in the stage. False: the peer broke the protocol. */
static bool take_header(struct dsm_tcp_conn *conn, struct outcome *outcome)
{
    struct dsm_tcp_rx *rx = &conn->rx;
    const struct dsm_net_handler *handler = &conn->net->handler;
    memcpy(rx->header, conn->buffers->stage + rx->stage_start, sizeof rx->header);
    rx->stage_start += DSM_NET_HEADER_BYTES;
    uint32_t told = dsm_tcp_landing_told(conn, rx->header);
    uint32_t len_bytes = dsm_get_u32(rx->header + DSM_NET_LEN_AT);
    void *dst = NULL;
    rx->token = 0;
    if (len_bytes > DSM_NET_MAX_PAYLOAD) {
        outcome->is_malformed = true;
        outcome->len_bytes = len_bytes;
        return false;
    }
    if (handler->on_header(handler->user, conn->peer->rank, conn->rx_lane, rx->header, &dst,
                           &rx->token)) {
        outcome->is_malformed = true;
        return false;
    }
    outcome->n_frames++;
    rx->dst = dst;
    rx->payload_left = len_bytes;
    return !told || take_landed(conn, told, outcome);
}

/* Everything in the stage but the beginning of a header. */
static bool take_stage(struct dsm_tcp_conn *conn, struct outcome *outcome)
{
    struct dsm_tcp_rx *rx = &conn->rx;
    for (;;) {
        uint32_t staged = rx->stage_end - rx->stage_start;
        if (rx->payload_left) {
            uint32_t part = staged < rx->payload_left ? staged : rx->payload_left;
            if (part == 0)
                return true;
            if (rx->dst)
                memcpy(rx->dst, conn->buffers->stage + rx->stage_start, part);
            rx->stage_start += part;
            payload_arrived(conn, part);
        } else if (staged < DSM_NET_HEADER_BYTES) {
            return true;
        } else if (!take_header(conn, outcome)) {
            return false;
        }
    }
}

/* Beyond a payload with a known place: from a ring the next header alone, since another call costs
 * nothing there. */
static uint32_t stage_room(const struct dsm_tcp_conn *conn)
{
    if (conn->shm)
        return conn->rx.payload_left ? 0 : DSM_NET_HEADER_BYTES - conn->rx.stage_end;
    return DSM_TCP_STAGE_BYTES - conn->rx.stage_end;
}

static size_t receive_into(struct dsm_tcp_conn *conn, struct iovec iov[2], size_t *asked_out)
{
    struct dsm_tcp_rx *rx = &conn->rx;
    uint8_t *stage = conn->buffers->stage;
    size_t n = 0;
    *asked_out = 0;
    if (rx->payload_left) {
        iov[n++] = (struct iovec){rx->dst ? rx->dst : conn->net->scrap, rx->payload_left};
        *asked_out += rx->payload_left;
    }
    if (rx->stage_start) { /* less than a header is left */
        memmove(stage, stage + rx->stage_start, rx->stage_end - rx->stage_start);
        rx->stage_end -= rx->stage_start;
        rx->stage_start = 0;
    }
    if (stage_room(conn)) {
        iov[n++] = (struct iovec){stage + rx->stage_end, stage_room(conn)};
        *asked_out += stage_room(conn);
    }
    return n;
}

static void read_frames(struct dsm_tcp_conn *conn, enum dsm_tcp_reader reader,
                        struct outcome *outcome)
{
    struct dsm_tcp_rx *rx = &conn->rx;
    for (size_t total = 0; total < MAX_BYTES_AT_ONCE;) {
        struct iovec iov[2];
        size_t asked;
        size_t n_iov = receive_into(conn, iov, &asked);
        long got =
            conn->shm ? dsm_tcp_shm_read(conn, iov, n_iov) : dsm_sys_recvv(conn->fd, iov, n_iov);
        if (got == -EAGAIN || got == -EINTR)
            return;
        if (conn->shm && got == -EPROTO) {
            outcome->is_malformed = true;
            return;
        }
        if (got <= 0) {
            outcome->is_eof = true;
            outcome->error_number = (int)-got;
            return;
        }
        if (!conn->shm) /* there it is counted once for all that is read in a row */
            atomic_fetch_add_explicit(&conn->net->n_reads[conn->rx_lane], 1, memory_order_relaxed);
        rx->received_bytes += (size_t)got;
        total += (size_t)got;
        uint32_t rest = (uint32_t)got;
        if (rx->payload_left) {
            uint32_t part = rest < rx->payload_left ? rest : rx->payload_left;
            rest -= part;
            payload_arrived(conn, part);
            /* Counted again: the end of a batch follows what on_payload did. */
            outcome->n_frames += rx->payload_left == 0;
        }
        rx->stage_end += rest;
        if (!take_stage(conn, outcome))
            return;
        /* A short read means that the socket is empty; asking again would cost a call to hear it.
         */
        if ((size_t)got < asked)
            return;
        if (reader == DSM_TCP_SERVE &&
            atomic_load_explicit(&conn->net->is_claimed, memory_order_relaxed))
            return;
    }
}

static void break_off(struct dsm_tcp_conn *conn, const struct outcome *outcome)
{
    char why[DSM_TCP_WHY_BYTES];
    if (outcome->len_bytes)
        dsm_format(why, sizeof why,
                   "rank %u sent a malformed frame on the %s lane: payload of %u bytes, at most %u "
                   "are allowed",
                   conn->peer->rank, dsm_tcp_lane_name(conn->rx_lane), outcome->len_bytes,
                   DSM_NET_MAX_PAYLOAD);
    else if (outcome->is_elsewhere)
        dsm_format(why, sizeof why,
                   "rank %u wrote bytes into the memory of this rank where nobody asked for them",
                   conn->peer->rank);
    else
        dsm_format(
            why, sizeof why,
            "rank %u sent a frame on the %s lane that was refused, %lu bytes into the stream",
            conn->peer->rank, dsm_tcp_lane_name(conn->rx_lane), conn->rx.received_bytes);
    dsm_tcp_peer_lose(conn->peer, DSM_E_PROTO, why);
}

/* The bells before the ring, and the end behind it. */
static void read_shared(struct dsm_tcp_conn *conn, enum dsm_tcp_reader reader, bool has_event,
                        struct outcome *outcome)
{
    long end = has_event ? dsm_tcp_shm_take_bells(conn) : 0;
    read_frames(conn, reader, outcome);
    if (outcome->n_frames)
        atomic_fetch_add_explicit(&conn->net->n_reads[conn->rx_lane], 1, memory_order_relaxed);
    if (end == 0 || outcome->is_malformed || outcome->is_eof || dsm_shm_has_bytes(&conn->shm->rx))
        return;
    outcome->is_eof = true;
    outcome->error_number = end < 0 ? (int)-end : 0;
}

/* The lane's end is found by who reads it, or the request lane's: the service thread would only see
 * it again and again. Under the lock: the descriptor is closed once the reading half has ended. */
void dsm_tcp_rx_take_room_bell(struct dsm_tcp_conn *conn)
{
    dsm_mutex_lock(&conn->rx.lock);
    if (!conn->rx.is_ended && dsm_tcp_shm_take_bells(conn) != 0)
        (void)epoll_ctl(conn->net->service_fd, EPOLL_CTL_DEL, conn->fd, NULL);
    dsm_mutex_unlock(&conn->rx.lock);
    if (atomic_load(&conn->is_ending))
        dsm_tcp_conn_end_rx(conn);
}

int dsm_tcp_rx_read(struct dsm_tcp_conn *conn, enum dsm_tcp_reader reader, bool has_event)
{
    struct outcome outcome = {0};
    if (!dsm_mutex_trylock(&conn->rx.lock)) {
        if (reader == DSM_TCP_LOOK)
            return 0;
        dsm_mutex_lock(&conn->rx.lock);
    }
    if (conn->rx.is_up && !conn->rx.is_ended) {
        if (conn->shm)
            read_shared(conn, reader, has_event, &outcome);
        else
            read_frames(conn, reader, &outcome);
    }
    if (outcome.is_malformed || outcome.is_eof)
        conn->rx.is_up = false; /* what else is there is not to be believed, or nothing */
    dsm_mutex_unlock(&conn->rx.lock);
    if (outcome.is_malformed)
        break_off(conn, &outcome);
    else if (outcome.is_eof)
        dsm_tcp_conn_eof(conn, outcome.error_number);
    /* Whoever ended the connection meanwhile may have found the lock held and left this to us. */
    if (atomic_load(&conn->is_ending))
        dsm_tcp_conn_end_rx(conn);
    return outcome.n_frames;
}
