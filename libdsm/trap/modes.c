/* SPDX-License-Identifier: BSD-3-Clause */
/* modes.c - counting mappings. Signal-handler safe but for dsm_modes_add and dsm_modes_remove. */
#define _GNU_SOURCE
#include "trap/modes.h"
#include "base/bytes.h"
#include "base/errors.h"
#include <string.h>
#include <sys/mman.h>

#define PAGE_BYTES 4096ul

static size_t n_blocks(const struct dsm_mode_view *view)
{
    return (view->n_pages + DSM_MODE_BLOCK_PAGES - 1) / DSM_MODE_BLOCK_PAGES;
}

static void *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    madvise(p, bytes, MADV_NOHUGEPAGE);
    madvise(p, bytes, MADV_DONTDUMP);
    madvise(p, bytes, MADV_DONTFORK);
    return p;
}

int dsm_modes_add(struct dsm_modes *modes, uintptr_t addr, size_t len)
{
    unsigned i = 0;
    while (i < DSM_TRAP_MAX_VIEWS && modes->views[i].n_pages != 0)
        i++;
    if (i == DSM_TRAP_MAX_VIEWS)
        return DSM_E_LIMIT;
    struct dsm_mode_view view = {.addr = addr, .n_pages = len / PAGE_BYTES};
    view.modes = reserve(view.n_pages);
    view.blocks = reserve(n_blocks(&view) * sizeof *view.blocks);
    if (!view.modes || !view.blocks) {
        if (view.modes)
            munmap(view.modes, view.n_pages);
        if (view.blocks)
            munmap(view.blocks, n_blocks(&view) * sizeof *view.blocks);
        return DSM_E_NOMEM;
    }
    modes->views[i] = view;
    modes->n_mappings++;
    return 0;
}

void dsm_modes_remove(struct dsm_modes *modes, uintptr_t addr)
{
    for (unsigned i = 0; i < DSM_TRAP_MAX_VIEWS; i++) {
        struct dsm_mode_view *view = &modes->views[i];
        if (view->n_pages == 0 || view->addr != addr)
            continue;
        struct dsm_mode_range all = {view, 0, view->n_pages};
        dsm_modes_set(modes, &all, DSM_MODE_NONE); /* takes its blocks off the ring */
        munmap(view->blocks, n_blocks(view) * sizeof *view->blocks);
        munmap(view->modes, view->n_pages);
        *view = (struct dsm_mode_view){.addr = 0};
        modes->n_mappings--;
        return;
    }
}

struct dsm_mode_range dsm_modes_range(struct dsm_modes *modes, uintptr_t addr, size_t len)
{
    for (unsigned i = 0; i < DSM_TRAP_MAX_VIEWS; i++) {
        struct dsm_mode_view *view = &modes->views[i];
        if (addr < view->addr || addr - view->addr >= view->n_pages * PAGE_BYTES ||
            len > view->n_pages * PAGE_BYTES - (addr - view->addr))
            continue;
        size_t first = (addr - view->addr) / PAGE_BYTES;
        size_t end = (addr - view->addr + len + PAGE_BYTES - 1) / PAGE_BYTES;
        return (struct dsm_mode_range){view, first, end - first};
    }
    return (struct dsm_mode_range){.view = NULL};
}

static bool is_edge(const struct dsm_mode_view *view, size_t page)
{
    return page > 0 && page < view->n_pages && view->modes[page] != view->modes[page - 1];
}

/* The part of [first, end) that lies in the block of page first. */
static size_t slice_end(size_t first, size_t end)
{
    size_t block_end = DSM_ALIGN_DOWN(first, (size_t)DSM_MODE_BLOCK_PAGES) + DSM_MODE_BLOCK_PAGES;
    return block_end < end ? block_end : end;
}

static struct dsm_mode_block *block_of(const struct dsm_mode_view *view, size_t page)
{
    return &view->blocks[page / DSM_MODE_BLOCK_PAGES];
}

static bool is_whole_block(const struct dsm_mode_view *view, size_t first, size_t end)
{
    return first % DSM_MODE_BLOCK_PAGES == 0 &&
           (end - first == DSM_MODE_BLOCK_PAGES || end == view->n_pages);
}

static uint16_t edges_in_slice(const struct dsm_mode_view *view, size_t first, size_t end)
{
    const struct dsm_mode_block *block = block_of(view, first);
    if (block->n_edges == 0 || is_whole_block(view, first, end))
        return block->n_edges;
    uint16_t n = 0;
    for (size_t page = first; page < end; page++)
        n = (uint16_t)(n + is_edge(view, page));
    return n;
}

static uint16_t open_in_slice(const struct dsm_mode_view *view, size_t first, size_t end)
{
    const struct dsm_mode_block *block = block_of(view, first);
    if (block->n_open == 0 || is_whole_block(view, first, end))
        return block->n_open;
    uint16_t n = 0;
    for (size_t page = first; page < end; page++)
        n = (uint16_t)(n + (view->modes[page] != DSM_MODE_NONE));
    return n;
}

