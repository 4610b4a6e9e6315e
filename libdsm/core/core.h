/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core.h - the coherence protocol: decides everything, does nothing.
 *
 * dsm_core_step takes an event and appends what is to be done to a list. No I/O, no clock, no
 * globals, no allocation but from the memory given at init, no page bytes. Messages to this rank
 * itself are handled inside the step. The whole state lives in the memory given at init and refers
 * to itself by offsets, so a state can be copied with memcpy (explorer).
 *
 * Threads: one at a time; the driver's lock. Signal-handler safe.
 */
#ifndef DSM_CORE_CORE_H
#define DSM_CORE_CORE_H

#include "core/action.h"
#include "core/advice.h"
#include "core/event.h"
#include "core/placement.h"

struct dsm_core;

struct dsm_core_config {
    dsm_rank_t self;
    uint32_t n_ranks;
    uint32_t epoch;
    uint32_t job;             /* check value in every message */
    uint64_t n_pages;         /* of the region */
    uint64_t frame_limit;     /* pages of frames this rank may hold; 0: no limit */
    uint64_t seed;            /* jitter of holds */
    uint64_t hold_ns;         /* fresh grant; 0: 15,000; DSM_HOLD_NONE: no hold */
    uint64_t hold_cap_ns;     /* 0: 10,000,000 */
    uint64_t full_after_ns;   /* a fault that waits for frames fails when for so long no rank had
                               * room;   0: 1,000,000,000; DSM_FULL_NEVER */
    uint32_t prefetch_window; /* units in flight; 0: 1,024 */
    uint32_t ahead_bytes;     /* fetched ahead by itself at once, at most; 0: nothing is */
    uint32_t migratory_signs; /* as home: so many in a row make a unit one that migrates (see
                                 home.c); 0: no unit, at most DSM_MIGRATORY_SIGNS_MAX */
    const struct dsm_placement_table *placement; /* shared with the driver, not copied */
    struct dsm_advice_table *advice;             /* likewise; NULL: none is ever given */
    uint64_t memory_bytes; /* all of the core's memory; 0: derived from n_pages and n_ranks */
    uint64_t names_max;    /* addresses that may be locks here at one time, and as many that may be
                              other objects; 0: every byte, up to a bound */
};

#define DSM_MIGRATORY_SIGNS_MAX 7u
#define DSM_HOLD_NONE           UINT64_MAX
#define DSM_FULL_NEVER          UINT64_MAX
/* Units that one REQUEST or OFFER may name; a correct peer stays within. */
#define DSM_RUN_MAX_UNITS 64u
#define DSM_RANKS_MAX     65536u

/* Bytes of memory to give to init (address space; the untouched part costs nothing when the memory
 * is a fresh anonymous mapping). */
size_t dsm_core_memory_bytes(const struct dsm_core_config *config);
/* memory is zeroed, 4096-aligned. Errors: INVAL, NOMEM (memory_bytes too small). */
int dsm_core_init(void *memory, const struct dsm_core_config *config, struct dsm_core **core_out);
/* Bytes from the start of memory that hold the state now: what a copy of the state must take. */
size_t dsm_core_used_bytes(const struct dsm_core *core);

/* Most actions one step may append. */
uint32_t dsm_core_max_actions(const struct dsm_core *core);

/*
 * 0, or, with nothing changed and nothing appended:
 *   PROTO  a message that this state cannot have caused (the driver reports the peer). Also, with
 *          the state changed, when what this rank then said to itself made no sense: then a peer
 *          has lied, now or before, and the core is not to be used any more
 *   NOMEM  the arena's bound is reached
 *   INVAL  a page outside the region; less room in actions than dsm_core_max_actions
 *   BUSY   COLLECTIVE: this rank is in one of this group already; PIN: the unit is not here so
 */
int dsm_core_step(struct dsm_core *core, const struct dsm_event *event,
                  struct dsm_action_list *actions);

struct dsm_core_unit_info {
    struct dsm_unit unit;
    uint8_t access; /* DSM_ACCESS_NONE, READ or WRITE: what the app view allows */
    bool is_owner, is_zero, is_pending, is_busy, has_frame;
    dsm_rank_t owner_hint; /* DSM_RANK_NONE: unknown */
    uint32_t n_sharers;    /* at the home only */
    uint32_t request;      /* the number of the one on its way; 0: none */
};
void dsm_core_inspect(const struct dsm_core *core, dsm_page_t page,
                      struct dsm_core_unit_info *info_out);

/* Whether no frame of any of the pages is kept here, no request for them is under way, and nothing
 * is being done with them. */
bool dsm_core_is_unused(const struct dsm_core *core, dsm_page_t first, uint64_t n_pages);

/* Whether a unit is on its way that a thread asked for, be it still waiting or not: the answers
 * come on the reply lane. */
bool dsm_core_awaits_replies(const struct dsm_core *core);

/* Whether synchronisation objects are kept here. Without the driver's lock: one that is just being
 * made may be missed. */
bool dsm_core_has_objects(const struct dsm_core *core);

struct dsm_core_counters {
    uint64_t faults_read, faults_write, faults_upgrade, faults_local;
    uint64_t fetched_zero, invalidations, downgrades, prefetch_asked;
    uint64_t prefetch_late;    /* pages not asked for before their deadline */
    uint64_t private_asked;    /* units that are private by advice, and others asked for */
    uint64_t pins, pins_ended; /* units; ended by the time given while others waited */
    uint64_t ahead_asked, ahead_used, ahead_wasted; /* pages, for reading; then for writing */
    uint64_t ahead_write_asked, ahead_write_used, ahead_write_wasted;
    /* Units: found to migrate, and found not to (as home); granted as the only copy for reading,
     * and of these written later without asking anybody. */
    uint64_t migratory_found, migratory_undone, migratory_reads, migratory_writes;
    uint64_t evicted_zero, evicted_shared, evicted_owned;
    uint64_t frames_pages, frames_peak_pages;
    uint64_t messages[DSM_MSG_N_TYPES]; /* sent, by type; to itself not counted */
    uint64_t messages_dropped;          /* other epoch or job, from a dead rank, or stale */
    uint64_t directory_entries, directory_bytes;
    uint64_t arena_used_bytes, arena_bound_bytes;
};
void dsm_core_counters(const struct dsm_core *core, struct dsm_core_counters *counters_out);

#endif
