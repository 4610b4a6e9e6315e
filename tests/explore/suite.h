/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * suite.h - the instances that are explored: what make check runs, and what is run on demand.
 */
#ifndef DSM_TESTS_EXPLORE_SUITE_H
#define DSM_TESTS_EXPLORE_SUITE_H

#include "world.h"

struct suite_instance {
    const char *name;
    const char *programs; /* ranks divided by '|', threads by ',' */
    uint32_t n_ranks, n_units, unit_pages, n_locks;
    uint64_t frame_limit;
    enum dsm_placement_kind placement;
    uint32_t n_reclaims;
    uint32_t n_crashes;
    bool has_gaps;        /* traps and effects in two steps each, see world.h */
    bool has_migration;   /* homes look for units that migrate */
    bool is_last_advised; /* advice is about the last unit only */
    const char *advice;   /* a letter a rank, what it says of all units: r read mostly, m migratory,
                           * - nothing. NULL: none says anything */
    bool may_be_full;
    bool keeps_end;
    bool is_quick;    /* part of make check */
    uint64_t n_walks; /* 0: every state; else so many random schedules */
    const char *aim;  /* what it is about */
};

extern const struct suite_instance suite_instances[];
extern const uint32_t suite_n_instances;

/* The instance in which a planted fault (enum dsm_plant) shows; NULL: in none. */
const struct suite_instance *suite_for_plant(int plant);

/* False, with a line in why, when it is wrong. */
bool suite_config(const struct suite_instance *instance, struct world_config *config_out, char *why,
                  size_t why_bytes);

#endif
