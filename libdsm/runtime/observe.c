/* SPDX-License-Identifier: BSD-3-Clause */
/* observe.c - see observe.h. */
#define _GNU_SOURCE
#include "runtime/observe.h"
#include "base/clock.h"
#include "runtime/profile.h"

static void add(struct dsm_driver *d, const struct dsm_profile_slot *slot)
{
    if (dsm_profile_add(d->profile, slot) && d->wake_profile)
        d->wake_profile(d->service);
}

static uint8_t log2_of(uint64_t n)
{
    return (uint8_t)(63 - __builtin_clzll(n));
}

enum dsm_profile_kind dsm_observe_fault_kind(const struct dsm_driver *d,
                                             const struct dsm_event *event)
{
    struct dsm_core_unit_info info;
    if (!d->profile || event->fault.access == DSM_ACCESS_READ)
        return DSM_PROFILE_READ;
    dsm_core_inspect(d->core, event->fault.page, &info);
    return info.access == DSM_ACCESS_READ ? DSM_PROFILE_UPGRADE : DSM_PROFILE_WRITE;
}

void dsm_observe_fault(struct dsm_driver *d, const struct dsm_observed_fault *f)
{
    if (!d->profile)
        return;
    struct dsm_profile_slot slot = {
        .kind = (uint8_t)f->kind,
        .unit_log2 = log2_of(dsm_placement_unit(d->placement, f->unit).n_pages),
        .peer = f->served_by,
        .time_ns = f->start_ns,
        .a = f->addr - (uintptr_t)d->region->app,
        .b = f->ip,
        .c = f->end_ns - f->start_ns,
    };
    add(d, &slot);
}

void dsm_observe_message(struct dsm_driver *d, const struct dsm_message *m)
{
    if (!d->profile)
        return;
    if (m->type == DSM_MSG_GRANT) {
        for (struct dsm_waiter *w = d->waiting; w; w = w->next)
            if (w->unit == m->object)
                w->served_by = m->from;
        for (struct dsm_async_fault *f = d->async_faults; f; f = f->next)
            if (f->unit == m->object)
                f->served_by = m->from;
    }
    bool is_for_another = m->type == DSM_MSG_FORWARD || m->type == DSM_MSG_INVALIDATE;
    d->cause_unit = m->object;
    d->cause_rank = is_for_another ? m->peer : m->from;
}

void dsm_observe_received(struct dsm_driver *d, dsm_rank_t from, uint32_t len_bytes)
{
    if (d->profile)
        dsm_profile_received(d->profile, from, len_bytes);
}

void dsm_observe_loss(struct dsm_driver *d, const struct dsm_action *a)
{
    if (!d->profile || (a->type != DSM_ACTION_UNMAP && a->type != DSM_ACTION_DOWNGRADE))
        return;
    struct dsm_profile_slot slot = {
        .kind = a->type == DSM_ACTION_UNMAP ? DSM_PROFILE_LOST : DSM_PROFILE_DOWNGRADED,
        .peer = a->page == d->cause_unit ? d->cause_rank : DSM_PROFILE_NO_PEER,
        .time_ns = dsm_clock_ns(),
        .a = a->page << DSM_PAGE_SHIFT,
        .c = a->n_pages,
    };
    add(d, &slot);
}

void dsm_observe_lock(struct dsm_driver *d, uint64_t id, uint64_t start_ns, uint64_t end_ns)
{
    if (!d->profile)
        return;
    struct dsm_profile_slot slot = {.kind = DSM_PROFILE_LOCK,
                                    .peer = DSM_PROFILE_NO_PEER,
                                    .time_ns = start_ns,
                                    .a = id - (uintptr_t)d->region->app,
                                    .c = end_ns - start_ns};
    add(d, &slot);
}

void dsm_observe_barrier(struct dsm_driver *d, uint64_t start_ns, uint64_t end_ns)
{
    if (!d->profile)
        return;
    struct dsm_profile_slot slot = {.kind = DSM_PROFILE_BARRIER,
                                    .peer = DSM_PROFILE_NO_PEER,
                                    .time_ns = start_ns,
                                    .c = end_ns - start_ns};
    add(d, &slot);
}

void dsm_observe_alloc(struct dsm_driver *d, dsm_page_t first, uint64_t n_pages, const char *name)
{
    if (!d->profile)
        return;
    struct dsm_profile_slot slot = {.kind = DSM_PROFILE_ALLOC,
                                    .peer = DSM_PROFILE_NO_PEER,
                                    .time_ns = dsm_clock_ns(),
                                    .a = first << DSM_PAGE_SHIFT,
                                    .b = n_pages << DSM_PAGE_SHIFT};
    if (dsm_profile_add_text(d->profile, &slot, name) && d->wake_profile)
        d->wake_profile(d->service);
}

/* ---- on the service thread ----------------------------------------------------------------- */

struct locking {
    struct dsm_driver *driver;
    struct dsm_driver_guard guard;
};

static void lock(void *user)
{
    struct locking *l = user;
    dsm_driver_enter(l->driver, &l->guard);
}

static void unlock(void *user)
{
    struct locking *l = user;
    dsm_driver_leave(l->driver, &l->guard);
}

void dsm_observe_serve(struct dsm_driver *d)
{
    struct locking l = {.driver = d};
    if (d->profile)
        dsm_profile_serve(d->profile, lock, unlock, &l);
}
