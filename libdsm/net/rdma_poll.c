/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_poll.c - who reads when.
 *
 *   events of requests, of sends, wake --> service set --> gate --> the loop of the service thread
 *   events of all three queues, kick --> poll set --> the thread that holds the claim
 *
 * A completion queue announces one completion after it was armed, and none that was there before.
 * So whoever is about to sleep arms it and looks once more; who polls does neither. An event taken
 * out of a channel is as good as an armed queue lost: the taker arms it again before it goes, or is
 * the claim holder, which does so before it sleeps and when it leaves.
 *
 * The gate is what it is in tcp_poll.c: a claim takes away the loop's interest in the service set.
 */
#define _GNU_SOURCE
#include "net/rdma.h"
#include "net/sys.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#define EVENTS_AT_ONCE 8
/* The service thread goes back to its loop, which has timers to serve, after at most so long. */
#define SERVICE_MAX_NS (1 * DSM_NS_PER_MS)

/* ---- completion queues ---- */

int dsm_rdma_cq_open(struct dsm_net *net, struct dsm_rdma_cq *cq, uint32_t n_entries)
{
    cq->channel = ibv_create_comp_channel(net->verbs);
    if (cq->channel)
        cq->cq = ibv_create_cq(net->verbs, (int)n_entries, cq, cq->channel, 0);
    if (!cq->cq) {
        int number = errno;
        dsm_log(DSM_LOG_ERROR, "rdma: %s gives no completion queue of %u: %s%s", net->place.device,
                n_entries, strerrordesc_np(number), number == ENOMEM ? " (ulimit -l)" : "");
        return dsm_error_from_errno(number);
    }
    int flags = fcntl(cq->channel->fd, F_GETFL);
    if (flags < 0 || fcntl(cq->channel->fd, F_SETFL, flags | O_NONBLOCK))
        return dsm_error_from_errno(errno);
    return 0;
}

void dsm_rdma_cq_close(struct dsm_rdma_cq *cq)
{
    if (cq->cq) {
        ibv_ack_cq_events(cq->cq, atomic_load(&cq->n_events));
        (void)ibv_destroy_cq(cq->cq);
    }
    if (cq->channel)
        (void)ibv_destroy_comp_channel(cq->channel);
    cq->cq = NULL;
    cq->channel = NULL;
}

/* (locked) Up to DSM_RDMA_BATCH. */
int dsm_rdma_cq_take(struct dsm_rdma_cq *cq, struct ibv_wc *wc)
{
    int n = atomic_load_explicit(&cq->n_stashed, memory_order_relaxed);
    if (n) {
        memcpy(wc, cq->stash, (size_t)n * sizeof *wc);
        atomic_store_explicit(&cq->n_stashed, 0, memory_order_relaxed);
    } else {
        n = ibv_poll_cq(cq->cq, DSM_RDMA_BATCH, wc);
        n = n < 0 ? 0 : n; /* a device that is gone: its event ends the links */
    }
    if (n)
        atomic_fetch_add_explicit(&cq->n_completions, (unsigned)n, memory_order_relaxed);
    return n;
}

/* Is there something, or somebody who looks? */
static bool peek(struct dsm_rdma_cq *cq)
{
    if (atomic_load(&cq->n_stashed))
        return true;
    if (!dsm_mutex_trylock(&cq->lock))
        return true;
    if (!atomic_load_explicit(&cq->n_stashed, memory_order_relaxed)) {
        int n = ibv_poll_cq(cq->cq, DSM_RDMA_BATCH, cq->stash);
        atomic_store(&cq->n_stashed, n < 0 ? 0 : n);
    }
    bool is_there = atomic_load(&cq->n_stashed) > 0;
    dsm_mutex_unlock(&cq->lock);
    return is_there;
}

/* True: it was not armed; what came before makes no event, so look. */
static bool arm(struct dsm_rdma_cq *cq)
{
    if (atomic_exchange(&cq->is_armed, true))
        return false;
    (void)ibv_req_notify_cq(cq->cq, 0);
    return true;
}

static void take_event(struct dsm_net *net, struct dsm_rdma_cq *cq)
{
    struct ibv_cq *which;
    void *context;
    if (!atomic_load(&cq->is_armed) || ibv_get_cq_event(cq->channel, &which, &context))
        return;
    atomic_fetch_add_explicit(&cq->n_events, 1, memory_order_relaxed);
    unsigned index = cq == &net->sends ? 2 : cq == &net->lanes[DSM_RDMA_REPLY].cq;
    atomic_fetch_add_explicit(&net->n_wakes[index], 1, memory_order_relaxed);
    atomic_store(&cq->is_armed, false);
}

/* ---- open and close ---- */

