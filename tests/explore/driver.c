/* SPDX-License-Identifier: BSD-3-Clause */
/* driver.c - threads and drivers, one step at a time; see driver.h. */
#include "driver.h"

#include <string.h>
#include "check.h"
#include "core/canon.h"
#include "lab.h"

static struct world_thread *thread_of(struct lab *lab, uint32_t rank, uint32_t index)
{
    return &lab->world.ranks[rank].threads[index];
}

static void finish_op(struct world_thread *thread)
{
    thread->state = THREAD_READY;
    thread->has_op = false;
    thread->pc++;
}

static dsm_page_t page_of(const struct lab *lab, uint32_t unit)
{
    return (dsm_page_t)unit * lab->config.unit_pages;
}

static bool step_and_act(struct lab *lab, uint32_t rank, const struct dsm_event *event)
{
    return lab_core_step(lab, rank, event) && actions_take(lab, rank);
}

/* ---- accesses ------------------------------------------------------------------------------ */

/* The same operation is the same instruction, as in a loop. */
static uint64_t op_ip(struct program_op op)
{
    return 0x1000u + 64u * op.kind + 8u * op.a + op.b;
}

bool driver_fault(struct lab *lab, uint32_t rank, uint32_t index)
{
    struct world_thread *thread = thread_of(lab, rank, index);
    struct dsm_event event = {.type = DSM_EVENT_FAULT};

    event.fault.page = page_of(lab, thread->unit);
    event.fault.access = thread->access;
    event.fault.ip = op_ip(thread->op);
    event.fault.thread = &thread->core;
    thread->state = THREAD_WAITING;
    return step_and_act(lab, rank, &event);
}

bool driver_resume(struct lab *lab, uint32_t rank, uint32_t index)
{
    struct world_thread *thread = thread_of(lab, rank, index);
    struct dsm_event event = {.type = DSM_EVENT_RESUMED};

    event.resumed.page = page_of(lab, thread->unit);
    event.resumed.thread = &thread->core;
    thread->state = THREAD_READY;
    return step_and_act(lab, rank, &event);
}

static bool trap(struct lab *lab, uint32_t rank, uint32_t index, uint32_t unit, uint8_t access)
{
    struct world_thread *thread = thread_of(lab, rank, index);

    thread->state = THREAD_TRAPPED;
    thread->unit = (uint8_t)unit;
    thread->access = access;
    return lab->config.has_trap_gap || driver_fault(lab, rank, index);
}

static bool touch(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op)
{
    bool is_store = op.kind == OP_STORE || op.kind == OP_STORE_TWO;
    bool is_two = op.kind == OP_LOAD_TWO || op.kind == OP_STORE_TWO;
    uint8_t access = is_store ? DSM_ACCESS_WRITE : DSM_ACCESS_READ;
    uint8_t units[2] = {op.a, op.b};
    struct world_rank *r = &lab->world.ranks[rank];

    for (uint32_t i = 0; i < 1u + is_two; i++) {
        if (r->units[units[i]].access < access) {
            return trap(lab, rank, index, units[i], access);
        }
    }
    /* That what is mapped is the newest content has been checked after the step before. */
    for (uint32_t i = 0; is_store && i < 1u + is_two; i++) {
        uint16_t version = ++lab->world.version[units[i]];
        for (uint32_t c = 0; c < WORLD_MAX_CHUNKS; c++) {
            r->units[units[i]].version[c] = version;
        }
    }
    finish_op(thread_of(lab, rank, index));
    return true;
}

static bool prefetch(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op)
{
    struct dsm_event event = {.type = DSM_EVENT_PREFETCH};
    bool is_all = op.kind == OP_PREFETCH_READ_ALL || op.kind == OP_PREFETCH_WRITE_ALL ||
                  op.kind == OP_SAMPLE_WRITE_ALL;
    bool is_read =
        op.kind == OP_PREFETCH_READ || op.kind == OP_PREFETCH_READ_ALL || op.kind == OP_SAMPLE_READ;

    event.prefetch.first = page_of(lab, op.a);
    event.prefetch.n_pages = (is_all ? (uint64_t)lab->config.n_units : 1) * lab->config.unit_pages;
    event.prefetch.access = is_read ? DSM_ACCESS_READ : DSM_ACCESS_WRITE;
    event.prefetch.is_sample =
        op.kind == OP_SAMPLE_READ || op.kind == OP_SAMPLE_WRITE || op.kind == OP_SAMPLE_WRITE_ALL;
    finish_op(thread_of(lab, rank, index));
    return step_and_act(lab, rank, &event);
}

