/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_tx.c - the send queue of a connection. Frames are queued under the lock and posted in chains
 * of work requests, with one doorbell, as far as credits, the send queue and buffers reach; the
 * rest goes on with a completion or with a message that brings credits. All of it runs in signal
 * handlers.
 *
 * What is signalled: the last request of a message whose bytes are the caller's, the last of a
 * chain that has buffers to give back, and one in a quarter of the queue, so that its room comes
 * back. A completion stands for all that was posted before it.
 */
#define _GNU_SOURCE
#include "net/rdma.h"
#include "base/bytes.h"
#include "base/errors.h"
#include "base/log.h"
#include <string.h>

/* Work requests kept back for messages that tell credits. */
#define KEPT_REQUESTS   2u
#define COOKIES_AT_ONCE 16

/* One post being put together. */
struct chain {
    unsigned n;
    unsigned n_messages;
    bool has_buffers;
};

/* ---- queueing ---- */

void dsm_rdma_tx_dirty(struct dsm_rdma_conn *conn)
{
    struct dsm_net *net = conn->net;
    if (atomic_exchange(&conn->is_dirty, true))
        return;
    conn->next_dirty = atomic_load_explicit(&net->dirty, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&net->dirty, &conn->next_dirty, conn))
        ;
}

int dsm_rdma_send(struct dsm_net *net, uint32_t to, unsigned lane, const uint8_t *header,
                  const void *payload, uint64_t cookie, uint32_t key)
{
    uint32_t len_bytes = dsm_get_u32(header + DSM_NET_LEN_AT);
    if (to >= net->n_ranks || to == net->self || lane >= DSM_RDMA_LANES ||
        len_bytes > DSM_NET_MAX_PAYLOAD || (len_bytes && !payload) ||
        (!cookie && len_bytes > DSM_FRAME_QUEUE_COPY_BYTES))
        return DSM_E_INVAL;
    struct dsm_rdma_peer *peer = &net->peers[to];
    struct dsm_rdma_conn *conn = &peer->conns[lane];
    /* A payload that is copied now is not where the peer's would be. */
    if (!cookie || len_bytes == 0)
        key = 0;
    else if (key)
        dsm_rdma_region_ask(net, payload);
    dsm_mutex_lock(&conn->tx.lock);
    int error = conn->tx.is_ending
                    ? DSM_E_PEER
                    : dsm_frame_queue_put(&conn->tx.queue, header, payload, len_bytes, cookie, key);
    bool is_up = conn->tx.qp != NULL;
    dsm_mutex_unlock(&conn->tx.lock);
    if (error)
        return error;
    if (!is_up && !atomic_exchange(&peer->is_wanted, true))
        dsm_chores_ask(&net->chores, &peer->chore, DSM_RDMA_CHORE_CONNECT);
    if (is_up)
        dsm_rdma_tx_dirty(conn);
    return 0;
}

/* ---- putting a post together (tx lock held) ---- */

static void set_told(struct dsm_rdma_rx *rx, uint32_t n)
{
    uint32_t before = atomic_load(&rx->n_told);
    while ((int32_t)(n - before) > 0)
        if (atomic_compare_exchange_weak(&rx->n_told, &before, n))
            break;
}

/* What this message tells is told with its going out, or once the peer is known to have it. */
static void put_word(struct dsm_rdma_conn *conn, uint8_t *word, enum dsm_rdma_kind kind)
{
    struct dsm_rdma_told *told = &conn->peer->told;
    bool is_noted = conn->lane == DSM_RDMA_REPLY && !atomic_load(&told->is_pending);
    memset(word, 0, DSM_RDMA_WORD_BYTES);
    word[0] = (uint8_t)kind;
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        struct dsm_rdma_rx *rx = &conn->peer->conns[lane].rx;
        uint32_t n = atomic_load_explicit(&rx->n_handled, memory_order_acquire);
        dsm_put_u32(word + 4 + 4 * lane, n);
        if (conn->lane == DSM_RDMA_REQUEST)
            set_told(rx, n);
        else if (is_noted)
            told->n_handled[lane] = n;
    }
    if (is_noted) {
        atomic_store(&told->n_sent, conn->tx.n_sent + 1);
        atomic_store(&told->is_pending, true);
    }
}

