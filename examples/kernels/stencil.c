/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stencil.c - red-black Gauss-Seidel sweeps, each cell becoming the mean of its four neighbours.
 *
 * Layout: red cells (row + column even) and black cells in two arrays. A sweep writes one array and
 * reads the other, so a row at the edge of a stripe is never written while a neighbour reads it,
 * and the loops run over consecutive memory. Rows are dealt in stripes; a stripe starts on a unit
 * of its own.
 *
 * Of the other ranks a sweep needs one row above and one below: asked for first, used last, after
 * the rows inside. The own edge rows, which the neighbours read in the last sweep, are asked for
 * writing in the same way.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "team.h"

enum color { RED, BLACK };

struct stencil {
    struct team team;
    size_t n;
    size_t half; /* cells of one colour in a row */
    size_t stripe_bytes;
    char *cells[2];
};

static size_t first_row(const struct stencil *s, uint32_t rank)
{
    return s->n * rank / s->team.n_ranks;
}

static uint32_t rank_of_row(const struct stencil *s, size_t row)
{
    uint32_t rank = (uint32_t)(row * s->team.n_ranks / s->n);

    while (row < first_row(s, rank))
        rank--;
    while (row >= first_row(s, rank + 1))
        rank++;
    return rank;
}

static double *row_at(const struct stencil *s, enum color color, size_t row)
{
    uint32_t rank = rank_of_row(s, row);

    return (double *)(void *)(s->cells[color] + rank * s->stripe_bytes) +
           (row - first_row(s, rank)) * s->half;
}

static double initial(size_t n, size_t row, size_t col)
{
    return 0.5 + 0.5 * mix_unit(row * n + col);
}

/* The edges round the grid: hot above, cold elsewhere. */
#define EDGE_TOP   1.0
#define EDGE_OTHER 0.0

/*
 * One row of one colour: up, down and side hold the other colour's cells of the rows above, below
 * and of this one. is_shifted: the first cell of this colour is in the second column, so that its
 * neighbours to the left and right are side[c] and side[c + 1]; else side[c - 1] and side[c].
 */
static void sweep_row(double *restrict row, const double *restrict up, const double *restrict down,
                      const double *restrict side, size_t half, bool is_shifted)
{
    if (is_shifted) {
        for (size_t c = 0; c + 1 < half; c++)
            row[c] = 0.25 * ((up[c] + down[c]) + (side[c] + side[c + 1]));
        row[half - 1] = 0.25 * ((up[half - 1] + down[half - 1]) + (side[half - 1] + EDGE_OTHER));
    } else {
        row[0] = 0.25 * ((up[0] + down[0]) + (EDGE_OTHER + side[0]));
        for (size_t c = 1; c < half; c++)
            row[c] = 0.25 * ((up[c] + down[c]) + (side[c - 1] + side[c]));
    }
}

static void sweep_one(const struct stencil *s, enum color color, size_t row, const double *top,
                      const double *bottom)
{
    enum color other = color == RED ? BLACK : RED;

    sweep_row(row_at(s, color, row), row > 0 ? row_at(s, other, row - 1) : top,
              row + 1 < s->n ? row_at(s, other, row + 1) : bottom, row_at(s, other, row), s->half,
              (row + (color == BLACK)) % 2 != 0);
}

static int iterate(const struct stencil *s, unsigned iterations, const double *top,
                   const double *bottom)
{
    size_t begin = first_row(s, s->team.rank), end = first_row(s, s->team.rank + 1);
    size_t row_bytes = s->half * sizeof(double);
    int err = 0;

    for (unsigned half_sweep = 0; half_sweep < 2 * iterations && err == 0; half_sweep++) {
        enum color color = half_sweep % 2 == 0 ? RED : BLACK;
        enum color other = color == RED ? BLACK : RED;

        if (begin > 0 && begin < end) {
            team_prefetch(&s->team, row_at(s, other, begin - 1), row_bytes, DSM_READ);
            team_prefetch(&s->team, row_at(s, color, begin), row_bytes, DSM_WRITE);
        }
        if (end < s->n && begin < end) {
            team_prefetch(&s->team, row_at(s, other, end), row_bytes, DSM_READ);
            team_prefetch(&s->team, row_at(s, color, end - 1), row_bytes, DSM_WRITE);
        }
        for (size_t row = begin + 1; row + 1 < end; row++)
            sweep_one(s, color, row, top, bottom);
        if (begin < end)
            sweep_one(s, color, begin, top, bottom);
        if (begin + 1 < end)
            sweep_one(s, color, end - 1, top, bottom);
        err = team_barrier(&s->team);
    }
    return err;
}

static void fill(const struct stencil *s)
{
    size_t end = first_row(s, s->team.rank + 1);

    for (size_t row = first_row(s, s->team.rank); row < end; row++) {
        for (size_t col = 0; col < s->n; col++) {
            enum color color = (row + col) % 2 == 0 ? RED : BLACK;

            row_at(s, color, row)[col / 2] = initial(s->n, row, col);
        }
    }
}

