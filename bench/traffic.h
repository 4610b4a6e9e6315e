/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * traffic.h - what an operation costs the network at both ends: posts, work requests, completions
 * and wake-ups, from the library's statistics, and changes of thread.
 *
 * A measure that wants it begins the timed part of its slices with bench_traffic_start. The asker
 * is rank 0, counted over exactly that part; the answerer is rank 1, where the barriers before and
 * after it are counted as well.
 */
#ifndef BENCH_TRAFFIC_H
#define BENCH_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

struct bench_worker;

/* In the order of dsm_stats, and then this thread's sleeps (getrusage: ru_nvcsw). */
#define BENCH_TRAFFIC_MAP(XX)                                                                      \
    XX(posts)                                                                                      \
    XX(work_requests)                                                                              \
    XX(buffer_posts)                                                                               \
    XX(received)                                                                                   \
    XX(sent)                                                                                       \
    XX(wakes)                                                                                      \
    XX(credits)                                                                                    \
    XX(landed)                                                                                     \
    XX(copied)                                                                                     \
    XX(switches)

enum bench_traffic_count {
#define XX(name) BENCH_TRAFFIC_##name,
    BENCH_TRAFFIC_MAP(XX)
#undef XX
        BENCH_N_TRAFFIC
};

struct bench_traffic {
    bool is_on; /* this slice counts */
    uint64_t start[BENCH_N_TRAFFIC];
    uint64_t slice[BENCH_N_TRAFFIC]; /* of the slice that ended last */
    uint64_t total[BENCH_N_TRAFFIC]; /* of the slices that are kept */
    uint64_t n_operations;           /* in them; rank 0 */
};

/* Collective: two barriers, and both ends count from here on. Errors: DSM_E codes. */
int bench_traffic_start(struct bench_worker *worker);
/* Before the barrier that ends a slice (rank 0), or behind it (the others). */
void bench_traffic_stop(struct bench_worker *worker);
/* The slice that ended last had so many operations and is kept. */
void bench_traffic_keep(struct bench_worker *worker, uint64_t n_operations);
void bench_traffic_clear(struct bench_worker *worker);
/* Collective. Rank 0 puts "traffic" into the record, if there is any: operations, and per operation
 * the counts of "asker" and "answerer". Errors: DSM_E codes. */
int bench_traffic_put(struct bench_worker *worker, json_t *record);

#endif
