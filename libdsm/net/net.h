/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net.h - the contract of the transports (tcp, rdma, and loop and faulty for tests).
 *
 * A transport moves frames between the ranks of one job: a 64-byte header and, where the header
 * says so, bytes. It knows nothing of pages; it reads len from the header (DSM_NET_LEN_AT) and
 * leaves the rest opaque. Order: first in, first out per (source, destination, lane), nothing else.
 *
 * Reading. Each connection is read by one thread at a time. The service thread's uv loop reads the
 * request lanes whenever they are readable and nobody has claimed them. A thread that waits calls
 * claim (the service thread is disarmed, so that it is not woken for what the waiter reads anyway),
 * then poll as often as it likes, which reads both lanes of all peers, then release (armed again:
 * nothing that arrived meanwhile is forgotten). Only one thread may hold the claim; the caller
 * arranges that. The reply lanes are read only under a claim, and once
 * more when the peer has ended.
 *
 * Memory: headers are copied by send. Payload given to send stays the caller's and must not change
 * until on_sent(cookie). Where received payload goes is decided by on_header, after the header is
 * known and before a byte is read.
 *
 * Landing. A transport that can write into a peer's memory (rdma; tcp, of ranks of one host) does
 * so in the one range told with set_memory, which has the same layout on all ranks. Whoever asks
 * for bytes hands out a key (landing) with the request; whoever answers gives it to send, and the
 * payload may be in the asker's memory, at the offset it has in the sender's, before the header is
 * heard of. So a key may only travel with a request that is under way and whose memory nobody else
 * uses until it is answered. For bytes that were written so, the transport calls on_header as for
 * any other, and at once on_payload when *dst_out is the very place they are in; NULL: the header
 * alone is passed over; any other place breaks the protocol. After a loss the keys that the lost
 * rank was given are worth nothing from on_lost on.
 *
 * Pinning. Memory that peers may write to is pinned, in pieces that are the transport's own choice.
 * The caller gives memory back with unpin; the transport lets a piece go when is_unused says that
 * nothing of it is wanted any more, and tells with on_unpinned. So landing, send and unpin are
 * called under one lock of the caller's, the one that is_unused takes: what it says must hold for
 * every key that landing gave before.
 *
 * Threads: send, flush, poll, claim, release, kick, landing, unpin: any thread, also in a signal
 * handler: no allocation (after a peer's first frame), no stdio, no lock that can be held while
 * user code runs (internal locks are taken with signals blocked or from the signal handler, and
 * held briefly). The rest: the thread that opened it, before the loop runs, or the loop's thread.
 */
#ifndef DSM_NET_NET_H
#define DSM_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define DSM_NET_HEADER_BYTES 64u
#define DSM_NET_LEN_AT       56u /* u32 little-endian: payload bytes that follow the header */
#define DSM_NET_MAX_PAYLOAD  65536u

struct dsm_net;

/* Callbacks run on the thread that reads (poll, or the service loop) or flushes; several threads
 * may run them at once for different connections. They may call send, not poll. */
struct dsm_net_handler {
    void *user;
    /*
     * A header has arrived from rank `from`. Sets *dst_out to where its payload goes (NULL: read
     * and throw away). *token_out is handed back to on_payload. Non-zero return: the peer broke the
     * protocol; the connection is closed and on_lost called.
     */
    int (*on_header)(void *user, uint32_t from, unsigned lane, const uint8_t *header,
                     void **dst_out, uint64_t *token_out);
    /* All payload bytes are in place. Not called for len 0, nor for what is thrown away, nor when
     * the peer is lost before all have come. */
    void (*on_payload)(void *user, uint32_t from, unsigned lane, const uint8_t *header,
                       uint64_t token);
    /* The last byte of a frame given to send has left this process, or never will. Not called from
     * within send. */
    void (*on_sent)(void *user, uint64_t cookie);
    /* The peer is gone, and all that came from it has been handed over: closed, reset, unreachable
     * or refused; why is one line with the numbers. Called once per peer, as the last callback that
     * names it and after every cookie given with a send to it; sends to it return DSM_E_PEER from
     * then on, or from a little earlier. */
    void (*on_lost)(void *user, uint32_t rank, int error, const char *why);
    /* End of one batch of the callbacks above but on_lost, made outside flush and close: a good
     * moment to flush what they sent. It always comes. */
    void (*on_batch_end)(void *user);
    /* How long the service thread should go on polling after a request, in nanoseconds; 0: sleep.
     */
    uint64_t (*service_spin_ns)(void *user);
    /*
     * On the loop's thread, of pieces of the memory (set_memory). is_unused: the caller keeps
     * nothing in any of it, has no request for it under way whose answer could be written there,
     * and sends nothing from it. on_unpinned: none of it is registered any more, so what is not
     * used in it may go back to the system now. NULL: what was registered stays so.
     */
    bool (*is_unused)(void *user, const void *addr, size_t len_bytes);
    void (*on_unpinned)(void *user, const void *addr, size_t len_bytes);
};

/* For rdma; zeros: what suits. */
struct dsm_net_rdma_config {
    const char *device; /* as ibv_devices lists them; NULL: the first with an address */
    uint32_t port;      /* 0: any */
    bool has_gid_index; /* else the first IPv4 one for RoCE v2 */
    uint32_t gid_index;
    uint32_t mtu;           /* bytes; 0: the port's */
    bool has_pin_max;       /* else what the limits and the memory allow */
    uint64_t pin_max_bytes; /* of the region; 0: none, all bytes are copied */
};

struct dsm_net_config {
    uint32_t self; /* UINT32_MAX: not known before set_peers */
    uint32_t n_ranks;
    uint32_t epoch;
    uint8_t token[16];        /* job token: in every hello, compared in constant time */
    const char *listen_host;  /* address to bind; NULL: 127.0.0.1 */
    const char *build;        /* version text: must be equal on both ends */
    uv_loop_t *loop;          /* the service thread's loop */
    double connect_timeout_s; /* 0: 10 */
    bool is_socket_only;      /* tcp: no memory shared with ranks of the same host */
    struct dsm_net_rdma_config rdma;
};

/* What a transport has done since it was opened; zero where it does not count. */
struct dsm_net_counters {
    uint64_t doorbells; /* posts of sends and writes, however many in one; tcp: calls that wrote */
    uint64_t work_requests; /* in them */
    uint64_t receives;      /* posts of receive buffers */
    /* tcp: calls that read something, by the lane; none of sends */
    uint64_t completions_request, completions_reply, completions_send;
    uint64_t wakes_request, wakes_reply, wakes_send; /* events taken by threads that slept */
    uint64_t landed;       /* frames received whose bytes had been written to their place */
    uint64_t eager;        /* frames sent whose bytes went through buffers */
    uint64_t credits;      /* messages sent only to tell credits */
    uint64_t pinned_bytes; /* of the region, now */
    uint64_t unpinned;     /* pieces of the region that were let go */
    uint64_t shared;       /* tcp: connections made whose frames go through memory */
    uint64_t bells;        /* tcp: bytes sent only to wake a peer of these */
};

struct dsm_net_ops {
    const char *name;
    /* It reaches ranks in the network of its own address only, as far as anybody can tell before a
     * connection is made: "auto" takes it when all ranks are in one. */
    bool same_network;
    /* Whether this machine and this build have it at all; why not, in one line. */
    int (*probe)(char *why, size_t why_bytes);
    int (*open)(const struct dsm_net_config *config, const struct dsm_net_handler *handler,
                struct dsm_net **net_out);
    /* The address that peers connect to ("127.0.0.1:40123"), for dsmd to hand out. */
    int (*address)(struct dsm_net *net, char *out, size_t out_bytes);
    /* Who we are, and addresses[n_ranks], copied; once. Connections are made lazily, at the first
     * send; those of peers that come earlier wait. Errors: INVAL. */
    int (*set_peers)(struct dsm_net *net, uint32_t self, const char *const *addresses);
    /* The memory that bytes may be written into by peers, told once, before the first send and
     * before the loop runs. fd: the file of which it is a shared mapping from the start on, open
     * until close; -1: none, or a peer that is declared lost must not be able to write to it any
     * more, which a mapping of the file cannot be kept from.
     * most_bytes: how much of it the transport may come to hold in memory on its own account,
     * registered and otherwise unused; UINT64_MAX: as it likes. *pinned_out: how much it may be.
     * NULL op: the transport cannot. Errors: SYSTEM, NOMEM. */
    int (*set_memory)(struct dsm_net *net, void *memory, size_t len_bytes, int fd,
                      uint64_t most_bytes, uint64_t *pinned_out);
    /* A key with which a peer may write [addr, addr + len_bytes) of the memory, for a request that
     * is about to be sent; 0: none, the bytes travel behind their header: not registered (yet: the
     * loop's thread is asked to), or more than one registered piece. Any thread, also in a signal
     * handler. NULL op: always 0. */
    uint32_t (*landing)(struct dsm_net *net, const void *addr, size_t len_bytes);
    /* Before memory is given back to the system: how many bytes from addr on, at most len_bytes
     * (more than 0), are alike. *is_free_out true: none of them is registered. False: all are, and
     * what a peer writes into a hole punched there would vanish: the caller keeps the memory and
     * clears it, and hears from on_unpinned when it can be given back after all. Any thread, also
     * in a signal handler. NULL op: all is free. */
    size_t (*unpin)(struct dsm_net *net, const void *addr, size_t len_bytes, bool *is_free_out);
    /*
     * Queues one frame: header (64 bytes, len at DSM_NET_LEN_AT) and its payload. Never blocks.
     * cookie 0: the payload, at most 4096 bytes, is copied now and there is no on_sent. Any other
     * cookie is reported through on_sent exactly once, also when the peer is lost and for len 0; a
     * send that fails reports nothing.
     * key: what `to` handed out with landing; then the payload lies in our memory and may be
     * written to the same offset of the peer's, before the header. 0: it follows the header. A
     * transport without landing ignores it.
     * To a peer that is not connected yet: queued, and the loop's thread connects.
     * Errors: PEER (lost), NOMEM (queue bound reached), INVAL.
     */
    int (*send)(struct dsm_net *net, uint32_t to, unsigned lane, const uint8_t *header,
                const void *payload, uint64_t cookie, uint32_t key);
    /* Writes what is queued, as far as the sockets take it; the rest goes out when they are
     * writable again. Runs on_sent, so not with a lock held that on_sent takes. A frame that
     * another thread is writing just now goes out with that thread. */
    void (*flush)(struct dsm_net *net);
    void (*claim)(struct dsm_net *net);
    void (*release)(struct dsm_net *net);
    /* Reads what is there on both lanes of all peers. Waits at most timeout_us for something to be
     * there (0: looks; -1: until something comes or kick). Returns the number of frames handled;
     * also 0 before the time is up. Under a claim. */
    int (*poll)(struct dsm_net *net, int64_t timeout_us);
    /* Makes a poll that waits return; if none does, the next. */
    void (*kick)(struct dsm_net *net);
    /* A descriptor that is readable when poll would find something (for epoll by others); to be
     * asked for before each sleep on it. It may be readable for nothing: a poll that waits mends
     * that. */
    int (*poll_fd)(struct dsm_net *net);
    /* The peer left the job in good order: its closing connection is not a loss. Any thread, also
     * from on_header of the farewell. */
    void (*peer_left)(struct dsm_net *net, uint32_t rank);
    /* The rank is no member any more, whatever its connections say: they end now, and on_lost comes
     * as for any loss, here or soon, if it has not come yet. Nothing that the rank sends or writes
     * from now on arrives (once on_lost has come). False: there is no on_lost, because it had left
     * in good order. On the loop's thread. */
    bool (*expel)(struct dsm_net *net, uint32_t rank, const char *why);
    /* Is the peer connected, or do frames to it wait for a connection? A farewell to any other
     * would only make one. Any thread. */
    bool (*is_connected)(struct dsm_net *net, uint32_t rank);
    /* NULL op: nobody counts. Any thread. */
    void (*counters)(struct dsm_net *net, struct dsm_net_counters *out);
    /* Waits until what is queued has reached its peers, at most a second; hands back every cookie,
     * closes every connection and the listener; no callback after it returns, and no other thread
     * may be using net. On the loop's thread, or after the loop has ended; the memory goes when the
     * loop has run once more (its handles are closing), as it must before uv_loop_close. */
    void (*close)(struct dsm_net *net);
};

extern const struct dsm_net_ops dsm_net_tcp;

extern const struct dsm_net_ops dsm_net_rdma;

#define DSM_NET_MAX_TRANSPORTS 2u

/*
 * The transports of this build that a rank may use, the best first. name: "auto" or NULL for all,
 * or one of "rdma" and "tcp"; any other is DSM_E_INVAL, and why says what is allowed.
 */
int dsm_net_list(const char *name, const struct dsm_net_ops *ops_out[DSM_NET_MAX_TRANSPORTS],
                 size_t *n_out, char *why, size_t why_bytes);
/* The network of the interface that has the address in "ip:port" ("10.77.0.0/24"); "" where no
 * interface of this machine has it. */
void dsm_net_network_of(const char *address, char *out, size_t out_bytes);

#endif
