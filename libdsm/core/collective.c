/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * collective.c - barriers, broadcast and reduction: who sends what to whom, and when it is over.
 *
 * Barrier: dissemination (Hensgen, Finkel, Manber 1988): in round k member i sends to i + 2^k and
 * waits for i - 2^k, modulo the number of members; after ceil(log2 n) rounds everybody has heard,
 * directly or not, of everybody. Broadcast: the same rounds; whoever has the payload passes it on
 * to members that cannot have it yet. Reduction: a binomial tree up to member 0 and down again, so
 * that the order of the operations, and with it the result, is the same for everybody.
 *
 * All of them end only when every member has begun, so a partner can be one collective ahead and no
 * more: arrivals are kept for this one and the next.
 */
#include "core/state.h"

static uint32_t log2_up(uint32_t n)
{
    uint32_t rounds = 0;

    while (((uint64_t)1 << rounds) < n)
        rounds++;
    return rounds;
}

static struct dsm_group *group_get(struct dsm_core *core, uint64_t id)
{
    dsm_ref ref = dsm_table_find(&core->groups, core, id);

    if (!ref) {
        ref = dsm_take(core, sizeof(struct dsm_group));
        dsm_table_add(&core->groups, core, ref, id);
    }
    return dsm_at(core, ref);
}

static dsm_rank_t member(const struct dsm_group *g, uint32_t index)
{
    return g->members ? g->members[index] : index;
}

static void send_round(struct dsm_step *s, const struct dsm_group *g, uint32_t index,
                       uint32_t round, bool has_payload)
{
    struct dsm_message *m =
        dsm_emit_send(s, member(g, index), DSM_LANE_REPLY, DSM_MSG_COLLECTIVE, g->node.key);

    m->txn = g->sequence;
    m->count = round;
    s->out->items[s->out->n - 1].has_payload = has_payload;
}

static void use_payload(struct dsm_step *s, const struct dsm_group *g, enum dsm_action_type type,
                        uint32_t round)
{
    struct dsm_action *a = dsm_emit(s, type);

    a->id = g->node.key;
    a->message.txn = g->sequence;
    a->message.count = round;
}

static void finish(struct dsm_step *s, struct dsm_group *g, int error, dsm_rank_t rank)
{
    struct dsm_action *a = dsm_emit(s, DSM_ACTION_COLLECTIVE_DONE);

    a->id = g->node.key;
    a->error = error;
    a->rank = rank;
    g->is_in = false;
    g->members = NULL;
    g->arrived[g->sequence & 1] = g->arrived_payload[g->sequence & 1] = 0;
}

static bool has_arrived(const struct dsm_group *g, uint32_t round)
{
    return g->arrived[g->sequence & 1] >> round & 1;
}

/* One position of a barrier or broadcast: send, then wait. False: it waits. */
static bool pass_round(struct dsm_step *s, struct dsm_group *g)
{
    uint32_t n = g->n_members, round = g->position;
    uint64_t step = (uint64_t)1 << round;

    if (!g->is_sent) {
        uint32_t from_root = (g->self_index + n - g->root_index) % n;
        bool pass_on = g->kind == DSM_COLLECTIVE_BCAST && g->has_payload && from_root + step < n;

        send_round(s, g, (uint32_t)((g->self_index + step) % n), round, pass_on);
        g->is_sent = true;
    }
    if (!has_arrived(g, round))
        return false;
    if (g->arrived_payload[g->sequence & 1] >> round & 1 && !g->has_payload) {
        use_payload(s, g, DSM_ACTION_COLLECTIVE_TAKE, round);
        g->has_payload = true;
    }
    return true;
}

/* One position of a reduction: rounds 0..L-1 up, then L+k for k from L-1 down to 0. */
static bool climb(struct dsm_step *s, struct dsm_group *g, uint32_t n_rounds)
{
    uint32_t self = g->self_index, n = g->n_members;
    bool is_up = g->position < n_rounds;
    uint32_t k = is_up ? g->position : 2 * n_rounds - 1 - g->position;
    uint32_t step = 1u << k, round = is_up ? k : n_rounds + k;
    bool is_child = (self & (2 * step - 1)) == step;
    bool is_parent = (self & (2 * step - 1)) == 0 && step < n - self;

    if (is_child && is_up) {
        send_round(s, g, self - step, round, true);
    } else if (is_child) {
        if (!has_arrived(g, round))
            return false;
        use_payload(s, g, DSM_ACTION_COLLECTIVE_TAKE, round);
    } else if (is_parent && is_up) {
        if (!has_arrived(g, round))
            return false;
        use_payload(s, g, DSM_ACTION_COLLECTIVE_COMBINE, round);
    } else if (is_parent) {
        send_round(s, g, self + step, round, true);
    }
    return true;
}

