/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sync.c - reader-writer locks, condition variables, semaphores, flags, tickets, barriers of
 * threads, and words: objects kept by a manager, the home of the address that names them.
 *
 * Whoever asks gets exactly one final answer, from the manager alone, so nothing is ever to be
 * found out afterwards: a wait that is to end early asks the manager for that (SYNC_CANCEL) and
 * goes on waiting for its answer, which is TIMEOUT or, when the grant had left before, the grant.
 *
 * Fairness. Waits of one object that compete are served in the order in which they came: readers
 * and writers alike, or takers of a semaphore however many units they want. Waits that do not
 * compete (for a flag to be set, for it to be cleared) do not hold each other up.
 *
 * Condition variables. A sleeper is told when it is in the queue, and only then gives its lock
 * back: a signal that is sent under the lock afterwards cannot come before it, although it may come
 * from another rank.
 *
 * When a rank is gone, what it waited for and held here is over. A reader-writer lock that it held
 * for writing is lost: what that guards may be half changed. So are barriers and tickets: they
 * count threads, and those of the rank will not come. Nobody knows who would have posted, set or
 * signalled, so all other waits under way end with PEER; who asks again waits again. To destroy
 * what is lost makes it anew.
 */
#include "core/state.h"

#define ANSWERS_PER_STEP DSM_SYNC_ANSWERS_MAX

dsm_rank_t dsm_sync_manager(const struct dsm_core *core, uint64_t id)
{
    return dsm_placement_unit(core->config.placement, id >> DSM_PAGE_SHIFT).home;
}

static bool has_room(const struct dsm_core *core)
{
    return dsm_arena_left_bytes(&core->arena) >= 2 * core->reserve_bytes;
}

static struct dsm_sync_object *object_find(const struct dsm_core *core, uint64_t id)
{
    dsm_ref ref = dsm_table_find(&core->objects, (void *)(uintptr_t)core, id);

    return ref ? dsm_at(core, ref) : NULL;
}

static struct dsm_sync_object *object_make(struct dsm_core *core, uint64_t id,
                                           enum dsm_sync_kind kind)
{
    dsm_ref ref = dsm_take(core, sizeof(struct dsm_sync_object));
    struct dsm_sync_object *o = dsm_at(core, ref);

    dsm_table_add(&core->objects, core, ref, id);
    o->kind = (uint8_t)kind;
    return o;
}

/* ---- at the asker */

static void finish(struct dsm_step *s, uint32_t request, int error, uint64_t value, dsm_rank_t rank)
{
    dsm_ref ref = dsm_table_find(&s->core->asks, s->core, request);
    struct dsm_action *a = dsm_emit(s, DSM_ACTION_SYNC_DONE);

    a->id = request;
    a->error = error;
    a->rank = rank;
    a->message.txn = value;
    if (!ref)
        return; /* it could not even be noted */
    dsm_table_remove(&s->core->asks, s->core, ref);
    dsm_give(s->core, ref, sizeof(struct dsm_sync_ask));
}

static struct dsm_message *send_ask(struct dsm_step *s, const struct dsm_event *event,
                                    dsm_rank_t manager)
{
    struct dsm_message *m =
        dsm_emit_send(s, manager, DSM_LANE_REQUEST, DSM_MSG_SYNC_ASK, event->sync.id);

    m->acks = (uint32_t)event->sync.op | (uint32_t)event->sync.kind << 8;
    m->txn = event->sync.a;
    m->prior = event->sync.b;
    m->request = event->sync.request;
    m->flags = event->sync.is_try ? DSM_MSG_F_TRY : 0;
    return m;
}

