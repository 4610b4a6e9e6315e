/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_actions.c - carries out what the core decides, in its order: mappings, sends, wake-ups.
 *
 * Effects are finished when the call returns, so their DONE follows at once; only bytes that a
 * transport did not take yet are done later (dsm_driver_on_sent).
 */
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "runtime/collective.h"
#include "runtime/driver.h"
#include "runtime/sending.h"
#include "runtime/heap.h"
#include "runtime/locks.h"
#include "runtime/sync.h"
#include "runtime/observe.h"
#include <stdlib.h>
#include <string.h>

#define ACTION_LIST_SPARE 8 /* of DSM_ACTION_LIST_STEPS: kept free */

static uintptr_t app_addr(const struct dsm_driver *d, dsm_page_t page)
{
    return dsm_region_addr(d->region, page);
}

/* Our own state is beyond repair: end at once, loudly. */
static void __attribute__((noreturn)) die(const char *what, int error, dsm_page_t page)
{
    dsm_log(DSM_LOG_ERROR, "%s failed for page %lu: %s", what, (unsigned long)page,
            dsm_error_text(error));
    abort();
}

/* ---- sending ------------------------------------------------------------------------------- */

/*
 * Cookies of payloads, never 0: the units whose last bytes these are, the first one and how many; a
 * bulk transfer that goes on with its next chunk; or nothing to do.
 */
enum {
    COOKIE_UNITS = 1,
    COOKIE_BULK = 2,
    COOKIE_NOTHING = 3,
    COOKIE_KIND_BITS = 2,
    COOKIE_COUNT_BITS = 8,
    COOKIE_BITS = COOKIE_KIND_BITS + COOKIE_COUNT_BITS
};

static uint64_t cookie_of(uint64_t what, uint32_t n_units, unsigned kind)
{
    return what << COOKIE_BITS | (uint64_t)n_units << COOKIE_KIND_BITS | kind;
}

/* A request for bytes, or the order that our own one became where its home is here: says how the
 * bytes may be written straight into their frame. */
static void send_from_core(struct dsm_driver *d, const struct dsm_action *a)
{
    struct dsm_message m = a->message;
    bool is_ours =
        m.type == DSM_MSG_REQUEST || (m.type == DSM_MSG_FORWARD && m.peer == d->config.self);
    if (is_ours && d->net && d->net_ops->landing) {
        /* All of the run: the order's key goes with the bytes of each of its units. */
        uint64_t n_pages = m.count * dsm_placement_unit(d->placement, m.object).n_pages;
        m.key = d->net_ops->landing(d->net, d->region->frame + (m.object << DSM_PAGE_SHIFT),
                                    (size_t)n_pages << DSM_PAGE_SHIFT);
    }
    dsm_driver_send_frame(d, a->to, a->lane, &m, NULL, 0); /* a lost peer is told by on_lost */
}

static void finish_effects(struct dsm_driver *d, dsm_page_t unit, uint32_t n_units)
{
    struct dsm_event done = {
        .type = DSM_EVENT_DONE, .now_ns = dsm_clock_ns(), .done = {unit, n_units}};
    dsm_driver_step(d, &done);
}

/* Queues the chunk at b->at. Non-zero: the peer is lost. */
static int send_chunk(struct dsm_driver *d, struct dsm_bulk_send *b, uint64_t cookie)
{
    struct dsm_message m = b->message;
    uint32_t left = m.count * m.room - b->at;
    const uint8_t *bytes = d->region->frame + (m.object << DSM_PAGE_SHIFT) + b->at;
    m.offset = b->at;
    m.len = left < DSM_MESSAGE_CHUNK_BYTES ? left : DSM_MESSAGE_CHUNK_BYTES;
    b->at += m.len;
    return dsm_driver_send_frame(d, b->to, b->lane, &m, bytes, cookie);
}

/* A chunk of a bulk transfer has left: the next one, behind what was queued meanwhile. */
static void continue_bulk(struct dsm_driver *d, uint64_t index)
{
    struct dsm_bulk_send *b = &d->bulk[index];
    dsm_page_t unit = b->message.object;
    bool is_last = b->message.room - b->at <= DSM_MESSAGE_CHUNK_BYTES;
    int error = send_chunk(
        d, b, is_last ? cookie_of(unit, 1, COOKIE_UNITS) : cookie_of(index, 1, COOKIE_BULK));
    if (is_last || error)
        b->is_used = false;
    if (error)
        finish_effects(d, unit, 1);
}

