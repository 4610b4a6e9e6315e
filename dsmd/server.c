/* SPDX-License-Identifier: BSD-3-Clause */
/* server.c - listeners and jobs: events to the step function, its actions to the connections. */
#include "dsmd/server.h"
#include "dsmd/server_private.h"
#include "base/clock.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_MAX_JOBS 1024u
#define LISTEN_BACKLOG   1024
#define EXIT_GRACE_NS    (200 * DSM_NS_PER_MS)
#define BEATS_PER_LEASE  5u

void dsm_server_handle_closed(struct dsm_server *server)
{
    if (--server->n_open_handles > 0 || !server->is_closing)
        return;
    free(server->conns);
    free(server);
}

/* ---- actions ------------------------------------------------------------------------------- */

static void send_view(struct dsm_server_conn *conn, const struct dsm_member_action *action)
{
    Dsm__View view = DSM__VIEW__INIT;
    view.epoch = action->epoch;
    view.dead_rank = action->rank;
    view.reason = (char *)action->text;
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_VIEW;
    message.view = &view;
    dsm_server_conn_send(conn, &message);
}

static void send_left(struct dsm_server_conn *conn, const struct dsm_member_action *action)
{
    Dsm__Left left = DSM__LEFT__INIT;
    left.rank = action->rank;
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_LEFT;
    message.left = &left;
    dsm_server_conn_send(conn, &message);
}

static void send_aborted(struct dsm_server_conn *conn, const struct dsm_member_action *action)
{
    Dsm__Aborted aborted = DSM__ABORTED__INIT;
    aborted.rank = action->rank;
    aborted.status = action->status;
    aborted.reason = (char *)action->text;
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_ABORTED;
    message.aborted = &aborted;
    dsm_server_conn_send(conn, &message);
}

static void send_reply(struct dsm_server_conn *conn, const struct dsm_member_action *action)
{
    Dsm__BeatReply reply = DSM__BEAT_REPLY__INIT;
    reply.number = action->number;
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_BEAT_REPLY;
    message.beat_reply = &reply;
    dsm_server_conn_send(conn, &message);
}

static void send_propose(struct dsm_store_job *job, struct dsm_server_conn *conn,
                         const struct dsm_member_action *action)
{
    Dsm__Propose propose = DSM__PROPOSE__INIT;
    propose.round = (uint32_t)action->number;
    propose.base_addr = action->base;
    propose.region_bytes = dsm_member_job_region_bytes(job->members);
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_PROPOSE;
    message.propose = &propose;
    dsm_server_conn_send(conn, &message);
}

/* Every rank's address, packed once for all. NULL: out of memory. */
static struct dsm_server_bytes *pack_roster(const struct dsm_member_job *members)
{
    uint32_t n_ranks = dsm_member_job_config(members)->n_ranks;
    Dsm__Peer *peers = calloc(n_ranks, sizeof *peers);
    Dsm__Peer **list = calloc(n_ranks, sizeof *list);
    struct dsm_server_bytes *bytes = NULL;
    if (peers && list) {
        for (uint32_t rank = 0; rank < n_ranks; rank++) {
            const struct dsm_member *member = dsm_member_job_rank(members, rank);
            dsm__peer__init(&peers[rank]);
            peers[rank].lane_address = (char *)member->lane_address;
            peers[rank].host = member->host;
            peers[rank].pid = member->pid;
            peers[rank].host_index = member->host_index;
            list[rank] = &peers[rank];
        }
        Dsm__Roster roster = DSM__ROSTER__INIT;
        roster.n_peers = n_ranks;
        roster.peers = list;
        Dsm__Control message = DSM__CONTROL__INIT;
        message.body_case = DSM__CONTROL__BODY_ROSTER;
        message.roster = &roster;
        bytes = dsm_server_bytes_pack(&message);
    }
    free(peers);
    free(list);
    return bytes;
}