int dsm_sync_ask(struct dsm_step *s, const struct dsm_event *event)
{
    struct dsm_core *core = s->core;
    uint32_t request = event->sync.request;
    dsm_rank_t manager = dsm_sync_manager(core, event->sync.id);
    struct dsm_sync_ask *ask;
    dsm_ref ref;

    if (request == 0) { /* nobody waits for the answer */
        if (!dsm_is_dead(core, manager))
            send_ask(s, event, manager)->flags |= DSM_MSG_F_ASYNC;
        return 0;
    }
    if (dsm_table_find(&core->asks, core, request))
        return DSM_E_BUSY;
    if (!has_room(core) || dsm_is_dead(core, manager)) {
        bool is_dead = dsm_is_dead(core, manager);

        finish(s, request, is_dead ? DSM_E_PEER : DSM_E_NOMEM, 0,
               is_dead ? manager : DSM_RANK_NONE);
        return 0;
    }
    ref = dsm_take(core, sizeof *ask);
    dsm_table_add(&core->asks, core, ref, request);
    ask = dsm_at(core, ref);
    ask->id = event->sync.id;
    ask->manager = manager;
    send_ask(s, event, manager);
    return 0;
}

int dsm_sync_cancel(struct dsm_step *s, const struct dsm_event *event)
{
    struct dsm_core *core = s->core;
    dsm_ref ref = dsm_table_find(&core->asks, core, event->sync.request);
    const struct dsm_sync_ask *ask;

    if (!ref)
        return 0; /* it has been answered */
    ask = dsm_at(core, ref);
    dsm_emit_send(s, ask->manager, DSM_LANE_REQUEST, DSM_MSG_SYNC_CANCEL, ask->id)->request =
        event->sync.request;
    return 0;
}

int dsm_sync_on_answer(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;
    dsm_ref ref = dsm_table_find(&core->asks, core, m->request);
    const struct dsm_sync_ask *ask = ref ? dsm_at(core, ref) : NULL;

    if (!ask || ask->id != m->object || ask->manager != m->from || m->acks > DSM_SYNC_ERROR_MAX)
        return DSM_E_PROTO;
    if (m->count)
        dsm_emit(s, DSM_ACTION_SYNC_QUEUED)->id = m->request;
    else
        finish(s, m->request, -(int)m->acks, m->txn, m->peer);
    return 0;
}

/* ---- at the manager: answers */

static void send_answer(struct dsm_step *s, uint64_t id, const struct dsm_sync_wait *w)
{
    struct dsm_message *m;

    if (dsm_is_dead(s->core, w->rank))
        return;
    if (w->rank == s->core->config.self) {
        finish(s, w->request, w->error, w->value, w->lost_rank);
        return;
    }
    m = dsm_emit_send(s, w->rank, DSM_LANE_REPLY, DSM_MSG_SYNC_ANSWER, id);
    m->request = w->request;
    m->acks = (uint32_t)-w->error;
    m->txn = w->value;
    m->peer = w->lost_rank;
}

static void say_queued(struct dsm_step *s, uint64_t id, const struct dsm_sync_wait *w)
{
    struct dsm_message *m;

    if (w->rank == s->core->config.self) {
        dsm_emit(s, DSM_ACTION_SYNC_QUEUED)->id = w->request;
        return;
    }
    m = dsm_emit_send(s, w->rank, DSM_LANE_REPLY, DSM_MSG_SYNC_ANSWER, id);
    m->request = w->request;
    m->count = 1;
}

/* Many waits may end at once, so their answers go out a few a step. */
void dsm_sync_continue(struct dsm_step *s)
{
    struct dsm_core *core = s->core;
    uint32_t n;

    for (n = 0; n < ANSWERS_PER_STEP && core->answers.head; n++) {
        dsm_ref ref = core->answers.head;
        struct dsm_sync_wait *w = dsm_at(core, ref);

        core->answers.head = w->next;
        if (!core->answers.head)
            core->answers.tail = 0;
        send_answer(s, w->id, w);
        dsm_give(core, ref, sizeof *w);
    }
    if (core->answers.head)
        core->has_backlog = true;
}

