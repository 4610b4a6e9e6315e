/* SPDX-License-Identifier: BSD-3-Clause */
/* api.h - what the files that hold the public calls share: the one runtime of the process. */
#ifndef DSM_RUNTIME_API_H
#define DSM_RUNTIME_API_H

#include "runtime/driver.h"

/* The driver while the rank is in its job; NULL before dsm_init and after dsm_finalize. */
struct dsm_driver *dsm_api_driver(void);

#endif
