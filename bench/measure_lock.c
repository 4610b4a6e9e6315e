/* SPDX-License-Identifier: BSD-3-Clause */
/* measure_lock.c - locks: taken over from the other rank, fought over, taken again. */
#include "bench/measures.h"

#include "bench/floor_memory.h"

#define LOCK_STRIDE_BYTES       64u
#define ACQUISITIONS_PER_SAMPLE 20u

static uint8_t *lock_address(void *state, unsigned i)
{
    return (uint8_t *)state + (size_t)i * LOCK_STRIDE_BYTES;
}

static int open_locks(struct bench_worker *worker, void **state_out)
{
    return bench_alloc_at(worker, 1, (size_t)worker->effort->n_rounds * LOCK_STRIDE_BYTES, 0,
                          state_out);
}

static void close_locks(struct bench_worker *worker, void *state)
{
    bench_free_shared(worker, state);
}

/* Rank 1 took all the locks last and keeps them; rank 0 takes one after the other. */
static int slice_handoff(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    unsigned n = worker->effort->n_rounds;
    int error = 0;

    for (unsigned i = 0; i < n && worker->rank == 1 && error == 0; i++) {
        error = dsm_lock(lock_address(state, i));
        if (error == 0)
            error = dsm_unlock(lock_address(state, i));
    }
    if (error == 0)
        error = bench_traffic_start(worker);
    if (error != 0 || worker->rank != 0)
        return error;
    bench_samples_reserve(samples, n);
    for (unsigned i = 0; i < n && error == 0; i++) {
        uint64_t start_ns = dsm_clock_ns();

        error = dsm_lock(lock_address(state, i));
        bench_samples_add(samples, bench_us_since(start_ns));
        if (error == 0)
            error = dsm_unlock(lock_address(state, i));
    }
    return error;
}

/*
 * All ranks want the same lock all the time and count under it. A rank that has the lock takes it
 * again at once until it is asked for it, so that single acquisitions are of two very different
 * kinds: a sample is the mean over several.
 */
static int slice_contended(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    volatile uint64_t *count = state;
    unsigned n_batches = worker->effort->n_rounds / ACQUISITIONS_PER_SAMPLE + 1;
    int error = 0;

    if (worker->rank == 0)
        bench_samples_reserve(samples, n_batches);
    for (unsigned i = 0; i < n_batches && error == 0; i++) {
        uint64_t start_ns = dsm_clock_ns();

        for (unsigned k = 0; k < ACQUISITIONS_PER_SAMPLE && error == 0; k++) {
            error = dsm_lock(state);
            if (error == 0) {
                ++*count;
                error = dsm_unlock(state);
            }
        }
        if (worker->rank == 0)
            bench_samples_add(samples, bench_us_since(start_ns) / ACQUISITIONS_PER_SAMPLE);
    }
    return error;
}

static int slice_retake(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    int error = 0;

    if (worker->rank != 0)
        return 0;
    bench_samples_reserve(samples, BENCH_LOCAL_SAMPLES);
    for (unsigned i = 0; i < BENCH_LOCAL_SAMPLES && error == 0; i++) {
        uint64_t start_ns = dsm_clock_ns();

        for (unsigned k = 0; k < BENCH_RETAKES_PER_SAMPLE && error == 0; k++) {
            error = dsm_lock(state);
            if (error == 0)
                error = dsm_unlock(state);
        }
        bench_samples_add(samples, bench_us_since(start_ns) / BENCH_RETAKES_PER_SAMPLE);
    }
    return error;
}

const struct bench_measure bench_measure_lock_handoff = {
    .name = "lock_handoff",
    .text = "taking a free lock that the other rank held last",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_TRAP, .factor = 1, .target_factor = 1},
              {.floor = BENCH_FLOOR_RT_WORD, .factor = 1, .target_factor = 1.6}},
    .target_text = "<= trap + 1.6 x the round trip",
    .target_ranks = 2,
    .min_ranks = 2,
    .ranks = {2},
    .open = open_locks,
    .slice = slice_handoff,
    .close = close_locks,
};

const struct bench_measure bench_measure_lock_contended = {
    .name = "lock_contended",
    .text = "a number counted under a lock by all ranks in a loop: one lock, increment, unlock",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_RT_WORD, .factor = 1}},
    .min_ranks = 2,
    .ranks = {2, 4},
    .open = open_locks,
    .slice = slice_contended,
    .close = close_locks,
};

const struct bench_measure bench_measure_lock_retake = {
    .name = "lock_retake",
    .text = "taking and giving back a lock that was held here last",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_MUTEX, .factor = 1}},
    .target_text = "< 0.2 us",
    .target_value = 0.2,
    .min_ranks = 1,
    .ranks = {2},
    .open = open_locks,
    .slice = slice_retake,
    .close = close_locks,
};
