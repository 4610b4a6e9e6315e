/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * heap_space.h - the manager's map of the region: which granules are taken. One thread.
 */
#ifndef DSM_RUNTIME_HEAP_SPACE_H
#define DSM_RUNTIME_HEAP_SPACE_H

#include <stdbool.h>
#include <stdint.h>

struct dsm_heap_space;

/* Errors: NOMEM. The maps are sparse: paid for by what is touched. */
int dsm_heap_space_open(struct dsm_heap_space **out, uint64_t n_granules);
void dsm_heap_space_close(struct dsm_heap_space *space);

/*
 * Takes n granules in a row, the first a multiple of alignment (a power of two) when modulus is 1,
 * else congruent to residue modulo modulus. Errors: NOSPACE.
 */
int dsm_heap_space_take(struct dsm_heap_space *space, uint64_t n, uint64_t alignment,
                        uint64_t modulus, uint64_t residue, uint64_t *first_out);
/* A block of one granule is to be cut into small blocks by a rank: no block of its own any more. */
void dsm_heap_space_cut(struct dsm_heap_space *space, uint64_t granule);
bool dsm_heap_space_is_cut(const struct dsm_heap_space *space, uint64_t granule);
/* Granules of the live block that starts at first; 0: none does. */
uint64_t dsm_heap_space_size(const struct dsm_heap_space *space, uint64_t first);
/* Blocks being given back cannot be freed a second time, nor taken yet. */
void dsm_heap_space_close_block(struct dsm_heap_space *space, uint64_t first);
void dsm_heap_space_give(struct dsm_heap_space *space, uint64_t first, uint64_t n);

#endif
