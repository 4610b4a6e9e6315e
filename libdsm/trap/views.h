/* SPDX-License-Identifier: BSD-3-Clause */
/* views.h - the attached app views of the process, found by address without a lock. */
#ifndef DSM_TRAP_VIEWS_H
#define DSM_TRAP_VIEWS_H

#include "trap/streak.h"
#include "trap/trap.h"
#include <stdatomic.h>

#define DSM_TRAP_MAX_VIEWS 16 /* attached at once, of all traps of the process */

/* Where the traps of a view go. */
struct dsm_trap_sink {
    const struct dsm_trap_config *config;
    struct dsm_streaks *streaks; /* may be NULL */
    int signal; /* that a forbidden access raises: SIGBUS, SIGSEGV, or 0 (no signal) */
    int code;   /* with this si_code */
};

/* The sink stays valid until dsm_view_remove. Errors: BUSY (overlaps), LIMIT (too many views). */
int dsm_view_add(uintptr_t addr, size_t len, const struct dsm_trap_sink *sink);
/* Nobody may be in a trap of this view any more. Errors: INVAL (no such view). */
int dsm_view_remove(uintptr_t addr, size_t len);
/* The sink of the view that addr is in, or NULL. Signal-handler safe. */
const struct dsm_trap_sink *dsm_view_find(uintptr_t addr);
/* True when any byte of [addr, addr+len) is in an attached view. Signal-handler safe. */
bool dsm_view_overlaps(uintptr_t addr, size_t len);
/*
 * The part of [addr, addr+len) that is in an attached view, the first one where there are several.
 * False: none. Signal-handler safe.
 */
bool dsm_view_part(uintptr_t addr, size_t len, uintptr_t *start_out, uintptr_t *end_out);

/* All attached views lie in these bytes; 0 bytes when there is none. */
extern _Atomic uintptr_t dsm_views_low, dsm_views_bytes;

/* False: no byte of [addr, addr+len) is in a view, found by one compare. True: ask further. */
static inline bool dsm_view_may_overlap(uintptr_t addr, size_t len)
{
    uintptr_t at = addr - atomic_load_explicit(&dsm_views_low, memory_order_relaxed);
    return at < atomic_load_explicit(&dsm_views_bytes, memory_order_relaxed) || len > -at;
}

/* Gives one view of sink from to sink to, and says which. False: from has none. */
bool dsm_view_hand_over(const struct dsm_trap_sink *from, const struct dsm_trap_sink *to,
                        uintptr_t *addr_out, size_t *len_out);

/*
 * What both mappings of a view need to be told: no huge pages (a page is the unit of everything
 * here), no place in core dumps, nothing for a forked child, which would otherwise write into the
 * parent's frames without any trap. frame may be NULL. Errors: DSM_E_SYSTEM.
 */
int dsm_view_advise(void *app, void *frame, size_t len);

#endif
