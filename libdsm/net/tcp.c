/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp.c - the tcp transport: two raw sockets to every peer. Opening, addresses, closing; the table.
 */
#define _GNU_SOURCE
#include "net/tcp.h"
#include "net/address.h"
#include "net/config.h"
#include "net/hello.h"
#include "net/sys.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#define DEFAULT_CONNECT_TIMEOUT_S 10.0
/* Descriptors of a process beside its lanes: standard streams, sets, views, the loop, the program.
 */
#define OTHER_FILES 64u
/* Read away from one connection before the next has its turn. */
#define MAX_DRAIN_BYTES (1u << 20)
/* Rings of one kind to all ranks. */
#define RINGS_MAX_BYTES (16u << 20)
/* How long close waits for peers that do not read. */
#define MAX_LINGER_NS        (1 * DSM_NS_PER_S)
#define FIRST_LINGER_STEP_US 200u
#define LAST_LINGER_STEP_US  10000u

static int tcp_probe(char *why, size_t why_bytes)
{
    dsm_format(why, why_bytes, "sockets are always there");
    return 0;
}

/* Two lanes to every peer: the usual soft limit of 1,024 files is 479 peers. */
static void raise_file_limit(const struct dsm_net *net)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    uint64_t need = DSM_TCP_LANES * (net->n_ranks - 1ull) + OTHER_FILES;
    if (limit.rlim_cur < need)
        dsm_log(DSM_LOG_WARN,
                "rank %u: at most %lu files may be open, talking to all of %u ranks takes %lu "
                "(ulimit -Hn raises the limit)",
                net->self, (uint64_t)limit.rlim_cur, net->n_ranks, need);
}

bool dsm_tcp_is_file_to_spare(const struct dsm_net *net, int fd)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
           (uint64_t)fd + DSM_TCP_LANES * (uint64_t)net->n_ranks + OTHER_FILES < limit.rlim_cur;
}

static void free_net(struct dsm_net *net)
{
    dsm_tcp_poll_close(net);
    if (net->listen_fd >= 0)
        dsm_sys_close(net->listen_fd);
    for (uint32_t rank = 0; net->peers && rank < net->n_ranks; rank++) {
        dsm_tcp_landing_close(&net->peers[rank]);
        for (unsigned lane = 0; lane < DSM_TCP_LANES; lane++) {
            dsm_frame_queue_free(&net->peers[rank].conns[lane].tx.queue);
            free(net->peers[rank].conns[lane].buffers);
            dsm_tcp_shm_free(net->peers[rank].conns[lane].shm);
            dsm_tcp_bell_close(&net->peers[rank].conns[lane]);
        }
    }
    free(net->peers);
    free(net->scrap);
    free(net->build);
    free(net);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct dsm_net *net = handle->data;
    if (--net->n_handles == 0)
        free_net(net);
}

/* Frees all of it once the loop has seen the handles close; at once if none was open. */
static void close_handles(struct dsm_net *net)
{
    /* In the order in which they were opened: the first n_handles exist. */
    uv_handle_t *const handles[] = {
        (uv_handle_t *)&net->chores.tick, (uv_handle_t *)&net->chores.async,
        (uv_handle_t *)&net->listen_watch, (uv_handle_t *)&net->gate_watch};
    unsigned n = net->n_handles;
    if (n == 0)
        free_net(net);
    for (unsigned i = 0; i < n; i++)
        uv_close(handles[i], on_handle_closed);
}

static void on_gate(uv_poll_t *watch, int status, int events)
{
    (void)status;
    (void)events;
    dsm_tcp_serve(watch->data);
}

static int open_handles(struct dsm_net *net)
{
    int error = dsm_tcp_chore_open(net);
    if (error)
        return error;
    net->listen_watch.data = net;
    net->gate_watch.data = net;
    if (uv_poll_init(net->loop, &net->listen_watch, net->listen_fd))
        return DSM_E_SYSTEM;
    net->n_handles++;
    if (uv_poll_init(net->loop, &net->gate_watch, net->gate_fd))
        return DSM_E_SYSTEM;
    net->n_handles++;
    return uv_poll_start(&net->gate_watch, UV_READABLE, on_gate) ? DSM_E_SYSTEM : 0;
}

