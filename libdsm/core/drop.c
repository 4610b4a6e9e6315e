/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drop.c - all copies of a range go, on all ranks: the end of an allocation.
 *
 * Two rounds, begun by one rank, the drop's manager. DROP_BEGIN: no rank starts a request in the
 * range any more, and each answers when its own requests there have finished. When all have,
 * nothing is under way for the range but effects, and DROP_CLEAR makes each rank forget it: copies,
 * frames, directory. (A copy dropped in the first round could be the one that a request still under
 * way elsewhere is forwarded to.)
 *
 * A program that uses the range meanwhile uses freed memory: its accesses fail.
 */
#include "core/state.h"

/* ---- units of a range that have a node: by page or by bucket, whichever is less */

typedef void (*visit)(struct dsm_step *s, struct dsm_drop *drop, dsm_ref ref);

static void visit_range(struct dsm_step *s, struct dsm_drop *drop, const struct dsm_table *table,
                        visit visit_node)
{
    struct dsm_core *core = s->core;
    uint64_t i;

    if (drop->n_pages <= table->n) {
        for (i = 0; i < drop->n_pages; i++) {
            dsm_ref ref = dsm_table_find(table, core, drop->first + i);

            if (ref)
                visit_node(s, drop, ref);
        }
        return;
    }
    for (i = 0; i < dsm_table_n_buckets(table); i++) {
        dsm_ref ref = dsm_table_bucket(table, core, i);

        while (ref) {
            const struct dsm_node *node = dsm_at(core, ref);
            dsm_ref next = node->next;

            if (node->key - drop->first < drop->n_pages)
                visit_node(s, drop, ref);
            ref = next;
        }
    }
}

/* ---- at every rank */

static struct dsm_drop *drop_of(const struct dsm_core *core, dsm_rank_t manager, uint64_t serial)
{
    dsm_ref ref = core->drops;

    while (ref) {
        struct dsm_drop *drop = dsm_at(core, ref);

        if (drop->manager == manager && drop->serial == serial)
            return drop;
        ref = drop->next;
    }
    return NULL;
}

static struct dsm_drop *drop_over(const struct dsm_core *core, dsm_page_t page)
{
    dsm_ref ref = core->drops;

    while (ref) {
        struct dsm_drop *drop = dsm_at(core, ref);

        if (page - drop->first < drop->n_pages)
            return drop;
        ref = drop->next;
    }
    return NULL;
}

bool dsm_drop_covers(const struct dsm_core *core, dsm_page_t page)
{
    return drop_over(core, page) != NULL;
}

static void erase_drop(struct dsm_core *core, struct dsm_drop *drop)
{
    dsm_ref *at = &core->drops, ref = dsm_ref_of(core, drop);

    while (*at != ref)
        at = &((struct dsm_drop *)dsm_at(core, *at))->next;
    *at = drop->next;
    if (drop->answered)
        dsm_give(core, drop->answered, core->config.n_ranks);
    dsm_give(core, ref, sizeof *drop);
}

static void answer(struct dsm_step *s, const struct dsm_drop *drop)
{
    struct dsm_message *m =
        dsm_emit_send(s, drop->manager, DSM_LANE_REQUEST, DSM_MSG_DROP_DONE, drop->first);

    m->count = (uint32_t)drop->n_pages;
    m->txn = drop->serial;
}

static void count_pending(struct dsm_step *s, struct dsm_drop *drop, dsm_ref ref)
{
    struct dsm_copy *copy = dsm_at(s->core, ref);

    drop->n_waiting += copy->pending != 0;
}

static void count_busy(struct dsm_step *s, struct dsm_drop *drop, dsm_ref ref)
{
    struct dsm_copy *copy = dsm_at(s->core, ref);

    drop->n_waiting += copy->n_effects > 0;
}

static void erase_copy(struct dsm_step *s, struct dsm_drop *drop, dsm_ref ref)
{
    struct dsm_copy *copy = dsm_at(s->core, ref);

    (void)drop;
    /* Of a request that was given up when the home was lost, while the order waited for the end of
     * a hold here. */
    dsm_holder_forget_orders(s->core, copy);
    dsm_copy_erase(s, copy);
}

