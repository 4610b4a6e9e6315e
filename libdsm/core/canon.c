/* SPDX-License-Identifier: BSD-3-Clause */
/* canon.c - see canon.h. */
#include "core/canon.h"
#include "core/state.h"

struct writer {
    const struct dsm_core *core;
    const struct dsm_canon *out;
};

static void put(const struct writer *w, uint64_t value)
{
    w->out->put(w->out->user, value);
}

/* The node with the smallest key that is at least `from`; 0: none. */
static dsm_ref node_from(const struct dsm_core *core, const struct dsm_table *table, uint64_t from)
{
    uint64_t bucket, best_key = 0;
    dsm_ref best = 0;

    for (bucket = 0; bucket < dsm_table_n_buckets(table); bucket++) {
        dsm_ref ref = dsm_table_bucket(table, (void *)(uintptr_t)core, bucket);

        while (ref) {
            const struct dsm_node *node = dsm_at(core, ref);

            if (node->key >= from && (!best || node->key < best_key)) {
                best = ref;
                best_key = node->key;
            }
            ref = node->next;
        }
    }
    return best;
}

static void put_table(const struct writer *w, const struct dsm_table *table,
                      void (*put_node)(const struct writer *w, const void *node))
{
    uint64_t from = 0;
    dsm_ref ref;

    put(w, table->n);
    while ((ref = node_from(w->core, table, from)) != 0) {
        const struct dsm_node *node = dsm_at(w->core, ref);

        put(w, node->key);
        put_node(w, node);
        if (node->key == UINT64_MAX)
            return;
        from = node->key + 1;
    }
}

static void put_order(const struct writer *w, dsm_page_t unit, const struct dsm_order *order)
{
    put(w, (uint64_t)order->type << 16 | (uint64_t)order->access << 8 | order->flags);
    put(w, (uint64_t)order->peer << 32 | order->acks);
    w->out->put_txn(w->out->user, unit, order->txn);
    w->out->put_txn(w->out->user, unit, order->prior);
    w->out->put_request(w->out->user, order->peer, order->request);
}

static void put_pending(const struct writer *w, dsm_page_t unit, const struct dsm_pending *p)
{
    put(w, (uint64_t)p->access << 8 | (uint64_t)p->is_waited << 4 | (uint64_t)p->is_async << 3 |
               (uint64_t)p->has_grant << 2 | (uint64_t)p->is_zero << 1 | (uint64_t)p->has_copy |
               (uint64_t)p->is_exclusive << 5);
    put(w, (uint64_t)p->acks_needed << 32 | p->acks_got);
    put(w, (uint64_t)p->announced_bytes << 32 | p->received_bytes);
    put(w, (uint64_t)p->granted_by << 32 | p->offered_by);
    w->out->put_txn(w->out->user, unit, p->txn);
    w->out->put_request(w->out->user, w->core->config.self, p->request);
}

static void put_copy(const struct writer *w, const void *node)
{
    const struct dsm_copy *copy = node;
    dsm_ref ref;

    put(w, (uint64_t)copy->state << 48 | (uint64_t)copy->hold << 40 |
               (uint64_t)copy->n_effects << 32 | (uint64_t)copy->fault_access << 24 | copy->flags);
    put(w, (uint64_t)copy->n_keeps << 32 | copy->receiving_bytes);
    put(w, copy->receiving_bytes ? copy->receiving_from : DSM_RANK_NONE);
    w->out->put_txn(w->out->user, copy->first, copy->seen);
    w->out->put_time(w->out->user, copy->hold != DSM_HOLD_NO ? copy->hold_until_ns : DSM_TIME_NONE);
    w->out->put_time(w->out->user, copy->n_keeps ? copy->keep_until_ns : DSM_TIME_NONE);
    put(w, copy->n_pins);
    w->out->put_time(w->out->user, copy->n_pins ? copy->pin_until_ns : DSM_TIME_NONE);
    put(w, copy->pending != 0);
    if (copy->pending)
        put_pending(w, copy->first, dsm_at(w->core, copy->pending));
    put(w, copy->answering != 0);
    if (copy->answering)
        put_order(w, copy->first, dsm_at(w->core, copy->answering));
    put(w, copy->n_orders);
    for (ref = copy->order_head; ref;) {
        const struct dsm_order *order = dsm_at(w->core, ref);

        put_order(w, copy->first, order);
        ref = order->next;
    }
}

