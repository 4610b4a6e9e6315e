/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * measure_migratory.c - a record under a lock that goes to and fro: each rank in its turn reads it
 * and then writes it.
 *
 * There are two such records, of which the slices take turns. The first is left to the protocol,
 * which finds after a few turns that its page migrates and grants it for writing at the read. Of
 * the second both ranks say that they mostly read it, so that no read of it is ever granted
 * exclusively: what all pages are to a job with DSM_MIGRATORY=0, and its writes are upgrades.
 */
#include "bench/measures.h"

#include <stdio.h>
#include <stdlib.h>

/* The record is in the last page, so that nothing behind it can be fetched ahead. */
#define BLOCK_BYTES  65536u
#define RECORD_AT    (BLOCK_BYTES - BENCH_PAGE_BYTES)
#define N_PARTNERS   2u
#define MIGRATES     0u
#define STAYS_SHARED 1u
#define N_RECORDS    2u

struct record {
    void *block;
    uint64_t value;        /* that this rank finds there next */
    uint64_t n_operations; /* rank 0's, of all slices that count */
    uint64_t n_exclusive;  /* reads among them that were granted exclusively */
};

struct records {
    struct record record[N_RECORDS];
};

static volatile uint64_t *word_of(const struct record *record)
{
    return (volatile uint64_t *)(void *)((uint8_t *)record->block + RECORD_AT);
}

static int open_records(struct bench_worker *worker, void **state_out)
{
    struct records *records = calloc(1, sizeof *records);
    int error = records == NULL ? DSM_E_NOMEM : 0;

    for (unsigned i = 0; i < N_RECORDS && error == 0; i++) {
        error = bench_alloc_at(worker, 1, BLOCK_BYTES, BENCH_PAGE_BYTES, &records->record[i].block);
        records->record[i].value = worker->rank == 0; /* rank 1 has the first turn */
    }
    if (error == 0)
        error =
            dsm_advise(records->record[STAYS_SHARED].block, BLOCK_BYTES, DSM_ADVICE_READ_MOSTLY);
    if (error != 0) {
        free(records); /* the job ends */
        return error;
    }
    *state_out = records;
    return 0;
}

static void close_records(struct bench_worker *worker, void *state)
{
    struct records *records = state;

    for (unsigned i = 0; i < N_RECORDS; i++)
        bench_free_shared(worker, records->record[i].block);
    free(records);
}

static int take_turn(struct record *record)
{
    volatile uint64_t *word = word_of(record);
    uint64_t seen;
    int error = dsm_lock(record->block);

    if (error != 0)
        return error;
    seen = *word;
    *word = seen + 1;
    error = dsm_unlock(record->block);
    if (error == 0 && seen != record->value) {
        fprintf(stderr, "dsm-bench: a record held %llu where %llu was written last\n",
                (unsigned long long)seen, (unsigned long long)record->value);
        error = DSM_E_STATE;
    }
    record->value += N_PARTNERS;
    return error;
}

static int count_exclusive(uint64_t *count_out)
{
    struct dsm_stats stats = {.struct_size = sizeof stats};
    int error = dsm_stats_get(&stats);

    *count_out = stats.migratory_reads;
    return error;
}

/* Rank 1 takes its turn and waits in a barrier while rank 0 takes its own. */
static int take_turns(struct bench_worker *worker, struct record *record,
                      struct bench_samples *samples)
{
    unsigned n = worker->effort->n_rounds;
    uint64_t before = 0, after = 0;
    int error = count_exclusive(&before);

    if (worker->rank == 0)
        bench_samples_reserve(samples, n);
    for (unsigned i = 0; i < n && error == 0; i++) {
        if (worker->rank == 1)
            error = take_turn(record);
        if (error == 0)
            error = dsm_barrier();
        if (error == 0 && worker->rank == 0) {
            uint64_t start_ns = dsm_clock_ns();

            error = take_turn(record);
            bench_samples_add(samples, bench_us_since(start_ns));
        }
        if (error == 0)
            error = dsm_barrier();
    }
    if (error == 0)
        error = count_exclusive(&after);
    if (error == 0 && worker->slice > 0) {
        record->n_operations += n;
        record->n_exclusive += after - before;
    }
    return error;
}

static int slice_migrates(struct bench_worker *worker, void *state, struct bench_samples *samples)
{
    struct records *records = state;

    return take_turns(worker, &records->record[MIGRATES], samples);
}

static int slice_stays_shared(struct bench_worker *worker, void *state,
                              struct bench_samples *samples)
{
    struct records *records = state;

    return take_turns(worker, &records->record[STAYS_SHARED], samples);
}

static double exclusive_share(const struct record *record)
{
    return (double)record->n_exclusive / (double)record->n_operations;
}

/* Of the reads that were timed, how many were granted exclusively: that it was migration, or not.
 */
static void put_exclusive(void *state, json_t *record)
{
    const struct records *records = state;

    json_object_set_new(record, "exclusive_reads",
                        json_real(exclusive_share(&records->record[MIGRATES])));
    json_object_set_new(json_object_get(record, "beside"), "exclusive_reads",
                        json_real(exclusive_share(&records->record[STAYS_SHARED])));
}

/* The lock comes in one round trip, the record in another; what comes on top is the writing. */
const struct bench_measure bench_measure_migratory = {
    .name = "migratory",
    .text = "lock, read, write, unlock of a record that the other rank wrote last",
    .unit = "us",
    .floor = {{.floor = BENCH_FLOOR_RT_PAGE, .factor = 1},
              {.floor = BENCH_FLOOR_RT_WORD, .factor = 1}},
    .min_ranks = 2,
    .ranks = {2},
    .open = open_records,
    .slice = slice_migrates,
    .beside_text = "no read granted exclusively",
    .slice_beside = slice_stays_shared,
    .put = put_exclusive,
    .close = close_records,
};