static int make_peers(struct dsm_net *net)
{
    net->peers = calloc(net->n_ranks, sizeof *net->peers);
    net->scrap = malloc(DSM_NET_MAX_PAYLOAD);
    for (uint32_t rank = 0; net->peers && rank < net->n_ranks; rank++) {
        struct dsm_tcp_peer *peer = &net->peers[rank];
        peer->rank = rank;
        atomic_init(&peer->conns_left, DSM_TCP_LANES);
        for (unsigned lane = 0; lane < DSM_TCP_LANES; lane++)
            dsm_tcp_conn_init(&peer->conns[lane], net, peer, lane);
    }
    return net->peers && net->scrap && net->build ? 0 : DSM_E_NOMEM;
}

/* Less for each peer where there may be many on one host. */
static size_t ring_bytes_for(uint32_t n_ranks)
{
    size_t bytes = DSM_SHM_RING_MAX_BYTES;
    while (bytes > DSM_SHM_RING_MIN_BYTES && bytes * n_ranks > RINGS_MAX_BYTES)
        bytes /= 2;
    return bytes;
}

static int tcp_open(const struct dsm_net_config *config, const struct dsm_net_handler *handler,
                    struct dsm_net **net_out)
{
    int error = dsm_net_check_config("tcp", config);
    if (error)
        return error;
    struct dsm_net *net = calloc(1, sizeof *net);
    if (!net)
        return DSM_E_NOMEM;
    net->handler = *handler;
    net->self = config->self;
    net->n_ranks = config->n_ranks;
    net->epoch = config->epoch;
    net->loop = config->loop;
    net->connect_timeout_ns = dsm_net_connect_timeout_ns(config, DEFAULT_CONNECT_TIMEOUT_S);
    net->build = strdup(config->build);
    memcpy(net->token, config->token, sizeof net->token);
    net->links_tail = &net->links;
    net->listen_fd = net->service_fd = net->gate_fd = net->poll_fd = net->kick_fd = -1;
    net->service_kick_fd = -1;
    for (unsigned lane = 0; lane < DSM_TCP_LANES; lane++)
        net->bells[lane] = (struct dsm_tcp_bell){.fds = {-1, -1}};
    net->ring_bytes = config->is_socket_only ? 0 : ring_bytes_for(config->n_ranks);
    net->rng = dsm_net_random_seed();
    raise_file_limit(net);
    error = make_peers(net);
    if (!error)
        error = dsm_tcp_poll_open(net);
    if (!error)
        dsm_tcp_bells_open(net);
    if (!error)
        error = dsm_tcp_listen(net, config->listen_host);
    if (!error)
        error = open_handles(net);
    if (error) {
        close_handles(net);
        return error;
    }
    *net_out = net;
    return 0;
}

static int tcp_address(struct dsm_net *net, char *out, size_t out_bytes)
{
    if (strlen(net->address) >= out_bytes)
        return DSM_E_INVAL;
    memcpy(out, net->address, strlen(net->address) + 1);
    return 0;
}

static int set_address(struct dsm_tcp_peer *peer, const char *text)
{
    int error = dsm_address_parse(text, &peer->address, &peer->address_len);
    peer->has_address = !error;
    return error;
}

static int tcp_set_peers(struct dsm_net *net, uint32_t self, const char *const *addresses)
{
    if (self >= net->n_ranks) {
        dsm_log(DSM_LOG_ERROR, "tcp: rank %u of %u ranks", self, net->n_ranks);
        return DSM_E_INVAL;
    }
    net->self = self;
    for (uint32_t rank = 0; rank < net->n_ranks; rank++) {
        if (rank == net->self)
            continue;
        int error = set_address(&net->peers[rank], addresses[rank]);
        if (error) {
            dsm_log(DSM_LOG_ERROR,
                    "the address of rank %u is \"%s\"; it must be a number of a host "
                    "and a port, as in 127.0.0.1:40123",
                    rank, addresses[rank]);
            return error;
        }
    }
    for (uint32_t rank = 0; rank < net->n_ranks; rank++)
        if (atomic_load(&net->peers[rank].is_wanted))
            dsm_tcp_peer_connect(&net->peers[rank]);
    return dsm_tcp_listen_start(net);
}

static int tcp_poll_fd(struct dsm_net *net)
{
    dsm_tcp_poll_arm(net);
    return net->poll_fd;
}

static bool tcp_is_connected(struct dsm_net *net, uint32_t rank)
{
    if (rank >= net->n_ranks)
        return false;
    struct dsm_tcp_conn *conn = &net->peers[rank].conns[DSM_TCP_REQUEST];
    dsm_mutex_lock(&conn->tx.lock);
    bool is_live = (conn->tx.is_up || conn->tx.queue.head) && !conn->tx.is_ending;
    dsm_mutex_unlock(&conn->tx.lock);
    return is_live;
}

