/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * top.h - what dsmtop knows: the ranks on this host that show themselves (find.c), those on other
 * hosts, of which it hears through dsmd (remote.c), what changed between two looks (rates.c), and
 * the ways to print it (batch.c, screen.c).
 */
#ifndef DSM_TOP_TOP_H
#define DSM_TOP_TOP_H

#include "proto/live.h"
#include "report/symbols.h"
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct top_rank {
    pid_t pid;
    int fd;                      /* of its memfd; -1: dsmd tells of it */
    struct dsm_live before, now; /* two looks; before.updated_ns 0: there was one only */
};

struct top {
    struct top_rank *ranks; /* of all jobs, in the order of jobs and ranks */
    size_t n_ranks;
    uint32_t job; /* the one that is shown */
    bool has_job;
    bool only_remote; /* nothing on this host is looked at */
    struct symbols symbols;
    struct top_remote *remote; /* NULL: nobody tells of other hosts */
};

/* Of one rank, between its two looks (or since its start). */
struct top_rates {
    double seconds;
    double reads, writes, upgrades;               /* faults a second */
    double latency_us;                            /* mean of a fault */
    double in_mb, out_mb;                         /* page bytes a second */
    double lock_waits;                            /* a second, of both kinds of locks */
    double lock_share, barrier_share, sync_share; /* of the time, for all threads */
    double memory_mb;
};

/* Looks for ranks that are new, reads all, forgets those that have ended. Errors: NOMEM, SYSTEM. */
int top_look(struct top *top);
/* A copy that can be shown; makes its text fit for a terminal. */
bool top_accept(struct dsm_live *live);
/* A rank was added, or has other numbers: as top_look leaves them. */
void top_sort(struct top *top);

/* Where dsmd of the job is, and what it is asked with. */
struct top_daemon {
    char address[280];
    uint8_t token[16];
};
/* As a rank on this host has it in its environment. False: it has none, or it cannot be read. */
bool top_daemon_of(pid_t pid, struct top_daemon *out);
/*
 * Asks dsmd for what the ranks do, and waits for a while until it has told of all of them. Errors,
 * with one line logged: INVAL, CONNECT, AUTH, TIMEOUT, NOMEM, and what dsmd refuses with.
 */
int top_remote_open(struct top *top, const struct top_daemon *daemon, double delay_s);
/* Takes in what has come. Errors: NOMEM. */
int top_remote_look(struct top *top);
void top_remote_close(struct top *top);

/* Chooses the job: that of pid, or of this number, or (0, 0) the one started last. False: there is
 * none such. */
bool top_choose(struct top *top, pid_t pid, uint32_t job);
/* The next rank of the chosen job behind *at, which begins with 0; NULL: no more. */
const struct top_rank *top_next(const struct top *top, size_t *at);
struct top_rates top_rates_of(const struct top_rank *rank);
/* The hottest allocations of the job, summed over the ranks that are seen; how many. */
size_t top_allocs(const struct top *top, struct dsm_live_alloc out[DSM_LIVE_ALLOCS]);
/* Calls of one place that waited at one object, on all ranks that are seen. */
struct top_wait {
    struct dsm_live_wait sum;
    uint64_t file_offset;
    const char *path; /* of the code; NULL: not known */
    char object[120]; /* "lock counters + 0x40" */
    char code[160];   /* "lu.c:142 (update_tile)" */
};
/* The longest since the start, of those that the ranks tell of; how many. */
size_t top_waits(struct top *top, struct top_wait out[DSM_LIVE_WAITS]);
void top_close(struct top *top);

/* True when all was written. */
bool top_print_list(const struct top *top, FILE *out);
bool top_print_text(struct top *top, FILE *out);
bool top_print_json(struct top *top, FILE *out);
/* Until the user or the job ends it. Returns an exit status. */
int top_run_screen(struct top *top, double delay_s);

#endif