static void put_dir(const struct writer *w, const void *node)
{
    const struct dsm_dir *dir = node;
    const struct dsm_sharer *sharers = dsm_directory_sharers(w->core, dir);
    uint32_t i;

    put(w, (uint64_t)dir->owner << 32 | dir->n_sharers);
    put(w, (uint64_t)dir->n_undone << 8 | (uint64_t)dir->n_signs << 1 | dir->is_migratory);
    w->out->put_txn(w->out->user, dir->first, dir->txn);
    w->out->put_txn(w->out->user, dir->first, dir->owner_txn);
    for (i = 0; i < dir->n_sharers; i++) {
        put(w, sharers[i].rank);
        w->out->put_txn(w->out->user, dir->first, sharers[i].txn);
    }
}

static void put_lock(const struct writer *w, const void *node)
{
    const struct dsm_lock *lock = node; /* fencing is only handed on: it steers nothing */
    dsm_ref ref;

    put(w, (uint64_t)lock->next << 32 | (uint64_t)lock->lent_flags << 16 |
               (uint64_t)lock->is_lost << 8 | lock->state);
    put(w, lock->next != DSM_RANK_NONE ? lock->next_flags : 0);
    put(w, lock->giver);
    w->out->put_request(w->out->user, w->core->config.self, lock->turn);
    if (lock->next != DSM_RANK_NONE)
        w->out->put_request(w->out->user, lock->next, lock->next_turn);
    for (ref = lock->queue.head; ref;) {
        const struct dsm_lock_place *place = dsm_at(w->core, ref);

        put(w, place->rank);
        w->out->put_request(w->out->user, place->rank, place->turn);
        ref = place->next;
    }
    put(w, UINT64_MAX);
}

static void put_wait(const struct writer *w, const struct dsm_sync_wait *wait)
{
    put(w, wait->id);
    put(w, (uint64_t)wait->rank << 32 | wait->request);
    put(w, (uint64_t)wait->op << 32 | (uint32_t)wait->error);
    put(w, wait->a);
    put(w, wait->b);
    put(w, wait->value);
}

static void put_waits(const struct writer *w, dsm_ref ref)
{
    while (ref) {
        const struct dsm_sync_wait *wait = dsm_at(w->core, ref);

        put_wait(w, wait);
        ref = wait->next;
    }
    put(w, UINT64_MAX);
}

static void put_object(const struct writer *w, const void *node)
{
    const struct dsm_sync_object *o = node;
    dsm_rank_t rank;

    put(w, (uint64_t)o->kind << 8 | (uint64_t)o->has_writer << 2 | (uint64_t)o->is_abandoned << 1 |
               o->is_lost);
    put(w, (uint64_t)o->n_dead);
    put(w, o->value);
    put_waits(w, o->waits.head);
    for (rank = 0; rank < w->core->config.n_ranks; rank++) { /* their order says nothing */
        dsm_ref ref = o->holds;

        while (ref) {
            const struct dsm_sync_hold *h = dsm_at(w->core, ref);

            if (h->rank == rank)
                put(w, (uint64_t)rank << 32 | (uint64_t)h->n_readers << 1 | h->is_writer);
            ref = h->next;
        }
    }
    put(w, UINT64_MAX);
}

static void put_ask(const struct writer *w, const void *node)
{
    const struct dsm_sync_ask *ask = node;

    put(w, ask->id);
    put(w, ask->manager);
}

static void put_group(const struct writer *w, const void *node)
{
    const struct dsm_group *g = node;

    put(w, g->sequence);
    put(w, (uint64_t)g->kind << 40 | (uint64_t)g->is_in << 34 | (uint64_t)g->is_sent << 33 |
               (uint64_t)g->has_payload << 32 | g->position);
    put(w, (uint64_t)g->n_members << 32 | g->self_index);
    put(w, g->root_index);
    put(w, g->arrived[0]);
    put(w, g->arrived[1]);
    put(w, g->arrived_payload[0]);
    put(w, g->arrived_payload[1]);
}