static struct ibv_send_wr *add_request(struct dsm_rdma_conn *conn, struct chain *chain,
                                       enum ibv_wr_opcode opcode, const void *bytes,
                                       uint32_t len_bytes, uint32_t lkey)
{
    struct dsm_rdma_scratch *scratch = conn->tx.scratch;
    struct ibv_send_wr *wr = &scratch->wr[chain->n];
    scratch->sge[chain->n] = (struct ibv_sge){(uintptr_t)bytes, len_bytes, lkey};
    *wr = (struct ibv_send_wr){.wr_id = (uintptr_t)conn,
                               .sg_list = &scratch->sge[chain->n],
                               .num_sge = 1,
                               .opcode = opcode};
    if (chain->n)
        scratch->wr[chain->n - 1].next = wr;
    chain->n++;
    conn->tx.requests_left--;
    return wr;
}

static void add_posted(struct dsm_rdma_conn *conn, struct chain *chain, struct ibv_send_wr *last,
                       uint8_t n_requests, struct dsm_rdma_buffer *buffer, uint64_t cookie)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    tx->n_unsignalled += n_requests;
    bool is_signalled = cookie != 0 || tx->n_unsignalled >= conn->net->depth / 4;
    tx->posted[tx->posted_tail++ % conn->net->depth] =
        (struct dsm_rdma_posted){cookie, buffer, n_requests, is_signalled};
    if (is_signalled) {
        last->send_flags |= IBV_SEND_SIGNALED;
        tx->n_unsignalled = 0;
    }
    if (cookie)
        atomic_fetch_add(&conn->net->n_awaited, 1);
    chain->has_buffers = is_signalled ? false : chain->has_buffers || buffer;
    chain->n_messages++;
}

/* A message of a word and perhaps a header, small enough to go into the work request itself. False:
 * no buffer, where one is needed. */
static bool add_head(struct dsm_rdma_conn *conn, struct chain *chain, enum dsm_rdma_kind kind,
                     const uint8_t *header, uint64_t offset, uint8_t n_requests,
                     struct dsm_rdma_buffer *buffer, uint64_t cookie)
{
    struct dsm_net *net = conn->net;
    uint32_t len_bytes = header ? DSM_RDMA_HEAD_BYTES : DSM_RDMA_WORD_BYTES;
    uint8_t *at = conn->tx.scratch->head[chain->n];
    bool is_inline = len_bytes <= net->inline_bytes;
    uint32_t lkey = 0;
    if (!is_inline) {
        if (!buffer && !(buffer = dsm_rdma_buffer_take(net)))
            return false;
        /* Behind the payload, if the buffer holds one. */
        at = buffer->bytes + DSM_RDMA_MESSAGE_BYTES - DSM_RDMA_HEAD_BYTES;
        lkey = buffer->lkey;
    }
    put_word(conn, at, kind);
    if (header) {
        dsm_put_u64(at + 16, offset);
        memcpy(at + DSM_RDMA_WORD_BYTES, header, DSM_NET_HEADER_BYTES);
    }
    struct ibv_send_wr *wr = add_request(conn, chain, IBV_WR_SEND, at, len_bytes, lkey);
    if (is_inline)
        wr->send_flags |= IBV_SEND_INLINE;
    add_posted(conn, chain, wr, n_requests, buffer, cookie);
    return true;
}

/* The head frame's bytes straight to their place, its header behind them. Bytes of a chunk that is
 * not registered here go through a buffer: one copy, where sending them would make two. */
static bool add_landed(struct dsm_rdma_conn *conn, struct chain *chain, uint32_t lkey)
{
    struct dsm_net *net = conn->net;
    struct dsm_rdma_tx *tx = &conn->tx;
    const struct dsm_queued_frame *frame = tx->queue.head;
    const struct dsm_rdma_peer *peer = conn->peer;
    uint64_t offset = (uint64_t)(frame->payload - net->region.memory);
    const uint8_t *bytes = frame->payload;
    struct dsm_rdma_buffer *buffer = NULL;
    if (!lkey) {
        if (!(buffer = dsm_rdma_buffer_take(net)))
            return false;
        memcpy(buffer->bytes, frame->payload, frame->len_bytes);
        bytes = buffer->bytes;
        lkey = buffer->lkey;
    }
    unsigned before = chain->n;
    struct ibv_send_wr *wr =
        add_request(conn, chain, IBV_WR_RDMA_WRITE, bytes, frame->len_bytes, lkey);
    wr->wr.rdma.remote_addr = peer->memory + offset;
    wr->wr.rdma.rkey = frame->key;
    if (!add_head(conn, chain, DSM_RDMA_LANDED, frame->header, offset, 2, buffer, frame->cookie)) {
        chain->n = before;
        tx->requests_left++;
        if (before)
            tx->scratch->wr[before - 1].next = NULL;
        if (buffer)
            dsm_rdma_buffer_give(net, buffer);
        return false;
    }
    (void)dsm_frame_queue_take(&tx->queue);
    tx->n_frames++;
    return true;
}

