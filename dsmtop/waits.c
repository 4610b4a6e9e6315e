/* SPDX-License-Identifier: BSD-3-Clause */
/* waits.c - where the program waited longest at locks, barriers and the like. */
#define _GNU_SOURCE
#include "dsmtop/top.h"
#include "base/log.h"
#include <stdlib.h>
#include <string.h>

static void clean(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

/* Ranks that run the same file have the same places, wherever it is loaded. */
static void place(const struct dsm_live *live, const struct dsm_live_wait *w, struct top_wait *out)
{
    bool is_known = live->code_path[0] && w->ip >= live->code_start && w->ip < live->code_end;
    *out = (struct top_wait){.sum = *w,
                             .file_offset =
                                 is_known ? w->ip - live->code_start + live->code_offset : w->ip,
                             .path = is_known ? live->code_path : NULL};
}

static bool is_same(const struct top_wait *a, const struct top_wait *b)
{
    return a->sum.object == b->sum.object && a->sum.addr == b->sum.addr &&
           a->file_offset == b->file_offset && !a->path == !b->path &&
           (!a->path || strcmp(a->path, b->path) == 0);
}

static void add(struct top_wait *sums, size_t *n, const struct top_wait *w)
{
    for (size_t i = 0; i < *n; i++) {
        if (is_same(&sums[i], w)) {
            sums[i].sum.count += w->sum.count;
            sums[i].sum.wait_ns += w->sum.wait_ns;
            return;
        }
    }
    sums[(*n)++] = *w;
}

static int by_time(const void *left, const void *right)
{
    const struct top_wait *a = left, *b = right;
    if (a->sum.wait_ns != b->sum.wait_ns)
        return a->sum.wait_ns > b->sum.wait_ns ? -1 : 1;
    return a->file_offset < b->file_offset ? -1 : a->file_offset > b->file_offset;
}

/* An allocation that is told of, or the address. */
static void name_object(const struct top_wait *w, const struct dsm_live_alloc *allocs,
                        size_t n_allocs, char *out, size_t out_bytes)
{
    const char *kind = dsm_profile_object_text((enum dsm_profile_object)w->sum.object);
    uint64_t addr = w->sum.addr;
    for (size_t i = 0; i < n_allocs && addr; i++) {
        if (addr - allocs[i].addr >= allocs[i].bytes || !allocs[i].name[0])
            continue;
        dsm_format(out, out_bytes, "%s %s + 0x%lx", kind, allocs[i].name,
                   (unsigned long)(addr - allocs[i].addr));
        return;
    }
    if (addr)
        dsm_format(out, out_bytes, "%s 0x%lx", kind, (unsigned long)addr);
    else
        dsm_format(out, out_bytes, "%s", kind);
}

static void name(struct top *t, struct top_wait *waits, size_t n)
{
    struct dsm_live_alloc allocs[DSM_LIVE_ALLOCS];
    size_t n_allocs = top_allocs(t, allocs);
    for (size_t i = 0; i < n; i++) {
        struct top_wait *w = &waits[i];
        name_object(w, allocs, n_allocs, w->object, sizeof w->object);
        char *code = symbols_describe(&t->symbols, w->path, w->file_offset, w->sum.ip);
        dsm_format(w->code, sizeof w->code, "%s", code ? code : "?");
        clean(w->code);
        free(code);
    }
}

size_t top_waits(struct top *t, struct top_wait out[DSM_LIVE_WAITS])
{
    size_t room = t->n_ranks * DSM_LIVE_WAITS, n = 0, at = 0;
    struct top_wait *sums = calloc(room ? room : 1, sizeof *sums);
    const struct top_rank *rank;
    while (sums && (rank = top_next(t, &at))) {
        for (uint32_t i = 0; i < rank->now.n_waits; i++) {
            struct top_wait w;
            place(&rank->now, &rank->now.waits[i], &w);
            add(sums, &n, &w);
        }
    }
    if (n)
        qsort(sums, n, sizeof *sums, by_time);
    if (n > DSM_LIVE_WAITS)
        n = DSM_LIVE_WAITS;
    if (n)
        memcpy(out, sums, n * sizeof *sums);
    free(sums);
    name(t, out, n);
    return n;
}