/* Edges at the two ends of a range that has this mode throughout. */
static int64_t edges_outside(const struct dsm_mode_range *range, enum dsm_mode mode)
{
    const struct dsm_mode_view *view = range->view;
    size_t end = range->first + range->n_pages;
    return (range->first > 0 && view->modes[range->first - 1] != mode) +
           (end < view->n_pages && view->modes[end] != mode);
}

int64_t dsm_modes_growth(const struct dsm_mode_range *range, enum dsm_mode mode)
{
    size_t end = range->first + range->n_pages;
    int64_t before = is_edge(range->view, end);
    for (size_t at = range->first, next; at < end; at = next) {
        next = slice_end(at, end);
        before += edges_in_slice(range->view, at, next);
    }
    return edges_outside(range, mode) - before;
}

static void ring_update(struct dsm_modes *modes, const struct dsm_mode_view *view, size_t page)
{
    struct dsm_mode_block *block = block_of(view, page);
    if (block->n_edges > 0 && !block->next) {
        block->view = (uint8_t)(view - modes->views);
        if (!modes->hand) {
            modes->hand = block->next = block->prev = block;
        } else { /* behind the hand: the last that it comes to */
            block->next = modes->hand;
            block->prev = modes->hand->prev;
            block->prev->next = block->next->prev = block;
        }
        modes->n_ring++;
    } else if (block->n_edges == 0 && block->next) {
        if (modes->hand == block)
            modes->hand = block->next != block ? block->next : NULL;
        block->prev->next = block->next;
        block->next->prev = block->prev;
        block->next = block->prev = NULL;
        modes->n_ring--;
    }
}

void dsm_modes_set(struct dsm_modes *modes, const struct dsm_mode_range *range, enum dsm_mode mode)
{
    const struct dsm_mode_view *view = range->view;
    size_t first = range->first, end = first + range->n_pages;

    modes->n_mappings = (uint64_t)((int64_t)modes->n_mappings + dsm_modes_growth(range, mode));
    /* Take the old edges away while the old modes are still there, then put in the new. */
    if (is_edge(view, end))
        block_of(view, end)->n_edges--;
    for (size_t at = first, next; at < end; at = next) {
        next = slice_end(at, end);
        struct dsm_mode_block *block = block_of(view, at);
        uint16_t n_edges = edges_in_slice(view, at, next);
        if (n_edges > 0)
            block->n_edges = (uint16_t)(block->n_edges - n_edges);
    }
    for (size_t at = first, next; at < end; at = next) {
        next = slice_end(at, end);
        struct dsm_mode_block *block = block_of(view, at);
        if (block->n_open == 0 && mode == DSM_MODE_NONE)
            continue; /* never touched: stays unpaid for */
        block->n_open = (uint16_t)(block->n_open - open_in_slice(view, at, next) +
                                   (mode != DSM_MODE_NONE ? next - at : 0));
        if (mode != DSM_MODE_NONE)
            block->is_warm = true;
        memset(view->modes + at, (int)mode, next - at);
    }
    if (is_edge(view, first))
        block_of(view, first)->n_edges++;
    if (is_edge(view, end))
        block_of(view, end)->n_edges++;

    for (size_t at = first, next; at < end; at = next) {
        next = slice_end(at, end);
        ring_update(modes, view, at);
    }
    if (end < view->n_pages)
        ring_update(modes, view, end);
}

static bool touches(const struct dsm_mode_range *keep, const struct dsm_mode_view *view,
                    size_t first, size_t end)
{
    return keep->view == view && first < keep->first + keep->n_pages && keep->first < end;
}

/*
 * From one block to the right until the piece is worth a mapping. One block is enough unless all
 * its pages are alike and both neighbours differ: a lone island costs as much closed as open.
 */
static bool grow_piece(const struct dsm_mode_view *view, size_t first,
                       const struct dsm_mode_range *keep, struct dsm_mode_range *cold_out)
{
    struct dsm_mode_range piece = {(struct dsm_mode_view *)view, first, 0};
    while (first + piece.n_pages < view->n_pages) {
        size_t at = first + piece.n_pages, next = slice_end(at, view->n_pages);
        if (touches(keep, view, at, next))
            return false;
        piece.n_pages = next - first;
        if (dsm_modes_growth(&piece, DSM_MODE_NONE) < 0) {
            *cold_out = piece;
            return true;
        }
        if (block_of(view, at)->n_edges == 0 && at != first)
            return false; /* a long stretch of one mode: nothing to gain on this side */
    }
    return false;
}

bool dsm_modes_find_cold(struct dsm_modes *modes, const struct dsm_mode_range *keep,
                         struct dsm_mode_range *cold_out)
{
    /* Twice round: the first time may only cool everything. */
    for (uint64_t i = 0; i < 2 * modes->n_ring; i++) {
        struct dsm_mode_block *block = modes->hand;
        modes->hand = block->next;
        const struct dsm_mode_view *view = &modes->views[block->view];
        if (block->is_warm) {
            block->is_warm = false;
            continue;
        }
        size_t first = (size_t)(block - view->blocks) * DSM_MODE_BLOCK_PAGES;
        if (grow_piece(view, first, keep, cold_out))
            return true;
    }
    return false;
}
