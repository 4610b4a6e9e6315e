/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * prefetch.c - hints: ask for ranges ahead, in runs, with a bounded number of units on their way.
 *
 * A run is one REQUEST for consecutive units with the same home; every unit stays a transaction of
 * its own. What the window has no room for is remembered in a few slots and continued as grants
 * finish, those with the earliest deadline first (then in the order in which they came). While a
 * thread waits for a unit that it asked for itself, only a small part of the window is used, so
 * that what is waited for does not queue behind what is not. It is a hint: units that are here, on
 * their way or busy are passed over, and when memory is short or the slots are full something is
 * forgotten.
 */
#include "core/state.h"

#include <string.h>

#define UNITS_PER_STEP  1024u /* looked at in one step */
#define SHARE_OF_WINDOW 8u    /* the part used while a thread waits */

static void forget(struct dsm_core *core, uint32_t at)
{
    core->n_hints--;
    memmove(&core->hints[at], &core->hints[at + 1], (core->n_hints - at) * sizeof core->hints[0]);
    memset(&core->hints[core->n_hints], 0, sizeof core->hints[0]);
}

/* Where a hint with this deadline goes: behind all that are no later. */
static uint32_t place_for(const struct dsm_core *core, uint64_t deadline_ns)
{
    uint32_t at = core->n_hints;

    while (at > 0 && core->hints[at - 1].deadline_ns > deadline_ns)
        at--;
    return at;
}

void dsm_prefetch_put(struct dsm_core *core, struct dsm_hint hint)
{
    uint32_t at;

    if (core->n_hints == DSM_HINTS_MAX) {
        /* Of those without a deadline the oldest: what was hinted last is wanted most. Else the
         * one with the latest deadline, which may be the new one. */
        at = place_for(core, DSM_TIME_NONE - 1);
        if (at == DSM_HINTS_MAX && hint.deadline_ns >= core->hints[at - 1].deadline_ns)
            return;
        forget(core, at < DSM_HINTS_MAX ? at : at - 1);
    }
    at = place_for(core, hint.deadline_ns);
    memmove(&core->hints[at + 1], &core->hints[at], (core->n_hints - at) * sizeof core->hints[0]);
    core->hints[at] = hint;
    core->n_hints++;
}

int dsm_prefetch_add(struct dsm_step *s, const struct dsm_event *event)
{
    struct dsm_core *core = s->core;
    dsm_page_t first = event->prefetch.first;
    uint64_t n_pages = event->prefetch.n_pages;
    struct dsm_hint hint;
    struct dsm_unit unit;

    if (first >= core->config.n_pages || n_pages > core->config.n_pages - first ||
        (event->prefetch.access != DSM_ACCESS_READ && event->prefetch.access != DSM_ACCESS_WRITE))
        return DSM_E_INVAL;
    hint = (struct dsm_hint){
        .next = first,
        .left_pages = n_pages,
        .deadline_ns = event->prefetch.deadline_ns ? event->prefetch.deadline_ns : DSM_TIME_NONE,
        .access = event->prefetch.access};
    if (n_pages == 0)
        return 0;
    unit = dsm_placement_unit(core->config.placement, first);
    if (event->prefetch.is_sample && dsm_prefetch_wants(core, &unit, &hint))
        dsm_ahead_mark(core, unit.first, hint.access, 1);
    dsm_prefetch_put(core, hint);
    return 0;
}

void dsm_prefetch_forget(struct dsm_core *core, dsm_page_t first, uint64_t n_pages)
{
    uint32_t i, n = 0;

    for (i = 0; i < core->n_hints; i++) {
        struct dsm_hint hint = core->hints[i];
        dsm_page_t end = hint.next + hint.left_pages;

        if (hint.pattern.n_steps) /* rare, and short: none of it is worth the care */
            continue;
        if (hint.next < first + n_pages && first < end) {
            if (hint.next < first) {
                hint.left_pages = first - hint.next; /* what comes behind the range goes with it */
            } else {
                hint.next = first + n_pages;
                hint.left_pages = hint.next < end ? end - hint.next : 0;
            }
        }
        if (hint.left_pages > 0)
            core->hints[n++] = hint;
    }
    memset(&core->hints[n], 0, (DSM_HINTS_MAX - n) * sizeof core->hints[0]);
    core->n_hints = n;
}

struct run {
    struct dsm_unit first;
    uint32_t count;
    bool has_copy;
    bool is_shared; /* by advice; one request says it for all */
};

/* What nobody said is only asked for to be written where that cannot take it from a writer. */
static bool is_safe_to_write(const struct dsm_copy *copy, const struct dsm_hint *hint)
{
    if (hint->access != DSM_ACCESS_WRITE || hint->kind == DSM_HINT_ASKED)
        return true;
    if (hint->kind == DSM_HINT_AHEAD_OWN)
        return copy && copy->state == DSM_COPY_OWNED_READ;
    return !copy || copy->state != DSM_COPY_ABSENT || copy->seen == 0;
}

static bool is_wanted(const struct dsm_core *core, const struct dsm_unit *unit,
                      const struct dsm_hint *hint, bool *has_copy_out)
{
    const struct dsm_copy *copy = dsm_copy_find(core, unit->first);

    *has_copy_out = copy && copy->state != DSM_COPY_ABSENT;
    if (unit->n_pages > core->config.n_pages - unit->first || dsm_is_dead(core, unit->home) ||
        dsm_drop_covers(core, unit->first) || !is_safe_to_write(copy, hint))
        return false;
    return !copy || (!dsm_copy_allows(copy, hint->access) && !copy->pending &&
                     copy->n_effects == 0 && copy->receiving_bytes == 0 && !copy->fault_access);
}