/* How many of the units from this one on are sent to the same rank with the same words: their turn
 * is now, and further down the list they stay without pages. */
static uint32_t gather_bytes(struct dsm_driver *d, const struct dsm_action *a, uint32_t from)
{
    struct dsm_action_list *list = &d->actions;
    const struct dsm_message *m = &a->message;
    uint32_t n_units = 1, n_max = DSM_MESSAGE_CHUNK_BYTES / m->room;
    for (uint32_t i = from; i < list->n && n_units < n_max; i++) {
        struct dsm_action *later = &list->items[i];
        const struct dsm_message *l = &later->message;
        if (later->type != DSM_ACTION_SEND_BYTES) {
            /* Taken along with an effect before: then it changes nothing any more. */
            if (later->n_pages == 0)
                continue;
            break;
        }
        if (later->page != a->page + n_units * a->n_pages || later->n_pages != a->n_pages ||
            later->to != a->to || later->lane != a->lane || l->request != m->request ||
            l->txn != m->txn || l->access != m->access || l->flags != m->flags ||
            l->acks != m->acks || l->key != m->key)
            break;
        later->n_pages = 0;
        n_units++;
    }
    return n_units;
}

/*
 * A unit's bytes. The frame stays as it is until DONE: the core sees to that. Units above one chunk
 * go out one chunk at a time, so that others get in between; when all DSM_BULK_SENDS records are in
 * use, the chunks are queued in a row, which is only less fair.
 */
static void send_bytes(struct dsm_driver *d, const struct dsm_action *a, uint32_t next)
{
    struct dsm_bulk_send once = {.message = a->message, .to = a->to, .lane = a->lane};
    dsm_page_t unit = a->page;
    uint32_t n_units = once.message.count = gather_bytes(d, a, next);
    uint32_t total = n_units * a->message.room;
    d->stats.served_bytes += total;
    if (total > DSM_MESSAGE_CHUNK_BYTES) {
        for (uint64_t i = 0; i < DSM_BULK_SENDS; i++) {
            if (d->bulk[i].is_used)
                continue;
            d->bulk[i] = once;
            d->bulk[i].is_used = true;
            continue_bulk(d, i);
            return;
        }
    }
    int error = 0;
    while (once.at < total && !error)
        error = send_chunk(d, &once,
                           total - once.at <= DSM_MESSAGE_CHUNK_BYTES
                               ? cookie_of(unit, n_units, COOKIE_UNITS)
                               : cookie_of(0, 1, COOKIE_NOTHING));
    if (error) /* nothing left, nothing will: the effect is over */
        finish_effects(d, unit, n_units);
}

void dsm_driver_on_sent(void *user, uint64_t cookie)
{
    struct dsm_driver *d = user;
    unsigned kind = cookie & ((1u << COOKIE_KIND_BITS) - 1);
    uint32_t n_units = cookie >> COOKIE_KIND_BITS & ((1u << COOKIE_COUNT_BITS) - 1);
    if (kind == COOKIE_NOTHING)
        return;
    dsm_mutex_lock(&d->lock);
    if (kind == COOKIE_BULK)
        continue_bulk(d, cookie >> COOKIE_BITS);
    else
        finish_effects(d, cookie >> COOKIE_BITS, n_units);
    dsm_mutex_unlock(&d->lock);
}

/* ---- actions ------------------------------------------------------------------------------- */

void dsm_driver_end_async_fault(struct dsm_driver *d, struct dsm_async_fault *f, uint64_t now_ns)
{
    struct dsm_async_fault **at = &d->async_faults;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    f->is_active = false;
    struct dsm_event resumed = {
        .type = DSM_EVENT_RESUMED, .now_ns = now_ns, .resumed = {f->unit, &f->thread}};
    dsm_driver_step(d, &resumed);
    dsm_waiters_thread_goes_on(d);
}

/*
 * A fault cannot be served. Its event may be old: between the moment at which it was read and the
 * one at which it was looked at, another thread may have mapped the page, which woke the thread,
 * and by now the program may even have freed the page. So the thread is made to try again, and is
 * told only when it comes back with the same fault.
 */
static void refuse_async(struct dsm_driver *d, struct dsm_async_fault *f, int error)
{
    if (!f->was_refused) {
        f->was_refused = true;
        d->trap_ops->retry(d->trap, f->addr);
        return;
    }
    f->was_refused = false;
    dsm_log(DSM_LOG_ERROR, "access to 0x%lx failed: %s", (unsigned long)f->addr,
            dsm_error_text(error));
    d->trap_ops->refuse(d->trap, f->addr, f->tid);
}

