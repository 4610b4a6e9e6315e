/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lu.c - blocked LU factorisation, no pivoting.
 *
 * Layout: the matrix is cut into tiles; tile (i, j) belongs to one rank of a grid of ranks, and
 * each rank's tiles lie together in its own stripe, column by column. So a tile has one writer, no
 * page is shared by the tiles of two ranks, and the tiles of L's column that a step needs from
 * another rank are one run of memory. Tiles are column-major inside. After the step that finishes
 * it a tile is only read, so nothing is ever taken back from a reader.
 *
 * Step k: the owner factors the diagonal tile; barrier; the owners of row and column k solve
 * against it; barrier; everybody updates his tiles of the rest. The next diagonal tile is factored
 * by the rank that has just updated it, so that there is no third barrier.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "team.h"

#define VERIFY_VECTORS 2

struct lu {
    struct team team;
    size_t n, block, n_tiles;
    uint32_t grid_rows, grid_cols;
    size_t stripe_rows; /* tiles in a column of one rank's stripe */
    size_t stripe_bytes;
    size_t tile_bytes;
    char *base;
};

static uint32_t owner_of(const struct lu *lu, size_t i, size_t j)
{
    return (uint32_t)(i % lu->grid_rows) * lu->grid_cols + (uint32_t)(j % lu->grid_cols);
}

static double *tile_at(const struct lu *lu, size_t i, size_t j)
{
    size_t index = j / lu->grid_cols * lu->stripe_rows + i / lu->grid_rows;

    return (double *)(void *)(lu->base + owner_of(lu, i, j) * lu->stripe_bytes +
                              index * lu->tile_bytes);
}

/* The matrix before factoring; diagonally dominant, so that no pivoting is needed. */
static double element(const struct lu *lu, size_t row, size_t col)
{
    return mix_unit(row * lu->n + col) + (row == col ? (double)lu->n : 0.0);
}

/* The grid nearest to a square whose rows divide the ranks. */
static void choose_grid(struct lu *lu)
{
    uint32_t rows = (uint32_t)sqrt((double)lu->team.n_ranks);

    while (lu->team.n_ranks % rows != 0)
        rows--;
    lu->grid_rows = rows;
    lu->grid_cols = lu->team.n_ranks / rows;
}

/* ---- on tiles, all column-major, b x b ------------------------------------------------------ */

/* Factors a in place: unit lower triangle L, upper triangle U. */
static void factor_tile(double *restrict a, size_t b)
{
    for (size_t k = 0; k < b; k++) {
        for (size_t i = k + 1; i < b; i++)
            a[k * b + i] /= a[k * b + k];
        for (size_t j = k + 1; j < b; j++) {
            double factor = a[j * b + k];

            for (size_t i = k + 1; i < b; i++)
                a[j * b + i] -= a[k * b + i] * factor;
        }
    }
}

/* a := L^-1 a, with L the unit lower triangle of diagonal. */
static void solve_row_tile(double *restrict a, const double *restrict diagonal, size_t b)
{
    for (size_t j = 0; j < b; j++) {
        for (size_t k = 0; k < b; k++) {
            double factor = a[j * b + k];

            for (size_t i = k + 1; i < b; i++)
                a[j * b + i] -= diagonal[k * b + i] * factor;
        }
    }
}

/* a := a U^-1, with U the upper triangle of diagonal. */
static void solve_column_tile(double *restrict a, const double *restrict diagonal, size_t b)
{
    for (size_t k = 0; k < b; k++) {
        double pivot = diagonal[k * b + k];

        for (size_t i = 0; i < b; i++)
            a[k * b + i] /= pivot;
        for (size_t j = k + 1; j < b; j++) {
            double factor = diagonal[j * b + k];

            for (size_t i = 0; i < b; i++)
                a[j * b + i] -= a[k * b + i] * factor;
        }
    }
}

/* c := c - left * upper. Four columns of left at a time, so that c is loaded a quarter as often. */
static void update_tile(double *restrict c, const double *restrict left,
                        const double *restrict upper, size_t b)
{
    for (size_t j = 0; j < b; j++) {
        const double *restrict u = upper + j * b;
        double *restrict column = c + j * b;
        size_t k = 0;

        for (; k + 4 <= b; k += 4) {
            const double *restrict l = left + k * b;

            for (size_t i = 0; i < b; i++)
                column[i] -= l[i] * u[k] + l[b + i] * u[k + 1] + l[2 * b + i] * u[k + 2] +
                             l[3 * b + i] * u[k + 3];
        }
        for (; k < b; k++)
            for (size_t i = 0; i < b; i++)
                column[i] -= left[k * b + i] * u[k];
    }
}

