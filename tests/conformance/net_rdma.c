/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_rdma.c - the transport suite over rdma, and what only a card does: net_rdma_memory.c,
 * net_rdma_loss.c. Skipped where there is no device.
 */
#include "tests/conformance/net_node.h"
#include "tests/conformance/net_suite.h"
#include <stdio.h>

static Suite *make_suite(void)
{
    Suite *suite = suite_create("rdma alone");
    TCase *const cases[] = {net_landing(),       net_rdma_landing(), net_rdma_pinning(),
                            net_rdma_choosing(), net_rdma_loss(),    net_rdma_strangers()};
    node_ops = &dsm_net_rdma;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        tcase_set_timeout(cases[i], 240);
        suite_add_tcase(suite, cases[i]);
    }
    return suite;
}

int main(void)
{
    char why[600];
    if (dsm_net_rdma.probe(why, sizeof why)) {
        printf("skipped: %s\n", why);
        return 77;
    }
    return net_suite_run(&dsm_net_rdma, make_suite());
}
