/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbody.c - gravity among many bodies by Barnes and Hut's tree, leapfrog in time.
 *
 * Space is cut into 64 cells, dealt to the ranks; each rank builds the trees of its cells in its
 * own stripe of the shared nodes, from everybody's positions. After a barrier each rank puts the
 * top of the tree together for itself and walks the tree for its own bodies. Positions are written
 * by their owner alone, between two barriers. The tree does not depend on who built which part, so
 * neither does the result.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "team.h"

#define N_CELLS        64
#define MAX_DEPTH      40
#define THETA          0.6
#define SOFTENING      1e-3 /* squared */
#define TIME_STEP      1e-3
#define VERIFY_BODIES  64u
#define TOLERANCE      0.02
#define NODES_PER_BODY 3u

struct body {
    double at[3], mass;
};

/* Child 0: none; > 0: node number + 1; < 0: body number, negated, - 1. */
struct node {
    double center[3], mass; /* at first: of bodies that are too close together to part */
    int64_t child[8];
};

struct nbody {
    struct team team;
    uint64_t n, bodies;            /* bodies: of each rank's stripe, the last may have fewer */
    uint64_t max_nodes;            /* of each rank */
    size_t body_bytes, node_bytes; /* of a stripe */
    char *body_base, *node_base, *root_base;
    double *velocity; /* of this rank's bodies, private */
    double low[3], size;
    uint64_t n_nodes;
    struct node top[1 + 8]; /* private; children of the second level: roots of the cells */
    struct node cells[N_CELLS];
};

static struct body *body_at(const struct nbody *b, uint64_t i)
{
    return (struct body *)(void *)(b->body_base + i / b->bodies * b->body_bytes) + i % b->bodies;
}

static struct node *node_at(const struct nbody *b, uint64_t i)
{
    return (struct node *)(void *)(b->node_base + i / b->max_nodes * b->node_bytes) +
           i % b->max_nodes;
}

/* The roots of the cells: N_CELLS nodes, each in the page of the rank that builds it. */
static struct node *root_at(const struct nbody *b, unsigned cell)
{
    return (struct node *)(void *)(b->root_base + cell % b->team.n_ranks * 8192u) +
           cell / b->team.n_ranks;
}

static uint64_t first_body(const struct nbody *b, uint32_t rank)
{
    uint64_t first = b->bodies * rank;

    return first < b->n ? first : b->n;
}

/* ---- building ------------------------------------------------------------------------------ */

static void find_space(struct nbody *b)
{
    double high[3] = {-INFINITY, -INFINITY, -INFINITY};

    for (int d = 0; d < 3; d++)
        b->low[d] = INFINITY;
    for (uint64_t i = 0; i < b->n; i++) {
        const struct body *body = body_at(b, i);

        for (int d = 0; d < 3; d++) {
            b->low[d] = fmin(b->low[d], body->at[d]);
            high[d] = fmax(high[d], body->at[d]);
        }
    }
    b->size = 0;
    for (int d = 0; d < 3; d++)
        b->size = fmax(b->size, high[d] - b->low[d]);
    b->size = b->size > 0 ? b->size * 1.0001 : 1;
}

static unsigned cell_of(const struct nbody *b, const struct body *body)
{
    unsigned cell = 0;

    for (int d = 0; d < 3; d++) {
        unsigned part = (unsigned)((body->at[d] - b->low[d]) / b->size * 4);

        cell |= (part & 1) << d | (part >> 1 & 1) << (d + 3);
    }
    return cell;
}

/* Which eighth of the cube at low; low and size become those of the eighth. */
static unsigned descend(const struct body *body, double low[3], double *size)
{
    unsigned octant = 0;

    *size /= 2;
    for (int d = 0; d < 3; d++) {
        if (body->at[d] >= low[d] + *size) {
            octant |= 1u << d;
            low[d] += *size;
        }
    }
    return octant;
}

