/* SPDX-License-Identifier: BSD-3-Clause */
/* index.c - hash tables from a pair of numbers to an index. */
#define _GNU_SOURCE
#include "report/analyse.h"
#include <dsm/dsm.h>
#include <stdlib.h>

struct index_slot *report_find_slot(const struct index_table *t, uint64_t a, uint64_t b)
{
    uint64_t h = (a * 0x9e3779b97f4a7c15u ^ b) * 0xbf58476d1ce4e5b9u;
    size_t at = (h ^ h >> 31) & (t->n_slots - 1);
    while (t->slots[at].index != REPORT_NONE && (t->slots[at].a != a || t->slots[at].b != b))
        at = (at + 1) & (t->n_slots - 1);
    return &t->slots[at];
}

static int widen(struct index_table *t)
{
    struct index_table wide = {.n_slots = t->n_slots ? 2 * t->n_slots : 1024, .n_used = t->n_used};
    wide.slots = calloc(wide.n_slots, sizeof *wide.slots);
    if (!wide.slots)
        return DSM_E_NOMEM;
    for (size_t i = 0; i < wide.n_slots; i++)
        wide.slots[i].index = REPORT_NONE;
    for (size_t i = 0; i < t->n_slots; i++)
        if (t->slots[i].index != REPORT_NONE)
            *report_find_slot(&wide, t->slots[i].a, t->slots[i].b) = t->slots[i];
    free(t->slots);
    *t = wide;
    return 0;
}

struct index_slot *report_index_of(struct index_table *t, uint64_t a, uint64_t b, size_t fresh)
{
    if (2 * t->n_used >= t->n_slots && widen(t) != 0)
        return NULL;
    struct index_slot *slot = report_find_slot(t, a, b);
    if (slot->index == REPORT_NONE) {
        *slot = (struct index_slot){a, b, (uint32_t)fresh};
        t->n_used++;
    }
    return slot;
}
