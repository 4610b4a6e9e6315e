/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region.h - the memory of the region in this process: one sparse memfd, mapped twice.
 *
 * The app view lies at the job's address and is what the program uses; traps attach to it. The
 * frame view lies anywhere, is always read-write and never traps: sockets and cards read and write
 * it.
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
    uint64_t len_bytes;
    int memfd;
};

#define DSM_REGION_MAX_BYTES (16ull << 40)

/* Creates the memfd and the frame view. why gets the reason with numbers. Errors: NOMEM, LIMIT,
 * SYSTEM. */
int dsm_region_open(struct dsm_region *region, uint64_t len_bytes, char *why, size_t why_bytes);
/* Maps the app view at base, where nothing else may be mapped yet (RANGE otherwise; then
 * *suggestion_out is a hole that would do, or 0). */
int dsm_region_map_app(struct dsm_region *region, uint64_t base, uint64_t *suggestion_out);
void dsm_region_unmap_app(struct dsm_region *region);
/* The next three are signal-handler safe. */
/* Makes frame pages that were never written exist (zero). */
void dsm_region_materialise(const struct dsm_region *region, dsm_page_t first, uint64_t n_pages);
/* Gives frame pages back. Errors: SYSTEM. */
int dsm_region_punch(const struct dsm_region *region, dsm_page_t first, uint64_t n_pages);
static inline bool dsm_region_has(const struct dsm_region *region, uintptr_t addr)
{
    return addr - (uintptr_t)region->app < region->len_bytes;
}
void dsm_region_close(struct dsm_region *region);

#endif
