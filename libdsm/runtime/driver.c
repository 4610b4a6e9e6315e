/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver.c - events in, actions out: the only place where the core meets traps and transports.
 *
 * Faults come from the trap (dsm_driver_on_fault), messages from the transport (the on_*
 * functions); what the core decides is carried out in its order by run_actions. Effects are
 * finished when the call returns, so their DONE follows at once; only bytes that a socket did not
 * take yet are done later (on_sent).
 */
#define _GNU_SOURCE
#include "runtime/driver.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "runtime/collective.h"
#include "runtime/heap.h"
#include "runtime/locks.h"
#include "wire/frame.h"
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* Room for the actions of several steps: effects are answered while the list is worked off, and
 * carrying an action out may step the core again a few times. */
#define ACTION_LIST_STEPS 16
#define ACTION_LIST_SPARE 8

static uintptr_t app_addr(const struct dsm_driver *d, dsm_page_t page)
{
    return (uintptr_t)d->region->app + (page << DSM_PAGE_SHIFT);
}

static dsm_page_t page_of(const struct dsm_driver *d, uintptr_t addr)
{
    return (addr - (uintptr_t)d->region->app) >> DSM_PAGE_SHIFT;
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
 * Cookies of payloads, never 0: the unit with its last chunk, a bulk transfer that goes on with its
 * next chunk, or nothing to do.
 */
enum { COOKIE_UNIT = 1, COOKIE_BULK = 2, COOKIE_NOTHING = 3, COOKIE_BITS = 2 };

static uint64_t cookie_of(uint64_t what, unsigned kind)
{
    return what << COOKIE_BITS | kind;
}

static void send_header(struct dsm_driver *d, dsm_rank_t to, unsigned lane,
                        const struct dsm_message *m, const void *payload, uint64_t cookie,
                        int *error_out)
{
    uint8_t header[DSM_MESSAGE_HEADER_BYTES];
    dsm_frame_encode(m, header);
    uint32_t key = payload ? m->key : 0; /* without bytes it is in the header */
    int error =
        d->net ? d->net_ops->send(d->net, to, lane, header, payload, cookie, key) : DSM_E_PEER;
    if (error == DSM_E_NOMEM)
        dsm_log(DSM_LOG_ERROR, "the send queue to rank %u is full: message type %u is lost", to,
                m->type);
    atomic_store_explicit(&d->has_unsent, true, memory_order_release);
    *error_out = error;
}

void dsm_driver_send(struct dsm_driver *d, dsm_rank_t to, enum dsm_lane lane, struct dsm_message *m)
{
    int error; /* a lost peer is told by on_lost */
    m->epoch = d->config.epoch;
    m->job = d->config.job;
    m->from = d->config.self;
    send_header(d, to, lane, m, NULL, 0, &error);
}

/* A request for bytes, or the order that our own one became where its home is here: says how the
 * bytes may be written straight into their frame. */
static void send_from_core(struct dsm_driver *d, const struct dsm_action *a)
{
    struct dsm_message m = a->message;
    int error; /* a lost peer is told by on_lost */
    bool is_ours =
        m.type == DSM_MSG_REQUEST || (m.type == DSM_MSG_FORWARD && m.peer == d->config.self);
    if (is_ours && d->net && d->net_ops->landing) {
        uint64_t n_units = m.type == DSM_MSG_REQUEST ? m.count : 1;
        uint64_t n_pages = n_units * dsm_placement_unit(d->placement, m.object).n_pages;
        m.key = d->net_ops->landing(d->net, d->region->frame + (m.object << DSM_PAGE_SHIFT),
                                    (size_t)n_pages << DSM_PAGE_SHIFT);
    }
    send_header(d, a->to, a->lane, &m, NULL, 0, &error);
}

static void finish_effect(struct dsm_driver *d, dsm_page_t unit)
{
    struct dsm_event done = {.type = DSM_EVENT_DONE, .now_ns = dsm_clock_ns(), .done.unit = unit};
    dsm_driver_step(d, &done);
}

/* Queues the chunk at b->at. Non-zero: the peer is lost. */
static int send_chunk(struct dsm_driver *d, struct dsm_bulk_send *b, uint64_t cookie)
{
    struct dsm_message m = b->message;
    uint32_t left = m.room - b->at;
    const uint8_t *bytes = d->region->frame + (m.object << DSM_PAGE_SHIFT) + b->at;
    int error;
    m.offset = b->at;
    m.len = left < DSM_MESSAGE_CHUNK_BYTES ? left : DSM_MESSAGE_CHUNK_BYTES;
    send_header(d, b->to, b->lane, &m, bytes, cookie, &error);
    b->at += m.len;
    return error;
}

/* A chunk of a bulk transfer has left: the next one, behind what was queued meanwhile. */
static void continue_bulk(struct dsm_driver *d, uint64_t index)
{
    struct dsm_bulk_send *b = &d->bulk[index];
    dsm_page_t unit = b->message.object;
    bool is_last = b->message.room - b->at <= DSM_MESSAGE_CHUNK_BYTES;
    int error =
        send_chunk(d, b, is_last ? cookie_of(unit, COOKIE_UNIT) : cookie_of(index, COOKIE_BULK));
    if (is_last || error)
        b->is_used = false;
    if (error)
        finish_effect(d, unit);
}

/*
 * A unit's bytes. The frame stays as it is until DONE: the core sees to that. Units above one chunk
 * go out one chunk at a time, so that others get in between; when all DSM_BULK_SENDS records are in
 * use, the chunks are queued in a row, which is only less fair.
 */
static void send_bytes(struct dsm_driver *d, const struct dsm_action *a)
{
    struct dsm_bulk_send once = {.message = a->message, .to = a->to, .lane = a->lane};
    dsm_page_t unit = a->page;
    uint32_t total = (uint32_t)(a->n_pages << DSM_PAGE_SHIFT);
    once.message.room = total;
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
        error =
            send_chunk(d, &once,
                       total - once.at <= DSM_MESSAGE_CHUNK_BYTES ? cookie_of(unit, COOKIE_UNIT)
                                                                  : cookie_of(0, COOKIE_NOTHING));
    if (error) /* nothing left, nothing will: the effect is over */
        finish_effect(d, unit);
}

void dsm_driver_flush(struct dsm_driver *d)
{
    /* on_sent may queue the next chunk of a bulk transfer while the one before is flushed. */
    while (atomic_load_explicit(&d->has_unsent, memory_order_acquire)) {
        atomic_store(&d->has_unsent, false);
        if (d->net)
            d->net_ops->flush(d->net);
    }
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
        dsm_driver_end_async_fault(d, f, now);
        dsm_histogram_add(&d->stats.fault_latency, now - f->start_ns);
        if (error) {
            dsm_log(DSM_LOG_ERROR, "access to 0x%lx failed: %s", (unsigned long)f->addr,
                    dsm_error_text(error));
            d->trap_ops->refuse(d->trap, f->addr, f->tid);
        }
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

/* Maps what was put off; the core hears of each unit. (locked) */
static void map_lazy(struct dsm_driver *d)
{
    struct dsm_lazy_maps run = d->lazy;
    d->lazy.n_units = 0;
    if (run.n_units == 0)
        return;
    map_range(d, run.first, (uint64_t)run.n_units * run.unit_pages, run.is_write);
    for (uint32_t i = 0; i < run.n_units; i++)
        finish_effect(d, run.first + (uint64_t)i * run.unit_pages);
}

static bool is_awaited(const struct dsm_driver *d, dsm_page_t unit)
{
    if (d->faulting_unit == unit)
        return true;
    for (const struct dsm_waiter *w = d->waiting; w; w = w->next)
        if (w->unit == unit)
            return true;
    for (const struct dsm_async_fault *f = d->async_faults; f; f = f->next)
        if (f->unit == unit)
            return true;
    return false;
}

/* True when the mapping is made now, false when it was put off. */
static bool map(struct dsm_driver *d, const struct dsm_action *a)
{
    struct dsm_lazy_maps *lazy = &d->lazy;
    bool is_write = a->type == DSM_ACTION_MAP_WRITE;
    if (a->is_zero)
        dsm_region_materialise(d->region, a->page, a->n_pages);
    if (!d->may_put_off || is_awaited(d, a->page)) {
        map_range(d, a->page, a->n_pages, is_write);
        return true;
    }
    bool fits = lazy->n_units && lazy->is_write == is_write && lazy->unit_pages == a->n_pages &&
                a->page == lazy->first + (uint64_t)lazy->n_units * lazy->unit_pages;
    if (!fits) {
        map_lazy(d);
        *lazy = (struct dsm_lazy_maps){
            .first = a->page, .unit_pages = (uint32_t)a->n_pages, .is_write = is_write};
    }
    lazy->n_units++;
    return false;
}

static void unmap(struct dsm_driver *d, const struct dsm_action *a)
{
    int error =
        d->trap_ops->unmap(d->trap, app_addr(d, a->page), (size_t)a->n_pages << DSM_PAGE_SHIFT);
    if (error)
        die("unmapping", error, a->page);
}

static void downgrade(struct dsm_driver *d, const struct dsm_action *a)
{
    int error =
        d->trap_ops->downgrade(d->trap, app_addr(d, a->page), (size_t)a->n_pages << DSM_PAGE_SHIFT);
    if (error)
        die("downgrading", error, a->page);
}

/*
 * A request for a run of units makes the core take them away one after the other, each followed by
 * what is sent about it. Each of these calls stops the other processors: so those for adjacent
 * units further down the list are carried out with this one. Taking access away early is always
 * safe. The later ones stay in the list, as actions without pages.
 */
static void gather(struct dsm_driver *d, struct dsm_action *a, uint32_t from)
{
    struct dsm_action_list *list = &d->actions;
    for (uint32_t i = from; i < list->n; i++) {
        struct dsm_action *later = &list->items[i];
        if (later->type == DSM_ACTION_SEND_BYTES || later->type == DSM_ACTION_SEND)
            continue;
        if (later->type != a->type || later->page != a->page + a->n_pages)
            return;
        a->n_pages += later->n_pages;
        later->n_pages = 0;
    }
}

static bool unpin(struct dsm_driver *d, dsm_page_t first, uint64_t n_pages)
{
    return !d->net || !d->net_ops->unpin ||
           d->net_ops->unpin(d->net, d->region->frame + (first << DSM_PAGE_SHIFT),
                             (size_t)n_pages << DSM_PAGE_SHIFT);
}

/*
 * Gives frames back, but for what the transport has registered: that is cleared. Halved until a
 * piece is all free or not larger than the largest unit, so that a huge range of which little is
 * registered costs little.
 */
static void punch(struct dsm_driver *d, dsm_page_t first, uint64_t n_pages)
{
    uint64_t piece = n_pages;
    for (dsm_page_t at = first, end = first + n_pages; at < end;) {
        piece = piece < end - at ? piece : end - at;
        bool is_free = unpin(d, at, piece);
        if (!is_free && piece > DSM_UNIT_MAX_PAGES) {
            piece = (piece + 1) / 2;
            continue;
        }
        int error = 0;
        if (is_free)
            error = dsm_region_punch(d->region, at, piece);
        else
            memset(d->region->frame + (at << DSM_PAGE_SHIFT), 0, (size_t)piece << DSM_PAGE_SHIFT);
        if (error)
            die("giving memory back", error, at);
        at += piece;
        piece = is_free ? 2 * piece : piece;
    }
}

/* Carries one action out; true when it is an effect that is finished now. */
static bool run_action(struct dsm_driver *d, const struct dsm_action *a)
{
    if (a->n_pages == 0 && (a->type == DSM_ACTION_DOWNGRADE || a->type == DSM_ACTION_UNMAP))
        return true; /* carried out with an earlier one */
    switch (a->type) {
    case DSM_ACTION_MAP_READ:
    case DSM_ACTION_MAP_WRITE:
        return map(d, a);
    case DSM_ACTION_DOWNGRADE:
        downgrade(d, a);
        return true;
    case DSM_ACTION_UNMAP:
        unmap(d, a);
        return true;
    case DSM_ACTION_PUNCH:
        punch(d, a->page, a->n_pages);
        return true;
    case DSM_ACTION_SEND_BYTES:
        send_bytes(d, a);
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
        atomic_store(&d->timer_at_ns, a->at_ns);
        if (d->arm_timer)
            d->arm_timer(d->service, a->at_ns);
        return false;
    case DSM_ACTION_LOCK_LEND:
        dsm_locks_on_lend(d, a->id);
        return false;
    case DSM_ACTION_LOCK_RECALL:
        dsm_locks_on_recall(d, a->id);
        return false;
    case DSM_ACTION_LOCK_LOST:
        dsm_locks_on_lost(d, a->id, a->error ? a->error : DSM_E_PEER, a->rank);
        return false;
    case DSM_ACTION_COLLECTIVE_SEND:
    case DSM_ACTION_COLLECTIVE_COMBINE:
    case DSM_ACTION_COLLECTIVE_TAKE:
    case DSM_ACTION_COLLECTIVE_DONE:
        dsm_collective_on_action(d, a);
        return false;
    case DSM_ACTION_DROP_RANGE:
        unmap(d, a);
        punch(d, a->page, a->n_pages);
        dsm_heap_forget(d, a->page, a->n_pages);
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
        if (a.n_pages && (a.type == DSM_ACTION_DOWNGRADE || a.type == DSM_ACTION_UNMAP))
            gather(d, &a, i);
        if (run_action(d, &a)) {
            struct dsm_event done = {
                .type = DSM_EVENT_DONE, .now_ns = event->now_ns, .done.unit = a.page};
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
    if (now_ns >= atomic_load(&d->timer_at_ns)) {
        atomic_store(&d->timer_at_ns, UINT64_MAX);
        struct dsm_event event = {.type = DSM_EVENT_TIMER, .now_ns = now_ns};
        dsm_driver_step(d, &event);
    }
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
}

/* ---- faults -------------------------------------------------------------------------------- */

/* Explains a failed access, once for the thread that made it. */
static void report_failed_access(const struct dsm_driver *d, const struct dsm_fault *f, int error,
                                 dsm_rank_t rank, dsm_page_t unit)
{
    const char *what = f->is_write ? "store to" : "load from";
    struct dsm_core_counters c;
    switch (error) {
    case DSM_E_NOMEM:
        dsm_core_counters(d->core, &c);
        dsm_log(
            DSM_LOG_ERROR,
            "%s 0x%lx failed: no memory for its page: this rank holds %lu KiB of at most %lu KiB "
            "(DSM_MEM_MAX) and no other rank has room; raise DSM_MEM_MAX or use more ranks",
            what, (unsigned long)f->addr, (unsigned long)c.frames_pages * 4,
            (unsigned long)(d->config.mem_max_bytes >> 10));
        break;
    case DSM_E_TIMEOUT:
        dsm_log(
            DSM_LOG_ERROR,
            "%s 0x%lx failed: unit %lu did not come within %lu ms (DSM_FAULT_TIMEOUT); its home "
            "is rank %u",
            what, (unsigned long)f->addr, (unsigned long)unit,
            (unsigned long)(d->config.fault_timeout_s * 1e3),
            dsm_placement_unit(d->placement, unit).home);
        break;
    default:
        if (rank != DSM_RANK_NONE)
            dsm_log(DSM_LOG_ERROR, "%s 0x%lx failed: unit %lu was lost with rank %u (%s)", what,
                    (unsigned long)f->addr, (unsigned long)unit, rank, d->loss_text);
        else
            dsm_log(DSM_LOG_ERROR, "%s 0x%lx failed: unit %lu cannot be had: %s", what,
                    (unsigned long)f->addr, (unsigned long)unit, dsm_error_text(error));
    }
}

static uint64_t deadline_after(const struct dsm_driver *d, uint64_t now_ns)
{
    return now_ns + (uint64_t)(d->config.fault_timeout_s * (double)DSM_NS_PER_S);
}

static struct dsm_event fault_event(const struct dsm_driver *d, const struct dsm_fault *f,
                                    struct dsm_core_thread *thread, uint64_t now_ns)
{
    return (struct dsm_event){
        .type = DSM_EVENT_FAULT,
        .now_ns = now_ns,
        .fault = {.page = page_of(d, f->addr),
                  .access = f->is_write ? DSM_ACCESS_WRITE : DSM_ACCESS_READ,
                  .ip = f->ip,
                  .thread = thread},
    };
}

/* Steps a fault. True when the step itself answered it. (locked) */
static bool step_fault(struct dsm_driver *d, const struct dsm_event *event, dsm_page_t unit)
{
    d->faulting_unit = unit;
    d->is_fault_answered = false;
    d->fault_error = 0;
    d->fault_rank = DSM_RANK_NONE;
    dsm_driver_step(d, event);
    d->faulting_unit = DSM_PAGE_NONE;
    return d->is_fault_answered;
}

/*
 * A thread faults again before its fault has ended: a signal interrupted the wait, or the mapping
 * woke it before the core said so (WAKE waits for all effects of the unit). At another unit, maybe
 * in the signal's handler, it has left the first fault, and makes that one again when it comes
 * back. At the same unit it may want more than before, and the core is told.
 */
static void start_async_fault(struct dsm_driver *d, const struct dsm_fault *f)
{
    struct dsm_async_fault *a = &d->async_table[f->thread % DSM_TID_LIMIT];
    uint64_t now = dsm_clock_ns();
    dsm_mutex_lock(&d->lock);
    map_lazy(d);
    struct dsm_event event = fault_event(d, f, &a->thread, now);
    dsm_page_t unit = dsm_placement_unit(d->placement, event.fault.page).first;
    if (a->is_active && a->unit != unit)
        dsm_driver_end_async_fault(d, a, now);
    a->addr = f->addr;
    if (!a->is_active) {
        a->is_active = true;
        a->unit = unit;
        a->tid = f->thread;
        a->start_ns = now;
        a->deadline_ns = deadline_after(d, now);
        a->next = d->async_faults;
        d->async_faults = a;
        dsm_waiters_thread_is_stuck(d, f->thread);
    }
    dsm_driver_step(d, &event);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
}

enum dsm_fault_result dsm_driver_on_fault(void *driver, const struct dsm_fault *f)
{
    struct dsm_driver *d = driver;
    if (f->is_async) {
        start_async_fault(d, f);
        return DSM_FAULT_RETRY;
    }
    dsm_waiters_count_thread(d);
    struct dsm_core_thread *thread = &dsm_thread_self.core;
    uint64_t start_ns = dsm_clock_ns();
    struct dsm_event event = fault_event(d, f, thread, start_ns);

    dsm_mutex_lock(&d->lock);
    map_lazy(d);
    dsm_page_t unit = dsm_placement_unit(d->placement, event.fault.page).first;
    bool is_answered = step_fault(d, &event, unit);
    int error = d->fault_error;
    dsm_rank_t rank = d->fault_rank;
    uint64_t now = start_ns;
    if (!is_answered) {
        struct dsm_waiter w;
        dsm_waiter_add(d, &w, unit, true);
        dsm_mutex_unlock(&d->lock);
        dsm_driver_flush(d);
        error = dsm_waiter_wait(d, &w, deadline_after(d, start_ns), NULL);
        rank = w.rank;
        now = dsm_clock_ns();
        dsm_mutex_lock(&d->lock);
        dsm_waiter_remove(d, &w);
    }
    struct dsm_event resumed = {
        .type = DSM_EVENT_RESUMED, .now_ns = now, .resumed = {unit, thread}};
    dsm_driver_step(d, &resumed);
    dsm_histogram_add(&d->stats.fault_latency, dsm_clock_ns() - start_ns);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
    if (!error)
        return DSM_FAULT_RETRY;
    report_failed_access(d, f, error, rank, unit);
    return DSM_FAULT_REFUSE;
}

/* ---- messages ------------------------------------------------------------------------------ */

static int on_header(void *user, uint32_t from, unsigned lane, const uint8_t *header,
                     void **dst_out, uint64_t *token_out)
{
    struct dsm_driver *d = user;
    struct dsm_message m;
    const char *reason;
    (void)lane;
    *dst_out = NULL;
    *token_out = 0;
    int error = dsm_frame_decode(header, &m, &reason);
    if (!error && m.from != from) {
        error = DSM_E_PROTO;
        reason = "the sender's number is not the connection's";
    }
    if (!error && (m.job != d->config.job || m.epoch != d->config.epoch)) {
        error = DSM_E_PROTO;
        reason = "another job or epoch";
    }
    if (error) {
        dsm_log(DSM_LOG_ERROR, "rank %u sent a bad frame (type %u, %u bytes): %s", from, header[0],
                dsm_get_u32(header + DSM_NET_LEN_AT), reason);
        return error;
    }
    dsm_mutex_lock(&d->lock);
    d->stats.messages_received++;
    switch (m.type) {
    case DSM_MSG_HEAP_ASK:
    case DSM_MSG_HEAP_ANSWER:
    case DSM_MSG_HEAP_FREE:
        error = dsm_heap_on_message(d, &m);
        break;
    case DSM_MSG_COLLECTIVE:
        if (m.len) {
            error = dsm_collective_buffer(d, &m, dst_out);
            break;
        }
        /* fall through */
    default:
        d->receive_dst = NULL;
        struct dsm_event event = {
            .type = DSM_EVENT_MESSAGE, .now_ns = dsm_clock_ns(), .message = &m};
        error = dsm_driver_step(d, &event);
        *dst_out = m.len ? d->receive_dst : NULL;
        *token_out = *dst_out ? 1 : 0;
    }
    dsm_mutex_unlock(&d->lock);
    if (error)
        dsm_log(DSM_LOG_ERROR,
                "rank %u sent message type %u about %lu, which cannot be at this point", from,
                m.type, (unsigned long)m.object);
    return error;
}

static void on_payload(void *user, uint32_t from, unsigned lane, const uint8_t *header,
                       uint64_t token)
{
    struct dsm_driver *d = user;
    struct dsm_message m;
    const char *reason;
    (void)lane;
    (void)from;
    if (dsm_frame_decode(header, &m, &reason))
        return; /* was checked in on_header */
    struct dsm_event event = {.now_ns = dsm_clock_ns()};
    dsm_mutex_lock(&d->lock);
    if (m.type == DSM_MSG_COLLECTIVE) {
        event.type = DSM_EVENT_MESSAGE;
        event.message = &m;
        dsm_driver_step(d, &event);
    } else if (token) {
        event.type = DSM_EVENT_RECEIVED;
        event.received.unit = m.object;
        event.received.len = m.len;
        d->stats.fetched_bytes += m.len;
        d->may_put_off = true; /* on_batch_end follows */
        dsm_driver_step(d, &event);
        d->may_put_off = false;
    }
    dsm_mutex_unlock(&d->lock);
}

static void on_sent(void *user, uint64_t cookie)
{
    struct dsm_driver *d = user;
    unsigned kind = cookie & ((1u << COOKIE_BITS) - 1);
    if (kind == COOKIE_NOTHING)
        return;
    dsm_mutex_lock(&d->lock);
    if (kind == COOKIE_BULK)
        continue_bulk(d, cookie >> COOKIE_BITS);
    else
        finish_effect(d, cookie >> COOKIE_BITS);
    dsm_mutex_unlock(&d->lock);
}

static void on_batch_end(void *user)
{
    struct dsm_driver *d = user;
    dsm_mutex_lock(&d->lock);
    map_lazy(d);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
}

static uint64_t service_spin_ns(void *user)
{
    struct dsm_driver *d = user;
    uint64_t spin = dsm_waiters_spin_ns(d);
    return spin / 4; /* requests come in bursts; the processor is better given back soon */
}

void dsm_driver_net_handler(struct dsm_driver *d, struct dsm_net_handler *out)
{
    *out = (struct dsm_net_handler){
        .user = d,
        .on_header = on_header,
        .on_payload = on_payload,
        .on_sent = on_sent,
        .on_batch_end = on_batch_end,
        .service_spin_ns = service_spin_ns,
    };
}

/* ---- losses -------------------------------------------------------------------------------- */

bool dsm_driver_is_dead(const struct dsm_driver *d, dsm_rank_t rank)
{
    return d->dead_ranks[rank / 64] >> rank % 64 & 1;
}

bool dsm_driver_lose_rank(struct dsm_driver *d, dsm_rank_t rank, const char *why)
{
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    bool is_first = rank < d->config.n_ranks && !dsm_driver_is_dead(d, rank);
    if (is_first) {
        d->dead_ranks[rank / 64] |= 1ull << rank % 64;
        if (!d->loss_text[0])
            dsm_format(d->loss_text, sizeof d->loss_text, "%s", why);
        struct dsm_event event = {
            .type = DSM_EVENT_VIEW, .now_ns = dsm_clock_ns(), .view.rank = rank};
        dsm_driver_step(d, &event);
        dsm_heap_on_dead(d, rank);
    }
    dsm_driver_leave(d, &guard);
    return is_first;
}

/* ---- open and close ------------------------------------------------------------------------ */

void dsm_driver_enter(struct dsm_driver *d, struct dsm_driver_guard *guard)
{
    dsm_signals_block(&guard->mask);
    dsm_mutex_lock(&d->lock);
}

void dsm_driver_leave(struct dsm_driver *d, struct dsm_driver_guard *guard)
{
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
    dsm_signals_restore(&guard->mask);
}

static void *map_anonymous(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

int dsm_driver_open(struct dsm_driver *d, const struct dsm_driver_config *config,
                    struct dsm_region *region)
{
    *d = (struct dsm_driver){.config = *config,
                             .region = region,
                             .faulting_unit = DSM_PAGE_NONE,
                             .async_wake_fd = -1,
                             .n_processors = (uint32_t)get_nprocs(),
                             .timer_at_ns = UINT64_MAX};
    int error = dsm_placement_init(&d->placement, config->n_ranks);
    if (error)
        return error;
    struct dsm_core_config core = {
        .self = config->self,
        .n_ranks = config->n_ranks,
        .epoch = config->epoch,
        .job = config->job,
        .n_pages = region->len_bytes >> DSM_PAGE_SHIFT,
        .frame_limit = config->mem_max_bytes >> DSM_PAGE_SHIFT,
        .seed = 0x5eed0000ull + config->self,
        .placement = d->placement,
    };
    error = DSM_E_NOMEM;
    d->core_memory_bytes = dsm_core_memory_bytes(&core);
    d->core_memory = map_anonymous(d->core_memory_bytes);
    if (!d->core_memory)
        goto close_placement;
    (void)madvise(d->core_memory, d->core_memory_bytes, MADV_DONTDUMP);
    error = dsm_core_init(d->core_memory, &core, &d->core);
    if (error)
        goto unmap_core;
    error = DSM_E_NOMEM;
    d->actions.capacity = ACTION_LIST_STEPS * dsm_core_max_actions(d->core);
    d->actions.items = malloc(d->actions.capacity * sizeof *d->actions.items);
    d->dead_ranks = calloc((config->n_ranks + 63) / 64, sizeof *d->dead_ranks);
    if (!d->actions.items || !d->dead_ranks)
        goto free_lists;
    if ((error = dsm_locks_open(d)))
        goto free_lists;
    if ((error = dsm_collective_open(d)))
        goto close_locks;
    if ((error = dsm_heap_open(d)))
        goto close_collective;
    return 0;

close_collective:
    dsm_collective_close(d);
close_locks:
    dsm_locks_close(d);
free_lists:
    free(d->dead_ranks);
    free(d->actions.items);
unmap_core:
    munmap(d->core_memory, d->core_memory_bytes);
close_placement:
    dsm_placement_close(d->placement);
    return error;
}

int dsm_driver_open_async(struct dsm_driver *d)
{
    d->async_wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->async_wake_fd < 0)
        return DSM_E_SYSTEM;
    d->async_table = map_anonymous(DSM_TID_LIMIT * sizeof *d->async_table);
    return d->async_table ? 0 : DSM_E_NOMEM;
}

void dsm_driver_close(struct dsm_driver *d)
{
    dsm_heap_close(d);
    dsm_collective_close(d);
    dsm_locks_close(d);
    if (d->async_table)
        munmap(d->async_table, DSM_TID_LIMIT * sizeof *d->async_table);
    if (d->async_wake_fd >= 0)
        close(d->async_wake_fd);
    free(d->dead_ranks);
    free(d->actions.items);
    munmap(d->core_memory, d->core_memory_bytes);
    dsm_placement_close(d->placement);
}
