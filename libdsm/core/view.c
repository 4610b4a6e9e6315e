/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * view.c - a rank is gone.
 *
 * What cannot be had any more is given up: requests whose home is gone, grants whose bytes stopped
 * half-way, locks, collectives and drops that need the rank. Homes refuse what it owned. Waits that
 * only a lost message could end (a forward that died with the owner) are not seen from here; the
 * driver's timeout ends them.
 */
#include "core/state.h"

/* The waiting orders name a grant that will not come: the askers are told. */
static void turn_away(struct dsm_step *s, struct dsm_copy *copy, dsm_rank_t rank)
{
    while (copy->order_head) {
        dsm_ref ref = copy->order_head;
        struct dsm_order order = *(struct dsm_order *)dsm_at(s->core, ref);

        copy->order_head = order.next;
        copy->n_orders--;
        dsm_give(s->core, ref, sizeof order);
        dsm_holder_turn_away(s, copy, &order, rank);
    }
    copy->order_tail = 0;
}

static bool is_lost_with(const struct dsm_core *core, const struct dsm_copy *copy, dsm_rank_t rank)
{
    const struct dsm_pending *pending = dsm_copy_pending(core, copy);

    if (!pending)
        return false;
    return copy->home == rank ||
           (pending->has_grant && pending->granted_by == rank &&
            pending->received_bytes < pending->announced_bytes) ||
           (pending->has_grant && pending->granted_by == rank && pending->announced_bytes > 0 &&
            pending->announced_bytes < dsm_copy_bytes(copy));
}

static void give_up(struct dsm_step *s, struct dsm_copy *copy, dsm_rank_t rank)
{
    bool is_waited = dsm_copy_pending(s->core, copy)->is_waited;

    dsm_request_drop(s, copy);
    if (is_waited)
        dsm_request_lose(s, copy, DSM_E_PEER, rank);
    if (copy->state == DSM_COPY_ABSENT)
        turn_away(s, copy, rank);
    dsm_holder_settle(s, copy);
}

/* False: not now; the action list has no room, or own messages wait that may need it. */
static bool look_at_copy(struct dsm_step *s, struct dsm_copy *copy, dsm_rank_t rank)
{
    /* Whoever had taken it may be the one that is gone; to offer twice does no harm. */
    dsm_evict_set_offered(s->core, copy, false);
    if (copy->receiving_from == rank)
        copy->receiving_bytes = 0;
    if (!is_lost_with(s->core, copy, rank))
        return true;
    if (dsm_step_room(s) < s->core->run_actions || s->core->local.head)
        return false;
    give_up(s, copy, rank);
    return true;
}

static bool look_at_copies(struct dsm_step *s, dsm_rank_t rank)
{
    struct dsm_core *core = s->core;
    uint64_t bucket;

    for (bucket = 0; bucket < dsm_table_n_buckets(&core->copies); bucket++) {
        dsm_ref ref = dsm_table_bucket(&core->copies, core, bucket);

        while (ref) {
            struct dsm_copy *copy = dsm_at(core, ref);

            if (!look_at_copy(s, copy, rank))
                return false;
            ref = copy->node.next;
        }
    }
    return true;
}

/* Peers may learn of a loss before this rank does, and say so. */
void dsm_view_note_loss(struct dsm_core *core, dsm_rank_t rank)
{
    core->knows_of_loss = true;
    if (rank != DSM_RANK_NONE)
        core->lost_rank = rank;
}

int dsm_view_lose(struct dsm_step *s, dsm_rank_t rank)
{
    struct dsm_core *core = s->core;
    uint8_t *dead = (uint8_t *)core + core->dead_at;

    if (rank >= core->config.n_ranks || rank == core->config.self)
        return DSM_E_INVAL;
    if (dead[rank])
        return 0;
    dead[rank] = DSM_VIEW_LEARNT;
    core->n_dead++;
    dsm_view_note_loss(core, rank);
    dsm_collective_on_dead(s);
    dsm_drop_on_dead(s, rank);
    dsm_evict_on_dead(s, rank);
    dsm_view_continue(s);
    return 0;
}

/* Takes up ranks whose units have not all been looked at. */
void dsm_view_continue(struct dsm_step *s)
{
    struct dsm_core *core = s->core;
    uint8_t *dead = (uint8_t *)core + core->dead_at;
    dsm_rank_t rank;

    if (core->n_dead == core->n_dead_done)
        return;
    for (rank = 0; rank < core->config.n_ranks; rank++) {
        if (dead[rank] != DSM_VIEW_LEARNT)
            continue;
        if (!dsm_lock_on_dead(s, rank) || !dsm_sync_on_dead(s, rank) || !look_at_copies(s, rank)) {
            core->has_backlog = true;
            return;
        }
        dead[rank] = DSM_VIEW_DONE;
        core->n_dead_done++;
    }
}
