/* SPDX-License-Identifier: BSD-3-Clause */
/* sync.c - synchronisation objects: what threads ask, and what the answers have to be. */
#include <dsm/dsm.h>
#include "check.h"
#include "driver.h"
#include "lab.h"

#define TICKET_LIMIT 2u

static struct world_thread *thread_of(struct lab *lab, uint32_t rank, uint32_t index)
{
    return &lab->world.ranks[rank].threads[index];
}

static void finish_op(struct world_thread *thread)
{
    thread->state = THREAD_READY;
    thread->has_op = false;
    thread->has_given_up = false;
    thread->pc++;
}

static void end_program(struct lab *lab, uint32_t rank, uint32_t index)
{
    struct world_thread *thread = thread_of(lab, rank, index);

    thread->state = THREAD_READY;
    thread->has_op = false;
    thread->pc = (uint8_t)lab->config.programs[rank][index].n_ops;
}

/* Threads that take part in barriers and tickets: all that have a program. */
static uint64_t n_parties(const struct lab *lab)
{
    uint64_t n = 0;

    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        for (uint32_t t = 0; t < lab->config.n_threads; t++) {
            n += lab->config.programs[rank][t].n_ops > 0;
        }
    }
    return n;
}

void driver_skip_locked(struct lab *lab, uint32_t rank, uint32_t index)
{
    struct world_thread *thread = thread_of(lab, rank, index);
    const struct program *program = &lab->config.programs[rank][index];
    uint8_t lock = thread->op.a;

    finish_op(thread);
    while (thread->pc < program->n_ops &&
           !(program->ops[thread->pc].kind == OP_UNLOCK && program->ops[thread->pc].a == lock)) {
        thread->pc++;
    }
    thread->pc = (uint8_t)(thread->pc + (thread->pc < program->n_ops));
}

bool driver_can_give_up(const struct lab *lab, uint32_t rank, uint32_t index)
{
    const struct world_thread *thread = &lab->world.ranks[rank].threads[index];

    return thread->state == THREAD_LOCKING
               ? thread->op.kind == OP_LOCK_TIMED
               : thread->op.kind == OP_TAKE_TIMED && !thread->has_given_up;
}

bool driver_give_up(struct lab *lab, uint32_t rank, uint32_t index)
{
    struct world_thread *thread = thread_of(lab, rank, index);
    struct dsm_event event = {.type = DSM_EVENT_SYNC_CANCEL, .sync.request = index + 1};

    if (thread->state == THREAD_LOCKING) { /* its token will come, and stay or be passed on */
        driver_skip_locked(lab, rank, index);
        return true;
    }
    thread->has_given_up = true;
    return lab_core_step(lab, rank, &event) && actions_take(lab, rank);
}

static const struct {
    enum dsm_sync_kind kind;
    enum dsm_sync_op op;
    uint64_t a;
} operations[] = {
    [OP_READ_LOCK] = {DSM_SYNC_RWLOCK, DSM_SYNC_OP_READ_LOCK, 0},
    [OP_WRITE_LOCK] = {DSM_SYNC_RWLOCK, DSM_SYNC_OP_WRITE_LOCK, 0},
    [OP_POST] = {DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_ADD, 1},
    [OP_TAKE] = {DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_TAKE, 1},
    [OP_TAKE_TIMED] = {DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_TAKE, 1},
    [OP_SET_FLAG] = {DSM_SYNC_FLAG, DSM_SYNC_OP_SET, 1},
    [OP_AWAIT] = {DSM_SYNC_FLAG, DSM_SYNC_OP_AWAIT, 1},
    [OP_MEET] = {DSM_SYNC_BARRIER, DSM_SYNC_OP_ARRIVE, 0},
    [OP_TICKETS] = {DSM_SYNC_TICKETS, DSM_SYNC_OP_TICKET, TICKET_LIMIT},
    [OP_SLEEP] = {DSM_SYNC_CONDITION, DSM_SYNC_OP_SLEEP, 0},
    [OP_SIGNAL] = {DSM_SYNC_CONDITION, DSM_SYNC_OP_SIGNAL, 1},
    [OP_BROADCAST] = {DSM_SYNC_CONDITION, DSM_SYNC_OP_SIGNAL, UINT64_MAX},
    [OP_DESTROY] = {DSM_SYNC_NONE, DSM_SYNC_OP_DESTROY, 0},
};

static bool ask(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op)
{
    struct dsm_event event = {.type = DSM_EVENT_SYNC};

    event.sync.id = op.a * (uint64_t)LAB_LOCK_STRIDE + 8;
    event.sync.request = index + 1;
    event.sync.kind = operations[op.kind].kind;
    event.sync.op = operations[op.kind].op;
    event.sync.a = op.kind == OP_MEET ? n_parties(lab) : operations[op.kind].a;
    event.sync.b = op.kind == OP_TICKETS ? n_parties(lab) : 0;
    thread_of(lab, rank, index)->state = THREAD_SYNC;
    return lab_core_step(lab, rank, &event) && actions_take(lab, rank);
}

void sync_end_hold(struct lab *lab, struct world_thread *thread)
{
    struct world_object *o = &lab->world.objects[thread->held];

    o->n_writers = (uint8_t)(o->n_writers - (thread->held_as == OP_WRITE_LOCK));
    o->n_readers = (uint8_t)(o->n_readers - (thread->held_as == OP_READ_LOCK));
    thread->held_as = 0;
}

