/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * collective.h - barriers, broadcast and reductions: the payload's side.
 *
 * The core decides the rounds (who sends to whom, when); this file keeps the bytes: what this rank
 * has so far, and a buffer for each round and for this and the next collective, since a partner can
 * be one ahead.
 */
#ifndef DSM_RUNTIME_COLLECTIVE_H
#define DSM_RUNTIME_COLLECTIVE_H

#include "runtime/driver.h"

#define DSM_COLLECTIVE_BYTES 4096u /* payload of one step; longer ones take several */

int dsm_collective_open(struct dsm_driver *driver);
void dsm_collective_close(struct dsm_driver *driver);

/* As the calls in dsm.h. */
int dsm_collective_barrier(struct dsm_driver *driver);
int dsm_collective_barrier_group(struct dsm_driver *driver, const uint32_t *ranks,
                                 uint32_t n_ranks);
int dsm_collective_bcast(struct dsm_driver *driver, void *buf, size_t len, uint32_t root);
int dsm_collective_allreduce(struct dsm_driver *driver, void *buf, size_t count, enum dsm_type type,
                             enum dsm_op op);

/* Where the payload of a COLLECTIVE message goes. PROTO for one that cannot be. (locked) */
int dsm_collective_buffer(struct dsm_driver *driver, const struct dsm_message *message,
                          void **dst_out);
/* COLLECTIVE_* actions. (locked) */
void dsm_collective_on_action(struct dsm_driver *driver, const struct dsm_action *action);

#endif
