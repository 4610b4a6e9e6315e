/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock.c - tokens that go from rank to rank: a distributed queue (Naimi and Trehel 1987, with a
 * fixed manager that knows the queue).
 *
 * A lock's manager forwards each request to the rank that asked last before; that rank passes the
 * token straight on when it has it and no thread holds it. So a hand-over is one message, and a
 * rank that nobody asks keeps the token. A rank has one request on its way at most, and learns of
 * its successor before it can ask again (manager and lane are the same), so one `next` is enough.
 *
 *   NONE --acquire--> ASKED --grant--> LENT --successor--> RECALLED --returned--> NONE
 *
 * When a rank is gone. The manager does not know who has the token, but it knows the order: if the
 * rank is in the queue, the token may be lost with it for all who come after it, and they are
 * refused; who comes before it has the token still to come, or had it. A rank that is refused
 * refuses its own successor, and a rank whose wait has ended refuses who is sent to it, so that
 * nobody waits behind it. Should the token have passed the lost rank before, its holder is refused
 * as well: it answers LOCK_HERE, and the queue begins again with it.
 *
 * To destroy a lock that is held, its rank passes the token on as ended and asks for it again, like
 * everybody at the end of the queue. On its way the token tells all who were in the queue before,
 * and stays with none of them; when it is back, it is an ordinary one, and who asked later waits
 * for that. So nobody has to know who waits.
 */
#include "core/state.h"

#define HANDED_ON (DSM_MSG_F_ABANDONED | DSM_MSG_F_ENDED)

dsm_rank_t dsm_lock_manager(const struct dsm_core *core, uint64_t id)
{
    return (dsm_rank_t)((id * 0x9e3779b97f4a7c15ull >> 32) % core->config.n_ranks);
}

/* NULL: no memory for another one. Locks alone can be more than the arena was made for, so they
 * leave what pages need for a while. */
static struct dsm_lock *lock_get(struct dsm_core *core, uint64_t id)
{
    dsm_ref ref = dsm_table_find(&core->locks, core, id);
    struct dsm_lock *lock;

    if (ref)
        return dsm_at(core, ref);
    if (dsm_arena_left_bytes(&core->arena) < 2 * core->reserve_bytes)
        return NULL;
    ref = dsm_take(core, sizeof *lock);
    dsm_table_add(&core->locks, core, ref, id);
    lock = dsm_at(core, ref);
    lock->next = lock->giver = DSM_RANK_NONE;
    return lock;
}

static struct dsm_lock *lock_find(struct dsm_core *core, uint64_t id)
{
    dsm_ref ref = dsm_table_find(&core->locks, core, id);

    return ref ? dsm_at(core, ref) : NULL;
}

static struct dsm_action *emit_lock(struct dsm_step *s, enum dsm_action_type type,
                                    const struct dsm_lock *lock)
{
    struct dsm_action *a = dsm_emit(s, type);

    a->id = lock->node.key;
    return a;
}

static dsm_rank_t lost_rank(const struct dsm_core *core)
{
    return core->knows_of_loss ? core->lost_rank : DSM_RANK_NONE;
}

static void refuse(struct dsm_step *s, dsm_rank_t asker, uint32_t turn, const struct dsm_lock *lock)
{
    struct dsm_message *m =
        dsm_emit_send(s, asker, DSM_LANE_REQUEST, DSM_MSG_LOCK_REFUSE, lock->node.key);

    m->peer = lost_rank(s->core);
    m->request = turn;
}

static void end_turn(struct dsm_lock *lock)
{
    lock->state = DSM_LOCK_NONE;
    lock->turn = 0;
}

static void emit_lost(struct dsm_step *s, uint64_t id, int error, dsm_rank_t rank)
{
    struct dsm_action *a = dsm_emit(s, DSM_ACTION_LOCK_LOST);

    a->id = id;
    a->error = error;
    a->rank = rank;
}

static void lose(struct dsm_step *s, struct dsm_lock *lock, int error, dsm_rank_t rank)
{
    emit_lost(s, lock->node.key, error, rank);
    end_turn(lock);
    if (lock->next == DSM_RANK_NONE)
        return;
    if (!dsm_is_dead(s->core, lock->next))
        refuse(s, lock->next, lock->next_turn, lock);
    lock->next = DSM_RANK_NONE;
}

/* The token is here although the manager may think otherwise. */
static void say_here(struct dsm_step *s, const struct dsm_lock *lock)
{
    dsm_rank_t manager = dsm_lock_manager(s->core, lock->node.key);

    if (!dsm_is_dead(s->core, manager))
        dsm_emit_send(s, manager, DSM_LANE_REQUEST, DSM_MSG_LOCK_HERE, lock->node.key)->request =
            lock->turn;
}

