/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server.h - dsmd's sockets: listens, reads and checks messages, lets member.h decide, and carries
 * out what it says. The same code is the daemon and the part of dsmrun that needs no daemon.
 *
 * Everything happens on the loop's thread; no call blocks.
 */
#ifndef DSM_DSMD_SERVER_H
#define DSM_DSMD_SERVER_H

#include "dsmd/member.h"
#include "dsmd/store.h"
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define DSM_SERVER_ADDRESS_BYTES 72u
#define DSM_SERVER_MAX_LISTENERS 16u

struct dsm_server_config {
    uv_loop_t *loop;
    uint64_t lease_ns;        /* 0: silence is no death */
    uint64_t join_timeout_ns; /* 0: what the first rank of a job asks for */
    uint32_t max_jobs;        /* 0: 1024 */
    uint32_t max_ranks;       /* of one job; 0: DSM_CONTROL_MAX_RANKS */
    bool is_managed;          /* only jobs announced by dsm_server_expect */
    void *user;
    /* A NOTE_* action of a job, to be logged or acted upon; must not call the server. */
    void (*on_note)(void *user, uint64_t job_number, const struct dsm_member_action *note);
};

/* Errors: NOMEM. */
int dsm_server_open(const struct dsm_server_config *config, struct dsm_server **server_out);
/*
 * Listens on a numeric address or a name; port 0: any. May be called several times. On failure one
 * line in why. Errors: INVAL, BUSY (port in use), LIMIT, SYSTEM.
 */
int dsm_server_listen(struct dsm_server *server, const char *host, uint16_t port, char *why,
                      size_t why_bytes);
/* "ip:port" or "[ip]:port" of the index'th listener. */
void dsm_server_address(const struct dsm_server *server, uint32_t index,
                        char out[DSM_SERVER_ADDRESS_BYTES]);
uint16_t dsm_server_port(const struct dsm_server *server, uint32_t index);

/* Managed: announces a job. Errors: NOMEM, BUSY (known already). */
int dsm_server_expect(struct dsm_server *server, const uint8_t token[DSM_TOKEN_BYTES],
                      uint32_t n_ranks);
/* Managed: the process of a rank ended. text: "rank 1 (host, pid 5) exited with status 3". */
void dsm_server_exited(struct dsm_server *server, const uint8_t token[DSM_TOKEN_BYTES],
                       uint32_t rank, bool is_success, const char *text);

/* Ranks of the job that have joined; all of them, as soon as it has started. */
uint32_t dsm_server_n_joined(const struct dsm_server *server, const uint8_t token[DSM_TOKEN_BYTES]);
uint32_t dsm_server_n_jobs(const struct dsm_server *server);
/* No new jobs from now on; on_idle runs (at once or later) when there is none left. */
void dsm_server_drain(struct dsm_server *server, void (*on_idle)(void *user));
/* Ends all jobs: every rank is told to exit. */
void dsm_server_stop_jobs(struct dsm_server *server);
/* Closes every socket and frees the server when the loop has run the last of its callbacks. */
void dsm_server_close(struct dsm_server *server);

#endif
