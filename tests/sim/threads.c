/* SPDX-License-Identifier: BSD-3-Clause */
/* threads.c - the simulated threads: instructions that trap, locks, collectives. */
#include <dsm/dsm.h>
#include <stdlib.h>

#include "tests/sim/world_impl.h"

static struct sim_event *plan(struct sim_thread *t, enum sim_event_kind kind, uint64_t after_ns)
{
    struct sim_event *ev = sim_at(t->world, t->world->now_ns + after_ns, kind, t->rank);

    ev->thread = t;
    return ev;
}

struct sim_thread *sim_thread_add(struct sim_world *w, dsm_rank_t rank, sim_program program,
                                  void *user)
{
    struct sim_thread *t = calloc(1, sizeof *t);

    t->world = w;
    t->rank = rank;
    t->program = program;
    t->user = user;
    t->next = w->threads;
    w->threads = t;
    plan(t, SIM_EV_ATTEMPT, 0);
    return t;
}

/* ---- memory */

static bool find_missing(struct sim_thread *t)
{
    const struct sim_rank *r = &t->world->ranks[t->rank];
    uint32_t i;

    for (i = 0; i < t->op.n_pages; i++) {
        uint8_t wanted = t->op.writes[i] ? DSM_ACCESS_WRITE : DSM_ACCESS_READ;

        if (r->mapped[t->op.pages[i]] >= wanted)
            continue;
        t->fault_page = t->op.pages[i];
        t->fault_access = wanted;
        return true;
    }
    return false;
}

static void access_pages(struct sim_thread *t)
{
    struct sim_world *w = t->world;
    struct sim_rank *r = &w->ranks[t->rank];
    uint32_t i;

    for (i = 0; i < t->op.n_pages; i++) {
        dsm_page_t page = t->op.pages[i];

        if (r->frames[page] != w->last_write[page] + 1)
            sim_fail(w, "rank %u reads version %ld of page %lu, but %lu was written last", t->rank,
                     (long)r->frames[page] - 1, (unsigned long)page,
                     (unsigned long)w->last_write[page]);
        if (t->op.writes[i]) {
            w->last_write[page] = ++w->n_versions;
            r->frames[page] = w->n_versions + 1;
        }
    }
}

static void end_op(struct sim_thread *t)
{
    t->n_done++;
    t->has_op = false;
    t->state = SIM_THREAD_RUNS;
    plan(t, SIM_EV_ATTEMPT, 0);
}

void sim_fault(struct sim_world *w, struct sim_thread *t)
{
    struct dsm_event event = {.type = DSM_EVENT_FAULT,
                              .fault = {.page = t->fault_page,
                                        .access = t->fault_access,
                                        .ip = t->op.ip,
                                        .thread = &t->core_thread}};

    t->state = SIM_THREAD_WAITS;
    t->waits_unit = dsm_placement_unit(w->placement, t->fault_page).first;
    sim_step(w, t->rank, &event);
}

void sim_wake(struct sim_world *w, dsm_rank_t rank, dsm_page_t unit, bool has_failed)
{
    struct sim_thread *t;

    for (t = w->threads; t; t = t->next) {
        if (t->rank != rank || t->state != SIM_THREAD_WAITS || t->waits_unit != unit)
            continue;
        if (!has_failed && w->ranks[rank].mapped[t->fault_page] == DSM_ACCESS_NONE)
            sim_fail(w, "rank %u wakes a thread for page %lu, which is not mapped", rank,
                     (unsigned long)t->fault_page);
        t->state = SIM_THREAD_WOKEN;
        t->has_failed = has_failed;
        w->n_failures += has_failed;
        plan(t, SIM_EV_RESUMED, sim_pick(w, &w->config.resume));
    }
}

void sim_resumed(struct sim_world *w, struct sim_thread *t)
{
    static const struct sim_delay instruction = {50, 1500};
    struct dsm_event event = {.type = DSM_EVENT_RESUMED,
                              .resumed = {.page = t->fault_page, .thread = &t->core_thread}};

    sim_step(w, t->rank, &event);
    if (t->has_failed) {
        t->state = SIM_THREAD_ENDED;
        return;
    }
    t->state = SIM_THREAD_RUNS;
    plan(t, SIM_EV_ATTEMPT, w->config.is_transcribed ? 0 : sim_pick(w, &instruction));
}