/* ---- the factorisation ---------------------------------------------------------------------- */

static void fill(const struct lu *lu)
{
    for (size_t tj = 0; tj < lu->n_tiles; tj++) {
        for (size_t ti = 0; ti < lu->n_tiles; ti++) {
            double *tile = tile_at(lu, ti, tj);

            if (owner_of(lu, ti, tj) != lu->team.rank)
                continue;
            for (size_t j = 0; j < lu->block; j++)
                for (size_t i = 0; i < lu->block; i++)
                    tile[j * lu->block + i] = element(lu, ti * lu->block + i, tj * lu->block + j);
        }
    }
}

/* Asks for the tiles of column k and row k, below and right of the diagonal, that this rank's
 * updates read and others own. Of a column they are runs, one for each owner. */
static void prefetch_panels(const struct lu *lu, size_t k)
{
    uint32_t my_row = lu->team.rank / lu->grid_cols;
    uint32_t my_col = lu->team.rank % lu->grid_cols;
    size_t first_row = k + 1 + (my_row + lu->grid_rows - (k + 1) % lu->grid_rows) % lu->grid_rows;
    size_t first_col = k + 1 + (my_col + lu->grid_cols - (k + 1) % lu->grid_cols) % lu->grid_cols;

    /* Only tiles of rows that are mine: all in one stripe, one after the other. */
    if (first_row < lu->n_tiles && owner_of(lu, first_row, k) != lu->team.rank) {
        size_t count = (lu->n_tiles - 1 - first_row) / lu->grid_rows + 1;

        team_prefetch(&lu->team, tile_at(lu, first_row, k), count * lu->tile_bytes, DSM_READ);
    }
    for (size_t j = first_col; j < lu->n_tiles; j += lu->grid_cols) {
        if (owner_of(lu, k, j) == lu->team.rank)
            break; /* the whole row k of these columns is this rank's */
        team_prefetch(&lu->team, tile_at(lu, k, j), lu->tile_bytes, DSM_READ);
    }
}

static int factor(const struct lu *lu)
{
    size_t b = lu->block;
    int err;

    for (size_t k = 0; k < lu->n_tiles; k++) {
        double *diagonal = tile_at(lu, k, k);

        if (owner_of(lu, k, k) == lu->team.rank)
            factor_tile(diagonal, b);
        err = team_barrier(&lu->team);
        if (err < 0)
            return err;
        for (size_t i = k + 1; i < lu->n_tiles; i++)
            if (owner_of(lu, i, k) == lu->team.rank)
                solve_column_tile(tile_at(lu, i, k), diagonal, b);
        for (size_t j = k + 1; j < lu->n_tiles; j++)
            if (owner_of(lu, k, j) == lu->team.rank)
                solve_row_tile(tile_at(lu, k, j), diagonal, b);
        err = team_barrier(&lu->team);
        if (err < 0)
            return err;
        prefetch_panels(lu, k);
        for (size_t j = k + 1; j < lu->n_tiles; j++)
            for (size_t i = k + 1; i < lu->n_tiles; i++)
                if (owner_of(lu, i, j) == lu->team.rank)
                    update_tile(tile_at(lu, i, j), tile_at(lu, i, k), tile_at(lu, k, j), b);
    }
    return 0;
}

/* ---- verification --------------------------------------------------------------------------- */

/* y += (upper or unit lower triangle) x, over the tiles of this rank. */
static void multiply_triangle(const struct lu *lu, bool is_upper, const double *x, double *y)
{
    size_t b = lu->block;

    for (size_t tj = 0; tj < lu->n_tiles; tj++) {
        for (size_t ti = 0; ti < lu->n_tiles; ti++) {
            const double *tile = tile_at(lu, ti, tj);

            if (owner_of(lu, ti, tj) != lu->team.rank || (is_upper ? ti > tj : ti < tj))
                continue;
            for (size_t j = 0; j < b; j++) {
                size_t col = tj * b + j;

                for (size_t i = 0; i < b; i++) {
                    size_t row = ti * b + i;

                    if (is_upper ? row <= col : row > col)
                        y[row] += tile[j * b + i] * x[col];
                    else if (!is_upper && row == col)
                        y[row] += x[col];
                }
            }
        }
    }
}

