/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp_poll.c - who reads when.
 *
 *   request lanes and bell --> service set --> gate --> the loop of the service thread
 *   both lanes and bells, kick --> poll set --> the thread that holds the claim
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
/* Looks at the rings in a row, where no frames come through sockets, before the poll set is asked
 * for kicks and ends. */
#define LOOKS_IN_ROW 32

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
    net->service_kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (net->service_fd < 0 || net->gate_fd < 0 || net->poll_fd < 0 || net->kick_fd < 0 ||
        net->service_kick_fd < 0)
        return dsm_error_from_errno(errno);
    int error = add(net->gate_fd, net->service_fd, EPOLLIN, net);
    if (!error)
        error = add(net->service_fd, net->service_kick_fd, EPOLLIN, net);
    return error ? error : add(net->poll_fd, net->kick_fd, EPOLLIN, net);
}

void dsm_tcp_poll_close(struct dsm_net *net)
{
    dsm_tcp_bells_close(net);
    int *const fds[] = {&net->gate_fd, &net->service_fd, &net->poll_fd, &net->kick_fd,
                        &net->service_kick_fd};
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

int dsm_tcp_poll_add_bell(struct dsm_net *net, unsigned lane)
{
    struct dsm_tcp_bell *bell = &net->bells[lane];
    int error = add(net->poll_fd, bell->fds[0], EPOLLIN, bell);
    if (!error && lane == DSM_TCP_REQUEST)
        error = add(net->service_fd, bell->fds[0], EPOLLIN, bell);
    return error;
}

/* Not being in a set is as good as being taken out. */
void dsm_tcp_poll_remove(struct dsm_tcp_conn *conn)
{
    (void)epoll_ctl(conn->net->poll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
    (void)epoll_ctl(conn->net->service_fd, EPOLL_CTL_DEL, conn->fd, NULL);
}

/* Fails only for a connection that has been taken out because it ends. */
void dsm_tcp_poll_want_room(struct dsm_tcp_conn *conn, enum dsm_tcp_room room)
{
    struct epoll_event event = {.events = EPOLLIN | (room == DSM_TCP_ROOM_SOCKET ? EPOLLOUT : 0),
                                .data.ptr = conn};
    (void)epoll_ctl(conn->net->poll_fd, EPOLL_CTL_MOD, conn->fd, &event);
    if (conn->rx_lane == DSM_TCP_REPLY) {
        event.events = room == DSM_TCP_ROOM_BELL ? EPOLLIN : EPOLLOUT;
        (void)epoll_ctl(conn->net->service_fd, EPOLL_CTL_DEL, conn->fd, NULL);
        if (room != DSM_TCP_ROOM_UNWANTED)
            (void)epoll_ctl(conn->net->service_fd, EPOLL_CTL_ADD, conn->fd, &event);
    } else {
        (void)epoll_ctl(conn->net->service_fd, EPOLL_CTL_MOD, conn->fd, &event);
    }
}

static void gate_set(struct dsm_net *net, bool is_open)
{
    struct epoll_event event = {.events = is_open ? EPOLLIN : 0, .data.ptr = net};
    (void)epoll_ctl(net->gate_fd, EPOLL_CTL_MOD, net->service_fd, &event);
}

static void kick(int fd)
{
    uint64_t one = 1;
    (void)dsm_sys_write(fd, &one, sizeof one);
}

static void take_kicks(int fd)
{
    uint64_t kicks;
    (void)dsm_sys_read(fd, &kicks, sizeof kicks);
}

void dsm_tcp_poll_new_ring(struct dsm_tcp_conn *conn)
{
    if (!dsm_shm_want_bytes(&conn->shm->rx))
        return;
    kick(conn->net->kick_fd);
    if (conn->rx_lane == DSM_TCP_REQUEST)
        kick(conn->net->service_kick_fd);
}

void dsm_tcp_claim(struct dsm_net *net)
{
    atomic_store(&net->is_claimed, true);
    gate_set(net, false);
    dsm_tcp_shm_disarm(net); /* who holds the claim looks */
}

void dsm_tcp_release(struct dsm_net *net)
{
    atomic_store(&net->is_claimed, false);
    gate_set(net, true);
    if (dsm_tcp_shm_arm(net, false))
        kick(net->service_kick_fd);
}

void dsm_tcp_kick(struct dsm_net *net)
{
    kick(net->kick_fd);
}

void dsm_tcp_poll_arm(struct dsm_net *net)
{
    net->is_armed = true;
    atomic_store(&net->n_looks,
                 LOOKS_IN_ROW - 1); /* who has slept on the set is to ask it, and take the bell */
    if (dsm_tcp_shm_arm(net, true))
        kick(net->kick_fd);
}

/* on_sent may have sent something, too. */
static void end_batch(struct dsm_net *net, bool has_called)
{
    if (has_called)
        net->handler.on_batch_end(net->handler.user);
}

/* The reading may have been taken from this thread a moment ago and the claim been released: then
 * the service thread counts on its bells. */
static void disarm(struct dsm_net *net)
{
    net->is_armed = false;
    dsm_tcp_shm_disarm(net);
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load(&net->is_claimed) && dsm_tcp_shm_arm(net, false))
        kick(net->service_kick_fd);
}

/* What can be seen without asking the poll set. False: it has to be asked, now and then also where
 * there is always something in the rings: for sockets, ends, and bells that tell of room. */
static bool look(struct dsm_net *net, int64_t timeout_us, int *n_out)
{
    if (net->is_armed)
        disarm(net);
    bool has_sockets = atomic_load_explicit(&net->has_sockets, memory_order_relaxed);
    uint32_t n_looks = atomic_load_explicit(&net->n_looks, memory_order_relaxed) + 1;
    bool is_turn = n_looks % (has_sockets ? MAX_HINT_HITS : LOOKS_IN_ROW) == 0;
    atomic_store_explicit(&net->n_looks, n_looks, memory_order_relaxed);
    *n_out = dsm_tcp_shm_look(net, timeout_us != 0 ? DSM_TCP_WAIT : DSM_TCP_LOOK, true);
    if (*n_out)
        return !is_turn;
    if (timeout_us == 0 && !has_sockets && !is_turn &&
        atomic_load_explicit(&net->shared, memory_order_relaxed))
        return true;
    /* Most often the answer comes from where the last one came from. */
    if (net->hint && net->hint_hits < MAX_HINT_HITS) {
        *n_out = dsm_tcp_rx_read(net->hint, DSM_TCP_LOOK, true);
        if (*n_out) {
            net->hint_hits++;
            return true;
        }
    }
    net->hint_hits = 0;
    return false;
}

/* Bells tell of room as well. Only after they have been taken: one that comes while the ring is
 * being filled must be found by the next look. */
static bool write_after_bell(struct dsm_tcp_conn *conn)
{
    if (conn->shm)
        dsm_tcp_tx_write(conn);
    return conn->shm != NULL;
}

int dsm_tcp_poll(struct dsm_net *net, int64_t timeout_us)
{
    int n_frames = 0;
    if (look(net, timeout_us, &n_frames)) {
        end_batch(net, n_frames > 0);
        return n_frames;
    }
    if (n_frames > 0) {
        timeout_us = 0;
    } else if (timeout_us != 0) {
        net->is_armed = true;
        if (dsm_tcp_shm_arm(net, true))
            timeout_us = 0; /* it has come meanwhile; the next poll takes it */
    }
    struct epoll_event events[EVENTS_AT_ONCE];
    enum dsm_tcp_reader reader = timeout_us != 0 ? DSM_TCP_WAIT : DSM_TCP_LOOK;
    long n_events = dsm_sys_epoll_wait(net->poll_fd, events, EVENTS_AT_ONCE, timeout_us);
    bool has_written = false, is_rung = false;
    for (long i = 0; i < n_events; i++) {
        if (events[i].data.ptr == net) {
            take_kicks(net->kick_fd);
            continue;
        }
        if (dsm_tcp_bell_is(net, events[i].data.ptr)) {
            dsm_tcp_bell_take(events[i].data.ptr);
            is_rung = true;
            continue;
        }
        struct dsm_tcp_conn *conn = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) {
            dsm_tcp_tx_write(conn);
            has_written = true;
        }
        if (!(events[i].events & ~(uint32_t)EPOLLOUT))
            continue;
        int n = dsm_tcp_rx_read(conn, reader, true);
        if (n && !conn->shm)
            net->hint = conn;
        n_frames += n;
        has_written |= write_after_bell(conn);
    }
    if (is_rung)
        n_frames += dsm_tcp_shm_look(net, reader, true);
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
        if (events[i].data.ptr == net) {
            take_kicks(net->service_kick_fd);
            continue;
        }
        if (dsm_tcp_bell_is(net, events[i].data.ptr)) {
            dsm_tcp_bell_take(events[i].data.ptr);
            continue;
        }
        struct dsm_tcp_conn *conn = events[i].data.ptr;
        if (conn->rx_lane == DSM_TCP_REPLY && conn->shm)
            dsm_tcp_rx_take_room_bell(conn);
        if (events[i].events & EPOLLOUT || conn->rx_lane == DSM_TCP_REPLY) {
            dsm_tcp_tx_write(conn);
            has_written = true;
        }
        if (conn->rx_lane == DSM_TCP_REQUEST && events[i].events & ~(uint32_t)EPOLLOUT) {
            n_frames += dsm_tcp_rx_read(conn, DSM_TCP_SERVE, true);
            has_written |= write_after_bell(conn);
        }
    }
    n_frames += dsm_tcp_shm_look(net, DSM_TCP_SERVE, false);
    end_batch(net, n_frames > 0 || has_written);
    return n_frames;
}

void dsm_tcp_serve(struct dsm_net *net)
{
    uint64_t now_ns = dsm_clock_ns();
    uint64_t latest_ns = now_ns + SERVICE_MAX_NS, until_ns = now_ns;
    bool has_served = false;
    do {
        if (atomic_load(&net->is_claimed) || net->is_closing)
            break;
        int n = serve(net);
        has_served = true;
        now_ns = dsm_clock_ns();
        if (n)
            until_ns = now_ns + net->handler.service_spin_ns(net->handler.user);
    } while (now_ns < latest_ns && (now_ns < until_ns || dsm_tcp_shm_arm(net, false)));
    if (atomic_load(&net->is_claimed)) {
        /* Who has claimed it meanwhile may sleep by now: its bell may have been taken here, and
         * what it has asked for be used up, so that the next frame would ring nobody. */
        if (has_served && dsm_tcp_shm_arm(net, true))
            kick(net->kick_fd);
    } else if (!net->is_closing && now_ns >= latest_ns && dsm_tcp_shm_arm(net, false)) {
        kick(net->service_kick_fd);
    }
}
