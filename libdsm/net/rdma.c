/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma.c - the rdma transport: opening, addresses, closing; the table. */
#define _GNU_SOURCE
#include "net/rdma.h"
#include "net/address.h"
#include "net/config.h"
#include "net/sys.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* Longer than tcp's: rdma_cm repeats a message that was lost after 4.3 seconds. */
#define DEFAULT_CONNECT_TIMEOUT_S 30.0
/* How long close waits for peers that do not read. */
#define MAX_LINGER_NS (1 * DSM_NS_PER_S)

static void free_net(struct dsm_net *net)
{
    for (uint32_t rank = 0; net->peers && rank < net->n_ranks; rank++)
        dsm_rdma_peer_free(&net->peers[rank]);
    free(net->peers);
    free(net->build);
    free(net);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct dsm_net *net = handle->data;
    if (--net->n_handles == 0)
        free_net(net);
}

/* Everything of the device and of the kernel goes now; the memory when the loop has seen the
 * handles close, or at once if none was open. */
static void shut(struct dsm_net *net)
{
    /* In the order in which they were opened: the first n_handles exist. */
    uv_handle_t *const handles[] = {(uv_handle_t *)&net->chores.tick,
                                    (uv_handle_t *)&net->chores.async,
                                    (uv_handle_t *)&net->gate_watch, (uv_handle_t *)&net->cm_watch,
                                    (uv_handle_t *)&net->device_watch};
    unsigned n = net->n_handles;
    for (unsigned i = 0; i < n; i++)
        uv_close(handles[i], on_handle_closed);
    dsm_rdma_region_close(net);
    dsm_rdma_memory_close(net);
    dsm_rdma_cm_close(net);
    dsm_rdma_poll_close(net);
    if (net->device_fd >= 0)
        dsm_sys_close(net->device_fd);
    net->device_fd = -1;
    if (n == 0)
        free_net(net);
}

static void on_gate(uv_poll_t *watch, int status, int events)
{
    (void)status;
    (void)events;
    dsm_rdma_serve(watch->data);
}

/* What the device says by itself. */
static void on_device(uv_poll_t *watch, int status, int events)
{
    struct dsm_net *net = watch->data;
    struct ibv_async_event event;
    (void)status;
    (void)events;
    while (!net->is_closing && !ibv_get_async_event(net->verbs, &event)) {
        enum ibv_event_type type = event.event_type;
        bool is_pair = type == IBV_EVENT_QP_FATAL || type == IBV_EVENT_QP_REQ_ERR ||
                       type == IBV_EVENT_QP_ACCESS_ERR;
        uint32_t number = is_pair ? event.element.qp->qp_num : 0;
        ibv_ack_async_event(&event);
        if (is_pair)
            dsm_rdma_qp_failed(net, number, ibv_event_type_str(type));
        if (type == IBV_EVENT_DEVICE_FATAL || type == IBV_EVENT_CQ_ERR || type == IBV_EVENT_SRQ_ERR)
            dsm_rdma_device_gone(net, ibv_event_type_str(type));
        else if (type == IBV_EVENT_PORT_ERR)
            dsm_log(DSM_LOG_WARN, "rdma: %s port %u: the link is down", net->place.device,
                    net->place.port);
    }
    dsm_rdma_flush(net);
}

static int open_watch(struct dsm_net *net, uv_poll_t *watch, int fd)
{
    watch->data = net;
    if (uv_poll_init(net->loop, watch, fd))
        return DSM_E_SYSTEM;
    net->n_handles++;
    return 0;
}

static int open_handles(struct dsm_net *net)
{
    int flags = fcntl(net->verbs->async_fd, F_GETFL);
    if (flags < 0 || fcntl(net->verbs->async_fd, F_SETFL, flags | O_NONBLOCK))
        return dsm_error_from_errno(errno);
    int error = open_watch(net, &net->gate_watch, net->gate_fd);
    if (!error)
        error = open_watch(net, &net->cm_watch, net->cm->fd);
    /* The device's descriptor is librdmacm's, and other users of it in the process share it: the
     * loop takes one of its own. */
    if (!error)
        error = (net->device_fd = fcntl(net->verbs->async_fd, F_DUPFD_CLOEXEC, 3)) < 0
                    ? dsm_error_from_errno(errno)
                    : open_watch(net, &net->device_watch, net->device_fd);
    if (error)
        return error;
    return uv_poll_start(&net->gate_watch, UV_READABLE, on_gate) ||
                   uv_poll_start(&net->device_watch, UV_READABLE, on_device)
               ? DSM_E_SYSTEM
               : 0;
}

