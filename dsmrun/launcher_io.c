/* SPDX-License-Identifier: BSD-3-Clause */
/* launcher_io.c - what passes through dsmrun: input to rank 0, output of all ranks, signals. */
#include "config.h"
#include "dsmrun/launcher_private.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Input that rank 0 has not taken yet. */
#define MAX_UNACKED_BYTES (256u << 10)

/* ---- output -------------------------------------------------------------------------------- */

static void hold_back(struct dsm_launcher *l, bool on)
{
    l->is_held_back = on;
    for (uint32_t i = 0; i < l->hosts.n_items; i++)
        dsm_channel_set_reading(&l->links[i].channel, !on);
}

/* "[3] " before every line that begins in these bytes. */
static void write_tagged(struct dsm_launcher *l, struct dsm_output *out, const Dsm__Output *output)
{
    struct dsm_launcher_rank *rank = &l->ranks[output->rank];
    bool *at_line_start = &rank->at_line_start[output->is_error];
    const char *at = (const char *)output->data.data, *end = at + output->data.len;
    char tag[16];
    size_t tag_bytes = dsm_format(tag, sizeof tag, "[%u] ", output->rank);
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *next = newline ? newline + 1 : end;
        dsm_output_write(out, tag, *at_line_start ? tag_bytes : 0, at, (size_t)(next - at));
        *at_line_start = newline != NULL;
        at = next;
    }
}

void dsm_launcher_on_output(struct dsm_launcher *l, const Dsm__Output *output)
{
    struct dsm_output *out = &l->outputs[output->is_error ? 1 : 0];
    if (output->data.len == 0)
        return;
    if (l->options->tag_output)
        write_tagged(l, out, output);
    else
        dsm_output_write(out, "", 0, (const char *)output->data.data, output->data.len);
    if (!l->is_held_back && dsm_output_queued_bytes(out) > DSM_OUTPUT_HIGH_BYTES)
        hold_back(l, true);
}

void dsm_launcher_on_error_line(struct dsm_link *link, const char *bytes, size_t len_bytes)
{
    struct dsm_launcher *l = link->user;
    dsm_output_write(&l->outputs[1], "", 0, bytes, len_bytes);
}

/* Nobody reads our output any more: as for any program in a pipe, that ends it. */
static void check_output(struct dsm_launcher *l)
{
    for (int i = 0; i < 2; i++) {
        int error = dsm_output_error(&l->outputs[i]);
        char text[DSM_LAUNCHER_TEXT_BYTES];
        if (!error)
            continue;
        dsm_format(text, sizeof text, "cannot write to standard %s: %s", i ? "error" : "output",
                   strerror(error));
        dsm_launcher_fail(l, error == EPIPE ? 128 + SIGPIPE : 1, 0, text);
    }
    if (l->is_held_back && dsm_output_queued_bytes(&l->outputs[0]) < DSM_OUTPUT_LOW_BYTES &&
        dsm_output_queued_bytes(&l->outputs[1]) < DSM_OUTPUT_LOW_BYTES)
        hold_back(l, false);
}

/* ---- input --------------------------------------------------------------------------------- */

/* Input goes to a rank that has been started; until then it waits where it is. */
void dsm_launcher_check_input(struct dsm_launcher *l)
{
    const char *bytes;
    size_t len_bytes;
    if (!l->input || !l->ranks[0].pid || l->input_unacked_bytes >= MAX_UNACKED_BYTES ||
        !dsm_input_get(l->input, &bytes, &len_bytes))
        return;
    Dsm__Input input = DSM__INPUT__INIT;
    input.data = (ProtobufCBinaryData){len_bytes, (uint8_t *)bytes};
    dsm_link_send(&l->links[l->ranks[0].host_index], DSM__LAUNCH_MESSAGE__BODY_INPUT, &input);
    l->input_unacked_bytes += len_bytes;
    dsm_input_next(l->input);
}

void dsm_launcher_on_input_taken(struct dsm_launcher *l, size_t n_bytes)
{
    l->input_unacked_bytes -= n_bytes < l->input_unacked_bytes ? n_bytes : l->input_unacked_bytes;
    dsm_launcher_check_input(l);
}

