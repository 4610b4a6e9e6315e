/* SPDX-License-Identifier: BSD-3-Clause */
/* sockets.c - messages, addresses and options. */
#define _GNU_SOURCE
#include "base/log.h"
#include "syscalls/syscalls.h"
#include "syscalls/transfer.h"
#include "trap/calls.h"
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

const bool dsm_wraps_sockets = true;

/* ---- addresses and options ---- */

/*
 * A place for an answer, and how large it is: the length is written, too, and may become more than
 * there is room for. Copied in first, because the kernel may leave gaps. Returns the room.
 */
static socklen_t take_answer(struct dsm_bounce *bounce, void **answer, socklen_t **len)
{
    socklen_t *copy = dsm_bounce_in(bounce, *len, sizeof **len);
    if (*answer && copy && (copy != *len || dsm_bounce_is_readable(copy, sizeof *copy))) {
        *answer = dsm_bounce_in(bounce, *answer, *copy);
        *len = copy;
        return *copy;
    }
    *len = copy;
    return 0;
}

static void give_answer(struct dsm_bounce *bounce, const void *answer, const socklen_t *len,
                        socklen_t room)
{
    if (!answer || !len)
        return;
    dsm_bounce_give(bounce, answer, *len < room ? *len : room);
    dsm_bounce_give(bounce, len, sizeof *len);
}

/* The most that there can be of an answer that lies across the edge of the region. */
#define TOUCHES_ANSWER(p, len)                                                                     \
    (dsm_bounce_touches(p, p ? 4096 : 0) || dsm_bounce_touches(len, sizeof *(len)))
#define TAKE_ANSWER(p, len)                                                                        \
    void *answer = p;                                                                              \
    const socklen_t answer_room = take_answer(&bounce, &answer, &len);                             \
    p = answer
#define GIVE_ANSWER(p, len) give_answer(&bounce, p, ok ? len : NULL, answer_room)

/* clang-format off */
/* Numbers are written before it is known that there can be no such sockets. */
CALL(MINUS_ONE, int, socketpair, (int domain, int type, int protocol, int *fds),
     (domain, type, protocol, fds), INOUT_USED(fds, 2 * sizeof *fds, 2 * sizeof *fds))
CALL(MINUS_ONE, int, bind, (int fd, const void *addr, socklen_t len), (fd, addr, len),
     IN(addr, len))
CALL(MINUS_ONE, int, connect, (int fd, const void *addr, socklen_t len), (fd, addr, len),
     IN(addr, len))
CALL(MINUS_ONE, int, accept, (int fd, void *addr, socklen_t *len), (fd, addr, len),
     ANSWER(addr, len))
CALL(MINUS_ONE, int, accept4, (int fd, void *addr, socklen_t *len, int flags),
     (fd, addr, len, flags), ANSWER(addr, len))
CALL(MINUS_ONE, int, getsockname, (int fd, void *addr, socklen_t *len), (fd, addr, len),
     ANSWER(addr, len))
CALL(MINUS_ONE, int, getpeername, (int fd, void *addr, socklen_t *len), (fd, addr, len),
     ANSWER(addr, len))
CALL(MINUS_ONE, int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len),
     (fd, level, name, value, len), ANSWER(value, len))
CALL(MINUS_ONE, int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
     (fd, level, name, value, len), IN(value, len))

NEXT(MINUS_ONE, ssize_t, send, (int fd, const void *buffer, size_t len, int flags))
NEXT(MINUS_ONE, ssize_t, sendto,
     (int fd, const void *buffer, size_t len, int flags, const void *addr, socklen_t addr_len))
NEXT(MINUS_ONE, ssize_t, recv, (int fd, void *buffer, size_t len, int flags))
NEXT(MINUS_ONE, ssize_t, recvfrom,
     (int fd, void *buffer, size_t len, int flags, void *addr, socklen_t *addr_len))
NEXT(MINUS_ONE, ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags))
NEXT(MINUS_ONE, ssize_t, recvmsg, (int fd, struct msghdr *message, int flags))
NEXT(MINUS_ONE, int, sendmmsg, (int fd, struct mmsghdr *messages, unsigned n, int flags))
NEXT(MINUS_ONE, int, recvmmsg,
     (int fd, struct mmsghdr *messages, unsigned n, int flags, struct timespec *timeout))
