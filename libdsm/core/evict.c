/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * evict.c - the limit on frames: what to do without when memory is short.
 *
 * A unit's pages count from the moment it is asked for until its frame has been given back. A
 * little below the limit this rank begins to free, cheapest first: frames without a copy, copies
 * that were never written, clean copies (the home is not told: an invalidate for a copy that is not
 * here is acknowledged anyway), and then units that it owns, which must go to a rank with room.
 *
 * OFFER says which units; the candidate reserves frames for what it takes, answers how many, and
 * asks their homes for ownership, a transaction like any other. Until the home's forward comes the
 * unit stays here and is used as ever, so whatever happens between (another writer, a death)
 * nothing is lost: an offer is only a hint of where to send the ownership, and making one twice
 * does no harm.
 *
 * A fault that finds no room waits, first come first served. When every rank has refused, the
 * faults that wait fail.
 */
#include "core/state.h"

#include <string.h>

#define UNITS_PER_STEP  16u
#define LOOKS_PER_STEP  64u     /* units that cannot go just now are passed over */
#define RETRY_NS        100000u /* between sweeps over the candidates; doubles with every sweep */
#define SWEEP_DOUBLINGS 7u

static uint8_t *tries_of(struct dsm_core *core)
{
    return (uint8_t *)core + core->tries_at;
}

static uint64_t soft_limit(const struct dsm_core *core)
{
    uint64_t margin = core->config.frame_limit / 16;

    return core->config.frame_limit - (margin > 0 ? margin : core->config.frame_limit > 1);
}

/* Pages that will still be held when all that was begun has ended. */
static uint64_t staying_pages(const struct dsm_core *core)
{
    uint64_t leaving = core->punching_pages + core->offered_pages;

    return core->counters.frames_pages > leaving ? core->counters.frames_pages - leaving : 0;
}

bool dsm_evict_has_spare(const struct dsm_core *core, uint64_t n_pages)
{
    return core->config.frame_limit == 0 ||
           (!core->starved.head && core->counters.frames_pages + n_pages <= soft_limit(core));
}

/* ---- frames given back */

/* Nothing may be received into a frame that is being given back: so never with a request under way,
 * and a fault that comes meanwhile waits for the effect. */
void dsm_evict_punch(struct dsm_step *s, struct dsm_copy *copy)
{
    assert(copy->state == DSM_COPY_ABSENT);
    if (copy->pending || copy->receiving_bytes > 0 || copy->fault_access ||
        !(copy->flags & DSM_COPY_F_FRAME) || (copy->flags & DSM_COPY_F_PUNCHING))
        return;
    copy->flags |= DSM_COPY_F_PUNCHING;
    s->core->punching_pages += copy->n_pages;
    dsm_copy_touch(s->core, copy);
    if (copy->n_effects > 0)
        copy->flags |= DSM_COPY_F_PUNCH_DUE; /* bytes may still have to leave the frame */
    else
        dsm_emit_effect(s, copy, DSM_ACTION_PUNCH);
}

/* All effects of a unit that is being punched are done: the PUNCH itself is next, or was the last.
 */
void dsm_evict_punched(struct dsm_step *s, struct dsm_copy *copy)
{
    if (copy->flags & DSM_COPY_F_PUNCH_DUE) {
        copy->flags &= (uint16_t)~DSM_COPY_F_PUNCH_DUE;
        dsm_emit_effect(s, copy, DSM_ACTION_PUNCH);
        return;
    }
    copy->flags &= (uint16_t)~DSM_COPY_F_PUNCHING;
    s->core->punching_pages -= copy->n_pages;
    dsm_copy_set_frame(s->core, copy, false);
}

void dsm_evict_set_offered(struct dsm_core *core, struct dsm_copy *copy, bool is_offered)
{
    bool was_offered = copy->flags & DSM_COPY_F_OFFERED;

    if (was_offered == is_offered)
        return;
    if (is_offered) {
        copy->flags |= DSM_COPY_F_OFFERED;
        core->offered_pages += copy->n_pages;
    } else {
        copy->flags &= (uint16_t)~DSM_COPY_F_OFFERED;
        core->offered_pages -= copy->n_pages;
    }
}

