/* SPDX-License-Identifier: BSD-3-Clause */
/* spawn.h - starts the process of one rank, and ends what it left behind. */
#ifndef DSM_DSMRUN_SPAWN_H
#define DSM_DSMRUN_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct dsm_spawn_spec {
    char *const *args; /* NULL-terminated; args[0] is looked up in PATH */
    char *const *env;  /* NULL-terminated, complete */
    const char *dir;   /* NULL or "": where we are */
    bool has_input;    /* standard input is a pipe; else /dev/null */
    bool keep_randomization;
};

struct dsm_spawn {
    pid_t pid; /* also its process group */
    int in_fd; /* -1 without input */
    int out_fd, err_fd;
};

/*
 * The process leads a process group of its own, is killed when this process ends, has the default
 * signal dispositions and equal addresses in every rank. Errors, with one line in why: SYSTEM (not
 * found, not executable, out of processes...).
 */
int dsm_spawn_rank(const struct dsm_spawn_spec *spec, struct dsm_spawn *spawn_out, char *why,
                   size_t why_bytes);

/* SIGKILL to every descendant of this process, however deep, until none is left; they are reaped.
 * Needs PR_SET_CHILD_SUBREAPER to have been set. */
void dsm_spawn_kill_descendants(void);

#endif
