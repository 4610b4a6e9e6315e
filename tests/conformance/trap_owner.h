/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trap_owner.h - a tiny owner of pages for the trap suite: one memfd, two views, a state for every
 * page, and an on_fault that fills a page on its first fault and maps what was asked for.
 *
 * Page p of a filled owner holds owner_word(p) in its first eight bytes; without filling it is
 * zero.
 */
#ifndef TRAP_OWNER_H
#define TRAP_OWNER_H

#include "base/mutex.h"
#include "trap/trap.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

#define PAGE ((size_t)4096)

enum page_state { PAGE_NONE, PAGE_READ, PAGE_WRITE };

enum owner_answer {
    OWNER_SERVES,
    OWNER_REFUSES,    /* REFUSE from on_fault */
    OWNER_MAPS_NOT,   /* RETRY without mapping anything */
    OWNER_MAPS_LITTLE /* maps for reading whatever was asked */
};

struct owner {
    const struct dsm_trap_ops *ops;
    struct dsm_trap *trap;
    size_t n_pages;
    volatile uint8_t *app;   /* trapped */
    volatile uint8_t *frame; /* never trapped */
    int memfd;
    bool fills;
    bool owns_trap;
    _Atomic enum owner_answer answer;
    struct dsm_mutex lock; /* held with all signals blocked */
    uint8_t *states;       /* enum page_state */
    bool *is_filled;
    /* Counters and the last fault; read when nobody faults. */
    _Atomic uint32_t n_faults, n_reads, n_writes, n_fills;
    struct dsm_fault last;
};

uint64_t owner_word(size_t page);
/* A view of n_pages; fails the test when it cannot be had. */
void owner_open(struct owner *o, const struct dsm_trap_ops *ops, size_t n_pages, bool fills);
/* The same with settings of the trap; config's on_fault and user are set here. */
void owner_open_with(struct owner *o, const struct dsm_trap_ops *ops, size_t n_pages, bool fills,
                     struct dsm_trap_config config);
/* One more view for first's trap. Its faults come to the same on_fault. */
void owner_open_more(struct owner *o, struct owner *first, size_t n_pages, bool fills);
void owner_close(struct owner *o);

/* The lock, with all signals blocked by a raw call that no interposer sees. */
uint64_t owner_enter(struct owner *o);
void owner_leave(struct owner *o, uint64_t mask);

/* Changes state and mapping of a range together. */
void owner_downgrade(struct owner *o, size_t first, size_t n);
void owner_unmap(struct owner *o, size_t first, size_t n);
void owner_map(struct owner *o, size_t first, size_t n, bool is_write);

static inline uintptr_t app_addr(const struct owner *o, size_t page)
{
    return (uintptr_t)(o->app + page * PAGE);
}

static inline volatile uint64_t *app_word(const struct owner *o, size_t page)
{
    return (volatile uint64_t *)(o->app + page * PAGE);
}

static inline volatile uint64_t *frame_word(const struct owner *o, size_t page)
{
    return (volatile uint64_t *)(o->frame + page * PAGE);
}

/* Sleeps until there have been n faults. */
void owner_wait_faults(struct owner *o, uint32_t n);

/* Is the page in the page tables? From /proc/self/pagemap. */
bool owner_is_present(const struct owner *o, size_t page);

#endif
