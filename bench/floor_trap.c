/* SPDX-License-Identifier: BSD-3-Clause */
/* floor_trap.c - see floor_trap.h. */
#define _GNU_SOURCE
#include "bench/floor_trap.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/trap_alone.h"

#define MAX_FAULTS 4096u

enum { TRAP_SIGBUS, TRAP_UFFD, TRAP_SEGV }; /* places in bench_traps_alone */

struct bench_trap_helper {
    int fd;
    pid_t pid;
};

/* On the socket: which trap and how many faults; back: how many were done, then their times. */
struct request {
    uint32_t trap;
    uint32_t n_faults;
};

/* ---- the helper process --------------------------------------------------------------------- */

static uint8_t *new_app_view(size_t len)
{
    int memfd = memfd_create("dsm-bench", MFD_CLOEXEC);
    uint8_t *frame, *app;

    if (memfd < 0 || ftruncate(memfd, (off_t)len) != 0)
        return NULL;
    app = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    frame = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    close(memfd);
    if (app == MAP_FAILED || frame == MAP_FAILED)
        return NULL;
    memset(frame, 1, len); /* every page is here: what is timed is the way to it */
    return app;
}

/* NULL: not to be had here. */
static uint8_t *open_stage(const struct bench_trap_alone *trap)
{
    size_t len = (size_t)MAX_FAULTS * BENCH_PAGE_BYTES;
    uint8_t *app = new_app_view(len);

    return app != NULL && trap->open(app, len) == 0 ? app : NULL;
}

/* Half of the pages are read-only, the others absent: the two faults there are. */
static uint32_t time_faults(const struct bench_trap_alone *trap, uint8_t *app, uint32_t n_faults,
                            double *us_out)
{
    uint32_t *order = bench_shuffle(n_faults, 1);

    if (order == NULL || trap->prepare(app, (size_t)n_faults * BENCH_PAGE_BYTES) != 0) {
        free(order);
        return 0;
    }
    for (uint32_t i = 0; i < n_faults; i++) {
        volatile uint8_t *page = app + (size_t)order[i] * BENCH_PAGE_BYTES;
        uint64_t start_ns = dsm_clock_ns();

        *page = 2;
        us_out[i] = bench_us_since(start_ns);
    }
    free(order);
    return n_faults;
}

static void serve(int fd)
{
    static double us[MAX_FAULTS];
    uint8_t *apps[BENCH_N_TRAPS_ALONE] = {NULL};
    bool is_open[BENCH_N_TRAPS_ALONE] = {false};
    struct request request;

    while (recv(fd, &request, sizeof request, MSG_WAITALL) == (ssize_t)sizeof request) {
        const struct bench_trap_alone *trap = &bench_traps_alone[request.trap];
        uint32_t n_done = 0;

        if (!is_open[request.trap])
            apps[request.trap] = open_stage(trap);
        is_open[request.trap] = true;
        if (apps[request.trap] != NULL)
            n_done = time_faults(trap, apps[request.trap], request.n_faults, us);
        if (send(fd, &n_done, sizeof n_done, MSG_NOSIGNAL) != (ssize_t)sizeof n_done ||
            send(fd, us, n_done * sizeof us[0], MSG_NOSIGNAL) != (ssize_t)(n_done * sizeof us[0]))
            break;
    }
}

/* ---- rank 0's side -------------------------------------------------------------------------- */

int bench_trap_helper_start(struct bench_worker *worker)
{
    struct bench_trap_helper *helper = calloc(1, sizeof *helper);
    pid_t parent = getpid();
    int pair[2];

    if (helper == NULL)
        return DSM_E_NOMEM;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        free(helper);
        return DSM_E_SYSTEM;
    }
    helper->pid = fork();
    if (helper->pid == 0) {
        close(pair[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) /* it may have died before the line above */
            serve(pair[1]);
        _exit(0);
    }
    close(pair[1]);
    helper->fd = pair[0];
    if (helper->pid < 0) {
        close(helper->fd);
        free(helper);
        return DSM_E_SYSTEM;
    }
    worker->trap_helper = helper;
    return 0;
}

void bench_trap_helper_stop(struct bench_worker *worker)
{
    struct bench_trap_helper *helper = worker->trap_helper;

    if (helper == NULL)
        return;
    close(helper->fd);
    while (waitpid(helper->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    free(helper);
    worker->trap_helper = NULL;
}

static int ask_helper(struct bench_worker *worker, uint32_t trap, struct bench_samples *samples)
{
    struct bench_trap_helper *helper = worker->trap_helper;
    uint32_t n = worker->effort->n_pages < MAX_FAULTS ? worker->effort->n_pages : MAX_FAULTS;
    struct request request = {.trap = trap, .n_faults = n};
    uint32_t n_done;

    if (worker->rank != 0)
        return 0;
    bench_samples_reserve(samples, n);
    if (send(helper->fd, &request, sizeof request, MSG_NOSIGNAL) != (ssize_t)sizeof request ||
        recv(helper->fd, &n_done, sizeof n_done, MSG_WAITALL) != (ssize_t)sizeof n_done) {
        fprintf(stderr, "dsm-bench: the process that measures the traps alone has died\n");
        return DSM_E_SYSTEM;
    }
    if (n_done == 0)
        return DSM_E_UNSUPPORTED;
    for (uint32_t i = 0; i < n_done; i++) {
        double us;

        if (recv(helper->fd, &us, sizeof us, MSG_WAITALL) != (ssize_t)sizeof us)
            return DSM_E_SYSTEM;
        bench_samples_add(samples, us);
    }
    return 0;
}

int bench_floor_trap_sigbus(struct bench_worker *worker, struct bench_samples *samples)
{
    return ask_helper(worker, TRAP_SIGBUS, samples);
}

int bench_floor_trap_uffd(struct bench_worker *worker, struct bench_samples *samples)
{
    return ask_helper(worker, TRAP_UFFD, samples);
}

int bench_floor_trap_segv(struct bench_worker *worker, struct bench_samples *samples)
{
    return ask_helper(worker, TRAP_SEGV, samples);
}