static int make_node(struct nbody *b, int64_t *child)
{
    if (b->n_nodes == b->max_nodes)
        return DSM_E_NOSPACE;
    uint64_t number = b->team.rank * b->max_nodes + b->n_nodes++;

    memset(node_at(b, number), 0, sizeof(struct node));
    *child = (int64_t)number + 1;
    return 0;
}

static void merge(struct node *node, const struct body *body)
{
    for (int d = 0; d < 3; d++)
        node->center[d] += body->mass * body->at[d];
    node->mass += body->mass;
}

static int insert(struct nbody *b, struct node *node, uint64_t number, double low[3], double size)
{
    const struct body *body = body_at(b, number);

    for (int depth = 0;; depth++) {
        int64_t *child;

        if (depth == MAX_DEPTH) {
            merge(node, body);
            return 0;
        }
        child = &node->child[descend(body, low, &size)];
        if (*child == 0) {
            *child = -(int64_t)number - 1;
            return 0;
        }
        if (*child < 0) { /* two bodies: the one that is there goes one level down */
            uint64_t other = (uint64_t)(-*child - 1);
            double other_low[3], other_size = size;
            int err = make_node(b, child);

            if (err < 0)
                return err;
            memcpy(other_low, low, sizeof(other_low));
            node_at(b, (uint64_t)*child - 1)
                ->child[descend(body_at(b, other), other_low, &other_size)] = -(int64_t)other - 1;
        }
        node = node_at(b, (uint64_t)*child - 1);
    }
}

/* Masses and their centers, from the leaves up. */
static void sum_up(const struct nbody *b, struct node *node)
{
    for (int c = 0; c < 8; c++) {
        double mass, at[3];

        if (node->child[c] == 0)
            continue;
        if (node->child[c] < 0) {
            const struct body *body = body_at(b, (uint64_t)(-node->child[c] - 1));
            mass = body->mass;
            memcpy(at, body->at, sizeof(at));
        } else {
            struct node *below = node_at(b, (uint64_t)node->child[c] - 1);
            sum_up(b, below);
            mass = below->mass;
            memcpy(at, below->center, sizeof(at));
        }
        for (int d = 0; d < 3; d++)
            node->center[d] += mass * at[d];
        node->mass += mass;
    }
    for (int d = 0; d < 3 && node->mass > 0; d++)
        node->center[d] /= node->mass;
}

static int build(struct nbody *b)
{
    b->n_nodes = 0;
    find_space(b);
    for (unsigned cell = b->team.rank; cell < N_CELLS; cell += b->team.n_ranks)
        memset(root_at(b, cell), 0, sizeof(struct node));
    for (uint64_t i = 0; i < b->n; i++) {
        const struct body *body = body_at(b, i);
        unsigned cell = cell_of(b, body);
        double low[3], size = b->size / 4;
        int err;

        if (cell % b->team.n_ranks != b->team.rank)
            continue;
        for (int d = 0; d < 3; d++)
            low[d] = b->low[d] + size * ((cell >> d & 1) + 2 * (cell >> (d + 3) & 1));
        err = insert(b, root_at(b, cell), i, low, size);
        if (err < 0)
            return err;
    }
    for (unsigned cell = b->team.rank; cell < N_CELLS; cell += b->team.n_ranks)
        sum_up(b, root_at(b, cell));
    return 0;
}

static void add_mass(struct node *above, const struct node *below)
{
    for (int d = 0; d < 3; d++)
        above->center[d] += below->mass * below->center[d];
    above->mass += below->mass;
}

static void divide(struct node *node)
{
    for (int d = 0; d < 3 && node->mass > 0; d++)
        node->center[d] /= node->mass;
}

/* Everybody for himself: 64 cells, 8 above them, 1 above all. */
static void build_top(struct nbody *b)
{
    memset(b->top, 0, sizeof(b->top));
    for (unsigned cell = 0; cell < N_CELLS; cell++)
        b->cells[cell] = *root_at(b, cell);
    for (unsigned eighth = 0; eighth < 8; eighth++) {
        for (unsigned cell = eighth * 8; cell < eighth * 8 + 8; cell++)
            add_mass(&b->top[1 + eighth], &b->cells[cell]);
        divide(&b->top[1 + eighth]);
        add_mass(&b->top[0], &b->top[1 + eighth]);
    }
    divide(&b->top[0]);
}

