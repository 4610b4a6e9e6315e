/* SPDX-License-Identifier: BSD-3-Clause */
/* transports.c - see transports.h. */
#include "runtime/transports.h"
#include "base/errors.h"
#include "base/log.h"
#include <assert.h>
#include <string.h>

static int open_one(struct dsm_transport *t, const struct dsm_net_config *config,
                    const struct dsm_net_handler *handler)
{
    if (t->ops->probe(t->reason, sizeof t->reason) != 0)
        return 0;
    t->reason[0] = '\0';
    int error = t->ops->open(config, handler, &t->net);
    if (!error)
        error = t->ops->address(t->net, t->address, sizeof t->address);
    if (!error) {
        if (t->ops->same_network)
            dsm_net_network_of(t->address, t->network, sizeof t->network);
        return 0;
    }
    if (t->net)
        t->ops->close(t->net);
    t->net = NULL;
    t->address[0] = '\0';
    dsm_format(t->reason, sizeof t->reason, "it cannot be opened: %s", dsm_error_text(error));
    return error == DSM_E_INVAL ? error : 0;
}

int dsm_transports_open(struct dsm_transports *transports, const char *name,
                        const struct dsm_net_config *config, const struct dsm_net_handler *handler)
{
    const struct dsm_net_ops *ops[DSM_NET_MAX_TRANSPORTS];
    char why[160];
    size_t n;
    int error = dsm_net_list(name, ops, &n, why, sizeof why);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "%s", why);
        return error;
    }
    *transports =
        (struct dsm_transports){.n_items = (uint32_t)n, .wanted = n == 1 ? ops[0]->name : NULL};
    for (size_t i = 0; i < n; i++) {
        struct dsm_transport *t = &transports->items[i];
        t->ops = ops[i];
        if ((error = open_one(t, config, handler))) {
            dsm_transports_close(transports);
            return error;
        }
        transports->offers[i] =
            (struct dsm_membership_offer){t->ops->name, t->address, t->network, t->reason};
    }
    return 0;
}

void dsm_transports_take(struct dsm_transports *transports, const char *name,
                         const struct dsm_net_ops **ops_out, struct dsm_net **net_out)
{
    for (uint32_t i = 0; i < transports->n_items; i++) {
        struct dsm_transport *t = &transports->items[i];
        if (strcmp(t->ops->name, name) != 0)
            continue;
        assert(t->net);
        *ops_out = t->ops;
        *net_out = t->net;
        t->net = NULL;
        return;
    }
    assert(false);
}

void dsm_transports_close(struct dsm_transports *transports)
{
    for (uint32_t i = 0; i < transports->n_items; i++) {
        struct dsm_transport *t = &transports->items[i];
        if (t->net)
            t->ops->close(t->net);
        t->net = NULL;
    }
}
