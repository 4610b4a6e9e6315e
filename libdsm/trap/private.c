/* SPDX-License-Identifier: BSD-3-Clause */
/* private.c - the stock of private blocks. */
#include "trap/private.h"
#include "trap/raw.h"
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define N_KEPT 8

/*
 * Blocks that nobody uses. Taking one empties its place, so a thread, a signal handler in the
 * middle of a call, and a forked child each own what they took.
 */
static void *_Atomic kept[N_KEPT];

static void *map(size_t len_bytes)
{
    long result = dsm_raw_mmap(0, len_bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return result < 0 && result > -4096 ? NULL : (void *)result;
}

int dsm_private_take(struct dsm_private *memory, size_t len_bytes)
{
    if (len_bytes <= DSM_PRIVATE_BLOCK_BYTES) {
        len_bytes = DSM_PRIVATE_BLOCK_BYTES;
        for (unsigned i = 0; i < N_KEPT; i++) {
            void *block = atomic_exchange(&kept[i], NULL);
            if (block) {
                *memory = (struct dsm_private){block, len_bytes};
                return 0;
            }
        }
    }
    void *block = map(len_bytes);
    if (!block)
        return ENOMEM;
    *memory = (struct dsm_private){block, len_bytes};
    return 0;
}

void dsm_private_give(struct dsm_private *memory)
{
    struct dsm_private given = *memory;
    *memory = (struct dsm_private){NULL, 0};
    if (!given.addr)
        return;
    for (unsigned i = 0; given.len_bytes == DSM_PRIVATE_BLOCK_BYTES && i < N_KEPT; i++) {
        void *nothing = NULL;
        if (atomic_compare_exchange_strong(&kept[i], &nothing, given.addr))
            return;
    }
    dsm_raw_call(SYS_munmap, (long)given.addr, (long)given.len_bytes, 0, 0, 0, 0);
}
