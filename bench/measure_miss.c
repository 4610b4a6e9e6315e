/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * measure_miss.c - one fault at a time: read and write misses, upgrades, first touches, and what
 * they cost when the other rank is busy.
 *
 * Each measure has its own pages. Rank 1 makes them its own before the slice (prepare), rank 0
 * takes them in random order, timing each access and checking each value.
 */
#include "bench/measures.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/floor_socket.h"

struct pages {
    uint8_t *memory;
    size_t n; /* in a slice */
    uint32_t *order;
    bool is_fresh; /* each slice has pages that rank 0 has never seen */
};

static int open_pages(struct bench_worker *worker, uint32_t home, bool is_fresh, void **state_out)
{
    struct pages *pages = calloc(1, sizeof *pages);
    size_t n_slices = is_fresh ? worker->effort->n_slices + 1u : 1;
    void *memory = NULL;
    int error;

    if (pages == NULL)
        return DSM_E_NOMEM;
    pages->n = worker->effort->n_pages;
    pages->is_fresh = is_fresh;
    pages->order = bench_shuffle(pages->n, 5);
    error = pages->order == NULL
                ? DSM_E_NOMEM
                : bench_alloc_at(worker, home, n_slices * pages->n * BENCH_PAGE_BYTES, 0, &memory);
    if (error != 0) {
        free(pages->order);
        free(pages);
        return error;
    }
    pages->memory = memory;
    *state_out = pages;
    return 0;
}

static int open_at_partner(struct bench_worker *worker, void **state_out)
{
    return open_pages(worker, 1, false, state_out);
}

static int open_fresh_at_partner(struct bench_worker *worker, void **state_out)
{
    return open_pages(worker, 1, true, state_out);
}

static int open_fresh_here(struct bench_worker *worker, void **state_out)
{
    return open_pages(worker, 0, true, state_out);
}

static int open_at_third(struct bench_worker *worker, void **state_out)
{
    return open_pages(worker, 2, false, state_out);
}

static void close_pages(struct bench_worker *worker, void *state)
{
    struct pages *pages = state;

    bench_free_shared(worker, pages->memory);
    free(pages->order);
    free(pages);
}

static volatile uint64_t *page_word(struct bench_worker *worker, const struct pages *pages,
                                    uint32_t i)
{
    size_t first = pages->is_fresh ? worker->slice * pages->n : 0;

    return (volatile uint64_t *)(void *)(pages->memory + (first + i) * BENCH_PAGE_BYTES);
}

static uint64_t value_of(struct bench_worker *worker, uint32_t i)
{
    return ((uint64_t)worker->slice << 32) + i + 1;
}

/* Rank 1 becomes the only holder; its page tables are warm. What follows is counted. */
static int prepare_at_partner(struct bench_worker *worker, const struct pages *pages)
{
    if (worker->rank == 1)
        for (uint32_t i = 0; i < pages->n; i++)
            *page_word(worker, pages, i) = value_of(worker, i);
    return bench_traffic_start(worker);
}

static int check_value(uint64_t seen, uint64_t expected)
{
    if (seen == expected)
        return 0;
    fprintf(stderr, "dsm-bench: a page held %llu where %llu was written last\n",
            (unsigned long long)seen, (unsigned long long)expected);
    return DSM_E_STATE;
}

static int time_reads(struct bench_worker *worker, const struct pages *pages,
                      struct bench_samples *samples)
{
    int error = 0;

    bench_samples_reserve(samples, pages->n);
    for (size_t k = 0; k < pages->n && error == 0; k++) {
        uint32_t i = pages->order[k];
        volatile uint64_t *word = page_word(worker, pages, i);
        uint64_t start_ns = dsm_clock_ns(), seen = *word;

        bench_samples_add(samples, bench_us_since(start_ns));
        error = check_value(seen, value_of(worker, i));
    }
    return error;
}

static int time_writes(struct bench_worker *worker, const struct pages *pages,
                       struct bench_samples *samples)
{
    bench_samples_reserve(samples, pages->n);
    for (size_t k = 0; k < pages->n; k++) {
        volatile uint64_t *word = page_word(worker, pages, pages->order[k]);
        uint64_t start_ns = dsm_clock_ns();

        *word = 0;
        bench_samples_add(samples, bench_us_since(start_ns));
    }
    return 0;
}

static int slice_read(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    int error = prepare_at_partner(worker, state);

    return error == 0 && worker->rank == 0 ? time_reads(worker, state, samples) : error;
}

static int slice_write(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    int error = prepare_at_partner(worker, state);

    return error == 0 && worker->rank == 0 ? time_writes(worker, state, samples) : error;
}

