/* SPDX-License-Identifier: BSD-3-Clause */
/* digest.c - see digest.h. */
#include "digest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "core/canon.h"

enum digest_kind { KIND_PLAIN, KIND_TIME, KIND_TXN, KIND_REQUEST };

#define MAX_NAMES 256u /* different numbers of one kind and subject */

static void put(struct digest_part *part, uint32_t kind, uint32_t subject, uint64_t value)
{
    assert(part->n < DIGEST_MAX_TOKENS);
    part->tokens[part->n++] = (struct digest_token){value, kind, subject};
}

static void put_plain(struct digest_part *part, uint64_t value)
{
    put(part, KIND_PLAIN, 0, value);
}

/* ---- words of the core ----------------------------------------------------------------------- */

struct canon_user {
    struct digest_part *part;
    const struct lab *lab;
};

static void put_txn(const struct lab *lab, struct digest_part *part, uint32_t unit, uint64_t txn)
{
    put(part, lab->config.has_runs ? KIND_PLAIN : KIND_TXN, unit, txn);
}

static void canon_put(void *user, uint64_t value)
{
    put_plain(((struct canon_user *)user)->part, value);
}

static void canon_put_txn(void *user, dsm_page_t unit, dsm_txn_t txn)
{
    const struct canon_user *u = user;

    put_txn(u->lab, u->part, (uint32_t)(unit / u->lab->config.unit_pages), txn);
}

static void canon_put_request(void *user, dsm_rank_t asker, uint32_t request)
{
    put(((struct canon_user *)user)->part, KIND_REQUEST, asker, request);
}

static void canon_put_time(void *user, uint64_t ns)
{
    put(((struct canon_user *)user)->part, KIND_TIME, 0, ns);
}

/* ---- words of the world ---------------------------------------------------------------------- */

static bool is_about_unit(uint8_t type)
{
    return type == DSM_MSG_REQUEST || type == DSM_MSG_FORWARD || type == DSM_MSG_INVALIDATE ||
           type == DSM_MSG_GRANT || type == DSM_MSG_ACK || type == DSM_MSG_REFUSE ||
           type == DSM_MSG_OFFER || type == DSM_MSG_OFFER_REPLY;
}

/* Turns of a lock are request numbers: of the sender's, the receiver's, and the next one's. */
static void put_turns(struct digest_part *part, const struct dsm_message *m, uint32_t to)
{
    bool is_sender_s = m->type == DSM_MSG_LOCK_ACQUIRE || m->type == DSM_MSG_LOCK_HERE;

    put(part, KIND_REQUEST, is_sender_s ? m->from : to, m->request);
    if (m->type == DSM_MSG_LOCK_FORWARD) {
        put(part, KIND_REQUEST, m->peer, m->count);
    }
}

static void put_message(const struct lab *lab, struct digest_part *part,
                        const struct dsm_message *m, uint32_t to)
{
    uint32_t asker = m->type == DSM_MSG_REQUEST || m->type == DSM_MSG_OFFER        ? m->from
                     : m->type == DSM_MSG_FORWARD || m->type == DSM_MSG_INVALIDATE ? m->peer
                                                                                   : to;
    uint32_t unit = (uint32_t)(m->object / lab->config.unit_pages);

    put_plain(part, m->type | (uint64_t)m->flags << 8 | (uint64_t)m->access << 16 |
                        (uint64_t)m->epoch << 32);
    put_plain(part, m->object);
    put_plain(part, m->peer | (uint64_t)m->acks << 32);
    put_plain(part, (m->type == DSM_MSG_LOCK_FORWARD ? 0 : m->count) | (uint64_t)m->len << 32);
    put_plain(part, m->offset | (uint64_t)m->room << 32);
    if (is_about_unit(m->type)) {
        uint32_t n = m->type == DSM_MSG_FORWARD || m->type == DSM_MSG_GRANT ? m->count : 1;
        for (uint32_t u = unit; u < unit + n; u++) {
            put_txn(lab, part, u, m->txn);
            put_txn(lab, part, u, m->prior);
        }
        put(part, KIND_REQUEST, asker, m->request);
    } else if (m->type == DSM_MSG_LOCK_GRANT) {
        /* The number of the hand-over: always the next one, or it would be a violation. */
        put_plain(part, m->txn == lab->world.fence[m->object / LAB_LOCK_STRIDE]);
    } else if (m->type == DSM_MSG_LOCK_ACQUIRE || m->type == DSM_MSG_LOCK_FORWARD ||
               m->type == DSM_MSG_LOCK_REFUSE || m->type == DSM_MSG_LOCK_HERE ||
               m->type == DSM_MSG_LOCK_BUSY) {
        put_turns(part, m, to);
    } else {
        put_plain(part, m->txn);
        put_plain(part, m->prior);
        put_plain(part, m->request);
    }
}

