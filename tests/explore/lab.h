/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lab.h - the bench on which a world stands: memory of the cores, saving and restoring, telling
 * what happens. One lab per run; the cores always live at the same addresses, so that restoring a
 * state is copying bytes.
 */
#ifndef DSM_TESTS_EXPLORE_LAB_H
#define DSM_TESTS_EXPLORE_LAB_H

#include <setjmp.h>
#include "core/advice.h"
#include "world.h"

#define LAB_VIOLATION_BYTES 400u
#define LAB_HOLD_NS         (1ull << 48)
#define LAB_FORESIGHT_NS    (2 * LAB_HOLD_NS) /* what is later is a keep's end */
#define LAB_LOCK_STRIDE     4096u /* lock k is named by this address: the first of page k */

struct lab {
    struct world_config config;
    struct dsm_placement_table *placement;
    struct dsm_advice_range
        advised[WORLD_MAX_RANKS]; /* all units, where something is said of them */
    struct dsm_advice_table advice[WORLD_MAX_RANKS]; /* never changes */
    struct world world;
    size_t core_bytes; /* memory of one core */
    uint8_t *memories[WORLD_MAX_RANKS];
    struct dsm_core *cores[WORLD_MAX_RANKS];
    struct dsm_action_list actions; /* of the last core step */
    char violation[LAB_VIOLATION_BYTES];
    FILE *trace; /* every step is told here when not NULL */
};

/* 0 or a DSM_E code. The world is at its beginning. */
int lab_open(const struct world_config *config, struct lab **lab_out);
void lab_close(struct lab *lab);

/*
 * Hands the event to the core of rank and gives its answer. A failed assertion or a crash inside
 * the core becomes a violation instead of the end of the explorer. False: violation.
 */
bool lab_core_step(struct lab *lab, uint32_t rank, const struct dsm_event *event);

__attribute__((format(printf, 2, 3))) bool lab_violated(struct lab *lab, const char *format, ...);

/* Bytes of the world outside the cores that carry meaning. */
size_t lab_world_bytes(const struct world *world);

#endif
