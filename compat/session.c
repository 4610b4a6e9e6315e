/* SPDX-License-Identifier: BSD-3-Clause */
/* session.c - see session.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "session.h"

/* The handler on libdsm's thread has to find it. */
static struct {
    enum { BEFORE, OPEN, AFTER } phase;
    uint32_t rank;
    sem_t rings;
    void (*_Atomic on_ring)(uint32_t from);
} session;

void dsm_compat_say(const char *format, va_list args)
{
    char line[1024];
    int used = snprintf(line, sizeof line, "dsm[%u]: ", (unsigned)session.rank);

    vsnprintf(line + used, sizeof line - (size_t)used - 1, format, args);
    if (line[strlen(line) - 1] != '\n') /* some programs end their messages themselves */
        strcat(line, "\n");
    if (write(STDERR_FILENO, line, strlen(line)) < 0)
        return; /* nobody is there to hear it */
}

void dsm_compat_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    dsm_compat_say(format, args);
    va_end(args);
    dsm_compat_end(1);
}

void dsm_compat_end(int status)
{
    if (session.phase == OPEN)
        dsm_abort(status);
    exit(status);
}

void dsm_compat_check(int error, const char *call)
{
    if (error)
        dsm_compat_fail("%s: %s", call, dsm_strerror(error));
}

void dsm_compat_need_open(const char *call)
{
    if (session.phase != OPEN)
        dsm_compat_fail("%s: called %s", call,
                        session.phase == BEFORE ? "before the start" : "after the end");
}

static void on_ring(void *user, uint32_t from)
{
    void (*handler)(uint32_t) = atomic_load(&session.on_ring);

    (void)user;
    if (handler)
        handler(from);
    sem_post(&session.rings);
}

void dsm_compat_open(const char *call, uint32_t max_processes)
{
    if (session.phase != BEFORE)
        dsm_compat_fail("%s: called a second time", call);
    if (dsm_init(NULL) < 0) /* has said why */
        exit(1);
    session.phase = OPEN;
    session.rank = dsm_rank();
    if (dsm_size() > max_processes && session.rank == 0)
        dsm_compat_fail("%s: the job has %u processes: at most %u are allowed", call, dsm_size(),
                        max_processes);
    if (sem_init(&session.rings, 0, 0) != 0)
        dsm_compat_fail("%s: sem_init: %s", call, strerror(errno));
    dsm_compat_check(dsm_on_ring(on_ring, NULL), call);
}

void dsm_compat_close(const char *call)
{
    dsm_compat_need_open(call);
    int error = dsm_finalize();
    session.phase = AFTER;
    dsm_compat_check(error, call);
}

void *dsm_compat_table(uint64_t bytes, enum dsm_placement placement)
{
    struct dsm_alloc_options options;
    void *addr = NULL;

    dsm_alloc_options_init(&options);
    options.placement = placement;
    int error = dsm_alloc(bytes, &options, &addr);
    if (error)
        dsm_compat_fail("the region of %lu bytes has no room for a table of %lu (%s): raise "
                        "DSM_REGION_SIZE",
                        (unsigned long)dsm_region_bytes(), (unsigned long)bytes,
                        dsm_strerror(error));
    return addr;
}

void dsm_compat_wait_for_ring(void)
{
    while (sem_wait(&session.rings) != 0) {
        if (errno != EINTR)
            dsm_compat_fail("sem_wait: %s", strerror(errno));
    }
}

void dsm_compat_on_ring(void (*handler)(uint32_t from))
{
    atomic_store(&session.on_ring, handler);
}

void dsm_compat_ring(uint32_t rank)
{
    dsm_compat_check(dsm_ring(rank), "ringing another process");
}

uint64_t dsm_compat_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
