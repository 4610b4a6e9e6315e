/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core.c - one switch: an event goes to the file whose subject it is. Also the memory's layout, the
 * action list, and messages of this rank to itself.
 */
#include "core/state.h"

#include <string.h>

#include "base/errors.h"

/* ---- memory: struct dsm_core | dead[] | tries[] | room[] | buckets of the tables | arena */

struct layout {
    uint64_t dead_at, tries_at, room_at, copies_at, directory_at, locks_at, groups_at, objects_at,
        asks_at, arena_at, end;
    uint64_t units_capacity, locks_capacity, groups_capacity, asks_capacity;
    uint64_t reserve_bytes;
};

static uint64_t power_of_two_from(uint64_t n)
{
    uint64_t power = 4;

    while (power < n)
        power *= 2;
    return power;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What one step may take from the arena: a run at its home makes a directory entry, a sharer set
 * that doubles, and a few nodes for each unit. */
static uint64_t reserve_of(const struct dsm_core_config *config)
{
    uint64_t n_run = smaller(DSM_RUN_MAX_UNITS, config->n_pages);
    uint64_t spill = dsm_arena_node_bytes(dsm_directory_slots(config->n_ranks) *
                                          (uint32_t)sizeof(struct dsm_sharer));

    return n_run * (sizeof(struct dsm_copy) + sizeof(struct dsm_dir) + spill + 512) +
           (uint64_t)config->n_ranks * sizeof(struct dsm_local_message) / 4 + 1024;
}

static struct layout layout_of(const struct dsm_core_config *config)
{
    struct layout l;
    uint64_t at = DSM_ALIGN_UP(sizeof(struct dsm_core), (uint64_t)64), arena_bytes;

    l.units_capacity = power_of_two_from(config->n_pages);
    l.locks_capacity = power_of_two_from(
        config->names_max ? config->names_max
                          : smaller(config->n_pages * DSM_PAGE_BYTES, DSM_LOCKS_AT_LEAST));
    l.groups_capacity = power_of_two_from(smaller(config->n_pages, 1u << 12));
    l.asks_capacity = power_of_two_from(smaller(config->n_pages, 1u << 16));
    l.dead_at = at;
    at = DSM_ALIGN_UP(at + config->n_ranks, (uint64_t)64);
    l.tries_at = at;
    at = DSM_ALIGN_UP(at + config->n_ranks, (uint64_t)64);
    l.room_at = at;
    at = DSM_ALIGN_UP(at + config->n_ranks * sizeof(uint32_t), (uint64_t)64);
    l.copies_at = at;
    at += l.units_capacity * sizeof(dsm_ref);
    l.directory_at = at;
    at += l.units_capacity * sizeof(dsm_ref);
    l.locks_at = at;
    at += l.locks_capacity * sizeof(dsm_ref);
    l.groups_at = at;
    at += l.groups_capacity * sizeof(dsm_ref);
    l.objects_at = at;
    at += l.locks_capacity * sizeof(dsm_ref);
    l.asks_at = at;
    at += l.asks_capacity * sizeof(dsm_ref);
    at = DSM_ALIGN_UP(at, (uint64_t)64);
    l.arena_at = at;
    l.reserve_bytes = reserve_of(config);
    /* A unit of one page that is here, has its entry here, a request, an order and a few sharers;
     * locks and collectives besides. Any address can be a lock. */
    arena_bytes = config->n_pages * 512 + (uint64_t)config->n_ranks * 4096 + (4u << 20) +
                  smaller(config->n_pages * DSM_PAGE_BYTES, DSM_LOCKS_AT_LEAST) *
                      dsm_arena_node_bytes(sizeof(struct dsm_lock));
    l.end = at + l.reserve_bytes + arena_bytes;
    if (config->memory_bytes)
        l.end = config->memory_bytes;
    if (l.end > DSM_ARENA_BYTES_MAX)
        l.end = DSM_ARENA_BYTES_MAX;
    return l;
}

static bool config_is_valid(const struct dsm_core_config *config)
{
    return config->n_ranks > 0 && config->n_ranks <= DSM_RANKS_MAX &&
           config->self < config->n_ranks && config->n_pages > 0 &&
           config->n_pages <= (uint64_t)1 << 32 && config->placement;
}

size_t dsm_core_memory_bytes(const struct dsm_core_config *config)
{
    return config_is_valid(config) ? DSM_ALIGN_UP(layout_of(config).end, (uint64_t)4096) : 0;
}

/* A run at its home: each unit may have every rank as a sharer. */
static uint32_t run_actions_of(const struct dsm_core_config *config)
{
    uint32_t n_run = (uint32_t)smaller(DSM_RUN_MAX_UNITS, config->n_pages);

    return n_run * (config->n_ranks + 8);
}

static uint32_t max_actions_of(const struct dsm_core_config *config)
{
    return 2 * run_actions_of(config) + 2 * config->n_ranks + 128 + DSM_SYNC_ANSWERS_MAX;
}

int dsm_core_init(void *memory, const struct dsm_core_config *config, struct dsm_core **core_out)
{
    struct dsm_core *core = memory;
    struct layout l;
    uint32_t i;

    if (!config_is_valid(config) || ((uintptr_t)memory & 63))
        return DSM_E_INVAL;
    l = layout_of(config);
    if (l.arena_at > l.end || l.end - l.arena_at < l.reserve_bytes)
        return DSM_E_NOMEM;
    core->config = *config;
    if (core->config.hold_ns == 0)
        core->config.hold_ns = DSM_HOLD_DEFAULT_NS;
    if (core->config.hold_cap_ns == 0)
        core->config.hold_cap_ns = DSM_HOLD_CAP_DEFAULT_NS;
    if (core->config.full_after_ns == 0)
        core->config.full_after_ns = DSM_FULL_DEFAULT_NS;
    if (core->config.prefetch_window == 0)
        core->config.prefetch_window = DSM_WINDOW_DEFAULT;
    dsm_arena_init(&core->arena, l.arena_at, l.end);
    dsm_table_init(&core->copies, l.copies_at, l.units_capacity);
    dsm_table_init(&core->directory, l.directory_at, l.units_capacity);
    dsm_table_init(&core->locks, l.locks_at, l.locks_capacity);
    dsm_table_init(&core->groups, l.groups_at, l.groups_capacity);
    dsm_table_init(&core->objects, l.objects_at, l.locks_capacity);
    dsm_table_init(&core->asks, l.asks_at, l.asks_capacity);
    core->reserve_bytes = l.reserve_bytes;
    core->dead_at = l.dead_at;
    core->tries_at = l.tries_at;
    core->room_at = l.room_at;
    core->next_candidate = (config->self + 1) % config->n_ranks;
    core->retry_at_ns = DSM_TIME_NONE;
    core->lost_rank = DSM_RANK_NONE;
    for (i = 0; i < config->n_ranks; i++)
        dsm_core_room(core)[i] = UINT32_MAX;
    core->max_actions = max_actions_of(config);
    core->run_actions = run_actions_of(config);
    core->rng = config->seed ^ ((uint64_t)config->self << 32);
    core->timer_at_ns = DSM_TIME_NONE;
    *core_out = core;
    return 0;
}

size_t dsm_core_used_bytes(const struct dsm_core *core)
{
    return core->arena.next_bytes;
}

uint32_t dsm_core_max_actions(const struct dsm_core *core)
{
    return core->max_actions;
}

/* ---- actions */

struct dsm_action *dsm_emit(struct dsm_step *s, enum dsm_action_type type)
{
    struct dsm_action *a;

    assert(s->out->n < s->out->capacity);
    a = &s->out->items[s->out->n++];
    memset(a, 0, sizeof *a);
    a->type = type;
    a->rank = DSM_RANK_NONE;
    return a;
}

struct dsm_action *dsm_emit_effect(struct dsm_step *s, struct dsm_copy *copy,
                                   enum dsm_action_type type)
{
    struct dsm_action *a = dsm_emit(s, type);

    a->page = copy->first;
    a->n_pages = copy->n_pages;
    assert(copy->n_effects < UINT8_MAX);
    copy->n_effects++;
    return a;
}

void dsm_message_fill(const struct dsm_core *core, struct dsm_message *m,
                      enum dsm_message_type type, uint64_t object)
{
    memset(m, 0, sizeof *m);
    m->type = (uint8_t)type;
    m->epoch = core->config.epoch;
    m->from = core->config.self;
    m->job = core->config.job;
    m->object = object;
    m->peer = DSM_RANK_NONE;
}

static struct dsm_message *queue_local(struct dsm_core *core)
{
    dsm_ref ref = dsm_take(core, sizeof(struct dsm_local_message));
    struct dsm_local_message *local = dsm_at(core, ref);

    if (core->local.tail)
        ((struct dsm_local_message *)dsm_at(core, core->local.tail))->next = ref;
    else
        core->local.head = ref;
    core->local.tail = ref;
    return &local->message;
}

struct dsm_message *dsm_emit_send(struct dsm_step *s, dsm_rank_t to, enum dsm_lane lane,
                                  enum dsm_message_type type, uint64_t object)
{
    struct dsm_core *core = s->core;
    struct dsm_message *m;

    if (to == core->config.self) {
        m = queue_local(core);
    } else {
        struct dsm_action *a =
            dsm_emit(s, type == DSM_MSG_COLLECTIVE ? DSM_ACTION_COLLECTIVE_SEND : DSM_ACTION_SEND);

        a->to = to;
        a->lane = (uint8_t)lane;
        a->page = object;
        m = &a->message;
        core->counters.messages[type]++;
    }
    dsm_message_fill(core, m, type, object);
    return m;
}

/* ---- the switch */

static int on_message(struct dsm_step *s, const struct dsm_message *m)
{
    switch ((enum dsm_message_type)m->type) {
    case DSM_MSG_REQUEST:
        return dsm_home_on_request(s, m);
    case DSM_MSG_FORWARD:
    case DSM_MSG_INVALIDATE:
        return dsm_holder_on_order(s, m);
    case DSM_MSG_GRANT:
        return dsm_request_on_grant(s, m);
    case DSM_MSG_ACK:
        return dsm_request_on_ack(s, m);
    case DSM_MSG_REFUSE:
        return dsm_request_on_refuse(s, m);
    case DSM_MSG_UNWRITTEN:
        return dsm_home_on_unwritten(s, m);
    case DSM_MSG_LOCK_ACQUIRE:
        return dsm_lock_on_acquire(s, m);
    case DSM_MSG_LOCK_FORWARD:
        return dsm_lock_on_forward(s, m);
    case DSM_MSG_LOCK_GRANT:
        return dsm_lock_on_grant(s, m);
    case DSM_MSG_LOCK_REFUSE:
        return dsm_lock_on_refuse(s, m);
    case DSM_MSG_LOCK_HERE:
        return dsm_lock_on_here(s, m);
    case DSM_MSG_LOCK_BUSY:
        return dsm_lock_on_busy(s, m);
    case DSM_MSG_SYNC_ASK:
        return dsm_sync_on_ask(s, m);
    case DSM_MSG_SYNC_CANCEL:
        return dsm_sync_on_cancel(s, m);
    case DSM_MSG_SYNC_ANSWER:
        return dsm_sync_on_answer(s, m);
    case DSM_MSG_COLLECTIVE:
        return dsm_collective_on_message(s, m);
    case DSM_MSG_OFFER:
        return dsm_evict_on_offer(s, m);
    case DSM_MSG_OFFER_REPLY:
        return dsm_evict_on_offer_reply(s, m);
    case DSM_MSG_DROP_BEGIN:
        return dsm_drop_on_begin(s, m);
    case DSM_MSG_DROP_CLEAR:
        return dsm_drop_on_clear(s, m);
    case DSM_MSG_DROP_DONE:
        return dsm_drop_on_done(s, m);
    default: /* the runtime's own messages, and numbers that mean nothing */
        return DSM_E_PROTO;
    }
}

void dsm_step_run_local(struct dsm_step *s)
{
    struct dsm_core *core = s->core;

    while (core->local.head) {
        dsm_ref ref = core->local.head;
        struct dsm_local_message *local = dsm_at(core, ref);
        struct dsm_message m = local->message;
        int error;

        core->local.head = local->next;
        if (!core->local.head)
            core->local.tail = 0;
        dsm_give(core, ref, sizeof *local);
        /* What this rank says to itself fails only after a lie of a peer. */
        error = on_message(s, &m);
        if (error && !s->error)
            s->error = error;
    }
}

/* Of another job or epoch, or from a rank that is gone: not an error, it may have been under way.
 */
static bool is_from_here(const struct dsm_core *core, const struct dsm_message *m)
{
    return m->job == core->config.job && m->epoch == core->config.epoch &&
           !dsm_is_dead(core, m->from);
}

static int on_peer_message(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;

    if (m->from >= core->config.n_ranks || m->from == core->config.self)
        return DSM_E_PROTO;
    if (is_from_here(core, m))
        return on_message(s, m);
    core->counters.messages_dropped++;
    if (m->type == DSM_MSG_GRANT && m->len > 0) {
        struct dsm_action *a = dsm_emit(s, DSM_ACTION_DISCARD);

        a->page = m->object;
        a->message = *m;
    }
    return 0;
}

static void count_fault(struct dsm_core *core, const struct dsm_copy *copy, uint8_t access)
{
    if (access == DSM_ACCESS_READ)
        core->counters.faults_read++;
    else if (copy->state == DSM_COPY_ABSENT)
        core->counters.faults_write++;
    else
        core->counters.faults_upgrade++;
    if (dsm_copy_allows(copy, access))
        core->counters.faults_local++;
}

static int on_fault(struct dsm_step *s, const struct dsm_event *event)
{
    struct dsm_core *core = s->core;
    uint8_t access = event->fault.access;
    struct dsm_unit unit;
    struct dsm_copy *copy;

    if (event->fault.page >= core->config.n_pages ||
        (access != DSM_ACCESS_READ && access != DSM_ACCESS_WRITE))
        return DSM_E_INVAL;
    unit = dsm_placement_unit(core->config.placement, event->fault.page);
    if (unit.n_pages > core->config.n_pages - unit.first)
        return DSM_E_INVAL;
    copy = dsm_copy_get(core, &unit);
    count_fault(core, copy, access);
    if (copy->state == DSM_COPY_ABSENT && !copy->pending &&
        dsm_advice_of(core, unit.first) == DSM_ADVICE_KIND_MIGRATORY)
        access = DSM_ACCESS_WRITE;
    dsm_hold_fault(s, unit.first, event->fault.ip, event->fault.thread);
    dsm_ahead_fault(s, copy, access, event->fault.thread);
    dsm_request_fault(s, copy, access);
    return 0;
}

static int on_resumed(struct dsm_step *s, const struct dsm_event *event)
{
    struct dsm_unit unit;

    if (event->resumed.page >= s->core->config.n_pages)
        return DSM_E_INVAL;
    unit = dsm_placement_unit(s->core->config.placement, event->resumed.page);
    dsm_hold_resumed(s, unit.first, event->resumed.thread);
    return 0;
}

static int on_pin(struct dsm_step *s, const struct dsm_event *event)
{
    struct dsm_copy *copy;

    if (event->pin.page >= s->core->config.n_pages)
        return DSM_E_INVAL;
    copy = dsm_copy_find(s->core,
                         dsm_placement_unit(s->core->config.placement, event->pin.page).first);
    if (event->type == DSM_EVENT_PIN)
        return copy ? dsm_hold_pin(s, copy, event->pin.access, event->pin.until_ns) : DSM_E_BUSY;
    if (copy)
        dsm_hold_unpin(s, copy);
    return 0;
}

static int on_timer(struct dsm_step *s)
{
    s->core->has_backlog = false;
    dsm_hold_on_timer(s);
    dsm_view_continue(s);
    dsm_drop_continue(s);
    return 0;
}

static int dispatch(struct dsm_step *s, const struct dsm_event *event)
{
    switch (event->type) {
    case DSM_EVENT_FAULT:
        return on_fault(s, event);
    case DSM_EVENT_RESUMED:
        return on_resumed(s, event);
    case DSM_EVENT_MESSAGE:
        return on_peer_message(s, event->message);
    case DSM_EVENT_RECEIVED:
        dsm_request_on_received(s, event->received.unit, event->received.len);
        return 0;
    case DSM_EVENT_DONE:
        dsm_holder_on_done(s, event->done.unit, event->done.n_units);
        return 0;
    case DSM_EVENT_TIMER:
        return on_timer(s);
    case DSM_EVENT_LOCK_ACQUIRE:
        return dsm_lock_acquire(s, event);
    case DSM_EVENT_LOCK_RETURNED:
        return dsm_lock_returned(s, event);
    case DSM_EVENT_LOCK_HELD:
        return dsm_lock_held(s, event->lock.id);
    case DSM_EVENT_SYNC:
        return dsm_sync_ask(s, event);
    case DSM_EVENT_SYNC_CANCEL:
        return dsm_sync_cancel(s, event);
    case DSM_EVENT_SYNC_FORGET:
        dsm_sync_forget(s->core, event->forget.first, event->forget.n_bytes);
        return 0;
    case DSM_EVENT_COLLECTIVE:
        return dsm_collective_enter(s, event);
    case DSM_EVENT_PREFETCH:
        return dsm_prefetch_add(s, event);
    case DSM_EVENT_PIN:
    case DSM_EVENT_UNPIN:
        return on_pin(s, event);
    case DSM_EVENT_VIEW:
        return dsm_view_lose(s, event->view.rank);
    case DSM_EVENT_DROP:
        return dsm_drop_start(s, event);
    }
    return DSM_E_INVAL;
}

int dsm_core_step(struct dsm_core *core, const struct dsm_event *event,
                  struct dsm_action_list *actions)
{
    struct dsm_step s = {.core = core, .out = actions, .now_ns = event->now_ns};
    int error;

    if (dsm_step_room(&s) < core->max_actions)
        return DSM_E_INVAL;
    if (dsm_arena_left_bytes(&core->arena) < core->reserve_bytes)
        return DSM_E_NOMEM;
    error = dispatch(&s, event);
    if (error)
        return error;
    dsm_step_run_local(&s);
    dsm_evict_continue(&s);
    dsm_step_run_local(&s);
    dsm_prefetch_continue(&s);
    dsm_sync_continue(&s);
    dsm_hold_set_timer(&s);
    return s.error;
}

/* ---- seeing inside */

void dsm_core_inspect(const struct dsm_core *core, dsm_page_t page,
                      struct dsm_core_unit_info *info_out)
{
    const struct dsm_copy *copy;
    const struct dsm_dir *dir;

    memset(info_out, 0, sizeof *info_out);
    info_out->unit = dsm_placement_unit(core->config.placement, page);
    info_out->owner_hint = DSM_RANK_NONE;
    copy = dsm_copy_find(core, info_out->unit.first);
    if (copy) {
        info_out->access = dsm_copy_access(copy);
        info_out->is_owner = dsm_copy_is_owned(copy);
        info_out->is_zero = copy->state == DSM_COPY_ZERO;
        info_out->is_pending = copy->pending != 0;
        info_out->request = copy->pending ? dsm_copy_pending(core, copy)->request : 0;
        info_out->is_busy = copy->n_effects > 0;
        info_out->has_frame = copy->flags & DSM_COPY_F_FRAME;
        info_out->owner_hint = copy->owner_hint;
    }
    dir = dsm_directory_find(core, info_out->unit.first);
    if (dir) {
        info_out->owner_hint = dir->owner;
        info_out->n_sharers = dir->n_sharers;
    }
}

bool dsm_core_is_unused(const struct dsm_core *core, dsm_page_t first, uint64_t n_pages)
{
    dsm_page_t page = first, end = first + n_pages;

    while (page < end && page < core->config.n_pages) {
        struct dsm_unit unit = dsm_placement_unit(core->config.placement, page);
        const struct dsm_copy *copy = dsm_copy_find(core, unit.first);

        if (copy && ((copy->flags & DSM_COPY_F_FRAME) || copy->pending || copy->n_effects > 0 ||
                     copy->receiving_bytes > 0 || copy->fault_access))
            return false;
        page = unit.first + unit.n_pages;
    }
    return true;
}

bool dsm_core_awaits_replies(const struct dsm_core *core)
{
    return core->demands_in_flight > 0;
}

/* Asked without the driver's lock, beside steps that may change the number by one aligned store. Of
 * an object that the caller knows of, it knows by something that came after that store. */
__attribute__((no_sanitize("thread"))) bool dsm_core_has_objects(const struct dsm_core *core)
{
    return __atomic_load_n(&core->objects.n, __ATOMIC_RELAXED) != 0;
}

void dsm_core_counters(const struct dsm_core *core, struct dsm_core_counters *counters_out)
{
    *counters_out = core->counters;
    counters_out->arena_used_bytes =
        core->arena.next_bytes - core->arena.start_bytes - core->arena.free_bytes;
    counters_out->arena_bound_bytes = core->arena.end_bytes - core->arena.start_bytes;
}
