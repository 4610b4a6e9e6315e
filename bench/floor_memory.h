/* SPDX-License-Identifier: BSD-3-Clause */
/* floor_memory.h - what private memory costs: copying, random loads, an uncontended mutex. */
#ifndef BENCH_FLOOR_MEMORY_H
#define BENCH_FLOOR_MEMORY_H

#include "bench/worker.h"

#define BENCH_READS_PER_SAMPLE   8192u
#define BENCH_LOCAL_SAMPLES      16u /* in a slice */
#define BENCH_RETAKES_PER_SAMPLE 1000u

/* Rank 0. */
int bench_memory_open(struct bench_worker *worker);
void bench_memory_close(struct bench_worker *worker);

/* Loads 8 bytes from BENCH_READS_PER_SAMPLE pages of memory, in the order of the floor, going on
 * where the last call stopped, and adds the nanoseconds of one load to the samples. The memory is
 * effort->local_bytes long and holds zeros. */
int bench_memory_time_loads(struct bench_worker *worker, const uint8_t *memory,
                            struct bench_samples *samples);

int bench_floor_memcpy(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_private_read(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_mutex(struct bench_worker *worker, struct bench_samples *samples);

#endif
