/* SPDX-License-Identifier: BSD-3-Clause */
/* measure_pingpong.c - two ranks pass a number to and fro through one shared word. */
#include "bench/measures.h"

#include <sched.h>

static int open_word(struct bench_worker *worker, void **state_out)
{
    return bench_alloc_at(worker, 1, BENCH_PAGE_BYTES, 0, state_out);
}

static void close_word(struct bench_worker *worker, void *state)
{
    bench_free_shared(worker, state);
}

/* After so many looks in vain the partner is waiting for a processor. */
#define LOOKS_BEFORE_YIELD 20000u

/* The loads find a copy here until the other rank's store takes it away, then fault. */
static void wait_for(volatile uint64_t *word, uint64_t value, bool is_yielding)
{
    for (unsigned n_looks = 0; *word != value; n_looks++) {
        if (is_yielding || n_looks > LOOKS_BEFORE_YIELD)
            sched_yield();
        else
            __builtin_ia32_pause();
    }
}

static int slice_pingpong(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    volatile uint64_t *word = state;
    uint64_t n = worker->effort->n_rounds, first = 2 * n * worker->slice;

    if (worker->rank == 0)
        bench_samples_reserve(samples, (size_t)n);
    for (uint64_t k = 0; k < n && worker->rank <= 1; k++) {
        uint64_t ping = first + 2 * k + 1;

        if (worker->rank == 0) {
            uint64_t start_ns = dsm_clock_ns();

            *word = ping;
            wait_for(word, ping + 1, worker->is_oversubscribed);
            bench_samples_add(samples, bench_us_since(start_ns));
        } else {
            wait_for(word, ping, worker->is_oversubscribed);
            *word = ping + 1;
        }
    }
    return 0;
}

/* There: an upgrade here, a read miss there; and back. */
const struct bench_measure bench_measure_pingpong = {
    .name = "pingpong",
    .text = "a number to the other rank and back through one shared word",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_RT_PAGE, .factor = 2},
              {.floor = BENCH_FLOOR_RT_WORD, .factor = 2}},
    .min_ranks = 2,
    .ranks = {2},
    .open = open_word,
    .slice = slice_pingpong,
    .close = close_word,
};