/* The library's own memory, which cards write to, must stay the parent's where the kernel does not
 * see to that itself (before 5.12); ours always does (rdma_memory.c). */
static int prepare_for_fork(void)
{
    int number = ibv_is_fork_initialized() == IBV_FORK_DISABLED ? ibv_fork_init() : 0;
    if (!number)
        return 0;
    dsm_log(DSM_LOG_ERROR, "rdma: this process could not fork with a device open: %s",
            strerrordesc_np(number));
    return DSM_E_UNSUPPORTED;
}

static int open_device(struct dsm_net *net, const struct dsm_net_config *config)
{
    int error = dsm_rdma_place_choose(&config->rdma, config->listen_host, &net->place);
    if (!error)
        error = prepare_for_fork();
    if (!error)
        error = dsm_rdma_cm_open(net);
    if (!error && ibv_query_device(net->verbs, &net->attr))
        error = DSM_E_SYSTEM;
    if (!error)
        error = dsm_rdma_memory_open(net, &config->rdma);
    if (!error)
        error = dsm_rdma_poll_watch(net);
    return error;
}

static int rdma_open(const struct dsm_net_config *config, const struct dsm_net_handler *handler,
                     struct dsm_net **net_out)
{
    int error = dsm_net_check_config("rdma", config);
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
    net->inline_bytes = DSM_RDMA_HEAD_BYTES;
    net->build = strdup(config->build);
    memcpy(net->token, config->token, sizeof net->token);
    net->service_fd = net->gate_fd = net->poll_fd = net->kick_fd = net->wake_fd = -1;
    net->device_fd = -1;
    net->rng = dsm_net_random_seed();
    net->peers = calloc(net->n_ranks, sizeof *net->peers);
    error = net->peers && net->build ? 0 : DSM_E_NOMEM;
    for (uint32_t rank = 0; !error && rank < net->n_ranks; rank++)
        dsm_rdma_peer_init(net, &net->peers[rank], rank);
    if (!error)
        error = dsm_rdma_poll_open(net);
    if (!error)
        error = open_device(net, config);
    if (!error)
        error = dsm_rdma_chore_open(net);
    if (!error)
        error = open_handles(net);
    /* The first peers' buffers are there before the first hello. */
    if (!error)
        error = dsm_rdma_memory_admit(net, 1);
    if (error) {
        shut(net);
        return error;
    }
    *net_out = net;
    return 0;
}

static int rdma_address(struct dsm_net *net, char *out, size_t out_bytes)
{
    if (strlen(net->address) >= out_bytes)
        return DSM_E_INVAL;
    memcpy(out, net->address, strlen(net->address) + 1);
    return 0;
}

static int rdma_set_peers(struct dsm_net *net, uint32_t self, const char *const *addresses)
{
    if (self >= net->n_ranks) {
        dsm_log(DSM_LOG_ERROR, "rdma: rank %u of %u ranks", self, net->n_ranks);
        return DSM_E_INVAL;
    }
    net->self = self;
    for (uint32_t rank = 0; rank < net->n_ranks; rank++) {
        if (rank == net->self)
            continue;
        int error = dsm_rdma_peer_set_address(&net->peers[rank], addresses[rank]);
        if (error) {
            dsm_log(DSM_LOG_ERROR,
                    "the address of rank %u is \"%s\"; over rdma it must be an IPv4 address and a "
                    "port, as in 10.0.0.1:40123",
                    rank, addresses[rank]);
            return error;
        }
    }
    net->has_peers = true;
    for (uint32_t rank = 0; rank < net->n_ranks; rank++)
        if (atomic_load(&net->peers[rank].is_wanted))
            dsm_rdma_peer_connect(&net->peers[rank]);
    return dsm_rdma_cm_start(net);
}

static bool rdma_is_connected(struct dsm_net *net, uint32_t rank)
{
    if (rank >= net->n_ranks)
        return false;
    struct dsm_rdma_tx *tx = &net->peers[rank].conns[DSM_RDMA_REQUEST].tx;
    dsm_mutex_lock(&tx->lock);
    bool is_live = (tx->qp || tx->queue.head) && !tx->is_ending;
    dsm_mutex_unlock(&tx->lock);
    return is_live;
}

static void rdma_peer_left(struct dsm_net *net, uint32_t rank)
{
    if (rank < net->n_ranks)
        atomic_store(&net->peers[rank].has_left, true);
}

