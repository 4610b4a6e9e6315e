/* SPDX-License-Identifier: BSD-3-Clause */
/* pin.c - see pin.h. */
#define _GNU_SOURCE
#include "bench/pin.h"

#include <assert.h>
#include <sched.h>
#include <string.h>

#include "bench/worker.h"

static_assert(sizeof(cpu_set_t) == BENCH_PIN_BYTES, "the room kept for a set of processors");

void bench_pin(const struct bench_worker *worker, struct bench_pin *pin_out)
{
    cpu_set_t before, mine;
    unsigned wanted = worker->rank % 2, n = 0;

    pin_out->is_pinned = false;
    if (worker->is_oversubscribed || worker->rank > 1 ||
        sched_getaffinity(0, sizeof before, &before) != 0 || CPU_COUNT(&before) < 2)
        return;
    CPU_ZERO(&mine);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &before) && n++ == wanted)
            CPU_SET(cpu, &mine);
    memcpy(pin_out->before, &before, sizeof before);
    pin_out->is_pinned = sched_setaffinity(0, sizeof mine, &mine) == 0;
}

void bench_unpin(const struct bench_pin *pin)
{
    cpu_set_t before;

    if (!pin->is_pinned)
        return;
    memcpy(&before, pin->before, sizeof before);
    (void)sched_setaffinity(0, sizeof before, &before);
}
