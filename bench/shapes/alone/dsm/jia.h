/* SPDX-License-Identifier: BSD-3-Clause */
/* jia.h - the calls of JIAJIA that the programs here use, for one process without the library: what
 * they are held against. */
#ifndef BENCH_SHAPES_JIA_H
#define BENCH_SHAPES_JIA_H

#include <stdlib.h>

static const int jiapid = 0, jiahosts = 1;

static inline void jia_init(int argc, char **argv)
{
    (void)argc;
    (void)argv;
}

static inline void jia_exit(void)
{
}

static inline unsigned long jia_alloc3(int size, int block, int start)
{
    (void)block;
    (void)start;
    return (unsigned long)calloc(1, (size_t)size);
}

static inline unsigned long jia_alloc(int size)
{
    return jia_alloc3(size, 0, 0);
}

static inline void jia_lock(int id)
{
    (void)id;
}

static inline void jia_unlock(int id)
{
    (void)id;
}

static inline void jia_barrier(void)
{
}

#endif