static void put_lists(const struct writer *w)
{
    const struct dsm_core *core = w->core;
    uint32_t class;
    dsm_ref ref;

    for (ref = core->timed; ref;) {
        const struct dsm_copy *copy = dsm_at(core, ref);

        put(w, copy->first);
        ref = copy->timed_next;
    }
    put(w, UINT64_MAX);
    if (!core->config.frame_limit)
        return; /* their order decides what is evicted, and nothing else */
    for (class = 0; class < DSM_FRAME_N_CLASSES; class ++) {
        for (ref = core->frames[class].head; ref;) {
            const struct dsm_copy *copy = dsm_at(core, ref);

            put(w, copy->first);
            ref = copy->frame_next;
        }
        put(w, UINT64_MAX);
    }
}

static void put_eviction(const struct writer *w)
{
    const struct dsm_core *core = w->core;
    dsm_ref ref;
    uint32_t i;

    for (i = 0; i < core->config.n_ranks; i++)
        put(w, (uint64_t)((const uint8_t *)core + core->tries_at)[i] << 32 |
                   dsm_core_room((struct dsm_core *)(uintptr_t)core)[i]);
    for (ref = core->starved.head; ref;) {
        const struct dsm_copy *copy = dsm_at(core, ref);

        put(w, copy->first);
        ref = copy->starved_next;
    }
    put(w, UINT64_MAX);
    for (i = 0; i < core->n_offers; i++) {
        put(w, core->offers[i].first);
        put(w, (uint64_t)core->offers[i].rank << 32 | core->offers[i].count);
    }
    put(w, UINT64_MAX);
    put(w, (uint64_t)core->sweep << 32 | core->next_candidate);
    w->out->put_time(w->out->user, core->retry_at_ns);
    w->out->put_time(w->out->user, core->starved.head ? core->full_at_ns : DSM_TIME_NONE);
}

static void put_hints(const struct writer *w)
{
    uint32_t i;

    put(w, (uint64_t)w->core->demands_in_flight << 32 | w->core->prefetch_in_flight);
    for (i = 0; i < w->core->n_hints; i++) {
        const struct dsm_hint *hint = &w->core->hints[i];

        put(w, hint->next);
        w->out->put_time(w->out->user, hint->deadline_ns);
        put(w, hint->left_pages << 8 | hint->access);
    }
    put(w, UINT64_MAX);
}

static void put_drops(const struct writer *w)
{
    dsm_ref ref = w->core->drops;
    uint32_t rank;

    while (ref) {
        const struct dsm_drop *drop = dsm_at(w->core, ref);

        put(w, drop->manager);
        put(w, drop->serial);
        put(w, drop->first);
        put(w, drop->n_pages);
        put(w, drop->n_waiting);
        put(w, (uint64_t)drop->round << 8 | drop->phase);
        for (rank = 0; drop->answered && rank < w->core->config.n_ranks; rank++)
            put(w, ((const uint8_t *)dsm_at(w->core, drop->answered))[rank]);
        ref = drop->next;
    }
    put(w, UINT64_MAX);
}

void dsm_core_canon(const struct dsm_core *core, const struct dsm_canon *out)
{
    struct writer w = {.core = core, .out = out};
    uint32_t rank;

    out->put_request(out->user, core->config.self, core->next_request);
    out->put_time(out->user, core->timer_at_ns);
    put(&w,
        (uint64_t)core->lost_rank << 2 | (uint64_t)core->knows_of_loss << 1 | core->has_backlog);
    for (rank = 0; rank < core->config.n_ranks; rank++)
        put(&w, dsm_is_dead(core, rank));
    put_table(&w, &core->copies, put_copy);
    put_table(&w, &core->directory, put_dir);
    put_table(&w, &core->locks, put_lock);
    put_table(&w, &core->groups, put_group);
    put_table(&w, &core->objects, put_object);
    put_table(&w, &core->asks, put_ask);
    put_waits(&w, core->answers.head);
    put_lists(&w);
    if (core->config.frame_limit)
        put_eviction(&w);
    put_hints(&w);
    put_drops(&w);
}
