/* SPDX-License-Identifier: BSD-3-Clause */
/* threads.h - a team of threads of one process: what team.c calls for it. As the calls of team.h.
 */
#ifndef DSM_EXAMPLES_THREADS_H
#define DSM_EXAMPLES_THREADS_H

#include "team.h"

int threads_alloc(const struct team *team, size_t stripe_bytes, void **addr_out);
void threads_free(const struct team *team, void *addr);
int threads_barrier(const struct team *team);
int threads_sum(const struct team *team, double *values, size_t count);
int threads_sum_u64(const struct team *team, uint64_t *values, size_t count);
int threads_bcast(const struct team *team, void *buf, size_t len);
int threads_lock(const struct team *team, const void *addr);
int threads_unlock(const struct team *team, const void *addr);

#endif