static bool pin(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op)
{
    struct dsm_event event = {.type = op.kind == OP_PIN ? DSM_EVENT_PIN : DSM_EVENT_UNPIN};

    event.pin.page = page_of(lab, op.a);
    event.pin.access = DSM_ACCESS_WRITE;
    event.pin.until_ns = lab->world.ranks[rank].now_ns + LAB_HOLD_NS;
    finish_op(thread_of(lab, rank, index));
    return step_and_act(lab, rank, &event);
}

/* ---- locks, collectives, drops ------------------------------------------------------------- */

bool driver_can_lock(const struct lab *lab, uint32_t rank, uint32_t lock)
{
    const struct world_lock *l = &lab->world.ranks[rank].locks[lock];

    return l->token == TOKEN_NONE ||
           (l->token == TOKEN_LENT && l->holder == 0 && !(l->is_expected && l->is_used));
}

static bool ask_for_lock(struct lab *lab, uint32_t rank, struct program_op op)
{
    struct world_lock *l = &lab->world.ranks[rank].locks[op.a];
    struct dsm_event event = {.type = DSM_EVENT_LOCK_ACQUIRE};

    l->token = TOKEN_ASKED;
    l->is_tried = op.kind == OP_LOCK_TRY;
    event.lock.id = op.a * LAB_LOCK_STRIDE;
    event.lock.is_async = op.kind == OP_LOCK_TRY || op.kind == OP_LOCK_TIMED;
    event.lock.is_try = op.kind == OP_LOCK_TRY;
    return step_and_act(lab, rank, &event);
}

static bool lock(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op)
{
    struct world_thread *thread = thread_of(lab, rank, index);
    struct world_lock *l = &lab->world.ranks[rank].locks[op.a];

    if (driver_can_lock(lab, rank, op.a) && l->token == TOKEN_LENT) {
        l->is_used = true;
        /* Also when it has been recalled: a thread may be quicker than the giving back. */
        l->holder = (uint8_t)(index + 1);
        if (!check_lock(lab, rank, op.a)) {
            return false;
        }
        if (op.kind == OP_SLEEP) {
            thread->is_relocking = false;
            return driver_sync(lab, rank, index, op);
        }
        finish_op(thread);
        return true;
    }
    if (op.kind == OP_LOCK_TRY && l->token != TOKEN_NONE) {
        driver_skip_locked(lab, rank, index);
        return true;
    }
    thread->state = THREAD_LOCKING;
    return l->token != TOKEN_NONE || ask_for_lock(lab, rank, op);
}

static bool unlock(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op)
{
    struct world_lock *l = &lab->world.ranks[rank].locks[op.a];

    if (l->holder != index + 1) {
        return lab_violated(lab, "the program of rank %u gives back lock %u without holding it",
                            rank, op.a);
    }
    l->holder = 0;
    finish_op(thread_of(lab, rank, index));
    return true;
}

bool driver_return(struct lab *lab, uint32_t rank, uint32_t lock_index)
{
    struct world_lock *l = &lab->world.ranks[rank].locks[lock_index];
    struct dsm_event event = {.type = DSM_EVENT_LOCK_RETURNED};

    const struct world_thread *next = NULL;

    for (uint32_t t = 0; t < lab->config.n_threads; t++) {
        const struct world_thread *thread = thread_of(lab, rank, t);
        if (thread->state == THREAD_LOCKING && thread->op.a == lock_index) {
            next = thread;
        }
    }
    l->token = TOKEN_NONE;
    l->is_recalled = l->is_expected = l->is_used = false;
    event.lock.id = lock_index * LAB_LOCK_STRIDE;
    event.lock.wants_again = next != NULL;
    if (!step_and_act(lab, rank, &event)) {
        return false;
    }
    /* Where the next rank is gone the token has come straight back. */
    return next == NULL || l->token != TOKEN_NONE || ask_for_lock(lab, rank, next->op);
}

