/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * directory.c - the entries that a home keeps: owner, and the sharers with the number of the last
 * grant made to each.
 *
 * Sharers are an array sorted by rank: inside the entry while they fit, else in one node that
 * doubles. Sets of thousands of ranks cost 12 bytes a rank.
 */
#include "core/state.h"

#include <string.h>

struct dsm_dir *dsm_directory_find(const struct dsm_core *core, dsm_page_t first)
{
    dsm_ref ref = dsm_table_find(&core->directory, (void *)(uintptr_t)core, first);

    return ref ? dsm_at(core, ref) : NULL;
}

struct dsm_dir *dsm_directory_get(struct dsm_core *core, dsm_page_t first)
{
    struct dsm_dir *dir = dsm_directory_find(core, first);
    dsm_ref ref;

    if (dir)
        return dir;
    ref = dsm_take(core, sizeof *dir);
    dir = dsm_at(core, ref);
    dsm_table_add(&core->directory, core, ref, first);
    dir->owner = DSM_RANK_NONE;
    core->counters.directory_entries++;
    core->counters.directory_bytes += sizeof *dir;
    return dir;
}

/* Room for so many sharers: inline, or the power of two that the spilled array has. */
uint32_t dsm_directory_slots(uint32_t n_sharers)
{
    uint32_t slots = DSM_DIR_INLINE;

    while (slots < n_sharers)
        slots = slots < 8 ? 8 : slots * 2;
    return slots;
}

static uint32_t spill_bytes(uint32_t slots)
{
    return slots * (uint32_t)sizeof(struct dsm_sharer);
}

static void drop_spill(struct dsm_core *core, struct dsm_dir *dir, uint32_t slots)
{
    if (!dir->spill)
        return;
    core->counters.directory_bytes -= dsm_arena_node_bytes(spill_bytes(slots));
    dsm_give(core, dir->spill, spill_bytes(slots));
    dir->spill = 0;
}

void dsm_directory_clear_sharers(struct dsm_core *core, struct dsm_dir *dir)
{
    drop_spill(core, dir, dsm_directory_slots(dir->n_sharers));
    dir->n_sharers = 0;
}

void dsm_directory_erase(struct dsm_core *core, struct dsm_dir *dir)
{
    dsm_directory_clear_sharers(core, dir);
    dsm_table_remove(&core->directory, core, dsm_ref_of(core, dir));
    core->counters.directory_entries--;
    core->counters.directory_bytes -= sizeof *dir;
    dsm_give(core, dsm_ref_of(core, dir), sizeof *dir);
}

struct dsm_sharer *dsm_directory_sharers(const struct dsm_core *core, const struct dsm_dir *dir)
{
    if (dir->spill)
        return dsm_at(core, dir->spill);
    return (struct dsm_sharer *)(uintptr_t)dir->inline_sharers;
}

/* Index of the first sharer whose rank is not below. */
static uint32_t position_of(const struct dsm_core *core, const struct dsm_dir *dir, dsm_rank_t rank)
{
    const struct dsm_sharer *sharers = dsm_directory_sharers(core, dir);
    uint32_t low = 0, high = dir->n_sharers;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (sharers[mid].rank < rank)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool dsm_directory_has_sharer(const struct dsm_core *core, const struct dsm_dir *dir,
                              dsm_rank_t rank)
{
    uint32_t at = position_of(core, dir, rank);

    return at < dir->n_sharers && dsm_directory_sharers(core, dir)[at].rank == rank;
}

/* Moves the first n_kept sharers to where `slots` of them fit. */
static void resize(struct dsm_core *core, struct dsm_dir *dir, uint32_t n_kept, uint32_t slots)
{
    uint32_t old_slots = dsm_directory_slots(dir->n_sharers);
    struct dsm_sharer *from = dsm_directory_sharers(core, dir), *to;
    dsm_ref spill = 0;

    if (slots > DSM_DIR_INLINE) {
        spill = dsm_take(core, spill_bytes(slots));
        core->counters.directory_bytes += dsm_arena_node_bytes(spill_bytes(slots));
        to = dsm_at(core, spill);
    } else {
        to = dir->inline_sharers;
    }
    memcpy(to, from, n_kept * sizeof *to);
    drop_spill(core, dir, old_slots);
    dir->spill = spill;
}

/* Adds the rank, or notes the newer grant. */
void dsm_directory_add_sharer(struct dsm_core *core, struct dsm_dir *dir, dsm_rank_t rank,
                              dsm_txn_t txn)
{
    uint32_t at = position_of(core, dir, rank);
    struct dsm_sharer *sharers = dsm_directory_sharers(core, dir);

    if (dsm_planted(DSM_PLANT_FORGET_SHARER) && dir->n_sharers == 1)
        return;
    if (at == dir->n_sharers || sharers[at].rank != rank) {
        uint32_t slots = dsm_directory_slots(dir->n_sharers + 1);

        if (slots != dsm_directory_slots(dir->n_sharers)) {
            resize(core, dir, dir->n_sharers, slots);
            sharers = dsm_directory_sharers(core, dir);
        }
        memmove(&sharers[at + 1], &sharers[at], (dir->n_sharers - at) * sizeof *sharers);
        dir->n_sharers++;
        sharers[at].rank = rank;
    }
    sharers[at].txn = txn;
}

void dsm_directory_remove_sharer(struct dsm_core *core, struct dsm_dir *dir, dsm_rank_t rank)
{
    uint32_t at = position_of(core, dir, rank), slots = dsm_directory_slots(dir->n_sharers);
    struct dsm_sharer *sharers = dsm_directory_sharers(core, dir);

    if (at == dir->n_sharers || sharers[at].rank != rank)
        return;
    memmove(&sharers[at], &sharers[at + 1], (dir->n_sharers - at - 1) * sizeof *sharers);
    if (dsm_directory_slots(dir->n_sharers - 1) != slots)
        resize(core, dir, dir->n_sharers - 1, dsm_directory_slots(dir->n_sharers - 1));
    dir->n_sharers--;
}
