/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * jia_sor - with the calls of JIAJIA: red and black points of a grid relaxed in turn. Each process
 * has a band of rows, dealt to it by jia_alloc3, and reads one row of each neighbour's after every
 * half sweep; how much the points still move is combined under a lock. Compared with the same by
 * process 0 alone.
 *
 * SIZE: rows and columns inside the border; ROUNDS: sweeps.
 */
#include "shapes.h"

#include <dsm/jia.h>

#define OMEGA 1.5

/* Rows [from, to) of one colour; the largest change. */
static double sweep(double *grid, long width, long from, long to, long colour)
{
    double most = 0;

    for (long r = from; r < to; r++)
        for (long c = 1 + (r + colour) % 2; c < width - 1; c += 2) {
            double *p = &grid[r * width + c];
            double change = OMEGA * ((p[-width] + p[width] + p[-1] + p[1]) / 4 - *p);

            *p += change;
            most = fmax(most, fabs(change));
        }
    return most;
}

static void fill(double *grid, long width, long from, long to)
{
    for (long r = from; r < to; r++)
        for (long c = 0; c < width; c++)
            grid[r * width + c] = r == 0 ? 1 : c == 0 ? 0.5 : 0;
}

static void relax(double *grid, double *change, long width, long from, long to, long n_sweeps)
{
    for (long i = 0; i < n_sweeps; i++) {
        double mine = 0;

        for (long colour = 0; colour < 2; colour++) {
            mine = fmax(mine, sweep(grid, width, from, to, colour));
            jia_barrier();
        }
        jia_lock(0);
        change[i] = fmax(change[i], mine);
        jia_unlock(0);
    }
    jia_barrier();
}

/* How far from what one process alone makes of it. */
static double difference(const double *grid, const double *change, long width, long n_sweeps)
{
    double *alone = shapes_private((unsigned long)(width * width), sizeof *alone), most = 0;

    fill(alone, width, 0, width);
    for (long i = 0; i < n_sweeps; i++) {
        double both = sweep(alone, width, 1, width - 1, 0);

        both = fmax(both, sweep(alone, width, 1, width - 1, 1));
        most = fmax(most, fabs(both - change[i]));
    }
    for (long i = 0; i < width * width; i++)
        most = fmax(most, fabs(alone[i] - grid[i]));
    free(alone);
    return most;
}

int main(int argc, char **argv)
{
    long n_workers, width, n_sweeps, n_rows, from, to;
    double *grid, *change, began, took;
    int status = 0;

    jia_init(argc, argv);
    n_workers = shapes_argument(argc, argv, 1, "WORKERS", jiahosts, jiahosts);
    width = shapes_argument(argc, argv, 2, "SIZE", n_workers, 8000) + 2;
    n_sweeps = shapes_argument(argc, argv, 3, "ROUNDS", 1, 1000000);
    n_rows = (width + n_workers - 1) / n_workers;
    grid =
        (double *)jia_alloc3((int)(n_workers * n_rows * width) * 8, (int)(n_rows * width) * 8, 0);
    change = (double *)jia_alloc((int)n_sweeps * 8);
    from = jiapid * n_rows < width ? jiapid * n_rows : width;
    to = from + n_rows < width ? from + n_rows : width;
    fill(grid, width, from, to);
    jia_barrier();
    began = shapes_seconds();
    relax(grid, change, width, from > 0 ? from : 1, to < width ? to : width - 1, n_sweeps);
    took = shapes_seconds() - began;
    if (jiapid == 0)
        status = shapes_say("a point", difference(grid, change, width, n_sweeps), 1e-12, took);
    jia_exit();
    return status;
}
