/* SPDX-License-Identifier: BSD-3-Clause */
/* measure_stream.c - reading a long array of the other rank from one end to the other. */
#include "bench/measures.h"

#include <stdio.h>

#define PREFETCH_BYTES   (1u << 20) /* asked for in one call */
#define PREFETCH_AHEAD   2u         /* calls ahead of the reader */
#define LARGE_UNIT_BYTES 65536u

static int open_array(struct bench_worker *worker, void **state_out)
{
    return bench_alloc_at(worker, 1, (size_t)worker->effort->stream_bytes, 0, state_out);
}

static int open_array_large_units(struct bench_worker *worker, void **state_out)
{
    return bench_alloc_at(worker, 1, (size_t)worker->effort->stream_bytes, LARGE_UNIT_BYTES,
                          state_out);
}

static void close_array(struct bench_worker *worker, void *state)
{
    bench_free_shared(worker, state);
}

static uint64_t sum_words(const uint64_t *words, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += words[i];
    return sum;
}

static int read_array(struct bench_worker *worker, const uint8_t *array, bool is_hinting,
                      uint64_t *sum_out)
{
    size_t len = (size_t)worker->effort->stream_bytes, asked = 0;
    int error = 0;

    *sum_out = 0;
    for (size_t at = 0; at < len && error == 0; at += PREFETCH_BYTES) {
        size_t piece = len - at < PREFETCH_BYTES ? len - at : PREFETCH_BYTES;

        while (is_hinting && error == 0 && asked < len &&
               asked < at + (PREFETCH_AHEAD + 1) * (size_t)PREFETCH_BYTES) {
            size_t next = len - asked < PREFETCH_BYTES ? len - asked : PREFETCH_BYTES;

            error = dsm_prefetch(array + asked, next, DSM_READ);
            asked += next;
        }
        *sum_out +=
            sum_words((const uint64_t *)(const void *)(array + at), piece / sizeof(uint64_t));
    }
    return error;
}

static int slice_read_array(struct bench_worker *worker, void *state, bool is_hinting,
                            struct bench_samples *samples)
{
    uint64_t n_pages = worker->effort->stream_bytes / BENCH_PAGE_BYTES, sum, start_ns;
    uint64_t expected = n_pages * (worker->slice + 1);
    int error;

    if (worker->rank == 1)
        for (uint64_t i = 0; i < n_pages; i++)
            *(volatile uint64_t *)(void *)((uint8_t *)state + i * BENCH_PAGE_BYTES) =
                worker->slice + 1;
    error = dsm_barrier();
    if (error != 0 || worker->rank != 0)
        return error;
    bench_samples_reserve(samples, 1);
    start_ns = dsm_clock_ns();
    error = read_array(worker, state, is_hinting, &sum);
    bench_samples_add(samples,
                      (double)worker->effort->stream_bytes / (double)(dsm_clock_ns() - start_ns));
    if (error == 0 && sum != expected) {
        fprintf(stderr, "dsm-bench: the array summed up to %llu, not %llu\n",
                (unsigned long long)sum, (unsigned long long)expected);
        error = DSM_E_STATE;
    }
    return error;
}

static int slice_hinting(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    return slice_read_array(worker, state, true, samples);
}

static int slice_plain(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    return slice_read_array(worker, state, false, samples);
}

const struct bench_measure bench_measure_read_seq = {
    .name = "read_seq",
    .text = "reading the other rank's array from end to end, with the prefetch hint",
    .unit = "GB/s",
    .is_more_better = true,
    .floor = {{.floor = BENCH_FLOOR_STREAM, .factor = 1, .target_factor = 0.5}},
    .target_text = ">= 0.5 x the raw stream",
    .target_ranks = 2,
    .min_ranks = 2,
    .ranks = {2},
    .open = open_array,
    .slice = slice_hinting,
    .close = close_array,
};

const struct bench_measure bench_measure_read_seq_plain = {
    .name = "read_seq_plain",
    .text = "the same without the hint",
    .unit = "GB/s",
    .is_more_better = true,
    .floor = {{.floor = BENCH_FLOOR_STREAM, .factor = 1, .target_factor = 0.6}},
    .target_text = ">= 0.6 x the raw stream",
    .target_ranks = 2,
    .min_ranks = 2,
    .ranks = {2},
    .open = open_array,
    .slice = slice_plain,
    .close = close_array,
};

const struct bench_measure bench_measure_read_seq_64k = {
    .name = "read_seq_64k",
    .text = "the same without the hint, in units of 64 KiB",
    .unit = "GB/s",
    .is_more_better = true,
    .floor = {{.floor = BENCH_FLOOR_STREAM, .factor = 1}},
    .min_ranks = 2,
    .ranks = {2},
    .open = open_array_large_units,
    .slice = slice_plain,
    .close = close_array,
};