static void recall(struct dsm_step *s, struct dsm_lock *lock)
{
    lock->state = DSM_LOCK_RECALLED;
    emit_lock(s, DSM_ACTION_LOCK_RECALL, lock)->message.flags = lock->next_flags & DSM_MSG_F_TRY;
}

static void pass_on(struct dsm_step *s, struct dsm_lock *lock, bool is_wanted)
{
    struct dsm_message *m = dsm_emit_send(s, lock->next, dsm_answer_lane(lock->next_flags),
                                          DSM_MSG_LOCK_GRANT, lock->node.key);

    m->txn = lock->fencing;
    m->flags = lock->lent_flags & HANDED_ON;
    /* Who ended it has asked for it again, behind all who get it so. */
    if (is_wanted || lock->lent_flags & DSM_MSG_F_ENDED || dsm_planted(DSM_PLANT_WANTED_ALWAYS))
        m->flags |= DSM_MSG_F_WANTED;
    if (dsm_planted(DSM_PLANT_LOCK_PASSED_TWICE)) {
        lock->state = DSM_LOCK_LENT;
        emit_lock(s, DSM_ACTION_LOCK_LEND, lock);
        return;
    }
    lock->next = DSM_RANK_NONE;
    end_turn(lock);
}

int dsm_lock_acquire(struct dsm_step *s, const struct dsm_event *event)
{
    struct dsm_core *core = s->core;
    uint64_t id = event->lock.id;
    struct dsm_lock *lock = lock_get(core, id);
    dsm_rank_t manager = dsm_lock_manager(core, id);
    struct dsm_message *m;

    if (!lock) {
        emit_lost(s, id, DSM_E_NOMEM, DSM_RANK_NONE);
        return 0;
    }
    if (lock->state != DSM_LOCK_NONE)
        return DSM_E_BUSY; /* the driver has the token, or asked for it already */
    if (dsm_is_dead(core, manager)) {
        lose(s, lock, DSM_E_PEER, manager);
        return 0;
    }
    lock->state = DSM_LOCK_ASKED;
    lock->turn = dsm_request_number(core);
    m = dsm_emit_send(s, manager, DSM_LANE_REQUEST, DSM_MSG_LOCK_ACQUIRE, id);
    m->request = lock->turn;
    m->flags = (uint8_t)((event->lock.is_async ? DSM_MSG_F_ASYNC : 0) |
                         (event->lock.is_try ? DSM_MSG_F_TRY : 0));
    return 0;
}

/* Who tries and comes next is told that it has to wait, once. */
static void say_busy(struct dsm_step *s, struct dsm_lock *lock)
{
    if (!(lock->next_flags & DSM_MSG_F_TRY) || lock->next == DSM_RANK_NONE)
        return;
    lock->next_flags &= (uint8_t)~DSM_MSG_F_TRY;
    if (!dsm_is_dead(s->core, lock->next))
        dsm_emit_send(s, lock->next, DSM_LANE_REQUEST, DSM_MSG_LOCK_BUSY, lock->node.key)->request =
            lock->next_turn;
}

int dsm_lock_held(struct dsm_step *s, uint64_t id)
{
    struct dsm_lock *lock = lock_find(s->core, id);

    if (!lock || lock->state != DSM_LOCK_RECALLED)
        return DSM_E_INVAL;
    say_busy(s, lock);
    return 0;
}

int dsm_lock_on_busy(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_lock *lock = lock_find(s->core, m->object);

    if (!lock)
        return DSM_E_PROTO;
    /* By now it may have come, or been lost, and been asked for again. */
    if (lock->state == DSM_LOCK_ASKED && lock->turn == m->request)
        emit_lock(s, DSM_ACTION_LOCK_BUSY, lock);
    return 0;
}

int dsm_lock_returned(struct dsm_step *s, const struct dsm_event *event)
{
    struct dsm_lock *lock = lock_find(s->core, event->lock.id);
    struct dsm_action *lend;

    if (!lock || lock->state != DSM_LOCK_RECALLED)
        return DSM_E_INVAL;
    lock->lent_flags = (uint8_t)((event->lock.is_abandoned ? DSM_MSG_F_ABANDONED : 0) |
                                 (event->lock.is_ended ? DSM_MSG_F_ENDED : 0));
    if (lock->next == DSM_RANK_NONE || dsm_is_dead(s->core, lock->next)) {
        /* Nobody takes it any more: it stays here. */
        lock->next = DSM_RANK_NONE;
        lock->state = DSM_LOCK_LENT;
        lend = emit_lock(s, DSM_ACTION_LOCK_LEND, lock);
        lend->message.txn = ++lock->fencing;
        lend->message.flags = lock->lent_flags;
        return 0;
    }
    pass_on(s, lock, event->lock.wants_again);
    return 0;
}

