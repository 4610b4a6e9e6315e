/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * home.c - the home serves requests: decides, updates the directory, tells owner and sharers, and
 * waits for nobody.
 *
 * Requests for a unit are served in the order of their arrival; each gets the unit's next number.
 * What it sends carries the number of the last grant that it made to the destination, because that
 * grant may still be on its way there (holder.c waits for it, and for nothing else).
 *
 * The units of a run get the same number, above the last one of each: so what is said about them to
 * one rank often differs in nothing but the unit, and then it is said in one message. (Numbers are
 * only compared within a unit; gaps do no harm.)
 *
 * A unit migrates when rank after rank reads and then writes it. The sign is an upgrade by the only
 * sharer of what another rank wrote last (the adaptive protocols of Cox and Fowler, ISCA 1993, and
 * of Stenstrom, Brorsson and Sandberg, ISCA 1993). From then on a reader gets it as the owner with
 * the only copy, which saves the upgrade. An owner that hands it over without having written it
 * says so (UNWRITTEN), and the unit is an ordinary one again; each such time twice as many signs
 * are asked for, so that a unit that is now this and now that costs little. To be wrong costs two
 * transfers, to see it late an upgrade for each sign: so a driver asks for more than one sign.
 */
#include "core/state.h"

#define MAX_UNDONE 2u
_Static_assert(DSM_MIGRATORY_SIGNS_MAX << MAX_UNDONE < 1u << 5, "n_signs is large enough");

struct ask {
    dsm_page_t unit;
    dsm_rank_t asker;
    uint8_t access, flags;
    uint32_t request;
    dsm_rank_t offered_by; /* access OWN */
    uint32_t key;
    uint32_t unit_pages;
    dsm_txn_t txn;         /* of all units of the run */
    uint32_t first_action; /* of those that the run has caused */
};

static uint8_t async_flag(const struct ask *ask)
{
    return ask->flags & DSM_MSG_F_ASYNC;
}

static void refuse(struct dsm_step *s, const struct ask *ask, dsm_rank_t gone)
{
    struct dsm_message *m =
        dsm_emit_send(s, ask->asker, dsm_answer_lane(ask->flags), DSM_MSG_REFUSE, ask->unit);

    m->access = ask->access;
    m->flags = async_flag(ask);
    m->request = ask->request;
    m->peer = gone;
}

/* Whether what was said in `said` about units of this run holds for the next one as well. */
static bool is_continued(const struct dsm_message *said, const struct dsm_message *m,
                         const struct ask *ask)
{
    return said->type == m->type &&
           said->object + (uint64_t)said->count * ask->unit_pages == ask->unit &&
           said->flags == m->flags && said->access == m->access && said->request == m->request &&
           said->peer == m->peer &&
           (said->txn == m->txn || dsm_planted(DSM_PLANT_RUN_OWN_NUMBERS)) &&
           said->acks == m->acks &&
           (said->prior == m->prior || dsm_planted(DSM_PLANT_RUN_FIRST_PRIOR));
}

/* The message of this run to `to` that can take the next unit in; NULL: none. What is said about
 * other units may be overtaken. */
static struct dsm_message *find_said(struct dsm_step *s, dsm_rank_t to, const struct dsm_message *m,
                                     const struct ask *ask)
{
    struct dsm_core *core = s->core;
    uint32_t i;

    if (to == core->config.self) {
        struct dsm_local_message *last = core->local.tail ? dsm_at(core, core->local.tail) : NULL;

        return last && is_continued(&last->message, m, ask) ? &last->message : NULL;
    }
    for (i = s->out->n; i > ask->first_action; i--) {
        struct dsm_action *a = &s->out->items[i - 1];

        if (a->type == DSM_ACTION_SEND && a->to == to && a->message.type == m->type)
            return is_continued(&a->message, m, ask) ? &a->message : NULL;
    }
    return NULL;
}

/* A message about the unit, or one unit more in that about the unit before. */
static void say(struct dsm_step *s, dsm_rank_t to, enum dsm_lane lane, const struct dsm_message *m,
                const struct ask *ask)
{
    struct dsm_message *said = find_said(s, to, m, ask);

    if (said) {
        said->count++;
        return;
    }
    said = dsm_emit_send(s, to, lane, (enum dsm_message_type)m->type, ask->unit);
    said->flags = m->flags;
    said->access = m->access;
    said->request = m->request;
    said->peer = m->peer;
    said->txn = m->txn;
    said->prior = m->prior;
    said->acks = m->acks;
    said->key = m->key;
    said->count = 1;
}

/* A grant without bytes by the home itself: F_ZERO or F_NO_BYTES. */
static void grant(struct dsm_step *s, const struct ask *ask, dsm_txn_t txn, uint32_t acks,
                  uint8_t how)
{
    const struct dsm_message m = {.type = DSM_MSG_GRANT,
                                  .access = ask->access,
                                  .flags = (uint8_t)(async_flag(ask) | how),
                                  .request = ask->request,
                                  .peer = DSM_RANK_NONE,
                                  .txn = txn,
                                  .acks = acks};

    say(s, ask->asker, dsm_answer_lane(ask->flags), &m, ask);
}

