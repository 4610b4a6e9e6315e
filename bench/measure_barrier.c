/* SPDX-License-Identifier: BSD-3-Clause */
/* measure_barrier.c - barriers: alone, after writing, and with the reading that they are for. */
#include "bench/measures.h"

#include <stdlib.h>

#define DIRTY_PAGES  256u
#define DIRTY_ROUNDS 4u /* in a slice */

static int slice_barrier(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    unsigned n = worker->effort->n_rounds;
    int error = bench_traffic_start(worker);

    (void)state;
    if (worker->rank == 0)
        bench_samples_reserve(samples, n);
    for (unsigned i = 0; i < n && error == 0; i++) {
        uint64_t start_ns = dsm_clock_ns();

        error = dsm_barrier();
        if (worker->rank == 0)
            bench_samples_add(samples, bench_us_since(start_ns));
    }
    return error;
}

/* Pages homed and owned block by block: DIRTY_PAGES for each rank. */
static int open_blocks(struct bench_worker *worker, void **state_out)
{
    return dsm_alloc((size_t)worker->n_ranks * DIRTY_PAGES * BENCH_PAGE_BYTES, NULL, state_out);
}

static void close_blocks(struct bench_worker *worker, void *state)
{
    bench_free_shared(worker, state);
}

static void write_own(struct bench_worker *worker, uint8_t *memory)
{
    uint8_t *own = memory + (size_t)worker->rank * DIRTY_PAGES * BENCH_PAGE_BYTES;

    for (size_t i = 0; i < DIRTY_PAGES; i++)
        ++*(volatile uint64_t *)(void *)(own + i * BENCH_PAGE_BYTES);
}

static uint64_t read_next(struct bench_worker *worker, const uint8_t *memory)
{
    uint32_t next = (worker->rank + 1) % worker->n_ranks;
    const uint8_t *block = memory + (size_t)next * DIRTY_PAGES * BENCH_PAGE_BYTES;
    uint64_t sum = 0;

    for (size_t i = 0; i < DIRTY_PAGES; i++)
        sum += *(const volatile uint64_t *)(const void *)(block + i * BENCH_PAGE_BYTES);
    return sum;
}

/* Rounds of: write the own pages, barrier, read the neighbour's, barrier. What is timed differs. */
static int run_rounds(struct bench_worker *worker, uint8_t *memory, bool is_barrier_alone,
                      struct bench_samples *samples)
{
    int error = 0;

    if (worker->rank == 0)
        bench_samples_reserve(samples, DIRTY_ROUNDS);
    for (unsigned i = 0; i < DIRTY_ROUNDS && error == 0; i++) {
        uint64_t start_ns = dsm_clock_ns();

        write_own(worker, memory);
        if (is_barrier_alone) {
            /* Everybody has written: the barrier's time is not the other rank's writing. */
            error = dsm_barrier();
            if (error != 0)
                return error;
            write_own(worker, memory);
            start_ns = dsm_clock_ns();
        }
        error = dsm_barrier();
        if (error == 0 && is_barrier_alone && worker->rank == 0)
            bench_samples_add(samples, bench_us_since(start_ns));
        read_next(worker, memory);
        if (error == 0)
            error = dsm_barrier();
        if (error == 0 && !is_barrier_alone && worker->rank == 0)
            bench_samples_add(samples, bench_us_since(start_ns));
    }
    return error;
}

static int slice_dirty(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    return run_rounds(worker, state, true, samples);
}

static int slice_exchange(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    return run_rounds(worker, state, false, samples);
}

const struct bench_measure bench_measure_barrier = {
    .name = "barrier",
    .text = "a barrier of all ranks",
    .unit = "us",
    .floor =
        {{.floor = BENCH_FLOOR_RT_WORD, .factor = 1, .target_factor = 1.5, .is_per_level = true}},
    .target_text = "<= 1.5 x the round trip",
    .target_ranks = 2,
    .min_ranks = 2,
    .ranks = {2, 4, 8},
    .slice = slice_barrier,
};

const struct bench_measure bench_measure_barrier_dirty256 = {
    .name = "barrier_dirty256",
    .text = "a barrier after each rank has written 256 pages",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_RT_WORD, .factor = 1, .is_per_level = true}},
    .min_ranks = 2,
    .ranks = {2},
    .open = open_blocks,
    .slice = slice_dirty,
    .close = close_blocks,
};

const struct bench_measure bench_measure_exchange256 = {
    .name = "exchange256",
    .text = "each rank writes 256 pages, barrier, reads the other's 256, barrier",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_RT_WORD, .factor = DIRTY_PAGES},
              {.floor = BENCH_FLOOR_RT_PAGE, .factor = DIRTY_PAGES}},
    .min_ranks = 2,
    .ranks = {2},
    .open = open_blocks,
    .slice = slice_exchange,
    .close = close_blocks,
};