static int add(int epoll_fd, int fd, void *who)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = who};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) ? dsm_error_from_errno(errno) : 0;
}

int dsm_rdma_poll_open(struct dsm_net *net)
{
    net->service_fd = epoll_create1(EPOLL_CLOEXEC);
    net->gate_fd = epoll_create1(EPOLL_CLOEXEC);
    net->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    net->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    net->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (net->service_fd < 0 || net->gate_fd < 0 || net->poll_fd < 0 || net->kick_fd < 0 ||
        net->wake_fd < 0)
        return dsm_error_from_errno(errno);
    int error = add(net->gate_fd, net->service_fd, net);
    if (!error)
        error = add(net->poll_fd, net->kick_fd, net);
    return error ? error : add(net->service_fd, net->wake_fd, net);
}

int dsm_rdma_poll_watch(struct dsm_net *net)
{
    struct dsm_rdma_cq *requests = &net->lanes[DSM_RDMA_REQUEST].cq;
    struct dsm_rdma_cq *replies = &net->lanes[DSM_RDMA_REPLY].cq;
    int error = add(net->service_fd, requests->channel->fd, requests);
    if (!error)
        error = add(net->service_fd, net->sends.channel->fd, &net->sends);
    if (!error)
        error = add(net->poll_fd, requests->channel->fd, requests);
    if (!error)
        error = add(net->poll_fd, replies->channel->fd, replies);
    if (!error)
        error = add(net->poll_fd, net->sends.channel->fd, &net->sends);
    if (!error)
        (void)arm(requests); /* nothing can have come yet */
    return error;
}

void dsm_rdma_poll_close(struct dsm_net *net)
{
    int *const fds[] = {&net->gate_fd, &net->service_fd, &net->poll_fd, &net->kick_fd,
                        &net->wake_fd};
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (*fds[i] >= 0)
            dsm_sys_close(*fds[i]);
        *fds[i] = -1;
    }
}

/* ---- claim and release ---- */

static void signal_fd(int fd)
{
    uint64_t one = 1;
    (void)dsm_sys_write(fd, &one, sizeof one);
}

static void clear_fd(int fd)
{
    uint64_t count;
    (void)dsm_sys_read(fd, &count, sizeof count);
}

static void gate_set(struct dsm_net *net, bool is_open)
{
    struct epoll_event event = {.events = is_open ? EPOLLIN : 0, .data.ptr = net};
    (void)epoll_ctl(net->gate_fd, EPOLL_CTL_MOD, net->service_fd, &event);
}

void dsm_rdma_claim(struct dsm_net *net)
{
    atomic_store(&net->is_claimed, true);
    gate_set(net, false);
}

/* Armed; true: something may be there that makes no event. */
static bool must_look(struct dsm_rdma_cq *cq)
{
    return arm(cq) ? peek(cq) : atomic_load(&cq->n_stashed) > 0;
}

void dsm_rdma_release(struct dsm_net *net)
{
    struct dsm_rdma_cq *requests = &net->lanes[DSM_RDMA_REQUEST].cq;
    int before = dsm_rdma_enter();
    atomic_store(&net->is_claimed, false);
    bool is_there = must_look(requests);
    if (atomic_load(&net->n_awaited))
        is_there |= must_look(&net->sends);
    is_there |= atomic_exchange(&net->is_owed_a_look, false);
    if (is_there)
        signal_fd(net->wake_fd);
    gate_set(net, true);
    dsm_rdma_leave(before);
}

bool dsm_rdma_watch_sends(struct dsm_net *net)
{
    /* A claim holder that is awake looks before it sleeps, and so does the service thread. */
    if (!atomic_load(&net->n_awaited) || atomic_load(&net->is_serving) ||
        (atomic_load(&net->is_claimed) && !atomic_load(&net->may_sleep)))
        return false;
    return arm(&net->sends);
}

/* ---- the thread that holds the claim ---- */

void dsm_rdma_kick(struct dsm_net *net)
{
    signal_fd(net->kick_fd);
    atomic_store(&net->is_kicked, true);
}

static void clear_kick(struct dsm_net *net)
{
    if (atomic_load(&net->is_kicked) && atomic_exchange(&net->is_kicked, false))
        clear_fd(net->kick_fd);
}

static void end_batch(struct dsm_net *net, int n_frames)
{
    if (n_frames)
        net->handler.on_batch_end(net->handler.user);
    dsm_rdma_tx_flush(net);
}

