/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver.c - events in: faults come from the trap (dsm_driver_on_fault), messages from the
 * transport (the on_* functions), losses from both. What the core decides about them is carried out
 * by driver_actions.c; these two are the only place where the core meets traps and transports.
 */
#define _GNU_SOURCE
#include "runtime/driver.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "runtime/bell.h"
#include "runtime/collective.h"
#include "runtime/distribute.h"
#include "runtime/heap.h"
#include "runtime/locks.h"
#include "runtime/observe.h"
#include "runtime/sync.h"
#include "runtime/work.h"
#include "wire/frame.h"
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static dsm_page_t page_of(const struct dsm_driver *d, uintptr_t addr)
{
    return dsm_region_page(d->region, addr);
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

void dsm_driver_count_fault(struct dsm_driver *d, bool is_write, uint64_t ns)
{
    dsm_histogram_add(&d->stats.fault_latency, ns);
    *(is_write ? &d->stats.fault_write_ns : &d->stats.fault_read_ns) += ns;
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
    dsm_driver_map_lazy(d);
    struct dsm_event event = fault_event(d, f, &a->thread, now);
    dsm_page_t unit = dsm_placement_unit(d->placement, event.fault.page).first;
    if (a->is_active && a->unit != unit)
        dsm_driver_end_async_fault(d, a, now);
    if (a->unit != unit)
        a->was_refused = false;
    a->addr = f->addr;
    a->ip = f->ip;
    if (!a->is_active) {
        a->kind = dsm_observe_fault_kind(d, &event);
        a->served_by = DSM_RANK_NONE;
        a->is_active = true;
        a->unit = unit;
        a->tid = f->thread;
        a->is_write = f->is_write;
        a->start_ns = now;
        a->deadline_ns = deadline_after(d, now);
        a->next = d->async_faults;
        d->async_faults = a;
    }
    dsm_waiters_thread_is_stuck(d, f->thread);
    dsm_driver_step(d, &event);
    struct dsm_observed_trouble trouble;
    bool is_trouble = dsm_observe_take(d, &trouble);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
    if (is_trouble)
        dsm_observe_tell(d, &trouble);
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
    dsm_driver_map_lazy(d);
    dsm_page_t unit = dsm_placement_unit(d->placement, event.fault.page).first;
    enum dsm_profile_kind kind = dsm_observe_fault_kind(d, &event);
    dsm_rank_t served_by = DSM_RANK_NONE;
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
        served_by = w.served_by;
        dsm_waiter_remove(d, &w);
    }
    struct dsm_event resumed = {
        .type = DSM_EVENT_RESUMED, .now_ns = now, .resumed = {unit, thread}};
    dsm_driver_step(d, &resumed);
    uint64_t end_ns = dsm_clock_ns();
    dsm_driver_count_fault(d, f->is_write, end_ns - start_ns);
    struct dsm_observed_fault seen = {kind,      f->addr,  f->ip,  unit,
                                      served_by, start_ns, end_ns, !is_answered};
    dsm_observe_fault(d, &seen);
    struct dsm_observed_trouble trouble;
    bool is_trouble = dsm_observe_take(d, &trouble);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
    if (is_trouble)
        dsm_observe_tell(d, &trouble);
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
    case DSM_MSG_DISTRIBUTE:
        error = dsm_distribute_buffer(d, &m, dst_out);
        break;
    case DSM_MSG_DISTRIBUTED:
        error = dsm_distribute_on_answer(d, &m);
        break;
    case DSM_MSG_RING:
        dsm_bell_on_ring(d, from);
        break;
    case DSM_MSG_WORK:
        error = dsm_work_on_message(d, &m);
        break;
    case DSM_MSG_COLLECTIVE:
        if (m.len) {
            error = dsm_collective_buffer(d, &m, dst_out);
            break;
        }
        /* fall through */
    default:
        d->receive_dst = NULL;
        dsm_observe_message(d, &m);
        struct dsm_event event = {
            .type = DSM_EVENT_MESSAGE, .now_ns = dsm_clock_ns(), .message = &m};
        error = dsm_driver_step(d, &event);
        *dst_out = m.len ? d->receive_dst : NULL;
        *token_out = *dst_out ? 1 : 0;
    }
    dsm_page_t private = d->advice.told;
    dsm_rank_t teller = d->advice.teller;
    d->advice.told = 0;
    dsm_mutex_unlock(&d->lock);
    if (private)
        dsm_log(DSM_LOG_WARN,
                "rank %u uses 0x%lx, which this rank has called private (dsm_advise); told once",
                teller, (unsigned long)dsm_region_addr(d->region, private - 1));
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
    if (m.type == DSM_MSG_DISTRIBUTE) {
        dsm_distribute_on_payload(d, &m);
    } else if (m.type == DSM_MSG_COLLECTIVE) {
        event.type = DSM_EVENT_MESSAGE;
        event.message = &m;
        dsm_driver_step(d, &event);
    } else if (token) {
        event.type = DSM_EVENT_RECEIVED;
        event.received.unit = m.object;
        event.received.len = m.len;
        d->stats.fetched_bytes += m.len;
        dsm_observe_received(d, m.from, m.len);
        d->may_put_off = true; /* on_batch_end follows */
        dsm_driver_step(d, &event);
        d->may_put_off = false;
    }
    dsm_mutex_unlock(&d->lock);
}