static void wake_unit(struct dsm_driver *d, dsm_page_t unit, int error, dsm_rank_t rank)
{
    if (d->faulting_unit == unit) {
        d->is_fault_answered = true;
        d->fault_error = error;
        d->fault_rank = rank;
    }
    dsm_waiters_wake_unit(d, unit, error, rank);
    uint64_t now = d->async_faults ? dsm_clock_ns() : 0;
    for (struct dsm_async_fault *f = d->async_faults, *next; f; f = next) {
        next = f->next;
        if (f->unit != unit)
            continue;
        struct dsm_observed_fault seen = {f->kind,      f->addr,     f->ip, f->unit,
                                          f->served_by, f->start_ns, now,   true};
        dsm_observe_fault(d, &seen);
        dsm_driver_end_async_fault(d, f, now);
        dsm_driver_count_fault(d, f->is_write, now - f->start_ns);
        if (error) {
            refuse_async(d, f, error);
            continue;
        }
        f->was_refused = false;
        /* The mapping has woken the thread, in general. But it may have faulted at the unit again
         * since, because it wants more or the kernel dropped the mapping: that fault has no record
         * of its own, and so nobody would read the answer to it. It is tried once more. */
        d->trap_ops->retry(d->trap, f->addr);
    }
}

static void map_range(struct dsm_driver *d, dsm_page_t first, uint64_t n_pages, bool is_write)
{
    size_t len = (size_t)n_pages << DSM_PAGE_SHIFT;
    uintptr_t addr = app_addr(d, first);
    int error = is_write ? d->trap_ops->map_write(d->trap, addr, len)
                         : d->trap_ops->map_read(d->trap, addr, len);
    /* At the segv backend's budget pages stay without access: they trap again later. */
    if (error && error != DSM_E_LIMIT)
        die("mapping", error, first);
}

void dsm_driver_map_lazy(struct dsm_driver *d)
{
    struct dsm_lazy_maps run = d->lazy;
    d->lazy.n_units = 0;
    if (run.n_units == 0)
        return;
    map_range(d, run.first, (uint64_t)run.n_units * run.unit_pages, run.is_write);
    for (uint32_t i = 0; i < run.n_units; i += DSM_RUN_MAX_UNITS) {
        uint32_t left = run.n_units - i;
        finish_effects(d, run.first + (uint64_t)i * run.unit_pages,
                       left < DSM_RUN_MAX_UNITS ? left : DSM_RUN_MAX_UNITS);
    }
}

/* Whether a thread waits for a unit of this range. */
static bool is_awaited(const struct dsm_driver *d, dsm_page_t first, uint64_t n_pages)
{
    if (d->faulting_unit - first < n_pages)
        return true;
    for (const struct dsm_waiter *w = d->waiting; w; w = w->next)
        if (w->unit - first < n_pages)
            return true;
    for (const struct dsm_async_fault *f = d->async_faults; f; f = f->next)
        if (f->unit - first < n_pages)
            return true;
    return false;
}

/* True when the mapping is made now, false when it was put off. */
static bool map(struct dsm_driver *d, const struct dsm_action *a, uint32_t n_units)
{
    struct dsm_lazy_maps *lazy = &d->lazy;
    bool is_write = a->type == DSM_ACTION_MAP_WRITE;
    uint32_t unit_pages = (uint32_t)a->n_pages / n_units;
    if (a->is_zero)
        dsm_frames_make_zero(d, a->page, a->n_pages);
    if (!d->may_put_off || is_awaited(d, a->page, a->n_pages)) {
        map_range(d, a->page, a->n_pages, is_write);
        return true;
    }
    bool fits = lazy->n_units && lazy->is_write == is_write && lazy->unit_pages == unit_pages &&
                a->page == lazy->first + (uint64_t)lazy->n_units * lazy->unit_pages &&
                a->page != dsm_region_border(d->region);
    if (!fits) {
        dsm_driver_map_lazy(d);
        *lazy = (struct dsm_lazy_maps){
            .first = a->page, .unit_pages = unit_pages, .is_write = is_write};
    }
    lazy->n_units += n_units;
    return false;
}

