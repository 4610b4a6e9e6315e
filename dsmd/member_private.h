/* SPDX-License-Identifier: BSD-3-Clause */
/* member_private.h - the state of one job, for the files that step it: member.c,
 * member_form.c and member_transport.c. */
#ifndef DSM_DSMD_MEMBER_PRIVATE_H
#define DSM_DSMD_MEMBER_PRIVATE_H

#include "dsmd/member.h"

/* What every rank must have alike; taken from the first that joins. */
struct dsm_member_terms {
    char *build, *cpu;
    uint32_t page_bytes;
    uint64_t region_bytes;
    uint64_t base;                   /* 0: nobody chose one */
    char who[DSM_MEMBER_TEXT_BYTES]; /* the rank they were taken from */
    char base_who[DSM_MEMBER_TEXT_BYTES];
};

struct dsm_member_job {
    struct dsm_member_job_config config;
    enum dsm_member_job_state state;
    struct dsm_member_terms terms;

    struct dsm_member *members; /* in the order of joining */
    uint64_t *conns;            /* parallel to members: what a beat is looked up in */
    uint32_t n_members, cap_members;
    uint32_t n_present; /* not GONE */
    uint32_t *by_rank;  /* index in members; from AGREEING on */
    bool is_over;

    /* forming */
    uint64_t form_deadline_ns;
    char early_exit[DSM_MEMBER_TEXT_BYTES]; /* managed: a process ended before it joined */
    struct dsm_base_search search;
    uint32_t round;
    uint32_t n_answers, n_mapped;
    char map_failure[DSM_MEMBER_TEXT_BYTES];

    const char *transport; /* in an offer of rank 0 */
    char transport_reason[DSM_MEMBER_TEXT_BYTES];
    uint64_t base;
    uint32_t epoch;
    char ended_text[DSM_MEMBER_TEXT_BYTES];
    uint64_t next_ns; /* no deadline is earlier; TICK makes it exact */

    struct dsm_member_action *actions;
    size_t n_actions, cap_actions;
};

/* Appends an action; room was reserved when the step began. */
struct dsm_member_action *dsm_member_act(struct dsm_member_job *job,
                                         enum dsm_member_action_type type, uint64_t conn);
/* "rank 2 (host, pid 123)", or "a rank (host, pid 123)" where it has no number. */
void dsm_member_name(uint32_t rank, const char *host, uint32_t pid,
                     char out[DSM_MEMBER_TEXT_BYTES]);
void dsm_member_name_of(const struct dsm_member *member, char out[DSM_MEMBER_TEXT_BYTES]);
void dsm_member_free_texts(struct dsm_member *member);
struct dsm_member *dsm_member_find(struct dsm_member_job *job, uint64_t conn);
/* The one place where a member's state changes; checks the move. */
void dsm_member_set_state(struct dsm_member_job *job, struct dsm_member *member,
                          enum dsm_member_state state);
void dsm_member_note_deadline(struct dsm_member_job *job, uint64_t deadline_ns);
/* The job is over before it ran: everyone is told. */
void dsm_member_fail(struct dsm_member_job *job, uint64_t now_ns, int error, const char *text);
/* RUNNING begins: every member has mapped the base. */
void dsm_member_start(struct dsm_member_job *job, uint64_t now_ns);

/* member_form.c */
int dsm_member_form_join(struct dsm_member_job *job, const struct dsm_member_event *event);
void dsm_member_form_answer(struct dsm_member_job *job, struct dsm_member *member,
                            const struct dsm_member_event *event);
void dsm_member_form_withdraw(struct dsm_member_job *job, struct dsm_member *member,
                              const struct dsm_member_event *event);
void dsm_member_form_timeout(struct dsm_member_job *job, uint64_t now_ns);

/* member_transport.c */
/* Copies what a rank offers and wants; a rank that lists nothing offers what its lane address is
 * of. Error: NOMEM. */
int dsm_member_transport_note(struct dsm_member *member, const struct dsm_member_join *join);
/* Decides for the job, whose ranks are all there and numbered. False: no transport will do; text
 * says why, with the rank that is in the way. */
bool dsm_member_transport_choose(struct dsm_member_job *job, char text[DSM_MEMBER_TEXT_BYTES]);

#endif
