/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hot_waits.h - which calls of the program have waited longest, for dsmtop: always counted, in a
 * table of a fixed size. Of a program that waits in more places than it holds, those that have
 * waited least so far are forgotten for new ones.
 */
#ifndef DSM_RUNTIME_HOT_WAITS_H
#define DSM_RUNTIME_HOT_WAITS_H

#include "proto/live.h"

#define DSM_HOT_WAITS 64u

struct dsm_hot_waits {
    struct dsm_live_wait places[DSM_HOT_WAITS];
    uint32_t n_places;
};

/* Signal-handler safe. */
void dsm_hot_waits_note(struct dsm_hot_waits *waits, enum dsm_profile_object object, uint64_t addr,
                        uint64_t ip, uint64_t wait_ns);
/* The longest, the first n (or fewer); how many. */
uint32_t dsm_hot_waits_top(const struct dsm_hot_waits *waits, struct dsm_live_wait *out,
                           uint32_t n);

#endif