static void append(struct dsm_core *core, struct dsm_list *list, dsm_ref ref)
{
    ((struct dsm_sync_wait *)dsm_at(core, ref))->next = 0;
    if (list->tail)
        ((struct dsm_sync_wait *)dsm_at(core, list->tail))->next = ref;
    else
        list->head = ref;
    list->tail = ref;
}

/* Takes the wait behind `before` (0: the first) out of the queue and gives it its answer. Returns
 * the one that follows. */
static dsm_ref end_wait(struct dsm_core *core, struct dsm_sync_object *o, dsm_ref before, int error,
                        dsm_rank_t lost_rank)
{
    dsm_ref *at = before ? &((struct dsm_sync_wait *)dsm_at(core, before))->next : &o->waits.head;
    dsm_ref ref = *at, next;
    struct dsm_sync_wait *w = dsm_at(core, ref);

    next = *at = w->next;
    if (o->waits.tail == ref)
        o->waits.tail = before;
    o->n_waits--;
    w->error = error;
    w->lost_rank = lost_rank;
    append(core, &core->answers, ref);
    return next;
}

static void end_all_waits(struct dsm_core *core, struct dsm_sync_object *o, int error,
                          uint64_t value, dsm_rank_t lost_rank)
{
    while (o->waits.head) {
        ((struct dsm_sync_wait *)dsm_at(core, o->waits.head))->value = value;
        end_wait(core, o, 0, error, lost_rank);
    }
}

/* ---- at the manager: what each operation does */

static struct dsm_sync_hold *hold_find(struct dsm_core *core, const struct dsm_sync_object *o,
                                       dsm_rank_t rank)
{
    dsm_ref ref = o->holds;

    while (ref && ((struct dsm_sync_hold *)dsm_at(core, ref))->rank != rank)
        ref = ((struct dsm_sync_hold *)dsm_at(core, ref))->next;
    return ref ? dsm_at(core, ref) : NULL;
}

/* The number of a reader-writer lock is that of its readers; who they are is noted by rank. */
static void hold(struct dsm_core *core, struct dsm_sync_object *o, dsm_rank_t rank, bool is_write)
{
    struct dsm_sync_hold *h = hold_find(core, o, rank);

    if (!h) {
        dsm_ref ref = dsm_take(core, sizeof *h);

        h = dsm_at(core, ref);
        h->rank = rank;
        h->next = o->holds;
        o->holds = ref;
    }
    if (is_write) {
        h->is_writer = o->has_writer = true;
    } else {
        h->n_readers++;
        o->value++;
    }
}

/* False: the rank did not hold it so. */
static bool release(struct dsm_core *core, struct dsm_sync_object *o, dsm_rank_t rank,
                    bool is_write)
{
    dsm_ref *at = &o->holds;

    while (*at && ((struct dsm_sync_hold *)dsm_at(core, *at))->rank != rank)
        at = &((struct dsm_sync_hold *)dsm_at(core, *at))->next;
    if (!*at)
        return false;

    dsm_ref ref = *at;
    struct dsm_sync_hold *h = dsm_at(core, ref);

    if (is_write ? !h->is_writer : h->n_readers == 0)
        return false;
    if (is_write) {
        h->is_writer = o->has_writer = false;
    } else {
        h->n_readers--;
        o->value--;
    }
    if (!h->is_writer && h->n_readers == 0) {
        *at = h->next;
        dsm_give(core, ref, sizeof *h);
    }
    return true;
}

/* Waits that compete with each other have a class in common. */
#define CLASS_ANY 4u
static uint32_t class_of(uint8_t op)
{
    switch (op) {
    case DSM_SYNC_OP_READ_LOCK:
    case DSM_SYNC_OP_WRITE_LOCK:
    case DSM_SYNC_OP_TAKE:
        return 1;
    case DSM_SYNC_OP_PUT:
        return 2;
    default:
        return 0;
    }
}

