/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - the daemon: listens, logs what happens to its jobs, ends in good order. */
#include "config.h"
#include "dsmd/options.h"
#include "dsmd/server.h"
#include "base/errors.h"
#include "base/log.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* After the jobs were told to end: how long until the daemon does. */
#define STOP_MS 2000u

struct daemon {
    uv_loop_t loop;
    struct dsm_server *server;
    uv_signal_t term_signal, int_signal;
    uv_timer_t drain_timer;
    double drain_timeout_s;
    bool is_draining, is_stopping;
};

static void on_note(void *user, uint64_t job, const struct dsm_member_action *note)
{
    (void)user;
    switch (note->type) {
    case DSM_MEMBER_ACTION_NOTE_STARTED:
        dsm_log(DSM_LOG_INFO, "job %lu: runs, %s", job, note->text);
        return;
    case DSM_MEMBER_ACTION_NOTE_OVER:
        dsm_log(DSM_LOG_INFO, "job %lu: over", job);
        return;
    case DSM_MEMBER_ACTION_NOTE_REFUSED:
        dsm_log(DSM_LOG_WARN, "job %lu: refused: %s", job, note->text);
        return;
    case DSM_MEMBER_ACTION_NOTE_FAILED:
        dsm_log(DSM_LOG_WARN, "job %lu: cannot start: %s", job, note->text);
        return;
    case DSM_MEMBER_ACTION_NOTE_DIED:
    case DSM_MEMBER_ACTION_NOTE_ABORTED:
        dsm_log(DSM_LOG_WARN, "job %lu: %s", job, note->text);
        return;
    default: /* the rest is for connections, or for launchers */
        return;
    }
}

static void stop_loop(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void on_idle(void *user)
{
    struct daemon *d = user;
    uv_stop(&d->loop);
}

/* The jobs have had their time. */
static void stop_jobs(struct daemon *d)
{
    d->is_stopping = true;
    dsm_log(DSM_LOG_WARN, "ending %u jobs", dsm_server_n_jobs(d->server));
    dsm_server_stop_jobs(d->server);
    uv_timer_start(&d->drain_timer, stop_loop, STOP_MS, 0);
}

static void on_drain_time(uv_timer_t *timer)
{
    stop_jobs(timer->data);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct daemon *d = handle->data;
    if (d->is_stopping) {
        uv_stop(&d->loop);
    } else if (d->is_draining) {
        stop_jobs(d);
    } else {
        d->is_draining = true;
        dsm_log(DSM_LOG_INFO, "signal %d: no new jobs; waiting for %u", signum,
                dsm_server_n_jobs(d->server));
        uv_timer_start(&d->drain_timer, on_drain_time, (uint64_t)(d->drain_timeout_s * 1000), 0);
        dsm_server_drain(d->server, on_idle);
    }
}

static int open_server(struct daemon *d, const struct dsm_daemon_options *options)
{
    struct dsm_server_config config = {
        .loop = &d->loop,
        .lease_ns = (uint64_t)(options->lease_s * 1e9),
        .join_timeout_ns = (uint64_t)(options->join_timeout_s * 1e9),
        .max_jobs = options->max_jobs,
        .max_ranks = options->max_ranks,
        .user = d,
        .on_note = on_note,
    };
    int error = dsm_server_open(&config, &d->server);
    if (error)
        dsm_log(DSM_LOG_ERROR, "%s", dsm_error_text(error));
    for (uint32_t i = 0; i < options->n_listen && !error; i++) {
        char why[300], address[DSM_SERVER_ADDRESS_BYTES];
        error = dsm_server_listen(d->server, options->listen[i], options->port, why, sizeof why);
        if (error) {
            dsm_log(DSM_LOG_ERROR, "%s", why);
            break;
        }
        dsm_server_address(d->server, i, address);
        printf("dsmd: listening on %s\n", address);
    }
    fflush(stdout);
    return error;
}

static void watch_signal(struct daemon *d, uv_signal_t *handle, int signum)
{
    uv_signal_init(&d->loop, handle);
    handle->data = d;
    uv_signal_start(handle, on_signal, signum);
}

static int run(const struct dsm_daemon_options *options)
{
    struct daemon daemon = {.drain_timeout_s = options->drain_timeout_s};
    struct daemon *d = &daemon;
    int error = uv_loop_init(&d->loop);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "cannot make an event loop: %s", uv_strerror(error));
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    uv_timer_init(&d->loop, &d->drain_timer);
    d->drain_timer.data = d;
    watch_signal(d, &d->term_signal, SIGTERM);
    watch_signal(d, &d->int_signal, SIGINT);
    error = open_server(d, options);
    if (!error)
        uv_run(&d->loop, UV_RUN_DEFAULT);
    if (d->server)
        dsm_server_close(d->server);
    uv_close((uv_handle_t *)&d->drain_timer, NULL);
    uv_close((uv_handle_t *)&d->term_signal, NULL);
    uv_close((uv_handle_t *)&d->int_signal, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    uv_loop_close(&d->loop);
    return error ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct dsm_daemon_options options;
    dsm_log_setup("info", "dsmd");
    switch (dsm_daemon_options_parse(argc, argv, &options)) {
    case DSM_DAEMON_OPTIONS_DONE:
        return 0;
    case DSM_DAEMON_OPTIONS_BAD:
        return 1;
    case DSM_DAEMON_OPTIONS_GO:
        return run(&options);
    }
    return 1;
}