static bool enter_collective(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op)
{
    struct world_thread *thread = thread_of(lab, rank, index);
    struct world_rank *r = &lab->world.ranks[rank];
    struct dsm_event event = {.type = DSM_EVENT_COLLECTIVE};

    thread->state = THREAD_COLLECTIVE;
    thread->kind_of_wait = op.kind;
    r->n_entered++;
    r->payload = op.kind == OP_ALLREDUCE || rank == 0 ? 1u << (8 * rank) : 0;
    event.collective.kind = op.kind == OP_BARRIER     ? DSM_COLLECTIVE_BARRIER
                            : op.kind == OP_ALLREDUCE ? DSM_COLLECTIVE_ALLREDUCE
                                                      : DSM_COLLECTIVE_BCAST;
    event.collective.n_members = lab->config.n_ranks;
    event.collective.self_index = rank;
    return step_and_act(lab, rank, &event);
}

static bool drop(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op)
{
    struct dsm_event event = {.type = DSM_EVENT_DROP};

    thread_of(lab, rank, index)->state = THREAD_DROPPING;
    lab->world.is_dropping[op.a] = true;
    event.drop.first = page_of(lab, op.a);
    event.drop.n_pages = lab->config.unit_pages;
    event.drop.serial = op.a;
    return step_and_act(lab, rank, &event);
}

bool driver_thread(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op)
{
    struct world_thread *thread = thread_of(lab, rank, index);

    thread->op = op;
    thread->has_op = true;
    switch ((enum program_op_kind)op.kind) {
    case OP_READ_LOCK:
    case OP_WRITE_LOCK:
    case OP_RW_UNLOCK:
    case OP_POST:
    case OP_TAKE:
    case OP_TAKE_TIMED:
    case OP_SET_FLAG:
    case OP_AWAIT:
    case OP_MEET:
    case OP_TICKETS:
    case OP_SIGNAL:
    case OP_BROADCAST:
    case OP_DESTROY:
        return driver_sync(lab, rank, index, op);
    case OP_SLEEP:
        return thread->is_relocking ? lock(lab, rank, index, op)
                                    : driver_sync(lab, rank, index, op);
    case OP_LOAD:
    case OP_STORE:
    case OP_LOAD_TWO:
    case OP_STORE_TWO:
        return touch(lab, rank, index, op);
    case OP_PREFETCH_READ:
    case OP_PREFETCH_WRITE:
    case OP_PREFETCH_READ_ALL:
    case OP_PREFETCH_WRITE_ALL:
    case OP_SAMPLE_READ:
    case OP_SAMPLE_WRITE:
    case OP_SAMPLE_WRITE_ALL:
        return prefetch(lab, rank, index, op);
    case OP_PIN:
    case OP_UNPIN:
        return pin(lab, rank, index, op);
    case OP_LOCK:
    case OP_LOCK_TRY:
    case OP_LOCK_TIMED:
        return lock(lab, rank, index, op);
    case OP_UNLOCK:
        return unlock(lab, rank, index, op);
    case OP_BARRIER:
    case OP_ALLREDUCE:
    case OP_BCAST:
        return enter_collective(lab, rank, index, op);
    case OP_DROP:
        return drop(lab, rank, index, op);
    case OP_ANY_SINGLE:
    case OP_ANY:
        break;
    }
    return lab_violated(lab, "a wildcard is no operation");
}

/* ---- messages, effects, time --------------------------------------------------------------- */

bool driver_has_waiter(const struct lab *lab, uint32_t rank)
{
    for (uint32_t t = 0; t < lab->config.n_threads; t++) {
        uint8_t state = lab->world.ranks[rank].threads[t].state;
        if (state == THREAD_WAITING || state == THREAD_LOCKING || state == THREAD_COLLECTIVE ||
            state == THREAD_DROPPING || state == THREAD_SYNC) {
            return true;
        }
    }
    return false;
}

static void remove_message(struct world *world, uint32_t index)
{
    world->n_messages--;
    memmove(&world->messages[index], &world->messages[index + 1],
            (world->n_messages - index) * sizeof world->messages[0]);
}

static bool keep_payload(struct lab *lab, const struct world_message *m)
{
    struct world_rank *r = &lab->world.ranks[m->to];

    if (r->n_payloads == WORLD_MAX_PAYLOADS) {
        return lab_violated(lab, "rank %u: more than %u payloads of collectives wait", m->to,
                            WORLD_MAX_PAYLOADS);
    }
    r->payloads[r->n_payloads++] =
        (struct world_payload){m->message.txn, m->message.count, (uint32_t)m->value};
    return true;
}

