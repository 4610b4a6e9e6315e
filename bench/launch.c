/* SPDX-License-Identifier: BSD-3-Clause */
/* launch.c - see launch.h. */
#include "bench/launch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define KILL_AFTER_MS     5000
#define EXIT_CANNOT_START 127

/* ---- finding the programs ------------------------------------------------------------------- */

static void use_if_executable(char *path_out, const char *dir, const char *name)
{
    char path[PATH_MAX];

    if (path_out[0] == '\0' &&
        (size_t)snprintf(path, sizeof path, "%s/%s", dir, name) < sizeof path &&
        access(path, X_OK) == 0)
        strcpy(path_out, path);
}

int bench_launch_find(struct bench_paths *paths_out)
{
    char dir[PATH_MAX];
    const char *dsmrun = getenv("DSMRUN");
    ssize_t n = readlink("/proc/self/exe", paths_out->bench, sizeof paths_out->bench - 1);

    if (n < 0) {
        fprintf(stderr, "dsm-bench: /proc/self/exe: %s\n", strerror(errno));
        return DSM_E_SYSTEM;
    }
    paths_out->bench[n] = '\0';
    strcpy(dir, paths_out->bench);
    *strrchr(dir, '/') = '\0';
    paths_out->dsmrun[0] = '\0';
    if (dsmrun != NULL && strlen(dsmrun) < sizeof paths_out->dsmrun)
        strcpy(paths_out->dsmrun, dsmrun);
    use_if_executable(paths_out->dsmrun, dir, "dsmrun");              /* installed */
    use_if_executable(paths_out->dsmrun, dir, "../dsmrun/dsmrun");    /* built */
    use_if_executable(paths_out->dsmrun, dir, "../../dsmrun/dsmrun"); /* built, in .libs */
    if (paths_out->dsmrun[0] == '\0')
        strcpy(paths_out->dsmrun, "dsmrun");
    return 0;
}

/* ---- the child ------------------------------------------------------------------------------ */

static void exec_dsmrun(const struct bench_paths *paths, const struct bench_job *job)
{
    char n_ranks[16];
    const char *argv[20];
    size_t n = 0;

    snprintf(n_ranks, sizeof n_ranks, "%u", job->n_ranks);
    argv[n++] = paths->dsmrun;
    argv[n++] = "-n";
    argv[n++] = n_ranks;
    argv[n++] = "--trap";
    argv[n++] = job->trap;
    argv[n++] = "--transport";
    argv[n++] = job->transport;
    if (job->profile != NULL) {
        argv[n++] = "--profile";
        argv[n++] = job->profile;
    }
    argv[n++] = paths->bench;
    argv[n++] = "--worker";
    argv[n++] = "--only";
    argv[n++] = job->only;
    if (job->is_quick)
        argv[n++] = "--quick";
    argv[n] = NULL;
    execvp(paths->dsmrun, (char *const *)argv);
    fprintf(stderr, "dsm-bench: cannot start '%s': %s (DSMRUN=path names another)\n", paths->dsmrun,
            strerror(errno));
    _exit(EXIT_CANNOT_START);
}

