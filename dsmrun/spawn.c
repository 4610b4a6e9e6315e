/* SPDX-License-Identifier: BSD-3-Clause */
/* spawn.c - fork, the settings of a rank's process, exec; and the end of everything. */
#include "config.h"
#include "dsmrun/spawn.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum step { STEP_INPUT, STEP_DIR, STEP_EXEC };

struct failure {
    enum step step;
    int error;
};

struct pipes {
    int in[2], out[2], err[2], status[2];
};

static void close_both(int fds[2])
{
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void close_pipes(struct pipes *p)
{
    close_both(p->in);
    close_both(p->out);
    close_both(p->err);
    close_both(p->status);
}

static int open_pipes(struct pipes *p, bool has_input)
{
    *p = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    if ((has_input && pipe2(p->in, O_CLOEXEC) != 0) || pipe2(p->out, O_CLOEXEC) != 0 ||
        pipe2(p->err, O_CLOEXEC) != 0 || pipe2(p->status, O_CLOEXEC) != 0) {
        int error = errno;
        close_pipes(p);
        return error;
    }
    return 0;
}

static _Noreturn void fail_child(int status_fd, enum step step)
{
    struct failure failure = {step, errno};
    ssize_t written = write(status_fd, &failure, sizeof failure);
    _exit(written == (ssize_t)sizeof failure ? 127 : 126);
}

static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < NSIG; signal++)
        sigaction(signal, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void run_child(const struct dsm_spawn_spec *spec, const struct pipes *p,
                                pid_t parent)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); /* the parent ended before it could be watched */
    reset_signals();
    if (!spec->keep_randomization)
        personality((unsigned long)personality(0xffffffff) | ADDR_NO_RANDOMIZE);
    int in_fd = spec->has_input ? p->in[0] : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in_fd < 0 || dup2(in_fd, 0) < 0 || dup2(p->out[1], 1) < 0 || dup2(p->err[1], 2) < 0)
        fail_child(p->status[1], STEP_INPUT);
    if (spec->dir && *spec->dir && chdir(spec->dir) != 0)
        fail_child(p->status[1], STEP_DIR);
    execvpe(spec->args[0], spec->args, spec->env);
    fail_child(p->status[1], STEP_EXEC);
}

static void explain(const struct dsm_spawn_spec *spec, const struct failure *failure, char *why,
                    size_t why_bytes)
{
    switch (failure->step) {
    case STEP_INPUT:
        dsm_format(why, why_bytes, "cannot set up standard input and output: %s",
                   strerror(failure->error));
        return;
    case STEP_DIR:
        dsm_format(why, why_bytes, "cannot change to the directory %s: %s", spec->dir,
                   strerror(failure->error));
        return;
    case STEP_EXEC:
        dsm_format(why, why_bytes, "cannot run %s: %s", spec->args[0], strerror(failure->error));
        return;
    }
}

int dsm_spawn_rank(const struct dsm_spawn_spec *spec, struct dsm_spawn *spawn_out, char *why,
                   size_t why_bytes)
{
    struct pipes p;
    int error = open_pipes(&p, spec->has_input);
    if (error) {
        dsm_format(why, why_bytes, "cannot open pipes: %s", strerror(error));
        return DSM_E_SYSTEM;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        run_child(spec, &p, parent);
    if (pid < 0) {
        dsm_format(why, why_bytes, "cannot start a process: %s", strerror(errno));
        close_pipes(&p);
        return DSM_E_SYSTEM;
    }
    setpgid(pid, pid); /* whoever of the two comes first: signals go to the group from now on */
    close(p.status[1]);
    p.status[1] = -1;
    struct failure failure;
    ssize_t n;
    do {
        n = read(p.status[0], &failure, sizeof failure);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof failure) {
        explain(spec, &failure, why, why_bytes);
        waitpid(pid, NULL, 0);
        close_pipes(&p);
        return DSM_E_SYSTEM;
    }
    *spawn_out = (struct dsm_spawn){pid, p.in[1], p.out[0], p.err[0]};
    p.in[1] = p.out[0] = p.err[0] = -1;
    close_pipes(&p);
    return 0;
}

/* Kills the direct children; orphans of theirs become ours. Returns how many: those of another user
 * cannot be, and are not waited for. */
static unsigned kill_children(void)
{
    FILE *list = fopen("/proc/thread-self/children", "re");
    unsigned n = 0;
    long pid;
    if (!list)
        return 0;
    while (fscanf(list, "%ld", &pid) == 1) {
        if (kill((pid_t)pid, SIGKILL) == 0)
            n++;
    }
    fclose(list);
    return n;
}

void dsm_spawn_kill_descendants(void)
{
    while (kill_children() > 0)
        if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
            return;
}