static bool may_go(const struct dsm_step *s, const struct dsm_copy *copy)
{
    return !copy->pending && copy->n_effects == 0 && copy->receiving_bytes == 0 &&
           !copy->fault_access && !copy->order_head && !(copy->flags & DSM_COPY_F_OFFERED) &&
           dsm_hold_end_ns(s, copy) == 0 && !dsm_drop_covers(s->core, copy->first);
}

/* The oldest unit of the class that may go; those that may not move to the young end. */
static struct dsm_copy *victim(struct dsm_step *s, enum dsm_frame_class class, uint32_t *looks)
{
    struct dsm_core *core = s->core;

    for (; *looks > 0 && core->frames[class].head; (*looks)--) {
        struct dsm_copy *copy = dsm_at(core, core->frames[class].head);

        if (may_go(s, copy))
            return copy;
        dsm_copy_touch(core, copy);
    }
    return NULL;
}

static void drop_copy(struct dsm_step *s, struct dsm_copy *copy, enum dsm_frame_class class)
{
    if (class == DSM_FRAME_ZERO)
        s->core->counters.evicted_zero++;
    else if (class == DSM_FRAME_SHARED)
        s->core->counters.evicted_shared++;
    if (copy->state != DSM_COPY_ABSENT)
        dsm_holder_take_away(s, copy);
    dsm_evict_punch(s, copy);
}

/* Frees what costs no message until no more than `goal` pages stay. */
static void drop_clean(struct dsm_step *s, uint64_t goal)
{
    enum dsm_frame_class last =
        dsm_planted(DSM_PLANT_DROP_OWNED) ? DSM_FRAME_OWNED : DSM_FRAME_SHARED;
    uint32_t n = 0, class;

    for (class = DSM_FRAME_STALE; class <= last; class ++) {
        uint32_t looks = LOOKS_PER_STEP;

        while (staying_pages(s->core) > goal && n < UNITS_PER_STEP) {
            struct dsm_copy *copy = victim(s, (enum dsm_frame_class) class, &looks);

            if (!copy)
                break;
            drop_copy(s, copy, (enum dsm_frame_class) class);
            n++;
        }
    }
    if (n == UNITS_PER_STEP)
        s->core->has_backlog = true;
}

/* Something moved, or began to wait: memory is not full yet, and ranks that refused may have room.
 */
static void note_progress(struct dsm_step *s)
{
    struct dsm_core *core = s->core;
    uint64_t after_ns = core->config.full_after_ns;

    core->full_at_ns = after_ns == DSM_FULL_NEVER ? DSM_TIME_NONE : s->now_ns + after_ns;
    core->sweep = 0;
}

/* ---- at the evictor: offers */

static struct dsm_offer *offer_to(const struct dsm_core *core, dsm_rank_t rank)
{
    uint32_t i;

    for (i = 0; i < core->n_offers; i++)
        if (core->offers[i].rank == rank)
            return (struct dsm_offer *)(uintptr_t)&core->offers[i];
    return NULL;
}

static void remove_offer(struct dsm_core *core, struct dsm_offer *offer)
{
    *offer = core->offers[--core->n_offers];
    memset(&core->offers[core->n_offers], 0, sizeof *offer);
}

/* Whom to offer to: who said to have most room; a rank that never said may have any. Equal ones in
 * turn, each rank from a start of its own. DSM_RANK_NONE: all have refused or are being asked. */
static dsm_rank_t choose_candidate(const struct dsm_core *core)
{
    uint32_t n = core->config.n_ranks, i;
    const uint32_t *room = dsm_core_room((struct dsm_core *)(uintptr_t)core);
    const uint8_t *tries = (const uint8_t *)core + core->tries_at;
    dsm_rank_t best = DSM_RANK_NONE;

    for (i = 0; i < n; i++) {
        dsm_rank_t rank = (core->next_candidate + i) % n;

        if (rank == core->config.self || dsm_is_dead(core, rank) || tries[rank] > 0 ||
            offer_to(core, rank))
            continue;
        if (best == DSM_RANK_NONE || room[rank] > room[best])
            best = rank;
    }
    return best;
}

/* Offers the oldest owned unit and those that follow it in memory. False: nothing to offer, or
 * nobody to offer to. */