static pid_t start(const struct bench_paths *paths, const struct bench_job *job, int *fd_out)
{
    pid_t parent = getpid(), pid;
    int ends[2];

    if (pipe(ends) != 0)
        return -1;
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        /* dsmrun ends its ranks when it is told to end, so nothing outlives this process. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent || dup2(ends[1], STDOUT_FILENO) < 0)
            _exit(126);
        close(ends[0]);
        close(ends[1]);
        exec_dsmrun(paths, job);
    }
    close(ends[1]);
    if (pid < 0)
        close(ends[0]);
    *fd_out = ends[0];
    return pid;
}

/* ---- its output ----------------------------------------------------------------------------- */

struct reader {
    int fd;
    char *text;
    size_t len, room;
    const struct bench_sink *sink;
    uint64_t deadline_ns;
    int64_t n_records;
};

/* A record goes to the sink; any other line is the job's own and is passed on. */
static void take_line(struct reader *reader, const char *line)
{
    json_t *record = line[0] == '{' ? json_loads(line, 0, NULL) : NULL;

    if (record != NULL && json_object_get(record, "kind") != NULL) {
        reader->sink->put(reader->sink->user, record);
        reader->n_records++;
    } else {
        fprintf(stderr, "%s\n", line);
    }
    json_decref(record);
}

static void take_lines(struct reader *reader)
{
    char *line = reader->text, *end;

    while ((end = memchr(line, '\n', reader->len - (size_t)(line - reader->text))) != NULL) {
        *end = '\0';
        take_line(reader, line);
        line = end + 1;
    }
    reader->len -= (size_t)(line - reader->text);
    memmove(reader->text, line, reader->len);
}

static int remaining_ms(uint64_t deadline_ns)
{
    uint64_t now_ns = dsm_clock_ns();

    return now_ns >= deadline_ns ? 0 : (int)((deadline_ns - now_ns) / DSM_NS_PER_MS) + 1;
}

/* Until the job closes its output. */
static int read_records(struct reader *reader)
{
    for (;;) {
        struct pollfd wait = {.fd = reader->fd, .events = POLLIN};
        int n_ready = poll(&wait, 1, remaining_ms(reader->deadline_ns));
        ssize_t n;

        if (n_ready < 0 && errno == EINTR)
            continue;
        if (n_ready < 0)
            return DSM_E_SYSTEM;
        if (n_ready == 0)
            return DSM_E_TIMEOUT;
        if (reader->room - reader->len < 4096) {
            char *more = realloc(reader->text, reader->room + 65536);

            if (more == NULL)
                return DSM_E_NOMEM;
            reader->text = more;
            reader->room += 65536;
        }
        n = read(reader->fd, reader->text + reader->len, reader->room - reader->len);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return DSM_E_SYSTEM;
        if (n > 0) {
            reader->len += (size_t)n;
            take_lines(reader);
        }
    }
}

/* The status of wait(2); asks the job to end when it has not within the time, then makes it. */
static int wait_for_end(pid_t pid, uint64_t deadline_ns, bool *was_killed_out)
{
    int status, signal_to_send = SIGTERM;

    *was_killed_out = false;
    for (;;) {
        struct timespec pause = {.tv_nsec = 5000000};
        pid_t done = waitpid(pid, &status, signal_to_send == 0 ? 0 : WNOHANG);

        if (done == pid)
            return status;
        if (done < 0 && errno != EINTR)
            return -1;
        if (done == 0 && remaining_ms(deadline_ns) == 0) {
            *was_killed_out = true;
            kill(pid, signal_to_send);
            deadline_ns = dsm_clock_ns() + KILL_AFTER_MS * DSM_NS_PER_MS;
            signal_to_send = signal_to_send == SIGTERM ? SIGKILL : 0;
        }
        if (done == 0 && signal_to_send != 0)
            nanosleep(&pause, NULL);
    }
}

int bench_launch_run(const struct bench_paths *paths, const struct bench_job *job,
                     const struct bench_sink *sink)
{
    struct reader reader = {.sink = sink};
    bool was_killed;
    pid_t pid;
    int error, status;

    reader.deadline_ns = dsm_clock_ns() + job->timeout_s * DSM_NS_PER_S;
    pid = start(paths, job, &reader.fd);
    if (pid < 0) {
        fprintf(stderr, "dsm-bench: cannot start a job: %s\n", strerror(errno));
        return DSM_E_SYSTEM;
    }
    error = read_records(&reader);
    close(reader.fd);
    free(reader.text);
    /* After an error nobody reads the job's output any more: it has no reason to go on. */
    status = wait_for_end(pid, error == 0 ? reader.deadline_ns : dsm_clock_ns(), &was_killed);
    if (error == 0 && was_killed)
        error = DSM_E_TIMEOUT;
    if (error == DSM_E_TIMEOUT)
        fprintf(stderr, "dsm-bench: %s with %u ranks and trap %s did not end in %u s: ended\n",
                job->only, job->n_ranks, job->trap, job->timeout_s);
    if (error == 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CANNOT_START)
        return DSM_E_SYSTEM; /* the child has said why */
    if (error == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || reader.n_records == 0)) {
        fprintf(stderr, "dsm-bench: %s with %u ranks and trap %s failed (%s %d, %d records)\n",
                job->only, job->n_ranks, job->trap, WIFEXITED(status) ? "status" : "signal",
                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), (int)reader.n_records);
        error = DSM_E_PEER;
    }
    return error;
}
