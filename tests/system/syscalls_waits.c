/* SPDX-License-Identifier: BSD-3-Clause */
/* syscalls_waits.c - calls that wait for descriptors, and for time. */
#define _GNU_SOURCE
#include "syscalls.h"
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

int __poll_chk(struct pollfd *, nfds_t, int, size_t);
int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);

/* A pipe with something in it, as descriptors 60 and 61. */
static void open_pipe(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0 && dup2(fds[0], 60) == 60 && dup2(fds[1], 61) == 61);
    close(fds[0]);
    close(fds[1]);
    CHECK(write(61, "x", 1) == 1);
}

static void close_pipe(void)
{
    close(60);
    close(61);
}

static struct pollfd *put_polled(struct arena *a)
{
    struct pollfd p[3] = {{60, POLLIN, 7}, {61, POLLOUT | POLLIN, 7}, {-1, POLLIN, 7}};
    return put(a, p, sizeof p);
}

#define POLLS(call)                                                                                \
    open_pipe();                                                                                   \
    struct pollfd *p = put_polled(a);                                                              \
    struct timespec *t = put(a, &(struct timespec){0, 1000}, sizeof *t);                           \
    sigset_t *mask = room(a, sizeof *mask);                                                        \
    (void)t, (void)mask;                                                                           \
    sigemptyset(mask);                                                                             \
    RESULT(a, call);                                                                               \
    p[0].events = 0;                                                                               \
    p[1].events = POLLIN;                                                                          \
    RESULT(a, call);                                                                               \
    close_pipe()

/* clang-format off */
CASE(poll) { POLLS(poll(p, 3, 1)); }
CASE(__poll_chk) { POLLS(__poll_chk(p, 3, 1, 3 * sizeof *p)); }
CASE(ppoll) { POLLS(ppoll(p, 3, t, mask)); }
CASE(__ppoll_chk) { POLLS(__ppoll_chk(p, 3, t, mask, 3 * sizeof *p)); }
/* clang-format on */

#define SELECTS(call)                                                                              \
    open_pipe();                                                                                   \
    fd_set *readable = room(a, sizeof(fd_set)), *writable = room(a, sizeof(fd_set));               \
    fd_set *failed = room(a, sizeof(fd_set));                                                      \
    struct timeval *v = put(a, &(struct timeval){0, 0}, sizeof *v);                                \
    struct timespec *t = put(a, &(struct timespec){0, 1000}, sizeof *t);                           \
    sigset_t *mask = room(a, sizeof *mask);                                                        \
    (void)v, (void)t, (void)mask;                                                                  \
    sigemptyset(mask);                                                                             \
    for (int i = 0; i < 64; i++) {                                                                 \
        FD_CLR(i, readable);                                                                       \
        FD_CLR(i, writable);                                                                       \
        FD_CLR(i, failed);                                                                         \
    }                                                                                              \
    FD_SET(60, readable);                                                                          \
    FD_SET(61, readable);                                                                          \
    FD_SET(61, writable);                                                                          \
    RESULT(a, call);                                                                               \
    RESULT(a, FD_ISSET(60, readable) != 0);                                                        \
    FD_SET(59, failed); /* no such descriptor: nothing is written */                               \
    RESULT(a, call);                                                                               \
    close_pipe()

/* clang-format off */
CASE(select) { SELECTS(select(62, readable, writable, failed, v)); }
CASE(pselect) { SELECTS(pselect(62, readable, writable, failed, t, mask)); }
/* clang-format on */

/* epoll_ctl, too: its event is in the arena. */
#define EPOLLS(call)                                                                               \
    open_pipe();                                                                                   \
    int epfd = epoll_create1(EPOLL_CLOEXEC);                                                       \
    struct epoll_event *in = room(a, sizeof *in), *out = room(a, 4 * sizeof *out);                 \
    struct timespec *t = put(a, &(struct timespec){0, 1000}, sizeof *t);                           \
    sigset_t *mask = room(a, sizeof *mask);                                                        \
    (void)t, (void)mask;                                                                           \
    sigemptyset(mask);                                                                             \
    in->events = EPOLLIN;                                                                          \
    in->data.u64 = 0x123456789;                                                                    \
    RESULT(a, epoll_ctl(epfd, EPOLL_CTL_ADD, 60, in));                                             \
    RESULT(a, call);                                                                               \
    RESULT(a, epoll_ctl(epfd, EPOLL_CTL_DEL, 60, NULL));                                           \
    RESULT(a, call);                                                                               \
    close(epfd);                                                                                   \
    close_pipe()

/* clang-format off */
CASE(epoll_ctl) { EPOLLS(0); }
CASE(epoll_wait) { EPOLLS(epoll_wait(epfd, out, 4, 1)); }
CASE(epoll_pwait) { EPOLLS(epoll_pwait(epfd, out, 4, 1, mask)); }
CASE(epoll_pwait2) { EPOLLS(epoll_pwait2(epfd, out, 4, t, mask)); }
/* clang-format on */
