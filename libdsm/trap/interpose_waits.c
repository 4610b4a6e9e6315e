/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * interpose_waits.c - the calls that wait, many of them with a mask of their own. The mask stays in
 * force while a handler runs that ends the wait, and that handler may touch the region: so these
 * masks lose SIGBUS and SIGSEGV. Descriptors, events and times go through private memory when they
 * are in the region. The waiting itself stays the C library's, with its cancellation point.
 */
#define _GNU_SOURCE
#include "trap/calls.h"
#include "trap/signals.h"
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>

const bool dsm_interposes_waits = true;

/* The mask without the traps' signals, or NULL for NULL. */
static const sigset_t *opened(const sigset_t *mask, sigset_t *copy)
{
    if (!mask)
        return NULL;
    dsm_sigmask_t bits;
    *copy = *mask;
    memcpy(&bits, copy, sizeof bits);
    bits &= ~DSM_TRAP_SIGNALS;
    memcpy(copy, &bits, sizeof bits);
    return copy;
}

#define TOUCHES_MASK(mask) ((mask) != NULL)
#define TAKE_MASK(mask)                                                                            \
    sigset_t opened_mask;                                                                          \
    mask = opened(mask, &opened_mask)
#define GIVE_MASK(mask) (void)0

/* As many bytes of a set as the kernel reads and writes: whole words. */
#define SET(set, n) INOUT(set, (n) > 0 ? ((size_t)(n) + 63) / 64 * 8 : 0)

/*
 * Of each entry the kernel writes revents alone, and another rank may be writing the rest. It does
 * so also when the wait is interrupted.
 */
static void give_polled(struct dsm_bounce *bounce, const struct pollfd *copy, nfds_t n)
{
    struct pollfd *entries = dsm_bounce_origin(bounce, copy);
    for (nfds_t i = 0; entries && i < n; i++)
        entries[i].revents = copy[i].revents;
}

#define TOUCHES_POLLED(fds, n) dsm_bounce_touches(fds, (n) * sizeof *(fds))
#define TAKE_POLLED(fds, n)    fds = dsm_bounce_in(&bounce, fds, (n) * sizeof *(fds))
#define GIVE_POLLED(fds, n)    give_polled(&bounce, fds, ok || errno == EINTR ? (n) : 0)

#define EVENTS(events, n)                                                                          \
    OUT_USED(events, (n) > 0 ? (size_t)(n) * sizeof *(events) : 0,                                 \
             ok ? (size_t)result * sizeof *(events) : 0)

DSM_API int sigsuspend(const sigset_t *mask)
{
    extern int __sigsuspend(const sigset_t *);
    sigset_t copy;
    return __sigsuspend(opened(mask, &copy));
}

/* clang-format off */
CALL(MINUS_ONE, int, poll, (struct pollfd *fds, nfds_t n, int timeout_ms), (fds, n, timeout_ms),
     POLLED(fds, n))

CALL(MINUS_ONE, int, ppoll,
     (struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask),
     (fds, n, timeout, mask),
     MASK(mask), POLLED(fds, n), IN(timeout, sizeof *timeout))

/* What is left of the time is written, also when the wait is interrupted. */
CALL(MINUS_ONE, int, select,
     (int n, fd_set *readable, fd_set *writable, fd_set *failed, struct timeval *timeout),
     (n, readable, writable, failed, timeout),
     SET(readable, n), SET(writable, n), SET(failed, n),
     INOUT_USED(timeout, sizeof *timeout, ok || errno == EINTR ? sizeof *timeout : 0))

CALL(MINUS_ONE, int, pselect,
     (int n, fd_set *readable, fd_set *writable, fd_set *failed, const struct timespec *timeout,
      const sigset_t *mask),
     (n, readable, writable, failed, timeout, mask),
     MASK(mask), SET(readable, n), SET(writable, n), SET(failed, n), IN(timeout, sizeof *timeout))

CALL(MINUS_ONE, int, epoll_wait,
     (int epfd, struct epoll_event *events, int max_events, int timeout_ms),
     (epfd, events, max_events, timeout_ms),
     EVENTS(events, max_events))

CALL(MINUS_ONE, int, epoll_pwait,
     (int epfd, struct epoll_event *events, int max_events, int timeout_ms, const sigset_t *mask),
     (epfd, events, max_events, timeout_ms, mask),
     MASK(mask), EVENTS(events, max_events))

CALL(MINUS_ONE, int, epoll_pwait2,
     (int epfd, struct epoll_event *events, int max_events, const struct timespec *timeout,
      const sigset_t *mask),
     (epfd, events, max_events, timeout, mask),
     MASK(mask), EVENTS(events, max_events), IN(timeout, sizeof *timeout))

CALL(MINUS_ONE, int, epoll_ctl, (int epfd, int op, int fd, struct epoll_event *event),
     (epfd, op, fd, event),
     IN(event, sizeof *event))

/* -D_FORTIFY_SOURCE */
WRAPPER(int, __poll_chk, (struct pollfd *fds, nfds_t n, int timeout_ms, size_t room_bytes))
{
    if (room_bytes / sizeof *fds < n)
        __chk_fail();
    return wrap_poll(fds, n, timeout_ms);
}

WRAPPER(int, __ppoll_chk,
        (struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
         size_t room_bytes))
{
    if (room_bytes / sizeof *fds < n)
        __chk_fail();
    return wrap_ppoll(fds, n, timeout, mask);
}
/* clang-format on */
