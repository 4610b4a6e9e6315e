/* SPDX-License-Identifier: BSD-3-Clause */
/* team.c - the few calls the kernels make, on the job or on one process alone. */
#include "team.h"

#include "threads.h"
#include <stdlib.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct team team_of_job(void)
{
    return (struct team){.rank = dsm_rank(), .n_ranks = dsm_size(), .is_shared = true};
}

struct team team_of_one(void)
{
    return (struct team){.n_ranks = 1};
}

int team_alloc(const struct team *team, size_t stripe_bytes, size_t unit_bytes, const char *name,
               void **addr_out)
{
    struct dsm_alloc_options options;
    void *addr;

    if (team->threads != NULL)
        return threads_alloc(team, stripe_bytes, addr_out);
    if (!team->is_shared) {
        addr = aligned_alloc(4096, round_up(stripe_bytes, 4096));
        if (addr == NULL)
            return DSM_E_NOMEM;
        /* Touched here, so that the computation does not pay for the kernel's first pages. */
        for (size_t i = 0; i < stripe_bytes / 8; i++)
            ((volatile uint64_t *)addr)[i] = 0;
        *addr_out = addr;
        return 0;
    }
    dsm_alloc_options_init(&options);
    options.placement = DSM_PLACE_BLOCK; /* equal stripes: one for each rank */
    options.unit_bytes = unit_bytes;
    options.name = name;
    return dsm_alloc(stripe_bytes * team->n_ranks, &options, addr_out);
}

void team_free(const struct team *team, void *addr)
{
    if (addr == NULL)
        return;
    if (team->threads != NULL) {
        threads_free(team, addr);
        return;
    }
    if (!team->is_shared) {
        free(addr);
        return;
    }
    /* Nobody may still be reading when it goes. */
    (void)dsm_barrier();
    if (team->rank == 0)
        (void)dsm_free(addr);
}

int team_barrier(const struct team *team)
{
    if (team->threads != NULL)
        return threads_barrier(team);
    return team->is_shared ? dsm_barrier() : 0;
}

void team_prefetch(const struct team *team, const void *addr, size_t len, enum dsm_access access)
{
    /* A hint: the loads and stores that follow are right without it. */
    if (team->is_shared && team->n_ranks > 1 && len > 0)
        (void)dsm_prefetch(addr, len, access);
}

int team_sum(const struct team *team, double *values, size_t count)
{
    if (team->threads != NULL)
        return threads_sum(team, values, count);
    return team->is_shared ? dsm_allreduce(values, count, DSM_DOUBLE, DSM_SUM) : 0;
}

int team_sum_u64(const struct team *team, uint64_t *values, size_t count)
{
    if (team->threads != NULL)
        return threads_sum_u64(team, values, count);
    return team->is_shared ? dsm_allreduce(values, count, DSM_UINT64, DSM_SUM) : 0;
}

int team_lock(const struct team *team, const void *addr)
{
    if (team->threads != NULL)
        return threads_lock(team, addr);
    return team->is_shared ? dsm_lock(addr) : 0;
}

int team_unlock(const struct team *team, const void *addr)
{
    if (team->threads != NULL)
        return threads_unlock(team, addr);
    return team->is_shared ? dsm_unlock(addr) : 0;
}

int team_bcast(const struct team *team, void *buf, size_t len)
{
    if (team->threads != NULL)
        return threads_bcast(team, buf, len);
    return team->is_shared ? dsm_bcast(buf, len, 0) : 0;
}

static int read_stats(uint64_t *faults_out, uint64_t *bytes_out)
{
    struct dsm_stats stats = {.struct_size = sizeof(stats)};
    int err = dsm_stats_get(&stats);

    if (err < 0)
        return err;
    *faults_out = stats.faults_read + stats.faults_write + stats.faults_upgrade;
    *bytes_out = stats.fetched_bytes;
    return 0;
}

int team_start_clock(struct team *team)
{
    int err = team_barrier(team);

    if (err == 0 && team->is_shared)
        err = read_stats(&team->faults, &team->bytes);
    team->started_ns = now_ns();
    return err;
}

int team_stop_clock(struct team *team, struct kernel_result *result)
{
    double seconds;
    uint64_t totals[2] = {0, 0};
    int err = team_barrier(team);

    if (err < 0)
        return err;
    seconds = (double)(now_ns() - team->started_ns) * 1e-9;
    if (team->is_shared) {
        err = read_stats(&totals[0], &totals[1]);
        totals[0] -= team->faults;
        totals[1] -= team->bytes;
        if (err == 0)
            err = dsm_allreduce(totals, 2, DSM_UINT64, DSM_SUM);
        if (err == 0)
            err = dsm_allreduce(&seconds, 1, DSM_DOUBLE, DSM_MAX);
        if (err < 0)
            return err;
    }
    result->seconds = seconds;
    result->faults = totals[0];
    result->bytes = totals[1];
    return 0;
}

size_t team_unit_for(size_t len)
{
    size_t unit = 65536;

    while (unit > 4096 && len % unit != 0)
        unit /= 2;
    return unit;
}

int kernel_run(const struct kernel *kernel, const uint64_t *sizes, bool verify,
               struct kernel_result *out)
{
    return kernel->run(team_of_job(), sizes, verify, out);
}

int kernel_run_sequential(const struct kernel *kernel, const uint64_t *sizes, bool verify,
                          struct kernel_result *out)
{
    return kernel->run(team_of_one(), sizes, verify, out);
}

int kernel_run_threads(const struct kernel *kernel, uint32_t n_threads, const uint64_t *sizes,
                       bool verify, struct kernel_result *out)
{
    return team_run_threads(n_threads, kernel, sizes, verify, out);
}