static void forward(struct dsm_step *s, const struct ask *ask, const struct dsm_dir *dir,
                    uint32_t acks, uint8_t how)
{
    const struct dsm_message m = {.type = DSM_MSG_FORWARD,
                                  .access = ask->access,
                                  .flags = (uint8_t)(async_flag(ask) | how),
                                  .request = ask->request,
                                  .peer = ask->asker,
                                  .txn = dir->txn,
                                  .prior = dir->owner_txn,
                                  .acks = acks,
                                  .key = ask->key};

    say(s, dir->owner, DSM_LANE_REQUEST, &m, ask);
}

/* Tells every sharer but the asker; returns how many acknowledgements the asker will get. */
static uint32_t invalidate_sharers(struct dsm_step *s, const struct ask *ask,
                                   const struct dsm_dir *dir)
{
    const struct dsm_sharer *sharers = dsm_directory_sharers(s->core, dir);
    uint32_t acks = 0, i;

    for (i = 0; i < dir->n_sharers; i++) {
        struct dsm_message *m;

        if (sharers[i].rank == ask->asker || dsm_is_dead(s->core, sharers[i].rank))
            continue;
        m = dsm_emit_send(s, sharers[i].rank, DSM_LANE_REQUEST, DSM_MSG_INVALIDATE, ask->unit);
        m->flags = async_flag(ask);
        m->request = ask->request;
        m->peer = ask->asker;
        m->txn = dir->txn;
        m->prior = sharers[i].txn;
        acks++;
    }
    return acks;
}

/* The unit's next transaction. */
static void number(const struct ask *ask, struct dsm_dir *dir)
{
    dir->txn = dsm_planted(DSM_PLANT_RUN_OWN_NUMBERS) ? dir->txn + 1 : ask->txn;
}

static void become_owner(const struct ask *ask, struct dsm_dir *dir)
{
    dir->owner = ask->asker;
    dir->owner_txn = dir->txn;
}

static bool is_exclusive(const struct dsm_dir *dir)
{
    return dir->is_migratory && dir->owner != DSM_RANK_NONE && dir->n_sharers == 0;
}

static void serve_read(struct dsm_step *s, const struct ask *ask, struct dsm_dir *dir)
{
    number(ask, dir);
    if (is_exclusive(dir) && !(ask->flags & DSM_MSG_F_SHARE)) {
        forward(s, ask, dir, 0, DSM_MSG_F_EXCLUSIVE);
        become_owner(ask, dir);
        return;
    }
    if (dir->owner == DSM_RANK_NONE)
        grant(s, ask, dir->txn, 0, DSM_MSG_F_ZERO);
    else
        forward(s, ask, dir, 0, 0);
    dsm_directory_add_sharer(s->core, dir, ask->asker, dir->txn);
}

/* An upgrade: does the unit migrate? */
static void look_for_migration(struct dsm_core *core, const struct ask *ask, struct dsm_dir *dir)
{
    if (dir->is_migratory || core->config.migratory_signs == 0)
        return;
    if (dir->n_sharers != 1 || dir->owner == DSM_RANK_NONE || dir->owner == ask->asker) {
        dir->n_signs = 0;
        return;
    }
    dir->n_signs++;
    if (dir->n_signs < core->config.migratory_signs << dir->n_undone)
        return;
    dir->n_signs = 0;
    dir->is_migratory = true;
    core->counters.migratory_found++;
}

int dsm_home_on_unwritten(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_dir *dir;

    if (m->object >= s->core->config.n_pages)
        return DSM_E_PROTO;
    dir = dsm_directory_find(s->core, m->object);
    if (!dir || !dir->is_migratory)
        return 0; /* freed meanwhile, or told by somebody else */
    dir->is_migratory = false;
    if (dir->n_undone < MAX_UNDONE)
        dir->n_undone++;
    s->core->counters.migratory_undone++;
    return 0;
}

static void serve_write(struct dsm_step *s, const struct ask *ask, struct dsm_dir *dir)
{
    /* The copy that the asker had when it asked counts only if it was not invalidated meanwhile:
     * then the asker is still a sharer here. */
    bool has_copy =
        (ask->flags & DSM_MSG_F_HAS_COPY) && (dsm_directory_has_sharer(s->core, dir, ask->asker) ||
                                              dsm_planted(DSM_PLANT_HONOUR_ANY_COPY));
    uint32_t acks;

    number(ask, dir);
    if (has_copy)
        look_for_migration(s->core, ask, dir);
    acks = invalidate_sharers(s, ask, dir);
    if (dir->owner == ask->asker)
        grant(s, ask, dir->txn, acks, DSM_MSG_F_NO_BYTES);
    else if (dir->owner == DSM_RANK_NONE)
        grant(s, ask, dir->txn, acks, has_copy ? DSM_MSG_F_NO_BYTES : DSM_MSG_F_ZERO);
    else
        forward(s, ask, dir, acks, has_copy ? DSM_MSG_F_NO_BYTES : 0);
    dsm_directory_clear_sharers(s->core, dir);
    become_owner(ask, dir);
}