static bool try_lock(struct dsm_core *core, struct dsm_sync_object *o, struct dsm_sync_wait *w)
{
    bool is_write = w->op == DSM_SYNC_OP_WRITE_LOCK;
    bool is_free = !o->has_writer && (!is_write || o->value == 0);

    if (dsm_planted(DSM_PLANT_READ_WHILE_WRITTEN))
        is_free = !is_write || (o->value == 0 && !o->has_writer);
    if (!is_free)
        return false;
    hold(core, o, w->rank, is_write);
    w->error = o->is_abandoned ? DSM_E_ABANDONED : 0;
    o->is_abandoned = false;
    return true;
}

/* Does what a waiting operation is to do if the number allows it now. */
static bool try_wait(struct dsm_core *core, struct dsm_sync_object *o, struct dsm_sync_wait *w)
{
    w->value = o->value;
    switch (w->op) {
    case DSM_SYNC_OP_READ_LOCK:
    case DSM_SYNC_OP_WRITE_LOCK:
        return try_lock(core, o, w);
    case DSM_SYNC_OP_TAKE:
        if (o->value < w->a)
            return false;
        if (!dsm_planted(DSM_PLANT_TAKE_LEAVES) || !o->waits.head)
            o->value -= w->a;
        return true;
    case DSM_SYNC_OP_AWAIT:
        return o->value >= w->a;
    case DSM_SYNC_OP_PUT:
        if (o->value != 0)
            return false;
        o->value = w->a;
        return true;
    default:
        return false;
    }
}

/* The number has changed: those in the queue go on, as far as it allows, the oldest first. */
static void settle(struct dsm_core *core, struct dsm_sync_object *o)
{
    dsm_ref before = 0, ref = o->waits.head;
    uint32_t held_up = 0;

    while (ref) {
        struct dsm_sync_wait *w = dsm_at(core, ref);
        uint64_t value = o->value;

        if ((held_up & class_of(w->op)) || !try_wait(core, o, w)) {
            held_up |= class_of(w->op) | CLASS_ANY;
            before = ref;
            ref = w->next;
            continue;
        }
        ref = end_wait(core, o, before, w->error, DSM_RANK_NONE);
        if (o->value != value && held_up) { /* those before it may go on now */
            before = 0;
            ref = o->waits.head;
            held_up = 0;
        }
    }
}

/* Somebody in the queue competes with the newcomer. */
static bool is_behind(struct dsm_core *core, const struct dsm_sync_object *o, uint8_t op)
{
    dsm_ref ref;

    for (ref = class_of(op) ? o->waits.head : 0; ref;
         ref = ((struct dsm_sync_wait *)dsm_at(core, ref))->next)
        if (class_of(((struct dsm_sync_wait *)dsm_at(core, ref))->op) & class_of(op))
            return true;
    return false;
}

static bool is_lost(const struct dsm_core *core, const struct dsm_sync_object *o)
{
    bool counts_threads = o->kind == DSM_SYNC_BARRIER || o->kind == DSM_SYNC_TICKETS;

    return o->is_lost || (counts_threads && core->n_dead > o->n_dead);
}

/* Barriers and the end of tickets: the last of n lets all go. */
static bool meet(struct dsm_core *core, struct dsm_sync_object *o, struct dsm_sync_wait *w,
                 uint64_t n, uint64_t value)
{
    const struct dsm_sync_wait *first = o->waits.head ? dsm_at(core, o->waits.head) : NULL;
    uint64_t n_here = (uint64_t)o->n_waits + 1 + dsm_planted(DSM_PLANT_BARRIER_EARLY);

    if (first && (first->a != w->a || first->b != w->b)) {
        w->error = DSM_E_MISMATCH;
        return true;
    }
    if (n_here < n)
        return false;
    end_all_waits(core, o, 0, value, DSM_RANK_NONE);
    w->value = value;
    return true;
}

static void compare_swap(struct dsm_sync_object *o, const struct dsm_sync_wait *w)
{
    if (o->value == w->a)
        o->value = w->b;
}