/* ---- at the manager: the queue, who asked first first. Nobody is in it twice. */

static void cut_before(struct dsm_core *core, struct dsm_lock *lock, dsm_ref end)
{
    while (lock->queue.head != end) {
        dsm_ref ref = lock->queue.head;

        lock->queue.head = ((struct dsm_lock_place *)dsm_at(core, ref))->next;
        dsm_give(core, ref, sizeof(struct dsm_lock_place));
    }
    if (!lock->queue.head)
        lock->queue.tail = 0;
}

/* The rank asks again: so the token has passed it, and everybody before it. */
static void forget_up_to(struct dsm_core *core, struct dsm_lock *lock, dsm_rank_t rank)
{
    dsm_ref ref = lock->queue.head;

    while (ref) {
        const struct dsm_lock_place *place = dsm_at(core, ref);

        ref = place->next;
        if (place->rank == rank) {
            cut_before(core, lock, ref);
            lock->giver = rank; /* what it sent may not have come yet */
            return;
        }
    }
}

static void append(struct dsm_core *core, struct dsm_lock *lock, const struct dsm_message *m)
{
    dsm_ref ref = dsm_take(core, sizeof(struct dsm_lock_place));
    struct dsm_lock_place *place = dsm_at(core, ref);

    place->rank = m->from;
    place->turn = m->request;
    if (lock->queue.tail)
        ((struct dsm_lock_place *)dsm_at(core, lock->queue.tail))->next = ref;
    else
        lock->queue.head = ref;
    lock->queue.tail = ref;
}

/* The rank is gone: it and all after it leave the queue; those after it are told. That is everybody
 * when it is the one who gave the token to the first in the queue. */
static void cut_from(struct dsm_step *s, struct dsm_lock *lock, dsm_rank_t rank)
{
    struct dsm_core *core = s->core;
    dsm_ref before = 0, ref = lock->queue.head, rest;

    while (ref && lock->giver != rank &&
           ((struct dsm_lock_place *)dsm_at(core, ref))->rank != rank) {
        before = ref;
        ref = ((struct dsm_lock_place *)dsm_at(core, ref))->next;
    }
    if (!ref)
        return;
    if (before)
        ((struct dsm_lock_place *)dsm_at(core, before))->next = 0;
    else
        lock->queue.head = 0;
    lock->queue.tail = before;
    lock->is_lost = !before;
    for (; ref; ref = rest) {
        struct dsm_lock_place place = *(struct dsm_lock_place *)dsm_at(core, ref);

        rest = place.next;
        dsm_give(core, ref, sizeof place);
        if (!dsm_is_dead(core, place.rank))
            refuse(s, place.rank, place.turn, lock);
    }
}

/* txn 1 tells it from a refusal for a loss. */
static void refuse_for_memory(struct dsm_step *s, const struct dsm_message *acquire)
{
    struct dsm_message *m =
        dsm_emit_send(s, acquire->from, DSM_LANE_REQUEST, DSM_MSG_LOCK_REFUSE, acquire->object);

    m->request = acquire->request;
    m->txn = 1;
}

int dsm_lock_on_acquire(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;
    struct dsm_lock_place before = {.rank = DSM_RANK_NONE};
    struct dsm_message *forward;
    struct dsm_lock *lock;

    if (dsm_lock_manager(core, m->object) != core->config.self)
        return DSM_E_PROTO;
    lock = lock_get(core, m->object);
    if (!lock) {
        refuse_for_memory(s, m);
        return 0;
    }
    if (lock->queue.tail)
        before = *(struct dsm_lock_place *)dsm_at(core, lock->queue.tail);
    if (lock->is_lost || before.rank == m->from) { /* its last wait was ended by a loss */
        refuse(s, m->from, m->request, lock);
        return 0;
    }
    forget_up_to(core, lock, m->from);
    append(core, lock, m);
    if (before.rank == DSM_RANK_NONE) { /* never asked for: the token is born here */
        dsm_emit_send(s, m->from, dsm_answer_lane(m->flags), DSM_MSG_LOCK_GRANT, m->object);
        return 0;
    }
    forward = dsm_emit_send(s, before.rank, DSM_LANE_REQUEST, DSM_MSG_LOCK_FORWARD, m->object);
    forward->peer = m->from;
    forward->request = before.turn;
    forward->count = m->request;
    forward->flags = m->flags & (DSM_MSG_F_ASYNC | DSM_MSG_F_TRY);
    return 0;
}

