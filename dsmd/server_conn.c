/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_conn.c - one control connection: reading and checking messages, sending, hanging up. A
 * connection is a stranger until its first message, a Join, has been accepted: it may send little,
 * must do so soon, and there may not be many of it.
 */
#include "dsmd/server_private.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <stdlib.h>
#include <string.h>

#define STRANGER_MS      10000u
#define MAX_STRANGERS    256u
#define HANG_UP_MS       2000u
#define MAX_UNSENT_BYTES (8u << 20) /* beyond the largest roster */
#define MAX_CONNS        (1u << 20)

struct dsm_server_bytes {
    unsigned n_refs;
    size_t len_bytes;
    uint8_t *bytes;
};

struct send_request {
    uv_write_t write;
    struct dsm_server_bytes *bytes;
};

struct dsm_server_conn *dsm_server_conn_find(struct dsm_server *server, uint64_t id)
{
    uint32_t slot = (uint32_t)id;
    if (slot == 0 || slot > server->cap_conns)
        return NULL;
    struct dsm_server_conn *conn = server->conns[slot - 1];
    return conn && conn->id == id ? conn : NULL;
}

static int add_to_table(struct dsm_server *server, struct dsm_server_conn *conn)
{
    uint32_t slot = 0;
    if (server->n_conns == server->cap_conns) {
        uint32_t cap = server->cap_conns ? server->cap_conns * 2 : 16;
        if (cap > MAX_CONNS)
            return DSM_E_LIMIT;
        struct dsm_server_conn **grown = realloc(server->conns, cap * sizeof *grown);
        if (!grown)
            return DSM_E_NOMEM;
        memset(grown + server->cap_conns, 0, (cap - server->cap_conns) * sizeof *grown);
        slot = server->cap_conns;
        server->conns = grown;
        server->cap_conns = cap;
    }
    while (server->conns[slot])
        slot++;
    server->conns[slot] = conn;
    server->n_conns++;
    conn->id = (uint64_t)++server->last_generation << 32 | (slot + 1);
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct dsm_server_conn *conn = handle->data;
    struct dsm_server *server = conn->server;
    if (--conn->n_open_handles == 0) {
        if (!conn->job)
            server->n_strangers--;
        struct dsm_store_job *job = conn->job;
        server->conns[(uint32_t)conn->id - 1] = NULL;
        server->n_conns--;
        if (job && !server->is_closing && conn->watch_ms)
            dsm_server_watch_changed(job);
        else if (job && !server->is_closing && conn->rank != DSM_SERVER_NO_RANK)
            dsm_server_watch_left(job, conn->rank);
        if (job && !server->is_closing && !conn->watch_ms)
            dsm_server_step(job, &(struct dsm_member_event){.type = DSM_MEMBER_EVENT_CLOSED,
                                                            .conn = conn->id,
                                                            .closed_reason = conn->closed_reason});
        dsm_framing_close(&conn->framing);
        free(conn);
    }
    dsm_server_handle_closed(server);
}

void dsm_server_conn_close(struct dsm_server_conn *conn, const char *reason)
{
    if (conn->is_closing)
        return;
    conn->is_closing = true;
    dsm_format(conn->closed_reason, sizeof conn->closed_reason, "%s", reason);
    uv_close((uv_handle_t *)&conn->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&conn->timer, on_handle_closed);
}

static void close_lost(struct dsm_server_conn *conn, int uv_error)
{
    char reason[160];
    dsm_format(reason, sizeof reason, "lost its control connection (%s)", uv_strerror(uv_error));
    dsm_server_conn_close(conn, reason);
}

struct dsm_server_bytes *dsm_server_bytes_pack(const Dsm__Control *message)
{
    struct dsm_server_bytes *bytes = calloc(1, sizeof *bytes);
    if (!bytes)
        return NULL;
    if (dsm_control_pack(message, &bytes->bytes, &bytes->len_bytes) != 0) {
        free(bytes);
        return NULL;
    }
    bytes->n_refs = 1;
    return bytes;
}

void dsm_server_bytes_unref(struct dsm_server_bytes *bytes)
{
    if (bytes && --bytes->n_refs == 0) {
        free(bytes->bytes);
        free(bytes);
    }
}

static void on_sent(uv_write_t *write, int status)
{
    struct send_request *request = (struct send_request *)write;
    struct dsm_server_conn *conn = write->handle->data;
    dsm_server_bytes_unref(request->bytes);
    free(request);
    if (status < 0 && status != UV_ECANCELED)
        close_lost(conn, status);
}

