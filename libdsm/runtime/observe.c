/* SPDX-License-Identifier: BSD-3-Clause */
/* observe.c - see observe.h. */
#define _GNU_SOURCE
#include "runtime/observe.h"
#include "base/clock.h"
#include "base/log.h"
#include "runtime/heap.h"
#include "runtime/profile.h"
#include "runtime/thread.h"

static void add(struct dsm_driver *d, const struct dsm_profile_slot *slot)
{
    if (dsm_profile_add(d->profile, slot) && d->wake_profile)
        d->wake_profile(d->service);
}

static uint8_t log2_of(uint64_t n)
{
    return (uint8_t)(63 - __builtin_clzll(n));
}

static void note(struct dsm_driver *d, bool is_trouble)
{
    d->has_trouble |= is_trouble;
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
    uint32_t n_pages = dsm_placement_unit(d->placement, f->unit).n_pages;
    if (f->was_away)
        dsm_heap_count_fault(d, f->unit);
    if (f->was_away)
        dsm_thrash_granted(d->thrash, f->unit, f->end_ns - f->start_ns, f->end_ns);
    if (!d->profile)
        return;
    struct dsm_profile_slot slot = {
        .kind = (uint8_t)f->kind,
        .unit_log2 = log2_of(n_pages),
        .peer = f->served_by,
        .time_ns = f->start_ns,
        .a = dsm_region_offset(d->region, f->addr),
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

void dsm_observe_map(struct dsm_driver *d, const struct dsm_action *a)
{
    if (!a->is_zero)
        note(d, dsm_thrash_fetched(d->thrash, a->page, (uint32_t)a->n_pages, &d->trouble));
}

void dsm_observe_loss(struct dsm_driver *d, const struct dsm_action *a)
{
    if (a->type == DSM_ACTION_PUNCH)
        dsm_thrash_evicted(d->thrash, a->page);
    if (a->type != DSM_ACTION_UNMAP && a->type != DSM_ACTION_DOWNGRADE)
        return;
    uint64_t now = dsm_clock_ns();
    note(d, dsm_thrash_lost(d->thrash, a->page, now, &d->trouble));
    if (!d->profile)
        return;
    struct dsm_profile_slot slot = {
        .kind = a->type == DSM_ACTION_UNMAP ? DSM_PROFILE_LOST : DSM_PROFILE_DOWNGRADED,
        .peer = a->page == d->cause_unit ? d->cause_rank : DSM_PROFILE_NO_PEER,
        .time_ns = now,
        .a = a->page << DSM_PAGE_SHIFT,
        .c = a->n_pages,
    };
    add(d, &slot);
}

static enum dsm_profile_kind kind_of_wait(enum dsm_profile_object object)
{
    switch (object) {
    case DSM_PROFILE_MUTEX:
    case DSM_PROFILE_RWLOCK:
        return DSM_PROFILE_LOCK;
    case DSM_PROFILE_RANKS:
    case DSM_PROFILE_THREADS:
    case DSM_PROFILE_COLLECTIVE:
        return DSM_PROFILE_BARRIER;
    case DSM_PROFILE_CONDITION:
    case DSM_PROFILE_SEMAPHORE:
    case DSM_PROFILE_FLAG:
    case DSM_PROFILE_TICKETS:
    case DSM_PROFILE_WORD:
    case DSM_PROFILE_ANY:
    case DSM_PROFILE_N_OBJECTS:
        break;
    }
    return DSM_PROFILE_SYNC;
}

void dsm_observe_wait(struct dsm_driver *d, enum dsm_profile_object object, uint64_t offset,
                      uint64_t start_ns, uint64_t end_ns)
{
    bool has_name = object != DSM_PROFILE_RANKS && object != DSM_PROFILE_COLLECTIVE;
    uint64_t addr =
        has_name ? dsm_region_addr(d->region, offset >> DSM_PAGE_SHIFT) + offset % DSM_PAGE_BYTES
                 : 0;
    dsm_hot_waits_note(&d->hot_waits, object, addr, dsm_thread_self.caller, end_ns - start_ns);
    if (!d->profile)
        return;
    struct dsm_profile_slot slot = {.kind = (uint8_t)kind_of_wait(object),
                                    .object = (uint8_t)object,
                                    .peer = DSM_PROFILE_NO_PEER,
                                    .time_ns = start_ns,
                                    .a = offset,
                                    .b = dsm_thread_self.caller,
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

/* ---- trouble ------------------------------------------------------------------------------- */

bool dsm_observe_take(struct dsm_driver *d, struct dsm_observed_trouble *out)
{
    if (!d->has_trouble)
        return false;
    d->has_trouble = false;
    *out = (struct dsm_observed_trouble){.trouble = d->trouble};
    (void)dsm_heap_describe(d, d->trouble.unit, &out->where);
    return true;
}

static void tell_bounces(const struct dsm_driver *d, const struct dsm_observed_trouble *o)
{
    const struct dsm_trouble *t = &o->trouble;
    uint64_t addr = dsm_region_addr(d->region, t->unit);
    char where[80] = "";
    if (o->where.alloc_addr)
        dsm_format(where, sizeof where, " (%s + 0x%lx)",
                   o->where.alloc_name[0] ? o->where.alloc_name : "dsm_alloc",
                   (unsigned long)(addr - o->where.alloc_addr));
    dsm_log(
        DSM_LOG_WARN,
        "the unit at 0x%lx%s is taken away faster than it is used: %lu times in %lu ms, in which "
        "it was waited for %lu ms and here for %lu ms; keep what different ranks write in units "
        "of their own, or write to it less often (dsmrun --profile shows who does)",
        (unsigned long)addr, where, (unsigned long)t->bounces,
        (unsigned long)(t->span_ns / DSM_NS_PER_MS), (unsigned long)(t->waited_ns / DSM_NS_PER_MS),
        (unsigned long)(t->held_ns / DSM_NS_PER_MS));
}

void dsm_observe_tell(const struct dsm_driver *d, const struct dsm_observed_trouble *o)
{
    const struct dsm_trouble *t = &o->trouble;
    if (t->kind == DSM_TROUBLE_BOUNCES)
        tell_bounces(d, o);
    else if (t->kind == DSM_TROUBLE_MEMORY)
        dsm_log(
            DSM_LOG_WARN,
            "this rank works on more memory than it may hold: it has fetched %lu MiB again that "
            "it had given up, with a limit of %lu MiB; raise DSM_MEM_MAX, use more ranks, or work "
            "through the data in pieces",
            (unsigned long)(t->refetched_pages >> (20 - DSM_PAGE_SHIFT)),
            (unsigned long)(t->limit_pages >> (20 - DSM_PAGE_SHIFT)));
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

void dsm_observe_counters(struct dsm_driver *d)
{
    struct locking l = {.driver = d};
    struct dsm_core_counters c;
    if (!d->profile)
        return;
    lock(&l);
    dsm_core_counters(d->core, &c);
#define XX(name, text) dsm_profile_count(d->profile, DSM_PROFILE_COUNTER_##name, c.name);
    DSM_PROFILE_COUNTER_MAP(XX)
#undef XX
    unlock(&l);
}

void dsm_observe_serve(struct dsm_driver *d)
{
    struct locking l = {.driver = d};
    if (d->profile)
        dsm_profile_serve(d->profile, lock, unlock, &l);
}
