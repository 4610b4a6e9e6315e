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
#include <sys/mman.h>

#define FIRST_FRAMES     64u
#define MOST_FRAMES      1024u /* of a chunk */
#define COPIES_PER_CHUNK 16u
/* System calls that one writer makes in a row; what is left then goes out through EPOLLOUT, so that
 * a thread that wants to go on does not carry the traffic of all others for ever. */
#define MAX_WRITES 64

/* Memory straight from the kernel: malloc is not for signal handlers. */
static void *map_chunk(struct dsm_tcp_tx *tx, size_t len_bytes)
{
    struct dsm_tcp_chunk *chunk =
        mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED)
        return NULL;
    chunk->next = tx->chunks;
    chunk->len_bytes = len_bytes;
    tx->chunks = chunk;
    return chunk + 1;
}

static struct dsm_tcp_frame *take_frame(struct dsm_tcp_tx *tx)
{
    if (!tx->free_frames) {
        uint32_t n = tx->n_frames < FIRST_FRAMES  ? FIRST_FRAMES
                     : tx->n_frames < MOST_FRAMES ? tx->n_frames
                                                  : MOST_FRAMES;
        if (tx->n_frames + n > DSM_TCP_MAX_FRAMES)
            return NULL;
        struct dsm_tcp_frame *frames =
            map_chunk(tx, sizeof(struct dsm_tcp_chunk) + n * sizeof *frames);
        if (!frames)
            return NULL;
        tx->n_frames += n;
        for (uint32_t i = 0; i < n; i++) {
            frames[i].next = tx->free_frames;
            tx->free_frames = &frames[i];
        }
    }
    struct dsm_tcp_frame *frame = tx->free_frames;
    tx->free_frames = frame->next;
    return frame;
}

static void give_frame(struct dsm_tcp_tx *tx, struct dsm_tcp_frame *frame)
{
    if (frame->is_copy) {
        struct dsm_tcp_copy *copy = (struct dsm_tcp_copy *)(uintptr_t)frame->payload;
        copy->next = tx->free_copies;
        tx->free_copies = copy;
    }
    frame->next = tx->free_frames;
    tx->free_frames = frame;
}

static uint8_t *take_copy(struct dsm_tcp_tx *tx)
{
    if (!tx->free_copies) {
        if (tx->n_copies + COPIES_PER_CHUNK > DSM_TCP_MAX_COPIES)
            return NULL;
        uint8_t *bytes = map_chunk(tx, sizeof(struct dsm_tcp_chunk) +
                                           COPIES_PER_CHUNK * (size_t)DSM_TCP_COPY_BYTES);
        if (!bytes)
            return NULL;
        tx->n_copies += COPIES_PER_CHUNK;
        for (uint32_t i = 0; i < COPIES_PER_CHUNK; i++) {
            struct dsm_tcp_copy *copy = (void *)(bytes + i * (size_t)DSM_TCP_COPY_BYTES);
            copy->next = tx->free_copies;
            tx->free_copies = copy;
        }
    }
    struct dsm_tcp_copy *copy = tx->free_copies;
    tx->free_copies = copy->next;
    return (uint8_t *)copy;
}

/* Lock held. */
static int queue(struct dsm_tcp_tx *tx, const uint8_t *header, const void *payload,
                 uint32_t len_bytes, uint64_t cookie)
{
    if (tx->is_ending || tx->is_failed)
        return DSM_E_PEER;
    struct dsm_tcp_frame *frame = take_frame(tx);
    if (!frame)
        return DSM_E_NOMEM;
    frame->payload = payload;
    frame->is_copy = false;
    if (len_bytes && !cookie) {
        uint8_t *copy = take_copy(tx);
        if (!copy) {
            give_frame(tx, frame);
            return DSM_E_NOMEM;
        }
        memcpy(copy, payload, len_bytes);
        frame->payload = copy;
        frame->is_copy = true;
    }
    memcpy(frame->header, header, sizeof frame->header);
    frame->len_bytes = len_bytes;
    frame->cookie = cookie;
    frame->next = NULL;
    *tx->tail = frame;
    tx->tail = &frame->next;
    return 0;
}

