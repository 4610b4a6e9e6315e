/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * jia_multiply - with the calls of JIAJIA: C = A B. Each process fills and owns a band of rows of
 * all three and reads the whole of B, so every page goes to everybody once. Each compares its rows
 * with A (B 1), and what is wrong is counted under a lock.
 *
 * SIZE: rows and columns; ROUNDS: how often, after B was filled again.
 */
#include "shapes.h"

#include <dsm/jia.h>

struct matrices {
    double *a, *b, *c;
    long n, from, to; /* rows of this process */
};

/* Small whole numbers: the sums are exact. */
static void fill(double *matrix, const struct matrices *m, long seed)
{
    for (long i = m->from * m->n; i < m->to * m->n; i++)
        matrix[i] = (double)(shapes_mix((uint64_t)(i + seed)) % 8);
}

/* restrict: a compiler that sees the memory come from calloc would otherwise make more of this loop
 * than one that does not, and the two builds would differ by more than the library. */
static void multiply_row(double *restrict to, const double *restrict row, const double *restrict b,
                         long n)
{
    for (long c = 0; c < n; c++)
        to[c] = 0;
    for (long k = 0; k < n; k++)
        for (long c = 0; c < n; c++)
            to[c] += row[k] * b[k * n + c];
}

static void multiply(const struct matrices *m)
{
    for (long r = m->from; r < m->to; r++)
        multiply_row(&m->c[r * m->n], &m->a[r * m->n], m->b, m->n);
}

/* Rows of this process whose sum is not that of A (B 1). */
static double count_wrong(const struct matrices *m)
{
    double *sum = shapes_private((unsigned long)m->n, sizeof *sum), n_wrong = 0;

    for (long k = 0; k < m->n; k++)
        for (long c = 0; c < m->n; c++)
            sum[k] += m->b[k * m->n + c];
    for (long r = m->from; r < m->to; r++) {
        double wanted = 0, got = 0;

        for (long c = 0; c < m->n; c++) {
            wanted += m->a[r * m->n + c] * sum[c];
            got += m->c[r * m->n + c];
        }
        n_wrong += wanted != got;
    }
    free(sum);
    return n_wrong;
}

int main(int argc, char **argv)
{
    long n_workers, n_rounds, band;
    double *n_wrong, began, took = 0, mine = 0;
    struct matrices m;
    int status = 0;

    jia_init(argc, argv);
    n_workers = shapes_argument(argc, argv, 1, "WORKERS", jiahosts, jiahosts);
    m.n = shapes_argument(argc, argv, 2, "SIZE", n_workers, 8000);
    n_rounds = shapes_argument(argc, argv, 3, "ROUNDS", 1, 1000000);
    band = (int)((m.n + n_workers - 1) / n_workers * m.n * 8);
    m.a = (double *)jia_alloc3((int)(n_workers * band), (int)band, 0);
    m.b = (double *)jia_alloc3((int)(n_workers * band), (int)band, 0);
    m.c = (double *)jia_alloc3((int)(n_workers * band), (int)band, 0);
    n_wrong = (double *)jia_alloc(sizeof *n_wrong);
    m.from = shapes_share(m.n, n_workers, jiapid);
    m.to = shapes_share(m.n, n_workers, jiapid + 1);
    fill(m.a, &m, 0);
    for (long round = 0; round < n_rounds; round++) {
        fill(m.b, &m, (round + 1) * m.n * m.n);
        jia_barrier();
        began = shapes_seconds();
        multiply(&m);
        jia_barrier();
        took += shapes_seconds() - began;
        mine += count_wrong(&m);
        jia_barrier();
    }
    jia_lock(0);
    *n_wrong += mine;
    jia_unlock(0);
    jia_barrier();
    if (jiapid == 0)
        status = shapes_say("the number of rows", *n_wrong, 0, took);
    jia_exit();
    return status;
}
