/* SPDX-License-Identifier: BSD-3-Clause */
/* samples.c - see samples.h. */
#include "bench/samples.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocate_or_exit(void *old, size_t bytes)
{
    void *memory = realloc(old, bytes);

    if (memory == NULL) {
        fprintf(stderr, "dsm-bench: no memory for %zu bytes of samples\n", bytes);
        exit(1);
    }
    return memory;
}

void bench_samples_reserve(struct bench_samples *samples, size_t n)
{
    size_t need = samples->n + n;

    if (need <= samples->room)
        return;
    samples->value = allocate_or_exit(samples->value, need * sizeof *samples->value);
    /* Touched now: a first touch inside a timed stretch would be measured as well. */
    memset(samples->value + samples->n, 0, n * sizeof *samples->value);
    samples->room = need;
}

void bench_samples_add(struct bench_samples *samples, double value)
{
    assert(samples->n < samples->room);
    samples->value[samples->n++] = value;
}

void bench_samples_clear(struct bench_samples *samples)
{
    samples->n = 0;
}

void bench_samples_free(struct bench_samples *samples)
{
    free(samples->value);
    *samples = (struct bench_samples){0};
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double *sorted_copy(const struct bench_samples *samples)
{
    double *copy = allocate_or_exit(NULL, samples->n * sizeof *copy);

    memcpy(copy, samples->value, samples->n * sizeof *copy);
    qsort(copy, samples->n, sizeof *copy, compare);
    return copy;
}

double bench_samples_median(const struct bench_samples *samples)
{
    double *sorted, median;
    size_t n = samples->n;

    if (n == 0)
        return (double)NAN;
    sorted = sorted_copy(samples);
    median = n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    free(sorted);
    return median;
}

double bench_samples_quantile(const struct bench_samples *samples, double q)
{
    double *sorted, value, rank;

    if (samples->n == 0)
        return (double)NAN;
    sorted = sorted_copy(samples);
    rank = ceil(q * (double)samples->n);
    value = sorted[rank < 1 ? 0 : (size_t)rank - 1];
    free(sorted);
    return value;
}

double bench_samples_p99(const struct bench_samples *samples, bool is_more_better)
{
    return bench_samples_quantile(samples, is_more_better ? 0.01 : 0.99);
}
