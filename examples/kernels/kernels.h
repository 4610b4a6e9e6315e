/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernels.h - the computations behind the larger examples, callable by any program.
 *
 * Each comes twice: on the shared region, where it is collective (every rank calls it, one thread
 * each, with the same arguments, after dsm_init), and as `_sequential`: the same loops on private
 * memory, without a single call of libdsm, as the time and the result to compare with.
 * Everything they allocate they free. They return 0 or a negative DSM_E code.
 */
#ifndef DSM_EXAMPLES_KERNELS_H
#define DSM_EXAMPLES_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kernel_result {
    double seconds;    /* the computation alone, between two barriers; the same on every rank */
    bool is_verified;  /* false when verification was not asked for */
    double residual;   /* what the verification measured; its bound is with each kernel */
    uint64_t checksum; /* of all bits of the result: the same for any number of ranks, where the
                          kernel says so */
    uint64_t faults;   /* within these seconds, all ranks together */
    uint64_t bytes;    /* page bytes received, likewise */
    unsigned iterations;
};

struct team;

/* A computation that a team carries out, by the sizes that its comment names. */
struct kernel {
    const char *name;
    int (*run)(struct team team, const uint64_t *sizes, bool verify, struct kernel_result *out);
};

/* On the ranks of the job; on one thread and private memory; on n threads of one process. */
int kernel_run(const struct kernel *kernel, const uint64_t *sizes, bool verify,
               struct kernel_result *out);
int kernel_run_sequential(const struct kernel *kernel, const uint64_t *sizes, bool verify,
                          struct kernel_result *out);
int kernel_run_threads(const struct kernel *kernel, uint32_t n_threads, const uint64_t *sizes,
                       bool verify, struct kernel_result *out);

/* As the calls below; sizes: n, block; and n, iterations. */
extern const struct kernel kernel_lu_any, kernel_stencil_any;

/*
 * Six-step FFT. sizes: m, a power of two; there are m * m complex points. Verified by a few
 * frequencies computed by the definition of the transform, residual being the largest difference
 * over the root of the number of points, bound 1e-11. The checksum does not depend on the number of
 * ranks.
 */
extern const struct kernel kernel_fft;

/*
 * Radix sort. sizes: number of keys. Verified: no key smaller than the one before it (residual: how
 * many are), and the sum of a hash over the keys is what it was. The checksum does not depend on
 * the number of ranks.
 */
extern const struct kernel kernel_radix;

/*
 * Barnes-Hut. sizes: bodies, steps. Verified by the tree's forces at the end on 64 bodies against
 * sums over all others, residual being the relative error (root of mean squares), bound 0.02. The
 * checksum does not depend on the number of ranks. NOSPACE: bodies so close that the tree is larger
 * than the memory made for it.
 */
extern const struct kernel kernel_nbody;

/*
 * Molecular dynamics of water-like molecules. sizes: molecules, steps. Verified by what must be
 * kept: residual is the change of the energy relative to the energies there are, or a million times
 * that of the momentum, bound 1e-3.
 */
extern const struct kernel kernel_water;

/*
 * Blocked LU without pivoting of a diagonally dominant n x n matrix, after SPLASH-2's "contiguous
 * blocks": block x block tiles dealt to a grid of ranks. n is a multiple of block.
 * Verified by A x = L (U x) for random x over the complete matrix; residual relative to |A x|,
 * bound 16 n epsilon. The checksum does not depend on the number of ranks.
 */
int kernel_lu(size_t n, size_t block, bool verify, struct kernel_result *out);
int kernel_lu_sequential(size_t n, size_t block, bool verify, struct kernel_result *out);

/*
 * Red-black Gauss-Seidel sweeps over an n x n grid (n even, at least 2) with fixed edges, rows
 * dealt in stripes. Verified by rank 0, cell by cell, against a plain loop over an ordinary grid,
 * which must be equal bit for bit; residual is the largest difference.
 */
int kernel_stencil(size_t n, unsigned iterations, bool verify, struct kernel_result *out);
int kernel_stencil_sequential(size_t n, unsigned iterations, bool verify,
                              struct kernel_result *out);

/* A directed graph by incoming edges: the sources of v are in_source[in_start[v] ..
 * in_start[v + 1]). out_degree[u] is how often u is a source. */
struct kernel_graph {
    uint32_t n_vertices;
    uint32_t *in_start; /* n_vertices + 1 */
    uint32_t *in_source;
    uint32_t *out_degree;
};

/*
 * PageRank, damping 0.85, rank of vertices without outgoing edges spread over all; iterates until
 * the sum of changes is below tolerance. Rank 0 passes the graph and gets the result (n_vertices
 * doubles, they sum to 1); the others pass NULL for both. Verified against the sequential
 * computation; residual is the largest difference, bound 1e-12. The sequential one is verified by
 * its sum, residual being the distance from 1, bound 1e-9. Sums are formed in another order on
 * another number of ranks: no checksum.
 * INVAL: more than KERNEL_PAGERANK_MAX_ITERATIONS were needed.
 */
#define KERNEL_PAGERANK_MAX_ITERATIONS 1000u
int kernel_pagerank(const struct kernel_graph *graph, double tolerance, bool verify,
                    double *rank_out, struct kernel_result *out);
int kernel_pagerank_sequential(const struct kernel_graph *graph, double tolerance, double *rank_out,
                               struct kernel_result *out);

#endif
