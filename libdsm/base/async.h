/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * async.h - wakes a uv loop from any thread, also in the fault handler and under locks. libuv
 * writes to a descriptor with glibc's write, which is a cancellation point: a cancelled thread
 * would be unwound out of the handler, with the locks held.
 */
#ifndef DSM_BASE_ASYNC_H
#define DSM_BASE_ASYNC_H

#include <pthread.h>
#include <uv.h>

static inline void dsm_async_send(uv_async_t *async)
{
    int before, ours;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    (void)uv_async_send(async);
    (void)pthread_setcancelstate(before, &ours);
}

#endif
