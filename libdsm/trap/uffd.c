/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uffd.c - userfaultfd with a handler thread: faulting threads sleep in the kernel, and the thread
 * reads their events. No signal is needed to serve a fault, only to refuse one.
 */
#define _GNU_SOURCE
#include "base/errors.h"
#include "base/log.h"
#include "trap/fork.h"
#include "trap/handler.h"
#include "trap/raw.h"
#include "trap/uffd_ops.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 16

static int uffd_refuse(struct dsm_trap *trap, uintptr_t addr, uint32_t thread)
{
    (void)trap;
    return dsm_handler_refuse_thread(addr, thread);
}

static void uffd_retry(struct dsm_trap *trap, uintptr_t addr)
{
    dsm_uffd_wake(&trap->uffd, addr & ~(uintptr_t)4095, 4096);
}

static void handle(struct dsm_trap *trap, const struct uffd_msg *event)
{
    if (event->event != UFFD_EVENT_PAGEFAULT)
        return;
    struct dsm_fault fault = {
        .addr = (uintptr_t)event->arg.pagefault.address,
        .thread = event->arg.pagefault.feat.ptid,
        .is_write = (event->arg.pagefault.flags &
                     (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)) != 0,
        .is_async = true,
    };
    dsm_mutex_lock(&trap->handling);
    /* The thread may have been served with others long ago, and the view detached since. */
    if (dsm_view_find(fault.addr) == &trap->sink) {
        dsm_streak_check(&trap->streaks, &fault);
        if (trap->config.on_fault(trap->config.user, &fault) == DSM_FAULT_REFUSE)
            uffd_refuse(trap, fault.addr, fault.thread);
    }
    dsm_mutex_unlock(&trap->handling);
}

static bool is_stopping(const struct dsm_trap *trap)
{
    struct pollfd p = {.fd = trap->stop_fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static void *run(void *argument)
{
    struct dsm_trap *trap = argument;
    while (!is_stopping(trap)) {
        struct uffd_msg events[EVENTS_AT_ONCE];
        ssize_t n = read(trap->uffd.fd, events, sizeof events);
        for (ssize_t i = 0; i < n / (ssize_t)sizeof events[0]; i++)
            handle(trap, &events[i]);
        if (n > 0)
            continue;
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            dsm_log(DSM_LOG_ERROR, "trap uffd: reading events fails (errno %d)", errno);
            abort();
        }
        if (trap->config.wait) {
            trap->config.wait(trap->config.user, trap->wait_fd);
        } else {
            struct pollfd p = {.fd = trap->wait_fd, .events = POLLIN};
            poll(&p, 1, -1);
        }
    }
    return NULL;
}

static int uffd_probe(char *why, size_t why_bytes)
{
    return dsm_uffd_probe(UFFD_FEATURE_THREAD_ID, why, why_bytes);
}

static int open_wait_fd(struct dsm_trap *trap)
{
    trap->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    trap->wait_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (trap->stop_fd < 0 || trap->wait_fd < 0 ||
        epoll_ctl(trap->wait_fd, EPOLL_CTL_ADD, trap->stop_fd, &event) != 0 ||
        epoll_ctl(trap->wait_fd, EPOLL_CTL_ADD, trap->uffd.fd, &event) != 0)
        return dsm_error_from_errno(errno);
    return 0;
}

static void close_wait_fd(struct dsm_trap *trap)
{
    if (trap->wait_fd >= 0)
        close(trap->wait_fd);
    if (trap->stop_fd >= 0)
        close(trap->stop_fd);
    trap->wait_fd = trap->stop_fd = -1;
}

/*
 * The thread takes no signals: one that the program meant for itself must not run on it. But it
 * does take the two that the C library keeps for itself: setuid, setgroups and their like wait
 * until every thread has answered.
 */
static int start_thread(struct dsm_trap *trap)
{
    dsm_sigmask_t all = DSM_SIGMASK_ALL & ~(dsm_sigmask_of(32) | dsm_sigmask_of(33)), before = 0;
    dsm_raw_sigprocmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&trap->thread, NULL, run, trap);
    dsm_raw_sigprocmask(SIG_SETMASK, &before, NULL);
    return dsm_error_from_errno(error);
}

static int uffd_open(const struct dsm_trap_config *config, struct dsm_trap **trap_out)
{
    struct dsm_trap *trap;
    int error = dsm_uffd_trap_new("uffd", UFFD_FEATURE_THREAD_ID, config, &trap);
    if (error != 0)
        return error;
    error = open_wait_fd(trap);
    if (error != 0)
        goto close_fds;
    error = dsm_handler_start(SIGBUS); /* by which faults are refused */
    if (error != 0)
        goto close_fds;
    error = start_thread(trap);
    if (error != 0)
        goto stop_handler;
    *trap_out = trap;
    return 0;
stop_handler:
    dsm_handler_stop(SIGBUS);
close_fds:
    close_wait_fd(trap);
    dsm_uffd_trap_free(trap);
    return error;
}

static void uffd_after_fork_child(struct dsm_trap *trap)
{
    close_wait_fd(trap);
    dsm_uffd_close(&trap->uffd);
    dsm_fork_child(&trap->sink);
}

static void uffd_close(struct dsm_trap *trap)
{
    if (eventfd_write(trap->stop_fd, 1) == 0)
        pthread_join(trap->thread, NULL);
    dsm_handler_stop(SIGBUS);
    close_wait_fd(trap);
    dsm_uffd_trap_free(trap);
}

const struct dsm_trap_ops dsm_trap_uffd = {
    .name = "uffd",
    .probe = uffd_probe,
    .open = uffd_open,
    .attach = dsm_uffd_attach,
    .detach = dsm_uffd_detach,
    .map_read = dsm_uffd_map_read,
    .map_write = dsm_uffd_map_write,
    .downgrade = dsm_uffd_downgrade,
    .unmap = dsm_uffd_unmap,
    .refuse = uffd_refuse,
    .retry = uffd_retry,
    .after_fork_child = uffd_after_fork_child,
    .close = uffd_close,
};
