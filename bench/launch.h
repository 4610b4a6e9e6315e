/* SPDX-License-Identifier: BSD-3-Clause */
/* launch.h - starts dsmrun with workers and reads their results. */
#ifndef BENCH_LAUNCH_H
#define BENCH_LAUNCH_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/worker.h"

/* Where the programs are. */
struct bench_paths {
    char bench[PATH_MAX];  /* this program */
    char dsmrun[PATH_MAX]; /* or a name for PATH */
};

/* Errors: SYSTEM (told). */
int bench_launch_find(struct bench_paths *paths_out);

struct bench_job {
    uint32_t n_ranks;
    const char *trap, *transport;
    const char *only;    /* names, comma between */
    const char *profile; /* NULL: none is recorded */
    bool is_quick;
    unsigned timeout_s;
};

/*
 * Runs one job to its end and puts its records. Errors: TIMEOUT (the job was ended), PEER (it
 * failed), SYSTEM; told in one line each, beside what the job said itself.
 */
int bench_launch_run(const struct bench_paths *paths, const struct bench_job *job,
                     const struct bench_sink *sink);

#endif
