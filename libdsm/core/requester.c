/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * requester.c - this rank asks for a unit: faults, grants, acknowledgements, bytes.
 *
 * One request per unit is on its way, however many threads want the unit. A grant is finished when
 * it is here with all its bytes and all its acknowledgements, in whatever order they came.
 * Everything that answers another request than the one on its way is stale and thrown away.
 */
#include "core/state.h"

uint32_t dsm_request_number(struct dsm_core *core)
{
    if (++core->next_request == 0)
        ++core->next_request;
    return core->next_request;
}

struct dsm_pending *dsm_request_open(struct dsm_step *s, struct dsm_copy *copy, uint8_t access,
                                     uint32_t request, bool is_async)
{
    struct dsm_core *core = s->core;
    struct dsm_pending *pending;

    assert(!copy->pending);
    copy->pending = dsm_take(core, sizeof *pending);
    pending = dsm_at(core, copy->pending);
    pending->request = request;
    pending->access = access;
    pending->is_async = is_async;
    pending->is_remote = copy->home != core->config.self;
    pending->has_copy = copy->state != DSM_COPY_ABSENT;
    pending->granted_by = DSM_RANK_NONE;
    pending->offered_by = DSM_RANK_NONE;
    if (is_async && access != DSM_ACCESS_OWN)
        core->prefetch_in_flight++;
    core->demands_in_flight += !is_async;
    pending->took_frame = !(copy->flags & DSM_COPY_F_FRAME);
    dsm_copy_set_frame(core, copy, true);
    return pending;
}

void dsm_request_drop(struct dsm_step *s, struct dsm_copy *copy)
{
    struct dsm_pending *pending = dsm_copy_pending(s->core, copy);

    if (pending->is_async && pending->access != DSM_ACCESS_OWN)
        s->core->prefetch_in_flight--;
    s->core->demands_in_flight -= !pending->is_async;
    if (pending->took_frame && pending->announced_bytes == 0 && copy->state == DSM_COPY_ABSENT)
        dsm_copy_set_frame(s->core, copy, false); /* it came to nothing */
    dsm_give(s->core, copy->pending, sizeof *pending);
    copy->pending = 0;
    dsm_drop_request_ended(s, copy);
}

static void ask_home(struct dsm_step *s, struct dsm_copy *copy, uint8_t access)
{
    uint32_t request = dsm_request_number(s->core);
    struct dsm_pending *pending = dsm_request_open(s, copy, access, request, false);
    struct dsm_message *m =
        dsm_emit_send(s, copy->home, DSM_LANE_REQUEST, DSM_MSG_REQUEST, copy->first);

    pending->is_waited = true;
    m->access = access;
    m->flags = pending->has_copy ? DSM_MSG_F_HAS_COPY : 0;
    if (dsm_advice_is_shared(dsm_advice_of(s->core, copy->first)) &&
        !dsm_planted(DSM_PLANT_ADVICE_UNSAID))
        m->flags |= DSM_MSG_F_SHARE;
    m->request = request;
    m->count = 1;
}

/* The first write to the only copy: nobody has to be asked. */
static void write_clean(struct dsm_step *s, struct dsm_copy *copy)
{
    dsm_copy_move(s->core, copy, DSM_COPY_OWNED_WRITE);
    dsm_emit_effect(s, copy, DSM_ACTION_MAP_WRITE);
    copy->flags |= DSM_COPY_F_MAPPED | DSM_COPY_F_WAKE | DSM_COPY_F_FRESH;
    s->core->counters.migratory_writes++;
}

/* A thread wants the unit, now or again after what it waited for has been carried out. */
void dsm_request_fault(struct dsm_step *s, struct dsm_copy *copy, uint8_t access)
{
    struct dsm_core *core = s->core;
    struct dsm_pending *pending = dsm_copy_pending(core, copy);

    if (access == DSM_ACCESS_WRITE && dsm_copy_is_write_marker(copy))
        dsm_ahead_unmark(copy); /* whoever heard of it or did not: it is written */
    if (core->drops && dsm_drop_covers(core, copy->first)) {
        dsm_request_lose(s, copy, DSM_E_RANGE, DSM_RANK_NONE);
        return;
    }
    if (access == DSM_ACCESS_WRITE && copy->state == DSM_COPY_OWNED_CLEAN && copy->n_effects == 0) {
        write_clean(s, copy);
        return;
    }
    if (dsm_copy_access(copy) >= access && copy->n_effects == 0) {
        /* The kernel dropped the mapping by itself, or it was never made. */
        dsm_emit_effect(s, copy,
                        copy->state == DSM_COPY_OWNED_WRITE && !dsm_copy_is_write_marker(copy)
                            ? DSM_ACTION_MAP_WRITE
                            : DSM_ACTION_MAP_READ);
        copy->flags |= DSM_COPY_F_MAPPED | DSM_COPY_F_WAKE;
        return;
    }
    if (pending && dsm_copy_access(copy) < access) {
        pending->is_waited = true;
        return;
    }
    /* With an effect under way it may be mapped already or be mapped by it, but who knows: its
     * bytes may just be on their way to somebody else. */
    if (copy->n_effects > 0 || copy->receiving_bytes > 0 || (copy->flags & DSM_COPY_F_STARVED)) {
        if (access > copy->fault_access)
            copy->fault_access = access;
        return;
    }
    if (dsm_is_dead(core, copy->home)) {
        dsm_request_lose(s, copy, DSM_E_PEER, copy->home);
        return;
    }
    if (dsm_evict_reserve(s, copy, access))
        ask_home(s, copy, access);
}

