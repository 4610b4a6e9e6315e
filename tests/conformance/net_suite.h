/* SPDX-License-Identifier: BSD-3-Clause */
/* net_suite.h - the one suite that every transport passes; a backend's file merely names it. */
#ifndef DSM_TESTS_NET_SUITE_H
#define DSM_TESTS_NET_SUITE_H

#include "net/net.h"
#include <check.h>

/* Runs the suite, and extra, the backend's own (or NULL). The process's exit status. */
int net_suite_run(const struct dsm_net_ops *ops, Suite *extra);

#endif
