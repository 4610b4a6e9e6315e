/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * canon.h - everything in a core's state that can influence what it does later, as a sequence of
 * numbers, for telling states apart.
 *
 * In a fixed order: queues in their order, tables in the order of their keys. Left out: offsets and
 * free lists, counters, the random generator, and what decides about fetching ahead (explored cores
 * do not do that: a hint of the program's is as good). Transaction numbers, request numbers and
 * times go to callbacks of their own because the core only compares them, so that a caller may
 * rename them (order-preserving). Transaction numbers of different units are compared only where a
 * run of units is asked for. Cost grows with the square of the entries: for small states.
 */
#ifndef DSM_CORE_CANON_H
#define DSM_CORE_CANON_H

#include "core/core.h"

struct dsm_canon {
    void *user;
    void (*put)(void *user, uint64_t value);
    void (*put_txn)(void *user, dsm_page_t unit, dsm_txn_t txn);
    void (*put_request)(void *user, dsm_rank_t asker, uint32_t request);
    void (*put_time)(void *user, uint64_t at_ns); /* UINT64_MAX: none */
};

void dsm_core_canon(const struct dsm_core *core, const struct dsm_canon *out);

#endif