bool dsm_prefetch_wants(const struct dsm_core *core, const struct dsm_unit *unit,
                        const struct dsm_hint *hint)
{
    bool has_copy;

    return is_wanted(core, unit, hint, &has_copy);
}

/* From the unit to the next one. */
void dsm_pattern_step(struct dsm_pattern *pattern, dsm_page_t *page, uint64_t unit_pages)
{
    if (pattern->n_steps == 0) {
        *page += unit_pages;
        return;
    }
    *page += (uint64_t)pattern->step_pages[pattern->at];
    pattern->at = (pattern->at + 1) % pattern->n_steps;
}

/* Units that may be on their way now. */
static uint32_t window(const struct dsm_core *core)
{
    uint32_t units = core->config.prefetch_window;

    return core->demands_in_flight == 0 ? units
           : units > SHARE_OF_WINDOW    ? units / SHARE_OF_WINDOW
                                        : 1;
}

static bool has_room_for(const struct dsm_core *core, const struct run *run)
{
    return core->prefetch_in_flight + run->count < window(core) &&
           dsm_evict_has_spare(core, (uint64_t)(run->count + 1) * run->first.n_pages);
}

/* Takes units from the hint into the run as long as they fit in. */
static void take_run(struct dsm_core *core, struct dsm_hint *hint, uint32_t *budget,
                     struct run *run)
{
    run->count = 0;
    while (hint->left_pages > 0 && *budget > 0 && run->count < DSM_RUN_MAX_UNITS) {
        struct dsm_unit unit = dsm_placement_unit(core->config.placement, hint->next);
        uint64_t passed = unit.first + unit.n_pages - hint->next;
        bool has_copy, is_in = is_wanted(core, &unit, hint, &has_copy);
        bool is_shared = dsm_advice_is_shared(dsm_advice_of(core, unit.first));
        bool is_next = unit.first == run->first.first + (uint64_t)run->count * run->first.n_pages;

        if (run->count > 0 && (!is_in || !is_next || !has_room_for(core, run) ||
                               unit.home != run->first.home || unit.n_pages != run->first.n_pages ||
                               has_copy != run->has_copy || is_shared != run->is_shared))
            return;
        if (is_in && run->count == 0) {
            run->first = unit;
            run->has_copy = has_copy;
            run->is_shared = is_shared;
        }
        run->count += is_in;
        (*budget)--;
        dsm_pattern_step(&hint->pattern, &hint->next, passed);
        hint->left_pages -= passed < hint->left_pages ? passed : hint->left_pages;
    }
}

static void ask(struct dsm_step *s, const struct run *run, uint8_t access)
{
    struct dsm_core *core = s->core;
    uint32_t request = dsm_request_number(core), i;
    struct dsm_unit unit = run->first;
    struct dsm_message *m;

    for (i = 0; i < run->count; i++) {
        dsm_request_open(s, dsm_copy_get(core, &unit), access, request, true);
        unit.first += unit.n_pages;
    }
    core->counters.prefetch_asked += run->count;
    m = dsm_emit_send(s, run->first.home, DSM_LANE_REQUEST, DSM_MSG_REQUEST, run->first.first);
    m->access = access;
    m->flags = (uint8_t)(DSM_MSG_F_ASYNC | (run->has_copy ? DSM_MSG_F_HAS_COPY : 0));
    if (run->is_shared)
        m->flags |= DSM_MSG_F_SHARE;
    m->request = request;
    m->count = run->count;
}

static bool is_arena_short(const struct dsm_core *core)
{
    return dsm_arena_left_bytes(&core->arena) < 2 * core->reserve_bytes;
}

/* At the end of a step: asks for more while there is room. */
void dsm_prefetch_continue(struct dsm_step *s)
{
    struct dsm_core *core = s->core;
    uint32_t budget = UNITS_PER_STEP;

    /* In halves of the window, so that runs stay long. */
    if (core->n_hints == 0 || core->prefetch_in_flight > window(core) / 2)
        return;
    while (core->n_hints > 0) {
        struct dsm_hint *hint = &core->hints[0];
        struct run run = {.first.n_pages = 1};

        if (core->prefetch_in_flight >= window(core))
            return;
        if (hint->deadline_ns <= s->now_ns) {
            core->counters.prefetch_late += hint->left_pages;
            forget(core, 0);
            continue;
        }
        if (is_arena_short(core)) {
            core->n_hints = 0;
            return;
        }
        if (budget == 0 || dsm_step_room(s) < core->run_actions) {
            core->has_backlog = true;
            return;
        }
        take_run(core, hint, &budget, &run);
        if (run.count > 0 && !dsm_evict_has_spare(core, (uint64_t)run.count * run.first.n_pages)) {
            core->n_hints = 0; /* memory is short: no time for hints */
            return;
        }
        if (run.count > 0) {
            ask(s, &run, hint->access);
            dsm_step_run_local(s); /* an own run shows at once what room is left */
        }
        if (hint->left_pages == 0)
            forget(core, 0);
    }
}
