/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fft.c - the six-step FFT: n = m * m points as an m x m matrix, rows dealt in stripes.
 *
 * Transpose, transform the rows, multiply by the roots of unity, transpose, transform the rows,
 * transpose. In a transpose each rank writes its own rows alone and reads a piece of everybody's:
 * so a page has one writer, and is only read until the next barrier.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "team.h"

#define VERIFY_FREQUENCIES 6
#define TILE               16 /* columns and rows that a transpose takes at a time */
#define TOLERANCE          1e-11

struct complex {
    double re, im;
};

struct fft {
    struct team team;
    size_t m, n;
    size_t rows; /* of each rank's stripe, the last may have fewer */
    size_t stripe_bytes;
    char *from, *to;
    struct complex *roots; /* exp(-2 pi i k / m), private */
};

static struct complex *row_at(const struct fft *f, const char *matrix, size_t row)
{
    return (struct complex *)(void *)(matrix + row / f->rows * f->stripe_bytes +
                                      row % f->rows * f->m * sizeof(struct complex));
}

static size_t first_row(const struct fft *f)
{
    size_t row = f->rows * f->team.rank;

    return row < f->m ? row : f->m;
}

static size_t end_row(const struct fft *f)
{
    size_t row = f->rows * (f->team.rank + 1u);

    return row < f->m ? row : f->m;
}