/* The unit cannot be had: whoever waits fails. */
void dsm_request_lose(struct dsm_step *s, struct dsm_copy *copy, int error, dsm_rank_t rank)
{
    struct dsm_action *a = dsm_emit(s, DSM_ACTION_LOST);

    a->page = copy->first;
    a->n_pages = copy->n_pages;
    a->error = error;
    a->rank = rank;
}

static void finish(struct dsm_step *s, struct dsm_copy *copy, struct dsm_pending *pending)
{
    struct dsm_core *core = s->core;
    struct dsm_action *map = NULL;
    bool is_waited = pending->is_waited, is_zero = pending->is_zero;
    bool is_shared = pending->access == DSM_ACCESS_READ && !pending->is_exclusive;

    copy->seen = pending->txn;
    copy->owner_hint = is_shared ? pending->granted_by : core->config.self;
    switch ((enum dsm_message_access)pending->access) {
    case DSM_ACCESS_READ:
        dsm_copy_move(core, copy,
                      is_zero     ? DSM_COPY_ZERO
                      : is_shared ? DSM_COPY_SHARED
                                  : DSM_COPY_OWNED_CLEAN);
        core->counters.migratory_reads += !is_shared;
        if (is_zero) /* mapping it makes the frame: no trap will tell */
            dsm_ahead_unmark(copy);
        if (is_waited || !dsm_copy_is_read_marker(copy))
            map = dsm_emit_effect(s, copy, DSM_ACTION_MAP_READ);
        break;
    case DSM_ACCESS_WRITE:
        dsm_copy_move(core, copy, DSM_COPY_OWNED_WRITE);
        if (is_zero || dsm_copy_is_read_marker(copy))
            dsm_ahead_unmark(copy);
        if (!dsm_copy_is_write_marker(copy))
            map = dsm_emit_effect(s, copy, DSM_ACTION_MAP_WRITE);
        else if (is_waited) /* by who reads: a write would have been the sign */
            map = dsm_emit_effect(s, copy, DSM_ACTION_MAP_READ);
        break;
    case DSM_ACCESS_OWN:
        dsm_copy_move(core, copy, DSM_COPY_OWNED_READ);
        if (is_waited)
            map = dsm_emit_effect(s, copy, DSM_ACTION_MAP_READ);
        break;
    case DSM_ACCESS_NONE:
        assert(false);
    }
    if (map) {
        map->is_zero = is_zero;
        copy->flags |= DSM_COPY_F_MAPPED;
    }
    if (is_zero)
        core->counters.fetched_zero++;
    if (is_waited) {
        copy->flags |= DSM_COPY_F_WAKE;
        if (!pending->is_remote)
            core->counters.faults_local++;
    }
    copy->flags |= DSM_COPY_F_FRESH;
    dsm_request_drop(s, copy);
    dsm_holder_settle(s, copy);
}

static void finish_if_complete(struct dsm_step *s, struct dsm_copy *copy)
{
    struct dsm_pending *pending = dsm_copy_pending(s->core, copy);

    if (!pending->has_grant)
        return;
    if (pending->acks_got < pending->acks_needed && !dsm_planted(DSM_PLANT_EARLY_WRITE))
        return;
    if (pending->received_bytes < pending->announced_bytes ||
        (pending->announced_bytes > 0 && pending->announced_bytes < dsm_copy_bytes(copy)))
        return;
    finish(s, copy, pending);
}

static bool carries_bytes(const struct dsm_message *m)
{
    return !(m->flags & (DSM_MSG_F_ZERO | DSM_MSG_F_NO_BYTES));
}