static void on_batch_end(void *user)
{
    struct dsm_driver *d = user;
    dsm_mutex_lock(&d->lock);
    dsm_driver_map_lazy(d);
    dsm_mutex_unlock(&d->lock);
    dsm_driver_flush(d);
}

static uint64_t service_spin_ns(void *user)
{
    return dsm_service_spin_ns(user);
}

void dsm_driver_net_handler(struct dsm_driver *d, struct dsm_net_handler *out)
{
    *out = (struct dsm_net_handler){
        .user = d,
        .on_header = on_header,
        .on_payload = on_payload,
        .on_sent = dsm_driver_on_sent,
        .on_batch_end = on_batch_end,
        .service_spin_ns = service_spin_ns,
        .is_unused = dsm_frames_is_unused,
        .on_unpinned = dsm_frames_on_unpinned,
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
        d->has_losses = true;
        if (!d->loss_text[0])
            dsm_format(d->loss_text, sizeof d->loss_text, "%s", why);
        struct dsm_event event = {
            .type = DSM_EVENT_VIEW, .now_ns = dsm_clock_ns(), .view.rank = rank};
        dsm_driver_step(d, &event);
        dsm_locks_on_dead(d);
        dsm_heap_on_dead(d, rank);
        dsm_distribute_on_dead(d, rank);
    }
    dsm_driver_leave(d, &guard);
    return is_first;
}

/* ---- open and close ------------------------------------------------------------------------ */

/* Programs of the SPLASH suite moved 1.3 times as many pages with one sign as without migration
 * (LU of 512 x 512 on two ranks, nothing fetched ahead), with three 1.05 times. */
#define MIGRATORY_SIGNS 3u

void dsm_driver_enter(struct dsm_driver *d, struct dsm_driver_guard *guard)
{
    dsm_signals_block(&guard->mask);
    dsm_mutex_lock(&d->lock);
    /* At which instruction a thread faults is not known with the uffd trap (0). To the core all its
     * faults are those of one that does not get on; but a call shows that it did. */
    if (d->async_table)
        d->async_table[dsm_thread_id() % DSM_TID_LIMIT].thread.ip = UINT64_MAX;
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
                             .timer_at_ns = UINT64_MAX,
                             .core_timer_at_ns = UINT64_MAX,
                             .locks_timer_at_ns = UINT64_MAX};
    int error = dsm_placement_init(&d->placement, config->n_ranks);
    if (error)
        return error;
    struct dsm_core_config core = {
        .self = config->self,
        .n_ranks = config->n_ranks,
        .epoch = config->epoch,
        .job = config->job,
        .n_pages = dsm_region_total_bytes(region) >> DSM_PAGE_SHIFT,
        .frame_limit = config->mem_max_bytes >> DSM_PAGE_SHIFT,
        .seed = 0x5eed0000ull + config->self,
        .ahead_bytes = config->ahead_bytes,
        .migratory_signs = config->is_never_migratory ? 0 : MIGRATORY_SIGNS,
        .placement = d->placement,
        .advice = &d->advice,
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
    d->actions.capacity = DSM_ACTION_LIST_STEPS * dsm_core_max_actions(d->core);
    d->actions.items = malloc(d->actions.capacity * sizeof *d->actions.items);
    d->dead_ranks = calloc((config->n_ranks + 63) / 64, sizeof *d->dead_ranks);
    if (!d->actions.items || !d->dead_ranks)
        goto free_lists;
    if ((error = dsm_thrash_open(&d->thrash, core.n_pages, core.frame_limit)))
        goto free_lists;
    if ((error = dsm_locks_open(d)))
        goto close_thrash;
    if ((error = dsm_sync_open(d)))
        goto close_locks;
    if ((error = dsm_collective_open(d)))
        goto close_sync;
    if ((error = dsm_heap_open(d)))
        goto close_collective;
    if ((error = dsm_bell_open(d)))
        goto close_heap;
    if ((error = dsm_distribute_open(d)))
        goto close_bell;
    return 0;

close_bell:
    dsm_bell_close(d);
close_heap:
    dsm_heap_close(d);
close_collective:
    dsm_collective_close(d);
close_sync:
    dsm_sync_close(d);
close_locks:
    dsm_locks_close(d);
close_thrash:
    dsm_thrash_close(d->thrash);
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
    free(d->advice.ranges);
    dsm_distribute_close(d);
    dsm_bell_close(d);
    dsm_work_close(d);
    dsm_heap_close(d);
    dsm_collective_close(d);
    dsm_sync_close(d);
    dsm_locks_close(d);
    struct dsm_async_fault *async_table = d->async_table;
    struct dsm_signal_mask mask;
    dsm_signals_block(&mask);
    dsm_mutex_lock(&d->lock); /* for threads of the program that end only now or later */
    d->async_table = NULL;
    d->net = NULL;
    dsm_mutex_unlock(&d->lock);
    dsm_signals_restore(&mask);
    if (async_table)
        munmap(async_table, DSM_TID_LIMIT * sizeof *async_table);
    if (d->async_wake_fd >= 0)
        close(d->async_wake_fd);
    dsm_thrash_close(d->thrash);
    free(d->dead_ranks);
    free(d->actions.items);
    munmap(d->core_memory, d->core_memory_bytes);
    dsm_placement_close(d->placement);
}
