/* SPDX-License-Identifier: BSD-3-Clause */
/* show.c - see show.h. */
#include "show.h"

#include <inttypes.h>

static const char *const message_names[DSM_MSG_N_TYPES] = {
#define XX(name, lane) [DSM_MSG_##name] = #name,
    DSM_MESSAGE_MAP(XX)
#undef XX
};

static const char *access_name(uint32_t access)
{
    static const char *const names[] = {"none", "read", "write", "own"};

    return access < 4 ? names[access] : "?";
}

static void show_message(FILE *out, const struct dsm_message *m)
{
    fprintf(out, "%s",
            m->type < DSM_MSG_N_TYPES && message_names[m->type] != NULL ? message_names[m->type]
                                                                        : "type?");
    if (m->access != DSM_ACCESS_NONE) {
        fprintf(out, " %s", access_name(m->access));
    }
    fprintf(out, " object %" PRIu64, m->object);
    if (m->txn != 0) {
        fprintf(out, " txn %" PRIu64, m->txn);
    }
    if (m->type == DSM_MSG_FORWARD || m->type == DSM_MSG_INVALIDATE) {
        fprintf(out, " prior %" PRIu64 " for rank %u", m->prior, m->peer);
    }
    if (m->type == DSM_MSG_LOCK_FORWARD) {
        fprintf(out, " for rank %u", m->peer);
    }
    if (m->acks != 0) {
        fprintf(out, " acks %u", m->acks);
    }
    if (m->request != 0) {
        fprintf(out, " request %u", m->request);
    }
    if (m->count > 1 || (m->count == 1 && m->type != DSM_MSG_REQUEST)) {
        fprintf(out, " count %u", m->count);
    }
    if (m->len != 0) {
        fprintf(out, " bytes %u@%u", m->len, m->offset);
    }
    fprintf(out, "%s%s%s%s", m->flags & DSM_MSG_F_ASYNC ? " async" : "",
            m->flags & DSM_MSG_F_HAS_COPY ? " has-copy" : "",
            m->flags & DSM_MSG_F_NO_BYTES ? " no-bytes" : "",
            m->flags & DSM_MSG_F_ZERO        ? " zero"
            : m->flags & DSM_MSG_F_EXCLUSIVE ? " exclusive"
                                             : "");
}

void show_event(struct lab *lab, uint32_t rank, const struct dsm_event *event)
{
    FILE *out = lab->trace;

    fprintf(out, "      core %u <- ", rank);
    switch (event->type) {
    case DSM_EVENT_FAULT:
        fprintf(out, "FAULT page %" PRIu64 " %s\n", event->fault.page,
                access_name(event->fault.access));
        return;
    case DSM_EVENT_RESUMED:
        fprintf(out, "RESUMED page %" PRIu64 "\n", event->resumed.page);
        return;
    case DSM_EVENT_PIN:
        fprintf(out, "PIN page %" PRIu64 "\n", event->pin.page);
        return;
    case DSM_EVENT_UNPIN:
        fprintf(out, "UNPIN page %" PRIu64 "\n", event->pin.page);
        return;
    case DSM_EVENT_PREFETCH:
        fprintf(out, "PREFETCH page %" PRIu64 " %s\n", event->prefetch.first,
                access_name(event->prefetch.access));
        return;
    case DSM_EVENT_MESSAGE:
        fprintf(out, "MESSAGE from %u: ", event->message->from);
        show_message(out, event->message);
        fprintf(out, "\n");
        return;
    case DSM_EVENT_RECEIVED:
        fprintf(out, "RECEIVED unit %" PRIu64 " bytes %u\n", event->received.unit,
                event->received.len);
        return;
    case DSM_EVENT_DONE:
        fprintf(out, "DONE unit %" PRIu64 "\n", event->done.unit);
        return;
    case DSM_EVENT_TIMER:
        fprintf(out, "TIMER\n");
        return;
    case DSM_EVENT_VIEW:
        fprintf(out, "VIEW without rank %u\n", event->view.rank);
        return;
    case DSM_EVENT_LOCK_ACQUIRE:
        fprintf(out, "LOCK_ACQUIRE %" PRIu64 "\n", event->lock.id);
        return;
    case DSM_EVENT_LOCK_RETURNED:
        fprintf(out, "LOCK_RETURNED %" PRIu64 "\n", event->lock.id);
        return;
    case DSM_EVENT_LOCK_HELD:
        fprintf(out, "LOCK_HELD %" PRIu64 "\n", event->lock.id);
        return;
    case DSM_EVENT_SYNC:
        fprintf(out, "SYNC %u kind %u operation %u on %" PRIu64 "\n", event->sync.request,
                (unsigned)event->sync.kind, (unsigned)event->sync.op, event->sync.id);
        return;
    case DSM_EVENT_SYNC_CANCEL:
        fprintf(out, "SYNC_CANCEL %u\n", event->sync.request);
        return;
    case DSM_EVENT_SYNC_FORGET:
        fprintf(out, "SYNC_FORGET %" PRIu64 "\n", event->forget.first);
        return;
    case DSM_EVENT_COLLECTIVE:
        fprintf(out, "COLLECTIVE kind %d\n", (int)event->collective.kind);
        return;
    case DSM_EVENT_DROP:
        fprintf(out, "DROP pages %" PRIu64 "+%" PRIu64 "\n", event->drop.first,
                event->drop.n_pages);
        return;
    }
}