static int open_stencil(struct stencil *s, struct team team, size_t n)
{
    size_t row_bytes = n / 2 * sizeof(double);
    size_t unit = team_unit_for(row_bytes);
    void *red = NULL, *black = NULL;
    int err;

    *s = (struct stencil){.team = team, .n = n, .half = n / 2};
    s->stripe_bytes = round_up((n + team.n_ranks - 1) / team.n_ranks * row_bytes, unit);
    err = team_alloc(&s->team, s->stripe_bytes, unit, "stencil red", &red);
    if (err == 0)
        err = team_alloc(&s->team, s->stripe_bytes, unit, "stencil black", &black);
    if (err < 0) {
        team_free(&s->team, red);
        return err;
    }
    s->cells[RED] = red;
    s->cells[BLACK] = black;
    fill(s);
    return 0;
}

static void close_stencil(struct stencil *s)
{
    team_free(&s->team, s->cells[BLACK]);
    team_free(&s->team, s->cells[RED]);
}

/* ---- verification --------------------------------------------------------------------------- */

/* The same sweeps by a loop over an ordinary grid with its edges. */
static double *plain_grid(size_t n, unsigned iterations)
{
    size_t width = n + 2;
    double *grid = calloc(width * width, sizeof(double));

    if (grid == NULL)
        return NULL;
    for (size_t j = 0; j < width; j++)
        grid[j] = EDGE_TOP;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            grid[(i + 1) * width + j + 1] = initial(n, i, j);
    for (unsigned half_sweep = 0; half_sweep < 2 * iterations; half_sweep++) {
        for (size_t i = 0; i < n; i++) {
            for (size_t j = (i + half_sweep) % 2; j < n; j += 2) {
                double *cell = grid + (i + 1) * width + j + 1;

                *cell = 0.25 * ((cell[-(ptrdiff_t)width] + cell[width]) + (cell[-1] + cell[1]));
            }
        }
    }
    return grid;
}

/* Rank 0 reads every cell of every rank. The largest difference goes to all. */
static int compare_with_plain(const struct stencil *s, unsigned iterations, double *worst_out)
{
    double worst = 0;
    int err = 0;

    if (s->team.rank == 0) {
        double *grid = plain_grid(s->n, iterations);

        if (grid == NULL)
            worst = INFINITY;
        for (size_t row = 0; row < s->n && grid != NULL; row++) {
            const double *cells[2] = {row_at(s, RED, row), row_at(s, BLACK, row)};

            for (size_t col = 0; col < s->n; col++) {
                double mine = cells[(row + col) % 2][col / 2];
                double plain = grid[(row + 1) * (s->n + 2) + col + 1];

                /* Not fmax: a NaN must count. */
                if (!(fabs(mine - plain) <= worst))
                    worst = fabs(mine - plain);
            }
        }
        free(grid);
    }
    err = team_bcast(&s->team, &worst, sizeof(worst));
    if (err == 0)
        *worst_out = worst;
    return err;
}

/* ---- the calls ------------------------------------------------------------------------------ */

static int run(struct team team, size_t n, unsigned iterations, bool verify,
               struct kernel_result *out)
{
    struct stencil s;
    struct kernel_result result = {.iterations = iterations};
    double *edges;
    int err;

    if (n < 2 || n % 2 != 0)
        return DSM_E_INVAL;
    edges = calloc(n, sizeof(double)); /* top, then bottom: n/2 cells each */
    if (edges == NULL)
        return DSM_E_NOMEM;
    for (size_t c = 0; c < n / 2; c++) {
        edges[c] = EDGE_TOP;
        edges[n / 2 + c] = EDGE_OTHER;
    }
    err = open_stencil(&s, team, n);
    if (err < 0) {
        free(edges);
        return err;
    }
    err = team_start_clock(&s.team);
    if (err == 0)
        err = iterate(&s, iterations, edges, edges + n / 2);
    if (err == 0)
        err = team_stop_clock(&s.team, &result);
    if (err == 0 && verify) {
        err = compare_with_plain(&s, iterations, &result.residual);
        result.is_verified = result.residual == 0;
    }
    close_stencil(&s);
    free(edges);
    if (err == 0)
        *out = result;
    return err;
}

static int run_sizes(struct team team, const uint64_t *sizes, bool verify,
                     struct kernel_result *out)
{
    return run(team, sizes[0], (unsigned)sizes[1], verify, out);
}

const struct kernel kernel_stencil_any = {.name = "stencil", .run = run_sizes};

int kernel_stencil(size_t n, unsigned iterations, bool verify, struct kernel_result *out)
{
    return run(team_of_job(), n, iterations, verify, out);
}

int kernel_stencil_sequential(size_t n, unsigned iterations, bool verify, struct kernel_result *out)
{
    return run(team_of_one(), n, iterations, verify, out);
}
