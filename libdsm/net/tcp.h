/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp.h - what the files of the tcp transport share.
 *
 *   tcp.c          the table; open, close, addresses
 *   tcp_listen.c   the listener
 *   tcp_connect.c  attempts and hellos
 *   tcp_chore.c    chores of the loop's thread; deadlines
 *   tcp_conn.c     a connection's life: up, its end, loss of a peer
 *   tcp_tx.c       the send queue of a connection
 *   tcp_rx.c       the receive state of a connection
 *   tcp_poll.c     who reads when: the epoll sets, claim and release, the service loop
 *   tcp_shm.c      frames through memory instead, between ranks of one host
 *   tcp_bell.c     how these wake each other
 *   tcp_landing.c  and their bytes straight to where they belong
 *
 * A connection carries one lane each way: what we send as requests comes in at the peer as
 * requests, and what comes back on the same socket are the peer's replies. A fault's answer so
 * travels with the kernel's acknowledgement of the request; on a socket for each lane the kernel
 * sends those as packets of their own, which made a round trip half as long again. Towards a peer
 * there are two, named by the lane that we send on: [request] brings replies, [reply] brings
 * requests.
 *
 * Locks. A connection has two: tx.lock guards its send queue and is held for list work alone, never
 * over a call to the socket nor over a callback; rx.lock says who reads and is held over
 * the callbacks. Order: rx.lock, then what the callbacks take, then tx.lock.
 *
 * End of a connection. Its two halves, reading and writing, are each ended by whoever uses it then,
 * or by who asks for the end when nobody does. The one that ends the last half closes the socket,
 * and with the last connection of a peer reports the loss. So no callback about a peer comes after
 * on_lost, every cookie has been handed back by then, and no thread uses a number of a closed
 * descriptor.
 */
#ifndef DSM_NET_TCP_H
#define DSM_NET_TCP_H

#include "base/mutex.h"
#include "net/chores.h"
#include "net/frame_queue.h"
#include "net/hello.h"
#include "net/net.h"
#include "net/shm.h"
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Connections to a peer, as many as lanes. */
#define DSM_TCP_LANES 2
enum { DSM_TCP_REQUEST, DSM_TCP_REPLY };
/* Frames gathered into one sendmsg. Bounded by IOV_MAX / 2; more brings no speed. */
#define DSM_TCP_GATHER 64
/*
 * Bytes read beyond what has a known place: the next headers, and with them the beginning of a
 * payload, which is then copied. With room for a header and a page, a whole grant comes with one
 * system call, and copying 4 KiB inside the cache costs less than a second call. The second
 * header's room makes that a short read, which tells that the socket is empty without another call.
 */
#define DSM_TCP_STAGE_BYTES (2 * DSM_NET_HEADER_BYTES + 4096u)
#define DSM_TCP_WHY_BYTES   300

struct dsm_tcp_peer;
struct dsm_tcp_memory;

/* What a connection needs once it is up; 6.6 KiB that unconnected peers do not cost. */
struct dsm_tcp_buffers {
    struct iovec iov[2 * DSM_TCP_GATHER]; /* the writer's */
    uint64_t cookies[DSM_TCP_GATHER];     /* the writer's */
    uint8_t stage[DSM_TCP_STAGE_BYTES];   /* the reader's */
};

/* What a writer that has more than is taken waits for. */
enum dsm_tcp_room {
    DSM_TCP_ROOM_UNWANTED,
    DSM_TCP_ROOM_SOCKET, /* EPOLLOUT; with shared memory, where the ring has room: another turn */
    DSM_TCP_ROOM_BELL,   /* a bell from the reader of the ring */
};

struct dsm_tcp_tx {
    struct dsm_mutex lock;
    /* A thread writes: it alone uses the socket and the buffers, and removes from the head. Who
     * finds it set leaves the frames to it. */
    bool is_writing;
    bool is_up;             /* the socket may be written */
    bool is_failed;         /* a write failed: no more until the reading side finds the end */
    bool is_ending;         /* nothing is taken any more */
    bool has_news;          /* somebody else wanted to write meanwhile: after a bell, perhaps */
    enum dsm_tcp_room room; /* the writer's */
    int write_errno;
    struct dsm_frame_queue queue;
    uint32_t head_sent_bytes; /* of the head frame, header included */
    uint64_t sent_bytes;
};

