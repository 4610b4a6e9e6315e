/* SPDX-License-Identifier: BSD-3-Clause */
/* arena.c - see arena.h. */
#include "core/arena.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"

void dsm_arena_init(struct dsm_arena *arena, uint64_t start_bytes, uint64_t end_bytes)
{
    memset(arena, 0, sizeof *arena);
    arena->start_bytes = DSM_ALIGN_UP(start_bytes, (uint64_t)DSM_ARENA_GRAIN);
    arena->next_bytes = arena->start_bytes;
    arena->end_bytes = end_bytes < DSM_ARENA_BYTES_MAX ? end_bytes : DSM_ARENA_BYTES_MAX;
}

/* 0..7: multiples of the grain up to 256; then 512, 1,024, ... */
static uint32_t class_of(uint32_t bytes)
{
    assert(bytes > 0 && bytes <= DSM_ARENA_LARGEST);
    if (bytes <= DSM_ARENA_SMALL_MAX)
        return (bytes - 1) / DSM_ARENA_GRAIN;
    return (uint32_t)(31 - __builtin_clz(bytes - 1));
}

static uint32_t class_bytes(uint32_t class)
{
    return class < 8u ? (class + 1) * DSM_ARENA_GRAIN : DSM_ARENA_SMALL_MAX << (class - 7u);
}

uint32_t dsm_arena_node_bytes(uint32_t bytes)
{
    return class_bytes(class_of(bytes));
}

dsm_ref dsm_arena_take(struct dsm_arena *arena, void *base, uint32_t bytes)
{
    uint32_t class = class_of(bytes), size = class_bytes(class);
    dsm_ref ref = arena->free[class];

    if (ref) {
        memcpy(&arena->free[class], dsm_arena_at(base, ref), sizeof(dsm_ref));
        arena->free_bytes -= size;
    } else {
        if (dsm_arena_left_bytes(arena) < size)
            return 0;
        ref = (dsm_ref)(arena->next_bytes / DSM_ARENA_GRAIN);
        arena->next_bytes += size;
    }
    memset(dsm_arena_at(base, ref), 0, size);
    return ref;
}

void dsm_arena_give(struct dsm_arena *arena, void *base, dsm_ref ref, uint32_t bytes)
{
    uint32_t class = class_of(bytes);

    memcpy(dsm_arena_at(base, ref), &arena->free[class], sizeof(dsm_ref));
    arena->free[class] = ref;
    arena->free_bytes += class_bytes(class);
}
