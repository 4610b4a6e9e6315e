/* SPDX-License-Identifier: BSD-3-Clause */
/* floor_verbs_none.c - floor_verbs.h in a build without libibverbs and librdmacm. */
#include "bench/floor_verbs.h"

int bench_verbs_open(struct bench_worker *worker)
{
    worker->verbs = NULL;
    return 0;
}

void bench_verbs_close(struct bench_worker *worker)
{
    (void)worker;
}

int bench_verbs_run(struct bench_worker *worker, enum bench_verbs_floor floor,
                    struct bench_samples *samples)
{
    (void)worker;
    (void)floor;
    (void)samples;
    return DSM_E_UNSUPPORTED;
}