struct dsm_tcp_rx {
    struct dsm_mutex lock;
    bool is_up;
    bool is_ended;
    uint32_t stage_start;
    uint32_t stage_end;
    uint32_t payload_left; /* bytes of the current frame's payload still to come; 0: at a header */
    uint8_t *dst;          /* where the next of them goes; NULL: nowhere */
    uint64_t token;
    uint64_t received_bytes;
    uint8_t header[DSM_NET_HEADER_BYTES];
};

struct dsm_tcp_conn {
    struct dsm_net *net;
    struct dsm_tcp_peer *peer;
    unsigned tx_lane;    /* its place in peer->conns */
    unsigned rx_lane;    /* the other one */
    int fd;              /* -1 before; set before the halves are up, closed when both have ended */
    struct dsm_shm *shm; /* carries the frames; NULL: the socket does. Freed with the transport */
    int bell_fd;         /* the peer's pipe for tx_lane; -1: the socket has to do */
    struct dsm_tcp_conn *next_shared;
    atomic_bool is_ending;
    atomic_int halves_left;
    /* The list of connections to flush. */
    atomic_bool is_dirty;
    struct dsm_tcp_conn *next_dirty;
    struct dsm_tcp_buffers *buffers; /* set before the halves are up */
    struct dsm_tcp_tx tx;
    struct dsm_tcp_rx rx;
};

/*
 * How far the connection to a peer is. Only the loop's thread changes it.
 *
 *   NONE ---> CONNECTING ---> UP
 *    |  ^       |   ^          ^
 *    |  |       v   |          |
 *    |  |      YIELDED         |
 *    v  |       v              |
 *   ACCEPTING -----------------+
 */
enum dsm_tcp_link_state {
    DSM_TCP_NONE,
    DSM_TCP_CONNECTING, /* our attempt runs */
    DSM_TCP_YIELDED,    /* ours was refused because the peer's runs and counts */
    DSM_TCP_ACCEPTING,  /* the peer's attempt has one connection */
    DSM_TCP_UP,
};

/* Whether a peer ends, and whether that is a loss. */
enum dsm_tcp_ending { DSM_TCP_LIVE, DSM_TCP_LOSING, DSM_TCP_QUIET };

/* What other threads ask of the loop's thread, a set of bits. */
enum {
    DSM_TCP_CHORE_CONNECT = 1 << 0,
    DSM_TCP_CHORE_HALF_ENDED = 1 << 1, /* the peer's replies ended before its requests */
};

struct dsm_tcp_link;

struct dsm_tcp_peer {
    uint32_t rank;
    /* The loop's thread alone: */
    enum dsm_tcp_link_state state;
    bool has_address;
    struct sockaddr_storage address;
    socklen_t address_len;
    uint64_t attempt;
    bool is_ours;              /* the attempt */
    uint64_t deadline_ns;      /* of the attempt; CONNECTING, YIELDED, ACCEPTING */
    uint64_t half_ended_at_ns; /* 0: both connections live or both ended */
    struct dsm_tcp_link *links[DSM_TCP_LANES];

    bool is_watched; /* in the list of peers with a deadline */
    struct dsm_tcp_peer *next_watched;

    atomic_bool is_wanted; /* somebody sent to it */
    struct dsm_chore chore;
    atomic_bool has_left;
    atomic_int ending; /* enum dsm_tcp_ending; left LIVE by the one that says why */
    atomic_int conns_left;
    int error;
    char why[DSM_TCP_WHY_BYTES];
    struct dsm_tcp_memory *memory; /* its memory of the region, where we may write to it */
    struct dsm_tcp_conn conns[DSM_TCP_LANES];
};

/* A pipe of this rank, into which peers of this host write when frames lie in a ring. */
struct dsm_tcp_bell {
    int fds[2];               /* read, write (so that it has no end); -1: none */
    struct dsm_shm_file name; /* how peers find it */
};

