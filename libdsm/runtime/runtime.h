/* SPDX-License-Identifier: BSD-3-Clause */
/* runtime.h - the one runtime of the process, for the parts of the library above it. */
#ifndef DSM_RUNTIME_RUNTIME_H
#define DSM_RUNTIME_RUNTIME_H

#include "runtime/settings.h"

/* dsm_init, with a second segment of globals_bytes in the region (globals.h); 0: none. */
int dsm_runtime_init(const struct dsm_config *config, uint64_t globals_bytes);
/* Ends the whole job with one line, which dsmrun prints where there is one; every rank exits with
 * status. */
void dsm_runtime_fail(int status, const char *why) __attribute__((noreturn));

#endif
