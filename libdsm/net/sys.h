/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sys.h - the system calls of the fault path, raw. glibc's wrappers of these are cancellation
 * points: a cancelled thread that faults would be unwound out of the signal handler. Each returns
 * the result or a negative errno. Signal-handler safe.
 */
#ifndef DSM_NET_SYS_H
#define DSM_NET_SYS_H

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static inline long dsm_sys_result(long result)
{
    return result < 0 ? -errno : result;
}

static inline long dsm_sys_sendv(int fd, struct iovec *iov, size_t n_iov)
{
    if (n_iov == 1)
        return dsm_sys_result(syscall(SYS_sendto, fd, iov->iov_base, iov->iov_len,
                                      MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0));
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = n_iov};
    return dsm_sys_result(syscall(SYS_sendmsg, fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static inline long dsm_sys_recvv(int fd, struct iovec *iov, size_t n_iov)
{
    if (n_iov == 1)
        return dsm_sys_result(
            syscall(SYS_recvfrom, fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT, NULL, NULL));
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = n_iov};
    return dsm_sys_result(syscall(SYS_recvmsg, fd, &message, MSG_DONTWAIT));
}

static inline long dsm_sys_pwrite(int fd, const void *bytes, size_t len_bytes, uint64_t offset)
{
    return dsm_sys_result(syscall(SYS_pwrite64, fd, bytes, len_bytes, offset));
}

/* timeout_us: 0 looks, -1 waits for ever. Where the kernel has no nanosecond timeout (before 5.11),
 * whole milliseconds, rounded up. */
static inline long dsm_sys_epoll_wait(int fd, struct epoll_event *events, int n_events,
                                      int64_t timeout_us)
{
    if (timeout_us <= 0)
        return dsm_sys_result(
            syscall(SYS_epoll_pwait, fd, events, n_events, (int)timeout_us, NULL, (size_t)8));
    struct timespec timeout = {.tv_sec = timeout_us / 1000000,
                               .tv_nsec = timeout_us % 1000000 * 1000};
    long n =
        dsm_sys_result(syscall(SYS_epoll_pwait2, fd, events, n_events, &timeout, NULL, (size_t)8));
    if (n != -ENOSYS)
        return n;
    int64_t timeout_ms = (timeout_us + 999) / 1000;
    return dsm_sys_result(syscall(SYS_epoll_pwait, fd, events, n_events,
                                  timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms, NULL,
                                  (size_t)8));
}

static inline long dsm_sys_read(int fd, void *to, size_t len_bytes)
{
    return dsm_sys_result(syscall(SYS_read, fd, to, len_bytes));
}

static inline long dsm_sys_write(int fd, const void *from, size_t len_bytes)
{
    return dsm_sys_result(syscall(SYS_write, fd, from, len_bytes));
}

static inline void dsm_sys_close(int fd)
{
    (void)syscall(SYS_close, fd);
}

#endif
