/* SPDX-License-Identifier: BSD-3-Clause */
/* driver.c - carries out what the cores decide, each thing after its delay, and the lanes. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "core/trace.h"
#include "tests/sim/world_impl.h"

/* ---- lanes */

static struct sim_channel *channel(struct sim_world *w, dsm_rank_t from, dsm_rank_t to,
                                   enum dsm_lane lane)
{
    struct sim_channel **c =
        &w->channels[((size_t)from * w->config.n_ranks + to) * DSM_N_LANES + lane];

    if (!*c)
        *c = calloc(1, sizeof **c);
    return *c;
}

static void enter_flight(struct sim_world *w, struct sim_event *ev)
{
    struct sim_rank *r = &w->ranks[ev->rank];

    ev->flight_next = r->flight;
    if (r->flight)
        r->flight->flight_prev = ev;
    r->flight = ev;
}

static void leave_flight(struct sim_world *w, struct sim_event *ev)
{
    if (ev->flight_prev)
        ev->flight_prev->flight_next = ev->flight_next;
    else
        w->ranks[ev->rank].flight = ev->flight_next;
    if (ev->flight_next)
        ev->flight_next->flight_prev = ev->flight_prev;
}

/* The key with which a driver lets bytes be written into its frames, for this request alone. */
static uint32_t key_of(dsm_rank_t asker, uint32_t request)
{
    return asker * 0x9e3779b1u + request;
}

/* The reply lane is read by threads that wait alone: so what is answered there is asked for only
 * while one waits for it. */
static void check_is_waited(struct sim_world *w, const struct dsm_message *m)
{
    const struct sim_thread *t = w->threads;

    while (t && (t->rank != m->from || t->state != SIM_THREAD_WAITS || t->waits_unit != m->object))
        t = t->next;
    if (!t)
        sim_fail(w, "rank %u asks for unit %lu on the reply lane, but no thread waits for it",
                 m->from, (unsigned long)m->object);
}

static void send_message(struct sim_world *w, dsm_rank_t to, enum dsm_lane lane,
                         const struct dsm_message *m, uint64_t *values)
{
    struct sim_channel *c = channel(w, m->from, to, lane);
    uint64_t at_ns = w->now_ns + sim_pick(w, &w->config.net);
    bool is_ours = m->type == DSM_MSG_REQUEST || (m->type == DSM_MSG_FORWARD && m->peer == m->from);
    struct sim_event *ev;

    if (is_ours && !(m->flags & DSM_MSG_F_ASYNC))
        check_is_waited(w, m);
    if (at_ns < c->last_ns)
        at_ns = c->last_ns;
    ev = sim_at(w, at_ns, SIM_EV_DELIVER, to);
    ev->m = *m;
    if (is_ours)
        ev->m.key = key_of(m->from, m->request);
    ev->lane = lane;
    ev->values = values;
    enter_flight(w, ev);
    c->last_ns = m->len ? at_ns + sim_pick(w, &w->config.payload) : at_ns;
    ev->payload_ns = c->last_ns;
}

void sim_deliver(struct sim_world *w, struct sim_event *ev)
{
    struct sim_channel *c = channel(w, ev->m.from, ev->rank, ev->lane);
    struct dsm_event event = {.type = DSM_EVENT_MESSAGE, .now_ns = w->now_ns, .message = &ev->m};
    struct sim_rank *r = &w->ranks[ev->rank];
    const struct sim_event *outer = w->delivered;
    int error;

    if (c->is_blocked) {
        ev->is_kept = true;
        if (c->blocked_tail)
            c->blocked_tail->blocked_next = ev;
        else
            c->blocked_head = ev;
        c->blocked_tail = ev;
        return;
    }
    leave_flight(w, ev);
    if (r->is_dead || w->ranks[ev->m.from].is_dead)
        return;
    w->n_delivered++;
    if (ev->m.type == DSM_MSG_COLLECTIVE && ev->m.len)
        r->mailbox[ev->m.txn & 1][ev->m.count] = ev->values[0];
    w->delivered = ev;
    error = sim_step(w, ev->rank, &event);
    w->delivered = outer;
    if (error) {
        char text[200];

        dsm_trace_message(&ev->m, text, sizeof text);
        sim_fail(w, "rank %u refuses with error %d what %u sent: %s", ev->rank, error, ev->m.from,
                 text);
    }
}

