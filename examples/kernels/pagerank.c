/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pagerank.c - PageRank by pulling along incoming edges.
 *
 * Layout: vertices are dealt in contiguous ranges of about equal work (vertices plus edges). In
 * every shared array a rank's vertices lie in a stripe of their own, on pages that nobody else
 * writes; edges name their sources by place in the stripes, so nothing is looked up. What a vertex
 * hands to each of its targets (its rank over its out-degree) is kept twice and alternately: a step
 * reads one half and writes the other. The graph is written once, by rank 0, and then only read.
 *
 * A step asks for the others' stripes of the half it reads and for its own stripe of the half it
 * writes (the others have read it), and ends in one reduction of two numbers, which is the barrier
 * as well: nobody gets the sum before everybody has written.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "team.h"

#define DAMPING        0.85
#define RESIDUAL_BOUND 1e-12
#define SUM_BOUND      1e-9
#define PAGE_BYTES     4096u
/* What is exchanged in every step moves in larger units: a quarter of the messages. */
#define EXCHANGED_UNIT_BYTES 16384u

struct pagerank {
    struct team team;
    uint32_t n_vertices;
    uint32_t n_edges;
    uint32_t stripe_slots;  /* places for vertices in a stripe: pages of doubles, for all arrays */
    uint32_t *first_vertex; /* [n_ranks + 1] */
    uint32_t *in_start;     /* [stripe_slots] in each stripe: first edge of the vertex */
    uint32_t *in_end;
    double *inverse_degree; /* 0 for vertices without outgoing edges */
    double *rank;
    double *handed[2];
    uint32_t *in_source; /* [n_edges]: places */
};

static uint32_t slot_of(const struct pagerank *p, uint32_t owner, uint32_t vertex)
{
    return owner * p->stripe_slots + (vertex - p->first_vertex[owner]);
}

/* Rank 0 cuts the vertices into ranges of equal work. */
static void partition(struct pagerank *p, const struct kernel_graph *graph)
{
    uint64_t total = (uint64_t)p->n_vertices + p->n_edges;
    uint32_t vertex = 0;

    for (uint32_t owner = 0; owner < p->team.n_ranks; owner++) {
        p->first_vertex[owner] = vertex;
        while (vertex < p->n_vertices &&
               (uint64_t)vertex + graph->in_start[vertex] < total * (owner + 1) / p->team.n_ranks)
            vertex++;
    }
    p->first_vertex[p->team.n_ranks] = p->n_vertices;
}

/* Rank 0 writes the graph into the shared arrays. */
static int write_graph(struct pagerank *p, const struct kernel_graph *graph)
{
    uint32_t *slot = malloc(((size_t)p->n_vertices + 1) * sizeof(*slot));

    if (slot == NULL)
        return DSM_E_NOMEM;
    for (uint32_t owner = 0; owner < p->team.n_ranks; owner++)
        for (uint32_t v = p->first_vertex[owner]; v < p->first_vertex[owner + 1]; v++)
            slot[v] = slot_of(p, owner, v);
    for (uint32_t v = 0; v < p->n_vertices; v++) {
        uint32_t degree = graph->out_degree[v];

        p->in_start[slot[v]] = graph->in_start[v];
        p->in_end[slot[v]] = graph->in_start[v + 1];
        p->inverse_degree[slot[v]] = degree > 0 ? 1.0 / degree : 0.0;
    }
    for (uint32_t e = 0; e < p->n_edges; e++)
        p->in_source[e] = slot[graph->in_source[e]];
    free(slot);
    return 0;
}

static void close_pagerank(struct pagerank *p)
{
    team_free(&p->team, p->in_source);
    team_free(&p->team, p->handed[1]);
    team_free(&p->team, p->handed[0]);
    team_free(&p->team, p->rank);
    team_free(&p->team, p->inverse_degree);
    team_free(&p->team, p->in_end);
    team_free(&p->team, p->in_start);
    free(p->first_vertex);
}