static void unmap(struct dsm_driver *d, const struct dsm_action *a)
{
    dsm_observe_loss(d, a);
    int error =
        d->trap_ops->unmap(d->trap, app_addr(d, a->page), (size_t)a->n_pages << DSM_PAGE_SHIFT);
    if (error)
        die("unmapping", error, a->page);
}

static void downgrade(struct dsm_driver *d, const struct dsm_action *a)
{
    dsm_observe_loss(d, a);
    int error =
        d->trap_ops->downgrade(d->trap, app_addr(d, a->page), (size_t)a->n_pages << DSM_PAGE_SHIFT);
    if (error)
        die("downgrading", error, a->page);
}

/*
 * A request for a run of units makes the core take them away one after the other, each followed by
 * what is sent about it, and a grant of a run makes it map one after the other. Each of these calls
 * costs much more than a page in it, and those that take access away stop the other processors: so
 * those for adjacent units further down the list are carried out with this one. Taking access away
 * early is always safe, and so is mapping what was decided to be mapped: nothing about these units
 * is between. The later ones stay in the list, as actions without pages; their DONE is told with
 * that of the first. Returns how many units there are.
 */
static uint32_t gather(struct dsm_driver *d, struct dsm_action *a, uint32_t from)
{
    struct dsm_action_list *list = &d->actions;
    uint64_t unit_pages = a->n_pages;
    uint32_t n_units = 1;
    for (uint32_t i = from; i < list->n && n_units < DSM_RUN_MAX_UNITS; i++) {
        struct dsm_action *later = &list->items[i];
        if (later->type == DSM_ACTION_SEND_BYTES || later->type == DSM_ACTION_SEND)
            continue;
        if (later->type != a->type || later->page != a->page + a->n_pages ||
            later->n_pages != unit_pages || later->is_zero != a->is_zero ||
            later->page == dsm_region_border(d->region))
            break;
        a->n_pages += unit_pages;
        later->n_pages = 0;
        n_units++;
    }
    return n_units;
}

static bool is_gathered(enum dsm_action_type type)
{
    return type == DSM_ACTION_DOWNGRADE || type == DSM_ACTION_UNMAP ||
           type == DSM_ACTION_MAP_READ || type == DSM_ACTION_MAP_WRITE;
}

static void give_back(struct dsm_driver *d, dsm_page_t first, uint64_t n_pages)
{
    int error = dsm_frames_give_back(d, first, n_pages);
    if (error)
        die("giving memory back", error, first);
}

static void set_timer(struct dsm_driver *d)
{
    uint64_t at_ns =
        d->core_timer_at_ns < d->locks_timer_at_ns ? d->core_timer_at_ns : d->locks_timer_at_ns;
    if (at_ns == atomic_load(&d->timer_at_ns))
        return;
    atomic_store(&d->timer_at_ns, at_ns);
    if (d->arm_timer)
        d->arm_timer(d->service, at_ns);
}

void dsm_driver_set_locks_timer(struct dsm_driver *d, uint64_t at_ns)
{
    d->locks_timer_at_ns = at_ns;
    set_timer(d);
}

/* Carries one action out, on n_units units; true when it is an effect that is finished now. next:
 * the place in the list behind it. */