static void receive(struct sim_world *w, dsm_rank_t rank, const struct dsm_action *a)
{
    struct sim_rank *r = &w->ranks[rank];
    const struct dsm_message *m = &a->message;
    uint32_t n = m->len / DSM_PAGE_BYTES, first = m->offset / DSM_PAGE_BYTES, i;
    uint64_t at_ns = w->delivered->payload_ns;
    struct sim_event *ev = sim_at(w, at_ns < w->now_ns ? w->now_ns : at_ns, SIM_EV_RECEIVED, rank);

    ev->m = *m;
    ev->values = malloc(n * sizeof *ev->values);
    memcpy(ev->values, w->delivered->values, n * sizeof *ev->values);
    for (i = 0; i < n; i++) {
        if (r->mapped[a->page + first + i] != DSM_ACCESS_NONE)
            sim_fail(w, "rank %u receives into page %lu, which its program can see", rank,
                     (unsigned long)(a->page + first + i));
        r->frames[a->page + first + i] = SIM_FRAME_MIXED;
    }
}

void sim_received(struct sim_world *w, struct sim_event *ev)
{
    struct dsm_event event = {.type = DSM_EVENT_RECEIVED,
                              .now_ns = w->now_ns,
                              .received = {.unit = ev->m.object, .len = ev->m.len}};
    uint32_t n = ev->m.len / DSM_PAGE_BYTES, first = ev->m.offset / DSM_PAGE_BYTES, i;

    for (i = 0; i < n; i++)
        w->ranks[ev->rank].frames[ev->m.object + first + i] = ev->values[i];
    sim_step(w, ev->rank, &event);
}

/* ---- effects */

/* The action is on a->message.count units where it sends the bytes of a run. */
static void plan_effect(struct sim_world *w, dsm_rank_t rank, const struct dsm_action *a)
{
    struct sim_rank *r = &w->ranks[rank];
    uint64_t at_ns = w->now_ns + sim_pick(w, &w->config.effect), done_ns, i;
    uint32_t n_units = a->type == DSM_ACTION_SEND_BYTES ? a->message.count : 1;
    uint64_t unit_pages = a->n_pages / n_units;
    struct sim_event *ev;

    for (i = 0; i < a->n_pages; i += unit_pages)
        if (at_ns < r->effect_ns[a->page + i])
            at_ns = r->effect_ns[a->page + i];
    /* The bytes may leave much later than their turn; what is decided behind them does not wait. */
    if (a->type == DSM_ACTION_SEND_BYTES)
        at_ns += sim_pick(w, &w->config.payload);
    else
        r->effect_ns[a->page] = at_ns;
    done_ns = at_ns + sim_pick(w, &w->config.done);
    for (i = 0; i < a->n_pages; i += unit_pages)
        if (done_ns < r->done_ns[a->page + i])
            done_ns = r->done_ns[a->page + i];
    for (i = 0; i < a->n_pages; i += unit_pages)
        r->done_ns[a->page + i] = done_ns;
    ev = sim_at(w, at_ns, SIM_EV_EFFECT, rank);
    ev->action = *a;
    ev = sim_at(w, done_ns, SIM_EV_DONE, rank);
    ev->unit = a->page;
    ev->n_units = n_units;
}

static void map(struct sim_world *w, dsm_rank_t rank, const struct dsm_action *a, dsm_page_t page)
{
    struct sim_rank *r = &w->ranks[rank];

    if (a->is_zero) {
        if (r->frames[page] > SIM_FRAME_ZERO)
            sim_fail(w, "rank %u: zero grant over a frame with content, page %lu", rank,
                     (unsigned long)page);
        r->frames[page] = SIM_FRAME_ZERO;
    }
    if (r->frames[page] == SIM_FRAME_ABSENT || r->frames[page] == SIM_FRAME_MIXED)
        sim_fail(w, "rank %u maps page %lu without content", rank, (unsigned long)page);
    r->mapped[page] = a->type == DSM_ACTION_MAP_READ ? DSM_ACCESS_READ : DSM_ACCESS_WRITE;
}