static bool make_offer(struct dsm_step *s, uint64_t goal, uint32_t *looks, bool *has_victim_out)
{
    struct dsm_core *core = s->core;
    struct dsm_copy *copy = victim(s, DSM_FRAME_OWNED, looks);
    dsm_rank_t rank = copy ? choose_candidate(core) : DSM_RANK_NONE;
    struct dsm_offer *offer;
    struct dsm_message *m;

    *has_victim_out = copy != NULL;
    if (rank == DSM_RANK_NONE)
        return false;
    core->next_candidate = rank + 1;
    offer = &core->offers[core->n_offers++];
    *offer = (struct dsm_offer){.rank = rank, .first = copy->first, .unit_pages = copy->n_pages};
    do {
        dsm_evict_set_offered(core, copy, true);
        dsm_copy_touch(core, copy);
        offer->count++;
        copy = dsm_copy_find(core, copy->first + copy->n_pages);
    } while (offer->count < DSM_RUN_MAX_UNITS && staying_pages(core) > goal && copy &&
             dsm_copy_is_owned(copy) && copy->n_pages == offer->unit_pages && may_go(s, copy));
    m = dsm_emit_send(s, rank, DSM_LANE_REQUEST, DSM_MSG_OFFER, offer->first);
    m->count = offer->count;
    return true;
}

static void take_back(struct dsm_core *core, const struct dsm_offer *offer, uint32_t from)
{
    uint32_t i;

    for (i = from; i < offer->count; i++) {
        struct dsm_copy *copy = dsm_copy_find(core, offer->first + (uint64_t)i * offer->unit_pages);

        if (copy)
            dsm_evict_set_offered(core, copy, false);
    }
}

int dsm_evict_on_offer_reply(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;
    struct dsm_offer *offer = offer_to(core, m->from);

    if (!offer || offer->first != m->object || m->count > offer->count)
        return DSM_E_PROTO;
    dsm_core_room(core)[m->from] = m->room;
    if (m->count == 0)
        tries_of(core)[m->from] = 1;
    else
        note_progress(s);
    take_back(core, offer, m->count);
    remove_offer(core, offer);
    return 0;
}

/* A rank is gone: the offer to it is forgotten. */
void dsm_evict_on_dead(struct dsm_step *s, dsm_rank_t rank)
{
    struct dsm_offer *offer = offer_to(s->core, rank);

    if (!offer)
        return;
    remove_offer(s->core, offer); /* view.c takes every unit back that was offered to anybody */
}

/* ---- at the candidate */

static bool can_take(const struct dsm_core *core, const struct dsm_unit *unit, bool *has_copy_out)
{
    const struct dsm_copy *copy = dsm_copy_find(core, unit->first);

    *has_copy_out = copy && copy->state != DSM_COPY_ABSENT;
    if (dsm_is_dead(core, unit->home) || dsm_drop_covers(core, unit->first))
        return false;
    if (copy && (copy->pending || copy->n_effects > 0 || copy->receiving_bytes > 0 ||
                 copy->fault_access || dsm_copy_is_owned(copy)))
        return false;
    return (copy && (copy->flags & DSM_COPY_F_FRAME)) || dsm_evict_has_spare(core, unit->n_pages);
}

/* Asks for the ownership of `count` units from the same home. */
static void ask_to_own(struct dsm_step *s, const struct dsm_unit *first, uint32_t count,
                       bool has_copy, uint32_t request, dsm_rank_t offered_by)
{
    struct dsm_message *m =
        dsm_emit_send(s, first->home, DSM_LANE_REQUEST, DSM_MSG_REQUEST, first->first);

    m->access = DSM_ACCESS_OWN;
    m->flags = (uint8_t)(DSM_MSG_F_ASYNC | (has_copy ? DSM_MSG_F_HAS_COPY : 0));
    m->request = request;
    m->count = count;
    m->peer = offered_by;
}

/* Takes as many of the units as there is room for; returns how many. */
static uint32_t take_units(struct dsm_step *s, struct dsm_unit unit, uint32_t count,
                           dsm_rank_t offered_by)
{
    struct dsm_core *core = s->core;
    uint32_t request = dsm_request_number(core), n_run = 0, i;
    struct dsm_unit run = unit;
    bool run_has_copy = false;

    for (i = 0; i < count; i++) {
        bool has_copy;

        unit =
            dsm_placement_unit(core->config.placement, run.first + (uint64_t)n_run * run.n_pages);
        if (!can_take(core, &unit, &has_copy))
            break;
        if (n_run > 0 && (unit.home != run.home || has_copy != run_has_copy)) {
            ask_to_own(s, &run, n_run, run_has_copy, request, offered_by);
            request = dsm_request_number(core); /* one number, one request: of one home */
            run = unit;
            n_run = 0;
        }
        if (n_run == 0)
            run_has_copy = has_copy;
        dsm_request_open(s, dsm_copy_get(core, &unit), DSM_ACCESS_OWN, request, true)->offered_by =
            offered_by;
        n_run++;
    }
    if (n_run > 0)
        ask_to_own(s, &run, n_run, run_has_copy, request, offered_by);
    return i;
}

