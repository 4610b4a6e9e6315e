/* SPDX-License-Identifier: BSD-3-Clause */
/* launcher_private.h - the state of a job in dsmrun, for the files that run it: launcher.c (course
 * of events), launcher_start.c (addresses, environments, supervisors), launcher_io.c (input,
 * output, signals). */
#ifndef DSM_DSMRUN_LAUNCHER_PRIVATE_H
#define DSM_DSMRUN_LAUNCHER_PRIVATE_H

#include "core/ids.h"
#include "dsmd/server.h"
#include "dsmrun/hosts.h"
#include "dsmrun/input.h"
#include "dsmrun/link.h"
#include "dsmrun/options.h"
#include "dsmrun/output.h"
#include "dsmrun/route.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define DSM_LAUNCHER_TEXT_BYTES 300u
#define DSM_LAUNCHER_N_SIGNALS  8u
/* Between the first failure and the verdict: other ranks may have died of the same cause a moment
 * later, and theirs may have been heard first. */
#define DSM_LAUNCHER_VERDICT_MS 100u
#define DSM_LAUNCHER_KILL_MS    2000u /* from SIGTERM to SIGKILL */
#define DSM_LAUNCHER_GIVE_UP_MS 5000u /* from SIGKILL to leaving a host that does not answer */
#define DSM_LAUNCHER_ALIVE_MS   5000u

struct dsm_launcher_rank {
    uint32_t host_index;
    uint32_t pid; /* 0: not started yet */
    bool has_exited, has_failed;
    int status;                         /* as a shell would say it */
    char text[DSM_LAUNCHER_TEXT_BYTES]; /* "rank 1 (host, pid 5) exited with status 3" */
    bool at_line_start[2];              /* of standard output, of standard error */
};

/* How far the end has come. */
enum dsm_launcher_end { DSM_END_NONE, DSM_END_VERDICT, DSM_END_SOON, DSM_END_TERM, DSM_END_KILL };

struct dsm_launcher {
    const struct dsm_run_options *options;
    uv_loop_t loop;
    uint8_t token[DSM_TOKEN_BYTES];
    struct dsm_server *server; /* NULL: DSM_DAEMON names another */
    const char *daemon;        /* DSM_DAEMON from outside */

    struct dsm_hosts hosts;
    struct dsm_link *links; /* one for each host */
    /* This host's address as that host sees it; "": the host is here. */
    char (*sources)[DSM_ROUTE_ADDRESS_BYTES];
    uint32_t n_links_over;
    struct dsm_launcher_rank *ranks;
    uint32_t n_ranks, n_exited;

    FILE *profile; /* --profile; NULL: none, or it could not be written */
    struct dsm_output outputs[2];
    struct dsm_input *input; /* its thread may outlive the rest */
    uv_async_t wake;
    size_t input_unacked_bytes;
    bool is_held_back; /* output: nothing is read from the hosts */
    uv_signal_t signals[DSM_LAUNCHER_N_SIGNALS];
    unsigned n_end_signals;
    uv_timer_t alive_timer;
    uv_timer_t progress_timer;
    uint64_t progress_told; /* the hosts and ranks that were told of last */

    enum dsm_launcher_end end;
    uv_timer_t end_timer;
    bool has_verdict;
    int status;
    uint32_t first_failed, first_lost; /* DSM_RANK_NONE: none */
};

/* launcher.c */
/* The job has failed: says why, once, and ends what is left after delay_ms. */
void dsm_launcher_fail(struct dsm_launcher *l, int status, uint64_t delay_ms, const char *text);
void dsm_launcher_end_now(struct dsm_launcher *l);
void dsm_launcher_on_message(struct dsm_link *link, const Dsm__LaunchMessage *message);
void dsm_launcher_on_link_end(struct dsm_link *link, const char *reason);
void dsm_launcher_on_note(void *user, uint64_t job_number, const struct dsm_member_action *note);

/* launcher_start.c: one line is logged on failure. */
int dsm_launcher_find_hosts(struct dsm_launcher *l);
int dsm_launcher_open_server(struct dsm_launcher *l);
int dsm_launcher_open_links(struct dsm_launcher *l);
/* Answers the supervisor's Hello. */
void dsm_launcher_send_launch(struct dsm_launcher *l, struct dsm_link *link);

/* launcher_io.c */
int dsm_launcher_open_io(struct dsm_launcher *l);
void dsm_launcher_start_input(struct dsm_launcher *l);
void dsm_launcher_check_input(struct dsm_launcher *l);
void dsm_launcher_on_output(struct dsm_launcher *l, const Dsm__Output *output);
void dsm_launcher_on_error_line(struct dsm_link *link, const char *bytes, size_t len_bytes);
/* The file of --profile, before anything runs; a section for it; its end. */
int dsm_launcher_open_profile(struct dsm_launcher *l);
void dsm_launcher_on_profile(struct dsm_launcher *l, const Dsm__Profile *profile);
void dsm_launcher_close_profile(struct dsm_launcher *l);
void dsm_launcher_on_input_taken(struct dsm_launcher *l, size_t n_bytes);
void dsm_launcher_send_signal(struct dsm_launcher *l, int signal);
/* Writes out what is queued. */
void dsm_launcher_close_io(struct dsm_launcher *l);

/* launcher_progress.c: says on a terminal what a start that takes long waits for. */
void dsm_launcher_open_progress(struct dsm_launcher *l);

#endif
