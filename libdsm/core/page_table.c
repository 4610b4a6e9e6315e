/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * page_table.c - what this rank has of each unit: the entries, their state machine, and the lists
 * of frames by how cheap it is to do without them.
 */
#include "core/state.h"

/* moves[from][to]; the drawing is above enum dsm_copy_state. */
static const bool moves[DSM_COPY_N_STATES][DSM_COPY_N_STATES] = {
    [DSM_COPY_ABSENT] = {[DSM_COPY_ZERO] = true,
                         [DSM_COPY_SHARED] = true,
                         [DSM_COPY_OWNED_READ] = true,
                         [DSM_COPY_OWNED_CLEAN] = true,
                         [DSM_COPY_OWNED_WRITE] = true},
    [DSM_COPY_ZERO] = {[DSM_COPY_ABSENT] = true, [DSM_COPY_OWNED_WRITE] = true},
    [DSM_COPY_SHARED] =
        {[DSM_COPY_ABSENT] = true, [DSM_COPY_OWNED_READ] = true, [DSM_COPY_OWNED_WRITE] = true},
    [DSM_COPY_OWNED_READ] = {[DSM_COPY_ABSENT] = true, [DSM_COPY_OWNED_WRITE] = true},
    [DSM_COPY_OWNED_CLEAN] =
        {[DSM_COPY_ABSENT] = true, [DSM_COPY_OWNED_READ] = true, [DSM_COPY_OWNED_WRITE] = true},
    [DSM_COPY_OWNED_WRITE] = {[DSM_COPY_ABSENT] = true, [DSM_COPY_OWNED_READ] = true},
};

struct dsm_copy *dsm_copy_find(const struct dsm_core *core, dsm_page_t first)
{
    dsm_ref ref = dsm_table_find(&core->copies, (void *)(uintptr_t)core, first);

    return ref ? dsm_at(core, ref) : NULL;
}

struct dsm_copy *dsm_copy_in_run(const struct dsm_core *core, const struct dsm_copy *first,
                                 uint32_t index)
{
    struct dsm_copy *copy = dsm_copy_find(core, first->first + (uint64_t)index * first->n_pages);

    return copy && copy->n_pages == first->n_pages ? copy : NULL;
}

struct dsm_copy *dsm_copy_get(struct dsm_core *core, const struct dsm_unit *unit)
{
    struct dsm_copy *copy = dsm_copy_find(core, unit->first);
    dsm_ref ref;

    if (copy)
        return copy;
    ref = dsm_take(core, sizeof *copy);
    copy = dsm_at(core, ref);
    dsm_table_add(&core->copies, core, ref, unit->first);
    copy->home = unit->home;
    copy->n_pages = (uint16_t)unit->n_pages;
    copy->owner_hint = DSM_RANK_NONE;
    copy->receiving_from = DSM_RANK_NONE;
    copy->frame_class = DSM_FRAME_NONE;
    return copy;
}

static uint8_t class_of(const struct dsm_copy *copy)
{
    if (!(copy->flags & DSM_COPY_F_FRAME) || (copy->flags & DSM_COPY_F_PUNCHING))
        return DSM_FRAME_NONE;
    switch ((enum dsm_copy_state)copy->state) {
    case DSM_COPY_ABSENT:
        return DSM_FRAME_STALE;
    case DSM_COPY_ZERO:
        return DSM_FRAME_ZERO;
    case DSM_COPY_SHARED:
        return DSM_FRAME_SHARED;
    case DSM_COPY_OWNED_READ:
    case DSM_COPY_OWNED_CLEAN:
    case DSM_COPY_OWNED_WRITE:
        return DSM_FRAME_OWNED;
    case DSM_COPY_N_STATES:
        break;
    }
    assert(false);
    return DSM_FRAME_NONE;
}

static void unlink_frame(struct dsm_core *core, struct dsm_copy *copy)
{
    struct dsm_list *list = &core->frames[copy->frame_class];

    if (copy->frame_prev)
        ((struct dsm_copy *)dsm_at(core, copy->frame_prev))->frame_next = copy->frame_next;
    else
        list->head = copy->frame_next;
    if (copy->frame_next)
        ((struct dsm_copy *)dsm_at(core, copy->frame_next))->frame_prev = copy->frame_prev;
    else
        list->tail = copy->frame_prev;
    copy->frame_prev = copy->frame_next = 0;
    core->class_pages[copy->frame_class] -= copy->n_pages;
}

static void append_frame(struct dsm_core *core, struct dsm_copy *copy)
{
    struct dsm_list *list = &core->frames[copy->frame_class];
    dsm_ref ref = dsm_ref_of(core, copy);

    copy->frame_prev = list->tail;
    copy->frame_next = 0;
    if (list->tail)
        ((struct dsm_copy *)dsm_at(core, list->tail))->frame_next = ref;
    else
        list->head = ref;
    list->tail = ref;
    core->class_pages[copy->frame_class] += copy->n_pages;
}

/* Puts the unit at the young end of the list of its class. */
void dsm_copy_touch(struct dsm_core *core, struct dsm_copy *copy)
{
    if (copy->frame_class != DSM_FRAME_NONE)
        unlink_frame(core, copy);
    copy->frame_class = class_of(copy);
    if (copy->frame_class != DSM_FRAME_NONE)
        append_frame(core, copy);
}

void dsm_copy_move(struct dsm_core *core, struct dsm_copy *copy, enum dsm_copy_state to)
{
    assert(moves[copy->state][to]);
    copy->state = (uint8_t)to;
    dsm_copy_touch(core, copy);
}

void dsm_copy_set_frame(struct dsm_core *core, struct dsm_copy *copy, bool has_frame)
{
    bool had_frame = copy->flags & DSM_COPY_F_FRAME;

    if (had_frame == has_frame)
        return;
    if (has_frame) {
        copy->flags |= DSM_COPY_F_FRAME;
        core->counters.frames_pages += copy->n_pages;
        if (core->counters.frames_pages > core->counters.frames_peak_pages)
            core->counters.frames_peak_pages = core->counters.frames_pages;
    } else {
        copy->flags &= (uint16_t)~DSM_COPY_F_FRAME;
        core->counters.frames_pages -= copy->n_pages;
    }
    dsm_copy_touch(core, copy);
}

void dsm_copy_erase(struct dsm_step *s, struct dsm_copy *copy)
{
    struct dsm_core *core = s->core;

    assert(!copy->pending && copy->n_effects == 0 && !copy->order_head && !copy->answering);
    dsm_evict_forget(core, copy);
    if (copy->fault_access)
        dsm_request_lose(s, copy, DSM_E_RANGE, DSM_RANK_NONE);
    dsm_hold_forget(s, copy);
    dsm_copy_set_frame(core, copy, false);
    dsm_table_remove(&core->copies, core, dsm_ref_of(core, copy));
    dsm_give(core, dsm_ref_of(core, copy), sizeof *copy);
}
