/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * water.c - molecules like water's in free space: flexible bonds, Lennard-Jones and Coulomb forces
 * between all pairs, velocity Verlet in time. After SPLASH-2's water-nsquared in its structure.
 *
 * Each rank takes its molecules with the n / 2 that follow each (every pair once), sums the forces
 * in private memory and adds them to the shared ones, a stripe at a time under that stripe's lock.
 * The order of these sums differs from run to run, so there is no checksum.
 *
 * Lengths in Angstrom, masses in atomic units, energies in kJ/mol; the unit of time is then 0.1 ps.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "team.h"

#define SITES     3u
#define COORDS    (SITES * 3u)
#define SPACING   3.2
#define TIME_STEP 0.001
#define BOND      4000.0 /* of O-H and of H-H, which keeps the angle */
#define OH_LENGTH 1.0
#define HH_LENGTH 1.63
#define SIGMA     3.0
#define EPSILON   0.65
#define COULOMB   139.0 /* a tenth of the real one: the cluster stays together without a cut-off */
#define TOLERANCE 1e-3

static const double masses[SITES] = {16, 1, 1};
static const double charges[SITES] = {-0.8, 0.4, 0.4};

struct water {
    struct team team;
    uint64_t n, molecules; /* molecules: of each rank's stripe, the last may have fewer */
    size_t stripe_bytes;
    char *position_base, *force_base;
    double *velocities; /* of this rank's molecules */
    double *forces;     /* this rank's sums, for all molecules */
    double potential;   /* of this rank's pairs */
};

static uint64_t first_molecule(const struct water *w, uint32_t rank)
{
    uint64_t first = w->molecules * rank;

    return first < w->n ? first : w->n;
}

static double *stripe_of(const struct water *w, char *base, uint32_t rank)
{
    return (double *)(void *)(base + rank * w->stripe_bytes);
}

static double *position(const struct water *w, uint64_t molecule)
{
    return stripe_of(w, w->position_base, (uint32_t)(molecule / w->molecules)) +
           molecule % w->molecules * COORDS;
}

/* ---- forces -------------------------------------------------------------------------------- */

/* Both sites are pushed apart by factor times their distance. */
static void push(const double *a, const double *b, double factor, double *force_a, double *force_b)
{
    for (int d = 0; d < 3; d++) {
        double force = factor * (a[d] - b[d]);

        force_a[d] += force;
        force_b[d] -= force;
    }
}

static double square_of(const double *a, const double *b)
{
    double x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];

    return x * x + y * y + z * z;
}

static double bind_sites(const double *m, double *force, unsigned a, unsigned b, double length)
{
    double apart = sqrt(square_of(m + 3 * a, m + 3 * b)), stretch = apart - length;

    push(m + 3 * a, m + 3 * b, -BOND * stretch / apart, force + 3 * a, force + 3 * b);
    return BOND * stretch * stretch / 2;
}

static double bind_molecule(const double *m, double *force)
{
    return bind_sites(m, force, 0, 1, OH_LENGTH) + bind_sites(m, force, 0, 2, OH_LENGTH) +
           bind_sites(m, force, 1, 2, HH_LENGTH);
}

static double interact(const double *a, const double *b, double *force_a, double *force_b)
{
    double square = square_of(a, b), energy;
    double six = SIGMA * SIGMA * SIGMA * SIGMA * SIGMA * SIGMA / (square * square * square);

    energy = 4 * EPSILON * six * (six - 1);
    push(a, b, 24 * EPSILON * six * (2 * six - 1) / square, force_a, force_b);
    for (unsigned i = 0; i < SITES; i++) {
        for (unsigned j = 0; j < SITES; j++) {
            double s = square_of(a + 3 * i, b + 3 * j), one = COULOMB * charges[i] * charges[j];

            one /= sqrt(s);
            energy += one;
            push(a + 3 * i, b + 3 * j, one / s, force_a + 3 * i, force_b + 3 * j);
        }
    }
    return energy;
}

/* This rank's pairs: its molecules and those up to half way round. */
static void sum_forces(struct water *w)
{
    uint64_t n = w->n;

    memset(w->forces, 0, n * COORDS * sizeof(double));
    w->potential = 0;
    for (uint64_t i = first_molecule(w, w->team.rank); i < first_molecule(w, w->team.rank + 1);
         i++) {
        const double *mine = position(w, i);
        /* With an even number the pairs at half way would come twice. */
        uint64_t last = n / 2 - (n % 2 == 0 && i >= n / 2);

        w->potential += bind_molecule(mine, w->forces + i * COORDS);
        for (uint64_t k = 1; k <= last && n > 1; k++) {
            uint64_t j = (i + k) % n;

            w->potential +=
                interact(mine, position(w, j), w->forces + i * COORDS, w->forces + j * COORDS);
        }
    }
}

/* Adds them to everybody's, beginning with this rank's own stripe. */
static int share_forces(struct water *w)
{
    int err = 0;

    for (uint32_t k = 0; k < w->team.n_ranks && err == 0; k++) {
        uint32_t rank = (w->team.rank + k) % w->team.n_ranks;
        double *shared = stripe_of(w, w->force_base, rank);
        uint64_t first = first_molecule(w, rank), end = first_molecule(w, rank + 1);

        err = team_lock(&w->team, shared);
        for (uint64_t i = 0; i < (end - first) * COORDS && err == 0; i++)
            shared[i] += w->forces[first * COORDS + i];
        if (err == 0)
            err = team_unlock(&w->team, shared);
    }
    return err;
}

static void kick(struct water *w)
{
    const double *force = stripe_of(w, w->force_base, w->team.rank);
    uint64_t n = first_molecule(w, w->team.rank + 1) - first_molecule(w, w->team.rank);

    for (uint64_t i = 0; i < n * COORDS; i++)
        w->velocities[i] += TIME_STEP / 2 * force[i] / masses[i % COORDS / 3];
}