/* Pages that this rank has free, or could have by doing without clean copies. */
static uint32_t room_of(const struct dsm_core *core)
{
    uint64_t held = core->class_pages[DSM_FRAME_OWNED], soft = soft_limit(core);

    if (core->config.frame_limit == 0)
        return UINT32_MAX - 1;
    if (held >= soft)
        return 0;
    return soft - held < UINT32_MAX ? (uint32_t)(soft - held) : UINT32_MAX - 1;
}

int dsm_evict_on_offer(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;
    struct dsm_message *reply;
    struct dsm_unit unit;
    uint32_t n_taken = 0;

    if (m->object >= core->config.n_pages || m->count == 0 || m->count > DSM_RUN_MAX_UNITS)
        return DSM_E_PROTO;
    unit = dsm_placement_unit(core->config.placement, m->object);
    if ((uint64_t)unit.n_pages * m->count > core->config.n_pages - m->object)
        return DSM_E_PROTO;
    if (unit.first == m->object)
        n_taken = take_units(s, unit, m->count, m->from);
    reply = dsm_emit_send(s, m->from, DSM_LANE_REQUEST, DSM_MSG_OFFER_REPLY, m->object);
    reply->count = n_taken;
    reply->room = room_of(core);
    if (n_taken < m->count)
        core->asked_pages = (uint64_t)(m->count - n_taken) * unit.n_pages;
    return 0;
}

/* ---- faults that wait for room */

static void memory_full(struct dsm_step *s, const struct dsm_copy *copy)
{
    struct dsm_action *a = dsm_emit(s, DSM_ACTION_MEMORY_FULL);

    a->page = copy->first;
    a->n_pages = copy->n_pages;
    a->error = DSM_E_NOMEM;
}

/* True when the unit has a frame or may have one. Else it waits, and is tried again. */
bool dsm_evict_reserve(struct dsm_step *s, struct dsm_copy *copy, uint8_t access)
{
    struct dsm_core *core = s->core;
    dsm_ref ref = dsm_ref_of(core, copy);

    if (core->config.frame_limit == 0 || (copy->flags & DSM_COPY_F_FRAME))
        return true;
    if (!core->starved.head &&
        core->counters.frames_pages + copy->n_pages <= core->config.frame_limit)
        return true;
    if (copy->n_pages > core->config.frame_limit) {
        memory_full(s, copy);
        return false;
    }
    if (!core->starved.head) {
        note_progress(s);
        memset(tries_of(core), 0, core->config.n_ranks);
    }
    copy->fault_access = access;
    copy->flags |= DSM_COPY_F_STARVED;
    copy->starved_next = 0;
    if (core->starved.tail)
        ((struct dsm_copy *)dsm_at(core, core->starved.tail))->starved_next = ref;
    else
        core->starved.head = ref;
    core->starved.tail = ref;
    return false;
}

static struct dsm_copy *pop_starved(struct dsm_core *core)
{
    struct dsm_copy *copy = dsm_at(core, core->starved.head);

    core->starved.head = copy->starved_next;
    if (!core->starved.head)
        core->starved.tail = 0;
    copy->starved_next = 0;
    copy->flags &= (uint16_t)~DSM_COPY_F_STARVED;
    return copy;
}

/* The unit is forgotten while it waits. */
void dsm_evict_forget(struct dsm_core *core, struct dsm_copy *copy)
{
    dsm_ref ref = dsm_ref_of(core, copy), before = 0, at = core->starved.head;

    dsm_evict_set_offered(core, copy, false);
    if (!(copy->flags & DSM_COPY_F_STARVED))
        return;
    while (at != ref) {
        before = at;
        at = ((struct dsm_copy *)dsm_at(core, at))->starved_next;
    }
    if (before)
        ((struct dsm_copy *)dsm_at(core, before))->starved_next = copy->starved_next;
    else
        core->starved.head = copy->starved_next;
    if (core->starved.tail == ref)
        core->starved.tail = before;
    copy->flags &= (uint16_t)~DSM_COPY_F_STARVED;
}