/* ---- locks: what the runtime does with a token that is lent to it */

static struct sim_lock *lock_of(struct sim_world *w, dsm_rank_t rank, uint64_t id)
{
    struct sim_lock *l;

    for (l = w->locks; l; l = l->next)
        if (l->rank == rank && l->id == id)
            return l;
    l = calloc(1, sizeof *l);
    l->rank = rank;
    l->id = id;
    l->next = w->locks;
    w->locks = l;
    return l;
}

static void step_lock(struct sim_world *w, struct sim_lock *l, enum dsm_event_type type)
{
    struct dsm_event event = {.type = type, .lock.id = l->id};

    sim_step(w, l->rank, &event);
}

static void ask_for_lock(struct sim_world *w, struct sim_lock *l)
{
    if (l->is_asked || l->is_lent)
        return;
    l->is_asked = true;
    step_lock(w, l, DSM_EVENT_LOCK_ACQUIRE);
}

/* The next local thread gets it. */
static void pass_on_locally(struct sim_world *w, struct sim_lock *l)
{
    struct sim_thread *t = l->queue;
    struct sim_lock *other;

    l->queue = t->next_in_queue;
    t->next_in_queue = NULL;
    l->holder = t;
    l->is_used = true;
    for (other = w->locks; other; other = other->next)
        if (other != l && other->id == l->id && (other->holder || other->is_lent))
            sim_fail(w, "lock %lu is at ranks %u and %u at once", (unsigned long)l->id, l->rank,
                     other->rank);
    end_op(t);
}

static void give_back(struct sim_world *w, struct sim_lock *l)
{
    struct dsm_event event = {.type = DSM_EVENT_LOCK_RETURNED,
                              .lock = {.id = l->id, .wants_again = l->queue != NULL}};

    l->is_lent = l->is_recalled = l->is_expected = false;
    sim_step(w, l->rank, &event);
    if (l->queue)
        ask_for_lock(w, l);
}

static bool may_take(const struct sim_lock *l)
{
    return l->is_lent && !l->holder && !l->is_recalled && !(l->is_expected && l->is_used);
}

void sim_lock_lent(struct sim_world *w, dsm_rank_t rank, uint64_t id,
                   const struct dsm_message *grant)
{
    struct sim_lock *l = lock_of(w, rank, id);
    uint64_t fence = grant->txn;

    l->is_asked = false;
    l->is_lent = true;
    l->is_expected = grant->flags & DSM_MSG_F_WANTED;
    l->is_used = false;
    if (id < w->n_fences) {
        if (fence <= w->fences[id])
            sim_fail(w, "lock %lu: fencing number %lu after %lu", (unsigned long)id,
                     (unsigned long)fence, (unsigned long)w->fences[id]);
        w->fences[id] = fence;
    }
    if (l->queue)
        pass_on_locally(w, l);
}

void sim_lock_recalled(struct sim_world *w, dsm_rank_t rank, uint64_t id)
{
    struct sim_lock *l = lock_of(w, rank, id);

    l->is_recalled = true;
    l->is_expected = false;
    if (!l->holder)
        give_back(w, l);
}

void sim_lock_lost(struct sim_world *w, dsm_rank_t rank, uint64_t id)
{
    struct sim_lock *l = lock_of(w, rank, id);

    l->is_asked = false;
    while (l->queue) {
        struct sim_thread *t = l->queue;

        l->queue = t->next_in_queue;
        t->state = SIM_THREAD_ENDED;
        t->has_failed = true;
    }
}

static void take_lock(struct sim_thread *t)
{
    struct sim_world *w = t->world;
    struct sim_lock *l = lock_of(w, t->rank, t->op.id);
    struct sim_thread **at = &l->queue;

    t->state = SIM_THREAD_WAITS_LOCK;
    while (*at)
        at = &(*at)->next_in_queue;
    *at = t;
    if (may_take(l))
        pass_on_locally(w, l);
    else
        ask_for_lock(w, l);
}

static void release_lock(struct sim_thread *t)
{
    struct sim_world *w = t->world;
    struct sim_lock *l = lock_of(w, t->rank, t->op.id);

    if (l->holder != t)
        sim_fail(w, "rank %u releases lock %lu that it does not hold", t->rank,
                 (unsigned long)l->id);
    l->holder = NULL;
    if (l->is_recalled)
        give_back(w, l);
    else if (l->queue && may_take(l))
        pass_on_locally(w, l);
    end_op(t);
}