static void change_page(struct sim_world *w, dsm_rank_t rank, const struct dsm_action *a,
                        dsm_page_t page)
{
    struct sim_rank *r = &w->ranks[rank];

    switch (a->type) {
    case DSM_ACTION_MAP_READ:
    case DSM_ACTION_MAP_WRITE:
        map(w, rank, a, page);
        return;
    case DSM_ACTION_DOWNGRADE:
        if (r->mapped[page] == DSM_ACCESS_WRITE)
            r->mapped[page] = DSM_ACCESS_READ;
        return;
    case DSM_ACTION_UNMAP:
        r->mapped[page] = DSM_ACCESS_NONE;
        return;
    case DSM_ACTION_PUNCH:
        if (r->mapped[page] != DSM_ACCESS_NONE)
            sim_fail(w, "rank %u gives back a mapped page %lu", rank, (unsigned long)page);
        r->frames[page] = SIM_FRAME_ABSENT;
        return;
    default:
        return;
    }
}

/* From now on the bytes may be written into the asker's frame. */
static void check_may_land(struct sim_world *w, const struct dsm_action *a)
{
    struct dsm_core_unit_info info;
    dsm_page_t page;

    if (w->n_dead > 0)
        return; /* keys of before are worth nothing */
    for (page = a->page; page < a->page + a->n_pages; page++) {
        dsm_core_inspect(w->cores[a->to], page, &info);
        if (a->message.key != key_of(a->to, a->message.request) ||
            info.request != a->message.request || w->ranks[a->to].mapped[page] != DSM_ACCESS_NONE)
            sim_fail(w,
                     "bytes of page %lu go to rank %u with key %x for request %u while its request "
                     "%u is under way",
                     (unsigned long)page, a->to, a->message.key, a->message.request, info.request);
    }
}

/* Cuts the unit in chunks, as the runtime does. */
static void send_bytes(struct sim_world *w, dsm_rank_t rank, const struct dsm_action *a)
{
    struct sim_rank *r = &w->ranks[rank];
    uint32_t offset, i;

    check_may_land(w, a);
    for (offset = 0; offset < a->message.count * a->message.room;
         offset += DSM_MESSAGE_CHUNK_BYTES) {
        struct dsm_message m = a->message;
        uint32_t left = a->message.count * a->message.room - offset;
        dsm_page_t first = a->page + offset / DSM_PAGE_BYTES;
        uint64_t *values;

        m.key = 0; /* it is not in the header */
        m.offset = offset;
        m.len = left < DSM_MESSAGE_CHUNK_BYTES ? left : DSM_MESSAGE_CHUNK_BYTES;
        values = malloc(m.len / DSM_PAGE_BYTES * sizeof *values);
        for (i = 0; i < m.len / DSM_PAGE_BYTES; i++) {
            values[i] = r->frames[first + i];
            if (values[i] == SIM_FRAME_ABSENT || values[i] == SIM_FRAME_MIXED ||
                r->mapped[first + i] == DSM_ACCESS_WRITE)
                sim_fail(w, "rank %u sends page %lu, which is absent, mixed or writable", rank,
                         (unsigned long)(first + i));
        }
        send_message(w, a->to, (enum dsm_lane)a->lane, &m, values);
    }
}

void sim_do_effect(struct sim_world *w, struct sim_event *ev)
{
    const struct dsm_action *a = &ev->action;
    uint64_t i;

    for (i = 0; i < a->n_pages; i++)
        change_page(w, ev->rank, a, a->page + i);
    if (a->type == DSM_ACTION_SEND_BYTES)
        send_bytes(w, ev->rank, a);
    sim_check_page(w, a->page);
}

/* ---- actions */

static void drop_range(struct sim_world *w, dsm_rank_t rank, const struct dsm_action *a)
{
    uint64_t i;

    for (i = 0; i < a->n_pages; i++) {
        w->ranks[rank].mapped[a->page + i] = DSM_ACCESS_NONE;
        w->ranks[rank].frames[a->page + i] = SIM_FRAME_ABSENT;
        w->last_write[a->page + i] = 0;
    }
}

