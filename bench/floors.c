/* SPDX-License-Identifier: BSD-3-Clause */
/* floors.c - the list of floors, and which of them a worker's measures are held against. */
#include "bench/worker.h"

#include <assert.h>
#include <string.h>

#include "bench/floor_memory.h"
#include "bench/floor_socket.h"
#include "bench/floor_trap.h"
#include "bench/measure_kernel.h"

static const struct bench_floor_kind kinds[BENCH_N_FLOORS] = {
    [BENCH_FLOOR_RT_PAGE_POLL] = {.name = "floor_rt_4k_poll",
                                  .text = "4 KiB round trip, polling",
                                  .unit = "us",
                                  .min_ranks = 2,
                                  .slice = bench_floor_rt_page_poll},
    [BENCH_FLOOR_RT_WORD_POLL] = {.name = "floor_rt_8b_poll",
                                  .text = "8 B round trip, polling",
                                  .unit = "us",
                                  .min_ranks = 2,
                                  .slice = bench_floor_rt_word_poll},
    [BENCH_FLOOR_RT_PAGE_SLEEP] = {.name = "floor_rt_4k_sleep",
                                   .text = "4 KiB round trip, sleeping",
                                   .unit = "us",
                                   .min_ranks = 2,
                                   .slice = bench_floor_rt_page_sleep},
    [BENCH_FLOOR_RT_WORD_SLEEP] = {.name = "floor_rt_8b_sleep",
                                   .text = "8 B round trip, sleeping",
                                   .unit = "us",
                                   .min_ranks = 2,
                                   .slice = bench_floor_rt_word_sleep},
    [BENCH_FLOOR_RT_PAGE_COMPUTING] = {.name = "floor_rt_4k_computing",
                                       .text = "4 KiB round trip to a computing process",
                                       .unit = "us",
                                       .min_ranks = 2,
                                       .slice = bench_floor_rt_page_computing},
    [BENCH_FLOOR_STREAM] = {.name = "floor_stream",
                            .text = "raw stream",
                            .unit = "GB/s",
                            .is_more_better = true,
                            .min_ranks = 2,
                            .slice = bench_floor_stream},
    [BENCH_FLOOR_TRAP_SIGBUS] = {.name = "floor_trap_sigbus",
                                 .text = "trap (sigbus)",
                                 .unit = "us",
                                 .min_ranks = 1,
                                 .slice = bench_floor_trap_sigbus},
    [BENCH_FLOOR_TRAP_UFFD] = {.name = "floor_trap_uffd",
                               .text = "trap (uffd)",
                               .unit = "us",
                               .min_ranks = 1,
                               .slice = bench_floor_trap_uffd},
    [BENCH_FLOOR_TRAP_SEGV] = {.name = "floor_trap_segv",
                               .text = "trap (segv)",
                               .unit = "us",
                               .min_ranks = 1,
                               .slice = bench_floor_trap_segv},
    [BENCH_FLOOR_MEMCPY] = {.name = "floor_memcpy",
                            .text = "memcpy of private memory",
                            .unit = "GB/s",
                            .is_more_better = true,
                            .min_ranks = 1,
                            .slice = bench_floor_memcpy},
    [BENCH_FLOOR_PRIVATE_READ] = {.name = "floor_private_read",
                                  .text = "the same loads from private 4 KiB pages",
                                  .unit = "ns",
                                  .min_ranks = 1,
                                  .slice = bench_floor_private_read},
    [BENCH_FLOOR_MUTEX] = {.name = "floor_mutex",
                           .text = "pthread mutex, uncontended",
                           .unit = "us",
                           .min_ranks = 1,
                           .slice = bench_floor_mutex},
    [BENCH_FLOOR_LU] = {.name = "floor_lu",
                        .text = "sequential program",
                        .unit = "s",
                        .min_ranks = 1,
                        .slice = bench_floor_lu},
    [BENCH_FLOOR_STENCIL] = {.name = "floor_stencil",
                             .text = "sequential program",
                             .unit = "s",
                             .min_ranks = 1,
                             .slice = bench_floor_stencil},
    [BENCH_FLOOR_FFT] = {.name = "floor_fft",
                         .text = "sequential program",
                         .unit = "s",
                         .min_ranks = 1,
                         .slice = bench_floor_fft},
    [BENCH_FLOOR_RADIX] = {.name = "floor_radix",
                           .text = "sequential program",
                           .unit = "s",
                           .min_ranks = 1,
                           .slice = bench_floor_radix},
    [BENCH_FLOOR_NBODY] = {.name = "floor_nbody",
                           .text = "sequential program",
                           .unit = "s",
                           .min_ranks = 1,
                           .slice = bench_floor_nbody},
    [BENCH_FLOOR_WATER] = {.name = "floor_water",
                           .text = "sequential program",
                           .unit = "s",
                           .min_ranks = 1,
                           .slice = bench_floor_water},
};

const struct bench_floor_kind *bench_floor_kind(enum bench_floor floor)
{
    assert(floor < BENCH_N_FLOORS);
    return &kinds[floor];
}

enum bench_floor bench_floor_resolve(const struct bench_worker *worker, enum bench_floor floor)
{
    if (floor == BENCH_FLOOR_RT_PAGE)
        return worker->is_oversubscribed ? BENCH_FLOOR_RT_PAGE_SLEEP : BENCH_FLOOR_RT_PAGE_POLL;
    if (floor == BENCH_FLOOR_RT_WORD)
        return worker->is_oversubscribed ? BENCH_FLOOR_RT_WORD_SLEEP : BENCH_FLOOR_RT_WORD_POLL;
    if (floor == BENCH_FLOOR_TRAP) {
        if (strcmp(worker->trap, "uffd") == 0)
            return BENCH_FLOOR_TRAP_UFFD;
        return strcmp(worker->trap, "segv") == 0 ? BENCH_FLOOR_TRAP_SEGV : BENCH_FLOOR_TRAP_SIGBUS;
    }
    return floor;
}
