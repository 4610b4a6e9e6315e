/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.h - what a measure or a floor is given, and what it is.
 *
 * A worker is one rank of a job that measures. Every rank runs the same measures in the same order;
 * rank 0 holds the clock, rank 1 is its partner, the others wait in barriers. A measure runs in
 * slices, and the slices of its floors run between them, so that what else happens on the machine
 * hits both alike.
 */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dsm/dsm.h>
#include <jansson.h>

#include "base/clock.h"
#include "bench/samples.h"
#include "bench/traffic.h"

#define BENCH_PAGE_BYTES 4096u

/* How much is done. */
struct bench_effort {
    unsigned n_slices;      /* per measure, after one slice that is thrown away */
    unsigned n_pages;       /* faults in a slice */
    unsigned n_rounds;      /* round trips, barriers, lock hand-overs in a slice */
    uint64_t stream_bytes;  /* in a slice of the stream and the sequential read */
    uint64_t local_bytes;   /* memory behind local_hit */
    unsigned kernel_rounds; /* times each kernel's job is started */
    uint64_t lu_size;       /* matrix side; a multiple of lu_block */
    uint64_t lu_block;
    uint64_t stencil_size; /* grid side */
    unsigned stencil_rounds;
    uint64_t fft[1], radix[1], nbody[2], water[2]; /* as kernels.h lists them */
};

extern const struct bench_effort bench_effort_normal;
extern const struct bench_effort bench_effort_quick;

struct bench_memory;      /* private memory for the floors: floor_memory.h */
struct bench_link;        /* raw sockets between rank 0 and rank 1: floor_socket.h */
struct bench_verbs;       /* raw queue pairs between them: verbs_link.h */
struct bench_trap_helper; /* the process that resolves local faults: floor_trap.h */

struct bench_worker {
    uint32_t rank, n_ranks;
    bool is_oversubscribed; /* more ranks than processors: floors sleep, as the library does */
    const struct bench_effort *effort;
    const char *trap, *transport; /* the backends' names, as chosen */
    struct bench_link *link;
    struct bench_verbs *verbs; /* NULL: the transport is not rdma */
    struct bench_trap_helper *trap_helper;
    struct bench_memory *memory;
    struct bench_traffic traffic;
    unsigned slice; /* 0, the one thrown away, to effort->n_slices */
};

/* ---- floors: what the machine does without the library -------------------------------------- */

enum bench_floor {
    BENCH_FLOOR_RT_PAGE_POLL, /* 8 B out, 4 KiB back over TCP, both sides poll */
    BENCH_FLOOR_RT_WORD_POLL, /* 8 B out, 8 B back */
    BENCH_FLOOR_RT_PAGE_SLEEP,
    BENCH_FLOOR_RT_WORD_SLEEP,
    BENCH_FLOOR_RT_PAGE_COMPUTING, /* partner computes, a sleeping thread of it answers */
    BENCH_FLOOR_STREAM,
    BENCH_FLOOR_VERBS_PAGE_POLL, /* the same over raw verbs; in the same order */
    BENCH_FLOOR_VERBS_WORD_POLL,
    BENCH_FLOOR_VERBS_PAGE_SLEEP,
    BENCH_FLOOR_VERBS_WORD_SLEEP,
    BENCH_FLOOR_VERBS_PAGE_COMPUTING,
    BENCH_FLOOR_VERBS_STREAM,
    BENCH_FLOOR_VERBS_SEND, /* as ib_send_lat, ib_write_lat and ib_read_lat have them */
    BENCH_FLOOR_VERBS_WRITE,
    BENCH_FLOOR_VERBS_READ,
    BENCH_FLOOR_VERBS_READ_ASK, /* 4 KiB read, and a word there and back at the same time */
    BENCH_FLOOR_TRAP_SIGBUS,    /* a local fault: trap, map, go on */
    BENCH_FLOOR_TRAP_UFFD,
    BENCH_FLOOR_TRAP_SEGV,
    BENCH_FLOOR_MEMCPY,
    BENCH_FLOOR_PRIVATE_READ, /* random loads from private 4 KiB pages */
    BENCH_FLOOR_MUTEX,        /* an uncontended pthread mutex, locked and unlocked */
    BENCH_FLOOR_LU,           /* the kernels' sequential programs */
    BENCH_FLOOR_STENCIL,
    BENCH_FLOOR_FFT,
    BENCH_FLOOR_RADIX,
    BENCH_FLOOR_NBODY,
    BENCH_FLOOR_WATER, /* the last of them */
    BENCH_N_FLOORS,
    /* Stand for one of those above, as the worker has it. */
    BENCH_FLOOR_TRAP,    /* the backend in use */
    BENCH_FLOOR_RT_PAGE, /* polling, or sleeping when oversubscribed */
    BENCH_FLOOR_RT_WORD,
    BENCH_FLOOR_NONE,
};