static bool is_all_out(struct dsm_net *net)
{
    bool is_out = true;
    for (uint32_t rank = 0; rank < net->n_ranks; rank++)
        for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++)
            is_out &= dsm_rdma_tx_is_out(&net->peers[rank].conns[lane]);
    return is_out;
}

/* Frames go out as their receivers make room, which their messages tell, and the last one is out
 * when its completion is here; what else comes is thrown away. */
static void linger(struct dsm_net *net)
{
    uint64_t now_ns = dsm_clock_ns(), until_ns = now_ns + MAX_LINGER_NS;
    while (!is_all_out(net) && now_ns < until_ns) {
        dsm_rdma_read_all(net);
        (void)dsm_rdma_reap(net, true);
        dsm_rdma_cm_drain(net);
        if (!is_all_out(net))
            dsm_rdma_await_any(net, (int)((until_ns - now_ns) / DSM_NS_PER_MS) + 1);
        now_ns = dsm_clock_ns();
    }
}

static void rdma_counters(struct dsm_net *net, struct dsm_net_counters *out);

/* What the traffic took, for who tunes it. */
static void say_counters(struct dsm_net *net)
{
    struct dsm_net_counters c;
    rdma_counters(net, &c);
    if (c.doorbells == 0)
        return;
    dsm_log(
        DSM_LOG_INFO,
        "rdma: %lu posts of %lu work requests, %lu posts of receives; completions: %lu "
        "requests, %lu replies, %lu sends; wake-ups: %lu, %lu, %lu; %lu frames had their bytes "
        "written here, %lu were sent through buffers, %lu messages told credits; %lu KiB of the "
        "region registered",
        c.doorbells, c.work_requests, c.receives, c.completions_request, c.completions_reply,
        c.completions_send, c.wakes_request, c.wakes_reply, c.wakes_send, c.landed, c.eager,
        c.credits, c.pinned_bytes >> 10);
}

static void rdma_close(struct dsm_net *net)
{
    int before = dsm_rdma_enter();
    say_counters(net);
    net->is_closing = true;
    dsm_rdma_tx_flush(net);
    linger(net);
    for (uint32_t rank = 0; rank < net->n_ranks; rank++)
        dsm_rdma_peer_end(&net->peers[rank], true);
    while (net->links)
        dsm_rdma_link_close(net->links);
    shut(net);
    dsm_rdma_leave(before);
}

static void rdma_counters(struct dsm_net *net, struct dsm_net_counters *out)
{
    *out = (struct dsm_net_counters){
        .doorbells = atomic_load(&net->n_doorbells),
        .work_requests = atomic_load(&net->n_requests),
        .receives = atomic_load(&net->n_receives),
        .completions_request = atomic_load(&net->lanes[DSM_RDMA_REQUEST].cq.n_completions),
        .completions_reply = atomic_load(&net->lanes[DSM_RDMA_REPLY].cq.n_completions),
        .completions_send = atomic_load(&net->sends.n_completions),
        .wakes_request = atomic_load(&net->n_wakes[DSM_RDMA_REQUEST]),
        .wakes_reply = atomic_load(&net->n_wakes[DSM_RDMA_REPLY]),
        .wakes_send = atomic_load(&net->n_wakes[2]),
        .landed = atomic_load(&net->n_landed),
        .eager = atomic_load(&net->n_eager),
        .credits = atomic_load(&net->n_credit_messages),
        .pinned_bytes = atomic_load(&net->region.pinned_bytes),
        .unpinned = atomic_load(&net->region.n_unpinned),
    };
}

const struct dsm_net_ops dsm_net_rdma = {
    .name = "rdma",
    .same_network = true,
    .probe = dsm_rdma_probe,
    .open = rdma_open,
    .address = rdma_address,
    .set_peers = rdma_set_peers,
    .set_memory = dsm_rdma_region_set,
    .landing = dsm_rdma_landing,
    .unpin = dsm_rdma_unpin,
    .send = dsm_rdma_send,
    .flush = dsm_rdma_flush,
    .claim = dsm_rdma_claim,
    .release = dsm_rdma_release,
    .poll = dsm_rdma_poll,
    .kick = dsm_rdma_kick,
    .poll_fd = dsm_rdma_poll_fd,
    .peer_left = rdma_peer_left,
    .expel = dsm_rdma_expel,
    .is_connected = rdma_is_connected,
    .counters = rdma_counters,
    .close = rdma_close,
};
