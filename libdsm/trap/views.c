/* SPDX-License-Identifier: BSD-3-Clause */
/* views.c - the table of attached views. */
#include "trap/views.h"
#include "base/errors.h"
#include "trap/raw.h"
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

/*
 * The only state that the signal handler finds by itself. A slot is free while end is 0. A reader
 * takes end first and looks at it again afterwards: a slot freed or filled meanwhile does not
 * count.
 */
struct view {
    _Atomic uintptr_t end;
    _Atomic uintptr_t start;
    const struct dsm_trap_sink *_Atomic sink;
};

static struct view views[DSM_TRAP_MAX_VIEWS];
_Atomic uintptr_t dsm_views_low, dsm_views_bytes;

/*
 * After a view was added or removed, by whoever did it. A reader between the two stores may see a
 * range that is too small: of a view that is not in use yet, or no longer.
 */
static void find_hull(void)
{
    uintptr_t low = UINTPTR_MAX, high = 0;
    for (unsigned i = 0; i < DSM_TRAP_MAX_VIEWS; i++) {
        if (views[i].end == 0)
            continue;
        low = views[i].start < low ? views[i].start : low;
        high = views[i].end > high ? views[i].end : high;
    }
    dsm_views_low = high ? low : 0;
    dsm_views_bytes = high ? high - low : 0;
}

const struct dsm_trap_sink *dsm_view_find(uintptr_t addr)
{
    for (unsigned i = 0; i < DSM_TRAP_MAX_VIEWS; i++) {
        uintptr_t end = views[i].end;
        if (addr >= end || addr < views[i].start)
            continue;
        const struct dsm_trap_sink *sink = views[i].sink;
        if (views[i].end == end)
            return sink;
    }
    return NULL;
}

bool dsm_view_overlaps(uintptr_t addr, size_t len)
{
    for (unsigned i = 0; i < DSM_TRAP_MAX_VIEWS; i++) {
        uintptr_t end = views[i].end;
        if (addr < end && len > 0 && views[i].start <= addr + (len - 1))
            return true;
    }
    return false;
}

bool dsm_view_part(uintptr_t addr, size_t len, uintptr_t *start_out, uintptr_t *end_out)
{
    uintptr_t from = UINTPTR_MAX, to = 0;
    if (len == 0)
        return false;
    for (unsigned i = 0; i < DSM_TRAP_MAX_VIEWS; i++) {
        uintptr_t end = views[i].end, start = views[i].start;
        if (addr >= end || start > addr + (len - 1) || start >= from)
            continue;
        from = start;
        to = end;
    }
    if (to == 0)
        return false;
    *start_out = addr > from ? addr : from;
    *end_out = to - addr < len ? to : addr + len;
    return true;
}

int dsm_view_add(uintptr_t addr, size_t len, const struct dsm_trap_sink *sink)
{
    if (dsm_view_overlaps(addr, len))
        return DSM_E_BUSY;
    for (unsigned i = 0; i < DSM_TRAP_MAX_VIEWS; i++) {
        if (views[i].end != 0)
            continue;
        views[i].start = addr;
        views[i].sink = sink;
        views[i].end = addr + len;
        find_hull();
        return 0;
    }
    return DSM_E_LIMIT;
}

int dsm_view_remove(uintptr_t addr, size_t len)
{
    for (unsigned i = 0; i < DSM_TRAP_MAX_VIEWS; i++) {
        if (views[i].end != addr + len || views[i].start != addr)
            continue;
        views[i].end = 0;
        find_hull();
        return 0;
    }
    return DSM_E_INVAL;
}

bool dsm_view_hand_over(const struct dsm_trap_sink *from, const struct dsm_trap_sink *to,
                        uintptr_t *addr_out, size_t *len_out)
{
    for (unsigned i = 0; i < DSM_TRAP_MAX_VIEWS; i++) {
        if (views[i].end == 0 || views[i].sink != from)
            continue;
        views[i].sink = to;
        *addr_out = views[i].start;
        *len_out = views[i].end - views[i].start;
        return true;
    }
    return false;
}

int dsm_view_advise(void *app, void *frame, size_t len)
{
    void *const mappings[] = {app, frame};
    for (unsigned i = 0; i < 2; i++) {
        uintptr_t addr = (uintptr_t)mappings[i];
        if (addr == 0)
            continue;
        long huge = dsm_raw_madvise(addr, len, MADV_NOHUGEPAGE);
        if (huge != 0 && huge != -EINVAL) /* EINVAL: a kernel without huge pages */
            return DSM_E_SYSTEM;
        if (dsm_raw_madvise(addr, len, MADV_DONTDUMP) != 0 ||
            dsm_raw_madvise(addr, len, MADV_DONTFORK) != 0)
            return DSM_E_SYSTEM;
    }
    return 0;
}