struct bench_floor_kind {
    const char *name; /* as an entry of its own in tables */
    const char *text; /* inside a sum, e.g. "4 KiB round trip, polling" */
    const char *unit;
    bool is_more_better;
    bool is_verbs; /* only over rdma */
    uint32_t min_ranks;
    /* Collective. Rank 0 adds its samples. Errors: DSM_E codes; UNSUPPORTED: not to be had here. */
    int (*slice)(struct bench_worker *worker, struct bench_samples *samples);
};

const struct bench_floor_kind *bench_floor_kind(enum bench_floor floor);
/* One of the first BENCH_N_FLOORS. */
enum bench_floor bench_floor_resolve(const struct bench_worker *worker, enum bench_floor floor);

/* ---- measures ------------------------------------------------------------------------------- */

/* factor x floor; target_factor x floor is this term's part of the target. */
struct bench_term {
    enum bench_floor floor;
    double factor;
    double target_factor; /* 0 in every term: no target by the floor */
    bool is_per_level;    /* times ceil(log2(ranks)) */
};

#define BENCH_MAX_TERMS        2
#define BENCH_MAX_RANKS_LISTED 4

struct bench_measure {
    const char *name;
    const char *text;
    const char *unit; /* "us", "ns", "s" or "GB/s" */
    bool is_more_better;
    bool
        is_kernel; /* one slice in a job, and several jobs, alternating with those of other sizes */
    /* A kernel that runs with a profile (dsmrun --profile); its floor is the kernel of this name
     * without one, in jobs that take turns with its own. */
    const char *unprofiled;
    double most_ratio; /* target: at most so many times its floor */
    struct bench_term floor[BENCH_MAX_TERMS];
    const char *target_text; /* NULL: no target */
    double target_value;     /* in unit; 0: by the floor's target factors */
    uint32_t target_ranks;   /* the target holds for this number of ranks; 0: for all */
    uint32_t min_ranks;
    uint32_t ranks[BENCH_MAX_RANKS_LISTED]; /* run with these unless told otherwise; 0 ends */
    /* All collective; rank 0 adds its samples in slice. Errors: DSM_E codes. open, close may be
     * NULL. */
    int (*open)(struct bench_worker *worker, void **state_out);
    int (*slice)(struct bench_worker *worker, void *state, struct bench_samples *samples);
    /* The same done in another way, in slices that take turns with its own; NULL: nothing. */
    const char *beside_text;
    int (*slice_beside)(struct bench_worker *worker, void *state, struct bench_samples *samples);
    /* What else rank 0 has to say in the record; NULL: nothing. Not collective. */
    void (*put)(void *state, json_t *record);
    void (*close)(struct bench_worker *worker, void *state);
};

extern const struct bench_measure *const bench_measures[]; /* ends with NULL */
const struct bench_measure *bench_measure_find(const char *name);

/* ---- small helpers for both ----------------------------------------------------------------- */

static inline double bench_us_since(uint64_t start_ns)
{
    return (double)(dsm_clock_ns() - start_ns) / 1e3;
}

/* Collective allocation with everything at one rank (the last one where there are fewer). */
int bench_alloc_at(const struct bench_worker *worker, uint32_t rank, size_t size,
                   uint64_t unit_bytes, void **addr_out);
/* Collective, after a barrier. */
void bench_free_shared(const struct bench_worker *worker, void *addr);
/* 0..n-1 in an order that is random but the same everywhere for the same seed; free() it. NULL: no
 * memory. */
uint32_t *bench_shuffle(size_t n, uint64_t seed);
/* Where the results of rank 0 go, one record at a time; the record stays the caller's. */
struct bench_sink {
    void (*put)(void *user, const json_t *record);
    void *user;
};

/*
 * Runs as a rank: joins the job that the environment names and measures. is_selected says which
 * floors and measures. Returns an exit status; what failed has been printed.
 */
int bench_worker_run(bool (*is_selected)(const void *user, const char *name), const void *user,
                     const struct bench_effort *effort, const struct bench_sink *sink);

#endif