/* The largest |A x - L (U x)| over the largest |A x|, over the whole matrix. */
static int measure_residual(const struct lu *lu, double *residual_out)
{
    size_t n = lu->n;
    double *x = calloc(n * 4, sizeof(double));
    double *ax = x + n, *ux = x + 2 * n, *lux = x + 3 * n;
    double worst = 0;
    int err = 0;

    if (x == NULL)
        return DSM_E_NOMEM;
    for (uint64_t vector = 0; vector < VERIFY_VECTORS && err == 0; vector++) {
        double norm = 0, difference = 0;

        memset(ax, 0, 3 * n * sizeof(double));
        for (size_t i = 0; i < n; i++)
            x[i] = mix_unit(~(vector << 32) - i);
        for (size_t row = lu->team.rank; row < n; row += lu->team.n_ranks)
            for (size_t col = 0; col < n; col++)
                ax[row] += element(lu, row, col) * x[col];
        multiply_triangle(lu, true, x, ux);
        err = team_sum(&lu->team, ux, n);
        if (err == 0) {
            multiply_triangle(lu, false, ux, lux);
            err = team_sum(&lu->team, ax, n);
        }
        if (err == 0)
            err = team_sum(&lu->team, lux, n);
        for (size_t i = 0; i < n && err == 0; i++) {
            norm = fmax(norm, fabs(ax[i]));
            /* Not fmax: a NaN must count. */
            if (!(fabs(ax[i] - lux[i]) <= difference))
                difference = fabs(ax[i] - lux[i]);
        }
        if (!(difference / norm <= worst))
            worst = difference / norm;
    }
    free(x);
    if (err == 0)
        *residual_out = worst;
    return err;
}

static int checksum_tiles(const struct lu *lu, uint64_t *sum_out)
{
    uint64_t sum = 0;
    size_t tile_words = lu->block * lu->block;
    int err;

    for (size_t tj = 0; tj < lu->n_tiles; tj++) {
        for (size_t ti = 0; ti < lu->n_tiles; ti++) {
            if (owner_of(lu, ti, tj) != lu->team.rank)
                continue;
            for (size_t w = 0; w < tile_words; w++) {
                uint64_t bits, index = (tj * lu->n_tiles + ti) * tile_words + w;

                memcpy(&bits, tile_at(lu, ti, tj) + w, sizeof(bits));
                sum += mix64(bits ^ mix64(index));
            }
        }
    }
    err = team_sum_u64(&lu->team, &sum, 1);
    if (err == 0)
        *sum_out = sum;
    return err;
}

/* ---- the calls ------------------------------------------------------------------------------ */

static int run(struct team team, size_t n, size_t block, bool verify, struct kernel_result *out)
{
    struct lu lu = {.team = team, .n = n, .block = block};
    struct kernel_result result = {0};
    size_t stripe_cols, unit;
    void *base;
    int err;

    if (n == 0 || block == 0 || n % block != 0)
        return DSM_E_INVAL;
    lu.n_tiles = n / block;
    lu.tile_bytes = block * block * sizeof(double);
    choose_grid(&lu);
    unit = team_unit_for(lu.tile_bytes);
    lu.stripe_rows = (lu.n_tiles + lu.grid_rows - 1) / lu.grid_rows;
    stripe_cols = (lu.n_tiles + lu.grid_cols - 1) / lu.grid_cols;
    lu.stripe_bytes = round_up(lu.stripe_rows * stripe_cols * lu.tile_bytes, unit);
    err = team_alloc(&lu.team, lu.stripe_bytes, unit, "lu", &base);
    if (err < 0)
        return err;
    lu.base = base;
    fill(&lu);
    err = team_start_clock(&lu.team);
    if (err == 0)
        err = factor(&lu);
    if (err == 0)
        err = team_stop_clock(&lu.team, &result);
    if (err == 0 && verify) {
        err = measure_residual(&lu, &result.residual);
        if (err == 0)
            err = checksum_tiles(&lu, &result.checksum);
        result.is_verified = result.residual <= 16.0 * (double)n * DBL_EPSILON;
    }
    result.iterations = (unsigned)lu.n_tiles;
    team_free(&lu.team, base);
    if (err == 0)
        *out = result;
    return err;
}

static int run_sizes(struct team team, const uint64_t *sizes, bool verify,
                     struct kernel_result *out)
{
    return run(team, sizes[0], sizes[1], verify, out);
}

const struct kernel kernel_lu_any = {.name = "lu", .run = run_sizes};

int kernel_lu(size_t n, size_t block, bool verify, struct kernel_result *out)
{
    return run(team_of_job(), n, block, verify, out);
}

int kernel_lu_sequential(size_t n, size_t block, bool verify, struct kernel_result *out)
{
    return run(team_of_one(), n, block, verify, out);
}
