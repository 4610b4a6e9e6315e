/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transports.h - opens what a rank may use before the job has said what it takes, and closes the
 * rest afterwards.
 */
#ifndef DSM_RUNTIME_TRANSPORTS_H
#define DSM_RUNTIME_TRANSPORTS_H

#include "net/net.h"
#include "runtime/membership.h"

struct dsm_transport {
    const struct dsm_net_ops *ops;
    struct dsm_net *net; /* NULL: not to be had */
    char address[256], network[64], reason[256];
};

struct dsm_transports {
    struct dsm_transport items[DSM_NET_MAX_TRANSPORTS];
    struct dsm_membership_offer offers[DSM_NET_MAX_TRANSPORTS]; /* texts of items */
    uint32_t n_items;
    const char *wanted; /* NULL: the job decides */
};

/*
 * Opens all that name allows ("auto", NULL, or one); one that cannot be had is no error here but a
 * reason in its offer. Errors: INVAL for an unknown name, and when a transport was told something
 * wrong (a device that is none); logged, and nothing is open.
 */
int dsm_transports_open(struct dsm_transports *transports, const char *name,
                        const struct dsm_net_config *config, const struct dsm_net_handler *handler);
/* Hands over the one that the job takes. It must have been offered. */
void dsm_transports_take(struct dsm_transports *transports, const char *name,
                         const struct dsm_net_ops **ops_out, struct dsm_net **net_out);
/* Closes what was not taken. */
void dsm_transports_close(struct dsm_transports *transports);

#endif