/* ---- forces -------------------------------------------------------------------------------- */

static void pull(const double at[3], const double center[3], double mass, double force[3])
{
    double apart[3], square = SOFTENING;

    for (int d = 0; d < 3; d++) {
        apart[d] = center[d] - at[d];
        square += apart[d] * apart[d];
    }
    mass /= square * sqrt(square);
    for (int d = 0; d < 3; d++)
        force[d] += mass * apart[d];
}

/* True when the node may stand for all that is in it. */
static bool is_far(const double at[3], const struct node *node, double size)
{
    double square = 0;

    for (int d = 0; d < 3; d++)
        square += (node->center[d] - at[d]) * (node->center[d] - at[d]);
    return size * size < THETA * THETA * square;
}

static void walk(const struct nbody *b, const struct node *node, double size, uint64_t self,
                 const double at[3], double force[3])
{
    bool is_leaf = true;

    if (node->mass <= 0)
        return;
    if (is_far(at, node, size)) {
        pull(at, node->center, node->mass, force);
        return;
    }
    for (int c = 0; c < 8; c++) {
        is_leaf &= node->child[c] == 0;
        if (node->child[c] > 0) {
            walk(b, node_at(b, (uint64_t)node->child[c] - 1), size / 2, self, at, force);
        } else if (node->child[c] < 0 && (uint64_t)(-node->child[c] - 1) != self) {
            const struct body *body = body_at(b, (uint64_t)(-node->child[c] - 1));
            pull(at, body->at, body->mass, force);
        }
    }
    if (is_leaf)
        pull(at, node->center, node->mass, force);
}

static void force_on(const struct nbody *b, uint64_t self, double force[3])
{
    const double *at = body_at(b, self)->at;

    memset(force, 0, 3 * sizeof(double));
    if (is_far(at, &b->top[0], b->size)) {
        pull(at, b->top[0].center, b->top[0].mass, force);
        return;
    }
    for (unsigned eighth = 0; eighth < 8; eighth++) {
        if (b->top[1 + eighth].mass > 0 && is_far(at, &b->top[1 + eighth], b->size / 2)) {
            pull(at, b->top[1 + eighth].center, b->top[1 + eighth].mass, force);
            continue;
        }
        for (unsigned cell = eighth * 8; cell < eighth * 8 + 8; cell++)
            walk(b, &b->cells[cell], b->size / 4, self, at, force);
    }
}

static int step(struct nbody *b)
{
    uint64_t first = first_body(b, b->team.rank), end = first_body(b, b->team.rank + 1);
    int err = build(b);

    /* Also after an error, which the others do not know of: they would wait. */
    if (team_barrier(&b->team) < 0)
        return DSM_E_PEER;
    if (err < 0)
        return err;
    build_top(b);
    for (uint64_t i = first; i < end; i++) {
        double force[3];

        force_on(b, i, force);
        for (int d = 0; d < 3; d++)
            b->velocity[3 * (i - first) + (unsigned)d] += TIME_STEP * force[d];
    }
    err = team_barrier(&b->team);
    for (uint64_t i = first; i < end && err == 0; i++)
        for (int d = 0; d < 3; d++)
            body_at(b, i)->at[d] += TIME_STEP * b->velocity[3 * (i - first) + (unsigned)d];
    return err == 0 ? team_barrier(&b->team) : err;
}

/* ---- verification -------------------------------------------------------------------------- */

