/* SPDX-License-Identifier: BSD-3-Clause */
/* net_rdma.c - the transport suite over rdma. Skipped where there is no device. */
#include "tests/conformance/net_suite.h"
#include <stdio.h>

int main(void)
{
    char why[600];
    if (dsm_net_rdma.probe(why, sizeof why)) {
        printf("skipped: %s\n", why);
        return 77;
    }
    return net_suite_run(&dsm_net_rdma, NULL);
}