static void send_collective(struct sim_world *w, dsm_rank_t rank, const struct dsm_action *a)
{
    struct dsm_message m = a->message;
    uint64_t *values = NULL;

    if (a->has_payload) {
        m.len = sizeof *values;
        values = malloc(sizeof *values);
        *values = w->ranks[rank].payload;
    }
    send_message(w, a->to, (enum dsm_lane)a->lane, &m, values);
}

static void act(struct sim_world *w, dsm_rank_t rank, const struct dsm_action *a)
{
    struct sim_rank *r = &w->ranks[rank];

    switch (a->type) {
    case DSM_ACTION_MAP_READ:
    case DSM_ACTION_MAP_WRITE:
    case DSM_ACTION_DOWNGRADE:
    case DSM_ACTION_UNMAP:
    case DSM_ACTION_PUNCH:
    case DSM_ACTION_SEND_BYTES:
        plan_effect(w, rank, a);
        return;
    case DSM_ACTION_SEND:
        send_message(w, a->to, (enum dsm_lane)a->lane, &a->message, NULL);
        return;
    case DSM_ACTION_RECEIVE:
        receive(w, rank, a);
        return;
    case DSM_ACTION_DISCARD:
        return;
    case DSM_ACTION_WAKE:
        sim_wake(w, rank, a->page, false);
        return;
    case DSM_ACTION_LOST:
    case DSM_ACTION_MEMORY_FULL:
        sim_wake(w, rank, a->page, true);
        return;
    case DSM_ACTION_TIMER:
        r->timer_ns = a->at_ns;
        if (a->at_ns != UINT64_MAX)
            sim_at(w, a->at_ns < w->now_ns ? w->now_ns : a->at_ns, SIM_EV_TIMER, rank)->unit =
                a->at_ns;
        return;
    case DSM_ACTION_LOCK_LEND:
        sim_lock_lent(w, rank, a->id, &a->message);
        return;
    case DSM_ACTION_LOCK_RECALL:
        sim_lock_recalled(w, rank, a->id);
        return;
    case DSM_ACTION_LOCK_LOST:
        sim_lock_lost(w, rank, a->id);
        return;
    case DSM_ACTION_LOCK_BUSY:
        sim_fail(w, "rank %u hears that a lock is busy, and nobody tries it", rank);
        return;
    case DSM_ACTION_SYNC_DONE:
        sim_sync_done(w, rank, a);
        return;
    case DSM_ACTION_SYNC_QUEUED:
        return;
    case DSM_ACTION_COLLECTIVE_SEND:
        send_collective(w, rank, a);
        return;
    case DSM_ACTION_COLLECTIVE_COMBINE:
        r->payload += r->mailbox[a->message.txn & 1][a->message.count];
        return;
    case DSM_ACTION_COLLECTIVE_TAKE:
        r->payload = r->mailbox[a->message.txn & 1][a->message.count];
        return;
    case DSM_ACTION_COLLECTIVE_DONE:
        sim_collective_done(w, rank, a);
        return;
    case DSM_ACTION_DROP_RANGE:
        drop_range(w, rank, a);
        return;
    case DSM_ACTION_DROPPED:
        w->n_dropped++;
        return;
    }
}

/* What the message says about units from m->object on. */
static void check_run(struct sim_world *w, const struct dsm_message *m)
{
    uint32_t n = m->type == DSM_MSG_FORWARD || m->type == DSM_MSG_GRANT ? m->count : 1, i;
    uint64_t unit_pages;

    if (m->object >= w->config.n_pages)
        return;
    unit_pages = dsm_placement_unit(w->placement, m->object).n_pages;
    for (i = 0; i < n && m->object + i * unit_pages < w->config.n_pages; i++)
        sim_check_page(w, m->object + i * unit_pages);
}

/* Joins the bytes of adjacent units in one grant, as the runtime does; here not always. They leave
 * when the last of them would, after all that is to be done about the others before; what is joined
 * stays in the list without pages. */