/* The tree's force on some bodies against the sum over all others, by the largest of the sums. */
static int verify_forces(struct nbody *b, struct kernel_result *result)
{
    uint64_t stride = b->n / VERIFY_BODIES > 0 ? b->n / VERIFY_BODIES : 1;
    double sums[2] = {0, 0};
    uint64_t checksum = 0, bits;
    int err = build(b);

    if (err == 0)
        err = team_barrier(&b->team);
    if (err < 0)
        return err;
    build_top(b);
    for (uint64_t i = first_body(b, b->team.rank); i < first_body(b, b->team.rank + 1); i++) {
        double by_tree[3], exact[3] = {0};

        for (int d = 0; d < 3; d++) {
            memcpy(&bits, &body_at(b, i)->at[d], sizeof(bits));
            checksum += mix64(bits ^ mix64(3 * i + (unsigned)d));
        }
        if (i % stride != 0)
            continue;
        force_on(b, i, by_tree);
        for (uint64_t j = 0; j < b->n; j++)
            if (j != i)
                pull(body_at(b, i)->at, body_at(b, j)->at, body_at(b, j)->mass, exact);
        for (int d = 0; d < 3; d++) {
            sums[0] += (by_tree[d] - exact[d]) * (by_tree[d] - exact[d]);
            sums[1] += exact[d] * exact[d];
        }
    }
    err = team_sum(&b->team, sums, 2);
    if (err == 0)
        err = team_sum_u64(&b->team, &checksum, 1);
    result->residual = sums[1] > 0 ? sqrt(sums[0] / sums[1]) : sqrt(sums[0]);
    result->checksum = checksum;
    result->is_verified = result->residual <= TOLERANCE;
    return err;
}

/* ---- the call ------------------------------------------------------------------------------ */

static void fill(struct nbody *b)
{
    uint64_t first = first_body(b, b->team.rank), end = first_body(b, b->team.rank + 1);

    for (uint64_t i = first; i < end; i++) {
        struct body *body = body_at(b, i);

        body->mass = 1.0 / (double)b->n;
        for (unsigned d = 0; d < 3; d++) { /* denser towards the middle */
            double x = mix_unit(6 * i + d);
            body->at[d] = x * x * x;
            b->velocity[3 * (i - first) + d] = 0.1 * mix_unit(6 * i + 3 + d);
        }
    }
}

static int allocate(struct nbody *b, void *arrays[3])
{
    int err;

    b->bodies = (b->n + b->team.n_ranks - 1) / b->team.n_ranks;
    b->max_nodes = NODES_PER_BODY * b->n + N_CELLS;
    b->body_bytes = round_up(b->bodies * sizeof(struct body), 4096);
    b->node_bytes = round_up(b->max_nodes * sizeof(struct node), 16384);
    b->velocity = calloc(3 * b->bodies, sizeof(double));
    if (b->velocity == NULL)
        return DSM_E_NOMEM;
    err = team_alloc(&b->team, b->body_bytes, 4096, "nbody bodies", &arrays[0]);
    if (err == 0)
        err = team_alloc(&b->team, b->node_bytes, 16384, "nbody tree", &arrays[1]);
    if (err == 0)
        err = team_alloc(&b->team, 8192, 8192, "nbody roots", &arrays[2]);
    b->body_base = arrays[0];
    b->node_base = arrays[1];
    b->root_base = arrays[2];
    return err;
}

static int run(struct team team, const uint64_t *sizes, bool verify, struct kernel_result *out)
{
    struct nbody *b = calloc(1, sizeof(*b));
    struct kernel_result result = {0};
    void *arrays[3] = {NULL, NULL, NULL};
    int err;

    if (b == NULL)
        return DSM_E_NOMEM;
    b->team = team;
    b->n = sizes[0];
    err = allocate(b, arrays);
    if (err == 0) {
        fill(b);
        err = team_start_clock(&b->team);
    }
    for (uint64_t i = 0; i < sizes[1] && err == 0; i++)
        err = step(b);
    if (err == 0)
        err = team_stop_clock(&b->team, &result);
    if (err == 0 && verify)
        err = verify_forces(b, &result);
    result.iterations = (unsigned)sizes[1];
    for (int i = 2; i >= 0; i--)
        team_free(&b->team, arrays[i]);
    free(b->velocity);
    free(b);
    if (err == 0)
        *out = result;
    return err;
}

const struct kernel kernel_nbody = {.name = "nbody", .run = run};
