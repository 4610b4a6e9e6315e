/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma.h - what the files of the rdma transport share.
 *
 *   rdma.c          the table; open, close, counters
 *   rdma_device.c   which device, port and address; what exists when one does not
 *   rdma_plan.c     how large everything is for so many ranks
 *   rdma_memory.c   buffers, protection domain, what may be pinned
 *   rdma_region.c   chunks of the region that peers may write: keys
 *   rdma_cm.c       rdma_cm events: listening, links, their queue pairs
 *   rdma_hello.c    who may talk to whom; two that connect at once
 *   rdma_peer.c     a peer up, lost, gone; what other threads ask of the loop's thread
 *   rdma_tx.c       the send queue of a connection, and send completions
 *   rdma_rx.c       what arrives on a lane
 *   rdma_poll.c     who reads when: events of completion queues, claim and release, the service
 * loop
 *
 * A link is one rdma_cm connection and two reliable queue pairs, one for each lane; both ends send
 * and receive a lane on the same pair. rdma_cm moves the addresses of the first pair; the second
 * one's are in the private data. The first messages are the hello and its answer.
 *
 * All queue pairs of a lane receive from one shared queue and complete into one completion queue,
 * so that a reader looks at two places however many peers there are. Sends of both lanes complete
 * into a third.
 *
 * A message is a word of the transport (DSM_RDMA_WORD_BYTES), and then a frame's header with the
 * first bytes of its payload, or more bytes of the frame before, or nothing. Where the receiver
 * handed out a key for the bytes, they are written straight to their place with the message behind
 * them in the same post.
 *
 * Credits. A sender may have as many messages under way as the receiver has set buffers aside for
 * it, so a shared receive queue never runs dry. Every message tells how many of each lane its
 * sender has handled. Told is what went out on the request lane, which somebody always reads, and
 * what a message on the reply lane said once the peer has told that it handled that one: so whoever
 * only answers needs no more than its answers. When half a peer's credits have come together
 * untold, a message on the request lane tells. Those need no credit: at most two for each lane can
 * be under way, since each stands for half of all credits, and buffers are set aside for them.
 *
 * Locks: a lane's lock says who reads it, and is held over the callbacks. A connection's tx lock
 * guards its queue and its queue pair's send side. Order: lane, then what the callbacks take,
 * then tx; the send completions' lock, then tx; the buffers' lock innermost.
 *
 * Links come, go and change on the loop's thread alone. Whoever else finds a peer broken says why
 * and asks the loop's thread to take it down.
 */
#ifndef DSM_NET_RDMA_H
#define DSM_NET_RDMA_H

#include "base/mutex.h"
#include "net/chores.h"
#include "net/frame_queue.h"
#include "net/hello.h"
#include "net/net.h"
#include "net/rdma_plan.h"
#include <infiniband/verbs.h>
#include <pthread.h>
#include <rdma/rdma_cma.h>
#include <stdatomic.h>

enum { DSM_RDMA_REQUEST, DSM_RDMA_REPLY };

#define DSM_RDMA_WHY_BYTES 300

/* What a message is. The word: kind u8 at 0, messages handled u32 at 4 (request lane) and 8 (reply
 * lane), offset of the bytes written u64 at 16 (LANDED). */
enum dsm_rdma_kind {
    DSM_RDMA_HELLO = 1,
    DSM_RDMA_ANSWER,
    DSM_RDMA_READY,  /* the one that connected has seen the answer: the other may send now */
    DSM_RDMA_FRAME,  /* header, payload behind it */
    DSM_RDMA_PART,   /* more of the payload */
    DSM_RDMA_LANDED, /* header; the payload has been written to its place */
    DSM_RDMA_CREDIT,
};

/* Completions of one queue and the events that announce them. */
#define DSM_RDMA_BATCH 8
struct dsm_rdma_cq {
    struct ibv_cq *cq;
    struct ibv_comp_channel *channel;
    struct dsm_mutex lock; /* who takes completions out */
    /* One event is due or lies in the channel. Cleared by whoever takes it, who sees to it that the
     * queue is armed again or watched. */
    atomic_bool is_armed;
    atomic_uint n_events; /* taken, to be acknowledged before the queue goes */
    /* Taken out by who only had to know whether there is something. */
    struct ibv_wc stash[DSM_RDMA_BATCH];
    atomic_int n_stashed;
    struct ibv_wc taken[DSM_RDMA_BATCH]; /* by the holder of the lock; not on a handler's stack */
    atomic_ullong n_completions;
};

