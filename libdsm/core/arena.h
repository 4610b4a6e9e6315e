/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * arena.h - nodes in the core's one block of memory, named by offsets.
 *
 * A node is named by a dsm_ref: its offset from the block's start in units of 32 bytes; 0 is none.
 * Freed nodes are kept in lists by size and used again; memory that was never used is not touched.
 */
#ifndef DSM_CORE_ARENA_H
#define DSM_CORE_ARENA_H

#include <stddef.h>
#include <stdint.h>

typedef uint32_t dsm_ref;

#define DSM_ARENA_GRAIN     32u
#define DSM_ARENA_SMALL_MAX 256u /* sizes up to here are rounded to the grain, above to 2^n */
#define DSM_ARENA_CLASSES   22u
#define DSM_ARENA_LARGEST   (1u << 21)
#define DSM_ARENA_BYTES_MAX (((uint64_t)UINT32_MAX + 1) * DSM_ARENA_GRAIN)

struct dsm_arena {
    uint64_t next_bytes; /* offset of the part never used */
    uint64_t end_bytes;
    uint64_t start_bytes;
    uint64_t free_bytes; /* in the lists */
    dsm_ref free[DSM_ARENA_CLASSES];
};

void dsm_arena_init(struct dsm_arena *arena, uint64_t start_bytes, uint64_t end_bytes);
/* A zeroed node; 0 when the bound is reached. base is the start of the block. */
dsm_ref dsm_arena_take(struct dsm_arena *arena, void *base, uint32_t bytes);
void dsm_arena_give(struct dsm_arena *arena, void *base, dsm_ref ref, uint32_t bytes);
/* Bytes that a node of this size really takes. */
uint32_t dsm_arena_node_bytes(uint32_t bytes);

static inline uint64_t dsm_arena_left_bytes(const struct dsm_arena *arena)
{
    return arena->end_bytes - arena->next_bytes;
}
static inline void *dsm_arena_at(void *base, dsm_ref ref)
{
    return (char *)base + (uint64_t)ref * DSM_ARENA_GRAIN;
}

#endif
