/* SPDX-License-Identifier: BSD-3-Clause */
/* find.c - ranks on this host, by the memory they show, and what it says. */
#define _GNU_SOURCE
#include "dsmtop/top.h"
#include "base/clock.h"
#include "base/log.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_TRIES 100 /* a rank writes for less than a microsecond, four times a second */

/* A copy that was not being written meanwhile. By read, not by a mapping, which its owner could
 * make smaller under our hands. */
static bool read_live(int fd, struct dsm_live *out)
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t after;
        if (pread(fd, out, sizeof *out, 0) != (ssize_t)sizeof *out ||
            out->magic != DSM_LIVE_MAGIC || out->version != DSM_LIVE_VERSION ||
            out->size_bytes != sizeof *out)
            return false;
        if (pread(fd, &after, sizeof after, offsetof(struct dsm_live, seq)) !=
            (ssize_t)sizeof after)
            return false;
        if (after % 2 == 0 && after == out->seq)
            return out->n_allocs <= DSM_LIVE_ALLOCS && out->rank < out->n_ranks;
    }
    return false;
}

static bool is_known(const struct top *t, pid_t pid)
{
    for (size_t i = 0; i < t->n_ranks; i++)
        if (t->ranks[i].pid == pid)
            return true;
    return false;
}

static int add_rank(struct top *t, pid_t pid, int fd)
{
    struct top_rank rank = {.pid = pid, .fd = fd};
    /* A child that a rank forked has its memory as well, and is none. */
    if (!read_live(fd, &rank.now) || rank.now.pid != (uint32_t)pid) {
        close(fd);
        return 0;
    }
    struct top_rank *grown = reallocarray(t->ranks, t->n_ranks + 1, sizeof *grown);
    if (!grown) {
        close(fd);
        return DSM_E_NOMEM;
    }
    t->ranks = grown;
    grown[t->n_ranks++] = rank;
    return 0;
}