/* The first or only message of a grant. */
static bool first_fits(const struct dsm_copy *copy, const struct dsm_pending *pending,
                       const struct dsm_message *m)
{
    if (m->txn <= copy->seen || m->acks < pending->acks_got)
        return false;
    if (pending->txn != 0 && pending->txn != m->txn)
        return false;
    if (m->acks > 0 && m->access != DSM_ACCESS_WRITE)
        return false;
    if ((m->flags & DSM_MSG_F_EXCLUSIVE) && (m->access != DSM_ACCESS_READ || !carries_bytes(m)))
        return false;
    if (carries_bytes(m))
        /* Bytes never come for a unit that the program can see: its copy was invalidated before
         * the new owner could be granted the unit, let alone pass it on. */
        return m->offset == 0 && copy->state == DSM_COPY_ABSENT;
    if (m->flags & DSM_MSG_F_ZERO)
        return m->from == copy->home && m->access != DSM_ACCESS_OWN &&
               copy->state == DSM_COPY_ABSENT && !(m->flags & DSM_MSG_F_NO_BYTES);
    return copy->state != DSM_COPY_ABSENT && m->access != DSM_ACCESS_READ;
}

/* A further piece of a unit that travels in several. */
static bool next_fits(const struct dsm_pending *pending, const struct dsm_message *m)
{
    return carries_bytes(m) && m->from == pending->granted_by && m->txn == pending->txn &&
           m->acks == pending->acks_needed && m->offset == pending->announced_bytes;
}

static bool bytes_fit(const struct dsm_copy *copy, const struct dsm_message *m)
{
    if (!carries_bytes(m))
        return m->len == 0;
    if (m->count > 1)
        return m->room == dsm_copy_bytes(copy) && m->len == m->count * m->room && m->offset == 0;
    return m->len > 0 && m->len % DSM_PAGE_BYTES == 0 && m->room == dsm_copy_bytes(copy) &&
           m->offset < m->room && m->len <= m->room - m->offset;
}

static int refuse_bytes(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_action *a;

    s->core->counters.messages_dropped++;
    if (m->len == 0)
        return 0;
    a = dsm_emit(s, DSM_ACTION_DISCARD);
    a->page = m->object;
    a->message = *m;
    return 0;
}

static void accept_bytes(struct dsm_step *s, const struct dsm_message *m, uint64_t n_pages)
{
    struct dsm_action *a = dsm_emit(s, DSM_ACTION_RECEIVE);

    a->page = m->object;
    a->n_pages = (uint64_t)m->count * n_pages;
    a->message = *m;
}

/* The request that the message answers; NULL: that is over. */
static struct dsm_pending *answered(const struct dsm_core *core, const struct dsm_copy *copy,
                                    const struct dsm_message *m)
{
    struct dsm_pending *pending = copy ? dsm_copy_pending(core, copy) : NULL;

    return pending && pending->request == m->request ? pending : NULL;
}

static bool grant_fits(const struct dsm_core *core, const struct dsm_copy *copy,
                       const struct dsm_message *m)
{
    const struct dsm_pending *pending = dsm_copy_pending(core, copy);

    if (m->access != pending->access || m->acks >= core->config.n_ranks || !bytes_fit(copy, m))
        return false;
    return pending->has_grant ? m->count == 1 && next_fits(pending, m)
                              : first_fits(copy, pending, m);
}

/* A part of the run was given up already, because the home of all of it is gone: so is the rest. */
static int give_up_run(struct dsm_step *s, const struct dsm_message *m, uint64_t n_pages)
{
    uint32_t i;

    for (i = 0; i < m->count; i++) {
        struct dsm_copy *copy = dsm_copy_find(s->core, m->object + i * n_pages);
        struct dsm_pending *pending = answered(s->core, copy, m);

        if (!pending)
            continue;
        if (pending->is_waited)
            dsm_request_lose(s, copy, DSM_E_PEER, s->core->lost_rank);
        dsm_request_drop(s, copy);
    }
    return refuse_bytes(s, m);
}

static void take_grant(struct dsm_step *s, struct dsm_copy *copy, const struct dsm_message *m)
{
    struct dsm_pending *pending = dsm_copy_pending(s->core, copy);

    pending->has_grant = true;
    pending->txn = m->txn;
    pending->acks_needed = m->acks;
    pending->granted_by = m->from;
    pending->is_zero = m->flags & DSM_MSG_F_ZERO;
    pending->is_exclusive = m->flags & DSM_MSG_F_EXCLUSIVE;
    if (m->from != s->core->config.self)
        pending->is_remote = true;
    if (carries_bytes(m)) {
        uint32_t part = m->len / m->count;

        /* The frame may still be listed as being sent: an upgrade was under way when the unit was
         * handed over. But this grant descends from those bytes, so they have left. */
        pending->announced_bytes += part;
        copy->receiving_bytes += part;
        copy->receiving_from = m->from;
    }
    finish_if_complete(s, copy);
}

