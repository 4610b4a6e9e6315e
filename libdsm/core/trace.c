/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.c - see trace.h. */
#include "core/trace.h"

#include "base/log.h"

/* Appends to a text that may be full already. */
struct text {
    char *out;
    size_t n, bytes;
};

#define add(text, ...)                                                                             \
    ((text)->n += dsm_format((text)->out + (text)->n, (text)->bytes - (text)->n, __VA_ARGS__))

static const char *const message_names[DSM_MSG_N_TYPES] = {[DSM_MSG_NONE] = "NONE",
#define XX(name, lane) [DSM_MSG_##name] = #name,
                                                           DSM_MESSAGE_MAP(XX)
#undef XX
};

const char *dsm_trace_message_name(uint8_t type)
{
    return type < DSM_MSG_N_TYPES ? message_names[type] : "?";
}

const char *dsm_trace_action_name(enum dsm_action_type type)
{
    switch (type) {
    case DSM_ACTION_MAP_READ:
        return "MAP_READ";
    case DSM_ACTION_MAP_WRITE:
        return "MAP_WRITE";
    case DSM_ACTION_DOWNGRADE:
        return "DOWNGRADE";
    case DSM_ACTION_UNMAP:
        return "UNMAP";
    case DSM_ACTION_PUNCH:
        return "PUNCH";
    case DSM_ACTION_SEND_BYTES:
        return "SEND_BYTES";
    case DSM_ACTION_SEND:
        return "SEND";
    case DSM_ACTION_RECEIVE:
        return "RECEIVE";
    case DSM_ACTION_DISCARD:
        return "DISCARD";
    case DSM_ACTION_WAKE:
        return "WAKE";
    case DSM_ACTION_LOST:
        return "LOST";
    case DSM_ACTION_TIMER:
        return "TIMER";
    case DSM_ACTION_LOCK_LEND:
        return "LOCK_LEND";
    case DSM_ACTION_LOCK_RECALL:
        return "LOCK_RECALL";
    case DSM_ACTION_LOCK_LOST:
        return "LOCK_LOST";
    case DSM_ACTION_LOCK_BUSY:
        return "LOCK_BUSY";
    case DSM_ACTION_SYNC_DONE:
        return "SYNC_DONE";
    case DSM_ACTION_SYNC_QUEUED:
        return "SYNC_QUEUED";
    case DSM_ACTION_COLLECTIVE_SEND:
        return "COLLECTIVE_SEND";
    case DSM_ACTION_COLLECTIVE_COMBINE:
        return "COLLECTIVE_COMBINE";
    case DSM_ACTION_COLLECTIVE_TAKE:
        return "COLLECTIVE_TAKE";
    case DSM_ACTION_COLLECTIVE_DONE:
        return "COLLECTIVE_DONE";
    case DSM_ACTION_DROP_RANGE:
        return "DROP_RANGE";
    case DSM_ACTION_DROPPED:
        return "DROPPED";
    case DSM_ACTION_MEMORY_FULL:
        return "MEMORY_FULL";
    }
    return "?";
}

static const char *access_name(uint8_t access)
{
    switch (access) {
    case DSM_ACCESS_READ:
        return "read";
    case DSM_ACCESS_WRITE:
        return "write";
    case DSM_ACCESS_OWN:
        return "own";
    default:
        return "none";
    }
}

static void add_unit_message(struct text *t, const struct dsm_message *m)
{
    if (m->access)
        add(t, " %s", access_name(m->access));
    add(t, " %lu", (unsigned long)m->object);
    if ((m->type == DSM_MSG_REQUEST || m->type == DSM_MSG_FORWARD || m->type == DSM_MSG_GRANT) &&
        m->count > 1)
        add(t, " and %u more", m->count - 1);
    if (m->type == DSM_MSG_OFFER || m->type == DSM_MSG_OFFER_REPLY)
        add(t, ": %u units", m->count);
    if (m->type == DSM_MSG_OFFER_REPLY)
        add(t, ", room %u", m->room);
    if (m->peer != DSM_RANK_NONE && m->type == DSM_MSG_REFUSE)
        add(t, ", %u is gone", m->peer);
    else if (m->peer != DSM_RANK_NONE && m->type == DSM_MSG_REQUEST)
        add(t, " from %u", m->peer);
    else if (m->peer != DSM_RANK_NONE)
        add(t, " for %u", m->peer);
    if (m->txn)
        add(t, ", txn %lu", (unsigned long)m->txn);
    if (m->prior)
        add(t, " after %lu", (unsigned long)m->prior);
    if (m->acks)
        add(t, ", %u acks", m->acks);
    if (m->flags & DSM_MSG_F_HAS_COPY)
        add(t, ", has a copy");
    if (m->flags & DSM_MSG_F_ZERO)
        add(t, ", zero");
    if (m->flags & DSM_MSG_F_NO_BYTES)
        add(t, ", no bytes");
    if (m->len)
        add(t, ", %u bytes", m->len);
    if (m->offset)
        add(t, " at %u", m->offset);
    if (m->flags & DSM_MSG_F_EXCLUSIVE)
        add(t, m->type == DSM_MSG_LOCK_GRANT ? ", ended" : ", exclusive");
    if (m->flags & DSM_MSG_F_ASYNC)
        add(t, ", async");
}

