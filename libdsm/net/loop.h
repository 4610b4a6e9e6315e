/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop.h - a transport for tests: any number of ranks in one process, queues instead of sockets.
 * The contract of net.h, except that it is not for signal handlers.
 */
#ifndef DSM_NET_LOOP_H
#define DSM_NET_LOOP_H

#include "net/net.h"

extern const struct dsm_net_ops dsm_net_loop;

#endif
