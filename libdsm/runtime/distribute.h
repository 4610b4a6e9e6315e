/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * distribute.h - bytes of this rank's private memory into that of all others, at the same address.
 *
 * The receiver does not take part: whichever of its threads reads the message copies the bytes, by a
 * system call that fails where the address is not writable, and answers.
 */
#ifndef DSM_RUNTIME_DISTRIBUTE_H
#define DSM_RUNTIME_DISTRIBUTE_H

#include "runtime/driver.h"

int dsm_distribute_open(struct dsm_driver *driver);
void dsm_distribute_close(struct dsm_driver *driver);

/* As dsm_distribute. */
int dsm_distribute_send(struct dsm_driver *driver, const void *addr, size_t len);

/* A DISTRIBUTE message: where its bytes go first, and when they are there. PROTO for one that cannot
 * be. Signal-handler safe. (locked) */
int dsm_distribute_buffer(struct dsm_driver *driver, const struct dsm_message *message,
                          void **dst_out);
void dsm_distribute_on_payload(struct dsm_driver *driver, const struct dsm_message *message);
/* A DISTRIBUTED message. (locked) */
int dsm_distribute_on_answer(struct dsm_driver *driver, const struct dsm_message *message);
/* (locked) */
void dsm_distribute_on_dead(struct dsm_driver *driver, dsm_rank_t rank);

#endif