static int compute_forces(struct water *w)
{
    uint64_t n = first_molecule(w, w->team.rank + 1) - first_molecule(w, w->team.rank);
    int err;

    memset(stripe_of(w, w->force_base, w->team.rank), 0, n * COORDS * sizeof(double));
    err = team_barrier(&w->team); /* all positions are there, all forces are zero */
    if (err == 0) {
        sum_forces(w);
        err = share_forces(w);
    }
    return err == 0 ? team_barrier(&w->team) : err;
}

static int step(struct water *w)
{
    uint64_t first = first_molecule(w, w->team.rank), end = first_molecule(w, w->team.rank + 1);
    int err;

    kick(w);
    for (uint64_t i = 0; i < (end - first) * COORDS; i++)
        position(w, first)[i] += TIME_STEP * w->velocities[i];
    err = compute_forces(w);
    if (err == 0)
        kick(w);
    return err;
}

/* ---- what must be kept --------------------------------------------------------------------- */

struct invariants {
    double kinetic, potential, momentum[3];
};

static int measure(const struct water *w, struct invariants *out)
{
    struct invariants sum = {.potential = w->potential};
    uint64_t n = first_molecule(w, w->team.rank + 1) - first_molecule(w, w->team.rank);
    int err;

    for (uint64_t i = 0; i < n * COORDS; i++) {
        double mass = masses[i % COORDS / 3], v = w->velocities[i];

        sum.kinetic += mass * v * v / 2;
        sum.momentum[i % 3] += mass * v;
    }
    err = team_sum(&w->team, (double *)(void *)&sum, sizeof(sum) / sizeof(double));
    *out = sum;
    return err;
}

/* Energy and momentum, by the kinetic energy and what goes with it. */
static double drift(const struct water *w, const struct invariants *before,
                    const struct invariants *after)
{
    double scale = fmax(before->kinetic, after->kinetic) + fabs(before->potential);
    double worst =
        fabs(after->kinetic + after->potential - before->kinetic - before->potential) / scale;
    double momentum = sqrt(2 * scale * 18 * (double)w->n);

    for (int d = 0; d < 3; d++) {
        double change = fabs(after->momentum[d] - before->momentum[d]) / momentum;

        /* Newton's third law holds but for rounding. */
        if (!(change * 1e6 <= worst))
            worst = change * 1e6;
    }
    return worst;
}

/* On a lattice, all alike, with small velocities of their own. */
static void fill(struct water *w)
{
    uint64_t first = first_molecule(w, w->team.rank), end = first_molecule(w, w->team.rank + 1);
    uint64_t side = (uint64_t)ceil(cbrt((double)w->n));

    for (uint64_t i = first; i < end; i++) {
        double *m = position(w, i);
        double at[3] = {(double)(i % side), (double)(i / side % side), (double)(i / side / side)};

        for (unsigned c = 0; c < COORDS; c++) {
            m[c] = SPACING * at[c % 3];
            w->velocities[(i - first) * COORDS + c] = 2 * mix_unit(i * COORDS + c) / masses[c / 3];
        }
        m[3] += HH_LENGTH / 2;
        m[6] -= HH_LENGTH / 2;
        m[4] += sqrt(OH_LENGTH * OH_LENGTH - HH_LENGTH * HH_LENGTH / 4);
        m[7] += sqrt(OH_LENGTH * OH_LENGTH - HH_LENGTH * HH_LENGTH / 4);
    }
}

static int simulate(struct water *w, uint64_t steps, bool verify, struct kernel_result *result)
{
    struct invariants before = {0}, after = {0};
    int err;

    fill(w);
    err = compute_forces(w);
    if (err == 0)
        err = measure(w, &before);
    if (err == 0)
        err = team_start_clock(&w->team);
    for (uint64_t i = 0; i < steps && err == 0; i++)
        err = step(w);
    if (err == 0)
        err = team_stop_clock(&w->team, result);
    if (err == 0)
        err = measure(w, &after);
    if (err == 0 && verify) {
        result->residual = drift(w, &before, &after);
        result->is_verified = result->residual <= TOLERANCE;
    }
    return err;
}

static int run(struct team team, const uint64_t *sizes, bool verify, struct kernel_result *out)
{
    struct water w = {.team = team, .n = sizes[0]};
    struct kernel_result result = {.iterations = (unsigned)sizes[1]};
    void *arrays[2] = {NULL, NULL};
    int err;

    if (w.n == 0)
        return DSM_E_INVAL;
    w.molecules = (w.n + team.n_ranks - 1) / team.n_ranks;
    w.stripe_bytes = round_up(w.molecules * COORDS * sizeof(double), 4096);
    w.velocities = calloc(w.molecules * COORDS, sizeof(double));
    w.forces = calloc(w.n * COORDS, sizeof(double));
    err = w.velocities != NULL && w.forces != NULL ? 0 : DSM_E_NOMEM;
    if (err == 0)
        err = team_alloc(&w.team, w.stripe_bytes, 4096, "water positions", &arrays[0]);
    if (err == 0)
        err = team_alloc(&w.team, w.stripe_bytes, 4096, "water forces", &arrays[1]);
    w.position_base = arrays[0];
    w.force_base = arrays[1];
    if (err == 0)
        err = simulate(&w, sizes[1], verify, &result);
    team_free(&w.team, arrays[1]);
    team_free(&w.team, arrays[0]);
    free(w.velocities);
    free(w.forces);
    if (err == 0)
        *out = result;
    return err;
}

const struct kernel kernel_water = {.name = "water", .run = run};