/* clang-format on */

/* ---- one message ---- */

/* A message of which all but the buffers is private. */
struct messenger {
    bool is_write;
    bool is_plain; /* made without a header: as long as there is one buffer */
    int fd, flags;
    struct msghdr header;
};

static ssize_t call(void *context, const struct iovec *buffers, size_t n, size_t done_bytes)
{
    struct messenger *m = context;
    struct msghdr *h = &m->header;
    (void)done_bytes;
    h->msg_iov = (struct iovec *)buffers;
    h->msg_iovlen = n;
    if (!m->is_plain || n != 1)
        return m->is_write ? next_sendmsg()(m->fd, h, m->flags)
                           : next_recvmsg()(m->fd, h, m->flags);
    if (m->is_write)
        return h->msg_name ? next_sendto()(m->fd, buffers->iov_base, buffers->iov_len, m->flags,
                                           h->msg_name, h->msg_namelen)
                           : next_send()(m->fd, buffers->iov_base, buffers->iov_len, m->flags);
    return h->msg_name ? next_recvfrom()(m->fd, buffers->iov_base, buffers->iov_len, m->flags,
                                         h->msg_name, &h->msg_namelen)
                       : next_recv()(m->fd, buffers->iov_base, buffers->iov_len, m->flags);
}

#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif

/* The kernel would go on reading the buffers after the call. */
static bool is_refused(const struct messenger *m)
{
    static atomic_bool has_said;
    if (!m->is_write || !(m->flags & MSG_ZEROCOPY))
        return false;
    if (!atomic_exchange(&has_said, true))
        dsm_log(DSM_LOG_ERROR, "send: MSG_ZEROCOPY from the shared region is refused, because the "
                               "kernel would go on reading pages that other ranks have got; send "
                               "without it");
    return true;
}

/* Private buffers go as they are. */
static ssize_t move(struct messenger *m, const struct iovec *buffers, size_t n)
{
    struct dsm_transfer transfer = {
        .is_write = m->is_write,
        .in_one = m->header.msg_controllen > 0,
        .fd = m->fd,
        .buffers = buffers,
        .n_buffers = n,
        .call = call,
        .context = m,
    };
    if (!dsm_transfer_is_shared(buffers, n))
        return call(m, buffers, n, 0);
    return is_refused(m) ? FAIL_MINUS_ONE(EOPNOTSUPP) : dsm_transfer(&transfer);
}

static ssize_t move_plain(struct messenger m, const void *buffer, size_t len)
{
    struct iovec one = {(void *)buffer, len};
    return move(&m, &one, 1);
}

WRAPPER(ssize_t, send, (int fd, const void *buffer, size_t len, int flags))
{
    if (!dsm_bounce_touches(buffer, len))
        return next_send()(fd, buffer, len, flags);
    return move_plain((struct messenger){true, true, fd, flags, {0}}, buffer, len);
}

WRAPPER(ssize_t, recv, (int fd, void *buffer, size_t len, int flags))
{
    if (!dsm_bounce_touches(buffer, len))
        return next_recv()(fd, buffer, len, flags);
    return move_plain((struct messenger){false, true, fd, flags, {0}}, buffer, len);
}

WRAPPER(ssize_t, sendto,
        (int fd, const void *buffer, size_t len, int flags, const void *addr, socklen_t addr_len))
{
    if (!dsm_bounce_touches(buffer, len) && !dsm_bounce_touches(addr, addr_len))
        return next_sendto()(fd, buffer, len, flags, addr, addr_len);
    DSM_BOUNCE(bounce);
    struct messenger m = {true, true, fd, flags, {0}};
    m.header.msg_name = dsm_bounce_in(&bounce, addr, addr_len);
    m.header.msg_namelen = addr_len;
    return bounce.error ? FAIL_MINUS_ONE(bounce.error) : move_plain(m, buffer, len);
}