/* The next message of the head frame, through a buffer. */
static bool add_part(struct dsm_rdma_conn *conn, struct chain *chain)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    const struct dsm_queued_frame *frame = tx->queue.head;
    uint32_t at = DSM_RDMA_WORD_BYTES, left = frame->len_bytes - tx->head_sent_bytes;
    uint32_t part = left < DSM_RDMA_PART_BYTES ? left : DSM_RDMA_PART_BYTES;
    struct dsm_rdma_buffer *buffer = dsm_rdma_buffer_take(conn->net);
    if (!buffer)
        return false;
    put_word(conn, buffer->bytes, tx->head_is_begun ? DSM_RDMA_PART : DSM_RDMA_FRAME);
    if (!tx->head_is_begun) {
        memcpy(buffer->bytes + at, frame->header, DSM_NET_HEADER_BYTES);
        at += DSM_NET_HEADER_BYTES;
    }
    memcpy(buffer->bytes + at, frame->payload + tx->head_sent_bytes, part);
    struct ibv_send_wr *wr =
        add_request(conn, chain, IBV_WR_SEND, buffer->bytes, at + part, buffer->lkey);
    bool is_last = part == left;
    add_posted(conn, chain, wr, 1, buffer, is_last ? frame->cookie : 0);
    tx->head_is_begun = !is_last;
    tx->head_sent_bytes = is_last ? 0 : tx->head_sent_bytes + part;
    if (is_last) {
        (void)dsm_frame_queue_take(&tx->queue);
        tx->n_frames++;
    }
    return true;
}

/* May the bytes be written straight to the peer's memory? From where they are with the local key,
 * or through a buffer where that is 0. */
static bool can_land(const struct dsm_rdma_conn *conn, const struct dsm_queued_frame *frame,
                     uint32_t *lkey_out)
{
    const struct dsm_rdma_region *region = &conn->net->region;
    uint64_t offset = (uint64_t)(frame->payload - region->memory);
    if (!frame->key || frame->payload < region->memory || offset >= region->len_bytes ||
        frame->len_bytes > conn->peer->memory_bytes ||
        offset > conn->peer->memory_bytes - frame->len_bytes)
        return false;
    *lkey_out = dsm_rdma_source(conn->net, frame->payload, frame->len_bytes);
    return *lkey_out || frame->len_bytes <= DSM_RDMA_PART_BYTES;
}

/* One message of the head frame. False: something is short. */
static bool add_message(struct dsm_rdma_conn *conn, struct chain *chain)
{
    const struct dsm_queued_frame *frame = conn->tx.queue.head;
    struct dsm_rdma_tx *tx = &conn->tx;
    uint32_t lkey;
    if (!tx->head_is_begun && can_land(conn, frame, &lkey))
        return add_landed(conn, chain, lkey);
    if (frame->len_bytes) {
        if (!add_part(conn, chain))
            return false;
        if (!tx->head_is_begun)
            atomic_fetch_add_explicit(&conn->net->n_eager, 1, memory_order_relaxed);
        return true;
    }
    if (!add_head(conn, chain, DSM_RDMA_FRAME, frame->header, 0, 1, NULL, frame->cookie))
        return false;
    (void)dsm_frame_queue_take(&tx->queue);
    tx->n_frames++;
    return true;
}

/* Has the peer a buffer for one more? If not, its next word makes the connection dirty. */
static bool has_credit(struct dsm_rdma_conn *conn)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    if (tx->n_sent - atomic_load(&tx->n_handled) < tx->credits)
        return true;
    atomic_store(&tx->waits_for_credit, true);
    if (tx->n_sent - atomic_load(&tx->n_handled) >= tx->credits)
        return false;
    atomic_store(&tx->waits_for_credit, false);
    return true;
}

