/* SPDX-License-Identifier: BSD-3-Clause */
/* service.c - see service.h. */
#define _GNU_SOURCE
#include "runtime/service.h"
#include "base/async.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "runtime/bell.h"
#include "runtime/heap.h"
#include "proto/live.h"
#include "runtime/observe.h"
#include "runtime/publish.h"
#include <string.h>
#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* The core's timer: a timerfd, because the loop's own timers count milliseconds. */
static void on_timer(uv_poll_t *handle, int status, int events)
{
    struct dsm_service *s = handle->data;
    uint64_t count;
    (void)events;
    if (status == 0)
        (void)!read(s->timer_fd, &count, sizeof count); /* EAGAIN: re-armed meanwhile */
    dsm_driver_timer(s->driver, dsm_clock_ns());
}

/* Signal-handler safe. (locked) */
static void arm_timer(void *service, uint64_t at_ns)
{
    struct dsm_service *s = service;
    struct itimerspec t = {0};
    if (at_ns != UINT64_MAX) {
        t.it_value.tv_sec = (time_t)(at_ns / DSM_NS_PER_S);
        t.it_value.tv_nsec = (long)(at_ns % DSM_NS_PER_S);
        if (at_ns == 0)
            t.it_value.tv_nsec = 1; /* zero would disarm */
    }
    syscall(SYS_timerfd_settime, s->timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void wake_service(void *service)
{
    struct dsm_service *s = service;
    dsm_async_send(&s->heap_async);
}

static void on_heap(uv_async_t *handle)
{
    struct dsm_service *s = handle->data;
    if (!s->driver)
        return;
    dsm_heap_serve(s->driver);
    dsm_bell_serve(s->driver);
}

static void wake_profile(void *service)
{
    struct dsm_service *s = service;
    dsm_async_send(&s->profile_async);
}

static void on_profile(uv_async_t *handle)
{
    struct dsm_service *s = handle->data;
    if (s->driver)
        dsm_observe_serve(s->driver);
}

static void on_loss_timer(uv_timer_t *timer)
{
    struct dsm_service *s = timer->data;
    s->on_unexplained_loss(s->driver);
}

static void on_loss(uv_async_t *handle)
{
    struct dsm_service *s = handle->data;
    if (!uv_is_active((uv_handle_t *)&s->loss_timer))
        uv_timer_start(&s->loss_timer, on_loss_timer, DSM_LOSS_GRACE_MS, 0);
}

void dsm_service_report_loss(struct dsm_service *s)
{
    dsm_async_send(&s->loss_async);
}

static void on_tick(uv_timer_t *timer)
{
    struct dsm_service *s = timer->data;
    dsm_waiters_watch(s->driver);
    dsm_observe_counters(s->driver);
    if (s->publish)
        dsm_publish_now(s->publish);
}

static void on_stop(uv_async_t *handle)
{
    uv_stop(handle->loop);
}

int dsm_service_open(struct dsm_service *s)
{
    memset(s, 0, sizeof *s);
    s->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (s->timer_fd < 0)
        return dsm_error_from_errno(errno);
    if (uv_loop_init(&s->loop))
        goto close_fd;
    if (uv_poll_init(&s->loop, &s->timer_poll, s->timer_fd) ||
        uv_async_init(&s->loop, &s->heap_async, on_heap) ||
        uv_async_init(&s->loop, &s->profile_async, on_profile) ||
        uv_async_init(&s->loop, &s->stop_async, on_stop) ||
        uv_async_init(&s->loop, &s->loss_async, on_loss) ||
        uv_timer_init(&s->loop, &s->loss_timer) || uv_timer_init(&s->loop, &s->tick_timer))
        goto close_loop;
    s->timer_poll.data = s->heap_async.data = s->profile_async.data = s->loss_async.data =
        s->loss_timer.data = s->tick_timer.data = s;
    return 0;

close_loop:
    uv_run(&s->loop, UV_RUN_NOWAIT);
    uv_loop_close(&s->loop);
close_fd:
    close(s->timer_fd);
    return DSM_E_SYSTEM;
}

static void *run(void *service)
{
    struct dsm_service *s = service;
    prctl(PR_SET_NAME, "dsm-service");
    prctl(PR_SET_TIMERSLACK, 1);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    return NULL;
}

int dsm_service_start(struct dsm_service *s, struct dsm_driver *driver)
{
    s->driver = driver;
    driver->service = s;
    driver->arm_timer = arm_timer;
    driver->wake_service = wake_service;
    driver->wake_profile = wake_profile;
    if (uv_poll_start(&s->timer_poll, UV_READABLE, on_timer))
        return DSM_E_SYSTEM;
    s->publish = dsm_publish_open(driver);
    uv_timer_start(&s->tick_timer, on_tick, DSM_LIVE_EVERY_MS, DSM_LIVE_EVERY_MS);
    struct dsm_signal_mask mask;
    dsm_signals_block(
        &mask); /* the new thread inherits it: signals are for the program's threads */
    int error = pthread_create(&s->thread, NULL, run, s);
    dsm_signals_restore(&mask);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "cannot create the service thread: %s", strerror(error));
        return DSM_E_SYSTEM;
    }
    s->is_started = true;
    return 0;
}

void dsm_service_stop(struct dsm_service *s)
{
    if (!s->is_started)
        return;
    dsm_async_send(&s->stop_async);
    pthread_join(s->thread, NULL);
    s->is_started = false;
    uv_timer_stop(&s->tick_timer);
}

static void close_rest(uv_handle_t *handle, void *user)
{
    (void)user;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void dsm_service_close(struct dsm_service *s)
{
    if (s->publish)
        dsm_publish_close(s->publish);
    s->publish = NULL;
    uv_walk(&s->loop, close_rest, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    close(s->timer_fd);
}
