/* SPDX-License-Identifier: BSD-3-Clause */
/* membership.c - one connection to dsmd: join, then beat and listen until the end. */
#include "runtime/membership.h"
#include "runtime/membership_host.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "core/ids.h"
#include "proto/control.h"
#include "proto/framing.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEFAULT_JOIN_TIMEOUT_S 60.0
/* dsmd's message about an incomplete job names the missing ranks: give it the time to come. */
#define JOIN_SLACK_MS 3000u
#define READ_BYTES    16384u
#define ABORT_BYTES   (DSM_CONTROL_MAX_TEXT_BYTES + 64u)

/*
 * CONNECTING -> JOINING -> RUNNING -> LEAVING -> LEFT
 *      \___________\_________\___________\________\-> LOST
 */
enum state { CONNECTING, JOINING, RUNNING, LEAVING, LEFT, LOST };

struct dsm_membership {
    struct dsm_membership_config config; /* its texts are not used after the join */
    uv_loop_t *loop;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_timer_t timer; /* the end of the join; afterwards the beats */
    uv_async_t async; /* dsm_membership_leave, and what was held */
    unsigned n_open_handles;
    struct dsm_framing framing;
    char read_buf[READ_BYTES];

    enum state state;
    int join_error; /* LOST before RUNNING */
    /* What comes right behind Start waits until dsm_membership_join has returned: before that
     * nobody expects a callback. */
    bool is_held;
    int held_end; /* the libuv code of an end of the connection in that time */
    uint64_t proposed_base;
    struct dsm_job_info info;
    char transport_reason[DSM_CONTROL_MAX_TEXT_BYTES];
    Dsm__Control *roster; /* info's texts live in it */
    const char **addresses, **hosts;
    uint32_t *pids;
    bool *is_local;

    uint64_t lease_ns, beat_ns, beat_number;
    uint64_t heard_ns;  /* dsmd's last sign of life */
    uint64_t beaten_ns; /* when the beat timer last ran */

    /* For dsm_membership_abort: the socket while it may be written to, and whether the loop has an
     * unfinished message in it. */
    atomic_int fd;
    atomic_int n_unfinished;

    pthread_mutex_t lock; /* guards what dsm_membership_leave waits for */
    pthread_cond_t changed;
    bool leave_wanted, has_left, is_gone;
};

/* ---- sending ------------------------------------------------------------------------------- */

struct send_request {
    uv_write_t write;
    struct dsm_membership *membership;
    uint8_t *bytes;
};

static void lose(struct dsm_membership *m, int error, const char *reason);

static void on_written(uv_write_t *write, int status)
{
    struct send_request *request = (struct send_request *)write;
    struct dsm_membership *m = request->membership;
    free(request->bytes);
    free(request);
    atomic_fetch_sub(&m->n_unfinished, 1);
    if (status < 0 && status != UV_ECANCELED)
        lose(m, DSM_E_CONNECT, uv_strerror(status));
}

static void send_message(struct dsm_membership *m, const Dsm__Control *message)
{
    struct send_request *request = malloc(sizeof *request);
    size_t len_bytes;
    if (!request || dsm_control_pack(message, &request->bytes, &len_bytes) != 0) {
        free(request);
        lose(m, DSM_E_NOMEM, "out of memory");
        return;
    }
    uv_buf_t buf = uv_buf_init((char *)request->bytes, (unsigned)len_bytes);
    /* Nearly always the whole message goes out here, in one system call. */
    int sent = uv_try_write((uv_stream_t *)&m->tcp, &buf, 1);
    if (sent == (int)len_bytes) {
        free(request->bytes);
        free(request);
        return;
    }
    if (sent > 0)
        buf = uv_buf_init(buf.base + sent, (unsigned)len_bytes - (unsigned)sent);
    request->membership = m;
    atomic_fetch_add(&m->n_unfinished, 1);
    int error = uv_write(&request->write, (uv_stream_t *)&m->tcp, &buf, 1, on_written);
    if (error) {
        atomic_fetch_sub(&m->n_unfinished, 1);
        free(request->bytes);
        free(request);
        lose(m, DSM_E_CONNECT, uv_strerror(error));
    }
}

/* What a dsmd that knows nothing of offers takes: the last resort among those that are there. */
static const struct dsm_membership_offer *plain_offer(const struct dsm_membership *m)
{
    const struct dsm_membership_offer *plain = &m->config.offers[0];
    for (uint32_t i = 0; i < m->config.n_offers; i++)
        if (*m->config.offers[i].lane_address)
            plain = &m->config.offers[i];
    return plain;
}