bool driver_deliver(struct lab *lab, uint32_t index)
{
    struct world *world = &lab->world;
    struct world_message m = world->messages[index];
    struct dsm_event event = {.type = DSM_EVENT_MESSAGE};
    bool has_bytes = m.message.type == DSM_MSG_GRANT && m.message.len > 0;
    uint32_t unit = (uint32_t)(m.message.object / lab->config.unit_pages);

    if (m.message.type == DSM_MSG_COLLECTIVE && m.message.len > 0 && !keep_payload(lab, &m)) {
        return false;
    }
    event.message = &m.message;
    if (!check_advice(lab, m.to, &m.message) || !lab_core_step(lab, m.to, &event)) {
        return false;
    }
    bool is_accepted = false, is_answered = false;
    for (uint32_t i = 0; i < lab->actions.n; i++) {
        enum dsm_action_type type = lab->actions.items[i].type;
        is_accepted |= type == DSM_ACTION_RECEIVE;
        is_answered |= type == DSM_ACTION_RECEIVE || type == DSM_ACTION_DISCARD;
    }
    if (has_bytes != is_answered) {
        return lab_violated(lab,
                            "rank %u: a message with%s bytes was answered with%s RECEIVE or "
                            "DISCARD",
                            m.to, has_bytes ? "" : "out", is_answered ? "" : "out");
    }
    if (is_accepted) {
        for (uint32_t u = unit; u < unit + m.message.count; u++) {
            if (!check_may_receive(lab, m.to, u)) {
                return false;
            }
            world->ranks[m.to].units[u].n_receiving++;
        }
        world->messages[index].is_receiving = true;
    } else if (has_bytes && world->dead == 0) {
        return lab_violated(lab, "rank %u throws bytes away that may be in its frame already",
                            m.to);
    } else {
        remove_message(world, index);
    }
    return actions_take(lab, m.to);
}

/* Bytes of a grant are in the frame of this unit. */
static bool receive_unit(struct lab *lab, const struct world_message *m, uint32_t u,
                         uint16_t version)
{
    struct world_unit *unit = &lab->world.ranks[m->to].units[u];
    uint32_t n_chunks = (lab->config.unit_pages * DSM_PAGE_BYTES + DSM_MESSAGE_CHUNK_BYTES - 1) /
                        DSM_MESSAGE_CHUNK_BYTES;

    if (unit->access != DSM_ACCESS_NONE) {
        return lab_violated(lab, "rank %u received into unit %u while the program could see it",
                            m->to, u);
    }
    unit->n_receiving--;
    unit->has_frame = true;
    for (uint32_t c = 0; c < WORLD_MAX_CHUNKS; c++) {
        if (n_chunks == 1 || c == m->message.offset / DSM_MESSAGE_CHUNK_BYTES) {
            unit->version[c] = version;
        }
    }
    return true;
}

bool driver_received(struct lab *lab, uint32_t index)
{
    struct world *world = &lab->world;
    struct world_message m = world->messages[index];
    uint32_t first = (uint32_t)(m.message.object / lab->config.unit_pages);
    struct dsm_event event = {.type = DSM_EVENT_RECEIVED};

    for (uint32_t i = 0; i < m.message.count; i++) {
        if (!receive_unit(lab, &m, first + i, (uint16_t)(m.value >> 16 * i))) {
            return false;
        }
    }
    remove_message(world, index);
    event.received.unit = m.message.object;
    event.received.len = m.message.len;
    return step_and_act(lab, m.to, &event);
}

/* One chunk; the effect is carried out with the last. */
static bool send_chunk(struct lab *lab, uint32_t rank, struct world_unit *unit,
                       const struct world_effect *effect)
{
    uint32_t unit_bytes = lab->config.unit_pages * DSM_PAGE_BYTES;
    uint32_t chunk = unit->n_chunks_sent++;
    struct dsm_message message = effect->message;

    message.offset = chunk * DSM_MESSAGE_CHUNK_BYTES;
    message.len = unit_bytes - message.offset < DSM_MESSAGE_CHUNK_BYTES
                      ? unit_bytes - message.offset
                      : DSM_MESSAGE_CHUNK_BYTES;
    message.room = unit_bytes;
    if (message.offset + message.len == unit_bytes) {
        unit->n_carried_out++;
        unit->n_chunks_sent = 0;
    }
    if (!check_may_land(lab, effect->to, &message,
                        (uint32_t)(message.object / lab->config.unit_pages))) {
        return false;
    }
    message.key = 0; /* it is not in the header */
    return actions_send(lab, rank, effect->to, effect->lane, &message, unit->version[chunk]);
}

