/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp_poll.c - who reads when.
 *
 *   request lanes --> service set --> gate --> the loop of the service thread
 *   both lanes, kick --> poll set --> the thread that holds the claim
 *
 * The gate is an epoll set with one member, the service set. A claim takes away its interest in it,
 * so that the service thread sleeps on while the claim holder reads; a release gives it back.
 * All is level-triggered: what arrived between is found by the release. Two system calls without a
 * lock, from any thread.
 *
 * A lane whose socket is full is watched for room in both sets (the reply lane is in the service
 * set only then: its reading, and its end, are not the service thread's).
 */
#include "net/tcp.h"
#include "net/sys.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include <sys/eventfd.h>

#define EVENTS_AT_ONCE 16
/* The service thread goes back to its loop, which has timers to serve, after at most so long. */
#define SERVICE_MAX_NS (1 * DSM_NS_PER_MS)
/* A connection that keeps answering is read without asking the poll set, so many times in a row. */
#define MAX_HINT_HITS 8

static int add(int epoll_fd, int fd, uint32_t events, void *who)
{
    struct epoll_event event = {.events = events, .data.ptr = who};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) ? dsm_error_from_errno(errno) : 0;
}

int dsm_tcp_poll_open(struct dsm_net *net)
{
    net->service_fd = epoll_create1(EPOLL_CLOEXEC);
    net->gate_fd = epoll_create1(EPOLL_CLOEXEC);
    net->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    net->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (net->service_fd < 0 || net->gate_fd < 0 || net->poll_fd < 0 || net->kick_fd < 0)
        return dsm_error_from_errno(errno);
    int error = add(net->gate_fd, net->service_fd, EPOLLIN, net);
    return error ? error : add(net->poll_fd, net->kick_fd, EPOLLIN, net);
}

void dsm_tcp_poll_close(struct dsm_net *net)
{
    int *const fds[] = {&net->gate_fd, &net->service_fd, &net->poll_fd, &net->kick_fd};
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (*fds[i] >= 0)
            dsm_sys_close(*fds[i]);
        *fds[i] = -1;
    }
}

int dsm_tcp_poll_add(struct dsm_tcp_conn *conn)
{
    int error = add(conn->net->poll_fd, conn->fd, EPOLLIN, conn);
    if (!error && conn->rx_lane == DSM_TCP_REQUEST)
        error = add(conn->net->service_fd, conn->fd, EPOLLIN, conn);
    return error;
}

/* Not being in a set is as good as being taken out. */
void dsm_tcp_poll_remove(struct dsm_tcp_conn *conn)
{
    (void)epoll_ctl(conn->net->poll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
    (void)epoll_ctl(conn->net->service_fd, EPOLL_CTL_DEL, conn->fd, NULL);
}

/* Fails only for a connection that has been taken out because it ends. */
void dsm_tcp_poll_want_writable(struct dsm_tcp_conn *conn, bool wants)
{
    struct epoll_event event = {.events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.ptr = conn};
    (void)epoll_ctl(conn->net->poll_fd, EPOLL_CTL_MOD, conn->fd, &event);
    if (conn->rx_lane == DSM_TCP_REPLY) {
        event.events = EPOLLOUT;
        (void)epoll_ctl(conn->net->service_fd, wants ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, conn->fd,
                        &event);
    } else {
        (void)epoll_ctl(conn->net->service_fd, EPOLL_CTL_MOD, conn->fd, &event);
    }
}

static void gate_set(struct dsm_net *net, bool is_open)
{
    struct epoll_event event = {.events = is_open ? EPOLLIN : 0, .data.ptr = net};
    (void)epoll_ctl(net->gate_fd, EPOLL_CTL_MOD, net->service_fd, &event);
}

void dsm_tcp_claim(struct dsm_net *net)
{
    atomic_store(&net->is_claimed, true);
    gate_set(net, false);
}

void dsm_tcp_release(struct dsm_net *net)
{
    atomic_store(&net->is_claimed, false);
    gate_set(net, true);
}

void dsm_tcp_kick(struct dsm_net *net)
{
    uint64_t one = 1;
    (void)dsm_sys_write(net->kick_fd, &one, sizeof one);
}

/* on_sent may have sent something, too. */
static void end_batch(struct dsm_net *net, bool has_called)
{
    if (has_called)
        net->handler.on_batch_end(net->handler.user);
}

int dsm_tcp_poll(struct dsm_net *net, int64_t timeout_us)
{
    /* Most often the answer comes from where the last one came from. */
    if (net->hint && net->hint_hits < MAX_HINT_HITS) {
        int n = dsm_tcp_rx_read(net->hint, DSM_TCP_LOOK);
        if (n) {
            net->hint_hits++;
            end_batch(net, true);
            return n;
        }
    }
    net->hint_hits = 0;
    struct epoll_event events[EVENTS_AT_ONCE];
    long n_events = dsm_sys_epoll_wait(net->poll_fd, events, EVENTS_AT_ONCE, timeout_us);
    int n_frames = 0;
    bool has_written = false;
    for (long i = 0; i < n_events; i++) {
        if (events[i].data.ptr == net) {
            uint64_t kicks;
            (void)dsm_sys_read(net->kick_fd, &kicks, sizeof kicks);
            continue;
        }
        struct dsm_tcp_conn *conn = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) {
            dsm_tcp_tx_write(conn);
            has_written = true;
        }
        if (!(events[i].events & ~(uint32_t)EPOLLOUT))
            continue;
        int n = dsm_tcp_rx_read(conn, timeout_us != 0 ? DSM_TCP_WAIT : DSM_TCP_LOOK);
        if (n)
            net->hint = conn;
        n_frames += n;
    }
    end_batch(net, n_frames > 0 || has_written);
    return n_frames;
}

/* One look at the service set. */
static int serve(struct dsm_net *net)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    long n_events = dsm_sys_epoll_wait(net->service_fd, events, EVENTS_AT_ONCE, 0);
    int n_frames = 0;
    bool has_written = false;
    for (long i = 0; i < n_events; i++) {
        struct dsm_tcp_conn *conn = events[i].data.ptr;
        if (events[i].events & EPOLLOUT || conn->rx_lane == DSM_TCP_REPLY) {
            dsm_tcp_tx_write(conn);
            has_written = true;
        }
        if (conn->rx_lane == DSM_TCP_REQUEST && events[i].events & ~(uint32_t)EPOLLOUT)
            n_frames += dsm_tcp_rx_read(conn, DSM_TCP_SERVE);
    }
    end_batch(net, n_frames > 0 || has_written);
    return n_frames;
}

void dsm_tcp_serve(struct dsm_net *net)
{
    uint64_t now_ns = dsm_clock_ns();
    uint64_t latest_ns = now_ns + SERVICE_MAX_NS, until_ns = now_ns;
    do {
        if (atomic_load(&net->is_claimed) || net->is_closing)
            return;
        int n = serve(net);
        now_ns = dsm_clock_ns();
        if (n)
            until_ns = now_ns + net->handler.service_spin_ns(net->handler.user);
    } while (now_ns < until_ns && now_ns < latest_ns);
}