static void send_join(struct dsm_membership *m)
{
    char host[DSM_HOST_TEXT_BYTES], host_id[DSM_HOST_TEXT_BYTES];
    dsm_membership_host_name(host);
    dsm_membership_host_id(host_id);
    Dsm__Join join = DSM__JOIN__INIT;
    join.protocol = DSM_CONTROL_PROTOCOL;
    join.token = (ProtobufCBinaryData){sizeof m->config.token, m->config.token};
    join.wanted_rank = m->config.wanted_rank;
    join.n_ranks = m->config.n_ranks;
    join.host = host;
    join.host_id = host_id;
    join.pid = (uint32_t)getpid();
    join.build = (char *)m->config.build;
    join.page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
    join.cpu = (char *)dsm_membership_cpu();
    join.region_bytes = m->config.region_bytes;
    join.trap = (char *)m->config.trap;
    join.base_addr = m->config.base;
    join.join_timeout_ms = (uint32_t)(m->config.join_timeout_s * 1000);
    join.can_show = m->config.handler.on_watched != NULL;
    Dsm__Offer offers[DSM_CONTROL_MAX_OFFERS], *list[DSM_CONTROL_MAX_OFFERS];
    char reasons[DSM_CONTROL_MAX_OFFERS][DSM_CONTROL_MAX_TEXT_BYTES];
    for (uint32_t i = 0; i < m->config.n_offers; i++) {
        const struct dsm_membership_offer *offer = &m->config.offers[i];
        dsm__offer__init(&offers[i]);
        offers[i].transport = (char *)offer->transport;
        offers[i].lane_address = (char *)offer->lane_address;
        offers[i].network = (char *)offer->network;
        offers[i].reason = dsm_control_clean_text(offer->reason, reasons[i]);
        list[i] = &offers[i];
    }
    join.n_offers = m->config.n_offers;
    join.offers = list;
    const struct dsm_membership_offer *plain = plain_offer(m);
    join.lane_address = (char *)plain->lane_address;
    join.transport = (char *)plain->transport;
    join.wanted_transport = (char *)(m->config.wanted_transport ? m->config.wanted_transport : "");
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_JOIN;
    message.join = &join;
    send_message(m, &message);
}

static void send_leave(struct dsm_membership *m)
{
    Dsm__Leave leave = DSM__LEAVE__INIT;
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_LEAVE;
    message.leave = &leave;
    send_message(m, &message);
}

static void send_beat(struct dsm_membership *m)
{
    Dsm__Beat beat = DSM__BEAT__INIT;
    beat.number = ++m->beat_number;
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_BEAT;
    message.beat = &beat;
    send_message(m, &message);
}

void dsm_membership_show(struct dsm_membership *m, const void *live, size_t len_bytes)
{
    if (m->state != RUNNING || atomic_load(&m->n_unfinished) > 0)
        return;
    Dsm__Show show = DSM__SHOW__INIT;
    show.live = (ProtobufCBinaryData){len_bytes, (uint8_t *)(uintptr_t)live};
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_SHOW;
    message.show = &show;
    send_message(m, &message);
}

/* ---- losing dsmd --------------------------------------------------------------------------- */

