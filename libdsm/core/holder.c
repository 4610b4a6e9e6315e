/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * holder.c - others ask for what this rank has: FORWARD and INVALIDATE, here called orders.
 *
 * An order is carried out at once, also while an own request for the unit is on its way (waiting
 * for that would deadlock two upgrading sharers). It waits, in order of arrival, only
 *   - for the grant it names in `prior`, when that has not finished here yet: such waits go to
 * lower numbers, so they cannot form a circle;
 *   - for effects of the unit that are not done;
 *   - for the end of a hold or keep, when it would take something away.
 */
#include "core/state.h"

static void answer(struct dsm_step *s, const struct dsm_copy *copy, const struct dsm_order *order)
{
    bool is_ack = order->type == DSM_MSG_INVALIDATE;
    struct dsm_message *m;

    if (dsm_is_dead(s->core, order->peer))
        return;
    m = dsm_emit_send(s, order->peer, dsm_answer_lane(order->flags),
                      is_ack ? DSM_MSG_ACK : DSM_MSG_GRANT, copy->first);
    m->flags = order->flags;
    m->txn = order->txn;
    m->request = order->request;
    if (!is_ack) {
        m->count = 1;
        m->access = order->access;
        m->acks = order->acks;
    }
}

static void send_bytes(struct dsm_step *s, struct dsm_copy *copy, const struct dsm_order *order)
{
    struct dsm_action *a;

    if (dsm_is_dead(s->core, order->peer))
        return;
    a = dsm_emit_effect(s, copy, DSM_ACTION_SEND_BYTES);
    a->to = order->peer;
    a->lane = (uint8_t)dsm_answer_lane(order->flags);
    dsm_message_fill(s->core, &a->message, DSM_MSG_GRANT, copy->first);
    a->message.flags = order->flags;
    a->message.access = order->access;
    a->message.txn = order->txn;
    a->message.request = order->request;
    a->message.acks = order->acks;
    a->message.key = order->key;
    a->message.count = 1;
    a->message.len = a->message.room = dsm_copy_bytes(copy);
    s->core->counters.messages[DSM_MSG_GRANT]++;
}

bool dsm_holder_take_away(struct dsm_step *s, struct dsm_copy *copy)
{
    bool was_mapped = copy->flags & DSM_COPY_F_MAPPED;

    dsm_evict_set_offered(s->core, copy, false);
    dsm_ahead_lose(s->core, copy);
    dsm_copy_move(s->core, copy, DSM_COPY_ABSENT);
    copy->flags &= (uint16_t) ~(DSM_COPY_F_MAPPED | DSM_COPY_F_FRESH);
    copy->hold = DSM_HOLD_NO;
    copy->n_keeps = 0;
    s->core->counters.pins_ended += copy->n_pins > 0;
    copy->n_pins = 0;
    if (was_mapped)
        dsm_emit_effect(s, copy, DSM_ACTION_UNMAP);
    return was_mapped;
}

/* Answers now, or when the effects that the answer speaks of are done. */
static void answer_after_effects(struct dsm_step *s, struct dsm_copy *copy,
                                 const struct dsm_order *order)
{
    struct dsm_order *kept;

    if (copy->n_effects == 0) {
        answer(s, copy, order);
        return;
    }
    assert(!copy->answering);
    copy->answering = dsm_take(s->core, sizeof *kept);
    kept = dsm_at(s->core, copy->answering);
    *kept = *order;
}

static void carry_out_invalidate(struct dsm_step *s, struct dsm_copy *copy,
                                 const struct dsm_order *order)
{
    copy->owner_hint = order->peer;
    if (copy->state == DSM_COPY_ABSENT) {
        /* Dropped silently before. */
        answer(s, copy, order);
        return;
    }
    s->core->counters.invalidations++;
    if (dsm_planted(DSM_PLANT_SWAP_EFFECTS)) {
        answer(s, copy, order);
        dsm_holder_take_away(s, copy);
        return;
    }
    dsm_holder_take_away(s, copy);
    answer_after_effects(s, copy, order);
}