static void add_message(struct text *t, const struct dsm_message *m)
{
    add(t, "%s", dsm_trace_message_name(m->type));
    switch ((enum dsm_message_type)m->type) {
    case DSM_MSG_REQUEST:
    case DSM_MSG_FORWARD:
    case DSM_MSG_INVALIDATE:
    case DSM_MSG_GRANT:
    case DSM_MSG_ACK:
    case DSM_MSG_REFUSE:
    case DSM_MSG_UNWRITTEN:
    case DSM_MSG_OFFER:
    case DSM_MSG_OFFER_REPLY:
        add_unit_message(t, m);
        return;
    case DSM_MSG_COLLECTIVE:
        add(t, " of group %lx, number %lu round %u", (unsigned long)m->object,
            (unsigned long)m->txn, m->count);
        if (m->len)
            add(t, ", %u bytes", m->len);
        if (m->peer != DSM_RANK_NONE)
            add(t, ", %u is gone", m->peer);
        return;
    case DSM_MSG_DROP_BEGIN:
    case DSM_MSG_DROP_CLEAR:
    case DSM_MSG_DROP_DONE:
        add(t, " %lu+%u, serial %lu", (unsigned long)m->object, m->count, (unsigned long)m->txn);
        return;
    default: /* locks, and the runtime's own */
        add(t, " %lx", (unsigned long)m->object);
        if (m->peer != DSM_RANK_NONE)
            add(t, " for %u", m->peer);
        if (m->txn)
            add(t, ", number %lu", (unsigned long)m->txn);
        return;
    }
}

size_t dsm_trace_message(const struct dsm_message *message, char *out, size_t out_bytes)
{
    struct text t = {.out = out, .bytes = out_bytes};

    add_message(&t, message);
    return t.n;
}

static void add_lock_action(struct text *t, const struct dsm_action *a)
{
    switch (a->type) {
    case DSM_ACTION_LOCK_LEND:
        add(t, "lends lock %lx, number %lu", (unsigned long)a->id, (unsigned long)a->message.txn);
        return;
    case DSM_ACTION_LOCK_RECALL:
        add(t, "recalls lock %lx", (unsigned long)a->id);
        return;
    case DSM_ACTION_LOCK_BUSY:
        add(t, "gives up trying lock %lx", (unsigned long)a->id);
        return;
    default:
        add(t, "has lost lock %lx with %u", (unsigned long)a->id, a->rank);
        return;
    }
}

static void add_collective_action(struct text *t, const struct dsm_action *a)
{
    switch (a->type) {
    case DSM_ACTION_COLLECTIVE_COMBINE:
        add(t, "combines what came in round %u", a->message.count);
        return;
    case DSM_ACTION_COLLECTIVE_TAKE:
        add(t, "takes what came in round %u", a->message.count);
        return;
    default:
        add(t, "leaves the collective of group %lx", (unsigned long)a->id);
        if (a->error)
            add(t, ": %u is gone", a->rank);
        return;
    }
}