static void send_start(struct dsm_store_job *job, struct dsm_server_conn *conn,
                       const struct dsm_member_action *action)
{
    const struct dsm_member_job_config *config = dsm_member_job_config(job->members);
    Dsm__Start start = DSM__START__INIT;
    start.rank = action->rank;
    start.n_ranks = config->n_ranks;
    start.epoch = action->epoch;
    start.base_addr = dsm_member_job_base(job->members);
    start.region_bytes = dsm_member_job_region_bytes(job->members);
    start.lease_ms = (uint32_t)(config->lease_ns / DSM_NS_PER_MS);
    start.beat_ms = start.lease_ms / BEATS_PER_LEASE;
    start.is_managed = config->is_managed;
    start.transport = (char *)dsm_member_job_transport(job->members);
    start.transport_reason = (char *)dsm_member_job_transport_reason(job->members);
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_START;
    message.start = &start;
    dsm_server_conn_send(conn, &message);
}

static void on_job_timer_closed(uv_handle_t *handle)
{
    struct dsm_store_job *job = handle->data;
    struct dsm_server *server = job->server;
    dsm_store_job_free(job);
    dsm_server_handle_closed(server);
}

static void forget_job(struct dsm_store_job *job)
{
    struct dsm_server *server = job->server;
    dsm_store_remove(&server->store, job);
    for (uint32_t i = 0; i < server->cap_conns; i++) {
        struct dsm_server_conn *conn = server->conns[i];
        if (!conn || conn->job != job)
            continue;
        conn->job = NULL;
        server->n_strangers++;
        if (conn->watch_ms)
            dsm_server_conn_close(conn, "watched a job that is over");
    }
    uv_close((uv_handle_t *)&job->timer, on_job_timer_closed);
    if (server->is_draining && server->store.n_jobs == 0 && server->on_idle)
        server->on_idle(server->config.user);
}

static void carry_out_one(struct dsm_store_job *job, const struct dsm_member_action *action,
                          struct dsm_server_bytes **roster)
{
    struct dsm_server *server = job->server;
    struct dsm_server_conn *conn = dsm_server_conn_find(server, action->conn);
    switch (action->type) {
    case DSM_MEMBER_ACTION_REFUSE:
        if (conn)
            dsm_server_conn_refuse(conn, action->error, action->text);
        return;
    case DSM_MEMBER_ACTION_PROPOSE:
        if (conn)
            send_propose(job, conn, action);
        return;
    case DSM_MEMBER_ACTION_START:
        if (!*roster)
            *roster = pack_roster(job->members);
        if (conn) {
            dsm_server_conn_send_bytes(conn, *roster);
            send_start(job, conn, action);
            conn->rank = action->rank;
            dsm_server_watch_started(conn);
        }
        return;
    case DSM_MEMBER_ACTION_VIEW:
        if (conn)
            send_view(conn, action);
        return;
    case DSM_MEMBER_ACTION_LEFT:
        if (conn)
            send_left(conn, action);
        return;
    case DSM_MEMBER_ACTION_ABORTED:
        if (conn)
            send_aborted(conn, action);
        return;
    case DSM_MEMBER_ACTION_REPLY:
        if (conn)
            send_reply(conn, action);
        return;
    case DSM_MEMBER_ACTION_DROP:
        if (conn)
            dsm_server_conn_close(conn, "was dropped");
        return;
    case DSM_MEMBER_ACTION_NOTE_REFUSED:
    case DSM_MEMBER_ACTION_NOTE_STARTED:
    case DSM_MEMBER_ACTION_NOTE_FAILED:
    case DSM_MEMBER_ACTION_NOTE_LOST:
    case DSM_MEMBER_ACTION_NOTE_DIED:
    case DSM_MEMBER_ACTION_NOTE_ABORTED:
    case DSM_MEMBER_ACTION_NOTE_OVER:
        server->config.on_note(server->config.user, job->number, action);
        return;
    }
}

static void on_second_look(uv_timer_t *timer)
{
    struct dsm_store_job *job = timer->data;
    job->is_looking_again = false;
    dsm_server_step(job, &(struct dsm_member_event){.type = DSM_MEMBER_EVENT_TICK});
}

/*
 * The loop runs timers before it reads: after a pause, the beats that keep a rank alive lie unread.
 * So the time is told only after the loop has read once more.
 */