static int slice_upgrade(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    const struct pages *pages = state;
    int error = prepare_at_partner(worker, pages);

    for (uint32_t i = 0; i < pages->n && error == 0 && worker->rank == 0; i++)
        error = check_value(*page_word(worker, pages, i), value_of(worker, i));
    if (error == 0)
        error = bench_traffic_start(worker);
    return error == 0 && worker->rank == 0 ? time_writes(worker, pages, samples) : error;
}

static int slice_first_touch(struct bench_worker *worker, void *state,
                             struct bench_samples *samples)
{
    return worker->rank == 0 ? time_writes(worker, state, samples) : 0;
}

static int slice_read_while(struct bench_worker *worker, void *state, struct bench_samples *samples,
                            int (*partner_does)(struct bench_worker *worker))
{
    int error = prepare_at_partner(worker, state);

    if (error == 0 && worker->rank == 0) {
        error = time_reads(worker, state, samples);
        if (error == 0)
            error = bench_link_stop(worker);
    } else if (error == 0 && worker->rank == 1) {
        error = partner_does(worker);
    }
    return error;
}

static int slice_read_while_computing(struct bench_worker *worker, void *state,
                                      struct bench_samples *samples)
{
    return slice_read_while(worker, state, samples, bench_link_compute_until_stopped);
}

static int slice_read_while_asleep(struct bench_worker *worker, void *state,
                                   struct bench_samples *samples)
{
    return slice_read_while(worker, state, samples, bench_link_sleep_until_stopped);
}

const struct bench_measure bench_measure_read_miss = {
    .name = "read_miss",
    .text = "load of a page that the other rank owns; the other rank waits in a barrier",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_RT_PAGE, .factor = 1, .target_factor = 2.0}},
    .target_text = "<= 2.0 x the round trip",
    .target_ranks = 2,
    .min_ranks = 2,
    .ranks = {2},
    .open = open_at_partner,
    .slice = slice_read,
    .close = close_pages,
};

const struct bench_measure bench_measure_read_miss_asleep = {
    .name = "read_miss_asleep",
    .text = "the same while the other rank's program sleeps outside the library",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_RT_PAGE, .factor = 1}},
    .min_ranks = 2,
    .ranks = {2},
    .open = open_at_partner,
    .slice = slice_read_while_asleep,
    .close = close_pages,
};

const struct bench_measure bench_measure_miss_while_home_computes = {
    .name = "miss_while_home_computes",
    .text = "the same while the other rank's program computes",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_RT_PAGE_COMPUTING, .factor = 1, .target_factor = 1.5}},
    .target_text = "<= 1.5 x the round trip",
    .target_ranks = 2,
    .min_ranks = 2,
    .ranks = {2},
    .open = open_at_partner,
    .slice = slice_read_while_computing,
    .close = close_pages,
};

const struct bench_measure bench_measure_read_miss_3hop = {
    .name = "read_miss_3hop",
    .text = "load of a page whose home is a third rank",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_RT_PAGE, .factor = 1},
              {.floor = BENCH_FLOOR_RT_WORD, .factor = 0.5}},
    .min_ranks = 3,
    .ranks = {3},
    .open = open_at_third,
    .slice = slice_read,
    .close = close_pages,
};

const struct bench_measure bench_measure_read_rand = {
    .name = "read_rand",
    .text = "loads in random order from pages never held here before",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_RT_PAGE, .factor = 1}},
    .min_ranks = 2,
    .ranks = {2},
    .open = open_fresh_at_partner,
    .slice = slice_read,
    .close = close_pages,
};

const struct bench_measure bench_measure_write_miss = {
    .name = "write_miss",
    .text = "store to a page that the other rank owns",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_RT_PAGE, .factor = 1}},
    .min_ranks = 2,
    .ranks = {2},
    .open = open_at_partner,
    .slice = slice_write,
    .close = close_pages,
};

/* Pages of its own for each slice: one that is read and then written again and again would be found
 * to migrate and come as the only copy, without an upgrade. */
const struct bench_measure bench_measure_upgrade = {
    .name = "upgrade",
    .text = "store to a page held for reading here and at the other rank",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_TRAP, .factor = 1, .target_factor = 1},
              {.floor = BENCH_FLOOR_RT_WORD, .factor = 1, .target_factor = 1.6}},
    .target_text = "<= trap + 1.6 x the round trip",
    .target_ranks = 2,
    .min_ranks = 2,
    .ranks = {2},
    .open = open_fresh_at_partner,
    .slice = slice_upgrade,
    .close = close_pages,
};

const struct bench_measure bench_measure_first_touch = {
    .name = "first_touch",
    .text = "first store to a page whose home is here: no message",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_TRAP, .factor = 1}},
    .min_ranks = 1,
    .ranks = {2},
    .open = open_fresh_here,
    .slice = slice_first_touch,
    .close = close_pages,
};