static bool run_action(struct dsm_driver *d, const struct dsm_action *a, uint32_t n_units,
                       uint32_t next)
{
    if (a->n_pages == 0 && (is_gathered(a->type) || a->type == DSM_ACTION_SEND_BYTES))
        return false; /* carried out with an earlier one */
    switch (a->type) {
    case DSM_ACTION_MAP_READ:
    case DSM_ACTION_MAP_WRITE:
        dsm_observe_map(d, a);
        return map(d, a, n_units);
    case DSM_ACTION_DOWNGRADE:
        downgrade(d, a);
        return true;
    case DSM_ACTION_UNMAP:
        unmap(d, a);
        return true;
    case DSM_ACTION_PUNCH:
        dsm_observe_loss(d, a);
        give_back(d, a->page, a->n_pages);
        return true;
    case DSM_ACTION_SEND_BYTES:
        send_bytes(d, a, next);
        return false; /* on_sent */
    case DSM_ACTION_SEND:
        send_from_core(d, a);
        return false;
    case DSM_ACTION_RECEIVE:
        d->receive_dst = d->region->frame + (a->page << DSM_PAGE_SHIFT) + a->message.offset;
        return false;
    case DSM_ACTION_DISCARD:
        d->receive_dst = NULL;
        return false;
    case DSM_ACTION_WAKE:
        wake_unit(d, a->page, 0, DSM_RANK_NONE);
        return false;
    case DSM_ACTION_LOST:
        wake_unit(d, a->page, a->error ? a->error : DSM_E_PEER, a->rank);
        return false;
    case DSM_ACTION_MEMORY_FULL:
        wake_unit(d, a->page, DSM_E_NOMEM, DSM_RANK_NONE);
        return false;
    case DSM_ACTION_TIMER:
        d->core_timer_at_ns = a->at_ns;
        set_timer(d);
        return false;
    case DSM_ACTION_LOCK_LEND:
        dsm_locks_on_lend(d, a->id, a->message.flags);
        return false;
    case DSM_ACTION_LOCK_RECALL:
        dsm_locks_on_recall(d, a->id, a->message.flags);
        return false;
    case DSM_ACTION_LOCK_LOST:
        dsm_locks_on_lost(d, a->id, a->error ? a->error : DSM_E_PEER, a->rank);
        return false;
    case DSM_ACTION_LOCK_BUSY:
        dsm_locks_on_busy(d, a->id);
        return false;
    case DSM_ACTION_SYNC_DONE:
        dsm_sync_on_done(d, a);
        return false;
    case DSM_ACTION_SYNC_QUEUED:
        dsm_sync_on_queued(d, a);
        return false;
    case DSM_ACTION_COLLECTIVE_SEND:
    case DSM_ACTION_COLLECTIVE_COMBINE:
    case DSM_ACTION_COLLECTIVE_TAKE:
    case DSM_ACTION_COLLECTIVE_DONE:
        dsm_collective_on_action(d, a);
        return false;
    case DSM_ACTION_DROP_RANGE:
        unmap(d, a);
        give_back(d, a->page, a->n_pages);
        dsm_heap_forget(d, a->page, a->n_pages);
        dsm_advice_set(&d->advice, a->page, a->n_pages, DSM_ADVICE_KIND_NORMAL);
        dsm_locks_forget(d, app_addr(d, a->page), a->n_pages << DSM_PAGE_SHIFT);
        return false;
    case DSM_ACTION_DROPPED:
        dsm_heap_on_dropped(d, a->id);
        return false;
    }
    return false;
}

int dsm_driver_step(struct dsm_driver *d, const struct dsm_event *event)
{
    struct dsm_action_list *list = &d->actions;
    int error = dsm_core_step(d->core, event, list);
    if (error == DSM_E_BUSY && event->type == DSM_EVENT_PIN)
        return error;
    /* Of a message the caller reports the sender; the rest is not survivable. */
    if (error && (error != DSM_E_PROTO || event->type != DSM_EVENT_MESSAGE))
        die("a step of the coherence core", error, 0);
    if (d->is_running)
        return error;
    d->is_running = true;
    uint32_t room = ACTION_LIST_SPARE * dsm_core_max_actions(d->core);
    for (uint32_t i = 0; i < list->n;) {
        struct dsm_action a = list->items[i++];
        if (i == list->n)
            i = list->n = 0;
        else if (list->capacity - list->n < room) {
            memmove(list->items, list->items + i, (list->n - i) * sizeof *list->items);
            list->n -= i;
            i = 0;
        }
        uint32_t n_units = a.n_pages && is_gathered(a.type) ? gather(d, &a, i) : 1;
        if (run_action(d, &a, n_units, i)) {
            struct dsm_event done = {
                .type = DSM_EVENT_DONE, .now_ns = event->now_ns, .done = {a.page, n_units}};
            error = dsm_core_step(d->core, &done, list);
            if (error)
                die("the end of an effect", error, a.page);
        }
    }
    d->is_running = false;
    return error;
}

void dsm_driver_timer(struct dsm_driver *d, uint64_t now_ns)
{
    dsm_mutex_lock(&d->lock);
    if (now_ns < atomic_load(&d->timer_at_ns)) { /* another thread was here first */
        dsm_mutex_unlock(&d->lock);
        return;
    }
    atomic_store(&d->timer_at_ns, UINT64_MAX); /* it has gone off: to be armed anew */
    if (now_ns >= d->core_timer_at_ns) {
        d->core_timer_at_ns = UINT64_MAX;
        struct dsm_event event = {.type = DSM_EVENT_TIMER, .now_ns = now_ns};
        dsm_driver_step(d, &event);
    }
    if (now_ns >= d->locks_timer_at_ns)
        dsm_locks_on_timer(d, now_ns);
    set_timer(d);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
}