struct dsm_net {
    struct dsm_net_handler handler;
    uint32_t self;
    uint32_t n_ranks;
    uint32_t epoch;
    uint8_t token[16];
    char *build;
    /* What peers of this host may write to; NULL: nothing. */
    uint8_t *memory;
    uint64_t memory_bytes;
    struct dsm_shm_file memory_file;
    uint64_t connect_timeout_ns;
    uv_loop_t *loop;
    struct dsm_tcp_peer *peers; /* n_ranks */
    uint8_t *scrap;             /* DSM_NET_MAX_PAYLOAD bytes that nobody reads */
    char address[96];
    int listen_fd;

    /* Reading (tcp_poll.c). */
    int service_fd; /* epoll: requests readable, their bell; any connection writable again */
    int gate_fd;    /* epoll over service_fd alone: what the loop watches */
    int poll_fd;    /* epoll: both lanes of all peers, their bells, and the kick */
    int kick_fd;
    int service_kick_fd;                      /* in the service set: requests lie in a ring */
    struct dsm_tcp_bell bells[DSM_TCP_LANES]; /* by the lane that is read */
    atomic_bool is_claimed;
    struct dsm_tcp_conn *hint; /* answered last; the claim holder's */
    uint32_t hint_hits;
    /* Connections whose frames go through shared memory; they stay in the list. */
    _Atomic(struct dsm_tcp_conn *) shared;
    size_t ring_bytes;       /* 0: sockets alone */
    atomic_bool has_sockets; /* there are connections whose frames go through the socket */
    atomic_bool is_armed;    /* all rings ask for a bell; the claim holder's */
    atomic_uint n_looks;     /* of the claim holder */

    _Atomic(struct dsm_tcp_conn *) dirty;
    struct dsm_chores chores;

    uv_poll_t gate_watch;
    uv_poll_t listen_watch;
    unsigned n_handles; /* not closed yet: the last one frees this */
    bool is_closing;
    bool is_accept_paused;
    struct dsm_tcp_link *links; /* sockets that are not connections yet, oldest first */
    struct dsm_tcp_link **links_tail;
    uint32_t n_strangers; /* of these, accepted and silent so far */
    struct dsm_tcp_peer *watched;
    struct dsm_refusals refusals;
    uint64_t rng;

    /* System calls that moved something, or turns at a ring; reads by lane. */
    atomic_ullong n_writes, n_reads[2];
    atomic_ullong n_bells;  /* single bytes written to wake a peer */
    atomic_ullong n_landed; /* frames received whose bytes were in their place */
    atomic_uint n_shared;   /* connections whose frames have gone through memory */
};

/* tcp.c: may we keep this one, which we can do without, or may the lanes to come need its number?
 */
bool dsm_tcp_is_file_to_spare(const struct dsm_net *net, int fd);

/* tcp_tx.c */
int dsm_tcp_send(struct dsm_net *net, uint32_t to, unsigned lane, const uint8_t *header,
                 const void *payload, uint64_t cookie, uint32_t key);
void dsm_tcp_flush(struct dsm_net *net);
void dsm_tcp_tx_up(struct dsm_tcp_conn *conn);
/* Writes as much as the socket takes. Signal-handler safe. */
void dsm_tcp_tx_write(struct dsm_tcp_conn *conn);
/* Hands back every cookie and ends the half. Once per connection. */
void dsm_tcp_tx_end(struct dsm_tcp_conn *conn);

/* Who reads, and what happens when another thread reads this connection already. */
enum dsm_tcp_reader {
    DSM_TCP_LOOK,  /* leaves it to that one */
    DSM_TCP_WAIT,  /* waits for that one */
    DSM_TCP_SERVE, /* waits as well; the service thread: stops once a waiting thread has claimed the
                      reading, which would otherwise look in vain until all is read */
};

/* tcp_rx.c: reads what is there, within a bound; the number of frames handled. has_event: its
 * socket is readable, or may have ended; else a connection with shared memory looks there alone. */
int dsm_tcp_rx_read(struct dsm_tcp_conn *conn, enum dsm_tcp_reader reader, bool has_event);
/* Takes the bells of a reply lane, for its writer, and nothing else. */
void dsm_tcp_rx_take_room_bell(struct dsm_tcp_conn *conn);

