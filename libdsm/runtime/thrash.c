/* SPDX-License-Identifier: BSD-3-Clause */
/* thrash.c - see thrash.h. */
#define _GNU_SOURCE
#include "runtime/thrash.h"
#include <dsm/dsm.h>
#include <stdlib.h>
#include <sys/mman.h>

static size_t evicted_bytes(uint64_t n_pages)
{
    return (size_t)((n_pages + 63) / 64 * 8);
}

int dsm_thrash_open(struct dsm_thrash **thrash_out, uint64_t n_pages, uint64_t limit_pages)
{
    struct dsm_thrash *t = calloc(1, sizeof *t);
    if (!t)
        return DSM_E_NOMEM;
    t->n_pages = n_pages;
    t->limit_pages = limit_pages;
    /* Paid for by what is touched: a rank that never gives memory up touches nothing. */
    void *bits = mmap(NULL, evicted_bytes(n_pages), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bits == MAP_FAILED) {
        free(t);
        return DSM_E_NOMEM;
    }
    t->evicted = bits;
    *thrash_out = t;
    return 0;
}

void dsm_thrash_close(struct dsm_thrash *t)
{
    munmap(t->evicted, evicted_bytes(t->n_pages));
    free(t);
}

/* ---- units that bounce --------------------------------------------------------------------- */

static struct dsm_thrash_unit *slot_of(struct dsm_thrash *t, dsm_page_t unit)
{
    return &t->units[(unit * 0x9e3779b97f4a7c15ull) >> 54]; /* the top 10 bits */
}

static void watch(struct dsm_thrash_unit *u, dsm_page_t unit, uint64_t now_ns)
{
    *u = (struct dsm_thrash_unit){.unit_plus_one = unit + 1, .first_ns = now_ns};
}

/* Its slot; NULL: another unit, which bounces more, has it. */
static struct dsm_thrash_unit *claim(struct dsm_thrash *t, dsm_page_t unit, uint64_t now_ns)
{
    struct dsm_thrash_unit *u = slot_of(t, unit);
    if (u->unit_plus_one != unit + 1) {
        if (u->is_told)
            return NULL; /* or it would be told again */
        if (u->bounces > 0) {
            u->bounces--;
            return NULL;
        }
        watch(u, unit, now_ns);
    } else if (now_ns - u->first_ns > DSM_THRASH_WINDOW_NS && !u->is_told) {
        watch(u, unit, now_ns);
    }
    return u;
}

void dsm_thrash_granted(struct dsm_thrash *t, dsm_page_t unit, uint64_t waited_ns, uint64_t now_ns)
{
    struct dsm_thrash_unit *u = claim(t, unit, now_ns);
    if (!u)
        return;
    u->waited_ns += waited_ns;
    u->granted_ns = now_ns;
}

bool dsm_thrash_lost(struct dsm_thrash *t, dsm_page_t unit, uint64_t now_ns,
                     struct dsm_trouble *out)
{
    struct dsm_thrash_unit *u = slot_of(t, unit);
    if (u->unit_plus_one != unit + 1 || u->granted_ns == 0)
        return false;
    u->held_ns += now_ns > u->granted_ns ? now_ns - u->granted_ns : 0;
    u->granted_ns = 0;
    u->bounces++;
    if (u->is_told || u->bounces < DSM_THRASH_BOUNCES || u->held_ns >= u->waited_ns)
        return false;
    u->is_told = true;
    *out = (struct dsm_trouble){.kind = DSM_TROUBLE_BOUNCES,
                                .unit = unit,
                                .bounces = u->bounces,
                                .span_ns = now_ns - u->first_ns,
                                .held_ns = u->held_ns,
                                .waited_ns = u->waited_ns};
    return true;
}

/* ---- memory -------------------------------------------------------------------------------- */

static uint64_t most_refetched(uint64_t limit_pages)
{
    uint64_t many =
        2 * limit_pages > DSM_THRASH_MANY_PAGES ? 2 * limit_pages : DSM_THRASH_MANY_PAGES;
    uint64_t refills = DSM_THRASH_REFILLS * limit_pages;
    return refills < many ? refills : many;
}

void dsm_thrash_evicted(struct dsm_thrash *t, dsm_page_t unit)
{
    if (unit < t->n_pages)
        t->evicted[unit / 64] |= 1ull << unit % 64;
}

static bool is_refetched(struct dsm_thrash *t, dsm_page_t unit)
{
    if (unit >= t->n_pages || !(t->evicted[unit / 64] >> unit % 64 & 1))
        return false;
    t->evicted[unit / 64] &= ~(1ull << unit % 64);
    return true;
}

bool dsm_thrash_fetched(struct dsm_thrash *t, dsm_page_t unit, uint32_t n_pages,
                        struct dsm_trouble *out)
{
    if (t->limit_pages == 0 || !is_refetched(t, unit))
        return false;
    t->refetched_pages += n_pages;
    if (t->is_memory_told || t->refetched_pages < most_refetched(t->limit_pages))
        return false;
    t->is_memory_told = true;
    *out = (struct dsm_trouble){.kind = DSM_TROUBLE_MEMORY,
                                .unit = unit,
                                .refetched_pages = t->refetched_pages,
                                .limit_pages = t->limit_pages};
    return true;
}
