/* SPDX-License-Identifier: BSD-3-Clause */
/* check.c - the properties; see check.h. */
#include "check.h"

#include "driver.h"
#include "lab.h"

bool check_mappings(struct lab *lab)
{
    const struct world *world = &lab->world;

    for (uint32_t u = 0; u < lab->config.n_units; u++) {
        uint32_t n_writers = 0, n_mapped = 0;
        if (world->is_dropping[u]) {
            continue;
        }
        for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
            const struct world_unit *unit = &world->ranks[rank].units[u];
            if (unit->access == DSM_ACCESS_NONE) {
                continue;
            }
            n_mapped++;
            n_writers += unit->access == DSM_ACCESS_WRITE;
            for (uint32_t c = 0; c < WORLD_MAX_CHUNKS; c++) {
                if (unit->version[c] != world->version[u]) {
                    return lab_violated(lab,
                                        "stale value: rank %u can see version %u of unit %u, the "
                                        "last store made version %u",
                                        rank, unit->version[c], u, world->version[u]);
                }
            }
        }
        if (n_writers > 0 && n_mapped > 1) {
            return lab_violated(lab,
                                "one writer or many readers: unit %u is mapped on %u ranks, "
                                "read-write on %u",
                                u, n_mapped, n_writers);
        }
    }
    return true;
}

bool check_may_receive(struct lab *lab, uint32_t rank, uint32_t u)
{
    const struct world_unit *unit = &lab->world.ranks[rank].units[u];

    if (unit->access != DSM_ACCESS_NONE) {
        return lab_violated(lab, "rank %u receives into unit %u while the program can see it", rank,
                            u);
    }
    for (uint32_t i = unit->n_carried_out; i < unit->n_effects; i++) {
        uint8_t type = unit->effects[i].type;
        if (type == DSM_ACTION_SEND_BYTES || type == DSM_ACTION_MAP_READ ||
            type == DSM_ACTION_MAP_WRITE) {
            return lab_violated(lab,
                                "rank %u receives into unit %u while a send or a mapping of it is "
                                "still to be carried out",
                                rank, u);
        }
    }
    return true;
}

uint32_t check_key_of(uint32_t asker, uint32_t request)
{
    return (asker + 1) << 24 | request;
}

bool check_may_land(struct lab *lab, uint32_t asker, const struct dsm_message *grant, uint32_t unit)
{
    struct dsm_core_unit_info info;

    if (lab->world.dead != 0) {
        return true; /* keys of before are worth nothing */
    }
    dsm_core_inspect(lab->cores[asker], (dsm_page_t)unit * lab->config.unit_pages, &info);
    if (grant->key != check_key_of(asker, grant->request) || info.request != grant->request) {
        return lab_violated(lab,
                            "bytes of unit %u go to rank %u with key %x for request %u while its "
                            "request %u is under way",
                            unit, asker, grant->key, grant->request, info.request);
    }
    return check_may_receive(lab, asker, unit);
}

bool check_advice(struct lab *lab, uint32_t rank, const struct dsm_message *m)
{
    if (m->type != DSM_MSG_GRANT || !(m->flags & DSM_MSG_F_EXCLUSIVE)) {
        return true;
    }
    for (uint32_t i = 0; i < m->count; i++) {
        dsm_page_t page = m->object + (dsm_page_t)i * lab->config.unit_pages;
        const struct dsm_advice_range *range = dsm_advice_find(&lab->advice[rank], page);

        if (range != NULL && range->kind == DSM_ADVICE_KIND_READ_MOSTLY) {
            return lab_violated(lab,
                                "rank %u, which calls page %u read mostly, gets the only copy of "
                                "it for reading",
                                rank, (uint32_t)page);
        }
    }
    return true;
}

bool check_effect(struct lab *lab, uint32_t rank, uint32_t u)
{
    const struct world_unit *unit = &lab->world.ranks[rank].units[u];
    const struct world_effect *effect = &unit->effects[unit->n_carried_out];

    switch ((enum dsm_action_type)effect->type) {
    case DSM_ACTION_MAP_READ:
        if (unit->access == DSM_ACCESS_WRITE) {
            return lab_violated(lab, "rank %u maps unit %u read-only over a read-write mapping",
                                rank, u);
        }
        /* fall through */
    case DSM_ACTION_MAP_WRITE:
        if (unit->n_receiving > 0) {
            return lab_violated(lab, "rank %u maps unit %u while its bytes are coming in", rank, u);
        }
        if (!unit->has_frame && !effect->is_zero) {
            return lab_violated(lab, "rank %u maps unit %u, which has no frame", rank, u);
        }
        return true;
    case DSM_ACTION_PUNCH:
        if (unit->access != DSM_ACCESS_NONE || unit->n_receiving > 0) {
            return lab_violated(lab, "rank %u gives back the frame of unit %u, which is %s", rank,
                                u, unit->n_receiving > 0 ? "being received" : "mapped");
        }
        return true;
    case DSM_ACTION_SEND_BYTES:
        if (unit->access == DSM_ACCESS_WRITE || unit->n_receiving > 0 || !unit->has_frame) {
            return lab_violated(lab, "rank %u sends unit %u, which %s", rank, u,
                                !unit->has_frame        ? "has no frame"
                                : unit->n_receiving > 0 ? "is being received"
                                                        : "the program can still write");
        }
        return true;
    case DSM_ACTION_DOWNGRADE:
    case DSM_ACTION_UNMAP:
    default:
        return true;
    }
}