static bool has_room_in_list(struct dsm_step *s)
{
    if (dsm_step_room(s) >= s->core->config.n_ranks + 4 * UNITS_PER_STEP)
        return true;
    s->core->has_backlog = true;
    return false;
}

static void feed_starved(struct dsm_step *s)
{
    struct dsm_core *core = s->core;

    while (core->starved.head && has_room_in_list(s)) {
        struct dsm_copy *copy = dsm_at(core, core->starved.head);
        dsm_ref rest;
        uint8_t access;

        if (core->counters.frames_pages + copy->n_pages > core->config.frame_limit)
            return;
        pop_starved(core);
        note_progress(s);
        access = copy->fault_access;
        copy->fault_access = DSM_ACCESS_NONE;
        /* It must not find others before it. */
        rest = core->starved.head;
        core->starved.head = 0;
        dsm_request_fault(s, copy, access);
        assert(!core->starved.head);
        core->starved.head = rest;
        dsm_step_run_local(s);
    }
}

static void fail_starved(struct dsm_step *s)
{
    struct dsm_core *core = s->core;

    while (core->starved.head && has_room_in_list(s)) {
        struct dsm_copy *copy = pop_starved(core);

        copy->fault_access = DSM_ACCESS_NONE;
        memory_full(s, copy);
    }
}

static bool has_clean_frames(const struct dsm_core *core)
{
    return core->class_pages[DSM_FRAME_STALE] || core->class_pages[DSM_FRAME_ZERO] ||
           core->class_pages[DSM_FRAME_SHARED];
}

static bool has_candidates(const struct dsm_core *core)
{
    return core->n_dead + 1 < core->config.n_ranks;
}

/* Nothing is being freed and something waits: what could go cannot go just now (it is held, or
 * under way), or everybody asked had no room at that moment. All are asked again a little later,
 * because units move: only when nothing has moved for a long time is memory said to be full. */
static void give_up_or_retry(struct dsm_step *s, bool has_owned_victim, uint64_t retry_at_ns)
{
    struct dsm_core *core = s->core;
    bool is_hopeless = !has_candidates(core) && has_owned_victim && !has_clean_frames(core);

    if (is_hopeless || s->now_ns >= core->full_at_ns) {
        fail_starved(s);
        return;
    }
    if (retry_at_ns != DSM_TIME_NONE && retry_at_ns > s->now_ns) {
        core->retry_at_ns = retry_at_ns;
        return;
    }
    if (retry_at_ns !=
        DSM_TIME_NONE) { /* it has come: another sweep begins at the end of the wait */
        memset(tries_of(core), 0, core->config.n_ranks);
        if (core->sweep < SWEEP_DOUBLINGS)
            core->sweep++;
    }
    core->retry_at_ns = s->now_ns + ((uint64_t)RETRY_NS << core->sweep);
}

static uint64_t without(uint64_t pages, uint64_t less)
{
    return pages > less ? pages - less : 0;
}

/* At the end of a step: frees what is to be freed, and lets faults go on that have room now. */
void dsm_evict_continue(struct dsm_step *s)
{
    struct dsm_core *core = s->core;
    uint64_t retry_at_ns = core->retry_at_ns, asked = core->asked_pages, goal;
    uint32_t looks = LOOKS_PER_STEP;
    bool has_owned_victim = false;

    if (core->config.frame_limit == 0)
        return;
    core->retry_at_ns = DSM_TIME_NONE;
    core->asked_pages = 0;
    feed_starved(s);
    goal = soft_limit(core);
    if (core->starved.head)
        goal = without(goal, ((struct dsm_copy *)dsm_at(core, core->starved.head))->n_pages);
    if (!has_room_in_list(s))
        return;
    /* For others only what costs nobody anything: else two full ranks would push units to and fro.
     */
    drop_clean(s, without(goal, asked));
    while (staying_pages(core) > goal && core->n_offers < DSM_OFFERS_MAX)
        if (!make_offer(s, goal, &looks, &has_owned_victim))
            break;
    if (core->starved.head && !core->has_backlog && core->n_offers == 0 &&
        core->punching_pages == 0 && core->offered_pages == 0)
        give_up_or_retry(s, has_owned_victim, retry_at_ns);
}