int dsm_lock_on_here(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;
    struct dsm_lock *lock = lock_find(core, m->object);

    if (!lock || dsm_lock_manager(core, m->object) != core->config.self)
        return DSM_E_PROTO;
    cut_before(core, lock, 0);
    append(core, lock, m);
    lock->giver = DSM_RANK_NONE;
    lock->is_lost = false;
    return 0;
}

/* ---- at the ranks of the queue */

/* This rank asked last before `peer`. */
int dsm_lock_on_forward(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;
    struct dsm_lock *lock = lock_find(core, m->object);

    if (!lock || m->from != dsm_lock_manager(core, m->object) || m->peer >= core->config.n_ranks ||
        m->peer == core->config.self || lock->next == m->peer)
        return DSM_E_PROTO;
    if (lock->state == DSM_LOCK_NONE || lock->turn != m->request) {
        /* That turn is over: its wait was ended, or the token went to a rank that is gone now. */
        refuse(s, m->peer, m->count, lock);
        return 0;
    }
    lock->next = m->peer; /* in place of one that is gone, if there is one */
    lock->next_turn = m->count;
    lock->next_flags = m->flags;
    if (lock->state == DSM_LOCK_LENT)
        recall(s, lock);
    else
        say_busy(s, lock); /* it has to wait for this rank */
    return 0;
}

int dsm_lock_on_grant(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_lock *lock = lock_find(s->core, m->object);
    /* A wait that was ended by a loss may get its token all the same. */
    bool is_late = lock && lock->state == DSM_LOCK_NONE && s->core->knows_of_loss;
    struct dsm_action *lend;

    if (!lock || (lock->state != DSM_LOCK_ASKED && !is_late))
        return DSM_E_PROTO;
    lock->state = DSM_LOCK_LENT;
    lock->fencing = m->txn + 1;
    lend = emit_lock(s, DSM_ACTION_LOCK_LEND, lock);
    lend->message.txn = lock->fencing;
    lend->message.flags = m->flags & (DSM_MSG_F_WANTED | HANDED_ON);
    if (s->core->knows_of_loss) /* who promised to ask again may have been refused since */
        lend->message.flags &= HANDED_ON;
    if (is_late)
        say_here(s, lock);
    if (lock->next != DSM_RANK_NONE)
        recall(s, lock);
    return 0;
}

int dsm_lock_on_refuse(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;
    struct dsm_lock *lock = lock_find(core, m->object);

    if (!lock || (m->peer != DSM_RANK_NONE && m->peer >= core->config.n_ranks))
        return DSM_E_PROTO;
    if (m->txn == 1) {
        if (lock->state == DSM_LOCK_ASKED && lock->turn == m->request)
            lose(s, lock, DSM_E_NOMEM, DSM_RANK_NONE);
        return 0;
    }
    dsm_view_note_loss(core, m->peer);
    if (lock->turn != m->request)
        return 0; /* that turn has ended */
    if (lock->state == DSM_LOCK_ASKED) {
        lose(s, lock, DSM_E_PEER, m->peer);
    } else if (lock->state != DSM_LOCK_NONE && m->from == dsm_lock_manager(core, m->object)) {
        lock->next = DSM_RANK_NONE; /* who came after this rank was refused as well */
        say_here(s, lock);
    }
    return 0;
}

static void look_at_lock(struct dsm_step *s, struct dsm_lock *lock, dsm_rank_t rank)
{
    dsm_rank_t manager = dsm_lock_manager(s->core, lock->node.key);

    if (lock->next == rank)
        lock->next = DSM_RANK_NONE;
    if (manager == rank && lock->state == DSM_LOCK_ASKED)
        lose(s, lock, DSM_E_PEER, rank);
    if (manager == s->core->config.self)
        cut_from(s, lock, rank);
}

/* A rank is gone. False: the action list has no room for more; called again then. */
bool dsm_lock_on_dead(struct dsm_step *s, dsm_rank_t rank)
{
    struct dsm_core *core = s->core;
    uint64_t bucket;

    for (bucket = 0; bucket < dsm_table_n_buckets(&core->locks); bucket++) {
        dsm_ref ref = dsm_table_bucket(&core->locks, core, bucket);

        while (ref) {
            struct dsm_lock *lock = dsm_at(core, ref);

            if (dsm_step_room(s) < core->config.n_ranks + 16)
                return false;
            look_at_lock(s, lock, rank);
            ref = lock->node.next;
        }
    }
    return true;
}
