/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * private.h - private memory for the time of one call, for interposers that may not allocate.
 *
 * A few blocks are kept ready; what is larger, or asked for while all are in use, comes from the
 * kernel and goes back to it. No lock, so everything here is signal-handler safe.
 */
#ifndef DSM_TRAP_PRIVATE_H
#define DSM_TRAP_PRIVATE_H

#include <stddef.h>

#define DSM_PRIVATE_BLOCK_BYTES ((size_t)256 << 10)

struct dsm_private {
    void *addr; /* page-aligned; NULL: nothing taken */
    size_t len_bytes;
};

/* Only what is touched is paid for. Holds anything at first. Returns 0 or ENOMEM. */
int dsm_private_take(struct dsm_private *memory, size_t len_bytes);
/* Gives back what was taken, if anything was. */
void dsm_private_give(struct dsm_private *memory);

#endif
