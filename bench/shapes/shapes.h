/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shapes.h - what the programs of bench/shapes have in common: arguments, numbers that are the same
 * everywhere, time, and the one line that dsm-bench-shapes reads: "right SECONDS" or "wrong WHAT".
 *
 * Every program is called as NAME WORKERS SIZE ROUNDS.
 */
#ifndef BENCH_SHAPES_H
#define BENCH_SHAPES_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SHAPES_PAGE_BYTES 4096ul

/* Argument number `at`, which is called `name`; ends the program when it is no number within
 * limits. */
static inline long shapes_argument(int argc, char **argv, int at, const char *name, long least,
                                   long most)
{
    char *end = NULL;
    long value = at < argc ? strtol(argv[at], &end, 10) : 0;

    if (argc != 4 || end == argv[at] || *end != '\0' || value < least || value > most) {
        fprintf(stderr, "%s: %s=%s: it takes WORKERS SIZE ROUNDS, of which %s is %ld to %ld\n",
                argv[0], name, at < argc ? argv[at] : "", name, least, most);
        exit(2);
    }
    return value;
}

/* A number that depends on its argument alone and looks random. */
static inline uint64_t shapes_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The same, from 0 to below 1. */
static inline double shapes_fraction(uint64_t x)
{
    return (double)(shapes_mix(x) >> 11) / 9007199254740992.0;
}

/* Where part `which` of n_parts of n things begins; it ends where the next one begins. */
static inline long shapes_share(long n, long n_parts, long which)
{
    return n * which / n_parts;
}

/* In whole pages: two workers' data have no page in common. */
static inline unsigned long shapes_pages(unsigned long bytes)
{
    return (bytes + SHAPES_PAGE_BYTES - 1) / SHAPES_PAGE_BYTES * SHAPES_PAGE_BYTES;
}

/* Memory of this process alone, zeroed. */
static inline void *shapes_private(unsigned long n, unsigned long bytes)
{
    void *memory = calloc(n, bytes);

    if (memory == NULL) {
        fprintf(stderr, "no memory for %lu times %lu bytes\n", n, bytes);
        exit(1);
    }
    return memory;
}

static inline void *shapes_checked(void *memory, unsigned long bytes)
{
    if (memory == NULL) {
        fprintf(stderr, "no shared memory for %lu bytes\n", bytes);
        exit(1);
    }
    return memory;
}

static inline double shapes_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The status that the program ends with. what: what was compared; off: by how much it differs. */
static inline int shapes_say(const char *what, double off, double most, double seconds)
{
    if (off <= most)
        printf("right %.6f\n", seconds);
    else
        printf("wrong %s is off by %g, and %g is allowed\n", what, off, most);
    return off <= most ? 0 : 1;
}

#endif
