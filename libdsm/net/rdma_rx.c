/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_rx.c - what arrives on a lane: messages out of the shared queue, frames to the handler,
 * bytes to where on_header says. All of it runs in signal handlers, but what belongs to a link that
 * is not a peer's connection yet is left to the loop's thread.
 */
#define _GNU_SOURCE
#include "net/rdma.h"
#include "base/bytes.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <string.h>

/* A lane is read for at most so long before the other and the sends get their turn. */
#define MAX_MESSAGES_AT_ONCE 256

/* Buffers go back to the card together: a doorbell for several messages. Those kept back are a
 * small part of a peer's credits, so that half of them come together all the same. */
#define CREDITS_PER_KEPT 8u

/* The text is for people; the first one counts. */
__attribute__((format(printf, 2, 3))) static void refuse(struct dsm_rdma_conn *conn,
                                                         const char *format, ...)
{
    char what[160], why[DSM_RDMA_WHY_BYTES];
    va_list args;
    va_start(args, format);
    dsm_vformat(what, sizeof what, format, args);
    va_end(args);
    dsm_format(why, sizeof why, "rank %u sent a malformed frame on the %s lane: %s (message %lu)",
               conn->peer->rank, dsm_rdma_lane_name(conn->lane), what, conn->rx.n_messages);
    conn->rx.is_broken = true;
    dsm_rdma_peer_break(conn->peer, DSM_E_PROTO, why);
}

/* Payload bytes of the current frame, behind a header or alone. True: they were the last. */
static bool take_bytes(struct dsm_rdma_conn *conn, const uint8_t *bytes, uint32_t len_bytes)
{
    struct dsm_rdma_rx *rx = &conn->rx;
    const struct dsm_net_handler *handler = &conn->net->handler;
    uint32_t due = rx->payload_left < DSM_RDMA_PART_BYTES ? rx->payload_left : DSM_RDMA_PART_BYTES;
    if (len_bytes != due) {
        refuse(conn, "%u bytes of payload where %u were due", len_bytes, due);
        return false;
    }
    rx->payload_left -= len_bytes;
    if (!rx->dst || len_bytes == 0)
        return rx->payload_left == 0;
    memcpy(rx->dst, bytes, len_bytes);
    rx->dst += len_bytes;
    if (rx->payload_left == 0)
        handler->on_payload(handler->user, conn->peer->rank, conn->lane, rx->header, rx->token);
    return rx->payload_left == 0;
}

/* Where the payload of a frame goes; false: refused. */
static bool take_header(struct dsm_rdma_conn *conn, const uint8_t *header, uint32_t *len_out,
                        void **dst_out)
{
    struct dsm_rdma_rx *rx = &conn->rx;
    const struct dsm_net_handler *handler = &conn->net->handler;
    *dst_out = NULL;
    *len_out = dsm_get_u32(header + DSM_NET_LEN_AT);
    rx->token = 0;
    if (rx->payload_left) {
        refuse(conn, "a header with %u bytes of payload still due", rx->payload_left);
        return false;
    }
    if (*len_out > DSM_NET_MAX_PAYLOAD) {
        refuse(conn, "payload of %u bytes, at most %u are allowed", *len_out, DSM_NET_MAX_PAYLOAD);
        return false;
    }
    memcpy(rx->header, header, sizeof rx->header);
    if (handler->on_header(handler->user, conn->peer->rank, conn->lane, rx->header, dst_out,
                           &rx->token)) {
        refuse(conn, "it was refused");
        return false;
    }
    return true;
}

static int take_frame(struct dsm_rdma_conn *conn, const uint8_t *bytes, uint32_t len_bytes)
{
    uint32_t payload_bytes;
    void *dst;
    if (!take_header(conn, bytes + DSM_RDMA_WORD_BYTES, &payload_bytes, &dst))
        return 0;
    conn->rx.payload_left = payload_bytes;
    conn->rx.dst = dst;
    (void)take_bytes(conn, bytes + DSM_RDMA_HEAD_BYTES, len_bytes - DSM_RDMA_HEAD_BYTES);
    return 1;
}

/* The bytes are in place already; it must be the place that the core wants them in. */
static int take_landed(struct dsm_rdma_conn *conn, const uint8_t *bytes)
{
    const struct dsm_net_handler *handler = &conn->net->handler;
    const struct dsm_rdma_region *region = &conn->net->region;
    uint64_t offset = dsm_get_u64(bytes + 16);
    uint32_t payload_bytes;
    void *dst;
    if (!take_header(conn, bytes + DSM_RDMA_WORD_BYTES, &payload_bytes, &dst))
        return 0;
    atomic_fetch_add_explicit(&conn->net->n_landed, 1, memory_order_relaxed);
    if (!dst)
        return 1;
    if (offset > region->len_bytes || payload_bytes > region->len_bytes - offset ||
        dst != region->memory + offset)
        refuse(conn, "%u bytes were written at offset %lu, where nobody asked for them",
               payload_bytes, offset);
    else if (payload_bytes)
        handler->on_payload(handler->user, conn->peer->rank, conn->lane, conn->rx.header,
                            conn->rx.token);
    return 1;
}

