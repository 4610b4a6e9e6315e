/* SPDX-License-Identifier: BSD-3-Clause */
/* api_hints.c - the calls of dsm.h by which a program tells or asks about its use of pages. */
#include <dsm/dsm.h>
#include "base/clock.h"
#include "runtime/api.h"
#include "runtime/heap.h"
#include <stdlib.h>

/* Pages [*first, *first + *n) that touch [addr, addr + len). */
static int page_range(const struct dsm_driver *d, const void *addr, size_t len,
                      dsm_page_t *first_out, uint64_t *n_out)
{
    uintptr_t start = (uintptr_t)addr, end = start + len;
    bool is_global = dsm_region_has_globals(d->region, start);
    uintptr_t segment = (uintptr_t)(is_global ? d->region->globals : d->region->app);
    uint64_t bytes = is_global ? d->region->globals_bytes : d->region->len_bytes;
    if (!dsm_region_has(d->region, start) || len > bytes - (start - segment))
        return DSM_E_RANGE;
    *first_out = dsm_region_page(d->region, start);
    *n_out = len ? ((end - 1) >> DSM_PAGE_SHIFT) - (start >> DSM_PAGE_SHIFT) + 1 : 0;
    return 0;
}

/* A time from now, on the clock of the core; 0: none. */
static uint64_t moment_after(int64_t ns)
{
    return ns > 0 ? dsm_clock_ns() + (uint64_t)ns : 0;
}

static int prefetch(const void *addr, size_t len, enum dsm_access access, uint64_t deadline_ns)
{
    struct dsm_event event = {.type = DSM_EVENT_PREFETCH};
    struct dsm_driver *d = dsm_api_driver();
    if (!d)
        return DSM_E_STATE;
    if (access != DSM_READ && access != DSM_WRITE)
        return DSM_E_INVAL;
    int error = page_range(d, addr, len, &event.prefetch.first, &event.prefetch.n_pages);
    if (error || event.prefetch.n_pages == 0)
        return error;
    event.prefetch.access = access == DSM_READ ? DSM_ACCESS_READ : DSM_ACCESS_WRITE;
    event.prefetch.deadline_ns = deadline_ns;
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    event.now_ns = dsm_clock_ns();
    dsm_driver_step(d, &event);
    dsm_driver_leave(d, &guard);
    return 0;
}

int dsm_prefetch(const void *addr, size_t len, enum dsm_access access)
{
    return prefetch(addr, len, access, 0);
}

int dsm_prefetch_by(const void *addr, size_t len, enum dsm_access access, int64_t within_ns)
{
    struct dsm_driver *d = dsm_api_driver();
    if (!d)
        return DSM_E_STATE;
    return within_ns > 0 ? prefetch(addr, len, access, moment_after(within_ns)) : DSM_E_INVAL;
}

/* Pages asked for ahead of the one that is touched. */
#define TOUCH_AHEAD_PAGES 64

static void touch_page(uintptr_t addr, enum dsm_access access)
{
    if (access == DSM_READ)
        (void)*(const volatile uint8_t *)addr;
    else /* a store that changes nothing, whatever other threads and ranks do to the byte */
        (void)__atomic_fetch_or((uint8_t *)addr, 0, __ATOMIC_SEQ_CST);
}

int dsm_touch(const void *addr, size_t len, enum dsm_access access)
{
    struct dsm_driver *d = dsm_api_driver();
    if (!d)
        return DSM_E_STATE;
    if (access != DSM_READ && access != DSM_WRITE)
        return DSM_E_INVAL;
    dsm_page_t first;
    uint64_t n;
    int error = page_range(d, addr, len, &first, &n);
    for (uint64_t i = 0; !error && i < n; i++) {
        uintptr_t page = dsm_region_addr(d->region, first + i);
        if (i % TOUCH_AHEAD_PAGES == 0 && n > 1) {
            uint64_t ahead = n - i < TOUCH_AHEAD_PAGES ? n - i : TOUCH_AHEAD_PAGES;
            error = dsm_prefetch((const void *)page, ahead << DSM_PAGE_SHIFT, access);
        }
        touch_page(page, access);
    }
    return error;
}

/* Room in the table before it is changed: under the driver's lock nothing is allocated. */
static int advise(struct dsm_driver *d, dsm_page_t page, uint64_t n_pages,
                  enum dsm_advice_kind kind)
{
    struct dsm_advice_table *table = &d->advice;
    struct dsm_advice_range *fresh = NULL;
    uint32_t capacity = 0;
    for (;;) {
        struct dsm_driver_guard guard;
        dsm_driver_enter(d, &guard);
        uint32_t room = dsm_advice_room(table);
        if (table->capacity < room && capacity >= room) {
            fresh = dsm_advice_grow(table, fresh, capacity);
            capacity = 0;
        }
        bool is_set = table->capacity >= room;
        if (is_set) {
            struct dsm_unit head = dsm_placement_unit(d->placement, page);
            struct dsm_unit tail = dsm_placement_unit(d->placement, page + n_pages - 1);
            dsm_advice_set(table, head.first, tail.first + tail.n_pages - head.first, kind);
        }
        dsm_driver_leave(d, &guard);
        free(fresh);
        if (is_set)
            return 0;
        capacity = 2 * room;
        fresh = malloc(capacity * sizeof *fresh);
        if (!fresh)
            return DSM_E_NOMEM;
    }
}