int dsm_tcp_send(struct dsm_net *net, uint32_t to, unsigned lane, const uint8_t *header,
                 const void *payload, uint64_t cookie, uint32_t key)
{
    uint32_t len_bytes = dsm_get_u32(header + DSM_NET_LEN_AT);
    (void)key;
    if (to >= net->n_ranks || to == net->self || lane >= DSM_TCP_LANES ||
        len_bytes > DSM_NET_MAX_PAYLOAD || (len_bytes && !payload) ||
        (!cookie && len_bytes > DSM_TCP_COPY_BYTES))
        return DSM_E_INVAL;
    struct dsm_tcp_peer *peer = &net->peers[to];
    struct dsm_tcp_conn *conn = &peer->conns[lane];
    dsm_mutex_lock(&conn->tx.lock);
    int error = queue(&conn->tx, header, payload, len_bytes, cookie);
    bool is_up = conn->tx.is_up;
    dsm_mutex_unlock(&conn->tx.lock);
    if (error)
        return error;
    if (!is_up) {
        /* If the connection came up meanwhile, that wrote the queue and the chore finds nothing to
         * do. */
        if (!atomic_exchange(&peer->is_wanted, true))
            dsm_tcp_chore(peer, DSM_TCP_CHORE_CONNECT);
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

/* Lock held. Fills the buffers from the head of the queue. */
static size_t gather(struct dsm_tcp_conn *conn, size_t *bytes_out)
{
    struct iovec *iov = conn->buffers->iov;
    size_t n = 0, bytes = 0, skip = conn->tx.head_sent_bytes;
    struct dsm_tcp_frame *frame = conn->tx.head;
    for (unsigned i = 0; frame && i < DSM_TCP_GATHER; i++, frame = frame->next) {
        if (skip < DSM_NET_HEADER_BYTES) {
            iov[n++] = (struct iovec){frame->header + skip, DSM_NET_HEADER_BYTES - skip};
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

/* Lock held. Takes the head off the queue; its cookie or 0. */
static uint64_t take_head(struct dsm_tcp_tx *tx)
{
    struct dsm_tcp_frame *frame = tx->head;
    tx->head = frame->next;
    if (!tx->head)
        tx->tail = &tx->head;
    uint64_t cookie = frame->cookie;
    give_frame(tx, frame);
    return cookie;
}

/* Lock held. The socket took these bytes; returns how many cookies are in the buffers. */
static unsigned retire(struct dsm_tcp_conn *conn, size_t bytes)
{
    struct dsm_tcp_tx *tx = &conn->tx;
    unsigned n = 0;
    tx->sent_bytes += bytes;
    bytes += tx->head_sent_bytes;
    while (tx->head && bytes >= DSM_NET_HEADER_BYTES + tx->head->len_bytes) {
        bytes -= DSM_NET_HEADER_BYTES + tx->head->len_bytes;
        uint64_t cookie = take_head(tx);
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
        while (tx->head && n < 16) {
            uint64_t cookie = take_head(tx);
            if (cookie)
                cookies[n++] = cookie;
        }
        bool is_empty = !tx->head;
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
    size_t n_iov = gather(conn, &asked);
    dsm_mutex_unlock(&tx->lock);
    long taken = dsm_sys_sendv(conn->fd, conn->buffers->iov, n_iov);
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
        dsm_mutex_unlock(&tx->lock);
        return;
    }
    tx->is_writing = true;
    bool takes_more = true;
    unsigned n_writes = 0;
    while (!tx->is_ending) {
        if (tx->head && !tx->is_failed && takes_more && n_writes++ < MAX_WRITES) {
            takes_more = write_once(conn);
            continue;
        }
        bool wants = tx->head && !tx->is_failed;
        if (wants == tx->wants_writable)
            break;
        /* Frames queued while this is armed or disarmed without the lock are seen in the next
         * round; armed, they are the next writer's. */
        tx->wants_writable = wants;
        dsm_mutex_unlock(&tx->lock);
        dsm_tcp_poll_want_writable(conn, wants);
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

void dsm_tcp_tx_free(struct dsm_tcp_conn *conn)
{
    while (conn->tx.chunks) {
        struct dsm_tcp_chunk *chunk = conn->tx.chunks;
        conn->tx.chunks = chunk->next;
        munmap(chunk, chunk->len_bytes);
    }
}
