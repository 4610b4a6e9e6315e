/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_suite.h - the conformance suite of the trap backends; a backend's file merely names its ops.
 */
#ifndef TRAP_SUITE_H
#define TRAP_SUITE_H

#include "trap_owner.h"
#include <check.h>
#include <pthread.h>

/* Runs everything as the user that started it, and as an ordinary user when that is root. */
int trap_suite_main(const struct dsm_trap_ops *ops);

/* For the files of the suite. */
extern const struct dsm_trap_ops *suite_ops;
bool suite_is_async(void); /* faults are served by a handler thread */
uint64_t suite_seed(void); /* printed at the start; TRAP_SEED replays it */

TCase *trap_access_case(void);
TCase *trap_race_case(void);
TCase *trap_signal_case(void);
TCase *trap_chain_case(void);
TCase *trap_process_case(void);
TCase *trap_limit_case(void);

/* The build says so: sanitizers put large frames everywhere and take address space and mappings. */
#ifndef SUITE_SANITIZED
#define SUITE_SANITIZED 0
#endif

#endif