struct dsm_rdma_peer;
struct dsm_rdma_link;

#define DSM_RDMA_AGAIN (2 * DSM_RDMA_BATCH) /* fewer than a batch kept back, and a batch */
struct dsm_rdma_lane {
    struct dsm_rdma_cq cq;
    struct ibv_srq *srq;
    uint32_t n_posted; /* buffers of this lane; the loop's thread */
    /* Read, and to be handed to the card again several at a time; under the queue's lock. */
    struct dsm_rdma_buffer *again[DSM_RDMA_AGAIN];
    unsigned n_again;
    struct ibv_recv_wr wr[DSM_RDMA_AGAIN];
    struct ibv_sge sge[DSM_RDMA_AGAIN];
    bool is_due;                                 /* one of them took no credit */
    struct dsm_rdma_peer *heard[DSM_RDMA_AGAIN]; /* whose they were */
    unsigned n_heard;
};

/* A message under way, in the order of posting. */
struct dsm_rdma_posted {
    uint64_t cookie;
    struct dsm_rdma_buffer *buffer;
    uint8_t n_requests;
    bool is_signalled;
};

/* What is filled in for one post; a connection's own, as a signal handler's stack is small. */
#define DSM_RDMA_CHAIN 16
struct dsm_rdma_scratch {
    struct ibv_send_wr wr[DSM_RDMA_CHAIN];
    struct ibv_sge sge[DSM_RDMA_CHAIN];
    uint8_t head[DSM_RDMA_CHAIN][DSM_RDMA_HEAD_BYTES];
};

struct dsm_rdma_tx {
    struct dsm_mutex lock;
    struct ibv_qp *qp;  /* NULL: not up */
    bool is_ending;     /* nothing is taken any more */
    bool is_credit_due; /* a message that tells credits waits for room */
    bool is_starved;    /* the head waits for room or a buffer: goes on with a completion */
    atomic_bool waits_for_credit;
    struct dsm_frame_queue queue;
    uint32_t head_sent_bytes;   /* of the head frame's payload */
    bool head_is_begun;         /* its header has been sent */
    _Atomic uint32_t n_sent;    /* messages that take a credit; counted before they are posted */
    _Atomic uint32_t n_handled; /* of them, by the peer */
    uint32_t credits;
    uint32_t requests_left; /* of the send queue */
    uint32_t n_unsignalled;
    struct dsm_rdma_posted *posted; /* a ring of net->depth */
    uint32_t posted_head, posted_tail;
    struct dsm_rdma_scratch *scratch;
    uint64_t n_frames;
};

struct dsm_rdma_rx {
    bool is_broken;        /* nothing that comes is believed */
    uint32_t payload_left; /* of the current frame */
    uint8_t *dst;
    uint64_t token;
    uint64_t n_messages;
    uint32_t n_taken;           /* messages that took a credit */
    _Atomic uint32_t n_handled; /* of them, whose buffers are with the card again */
    _Atomic uint32_t n_told;    /* of those, what the peer knows or will have read; only grows */
    uint8_t header[DSM_NET_HEADER_BYTES];
};

struct dsm_rdma_conn {
    struct dsm_net *net;
    struct dsm_rdma_peer *peer;
    unsigned lane;
    atomic_bool is_dirty;
    struct dsm_rdma_conn *next_dirty;
    struct dsm_rdma_tx tx;
    struct dsm_rdma_rx rx; /* under the lane's lock */
};

/* What a message on the reply lane told of both lanes, until the peer is known to have handled it:
 * nobody may be reading that lane. Under the reply connection's tx lock. */
struct dsm_rdma_told {
    atomic_bool is_pending;
    _Atomic uint32_t n_sent; /* handled, when so many of that lane's messages are */
    uint32_t n_handled[DSM_RDMA_LANES];
};

/*
 * How far the connection to a peer is. Only the loop's thread changes it.
 *
 *   NONE ---> CONNECTING ---> UP
 *    |  ^       |   ^          ^
 *    |  |       v   |          |
 *    |  |      YIELDED         |
 *    v                         |
 *   (the peer's hello) --------+
 */
