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
/* The next effect of the unit is about to be carried out. */
bool check_effect(struct lab *lab, uint32_t rank, uint32_t unit);
/* rank is about to hold the lock / to leave its n-th collective with this payload. */
bool check_lock(struct lab *lab, uint32_t rank, uint32_t lock);
/* The drop of the unit is over: nothing of it may be left. */
bool check_dropped(struct lab *lab, uint32_t unit);
bool check_collective(struct lab *lab, uint32_t rank, uint8_t kind);

#endif