static void post(struct dsm_rdma_conn *conn, struct chain *chain)
{
    struct dsm_net *net = conn->net;
    struct dsm_rdma_tx *tx = &conn->tx;
    struct ibv_send_wr *bad;
    if (chain->has_buffers) { /* they are to come back without more being sent */
        tx->scratch->wr[chain->n - 1].send_flags |= IBV_SEND_SIGNALED;
        tx->posted[(tx->posted_tail - 1) % net->depth].is_signalled = true;
        tx->n_unsignalled = 0;
    }
    int error = ibv_post_send(tx->qp, tx->scratch->wr, &bad);
    if (error) {
        /* What was posted completes or is void with the queue pair; all of it is in the ring. */
        char why[DSM_RDMA_WHY_BYTES];
        dsm_format(why, sizeof why, "rank %u: posting %u requests on the %s lane failed: %s",
                   conn->peer->rank, chain->n, dsm_rdma_lane_name(conn->lane),
                   strerrordesc_np(error));
        dsm_rdma_peer_break(conn->peer, DSM_E_PEER, why);
    }
    atomic_fetch_add_explicit(&net->n_doorbells, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&net->n_requests, chain->n, memory_order_relaxed);
    *chain = (struct chain){0};
}

/* Half of what the peer may have under way has come together untold. */
static bool must_tell(const struct dsm_rdma_peer *peer)
{
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        const struct dsm_rdma_rx *rx = &peer->conns[lane].rx;
        uint32_t n_told = atomic_load(&rx->n_told); /* first: it never is the larger one */
        uint32_t n_untold = atomic_load(&rx->n_handled) - n_told;
        if (n_untold >= (peer->conns[0].net->credits + 1) / 2)
            return true;
    }
    return false;
}

/* Posts what can be posted. */
static void pump(struct dsm_rdma_conn *conn)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    struct chain chain = {0};
    tx->is_starved = false;
    while (tx->qp && !tx->is_ending) {
        bool is_told = conn->lane == DSM_RDMA_REQUEST && tx->is_credit_due;
        if (chain.n + 2 > DSM_RDMA_CHAIN) {
            post(conn, &chain);
        } else if (tx->queue.head && tx->requests_left >= 2 + KEPT_REQUESTS && has_credit(conn)) {
            if (!add_message(conn, &chain)) {
                tx->is_starved = true;
                break;
            }
            tx->n_sent++;
        } else if (is_told && tx->requests_left && must_tell(conn->peer)) {
            if (!add_head(conn, &chain, DSM_RDMA_CREDIT, NULL, 0, 1, NULL, 0)) {
                tx->is_starved = true;
                break;
            }
            atomic_fetch_add_explicit(&conn->net->n_credit_messages, 1, memory_order_relaxed);
        } else {
            tx->is_starved = (tx->queue.head && tx->requests_left < 2 + KEPT_REQUESTS) ||
                             (is_told && must_tell(conn->peer));
            tx->is_credit_due = tx->is_starved && is_told;
            break;
        }
    }
    if (chain.n)
        post(conn, &chain);
}

/* ---- going out ---- */

/* Starved connections go on when completions come, so somebody must see those. (tx lock held) */
static void note_starved(struct dsm_rdma_conn *conn, bool was_starved)
{
    if (conn->tx.is_starved && !was_starved)
        atomic_fetch_add(&conn->net->n_awaited, 1);
    if (!conn->tx.is_starved && was_starved)
        atomic_fetch_sub(&conn->net->n_awaited, 1);
}

static void go_out(struct dsm_rdma_conn *conn)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    dsm_mutex_lock(&tx->lock);
    if (tx->qp && !tx->is_ending) {
        bool was_starved = tx->is_starved;
        pump(conn);
        note_starved(conn, was_starved);
    }
    dsm_mutex_unlock(&tx->lock);
}

void dsm_rdma_tx_flush(struct dsm_net *net)
{
    if (!atomic_load_explicit(&net->dirty, memory_order_relaxed))
        return;
    struct dsm_rdma_conn *conn = atomic_exchange(&net->dirty, NULL);
    while (conn) {
        struct dsm_rdma_conn *next = conn->next_dirty;
        /* Cleared before the queue is looked at: a frame queued after that puts the connection on
         * the list again. */
        atomic_store(&conn->is_dirty, false);
        go_out(conn);
        conn = next;
    }
}

void dsm_rdma_flush(struct dsm_net *net)
{
    int before = dsm_rdma_enter();
    dsm_rdma_tx_flush(net);
    while (dsm_rdma_watch_sends(net) && dsm_rdma_reap(net, true))
        ;
    dsm_rdma_leave(before);
}

void dsm_rdma_tx_up(struct dsm_rdma_conn *conn, struct ibv_qp *qp)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    dsm_mutex_lock(&tx->lock);
    if (!tx->is_ending)
        tx->qp = qp;
    dsm_mutex_unlock(&tx->lock);
    dsm_rdma_tx_dirty(conn);
}

