/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp_bell.c - how ranks of one host wake each other: each has a pipe for each lane, into which all
 * others write; see tcp.h. A byte through the loopback interface would do as well, and does where
 * there is no pipe, but takes two to three times as long.
 */
#define _GNU_SOURCE
#include "net/tcp.h"
#include "net/sys.h"
#include "base/errors.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <fcntl.h>

#define BELLS_AT_ONCE 64 /* what is left is found readable again */

static int open_bell(struct dsm_tcp_bell *bell)
{
    if (pipe2(bell->fds, O_CLOEXEC | O_NONBLOCK)) {
        bell->fds[0] = bell->fds[1] = -1;
        return dsm_error_from_errno(errno);
    }
    return dsm_shm_name_file(bell->fds[0], &bell->name);
}

void dsm_tcp_bells_open(struct dsm_net *net)
{
    int error = 0;
    for (unsigned lane = 0; lane < DSM_TCP_LANES && net->ring_bytes && !error; lane++) {
        error = open_bell(&net->bells[lane]);
        if (!error)
            error = dsm_tcp_poll_add_bell(net, lane);
    }
    if (!error)
        return;
    dsm_log(DSM_LOG_INFO, "rank %u: no pipes to be woken by, the sockets have to do: %s", net->self,
            dsm_error_text(error));
    dsm_tcp_bells_close(net);
}

void dsm_tcp_bells_close(struct dsm_net *net)
{
    for (unsigned lane = 0; lane < DSM_TCP_LANES; lane++) {
        struct dsm_tcp_bell *bell = &net->bells[lane];
        for (unsigned i = 0; i < 2; i++)
            if (bell->fds[i] >= 0)
                dsm_sys_close(bell->fds[i]);
        *bell = (struct dsm_tcp_bell){.fds = {-1, -1}};
    }
}

void dsm_tcp_bell_offer(const struct dsm_net *net, struct dsm_hello *hello)
{
    hello->bell = net->bells[hello->lane ^ 1].name;
}

/* Open for reading as well: so writing is never a signal, whatever becomes of the peer. */
void dsm_tcp_bell_open(struct dsm_tcp_conn *conn, const struct dsm_hello *theirs)
{
    char why[DSM_TCP_WHY_BYTES];
    if (conn->bell_fd >= 0 || theirs->bell.inode == 0)
        return;
    if (dsm_shm_open_pipe(&theirs->bell, &conn->bell_fd, why, sizeof why) == 0) {
        if (!dsm_tcp_is_file_to_spare(conn->net, conn->bell_fd))
            dsm_tcp_bell_close(conn);
        return;
    }
    dsm_log(DSM_LOG_INFO, "rank %u: rank %u is woken through the socket: %s", conn->net->self,
            conn->peer->rank, why);
}

void dsm_tcp_bell_close(struct dsm_tcp_conn *conn)
{
    if (conn->bell_fd >= 0)
        dsm_sys_close(conn->bell_fd);
    conn->bell_fd = -1;
}

/* A pipe that is full of bells is readable: one more changes nothing. */
long dsm_tcp_bell_ring(const struct dsm_tcp_conn *conn)
{
    uint8_t bell = 0;
    if (conn->bell_fd < 0)
        return dsm_tcp_shm_ring(conn);
    long n = dsm_sys_write(conn->bell_fd, &bell, sizeof bell);
    if (n < 0 && n != -EAGAIN)
        return dsm_tcp_shm_ring(conn);
    atomic_fetch_add_explicit(&conn->net->n_bells, 1, memory_order_relaxed);
    return 0;
}

bool dsm_tcp_bell_is(const struct dsm_net *net, const void *event)
{
    const struct dsm_tcp_bell *bell = event;
    return bell == &net->bells[DSM_TCP_REQUEST] || bell == &net->bells[DSM_TCP_REPLY];
}

void dsm_tcp_bell_take(const struct dsm_tcp_bell *bell)
{
    uint8_t bells[BELLS_AT_ONCE];
    (void)dsm_sys_read(bell->fds[0], bells, sizeof bells);
}