static void tcp_peer_left(struct dsm_net *net, uint32_t rank)
{
    if (rank < net->n_ranks)
        atomic_store(&net->peers[rank].has_left, true);
}

/* Reads and forgets, the ring as well: its writer may be closing, too, and wait for room. */
static void read_away(struct dsm_tcp_conn *conn)
{
    for (uint32_t total = 0; conn->shm && total < MAX_DRAIN_BYTES;) {
        struct iovec iov = {conn->net->scrap, DSM_NET_MAX_PAYLOAD};
        long got = dsm_tcp_shm_read(conn, &iov, 1);
        if (got <= 0)
            break;
        total += (uint32_t)got;
    }
    for (uint32_t total = 0; total < MAX_DRAIN_BYTES;) {
        struct iovec iov = {conn->net->scrap, DSM_NET_MAX_PAYLOAD};
        long got = dsm_sys_recvv(conn->fd, &iov, 1);
        if (got <= 0)
            return;
        total += (uint32_t)got;
    }
}

/* Is all that was queued here with the peer's kernel, or is there nobody to get it? */
static bool is_delivered(struct dsm_tcp_conn *conn)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    int unacknowledged_bytes;
    dsm_tcp_tx_write(conn);
    read_away(conn);
    if (conn->tx.queue.head &&
        !conn->tx.is_failed) /* a full ring does not tell that its reader is gone */
        return conn->shm && dsm_tcp_shm_ring(conn) < 0;
    (void)shutdown(conn->fd, SHUT_WR);
    if (getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &len) || info.tcpi_state == TCP_CLOSE)
        return true;
    return ioctl(conn->fd, SIOCOUTQ, &unacknowledged_bytes) || unacknowledged_bytes == 0;
}

/*
 * A socket that is closed while bytes for it come answers with a reset, which throws away what we
 * sent last and the peer's kernel has not got yet, the farewell among it. So what comes is read
 * away until everything has arrived. There is no event for that; it takes as long as a round trip.
 */
static void linger(struct dsm_net *net)
{
    uint64_t until_ns = dsm_clock_ns() + MAX_LINGER_NS;
    for (unsigned step_us = FIRST_LINGER_STEP_US;; step_us *= 2) {
        bool is_all_delivered = true;
        for (uint32_t rank = 0; rank < net->n_ranks; rank++)
            for (unsigned lane = 0; lane < DSM_TCP_LANES; lane++)
                if (net->peers[rank].conns[lane].fd >= 0)
                    is_all_delivered &= is_delivered(&net->peers[rank].conns[lane]);
        if (is_all_delivered || dsm_clock_ns() >= until_ns)
            return;
        (void)usleep(step_us < LAST_LINGER_STEP_US ? step_us : LAST_LINGER_STEP_US);
    }
}

static void tcp_close(struct dsm_net *net)
{
    net->is_closing = true;
    dsm_tcp_links_close(net);
    linger(net);
    for (uint32_t rank = 0; rank < net->n_ranks; rank++)
        dsm_tcp_peer_end(&net->peers[rank], true, 0, "closed here");
    close_handles(net);
    /* Descriptors that the loop watched may go once the watching has stopped. */
    dsm_sys_close(net->listen_fd);
    net->listen_fd = -1;
    dsm_tcp_poll_close(net);
}

static void tcp_counters(struct dsm_net *net, struct dsm_net_counters *out)
{
    *out = (struct dsm_net_counters){
        .doorbells = atomic_load(&net->n_writes),
        .completions_request = atomic_load(&net->n_reads[DSM_TCP_REQUEST]),
        .completions_reply = atomic_load(&net->n_reads[DSM_TCP_REPLY]),
        .shared = atomic_load(&net->n_shared),
        .bells = atomic_load(&net->n_bells),
        .landed = atomic_load(&net->n_landed),
    };
}

const struct dsm_net_ops dsm_net_tcp = {
    .name = "tcp",
    .probe = tcp_probe,
    .open = tcp_open,
    .address = tcp_address,
    .set_peers = tcp_set_peers,
    .send = dsm_tcp_send,
    .flush = dsm_tcp_flush,
    .claim = dsm_tcp_claim,
    .release = dsm_tcp_release,
    .poll = dsm_tcp_poll,
    .kick = dsm_tcp_kick,
    .poll_fd = tcp_poll_fd,
    .peer_left = tcp_peer_left,
    .expel = dsm_tcp_expel,
    .is_connected = tcp_is_connected,
    .set_memory = dsm_tcp_set_memory,
    .landing = dsm_tcp_landing,
    .counters = tcp_counters,
    .close = tcp_close,
};