bool check_lock(struct lab *lab, uint32_t rank, uint32_t lock)
{
    for (uint32_t other = 0; other < lab->config.n_ranks; other++) {
        const struct world_lock *l = &lab->world.ranks[other].locks[lock];
        if (other != rank && (l->token == TOKEN_LENT || l->holder != 0)) {
            return lab_violated(lab, "lock %u is lent to rank %u while rank %u has it", lock, rank,
                                other);
        }
    }
    return true;
}

bool check_collective(struct lab *lab, uint32_t rank, uint8_t kind)
{
    const struct world_rank *r = &lab->world.ranks[rank];
    uint32_t all = 0;

    for (uint32_t other = 0; other < lab->config.n_ranks; other++) {
        all |= 1u << (8 * other);
        if (kind != OP_BCAST && lab->world.ranks[other].n_entered < r->n_entered) {
            return lab_violated(lab, "rank %u leaves collective %u, which rank %u has not entered",
                                rank, r->n_entered, other);
        }
    }
    if ((kind == OP_ALLREDUCE && r->payload != all) || (kind == OP_BCAST && r->payload != 1u)) {
        return lab_violated(lab,
                            "rank %u leaves %s with contributions %08x (a byte for each rank: how "
                            "often its value is in)",
                            rank, kind == OP_BCAST ? "a broadcast" : "an all-reduce", r->payload);
    }
    return true;
}

bool check_dropped(struct lab *lab, uint32_t u)
{
    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        const struct world_unit *unit = &lab->world.ranks[rank].units[u];
        if (unit->access != DSM_ACCESS_NONE || unit->has_frame) {
            return lab_violated(lab, "unit %u is said to be dropped, rank %u still has it %s", u,
                                rank, unit->has_frame ? "in a frame" : "mapped");
        }
    }
    return true;
}

static bool check_unit_at_rest(struct lab *lab, uint32_t u)
{
    const struct world *world = &lab->world;
    uint32_t n_owners = 0;

    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        const struct world_unit *unit = &world->ranks[rank].units[u];
        struct dsm_core_unit_info info;
        if (world->dead == rank + 1) {
            continue;
        }
        dsm_core_inspect(lab->cores[rank], (dsm_page_t)u * lab->config.unit_pages, &info);
        if ((info.is_pending && world->dead == 0) || info.is_busy || unit->n_effects > 0 ||
            unit->n_receiving > 0) {
            return lab_violated(lab, "at the end unit %u is still %s on rank %u", u,
                                info.is_pending ? "asked for" : "busy", rank);
        }
        if (unit->access > info.access) {
            return lab_violated(lab, "at the end rank %u can %s unit %u, its core knows of %s",
                                rank, unit->access == DSM_ACCESS_WRITE ? "write" : "read", u,
                                info.access == DSM_ACCESS_READ ? "reading" : "no access");
        }
        if (info.has_frame != unit->has_frame && world->dead == 0) {
            return lab_violated(lab,
                                "at the end rank %u %s a frame of unit %u, its core thinks "
                                "otherwise",
                                rank, unit->has_frame ? "has" : "has not", u);
        }
        n_owners += info.is_owner;
        if (info.is_owner && unit->has_frame && unit->version[0] != world->version[u]) {
            return lab_violated(lab, "at the end rank %u owns unit %u with old content", rank, u);
        }
    }
    if (n_owners > 1 || (n_owners == 0 && world->version[u] > 0 && world->dead == 0)) {
        return lab_violated(lab, "at the end unit %u has %u owners", u, n_owners);
    }
    return true;
}

bool world_check_end(struct lab *lab)
{
    const struct world *world = &lab->world;

    if (!world_is_finished(lab)) {
        return lab_violated(lab, "deadlock: no step is possible and a program has not finished");
    }
    /* After a death nobody may be left to read the answers that came too late. */
    if (world->n_messages > 0 && world->dead == 0) {
        return lab_violated(lab, "at the end %u messages have not been read (first: %u to %u)",
                            world->n_messages, world->messages[0].from, world->messages[0].to);
    }
    for (uint32_t u = 0; u < lab->config.n_units; u++) {
        if (!check_unit_at_rest(lab, u)) {
            return false;
        }
    }
    return true;
}