static struct complex times(struct complex a, struct complex b)
{
    return (struct complex){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

static struct complex root_of(uint64_t k, uint64_t n)
{
    double angle = -2 * M_PI * (double)(k % n) / (double)n;

    return (struct complex){cos(angle), sin(angle)};
}

static struct complex point(uint64_t j)
{
    return (struct complex){mix_unit(2 * j), mix_unit(2 * j + 1)};
}

/* In place, radix 2. */
static void transform_row(const struct fft *f, struct complex *x)
{
    size_t m = f->m;

    for (size_t i = 1, j = 0; i < m; i++) {
        size_t bit = m >> 1;

        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            struct complex swapped = x[i];
            x[i] = x[j];
            x[j] = swapped;
        }
    }
    for (size_t half = 1; half < m; half *= 2) {
        size_t stride = m / (2 * half);

        for (size_t start = 0; start < m; start += 2 * half) {
            for (size_t k = 0; k < half; k++) {
                struct complex *low = &x[start + k], *high = low + half;
                struct complex turned = times(*high, f->roots[k * stride]);

                *high = (struct complex){low->re - turned.re, low->im - turned.im};
                *low = (struct complex){low->re + turned.re, low->im + turned.im};
            }
        }
    }
}

/* This rank's rows of `to` from the columns of `from`. */
static int transpose(struct fft *f)
{
    size_t first = first_row(f), end = end_row(f);
    char *swapped = f->from;

    for (size_t row = 0; row < f->m && first < end; row++)
        if (row < first || row >= end)
            team_prefetch(&f->team, row_at(f, f->from, row) + first,
                          (end - first) * sizeof(struct complex), DSM_READ);
    for (size_t column = 0; column < f->m; column += TILE) {
        for (size_t row = first; row < end; row++) {
            struct complex *out = row_at(f, f->to, row);

            for (size_t k = column; k < column + TILE && k < f->m; k++)
                out[k] = row_at(f, f->from, k)[row];
        }
    }
    f->from = f->to;
    f->to = swapped;
    return team_barrier(&f->team);
}

static int transform(struct fft *f)
{
    int err = transpose(f);

    for (size_t row = first_row(f); row < end_row(f) && err == 0; row++) {
        struct complex *x = row_at(f, f->from, row), step = root_of(row, f->n);
        struct complex turn = {1, 0};

        transform_row(f, x);
        for (size_t k = 0; k < f->m; k++) {
            /* Exact now and then, so that the product does not drift. */
            if (k % 64 == 0)
                turn = root_of((uint64_t)row * k, f->n);
            x[k] = times(x[k], turn);
            turn = times(turn, step);
        }
    }
    if (err == 0)
        err = team_barrier(&f->team);
    if (err == 0)
        err = transpose(f);
    for (size_t row = first_row(f); row < end_row(f) && err == 0; row++)
        transform_row(f, row_at(f, f->from, row));
    if (err == 0)
        err = team_barrier(&f->team);
    return err == 0 ? transpose(f) : err;
}

/* A few frequencies by the definition of the transform; the sum over the points is shared out. */
static int measure_residual(const struct fft *f, double *residual_out)
{
    double sums[2 * VERIFY_FREQUENCIES] = {0}, found[2 * VERIFY_FREQUENCIES] = {0}, worst = 0;
    int err;

    for (uint64_t v = 0; v < VERIFY_FREQUENCIES; v++) {
        uint64_t frequency = mix64(~v) % f->n;
        size_t row = frequency / f->m;

        for (size_t j = first_row(f) * f->m; j < end_row(f) * f->m; j++) {
            struct complex term = times(point(j), root_of(j * frequency, f->n));

            sums[2 * v] += term.re;
            sums[2 * v + 1] += term.im;
        }
        if (row >= first_row(f) && row < end_row(f)) {
            const struct complex *x = &row_at(f, f->from, row)[frequency % f->m];

            found[2 * v] = x->re;
            found[2 * v + 1] = x->im;
        }
    }
    err = team_sum(&f->team, sums, 2 * VERIFY_FREQUENCIES);
    if (err == 0)
        err = team_sum(&f->team, found, 2 * VERIFY_FREQUENCIES);
    for (size_t i = 0; i < 2 * VERIFY_FREQUENCIES; i++)
        if (!(fabs(sums[i] - found[i]) <= worst)) /* a NaN must count */
            worst = fabs(sums[i] - found[i]);
    *residual_out = worst / sqrt((double)f->n);
    return err;
}

static int checksum_rows(const struct fft *f, uint64_t *sum_out)
{
    uint64_t sum = 0, bits[2];
    int err;

    for (size_t row = first_row(f); row < end_row(f); row++) {
        for (size_t k = 0; k < f->m; k++) {
            memcpy(bits, row_at(f, f->from, row) + k, sizeof(bits));
            sum += mix64(bits[0] ^ mix64(bits[1] ^ mix64(row * f->m + k)));
        }
    }
    err = team_sum_u64(&f->team, &sum, 1);
    *sum_out = sum;
    return err;
}

static int run(struct team team, const uint64_t *sizes, bool verify, struct kernel_result *out)
{
    struct fft f = {.team = team, .m = sizes[0], .n = (size_t)sizes[0] * sizes[0]};
    struct kernel_result result = {0};
    void *from = NULL, *to = NULL;
    size_t unit = team_unit_for(f.m * sizeof(struct complex));
    int err;

    if (f.m < 2 || (f.m & (f.m - 1)) != 0)
        return DSM_E_INVAL;
    f.rows = (f.m + team.n_ranks - 1) / team.n_ranks;
    f.stripe_bytes = round_up(f.rows * f.m * sizeof(struct complex), unit);
    f.roots = malloc(f.m / 2 * sizeof(*f.roots));
    if (f.roots == NULL)
        return DSM_E_NOMEM;
    for (size_t k = 0; k < f.m / 2; k++)
        f.roots[k] = root_of(k, f.m);
    err = team_alloc(&f.team, f.stripe_bytes, unit, "fft a", &from);
    if (err == 0)
        err = team_alloc(&f.team, f.stripe_bytes, unit, "fft b", &to);
    f.from = from;
    f.to = to;
    for (size_t row = first_row(&f); row < end_row(&f) && err == 0; row++)
        for (size_t k = 0; k < f.m; k++)
            row_at(&f, f.from, row)[k] = point(row * f.m + k);
    if (err == 0)
        err = team_start_clock(&f.team);
    if (err == 0)
        err = transform(&f);
    if (err == 0)
        err = team_stop_clock(&f.team, &result);
    if (err == 0 && verify) {
        err = measure_residual(&f, &result.residual);
        if (err == 0)
            err = checksum_rows(&f, &result.checksum);
        result.is_verified = result.residual <= TOLERANCE;
    }
    result.iterations = 1;
    team_free(&f.team, to);
    team_free(&f.team, from);
    free(f.roots);
    if (err == 0)
        *out = result;
    return err;
}

const struct kernel kernel_fft = {.name = "fft", .run = run};
