/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp_listen.c - the listener. Runs on the loop's thread, or before it runs. */
#define _GNU_SOURCE
#include "net/tcp.h"
#include "net/address.h"
#include "net/sys.h"
#include "base/errors.h"
#include "base/log.h"
#include <netdb.h>
#include <string.h>

#define LISTEN_BACKLOG  4096
#define ACCEPTS_AT_ONCE 64

static void on_connection(uv_poll_t *watch, int status, int events)
{
    struct dsm_net *net = watch->data;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        struct sockaddr_storage from;
        socklen_t from_len = sizeof from;
        int fd = accept4(net->listen_fd, (struct sockaddr *)&from, &from_len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
            dsm_log(DSM_LOG_WARN,
                    "rank %u cannot accept a connection: %s (ulimit -n raises the "
                    "limit on files)",
                    net->self, strerrordesc_np(errno));
            uv_poll_stop(&net->listen_watch); /* until the next tick: it would fire at once */
            net->is_accept_paused = true;
            dsm_chores_start_ticking(&net->chores);
            return;
        }
        if (fd < 0)
            return; /* none left, or gone already */
        dsm_tcp_link_accept(net, fd, (struct sockaddr *)&from, from_len);
    }
}

static int bind_and_listen(struct dsm_net *net, const struct addrinfo *info)
{
    net->listen_fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (net->listen_fd < 0 || bind(net->listen_fd, info->ai_addr, info->ai_addrlen) ||
        listen(net->listen_fd, LISTEN_BACKLOG))
        return errno;
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    if (getsockname(net->listen_fd, (struct sockaddr *)&bound, &len))
        return errno;
    dsm_address_text((struct sockaddr *)&bound, len, net->address, sizeof net->address);
    return 0;
}

static bool is_wildcard(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr == INADDR_ANY;
    const struct sockaddr_in6 *v6 = (const void *)address;
    return IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

int dsm_tcp_listen(struct dsm_net *net, const char *host)
{
    struct addrinfo *info;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    host = host ? host : "127.0.0.1";
    int error = getaddrinfo(host, "0", &hints, &info);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "cannot listen on \"%s\": %s", host, gai_strerror(error));
        return DSM_E_INVAL;
    }
    if (is_wildcard(info->ai_addr)) {
        dsm_log(DSM_LOG_ERROR,
                "cannot listen on \"%s\": other ranks need an address that leads here", host);
        error = DSM_E_INVAL;
    } else {
        int number = bind_and_listen(net, info);
        if (number) {
            dsm_log(DSM_LOG_ERROR, "cannot listen on \"%s\": %s", host, strerrordesc_np(number));
            error = dsm_error_from_errno(number);
        }
    }
    freeaddrinfo(info);
    return error;
}

int dsm_tcp_listen_start(struct dsm_net *net)
{
    net->is_accept_paused = false;
    return uv_poll_start(&net->listen_watch, UV_READABLE, on_connection) ? DSM_E_SYSTEM : 0;
}
