/* SPDX-License-Identifier: BSD-3-Clause */
/* base_search.c - default holes of the address space, and the order of what ranks suggest. */
#include "dsmd/base_search.h"
#include "base/bytes.h"
#include <string.h>

/*
 * Linux puts programs at 4 MiB or 0x55..., heaps behind them, libraries and stacks from 0x7f...
 * downwards. Sanitizers use the low 17 TiB (ASan) and all of 0x01..-0x20..., 0x30..-0x34..., 0x60..
 * (TSan's and ASan's allocators), so the first choice is free under them too.
 */
static const uint64_t default_candidates[] = {
    0x200000000000ull, /* 32 TiB */
    0x400000000000ull, /* 64 TiB */
    0x350000000000ull, 0x120000000000ull, 0x650000000000ull, 0x020000000000ull,
};

bool dsm_base_is_possible(uint64_t base, uint64_t region_bytes)
{
    return base % DSM_BASE_ALIGN_BYTES == 0 && base >= DSM_BASE_LOWEST && base < DSM_BASE_END &&
           region_bytes <= DSM_BASE_END - base;
}

static bool is_known(const struct dsm_base_search *search, uint64_t base)
{
    for (uint32_t i = 0; i < search->n_candidates; i++)
        if (search->candidates[i] == base)
            return true;
    return false;
}

void dsm_base_search_init(struct dsm_base_search *search, uint64_t region_bytes, uint64_t user_base)
{
    *search = (struct dsm_base_search){.region_bytes = region_bytes};
    if (user_base) {
        search->candidates[search->n_candidates++] = user_base;
        search->is_fixed = true;
        return;
    }
    for (uint32_t i = 0; i < sizeof default_candidates / sizeof default_candidates[0]; i++)
        if (dsm_base_is_possible(default_candidates[i], region_bytes))
            search->candidates[search->n_candidates++] = default_candidates[i];
}

void dsm_base_search_suggest(struct dsm_base_search *search, uint64_t base)
{
    if (search->is_fixed || base == 0 || base > DSM_BASE_END)
        return;
    base = DSM_ALIGN_UP(base, DSM_BASE_ALIGN_BYTES);
    if (search->n_candidates == DSM_BASE_MAX_CANDIDATES || is_known(search, base) ||
        !dsm_base_is_possible(base, search->region_bytes))
        return;
    uint64_t *at = search->candidates + search->n_given;
    memmove(at + 1, at, (search->n_candidates - search->n_given) * sizeof *at);
    *at = base;
    search->n_candidates++;
}

uint64_t dsm_base_search_next(struct dsm_base_search *search)
{
    if (search->n_given == search->n_candidates)
        return 0;
    return search->candidates[search->n_given++];
}