void dsm_server_conn_send_bytes(struct dsm_server_conn *conn, struct dsm_server_bytes *bytes)
{
    if (conn->is_closing || conn->is_refused)
        return;
    if (uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp) > MAX_UNSENT_BYTES) {
        dsm_server_conn_close(conn, "stopped reading its control connection");
        return;
    }
    struct send_request *request = bytes ? malloc(sizeof *request) : NULL;
    if (!request) {
        dsm_server_conn_close(conn, "could not be told: out of memory");
        return;
    }
    bytes->n_refs++;
    request->bytes = bytes;
    uv_buf_t buf = uv_buf_init((char *)bytes->bytes, (unsigned)bytes->len_bytes);
    int error = uv_write(&request->write, (uv_stream_t *)&conn->tcp, &buf, 1, on_sent);
    if (error) {
        dsm_server_bytes_unref(bytes);
        free(request);
        close_lost(conn, error);
    }
}

void dsm_server_conn_send(struct dsm_server_conn *conn, const Dsm__Control *message)
{
    struct dsm_server_bytes *bytes = dsm_server_bytes_pack(message);
    dsm_server_conn_send_bytes(conn, bytes);
    dsm_server_bytes_unref(bytes);
}

static void on_hang_up_time(uv_timer_t *timer)
{
    dsm_server_conn_close(timer->data, "was refused");
}

void dsm_server_conn_refuse(struct dsm_server_conn *conn, int error, const char *text)
{
    if (conn->is_closing || conn->is_refused)
        return;
    char clean[DSM_CONTROL_MAX_TEXT_BYTES];
    Dsm__Refuse refuse = DSM__REFUSE__INIT;
    refuse.error = error;
    refuse.is_reported = conn->server->config.is_managed;
    refuse.reason = dsm_control_clean_text(text, clean);
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_REFUSE;
    message.refuse = &refuse;
    dsm_server_conn_send(conn, &message);
    if (conn->is_closing)
        return;
    /* Closing now with something unread would reset the connection, and the reason with it. */
    conn->is_refused = true;
    uv_timer_start(&conn->timer, on_hang_up_time, HANG_UP_MS, 0);
}

/* The peer broke the protocol. */
static void refuse_malformed(struct dsm_server_conn *conn, const char *what)
{
    char text[DSM_CONTROL_MAX_TEXT_BYTES];
    dsm_format(text, sizeof text, "malformed message from %s: %s", conn->peer, what);
    dsm_log(DSM_LOG_WARN, "%s", text);
    dsm_server_conn_refuse(conn, DSM_E_PROTO, text);
    struct dsm_store_job *job = conn->job;
    if (!job)
        return;
    /* A member no more, whatever its connection does from now on. */
    conn->job = NULL;
    conn->server->n_strangers++;
    dsm_server_step(job, &(struct dsm_member_event){.type = DSM_MEMBER_EVENT_CLOSED,
                                                    .conn = conn->id,
                                                    .closed_reason = "sent a malformed message"});
}

static void handle_member_message(struct dsm_server_conn *conn, const Dsm__Control *message)
{
    struct dsm_member_event event = {.conn = conn->id};
    switch (message->body_case) {
    case DSM__CONTROL__BODY_MAPPED:
        event.type = DSM_MEMBER_EVENT_ANSWER;
        event.answer.round = message->mapped->round;
        event.answer.is_mapped = message->mapped->is_mapped;
        event.answer.suggestion = message->mapped->suggestion;
        event.answer.reason = message->mapped->reason;
        break;
    case DSM__CONTROL__BODY_BEAT:
        event.type = DSM_MEMBER_EVENT_BEAT;
        event.beat_number = message->beat->number;
        break;
    case DSM__CONTROL__BODY_LEAVE:
        event.type = DSM_MEMBER_EVENT_LEAVE;
        break;
    case DSM__CONTROL__BODY_ABORT:
        event.type = DSM_MEMBER_EVENT_ABORT;
        event.abort.status = message->abort->status;
        event.abort.reason = message->abort->reason;
        break;
    case DSM__CONTROL__BODY_SHOW:
        dsm_server_watch_show(conn, message->show);
        return;
    default: /* dsm_control_unpack lets nothing else through */
        refuse_malformed(conn, "a second join");
        return;
    }
    dsm_server_step(conn->job, &event);
}

