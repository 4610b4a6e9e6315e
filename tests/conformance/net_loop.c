/* SPDX-License-Identifier: BSD-3-Clause */
/* net_loop.c - the transport suite over queues in one process. */
#include "tests/conformance/net_suite.h"
#include "net/loop.h"

int main(void)
{
    return net_suite_run(&dsm_net_loop, NULL);
}