static void advance(struct dsm_step *s, struct dsm_group *g)
{
    uint32_t n_rounds = log2_up(g->n_members);
    uint32_t n_positions = g->kind == DSM_COLLECTIVE_ALLREDUCE ? 2 * n_rounds : n_rounds;

    while (g->position < n_positions) {
        if (g->kind == DSM_COLLECTIVE_ALLREDUCE ? !climb(s, g, n_rounds) : !pass_round(s, g))
            return;
        g->position++;
        g->is_sent = false;
    }
    finish(s, g, 0, DSM_RANK_NONE);
}

/* The first member that is gone, or DSM_RANK_NONE. */
static dsm_rank_t dead_member(const struct dsm_core *core, const struct dsm_group *g)
{
    uint32_t i;

    for (i = 0; core->n_dead && i < g->n_members; i++)
        if (dsm_is_dead(core, member(g, i)))
            return member(g, i);
    return DSM_RANK_NONE;
}

int dsm_collective_enter(struct dsm_step *s, const struct dsm_event *event)
{
    struct dsm_core *core = s->core;
    uint32_t n = event->collective.n_members;
    struct dsm_group *g;
    dsm_rank_t dead;

    if (n == 0 || n > core->config.n_ranks || event->collective.self_index >= n ||
        event->collective.root_index >= n ||
        (event->collective.group == 0 && n != core->config.n_ranks))
        return DSM_E_INVAL;
    g = group_get(core, event->collective.group);
    if (g->is_in)
        return DSM_E_BUSY;
    g->is_in = true;
    g->kind = (uint8_t)event->collective.kind;
    g->members = event->collective.members;
    g->n_members = n;
    g->self_index = event->collective.self_index;
    g->root_index = event->collective.root_index;
    g->sequence++;
    g->position = 0;
    g->is_sent = false;
    g->has_payload = g->self_index == g->root_index;
    dead = dead_member(core, g);
    if (dead != DSM_RANK_NONE)
        finish(s, g, DSM_E_PEER, dead);
    else
        advance(s, g);
    return 0;
}

int dsm_collective_on_message(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;
    dsm_ref ref = dsm_table_find(&core->groups, core, m->object);
    struct dsm_group *g = ref ? dsm_at(core, ref) : NULL;
    uint64_t sequence = g ? g->sequence : 0;
    uint64_t bit = (uint64_t)1 << (m->count & 63);
    bool is_now = g && g->is_in && m->txn == sequence;

    if (m->count >= 2 * log2_up(core->config.n_ranks))
        return DSM_E_PROTO;
    if ((!is_now && m->txn != sequence + 1) || (g && g->arrived[m->txn & 1] & bit)) {
        if (!core->n_dead)
            return DSM_E_PROTO;
        core->counters.messages_dropped++; /* of one that ended here with a rank's death */
        return 0;
    }
    if (!g)
        g = group_get(core, m->object);
    g->arrived[m->txn & 1] |= bit;
    if (m->len)
        g->arrived_payload[m->txn & 1] |= bit;
    if (is_now)
        advance(s, g);
    return 0;
}

void dsm_collective_on_dead(struct dsm_step *s)
{
    struct dsm_core *core = s->core;
    uint64_t bucket;

    for (bucket = 0; bucket < dsm_table_n_buckets(&core->groups); bucket++) {
        dsm_ref ref = dsm_table_bucket(&core->groups, core, bucket);

        while (ref) {
            struct dsm_group *g = dsm_at(core, ref);
            dsm_rank_t dead = g->is_in ? dead_member(core, g) : DSM_RANK_NONE;

            if (dead != DSM_RANK_NONE)
                finish(s, g, DSM_E_PEER, dead);
            ref = g->node.next;
        }
    }
}