void dsm_rdma_tx_tell(struct dsm_rdma_peer *peer)
{
    struct dsm_rdma_conn *conn = &peer->conns[DSM_RDMA_REQUEST];
    if (!must_tell(peer))
        return;
    dsm_mutex_lock(&conn->tx.lock);
    conn->tx.is_credit_due = true;
    dsm_mutex_unlock(&conn->tx.lock);
    dsm_rdma_tx_dirty(conn);
}

/* The peer has handled the message on the reply lane that told. */
static void confirm_told(struct dsm_rdma_conn *reply, uint32_t n_handled)
{
    struct dsm_rdma_peer *peer = reply->peer;
    struct dsm_rdma_told *told = &peer->told;
    if (!atomic_load(&told->is_pending) || (int32_t)(n_handled - atomic_load(&told->n_sent)) < 0)
        return;
    dsm_mutex_lock(&reply->tx.lock); /* another thread may have been first */
    if (atomic_load(&told->is_pending) && (int32_t)(n_handled - atomic_load(&told->n_sent)) >= 0) {
        for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++)
            set_told(&peer->conns[lane].rx, told->n_handled[lane]);
        atomic_store(&told->is_pending, false);
    }
    dsm_mutex_unlock(&reply->tx.lock);
}

bool dsm_rdma_tx_credit(struct dsm_rdma_conn *conn, uint32_t n_handled)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    if ((int32_t)(n_handled - atomic_load(&tx->n_sent)) > 0)
        return false;
    if (conn->lane == DSM_RDMA_REPLY)
        confirm_told(conn, n_handled);
    uint32_t before = atomic_load(&tx->n_handled);
    /* Words of the two lanes overtake each other: the higher count is the newer. */
    while ((int32_t)(n_handled - before) > 0)
        if (atomic_compare_exchange_weak(&tx->n_handled, &before, n_handled))
            break;
    if (atomic_load(&tx->waits_for_credit) && atomic_exchange(&tx->waits_for_credit, false))
        dsm_rdma_tx_dirty(conn);
    return true;
}

/* ---- completions ---- */

/* (tx lock held) Takes messages out of the ring, up to the one that a completion stands for, which
 * alone may have a cookie: returned, or 0. */
static uint64_t retire(struct dsm_rdma_conn *conn)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    while (tx->posted_head != tx->posted_tail) {
        const struct dsm_rdma_posted *posted = &tx->posted[tx->posted_head++ % conn->net->depth];
        tx->requests_left += posted->n_requests;
        if (posted->buffer)
            dsm_rdma_buffer_give(conn->net, posted->buffer);
        if (posted->is_signalled)
            return posted->cookie;
    }
    return 0;
}

static void take_failed(const struct dsm_rdma_conn *conn, const struct ibv_wc *wc)
{
    char why[DSM_RDMA_WHY_BYTES];
    if (atomic_load(&conn->peer->is_losing))
        return;
    dsm_format(why, sizeof why,
               "rank %u is gone: %s lane: %s (vendor code 0x%x), after %lu messages received and "
               "%lu frames sent",
               conn->peer->rank, dsm_rdma_lane_name(conn->lane), ibv_wc_status_str(wc->status),
               wc->vendor_err, conn->rx.n_messages, conn->tx.n_frames);
    dsm_rdma_peer_break(conn->peer, DSM_E_PEER, why);
}

static void take_said(struct dsm_net *net, uint64_t wr_id)
{
    struct dsm_rdma_link *link = (struct dsm_rdma_link *)(uintptr_t)(wr_id & ~7ull);
    struct dsm_rdma_buffer **said = &link->said[wr_id >> 1 & 1];
    if (*said)
        dsm_rdma_buffer_give(net, *said);
    *said = NULL;
}

/* (sends' lock held) Returns a cookie or 0. */
static uint64_t take_sent(struct dsm_net *net, const struct ibv_wc *wc)
{
    struct dsm_rdma_conn *conn = (struct dsm_rdma_conn *)(uintptr_t)wc->wr_id;
    if (wc->wr_id & DSM_RDMA_SAID) {
        take_said(net, wc->wr_id);
        return 0;
    }
    if (wc->status != IBV_WC_SUCCESS) {
        /* All that was posted goes back with the queue pair. Flushed: if we have not ended it
         * (which is noted before), the card has. */
        take_failed(conn, wc);
        return 0;
    }
    dsm_mutex_lock(&conn->tx.lock);
    uint64_t cookie = retire(conn);
    bool is_starved = conn->tx.is_starved;
    dsm_mutex_unlock(&conn->tx.lock);
    if (is_starved)
        dsm_rdma_tx_dirty(conn);
    return cookie;
}

