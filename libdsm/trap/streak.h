/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * streak.h - ends a thread that traps at one place for ever.
 *
 * A mistake (a page mapped for reading when the instruction writes, a grant that never maps) would
 * otherwise burn a processor in silence. It cannot be told by counting alone: a thread that polls a
 * flag which others keep taking away traps at one address and instruction a million times, rightly.
 * So a trap counts only when nothing explains it: since the same thread's last trap, which was at
 * the same address and instruction, no call has taken access away from that page, and less than
 * DSM_STREAK_GAP_NS has passed (the kernel, too, drops a mapping now and then). With a handler
 * thread a fault is also reported again whenever a signal interrupts its sleep: there a trap counts
 * only when the page was mapped since the last.
 */
#ifndef DSM_TRAP_STREAK_H
#define DSM_TRAP_STREAK_H

#include "trap/trap.h"
#include <stdatomic.h>

#define DSM_STREAK_LIMIT  10000 /* traps */
#define DSM_STREAK_GAP_NS 100000000ull
#define DSM_STREAK_SLOTS  512 /* threads; those that share a slot forget each other's count */
#define DSM_STREAK_PAGES                                                                           \
    1024 /* counters that pages share: a change too many only resets a count                       \
          */

struct dsm_streak {
    /* A thread looks at it. One that comes meanwhile does not count: they share the slot, and would
     * make one count of two. */
    atomic_bool is_busy;
    uint32_t thread;
    uint32_t n_traps;
    uint32_t n_revoked, n_mapped; /* the page's counters at the last trap */
    uintptr_t addr, ip;
    uint64_t last_ns;
};

struct dsm_streaks {
    bool counts_mapped_only;
    struct dsm_streak slots[DSM_STREAK_SLOTS];
    _Atomic uint32_t n_revoked[DSM_STREAK_PAGES];
    _Atomic uint32_t n_mapped[DSM_STREAK_PAGES];
};

/* Access to these pages was taken away; was given. Signal-handler safe. */
void dsm_streak_revoked(struct dsm_streaks *streaks, uintptr_t addr, size_t len);
void dsm_streak_mapped(struct dsm_streaks *streaks, uintptr_t addr, size_t len);
/* Traps in a row of this thread at this place, this one included. Signal-handler safe. */
uint32_t dsm_streak_count(struct dsm_streaks *streaks, const struct dsm_fault *fault);
/* The same, and ends the process with a message at DSM_STREAK_LIMIT. */
void dsm_streak_check(struct dsm_streaks *streaks, const struct dsm_fault *fault);

#endif
