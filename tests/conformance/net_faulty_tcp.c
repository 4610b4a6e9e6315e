/* SPDX-License-Identifier: BSD-3-Clause */
/* net_faulty_tcp.c - the transport suite over a bad network of sockets. */
#include "tests/conformance/net_suite.h"
#include "net/faulty.h"

int main(void)
{
    return net_suite_run(&dsm_net_faulty_tcp, NULL);
}
