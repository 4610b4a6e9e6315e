/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * interpose_waits.c - the calls that wait with a mask of their own. The mask stays in force while a
 * handler runs that ends the wait, and that handler may touch the region: so these masks lose
 * SIGBUS and SIGSEGV too. The waiting itself stays the C library's, with its cancellation point.
 */
#define _GNU_SOURCE
#include "trap/next.h"
#include "trap/signals.h"
#include <dsm/dsm.h>
#include <errno.h>
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

static int missing(void)
{
    errno = ENOSYS;
    return -1;
}

DSM_API int sigsuspend(const sigset_t *mask)
{
    extern int __sigsuspend(const sigset_t *);
    sigset_t copy;
    return __sigsuspend(opened(mask, &copy));
}

DSM_API int pselect(int n, fd_set *restrict readable, fd_set *restrict writable,
                    fd_set *restrict failed, const struct timespec *restrict timeout,
                    const sigset_t *restrict mask)
{
    static void *_Atomic cache;
    int (*next)(int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *) =
        dsm_next(&cache, "pselect", NULL);
    sigset_t copy;
    return next ? next(n, readable, writable, failed, timeout, opened(mask, &copy)) : missing();
}

DSM_API int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
                  const sigset_t *mask)
{
    static void *_Atomic cache;
    int (*next)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *) =
        dsm_next(&cache, "ppoll", NULL);
    sigset_t copy;
    return next ? next(fds, n, timeout, opened(mask, &copy)) : missing();
}

DSM_API int epoll_pwait(int epfd, struct epoll_event *events, int max_events, int timeout_ms,
                        const sigset_t *mask)
{
    static void *_Atomic cache;
    int (*next)(int, struct epoll_event *, int, int, const sigset_t *) =
        dsm_next(&cache, "epoll_pwait", NULL);
    sigset_t copy;
    return next ? next(epfd, events, max_events, timeout_ms, opened(mask, &copy)) : missing();
}

DSM_API int epoll_pwait2(int epfd, struct epoll_event *events, int max_events,
                         const struct timespec *timeout, const sigset_t *mask)
{
    static void *_Atomic cache;
    int (*next)(int, struct epoll_event *, int, const struct timespec *, const sigset_t *) =
        dsm_next(&cache, "epoll_pwait2", NULL);
    sigset_t copy;
    return next ? next(epfd, events, max_events, timeout, opened(mask, &copy)) : missing();
}
