/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * remote.c - ranks on other hosts, through dsmd: it is asked once (Watch), has the ranks show what
 * they do while this connection is open, and hands it on (Shown). What comes is checked like all
 * that comes from outside; ranks that are seen on this host are taken from here.
 */
#define _GNU_SOURCE
#include "dsmtop/top.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/parse.h"
#include "proto/control.h"
#include "proto/framing.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_MS 10000 /* to connect, and for the first answer */
#define ALL_MS     3000  /* after that, for all ranks to be told of once */

struct top_remote {
    int fd;
    struct dsm_framing framing;
    uint32_t n_ranks; /* of the job; 0: not known yet */
    bool has_ended;   /* dsmd has closed the connection */
    int refusal;      /* the code that it refused with, and why */
    char why[DSM_CONTROL_MAX_TEXT_BYTES];
};

/* ---- where dsmd is ------------------------------------------------------------------------------
 */

/* The environment with which the process was started; NULL: not to be seen. */
static char *read_environ(pid_t pid, size_t *len_out)
{
    char path[40], *text = NULL;
    size_t len = 0, room = 0;
    ssize_t n = 1;
    dsm_format(path, sizeof path, "/proc/%d/environ", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && n > 0) {
        if (room - len < 4096) {
            char *grown = realloc(text, room + 65536);
            if (!grown)
                break;
            text = grown;
            room += 65536;
        }
        n = read(fd, text + len, room - len - 1);
        len += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    if (text)
        text[len] = '\0';
    *len_out = len;
    return text;
}

static const char *find_value(const char *text, size_t len, const char *name)
{
    size_t name_len = strlen(name);
    for (const char *at = text; at < text + len; at += strlen(at) + 1)
        if (strncmp(at, name, name_len) == 0 && at[name_len] == '=')
            return at + name_len + 1;
    return NULL;
}

bool top_daemon_of(pid_t pid, struct top_daemon *out)
{
    size_t len;
    char *text = read_environ(pid, &len);
    const char *address = text ? find_value(text, len, "DSM_DAEMON") : NULL;
    const char *token = text ? find_value(text, len, "DSM_TOKEN") : NULL;
    bool has_both = address && token && strlen(address) < sizeof out->address &&
                    dsm_parse_token(token, out->token) == 0;
    if (has_both)
        dsm_format(out->address, sizeof out->address, "%s", address);
    free(text);
    return has_both;
}

/* ---- the connection -----------------------------------------------------------------------------
 */

static int connect_to(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;
    if (fd < 0)
        return -errno;
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS)
        error = errno;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof error;
    if (!error && poll(&wait, 1, CONNECT_MS) != 1)
        error = ETIMEDOUT;
    if (!error)
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (!error)
        return fd;
    close(fd);
    return -error;
}

/* "host:port" or "[ip]:port". A negative DSM_E code, with one line logged. */
static int connect_daemon(const char *daemon)
{
    char host[256];
    const char *colon = strrchr(daemon, ':'), *name = host;
    size_t len = colon ? (size_t)(colon - daemon) : 0;
    if (len == 0 || len >= sizeof host || !colon[1]) {
        dsm_log(DSM_LOG_ERROR, "%s: where dsmd is: allowed is host:port", daemon);
        return DSM_E_INVAL;
    }
    memcpy(host, daemon, len);
    host[len] = '\0';
    if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        name++;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    int error = getaddrinfo(name, colon + 1, &hints, &found);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "cannot find dsmd at %s: %s", daemon, gai_strerror(error));
        return DSM_E_CONNECT;
    }
    int fd = connect_to(found);
    freeaddrinfo(found);
    if (fd < 0)
        dsm_log(DSM_LOG_ERROR, "cannot connect to dsmd at %s: %s", daemon, strerror(-fd));
    return fd < 0 ? DSM_E_CONNECT : fd;
}

static int send_watch(int fd, const struct top_daemon *daemon, double delay_s)
{
    uint8_t bytes[256];
    size_t len;
    Dsm__Watch watch = DSM__WATCH__INIT;
    watch.protocol = DSM_CONTROL_PROTOCOL;
    watch.token = (ProtobufCBinaryData){sizeof daemon->token, (uint8_t *)(uintptr_t)daemon->token};
    watch.every_ms = (uint32_t)(delay_s * 1000);
    if (watch.every_ms < DSM_CONTROL_MIN_WATCH_MS)
        watch.every_ms = DSM_CONTROL_MIN_WATCH_MS;
    Dsm__Control message = DSM__CONTROL__INIT;
    message.body_case = DSM__CONTROL__BODY_WATCH;
    message.watch = &watch;
    int error = dsm_control_pack_into(&message, bytes, sizeof bytes, &len);
    /* A fresh connection has room for it. */
    if (!error && send(fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
        error = DSM_E_CONNECT;
    return error;
}

/* ---- what comes ---------------------------------------------------------------------------------
 */

static struct top_rank *find_rank(struct top *t, uint32_t job, uint32_t number)
{
    for (size_t i = 0; i < t->n_ranks; i++)
        if (t->ranks[i].now.job == job && t->ranks[i].now.rank == number)
            return &t->ranks[i];
    return NULL;
}

static int take_shown(struct top *t, const Dsm__Shown *shown)
{
    struct dsm_live live;
    if (shown->live.len != sizeof live)
        return 0;
    memcpy(&live, shown->live.data, sizeof live);
    if (!top_accept(&live) || live.rank != shown->rank || (t->has_job && live.job != t->job))
        return 0;
    t->job = live.job;
    t->has_job = true;
    t->remote->n_ranks = live.n_ranks;
    struct top_rank *rank = find_rank(t, live.job, live.rank);
    if (rank && rank->fd >= 0)
        return 0; /* it is here */
    if (!rank) {
        struct top_rank *grown = reallocarray(t->ranks, t->n_ranks + 1, sizeof *grown);
        if (!grown)
            return DSM_E_NOMEM;
        t->ranks = grown;
        grown[t->n_ranks++] = (struct top_rank){.pid = (pid_t)live.pid, .fd = -1, .now = live};
        top_sort(t);
    } else if (rank->now.updated_ns != live.updated_ns) {
        rank->before = rank->now;
        rank->now = live;
    }
    return 0;
}

/* Ranks that dsmd tells of: this one, or all. */
static void forget(struct top *t, bool all, uint32_t number)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->n_ranks; i++)
        if (t->ranks[i].fd >= 0 || (!all && t->ranks[i].now.rank != number))
            t->ranks[kept++] = t->ranks[i];
    t->n_ranks = kept;
}