/* The asker takes over a unit that its owner has no room for; sharers stay. */
static void serve_own(struct dsm_step *s, const struct ask *ask, struct dsm_dir *dir)
{
    bool has_copy =
        (ask->flags & DSM_MSG_F_HAS_COPY) && dsm_directory_has_sharer(s->core, dir, ask->asker);

    number(ask, dir);
    forward(s, ask, dir, 0, has_copy ? DSM_MSG_F_NO_BYTES : 0);
    dsm_directory_remove_sharer(s->core, dir, ask->asker);
    become_owner(ask, dir);
}

/* An owner asks for nothing but an upgrade of the copy it keeps. */
static bool asks_for_its_own(const struct dsm_dir *dir, const struct ask *ask)
{
    return dir->owner == ask->asker && ask->access != DSM_ACCESS_OWN &&
           !(ask->access == DSM_ACCESS_WRITE && (ask->flags & DSM_MSG_F_HAS_COPY));
}

static void serve(struct dsm_step *s, const struct ask *ask)
{
    struct dsm_dir *dir = dsm_directory_get(s->core, ask->unit);

    if (asks_for_its_own(dir, ask)) {
        /* The grant that made it the owner was lost with a rank, and the content with it. The asker
         * may know of that loss before the home does. */
        if (s->core->n_dead > 0)
            dir->owner = s->core->lost_rank;
        refuse(s, ask, s->core->knows_of_loss ? s->core->lost_rank : DSM_RANK_NONE);
        return;
    }
    if (dir->owner != DSM_RANK_NONE && dsm_is_dead(s->core, dir->owner)) {
        refuse(s, ask, dir->owner);
        return;
    }
    switch ((enum dsm_message_access)ask->access) {
    case DSM_ACCESS_READ:
        serve_read(s, ask, dir);
        return;
    case DSM_ACCESS_WRITE:
        serve_write(s, ask, dir);
        return;
    case DSM_ACCESS_OWN:
        /* Meanwhile somebody else may have written it: that one has room for it. */
        if (dir->owner != ask->offered_by || dir->owner == ask->asker)
            refuse(s, ask, DSM_RANK_NONE);
        else
            serve_own(s, ask, dir);
        return;
    case DSM_ACCESS_NONE:
        break;
    }
    assert(false);
}

/* Above the last number of every unit of the run. */
static dsm_txn_t next_number(const struct dsm_core *core, const struct dsm_unit *first,
                             uint32_t count)
{
    dsm_txn_t last = 0;
    uint32_t i;

    for (i = 0; i < count; i++) {
        const struct dsm_dir *dir =
            dsm_directory_find(core, first->first + (uint64_t)i * first->n_pages);

        if (dir && dir->txn > last)
            last = dir->txn;
    }
    return last + 1;
}

int dsm_home_on_request(struct dsm_step *s, const struct dsm_message *m)
{
    struct dsm_core *core = s->core;
    struct dsm_unit unit;
    struct ask ask = {.unit = m->object,
                      .asker = m->from,
                      .access = m->access,
                      .flags = m->flags,
                      .request = m->request,
                      .offered_by = m->peer,
                      .key = m->key};
    uint32_t i;

    if (m->object >= core->config.n_pages || m->count == 0 || m->count > DSM_RUN_MAX_UNITS ||
        m->access == DSM_ACCESS_NONE || m->access > DSM_ACCESS_OWN || m->request == 0)
        return DSM_E_PROTO;
    if (m->access == DSM_ACCESS_OWN && m->peer >= core->config.n_ranks)
        return DSM_E_PROTO;
    unit = dsm_placement_unit(core->config.placement, m->object);
    if ((uint64_t)unit.n_pages * m->count > core->config.n_pages - m->object)
        return DSM_E_PROTO;
    ask.unit_pages = unit.n_pages;
    ask.txn = next_number(core, &unit, m->count);
    ask.first_action = s->out->n;
    for (i = 0; i < m->count; i++) {
        struct dsm_unit here;

        ask.unit = m->object + (uint64_t)i * unit.n_pages;
        here = dsm_placement_unit(core->config.placement, ask.unit);
        /* Units that this rank does not know so were freed under the asker: its program's fault,
         * not its runtime's. */
        if (here.first != ask.unit || here.n_pages != unit.n_pages ||
            here.home != core->config.self || dsm_drop_covers(core, ask.unit))
            refuse(s, &ask, DSM_RANK_NONE);
        else
            serve(s, &ask);
    }
    return 0;
}