enum dsm_rdma_peer_state {
    DSM_RDMA_NONE,
    DSM_RDMA_CONNECTING, /* our attempt runs */
    DSM_RDMA_YIELDED,    /* ours was refused because the peer's runs and counts */
    DSM_RDMA_UP,
};

/* What other threads ask of the loop's thread about a peer, a set of bits. */
enum {
    DSM_RDMA_CHORE_CONNECT = 1 << 0,
    DSM_RDMA_CHORE_LOSE = 1 << 1,
};

struct dsm_rdma_peer {
    uint32_t rank;
    /* The loop's thread alone: */
    enum dsm_rdma_peer_state state;
    struct sockaddr_in address;
    uint64_t attempt;
    bool is_ours;
    uint64_t deadline_ns;
    struct dsm_rdma_link *link;
    bool has_ended;
    bool was_told; /* by on_lost */

    uint64_t memory; /* where it is mapped there */
    uint64_t memory_bytes;
    atomic_bool is_wanted;
    struct dsm_chore chore;
    atomic_bool has_left;
    struct dsm_mutex why_lock;
    atomic_bool is_losing; /* changed with what is said about it */
    int error;
    char why[DSM_RDMA_WHY_BYTES];
    struct dsm_rdma_conn conns[DSM_RDMA_LANES];
    struct dsm_rdma_told told;
};

/*
 * A link on its way to be a peer's connection, and then that.
 *
 *   RESOLVING -> ROUTING -> CONNECTING -> AWAITS_ANSWER --> UP
 *                           ACCEPTING --> AWAITS_HELLO ---> UP
 */
enum dsm_rdma_link_state {
    DSM_RDMA_LINK_RESOLVING,
    DSM_RDMA_LINK_ROUTING,
    DSM_RDMA_LINK_CONNECTING,
    DSM_RDMA_LINK_ACCEPTING,
    DSM_RDMA_LINK_AWAITS_ANSWER,
    DSM_RDMA_LINK_AWAITS_HELLO,
    DSM_RDMA_LINK_REFUSED, /* the answer is on its way out; the other end hangs up */
    DSM_RDMA_LINK_UP,
};

/* What a message on a link is taken for. */
enum dsm_rdma_mail { DSM_RDMA_MAIL_NONE, DSM_RDMA_MAIL_AWAITED, DSM_RDMA_MAIL_FRAMES };

struct dsm_rdma_qp {
    struct ibv_qp *qp;
    struct dsm_rdma_link *link;
    unsigned lane;
    uint32_t number;
    bool is_in_table;
    struct dsm_rdma_qp *next; /* in the table by number */
};

struct dsm_rdma_link {
    struct dsm_net *net;
    struct rdma_cm_id *id;
    struct dsm_rdma_qp qps[DSM_RDMA_LANES];
    uint32_t psn; /* of the second pair */
    uint8_t mtu;  /* of both ends */
    bool is_ours;
    bool is_connected;
    enum dsm_rdma_link_state state;
    struct dsm_rdma_peer *peer;
    uint64_t deadline_ns;
    struct dsm_rdma_buffer *said[2]; /* until they are out; under the sends' lock */
    atomic_int mail_state;
    _Atomic(struct dsm_rdma_buffer *) mail;
    atomic_bool has_spoken_too_much;
    char who[80];
    struct dsm_rdma_link *next;
};

/* In the number of a work request: a link, with its place in said << 1; else a connection. */
#define DSM_RDMA_SAID 1u

/*
 * A piece of the region that is registered as a whole.
 *
 *   asked for ---> registered ---> given back (a part of it) ---> not used ---> let go
 */
struct dsm_rdma_chunk {
    _Atomic uint32_t rkey; /* 0: none */
    _Atomic uint32_t lkey;
    atomic_bool is_asked; /* from when somebody asks until it is let go */
    atomic_bool is_given_back;
    uint32_t next_asked, next_given_back; /* in their lists; index + 1 */
    uint32_t n_losses;                    /* when it was registered; the loop's thread */
    struct ibv_mr *mr;
};

