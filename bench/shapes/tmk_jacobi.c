/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tmk_jacobi - with the calls of TreadMarks: a grid smoothed from one copy into the other and back.
 * Two barriers for each round; the last change is summed under a lock. Compared with the same by
 * process 0 alone.
 *
 * SIZE: rows and columns inside the border; ROUNDS: how often.
 */
#include "shapes.h"

#include <dsm/Tmk.h>

/* What all processes know, by Tmk_distribute. */
struct grids {
    double *one, *other, *change;
};
static struct grids grids;

static double smooth(double *to_grid, const double *grid, long width, long from, long to)
{
    double change = 0;

    for (long r = from; r < to; r++)
        for (long c = 1; c < width - 1; c++) {
            const double *p = &grid[r * width + c];

            to_grid[r * width + c] = (p[-width] + p[width] + p[-1] + p[1]) / 4;
            change += fabs(to_grid[r * width + c] - *p);
        }
    return change;
}

/* Both have the border. */
static void fill(const struct grids *g, long width)
{
    for (long i = 0; i < width; i++) {
        g->one[i] = g->other[i] = 1;
        g->one[i * width] = g->other[i * width] = 0.5;
    }
}

static void *shared(unsigned long bytes)
{
    return shapes_checked(Tmk_malloc((unsigned)bytes), bytes);
}

static double work(long width, long n_rounds)
{
    long from = 1 + shapes_share(width - 2, Tmk_nprocs, Tmk_proc_id);
    long to = 1 + shapes_share(width - 2, Tmk_nprocs, Tmk_proc_id + 1);
    double *now = grids.one, *next = grids.other, mine = 0;

    for (long i = 0; i < n_rounds; i++) {
        double *before = now;

        mine = smooth(next, now, width, from, to);
        Tmk_barrier(0);
        now = next;
        next = before;
    }
    Tmk_lock_acquire(0);
    *grids.change += mine;
    Tmk_lock_release(0);
    Tmk_barrier(1);
    return *grids.change;
}

static double difference(long width, long n_rounds, double change)
{
    unsigned long n = (unsigned long)(width * width);
    struct grids g = {shapes_private(n, 8), shapes_private(n, 8), NULL};
    double alone = 0, most = 0;

    fill(&g, width);
    for (long i = 0; i < n_rounds; i++)
        alone = smooth(i % 2 ? g.one : g.other, i % 2 ? g.other : g.one, width, 1, width - 1);
    for (unsigned long i = 0; i < n; i++)
        most = fmax(most, fmax(fabs(g.one[i] - grids.one[i]), fabs(g.other[i] - grids.other[i])));
    free(g.one);
    free(g.other);
    return fmax(most, fabs(alone - change) / fmax(alone, 1));
}

int main(int argc, char **argv)
{
    long width, n_rounds;
    double began, took, change;
    int status = 0;

    Tmk_startup(argc, argv);
    shapes_argument(argc, argv, 1, "WORKERS", (long)Tmk_nprocs, (long)Tmk_nprocs);
    width = shapes_argument(argc, argv, 2, "SIZE", (long)Tmk_nprocs, 8000) + 2;
    n_rounds = shapes_argument(argc, argv, 3, "ROUNDS", 1, 1000000);
    if (Tmk_proc_id == 0) {
        grids.one = shared((unsigned long)(width * width) * 8);
        grids.other = shared((unsigned long)(width * width) * 8);
        grids.change = shared(8);
        fill(&grids, width);
        Tmk_distribute(&grids, sizeof grids);
    }
    Tmk_barrier(0);
    began = shapes_seconds();
    change = work(width, n_rounds);
    took = shapes_seconds() - began;
    if (Tmk_proc_id == 0)
        status = shapes_say("a point", difference(width, n_rounds, change), 1e-9, took);
    Tmk_exit(status);
    return status;
}
