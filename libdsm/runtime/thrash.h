/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thrash.h - notices while it happens that memory is moved more than it is used: a unit that ranks
 * take from each other faster than they use it, and a rank whose memory limit is below what it
 * works on. Decides by counts and by the times it is given; tells of each unit, and of the memory,
 * once.
 *
 * What is kept for units has a fixed size without losing what matters: a unit that bounces often
 * displaces others, those that bounce rarely never stay (as in Misra and Gries' count of frequent
 * items).
 */
#ifndef DSM_RUNTIME_THRASH_H
#define DSM_RUNTIME_THRASH_H

#include "core/ids.h"
#include <stdbool.h>

/* So many losses of a unit, within so long, in which it was waited for longer than it was here. */
#define DSM_THRASH_BOUNCES   20000u
#define DSM_THRASH_WINDOW_NS (120ull * 1000000000ull)
#define DSM_THRASH_UNITS     1024u /* watched at a time */
/* Pages fetched again that were given up for want of memory: so many times all that fits, or, for
 * large memories, so many pages and at least twice all that fits. */
#define DSM_THRASH_REFILLS    16u
#define DSM_THRASH_MANY_PAGES (1ull << 20)

struct dsm_thrash_unit {
    dsm_page_t unit_plus_one; /* 0: free */
    uint64_t first_ns, granted_ns, held_ns, waited_ns;
    uint32_t bounces;
    bool is_told;
};

struct dsm_thrash {
    struct dsm_thrash_unit units[DSM_THRASH_UNITS];
    uint64_t *evicted; /* a bit for each page of the region: given up for want of memory */
    uint64_t n_pages, limit_pages;
    uint64_t refetched_pages;
    bool is_memory_told;
};

enum dsm_trouble_kind { DSM_TROUBLE_NONE, DSM_TROUBLE_BOUNCES, DSM_TROUBLE_MEMORY };

struct dsm_trouble {
    enum dsm_trouble_kind kind;
    dsm_page_t unit;
    uint64_t bounces, span_ns, held_ns, waited_ns; /* BOUNCES */
    uint64_t refetched_pages, limit_pages;         /* MEMORY */
};

/* limit_pages 0: no limit. Errors: NOMEM. */
int dsm_thrash_open(struct dsm_thrash **thrash_out, uint64_t n_pages, uint64_t limit_pages);
void dsm_thrash_close(struct dsm_thrash *thrash);

/* All that follow are signal-handler safe; under the driver's lock. True: *out is to be told. */

/* A thread waited for a unit, and has it now. */
void dsm_thrash_granted(struct dsm_thrash *thrash, dsm_page_t unit, uint64_t waited_ns,
                        uint64_t now_ns);
/* Another rank takes it, or write access to it. */
bool dsm_thrash_lost(struct dsm_thrash *thrash, dsm_page_t unit, uint64_t now_ns,
                     struct dsm_trouble *out);
/* A unit's bytes have come, for a thread that waits or ahead of one. */
bool dsm_thrash_fetched(struct dsm_thrash *thrash, dsm_page_t unit, uint32_t n_pages,
                        struct dsm_trouble *out);
/* Its frame is given up for want of memory. */
void dsm_thrash_evicted(struct dsm_thrash *thrash, dsm_page_t unit);

#endif