struct dsm_rdma_region {
    uint8_t *memory;
    uint64_t len_bytes;
    uint64_t n_chunks;
    struct dsm_rdma_chunk *chunks;
    _Atomic uint32_t asked;      /* list of chunks to register; index + 1 */
    _Atomic uint32_t given_back; /* list of chunks to look at: perhaps they are not used any more */
    uint64_t pin_max_bytes;
    bool has_pin_max; /* somebody has said so */
    _Atomic uint64_t pinned_bytes;
    atomic_bool is_full;
    bool was_full;     /* and has been told */
    uint32_t n_losses; /* peers that were lost */
    _Atomic uint64_t n_unpinned;
    struct ibv_mr *on_demand; /* all of it, where the device pages by itself */
};

/* The device and the address that were chosen. */
struct dsm_rdma_place {
    char device[IBV_SYSFS_NAME_MAX];
    uint32_t port;
    uint32_t gid_index;
    enum ibv_mtu mtu;
    struct sockaddr_in address;
};

struct dsm_net {
    struct dsm_net_handler handler;
    uint32_t self;
    uint32_t n_ranks;
    uint32_t epoch;
    uint8_t token[16];
    char *build;
    uint64_t connect_timeout_ns;
    uv_loop_t *loop;
    struct dsm_rdma_peer *peers;
    char address[96];
    uint64_t rng;

    struct dsm_rdma_place place;
    struct ibv_context *verbs; /* librdmacm's */
    struct ibv_device_attr attr;
    struct dsm_rdma_plan plan;
    struct ibv_pd *pd;
    struct dsm_rdma_lane lanes[DSM_RDMA_LANES];
    struct dsm_rdma_cq sends;
    uint32_t depth;        /* of a send queue, in work requests */
    uint32_t inline_bytes; /* that a queue pair sends without a buffer */
    uint32_t credits;      /* that each peer gets from us, for each lane */
    struct dsm_rdma_region region;

    struct dsm_mutex buffers_lock;
    struct dsm_rdma_buffer *free_buffers; /* to send from */
    uint32_t n_free_buffers;
    struct dsm_rdma_slab *slabs;
    atomic_bool is_short_of_buffers;

    /* Links. */
    struct rdma_event_channel *cm;
    struct rdma_cm_id *listener;
    struct dsm_rdma_link *links;
    struct dsm_rdma_qp **by_qp; /* both lanes' locks to change, one to read */
    uint32_t by_qp_mask;
    uint32_t n_strangers;
    struct dsm_refusals refusals;

    /* Reading (rdma_poll.c). */
    int service_fd; /* epoll: events of requests and sends, and a wake-up of our own */
    int gate_fd;    /* epoll over service_fd alone: what the loop watches */
    int poll_fd;    /* epoll: events of all three queues, and the kick */
    int kick_fd;
    int wake_fd;
    int device_fd;
    atomic_bool is_claimed;
    atomic_bool is_serving;
    atomic_bool may_sleep; /* the claim holder: its queues are armed, and it no longer looks */
    atomic_bool is_kicked;
    atomic_bool is_owed_a_look; /* whoever has the claim, or gives it back */
    atomic_uint n_awaited;      /* completions of sends that somebody must see */

    _Atomic(struct dsm_rdma_conn *) dirty;
    struct dsm_chores chores;
    atomic_bool has_mail;

    uv_poll_t gate_watch;
    uv_poll_t cm_watch;
    uv_poll_t device_watch;
    unsigned n_handles;
    bool is_closing;
    bool has_peers;      /* their addresses */
    uint32_t n_admitted; /* peers that had buffers set aside for them; they keep them */

    atomic_ullong n_doorbells, n_requests, n_receives, n_wakes[3], n_landed, n_eager,
        n_credit_messages;
};

/*
 * Registers memory. Not with ibv_reg_mr: the library has one of its own in front of libibverbs's,
 * and in a program linked with libibverbs first, our calls of that name would find the oldest
 * version.
 */
static inline struct ibv_mr *dsm_rdma_register(struct ibv_pd *pd, void *addr, size_t len_bytes,
                                               unsigned access)
{
    return (ibv_reg_mr_iova)(pd, addr, len_bytes, (uintptr_t)addr, (int)access);
}

/* ibv calls may be system calls that are cancellation points; a cancelled thread that faults would
 * be unwound out of the signal handler. */