static void on_wake(uv_async_t *wake)
{
    struct dsm_launcher *l = wake->data;
    check_output(l);
    dsm_launcher_check_input(l);
}

void dsm_launcher_start_input(struct dsm_launcher *l)
{
    l->input = calloc(1, sizeof *l->input);
    if (!l->input || dsm_input_open(l->input, STDIN_FILENO, &l->wake) != 0) {
        dsm_log(DSM_LOG_WARN, "standard input is not passed on: %s", strerror(errno));
        free(l->input);
        l->input = NULL;
    }
}

/* ---- signals ------------------------------------------------------------------------------- */

static const int passed_on[DSM_LAUNCHER_N_SIGNALS] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT,
                                                      SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT};

void dsm_launcher_send_signal(struct dsm_launcher *l, int signal)
{
    Dsm__Signal message = DSM__SIGNAL__INIT;
    message.number = (uint32_t)signal;
    for (uint32_t i = 0; i < l->hosts.n_items; i++)
        if (l->links[i].has_hello)
            dsm_link_send(&l->links[i], DSM__LAUNCH_MESSAGE__BODY_SIGNAL, &message);
}

static bool has_started(const struct dsm_launcher *l)
{
    for (uint32_t i = 0; i < l->n_ranks; i++)
        if (l->ranks[i].pid)
            return true;
    return false;
}

static void on_end_signal(struct dsm_launcher *l, int signum)
{
    char text[DSM_LAUNCHER_TEXT_BYTES];
    if (l->n_end_signals++ == 0 && has_started(l)) {
        dsm_launcher_send_signal(l, signum);
        return;
    }
    dsm_format(text, sizeof text, "ended by signal %d (%s)", signum, strsignal(signum));
    dsm_launcher_fail(l, 128 + signum, 0, text);
    dsm_launcher_end_now(l);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct dsm_launcher *l = handle->data;
    switch (signum) {
    case SIGINT:
    case SIGTERM:
    case SIGHUP:
    case SIGQUIT:
        on_end_signal(l, signum);
        return;
    case SIGTSTP:
        /* The ranks first: they would miss dsmd's heartbeats. */
        dsm_launcher_send_signal(l, SIGSTOP);
        raise(SIGSTOP);
        return;
    default:
        dsm_launcher_send_signal(l, signum);
    }
}

static void on_alive_time(uv_timer_t *timer)
{
    struct dsm_launcher *l = timer->data;
    Dsm__Alive alive = DSM__ALIVE__INIT;
    for (uint32_t i = 0; i < l->hosts.n_items; i++)
        if (!l->hosts.items[i].is_here && l->links[i].has_hello)
            dsm_link_send(&l->links[i], DSM__LAUNCH_MESSAGE__BODY_ALIVE, &alive);
}

/* ---- start and end ------------------------------------------------------------------------- */

int dsm_launcher_open_io(struct dsm_launcher *l)
{
    signal(SIGPIPE, SIG_IGN);
    /* In the background a terminal gives EIO instead of stopping us. */
    signal(SIGTTIN, SIG_IGN);
    int error = uv_async_init(&l->loop, &l->wake, on_wake);
    l->wake.data = l;
    if (!error)
        error = dsm_output_open(&l->outputs[0], STDOUT_FILENO, &l->wake);
    if (!error)
        error = dsm_output_open(&l->outputs[1], STDERR_FILENO, &l->wake);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "cannot start a thread: %s", strerror(errno));
        return DSM_E_SYSTEM;
    }
    for (unsigned i = 0; i < DSM_LAUNCHER_N_SIGNALS; i++) {
        uv_signal_init(&l->loop, &l->signals[i]);
        l->signals[i].data = l;
        uv_signal_start(&l->signals[i], on_signal, passed_on[i]);
    }
    uv_timer_init(&l->loop, &l->alive_timer);
    l->alive_timer.data = l;
    uv_timer_start(&l->alive_timer, on_alive_time, DSM_LAUNCHER_ALIVE_MS, DSM_LAUNCHER_ALIVE_MS);
    return 0;
}

void dsm_launcher_close_io(struct dsm_launcher *l)
{
    dsm_output_close(&l->outputs[0]);
    dsm_output_close(&l->outputs[1]);
}
