/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * advice.h - what the program of this rank has said about how it uses ranges of the region.
 *
 * A table of ranges that do not overlap, kept by the driver and read by the core; what is not in it
 * is used normally. Changed and read under the driver's lock only.
 */
#ifndef DSM_CORE_ADVICE_H
#define DSM_CORE_ADVICE_H

#include <stdbool.h>
#include "core/ids.h"

enum dsm_advice_kind {
    DSM_ADVICE_KIND_NORMAL,
    DSM_ADVICE_KIND_MIGRATORY,   /* a read asks for write access */
    DSM_ADVICE_KIND_READ_MOSTLY, /* never granted exclusively for reading; fetched ahead at once */
    DSM_ADVICE_KIND_WRITE_ONCE,  /* likewise, as much as may be */
    DSM_ADVICE_KIND_PRIVATE,     /* what other ranks ask for is counted, and told once */
};

struct dsm_advice_range {
    dsm_page_t first, end;
    uint8_t kind;
    bool is_told; /* PRIVATE: that others want it */
};

struct dsm_advice_table {
    struct dsm_advice_range *ranges; /* sorted */
    uint32_t n, capacity;
    dsm_page_t told; /* PRIVATE: wanted by `teller` for the first time, + 1; 0: nothing to tell */
    dsm_rank_t teller;
};

/* Ranges that the table must have room for before one more is set. */
uint32_t dsm_advice_room(const struct dsm_advice_table *table);
/* Takes over a larger array (malloc) and gives back the one before. */
struct dsm_advice_range *dsm_advice_grow(struct dsm_advice_table *table,
                                         struct dsm_advice_range *ranges, uint32_t capacity);
/* Replaces what was said about these pages. Where a range would have to be split and there is no
 * room, its part behind is forgotten. Signal-handler safe. */
void dsm_advice_set(struct dsm_advice_table *table, dsm_page_t first, uint64_t n_pages,
                    enum dsm_advice_kind kind);
/* NULL: nothing was said. Signal-handler safe. */
struct dsm_advice_range *dsm_advice_find(const struct dsm_advice_table *table, dsm_page_t page);

#endif