static inline int dsm_rdma_enter(void)
{
    int before;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

static inline void dsm_rdma_leave(int before)
{
    int ours;
    (void)pthread_setcancelstate(before, &ours);
}

/* rdma_device.c */
int dsm_rdma_probe(char *why, size_t why_bytes);
/* Errors: INVAL, UNSUPPORTED; says what exists. */
int dsm_rdma_place_choose(const struct dsm_net_rdma_config *config, const char *listen_host,
                          struct dsm_rdma_place *out);
uint32_t dsm_rdma_mtu_bytes(enum ibv_mtu mtu);

/* rdma_memory.c */
int dsm_rdma_memory_open(struct dsm_net *net, const struct dsm_net_rdma_config *config);
void dsm_rdma_memory_close(struct dsm_net *net);
/* More receive buffers for a peer that comes; the loop's thread. */
int dsm_rdma_memory_admit(struct dsm_net *net, uint32_t n_peers);
struct dsm_rdma_buffer *dsm_rdma_buffer_take(struct dsm_net *net);
/* For a hello: some are kept from frames. */
struct dsm_rdma_buffer *dsm_rdma_buffer_take_kept(struct dsm_net *net);
void dsm_rdma_buffer_give(struct dsm_net *net, struct dsm_rdma_buffer *buffer);
/* Up to DSM_RDMA_AGAIN. */
/* (lane's lock held) At most DSM_RDMA_AGAIN buffers to the card. */
void dsm_rdma_receive_again(struct dsm_rdma_lane *lane, struct dsm_rdma_buffer **buffers, int n);
/* The same with one, and without the lock. */
void dsm_rdma_receive_one(struct dsm_rdma_lane *lane, struct dsm_rdma_buffer *buffer);

/* rdma_region.c */
int dsm_rdma_region_set(struct dsm_net *net, void *memory, size_t len_bytes, int fd,
                        uint64_t most_bytes, uint64_t *pinned_out);
uint32_t dsm_rdma_landing(struct dsm_net *net, const void *addr, size_t len_bytes);
size_t dsm_rdma_unpin(struct dsm_net *net, const void *addr, size_t len_bytes, bool *is_free_out);
/* The local key of bytes that are to be written to a peer, or 0, and then for the next time. */
uint32_t dsm_rdma_source(struct dsm_net *net, const void *addr, size_t len_bytes);
void dsm_rdma_region_ask(struct dsm_net *net, const void *addr);
/* The loop's thread: registers some of what was asked for, and lets go of some of what was given
 * back. True: there is more. */
bool dsm_rdma_region_work(struct dsm_net *net);
/* A request may have been given up with a peer that is gone, and its key be with another one that
 * lives: what is registered now stays so. */
void dsm_rdma_region_note_loss(struct dsm_net *net);
void dsm_rdma_region_close(struct dsm_net *net);

/* rdma_cm.c */
int dsm_rdma_cm_open(struct dsm_net *net);
int dsm_rdma_cm_start(struct dsm_net *net);
void dsm_rdma_cm_close(struct dsm_net *net);
void dsm_rdma_link_connect(struct dsm_rdma_peer *peer);
/* Takes its queue pairs down; what had arrived has been handed over, what was posted is void. */
void dsm_rdma_link_quiesce(struct dsm_rdma_link *link);
void dsm_rdma_link_close(struct dsm_rdma_link *link);
/* (a lane's lock held) NULL: a queue pair that is gone. */
struct dsm_rdma_qp *dsm_rdma_qp_find(struct dsm_net *net, uint32_t number);
/* Closing: takes events, of which only ends matter. */
void dsm_rdma_cm_drain(struct dsm_net *net);
/* The loop's thread: the device says that a queue pair is of no use any more. */
void dsm_rdma_qp_failed(struct dsm_net *net, uint32_t number, const char *why);
/* Lets the peer write to our memory. */
int dsm_rdma_link_trust(struct dsm_rdma_link *link);

/* rdma_hello.c */
void dsm_rdma_hello_say(struct dsm_rdma_link *link);
void dsm_rdma_hello_mail(struct dsm_net *net);
void dsm_rdma_hello_broken(struct dsm_rdma_link *link, int error, const char *why);

/* rdma_peer.c */
int dsm_rdma_chore_open(struct dsm_net *net);
void dsm_rdma_peer_init(struct dsm_net *net, struct dsm_rdma_peer *peer, uint32_t rank);
void dsm_rdma_peer_free(struct dsm_rdma_peer *peer);
/* IPv4 alone. Errors: INVAL. */
int dsm_rdma_peer_set_address(struct dsm_rdma_peer *peer, const char *text);
/* The other's hello has been accepted: what it sends from now on are frames. */
int dsm_rdma_peer_up(struct dsm_rdma_peer *peer, struct dsm_rdma_link *link,
                     const struct dsm_hello *hello);
void dsm_rdma_peer_connect(struct dsm_rdma_peer *peer);
/* Any thread: says why, and asks the loop's thread to end the peer. The first call decides. */
void dsm_rdma_peer_break(struct dsm_rdma_peer *peer, int error, const char *why);
/* The loop's thread: ends it now. */
void dsm_rdma_peer_end(struct dsm_rdma_peer *peer, bool is_quiet);
/* As net.h says. */
bool dsm_rdma_expel(struct dsm_net *net, uint32_t rank, const char *why);
void dsm_rdma_peer_fail(struct dsm_rdma_peer *peer, int error, const char *why);
const char *dsm_rdma_lane_name(unsigned lane);
/* Every peer is lost. */
void dsm_rdma_device_gone(struct dsm_net *net, const char *why);

/* rdma_tx.c */
int dsm_rdma_send(struct dsm_net *net, uint32_t to, unsigned lane, const uint8_t *header,
                  const void *payload, uint64_t cookie, uint32_t key);
void dsm_rdma_flush(struct dsm_net *net);
/* Without arming anything: for who goes on looking. */
void dsm_rdma_tx_flush(struct dsm_net *net);
void dsm_rdma_tx_up(struct dsm_rdma_conn *conn, struct ibv_qp *qp);
void dsm_rdma_tx_dirty(struct dsm_rdma_conn *conn);
void dsm_rdma_tx_tell(struct dsm_rdma_peer *peer);
/* What the peer has handled, as it told. False: more than it was sent. */
bool dsm_rdma_tx_credit(struct dsm_rdma_conn *conn, uint32_t n_handled);
/* Hands back every cookie; nothing is posted or queued any more. */
void dsm_rdma_tx_drain(struct dsm_rdma_conn *conn);
/* Takes completions of sends; runs on_sent. True: there were some. */
bool dsm_rdma_reap(struct dsm_net *net, bool may_wait);
/* Nothing is posted from now on. */
void dsm_rdma_tx_down(struct dsm_rdma_conn *conn);
/* Has all that was queued reached the peer, or is there nobody to get it? */
bool dsm_rdma_tx_is_out(struct dsm_rdma_conn *conn);

/* Who reads, and what happens when another thread reads the lane already. */
enum dsm_rdma_reader {
    DSM_RDMA_LOOK,   /* leaves it to that one */
    DSM_RDMA_WAIT,   /* waits for that one */
    DSM_RDMA_SERVE,  /* waits as well; the service thread: stops once the reading is claimed */
    DSM_RDMA_FORGET, /* closing: what comes is thrown away */
};

/* rdma_rx.c: reads what is there, within a bound; the number of frames handled. */
int dsm_rdma_rx_read(struct dsm_net *net, unsigned lane, enum dsm_rdma_reader reader);
/* Both lanes to the end, on the loop's thread, whoever has the claim: a peer has ended. */
void dsm_rdma_read_all(struct dsm_net *net);

/* rdma_poll.c */
int dsm_rdma_poll_open(struct dsm_net *net);
int dsm_rdma_poll_watch(struct dsm_net *net);
void dsm_rdma_poll_close(struct dsm_net *net);
int dsm_rdma_cq_open(struct dsm_net *net, struct dsm_rdma_cq *cq, uint32_t n_entries);
void dsm_rdma_cq_close(struct dsm_rdma_cq *cq);
/* (locked) */
int dsm_rdma_cq_take(struct dsm_rdma_cq *cq, struct ibv_wc *wc);
/* Arms the sends' queue unless somebody looks at it; the caller looks once more if true. */
bool dsm_rdma_watch_sends(struct dsm_net *net);
void dsm_rdma_claim(struct dsm_net *net);
void dsm_rdma_release(struct dsm_net *net);
int dsm_rdma_poll(struct dsm_net *net, int64_t timeout_us);
void dsm_rdma_kick(struct dsm_net *net);
/* Closing: sleeps until something may have come on any queue, or from rdma_cm. */
void dsm_rdma_await_any(struct dsm_net *net, int timeout_ms);
int dsm_rdma_poll_fd(struct dsm_net *net);
void dsm_rdma_serve(struct dsm_net *net);

#endif
