/* SPDX-License-Identifier: BSD-3-Clause */
/* choose.c - the list of transports. */
#include "net/net.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <string.h>

/* In the order in which "auto" tries them. A further transport takes its place here. */
static const struct dsm_net_ops *const transports[] = {&dsm_net_tcp};
#define N_TRANSPORTS (sizeof transports / sizeof *transports)

int dsm_net_choose(const char *name, const struct dsm_net_ops **ops_out, char *why,
                   size_t why_bytes)
{
    bool is_auto = !name || strcmp(name, "auto") == 0;
    int error = DSM_E_INVAL;
    dsm_format(why, why_bytes, "transport \"%s\": allowed are auto and tcp", name ? name : "");
    for (size_t i = 0; i < N_TRANSPORTS; i++) {
        if (!is_auto && strcmp(name, transports[i]->name) != 0)
            continue;
        error = transports[i]->probe(why, why_bytes);
        if (!error) {
            *ops_out = transports[i];
            return 0;
        }
        if (!is_auto)
            break;
    }
    return error;
}
