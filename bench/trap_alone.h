/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trap_alone.h - the bare mechanism of each trap: the kernel's calls and nothing of the library.
 *
 * For a process of its own: it takes SIGBUS and SIGSEGV.
 */
#ifndef BENCH_TRAP_ALONE_H
#define BENCH_TRAP_ALONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_trap_alone {
    const char *name;
    /* A memfd's pages, all present, mapped at app so that accesses trap and are resolved on the
     * spot. -1: not to be had here. One per process and kind. */
    int (*open)(uint8_t *app, size_t len);
    /* Every second page, from the first, becomes read-only, the others absent. */
    int (*prepare)(uint8_t *app, size_t len);
};

#define BENCH_N_TRAPS_ALONE 3
/* sigbus, uffd, segv */
extern const struct bench_trap_alone bench_traps_alone[BENCH_N_TRAPS_ALONE];

#endif