/* Another rank reads as well. */
static void give_up_writing(struct dsm_step *s, struct dsm_copy *copy)
{
    if (copy->state == DSM_COPY_OWNED_CLEAN) {
        if (!dsm_planted(DSM_PLANT_CLEAN_STAYS))
            dsm_copy_move(s->core, copy, DSM_COPY_OWNED_READ);
    } else if (copy->state != DSM_COPY_OWNED_WRITE) {
        return;
    } else if (dsm_copy_is_write_marker(copy)) { /* not mapped for writing yet */
        if (dsm_planted(DSM_PLANT_SAMPLE_STAYS))
            return;
        dsm_ahead_lose(s->core, copy);
        dsm_copy_move(s->core, copy, DSM_COPY_OWNED_READ);
    } else if (!dsm_planted(DSM_PLANT_NO_DOWNGRADE)) {
        s->core->counters.downgrades++;
        dsm_copy_move(s->core, copy, DSM_COPY_OWNED_READ);
        dsm_emit_effect(s, copy, DSM_ACTION_DOWNGRADE);
    }
}

static void carry_out_read(struct dsm_step *s, struct dsm_copy *copy, const struct dsm_order *order)
{
    give_up_writing(s, copy);
    send_bytes(s, copy, order);
}

/* The home is told, not asked: it takes the unit for one that migrates no longer. */
static void tell_unwritten(struct dsm_step *s, const struct dsm_copy *copy)
{
    if (!dsm_is_dead(s->core, copy->home))
        dsm_emit_send(s, copy->home, DSM_LANE_REQUEST, DSM_MSG_UNWRITTEN, copy->first);
}

/* The unit goes to another owner. */
static void carry_out_hand_over(struct dsm_step *s, struct dsm_copy *copy,
                                const struct dsm_order *order)
{
    if (order->access != DSM_ACCESS_OWN)
        s->core->counters.invalidations++;
    if (order->access != DSM_ACCESS_OWN && copy->state == DSM_COPY_OWNED_CLEAN)
        tell_unwritten(s, copy);
    copy->owner_hint = order->peer;
    dsm_holder_take_away(s, copy);
    if (order->flags & DSM_MSG_F_NO_BYTES)
        answer_after_effects(s, copy, order);
    else
        send_bytes(s, copy, order);
    if (order->access == DSM_ACCESS_OWN) {
        s->core->counters.evicted_owned++;
        dsm_evict_punch(s, copy);
    }
}

/* What a correct home never asks for is not done: the copy stays what it is. */
static bool is_possible(const struct dsm_copy *copy, const struct dsm_order *order)
{
    return dsm_copy_is_owned(copy) == (order->type == DSM_MSG_FORWARD);
}

static void carry_out(struct dsm_step *s, struct dsm_copy *copy, const struct dsm_order *order)
{
    if (!is_possible(copy, order)) {
        s->core->counters.messages_dropped++;
        return;
    }
    if (order->type == DSM_MSG_INVALIDATE)
        carry_out_invalidate(s, copy, order);
    else if (order->access == DSM_ACCESS_READ &&
             (!(order->flags & DSM_MSG_F_EXCLUSIVE) || dsm_planted(DSM_PLANT_EXCLUSIVE_STAYS)))
        carry_out_read(s, copy, order);
    else
        carry_out_hand_over(s, copy, order);
}

/* Whether the program here would lose something that a hold or keep protects. */
static bool takes_something(const struct dsm_copy *copy, const struct dsm_order *order)
{
    if (order->access == DSM_ACCESS_READ && order->type == DSM_MSG_FORWARD &&
        !(order->flags & DSM_MSG_F_EXCLUSIVE))
        return copy->state == DSM_COPY_OWNED_WRITE;
    return copy->state != DSM_COPY_ABSENT;
}

static bool must_wait(struct dsm_step *s, struct dsm_copy *copy, const struct dsm_order *order)
{
    if (copy->n_effects > 0)
        return true;
    if (order->prior > copy->seen && !dsm_planted(DSM_PLANT_IGNORE_PRIOR))
        return true;
    if (dsm_planted(DSM_PLANT_DEFER_BEHIND_REQUEST) && order->type == DSM_MSG_INVALIDATE &&
        copy->pending)
        return true;
    if (takes_something(copy, order) && dsm_hold_end_ns(s, copy) > 0) {
        dsm_hold_wait(s, copy);
        return true;
    }
    return false;
}