size_t dsm_trace_action(dsm_rank_t self, const struct dsm_action *a, char *out, size_t out_bytes)
{
    struct text text = {.out = out, .bytes = out_bytes}, *t = &text;
    unsigned long page = (unsigned long)a->page;

    add(t, "%u ", self);
    switch (a->type) {
    case DSM_ACTION_MAP_READ:
    case DSM_ACTION_MAP_WRITE:
        add(t, "maps %s%lu for %s", a->is_zero ? "zero " : "", page,
            a->type == DSM_ACTION_MAP_READ ? "reading" : "writing");
        break;
    case DSM_ACTION_DOWNGRADE:
        add(t, "downgrades %lu", page);
        break;
    case DSM_ACTION_UNMAP:
        add(t, "unmaps %lu", page);
        break;
    case DSM_ACTION_PUNCH:
        add(t, "gives the frame of %lu back", page);
        break;
    case DSM_ACTION_SEND_BYTES:
    case DSM_ACTION_SEND:
    case DSM_ACTION_COLLECTIVE_SEND:
        add(t, "sends %u: ", a->to);
        add_message(t, &a->message);
        if (a->has_payload)
            add(t, ", with payload");
        break;
    case DSM_ACTION_RECEIVE:
        add(t, "receives %lu", page);
        if (a->message.len != a->message.room)
            add(t, " at %u", a->message.offset);
        break;
    case DSM_ACTION_DISCARD:
        add(t, "discards the bytes of %lu", page);
        break;
    case DSM_ACTION_WAKE:
        add(t, "wakes the threads at %lu", page);
        break;
    case DSM_ACTION_LOST:
        add(t, "has lost %lu", page);
        if (a->rank != DSM_RANK_NONE)
            add(t, " with %u", a->rank);
        break;
    case DSM_ACTION_TIMER:
        if (a->at_ns == UINT64_MAX)
            add(t, "needs no timer");
        else
            add(t, "asks for a timer at %lu", (unsigned long)a->at_ns);
        break;
    case DSM_ACTION_LOCK_LEND:
    case DSM_ACTION_LOCK_RECALL:
    case DSM_ACTION_LOCK_LOST:
    case DSM_ACTION_LOCK_BUSY:
        add_lock_action(t, a);
        break;
    case DSM_ACTION_SYNC_DONE:
        add(t, "has its answer to %lu: error %d, value %lu", (unsigned long)a->id, a->error,
            (unsigned long)a->message.txn);
        break;
    case DSM_ACTION_SYNC_QUEUED:
        add(t, "is in the queue with %lu", (unsigned long)a->id);
        break;
    case DSM_ACTION_COLLECTIVE_COMBINE:
    case DSM_ACTION_COLLECTIVE_TAKE:
    case DSM_ACTION_COLLECTIVE_DONE:
        add_collective_action(t, a);
        break;
    case DSM_ACTION_DROP_RANGE:
        add(t, "drops %lu+%lu", page, (unsigned long)a->n_pages);
        break;
    case DSM_ACTION_DROPPED:
        add(t, "has dropped serial %lu everywhere", (unsigned long)a->id);
        break;
    case DSM_ACTION_MEMORY_FULL:
        add(t, "finds no memory for %lu", page);
        break;
    }
    return t->n;
}

size_t dsm_trace_event(dsm_rank_t self, const struct dsm_event *event, char *out, size_t out_bytes)
{
    struct text text = {.out = out, .bytes = out_bytes}, *t = &text;

    add(t, "%u ", self);
    switch (event->type) {
    case DSM_EVENT_FAULT:
        add(t, "faults: %s %lu", access_name(event->fault.access),
            (unsigned long)event->fault.page);
        break;
    case DSM_EVENT_RESUMED:
        add(t, "goes on at %lu", (unsigned long)event->resumed.page);
        break;
    case DSM_EVENT_PIN:
        add(t, "pins %lu", (unsigned long)event->pin.page);
        break;
    case DSM_EVENT_UNPIN:
        add(t, "lets go of %lu", (unsigned long)event->pin.page);
        break;
    case DSM_EVENT_PREFETCH:
        add(t, "prefetches: %s %lu+%lu", access_name(event->prefetch.access),
            (unsigned long)event->prefetch.first, (unsigned long)event->prefetch.n_pages);
        break;
    case DSM_EVENT_MESSAGE:
        add(t, "hears %u: ", event->message->from);
        add_message(t, event->message);
        break;
    case DSM_EVENT_RECEIVED:
        add(t, "has received %lu: %u bytes", (unsigned long)event->received.unit,
            event->received.len);
        break;
    case DSM_EVENT_DONE:
        add(t, "is done with %lu", (unsigned long)event->done.unit);
        break;
    case DSM_EVENT_TIMER:
        add(t, "hears its timer");
        break;
    case DSM_EVENT_VIEW:
        add(t, "learns that %u is gone", event->view.rank);
        break;
    case DSM_EVENT_LOCK_ACQUIRE:
        add(t, "wants lock %lx", (unsigned long)event->lock.id);
        break;
    case DSM_EVENT_LOCK_RETURNED:
        add(t, "gets lock %lx back from its threads", (unsigned long)event->lock.id);
        break;
    case DSM_EVENT_LOCK_HELD:
        add(t, "holds lock %lx for a while", (unsigned long)event->lock.id);
        break;
    case DSM_EVENT_SYNC:
        add(t, "asks object %lx of kind %u: %u (%lu, %lu)", (unsigned long)event->sync.id,
            (unsigned)event->sync.kind, (unsigned)event->sync.op, (unsigned long)event->sync.a,
            (unsigned long)event->sync.b);
        break;
    case DSM_EVENT_SYNC_CANCEL:
        add(t, "gives up its wait %u", event->sync.request);
        break;
    case DSM_EVENT_SYNC_FORGET:
        add(t, "frees %lx+%lx", (unsigned long)event->forget.first,
            (unsigned long)event->forget.n_bytes);
        break;
    case DSM_EVENT_COLLECTIVE:
        add(t, "enters a collective of group %lx", (unsigned long)event->collective.group);
        break;
    case DSM_EVENT_DROP:
        add(t, "drops %lu+%lu everywhere, serial %lu", (unsigned long)event->drop.first,
            (unsigned long)event->drop.n_pages, (unsigned long)event->drop.serial);
        break;
    }
    return t->n;
}