static int take_message(struct top *t, const uint8_t *bytes, size_t len)
{
    Dsm__Control *message;
    const char *reason;
    int error = 0;
    if (dsm_control_unpack(bytes, len, DSM_CONTROL_FROM_DAEMON, &message, &reason) != 0) {
        t->remote->has_ended = true;
        return 0;
    }
    if (message->body_case == DSM__CONTROL__BODY_SHOWN)
        error = take_shown(t, message->shown);
    else if (message->body_case == DSM__CONTROL__BODY_LEFT)
        forget(t, false, message->left->rank);
    else if (message->body_case == DSM__CONTROL__BODY_REFUSE) {
        t->remote->refusal = message->refuse->error;
        dsm_format(t->remote->why, sizeof t->remote->why, "%s", message->refuse->reason);
        t->remote->has_ended = true;
    }
    dsm_control_free(message);
    return error;
}

static int take_bytes(struct top *t, const char *bytes, size_t n)
{
    struct top_remote *r = t->remote;
    const uint8_t *message;
    size_t len;
    int error = dsm_framing_push(&r->framing, bytes, n), got = 0;
    while (!error && !r->has_ended && (got = dsm_framing_next(&r->framing, &message, &len)) == 1)
        error = take_message(t, message, len);
    r->has_ended |= got < 0;
    return error;
}

int top_remote_look(struct top *t)
{
    struct top_remote *r = t->remote;
    char bytes[65536];
    int error = 0;
    while (!error && !r->has_ended) {
        ssize_t n = read(r->fd, bytes, sizeof bytes);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0)
            r->has_ended = true;
        else
            error = take_bytes(t, bytes, (size_t)n);
    }
    if (r->has_ended)
        forget(t, true, 0);
    return error;
}

static uint32_t count_ranks(const struct top *t)
{
    size_t at = 0;
    uint32_t n = 0;
    while (t->has_job && top_next(t, &at))
        n++;
    return n;
}

/* Until all ranks have been told of, or the time is over; the first of them may take longer. */
static int wait_for_all(struct top *t)
{
    struct top_remote *r = t->remote;
    uint64_t start_ns = dsm_clock_ns();
    int error = 0;
    while (!error && !r->has_ended && (r->n_ranks == 0 || count_ranks(t) < r->n_ranks)) {
        uint64_t passed_ms = (dsm_clock_ns() - start_ns) / DSM_NS_PER_MS;
        uint64_t most_ms = r->n_ranks ? ALL_MS : CONNECT_MS;
        struct pollfd wait = {.fd = r->fd, .events = POLLIN};
        if (passed_ms >= most_ms)
            return r->n_ranks ? 0 : DSM_E_TIMEOUT;
        if (poll(&wait, 1, (int)(most_ms - passed_ms)) > 0)
            error = top_remote_look(t);
    }
    return error;
}

int top_remote_open(struct top *t, const struct top_daemon *daemon, double delay_s)
{
    int fd = connect_daemon(daemon->address);
    if (fd < 0)
        return fd;
    struct top_remote *r = t->remote = calloc(1, sizeof *r);
    if (!r) {
        close(fd);
        dsm_log(DSM_LOG_ERROR, "out of memory");
        return DSM_E_NOMEM;
    }
    r->fd = fd;
    dsm_framing_init(&r->framing, DSM_CONTROL_MAX_BYTES);
    int error = send_watch(fd, daemon, delay_s);
    if (!error)
        error = wait_for_all(t);
    if (!error && r->has_ended)
        error = r->refusal ? r->refusal : DSM_E_CONNECT;
    if (error) {
        dsm_log(DSM_LOG_ERROR, "dsmd at %s does not tell what the ranks do: %s", daemon->address,
                r->why[0]                ? r->why
                : error == DSM_E_TIMEOUT ? "no rank has answered"
                                         : dsm_error_text(error));
        top_remote_close(t);
    }
    return error;
}

void top_remote_close(struct top *t)
{
    struct top_remote *r = t->remote;
    if (!r)
        return;
    forget(t, true, 0);
    close(r->fd);
    dsm_framing_close(&r->framing);
    free(r);
    t->remote = NULL;
}