static void carry_out_waiting(struct dsm_step *s, struct dsm_copy *copy)
{
    while (copy->order_head) {
        dsm_ref ref = copy->order_head;
        struct dsm_order *order = dsm_at(s->core, ref), now;

        if (must_wait(s, copy, order))
            return;
        now = *order;
        copy->order_head = order->next;
        if (!copy->order_head)
            copy->order_tail = 0;
        copy->n_orders--;
        dsm_give(s->core, ref, sizeof *order);
        carry_out(s, copy, &now);
    }
}

static void queue_order(struct dsm_step *s, struct dsm_copy *copy, const struct dsm_order *order)
{
    dsm_ref ref = dsm_take(s->core, sizeof *order);
    struct dsm_order *queued = dsm_at(s->core, ref);

    *queued = *order;
    if (copy->order_tail)
        ((struct dsm_order *)dsm_at(s->core, copy->order_tail))->next = ref;
    else
        copy->order_head = ref;
    copy->order_tail = ref;
    copy->n_orders++;
    if (copy->n_orders > s->core->max_orders)
        s->core->max_orders = copy->n_orders;
}

/* The grant it waits for was lost with a rank. */
static bool waits_in_vain(const struct dsm_core *core, const struct dsm_copy *copy,
                          const struct dsm_order *order)
{
    return order->prior > copy->seen && !copy->pending && core->knows_of_loss;
}

void dsm_holder_turn_away(struct dsm_step *s, const struct dsm_copy *copy,
                          const struct dsm_order *order, dsm_rank_t rank)
{
    struct dsm_message *m;

    if (order->type == DSM_MSG_INVALIDATE) {
        answer(s, copy, order);
        return;
    }
    if (dsm_is_dead(s->core, order->peer))
        return;
    m = dsm_emit_send(s, order->peer, dsm_answer_lane(order->flags), DSM_MSG_REFUSE, copy->first);
    m->access = order->access;
    m->flags = order->flags & DSM_MSG_F_ASYNC;
    m->request = order->request;
    m->peer = rank;
}

/* The unit is dropped: who asked has ended the request, or is gone with the home. */
void dsm_holder_forget_orders(struct dsm_core *core, struct dsm_copy *copy)
{
    while (copy->order_head) {
        dsm_ref ref = copy->order_head;

        copy->order_head = ((struct dsm_order *)dsm_at(core, ref))->next;
        dsm_give(core, ref, sizeof(struct dsm_order));
    }
    copy->order_tail = 0;
    copy->n_orders = 0;
}

static bool order_is_plausible(const struct dsm_core *core, const struct dsm_copy *copy,
                               const struct dsm_message *m)
{
    struct dsm_order order = {.type = m->type};

    if (m->from != copy->home || m->peer >= core->config.n_ranks || m->peer == core->config.self)
        return false;
    if (m->prior == 0 || m->txn <= m->prior || m->acks >= core->config.n_ranks)
        return false;
    if (m->type == DSM_MSG_FORWARD && (m->access == DSM_ACCESS_NONE || m->access > DSM_ACCESS_OWN))
        return false;
    if ((m->flags & DSM_MSG_F_EXCLUSIVE) &&
        (m->access != DSM_ACCESS_READ || (m->flags & DSM_MSG_F_NO_BYTES)))
        return false;
    /* Each rank asks for a unit once at a time. */
    if (copy->n_orders + 1 >= core->config.n_ranks)
        return false;
    if (dsm_planted(DSM_PLANT_IGNORE_PRIOR))
        return true;
    /* It waits for a grant: then that must be on its way. */
    if (m->prior > copy->seen)
        return copy->pending != 0 || core->knows_of_loss;
    return copy->order_head != 0 || is_possible(copy, &order);
}

/* Another rank wants what the program here has called its own. */
static void tell_private(struct dsm_core *core, const struct dsm_copy *copy, dsm_rank_t by)
{
    struct dsm_advice_range *range = dsm_advice_find(core->config.advice, copy->first);

    core->counters.private_asked++;
    if (range->is_told)
        return;
    range->is_told = true;
    core->config.advice->told = copy->first + 1;
    core->config.advice->teller = by;
}

