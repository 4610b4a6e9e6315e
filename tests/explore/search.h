/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * search.h - walks worlds.
 *
 * search_all visits every reachable state once, breadth first, so that the first violation comes
 * with a shortest trace. Only digests of visited states are kept (24 bytes a state, see digest.h),
 * plus the states still to be expanded, packed as what differs from the first state. No
 * interleaving is left out: there is no partial-order reduction. What keeps the numbers down is
 * that states are merged by digest, and that wildcards let all programs of one shape share states.
 *
 * Besides what world_take and world_check_end look at, it checks
 *   - that from every state the end can be reached (no request is lost, no circle without a way
 * out),
 *   - that states merged by digest behave alike: for a sample of the states found a second time,
 * all successors are computed and compared with those of the state found first.
 *
 * search_walks goes through random schedules of instances too large for that; each walk is named by
 * its seed.
 */
#ifndef DSM_TESTS_EXPLORE_SEARCH_H
#define DSM_TESTS_EXPLORE_SEARCH_H

#include <stdbool.h>
#include <stdint.h>
#include "lab.h"

struct search_limits {
    uint64_t max_states; /* 0: none */
    uint64_t max_bytes;  /* of memory; 0: 4 GiB */
    uint32_t sample;     /* compare successors of one in so many merged states; 0: never */
    bool has_progress;   /* check that the end can be reached (4 bytes a transition) */
};

struct search_result {
    uint64_t n_states, n_transitions, n_ends, n_compared, n_walks;
    uint32_t depth; /* longest shortest way from the start; walks: longest walk */
    uint64_t peak_bytes;
    double seconds;
    bool is_complete; /* every state was visited and expanded */
    bool is_progress_checked;
    bool is_violated;
    char violation[LAB_VIOLATION_BYTES];
};

/* trace: where the trace of a violation goes; NULL: nowhere. Errors: NOMEM. */
int search_all(struct lab *lab, const struct search_limits *limits, FILE *trace,
               struct search_result *result_out);
int search_walks(struct lab *lab, uint64_t n_walks, uint64_t seed, FILE *trace,
                 struct search_result *result_out);

#endif
