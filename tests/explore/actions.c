/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * actions.c - what a core step asked for: effects are queued, everything else happens now, that is
 * as early as the contract allows and before the effects of the same list.
 */
#include <string.h>
#include "check.h"
#include "driver.h"
#include "lab.h"

enum { lane_request = DSM_LANE_REQUEST, lane_reply = DSM_LANE_REPLY, lane_either = DSM_N_LANES };

static const uint8_t lane_of[DSM_MSG_N_TYPES] = {
#define XX(name, lane) [DSM_MSG_##name] = lane_##lane,
    DSM_MESSAGE_MAP(XX)
#undef XX
};

bool actions_send(struct lab *lab, uint32_t rank, uint32_t to, uint32_t lane,
                  const struct dsm_message *message, uint64_t value)
{
    struct world *world = &lab->world;

    if (to >= lab->config.n_ranks || to == rank) {
        return lab_violated(lab, "rank %u sends a message to rank %u", rank, to);
    }
    if (message->type == DSM_MSG_NONE || message->type >= DSM_MSG_N_TYPES || lane >= DSM_N_LANES ||
        (lane_of[message->type] != lane_either && lane != lane_of[message->type])) {
        return lab_violated(lab, "rank %u sends a message of type %u on lane %u", rank,
                            message->type, lane);
    }
    if (message->from != rank) {
        return lab_violated(lab, "rank %u sends a message in the name of rank %u", rank,
                            message->from);
    }
    if (world->dead == to + 1) {
        return true;
    }
    if (world->n_messages == WORLD_MAX_MESSAGES) {
        return lab_violated(lab, "more than %u messages are under way", WORLD_MAX_MESSAGES);
    }
    struct world_message *m = &world->messages[world->n_messages++];
    memset(m, 0, sizeof *m);
    m->from = (uint8_t)rank;
    m->to = (uint8_t)to;
    m->lane = (uint8_t)lane;
    m->value = value;
    m->message = *message;
    if (message->type == DSM_MSG_REQUEST ||
        (message->type == DSM_MSG_FORWARD && message->peer == rank)) {
        m->message.key = check_key_of(rank, message->request);
    }
    return true;
}

static bool queue_effect(struct lab *lab, uint32_t rank, const struct dsm_action *action)
{
    uint32_t pages = lab->config.unit_pages;
    uint64_t u = action->page / pages;

    if (u >= lab->config.n_units || action->page % pages != 0 || action->n_pages != pages) {
        return lab_violated(lab, "rank %u: an effect on pages %llu to %llu, which are no unit",
                            rank, (unsigned long long)action->page,
                            (unsigned long long)(action->page + action->n_pages));
    }
    struct world_unit *unit = &lab->world.ranks[rank].units[u];
    if (unit->n_effects == WORLD_MAX_EFFECTS) {
        return lab_violated(lab, "rank %u: more than %u effects wait on unit %u", rank,
                            WORLD_MAX_EFFECTS, (unsigned)u);
    }
    /* A driver goes on with other effects while bytes are still on their way out. */
    for (uint32_t i = unit->n_carried_out; i < unit->n_effects; i++) {
        if (unit->effects[i].type == DSM_ACTION_SEND_BYTES) {
            return lab_violated(lab,
                                "rank %u: an effect on unit %u is decided before its bytes, "
                                "which are being sent, have left",
                                rank, (unsigned)u);
        }
    }
    struct world_effect *effect = &unit->effects[unit->n_effects++];
    effect->type = (uint8_t)action->type;
    effect->is_zero = action->is_zero;
    if (action->type == DSM_ACTION_SEND_BYTES) {
        effect->lane = action->lane;
        effect->to = (uint8_t)action->to;
        effect->message = action->message;
    }
    return true;
}

/* Threads that wait for the unit go on, or give up when has_failed. */
static void wake(struct lab *lab, uint32_t rank, const struct dsm_action *action, bool has_failed)
{
    uint64_t u = action->page / lab->config.unit_pages;

    for (uint32_t t = 0; t < lab->config.n_threads; t++) {
        struct world_thread *thread = &lab->world.ranks[rank].threads[t];
        if (thread->state == THREAD_WAITING && thread->unit == u) {
            thread->state = THREAD_WOKEN;
            if (has_failed) {
                thread->has_op = false;
                thread->pc = (uint8_t)lab->config.programs[rank][t].n_ops;
            }
        }
    }
}