/* ---- collectives of all ranks */

static void enter_collective(struct sim_thread *t)
{
    struct sim_world *w = t->world;
    struct sim_rank *r = &w->ranks[t->rank];
    struct dsm_event event = {.type = DSM_EVENT_COLLECTIVE,
                              .collective = {.kind = t->op.collective,
                                             .n_members = w->config.n_ranks,
                                             .self_index = t->rank,
                                             .root_index = t->op.root}};

    t->state = SIM_THREAD_WAITS_COLLECTIVE;
    r->collective_thread = t;
    r->n_collectives++;
    /* What it brings: its rank + 1, so that sums and broadcasts can be told. */
    r->payload = t->rank + 1;
    sim_step(w, t->rank, &event);
}

static void check_collective(struct sim_world *w, const struct sim_thread *t)
{
    const struct sim_rank *r = &w->ranks[t->rank];
    uint64_t n = w->config.n_ranks, expected = r->payload;
    dsm_rank_t other;

    for (other = 0; other < n; other++)
        if (w->ranks[other].n_collectives < r->n_collectives && !w->ranks[other].is_dead)
            sim_fail(w, "rank %u leaves collective %lu before rank %u entered it", t->rank,
                     (unsigned long)r->n_collectives, other);
    if (t->op.collective == DSM_COLLECTIVE_BCAST)
        expected = t->op.root + 1;
    else if (t->op.collective == DSM_COLLECTIVE_ALLREDUCE)
        expected = n * (n + 1) / 2;
    if (r->payload != expected)
        sim_fail(w, "rank %u leaves a collective with %lu instead of %lu", t->rank,
                 (unsigned long)r->payload, (unsigned long)expected);
}

void sim_collective_done(struct sim_world *w, dsm_rank_t rank, const struct dsm_action *a)
{
    struct sim_thread *t = w->ranks[rank].collective_thread;

    w->ranks[rank].collective_thread = NULL;
    if (!t) {
        sim_fail(w, "rank %u leaves a collective that it is not in", rank);
        return;
    }
    if (a->error) {
        t->state = SIM_THREAD_ENDED;
        t->has_failed = true;
        return;
    }
    check_collective(w, t);
    end_op(t);
}

/* ---- synchronisation objects */

static void ask_object(struct sim_thread *t)
{
    struct sim_world *w = t->world;
    struct dsm_event event = {.type = DSM_EVENT_SYNC,
                              .sync = {.id = t->op.id,
                                       .kind = t->op.sync_kind,
                                       .op = t->op.sync_op,
                                       .a = t->op.a,
                                       .b = t->op.b}};
    bool is_release = t->op.sync_op == DSM_SYNC_OP_READ_UNLOCK ||
                      t->op.sync_op == DSM_SYNC_OP_WRITE_UNLOCK ||
                      t->op.sync_op == DSM_SYNC_OP_ABANDON;

    if (!t->request)
        t->request = ++w->n_requests;
    event.sync.request = is_release ? 0 : t->request;
    t->error = 0;
    t->state = is_release ? SIM_THREAD_RUNS : SIM_THREAD_WAITS_SYNC;
    if (t->op.patience_ns)
        plan(t, SIM_EV_GIVE_UP, t->op.patience_ns)->unit = t->n_done;
    sim_step(w, t->rank, &event);
    if (is_release)
        end_op(t);
}

void sim_give_up(struct sim_world *w, struct sim_thread *t, uint64_t op)
{
    struct dsm_event event = {.type = DSM_EVENT_SYNC_CANCEL, .sync.request = t->request};

    if (t->state == SIM_THREAD_WAITS_SYNC && t->n_done == op)
        sim_step(w, t->rank, &event);
}

void sim_sync_done(struct sim_world *w, dsm_rank_t rank, const struct dsm_action *a)
{
    struct sim_thread *t = w->threads;

    while (t && (t->request != a->id || t->rank != rank))
        t = t->next;
    if (!t || t->state != SIM_THREAD_WAITS_SYNC) {
        sim_fail(w, "rank %u has an answer, %lu, that nobody waits for", rank,
                 (unsigned long)a->id);
        return;
    }
    t->error = a->error;
    t->value = a->message.txn;
    if (a->error == DSM_E_PEER || a->error == DSM_E_GONE) {
        t->state = SIM_THREAD_ENDED;
        t->has_failed = true;
        return;
    }
    end_op(t);
}

