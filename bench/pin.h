/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pin.h - a processor for each of two processes that poll, for the time of a floor.
 *
 * Two processes that poll, or one that polls and one that computes, on one processor take turns of
 * milliseconds: no floor at all.
 */
#ifndef BENCH_PIN_H
#define BENCH_PIN_H

#include <stdbool.h>

#define BENCH_PIN_BYTES 128 /* of a set of processors */

struct bench_worker;

struct bench_pin {
    bool is_pinned;
    unsigned char before[BENCH_PIN_BYTES];
};

/* Ranks 0 and 1, where there are two processors at least. */
void bench_pin(const struct bench_worker *worker, struct bench_pin *pin_out);
void bench_unpin(const struct bench_pin *pin);

#endif
