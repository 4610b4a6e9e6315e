/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * member_lab.h - one job of dsmd on a table: events by short calls, actions as lines of text.
 * Members are named by their connection.
 */
#ifndef DSM_TESTS_MEMBER_LAB_H
#define DSM_TESTS_MEMBER_LAB_H

#include "dsmd/member.h"

struct lab {
    struct dsm_member_job *job;
    uint64_t now_ms;
    struct dsm_member_join join; /* what the next rank says of itself, but for rank and pid */
    struct dsm_member_actions last;
    char text[65536]; /* what was decided since the last lab_take */
};

void lab_open(struct lab *lab, uint32_t n_ranks, uint64_t lease_ms, bool is_managed);
void lab_close(struct lab *lab);
void lab_join(struct lab *lab, uint64_t conn, int32_t wanted_rank);
/* suggestion UINT64_MAX: it maps. */
void lab_answer(struct lab *lab, uint64_t conn, uint32_t round, uint64_t suggestion);
void lab_beat(struct lab *lab, uint64_t conn, uint64_t number);
void lab_leave(struct lab *lab, uint64_t conn);
void lab_abort(struct lab *lab, uint64_t conn, int32_t status);
void lab_closed(struct lab *lab, uint64_t conn);
void lab_exited(struct lab *lab, uint32_t rank, bool is_success, const char *text);
void lab_stop(struct lab *lab);
/* Time passes, with a TICK whenever one is due. */
void lab_pass(struct lab *lab, uint64_t ms);
/* Time passes and dsmd does not run: the TICK comes late. */
void lab_stall(struct lab *lab, uint64_t ms);
/* A job of n ranks that runs; connection i+1 is rank i. Forgets what was said on the way. */
void lab_run(struct lab *lab, uint32_t n_ranks);
/* What was decided since the last call. */
const char *lab_take(struct lab *lab);

#define LAB_MAPPED UINT64_MAX

#endif
