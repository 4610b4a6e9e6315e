/* SPDX-License-Identifier: BSD-3-Clause */
/* workers.c - see workers.h. */
#define _GNU_SOURCE
#include "parmacs/workers.h"
#include "base/log.h"
#include "parmacs/program.h"
#include "trap/next.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct worker {
    struct worker *next;
    struct dsm_driver *driver;
    void (*function)(void);
    pthread_t thread;
    _Atomic bool has_ended;
};

static struct worker *workers; /* started and not joined */
static _Thread_local bool is_worker;

bool dsm_workers_is_worker(void)
{
    return is_worker;
}

static void tell(void *argument)
{
    struct worker *w = argument;
    struct dsm_work_item ended = {.kind = DSM_WORK_ENDED};
    dsm_work_send(w->driver, 0, &ended);
    atomic_store(&w->has_ended, true);
}

static void *run(void *argument)
{
    struct worker *w = argument;
    is_worker = true;
    dsm_waiters_count_thread(w->driver); /* its time counts from the start */
    pthread_cleanup_push(tell, w);
    w->function();
    pthread_cleanup_pop(1);
    return NULL;
}

static void join(bool all)
{
    for (struct worker **at = &workers; *at;) {
        struct worker *w = *at;
        if (!all && !atomic_load(&w->has_ended)) {
            at = &w->next;
            continue;
        }
        pthread_join(w->thread, NULL);
        *at = w->next;
        free(w);
    }
}

void dsm_workers_join(void)
{
    join(true);
}

int dsm_workers_start(struct dsm_driver *d, uint64_t function)
{
    join(false); /* rounds of CREATE do not pile up what is over */
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return ENOMEM;
    w->driver = d;
    w->function = (void (*)(void))(uintptr_t)function;
    int error = pthread_create(&w->thread, NULL, run, w);
    if (error) {
        free(w);
        return error;
    }
    w->next = workers;
    workers = w;
    return 0;
}

#ifdef PIC
/*
 * In front of the C library's: a worker that is a thread ends by exit(0) as one that is a process
 * would, and takes nobody along. Only in the shared library (libtool defines PIC for it): in a
 * program that is linked with -static the C library's own would be out of reach.
 */
DSM_API void exit(int status)
{
    static void *_Atomic cache;
    if (is_worker && status == 0)
        pthread_exit(NULL);
    void (*next)(int) = dsm_next(&cache, "exit", NULL);
    if (is_worker)
        dsm_program_fail("a worker on rank %u called exit(%d)", dsm_rank(), status);
    if (next)
        next(status);
    _exit(status);
}
#endif