static void on_job_timer(uv_timer_t *timer)
{
    struct dsm_store_job *job = timer->data;
    job->is_looking_again = true;
    uv_timer_start(timer, on_second_look, 1, 0);
}

static void arm_timer(struct dsm_store_job *job)
{
    uint64_t next_ns = dsm_member_job_next_ns(job->members);
    if (job->is_looking_again)
        return;
    if (next_ns == UINT64_MAX) {
        uv_timer_stop(&job->timer);
        return;
    }
    uint64_t now_ns = dsm_clock_ns();
    uint64_t wait_ms =
        next_ns > now_ns ? (next_ns - now_ns + DSM_NS_PER_MS - 1) / DSM_NS_PER_MS : 0;
    uv_timer_start(&job->timer, on_job_timer, wait_ms, 0);
}

/* Connections are only ever closed later, by the loop, so this does not come back on itself. */
void dsm_server_step(struct dsm_store_job *job, struct dsm_member_event *event)
{
    struct dsm_member_actions actions;
    event->now_ns = dsm_clock_ns();
    if (dsm_member_job_step(job->members, event, &actions) != 0) {
        dsm_log(DSM_LOG_ERROR, "job %lu: out of memory", job->number);
        struct dsm_server_conn *conn = dsm_server_conn_find(job->server, event->conn);
        if (conn)
            dsm_server_conn_refuse(conn, DSM_E_NOMEM, "dsmd is out of memory");
        return;
    }
    struct dsm_server_bytes *roster = NULL;
    for (size_t i = 0; i < actions.n_items; i++)
        carry_out_one(job, &actions.items[i], &roster);
    dsm_server_bytes_unref(roster);
    if (dsm_member_job_is_over(job->members) && !job->server->config.is_managed)
        forget_job(job);
    else
        arm_timer(job);
}

/* ---- jobs ---------------------------------------------------------------------------------- */

static struct dsm_store_job *add_job(struct dsm_server *server, const uint8_t *token,
                                     uint32_t n_ranks)
{
    struct dsm_member_job_config config = {
        .n_ranks = n_ranks,
        .lease_ns = server->config.lease_ns,
        .join_timeout_ns = server->config.join_timeout_ns,
        .is_managed = server->config.is_managed,
        .exit_grace_ns = EXIT_GRACE_NS,
    };
    struct dsm_store_job *job = dsm_store_add(&server->store, token, &config);
    if (!job)
        return NULL;
    job->server = server;
    uv_timer_init(server->config.loop, &job->timer);
    job->timer.data = job;
    server->n_open_handles++;
    return job;
}

/* Why a join for a token that is not known gets no job; NULL: it gets one. */
static const char *refuse_new_job(const struct dsm_server *server, const Dsm__Join *join,
                                  int *error_out, char *text, size_t text_bytes)
{
    if (server->config.is_managed) {
        *error_out = DSM_E_AUTH;
        dsm_format(text, text_bytes, "wrong job token from rank %d (%s, pid %u)", join->wanted_rank,
                   join->host, join->pid);
        return text;
    }
    *error_out = DSM_E_LIMIT;
    if (server->is_draining) {
        *error_out = DSM_E_STATE;
        return "dsmd is stopping and takes no new jobs";
    }
    if (server->store.n_jobs >= server->config.max_jobs) {
        dsm_format(text, text_bytes, "dsmd serves %u jobs, its limit is %u", server->store.n_jobs,
                   server->config.max_jobs);
        return text;
    }
    if (join->n_ranks > server->config.max_ranks) {
        dsm_format(text, text_bytes, "a job of %u ranks was asked for, the limit of dsmd is %u",
                   join->n_ranks, server->config.max_ranks);
        return text;
    }
    return NULL;
}

static void refuse_join(struct dsm_server_conn *conn, int error, const char *text)
{
    dsm_log(DSM_LOG_WARN, "%s: refused: %s", conn->peer, text);
    dsm_server_conn_refuse(conn, error, text);
}

