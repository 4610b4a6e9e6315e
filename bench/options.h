/* SPDX-License-Identifier: BSD-3-Clause */
/* options.h - the command line of dsm-bench. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_MAX_NAMES 64
#define BENCH_MAX_TRAPS 4

struct bench_options {
    const char *names[BENCH_MAX_NAMES]; /* --only; none: everything */
    size_t n_names;
    const char *traps[BENCH_MAX_TRAPS]; /* --trap; at least one, which may be "auto" */
    size_t n_traps;
    const char *transport; /* "auto" when not given */
    uint32_t n_ranks;      /* 0: as each measure lists */
    const char *json_path; /* NULL: none */
    bool is_quick, is_worker, is_list;
    char *only_text, *trap_text; /* what names and traps point into */
};

/* 0: go on; else *status_out is the status to exit with (help and version: 0, an error: 2) and what
 * there was to say has been said. */
int bench_options_parse(int argc, char **argv, struct bench_options *options, int *status_out);
void bench_options_free(struct bench_options *options);
/* True for a floor's or measure's name that --only lists, and for all without --only. */
bool bench_options_has(const void *options, const char *name);

#endif
