/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_watch.c - those who watch a job: dsmtop, on whatever host. The ranks are asked to show
 * what they do while there is somebody, as often as the most curious wants it, and what they show
 * is handed on. Nothing of it concerns the job: a watcher is no member, and one that does not read
 * is dropped.
 */
#include "dsmd/server_private.h"
#include "base/log.h"
#include <dsm/dsm.h>

#define MAX_WATCHERS 64u /* of one job */

static bool is_watcher(const struct dsm_server_conn *conn, const struct dsm_store_job *job)
{
    return conn && conn->job == job && conn->watch_ms && !conn->is_closing;
}

static bool is_showing(const struct dsm_server_conn *conn, const struct dsm_store_job *job)
{
    return conn && conn->job == job && conn->can_show && conn->rank != DSM_SERVER_NO_RANK &&
           !conn->is_closing;
}

/* How often the most curious wants it; 0: there is none. */
static uint32_t shortest_interval(const struct dsm_store_job *job, uint32_t *n_out)
{
    struct dsm_server *server = job->server;
    uint32_t every_ms = 0;
    *n_out = 0;
    for (uint32_t i = 0; i < server->cap_conns; i++) {
        const struct dsm_server_conn *conn = server->conns[i];
        if (!is_watcher(conn, job))
            continue;
        ++*n_out;
        if (every_ms == 0 || conn->watch_ms < every_ms)
            every_ms = conn->watch_ms;
    }
    return every_ms;
}

static void send_watched(struct dsm_server_conn *conn, uint32_t every_ms)
{
    Dsm__Watched watched = DSM__WATCHED__INIT;
    watched.every_ms = every_ms;
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_WATCHED;
    message.watched = &watched;
    dsm_server_conn_send(conn, &message);
}

void dsm_server_watch_changed(struct dsm_store_job *job)
{
    struct dsm_server *server = job->server;
    uint32_t n, every_ms = shortest_interval(job, &n);
    for (uint32_t i = 0; i < server->cap_conns; i++)
        if (is_showing(server->conns[i], job))
            send_watched(server->conns[i], every_ms);
}

void dsm_server_watch_started(struct dsm_server_conn *rank)
{
    uint32_t n, every_ms = shortest_interval(rank->job, &n);
    if (every_ms && is_showing(rank, rank->job))
        send_watched(rank, every_ms);
}

/* Packed once, for all who watch. */
static void tell_watchers(struct dsm_store_job *job, const Dsm__Control *message)
{
    struct dsm_server *server = job->server;
    struct dsm_server_bytes *bytes = NULL;
    for (uint32_t i = 0; i < server->cap_conns; i++) {
        if (!is_watcher(server->conns[i], job))
            continue;
        if (!bytes)
            bytes = dsm_server_bytes_pack(message);
        dsm_server_conn_send_bytes(server->conns[i], bytes);
    }
    dsm_server_bytes_unref(bytes);
}

void dsm_server_watch_show(struct dsm_server_conn *rank, const Dsm__Show *show)
{
    if (rank->rank == DSM_SERVER_NO_RANK)
        return;
    Dsm__Shown shown = DSM__SHOWN__INIT;
    shown.rank = rank->rank;
    shown.live = show->live;
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_SHOWN;
    message.shown = &shown;
    tell_watchers(rank->job, &message);
}

void dsm_server_watch_left(struct dsm_store_job *job, uint32_t rank)
{
    Dsm__Left left = DSM__LEFT__INIT;
    left.rank = rank;
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_LEFT;
    message.left = &left;
    tell_watchers(job, &message);
}

void dsm_server_watch(struct dsm_server_conn *conn, const Dsm__Watch *watch)
{
    struct dsm_server *server = conn->server;
    char text[DSM_CONTROL_MAX_TEXT_BYTES];
    if (watch->protocol != DSM_CONTROL_PROTOCOL) {
        dsm_format(text, sizeof text, "dsmtop speaks control protocol %u, dsmd %u", watch->protocol,
                   DSM_CONTROL_PROTOCOL);
        dsm_server_conn_refuse(conn, DSM_E_MISMATCH, text);
        return;
    }
    struct dsm_store_job *job = dsm_store_find(&server->store, watch->token.data);
    if (!job) {
        dsm_log(DSM_LOG_WARN, "%s: wants to watch a job with a token that is not known",
                conn->peer);
        dsm_server_conn_refuse(conn, DSM_E_AUTH, "no job here has this token");
        return;
    }
    uint32_t n;
    (void)shortest_interval(job, &n);
    if (n >= MAX_WATCHERS) {
        dsm_format(text, sizeof text, "%u watch this job already, which is the limit", n);
        dsm_server_conn_refuse(conn, DSM_E_LIMIT, text);
        return;
    }
    conn->job = job;
    conn->watch_ms = watch->every_ms;
    server->n_strangers--;
    uv_timer_stop(&conn->timer);
    dsm_server_watch_changed(job);
}
