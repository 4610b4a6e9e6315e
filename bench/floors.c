/* SPDX-License-Identifier: BSD-3-Clause */
/* floors.c - the list of floors, and which of them a worker's measures are held against. */
#include "bench/worker.h"

#include <assert.h>
#include <string.h>

#include "bench/floor_memory.h"
#include "bench/floor_socket.h"
#include "bench/floor_trap.h"
#include "bench/floor_verbs.h"
#include "bench/measure_kernel.h"

#define VERBS_SLICE(name)                                                                          \
    static int verbs_##name(struct bench_worker *worker, struct bench_samples *samples)            \
    {                                                                                              \
        return bench_verbs_run(worker, BENCH_VERBS_##name, samples);                               \
    }
VERBS_SLICE(PAGE_POLL)
VERBS_SLICE(WORD_POLL)
VERBS_SLICE(PAGE_SLEEP)
VERBS_SLICE(WORD_SLEEP)
VERBS_SLICE(PAGE_COMPUTING)
VERBS_SLICE(STREAM)
VERBS_SLICE(SEND)
VERBS_SLICE(WRITE)
VERBS_SLICE(READ)
VERBS_SLICE(READ_ASK)

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
    [BENCH_FLOOR_VERBS_PAGE_POLL] = {.name = "floor_verbs_4k_poll",
                                     .text = "4 KiB round trip over verbs, polling",
                                     .unit = "us",

                                     .is_verbs = true,
                                     .min_ranks = 2,
                                     .slice = verbs_PAGE_POLL},
    [BENCH_FLOOR_VERBS_WORD_POLL] = {.name = "floor_verbs_8b_poll",
                                     .text = "8 B round trip over verbs, polling",
                                     .unit = "us",

                                     .is_verbs = true,
                                     .min_ranks = 2,
                                     .slice = verbs_WORD_POLL},
    [BENCH_FLOOR_VERBS_PAGE_SLEEP] = {.name = "floor_verbs_4k_sleep",
                                      .text = "4 KiB round trip over verbs, sleeping",
                                      .unit = "us",

                                      .is_verbs = true,
                                      .min_ranks = 2,
                                      .slice = verbs_PAGE_SLEEP},
    [BENCH_FLOOR_VERBS_WORD_SLEEP] = {.name = "floor_verbs_8b_sleep",
                                      .text = "8 B round trip over verbs, sleeping",
                                      .unit = "us",

                                      .is_verbs = true,
                                      .min_ranks = 2,
                                      .slice = verbs_WORD_SLEEP},
    [BENCH_FLOOR_VERBS_PAGE_COMPUTING] = {.name = "floor_verbs_4k_computing",
                                          .text =
                                              "4 KiB round trip over verbs to a computing process",
                                          .unit = "us",

                                          .is_verbs = true,
                                          .min_ranks = 2,
                                          .slice = verbs_PAGE_COMPUTING},
    [BENCH_FLOOR_VERBS_STREAM] = {.name = "floor_verbs_stream",
                                  .text = "raw stream over verbs",
                                  .unit = "GB/s",
                                  .is_more_better = true,
                                  .is_verbs = true,
                                  .min_ranks = 2,
                                  .slice = verbs_STREAM},
    [BENCH_FLOOR_VERBS_SEND] = {.name = "floor_verbs_send_4k",
                                .text = "4 KiB sent, one way (as ib_send_lat)",
                                .unit = "us",

                                .is_verbs = true,
                                .min_ranks = 2,
                                .slice = verbs_SEND},
    [BENCH_FLOOR_VERBS_WRITE] = {.name = "floor_verbs_write_4k",
                                 .text = "4 KiB written, one way (as ib_write_lat)",
                                 .unit = "us",

                                 .is_verbs = true,
                                 .min_ranks = 2,
                                 .slice = verbs_WRITE},
    [BENCH_FLOOR_VERBS_READ] = {.name = "floor_verbs_read_4k",
                                .text = "4 KiB read (as ib_read_lat)",
                                .unit = "us",

                                .is_verbs = true,
                                .min_ranks = 2,
                                .slice = verbs_READ},
    [BENCH_FLOOR_VERBS_READ_ASK] = {.name = "floor_verbs_read_ask",
                                    .text = "4 KiB read beside an 8 B round trip",
                                    .unit = "us",

                                    .is_verbs = true,
                                    .min_ranks = 2,
                                    .slice = verbs_READ_ASK},
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

/* What a round trip is held against where there are raw verbs. */
static enum bench_floor over_verbs(enum bench_floor floor)
{
    return floor >= BENCH_FLOOR_RT_PAGE_POLL && floor <= BENCH_FLOOR_STREAM
               ? floor - BENCH_FLOOR_RT_PAGE_POLL + BENCH_FLOOR_VERBS_PAGE_POLL
               : floor;
}

enum bench_floor bench_floor_resolve(const struct bench_worker *worker, enum bench_floor floor)
{
    if (floor == BENCH_FLOOR_RT_PAGE)
        floor = worker->is_oversubscribed ? BENCH_FLOOR_RT_PAGE_SLEEP : BENCH_FLOOR_RT_PAGE_POLL;
    if (floor == BENCH_FLOOR_RT_WORD)
        floor = worker->is_oversubscribed ? BENCH_FLOOR_RT_WORD_SLEEP : BENCH_FLOOR_RT_WORD_POLL;
    if (floor == BENCH_FLOOR_TRAP) {
        if (strcmp(worker->trap, "uffd") == 0)
            return BENCH_FLOOR_TRAP_UFFD;
        return strcmp(worker->trap, "segv") == 0 ? BENCH_FLOOR_TRAP_SEGV : BENCH_FLOOR_TRAP_SIGBUS;
    }
    return worker->verbs != NULL ? over_verbs(floor) : floor;
}
