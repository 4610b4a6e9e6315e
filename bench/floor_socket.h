/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * floor_socket.h - raw TCP between rank 0 and rank 1: what a message costs without the library.
 *
 * The same two processes that are measured do it, so the scheduler has the same choices.
 */
#ifndef BENCH_FLOOR_SOCKET_H
#define BENCH_FLOOR_SOCKET_H

#include "bench/worker.h"

/* Collective over all ranks; only ranks 0 and 1 are connected. */
int bench_link_open(struct bench_worker *worker);
void bench_link_close(struct bench_worker *worker);

int bench_floor_rt_page_poll(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_rt_word_poll(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_rt_page_sleep(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_rt_word_sleep(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_rt_page_computing(struct bench_worker *worker, struct bench_samples *samples);
int bench_floor_stream(struct bench_worker *worker, struct bench_samples *samples);

/* Rank 1: uses the processor until rank 0 calls bench_link_stop, or is gone. */
int bench_link_compute_until_stopped(struct bench_worker *worker);
/* Rank 1: sleeps outside the library until then. */
int bench_link_sleep_until_stopped(struct bench_worker *worker);
/* Rank 0: ends either. */
int bench_link_stop(struct bench_worker *worker);

#endif
