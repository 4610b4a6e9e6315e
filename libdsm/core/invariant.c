/* SPDX-License-Identifier: BSD-3-Clause */
/* invariant.c - see invariant.h. */
#include "core/invariant.h"
#include "core/state.h"

const char *dsm_invariant_text(enum dsm_invariant invariant)
{
    switch (invariant) {
    case DSM_INVARIANT_NONE:
        return "none";
#define XX(name, text)                                                                             \
    case DSM_INVARIANT_##name:                                                                     \
        return text;
        DSM_INVARIANT_MAP(XX)
#undef XX
    }
    return "?";
}

static enum dsm_invariant check_access(const struct dsm_invariant_world *world,
                                       const struct dsm_unit *unit)
{
    uint32_t n_writers = 0, n_readers = 0, n_owners = 0;
    dsm_rank_t rank;

    for (rank = 0; rank < world->n_ranks; rank++) {
        const struct dsm_copy *copy;
        uint8_t mapped;

        if (!world->cores[rank])
            continue;
        mapped = world->mapped(world->user, rank, unit->first);
        n_writers += mapped == DSM_ACCESS_WRITE;
        n_readers += mapped == DSM_ACCESS_READ;
        copy = dsm_copy_find(world->cores[rank], unit->first);
        if (!copy) {
            if (mapped != DSM_ACCESS_NONE)
                return DSM_INVARIANT_MAPPED_IS_ALLOWED;
            continue;
        }
        n_owners += dsm_copy_is_owned(copy);
        if (copy->n_effects == 0 && mapped > dsm_copy_access(copy))
            return DSM_INVARIANT_MAPPED_IS_ALLOWED;
    }
    if (n_writers > 1 || (n_writers == 1 && n_readers > 0))
        return DSM_INVARIANT_ONE_WRITER_OR_READERS;
    return n_owners > 1 ? DSM_INVARIANT_ONE_OWNER : DSM_INVARIANT_NONE;
}

/* The home has told this rank already, and it has not been carried out yet. */
static bool is_told(const struct dsm_invariant_world *world, dsm_rank_t rank,
                    const struct dsm_copy *copy)
{
    const struct dsm_message *m;
    uint32_t i;
    dsm_ref ref;

    for (i = 0; (m = world->in_flight(world->user, rank, i)) != NULL; i++)
        if (copy->first - m->object <
                (uint64_t)(m->type == DSM_MSG_FORWARD ? m->count : 1) * copy->n_pages &&
            (m->type == DSM_MSG_INVALIDATE ||
             (m->type == DSM_MSG_FORWARD &&
              (m->access != DSM_ACCESS_READ || (m->flags & DSM_MSG_F_EXCLUSIVE)))))
            return true;
    for (ref = copy->order_head; ref;) {
        const struct dsm_order *order = dsm_at(world->cores[rank], ref);

        if (order->type == DSM_MSG_INVALIDATE || order->access != DSM_ACCESS_READ ||
            (order->flags & DSM_MSG_F_EXCLUSIVE))
            return true;
        ref = order->next;
    }
    return false;
}

static enum dsm_invariant check_known(const struct dsm_invariant_world *world,
                                      const struct dsm_unit *unit)
{
    const struct dsm_core *home = world->cores[unit->home];
    const struct dsm_dir *dir = home ? dsm_directory_find(home, unit->first) : NULL;
    dsm_rank_t rank;

    if (!home)
        return DSM_INVARIANT_NONE;
    for (rank = 0; rank < world->n_ranks; rank++) {
        const struct dsm_copy *copy =
            world->cores[rank] ? dsm_copy_find(world->cores[rank], unit->first) : NULL;

        if (!copy || copy->state == DSM_COPY_ABSENT)
            continue;
        if (dsm_drop_covers(world->cores[rank], unit->first))
            continue; /* others may have forgotten the unit already */
        if (dir && (dir->owner == rank || dsm_directory_has_sharer(home, dir, rank)))
            continue;
        if (!is_told(world, rank, copy))
            return DSM_INVARIANT_COPY_IS_KNOWN;
    }
    return DSM_INVARIANT_NONE;
}

enum dsm_invariant dsm_invariant_check_unit(const struct dsm_invariant_world *world,
                                            dsm_page_t page)
{
    enum dsm_invariant violated;
    struct dsm_unit unit;
    dsm_rank_t rank;

    for (rank = 0; rank < world->n_ranks && !world->cores[rank]; rank++)
        ;
    if (rank == world->n_ranks)
        return DSM_INVARIANT_NONE;
    unit = dsm_placement_unit(world->cores[rank]->config.placement, page);
    violated = check_access(world, &unit);
    if (violated == DSM_INVARIANT_NONE)
        violated = check_known(world, &unit);
    for (rank = 0; violated == DSM_INVARIANT_NONE && rank < world->n_ranks; rank++) {
        const struct dsm_copy *copy =
            world->cores[rank] ? dsm_copy_find(world->cores[rank], unit.first) : NULL;

        if (copy && copy->n_orders >= world->n_ranks)
            violated = DSM_INVARIANT_QUEUE_IS_BOUNDED;
    }
    return violated;
}

enum dsm_invariant dsm_invariant_check_rank(const struct dsm_core *core)
{
    uint64_t pages = 0;
    uint32_t class;

    for (class = 0; class < DSM_FRAME_N_CLASSES; class ++) {
        dsm_ref ref = core->frames[class].head;
        uint64_t class_pages = 0;

        while (ref) {
            const struct dsm_copy *copy = dsm_at(core, ref);

            if (copy->frame_class != class)
                return DSM_INVARIANT_FRAMES_ADD_UP;
            class_pages += copy->n_pages;
            ref = copy->frame_next;
        }
        if (class_pages != core->class_pages[class])
            return DSM_INVARIANT_FRAMES_ADD_UP;
        pages += class_pages;
    }
    if (pages + core->punching_pages != core->counters.frames_pages)
        return DSM_INVARIANT_FRAMES_ADD_UP;
    if (core->config.frame_limit && pages > core->config.frame_limit)
        return DSM_INVARIANT_QUEUE_IS_BOUNDED;
    if (core->prefetch_in_flight > core->config.prefetch_window)
        return DSM_INVARIANT_QUEUE_IS_BOUNDED;
    return DSM_INVARIANT_NONE;
}