static bool carry_out(struct lab *lab, uint32_t rank, struct world_unit *unit)
{
    const struct world_effect *effect = &unit->effects[unit->n_carried_out];

    if (effect->type == DSM_ACTION_SEND_BYTES) {
        return send_chunk(lab, rank, unit, effect);
    }
    unit->n_carried_out++;
    switch ((enum dsm_action_type)effect->type) {
    case DSM_ACTION_MAP_READ:
    case DSM_ACTION_MAP_WRITE:
        if (!unit->has_frame) {
            /* Only with is_zero: check_effect. A frame that exists is not cleared by real drivers.
             */
            unit->has_frame = true;
            memset(unit->version, 0, sizeof unit->version);
        }
        unit->access = effect->type == DSM_ACTION_MAP_READ ? DSM_ACCESS_READ : DSM_ACCESS_WRITE;
        return true;
    case DSM_ACTION_DOWNGRADE:
        if (unit->access == DSM_ACCESS_WRITE) {
            unit->access = DSM_ACCESS_READ;
        }
        return true;
    case DSM_ACTION_UNMAP:
        unit->access = DSM_ACCESS_NONE;
        return true;
    case DSM_ACTION_PUNCH:
        unit->has_frame = false;
        return true;
    default:
        return lab_violated(lab, "rank %u: action %u is no effect", rank, effect->type);
    }
}

static void forget_effect(struct world_unit *unit)
{
    unit->n_effects--;
    memmove(&unit->effects[0], &unit->effects[1], unit->n_effects * sizeof unit->effects[0]);
    memset(&unit->effects[unit->n_effects], 0, sizeof unit->effects[0]);
    unit->n_carried_out--;
}

bool driver_effect(struct lab *lab, uint32_t rank, uint32_t u)
{
    struct world_unit *unit = &lab->world.ranks[rank].units[u];

    if (!check_effect(lab, rank, u) || !carry_out(lab, rank, unit)) {
        return false;
    }
    return lab->config.has_done_gap || unit->n_carried_out == 0 || driver_done(lab, rank, u);
}

/* The bytes of this unit leave next. */
static const struct world_effect *next_send(const struct lab *lab, uint32_t rank, uint32_t u)
{
    const struct world_unit *unit = &lab->world.ranks[rank].units[u];
    const struct world_effect *effect = &unit->effects[unit->n_carried_out];

    return unit->n_carried_out < unit->n_effects && effect->type == DSM_ACTION_SEND_BYTES &&
                   unit->n_chunks_sent == 0
               ? effect
               : NULL;
}

uint32_t driver_run_length(const struct lab *lab, uint32_t rank, uint32_t first)
{
    const struct world_effect *effect = next_send(lab, rank, first);
    uint32_t unit_bytes = lab->config.unit_pages * DSM_PAGE_BYTES, n = 1;

    if (effect == NULL || 2 * unit_bytes > DSM_MESSAGE_CHUNK_BYTES) {
        return 0;
    }
    for (; first + n < lab->config.n_units; n++) {
        const struct world_effect *next = next_send(lab, rank, first + n);
        if (next == NULL || next->to != effect->to || next->lane != effect->lane ||
            next->message.request != effect->message.request ||
            next->message.flags != effect->message.flags ||
            next->message.access != effect->message.access ||
            next->message.acks != effect->message.acks ||
            next->message.txn != effect->message.txn) {
            break;
        }
    }
    return n;
}

bool driver_run(struct lab *lab, uint32_t rank, uint32_t first)
{
    uint32_t n = driver_run_length(lab, rank, first);
    struct world_unit *units = &lab->world.ranks[rank].units[first];
    struct world_effect effect = units[0].effects[units[0].n_carried_out];
    struct dsm_message message = effect.message;
    struct dsm_event event = {.type = DSM_EVENT_DONE};
    bool are_all_first = true;
    uint64_t value = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (!check_effect(lab, rank, first + i) ||
            !check_may_land(lab, effect.to, &message, first + i)) {
            return false;
        }
        value |= (uint64_t)units[i].version[0] << 16 * i;
        are_all_first &= units[i].n_carried_out == 0;
        units[i].n_carried_out++;
    }
    message.count = n;
    message.len = n * message.room;
    message.key = 0;
    if (!actions_send(lab, rank, effect.to, effect.lane, &message, value)) {
        return false;
    }
    if (lab->config.has_done_gap) {
        return true;
    }
    if (!are_all_first) {
        return lab_violated(lab, "rank %u: an effect before the bytes of a run is not done", rank);
    }
    for (uint32_t i = 0; i < n; i++) {
        forget_effect(&units[i]);
    }
    event.done.unit = page_of(lab, first);
    event.done.n_units = n;
    return step_and_act(lab, rank, &event);
}

