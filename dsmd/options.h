/* SPDX-License-Identifier: BSD-3-Clause */
/* options.h - dsmd's flags and configuration file; flags win. */
#ifndef DSM_DSMD_OPTIONS_H
#define DSM_DSMD_OPTIONS_H

#include <stdint.h>

#define DSM_DAEMON_DEFAULT_PORT 7433u
#define DSM_DAEMON_MAX_LISTEN   8u

struct dsm_daemon_options {
    char listen[DSM_DAEMON_MAX_LISTEN][256]; /* addresses or names */
    uint32_t n_listen;
    uint16_t port;
    double lease_s;         /* 0: off */
    double join_timeout_s;  /* 0: what the ranks ask for */
    double drain_timeout_s; /* how long SIGTERM waits for running jobs */
    uint32_t max_jobs, max_ranks;
};

enum dsm_daemon_options_result {
    DSM_DAEMON_OPTIONS_GO,
    DSM_DAEMON_OPTIONS_DONE, /* --help or --version was answered */
    DSM_DAEMON_OPTIONS_BAD,  /* one line was logged */
};

enum dsm_daemon_options_result dsm_daemon_options_parse(int argc, char **argv,
                                                        struct dsm_daemon_options *options);

#endif