void dsm_server_join(struct dsm_server_conn *conn, const Dsm__Join *join)
{
    struct dsm_server *server = conn->server;
    char text[DSM_CONTROL_MAX_TEXT_BYTES];
    if (join->protocol != DSM_CONTROL_PROTOCOL) {
        dsm_format(text, sizeof text, "the rank speaks control protocol %u, dsmd %u",
                   join->protocol, DSM_CONTROL_PROTOCOL);
        refuse_join(conn, DSM_E_MISMATCH, text);
        return;
    }
    struct dsm_store_job *job = dsm_store_find(&server->store, join->token.data);
    if (!job) {
        int error;
        const char *why = refuse_new_job(server, join, &error, text, sizeof text);
        if (why) {
            refuse_join(conn, error, why);
            return;
        }
        job = add_job(server, join->token.data, join->n_ranks);
        if (!job) {
            refuse_join(conn, DSM_E_NOMEM, "dsmd is out of memory");
            return;
        }
    }
    conn->job = job;
    server->n_strangers--;
    conn->framing.max_bytes = DSM_CONTROL_MAX_RANK_BYTES;
    conn->can_show = join->can_show;
    uv_timer_stop(&conn->timer);
    struct dsm_member_offer offers[DSM_CONTROL_MAX_OFFERS];
    for (size_t i = 0; i < join->n_offers; i++) {
        const Dsm__Offer *offer = join->offers[i];
        offers[i] = (struct dsm_member_offer){offer->transport, offer->lane_address, offer->network,
                                              offer->reason};
    }
    struct dsm_member_event event = {
        .type = DSM_MEMBER_EVENT_JOIN,
        .conn = conn->id,
        .join =
            {
                .wanted_rank = join->wanted_rank,
                .n_ranks = join->n_ranks,
                .host = join->host,
                .host_id = join->host_id,
                .pid = join->pid,
                .lane_address = join->lane_address,
                .build = join->build,
                .page_bytes = join->page_bytes,
                .cpu = join->cpu,
                .region_bytes = join->region_bytes,
                .transport = join->transport,
                .offers = offers,
                .n_offers = (uint32_t)join->n_offers,
                .wanted_transport = join->wanted_transport,
                .base = join->base_addr,
                .join_timeout_ns = join->join_timeout_ms * DSM_NS_PER_MS,
            },
    };
    dsm_server_step(job, &event);
}

int dsm_server_expect(struct dsm_server *server, const uint8_t token[DSM_TOKEN_BYTES],
                      uint32_t n_ranks)
{
    if (dsm_store_find(&server->store, token))
        return DSM_E_BUSY;
    return add_job(server, token, n_ranks) ? 0 : DSM_E_NOMEM;
}

void dsm_server_exited(struct dsm_server *server, const uint8_t token[DSM_TOKEN_BYTES],
                       uint32_t rank, bool is_success, const char *text)
{
    struct dsm_store_job *job = dsm_store_find(&server->store, token);
    if (!job)
        return;
    struct dsm_member_event event = {.type = DSM_MEMBER_EVENT_EXITED};
    event.exited.rank = rank;
    event.exited.is_success = is_success;
    event.exited.text = text;
    dsm_server_step(job, &event);
}

uint32_t dsm_server_n_joined(const struct dsm_server *server, const uint8_t token[DSM_TOKEN_BYTES])
{
    const struct dsm_store_job *job = dsm_store_find(&server->store, token);
    return job ? dsm_member_job_n_joined(job->members) : 0;
}

uint32_t dsm_server_n_jobs(const struct dsm_server *server)
{
    return server->store.n_jobs;
}

void dsm_server_drain(struct dsm_server *server, void (*on_idle)(void *user))
{
    server->is_draining = true;
    server->on_idle = on_idle;
    if (server->store.n_jobs == 0)
        on_idle(server->config.user);
}

void dsm_server_stop_jobs(struct dsm_server *server)
{
    for (struct dsm_store_job *job = server->store.first, *next; job; job = next) {
        next = job->next;
        dsm_server_step(job, &(struct dsm_member_event){.type = DSM_MEMBER_EVENT_STOP});
    }
}

