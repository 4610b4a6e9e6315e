/* SPDX-License-Identifier: BSD-3-Clause */
/* heap_space.c - a bit for every granule, and the length of every block at its first granule. */
#define _GNU_SOURCE
#include "runtime/heap_space.h"
#include "base/bytes.h"
#include "base/errors.h"
#include "core/placement.h"
#include <stdlib.h>
#include <sys/mman.h>

#define CUT UINT32_MAX /* for a length, which is never so large */

struct dsm_heap_space {
    uint64_t n_granules;
    uint64_t *taken;  /* bit set */
    uint32_t *length; /* at the first granule of a live block: its granules, or CUT; else 0 */
    uint64_t hint;    /* below it nothing is free, but for residues */
    size_t taken_bytes, length_bytes;
};

static void *map_sparse(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

int dsm_heap_space_open(struct dsm_heap_space **out, uint64_t n_granules)
{
    struct dsm_heap_space *s = calloc(1, sizeof *s);
    if (!s)
        return DSM_E_NOMEM;
    s->n_granules = n_granules;
    s->taken_bytes = (n_granules + 63) / 64 * 8;
    s->length_bytes = n_granules * sizeof *s->length;
    s->taken = map_sparse(s->taken_bytes);
    s->length = map_sparse(s->length_bytes);
    if (!s->taken || !s->length) {
        dsm_heap_space_close(s);
        return DSM_E_NOMEM;
    }
    *out = s;
    return 0;
}

void dsm_heap_space_close(struct dsm_heap_space *s)
{
    if (s->taken)
        munmap(s->taken, s->taken_bytes);
    if (s->length)
        munmap(s->length, s->length_bytes);
    free(s);
}

static bool is_taken(const struct dsm_heap_space *s, uint64_t g)
{
    return s->taken[g / 64] >> g % 64 & 1;
}

static void mark(struct dsm_heap_space *s, uint64_t first, uint64_t n, bool taken)
{
    for (uint64_t g = first; g < first + n; g++) {
        if (taken)
            s->taken[g / 64] |= 1ull << g % 64;
        else
            s->taken[g / 64] &= ~(1ull << g % 64);
    }
}

/* The first free granule at or after g; n_granules when there is none. */
static uint64_t next_free(const struct dsm_heap_space *s, uint64_t g)
{
    while (g < s->n_granules) {
        uint64_t word = ~s->taken[g / 64] >> g % 64;
        if (word) {
            g += (uint64_t)__builtin_ctzll(word);
            return g < s->n_granules ? g : s->n_granules;
        }
        g = (g / 64 + 1) * 64;
    }
    return s->n_granules;
}

/* Of [first, first + n), the first taken one; first + n when all are free. */
static uint64_t next_taken(const struct dsm_heap_space *s, uint64_t first, uint64_t n)
{
    uint64_t end = first + n;
    for (uint64_t g = first; g < end;) {
        uint64_t word = s->taken[g / 64] >> g % 64;
        if (word) {
            g += (uint64_t)__builtin_ctzll(word);
            return g < end ? g : end;
        }
        g = (g / 64 + 1) * 64;
    }
    return end;
}

int dsm_heap_space_take(struct dsm_heap_space *s, uint64_t n, uint64_t alignment, uint64_t modulus,
                        uint64_t residue, uint64_t *first_out)
{
    /* A drop counts pages in 32 bits. The alignment may come from another rank. */
    if (n == 0 || n > s->n_granules || n > UINT32_MAX / DSM_HEAP_STRIPE_PAGES ||
        (alignment & (alignment - 1)) || alignment > s->n_granules)
        return DSM_E_NOSPACE;
    s->hint = next_free(s, s->hint);
    for (uint64_t g = s->hint;;) {
        g = next_free(s, g);
        if (modulus > 1)
            g += (residue + modulus - g % modulus) % modulus;
        else
            g = DSM_ALIGN_UP(g, alignment);
        if (g > s->n_granules - n)
            return DSM_E_NOSPACE;
        uint64_t obstacle = next_taken(s, g, n);
        if (obstacle == g + n) {
            mark(s, g, n, true);
            s->length[g] = (uint32_t)n;
            *first_out = g;
            return 0;
        }
        g = obstacle + 1;
    }
}

void dsm_heap_space_cut(struct dsm_heap_space *s, uint64_t granule)
{
    s->length[granule] = CUT;
}

bool dsm_heap_space_is_cut(const struct dsm_heap_space *s, uint64_t granule)
{
    return granule < s->n_granules && is_taken(s, granule) && s->length[granule] == CUT;
}

uint64_t dsm_heap_space_size(const struct dsm_heap_space *s, uint64_t first)
{
    if (first >= s->n_granules || !is_taken(s, first) || s->length[first] == CUT)
        return 0;
    return s->length[first];
}

void dsm_heap_space_close_block(struct dsm_heap_space *s, uint64_t first)
{
    s->length[first] = 0;
}

void dsm_heap_space_give(struct dsm_heap_space *s, uint64_t first, uint64_t n)
{
    s->length[first] = 0;
    mark(s, first, n, false);
    if (first < s->hint)
        s->hint = first;
}
