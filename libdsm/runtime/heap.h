/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * heap.h - who has which part of the region's address space.
 *
 * The space is dealt in granules of 64 KiB by one manager, rank 0's service thread (heap_space).
 * Large blocks are runs of granules; small ones are cut from single granules that a rank took for
 * itself (heap_small). A rank takes only granules whose home it is by the heap's striping, so the
 * owner of any small block follows from its address, and blocks of different ranks never share a
 * page. All bookkeeping is in private memory.
 *
 * Each rank has one question on its way at most, so queues at the answering side are bounded by the
 * number of ranks. Questions are answered by service threads, which may allocate; faulting threads
 * that happen to read them only put them into the queue.
 */
#ifndef DSM_RUNTIME_HEAP_H
#define DSM_RUNTIME_HEAP_H

#include "runtime/driver.h"

#define DSM_GRANULE_PAGES DSM_HEAP_STRIPE_PAGES
#define DSM_GRANULE_BYTES (DSM_GRANULE_PAGES * (uint64_t)DSM_PAGE_BYTES)

int dsm_heap_open(struct dsm_driver *driver);
void dsm_heap_close(struct dsm_driver *driver);

/* As the calls in dsm.h; addresses are pointers into the app view. */
int dsm_heap_alloc_collective(struct dsm_driver *driver, size_t size,
                              const struct dsm_alloc_options *options, void **addr_out);
int dsm_heap_alloc(struct dsm_driver *driver, size_t size, size_t alignment, void **addr_out);
int dsm_heap_free(struct dsm_driver *driver, void *addr);
/* Usable bytes of a live block. Errors: INVAL. */
int dsm_heap_size(struct dsm_driver *driver, void *addr, uint64_t *bytes_out);
/* The collective allocation around a page, when this rank knows of one. */
bool dsm_heap_describe(struct dsm_driver *driver, dsm_page_t page, struct dsm_where *where);

/* The collective allocations with the most faults at other ranks' expense; how many. Takes the
 * lock. */
struct dsm_live_alloc;
uint32_t dsm_heap_hottest(struct dsm_driver *driver, struct dsm_live_alloc *out, uint32_t most);
/* One more. (locked) */
void dsm_heap_count_fault(struct dsm_driver *driver, dsm_page_t page);

/* Called by the driver. (locked) */
int dsm_heap_on_message(struct dsm_driver *driver, const struct dsm_message *message);
void dsm_heap_on_dropped(struct dsm_driver *driver, uint64_t serial);
void dsm_heap_on_dead(struct dsm_driver *driver, dsm_rank_t rank);
/* Pages no longer belong to a collective allocation. */
void dsm_heap_forget(struct dsm_driver *driver, dsm_page_t first, uint64_t n_pages);

/* Answers what is queued; on the service thread, which the driver wakes by wake_service. */
void dsm_heap_serve(struct dsm_driver *driver);

#endif