static void join_bytes(struct sim_world *w, struct dsm_action *actions, uint32_t n, uint32_t at)
{
    struct dsm_action *a = &actions[at];
    struct dsm_action *last = a;
    uint32_t i;

    for (i = at + 1; i < n; i++) {
        struct dsm_action *b = &actions[i];

        if (b->type != DSM_ACTION_SEND_BYTES)
            continue;
        if (b->page != a->page + a->n_pages || b->to != a->to || b->lane != a->lane ||
            b->message.request != a->message.request || b->message.txn != a->message.txn ||
            b->message.flags != a->message.flags || b->message.access != a->message.access ||
            b->message.acks != a->message.acks || b->message.room != a->message.room ||
            (a->message.count + 1) * a->message.room > DSM_MESSAGE_CHUNK_BYTES ||
            dsm_rng_below(&w->rng, 4) == 0)
            break;
        a->n_pages += b->n_pages;
        a->message.count++;
        b->n_pages = 0;
        last = b;
    }
    if (last != a) {
        *last = *a;
        a->n_pages = 0;
    }
}

static bool is_worth_a_line(const struct dsm_event *event)
{
    switch (event->type) {
    case DSM_EVENT_MESSAGE:
    case DSM_EVENT_RECEIVED:
    case DSM_EVENT_DONE:
    case DSM_EVENT_RESUMED:
    case DSM_EVENT_TIMER:
        return false;
    default:
        return true;
    }
}

static void check_pages(struct sim_world *w, dsm_rank_t rank, const struct dsm_event *event,
                        const struct dsm_action *actions, uint32_t n)
{
    uint32_t i;

    if (w->config.is_unchecked)
        return;
    if (event->type == DSM_EVENT_MESSAGE && event->message->type <= DSM_MSG_OFFER_REPLY)
        check_run(w, event->message);
    else if (event->type == DSM_EVENT_DONE)
        sim_check_page(w, event->done.unit);
    for (i = 0; i < n; i++)
        if (actions[i].type <= DSM_ACTION_LOST && actions[i].message.type <= DSM_MSG_OFFER_REPLY)
            sim_check_page(w, actions[i].page);
    if (dsm_invariant_check_rank(w->cores[rank]) != DSM_INVARIANT_NONE)
        sim_fail(w, "rank %u: violated: %s", rank,
                 dsm_invariant_text(dsm_invariant_check_rank(w->cores[rank])));
}

int sim_step(struct sim_world *w, dsm_rank_t rank, struct dsm_event *event)
{
    struct dsm_action *actions;
    char line[256];
    uint32_t n, i;
    int error;

    w->n_steps++;
    w->actions.n = 0;
    event->now_ns = w->now_ns;
    error = dsm_core_step(w->ranks[rank].core, event, &w->actions);
    n = w->actions.n;
    if (w->config.is_transcribed && is_worth_a_line(event)) {
        dsm_trace_event(rank, event, line, sizeof line);
        sim_note(w, line);
    }
    if (error || n == 0) {
        if (error && event->type != DSM_EVENT_MESSAGE && event->type != DSM_EVENT_PIN)
            sim_fail(w, "rank %u: a step fails with %d", rank, error);
        check_pages(w, rank, event, NULL, 0);
        return error;
    }
    actions = malloc(n * sizeof *actions);
    memcpy(actions, w->actions.items, n * sizeof *actions);
    for (i = 0; i < n; i++) {
        if (w->config.is_transcribed) {
            dsm_trace_action(rank, &actions[i], line, sizeof line);
            sim_note(w, line);
        }
        if (actions[i].type == DSM_ACTION_SEND_BYTES) {
            if (actions[i].n_pages == 0)
                continue;
            if (w->config.has_runs && actions[i].message.count == 1)
                join_bytes(w, actions, n, i);
            if (actions[i].n_pages == 0)
                continue;
        }
        act(w, rank, &actions[i]);
    }
    check_pages(w, rank, event, actions, n);
    free(actions);
    return 0;
}

/* ---- vocabulary */

void sim_block(struct sim_world *w, dsm_rank_t from, dsm_rank_t to, enum dsm_lane lane)
{
    channel(w, from, to, lane)->is_blocked = true;
    w->n_blocked++;
}

