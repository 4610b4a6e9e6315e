/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sending.h - messages out: the header made, queued at the transport, pushed to the sockets. What
 * is public of it (dsm_driver_send and its kin) is in driver.h.
 */
#ifndef DSM_RUNTIME_SENDING_H
#define DSM_RUNTIME_SENDING_H

#include "runtime/driver.h"

/*
 * Queues m, with m->len bytes of payload behind it; cookie as for the transport's send. 0, or
 * DSM_E_PEER: the rank is lost. Where there is no room for it in the queue this does not return: a
 * message that is left out would have the peer, or us, wait for ever. Signal-handler safe. (locked,
 * as far as the order matters)
 */
int dsm_driver_send_frame(struct dsm_driver *driver, dsm_rank_t to, unsigned lane,
                          const struct dsm_message *m, const void *payload, uint64_t cookie);

#endif