WRAPPER(ssize_t, recvfrom,
        (int fd, void *buffer, size_t len, int flags, void *addr, socklen_t *addr_len))
{
    if (!dsm_bounce_touches(buffer, len) && !TOUCHES_ANSWER(addr, addr_len))
        return next_recvfrom()(fd, buffer, len, flags, addr, addr_len);
    DSM_BOUNCE(bounce);
    struct iovec one = {buffer, len};
    struct messenger m = {false, true, fd, flags, {0}};
    socklen_t room = take_answer(&bounce, &addr, &addr_len);
    if (bounce.error != 0)
        return FAIL_MINUS_ONE(bounce.error);
    /* No place for the length, or no length that could be read: for the kernel to refuse. */
    if (addr && (!addr_len || (room == 0 && dsm_bounce_origin(&bounce, addr_len) == NULL)))
        return next_recvfrom()(fd, buffer, len, flags, addr, addr_len);
    m.header.msg_name = addr;
    m.header.msg_namelen = room;
    ssize_t result = move(&m, &one, 1);
    if (result >= 0 && addr) {
        *addr_len = m.header.msg_namelen;
        give_answer(&bounce, addr, addr_len, room);
    }
    return result;
}

/* -D_FORTIFY_SOURCE */

WRAPPER(ssize_t, __recv_chk, (int fd, void *buffer, size_t len, size_t room, int flags))
{
    if (len > room)
        __chk_fail();
    return wrap_recv(fd, buffer, len, flags);
}

WRAPPER(ssize_t, __recvfrom_chk,
        (int fd, void *buffer, size_t len, size_t room, int flags, void *addr, socklen_t *addr_len))
{
    if (len > room)
        __chk_fail();
    return wrap_recvfrom(fd, buffer, len, flags, addr, addr_len);
}

/* ---- messages with a header ---- */

/* True when the kernel would refuse it, and nothing in it can be looked at. */
static bool is_unreadable(const struct msghdr *h)
{
    return h->msg_iovlen > IOV_MAX ||
           !dsm_bounce_is_readable(h->msg_iov, h->msg_iovlen * sizeof *h->msg_iov);
}

/* The header is private and readable. */
static bool message_is_shared(const struct msghdr *h)
{
    return dsm_bounce_touches(h->msg_name, h->msg_namelen) ||
           dsm_bounce_touches(h->msg_control, h->msg_controllen) ||
           dsm_bounce_touches(h->msg_iov, h->msg_iovlen * sizeof *h->msg_iov) ||
           (!is_unreadable(h) && dsm_transfer_is_shared(h->msg_iov, h->msg_iovlen));
}

/* Private copies of the parts, with what is in them: the kernel may leave gaps in what it writes.
 */
static void take_parts(struct dsm_bounce *bounce, struct msghdr *h)
{
    h->msg_name = dsm_bounce_in(bounce, h->msg_name, h->msg_namelen);
    h->msg_control = dsm_bounce_in(bounce, h->msg_control, h->msg_controllen);
    if (h->msg_iovlen <= IOV_MAX)
        h->msg_iov = dsm_bounce_in(bounce, h->msg_iov, h->msg_iovlen * sizeof *h->msg_iov);
}

WRAPPER(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags))
{
    if (!dsm_bounce_is_needed() ||
        (!dsm_bounce_touches(message, sizeof *message) &&
         (!dsm_bounce_is_readable(message, sizeof *message) || !message_is_shared(message))))
        return next_sendmsg()(fd, message, flags);
    DSM_BOUNCE(bounce);
    const struct msghdr *copy = dsm_bounce_in(&bounce, message, sizeof *message);
    struct messenger m = {true, false, fd, flags, *copy};
    take_parts(&bounce, &m.header);
    if (bounce.error != 0)
        return FAIL_MINUS_ONE(bounce.error);
    if (is_unreadable(&m.header))
        return next_sendmsg()(fd, &m.header, flags);
    return move(&m, m.header.msg_iov, m.header.msg_iovlen);
}

