/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * modes.h - what every page of the attached views allows, and how many kernel mappings that costs.
 *
 * mprotect splits a mapping wherever neighbouring pages differ, and the kernel allows a process
 * vm.max_map_count mappings. This table counts them exactly and finds a cold piece to give up. It
 * makes no system call after dsm_modes_add and knows no lock: the caller serialises.
 *
 * An edge is a page that differs from the one before it in its view; a view of e edges is e+1
 * mappings. Pages are grouped in blocks, and the blocks that have edges are on a ring, which a
 * clock hand goes round: a block that has been mapped into since the hand last came by is warm.
 */
#ifndef DSM_TRAP_MODES_H
#define DSM_TRAP_MODES_H

#include "trap/views.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DSM_MODE_BLOCK_PAGES 512

enum dsm_mode { DSM_MODE_NONE, DSM_MODE_READ, DSM_MODE_WRITE };

struct dsm_mode_block {
    struct dsm_mode_block *next, *prev; /* on the ring; NULL: not there */
    uint16_t n_edges;                   /* of its own pages, the first one's included */
    uint16_t n_open;                    /* pages with any access */
    uint8_t view;
    bool is_warm;
};

struct dsm_mode_view {
    uintptr_t addr;
    size_t n_pages;                /* 0: free */
    uint8_t *modes;                /* one enum dsm_mode a page; paid for by what is touched */
    struct dsm_mode_block *blocks; /* likewise */
};

struct dsm_modes {
    struct dsm_mode_view views[DSM_TRAP_MAX_VIEWS];
    struct dsm_mode_block *hand;
    uint64_t n_mappings; /* of all views together */
    uint64_t n_ring;     /* blocks on the ring */
};

struct dsm_mode_range {
    struct dsm_mode_view *view;
    size_t first;
    size_t n_pages;
};

/* All pages start without access. Errors: NOMEM (address space), LIMIT (too many views). */
int dsm_modes_add(struct dsm_modes *modes, uintptr_t addr, size_t len);
void dsm_modes_remove(struct dsm_modes *modes, uintptr_t addr);
/* The pages of [addr, addr+len), which lies inside one view; view is NULL otherwise. */
struct dsm_mode_range dsm_modes_range(struct dsm_modes *modes, uintptr_t addr, size_t len);

/* How many mappings more it takes to give the whole range this mode; negative: fewer. */
int64_t dsm_modes_growth(const struct dsm_mode_range *range, enum dsm_mode mode);
void dsm_modes_set(struct dsm_modes *modes, const struct dsm_mode_range *range, enum dsm_mode mode);

/*
 * A cold piece, clear of keep, that costs at least one mapping less when it loses all access.
 * False: there is none. Keep's blocks stay untouched, because its thread may need them at one
 * instruction.
 */
bool dsm_modes_find_cold(struct dsm_modes *modes, const struct dsm_mode_range *keep,
                         struct dsm_mode_range *cold_out);

#endif
