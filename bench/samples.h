/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * samples.h - a growing list of numbers, and what is quoted from it: median and 99th percentile.
 *
 * Room is made before a timed stretch (reserve), so that adding never allocates inside one.
 */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>

struct bench_samples {
    double *value;
    size_t n, room;
};

/* Makes room for n more. Ends the program with one line when there is no memory. */
void bench_samples_reserve(struct bench_samples *samples, size_t n);
/* Needs room made before. */
void bench_samples_add(struct bench_samples *samples, double value);
void bench_samples_clear(struct bench_samples *samples);
void bench_samples_free(struct bench_samples *samples);

/* These sort a copy. NaN when there are no samples. */
double bench_samples_median(const struct bench_samples *samples);
/* The value at the fraction q of the sorted samples, by nearest rank (q in 0..1). */
double bench_samples_quantile(const struct bench_samples *samples, double q);
/* The bad end: the 99th percentile, or the 1st where more is better. */
double bench_samples_p99(const struct bench_samples *samples, bool is_more_better);

#endif
