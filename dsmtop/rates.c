/* SPDX-License-Identifier: BSD-3-Clause */
/* rates.c - what changed between two looks, and sums over the ranks of the job. */
#define _GNU_SOURCE
#include "dsmtop/top.h"
#include <stdlib.h>
#include <string.h>

static double share_of(const struct dsm_histogram *now, const struct dsm_histogram *before,
                       double seconds)
{
    return (double)(now->total_ns - before->total_ns) / 1e9 / seconds;
}

static double sync_share_of(const struct dsm_stats *now, const struct dsm_stats *old, double s)
{
    return share_of(&now->condition_wait, &old->condition_wait, s) +
           share_of(&now->semaphore_wait, &old->semaphore_wait, s) +
           share_of(&now->flag_wait, &old->flag_wait, s) +
           share_of(&now->ticket_wait, &old->ticket_wait, s) +
           share_of(&now->word_wait, &old->word_wait, s);
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
        .lock_waits = (double)(now->lock_wait.count - old->lock_wait.count +
                               now->rwlock_wait.count - old->rwlock_wait.count) /
                      s,
        .lock_share = share_of(&now->lock_wait, &old->lock_wait, s) +
                      share_of(&now->rwlock_wait, &old->rwlock_wait, s),
        .barrier_share = share_of(&now->barrier_wait, &old->barrier_wait, s) +
                         share_of(&now->thread_barrier_wait, &old->thread_barrier_wait, s),
        .sync_share = sync_share_of(now, old, s),
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
