/* SPDX-License-Identifier: BSD-3-Clause */
/* threads.c - the kernels on threads: ordinary memory, pthread barriers and mutexes. */
#include "threads.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define N_LOCKS 64 /* addresses that fall together share one */

struct team_threads {
    uint32_t n;
    pthread_barrier_t barrier;
    pthread_mutex_t locks[N_LOCKS];
    void *shared;  /* what the first thread gives the others, between two barriers */
    void **values; /* of each thread, in a reduction */
    const struct kernel *kernel;
    const uint64_t *sizes;
    bool verify;
};

struct member {
    struct team team;
    pthread_t thread;
    struct kernel_result result;
    int error;
};

int threads_barrier(const struct team *team)
{
    (void)pthread_barrier_wait(&team->threads->barrier);
    return 0;
}

int threads_alloc(const struct team *team, size_t stripe_bytes, void **addr_out)
{
    struct team_threads *t = team->threads;

    if (team->rank == 0) {
        size_t len = round_up(stripe_bytes * t->n, 4096);

        t->shared = aligned_alloc(4096, len);
        if (t->shared != NULL)
            memset(t->shared, 0, len); /* touched here, not in the computation */
    }
    threads_barrier(team);
    void *addr = t->shared;
    threads_barrier(team);
    if (addr == NULL)
        return DSM_E_NOMEM;
    *addr_out = addr;
    return 0;
}

void threads_free(const struct team *team, void *addr)
{
    threads_barrier(team);
    if (team->rank == 0)
        free(addr);
}

/* Everybody's values in the order of ranks; add(sum, values, count). */
static int reduce(const struct team *team, void *values, size_t count, size_t item_bytes,
                  void (*add)(void *, const void *, size_t))
{
    struct team_threads *t = team->threads;

    t->values[team->rank] = values;
    threads_barrier(team);
    if (team->rank == 0) {
        t->shared = calloc(count, item_bytes);
        for (uint32_t i = 0; i < t->n && t->shared != NULL; i++)
            add(t->shared, t->values[i], count);
    }
    threads_barrier(team);
    void *sum = t->shared;
    if (sum != NULL)
        memcpy(values, sum, count * item_bytes);
    threads_barrier(team);
    if (team->rank == 0)
        free(sum);
    return sum != NULL ? 0 : DSM_E_NOMEM;
}

static void add_doubles(void *sum, const void *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ((double *)sum)[i] += ((const double *)values)[i];
}

static void add_numbers(void *sum, const void *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ((uint64_t *)sum)[i] += ((const uint64_t *)values)[i];
}

int threads_sum(const struct team *team, double *values, size_t count)
{
    return reduce(team, values, count, sizeof(double), add_doubles);
}

int threads_sum_u64(const struct team *team, uint64_t *values, size_t count)
{
    return reduce(team, values, count, sizeof(uint64_t), add_numbers);
}

int threads_bcast(const struct team *team, void *buf, size_t len)
{
    if (team->rank == 0)
        team->threads->shared = buf;
    threads_barrier(team);
    if (team->rank != 0)
        memcpy(buf, team->threads->shared, len);
    return threads_barrier(team);
}

static pthread_mutex_t *lock_of(const struct team *team, const void *addr)
{
    return &team->threads->locks[mix64((uintptr_t)addr) % N_LOCKS];
}

int threads_lock(const struct team *team, const void *addr)
{
    return pthread_mutex_lock(lock_of(team, addr)) == 0 ? 0 : DSM_E_SYSTEM;
}

int threads_unlock(const struct team *team, const void *addr)
{
    return pthread_mutex_unlock(lock_of(team, addr)) == 0 ? 0 : DSM_E_SYSTEM;
}

/* ---- running ------------------------------------------------------------------------------- */

static void *run_member(void *user)
{
    struct member *m = user;
    struct team_threads *t = m->team.threads;

    /* Nobody begins before all threads are there. */
    threads_barrier(&m->team);
    m->error = t->kernel->run(m->team, t->sizes, t->verify, &m->result);
    return NULL;
}

static int start_members(struct team_threads *t, struct member *members)
{
    for (uint32_t i = 0; i < t->n; i++)
        members[i].team = (struct team){.rank = i, .n_ranks = t->n, .threads = t};
    for (uint32_t i = 1; i < t->n; i++)
        if (pthread_create(&members[i].thread, NULL, run_member, &members[i]) != 0)
            abort(); /* those that run wait for it for ever */
    run_member(&members[0]);
    for (uint32_t i = 1; i < t->n; i++)
        pthread_join(members[i].thread, NULL);
    return members[0].error;
}

int team_run_threads(uint32_t n, const struct kernel *kernel, const uint64_t *sizes, bool verify,
                     struct kernel_result *out)
{
    struct team_threads t = {.n = n, .kernel = kernel, .sizes = sizes, .verify = verify};
    struct member *members = calloc(n, sizeof(*members));
    int err = DSM_E_NOMEM;

    t.values = calloc(n, sizeof(*t.values));
    if (members == NULL || t.values == NULL || pthread_barrier_init(&t.barrier, NULL, n) != 0)
        goto free_all;
    for (size_t i = 0; i < N_LOCKS; i++)
        pthread_mutex_init(&t.locks[i], NULL);
    err = start_members(&t, members);
    if (err == 0)
        *out = members[0].result;
    for (size_t i = 0; i < N_LOCKS; i++)
        pthread_mutex_destroy(&t.locks[i]);
    pthread_barrier_destroy(&t.barrier);
free_all:
    free(t.values);
    free(members);
    return err;
}
