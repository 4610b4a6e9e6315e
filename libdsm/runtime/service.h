/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * service.h - the one thread libdsm adds to a rank: it runs the loop that answers requests while
 * the program computes, connects, keeps the core's timer, answers the heap's questions and talks to
 * dsmd.
 */
#ifndef DSM_RUNTIME_SERVICE_H
#define DSM_RUNTIME_SERVICE_H

#include "runtime/driver.h"
#include <pthread.h>
#include <uv.h>

struct dsm_service {
    uv_loop_t loop;
    uv_poll_t timer_poll;
    uv_async_t heap_async, profile_async, stop_async, loss_async;
    uv_timer_t loss_timer, tick_timer;
    void (*on_unexplained_loss)(void *user); /* set before start */
    int timer_fd;
    pthread_t thread;
    bool is_started;
    struct dsm_driver *driver;
    struct dsm_publish *publish; /* NULL: nothing to be seen */
};

/* The loop can be used (transport, joining) from here on, by the calling thread. Errors: SYSTEM. */
int dsm_service_open(struct dsm_service *service);
/* Runs the loop on its own thread. Errors: SYSTEM. */
int dsm_service_start(struct dsm_service *service, struct dsm_driver *driver);
/* A lane broke. When dsmd has not ended the job DSM_LOSS_GRACE_MS later, on_unexplained_loss is
 * called. Any thread, signal-handler safe. */
void dsm_service_report_loss(struct dsm_service *service);
#define DSM_LOSS_GRACE_MS 10000
/* Ends the thread; the loop can be used by the caller again. */
void dsm_service_stop(struct dsm_service *service);
void dsm_service_close(struct dsm_service *service);

#endif
