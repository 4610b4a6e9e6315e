/* SPDX-License-Identifier: BSD-3-Clause */
/* measures.h - every measure, by the file that has it. measures.c puts them in order. */
#ifndef BENCH_MEASURES_H
#define BENCH_MEASURES_H

#include "bench/worker.h"

/* measure_miss.c */
extern const struct bench_measure bench_measure_read_miss;
extern const struct bench_measure bench_measure_read_miss_asleep;
extern const struct bench_measure bench_measure_miss_while_home_computes;
extern const struct bench_measure bench_measure_read_miss_3hop;
extern const struct bench_measure bench_measure_read_rand;
extern const struct bench_measure bench_measure_write_miss;
extern const struct bench_measure bench_measure_upgrade;
extern const struct bench_measure bench_measure_first_touch;

/* measure_pingpong.c */
extern const struct bench_measure bench_measure_pingpong;

/* measure_migratory.c */
extern const struct bench_measure bench_measure_migratory;

/* measure_lock.c */
extern const struct bench_measure bench_measure_lock_handoff;
extern const struct bench_measure bench_measure_lock_contended;
extern const struct bench_measure bench_measure_lock_retake;

/* measure_barrier.c */
extern const struct bench_measure bench_measure_barrier;
extern const struct bench_measure bench_measure_barrier_dirty256;
extern const struct bench_measure bench_measure_exchange256;

/* measure_stream.c */
extern const struct bench_measure bench_measure_read_seq;
extern const struct bench_measure bench_measure_read_seq_plain;
extern const struct bench_measure bench_measure_read_seq_64k;

/* measure_local.c */
extern const struct bench_measure bench_measure_local_hit;

/* measure_kernel.c */
extern const struct bench_measure bench_measure_kernel_lu;
extern const struct bench_measure bench_measure_kernel_stencil;
extern const struct bench_measure bench_measure_profiled_lu;
extern const struct bench_measure bench_measure_profiled_stencil;
extern const struct bench_measure bench_measure_kernel_fft;
extern const struct bench_measure bench_measure_kernel_radix;
extern const struct bench_measure bench_measure_kernel_nbody;
extern const struct bench_measure bench_measure_kernel_water;
extern const struct bench_measure bench_measure_threads_lu;
extern const struct bench_measure bench_measure_threads_stencil;
extern const struct bench_measure bench_measure_threads_fft;
extern const struct bench_measure bench_measure_threads_radix;
extern const struct bench_measure bench_measure_threads_nbody;
extern const struct bench_measure bench_measure_threads_water;

#endif
