/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sync.h - the rank's side of synchronisation objects: calls that ask the object's manager and wait
 * for its answer.
 *
 * Objects are named by byte offsets in the region here. timeout_ns: 0 does not wait, negative waits
 * for ever. Outputs may be NULL, and change only on success.
 */
#ifndef DSM_RUNTIME_SYNC_H
#define DSM_RUNTIME_SYNC_H

#include "runtime/driver.h"

int dsm_sync_open(struct dsm_driver *driver);
void dsm_sync_close(struct dsm_driver *driver);

struct dsm_sync_request {
    uint64_t id;
    enum dsm_sync_kind kind;
    enum dsm_sync_op op;
    uint64_t a, b;
};
int dsm_sync_call(struct dsm_driver *driver, const struct dsm_sync_request *request,
                  int64_t timeout_ns, uint64_t *value_out);

/* Reader-writer locks: who holds what is noted here. */
int dsm_sync_rw_lock(struct dsm_driver *driver, uint64_t id, bool is_write, int64_t timeout_ns);
int dsm_sync_rw_unlock(struct dsm_driver *driver, uint64_t id);

/* Sleeps until it is signalled; lock is the address of a lock that the caller holds. */
int dsm_sync_cond_wait(struct dsm_driver *driver, uint64_t id, uint64_t lock, int64_t timeout_ns);

/* Whether anything may be named by memory that is freed: no lock was ever used, no object is here.
 */
bool dsm_sync_has_names(const struct dsm_driver *driver);
/* The memory [first, first + n_bytes), offsets, was freed: objects there are destroyed. */
void dsm_sync_forget_range(struct dsm_driver *driver, uint64_t first, uint64_t n_bytes);

/* Actions of the core. (locked) */
void dsm_sync_on_done(struct dsm_driver *driver, const struct dsm_action *action);
void dsm_sync_on_queued(struct dsm_driver *driver, const struct dsm_action *action);

#endif