int sim_thread_error(const struct sim_thread *t)
{
    return t->error;
}

uint64_t sim_thread_value(const struct sim_thread *t)
{
    return t->value;
}

/* ---- what a thread does next */

static void do_op(struct sim_thread *t)
{
    switch (t->op.kind) {
    case SIM_OP_ACCESS:
        if (find_missing(t)) {
            plan(t, SIM_EV_FAULT, t->world->config.is_transcribed ? 0 : 100);
            return;
        }
        access_pages(t);
        if (t->world->now_ns - t->op_began_ns > t->world->longest_wait_ns)
            t->world->longest_wait_ns = t->world->now_ns - t->op_began_ns;
        end_op(t);
        return;
    case SIM_OP_LOCK:
        take_lock(t);
        return;
    case SIM_OP_UNLOCK:
        release_lock(t);
        return;
    case SIM_OP_COLLECTIVE:
        enter_collective(t);
        return;
    case SIM_OP_SYNC:
        ask_object(t);
        return;
    case SIM_OP_PREFETCH:
        sim_prefetch(t->world, t->rank, t->op.pages[0], t->op.n_pages,
                     t->op.writes[0] ? DSM_ACCESS_WRITE : DSM_ACCESS_READ);
        end_op(t);
        return;
    case SIM_OP_END:
        t->state = SIM_THREAD_ENDED;
        return;
    }
}

void sim_attempt(struct sim_world *w, struct sim_thread *t)
{
    if (t->has_op) {
        do_op(t);
        return;
    }
    t->op = (struct sim_op){.kind = SIM_OP_END};
    t->program(w, t, &t->op);
    t->has_op = true;
    if (t->op.kind == SIM_OP_END)
        do_op(t);
    else
        t->op_began_ns = plan(t, SIM_EV_ATTEMPT, sim_pick(w, &w->config.think))->at_ns;
}

/* ---- given operations by a thread of its own */

static void play_script(struct sim_world *w, struct sim_thread *t, struct sim_op *op_out)
{
    (void)w;
    if (t->n_done < t->n_script)
        *op_out = t->script[t->n_done];
}

struct sim_thread *sim_play(struct sim_world *w, dsm_rank_t rank, const struct sim_op *ops,
                            uint32_t n_ops)
{
    struct sim_thread *t = sim_thread_add(w, rank, play_script, NULL);

    t->script = ops;
    t->n_script = n_ops;
    return t;
}

static struct sim_thread *start_script(struct sim_world *w, dsm_rank_t rank, dsm_page_t page,
                                       bool is_write)
{
    struct sim_thread *t = sim_play(w, rank, NULL, 1);

    t->own_op = (struct sim_op){.kind = SIM_OP_ACCESS,
                                .n_pages = 1,
                                .pages = {page},
                                .writes = {is_write},
                                .ip = 1 + (uint64_t)is_write};
    t->script = &t->own_op;
    return t;
}

struct sim_thread *sim_read(struct sim_world *w, dsm_rank_t rank, dsm_page_t page)
{
    return start_script(w, rank, page, false);
}

struct sim_thread *sim_write(struct sim_world *w, dsm_rank_t rank, dsm_page_t page)
{
    return start_script(w, rank, page, true);
}

bool sim_is_waiting(const struct sim_thread *t)
{
    return t->state == SIM_THREAD_WAITS || t->state == SIM_THREAD_WAITS_LOCK ||
           t->state == SIM_THREAD_WAITS_COLLECTIVE || t->state == SIM_THREAD_WAITS_SYNC;
}

bool sim_has_failed(const struct sim_thread *t)
{
    return t->has_failed;
}

void *sim_thread_user(const struct sim_thread *t)
{
    return t->user;
}

dsm_rank_t sim_thread_rank(const struct sim_thread *t)
{
    return t->rank;
}

uint64_t sim_thread_ops_done(const struct sim_thread *t)
{
    return t->n_done;
}

uint64_t sim_failures(const struct sim_world *w)
{
    return w->n_failures;
}

uint64_t sim_longest_wait_ns(const struct sim_world *w)
{
    return w->longest_wait_ns;
}