static uint64_t word_mask(const struct dsm_sync_object *o)
{
    return o->kind == DSM_SYNC_WORD32 ? UINT32_MAX : UINT64_MAX;
}

static void signal_some(struct dsm_core *core, struct dsm_sync_object *o, struct dsm_sync_wait *w)
{
    w->value = 0;
    while (o->waits.head && w->value < w->a) {
        end_wait(core, o, 0, 0, DSM_RANK_NONE);
        w->value++;
    }
}

/* Carries the operation out. False: it has to wait. */
static bool carry_out(struct dsm_core *core, struct dsm_sync_object *o, struct dsm_sync_wait *w)
{
    w->value = o->value;
    switch ((enum dsm_sync_op)w->op) {
    case DSM_SYNC_OP_READ_LOCK:
    case DSM_SYNC_OP_WRITE_LOCK:
    case DSM_SYNC_OP_TAKE:
    case DSM_SYNC_OP_AWAIT:
    case DSM_SYNC_OP_PUT:
        return !is_behind(core, o, w->op) && try_wait(core, o, w);
    case DSM_SYNC_OP_READ_UNLOCK:
    case DSM_SYNC_OP_WRITE_UNLOCK:
    case DSM_SYNC_OP_ABANDON:
        if (!release(core, o, w->rank, w->op != DSM_SYNC_OP_READ_UNLOCK))
            w->error = DSM_E_NOTHELD;
        else if (w->op == DSM_SYNC_OP_ABANDON)
            o->is_abandoned = true;
        return true;
    case DSM_SYNC_OP_SLEEP:
        return false;
    case DSM_SYNC_OP_SIGNAL:
        signal_some(core, o, w);
        return true;
    case DSM_SYNC_OP_ADD:
        if (w->a > DSM_SYNC_MAX - o->value)
            w->error = DSM_E_LIMIT;
        else
            o->value += w->a;
        return true;
    case DSM_SYNC_OP_SET:
        o->value = w->a;
        return true;
    case DSM_SYNC_OP_GET:
        return true;
    case DSM_SYNC_OP_TICKET:
        if (o->value < w->a) {
            o->value++;
            return true;
        }
        if (!meet(core, o, w, w->b, DSM_SYNC_NO_TICKET))
            return false;
        if (!w->error)
            o->value = 0;
        return true;
    case DSM_SYNC_OP_ARRIVE:
        if (!meet(core, o, w, w->a, o->value))
            return false;
        o->value += !w->error;
        return true;
    case DSM_SYNC_OP_WRAP_ADD:
        o->value = (o->value + w->a) & word_mask(o);
        return true;
    case DSM_SYNC_OP_SWAP:
        o->value = w->a & word_mask(o);
        return true;
    case DSM_SYNC_OP_COMPARE_SWAP:
        compare_swap(o, w);
        return true;
    case DSM_SYNC_OP_NONE:
    case DSM_SYNC_OP_DESTROY:
    case DSM_SYNC_N_OPS:
        break;
    }
    return true;
}

/* ---- at the manager: questions */

static void forget(struct dsm_core *core, struct dsm_sync_object *o, int error)
{
    end_all_waits(core, o, error, 0, DSM_RANK_NONE);
    while (o->holds) {
        dsm_ref ref = o->holds;

        o->holds = ((struct dsm_sync_hold *)dsm_at(core, ref))->next;
        dsm_give(core, ref, sizeof(struct dsm_sync_hold));
    }
    dsm_table_remove(&core->objects, core, dsm_ref_of(core, o));
    dsm_give(core, dsm_ref_of(core, o), sizeof *o);
}

static bool is_release(uint8_t op)
{
    return op == DSM_SYNC_OP_READ_UNLOCK || op == DSM_SYNC_OP_WRITE_UNLOCK ||
           op == DSM_SYNC_OP_ABANDON;
}