static void put_thread(struct digest_part *part, const struct world_thread *thread)
{
    put_plain(part, thread->state | (uint64_t)thread->pc << 8 | (uint64_t)thread->unit << 16 |
                        (uint64_t)thread->access << 24 | (uint64_t)thread->has_op << 32 |
                        (uint64_t)thread->kind_of_wait << 40 | (uint64_t)thread->is_queued << 48 |
                        (uint64_t)thread->is_relocking << 49 |
                        (uint64_t)thread->has_given_up << 50 | (uint64_t)thread->n_met << 56);
    put_plain(part, thread->held | (uint64_t)thread->held_as << 8);
    if (thread->has_op) {
        put_plain(part,
                  thread->op.kind | (uint64_t)thread->op.a << 8 | (uint64_t)thread->op.b << 16);
    }
    put_plain(part, thread->core.ip);
    put_plain(part, thread->core.waiting);
    put_plain(part, thread->core.n_granted);
    for (uint32_t i = 0; i < thread->core.n_granted; i++) {
        put_plain(part, thread->core.granted[i]);
        put_plain(part, thread->core.kept[i]);
    }
}

static void put_unit(const struct lab *lab, struct digest_part *part, uint32_t rank, uint32_t u)
{
    const struct world_unit *unit = &lab->world.ranks[rank].units[u];
    uint64_t fresh = 0;

    for (uint32_t c = 0; unit->has_frame && c < WORLD_MAX_CHUNKS; c++) {
        fresh |= (uint64_t)(unit->version[c] == lab->world.version[u]) << c;
    }
    put_plain(part, unit->access | (uint64_t)unit->has_frame << 8 |
                        (uint64_t)unit->n_receiving << 16 | (uint64_t)unit->n_effects << 24 |
                        (uint64_t)unit->n_carried_out << 32 | fresh << 40 |
                        (uint64_t)unit->n_chunks_sent << 56);
    for (uint32_t i = 0; i < unit->n_effects; i++) {
        const struct world_effect *effect = &unit->effects[i];
        put_plain(part, effect->type | (uint64_t)effect->is_zero << 8);
        if (effect->type == DSM_ACTION_SEND_BYTES) {
            put_plain(part, effect->lane | (uint64_t)effect->to << 8);
            put_message(lab, part, &effect->message, effect->to);
        }
    }
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Moments of one rank: passed, never, or their order. */
static void rename_times(struct digest_part *part, uint64_t now_ns)
{
    uint64_t times[MAX_NAMES];
    uint32_t n = 0;

    for (uint32_t i = 0; i < part->n; i++) {
        const struct digest_token *t = &part->tokens[i];
        if (t->kind == KIND_TIME && t->value > now_ns && t->value != UINT64_MAX) {
            assert(n < MAX_NAMES);
            times[n++] = t->value;
        }
    }
    if (n > 1) {
        qsort(times, n, sizeof times[0], compare_u64);
    }
    for (uint32_t i = 0; i < part->n; i++) {
        struct digest_token *t = &part->tokens[i];
        if (t->kind != KIND_TIME) {
            continue;
        }
        t->kind = KIND_PLAIN;
        if (t->value <= now_ns) {
            t->value = 0;
        } else if (t->value == UINT64_MAX) {
            t->value = 1;
        } else {
            uint64_t order = 2;
            for (uint32_t k = 0; k < n && times[k] < t->value; k++) {
                order += k == 0 || times[k] != times[k - 1];
            }
            t->value = order;
        }
    }
}

void digest_rank(const struct lab *lab, uint32_t rank, struct digest_part *part_out)
{
    const struct world_rank *r = &lab->world.ranks[rank];
    struct canon_user user = {part_out, lab};
    struct dsm_canon canon = {&user, canon_put, canon_put_txn, canon_put_request, canon_put_time};

    part_out->n = 0;
    if (lab->world.dead == rank + 1) {
        return;
    }
    put(part_out, KIND_TIME, 0, r->timer_ns);
    for (uint32_t u = 0; u < lab->config.n_units; u++) {
        put_unit(lab, part_out, rank, u);
    }
    for (uint32_t t = 0; t < lab->config.n_threads; t++) {
        put_thread(part_out, &r->threads[t]);
    }
    for (uint32_t k = 0; k < lab->config.n_locks; k++) {
        put_plain(part_out,
                  r->locks[k].token | (uint64_t)r->locks[k].is_recalled << 8 |
                      (uint64_t)r->locks[k].holder << 16 | (uint64_t)r->locks[k].is_expected << 24 |
                      (uint64_t)r->locks[k].is_used << 25 | (uint64_t)r->locks[k].is_tried << 26);
    }
    put_plain(part_out, r->n_entered | (uint64_t)r->payload << 32);
    put_plain(part_out, r->n_payloads);
    for (uint32_t i = 0; i < r->n_payloads; i++) {
        put_plain(part_out, r->payloads[i].txn);
        put_plain(part_out, r->payloads[i].round | (uint64_t)r->payloads[i].value << 32);
    }
    dsm_core_canon(lab->cores[rank], &canon);
    rename_times(part_out, r->now_ns);
}

/* A bit for each unit whose bytes are its newest content. */
static uint64_t freshness(const struct lab *lab, const struct world_message *m)
{
    uint32_t first = (uint32_t)(m->message.object / lab->config.unit_pages);
    uint64_t bits = 0;

    for (uint32_t i = 0; m->message.len > 0 && i < m->message.count; i++) {
        uint16_t version = (uint16_t)(m->value >> 16 * i);
        bits |= (uint64_t)(version == lab->world.version[first + i]) << i;
    }
    return bits;
}

static void put_messages(const struct lab *lab, struct digest_part *part)
{
    const struct world *world = &lab->world;
    uint32_t n_queues = lab->config.n_ranks * lab->config.n_ranks * DSM_N_LANES;

    for (uint32_t queue = 0; queue < n_queues && world->n_messages > 0; queue++) {
        for (uint32_t i = 0; i < world->n_messages; i++) {
            const struct world_message *m = &world->messages[i];
            uint64_t value = m->value;
            if ((m->from * lab->config.n_ranks + m->to) * DSM_N_LANES + m->lane != queue) {
                continue;
            }
            if (m->message.type == DSM_MSG_GRANT) {
                value = freshness(lab, m);
            }
            put_plain(part, queue | (uint64_t)m->is_receiving << 16 | value << 32);
            put_message(lab, part, &m->message, m->to);
        }
    }
}

/* ---- renaming and hashing -------------------------------------------------------------------- */

struct names {
    uint32_t n;
    uint64_t values[MAX_NAMES]; /* ascending, each once */
};

struct renaming {
    struct names txns[WORLD_MAX_UNITS];
    struct names requests[WORLD_MAX_RANKS];
};

static struct names *names_of(struct renaming *renaming, const struct digest_token *token)
{
    if (token->kind == KIND_TXN) {
        assert(token->subject < WORLD_MAX_UNITS);
        return &renaming->txns[token->subject];
    }
    assert(token->subject < WORLD_MAX_RANKS);
    return &renaming->requests[token->subject];
}

static void collect(struct renaming *renaming, const struct digest_part *part)
{
    for (uint32_t i = 0; i < part->n; i++) {
        const struct digest_token *token = &part->tokens[i];
        if (token->kind == KIND_PLAIN || token->value == 0) {
            continue;
        }
        struct names *names = names_of(renaming, token);
        uint32_t at = names->n;
        while (at > 0 && names->values[at - 1] > token->value) {
            at--;
        }
        if (at > 0 && names->values[at - 1] == token->value) {
            continue;
        }
        assert(names->n < MAX_NAMES);
        memmove(&names->values[at + 1], &names->values[at],
                (names->n - at) * sizeof names->values[0]);
        names->values[at] = token->value;
        names->n++;
    }
}

static uint64_t renamed(struct renaming *renaming, const struct digest_token *token)
{
    if (token->kind == KIND_PLAIN || token->value == 0) {
        return token->value;
    }
    const struct names *names = names_of(renaming, token);
    uint32_t at = 0;
    while (names->values[at] != token->value) {
        at++;
    }
    return at + 1;
}

static uint64_t mix(uint64_t x, uint64_t y)
{
    unsigned __int128 product =
        (unsigned __int128)(x ^ 0x9e3779b97f4a7c15ull) * (y ^ 0xd6e8feb86659fd93ull);

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static void hash_part(struct digest *digest, struct renaming *renaming,
                      const struct digest_part *part)
{
    for (uint32_t i = 0; i < part->n; i++) {
        uint64_t value = renamed(renaming, &part->tokens[i]);
        digest->a = mix(digest->a, value + 0xa0761d6478bd642full);
        digest->b = mix(digest->b + 0xe7037ed1a0b428dbull, value ^ 0x8ebc6af09c88c6e3ull);
    }
    digest->a = mix(digest->a, part->n + 1);
    digest->b = mix(digest->b, part->n + 7);
}

struct digest digest_world(const struct lab *lab, const struct digest_part *parts)
{
    struct digest digest = {0x243f6a8885a308d3ull, 0x13198a2e03707344ull};
    struct renaming renaming;
    struct digest_part rest;

    rest.n = 0;
    for (uint32_t u = 0; u < lab->config.n_units; u++) {
        renaming.txns[u].n = 0;
        put_plain(&rest, (lab->world.version[u] > 0) | (uint64_t)lab->world.is_dropping[u] << 1);
    }
    put_plain(&rest, lab->world.n_reclaims_left | (uint64_t)lab->world.n_crashes_left << 16 |
                         (uint64_t)lab->world.dead << 32 | (uint64_t)lab->world.has_heard << 48);
    for (uint32_t k = 0; k < lab->config.n_locks; k++) {
        const struct world_object *o = &lab->world.objects[k];
        put_plain(&rest, o->n_readers | (uint64_t)o->n_writers << 8 | (uint64_t)o->n_posted << 16 |
                             (uint64_t)o->n_taken << 24 | (uint64_t)o->n_arrived << 32 |
                             (uint64_t)o->tickets << 40 | (uint64_t)o->is_set << 56 |
                             (uint64_t)o->is_signalled << 57);
    }
    put_messages(lab, &rest);
    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        renaming.requests[rank].n = 0;
    }
    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        collect(&renaming, &parts[rank]);
    }
    collect(&renaming, &rest);
    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        hash_part(&digest, &renaming, &parts[rank]);
    }
    hash_part(&digest, &renaming, &rest);
    return digest;
}
