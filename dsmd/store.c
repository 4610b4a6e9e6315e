/* SPDX-License-Identifier: BSD-3-Clause */
/* store.c - a list of jobs; there are few, and they are looked up once per rank. */
#include "dsmd/store.h"
#include <stdlib.h>
#include <string.h>

static bool is_same_token(const uint8_t *a, const uint8_t *b)
{
    unsigned difference = 0;
    for (unsigned i = 0; i < DSM_TOKEN_BYTES; i++)
        difference |= (unsigned)(a[i] ^ b[i]);
    return difference == 0;
}

struct dsm_store_job *dsm_store_find(const struct dsm_store *store,
                                     const uint8_t token[DSM_TOKEN_BYTES])
{
    struct dsm_store_job *found = NULL;
    for (struct dsm_store_job *job = store->first; job; job = job->next)
        if (is_same_token(job->token, token))
            found = job;
    return found;
}

struct dsm_store_job *dsm_store_add(struct dsm_store *store, const uint8_t token[DSM_TOKEN_BYTES],
                                    const struct dsm_member_job_config *config)
{
    struct dsm_store_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->members = dsm_member_job_new(config);
    if (!job->members) {
        free(job);
        return NULL;
    }
    memcpy(job->token, token, DSM_TOKEN_BYTES);
    job->number = ++store->last_number;
    job->next = store->first;
    store->first = job;
    store->n_jobs++;
    return job;
}

void dsm_store_remove(struct dsm_store *store, struct dsm_store_job *job)
{
    for (struct dsm_store_job **at = &store->first; *at; at = &(*at)->next) {
        if (*at == job) {
            *at = job->next;
            store->n_jobs--;
            return;
        }
    }
}

void dsm_store_job_free(struct dsm_store_job *job)
{
    dsm_member_job_free(job->members);
    free(job);
}
