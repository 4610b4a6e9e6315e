/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * floor_trap.h - each trap alone: a fault on a page whose bytes are already here.
 *
 * It runs in a helper process that rank 0 forks before it joins the job, so that no handler of the
 * library is in the way; it sleeps on a socket between its slices.
 */
#ifndef BENCH_FLOOR_TRAP_H
#define BENCH_FLOOR_TRAP_H

#include "bench/worker.h"

/* Rank 0, before dsm_init. */
int bench_trap_helper_start(struct bench_worker *worker);
void bench_trap_helper_stop(struct bench_worker *worker);

int bench_floor_trap_sigbus(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_trap_uffd(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_trap_segv(struct bench_worker *worker, struct bench_samples *samples);

#endif
