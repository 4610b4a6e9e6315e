/* SPDX-License-Identifier: BSD-3-Clause */
/* link.h - dsmrun's end of one host: the supervisor's process (or the ssh that leads to it), its
 * channel, and what it says on standard error. */
#ifndef DSM_DSMRUN_LINK_H
#define DSM_DSMRUN_LINK_H

#include "dsmrun/channel.h"
#include "dsmrun/hosts.h"
#include "dsmrun/lines.h"
#include <stdbool.h>
#include <uv.h>

#define DSM_LINK_ERROR_BYTES 300u

struct dsm_link;

struct dsm_link_handler {
    void (*on_message)(struct dsm_link *link, const Dsm__LaunchMessage *message);
    /* A line on the standard error of ssh or the supervisor, once the supervisor has said Hello. */
    void (*on_error_line)(struct dsm_link *link, const char *bytes, size_t len_bytes);
    void (*on_writable)(struct dsm_link *link);
    /* The process has ended and everything it said has been handed over; once. reason: one line. */
    void (*on_end)(struct dsm_link *link, const char *reason);
};

struct dsm_link {
    void *user;
    const struct dsm_host *host;
    struct dsm_link_handler handler;
    uv_process_t process;
    struct dsm_channel channel;
    uv_pipe_t error_pipe;
    struct dsm_lines error_lines;
    char host_name[128];                   /* what the host calls itself; after Hello */
    char last_error[DSM_LINK_ERROR_BYTES]; /* the last line on standard error before Hello */
    char end_reason[DSM_LINK_ERROR_BYTES];
    bool is_open, has_hello, process_ended, channel_ended, error_ended, is_over;
    char read_buf[4096];
};

/*
 * Starts the supervisor: for this host dsmrun itself, for another one by ssh. args: what to
 * execute, NULL-terminated. Errors, with one line in why: SYSTEM.
 */
int dsm_link_open(struct dsm_link *link, uv_loop_t *loop, const struct dsm_host *host,
                  char *const *args, const struct dsm_link_handler *handler, void *user, char *why,
                  size_t why_bytes);
void dsm_link_send(struct dsm_link *link, Dsm__LaunchMessage__BodyCase body_case, void *body);
/* Hangs up: the supervisor kills its ranks when it notices; ssh is killed. */
void dsm_link_hang_up(struct dsm_link *link);

#endif
