/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * counter.c - all threads of all ranks add to one number: under a lock, and with an atomic.
 *
 * A lock has no object of its own: any address in the region names one. Here it is the counter's.
 */
#include <dsm/dsm.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "kernels/report.h"

struct counters {
    uint64_t locked;
    uint64_t atomic;
};

struct worker {
    pthread_t thread;
    struct counters *counters;
    uint64_t rounds;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct counters *counters = worker->counters;

    for (uint64_t i = 0; i < worker->rounds; i++) {
        int err = dsm_lock(&counters->locked);

        if (err < 0) {
            fprintf(stderr, "counter: dsm_lock: %s\n", dsm_strerror(err));
            dsm_abort(1);
        }
        counters->locked++;
        (void)dsm_unlock(&counters->locked);
        dsm_fetch_add_u64(&counters->atomic, 1);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    uint64_t n_threads = 2, rounds = 1000, expected;
    struct worker *workers;
    void *addr;
    bool is_right = true;
    int option;

    while ((option = getopt(argc, argv, "t:r:")) != -1) {
        if (option == 't') {
            n_threads = option_number("counter", "-t", optarg, 1, 256);
        } else if (option == 'r') {
            rounds = option_number("counter", "-r", optarg, 1, 100000000);
        } else {
            fprintf(stderr, "usage: counter [-t threads] [-r rounds]\n");
            return 2;
        }
    }
    workers = calloc(n_threads, sizeof(*workers));
    if (workers == NULL || dsm_init(NULL) < 0)
        return 1;
    if (dsm_alloc(sizeof(struct counters), NULL, &addr) < 0)
        dsm_abort(1);
    for (uint64_t t = 0; t < n_threads; t++) {
        workers[t].counters = addr;
        workers[t].rounds = rounds;
        if (pthread_create(&workers[t].thread, NULL, work, &workers[t]) != 0)
            dsm_abort(1);
    }
    for (uint64_t t = 0; t < n_threads; t++)
        pthread_join(workers[t].thread, NULL);
    if (dsm_barrier() < 0)
        dsm_abort(1);
    if (dsm_rank() == 0) {
        struct counters *counters = addr;

        expected = dsm_size() * n_threads * rounds;
        is_right = counters->locked == expected && counters->atomic == expected;
        printf("%u ranks, %" PRIu64 " threads each: locked %" PRIu64 ", atomic %" PRIu64
               ", expected %" PRIu64 ": %s\n",
               dsm_size(), n_threads, counters->locked, counters->atomic, expected,
               is_right ? "right" : "WRONG");
    }
    free(workers);
    return dsm_finalize() < 0 || !is_right;
}
