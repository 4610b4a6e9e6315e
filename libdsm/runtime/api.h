/* SPDX-License-Identifier: BSD-3-Clause */
/* api.h - what the files that hold the public calls share: the one runtime of the process. */
#ifndef DSM_RUNTIME_API_H
#define DSM_RUNTIME_API_H

#include "runtime/driver.h"

/* The driver while the rank is in its job; NULL before dsm_init and after dsm_finalize. */
struct dsm_driver *dsm_api_driver(void);
/* Why a call that may wait cannot be made now: STATE outside a job, BUSY in a signal handler that
 * interrupted a wait of the library in this thread; 0: it can. */
int dsm_api_refusal(void);

#endif
