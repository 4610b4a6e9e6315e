/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * work.h - functions that rank 0 hands to ranks, and word that they have ended.
 *
 * Messages are put into a ring where they are read, maybe in a faulting thread; the process's main
 * thread sleeps on the ring outside the network, so that the threads that compute do the reading.
 */
#ifndef DSM_RUNTIME_WORK_H
#define DSM_RUNTIME_WORK_H

#include "runtime/driver.h"

enum dsm_work_kind {
    DSM_WORK_RUN = 1, /* addr: the function; image: what it inherits, or 0 */
    DSM_WORK_ENDED,   /* to rank 0: one such function of rank `from` has returned */
    DSM_WORK_OVER,    /* no more will come */
};

struct dsm_work_item {
    enum dsm_work_kind kind;
    dsm_rank_t from;
    uint64_t addr, image;
};

struct dsm_work;

/* limit: functions that may be under way at once in the whole job. Before the service thread
 * starts. Errors: NOMEM. */
int dsm_work_open(struct dsm_driver *driver, uint32_t limit);
void dsm_work_close(struct dsm_driver *driver);

/* To any rank, this one too; never waits. */
void dsm_work_send(struct dsm_driver *driver, dsm_rank_t to, const struct dsm_work_item *item);
/* Takes the oldest item; waits for one. */
void dsm_work_take(struct dsm_driver *driver, struct dsm_work_item *item_out);

/* Called by the driver. Signal-handler safe. Errors: PROTO. (locked) */
int dsm_work_on_message(struct dsm_driver *driver, const struct dsm_message *message);

#endif