WRAPPER(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags))
{
    if (!dsm_bounce_is_needed() ||
        (!dsm_bounce_touches(message, sizeof *message) &&
         (!dsm_bounce_is_readable(message, sizeof *message) || !message_is_shared(message))))
        return next_recvmsg()(fd, message, flags);
    DSM_BOUNCE(bounce);
    const struct msghdr *copy = dsm_bounce_in(&bounce, message, sizeof *message);
    struct messenger m = {false, false, fd, flags, *copy};
    struct msghdr *h = &m.header;
    take_parts(&bounce, h);
    if (bounce.error != 0)
        return FAIL_MINUS_ONE(bounce.error);
    const socklen_t name_room = h->msg_namelen;
    const size_t control_room = h->msg_controllen;
    ssize_t result =
        is_unreadable(h) ? next_recvmsg()(fd, h, flags) : move(&m, h->msg_iov, h->msg_iovlen);
    if (result < 0)
        return result;
    dsm_bounce_give(&bounce, h->msg_name, h->msg_namelen < name_room ? h->msg_namelen : name_room);
    dsm_bounce_give(&bounce, h->msg_control,
                    h->msg_controllen < control_room ? h->msg_controllen : control_room);
    if (h->msg_name)
        message->msg_namelen = h->msg_namelen;
    message->msg_controllen = h->msg_controllen;
    message->msg_flags = h->msg_flags;
    return result;
}

/* ---- many messages: one after the other, as the kernel does it ---- */

static bool any_is_shared(const struct mmsghdr *messages, unsigned n)
{
    if (dsm_bounce_touches(messages, n * sizeof *messages))
        return true;
    if (n > IOV_MAX) /* the kernel takes no more */
        n = IOV_MAX;
    if (n == 0 || !dsm_bounce_is_readable(messages, n * sizeof *messages))
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (message_is_shared(&messages[i].msg_hdr))
            return true;
    }
    return false;
}

WRAPPER(int, sendmmsg, (int fd, struct mmsghdr *messages, unsigned n, int flags))
{
    if (!dsm_bounce_is_needed() || !any_is_shared(messages, n))
        return next_sendmmsg()(fd, messages, n, flags);
    unsigned done = 0;
    for (; done < n && done < IOV_MAX; done++) {
        ssize_t sent = wrap_sendmsg(fd, &messages[done].msg_hdr, flags);
        if (sent < 0)
            break;
        messages[done].msg_len = (unsigned)sent;
    }
    return done == 0 && n > 0 ? -1 : (int)done;
}

/* What is left of a time that ends then. */
static struct timespec left_until(const struct timespec *end)
{
    struct timespec now, left = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns = (end->tv_sec - now.tv_sec) * 1000000000 + (end->tv_nsec - now.tv_nsec);
    if (ns > 0)
        left = (struct timespec){ns / 1000000000, ns % 1000000000};
    return left;
}

/* The time is looked at after each message, says recvmmsg(2), and does not end a wait. */
WRAPPER(int, recvmmsg,
        (int fd, struct mmsghdr *messages, unsigned n, int flags, struct timespec *timeout))
{
    if (!dsm_bounce_is_needed() ||
        (!any_is_shared(messages, n) && !dsm_bounce_touches(timeout, sizeof *timeout)))
        return next_recvmmsg()(fd, messages, n, flags, timeout);
    struct timespec end = {0, 0}, left = {0, 0};
    if (timeout) {
        left = *timeout;
        if (left.tv_sec < 0 || left.tv_nsec < 0 || left.tv_nsec >= 1000000000)
            return FAIL_MINUS_ONE(EINVAL);
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_sec += left.tv_sec;
        end.tv_nsec += left.tv_nsec; /* may be more than a second: left_until does not mind */
    }
    unsigned done = 0;
    while (done < n && done < IOV_MAX) {
        ssize_t got = wrap_recvmsg(fd, &messages[done].msg_hdr, flags & ~MSG_WAITFORONE);
        if (got < 0)
            break;
        messages[done++].msg_len = (unsigned)got;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if (timeout)
            left = left_until(&end);
        if (timeout && left.tv_sec == 0 && left.tv_nsec == 0)
            break;
    }
    if (timeout && done > 0)
        *timeout = left;
    return done == 0 && n > 0 ? -1 : (int)done;
}
