/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * heap_small.c - size classes, each a list of granules with a free block, a bit for every block.
 *
 * Classes: multiples of 16 up to 128, then four steps to each power of two up to 32 KiB; from 4 KiB
 * on they are multiples of a page, so such blocks are page-aligned.
 */
#define _GNU_SOURCE
#include "runtime/heap_small.h"
#include "base/errors.h"
#include "runtime/heap.h"
#include <stdlib.h>
#include <sys/mman.h>

#define MIN_BLOCK     16u
#define MAX_BLOCKS    (DSM_GRANULE_BYTES / MIN_BLOCK)
#define N_CLASSES_MAX 64

struct span {
    struct span *next, *prev; /* in its class's list while it has a free block */
    struct span *all_next, *all_prev;
    uint64_t granule;
    uint32_t n_blocks, n_free;
    unsigned class;
    uint64_t free_bits[MAX_BLOCKS / 64];
};

struct dsm_heap_small {
    struct span *partial[N_CLASSES_MAX];
    uint32_t n_empty[N_CLASSES_MAX]; /* of these, without any live block */
    struct span **spans;             /* by granule; sparse */
    struct span *all;
    uint64_t n_granules;
};

static uint32_t class_bytes(unsigned class)
{
    if (class < 8)
        return (class + 1) * 16;
    unsigned power = 7 + (class - 8) / 4; /* 128 << … */
    uint32_t bytes = (1u << power) + ((class - 8) % 4 + 1) * (1u << (power - 2));
    return bytes > DSM_PAGE_BYTES ? (bytes + DSM_PAGE_BYTES - 1) & ~(DSM_PAGE_BYTES - 1) : bytes;
}

unsigned dsm_heap_small_class(size_t size)
{
    unsigned class = 0;
    while (class_bytes(class) < size)
        class ++;
    return class;
}

int dsm_heap_small_open(struct dsm_heap_small **out, uint64_t n_granules)
{
    struct dsm_heap_small *s = calloc(1, sizeof *s);
    if (!s)
        return DSM_E_NOMEM;
    void *p = mmap(NULL, n_granules * sizeof *s->spans, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        free(s);
        return DSM_E_NOMEM;
    }
    s->spans = p;
    s->n_granules = n_granules;
    *out = s;
    return 0;
}

void dsm_heap_small_close(struct dsm_heap_small *s)
{
    while (s->all) {
        struct span *p = s->all;
        s->all = p->all_next;
        free(p);
    }
    munmap(s->spans, s->n_granules * sizeof *s->spans);
    free(s);
}

static void link_span(struct dsm_heap_small *s, struct span *p)
{
    p->prev = NULL;
    p->next = s->partial[p->class];
    if (p->next)
        p->next->prev = p;
    s->partial[p->class] = p;
}

static void unlink_span(struct dsm_heap_small *s, struct span *p)
{
    if (p->prev)
        p->prev->next = p->next;
    else
        s->partial[p->class] = p->next;
    if (p->next)
        p->next->prev = p->prev;
}

bool dsm_heap_small_take(struct dsm_heap_small *s, unsigned class, uint64_t *offset_out)
{
    struct span *p = s->partial[class];
    if (!p)
        return false;
    unsigned word = 0;
    while (!p->free_bits[word])
        word++;
    unsigned bit = (unsigned)__builtin_ctzll(p->free_bits[word]);
    p->free_bits[word] &= p->free_bits[word] - 1;
    if (p->n_free-- == p->n_blocks)
        s->n_empty[class]--;
    if (p->n_free == 0)
        unlink_span(s, p);
    *offset_out = p->granule * DSM_GRANULE_BYTES + (uint64_t)(word * 64 + bit) * class_bytes(class);
    return true;
}

int dsm_heap_small_add(struct dsm_heap_small *s, unsigned class, uint64_t granule)
{
    struct span *p = calloc(1, sizeof *p);
    if (!p)
        return DSM_E_NOMEM;
    p->granule = granule;
    p->class = class;
    p->n_blocks = p->n_free = (uint32_t)(DSM_GRANULE_BYTES / class_bytes(class));
    for (uint32_t i = 0; i < p->n_blocks; i++)
        p->free_bits[i / 64] |= 1ull << i % 64;
    s->spans[granule] = p;
    p->all_next = s->all;
    if (s->all)
        s->all->all_prev = p;
    s->all = p;
    s->n_empty[class]++;
    link_span(s, p);
    return 0;
}

/* The span and index of the live block at offset; NULL when there is none. */
static struct span *find(const struct dsm_heap_small *s, uint64_t offset, uint32_t *index_out)
{
    uint64_t granule = offset / DSM_GRANULE_BYTES;
    struct span *p = granule < s->n_granules ? s->spans[granule] : NULL;
    if (!p)
        return NULL;
    uint64_t at = offset % DSM_GRANULE_BYTES;
    uint32_t bytes = class_bytes(p->class), index = (uint32_t)(at / bytes);
    if (at % bytes || index >= p->n_blocks || p->free_bits[index / 64] >> index % 64 & 1)
        return NULL;
    *index_out = index;
    return p;
}

uint64_t dsm_heap_small_size(const struct dsm_heap_small *s, uint64_t offset)
{
    uint32_t index;
    struct span *p = find(s, offset, &index);
    return p ? class_bytes(p->class) : 0;
}

int dsm_heap_small_give(struct dsm_heap_small *s, uint64_t offset, uint64_t *granule_out)
{
    uint32_t index;
    struct span *p = find(s, offset, &index);
    if (granule_out)
        *granule_out = UINT64_MAX;
    if (!p)
        return DSM_E_INVAL;
    p->free_bits[index / 64] |= 1ull << index % 64;
    if (p->n_free++ == 0)
        link_span(s, p);
    if (p->n_free < p->n_blocks)
        return 0;
    if (s->n_empty[p->class] == 0 || !granule_out) { /* one a class is kept in any case */
        s->n_empty[p->class]++;
        return 0;
    }
    unlink_span(s, p);
    s->spans[p->granule] = NULL;
    if (p->all_prev)
        p->all_prev->all_next = p->all_next;
    else
        s->all = p->all_next;
    if (p->all_next)
        p->all_next->all_prev = p->all_prev;
    *granule_out = p->granule;
    free(p);
    return 0;
}
