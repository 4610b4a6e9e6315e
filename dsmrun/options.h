/* SPDX-License-Identifier: BSD-3-Clause */
/* options.h - dsmrun's command line. */
#ifndef DSM_DSMRUN_OPTIONS_H
#define DSM_DSMRUN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dsm_run_options {
    uint32_t n_ranks;     /* 0: as many as the hosts offer */
    const char *hosts;    /* --host */
    const char *hostfile; /* --hostfile */
    const char *listen;   /* --listen: this host's address for the others; NULL: found out */
    const char *ssh;      /* --ssh: words that start a remote shell */
    const char *remote_dsmrun;
    const char *dir;     /* --wdir */
    const char *profile; /* --profile: the file; NULL: none */
    double lease_s;      /* 0: off */
    bool tag_output;
    bool keep_randomization;
    bool supervise; /* dsmrun's own use on every host */
    /* "NAME=value" for every rank: from the options that stand for a variable, and --env. */
    char **env;
    size_t n_env;
    char **args; /* the program and its arguments, NULL-terminated */
};

enum dsm_run_options_result { DSM_RUN_OPTIONS_GO, DSM_RUN_OPTIONS_DONE, DSM_RUN_OPTIONS_BAD };

/* GO: run; DONE: --help or --version was answered; BAD: one line was logged. */
enum dsm_run_options_result dsm_run_options_parse(int argc, char **argv,
                                                  struct dsm_run_options *options);
void dsm_run_options_free(struct dsm_run_options *options);

#endif