/* tcp_conn.c */
void dsm_tcp_conn_init(struct dsm_tcp_conn *conn, struct dsm_net *net, struct dsm_tcp_peer *peer,
                       unsigned tx_lane);
/*
 * Up in two steps, since the first connection that is read may end both: attach gives each its
 * descriptor (closed with the halves from here on, also after an error) and a third half, to be
 * ended after start.
 */
int dsm_tcp_conn_attach(struct dsm_tcp_conn *conn, int fd, struct dsm_shm *shm);
int dsm_tcp_conn_start(struct dsm_tcp_conn *conn);
void dsm_tcp_conn_end_rx(struct dsm_tcp_conn *conn);
void dsm_tcp_half_ended(struct dsm_tcp_conn *conn);
/* The peer closed this connection. */
void dsm_tcp_conn_eof(struct dsm_tcp_conn *conn, int error_number);
/* Ends both connections. The first call decides; is_quiet: without on_lost. */
void dsm_tcp_peer_end(struct dsm_tcp_peer *peer, bool is_quiet, int error, const char *why);
/* The same, quiet if the peer has left. */
void dsm_tcp_peer_lose(struct dsm_tcp_peer *peer, int error, const char *why);
/* As net.h says. */
bool dsm_tcp_expel(struct dsm_net *net, uint32_t rank, const char *why);
const char *dsm_tcp_lane_name(unsigned lane);

/* tcp_poll.c */
int dsm_tcp_poll_open(struct dsm_net *net);
void dsm_tcp_poll_close(struct dsm_net *net);
int dsm_tcp_poll_add(struct dsm_tcp_conn *conn);
int dsm_tcp_poll_add_bell(struct dsm_net *net, unsigned lane);
/* What the peer has written before the ring was looked at: its bell may be taken already. */
void dsm_tcp_poll_new_ring(struct dsm_tcp_conn *conn);
void dsm_tcp_poll_remove(struct dsm_tcp_conn *conn);
void dsm_tcp_poll_want_room(struct dsm_tcp_conn *conn, enum dsm_tcp_room room);
void dsm_tcp_poll_arm(struct dsm_net *net);
void dsm_tcp_claim(struct dsm_net *net);
void dsm_tcp_release(struct dsm_net *net);
int dsm_tcp_poll(struct dsm_net *net, int64_t timeout_us);
void dsm_tcp_kick(struct dsm_net *net);
/* The loop found the gate open: serves requests, and polls on for a while. */
void dsm_tcp_serve(struct dsm_net *net);

/* tcp_listen.c */
/* Binds; connections wait in the backlog until start. */
int dsm_tcp_listen(struct dsm_net *net, const char *host);
int dsm_tcp_listen_start(struct dsm_net *net);

/* tcp_connect.c */
void dsm_tcp_peer_connect(struct dsm_tcp_peer *peer);
void dsm_tcp_peer_fail(struct dsm_tcp_peer *peer, int error, const char *why);
void dsm_tcp_peer_unaccept(struct dsm_tcp_peer *peer);
/* Sockets that are not connections yet. */
void dsm_tcp_peer_drop_links(struct dsm_tcp_peer *peer);
void dsm_tcp_link_accept(struct dsm_net *net, int fd, const struct sockaddr *from, socklen_t len);
void dsm_tcp_links_expire(struct dsm_net *net, uint64_t now_ns);
void dsm_tcp_links_close(struct dsm_net *net);

/*
 * tcp_shm.c. The one that connects offers memory when both ends of the socket have the same
 * address; the other opens it or not, and says so. Frames then go through the rings. The socket
 * tells the end, and carries bells (single bytes that mean nothing but "look"): those that tell of
 * room, and where there is no pipe, those that tell of frames.
 */
struct dsm_hello;
struct dsm_shm *dsm_tcp_shm_offer(struct dsm_net *net, int fd, struct dsm_hello *hello);
struct dsm_shm *dsm_tcp_shm_take(struct dsm_net *net, const struct dsm_hello *theirs,
                                 struct dsm_hello *ours);