void sim_unblock(struct sim_world *w, dsm_rank_t from, dsm_rank_t to, enum dsm_lane lane)
{
    struct sim_channel *c = channel(w, from, to, lane);
    struct sim_event *ev = c->blocked_head;

    c->is_blocked = false;
    c->blocked_head = c->blocked_tail = NULL;
    w->n_blocked--;
    while (ev) {
        struct sim_event *next = ev->blocked_next;

        ev->is_kept = false;
        ev->blocked_next = NULL;
        ev->at_ns = w->now_ns;
        sim_push_again(w, ev);
        ev = next;
    }
    if (c->last_ns < w->now_ns)
        c->last_ns = w->now_ns;
}

void sim_reclaim(struct sim_world *w, dsm_rank_t rank, dsm_page_t page)
{
    w->ranks[rank].mapped[page] = DSM_ACCESS_NONE;
}

void sim_kill(struct sim_world *w, dsm_rank_t rank)
{
    dsm_rank_t other;

    w->ranks[rank].is_dead = true;
    w->cores[rank] = NULL;
    w->n_dead++;
    for (other = 0; other < w->config.n_ranks; other++)
        if (other != rank && !w->ranks[other].is_dead)
            sim_at(w, w->now_ns + sim_pick(w, &w->config.net), SIM_EV_VIEW, other)->unit = rank;
}

void sim_message_init(const struct sim_world *w, struct dsm_message *m, dsm_rank_t from,
                      enum dsm_message_type type, uint64_t object)
{
    (void)w;
    *m = (struct dsm_message){.type = (uint8_t)type,
                              .epoch = 1,
                              .job = 77,
                              .from = from,
                              .object = object,
                              .count = 1,
                              .peer = DSM_RANK_NONE};
}

int sim_forge(struct sim_world *w, dsm_rank_t to, const struct dsm_message *m)
{
    struct dsm_event event = {.type = DSM_EVENT_MESSAGE, .message = m};
    struct sim_event forged = {.m = *m, .payload_ns = w->now_ns};
    int error;

    forged.values = calloc(DSM_UNIT_MAX_PAGES, sizeof *forged.values);
    w->delivered = &forged;
    error = sim_step(w, to, &event);
    w->delivered = NULL;
    free(forged.values);
    return error;
}

void sim_prefetch(struct sim_world *w, dsm_rank_t rank, dsm_page_t first, uint64_t n_pages,
                  uint8_t access)
{
    sim_prefetch_by(w, rank, first, n_pages, access, 0);
}

void sim_prefetch_by(struct sim_world *w, dsm_rank_t rank, dsm_page_t first, uint64_t n_pages,
                     uint8_t access, uint64_t deadline_ns)
{
    struct dsm_event event = {
        .type = DSM_EVENT_PREFETCH,
        .prefetch = {
            .first = first, .n_pages = n_pages, .access = access, .deadline_ns = deadline_ns}};

    sim_step(w, rank, &event);
}

void sim_advise(struct sim_world *w, dsm_rank_t rank, dsm_page_t first, uint64_t n_pages,
                enum dsm_advice_kind kind)
{
    dsm_advice_set(&w->ranks[rank].advice, first, n_pages, kind);
}

int sim_pin(struct sim_world *w, dsm_rank_t rank, dsm_page_t page, uint8_t access,
            uint64_t until_ns)
{
    struct dsm_event event = {.type = DSM_EVENT_PIN,
                              .pin = {.page = page, .access = access, .until_ns = until_ns}};

    return sim_step(w, rank, &event);
}

void sim_unpin(struct sim_world *w, dsm_rank_t rank, dsm_page_t page)
{
    struct dsm_event event = {.type = DSM_EVENT_UNPIN, .pin = {.page = page}};

    sim_step(w, rank, &event);
}

void sim_drop(struct sim_world *w, dsm_rank_t rank, dsm_page_t first, uint64_t n_pages,
              uint64_t serial)
{
    struct dsm_event event = {.type = DSM_EVENT_DROP,
                              .drop = {.first = first, .n_pages = n_pages, .serial = serial}};

    sim_step(w, rank, &event);
}

uint32_t sim_drops_done(const struct sim_world *w)
{
    return w->n_dropped;
}
