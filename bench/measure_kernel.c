/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * measure_kernel.c - whole computations: blocked LU and a red-black stencil, against the same loops
 * on private memory. The code is that of the examples.
 */
#include "bench/measure_kernel.h"

#include "bench/measures.h"
#include "examples/kernels/kernels.h"

static int add_seconds(const struct bench_worker *worker, int error,
                       const struct kernel_result *result, struct bench_samples *samples)
{
    if (error != 0 || worker->rank != 0)
        return error;
    bench_samples_reserve(samples, 1);
    bench_samples_add(samples, result->seconds);
    return 0;
}

/* Rank 0 alone; the others wait in the barrier that ends the slice. Results are verified by the
 * tests of the kernels and by the examples; here they are only timed. */
int bench_floor_lu(struct bench_worker *worker, struct bench_samples *samples)
{
    const struct bench_effort *effort = worker->effort;
    struct kernel_result result = {0};
    int error;

    if (worker->rank != 0)
        return 0;
    error = kernel_lu_sequential(effort->lu_size, effort->lu_block, false, &result);
    return add_seconds(worker, error, &result, samples);
}

int bench_floor_stencil(struct bench_worker *worker, struct bench_samples *samples)
{
    const struct bench_effort *effort = worker->effort;
    struct kernel_result result = {0};
    int error;

    if (worker->rank != 0)
        return 0;
    error = kernel_stencil_sequential(effort->stencil_size, effort->stencil_rounds, false, &result);
    return add_seconds(worker, error, &result, samples);
}

static int slice_lu(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    const struct bench_effort *effort = worker->effort;
    struct kernel_result result = {0};
    int error = kernel_lu(effort->lu_size, effort->lu_block, false, &result);

    (void)state;
    return add_seconds(worker, error, &result, samples);
}

static int slice_stencil(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    const struct bench_effort *effort = worker->effort;
    struct kernel_result result = {0};
    int error = kernel_stencil(effort->stencil_size, effort->stencil_rounds, false, &result);

    (void)state;
    return add_seconds(worker, error, &result, samples);
}

const struct bench_measure bench_measure_kernel_lu = {
    .name = "kernel_lu",
    .text = "blocked LU, 1024 x 1024",
    .unit = "s",
    .is_kernel = true,
    .floor = {{.floor = BENCH_FLOOR_LU, .factor = 1}},
    .min_ranks = 1,
    .ranks = {1, 2, 4},
    .slice = slice_lu,
};

const struct bench_measure bench_measure_kernel_stencil = {
    .name = "kernel_stencil",
    .text = "red-black stencil, 2048 x 2048, 50 sweeps",
    .unit = "s",
    .is_kernel = true,
    .floor = {{.floor = BENCH_FLOOR_STENCIL, .factor = 1}},
    .min_ranks = 1,
    .ranks = {1, 2, 4},
    .slice = slice_stencil,
};
