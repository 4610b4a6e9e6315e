/* SPDX-License-Identifier: BSD-3-Clause */
/* traffic.c - see traffic.h. */
#define _GNU_SOURCE
#include "bench/traffic.h"

#include <string.h>
#include <sys/resource.h>

#include "bench/worker.h"

static const char *const names[BENCH_N_TRAFFIC] = {
#define XX(name) #name,
    BENCH_TRAFFIC_MAP(XX)
#undef XX
};

static int read_counts(uint64_t out[BENCH_N_TRAFFIC])
{
    struct dsm_stats stats = {.struct_size = sizeof stats};
    struct rusage usage;
    int error = dsm_stats_get(&stats);

    if (error != 0)
        return error;
    out[BENCH_TRAFFIC_posts] = stats.net_posts;
    out[BENCH_TRAFFIC_work_requests] = stats.net_work_requests;
    out[BENCH_TRAFFIC_buffer_posts] = stats.net_buffer_posts;
    out[BENCH_TRAFFIC_received] = stats.net_received;
    out[BENCH_TRAFFIC_sent] = stats.net_sent;
    out[BENCH_TRAFFIC_wakes] = stats.net_wakes;
    out[BENCH_TRAFFIC_credits] = stats.net_credits;
    out[BENCH_TRAFFIC_landed] = stats.net_landed;
    out[BENCH_TRAFFIC_copied] = stats.net_copied;
    if (getrusage(RUSAGE_THREAD, &usage) != 0)
        return DSM_E_SYSTEM;
    out[BENCH_TRAFFIC_switches] = (uint64_t)usage.ru_nvcsw;
    return 0;
}

int bench_traffic_start(struct bench_worker *worker)
{
    struct bench_traffic *traffic = &worker->traffic;
    int error = dsm_barrier(); /* what came before is over everywhere */

    /* Rank 0 may ask before another rank is out of the second one. */
    if (error == 0 && worker->rank != 0)
        error = read_counts(traffic->start);
    if (error == 0)
        error = dsm_barrier();
    if (error == 0 && worker->rank == 0)
        error = read_counts(traffic->start);
    traffic->is_on = error == 0;
    return error;
}

void bench_traffic_stop(struct bench_worker *worker)
{
    struct bench_traffic *traffic = &worker->traffic;
    uint64_t now[BENCH_N_TRAFFIC];

    memset(traffic->slice, 0, sizeof traffic->slice);
    if (!traffic->is_on || read_counts(now) != 0)
        return;
    for (unsigned i = 0; i < BENCH_N_TRAFFIC; i++)
        traffic->slice[i] = now[i] - traffic->start[i];
    traffic->is_on = false;
}

void bench_traffic_keep(struct bench_worker *worker, uint64_t n_operations)
{
    struct bench_traffic *traffic = &worker->traffic;

    for (unsigned i = 0; i < BENCH_N_TRAFFIC; i++)
        traffic->total[i] += traffic->slice[i];
    traffic->n_operations += n_operations;
}

void bench_traffic_clear(struct bench_worker *worker)
{
    worker->traffic = (struct bench_traffic){0};
}

static json_t *new_end(const uint64_t total[BENCH_N_TRAFFIC], uint64_t n_operations)
{
    json_t *end = json_object();

    for (unsigned i = 0; i < BENCH_N_TRAFFIC; i++)
        json_object_set_new(end, names[i], json_real((double)total[i] / (double)n_operations));
    return end;
}

int bench_traffic_put(struct bench_worker *worker, json_t *record)
{
    const struct bench_traffic *traffic = &worker->traffic;
    uint64_t answerer[BENCH_N_TRAFFIC], n_posts = traffic->total[BENCH_TRAFFIC_posts];
    json_t *counts;
    int error = 0;

    if (worker->n_ranks < 2)
        return 0;
    memcpy(answerer, traffic->total, sizeof answerer);
    error = dsm_bcast(answerer, sizeof answerer, 1);
    if (error != 0 || worker->rank != 0 || traffic->n_operations == 0 ||
        n_posts + answerer[BENCH_TRAFFIC_posts] == 0)
        return error;
    counts = json_object();
    json_object_set_new(counts, "operations", json_integer((json_int_t)traffic->n_operations));
    json_object_set_new(counts, "asker", new_end(traffic->total, traffic->n_operations));
    json_object_set_new(counts, "answerer", new_end(answerer, traffic->n_operations));
    json_object_set_new(record, "traffic", counts);
    return 0;
}
