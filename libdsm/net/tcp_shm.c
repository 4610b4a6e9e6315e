/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp_shm.c - frames between ranks of one host go through memory; see tcp.h. */
#include "net/tcp.h"
#include "net/sys.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/rng.h"
#include <stdlib.h>
#include <string.h>

#define BELLS_AT_ONCE 64
/* Turns at taking them in a row: what is left is found readable again. */
#define MAX_BELL_READS 16

/* ---- the hello ---- */

/* A way from an address to the same address does not leave the host. */
static bool is_same_host(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t here_len = sizeof here, there_len = sizeof there;
    if (getsockname(fd, (struct sockaddr *)&here, &here_len) ||
        getpeername(fd, (struct sockaddr *)&there, &there_len) || here.ss_family != there.ss_family)
        return false;
    if (here.ss_family == AF_INET6)
        return memcmp(&((struct sockaddr_in6 *)&here)->sin6_addr,
                      &((struct sockaddr_in6 *)&there)->sin6_addr, sizeof(struct in6_addr)) == 0;
    return ((struct sockaddr_in *)&here)->sin_addr.s_addr ==
           ((struct sockaddr_in *)&there)->sin_addr.s_addr;
}

struct dsm_shm *dsm_tcp_shm_offer(struct dsm_net *net, int fd, struct dsm_hello *hello)
{
    if (net->ring_bytes == 0 || !is_same_host(fd))
        return NULL;
    struct dsm_shm *shm = malloc(sizeof *shm);
    int error = shm ? dsm_shm_create(shm, net->ring_bytes, dsm_rng_next(&net->rng), &hello->shared)
                    : DSM_E_NOMEM;
    if (!error)
        return shm;
    dsm_log(DSM_LOG_INFO, "rank %u: no shared memory for rank %u, the socket has to do: %s",
            net->self, hello->to_rank, dsm_error_text(error));
    hello->shared = (struct dsm_shm_name){0};
    free(shm);
    return NULL;
}

struct dsm_shm *dsm_tcp_shm_take(struct dsm_net *net, const struct dsm_hello *theirs,
                                 struct dsm_hello *ours)
{
    char why[DSM_TCP_WHY_BYTES] = "out of memory";
    if (net->ring_bytes == 0 || theirs->shared.pid_namespace == 0)
        return NULL;
    struct dsm_shm *shm = malloc(sizeof *shm);
    if (shm && dsm_shm_open(shm, &theirs->shared, why, sizeof why) == 0) {
        ours->shared = theirs->shared;
        return shm;
    }
    free(shm);
    dsm_log(DSM_LOG_INFO,
            "rank %u: the shared memory that rank %u offers cannot be had, the socket has to do: "
            "%s",
            net->self, theirs->rank, why);
    return NULL;
}

void dsm_tcp_shm_free(struct dsm_shm *shm)
{
    if (shm)
        dsm_shm_close(shm);
    free(shm);
}

void dsm_tcp_shm_add(struct dsm_tcp_conn *conn)
{
    struct dsm_net *net = conn->net;
    atomic_fetch_add(&net->n_shared, 1);
    conn->next_shared = atomic_load(&net->shared);
    while (!atomic_compare_exchange_weak(&net->shared, &conn->next_shared, conn))
        ;
}

/* ---- bytes ---- */

/* A socket that is full of bells is readable: one more changes nothing. */
long dsm_tcp_shm_ring(const struct dsm_tcp_conn *conn)
{
    uint8_t bell = 0;
    struct iovec iov = {&bell, 1};
    long sent = dsm_sys_sendv(conn->fd, &iov, 1);
    atomic_fetch_add_explicit(&conn->net->n_bells, 1, memory_order_relaxed);
    return sent == -EAGAIN || sent == -EINTR || sent == -ENOBUFS || sent == -ENOMEM ? 0 : sent;
}

long dsm_tcp_shm_take_bells(struct dsm_tcp_conn *conn)
{
    for (unsigned i = 0; i < MAX_BELL_READS; i++) {
        uint8_t bells[BELLS_AT_ONCE];
        struct iovec iov = {bells, sizeof bells};
        long got = dsm_sys_recvv(conn->fd, &iov, 1);
        if (got == -EAGAIN || got == -EINTR)
            return 0;
        if (got <= 0)
            return got ? got : 1;
        if (got < BELLS_AT_ONCE)
            return 0;
    }
    return 0;
}

long dsm_tcp_shm_read(struct dsm_tcp_conn *conn, struct iovec *iov, size_t n_iov)
{
    long got = dsm_shm_read(&conn->shm->rx, iov, n_iov);
    if (got > 0 && dsm_shm_is_room_bell_due(&conn->shm->rx))
        (void)dsm_tcp_shm_ring(conn); /* a socket that is broken is found so by its reader */
    return got;
}

long dsm_tcp_shm_write(struct dsm_tcp_conn *conn, struct iovec *iov, size_t n_iov)
{
    long taken = dsm_shm_write(&conn->shm->tx, iov, n_iov);
    if (taken > 0 && dsm_shm_is_bell_due(&conn->shm->tx)) {
        long rung = dsm_tcp_bell_ring(conn);
        return rung < 0 ? rung : taken;
    }
    return taken;
}

/* ---- looking ---- */

static bool is_looked_at(const struct dsm_tcp_conn *conn, bool all_lanes)
{
    return (all_lanes || conn->rx_lane == DSM_TCP_REQUEST) && !atomic_load(&conn->is_ending);
}

int dsm_tcp_shm_look(struct dsm_net *net, enum dsm_tcp_reader reader, bool all_lanes)
{
    int n = 0;
    for (struct dsm_tcp_conn *conn = atomic_load(&net->shared); conn; conn = conn->next_shared)
        if (is_looked_at(conn, all_lanes) && dsm_shm_has_bytes(&conn->shm->rx))
            n += dsm_tcp_rx_read(conn, reader, false);
    return n;
}

bool dsm_tcp_shm_arm(struct dsm_net *net, bool all_lanes)
{
    bool has_bytes = false;
    for (struct dsm_tcp_conn *conn = atomic_load(&net->shared); conn; conn = conn->next_shared)
        if (is_looked_at(conn, all_lanes))
            has_bytes |= dsm_shm_want_bytes(&conn->shm->rx);
    return has_bytes;
}

void dsm_tcp_shm_disarm(struct dsm_net *net)
{
    for (struct dsm_tcp_conn *conn = atomic_load(&net->shared); conn; conn = conn->next_shared)
        dsm_shm_want_no_bytes(&conn->shm->rx);
}
