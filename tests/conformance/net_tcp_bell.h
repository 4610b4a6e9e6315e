/* SPDX-License-Identifier: BSD-3-Clause */
/* net_tcp_bell.h - tests of how tcp wakes ranks of the same host. */
#ifndef DSM_TESTS_NET_TCP_BELL_H
#define DSM_TESTS_NET_TCP_BELL_H

#include <check.h>

TCase *net_tcp_bells(void);

#endif