void dsm_tcp_shm_free(struct dsm_shm *shm);
void dsm_tcp_shm_add(struct dsm_tcp_conn *conn);
/* What the socket has: bells, thrown away. 0, or the end: 1, or a negative errno. The reader. */
long dsm_tcp_shm_take_bells(struct dsm_tcp_conn *conn);
/* 0 or more, or a negative errno: the socket has ended. The reader or the writer. */
long dsm_tcp_shm_ring(const struct dsm_tcp_conn *conn);
long dsm_tcp_shm_read(struct dsm_tcp_conn *conn, struct iovec *iov, size_t n_iov);
long dsm_tcp_shm_write(struct dsm_tcp_conn *conn, struct iovec *iov, size_t n_iov);
/* Reads what lies in the rings, of requests or of all lanes; the number of frames handled. */
int dsm_tcp_shm_look(struct dsm_net *net, enum dsm_tcp_reader reader, bool all_lanes);
/* Asks for bells. True: something is there already. */
bool dsm_tcp_shm_arm(struct dsm_net *net, bool all_lanes);
void dsm_tcp_shm_disarm(struct dsm_net *net);

/*
 * tcp_bell.c. One pipe for all peers, since who is woken looks at all rings of the lane. It is
 * opened by its name in /proc, as the memory is, of which the hello tells for the lane that its
 * speaker reads there.
 */
void dsm_tcp_bells_open(struct dsm_net *net); /* the poll sets are there */
void dsm_tcp_bells_close(struct dsm_net *net);
void dsm_tcp_bell_offer(const struct dsm_net *net, struct dsm_hello *hello);
void dsm_tcp_bell_open(struct dsm_tcp_conn *conn, const struct dsm_hello *theirs);
void dsm_tcp_bell_close(struct dsm_tcp_conn *conn);
/* After a write to the ring; as dsm_tcp_shm_ring. */
long dsm_tcp_bell_ring(const struct dsm_tcp_conn *conn);
/* What a poll set tells of: one of ours? Then its bells are to be taken, and the rings looked at
 * after that. */
bool dsm_tcp_bell_is(const struct dsm_net *net, const void *event);
void dsm_tcp_bell_take(const struct dsm_tcp_bell *bell);

/*
 * tcp_landing.c. Where the frames go through memory, each rank tells in its hello the file of its
 * memory of the region. Payload with a key is copied to its place there, and a bit in the header's
 * len says so; the header follows in the ring, so that it is heard of later.
 */
struct dsm_tcp_landing {
    uint64_t offset;    /* in our memory, and in the peer's */
    uint32_t len_bytes; /* 0: none */
};
int dsm_tcp_set_memory(struct dsm_net *net, void *memory, size_t len_bytes, int fd,
                       uint64_t most_bytes, uint64_t *pinned_out);
uint32_t dsm_tcp_landing(struct dsm_net *net, const void *addr, size_t len_bytes);
void dsm_tcp_landing_offer(const struct dsm_net *net, struct dsm_hello *hello);
void dsm_tcp_landing_open(struct dsm_tcp_peer *peer, const struct dsm_hello *theirs);
void dsm_tcp_landing_close(struct dsm_tcp_peer *peer);
/* The writer, of a frame of which nothing has left: is its payload to be copied to its place? Then
 * take changes the frame to say so, and the copy is made before it is sent. */
bool dsm_tcp_landing_is_due(const struct dsm_tcp_conn *conn, const struct dsm_queued_frame *frame);
struct dsm_tcp_landing dsm_tcp_landing_take(const struct dsm_tcp_conn *conn,
                                            struct dsm_queued_frame *frame);
void dsm_tcp_landing_copy(const struct dsm_tcp_conn *conn, const struct dsm_tcp_landing *landing);
/* The reader: what the header says of it, and then has the bytes' number alone; 0: nothing. */
uint32_t dsm_tcp_landing_told(const struct dsm_tcp_conn *conn, uint8_t *header);
/* Is that what was told, as far as it says? */
bool dsm_tcp_landing_is_place(const struct dsm_net *net, uint32_t told, const void *dst);

/* tcp_chore.c */
int dsm_tcp_chore_open(struct dsm_net *net);
void dsm_tcp_peer_watch(struct dsm_tcp_peer *peer);

#endif
