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

bool top_accept(struct dsm_live *live)
{
    live->code_path[sizeof live->code_path - 1] = '\0';
    live->host[sizeof live->host - 1] = '\0';
    for (char *c = live->host; *c; c++)
        if (*c <= ' ' || *c == 0x7f) /* also what is no ASCII */
            *c = '?';
    return live->magic == DSM_LIVE_MAGIC && live->version == DSM_LIVE_VERSION &&
           live->size_bytes == sizeof *live && live->n_allocs <= DSM_LIVE_ALLOCS &&
           live->n_waits <= DSM_LIVE_WAITS && live->rank < live->n_ranks;
}

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
            return top_accept(out);
    }
    return false;
}

static bool is_known(const struct top *t, pid_t pid)
{
    for (size_t i = 0; i < t->n_ranks; i++)
        if (t->ranks[i].pid == pid && t->ranks[i].fd >= 0)
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

void top_sort(struct top *t)
{
    if (t->n_ranks)
        qsort(t->ranks, t->n_ranks, sizeof *t->ranks, by_job_and_rank);
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
    top_sort(t);
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
        if (rank->fd < 0) { /* top_remote_look's */
            t->ranks[kept++] = *rank;
            continue;
        }
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
    int error = t->only_remote ? 0 : find_new(t);
    return error || !t->remote ? error : top_remote_look(t);
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
    top_remote_close(t);
    for (size_t i = 0; i < t->n_ranks; i++)
        if (t->ranks[i].fd >= 0)
            close(t->ranks[i].fd);
    free(t->ranks);
    symbols_close(&t->symbols);
    *t = (struct top){0};
}
