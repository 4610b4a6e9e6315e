/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bell.h - doorbells: one rank tells another that there is something to look at.
 *
 * A ring carries nothing but who rang, so any number that nobody has answered yet are one, and a
 * bit for each rank is all the room they ever need. The handler runs on the service thread; a
 * thread that happens to read the ring only notes it.
 */
#ifndef DSM_RUNTIME_BELL_H
#define DSM_RUNTIME_BELL_H

#include "runtime/driver.h"

int dsm_bell_open(struct dsm_driver *driver);
void dsm_bell_close(struct dsm_driver *driver);

/* As dsm_on_ring and dsm_ring. */
void dsm_bell_set_handler(struct dsm_driver *driver, dsm_ring_handler handler, void *user);
int dsm_bell_ring(struct dsm_driver *driver, dsm_rank_t to);

/* A ring from `from` has come. Signal-handler safe. (locked) */
void dsm_bell_on_ring(struct dsm_driver *driver, dsm_rank_t from);
/* Calls the handler for all that rang; on the service thread. */
void dsm_bell_serve(struct dsm_driver *driver);

#endif
