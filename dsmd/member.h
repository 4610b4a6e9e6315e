/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * member.h - who is in one job: every decision of dsmd about it, as a step function. An event with
 * its time goes in, an ordered list of actions comes out. No I/O, no clock, no sockets; members are
 * named by the number of their control connection.
 *
 * A job:      FORMING -> AGREEING -> RUNNING -> ENDED
 *                 \__________\_________________/      (failed, aborted)
 * FORMING collects joins, AGREEING looks for a base that every rank can map, RUNNING counts
 * heartbeats and publishes views, ENDED waits for the connections to close. When the last one has,
 * the job is over and its state may be freed.
 *
 * A member:   JOINED -> MAPPING <-> ANSWERED -> RUNNING -> LEFT
 * and from everywhere GONE; a member that ran and whose exit status is about to be reported is LOST
 * for a moment before.
 *
 * A job that a launcher manages (dsmrun, in the same process) exists before its first rank joins,
 * and hears how its processes ended.
 */
#ifndef DSM_DSMD_MEMBER_H
#define DSM_DSMD_MEMBER_H

#include "core/ids.h"
#include "dsmd/base_search.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DSM_MEMBER_TEXT_BYTES 300u
#define DSM_MEMBER_CONN_NONE  0u

enum dsm_member_job_state { DSM_JOB_FORMING, DSM_JOB_AGREEING, DSM_JOB_RUNNING, DSM_JOB_ENDED };

enum dsm_member_state {
    DSM_MEMBER_JOINED,
    DSM_MEMBER_MAPPING,
    DSM_MEMBER_ANSWERED,
    DSM_MEMBER_RUNNING,
    DSM_MEMBER_LEFT,
    DSM_MEMBER_LOST,
    DSM_MEMBER_GONE,
};

struct dsm_member_job_config {
    uint32_t n_ranks;
    uint64_t lease_ns;        /* 0: silence is no death */
    uint64_t join_timeout_ns; /* 0: what the first rank asks for */
    bool is_managed;
    uint64_t exit_grace_ns; /* managed: how long a closed connection waits for its exit status */
};

/* A transport of a rank, or why it has none. */
struct dsm_member_offer {
    const char *transport;
    const char *lane_address; /* "": not to be had */
    const char *network;      /* reaches the ranks of the same network; "": reaches all */
    const char *reason;       /* why it is not to be had */
};

/* What a rank says of itself. */
struct dsm_member_join {
    int32_t wanted_rank;
    uint32_t n_ranks;
    const char *host;
    const char *host_id;
    uint32_t pid;
    const char *lane_address;
    const char *build;
    uint32_t page_bytes;
    const char *cpu;
    uint64_t region_bytes;
    const char *transport;                 /* of lane_address; what a rank without offers has */
    const struct dsm_member_offer *offers; /* the best first */
    uint32_t n_offers;
    const char *wanted_transport; /* NULL, "": any that all ranks have */
    uint64_t base;
    uint64_t join_timeout_ns;
};

enum dsm_member_event_type {
    DSM_MEMBER_EVENT_JOIN,
    DSM_MEMBER_EVENT_ANSWER, /* to a proposed base */
    DSM_MEMBER_EVENT_BEAT,
    DSM_MEMBER_EVENT_LEAVE,
    DSM_MEMBER_EVENT_ABORT,
    DSM_MEMBER_EVENT_CLOSED, /* the control connection ended */
    DSM_MEMBER_EVENT_EXITED, /* the launcher saw the process of a rank end */
    DSM_MEMBER_EVENT_TICK,   /* dsm_member_job_next_ns has come */
    DSM_MEMBER_EVENT_STOP,   /* dsmd is told to end */
};

/* Texts need to live during the step only. */
struct dsm_member_event {
    enum dsm_member_event_type type;
    uint64_t now_ns;
    uint64_t conn; /* not for EXITED, TICK, STOP */
    union {
        struct dsm_member_join join;
        struct {
            uint32_t round;
            bool is_mapped;
            uint64_t suggestion;
            const char *reason;
        } answer;
        uint64_t beat_number;
        struct {
            int32_t status;
            const char *reason;
        } abort;
        const char *closed_reason; /* CLOSED: "closed its control connection" */
        struct {
            uint32_t rank;
            bool is_success;
            const char *text; /* complete: "rank 1 (host, pid 5) exited with status 3" */
        } exited;
    };
};

