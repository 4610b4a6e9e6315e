/* SPDX-License-Identifier: BSD-3-Clause */
/* publish.c - see publish.h. */
#define _GNU_SOURCE
#include "runtime/publish.h"
#include "base/clock.h"
#include "base/log.h"
#include "proto/live.h"
#include "runtime/heap.h"
#include "runtime/stats.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct dsm_publish {
    struct dsm_driver *driver;
    struct dsm_live *live;
    int fd;
    dsm_publish_show show; /* NULL: nobody watches from another host */
    void *user;
    uint64_t every_ns, shown_ns;
};

/* The mapping of the program's own code; where it is not found, instructions stay addresses. */
static void find_code(struct dsm_live *live)
{
    char path[sizeof live->code_path] = "", *line = NULL;
    size_t room = 0;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    FILE *maps = n > 0 && (size_t)n < sizeof path - 1 ? fopen("/proc/self/maps", "re") : NULL;
    while (maps && getline(&line, &room, maps) > 0) {
        unsigned long start, end, offset;
        char executable;
        int at = 0;
        if (sscanf(line, "%lx-%lx %*c%*c%c%*c %lx %*s %*s %n", &start, &end, &executable, &offset,
                   &at) < 4 ||
            executable != 'x' || at == 0 || strncmp(line + at, path, (size_t)n) != 0 ||
            line[at + n] != '\n')
            continue;
        live->code_start = start;
        live->code_end = end;
        live->code_offset = offset;
        memcpy(live->code_path, path, (size_t)n + 1);
        break;
    }
    free(line);
    if (maps)
        fclose(maps);
}

struct dsm_publish *dsm_publish_open(struct dsm_driver *d)
{
    struct dsm_publish *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->driver = d;
    p->fd = memfd_create(DSM_LIVE_NAME, MFD_CLOEXEC);
    void *map = MAP_FAILED;
    if (p->fd >= 0 && ftruncate(p->fd, sizeof *p->live) == 0)
        map = mmap(NULL, sizeof *p->live, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
    if (map == MAP_FAILED) {
        dsm_log(DSM_LOG_INFO, "dsmtop will not see this rank: %s", strerror(errno));
        if (p->fd >= 0)
            close(p->fd);
        free(p);
        return NULL;
    }
    p->live = map;
    p->live->version = DSM_LIVE_VERSION;
    p->live->size_bytes = sizeof *p->live;
    p->live->rank = d->config.self;
    p->live->n_ranks = d->config.n_ranks;
    p->live->pid = (uint32_t)getpid();
    /* Jobs of one have no token to tell them apart. */
    p->live->job = d->config.n_ranks == 1 ? p->live->pid : d->config.job;
    p->live->start_ns = dsm_clock_ns();
    if (gethostname(p->live->host, sizeof p->live->host - 1) != 0)
        dsm_format(p->live->host, sizeof p->live->host, "?");
    find_code(p->live);
    p->live->magic = DSM_LIVE_MAGIC;
    dsm_publish_now(p);
    return p;
}

void dsm_publish_close(struct dsm_publish *p)
{
    munmap(p->live, sizeof *p->live);
    close(p->fd);
    free(p);
}

void dsm_publish_watch(struct dsm_publish *p, uint32_t every_ms, dsm_publish_show show, void *user)
{
    p->show = every_ms ? show : NULL;
    p->user = user;
    p->every_ns = every_ms * DSM_NS_PER_MS;
    p->shown_ns = 0;
}

/* Counters are fresh four times a second: what is due before the next time goes now. */
static void show_when_due(struct dsm_publish *p)
{
    uint64_t now_ns = p->live->updated_ns;
    if (!p->show || now_ns - p->shown_ns + DSM_LIVE_EVERY_MS / 2 * DSM_NS_PER_MS < p->every_ns)
        return;
    p->shown_ns = now_ns;
    p->show(p->user, p->live, sizeof *p->live);
}

void dsm_publish_now(struct dsm_publish *p)
{
    struct dsm_live *live = p->live;
    struct dsm_stats stats;
    struct dsm_live_alloc allocs[DSM_LIVE_ALLOCS];
    dsm_stats_gather(p->driver, &stats);
    uint32_t n = dsm_heap_hottest(p->driver, allocs, DSM_LIVE_ALLOCS);
    struct dsm_live_wait waits[DSM_LIVE_WAITS];
    struct dsm_driver_guard guard;
    dsm_driver_enter(p->driver, &guard);
    uint32_t n_waits = dsm_hot_waits_top(&p->driver->hot_waits, waits, DSM_LIVE_WAITS);
    dsm_driver_leave(p->driver, &guard);
    atomic_fetch_add(&live->seq, 1);
    atomic_thread_fence(memory_order_release);
    live->stats = stats;
    memcpy(live->allocs, allocs, n * sizeof *allocs);
    live->n_allocs = n;
    memcpy(live->waits, waits, n_waits * sizeof *waits);
    live->n_waits = n_waits;
    live->updated_ns = dsm_clock_ns();
    atomic_thread_fence(memory_order_release);
    atomic_fetch_add(&live->seq, 1);
    show_when_due(p);
}
