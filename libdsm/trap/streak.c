/* SPDX-License-Identifier: BSD-3-Clause */
/* streak.c - counting the traps that nothing explains. */
#define _GNU_SOURCE
#include "trap/streak.h"
#include "base/clock.h"
#include "base/log.h"
#include "trap/signals.h"

#define PAGE_SHIFT 12

/*
 * Counters only need to differ from what they were: two threads that count at once and become one
 * step do no harm, so plain loads and stores are enough.
 */
static void step(_Atomic uint32_t *counters, uintptr_t addr, size_t len)
{
    uintptr_t first = addr >> PAGE_SHIFT, last = (addr + len - 1) >> PAGE_SHIFT;
    if (last - first >= DSM_STREAK_PAGES)
        last = first + DSM_STREAK_PAGES - 1;
    for (uintptr_t page = first; page <= last; page++) {
        _Atomic uint32_t *counter = &counters[page % DSM_STREAK_PAGES];
        uint32_t n = atomic_load_explicit(counter, memory_order_relaxed);
        atomic_store_explicit(counter, n + 1, memory_order_relaxed);
    }
}

void dsm_streak_revoked(struct dsm_streaks *streaks, uintptr_t addr, size_t len)
{
    step(streaks->n_revoked, addr, len);
}

void dsm_streak_mapped(struct dsm_streaks *streaks, uintptr_t addr, size_t len)
{
    step(streaks->n_mapped, addr, len);
}

static void start_anew(struct dsm_streak *slot, const struct dsm_fault *fault)
{
    slot->thread = fault->thread;
    slot->addr = fault->addr;
    slot->ip = fault->ip;
    slot->last_ns = 0;
    slot->n_traps = 1;
}

static uint32_t count(const struct dsm_streaks *streaks, struct dsm_streak *slot,
                      const struct dsm_fault *fault)
{
    size_t page = (fault->addr >> PAGE_SHIFT) % DSM_STREAK_PAGES;
    uint32_t n_revoked = atomic_load_explicit(&streaks->n_revoked[page], memory_order_relaxed);
    uint32_t n_mapped = atomic_load_explicit(&streaks->n_mapped[page], memory_order_relaxed);

    if (slot->thread != fault->thread || slot->addr != fault->addr || slot->ip != fault->ip) {
        start_anew(slot, fault);
    } else {
        uint64_t now_ns = dsm_clock_ns();
        bool is_late = slot->last_ns != 0 && now_ns - slot->last_ns > DSM_STREAK_GAP_NS;
        slot->last_ns = now_ns;
        if (slot->n_revoked != n_revoked || is_late)
            slot->n_traps = 1;
        else if (!streaks->counts_mapped_only || slot->n_mapped != n_mapped)
            slot->n_traps++;
    }
    slot->n_revoked = n_revoked;
    slot->n_mapped = n_mapped;
    return slot->n_traps;
}

uint32_t dsm_streak_count(struct dsm_streaks *streaks, const struct dsm_fault *fault)
{
    struct dsm_streak *slot = &streaks->slots[fault->thread % DSM_STREAK_SLOTS];
    if (atomic_exchange_explicit(&slot->is_busy, true, memory_order_acquire))
        return 1;
    uint32_t n_traps = count(streaks, slot, fault);
    atomic_store_explicit(&slot->is_busy, false, memory_order_release);
    return n_traps;
}

void dsm_streak_check(struct dsm_streaks *streaks, const struct dsm_fault *fault)
{
    if (dsm_streak_count(streaks, fault) < DSM_STREAK_LIMIT)
        return;
    dsm_log(DSM_LOG_ERROR,
            "thread %u traps for ever: %u times in a row for %s at 0x%lx, instruction at 0x%lx, "
            "though nothing took the page away",
            fault->thread, DSM_STREAK_LIMIT, fault->is_write ? "writing" : "reading",
            (unsigned long)fault->addr, (unsigned long)fault->ip);
    siginfo_t info = {.si_signo = SIGABRT, .si_code = SI_QUEUE};
    dsm_signal_die(SIGABRT, &info);
}
