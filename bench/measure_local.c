/* SPDX-License-Identifier: BSD-3-Clause */
/* measure_local.c - loads from shared pages that are here: they must cost what private ones cost.
 */
#include "bench/measures.h"

#include <string.h>

#include "bench/floor_memory.h"

static int open_resident(struct bench_worker *worker, void **state_out)
{
    int error = bench_alloc_at(worker, 0, (size_t)worker->effort->local_bytes, 0, state_out);

    if (error == 0 && worker->rank == 0)
        memset(*state_out, 0, (size_t)worker->effort->local_bytes);
    return error;
}

static void close_resident(struct bench_worker *worker, void *state)
{
    bench_free_shared(worker, state);
}

static int slice_local_hit(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    int error = 0;

    if (worker->rank != 0)
        return 0;
    bench_samples_reserve(samples, BENCH_LOCAL_SAMPLES);
    for (unsigned i = 0; i < BENCH_LOCAL_SAMPLES && error == 0; i++)
        error = bench_memory_time_loads(worker, state, samples);
    return error;
}

const struct bench_measure bench_measure_local_hit = {
    .name = "local_hit",
    .text = "dependent loads in random order from shared pages that are here",
    .unit = "ns",
    .floor = {{.floor = BENCH_FLOOR_PRIVATE_READ, .factor = 1, .target_factor = 1.1}},
    .target_text = "as private 4 KiB pages (within 10 %)",
    .min_ranks = 1,
    .ranks = {2},
    .open = open_resident,
    .slice = slice_local_hit,
    .close = close_resident,
};
