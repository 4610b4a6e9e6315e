/* SPDX-License-Identifier: BSD-3-Clause */
/* server_private.h - between server.c (listeners, jobs) and server_conn.c (connections). */
#ifndef DSM_DSMD_SERVER_PRIVATE_H
#define DSM_DSMD_SERVER_PRIVATE_H

#include "dsmd/server.h"
#include "proto/control.h"
#include "proto/framing.h"

#define DSM_SERVER_READ_BYTES 65536u
#define DSM_SERVER_NO_RANK    UINT32_MAX

struct dsm_server_conn {
    struct dsm_server *server;
    uv_tcp_t tcp;
    uv_timer_t timer; /* a stranger's time to join; afterwards a refused one's time to hang up */
    unsigned n_open_handles;
    uint64_t id;
    struct dsm_framing framing;
    struct dsm_store_job *job; /* after JOIN */
    char peer[DSM_SERVER_ADDRESS_BYTES];
    char closed_reason[160];
    uint32_t rank;     /* DSM_SERVER_NO_RANK, until its job has started */
    uint32_t watch_ms; /* it is no rank, but watches the job, and wants to hear so often; else 0 */
    bool can_show;
    bool is_refused; /* what it still says is thrown away */
    bool is_closing;
};

struct dsm_server {
    struct dsm_server_config config;
    struct dsm_store store;
    uv_tcp_t listeners[DSM_SERVER_MAX_LISTENERS];
    uint32_t n_listeners;
    struct dsm_server_conn **conns; /* by the low half of their id, less one */
    uint32_t n_conns, cap_conns, n_strangers;
    uint32_t last_generation;
    unsigned n_open_handles; /* listeners, connections, job timers */
    bool is_draining, is_closing;
    void (*on_idle)(void *user);
    char read_buf[DSM_SERVER_READ_BYTES];
};

/* server_conn.c */
void dsm_server_conn_accept(struct dsm_server *server, uv_stream_t *listener);
struct dsm_server_conn *dsm_server_conn_find(struct dsm_server *server, uint64_t id);
/* Sends one message. A connection that cannot take it is closed. */
void dsm_server_conn_send(struct dsm_server_conn *conn, const Dsm__Control *message);
/* Bytes that go to many connections are packed once. */
struct dsm_server_bytes;
struct dsm_server_bytes *dsm_server_bytes_pack(const Dsm__Control *message);
void dsm_server_bytes_unref(struct dsm_server_bytes *bytes);
void dsm_server_conn_send_bytes(struct dsm_server_conn *conn, struct dsm_server_bytes *bytes);
/* Says why and hangs up when the other side has had time to read it. */
void dsm_server_conn_refuse(struct dsm_server_conn *conn, int error, const char *text);
/* reason: "closed its control connection"; reported as CLOSED when the loop comes round. */
void dsm_server_conn_close(struct dsm_server_conn *conn, const char *reason);

/* server_watch.c: those who watch jobs. */
void dsm_server_watch(struct dsm_server_conn *conn, const Dsm__Watch *watch);
/* One who watches is gone, or has come; a rank has started. */
void dsm_server_watch_changed(struct dsm_store_job *job);
void dsm_server_watch_started(struct dsm_server_conn *rank);
void dsm_server_watch_show(struct dsm_server_conn *rank, const Dsm__Show *show);
/* The connection of a rank has closed. */
void dsm_server_watch_left(struct dsm_store_job *job, uint32_t rank);

/* server.c */
void dsm_server_step(struct dsm_store_job *job, struct dsm_member_event *event);
void dsm_server_join(struct dsm_server_conn *conn, const Dsm__Join *join);
void dsm_server_handle_closed(struct dsm_server *server);

#endif
