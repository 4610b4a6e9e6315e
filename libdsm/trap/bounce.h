/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bounce.h - arguments of one call, taken through private memory when they are in the region.
 *
 * The kernel does not fetch pages: what it is given must be private. An argument is copied before
 * the call, or given a private place and copied back afterwards, as many bytes as were written.
 * Copying is done in user mode, where missing pages trap as ever. What is not in the region, or
 * only in part, stays as it is, for the kernel to judge.
 *
 * Everything is signal-handler safe. A bounce is closed when its scope is left, also by a
 * cancellation in the middle of the call (the callers are compiled with -fexceptions).
 */
#ifndef DSM_TRAP_BOUNCE_H
#define DSM_TRAP_BOUNCE_H

#include "trap/private.h"
#include "trap/views.h"
#include <stdbool.h>
#include <stddef.h>

#define DSM_BOUNCE_ITEMS       6
#define DSM_BOUNCE_SMALL_BYTES 512 /* of all items together, on the stack */

struct dsm_bounce_item {
    void *shared;
    void *copy;
    struct dsm_private memory;
};

struct dsm_bounce {
    int error; /* 0, or ENOMEM: an argument found no private memory, and the call is not made */
    unsigned n_items;
    size_t small_bytes;
    struct dsm_bounce_item items[DSM_BOUNCE_ITEMS];
    _Alignas(16) unsigned char small[DSM_BOUNCE_SMALL_BYTES];
};

#define DSM_BOUNCE(name)                                                                           \
    struct dsm_bounce name __attribute__((cleanup(dsm_bounce_close)));                             \
    dsm_bounce_open(&name)

static inline void dsm_bounce_open(struct dsm_bounce *bounce)
{
    bounce->error = 0;
    bounce->n_items = 0;
    bounce->small_bytes = 0;
}

void dsm_bounce_close(struct dsm_bounce *bounce);

/*
 * True when any of the bytes is in the region. One compare for most that are not: those between two
 * segments of it (the heap of a program that shares its global variables) are looked at closer.
 */
static inline bool dsm_bounce_touches(const void *p, size_t len_bytes)
{
    return __builtin_expect(dsm_view_may_overlap((uintptr_t)p, len_bytes), 0) &&
           dsm_view_overlaps((uintptr_t)p, len_bytes);
}

/* False: no pointer is in the region, because there is none. */
static inline bool dsm_bounce_is_needed(void)
{
    return atomic_load_explicit(&dsm_views_bytes, memory_order_relaxed) != 0;
}

/*
 * True when private memory that a call leads to (a vector, a message header) can be looked at: what
 * cannot is for the kernel to refuse with EFAULT. Looks at both ends, with a system call.
 */
bool dsm_bounce_is_readable(const void *p, size_t len_bytes);

/* The pointer for the kernel: to a copy, or p itself. */
void *dsm_bounce_in(struct dsm_bounce *bounce, const void *p, size_t len_bytes);
/* The same for what the call writes; the private place holds anything at first. */
void *dsm_bounce_out(struct dsm_bounce *bounce, void *p, size_t len_bytes);
/* A string; when it is longer than any path the kernel takes it is cut there, for the kernel to
 * refuse. */
char *dsm_bounce_string(struct dsm_bounce *bounce, const char *s);
/* After the call: the first used bytes of the copy go back to where it came from. Nothing for a
 * pointer that is no copy. */
void dsm_bounce_give(struct dsm_bounce *bounce, const void *copy, size_t used_bytes);
/* Where this copy came from, or NULL when it is none. */
void *dsm_bounce_origin(const struct dsm_bounce *bounce, const void *copy);

#endif