static const char *action_name(enum dsm_action_type type)
{
    static const char *const names[] = {
        [DSM_ACTION_MAP_READ] = "MAP_READ",
        [DSM_ACTION_MAP_WRITE] = "MAP_WRITE",
        [DSM_ACTION_DOWNGRADE] = "DOWNGRADE",
        [DSM_ACTION_UNMAP] = "UNMAP",
        [DSM_ACTION_PUNCH] = "PUNCH",
        [DSM_ACTION_SEND_BYTES] = "SEND_BYTES",
        [DSM_ACTION_SEND] = "SEND",
        [DSM_ACTION_RECEIVE] = "RECEIVE",
        [DSM_ACTION_DISCARD] = "DISCARD",
        [DSM_ACTION_WAKE] = "WAKE",
        [DSM_ACTION_LOST] = "LOST",
        [DSM_ACTION_TIMER] = "TIMER",
        [DSM_ACTION_LOCK_LEND] = "LOCK_LEND",
        [DSM_ACTION_LOCK_RECALL] = "LOCK_RECALL",
        [DSM_ACTION_LOCK_LOST] = "LOCK_LOST",
        [DSM_ACTION_COLLECTIVE_SEND] = "COLLECTIVE_SEND",
        [DSM_ACTION_COLLECTIVE_COMBINE] = "COLLECTIVE_COMBINE",
        [DSM_ACTION_COLLECTIVE_TAKE] = "COLLECTIVE_TAKE",
        [DSM_ACTION_COLLECTIVE_DONE] = "COLLECTIVE_DONE",
        [DSM_ACTION_DROP_RANGE] = "DROP_RANGE",
        [DSM_ACTION_DROPPED] = "DROPPED",
        [DSM_ACTION_MEMORY_FULL] = "MEMORY_FULL",
    };

    return (size_t)type < sizeof names / sizeof names[0] && names[type] ? names[type] : "action?";
}

static void show_action(FILE *out, const struct dsm_action *action)
{
    fprintf(out, "        -> %s", action_name(action->type));
    switch (action->type) {
    case DSM_ACTION_SEND:
    case DSM_ACTION_SEND_BYTES:
    case DSM_ACTION_COLLECTIVE_SEND:
        fprintf(out, " to %u (%s lane): ", action->to,
                action->lane == DSM_LANE_REQUEST ? "request" : "reply");
        show_message(out, &action->message);
        break;
    case DSM_ACTION_TIMER:
        if (action->at_ns == UINT64_MAX) {
            fprintf(out, " off");
        }
        break;
    case DSM_ACTION_LOCK_LEND:
    case DSM_ACTION_LOCK_RECALL:
    case DSM_ACTION_LOCK_LOST:
    case DSM_ACTION_LOCK_BUSY:
        fprintf(out, " lock %" PRIu64, action->id);
        break;
    case DSM_ACTION_SYNC_DONE:
        fprintf(out, " %" PRIu64 ": error %d value %" PRIu64, action->id, action->error,
                action->message.txn);
        break;
    case DSM_ACTION_SYNC_QUEUED:
        fprintf(out, " %" PRIu64, action->id);
        break;
    case DSM_ACTION_COLLECTIVE_COMBINE:
    case DSM_ACTION_COLLECTIVE_TAKE:
        fprintf(out, " round %u", action->message.count);
        break;
    case DSM_ACTION_COLLECTIVE_DONE:
    case DSM_ACTION_DROPPED:
        break;
    default:
        fprintf(out, " page %" PRIu64 "%s", action->page, action->is_zero ? " zero" : "");
        break;
    }
    fprintf(out, "\n");
}

