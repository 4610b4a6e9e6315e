/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * heap_small.h - small blocks cut from granules that belong to this rank. The caller locks.
 *
 * Addresses here are offsets in the region.
 */
#ifndef DSM_RUNTIME_HEAP_SMALL_H
#define DSM_RUNTIME_HEAP_SMALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DSM_SMALL_MAX_BYTES (32u << 10)

struct dsm_heap_small;

int dsm_heap_small_open(struct dsm_heap_small **out, uint64_t n_granules);
void dsm_heap_small_close(struct dsm_heap_small *small);

/* The size class for a request; the block size it gives. size <= DSM_SMALL_MAX_BYTES. */
unsigned dsm_heap_small_class(size_t size);
/* A block of the class. False: a granule is needed first (add). */
bool dsm_heap_small_take(struct dsm_heap_small *small, unsigned class, uint64_t *offset_out);
/* Errors: NOMEM. */
int dsm_heap_small_add(struct dsm_heap_small *small, unsigned class, uint64_t granule);
/* Bytes of the live block that starts at offset; 0: none does. */
uint64_t dsm_heap_small_size(const struct dsm_heap_small *small, uint64_t offset);
/*
 * Frees a live block. *granule_out: a granule that became empty and is not needed any more, for the
 * caller to give back; UINT64_MAX: none. With granule_out NULL empty granules stay for later
 * requests. Errors: INVAL (no live block starts there).
 */
int dsm_heap_small_give(struct dsm_heap_small *small, uint64_t offset, uint64_t *granule_out);

#endif
