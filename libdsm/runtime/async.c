/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * async.c - the waiting of the uffd backend's handler thread.
 *
 * While faults or what they asked for are under way the handler thread takes part in reading the
 * network like any waiting thread (waiters.c), but it also has to hear of further faults: so it
 * sleeps on descriptors, and others wake it through an eventfd.
 */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "runtime/driver.h"
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

/* Gives up on faults whose time is up. (locked) */
static void expire(struct dsm_driver *d, uint64_t now)
{
    for (struct dsm_async_fault *f = d->async_faults; f;) {
        if (now < f->deadline_ns) {
            f = f->next;
            continue;
        }
        dsm_driver_end_async_fault(d, f, now);
        dsm_log(DSM_LOG_ERROR,
                "access to 0x%lx failed: unit %lu did not come within %lu ms (DSM_FAULT_TIMEOUT)",
                (unsigned long)f->addr, (unsigned long)f->unit,
                (unsigned long)(d->config.fault_timeout_s * 1e3));
        d->trap_ops->refuse(d->trap, f->addr, f->tid);
        f = d->async_faults; /* the step may have ended others as well */
    }
}

/* A thread may have left its fault for one in a signal's handler. What was asked for is read all
 * the same: others may be waiting until it has been here. (locked) */
static bool must_read(const struct dsm_driver *d)
{
    return d->net && (d->async_faults || dsm_core_awaits_replies(d->core));
}

static void sleep_on(int a, int b, int timeout_ms)
{
    struct pollfd p[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    (void)poll(p, 2, timeout_ms); /* early returns are harmless: the caller looks again */
}

void dsm_driver_trap_wait(void *driver, int uffd_fd)
{
    struct dsm_driver *d = driver;
    const int slice_ms = 100; /* how late an expired fault is noticed */
    dsm_mutex_lock(&d->lock);
    if (!must_read(d)) {
        dsm_mutex_unlock(&d->lock);
        sleep_on(uffd_fd, d->async_wake_fd, slice_ms);
        return;
    }
    struct dsm_waiter w;
    dsm_waiter_add(d, &w, DSM_PAGE_NONE, true);
    w.wake_fd = d->async_wake_fd;
    bool is_needed = true;
    dsm_mutex_unlock(&d->lock);

    uint64_t last_ns = dsm_clock_ns();
    bool has_claimed = false;
    while (is_needed && !is_readable(uffd_fd)) {
        uint64_t now = dsm_clock_ns();
        uint32_t state = atomic_load(&w.word);
        int n = 0;
        if (state == DSM_WAIT_READING) {
            if (!has_claimed)
                dsm_waiter_claim(d, &w);
            has_claimed = true;
            n = d->net_ops->poll(d->net, 0);
            dsm_driver_flush(d);
            if (now >= atomic_load(&d->timer_at_ns))
                dsm_driver_timer(d, now);
        }
        if (n > 0) {
            last_ns = now;
        } else if (now - last_ns >= dsm_waiters_spin_ns(d)) {
            uint32_t expected = DSM_WAIT_SPINNING;
            if (state == DSM_WAIT_READING) {
                uint64_t at = atomic_load(&d->timer_at_ns);
                bool is_soon = at < now + (uint64_t)slice_ms * DSM_NS_PER_MS;
                sleep_on(uffd_fd, d->net_ops->poll_fd(d->net), is_soon ? 1 : slice_ms);
            } else if (atomic_compare_exchange_strong(&w.word, &expected, DSM_WAIT_SLEEPING) ||
                       expected == DSM_WAIT_SLEEPING) {
                sleep_on(uffd_fd, d->async_wake_fd, slice_ms);
                uint64_t count;
                (void)!read(d->async_wake_fd, &count, sizeof count); /* empty it; may be empty */
            }
        }
        dsm_mutex_lock(&d->lock);
        expire(d, now);
        is_needed = must_read(d);
        dsm_mutex_unlock(&d->lock);
    }
    dsm_mutex_lock(&d->lock);
    dsm_waiter_remove(d, &w);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
}
