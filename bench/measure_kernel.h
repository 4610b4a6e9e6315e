/* SPDX-License-Identifier: BSD-3-Clause */
/* measure_kernel.h - the sequential programs that the kernels are held against. */
#ifndef BENCH_MEASURE_KERNEL_H
#define BENCH_MEASURE_KERNEL_H

#include "bench/worker.h"

int bench_floor_lu(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_stencil(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_fft(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_radix(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_nbody(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_water(struct bench_worker *worker, struct bench_samples *samples);

#endif