void show_actions(struct lab *lab, uint32_t rank)
{
    (void)rank;
    for (uint32_t i = 0; i < lab->actions.n; i++) {
        show_action(lab->trace, &lab->actions.items[i]);
    }
}

void show_step(struct lab *lab, uint32_t number, const struct step *step)
{
    const struct world_unit *unit = &lab->world.ranks[step->rank].units[step->index];
    const struct world_effect *next = &unit->effects[unit->n_carried_out];
    FILE *out = lab->trace;
    char op[8];

    fprintf(out, "%4u  rank %u: ", number, step->rank);
    switch ((enum step_kind)step->kind) {
    case STEP_THREAD:
        program_op_text(step->op, op);
        fprintf(out, "thread %u goes on with %s\n", step->index, op);
        return;
    case STEP_FAULT:
        fprintf(out, "thread %u tells of its trap\n", step->index);
        return;
    case STEP_RESUME:
        fprintf(out, "thread %u has been woken\n", step->index);
        return;
    case STEP_DELIVER:
        fprintf(out, "a message of rank %u is delivered (%s lane)\n",
                lab->world.messages[step->message].from,
                lab->world.messages[step->message].lane == DSM_LANE_REQUEST ? "request" : "reply");
        return;
    case STEP_RECEIVED:
        fprintf(out, "bytes from rank %u are in the frame\n",
                lab->world.messages[step->message].from);
        return;
    case STEP_EFFECT:
        fprintf(out, "%s of unit %u is carried out\n", action_name(next->type), step->index);
        return;
    case STEP_RUN:
        fprintf(out, "the bytes of unit %u and those behind it leave in one grant\n", step->index);
        return;
    case STEP_DONE:
        fprintf(out, "%s of unit %u is done\n", action_name(unit->effects[0].type), step->index);
        return;
    case STEP_TICK:
        fprintf(out, "time passes\n");
        return;
    case STEP_TIMER:
        fprintf(out, "the timer fires\n");
        return;
    case STEP_RETURN:
        fprintf(out, "lock %u is given back\n", step->index);
        return;
    case STEP_GIVE_UP:
        fprintf(out, "thread %u gives up waiting\n", step->index);
        return;
    case STEP_CRASH:
        fprintf(out, "dies\n");
        return;
    case STEP_VIEW:
        fprintf(out, "learns that rank %u is dead\n", lab->world.dead - 1);
        return;
    case STEP_RECLAIM:
        fprintf(out, "the kernel drops the mapping of unit %u\n", step->index);
        return;
    }
}

static void show_rank(struct lab *lab, uint32_t rank)
{
    static const char *const states[] = {"ready",   "trapped",       "waiting",  "woken",
                                         "locking", "in collective", "dropping", "synchronising"};
    const struct world_rank *r = &lab->world.ranks[rank];
    FILE *out = lab->trace;

    fprintf(out, "      | rank %u:", rank);
    for (uint32_t u = 0; u < lab->config.n_units; u++) {
        const struct world_unit *unit = &r->units[u];
        fprintf(out, " unit %u %s", u, access_name(unit->access));
        if (unit->has_frame) {
            fprintf(out, " v%u%s", unit->version[0],
                    unit->version[0] == lab->world.version[u] ? "" : " (old)");
        }
        if (unit->n_effects > 0) {
            fprintf(out, " %u effects", unit->n_effects);
        }
        fprintf(out, ";");
    }
    for (uint32_t t = 0; t < lab->config.n_threads; t++) {
        const struct world_thread *thread = &r->threads[t];
        fprintf(out, " thread %u %s at %u of %u", t, states[thread->state], thread->pc,
                lab->config.programs[rank][t].n_ops);
    }
    fprintf(out, "\n");
}

void show_world(struct lab *lab)
{
    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        show_rank(lab, rank);
    }
    for (uint32_t i = 0; i < lab->world.n_messages; i++) {
        const struct world_message *m = &lab->world.messages[i];
        fprintf(lab->trace, "      | %u to %u, %s lane: ", m->from, m->to,
                m->lane == DSM_LANE_REQUEST ? "request" : "reply");
        show_message(lab->trace, &m->message);
        fprintf(lab->trace, "%s\n", m->is_receiving ? " (bytes coming in)" : "");
    }
}