static int alloc_arrays(struct pagerank *p)
{
    const struct team *team = &p->team;
    size_t of_doubles = p->stripe_slots * sizeof(double);
    size_t of_starts = p->stripe_slots * sizeof(uint32_t);
    size_t of_edges =
        round_up(((size_t)p->n_edges / team->n_ranks + 1) * sizeof(uint32_t), PAGE_BYTES);
    void *addr;
    int err;

#define ARRAY(field, stripe, unit)                                                                 \
    err = team_alloc(team, stripe, unit, "pagerank " #field, &addr);                               \
    if (err < 0)                                                                                   \
        return err;                                                                                \
    p->field = addr
    ARRAY(in_start, of_starts, PAGE_BYTES);
    ARRAY(in_end, of_starts, PAGE_BYTES);
    ARRAY(inverse_degree, of_doubles, PAGE_BYTES);
    ARRAY(rank, of_doubles, PAGE_BYTES);
    ARRAY(handed[0], of_doubles, EXCHANGED_UNIT_BYTES);
    ARRAY(handed[1], of_doubles, EXCHANGED_UNIT_BYTES);
    ARRAY(in_source, of_edges, PAGE_BYTES);
#undef ARRAY
    return 0;
}

/* Collective. The graph is rank 0's. */
static int open_pagerank(struct pagerank *p, struct team team, const struct kernel_graph *graph)
{
    uint32_t sizes[2] = {0, 0}, largest = 0;
    int err;

    *p = (struct pagerank){.team = team};
    p->first_vertex = calloc((size_t)team.n_ranks + 1, sizeof(*p->first_vertex));
    if (p->first_vertex == NULL)
        return DSM_E_NOMEM;
    if (team.rank == 0) {
        sizes[0] = graph->n_vertices;
        sizes[1] = graph->in_start[graph->n_vertices];
    }
    err = team_bcast(&p->team, sizes, sizeof(sizes));
    p->n_vertices = sizes[0];
    p->n_edges = sizes[1];
    if (err == 0 && team.rank == 0)
        partition(p, graph);
    if (err == 0)
        err = team_bcast(&p->team, p->first_vertex,
                         ((size_t)team.n_ranks + 1) * sizeof(*p->first_vertex));
    for (uint32_t owner = 0; owner < team.n_ranks; owner++)
        if (p->first_vertex[owner + 1] - p->first_vertex[owner] > largest)
            largest = p->first_vertex[owner + 1] - p->first_vertex[owner];
    /* Stripes of the smaller type end on a unit, so those of both do. */
    p->stripe_slots =
        (uint32_t)round_up((size_t)largest + 1, EXCHANGED_UNIT_BYTES / sizeof(uint32_t));
    if (err == 0)
        err = alloc_arrays(p);
    if (err == 0 && team.rank == 0)
        err = write_graph(p, graph);
    if (err == 0)
        err = team_barrier(&p->team);
    if (err < 0)
        close_pagerank(p);
    return err;
}

/* Vertices of this rank: count and first place. */
static uint32_t my_count(const struct pagerank *p)
{
    return p->first_vertex[p->team.rank + 1] - p->first_vertex[p->team.rank];
}

/* The graph's part of this rank, and the vertices' first values. Returns its dangling sum. */
static double start(const struct pagerank *p)
{
    uint32_t count = my_count(p), first = p->team.rank * p->stripe_slots;
    double initial = 1.0 / p->n_vertices, dangling = 0;

    team_prefetch(&p->team, p->in_start + first, count * sizeof(uint32_t), DSM_READ);
    team_prefetch(&p->team, p->in_end + first, count * sizeof(uint32_t), DSM_READ);
    team_prefetch(&p->team, p->inverse_degree + first, count * sizeof(double), DSM_READ);
    for (uint32_t s = first; s < first + count; s++) {
        p->rank[s] = initial;
        p->handed[0][s] = initial * p->inverse_degree[s];
        if (p->inverse_degree[s] == 0.0)
            dangling += initial;
    }
    if (count > 0)
        team_prefetch(&p->team, p->in_source + p->in_start[first],
                      (p->in_end[first + count - 1] - p->in_start[first]) * sizeof(uint32_t),
                      DSM_READ);
    return dangling;
}

/* One step over this rank's vertices; adds to sums[0] the changes, to sums[1] the dangling ranks.
 */
static void step(const struct pagerank *p, const double *restrict from, double *restrict to,
                 double base, double sums[2])
{
    uint32_t count = my_count(p), first = p->team.rank * p->stripe_slots;
    const uint32_t *restrict in_start = p->in_start, *restrict in_end = p->in_end;
    const uint32_t *restrict in_source = p->in_source;
    const double *restrict inverse_degree = p->inverse_degree;
    double *restrict rank = p->rank;

    for (uint32_t other = 1; other < p->team.n_ranks; other++) {
        uint32_t owner = (p->team.rank + other) % p->team.n_ranks;

        team_prefetch(&p->team, from + (size_t)owner * p->stripe_slots,
                      (p->first_vertex[owner + 1] - p->first_vertex[owner]) * sizeof(double),
                      DSM_READ);
    }
    team_prefetch(&p->team, to + first, count * sizeof(double), DSM_WRITE);
    for (uint32_t s = first; s < first + count; s++) {
        double sum = 0, value;

        for (uint32_t e = in_start[s]; e < in_end[s]; e++)
            sum += from[in_source[e]];
        value = base + DAMPING * sum;
        sums[0] += fabs(value - rank[s]);
        if (inverse_degree[s] == 0.0)
            sums[1] += value;
        rank[s] = value;
        to[s] = value * inverse_degree[s];
    }
}

static int iterate(const struct pagerank *p, double tolerance, unsigned *iterations_out)
{
    double sums[2] = {0, start(p)};
    int err = team_sum(&p->team, sums, 2);

    for (unsigned i = 0; err == 0 && i < KERNEL_PAGERANK_MAX_ITERATIONS; i++) {
        double base = (1.0 - DAMPING + DAMPING * sums[1]) / p->n_vertices;

        sums[0] = sums[1] = 0;
        step(p, p->handed[i % 2], p->handed[(i + 1) % 2], base, sums);
        err = team_sum(&p->team, sums, 2);
        if (err == 0 && sums[0] < tolerance) {
            *iterations_out = i + 1;
            return 0;
        }
    }
    return err < 0 ? err : DSM_E_INVAL;
}

/* Rank 0 gathers. */
static void read_ranks(const struct pagerank *p, double *rank_out)
{
    for (uint32_t owner = 0; owner < p->team.n_ranks; owner++) {
        uint32_t count = p->first_vertex[owner + 1] - p->first_vertex[owner];
        const double *stripe = p->rank + (size_t)owner * p->stripe_slots;

        team_prefetch(&p->team, stripe, count * sizeof(double), DSM_READ);
        memcpy(rank_out + p->first_vertex[owner], stripe, count * sizeof(double));
    }
}

static int run(struct team team, const struct kernel_graph *graph, double tolerance,
               double *rank_out, struct kernel_result *out)
{
    struct pagerank p;
    struct kernel_result result = {0};
    int err = open_pagerank(&p, team, graph);

    if (err < 0)
        return err;
    err = team_start_clock(&p.team);
    if (err == 0)
        err = iterate(&p, tolerance, &result.iterations);
    if (err == 0)
        err = team_stop_clock(&p.team, &result);
    if (err == 0 && team.rank == 0)
        read_ranks(&p, rank_out);
    close_pagerank(&p);
    if (err == 0)
        *out = result;
    return err;
}

int kernel_pagerank_sequential(const struct kernel_graph *graph, double tolerance, double *rank_out,
                               struct kernel_result *out)
{
    int err = run(team_of_one(), graph, tolerance, rank_out, out);
    double sum = 0;

    if (err < 0)
        return err;
    for (uint32_t v = 0; v < graph->n_vertices; v++)
        sum += rank_out[v];
    out->residual = fabs(sum - 1.0);
    out->is_verified = out->residual <= SUM_BOUND;
    return 0;
}

/* Rank 0 computes again alone. The largest difference goes to all. */
static int verify_against_sequential(const struct kernel_graph *graph, double tolerance,
                                     const double *rank, struct kernel_result *result)
{
    struct team team = team_of_job();
    double worst = 0;
    int err;

    if (team.rank == 0) {
        struct kernel_result sequential;
        double *expected = malloc(graph->n_vertices * sizeof(double));

        if (expected == NULL ||
            kernel_pagerank_sequential(graph, tolerance, expected, &sequential) < 0)
            worst = INFINITY;
        for (uint32_t v = 0; v < graph->n_vertices && worst < INFINITY; v++)
            if (!(fabs(rank[v] - expected[v]) <= worst))
                worst = fabs(rank[v] - expected[v]);
        free(expected);
    }
    err = team_bcast(&team, &worst, sizeof(worst));
    if (err == 0) {
        result->residual = worst;
        result->is_verified = worst <= RESIDUAL_BOUND;
    }
    return err;
}

int kernel_pagerank(const struct kernel_graph *graph, double tolerance, bool verify,
                    double *rank_out, struct kernel_result *out)
{
    int err = run(team_of_job(), graph, tolerance, rank_out, out);

    if (err == 0 && verify)
        err = verify_against_sequential(graph, tolerance, rank_out, out);
    return err;
}
