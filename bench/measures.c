/* SPDX-License-Identifier: BSD-3-Clause */
/* measures.c - the list of measures, in the order in which they run and are printed. */
#include "bench/measures.h"

#include <string.h>

const struct bench_measure *const bench_measures[] = {
    &bench_measure_local_hit,
    &bench_measure_first_touch,
    &bench_measure_read_miss,
    &bench_measure_read_miss_asleep,
    &bench_measure_miss_while_home_computes,
    &bench_measure_read_miss_3hop,
    &bench_measure_read_rand,
    &bench_measure_write_miss,
    &bench_measure_upgrade,
    &bench_measure_pingpong,
    &bench_measure_migratory,
    &bench_measure_lock_retake,
    &bench_measure_lock_handoff,
    &bench_measure_lock_contended,
    &bench_measure_barrier,
    &bench_measure_barrier_dirty256,
    &bench_measure_exchange256,
    &bench_measure_read_seq,
    &bench_measure_read_seq_plain,
    &bench_measure_read_seq_64k,
    &bench_measure_kernel_lu,
    &bench_measure_threads_lu,
    &bench_measure_kernel_stencil,
    &bench_measure_threads_stencil,
    &bench_measure_kernel_fft,
    &bench_measure_threads_fft,
    &bench_measure_kernel_radix,
    &bench_measure_threads_radix,
    &bench_measure_kernel_nbody,
    &bench_measure_threads_nbody,
    &bench_measure_kernel_water,
    &bench_measure_threads_water,
    &bench_measure_profiled_lu,
    &bench_measure_profiled_stencil,
    NULL,
};

const struct bench_measure *bench_measure_find(const char *name)
{
    for (size_t i = 0; bench_measures[i] != NULL; i++)
        if (strcmp(bench_measures[i]->name, name) == 0)
            return bench_measures[i];
    return NULL;
}
