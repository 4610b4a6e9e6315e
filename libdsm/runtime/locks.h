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

/* A thread in the queue of its rank, on its stack. */
struct dsm_lock_waiter {
    struct dsm_waiter wait;
    struct dsm_lock_waiter *next;
    bool may_give_up;
    bool is_try;
    bool is_gone;   /* the memory that names the lock was freed meanwhile */
    bool is_ending; /* has destroyed the lock, and waits until all who waited have been told */
};

/* As dsm_lock_timed and dsm_unlock; id is the address. */
int dsm_locks_acquire(struct dsm_driver *driver, uint64_t id, int64_t timeout_ns);
int dsm_locks_release(struct dsm_driver *driver, uint64_t id);
/* Destroys the lock when the calling thread holds it: who waits is told GONE. Errors: PEER, NOMEM.
 */
int dsm_locks_end(struct dsm_driver *driver, uint64_t id);
/* By the calling thread. */
bool dsm_locks_is_held(struct dsm_driver *driver, uint64_t id);
/* For a thread that sleeps: gives back what it holds; queues it, its wait ends when it has the
 * lock. The lock has been held by it before. (locked) */
void dsm_locks_let_go(struct dsm_driver *driver, uint64_t id, struct dsm_thread *thread);
void dsm_locks_enqueue(struct dsm_driver *driver, uint64_t id, struct dsm_lock_waiter *waiter);

/* Of all acquisitions, those that found the token here and free. */
uint64_t dsm_locks_retakes(struct dsm_driver *driver);

/* Actions of the core. (locked) */
void dsm_locks_on_lend(struct dsm_driver *driver, uint64_t id, uint8_t flags);
void dsm_locks_on_recall(struct dsm_driver *driver, uint64_t id, uint8_t flags);
void dsm_locks_on_busy(struct dsm_driver *driver, uint64_t id);
/* The time that locks asked for with dsm_driver_set_locks_timer has come. (locked) */
void dsm_locks_on_timer(struct dsm_driver *driver, uint64_t now_ns);
/* A rank is gone; after the core has heard of it. (locked) */
void dsm_locks_on_dead(struct dsm_driver *driver);
/* Without the lock: a lock that is just being made may be missed. */
bool dsm_locks_has_any(const struct dsm_driver *driver);
/* The memory [first, first + n_bytes) was freed. (locked) */
void dsm_locks_forget(struct dsm_driver *driver, uint64_t first, uint64_t n_bytes);
void dsm_locks_on_lost(struct dsm_driver *driver, uint64_t id, int error, dsm_rank_t rank);

#endif