/* Returns the frames: 0 or 1. */
static int take_message(struct dsm_rdma_conn *conn, struct dsm_rdma_link *link,
                        const uint8_t *bytes, uint32_t len_bytes)
{
    struct dsm_rdma_rx *rx = &conn->rx;
    int n_frames = 0;
    if (rx->is_broken)
        return 0;
    rx->n_messages++;
    if (len_bytes < DSM_RDMA_WORD_BYTES) {
        refuse(conn, "%u bytes, at least %u are a message", len_bytes, DSM_RDMA_WORD_BYTES);
        return 0;
    }
    enum dsm_rdma_kind kind = bytes[0];
    bool has_header = kind == DSM_RDMA_FRAME || kind == DSM_RDMA_LANDED;
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        uint32_t n_handled = dsm_get_u32(bytes + 4 + 4 * lane);
        if (!dsm_rdma_tx_credit(&conn->peer->conns[lane], n_handled)) {
            refuse(conn, "it has handled %u messages of the %s lane, and was sent fewer", n_handled,
                   dsm_rdma_lane_name(lane));
            return 0;
        }
    }
    if (has_header && len_bytes < DSM_RDMA_HEAD_BYTES) {
        refuse(conn, "%u bytes, at least %u are a frame", len_bytes, DSM_RDMA_HEAD_BYTES);
        return 0;
    }
    switch (kind) {
    case DSM_RDMA_FRAME:
        n_frames = take_frame(conn, bytes, len_bytes);
        break;
    case DSM_RDMA_LANDED:
        n_frames = take_landed(conn, bytes);
        break;
    case DSM_RDMA_PART:
        if (rx->payload_left)
            /* Counted again: the end of a batch follows what on_payload did. */
            n_frames =
                take_bytes(conn, bytes + DSM_RDMA_WORD_BYTES, len_bytes - DSM_RDMA_WORD_BYTES);
        else
            refuse(conn, "bytes without a header");
        break;
    case DSM_RDMA_CREDIT:
        return 0;
    case DSM_RDMA_READY:
        for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++)
            dsm_rdma_tx_up(&conn->peer->conns[lane], link->qps[lane].qp);
        return 0;
    case DSM_RDMA_HELLO:
    case DSM_RDMA_ANSWER:
    default:
        refuse(conn, "kind %u", bytes[0]);
        break;
    }
    rx->n_taken++;
    return n_frames;
}

/* One message before the hello is done; what is more is too much. True: the loop's thread has it.
 */
static bool hand_over(struct dsm_rdma_link *link, unsigned lane, struct dsm_rdma_buffer *buffer)
{
    struct dsm_net *net = link->net;
    int awaited = DSM_RDMA_MAIL_AWAITED;
    bool is_taken = lane == DSM_RDMA_REQUEST &&
                    atomic_compare_exchange_strong(&link->mail_state, &awaited, DSM_RDMA_MAIL_NONE);
    if (is_taken)
        atomic_store(&link->mail, buffer);
    else
        atomic_store(&link->has_spoken_too_much, true);
    atomic_store(&net->has_mail, true);
    dsm_chores_wake(&net->chores);
    return is_taken;
}

static void receive_failed(struct dsm_rdma_link *link, unsigned lane, enum ibv_wc_status status)
{
    char why[DSM_RDMA_WHY_BYTES];
    if (atomic_load(&link->mail_state) != DSM_RDMA_MAIL_FRAMES)
        return; /* its deadline, or the other end */
    dsm_format(why, sizeof why, "rank %u: receiving on the %s lane failed: %s", link->peer->rank,
               dsm_rdma_lane_name(lane), ibv_wc_status_str(status));
    dsm_rdma_peer_break(link->peer, DSM_E_PEER, why);
}

static void note_heard(struct dsm_rdma_lane *lane, struct dsm_rdma_peer *peer)
{
    for (unsigned i = 0; i < lane->n_heard; i++)
        if (lane->heard[i] == peer)
            return;
    lane->heard[lane->n_heard++] = peer;
}