/* The connection is of no more use. Before the job runs this is what fails the join. */
static void lose_quietly(struct dsm_membership *m, int error)
{
    bool was_connecting = m->state == CONNECTING;
    atomic_store(&m->fd, -1);
    m->state = LOST;
    m->join_error = error;
    uv_timer_stop(&m->timer);
    if (!was_connecting)
        uv_read_stop((uv_stream_t *)&m->tcp);
    pthread_mutex_lock(&m->lock);
    m->is_gone = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static void lose(struct dsm_membership *m, int error, const char *reason)
{
    enum state before = m->state;
    if (before == LOST)
        return;
    lose_quietly(m, error);
    if (before == CONNECTING || before == JOINING) {
        dsm_log(DSM_LOG_ERROR, "cannot join the job at dsmd %s: %s", m->config.daemon, reason);
    } else if (before == RUNNING) {
        char text[DSM_CONTROL_MAX_TEXT_BYTES + 64];
        dsm_format(text, sizeof text, "lost dsmd: %s", reason);
        m->config.handler.on_daemon_lost(m->config.handler.user, text);
    }
}

/* ---- messages of dsmd ---------------------------------------------------------------------- */

static void on_refuse(struct dsm_membership *m, const Dsm__Refuse *refuse)
{
    if (m->state == RUNNING) {
        lose(m, refuse->error, refuse->reason);
        return;
    }
    if (m->state != JOINING)
        return;
    lose_quietly(m, refuse->error);
    dsm_log(refuse->is_reported ? DSM_LOG_INFO : DSM_LOG_ERROR, "cannot join the job: %s",
            refuse->reason);
}

static void on_propose(struct dsm_membership *m, const Dsm__Propose *propose)
{
    char why[DSM_CONTROL_MAX_TEXT_BYTES] = "", clean[DSM_CONTROL_MAX_TEXT_BYTES];
    uint64_t suggestion = 0;
    if (m->state != JOINING || propose->region_bytes != m->config.region_bytes) {
        lose(m, DSM_E_PROTO, "a base was proposed out of turn");
        return;
    }
    const struct dsm_membership_handler *h = &m->config.handler;
    int error = h->try_base(h->user, propose->base_addr, propose->region_bytes, &suggestion, why,
                            sizeof why);
    m->proposed_base = propose->base_addr;
    Dsm__Mapped mapped = DSM__MAPPED__INIT;
    mapped.round = propose->round;
    mapped.is_mapped = error == 0;
    mapped.suggestion = error ? suggestion : 0;
    mapped.reason = dsm_control_clean_text(error ? why : "", clean);
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_MAPPED;
    message.mapped = &mapped;
    send_message(m, &message);
}

static int fill_peers(struct dsm_membership *m, const Dsm__Start *start)
{
    const Dsm__Roster *roster = m->roster->roster;
    size_t n = roster->n_peers;
    m->addresses = calloc(n, sizeof *m->addresses);
    m->hosts = calloc(n, sizeof *m->hosts);
    m->pids = calloc(n, sizeof *m->pids);
    m->is_local = calloc(n, sizeof *m->is_local);
    if (!m->addresses || !m->hosts || !m->pids || !m->is_local)
        return DSM_E_NOMEM;
    m->info.n_local = 0;
    for (size_t i = 0; i < n; i++) {
        m->addresses[i] = roster->peers[i]->lane_address;
        m->hosts[i] = roster->peers[i]->host;
        m->pids[i] = roster->peers[i]->pid;
        m->is_local[i] = roster->peers[i]->host_index == roster->peers[start->rank]->host_index;
        m->info.n_local += m->is_local[i];
    }
    return 0;
}

static void on_beat_time(uv_timer_t *timer)
{
    struct dsm_membership *m = timer->data;
    uint64_t now_ns = dsm_clock_ns();
    uint64_t gap_ns = now_ns - m->beaten_ns;
    m->beaten_ns = now_ns;
    if (m->state != RUNNING && m->state != LEAVING)
        return;
    /* When this process did not run, dsmd's answers lie unread: that is not its silence. */
    if (gap_ns > 2 * m->beat_ns) {
        m->heard_ns += gap_ns - m->beat_ns;
        if (m->heard_ns > now_ns)
            m->heard_ns = now_ns;
    }
    if (now_ns - m->heard_ns > m->lease_ns) {
        char reason[120];
        dsm_format(reason, sizeof reason, "it was silent for %lu ms (lease %lu ms)",
                   (uint64_t)((now_ns - m->heard_ns) / DSM_NS_PER_MS),
                   (uint64_t)(m->lease_ns / DSM_NS_PER_MS));
        lose(m, DSM_E_TIMEOUT, reason);
        return;
    }
    send_beat(m);
}

/* False: the job takes one that this rank has not offered. */
static bool take_transport(struct dsm_membership *m, const Dsm__Start *start)
{
    const char *name = *start->transport ? start->transport : plain_offer(m)->transport;
    for (uint32_t i = 0; i < m->config.n_offers; i++) {
        const struct dsm_membership_offer *offer = &m->config.offers[i];
        if (strcmp(offer->transport, name) != 0 || !*offer->lane_address)
            continue;
        m->info.transport = offer->transport;
        dsm_format(m->transport_reason, sizeof m->transport_reason, "%s", start->transport_reason);
        m->info.transport_reason = m->transport_reason;
        return true;
    }
    return false;
}

static void on_start(struct dsm_membership *m, const Dsm__Start *start)
{
    if (m->state != JOINING || !m->roster || m->roster->roster->n_peers != start->n_ranks ||
        start->n_ranks != m->config.n_ranks || start->base_addr != m->proposed_base ||
        start->region_bytes != m->config.region_bytes) {
        lose(m, DSM_E_PROTO, "the job was started out of turn");
        return;
    }
    if (!take_transport(m, start)) {
        lose(m, DSM_E_PROTO, "the job takes a transport that this rank has not offered");
        return;
    }
    if (fill_peers(m, start) != 0) {
        lose(m, DSM_E_NOMEM, "out of memory");
        return;
    }
    m->info.rank = start->rank;
    m->info.n_ranks = start->n_ranks;
    m->info.epoch = start->epoch;
    m->info.base = start->base_addr;
    m->info.region_bytes = start->region_bytes;
    m->info.addresses = m->addresses;
    m->info.hosts = m->hosts;
    m->info.pids = m->pids;
    m->info.is_local = m->is_local;
    m->info.is_managed = start->is_managed;
    m->state = RUNNING;
    m->is_held = true;
    uv_timer_stop(&m->timer);
    m->heard_ns = m->beaten_ns = dsm_clock_ns();
    m->lease_ns = start->lease_ms * DSM_NS_PER_MS;
    m->beat_ns = start->beat_ms * DSM_NS_PER_MS;
    if (start->beat_ms)
        uv_timer_start(&m->timer, on_beat_time, start->beat_ms, start->beat_ms);
}

static void on_left(struct dsm_membership *m, const Dsm__Left *left)
{
    if (left->rank != m->info.rank) {
        if (m->state == RUNNING && left->rank < m->info.n_ranks)
            m->config.handler.on_left(m->config.handler.user, left->rank);
        return;
    }
    if (m->state != LEAVING)
        return;
    m->state = LEFT;
    pthread_mutex_lock(&m->lock);
    m->has_left = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static void handle_message(struct dsm_membership *m, Dsm__Control **message)
{
    const struct dsm_membership_handler *h = &m->config.handler;
    Dsm__Control *c = *message;
    switch (c->body_case) {
    case DSM__CONTROL__BODY_REFUSE:
        on_refuse(m, c->refuse);
        return;
    case DSM__CONTROL__BODY_PROPOSE:
        on_propose(m, c->propose);
        return;
    case DSM__CONTROL__BODY_ROSTER:
        if (m->state != JOINING || m->roster) {
            lose(m, DSM_E_PROTO, "addresses came out of turn");
            return;
        }
        m->roster = c; /* kept: the caller does not free it */
        *message = NULL;
        return;
    case DSM__CONTROL__BODY_START:
        on_start(m, c->start);
        return;
    case DSM__CONTROL__BODY_VIEW:
        if (m->state == RUNNING && c->view->dead_rank < m->info.n_ranks)
            h->on_view(h->user, c->view->epoch, c->view->dead_rank, c->view->reason);
        return;
    case DSM__CONTROL__BODY_LEFT:
        on_left(m, c->left);
        return;
    case DSM__CONTROL__BODY_ABORTED:
        if (m->state == RUNNING)
            h->on_abort(h->user, c->aborted->rank, c->aborted->status, c->aborted->reason);
        return;
    case DSM__CONTROL__BODY_WATCHED:
        if (m->state == RUNNING && h->on_watched)
            h->on_watched(h->user, c->watched->every_ms);
        return;
    default: /* BeatReply: to be heard is all it is for; dsm_control_unpack refuses the rest */
        return;
    }
}

/* ---- the connection ------------------------------------------------------------------------ */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct dsm_membership *m = handle->data;
    *buf = uv_buf_init(m->read_buf, sizeof m->read_buf);
}

/* Handles whole messages as long as there are some and somebody wants them. */
static void deliver(struct dsm_membership *m)
{
    while (m->state != LOST && !m->is_held) {
        const uint8_t *bytes;
        size_t len_bytes;
        int got = dsm_framing_next(&m->framing, &bytes, &len_bytes);
        if (got == 0)
            return;
        Dsm__Control *message = NULL;
        const char *reason = "a control message is too long";
        if (got < 0 ||
            dsm_control_unpack(bytes, len_bytes, DSM_CONTROL_FROM_DAEMON, &message, &reason) != 0) {
            lose(m, DSM_E_PROTO, reason);
            return;
        }
        handle_message(m, &message);
        if (message)
            dsm_control_free(message);
    }
}

static void lose_connection(struct dsm_membership *m, int uv_error)
{
    lose(m, DSM_E_CONNECT,
         uv_error == UV_EOF ? "it closed the control connection" : uv_strerror(uv_error));
}

static void on_read(uv_stream_t *stream, ssize_t n_read, const uv_buf_t *buf)
{
    struct dsm_membership *m = stream->data;
    if (n_read < 0 && m->is_held) {
        m->held_end = (int)n_read;
        uv_read_stop(stream);
    } else if (n_read < 0) {
        lose_connection(m, (int)n_read);
    } else if (dsm_framing_push(&m->framing, buf->base, (size_t)n_read) != 0) {
        lose(m, DSM_E_NOMEM, "out of memory");
    } else {
        m->heard_ns = dsm_clock_ns();
        deliver(m);
    }
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct dsm_membership *m = connect->data;
    if (m->state != CONNECTING)
        return;
    if (status < 0) {
        lose(m, DSM_E_CONNECT, uv_strerror(status));
        return;
    }
    int fd;
    uv_tcp_nodelay(&m->tcp, 1);
    if (uv_fileno((uv_handle_t *)&m->tcp, &fd) == 0)
        atomic_store(&m->fd, fd);
    m->state = JOINING;
    int error = uv_read_start((uv_stream_t *)&m->tcp, on_alloc, on_read);
    if (error)
        lose(m, DSM_E_SYSTEM, uv_strerror(error));
    else
        send_join(m);
}

static void on_join_time(uv_timer_t *timer)
{
    struct dsm_membership *m = timer->data;
    char reason[120];
    dsm_format(reason, sizeof reason, "%s within %lu ms (DSM_JOIN_TIMEOUT)",
               m->state == CONNECTING ? "no connection" : "the job did not start",
               (uint64_t)(m->config.join_timeout_s * 1000));
    lose(m, DSM_E_TIMEOUT, reason);
}

static void on_async(uv_async_t *async)
{
    struct dsm_membership *m = async->data;
    pthread_mutex_lock(&m->lock);
    bool leave_wanted = m->leave_wanted;
    pthread_mutex_unlock(&m->lock);
    deliver(m);
    if (m->held_end && m->state != LOST)
        lose_connection(m, m->held_end);
    if (leave_wanted && m->state == RUNNING) {
        m->state = LEAVING;
        send_leave(m);
    }
}

/* "host:port" or "[ip]:port" to an address; one line is logged when that fails. */
static int resolve(const char *daemon, struct sockaddr_storage *address_out)
{
    char host[256];
    const char *colon = daemon ? strrchr(daemon, ':') : NULL;
    size_t host_bytes = colon ? (size_t)(colon - daemon) : 0;
    if (host_bytes == 0 || host_bytes >= sizeof host || !colon[1]) {
        dsm_log(DSM_LOG_ERROR, "DSM_DAEMON=%s: allowed is host:port", daemon ? daemon : "");
        return DSM_E_INVAL;
    }
    memcpy(host, daemon, host_bytes);
    host[host_bytes] = '\0';
    char *name = host;
    if (host[0] == '[' && host[host_bytes - 1] == ']') {
        host[host_bytes - 1] = '\0';
        name++;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    int error = getaddrinfo(name, colon + 1, &hints, &found);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "cannot find dsmd at %s: %s", daemon, gai_strerror(error));
        return DSM_E_CONNECT;
    }
    memcpy(address_out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

/* ---- start and end ------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct dsm_membership *m = handle->data;
    m->n_open_handles--;
}

void dsm_membership_close(struct dsm_membership *m)
{
    if (!m)
        return;
    atomic_store(&m->fd, -1);
    m->state = LOST;
    uv_close((uv_handle_t *)&m->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&m->timer, on_handle_closed);
    uv_close((uv_handle_t *)&m->async, on_handle_closed);
    while (m->n_open_handles > 0)
        uv_run(m->loop, UV_RUN_ONCE);
    dsm_framing_close(&m->framing);
    if (m->roster)
        dsm_control_free(m->roster);
    free(m->addresses);
    free(m->hosts);
    free(m->pids);
    free(m->is_local);
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static void init_lock(struct dsm_membership *m)
{
    pthread_condattr_t attr;
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->changed, &attr);
    pthread_condattr_destroy(&attr);
}

static int open_handles(struct dsm_membership *m)
{
    int error = uv_async_init(m->loop, &m->async, on_async);
    if (error)
        return dsm_error_from_errno(-error);
    uv_tcp_init(m->loop, &m->tcp);
    uv_timer_init(m->loop, &m->timer);
    m->n_open_handles = 3;
    m->tcp.data = m->timer.data = m->async.data = m->connect.data = m;
    return 0;
}

int dsm_membership_join(const struct dsm_membership_config *config, uv_loop_t *loop,
                        struct dsm_membership **membership_out, struct dsm_job_info *info_out)
{
    struct sockaddr_storage address;
    int error = resolve(config->daemon, &address);
    if (error)
        return error;
    struct dsm_membership *m = calloc(1, sizeof *m);
    if (!m)
        return DSM_E_NOMEM;
    m->config = *config;
    m->loop = loop;
    if (!(m->config.join_timeout_s > 0))
        m->config.join_timeout_s = DEFAULT_JOIN_TIMEOUT_S;
    atomic_init(&m->fd, -1);
    init_lock(m);
    dsm_framing_init(&m->framing, DSM_CONTROL_MAX_BYTES);
    error = open_handles(m);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "cannot join the job: %s", dsm_error_text(error));
        pthread_cond_destroy(&m->changed);
        pthread_mutex_destroy(&m->lock);
        free(m);
        return error;
    }
    uv_update_time(loop);
    uv_timer_start(&m->timer, on_join_time,
                   (uint64_t)(m->config.join_timeout_s * 1000) + JOIN_SLACK_MS, 0);
    error = uv_tcp_connect(&m->connect, &m->tcp, (struct sockaddr *)&address, on_connected);
    if (error)
        lose(m, DSM_E_CONNECT, uv_strerror(error));
    while (m->state == CONNECTING || m->state == JOINING)
        uv_run(loop, UV_RUN_ONCE);
    if (m->state == LOST) {
        error = m->join_error;
        dsm_membership_close(m);
        return error;
    }
    m->is_held = false;
    uv_async_send(&m->async);
    *info_out = m->info;
    *membership_out = m;
    return 0;
}

int dsm_membership_leave(struct dsm_membership *m, uint32_t timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t until_ns = (uint64_t)until.tv_nsec + (timeout_ms % 1000) * DSM_NS_PER_MS;
    until.tv_sec += timeout_ms / 1000 + (time_t)(until_ns / DSM_NS_PER_S);
    until.tv_nsec = (long)(until_ns % DSM_NS_PER_S);
    pthread_mutex_lock(&m->lock);
    m->leave_wanted = true;
    uv_async_send(&m->async);
    int error = 0;
    while (!m->has_left && !m->is_gone && error == 0)
        error = pthread_cond_timedwait(&m->changed, &m->lock, &until);
    int result = m->has_left ? 0 : m->is_gone ? DSM_E_PEER : DSM_E_TIMEOUT;
    pthread_mutex_unlock(&m->lock);
    return result;
}

/* Signal-handler safe. */
int dsm_membership_abort(struct dsm_membership *m, int status, const char *reason)
{
    int fd = atomic_load(&m->fd);
    if (fd < 0)
        return DSM_E_PEER;
    /* In the middle of the loop's own message ours would be garbage. */
    if (atomic_load(&m->n_unfinished) > 0)
        return DSM_E_BUSY;
    char clean[DSM_CONTROL_MAX_TEXT_BYTES];
    uint8_t bytes[ABORT_BYTES];
    size_t len_bytes;
    Dsm__Abort abort_body = DSM__ABORT__INIT;
    abort_body.status = status;
    abort_body.reason = dsm_control_clean_text(reason, clean);
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_ABORT;
    message.abort = &abort_body;
    int error = dsm_control_pack_into(&message, bytes, sizeof bytes, &len_bytes);
    if (error)
        return error;
    int saved = errno;
    ssize_t sent = send(fd, bytes, len_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    int failed = errno;
    errno = saved;
    if (sent == (ssize_t)len_bytes)
        return 0;
    if (sent >= 0 || failed == EAGAIN)
        return DSM_E_BUSY;
    return failed == EPIPE || failed == ECONNRESET ? DSM_E_PEER : DSM_E_SYSTEM;
}