static bool unlock(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op)
{
    struct world_thread *thread = thread_of(lab, rank, index);
    struct dsm_event event = {.type = DSM_EVENT_SYNC};

    event.sync.id = op.a * (uint64_t)LAB_LOCK_STRIDE + 8;
    event.sync.kind = DSM_SYNC_RWLOCK;
    event.sync.op =
        thread->held_as == OP_WRITE_LOCK ? DSM_SYNC_OP_WRITE_UNLOCK : DSM_SYNC_OP_READ_UNLOCK;
    sync_end_hold(lab, thread);
    finish_op(thread);
    return lab_core_step(lab, rank, &event) && actions_take(lab, rank);
}

bool driver_sync(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op)
{
    struct world_object *o = &lab->world.objects[op.a];

    switch (op.kind) {
    case OP_RW_UNLOCK:
        return unlock(lab, rank, index, op);
    case OP_POST:
        o->n_posted++;
        break;
    case OP_SET_FLAG:
        o->is_set = true;
        break;
    case OP_MEET:
        o->n_arrived++;
        break;
    case OP_SLEEP:
        if (o->is_signalled) {
            finish_op(thread_of(lab, rank, index));
            return true;
        }
        break;
    case OP_SIGNAL:
    case OP_BROADCAST:
        o->is_signalled = true;
        break;
    default:
        break;
    }
    return ask(lab, rank, index, op);
}

bool driver_sync_queued(struct lab *lab, uint32_t rank, const struct dsm_action *action)
{
    struct world_thread *thread = thread_of(lab, rank, (uint32_t)action->id - 1);
    struct world_lock *l = &lab->world.ranks[rank].locks[thread->op.a];

    if (thread->state != THREAD_SYNC || thread->op.kind != OP_SLEEP || thread->is_queued ||
        l->holder != action->id) {
        return lab_violated(lab, "rank %u is told that it is in a queue where it is not", rank);
    }
    thread->is_queued = true;
    l->holder = 0;
    return true;
}

/* What is true when the operation is over. */
static bool check_done(struct lab *lab, uint32_t rank, struct world_thread *thread, uint64_t value)
{
    struct world_object *o = &lab->world.objects[thread->op.a];

    switch (thread->op.kind) {
    case OP_READ_LOCK:
    case OP_WRITE_LOCK:
        o->n_readers = (uint8_t)(o->n_readers + (thread->op.kind == OP_READ_LOCK));
        o->n_writers = (uint8_t)(o->n_writers + (thread->op.kind == OP_WRITE_LOCK));
        thread->held = thread->op.a;
        thread->held_as = thread->op.kind;
        break;
    case OP_TAKE:
    case OP_TAKE_TIMED:
        o->n_taken++;
        break;
    case OP_AWAIT:
        if (!o->is_set) {
            return lab_violated(lab, "rank %u goes on before its flag is set", rank);
        }
        break;
    case OP_MEET:
        thread->n_met++;
        if (o->n_arrived < thread->n_met * n_parties(lab)) {
            return lab_violated(lab, "rank %u leaves barrier %u after %u arrivals", rank,
                                thread->n_met, o->n_arrived);
        }
        break;
    case OP_TICKETS:
        if (value != DSM_SYNC_NO_TICKET) {
            value += thread->n_met * TICKET_LIMIT;
            if (value >= (thread->n_met + 1u) * TICKET_LIMIT || (o->tickets >> value & 1)) {
                return lab_violated(lab, "rank %u gets ticket %llu, which it must not", rank,
                                    (unsigned long long)value);
            }
            o->tickets |= (uint8_t)(1u << value);
            break;
        }
        if ((o->tickets >> thread->n_met * TICKET_LIMIT & 3u) != 3u) {
            return lab_violated(lab, "rank %u is told that there are no tickets left", rank);
        }
        thread->n_met++;
        break;
    default:
        break;
    }
    if (o->n_writers > 1 || (o->n_writers > 0 && o->n_readers > 0)) {
        return lab_violated(lab, "object %u is held by %u writers and %u readers", thread->op.a,
                            o->n_writers, o->n_readers);
    }
    if (o->n_taken > o->n_posted) {
        return lab_violated(lab, "object %u: %u units taken, %u posted", thread->op.a, o->n_taken,
                            o->n_posted);
    }
    return true;
}

bool driver_sync_done(struct lab *lab, uint32_t rank, const struct dsm_action *action)
{
    uint32_t index = (uint32_t)action->id - 1;

    if (index >= lab->config.n_threads || thread_of(lab, rank, index)->state != THREAD_SYNC) {
        return lab_violated(lab, "rank %u has an answer that no thread waits for", rank);
    }
    struct world_thread *thread = thread_of(lab, rank, index);
    if (action->error == DSM_E_TIMEOUT && thread->has_given_up) {
        finish_op(thread);
        return true;
    }
    if ((action->error == DSM_E_PEER && lab->world.dead > 0) || action->error == DSM_E_GONE) {
        end_program(lab, rank, index);
        return true;
    }
    if (action->error != 0) {
        return lab_violated(lab, "rank %u: an operation on object %u answers %d", rank,
                            thread->op.a, action->error);
    }
    if (!check_done(lab, rank, thread, action->message.txn)) {
        return false;
    }
    if (thread->op.kind == OP_TICKETS && action->message.txn != DSM_SYNC_NO_TICKET) {
        thread->state = THREAD_READY; /* the same again */
        return true;
    }
    if (thread->op.kind == OP_SLEEP) {
        if (!thread->is_queued) {
            return lab_violated(lab, "rank %u is woken before it gave its lock back", rank);
        }
        thread->is_queued = false;
        thread->is_relocking = true;
        thread->state = THREAD_LOCKING;
        return true;
    }
    finish_op(thread);
    return true;
}