int dsm_advise(const void *addr, size_t len, enum dsm_advice advice)
{
    static const enum dsm_advice_kind kinds[] = {
        [DSM_ADVICE_NORMAL] = DSM_ADVICE_KIND_NORMAL,
        [DSM_ADVICE_MIGRATORY] = DSM_ADVICE_KIND_MIGRATORY,
        [DSM_ADVICE_READ_MOSTLY] = DSM_ADVICE_KIND_READ_MOSTLY,
        [DSM_ADVICE_WRITE_ONCE] = DSM_ADVICE_KIND_WRITE_ONCE,
        [DSM_ADVICE_PRIVATE] = DSM_ADVICE_KIND_PRIVATE,
    };
    struct dsm_driver *d = dsm_api_driver();
    if (!d)
        return DSM_E_STATE;
    if ((unsigned)advice >= sizeof kinds / sizeof kinds[0])
        return DSM_E_INVAL;
    dsm_page_t first;
    uint64_t n;
    int error = page_range(d, addr, len, &first, &n);
    if (error || n == 0)
        return error;
    error = advise(d, first, n, kinds[advice]);
    if (!error && advice == DSM_ADVICE_PRIVATE)
        error = prefetch(addr, len, DSM_WRITE, 0);
    return error;
}

/* The unit of the page is held here or let go. next_out: the first page behind it. */
static int step_pin(struct dsm_driver *d, struct dsm_event *event, dsm_page_t page,
                    dsm_page_t *next_out)
{
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    struct dsm_unit unit = dsm_placement_unit(d->placement, page);
    event->pin.page = page;
    event->now_ns = dsm_clock_ns();
    int error = dsm_driver_step(d, event);
    dsm_driver_leave(d, &guard);
    *next_out = unit.first + unit.n_pages;
    return error;
}

static void unpin(struct dsm_driver *d, dsm_page_t first, dsm_page_t end)
{
    struct dsm_event event = {.type = DSM_EVENT_UNPIN};
    while (first < end)
        (void)step_pin(d, &event, first, &first);
}

/* Upwards, like every wait for several units; and whatever it waits for comes when its time, or
 * that of somebody else's pin, is over. */
static int pin_until(struct dsm_driver *d, dsm_page_t first, dsm_page_t end, enum dsm_access access,
                     uint64_t until_ns)
{
    struct dsm_event event = {.type = DSM_EVENT_PIN};
    dsm_page_t page = first, next;
    event.pin.access = access == DSM_READ ? DSM_ACCESS_READ : DSM_ACCESS_WRITE;
    event.pin.until_ns = until_ns;
    while (page < end) {
        touch_page(dsm_region_addr(d->region, page), access);
        if (dsm_clock_ns() >= until_ns) {
            unpin(d, first, page);
            return DSM_E_TIMEOUT;
        }
        if (step_pin(d, &event, page, &next) == 0) /* else it was taken away meanwhile */
            page = next;
    }
    return 0;
}

int dsm_pin(const void *addr, size_t len, enum dsm_access access, int64_t for_ns)
{
    struct dsm_driver *d = dsm_api_driver();
    if (!d)
        return DSM_E_STATE;
    if ((access != DSM_READ && access != DSM_WRITE) || for_ns <= 0 || for_ns > DSM_PIN_MAX_NS)
        return DSM_E_INVAL;
    dsm_page_t first;
    uint64_t n, until_ns = moment_after(for_ns);
    int error = page_range(d, addr, len, &first, &n);
    if (error || n == 0)
        return error;
    if (n > (d->config.mem_max_bytes >> DSM_PAGE_SHIFT) / 2)
        return DSM_E_NOMEM;
    error = prefetch(addr, len, access, until_ns);
    return error ? error : pin_until(d, first, first + n, access, until_ns);
}

int dsm_unpin(const void *addr, size_t len)
{
    struct dsm_driver *d = dsm_api_driver();
    if (!d)
        return DSM_E_STATE;
    dsm_page_t first;
    uint64_t n;
    int error = page_range(d, addr, len, &first, &n);
    if (!error)
        unpin(d, first, first + n);
    return error;
}

int dsm_where(const void *addr, struct dsm_where *out)
{
    static const enum dsm_page_state states[] = {DSM_STATE_NONE, DSM_STATE_READ, DSM_STATE_WRITE};
    struct dsm_driver *d = dsm_api_driver();
    if (!d)
        return DSM_E_STATE;
    if (!out)
        return DSM_E_INVAL;
    dsm_page_t page;
    uint64_t n;
    int error = page_range(d, addr, 1, &page, &n);
    if (error)
        return error;
    struct dsm_core_unit_info info;
    struct dsm_where where = {0};
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    dsm_core_inspect(d->core, page, &info);
    (void)dsm_heap_describe(d, page, &where);
    dsm_driver_leave(d, &guard);
    where.unit_addr = dsm_region_addr(d->region, info.unit.first);
    where.unit_bytes = (uint64_t)info.unit.n_pages * DSM_PAGE_BYTES;
    where.state = states[info.access];
    where.is_owner = info.is_owner;
    where.is_zero = info.is_zero;
    where.home = info.unit.home;
    where.owner = info.owner_hint;
    *out = where;
    return 0;
}