static bool is_known(uint32_t op, uint32_t kind)
{
    static const uint32_t ops_of[DSM_SYNC_N_KINDS] = {
#define XX(name, operations) [DSM_SYNC_##name] = (operations),
        DSM_SYNC_KIND_MAP(XX)
#undef XX
    };

    if (op == DSM_SYNC_OP_DESTROY)
        return kind == DSM_SYNC_NONE;
    return op < DSM_SYNC_N_OPS && kind < DSM_SYNC_N_KINDS && (ops_of[kind] >> op & 1);
}

static void destroy(struct dsm_core *core, struct dsm_sync_object *o, struct dsm_sync_wait *w)
{
    uint64_t id = w->id;

    if (o) {
        w->value = o->n_waits;
        forget(core, o, DSM_E_GONE);
    }
    if (core->n_dead && has_room(core))
        object_make(core, id, DSM_SYNC_NONE)->n_dead = core->n_dead;
}

/* True: the answer is in w. */
static bool serve(struct dsm_step *s, uint64_t id, enum dsm_sync_kind kind, struct dsm_sync_wait *w)
{
    struct dsm_core *core = s->core;
    struct dsm_sync_object *o = object_find(core, id);

    if (w->op == DSM_SYNC_OP_DESTROY) {
        destroy(core, o, w);
        return true;
    }
    if (!o && is_release(w->op)) { /* destroyed meanwhile */
        w->error = DSM_E_GONE;
        return true;
    }
    if ((!o || class_of(w->op) || w->op == DSM_SYNC_OP_SLEEP) && !has_room(core)) {
        w->error = DSM_E_NOMEM;
        return true;
    }
    if (!o)
        o = object_make(core, id, kind);
    if (o->kind == DSM_SYNC_NONE)
        o->kind = (uint8_t)kind;
    if (o->kind != kind) {
        w->error = DSM_E_KIND;
        return true;
    }
    if (is_lost(core, o) && !is_release(w->op)) {
        w->error = DSM_E_PEER;
        w->lost_rank = o->is_lost ? o->lost_rank : core->lost_rank;
        return true;
    }
    if (!carry_out(core, o, w))
        return false;
    settle(core, o);
    return true;
}

int dsm_sync_on_ask(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;
    uint32_t op = m->acks & 0xff, kind = m->acks >> 8;
    bool is_async = m->flags & DSM_MSG_F_ASYNC;
    struct dsm_sync_wait w = {.id = m->object,
                              .rank = m->from,
                              .lost_rank = DSM_RANK_NONE,
                              .request = m->request,
                              .op = (uint8_t)op,
                              .a = m->txn,
                              .b = m->prior};
    dsm_ref ref;
    struct dsm_sync_object *o;

    if (!is_known(op, kind) || is_async != is_release((uint8_t)op) ||
        m->object >> DSM_PAGE_SHIFT >= core->config.n_pages)
        return DSM_E_PROTO;
    if (serve(s, m->object, (enum dsm_sync_kind)kind, &w)) {
        if (!is_async)
            send_answer(s, m->object, &w);
        return 0;
    }
    if (m->flags & DSM_MSG_F_TRY || !has_room(core)) {
        w.error = m->flags & DSM_MSG_F_TRY ? DSM_E_TIMEOUT : DSM_E_NOMEM;
        send_answer(s, m->object, &w);
        return 0;
    }
    o = object_find(core, m->object);
    ref = dsm_take(core, sizeof w);
    *(struct dsm_sync_wait *)dsm_at(core, ref) = w;
    append(core, &o->waits, ref);
    o->n_waits++;
    if (w.op == DSM_SYNC_OP_SLEEP)
        say_queued(s, m->object, &w);
    return 0;
}

