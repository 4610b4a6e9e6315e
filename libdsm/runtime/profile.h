/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * profile.h - records what faults, where and for how long, when the user asked for it
 * (DSM_PROFILE).
 *
 * Records go by plain stores, under the driver's lock, into a mapping of the rank's file
 * (proto/profile.h has the format), so that a rank that is killed loses none. The file grows by
 * windows; the service thread prepares the next one when half of this one is full. Where it does
 * not keep up, or the file has reached its bound, records are counted as dropped.
 */
#ifndef DSM_RUNTIME_PROFILE_H
#define DSM_RUNTIME_PROFILE_H

#include "core/ids.h"
#include "proto/profile.h"

struct dsm_profile;

struct dsm_profile_config {
    const char *path; /* PATH.RANK is written */
    uint32_t rank, n_ranks;
    uint64_t base;
    uint64_t max_bytes; /* of the file */
};

/* Errors, logged: SYSTEM, NOMEM. */
int dsm_profile_start(struct dsm_profile **profile_out, const struct dsm_profile_config *config);
/* Cuts the file to what was used. Nobody records any more. */
void dsm_profile_stop(struct dsm_profile *profile);

/* All below under the driver's lock. Signal-handler safe; true when dsm_profile_serve is due. */
bool dsm_profile_add(struct dsm_profile *profile, const struct dsm_profile_slot *slot);
void dsm_profile_received(struct dsm_profile *profile, dsm_rank_t from, uint64_t len_bytes);
void dsm_profile_count(struct dsm_profile *profile, enum dsm_profile_counter counter,
                       uint64_t value);
bool dsm_profile_add_text(struct dsm_profile *profile, struct dsm_profile_slot *slot,
                          const char *text);

/* On the service thread, not under the lock, which lock and unlock take. */
void dsm_profile_serve(struct dsm_profile *profile, void (*lock)(void *), void (*unlock)(void *),
                       void *user);

#endif