int dsm_request_on_grant(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;
    struct dsm_copy *copies[DSM_RUN_MAX_UNITS];
    uint64_t n_pages;
    uint32_t n_live = 0, n_fit = 0, i;

    if (m->object >= core->config.n_pages || m->count == 0 || m->count > DSM_RUN_MAX_UNITS)
        return DSM_E_PROTO;
    n_pages = dsm_placement_unit(core->config.placement, m->object).n_pages;
    for (i = 0; i < m->count; i++) {
        const struct dsm_copy *copy = copies[i] = dsm_copy_find(core, m->object + i * n_pages);

        if (!answered(core, copy, m))
            continue;
        n_live++;
        n_fit += copy->n_pages == n_pages && grant_fits(core, copy, m);
    }
    if (n_live == 0)
        return refuse_bytes(s, m);
    if (n_fit < n_live || (n_live < m->count && !core->knows_of_loss))
        return DSM_E_PROTO;
    if (n_live < m->count)
        return give_up_run(s, m, n_pages);
    if (carries_bytes(m))
        accept_bytes(s, m, n_pages);
    for (i = 0; i < m->count; i++)
        take_grant(s, copies[i], m);
    return 0;
}

int dsm_request_on_ack(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_copy *copy = dsm_copy_find(s->core, m->object);
    struct dsm_pending *pending = copy ? dsm_copy_pending(s->core, copy) : NULL;

    if (!pending || pending->request != m->request) {
        s->core->counters.messages_dropped++;
        return 0;
    }
    if (pending->access != DSM_ACCESS_WRITE || m->txn <= copy->seen)
        return DSM_E_PROTO;
    if (pending->txn != 0 && pending->txn != m->txn)
        return DSM_E_PROTO;
    if (pending->acks_got >=
        (pending->has_grant ? pending->acks_needed : s->core->config.n_ranks - 1))
        return DSM_E_PROTO;
    if (dsm_planted(DSM_PLANT_DROP_EARLY_ACK) && !pending->has_grant)
        return 0;
    pending->txn = m->txn;
    pending->acks_got++;
    pending->is_remote = true;
    finish_if_complete(s, copy);
    return 0;
}

int dsm_request_on_refuse(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_copy *copy = dsm_copy_find(s->core, m->object);
    struct dsm_pending *pending = copy ? dsm_copy_pending(s->core, copy) : NULL;
    bool is_waited;
    uint8_t access;

    if (!pending || pending->request != m->request) {
        s->core->counters.messages_dropped++;
        return 0;
    }
    /* From another rank only when one is gone: the grant was on its way through it. */
    if (pending->has_grant || m->access != pending->access ||
        (m->peer != DSM_RANK_NONE && m->peer >= s->core->config.n_ranks) ||
        (m->from != copy->home && m->peer == DSM_RANK_NONE && !s->core->knows_of_loss))
        return DSM_E_PROTO;
    if (m->peer != DSM_RANK_NONE)
        dsm_view_note_loss(s->core, m->peer);
    is_waited = pending->is_waited;
    access = pending->access;
    dsm_request_drop(s, copy);
    if (is_waited && access == DSM_ACCESS_OWN)
        /* A thread joined a take-over that came to nothing: now ask for what it wants. It asks for
         * more by itself if reading is not enough. */
        dsm_request_fault(s, copy, DSM_ACCESS_READ);
    else if (is_waited)
        dsm_request_lose(
            s, copy, m->peer == DSM_RANK_NONE && !s->core->knows_of_loss ? DSM_E_RANGE : DSM_E_PEER,
            m->peer);
    dsm_holder_settle(s, copy);
    return 0;
}

static void received_one(struct dsm_step *s, struct dsm_copy *copy, uint32_t len_bytes)
{
    struct dsm_pending *pending;

    if (!copy || len_bytes > copy->receiving_bytes)
        return; /* given up with a rank, or dropped, while they came in */
    pending = dsm_copy_pending(s->core, copy);
    copy->receiving_bytes -= len_bytes;
    if (!pending) {
        /* The request was given up while they came in. */
        dsm_holder_settle(s, copy);
        return;
    }
    pending->received_bytes += len_bytes;
    finish_if_complete(s, copy);
}

/* Bytes accepted before are in their frames now: a part of a unit, or all of one or several. */
void dsm_request_on_received(struct dsm_step *s, dsm_page_t first, uint32_t len_bytes)
{
    uint32_t n_pages = dsm_placement_unit(s->core->config.placement, first).n_pages;

    while (len_bytes > 0) {
        uint32_t part = len_bytes < n_pages * DSM_PAGE_BYTES ? len_bytes : n_pages * DSM_PAGE_BYTES;

        received_one(s, dsm_copy_find(s->core, first), part);
        len_bytes -= part;
        first += n_pages;
    }
}