static bool lend(struct lab *lab, uint32_t rank, const struct dsm_action *action)
{
    uint32_t k = (uint32_t)(action->id / LAB_LOCK_STRIDE);
    struct world_lock *l = &lab->world.ranks[rank].locks[k];

    if (l->token != TOKEN_ASKED && lab->world.dead == 0) {
        return lab_violated(lab, "rank %u is lent lock %u, which it has not asked for", rank, k);
    }
    if (!check_lock(lab, rank, k)) {
        return false;
    }
    if (action->message.txn != ++lab->world.fence[k] && lab->world.dead == 0) {
        return lab_violated(lab, "rank %u: hand-over %llu of lock %u bears the number %llu", rank,
                            (unsigned long long)lab->world.fence[k], k,
                            (unsigned long long)action->message.txn);
    }
    l->token = TOKEN_LENT;
    l->is_expected = action->message.flags & DSM_MSG_F_WANTED;
    l->is_used = l->is_tried = false;
    return true;
}

static bool report_busy(struct lab *lab, uint32_t rank, const struct dsm_action *action)
{
    uint32_t k = (uint32_t)(action->id / LAB_LOCK_STRIDE);
    struct world_lock *l = &lab->world.ranks[rank].locks[k];

    if (l->token != TOKEN_ASKED || !l->is_tried) {
        return lab_violated(lab, "rank %u hears that lock %u is busy, which it does not try", rank,
                            k);
    }
    l->is_tried = false;
    for (uint32_t t = 0; t < lab->config.n_threads; t++) {
        const struct world_thread *thread = &lab->world.ranks[rank].threads[t];
        if (thread->state == THREAD_LOCKING && thread->op.a == k &&
            thread->op.kind == OP_LOCK_TRY) {
            driver_skip_locked(lab, rank, t);
        }
    }
    return true;
}

static void lose_lock(struct lab *lab, uint32_t rank, const struct dsm_action *action)
{
    uint32_t k = (uint32_t)(action->id / LAB_LOCK_STRIDE);

    lab->world.ranks[rank].locks[k].token = TOKEN_NONE;
    for (uint32_t t = 0; t < lab->config.n_threads; t++) {
        struct world_thread *thread = &lab->world.ranks[rank].threads[t];
        if (thread->state == THREAD_LOCKING && thread->op.a == k) {
            thread->state = THREAD_READY;
            thread->has_op = false;
            thread->pc = (uint8_t)lab->config.programs[rank][t].n_ops;
        }
    }
}

static bool recall(struct lab *lab, uint32_t rank, const struct dsm_action *action)
{
    uint32_t k = (uint32_t)(action->id / LAB_LOCK_STRIDE);
    struct world_lock *l = &lab->world.ranks[rank].locks[k];

    if (l->token != TOKEN_LENT) {
        return lab_violated(lab, "rank %u is to give back lock %u, which it was not lent", rank, k);
    }
    l->is_recalled = true;
    l->is_expected = false;
    return true;
}

static bool send_collective(struct lab *lab, uint32_t rank, const struct dsm_action *action)
{
    struct dsm_message message = action->message;

    message.len = action->has_payload ? sizeof lab->world.ranks[rank].payload : 0;
    return actions_send(lab, rank, action->to, action->lane, &message,
                        lab->world.ranks[rank].payload);
}

static bool use_payload(struct lab *lab, uint32_t rank, const struct dsm_action *action)
{
    struct world_rank *r = &lab->world.ranks[rank];

    for (uint32_t i = 0; i < r->n_payloads; i++) {
        struct world_payload p = r->payloads[i];
        if (p.round != action->message.count || p.txn != action->message.txn) {
            continue;
        }
        r->payload = action->type == DSM_ACTION_COLLECTIVE_COMBINE ? r->payload + p.value : p.value;
        r->n_payloads--;
        memmove(&r->payloads[i], &r->payloads[i + 1], (r->n_payloads - i) * sizeof r->payloads[0]);
        return true;
    }
    return lab_violated(lab, "rank %u uses the payload of round %u, which has not come", rank,
                        action->message.count);
}

static bool finish_waits(struct lab *lab, uint32_t rank, uint8_t state, bool is_good)
{
    for (uint32_t t = 0; t < lab->config.n_threads; t++) {
        struct world_thread *thread = &lab->world.ranks[rank].threads[t];
        if (thread->state != state) {
            continue;
        }
        if (state == THREAD_COLLECTIVE && is_good &&
            !check_collective(lab, rank, thread->kind_of_wait)) {
            return false;
        }
        thread->state = THREAD_READY;
        thread->has_op = false;
        thread->pc =
            is_good ? (uint8_t)(thread->pc + 1) : (uint8_t)lab->config.programs[rank][t].n_ops;
        return true;
    }
    return lab_violated(lab, "rank %u: the end of a wait that no thread is in", rank);
}

static bool drop_range(struct lab *lab, uint32_t rank, const struct dsm_action *action)
{
    uint64_t pages = lab->config.unit_pages;

    for (uint64_t u = action->page / pages; u < (action->page + action->n_pages) / pages; u++) {
        struct world_unit *unit = &lab->world.ranks[rank].units[u];
        if (unit->n_effects > 0 || unit->n_receiving > 0) {
            return lab_violated(lab, "rank %u drops unit %u while it is busy", rank, (unsigned)u);
        }
        unit->access = DSM_ACCESS_NONE;
        unit->has_frame = false;
        memset(unit->version, 0, sizeof unit->version);
    }
    return true;
}