static void erase_dir(struct dsm_step *s, struct dsm_drop *drop, dsm_ref ref)
{
    (void)drop;
    dsm_directory_erase(s->core, dsm_at(s->core, ref));
}

static void clear(struct dsm_step *s, struct dsm_drop *drop)
{
    struct dsm_action *a = dsm_emit(s, DSM_ACTION_DROP_RANGE);

    a->page = drop->first;
    a->n_pages = drop->n_pages;
    visit_range(s, drop, &s->core->copies, erase_copy);
    visit_range(s, drop, &s->core->directory, erase_dir);
    dsm_sync_forget(s->core, drop->first << DSM_PAGE_SHIFT, drop->n_pages << DSM_PAGE_SHIFT);
    answer(s, drop);
    drop->phase = DSM_DROP_CLEARED;
    if (drop->manager != s->core->config.self)
        erase_drop(s->core, drop);
}

static void next_if_quiet(struct dsm_step *s, struct dsm_drop *drop)
{
    if (drop->n_waiting > 0)
        return;
    if (drop->phase == DSM_DROP_FINISHING) {
        drop->phase = DSM_DROP_QUIET;
        answer(s, drop);
    } else if (drop->phase == DSM_DROP_CLEARING) {
        clear(s, drop);
    }
}

/* The unit's request has ended. */
void dsm_drop_request_ended(struct dsm_step *s, const struct dsm_copy *copy)
{
    struct dsm_drop *drop = s->core->drops ? drop_over(s->core, copy->first) : NULL;

    if (!drop || drop->phase != DSM_DROP_FINISHING)
        return;
    drop->n_waiting--;
    next_if_quiet(s, drop);
}

/* The unit's effects are done. True when the unit is gone now. */
bool dsm_drop_effects_ended(struct dsm_step *s, const struct dsm_copy *copy)
{
    struct dsm_drop *drop = s->core->drops ? drop_over(s->core, copy->first) : NULL;

    if (!drop || drop->phase != DSM_DROP_CLEARING)
        return false;
    drop->n_waiting--;
    if (drop->n_waiting > 0)
        return false;
    next_if_quiet(s, drop);
    return true;
}

static bool range_is_valid(const struct dsm_core *core, dsm_page_t first, uint64_t n_pages)
{
    dsm_ref ref = core->drops;

    if (n_pages == 0 || n_pages > UINT32_MAX || first >= core->config.n_pages ||
        n_pages > core->config.n_pages - first)
        return false;
    while (ref) {
        const struct dsm_drop *drop = dsm_at(core, ref);

        if (drop->first < first + n_pages && first < drop->first + drop->n_pages)
            return false;
        ref = drop->next;
    }
    return true;
}

static struct dsm_drop *add_drop(struct dsm_core *core, dsm_rank_t manager, uint64_t serial,
                                 dsm_page_t first, uint64_t n_pages)
{
    dsm_ref ref = dsm_take(core, sizeof(struct dsm_drop));
    struct dsm_drop *drop = dsm_at(core, ref);

    drop->next = core->drops;
    core->drops = ref;
    drop->manager = manager;
    drop->serial = serial;
    drop->first = first;
    drop->n_pages = n_pages;
    return drop;
}

static void begin(struct dsm_step *s, struct dsm_drop *drop)
{
    drop->phase = DSM_DROP_FINISHING;
    dsm_prefetch_forget(s->core, drop->first, drop->n_pages);
    visit_range(s, drop, &s->core->copies, count_pending);
    next_if_quiet(s, drop);
}

int dsm_drop_on_begin(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;

    if (m->from == core->config.self) {
        begin(s, drop_of(core, m->from, m->txn));
        return 0;
    }
    if (!range_is_valid(core, m->object, m->count) || drop_of(core, m->from, m->txn))
        return DSM_E_PROTO;
    begin(s, add_drop(core, m->from, m->txn, m->object, m->count));
    return 0;
}

