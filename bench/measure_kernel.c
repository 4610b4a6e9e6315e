/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * measure_kernel.c - whole computations, against the same loops on private memory, and the same on
 * as many threads of one process. The code is that of the examples.
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

#define PROFILED(suffix)                                                                           \
    const struct bench_measure bench_measure_profiled_##suffix = {                                 \
        .name = "profiled_" #suffix,                                                               \
        .text = "kernel_" #suffix " while a profile is recorded",                                  \
        .unit = "s",                                                                               \
        .is_kernel = true,                                                                         \
        .unprofiled = "kernel_" #suffix,                                                           \
        .most_ratio = 1.05,                                                                        \
        .target_text = "<= 1.05 x",                                                                \
        .min_ranks = 2,                                                                            \
        .ranks = {2},                                                                              \
        .slice = slice_##suffix,                                                                   \
    }

PROFILED(lu);
PROFILED(stencil);

/* ---- those that are run by their list of sizes ---------------------------------------------- */

static int sequential(struct bench_worker *worker, const struct kernel *kernel,
                      const uint64_t *sizes, struct bench_samples *samples)
{
    struct kernel_result result = {0};

    if (worker->rank != 0)
        return 0;
    return add_seconds(worker, kernel_run_sequential(kernel, sizes, false, &result), &result,
                       samples);
}

static int on_ranks(struct bench_worker *worker, const struct kernel *kernel, const uint64_t *sizes,
                    struct bench_samples *samples)
{
    struct kernel_result result = {0};

    return add_seconds(worker, kernel_run(kernel, sizes, false, &result), &result, samples);
}

/* Rank 0 alone, with as many threads as there are ranks. */
static int on_threads(struct bench_worker *worker, const struct kernel *kernel,
                      const uint64_t *sizes, struct bench_samples *samples)
{
    struct kernel_result result = {0};

    if (worker->rank != 0)
        return 0;
    return add_seconds(worker, kernel_run_threads(kernel, worker->n_ranks, sizes, false, &result),
                       &result, samples);
}

/* On threads, any kernel; sizes is an expression with `effort`. */
#define THREADS(suffix, kernel, FLOOR, ...)                                                        \
    static int slice_threads_##suffix(struct bench_worker *worker, void *state,                    \
                                      struct bench_samples *samples)                               \
    {                                                                                              \
        const struct bench_effort *effort = worker->effort;                                        \
        const uint64_t sizes[] = {__VA_ARGS__};                                                    \
        (void)state;                                                                               \
        return on_threads(worker, &kernel, sizes, samples);                                        \
    }                                                                                              \
    const struct bench_measure bench_measure_threads_##suffix = {                                  \
        .name = "threads_" #suffix,                                                                \
        .text = "the same on as many threads of one process, without dsm",                         \
        .unit = "s",                                                                               \
        .is_kernel = true,                                                                         \
        .floor = {{.floor = FLOOR, .factor = 1}},                                                  \
        .min_ranks = 1,                                                                            \
        .ranks = {1, 2, 4},                                                                        \
        .slice = slice_threads_##suffix,                                                           \
    }

#define KERNEL(suffix, FLOOR, words)                                                               \
    int bench_floor_##suffix(struct bench_worker *worker, struct bench_samples *samples)           \
    {                                                                                              \
        return sequential(worker, &kernel_##suffix, worker->effort->suffix, samples);              \
    }                                                                                              \
    static int slice_##suffix(struct bench_worker *worker, void *state,                            \
                              struct bench_samples *samples)                                       \
    {                                                                                              \
        (void)state;                                                                               \
        return on_ranks(worker, &kernel_##suffix, worker->effort->suffix, samples);                \
    }                                                                                              \
    const struct bench_measure bench_measure_kernel_##suffix = {                                   \
        .name = "kernel_" #suffix,                                                                 \
        .text = words,                                                                             \
        .unit = "s",                                                                               \
        .is_kernel = true,                                                                         \
        .floor = {{.floor = FLOOR, .factor = 1}},                                                  \
        .min_ranks = 1,                                                                            \
        .ranks = {1, 2, 4},                                                                        \
        .slice = slice_##suffix,                                                                   \
    }

KERNEL(fft, BENCH_FLOOR_FFT, "six-step FFT, 1024 x 1024 points");
KERNEL(radix, BENCH_FLOOR_RADIX, "radix sort, 4 M keys");
KERNEL(nbody, BENCH_FLOOR_NBODY, "Barnes-Hut, 16384 bodies, 2 steps");
KERNEL(water, BENCH_FLOOR_WATER, "molecular dynamics, 512 molecules, 10 steps");

THREADS(lu, kernel_lu_any, BENCH_FLOOR_LU, effort->lu_size, effort->lu_block);
THREADS(stencil, kernel_stencil_any, BENCH_FLOOR_STENCIL, effort->stencil_size,
        effort->stencil_rounds);
THREADS(fft, kernel_fft, BENCH_FLOOR_FFT, effort->fft[0]);
THREADS(radix, kernel_radix, BENCH_FLOOR_RADIX, effort->radix[0]);
THREADS(nbody, kernel_nbody, BENCH_FLOOR_NBODY, effort->nbody[0], effort->nbody[1]);
THREADS(water, kernel_water, BENCH_FLOOR_WATER, effort->water[0], effort->water[1]);