static int look(struct dsm_net *net, enum dsm_rdma_reader reader)
{
    int n_frames = dsm_rdma_rx_read(net, DSM_RDMA_REPLY, reader);
    int n_requests = dsm_rdma_rx_read(net, DSM_RDMA_REQUEST, reader);
    /* The events of what this thread has read would wake somebody for nothing. */
    if (n_frames)
        take_event(net, &net->lanes[DSM_RDMA_REPLY].cq);
    if (n_requests)
        take_event(net, &net->lanes[DSM_RDMA_REQUEST].cq);
    (void)dsm_rdma_reap(net, false);
    end_batch(net, n_frames + n_requests);
    return n_frames + n_requests;
}

static void take_events(struct dsm_net *net, int64_t timeout_us)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    long n = dsm_sys_epoll_wait(net->poll_fd, events, EVENTS_AT_ONCE, timeout_us);
    for (long i = 0; i < n; i++) {
        if (events[i].data.ptr != net)
            take_event(net, events[i].data.ptr);
    }
}

/* Before a sleep. True: something came before. */
static bool arm_all(struct dsm_net *net)
{
    atomic_store(&net->may_sleep, true);
    bool is_there = must_look(&net->lanes[DSM_RDMA_REPLY].cq);
    is_there |= must_look(&net->lanes[DSM_RDMA_REQUEST].cq);
    if (atomic_load(&net->n_awaited))
        is_there |= must_look(&net->sends);
    return is_there;
}

int dsm_rdma_poll(struct dsm_net *net, int64_t timeout_us)
{
    int before = dsm_rdma_enter();
    enum dsm_rdma_reader reader = timeout_us ? DSM_RDMA_WAIT : DSM_RDMA_LOOK;
    atomic_store(&net->may_sleep, false);
    int n = look(net, reader);
    if (n == 0 && timeout_us != 0) {
        if (!arm_all(net))
            take_events(net, timeout_us);
        atomic_store(&net->may_sleep, false);
        n = look(net, reader);
    }
    clear_kick(net);
    dsm_rdma_leave(before);
    return n;
}

void dsm_rdma_await_any(struct dsm_net *net, int timeout_ms)
{
    bool is_there = must_look(&net->sends);
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++)
        is_there |= must_look(&net->lanes[lane].cq);
    struct pollfd fds[] = {{.fd = net->poll_fd, .events = POLLIN},
                           {.fd = net->cm->fd, .events = POLLIN}};
    if (!is_there)
        (void)poll(fds, 2, timeout_ms);
    take_events(net, 0);
    clear_kick(net);
}

int dsm_rdma_poll_fd(struct dsm_net *net)
{
    int before = dsm_rdma_enter();
    take_events(net, 0);
    if (arm_all(net))
        dsm_rdma_kick(net);
    dsm_rdma_leave(before);
    return net->poll_fd;
}

/* ---- the service thread ---- */

static int serve(struct dsm_net *net)
{
    int n_frames = dsm_rdma_rx_read(net, DSM_RDMA_REQUEST, DSM_RDMA_SERVE);
    (void)dsm_rdma_reap(net, true);
    end_batch(net, n_frames);
    return n_frames;
}

static void serve_and_spin(struct dsm_net *net)
{
    uint64_t now_ns = dsm_clock_ns();
    uint64_t latest_ns = now_ns + SERVICE_MAX_NS, until_ns = now_ns;
    do {
        if (atomic_load(&net->is_claimed))
            return;
        int n = serve(net);
        now_ns = dsm_clock_ns();
        if (n)
            until_ns = now_ns + net->handler.service_spin_ns(net->handler.user);
    } while (now_ns < until_ns && now_ns < latest_ns);
}

/* Before the service thread sleeps. True: there is more for it. */
static bool rest(struct dsm_net *net)
{
    atomic_store(&net->is_serving, false);
    bool is_there = must_look(&net->lanes[DSM_RDMA_REQUEST].cq);
    if (atomic_load(&net->n_awaited))
        is_there |= must_look(&net->sends);
    if (is_there && atomic_load(&net->is_claimed)) {
        /* The claim holder's. It may sleep in the belief that the queue was armed, or look no more
         * and release; if it has released by now, it is ours after all. */
        atomic_store(&net->is_owed_a_look, true);
        dsm_rdma_kick(net);
        return !atomic_load(&net->is_claimed) && atomic_exchange(&net->is_owed_a_look, false);
    }
    return is_there;
}

void dsm_rdma_serve(struct dsm_net *net)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int before = dsm_rdma_enter();
    long n = dsm_sys_epoll_wait(net->service_fd, events, EVENTS_AT_ONCE, 0);
    for (long i = 0; i < n; i++) {
        if (events[i].data.ptr == net)
            clear_fd(net->wake_fd);
        else
            take_event(net, events[i].data.ptr);
    }
    atomic_store(&net->is_serving, true);
    serve_and_spin(net);
    if (rest(net))
        signal_fd(net->wake_fd); /* after the loop's other business */
    dsm_rdma_leave(before);
}