int dsm_drop_on_clear(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_drop *drop = drop_of(s->core, m->from, m->txn);

    if (!drop || drop->phase != DSM_DROP_QUIET || drop->first != m->object ||
        drop->n_pages != m->count)
        return DSM_E_PROTO;
    drop->phase = DSM_DROP_CLEARING;
    visit_range(s, drop, &s->core->copies, count_busy);
    next_if_quiet(s, drop);
    return 0;
}

/* ---- at the manager */

static void tell_all(struct dsm_step *s, const struct dsm_drop *drop, enum dsm_message_type type)
{
    struct dsm_core *core = s->core;
    dsm_rank_t rank;

    for (rank = 0; rank < core->config.n_ranks; rank++) {
        struct dsm_message *m;

        if (dsm_is_dead(core, rank))
            continue;
        m = dsm_emit_send(s, rank, DSM_LANE_REQUEST, type, drop->first);
        m->count = (uint32_t)drop->n_pages;
        m->txn = drop->serial;
    }
}

static bool all_have_answered(const struct dsm_core *core, const struct dsm_drop *drop)
{
    const uint8_t *answered = dsm_at(core, drop->answered);
    dsm_rank_t rank;

    for (rank = 0; rank < core->config.n_ranks; rank++)
        if (answered[rank] < drop->round && !dsm_is_dead(core, rank))
            return false;
    return true;
}

static void next_round_if_complete(struct dsm_step *s, struct dsm_drop *drop)
{
    struct dsm_action *a;

    if (!all_have_answered(s->core, drop))
        return;
    if (dsm_step_room(s) < s->core->config.n_ranks + 16) {
        s->core->has_backlog = true;
        return;
    }
    if (drop->round == 1) {
        drop->round = 2;
        tell_all(s, drop, DSM_MSG_DROP_CLEAR);
        return;
    }
    a = dsm_emit(s, DSM_ACTION_DROPPED);
    a->page = drop->first;
    a->n_pages = drop->n_pages;
    a->id = drop->serial;
    erase_drop(s->core, drop);
}

int dsm_drop_start(struct dsm_step *s, const struct dsm_event *event)
{
    struct dsm_core *core = s->core;
    struct dsm_drop *drop;

    if (!range_is_valid(core, event->drop.first, event->drop.n_pages) ||
        drop_of(core, core->config.self, event->drop.serial))
        return DSM_E_INVAL;
    drop = add_drop(core, core->config.self, event->drop.serial, event->drop.first,
                    event->drop.n_pages);
    drop->answered = dsm_take(core, core->config.n_ranks);
    drop->round = 1;
    tell_all(s, drop, DSM_MSG_DROP_BEGIN);
    return 0;
}

int dsm_drop_on_done(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_drop *drop = drop_of(s->core, s->core->config.self, m->txn);
    uint8_t *answered;

    if (!drop || !drop->answered)
        return DSM_E_PROTO;
    answered = dsm_at(s->core, drop->answered);
    if (answered[m->from] >= drop->round)
        return DSM_E_PROTO;
    answered[m->from]++;
    next_round_if_complete(s, drop);
    return 0;
}

void dsm_drop_continue(struct dsm_step *s)
{
    dsm_ref ref = s->core->drops;

    while (ref) {
        struct dsm_drop *drop = dsm_at(s->core, ref);

        ref = drop->next;
        if (drop->answered)
            next_round_if_complete(s, drop);
    }
}

/* A rank is gone: its answers are not waited for, and drops that it managed end where they are. */
void dsm_drop_on_dead(struct dsm_step *s, dsm_rank_t rank)
{
    dsm_ref ref = s->core->drops;

    while (ref) {
        struct dsm_drop *drop = dsm_at(s->core, ref);

        ref = drop->next;
        if (drop->manager == rank)
            erase_drop(s->core, drop);
        else if (drop->answered)
            next_round_if_complete(s, drop);
    }
}