static void take_order(struct dsm_step *s, struct dsm_copy *copy, const struct dsm_message *m)
{
    struct dsm_order order = {.type = m->type,
                              .access = m->access,
                              .flags = m->flags &
                                       (DSM_MSG_F_ASYNC | DSM_MSG_F_NO_BYTES | DSM_MSG_F_EXCLUSIVE),
                              .peer = m->peer,
                              .txn = m->txn,
                              .prior = m->prior,
                              .request = m->request,
                              .acks = m->acks,
                              /* of the request before: keys are numbered so in tests */
                              .key = m->key - dsm_planted(DSM_PLANT_OTHER_KEY)};

    if (dsm_advice_of(s->core, copy->first) == DSM_ADVICE_KIND_PRIVATE)
        tell_private(s->core, copy, m->peer);
    if (waits_in_vain(s->core, copy, &order))
        dsm_holder_turn_away(s, copy, &order, s->core->lost_rank);
    else if (copy->order_head || must_wait(s, copy, &order))
        queue_order(s, copy, &order);
    else
        carry_out(s, copy, &order);
}

int dsm_holder_on_order(struct dsm_step *s, const struct dsm_message *m)
{
    const struct dsm_copy *first = dsm_copy_find(s->core, m->object);
    struct dsm_copy *copies[DSM_RUN_MAX_UNITS];
    uint32_t n_units = m->type == DSM_MSG_FORWARD ? m->count : 1, i;

    if (!first || n_units == 0 || n_units > DSM_RUN_MAX_UNITS)
        return DSM_E_PROTO;
    for (i = 0; i < n_units; i++) {
        const struct dsm_copy *copy = copies[i] = dsm_copy_in_run(s->core, first, i);

        if (!copy || !order_is_plausible(s->core, copy, m))
            return DSM_E_PROTO;
    }
    for (i = 0; i < n_units; i++)
        take_order(s, copies[i], m);
    return 0;
}

/* All threads that wait for the unit go on. One that wants more faults again and asks then: nobody
 * would wait for what is asked for in its name now, and the reply lane be left unread. */
static void wake(struct dsm_step *s, struct dsm_copy *copy)
{
    struct dsm_action *a = dsm_emit(s, DSM_ACTION_WAKE);

    a->page = copy->first;
    a->n_pages = copy->n_pages;
    copy->flags &= (uint16_t)~DSM_COPY_F_WAKE;
    if (!(copy->flags & DSM_COPY_F_STARVED))
        copy->fault_access = DSM_ACCESS_NONE;
    if (copy->flags & DSM_COPY_F_FRESH) {
        copy->flags &= (uint16_t)~DSM_COPY_F_FRESH;
        dsm_hold_begin(s, copy);
    }
}

/* Nothing of the unit is outstanding: answers, wakes, then what waited, oldest first. */
void dsm_holder_settle(struct dsm_step *s, struct dsm_copy *copy)
{
    uint8_t access;

    if (copy->n_effects > 0)
        return;
    if (copy->answering) {
        struct dsm_order order = *(struct dsm_order *)dsm_at(s->core, copy->answering);

        dsm_give(s->core, copy->answering, sizeof order);
        copy->answering = 0;
        answer(s, copy, &order);
    }
    if (copy->flags & DSM_COPY_F_WAKE)
        wake(s, copy);
    carry_out_waiting(s, copy);
    if (copy->n_effects > 0 || copy->receiving_bytes > 0 || !copy->fault_access ||
        (copy->flags & DSM_COPY_F_STARVED))
        return;
    access = copy->fault_access;
    copy->fault_access = DSM_ACCESS_NONE;
    dsm_request_fault(s, copy, access);
}

static void one_done(struct dsm_step *s, struct dsm_copy *copy)
{
    assert(copy && copy->n_effects > 0);
    copy->n_effects--;
    if (copy->n_effects == 0 && (copy->flags & DSM_COPY_F_PUNCHING))
        dsm_evict_punched(s, copy);
    if (copy->n_effects > 0)
        return;
    if (!dsm_drop_effects_ended(s, copy))
        dsm_holder_settle(s, copy);
}

void dsm_holder_on_done(struct dsm_step *s, dsm_page_t first, uint32_t n_units)
{
    struct dsm_copy *copy = dsm_copy_find(s->core, first);
    uint64_t n_pages = copy->n_pages;
    uint32_t i;

    assert(n_units <= DSM_RUN_MAX_UNITS);
    one_done(s, copy);
    for (i = 1; i < n_units; i++)
        one_done(s, dsm_copy_find(s->core, first + i * n_pages));
}
