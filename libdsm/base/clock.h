/* SPDX-License-Identifier: BSD-3-Clause */
/* clock.h - monotonic time in nanoseconds. Signal-handler safe (vDSO). */
#ifndef DSM_BASE_CLOCK_H
#define DSM_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define DSM_NS_PER_US 1000ull
#define DSM_NS_PER_MS 1000000ull
#define DSM_NS_PER_S  1000000000ull

static inline uint64_t dsm_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * DSM_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* timeout_ns after now, without overflow; negative: never. */
static inline uint64_t dsm_deadline_ns(uint64_t now_ns, int64_t timeout_ns)
{
    if (timeout_ns < 0 || (uint64_t)timeout_ns >= UINT64_MAX - now_ns)
        return UINT64_MAX;
    return now_ns + (uint64_t)timeout_ns;
}

#endif