enum dsm_member_action_type {
    DSM_MEMBER_ACTION_REFUSE,  /* say error and text, then close the connection */
    DSM_MEMBER_ACTION_PROPOSE, /* number: round; base */
    DSM_MEMBER_ACTION_START,   /* rank; the rest from dsm_member_job_* */
    DSM_MEMBER_ACTION_VIEW,    /* rank died; text */
    DSM_MEMBER_ACTION_LEFT,    /* rank left */
    DSM_MEMBER_ACTION_ABORTED, /* rank ended the job with status; text */
    DSM_MEMBER_ACTION_REPLY,   /* to a beat; number */
    DSM_MEMBER_ACTION_DROP,    /* close the connection without a word */
    /* The rest is for the log and the launcher; conn is DSM_MEMBER_CONN_NONE, or that of the
     * stranger who was refused. */
    DSM_MEMBER_ACTION_NOTE_REFUSED, /* a rank was refused; the job goes on; error, text */
    DSM_MEMBER_ACTION_NOTE_STARTED, /* text: the transport, and why */
    DSM_MEMBER_ACTION_NOTE_FAILED,  /* the job could not be formed; error, text */
    DSM_MEMBER_ACTION_NOTE_LOST,    /* rank's connection is gone; how it died is told later */
    DSM_MEMBER_ACTION_NOTE_DIED,    /* rank, text */
    DSM_MEMBER_ACTION_NOTE_ABORTED, /* rank, status, text */
    DSM_MEMBER_ACTION_NOTE_OVER,    /* the last connection is gone; the last action of a job */
};

struct dsm_member_action {
    enum dsm_member_action_type type;
    uint64_t conn;
    int32_t error;
    int32_t status;
    uint32_t rank;
    uint32_t epoch;
    uint64_t number;
    uint64_t base;
    char text[DSM_MEMBER_TEXT_BYTES];
};

struct dsm_member_actions {
    const struct dsm_member_action *items;
    size_t n_items;
};

/* A member of a job, for the roster. */
struct dsm_member {
    enum dsm_member_state state;
    uint64_t conn;
    uint32_t rank; /* wanted, or given when the job is complete; DSM_RANK_NONE until then */
    char *host, *host_id;
    struct dsm_member_offer *offers; /* its own, in one piece of memory */
    uint32_t n_offers;
    const char *wanted_transport; /* "": any; lies with the offers */
    const char *lane_address;     /* of the transport that the job takes; from AGREEING on */
    uint32_t pid;
    uint32_t host_index;
    uint64_t heard_ns;    /* last sign of life */
    uint64_t deadline_ns; /* LOST: when to stop waiting for the exit status */
    char *lost_reason;    /* LOST */
    char *exit_text;      /* what the launcher said; may come before the connection closes */
};

struct dsm_member_job;

/* NULL: out of memory. n_ranks must be in 1..DSM_CONTROL_MAX_RANKS. */
struct dsm_member_job *dsm_member_job_new(const struct dsm_member_job_config *config);
void dsm_member_job_free(struct dsm_member_job *job);

/*
 * The only way in. The actions are valid until the next call and must be carried out in order.
 * Events of connections that are no members (any more) are ignored. Error: NOMEM, nothing changed.
 */
int dsm_member_job_step(struct dsm_member_job *job, const struct dsm_member_event *event,
                        struct dsm_member_actions *actions_out);

/* When the next TICK is due; UINT64_MAX: never. */
uint64_t dsm_member_job_next_ns(const struct dsm_member_job *job);
enum dsm_member_job_state dsm_member_job_state(const struct dsm_member_job *job);
bool dsm_member_job_is_over(const struct dsm_member_job *job);
const struct dsm_member_job_config *dsm_member_job_config(const struct dsm_member_job *job);
uint32_t dsm_member_job_epoch(const struct dsm_member_job *job);
uint64_t dsm_member_job_base(const struct dsm_member_job *job);
uint64_t dsm_member_job_region_bytes(const struct dsm_member_job *job);
/* All of them, as soon as the job has started. */
uint32_t dsm_member_job_n_joined(const struct dsm_member_job *job);
/* What all ranks use, and one line that says why; from AGREEING on. */
const char *dsm_member_job_transport(const struct dsm_member_job *job);
const char *dsm_member_job_transport_reason(const struct dsm_member_job *job);
/* The member with that rank; from START on there is one for each. */
const struct dsm_member *dsm_member_job_rank(const struct dsm_member_job *job, uint32_t rank);

#endif