static void handle_message(struct dsm_server_conn *conn, const uint8_t *bytes, size_t len_bytes)
{
    Dsm__Control *message;
    const char *reason;
    if (dsm_control_unpack(bytes, len_bytes, DSM_CONTROL_FROM_RANK, &message, &reason) != 0) {
        refuse_malformed(conn, reason);
        return;
    }
    if (conn->watch_ms)
        dsm_server_conn_close(conn, "said more than that it watches");
    else if (conn->job)
        handle_member_message(conn, message);
    else if (message->body_case == DSM__CONTROL__BODY_JOIN)
        dsm_server_join(conn, message->join);
    else if (message->body_case == DSM__CONTROL__BODY_WATCH)
        dsm_server_watch(conn, message->watch);
    else
        refuse_malformed(conn, "the first message is no join");
    dsm_control_free(message);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct dsm_server_conn *conn = handle->data;
    *buf = uv_buf_init(conn->server->read_buf, DSM_SERVER_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n_read, const uv_buf_t *buf)
{
    struct dsm_server_conn *conn = stream->data;
    if (n_read == UV_EOF) {
        dsm_server_conn_close(conn, "closed its control connection");
        return;
    }
    if (n_read < 0) {
        close_lost(conn, (int)n_read);
        return;
    }
    if (conn->is_refused)
        return;
    if (dsm_framing_push(&conn->framing, buf->base, (size_t)n_read) != 0) {
        dsm_server_conn_close(conn, "could not be heard: out of memory");
        return;
    }
    while (!conn->is_refused && !conn->is_closing) {
        const uint8_t *message;
        size_t len_bytes;
        int got = dsm_framing_next(&conn->framing, &message, &len_bytes);
        if (got == 0)
            return;
        if (got < 0) {
            char what[80];
            dsm_format(what, sizeof what, "%zu bytes long, allowed are %u", len_bytes,
                       conn->framing.max_bytes);
            refuse_malformed(conn, what);
            return;
        }
        handle_message(conn, message, len_bytes);
    }
}

static void on_stranger_time(uv_timer_t *timer)
{
    struct dsm_server_conn *conn = timer->data;
    dsm_log(DSM_LOG_WARN, "%s connected but did not join within %u s", conn->peer,
            STRANGER_MS / 1000);
    dsm_server_conn_close(conn, "did not join in time");
}

static void name_peer(struct dsm_server_conn *conn)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    char ip[64] = "?";
    dsm_format(conn->peer, sizeof conn->peer, "an unknown address");
    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&address, &len) != 0 ||
        uv_ip_name((struct sockaddr *)&address, ip, sizeof ip) != 0)
        return;
    /* sin_port and sin6_port share their place. */
    dsm_format(conn->peer, sizeof conn->peer, "%s port %u", ip,
               ntohs(((struct sockaddr_in *)&address)->sin_port));
}

void dsm_server_conn_accept(struct dsm_server *server, uv_stream_t *listener)
{
    struct dsm_server_conn *conn = calloc(1, sizeof *conn);
    if (!conn) {
        dsm_log(DSM_LOG_ERROR, "out of memory: a connection waits");
        return;
    }
    conn->server = server;
    conn->rank = DSM_SERVER_NO_RANK;
    conn->tcp.data = conn->timer.data = conn;
    if (add_to_table(server, conn) != 0) {
        dsm_log(DSM_LOG_ERROR, "too many control connections (%u)", server->n_conns);
        free(conn);
        return;
    }
    dsm_framing_init(&conn->framing, DSM_CONTROL_MAX_JOIN_BYTES);
    uv_tcp_init(server->config.loop, &conn->tcp);
    uv_timer_init(server->config.loop, &conn->timer);
    conn->n_open_handles = 2;
    server->n_open_handles += 2;
    server->n_strangers++;
    int error = uv_accept(listener, (uv_stream_t *)&conn->tcp);
    if (error) {
        dsm_log(DSM_LOG_WARN, "cannot accept a connection: %s", uv_strerror(error));
        dsm_server_conn_close(conn, "was not accepted");
        return;
    }
    name_peer(conn);
    if (server->n_strangers > MAX_STRANGERS) {
        dsm_log(DSM_LOG_WARN, "%s: too many connections (%u) that have not joined", conn->peer,
                MAX_STRANGERS);
        dsm_server_conn_close(conn, "was one too many");
        return;
    }
    uv_tcp_nodelay(&conn->tcp, 1);
    uv_timer_start(&conn->timer, on_stranger_time, STRANGER_MS, 0);
    error = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
    if (error)
        close_lost(conn, error);
}
