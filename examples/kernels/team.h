/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * team.h - who computes: the ranks of the job on the region, or one process on private memory,
 * with one thread or with several in the place of ranks.
 *
 * What lets a kernel be written once. On one process of its own nothing here calls libdsm.
 */
#ifndef DSM_EXAMPLES_TEAM_H
#define DSM_EXAMPLES_TEAM_H

#include <dsm/dsm.h>
#include "kernels.h"

struct team_threads;

struct team {
    struct team_threads *threads; /* NULL unless the members are threads of one process */
    uint32_t rank;
    uint32_t n_ranks;
    bool is_shared;
    /* what team_start_clock saw */
    uint64_t started_ns;
    uint64_t faults;
    uint64_t bytes;
};

struct team team_of_job(void);
struct team team_of_one(void);
/* Runs the kernel on n threads of this process; what the first of them returns. */
int team_run_threads(uint32_t n, const struct kernel *kernel, const uint64_t *sizes, bool verify,
                     struct kernel_result *out);

/* Zeroed memory: for each rank a stripe of stripe_bytes (a multiple of unit_bytes), owned by it. */
int team_alloc(const struct team *team, size_t stripe_bytes, size_t unit_bytes, const char *name,
               void **addr_out);
/* Collective; NULL is ignored. */
void team_free(const struct team *team, void *addr);
int team_barrier(const struct team *team);
void team_prefetch(const struct team *team, const void *addr, size_t len, enum dsm_access access);
int team_sum(const struct team *team, double *values, size_t count);
int team_sum_u64(const struct team *team, uint64_t *values, size_t count);
/* Mutual exclusion by address; no member holds two. */
int team_lock(const struct team *team, const void *addr);
int team_unlock(const struct team *team, const void *addr);
int team_bcast(const struct team *team, void *buf, size_t len);

/* Both are barriers. The second fills in seconds, faults and bytes. */
int team_start_clock(struct team *team);
int team_stop_clock(struct team *team, struct kernel_result *result);

/* The largest power of two from 4 KiB to 64 KiB that divides len; 4 KiB when none does. */
size_t team_unit_for(size_t len);

static inline size_t round_up(size_t value, size_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/* A fixed, well mixed 64-bit value for every key: initial data that any rank can recompute. */
static inline uint64_t mix64(uint64_t key)
{
    key += 0x9e3779b97f4a7c15u;
    key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9u;
    key = (key ^ (key >> 27)) * 0x94d049bb133111ebu;
    return key ^ (key >> 31);
}

/* In [-1, 1). */
static inline double mix_unit(uint64_t key)
{
    return (double)(int64_t)(mix64(key) >> 11) / (double)(1ull << 52) - 1.0;
}

#endif
