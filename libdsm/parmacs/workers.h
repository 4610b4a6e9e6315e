/* SPDX-License-Identifier: BSD-3-Clause */
/* workers.h - the threads of this process that run workers. Used by its main thread alone, but for
 * dsm_workers_is_worker. */
#ifndef DSM_PARMACS_WORKERS_H
#define DSM_PARMACS_WORKERS_H

#include "runtime/work.h"
#include <stdbool.h>

/* Runs the function in a thread of its own and tells rank 0 when it has returned, or has called
 * exit(0) or pthread_exit. 0 or an errno. */
int dsm_workers_start(struct dsm_driver *driver, uint64_t function);
/* Waits until all of them are gone. */
void dsm_workers_join(void);
bool dsm_workers_is_worker(void); /* the calling thread */

#endif