/* Looks through the descriptors of one process; those of other users cannot be seen. */
static int look_at(struct top *t, pid_t pid)
{
    char path[300], target[64];
    dsm_format(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    struct dirent *entry;
    int error = 0;
    while (dir && !error && (entry = readdir(dir))) {
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        if (n <= 0)
            continue;
        target[n] = '\0';
        if (strcmp(target, "/memfd:" DSM_LIVE_NAME " (deleted)") != 0)
            continue;
        int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
            error = add_rank(t, pid, fd);
        break;
    }
    if (dir)
        closedir(dir);
    return error;
}

static int by_job_and_rank(const void *left, const void *right)
{
    const struct dsm_live *a = &((const struct top_rank *)left)->now;
    const struct dsm_live *b = &((const struct top_rank *)right)->now;
    if (a->job != b->job)
        return a->job < b->job ? -1 : 1;
    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

static int find_new(struct top *t)
{
    DIR *proc = opendir("/proc");
    if (!proc) {
        dsm_log(DSM_LOG_ERROR, "/proc cannot be read: %s", strerror(errno));
        return DSM_E_SYSTEM;
    }
    struct dirent *entry;
    int error = 0;
    while (!error && (entry = readdir(proc))) {
        pid_t pid = (pid_t)atoi(entry->d_name);
        if (pid > 0 && !is_known(t, pid))
            error = look_at(t, pid);
    }
    closedir(proc);
    if (t->n_ranks)
        qsort(t->ranks, t->n_ranks, sizeof *t->ranks, by_job_and_rank);
    if (error)
        dsm_log(DSM_LOG_ERROR, "out of memory");
    return error;
}

static bool is_alive(pid_t pid)
{
    char path[40], state[200];
    dsm_format(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, state, sizeof state - 1);
    close(fd);
    if (n <= 0)
        return false;
    state[n] = '\0';
    const char *end = strrchr(state, ')');
    return end && end[1] && end[2] != 'Z';
}

int top_look(struct top *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->n_ranks; i++) {
        struct top_rank *rank = &t->ranks[i];
        struct dsm_live now;
        if (!is_alive(rank->pid) || !read_live(rank->fd, &now)) {
            close(rank->fd);
            continue;
        }
        if (now.updated_ns != rank->now.updated_ns) {
            rank->before = rank->now;
            rank->now = now;
        }
        t->ranks[kept++] = *rank;
    }
    t->n_ranks = kept;
    return find_new(t);
}

bool top_choose(struct top *t, pid_t pid, uint32_t job)
{
    uint64_t newest = 0;
    t->has_job = false;
    for (size_t i = 0; i < t->n_ranks; i++) {
        const struct top_rank *rank = &t->ranks[i];
        if (pid ? rank->pid != pid : job ? rank->now.job != job : rank->now.start_ns < newest)
            continue;
        newest = rank->now.start_ns;
        t->job = rank->now.job;
        t->has_job = true;
    }
    return t->has_job;
}

const struct top_rank *top_next(const struct top *t, size_t *at)
{
    while (*at < t->n_ranks) {
        const struct top_rank *rank = &t->ranks[(*at)++];
        if (rank->now.job == t->job)
            return rank;
    }
    return NULL;
}

void top_close(struct top *t)
{
    for (size_t i = 0; i < t->n_ranks; i++)
        close(t->ranks[i].fd);
    free(t->ranks);
    *t = (struct top){0};
}

/* ---- what changed -------------------------------------------------------------------------- */

static double ns_share(uint64_t now, uint64_t before, double seconds)
{
    return (double)(now - before) / 1e9 / seconds;
}

struct top_rates top_rates_of(const struct top_rank *rank)
{
    static const struct dsm_stats none;
    bool has_before = rank->before.updated_ns != 0;
    const struct dsm_stats *now = &rank->now.stats, *old = has_before ? &rank->before.stats : &none;
    uint64_t since = has_before ? rank->before.updated_ns : rank->now.start_ns;
    double s = (double)(rank->now.updated_ns - since) / 1e9;
    if (!(s > 1e-6))
        s = 1e-6;
    uint64_t waits = now->fault_latency.count - old->fault_latency.count;
    return (struct top_rates){
        .seconds = s,
        .reads = (double)(now->faults_read - old->faults_read) / s,
        .writes = (double)(now->faults_write - old->faults_write) / s,
        .upgrades = (double)(now->faults_upgrade - old->faults_upgrade) / s,
        .latency_us = waits ? (double)(now->fault_latency.total_ns - old->fault_latency.total_ns) /
                                  1e3 / (double)waits
                            : 0,
        .in_mb = (double)(now->fetched_bytes - old->fetched_bytes) / 1e6 / s,
        .out_mb = (double)(now->served_bytes - old->served_bytes) / 1e6 / s,
        .lock_waits = (double)(now->lock_wait.count - old->lock_wait.count) / s,
        .lock_share = ns_share(now->lock_wait.total_ns, old->lock_wait.total_ns, s),
        .barrier_share = ns_share(now->barrier_wait.total_ns, old->barrier_wait.total_ns, s),
        .memory_mb = (double)now->frames_bytes / 1e6,
    };
}

static void add_alloc(struct dsm_live_alloc *sums, size_t *n, size_t room,
                      const struct dsm_live_alloc *a)
{
    for (size_t i = 0; i < *n; i++) {
        if (sums[i].addr == a->addr && sums[i].bytes == a->bytes) {
            sums[i].faults += a->faults;
            return;
        }
    }
    if (*n < room)
        sums[(*n)++] = *a;
}

static int by_faults(const void *left, const void *right)
{
    const struct dsm_live_alloc *a = left, *b = right;
    if (a->faults != b->faults)
        return a->faults > b->faults ? -1 : 1;
    return a->addr < b->addr ? -1 : a->addr > b->addr;
}

size_t top_allocs(const struct top *t, struct dsm_live_alloc out[DSM_LIVE_ALLOCS])
{
    size_t room = t->n_ranks * DSM_LIVE_ALLOCS, n = 0, at = 0;
    struct dsm_live_alloc *sums = calloc(room ? room : 1, sizeof *sums);
    const struct top_rank *rank;
    while (sums && (rank = top_next(t, &at)))
        for (uint32_t i = 0; i < rank->now.n_allocs; i++)
            add_alloc(sums, &n, room, &rank->now.allocs[i]);
    if (n)
        qsort(sums, n, sizeof *sums, by_faults);
    if (n > DSM_LIVE_ALLOCS)
        n = DSM_LIVE_ALLOCS;
    if (n)
        memcpy(out, sums, n * sizeof *sums);
    free(sums);
    for (size_t i = 0; i < n; i++) {
        char *name = out[i].name;
        name[sizeof out[i].name - 1] = '\0';
        for (; *name; name++)
            if ((unsigned char)*name < ' ' || *name == 0x7f) /* it goes to a terminal */
                *name = '?';
    }
    return n;
}
