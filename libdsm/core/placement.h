/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * placement.h - which unit a page belongs to, and which rank is its home.
 *
 * A pure function of the page number and of a table of allocations that is the same on every rank.
 * Pages that no entry covers (the heap) have units of one page and homes dealt round-robin in
 * stripes of DSM_HEAP_STRIPE_PAGES.
 */
#ifndef DSM_CORE_PLACEMENT_H
#define DSM_CORE_PLACEMENT_H

#include <stddef.h>
#include "core/ids.h"

#define DSM_HEAP_STRIPE_PAGES 16u

enum dsm_placement_kind {
    DSM_PLACEMENT_BLOCK,
    DSM_PLACEMENT_CYCLIC,
    DSM_PLACEMENT_RANK,
    DSM_PLACEMENT_FIRST_TOUCH,
};

struct dsm_placement_entry {
    dsm_page_t first;
    uint64_t n_pages;    /* a multiple of unit_pages */
    uint32_t unit_pages; /* a power of two, 1..DSM_UNIT_MAX_PAGES; first is a multiple of it */
    uint32_t kind;       /* enum dsm_placement_kind */
    dsm_rank_t rank;
    uint64_t block_pages; /* CYCLIC and FIRST_TOUCH: a multiple of unit_pages */
};

struct dsm_unit {
    dsm_page_t first;
    uint32_t n_pages;
    dsm_rank_t home;
};

struct dsm_placement_table; /* sorted entries; lookups O(log n) with a last-hit cache */

int dsm_placement_init(struct dsm_placement_table **out, uint32_t n_ranks);
void dsm_placement_close(struct dsm_placement_table *placement);
/* Errors: INVAL (overlaps, unit or multiple wrong), NOMEM. Not signal-handler safe; the caller
 * keeps lookups out meanwhile. */
int dsm_placement_add(struct dsm_placement_table *placement,
                      const struct dsm_placement_entry *entry);
int dsm_placement_remove(struct dsm_placement_table *placement, dsm_page_t first);
/* The entry that covers page, or NULL. Signal-handler safe. */
const struct dsm_placement_entry *dsm_placement_find(const struct dsm_placement_table *placement,
                                                     dsm_page_t page);
/* The pages around one that no entry covers that none covers either. Signal-handler safe. */
void dsm_placement_gap(const struct dsm_placement_table *placement, dsm_page_t page,
                       dsm_page_t *first_out, dsm_page_t *end_out);
/* Signal-handler safe. */
struct dsm_unit dsm_placement_unit(const struct dsm_placement_table *placement, dsm_page_t page);

#endif
