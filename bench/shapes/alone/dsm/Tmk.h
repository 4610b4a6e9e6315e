/* SPDX-License-Identifier: BSD-3-Clause */
/* Tmk.h - the calls of TreadMarks that the programs here use, for one process without the library:
 * what they are held against. */
#ifndef BENCH_SHAPES_TMK_H
#define BENCH_SHAPES_TMK_H

#include <stdlib.h>

static const unsigned Tmk_proc_id = 0, Tmk_nprocs = 1;

static inline void Tmk_startup(int argc, char *const *argv)
{
    (void)argc;
    (void)argv;
}

static inline void Tmk_exit(int status)
{
    exit(status);
}

static inline void *Tmk_malloc(unsigned size)
{
    return calloc(1, size);
}

static inline void Tmk_distribute(const void *addr, int size)
{
    (void)addr;
    (void)size;
}

static inline void Tmk_barrier(unsigned id)
{
    (void)id;
}

static inline void Tmk_lock_acquire(unsigned id)
{
    (void)id;
}

static inline void Tmk_lock_release(unsigned id)
{
    (void)id;
}

#endif
