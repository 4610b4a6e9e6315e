/* SPDX-License-Identifier: BSD-3-Clause */
/* check.h - the properties. False: violated, lab->violation says how. */
#ifndef DSM_TESTS_EXPLORE_CHECK_H
#define DSM_TESTS_EXPLORE_CHECK_H

#include "world.h"

/* After every step: one writer or many readers over what is really mapped, and every page that can
 * be seen holds the newest content. */
bool check_mappings(struct lab *lab);
/* Bytes may come into the frame only when nobody can see or send it. */
bool check_may_receive(struct lab *lab, uint32_t rank, uint32_t unit);
/* The key with which a driver lets bytes be written into its frames, for this request alone. */
uint32_t check_key_of(uint32_t asker, uint32_t request);
/* Bytes leave with a key, and may be written into the asker's frame from now on: the key must be
 * that of a request under way there, and the frame in nobody's use. */
bool check_may_land(struct lab *lab, uint32_t asker, const struct dsm_message *grant,
                    uint32_t unit);
/* A message is about to be delivered: what its rank calls read mostly never comes as the only copy
 * for reading. */
bool check_advice(struct lab *lab, uint32_t rank, const struct dsm_message *message);
/* The next effect of the unit is about to be carried out. */
bool check_effect(struct lab *lab, uint32_t rank, uint32_t unit);
/* rank is about to hold the lock / to leave its n-th collective with this payload. */
bool check_lock(struct lab *lab, uint32_t rank, uint32_t lock);
/* The drop of the unit is over: nothing of it may be left. */
bool check_dropped(struct lab *lab, uint32_t unit);
bool check_collective(struct lab *lab, uint32_t rank, uint8_t kind);

#endif