/* ---- listening ----------------------------------------------------------------------------- */

static void on_connection(uv_stream_t *listener, int status)
{
    if (status < 0) {
        dsm_log(DSM_LOG_ERROR, "cannot accept a connection: %s", uv_strerror(status));
        return;
    }
    dsm_server_conn_accept(listener->data, listener);
}

static void on_listener_closed(uv_handle_t *handle)
{
    dsm_server_handle_closed(handle->data);
}

int dsm_server_listen(struct dsm_server *server, const char *host, uint16_t port, char *why,
                      size_t why_bytes)
{
    if (server->n_listeners == DSM_SERVER_MAX_LISTENERS) {
        dsm_format(why, why_bytes, "cannot listen on more than %u addresses",
                   DSM_SERVER_MAX_LISTENERS);
        return DSM_E_LIMIT;
    }
    char service[8];
    dsm_format(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    int error = getaddrinfo(host, service, &hints, &found);
    if (error) {
        dsm_format(why, why_bytes, "cannot listen on %s: %s", host, gai_strerror(error));
        return DSM_E_INVAL;
    }
    uv_tcp_t *listener = &server->listeners[server->n_listeners];
    uv_tcp_init(server->config.loop, listener);
    listener->data = server;
    server->n_open_handles++;
    error = uv_tcp_bind(listener, found->ai_addr, 0);
    freeaddrinfo(found);
    if (!error)
        error = uv_listen((uv_stream_t *)listener, LISTEN_BACKLOG, on_connection);
    /* The slot is used up even when the listener failed: its handle is closed with the server. */
    server->n_listeners++;
    if (!error)
        return 0;
    dsm_format(why, why_bytes, "cannot listen on %s port %u: %s", host, port, uv_strerror(error));
    return error == UV_EADDRINUSE ? DSM_E_BUSY : DSM_E_SYSTEM;
}

static struct sockaddr_storage listener_name(const struct dsm_server *server, uint32_t index)
{
    struct sockaddr_storage address = {0};
    int len = sizeof address;
    uv_tcp_getsockname(&server->listeners[index], (struct sockaddr *)&address, &len);
    return address;
}

uint16_t dsm_server_port(const struct dsm_server *server, uint32_t index)
{
    struct sockaddr_storage address = listener_name(server, index);
    /* sin_port and sin6_port share their place. */
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

void dsm_server_address(const struct dsm_server *server, uint32_t index,
                        char out[DSM_SERVER_ADDRESS_BYTES])
{
    struct sockaddr_storage address = listener_name(server, index);
    char ip[64] = "?";
    uv_ip_name((struct sockaddr *)&address, ip, sizeof ip);
    dsm_format(out, DSM_SERVER_ADDRESS_BYTES, address.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u",
               ip, dsm_server_port(server, index));
}

/* ---- start and end ------------------------------------------------------------------------- */

int dsm_server_open(const struct dsm_server_config *config, struct dsm_server **server_out)
{
    struct dsm_server *server = calloc(1, sizeof *server);
    if (!server)
        return DSM_E_NOMEM;
    server->config = *config;
    if (!server->config.max_jobs)
        server->config.max_jobs = DEFAULT_MAX_JOBS;
    if (!server->config.max_ranks)
        server->config.max_ranks = DSM_CONTROL_MAX_RANKS;
    *server_out = server;
    return 0;
}

void dsm_server_close(struct dsm_server *server)
{
    server->is_closing = true;
    /* Held until the end, so that the last close callback is the one that frees. */
    server->n_open_handles++;
    for (uint32_t i = 0; i < server->n_listeners; i++)
        uv_close((uv_handle_t *)&server->listeners[i], on_listener_closed);
    for (uint32_t i = 0; i < server->cap_conns; i++)
        if (server->conns[i])
            dsm_server_conn_close(server->conns[i], "was closed by dsmd");
    while (server->store.first) {
        struct dsm_store_job *job = server->store.first;
        dsm_store_remove(&server->store, job);
        uv_close((uv_handle_t *)&job->timer, on_job_timer_closed);
    }
    dsm_server_handle_closed(server);
}