/* True: the buffer may be posted again; at once, unless its message took a credit. */
static bool take_completion(struct dsm_net *net, struct dsm_rdma_lane *lane,
                            const struct ibv_wc *wc, enum dsm_rdma_reader reader, int *n_frames)
{
    bool was_due = lane->is_due;
    lane->is_due = true;
    struct dsm_rdma_buffer *buffer = (struct dsm_rdma_buffer *)(uintptr_t)wc->wr_id;
    const struct dsm_rdma_qp *qp = dsm_rdma_qp_find(net, wc->qp_num);
    if (!qp)
        return true;
    struct dsm_rdma_link *link = qp->link;
    if (wc->status != IBV_WC_SUCCESS) {
        receive_failed(link, qp->lane, wc->status);
        return true;
    }
    if (atomic_load_explicit(&link->mail_state, memory_order_acquire) != DSM_RDMA_MAIL_FRAMES) {
        buffer->len_bytes = wc->byte_len;
        return reader == DSM_RDMA_FORGET || !hand_over(link, qp->lane, buffer);
    }
    struct dsm_rdma_conn *conn = &link->peer->conns[qp->lane];
    if (reader == DSM_RDMA_FORGET) {
        if (wc->byte_len >= DSM_RDMA_WORD_BYTES)
            for (unsigned i = 0; i < DSM_RDMA_LANES; i++)
                (void)dsm_rdma_tx_credit(&link->peer->conns[i],
                                         dsm_get_u32(buffer->bytes + 4 + 4 * i));
        return true;
    }
    uint32_t n_taken = conn->rx.n_taken;
    *n_frames += take_message(conn, link, buffer->bytes, wc->byte_len);
    lane->is_due = was_due || conn->rx.n_taken == n_taken;
    note_heard(lane, link->peer);
    return true;
}

/* Only now, when the buffers are with the card again. */
static void give_credit(struct dsm_rdma_peer *peer, unsigned lane)
{
    struct dsm_rdma_rx *rx = &peer->conns[lane].rx;
    atomic_store_explicit(&rx->n_handled, rx->n_taken, memory_order_release);
    dsm_rdma_tx_tell(peer);
}

static void give_back(struct dsm_net *net, unsigned lane_index)
{
    struct dsm_rdma_lane *lane = &net->lanes[lane_index];
    unsigned most = net->credits / CREDITS_PER_KEPT;
    if (!lane->n_again || (!lane->is_due && lane->n_again < DSM_RDMA_BATCH && lane->n_again < most))
        return;
    dsm_rdma_receive_again(lane, lane->again, (int)lane->n_again);
    atomic_fetch_add_explicit(&net->n_receives, 1, memory_order_relaxed);
    for (unsigned i = 0; i < lane->n_heard; i++)
        give_credit(lane->heard[i], lane_index);
    lane->n_again = lane->n_heard = 0;
    lane->is_due = false;
}

int dsm_rdma_rx_read(struct dsm_net *net, unsigned lane_index, enum dsm_rdma_reader reader)
{
    struct dsm_rdma_lane *lane = &net->lanes[lane_index];
    int n_frames = 0;
    if (!dsm_mutex_trylock(&lane->cq.lock)) {
        if (reader == DSM_RDMA_LOOK)
            return 0;
        dsm_mutex_lock(&lane->cq.lock);
    }
    for (int n_messages = 0; n_messages < MAX_MESSAGES_AT_ONCE;) {
        struct ibv_wc *wc = lane->cq.taken;
        int n = dsm_rdma_cq_take(&lane->cq, wc);
        for (int i = 0; i < n; i++)
            if (take_completion(net, lane, &wc[i], reader, &n_frames))
                lane->again[lane->n_again++] = (struct dsm_rdma_buffer *)(uintptr_t)wc[i].wr_id;
        give_back(net, lane_index);
        n_messages += n;
        if (n < DSM_RDMA_BATCH || (reader == DSM_RDMA_SERVE &&
                                   atomic_load_explicit(&net->is_claimed, memory_order_relaxed)))
            break;
    }
    dsm_mutex_unlock(&lane->cq.lock);
    return n_frames;
}

void dsm_rdma_read_all(struct dsm_net *net)
{
    enum dsm_rdma_reader reader = net->is_closing ? DSM_RDMA_FORGET : DSM_RDMA_WAIT;
    int n_frames = 0;
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        unsigned long long before;
        do {
            before = atomic_load(&net->lanes[lane].cq.n_completions);
            n_frames += dsm_rdma_rx_read(net, lane, reader);
        } while (atomic_load(&net->lanes[lane].cq.n_completions) != before);
    }
    if (n_frames)
        net->handler.on_batch_end(net->handler.user);
}
