/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * placement.c - the table of allocations: which unit a page belongs to, and which rank is its home.
 *
 * Entries are kept sorted by first page in one array. The index of the last hit is a hint that
 * several threads may write at once; it is checked before it is believed.
 */
#include "core/placement.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/errors.h"

struct dsm_placement_table {
    struct dsm_placement_entry *entries;
    size_t n_entries, capacity;
    size_t last_hit; /* relaxed atomic */
    uint32_t n_ranks;
};

int dsm_placement_init(struct dsm_placement_table **out, uint32_t n_ranks)
{
    struct dsm_placement_table *p;

    if (n_ranks == 0)
        return DSM_E_INVAL;
    p = calloc(1, sizeof *p);
    if (!p)
        return DSM_E_NOMEM;
    p->n_ranks = n_ranks;
    *out = p;
    return 0;
}

void dsm_placement_close(struct dsm_placement_table *placement)
{
    if (!placement)
        return;
    free(placement->entries);
    free(placement);
}

/* Number of entries that start at or before page. */
static size_t count_up_to(const struct dsm_placement_table *p, dsm_page_t page)
{
    size_t low = 0, high = p->n_entries;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (p->entries[mid].first <= page)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool entry_is_valid(const struct dsm_placement_table *p, const struct dsm_placement_entry *e)
{
    uint64_t unit = e->unit_pages;

    if (unit == 0 || unit > DSM_UNIT_MAX_PAGES || (unit & (unit - 1)))
        return false;
    if (e->n_pages == 0 || e->n_pages % unit || e->first % unit)
        return false;
    if (e->first + e->n_pages < e->first)
        return false;
    switch ((enum dsm_placement_kind)e->kind) {
    case DSM_PLACEMENT_BLOCK:
        return true;
    case DSM_PLACEMENT_CYCLIC:
    case DSM_PLACEMENT_FIRST_TOUCH:
        return e->rank < p->n_ranks && e->block_pages != 0 && e->block_pages % unit == 0;
    case DSM_PLACEMENT_RANK:
        return e->rank < p->n_ranks;
    }
    return false;
}

static bool covers(const struct dsm_placement_entry *e, dsm_page_t page)
{
    return page >= e->first && page - e->first < e->n_pages;
}

int dsm_placement_add(struct dsm_placement_table *placement,
                      const struct dsm_placement_entry *entry)
{
    size_t at;

    if (!entry_is_valid(placement, entry))
        return DSM_E_INVAL;
    at = count_up_to(placement, entry->first);
    if (at > 0 && covers(&placement->entries[at - 1], entry->first))
        return DSM_E_INVAL;
    if (at < placement->n_entries && covers(entry, placement->entries[at].first))
        return DSM_E_INVAL;
    if (placement->n_entries == placement->capacity) {
        size_t capacity = placement->capacity ? placement->capacity * 2 : 16;
        struct dsm_placement_entry *grown =
            realloc(placement->entries, capacity * sizeof *placement->entries);

        if (!grown)
            return DSM_E_NOMEM;
        placement->entries = grown;
        placement->capacity = capacity;
    }
    memmove(&placement->entries[at + 1], &placement->entries[at],
            (placement->n_entries - at) * sizeof *placement->entries);
    placement->entries[at] = *entry;
    placement->n_entries++;
    return 0;
}

int dsm_placement_remove(struct dsm_placement_table *placement, dsm_page_t first)
{
    size_t at = count_up_to(placement, first);

    if (at == 0 || placement->entries[at - 1].first != first)
        return DSM_E_INVAL;
    at--;
    memmove(&placement->entries[at], &placement->entries[at + 1],
            (placement->n_entries - at - 1) * sizeof *placement->entries);
    placement->n_entries--;
    return 0;
}

const struct dsm_placement_entry *dsm_placement_find(const struct dsm_placement_table *placement,
                                                     dsm_page_t page)
{
    size_t hint = __atomic_load_n(&placement->last_hit, __ATOMIC_RELAXED);
    size_t at;

    if (hint < placement->n_entries && covers(&placement->entries[hint], page))
        return &placement->entries[hint];
    at = count_up_to(placement, page);
    if (at == 0 || !covers(&placement->entries[at - 1], page))
        return NULL;
    /* The hint alone is written through the const pointer: it is not part of what the table says.
     */
    __atomic_store_n(&((struct dsm_placement_table *)(uintptr_t)placement)->last_hit, at - 1,
                     __ATOMIC_RELAXED);
    return &placement->entries[at - 1];
}

void dsm_placement_gap(const struct dsm_placement_table *placement, dsm_page_t page,
                       dsm_page_t *first_out, dsm_page_t *end_out)
{
    const struct dsm_placement_entry *entries = placement->entries;
    size_t at = count_up_to(placement, page);

    *first_out = at > 0 ? entries[at - 1].first + entries[at - 1].n_pages : 0;
    *end_out = at < placement->n_entries ? entries[at].first : UINT64_MAX;
}

static dsm_rank_t entry_home(const struct dsm_placement_table *p,
                             const struct dsm_placement_entry *e, dsm_page_t unit_first)
{
    uint64_t offset = unit_first - e->first;

    switch ((enum dsm_placement_kind)e->kind) {
    case DSM_PLACEMENT_BLOCK: {
        /* Rank r has units [r*N/n, (r+1)*N/n): the split that programs compute themselves. */
        uint64_t index = offset / e->unit_pages, n_units = e->n_pages / e->unit_pages;

        return (dsm_rank_t)(((index + 1) * p->n_ranks - 1) / n_units);
    }
    case DSM_PLACEMENT_CYCLIC:
    case DSM_PLACEMENT_FIRST_TOUCH:
        return (dsm_rank_t)((offset / e->block_pages + e->rank) % p->n_ranks);
    case DSM_PLACEMENT_RANK:
        return e->rank;
    }
    return 0;
}

struct dsm_unit dsm_placement_unit(const struct dsm_placement_table *placement, dsm_page_t page)
{
    const struct dsm_placement_entry *e = dsm_placement_find(placement, page);
    struct dsm_unit unit;

    if (!e) {
        unit.first = page;
        unit.n_pages = 1;
        unit.home = (dsm_rank_t)((page / DSM_HEAP_STRIPE_PAGES) % placement->n_ranks);
        return unit;
    }
    /* e->first is a multiple of the unit, so the unit is aligned in the region as well. */
    unit.first = page & ~(dsm_page_t)(e->unit_pages - 1);
    unit.n_pages = e->unit_pages;
    unit.home = entry_home(placement, e, unit.first);
    return unit;
}