static void report(struct dsm_net *net, const uint64_t *cookies, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        net->handler.on_sent(net->handler.user, cookies[i]);
}

/* Buffers came back: connections that went without go on. */
static void feed_starved(struct dsm_net *net)
{
    if (!atomic_load(&net->is_short_of_buffers) ||
        !atomic_exchange(&net->is_short_of_buffers, false))
        return;
    for (uint32_t rank = 0; rank < net->n_ranks; rank++) {
        for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
            struct dsm_rdma_conn *conn = &net->peers[rank].conns[lane];
            dsm_mutex_lock(&conn->tx.lock); /* it may be finding out just now */
            bool is_starved = conn->tx.is_starved;
            dsm_mutex_unlock(&conn->tx.lock);
            if (is_starved)
                dsm_rdma_tx_dirty(conn);
        }
    }
}

bool dsm_rdma_reap(struct dsm_net *net, bool may_wait)
{
    bool has_some = false;
    int n;
    do {
        struct ibv_wc *wc = net->sends.taken;
        uint64_t cookies[DSM_RDMA_BATCH];
        unsigned n_cookies = 0;
        if (!dsm_mutex_trylock(&net->sends.lock)) {
            if (!may_wait)
                break;
            dsm_mutex_lock(&net->sends.lock);
        }
        n = dsm_rdma_cq_take(&net->sends, wc);
        for (int i = 0; i < n; i++)
            if ((cookies[n_cookies] = take_sent(net, &wc[i])))
                n_cookies++;
        dsm_mutex_unlock(&net->sends.lock);
        if (n_cookies)
            atomic_fetch_sub(&net->n_awaited, n_cookies);
        report(net, cookies, n_cookies);
        has_some |= n > 0;
        if (n > 0)
            feed_starved(net);
    } while (n == DSM_RDMA_BATCH);
    dsm_rdma_tx_flush(net);
    return has_some;
}

/* ---- the end ---- */

void dsm_rdma_tx_down(struct dsm_rdma_conn *conn)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    dsm_mutex_lock(&tx->lock);
    bool was_starved = tx->is_starved;
    tx->qp = NULL;
    tx->is_ending = true;
    tx->is_starved = false;
    note_starved(conn, was_starved);
    dsm_mutex_unlock(&tx->lock);
}

void dsm_rdma_tx_drain(struct dsm_rdma_conn *conn)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    bool is_empty;
    do {
        uint64_t cookies[COOKIES_AT_ONCE];
        unsigned n = 0, n_posted;
        dsm_mutex_lock(&tx->lock);
        while (n < COOKIES_AT_ONCE && tx->posted_head != tx->posted_tail)
            if ((cookies[n] = retire(conn)))
                n++;
        n_posted = n;
        while (n < COOKIES_AT_ONCE && tx->queue.head)
            if ((cookies[n] = dsm_frame_queue_take(&tx->queue)))
                n++;
        is_empty = tx->posted_head == tx->posted_tail && !tx->queue.head;
        dsm_mutex_unlock(&tx->lock);
        if (n_posted)
            atomic_fetch_sub(&conn->net->n_awaited, n_posted);
        report(conn->net, cookies, n);
    } while (!is_empty);
    feed_starved(conn->net); /* its buffers came back */
}

/* What is under way without a completion to come gets one. */
static void mark_end(struct dsm_rdma_conn *conn)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    struct chain chain = {0};
    if (tx->posted_head == tx->posted_tail || tx->requests_left == 0 ||
        tx->posted[(tx->posted_tail - 1) % conn->net->depth].is_signalled)
        return;
    tx->n_unsignalled = conn->net->depth; /* more than enough */
    if (add_head(conn, &chain, DSM_RDMA_CREDIT, NULL, 0, 1, NULL, 0))
        post(conn, &chain);
}

bool dsm_rdma_tx_is_out(struct dsm_rdma_conn *conn)
{
    struct dsm_rdma_tx *tx = &conn->tx;
    dsm_mutex_lock(&tx->lock);
    if (tx->qp && !tx->is_ending && !tx->queue.head)
        mark_end(conn);
    bool is_out = !tx->qp || atomic_load(&conn->peer->is_losing) ||
                  (!tx->queue.head && tx->posted_head == tx->posted_tail);
    dsm_mutex_unlock(&tx->lock);
    return is_out;
}