int dsm_sync_on_cancel(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;
    struct dsm_sync_object *o = object_find(core, m->object);
    dsm_ref before = 0, ref = o ? o->waits.head : 0;

    while (ref) {
        const struct dsm_sync_wait *w = dsm_at(core, ref);

        if (w->rank == m->from && w->request == m->request) {
            end_wait(core, o, before, DSM_E_TIMEOUT, DSM_RANK_NONE);
            settle(core, o); /* it may have held up others */
            return 0;
        }
        before = ref;
        ref = w->next;
    }
    if (dsm_planted(DSM_PLANT_CANCEL_TWICE)) {
        struct dsm_sync_wait w = {.rank = m->from, .request = m->request, .error = DSM_E_TIMEOUT};

        send_answer(s, m->object, &w);
    }
    return 0; /* its answer has left already */
}

/* ---- memory that is freed */

static void forget_in(struct dsm_core *core, uint64_t first, uint64_t n_bytes)
{
    uint64_t bucket;

    for (bucket = 0; bucket < dsm_table_n_buckets(&core->objects); bucket++) {
        dsm_ref ref = dsm_table_bucket(&core->objects, core, bucket);

        while (ref) {
            struct dsm_sync_object *o = dsm_at(core, ref);

            ref = o->node.next;
            if (o->node.key - first < n_bytes)
                forget(core, o, DSM_E_GONE);
        }
    }
}

void dsm_sync_forget(struct dsm_core *core, uint64_t first, uint64_t n_bytes)
{
    uint64_t i;

    if (core->objects.n == 0)
        return;
    if (n_bytes >= core->objects.n) {
        forget_in(core, first, n_bytes);
        return;
    }
    for (i = 0; i < n_bytes; i++) {
        struct dsm_sync_object *o = object_find(core, first + i);

        if (o)
            forget(core, o, DSM_E_GONE);
    }
}

/* ---- a rank is gone */

static void drop_waits(struct dsm_core *core, struct dsm_sync_object *o, dsm_rank_t rank)
{
    dsm_ref before = 0, ref = o->waits.head;

    while (ref) {
        const struct dsm_sync_wait *w = dsm_at(core, ref);

        if (w->rank == rank) { /* its answer will not be sent */
            ref = end_wait(core, o, before, DSM_E_PEER, rank);
            continue;
        }
        before = ref;
        ref = w->next;
    }
}

static void look_at_object(struct dsm_core *core, struct dsm_sync_object *o, dsm_rank_t rank)
{
    const struct dsm_sync_hold *h = hold_find(core, o, rank);

    drop_waits(core, o, rank);
    if (h && h->is_writer) {
        o->is_lost = true;
        o->lost_rank = rank;
    }
    if (o->kind != DSM_SYNC_RWLOCK || o->is_lost)
        end_all_waits(core, o, DSM_E_PEER, 0, rank);
    while (release(core, o, rank, false) || release(core, o, rank, true))
        continue;
    settle(core, o);
}

static bool end_asks(struct dsm_step *s, dsm_rank_t rank)
{
    struct dsm_core *core = s->core;
    uint64_t bucket;

    for (bucket = 0; bucket < dsm_table_n_buckets(&core->asks); bucket++) {
        dsm_ref ref = dsm_table_bucket(&core->asks, core, bucket);

        while (ref) {
            const struct dsm_sync_ask *ask = dsm_at(core, ref);

            ref = ask->node.next;
            if (ask->manager != rank)
                continue;
            if (dsm_step_room(s) < core->config.n_ranks + 16)
                return false;
            finish(s, (uint32_t)ask->node.key, DSM_E_PEER, 0, rank);
        }
    }
    return true;
}

/* False: the action list has no room for more; called again then. */
bool dsm_sync_on_dead(struct dsm_step *s, dsm_rank_t rank)
{
    struct dsm_core *core = s->core;
    uint64_t bucket;

    for (bucket = 0; bucket < dsm_table_n_buckets(&core->objects); bucket++) {
        dsm_ref ref = dsm_table_bucket(&core->objects, core, bucket);

        while (ref) {
            struct dsm_sync_object *o = dsm_at(core, ref);

            ref = o->node.next;
            look_at_object(core, o, rank);
        }
    }
    return end_asks(s, rank);
}