bool driver_done(struct lab *lab, uint32_t rank, uint32_t u)
{
    struct dsm_event event = {.type = DSM_EVENT_DONE};

    forget_effect(&lab->world.ranks[rank].units[u]);
    event.done.unit = page_of(lab, u);
    return step_and_act(lab, rank, &event);
}

/* Threads, mappings and frames are gone, and what was on its way to it; not what it has sent. */
void driver_crash(struct lab *lab, uint32_t rank)
{
    struct world *world = &lab->world;
    struct world_rank *r = &world->ranks[rank];
    uint32_t n_entered = r->n_entered;

    for (uint32_t t = 0; t < lab->config.n_threads; t++) {
        sync_end_hold(lab, &r->threads[t]);
    }
    memset(r, 0, sizeof *r);
    r->timer_ns = UINT64_MAX;
    r->n_entered = n_entered;
    for (uint32_t t = 0; t < lab->config.n_threads; t++) {
        r->threads[t].pc = (uint8_t)lab->config.programs[rank][t].n_ops;
    }
    for (uint32_t i = world->n_messages; i-- > 0;) {
        if (world->messages[i].to == rank) {
            remove_message(world, i);
        }
    }
    world->n_crashes_left--;
    world->dead = rank + 1;
}

bool driver_view(struct lab *lab, uint32_t rank)
{
    struct world *world = &lab->world;
    struct dsm_event event = {.type = DSM_EVENT_VIEW};

    event.view.rank = world->dead - 1;
    for (uint32_t i = world->n_messages; i-- > 0;) {
        const struct world_message *m = &world->messages[i];
        if (m->to != rank || m->from != event.view.rank) {
            continue;
        }
        for (uint32_t k = 0; m->is_receiving && k < m->message.count; k++) {
            struct world_unit *unit =
                &world->ranks[rank].units[m->message.object / lab->config.unit_pages + k];
            unit->n_receiving--;
            unit->has_frame = true; /* with a part of the bytes */
            memset(unit->version, 0xff, sizeof unit->version);
        }
        remove_message(world, i);
    }
    for (uint32_t k = 0; k < lab->config.n_locks; k++) {
        world->ranks[rank].locks[k].is_expected = false;
    }
    world->has_heard |= 1u << rank;
    return step_and_act(lab, rank, &event);
}

bool driver_timer(struct lab *lab, uint32_t rank)
{
    struct dsm_event event = {.type = DSM_EVENT_TIMER};

    lab->world.ranks[rank].timer_ns = UINT64_MAX;
    return step_and_act(lab, rank, &event);
}

struct next_moment {
    uint64_t now_ns, next_ns;
};

static void skip_number(void *user, uint64_t value)
{
    (void)user;
    (void)value;
}
static void skip_txn(void *user, dsm_page_t unit, dsm_txn_t txn)
{
    (void)user;
    (void)unit;
    (void)txn;
}
static void skip_request(void *user, dsm_rank_t asker, uint32_t request)
{
    (void)user;
    (void)asker;
    (void)request;
}
static void look_at_time(void *user, uint64_t at_ns)
{
    struct next_moment *moment = user;

    if (at_ns > moment->now_ns && at_ns < moment->next_ns) {
        moment->next_ns = at_ns;
    }
}

uint64_t driver_next_moment(const struct lab *lab, uint32_t rank)
{
    uint64_t now_ns = lab->world.ranks[rank].now_ns;
    struct next_moment moment = {now_ns,
                                 lab->config.keeps_end ? UINT64_MAX : now_ns + LAB_FORESIGHT_NS};
    struct dsm_canon canon = {&moment, skip_number, skip_txn, skip_request, look_at_time};

    dsm_core_canon(lab->cores[rank], &canon);
    return moment.next_ns == now_ns + LAB_FORESIGHT_NS ? UINT64_MAX : moment.next_ns;
}
