/* SPDX-License-Identifier: BSD-3-Clause */
/* store.h - the jobs that dsmd serves, by token. */
#ifndef DSM_DSMD_STORE_H
#define DSM_DSMD_STORE_H

#include "dsmd/member.h"
#include <uv.h>

#define DSM_TOKEN_BYTES 16u

struct dsm_server;

struct dsm_store_job {
    struct dsm_server *server;
    uint8_t token[DSM_TOKEN_BYTES];
    uint64_t number; /* for the log, where the token must not be */
    struct dsm_member_job *members;
    uv_timer_t timer;      /* the next TICK; closed before the job is freed */
    bool is_looking_again; /* the timer has run out, and what lay unread is read before the TICK */
    struct dsm_store_job *next;
};

struct dsm_store {
    struct dsm_store_job *first;
    uint32_t n_jobs;
    uint64_t last_number;
};

/* NULL: no such job. Compares in constant time: the token is all that guards a job. */
struct dsm_store_job *dsm_store_find(const struct dsm_store *store,
                                     const uint8_t token[DSM_TOKEN_BYTES]);
/* A new job, without a timer yet. NULL: out of memory. */
struct dsm_store_job *dsm_store_add(struct dsm_store *store, const uint8_t token[DSM_TOKEN_BYTES],
                                    const struct dsm_member_job_config *config);
/* Forgets the job; dsm_store_job_free releases it. */
void dsm_store_remove(struct dsm_store *store, struct dsm_store_job *job);
void dsm_store_job_free(struct dsm_store_job *job);

#endif
