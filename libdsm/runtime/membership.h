/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * membership.h - a rank's side of the control plane: joining the job through dsmd, heartbeats, and
 * hearing who left, who died and that the job ends. It knows nothing of pages or lanes.
 *
 * Order of calls: dsm_membership_join on the thread that runs dsm_init; then the loop is run by the
 * service thread and the callbacks come on it; dsm_membership_leave from any other thread while the
 * loop runs; dsm_membership_close when nobody runs the loop any more.
 *
 * A rank that ends without dsm_membership_leave is dead for the others, whatever its exit status.
 */
#ifndef DSM_RUNTIME_MEMBERSHIP_H
#define DSM_RUNTIME_MEMBERSHIP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct dsm_membership;

/*
 * Callbacks. on_* run on the loop's thread, after a successful join only. They must not call
 * dsm_membership_close or dsm_membership_leave. Texts are valid during the call.
 */
struct dsm_membership_handler {
    void *user;
    /*
     * Maps the region at exactly base (MAP_FIXED_NOREPLACE). Runs inside dsm_membership_join, on
     * its thread. A second call means that another rank could not map the base of the first: drop
     * that mapping before trying this one. Returns 0, or a negative DSM_E code with one line in why
     * and in *suggestion_out a base that would do here (0: no hole is large enough). After a failed
     * join the caller drops the last mapping.
     */
    int (*try_base)(void *user, uint64_t base, uint64_t region_bytes, uint64_t *suggestion_out,
                    char *why, size_t why_bytes);
    /* A rank died; the view without it has this epoch. reason: "rank 2 (host, pid 123) died of
     * signal 11 (Segmentation fault)" and the like, complete as it stands. */
    void (*on_view)(void *user, uint32_t epoch, uint32_t dead_rank, const char *reason);
    /* A rank left in good order: its closing lanes are not a loss. Never for this rank. */
    void (*on_left)(void *user, uint32_t rank);
    /* Rank `rank` (DSM_RANK_NONE: dsmd itself) ends the job: exit with status. */
    void (*on_abort)(void *user, uint32_t rank, int status, const char *reason);
    /* dsmd is gone or silent for longer than the lease; nothing is reported any more. */
    void (*on_daemon_lost)(void *user, const char *reason);
    /* Somebody wants to see what this rank does, so often; 0: nobody any more. NULL: this rank
     * shows nothing. */
    void (*on_watched)(void *user, uint32_t every_ms);
};

/* A transport of this rank, or why it has none. */
struct dsm_membership_offer {
    const char *transport;
    const char *lane_address; /* "ip:port"; "": not to be had */
    const char *network;      /* "10.77.0.0/24": reaches the ranks of the same; "": reaches all */
    const char *reason;       /* why it is not to be had */
};

/* Everything is copied. */
struct dsm_membership_config {
    const char *daemon; /* "host:port" */
    uint8_t token[16];
    int32_t wanted_rank; /* -1: dsmd numbers */
    uint32_t n_ranks;
    uint64_t region_bytes;
    uint64_t base;     /* where the user wants the region; 0: anywhere */
    const char *build; /* must be equal on all ranks: version, build flags that matter */
    const struct dsm_membership_offer *offers; /* of every transport, the best first */
    uint32_t n_offers;                         /* 1..DSM_CONTROL_MAX_OFFERS */
    const char *wanted_transport;              /* NULL: any that all ranks have */
    const char *trap;                          /* name, for messages */
    double join_timeout_s;                     /* 0: 60 */
    struct dsm_membership_handler handler;
};

/* What the job agreed on. Arrays have n_ranks elements and live until dsm_membership_close. */
struct dsm_job_info {
    uint32_t rank;
    uint32_t n_ranks;
    uint32_t epoch;
    uint64_t base; /* mapped by the last try_base */
    uint64_t region_bytes;
    const char *transport; /* what all ranks use: one of the names offered */
    const char *transport_reason;
    const char *const *addresses; /* its lane addresses */
    const char *const *hosts;     /* host names, for messages */
    const uint32_t *pids;
    const bool *is_local; /* shares this rank's processors; true for the rank itself */
    uint32_t n_local;     /* how many of these */
    bool is_managed; /* dsmrun tells the user who died of what and ends what is left: the ranks need
                        not print it as well */
};

/*
 * Joins; returns when every rank has mapped the region, or on failure with one line logged.
 * Runs the loop until then, at most join_timeout_s and a little (so that dsmd's own message, which
 * names the missing ranks, comes first). The line is logged at INFO only when a launcher says it.
 * Errors: INVAL, CONNECT, AUTH, MISMATCH, TIMEOUT, RANGE (no base that all can map), PROTO, PEER (a
 * rank died while the job formed), LIMIT, NOMEM, SYSTEM.
 */
int dsm_membership_join(const struct dsm_membership_config *config, uv_loop_t *loop,
                        struct dsm_membership **membership_out, struct dsm_job_info *info_out);

/*
 * Sends what this rank does to those who watch it. On the loop's thread; left out where what was
 * sent before has not gone yet.
 */
void dsm_membership_show(struct dsm_membership *membership, const void *live, size_t len_bytes);

/*
 * Leaves in good order: afterwards this rank's end is no death. Any thread but the loop's, while
 * the loop runs; waits for dsmd's answer, at most timeout_ms. Errors: TIMEOUT, PEER (dsmd is gone).
 */
int dsm_membership_leave(struct dsm_membership *membership, uint32_t timeout_ms);

/*
 * Tells dsmd to end the job everywhere with status; the caller then exits by itself. Any thread,
 * also in a signal handler: no allocation, no lock, never waits, and works when the loop does not
 * run. Errors: PEER (dsmd is gone), BUSY (the connection is full), SYSTEM.
 */
int dsm_membership_abort(struct dsm_membership *membership, int status, const char *reason);

/*
 * Stops and frees. Runs the loop briefly to close its own handles, so nobody else may run it. No
 * other call of this file may be under way. Without dsm_membership_leave before, the other ranks
 * see this one die.
 */
void dsm_membership_close(struct dsm_membership *membership);

/* "x86-64", "x86-64-v2", -v3 or -v4: the instruction set level of this processor, which all ranks
 * must share. */
const char *dsm_membership_cpu(void);

#endif
