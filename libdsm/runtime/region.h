/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region.h - the memory of the region in this process: one sparse memfd, mapped twice.
 *
 * The app view is what the program uses; traps attach to it. It has two segments: the heap, at the
 * job's address, and, where the ranks share the program's global variables, the executable's
 * writable data, at its own address (globals.h). The frame view lies anywhere, in one piece, is
 * always read-write and never traps: sockets and cards read and write it.
 *
 * Page numbers count through both segments, the heap first. Pages on the two sides of that border
 * have adjacent numbers and frames, but not adjacent addresses.
 */
#ifndef DSM_RUNTIME_REGION_H
#define DSM_RUNTIME_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/ids.h"

struct dsm_region {
    uint8_t *app; /* NULL until dsm_region_map_app */
    uint8_t *frame;
    uint64_t len_bytes;     /* of the heap */
    uint8_t *globals;       /* the second segment's address; NULL while it is not mapped */
    uint64_t globals_bytes; /* 0: there is none */
    int memfd;
};

#define DSM_REGION_MAX_BYTES (16ull << 40)

/* Creates the memfd and the frame view. Both lengths are whole pages. why gets the reason with
 * numbers. Errors: NOMEM, LIMIT, SYSTEM. */
int dsm_region_open(struct dsm_region *region, uint64_t len_bytes, uint64_t globals_bytes,
                    char *why, size_t why_bytes);
/* Maps the app view at base, where nothing else may be mapped yet (RANGE otherwise; then
 * *suggestion_out is a hole that would do, or 0). */
int dsm_region_map_app(struct dsm_region *region, uint64_t base, uint64_t *suggestion_out);
void dsm_region_unmap_app(struct dsm_region *region);
/* Maps the second segment over what is at addr. Errors: SYSTEM. */
int dsm_region_map_globals(struct dsm_region *region, uint8_t *addr);
/* The next ones are signal-handler safe. */
/* Makes frame pages that were never written exist (zero). */
void dsm_region_materialise(const struct dsm_region *region, dsm_page_t first, uint64_t n_pages);
/* Gives frame pages back. Errors: SYSTEM. */
int dsm_region_punch(const struct dsm_region *region, dsm_page_t first, uint64_t n_pages);
static inline uint64_t dsm_region_total_bytes(const struct dsm_region *region)
{
    return region->len_bytes + region->globals_bytes;
}
/* First page of the second segment. */
static inline dsm_page_t dsm_region_border(const struct dsm_region *region)
{
    return region->len_bytes >> DSM_PAGE_SHIFT;
}
static inline bool dsm_region_has_globals(const struct dsm_region *region, uintptr_t addr)
{
    return region->globals && addr - (uintptr_t)region->globals < region->globals_bytes;
}
static inline bool dsm_region_has_heap(const struct dsm_region *region, uintptr_t addr)
{
    return addr - (uintptr_t)region->app < region->len_bytes;
}
static inline bool dsm_region_has(const struct dsm_region *region, uintptr_t addr)
{
    return dsm_region_has_heap(region, addr) || dsm_region_has_globals(region, addr);
}
/* Where a page is in the app view; how far into the segments together, and in which page, an address
 * of it is. */
static inline uintptr_t dsm_region_addr(const struct dsm_region *region, dsm_page_t page)
{
    dsm_page_t border = dsm_region_border(region);
    return page < border ? (uintptr_t)region->app + (page << DSM_PAGE_SHIFT)
                         : (uintptr_t)region->globals + ((page - border) << DSM_PAGE_SHIFT);
}
static inline uint64_t dsm_region_offset(const struct dsm_region *region, uintptr_t addr)
{
    return dsm_region_has_globals(region, addr)
               ? region->len_bytes + (addr - (uintptr_t)region->globals)
               : addr - (uintptr_t)region->app;
}
static inline dsm_page_t dsm_region_page(const struct dsm_region *region, uintptr_t addr)
{
    return dsm_region_offset(region, addr) >> DSM_PAGE_SHIFT;
}
void dsm_region_close(struct dsm_region *region);

#endif
