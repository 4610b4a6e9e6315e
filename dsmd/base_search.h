/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base_search.h - which base address to propose to the ranks next. Pure: candidates in, candidates
 * out, each at most once.
 */
#ifndef DSM_DSMD_BASE_SEARCH_H
#define DSM_DSMD_BASE_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#define DSM_BASE_MAX_CANDIDATES 32u
#define DSM_BASE_ALIGN_BYTES    (2ull << 20) /* the largest coherence unit */
#define DSM_BASE_LOWEST         0x10000000ull
#define DSM_BASE_END            0x7ffffffff000ull /* user addresses of four-level page tables */

struct dsm_base_search {
    uint64_t region_bytes;
    uint64_t candidates[DSM_BASE_MAX_CANDIDATES];
    uint32_t n_candidates;
    uint32_t n_given; /* proposed so far */
    bool is_fixed;    /* the user chose */
};

/* Whether a region may lie there at all: alignment and ends. */
bool dsm_base_is_possible(uint64_t base, uint64_t region_bytes);
/* user_base 0: the default candidates; else that one alone. */
void dsm_base_search_init(struct dsm_base_search *search, uint64_t region_bytes,
                          uint64_t user_base);
/* A base that one rank offers, to be proposed before the remaining defaults. Aligned upwards;
 * ignored when the user chose the base, when it is known already or impossible. */
void dsm_base_search_suggest(struct dsm_base_search *search, uint64_t base);
/* The next candidate; 0: none left. */
uint64_t dsm_base_search_next(struct dsm_base_search *search);

#endif
