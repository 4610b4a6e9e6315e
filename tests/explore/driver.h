/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver.h - what threads and drivers of a rank do in one step. Every function returns false when a
 * property is violated (lab->violation).
 */
#ifndef DSM_TESTS_EXPLORE_DRIVER_H
#define DSM_TESTS_EXPLORE_DRIVER_H

#include "world.h"

bool driver_thread(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op);
bool driver_fault(struct lab *lab, uint32_t rank, uint32_t index);
bool driver_resume(struct lab *lab, uint32_t rank, uint32_t index);
bool driver_deliver(struct lab *lab, uint32_t message);
bool driver_received(struct lab *lab, uint32_t message);
bool driver_effect(struct lab *lab, uint32_t rank, uint32_t unit);
/* Units from this one on whose bytes may leave in one grant now; 0 or 1: there is nothing to join.
 */
uint32_t driver_run_length(const struct lab *lab, uint32_t rank, uint32_t unit);
bool driver_run(struct lab *lab, uint32_t rank, uint32_t unit);
bool driver_done(struct lab *lab, uint32_t rank, uint32_t unit);
void driver_crash(struct lab *lab, uint32_t rank);
bool driver_view(struct lab *lab, uint32_t rank);
bool driver_timer(struct lab *lab, uint32_t rank);
bool driver_return(struct lab *lab, uint32_t rank, uint32_t lock);

/* The thread has waited long enough; sync.c. */
bool driver_can_give_up(const struct lab *lab, uint32_t rank, uint32_t index);
bool driver_give_up(struct lab *lab, uint32_t rank, uint32_t index);
/* Operations on synchronisation objects, and the core's answers to them; sync.c. */
bool driver_sync(struct lab *lab, uint32_t rank, uint32_t index, struct program_op op);
bool driver_sync_done(struct lab *lab, uint32_t rank, const struct dsm_action *action);
bool driver_sync_queued(struct lab *lab, uint32_t rank, const struct dsm_action *action);
/* The thread gives back what it holds of a reader-writer lock, or dies with it. */
void sync_end_hold(struct lab *lab, struct world_thread *thread);
/* The thread goes on behind the unlock that belongs to its operation. */
void driver_skip_locked(struct lab *lab, uint32_t rank, uint32_t index);

/* Can a thread that waits for the lock do something now: take it, or ask for it? */
bool driver_can_lock(const struct lab *lab, uint32_t rank, uint32_t lock);
/* The reply lane is read only by threads that wait. */
bool driver_has_waiter(const struct lab *lab, uint32_t rank);
/* The next moment after now at which the core of rank changes its mind; UINT64_MAX: none. */
uint64_t driver_next_moment(const struct lab *lab, uint32_t rank);

/* Carries out what a core step asked for, as far as it is not an effect; actions.c. */
bool actions_take(struct lab *lab, uint32_t rank);
/* Puts a message at the end of its queue; actions.c. */
bool actions_send(struct lab *lab, uint32_t rank, uint32_t to, uint32_t lane,
                  const struct dsm_message *message, uint64_t value);

#endif