/* The serial of a drop is its unit: a unit is dropped by one thread at a time. */
static bool finish_drop(struct lab *lab, uint32_t u)
{
    if (u >= lab->config.n_units || !lab->world.is_dropping[u]) {
        return lab_violated(lab, "a drop with serial %u is said to be over; there is none", u);
    }
    lab->world.is_dropping[u] = false;
    lab->world.version[u] = 0;
    return check_dropped(lab, u);
}

static bool take(struct lab *lab, uint32_t rank, const struct dsm_action *action)
{
    switch (action->type) {
    case DSM_ACTION_MAP_READ:
    case DSM_ACTION_MAP_WRITE:
    case DSM_ACTION_DOWNGRADE:
    case DSM_ACTION_UNMAP:
    case DSM_ACTION_PUNCH:
    case DSM_ACTION_SEND_BYTES:
        return queue_effect(lab, rank, action);
    case DSM_ACTION_SEND:
        return actions_send(lab, rank, action->to, action->lane, &action->message, 0);
    case DSM_ACTION_RECEIVE: /* driver_deliver has looked at it */
    case DSM_ACTION_DISCARD:
        return true;
    case DSM_ACTION_WAKE:
        wake(lab, rank, action, false);
        return true;
    case DSM_ACTION_TIMER:
        lab->world.ranks[rank].timer_ns = action->at_ns;
        return true;
    case DSM_ACTION_LOCK_LEND:
        return lend(lab, rank, action);
    case DSM_ACTION_LOCK_RECALL:
        return recall(lab, rank, action);
    case DSM_ACTION_LOCK_BUSY:
        return report_busy(lab, rank, action);
    case DSM_ACTION_SYNC_DONE:
        return driver_sync_done(lab, rank, action);
    case DSM_ACTION_SYNC_QUEUED:
        return driver_sync_queued(lab, rank, action);
    case DSM_ACTION_COLLECTIVE_SEND:
        return send_collective(lab, rank, action);
    case DSM_ACTION_COLLECTIVE_COMBINE:
    case DSM_ACTION_COLLECTIVE_TAKE:
        return use_payload(lab, rank, action);
    case DSM_ACTION_COLLECTIVE_DONE:
        if (action->error != 0 && lab->world.dead == 0) {
            return lab_violated(lab, "rank %u: a collective failed (%d)", rank, action->error);
        }
        return finish_waits(lab, rank, THREAD_COLLECTIVE, action->error == 0);
    case DSM_ACTION_DROP_RANGE:
        return drop_range(lab, rank, action);
    case DSM_ACTION_DROPPED:
        return finish_drop(lab, (uint32_t)action->id) &&
               finish_waits(lab, rank, THREAD_DROPPING, true);
    case DSM_ACTION_MEMORY_FULL:
        wake(lab, rank, action, true);
        return lab->config.may_be_full ||
               lab_violated(lab, "rank %u: no room for unit %llu although there is some", rank,
                            (unsigned long long)(action->page / lab->config.unit_pages));
    case DSM_ACTION_LOST:
        wake(lab, rank, action, true);
        return lab->world.dead > 0 ||
               lab_violated(lab, "rank %u: unit %llu is said to be lost", rank,
                            (unsigned long long)(action->page / lab->config.unit_pages));
    case DSM_ACTION_LOCK_LOST:
        lose_lock(lab, rank, action);
        return lab->world.dead > 0 ||
               lab_violated(lab, "rank %u: lock %llu is said to be lost", rank,
                            (unsigned long long)(action->id / LAB_LOCK_STRIDE));
    }
    return lab_violated(lab, "rank %u: action %d is unknown", rank, (int)action->type);
}

bool actions_take(struct lab *lab, uint32_t rank)
{
    uint32_t held = WORLD_MAX_LOCKS;

    for (uint32_t i = 0; i < lab->actions.n; i++) {
        const struct dsm_action *action = &lab->actions.items[i];
        if (!take(lab, rank, action)) {
            return false;
        }
        uint64_t k = action->id / LAB_LOCK_STRIDE;
        if (action->type == DSM_ACTION_LOCK_RECALL && action->message.flags & DSM_MSG_F_TRY &&
            lab->world.ranks[rank].locks[k].holder != 0) {
            held = (uint32_t)k;
        }
    }
    if (held == WORLD_MAX_LOCKS) {
        return true;
    }
    struct dsm_event event = {.type = DSM_EVENT_LOCK_HELD};
    event.lock.id = held * LAB_LOCK_STRIDE;
    return lab_core_step(lab, rank, &event) && actions_take(lab, rank);
}
