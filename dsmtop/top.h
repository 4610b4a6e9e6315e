/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * top.h - what dsmtop knows: the ranks on this host that show themselves (find.c), what changed
 * between two looks (rates), and the ways to print it (batch.c, screen.c).
 */
#ifndef DSM_TOP_TOP_H
#define DSM_TOP_TOP_H

#include "proto/live.h"
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct top_rank {
    pid_t pid;
    int fd; /* of its memfd */
    bool is_gone;
    struct dsm_live before, now; /* two looks; before.updated_ns 0: there was one only */
};

struct top {
    struct top_rank *ranks; /* of all jobs, in the order of jobs and ranks */
    size_t n_ranks;
    uint32_t job; /* the one that is shown */
    bool has_job;
};

/* Of one rank, between its two looks (or since its start). */
struct top_rates {
    double seconds;
    double reads, writes, upgrades;               /* faults a second */
    double latency_us;                            /* mean of a fault */
    double in_mb, out_mb;                         /* page bytes a second */
    double lock_waits, lock_share, barrier_share; /* a second; of the time, for all threads */
    double memory_mb;
};

/* Looks for ranks that are new, reads all, forgets those that have ended. Errors: NOMEM, SYSTEM. */
int top_look(struct top *top);
/* Chooses the job: that of pid, or of this number, or (0, 0) the one started last. False: there is
 * none such. */
bool top_choose(struct top *top, pid_t pid, uint32_t job);
/* The next rank of the chosen job behind *at, which begins with 0; NULL: no more. */
const struct top_rank *top_next(const struct top *top, size_t *at);
struct top_rates top_rates_of(const struct top_rank *rank);
/* The hottest allocations of the job, summed over its ranks here; how many. */
size_t top_allocs(const struct top *top, struct dsm_live_alloc out[DSM_LIVE_ALLOCS]);
void top_close(struct top *top);

/* True when all was written. */
bool top_print_list(const struct top *top, FILE *out);
bool top_print_text(const struct top *top, FILE *out);
bool top_print_json(const struct top *top, FILE *out);
/* Until the user or the job ends it. Returns an exit status. */
int top_run_screen(struct top *top, double delay_s);

#endif
