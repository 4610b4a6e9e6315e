/* SPDX-License-Identifier: BSD-3-Clause */
/* config.h - what every transport demands of its configuration. */
#ifndef DSM_NET_CONFIG_H
#define DSM_NET_CONFIG_H

#include "net/net.h"

/* Says what is wrong. Errors: INVAL. */
int dsm_net_check_config(const char *transport, const struct dsm_net_config *config);
/* default_s where the configuration leaves it open. */
uint64_t dsm_net_connect_timeout_ns(const struct dsm_net_config *config, double default_s);
/* Not for secrets. */
uint64_t dsm_net_random_seed(void);

#endif
