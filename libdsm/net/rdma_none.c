/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_none.c - the RDMA transport of a build that has none. */
#include "net/net.h"
#include "base/log.h"
#include <dsm/dsm.h>

static int rdma_probe(char *why, size_t why_bytes)
{
    dsm_format(why, why_bytes, "this build has none: configure found no libibverbs and librdmacm");
    return DSM_E_UNSUPPORTED;
}

const struct dsm_net_ops dsm_net_rdma = {
    .name = "rdma",
    .same_network = true,
    .probe = rdma_probe,
};
