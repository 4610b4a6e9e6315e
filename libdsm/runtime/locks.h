/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * locks.h - the rank's side of dsm_lock: threads of this rank share one token per lock.
 *
 * The core moves tokens between ranks. While a token is lent to this rank, taking and releasing the
 * lock is one compare-and-swap on a private word; only contention or a recall goes through the
 * driver.
 */
#ifndef DSM_RUNTIME_LOCKS_H
#define DSM_RUNTIME_LOCKS_H

#include "runtime/driver.h"

int dsm_locks_open(struct dsm_driver *driver);
void dsm_locks_close(struct dsm_driver *driver);

/* As dsm_lock and dsm_unlock; id is the address. */
int dsm_locks_acquire(struct dsm_driver *driver, uint64_t id);
int dsm_locks_release(struct dsm_driver *driver, uint64_t id);

/* Of all acquisitions, those that found the token here and free. */
uint64_t dsm_locks_retakes(struct dsm_driver *driver);

/* Actions of the core. (locked) */
void dsm_locks_on_lend(struct dsm_driver *driver, uint64_t id);
void dsm_locks_on_recall(struct dsm_driver *driver, uint64_t id);
void dsm_locks_on_lost(struct dsm_driver *driver, uint64_t id, int error, dsm_rank_t rank);

#endif
