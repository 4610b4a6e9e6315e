/* SPDX-License-Identifier: BSD-3-Clause */
/* link.c - see link.h. */
#include "config.h"
#include "dsmrun/link.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Everything there is to hear has been heard. */
static void finish(struct dsm_link *link)
{
    if (!link->process_ended || !link->channel_ended || !link->error_ended || link->is_over)
        return;
    link->is_over = true;
    link->handler.on_end(link, *link->last_error ? link->last_error : link->end_reason);
}

static void on_process_exit(uv_process_t *process, int64_t status, int signal)
{
    struct dsm_link *link = process->data;
    link->process_ended = true;
    if (signal)
        dsm_format(link->end_reason, sizeof link->end_reason, "its supervisor died of signal %d",
                   signal);
    else
        dsm_format(link->end_reason, sizeof link->end_reason,
                   "its supervisor ended with status %ld", (long)status);
    finish(link);
}

static void on_channel_end(void *user, const char *reason)
{
    struct dsm_link *link = user;
    (void)reason; /* the end of the process says more */
    link->channel_ended = true;
    finish(link);
}

static void on_channel_message(void *user, const Dsm__LaunchMessage *message)
{
    struct dsm_link *link = user;
    if (message->body_case == DSM__LAUNCH_MESSAGE__BODY_HELLO) {
        link->has_hello = true;
        link->last_error[0] = '\0';
    }
    link->handler.on_message(link, message);
}

static void on_channel_writable(void *user)
{
    struct dsm_link *link = user;
    link->handler.on_writable(link);
}

/* Until Hello, what ssh says is kept: its last line is the reason if there will be none. */
static void on_error_lines(void *user, const char *bytes, size_t len_bytes)
{
    struct dsm_link *link = user;
    if (link->has_hello) {
        link->handler.on_error_line(link, bytes, len_bytes);
        return;
    }
    while (len_bytes > 0 && (bytes[len_bytes - 1] == '\n' || bytes[len_bytes - 1] == '\r'))
        len_bytes--;
    const char *newline = memrchr(bytes, '\n', len_bytes);
    if (newline) {
        len_bytes -= (size_t)(newline + 1 - bytes);
        bytes = newline + 1;
    }
    if (len_bytes == 0)
        return;
    if (len_bytes >= sizeof link->last_error)
        len_bytes = sizeof link->last_error - 1;
    memcpy(link->last_error, bytes, len_bytes);
    link->last_error[len_bytes] = '\0';
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct dsm_link *link = handle->data;
    *buf = uv_buf_init(link->read_buf, sizeof link->read_buf);
}

static void on_error_read(uv_stream_t *stream, ssize_t n_read, const uv_buf_t *buf)
{
    struct dsm_link *link = stream->data;
    if (n_read >= 0) {
        if (dsm_lines_push(&link->error_lines, buf->base, (size_t)n_read, on_error_lines, link))
            dsm_log(DSM_LOG_WARN, "host %s: out of memory, a line is lost", link->host->name);
        return;
    }
    dsm_lines_end(&link->error_lines, true, on_error_lines, link);
    uv_read_stop(stream);
    link->error_ended = true;
    finish(link);
}

static int open_pipe(int fds[2])
{
    fds[0] = fds[1] = -1;
    return pipe2(fds, O_CLOEXEC);
}

static void close_both(int fds[2])
{
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

int dsm_link_open(struct dsm_link *link, uv_loop_t *loop, const struct dsm_host *host,
                  char *const *args, const struct dsm_link_handler *handler, void *user, char *why,
                  size_t why_bytes)
{
    int in[2], out[2] = {-1, -1}, err[2] = {-1, -1};
    memset(link, 0, sizeof *link);
    link->user = user;
    link->host = host;
    link->handler = *handler;
    if (open_pipe(in) != 0 || open_pipe(out) != 0 || open_pipe(err) != 0) {
        dsm_format(why, why_bytes, "cannot open pipes: %s", strerror(errno));
        close_both(in);
        close_both(out);
        close_both(err);
        return DSM_E_SYSTEM;
    }
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_INHERIT_FD, .data.fd = in[0]},
        {.flags = UV_INHERIT_FD, .data.fd = out[1]},
        {.flags = UV_INHERIT_FD, .data.fd = err[1]},
    };
    /* Detached: a session of its own, so that the terminal's signals reach dsmrun alone. */
    uv_process_options_t options = {
        .exit_cb = on_process_exit,
        .file = args[0],
        .args = (char **)args,
        .flags = UV_PROCESS_DETACHED,
        .stdio_count = 3,
        .stdio = stdio,
    };
    link->process.data = link;
    int error = uv_spawn(loop, &link->process, &options);
    close(in[0]);
    close(out[1]);
    close(err[1]);
    if (error) {
        dsm_format(why, why_bytes, "cannot run %s: %s", args[0], uv_strerror(error));
        close(in[1]);
        close(out[0]);
        close(err[0]);
        return DSM_E_SYSTEM;
    }
    link->is_open = true;
    uv_pipe_init(loop, &link->error_pipe, 0);
    link->error_pipe.data = link;
    struct dsm_channel_handler channel_handler = {link, on_channel_message, on_channel_end,
                                                  on_channel_writable};
    if (dsm_channel_open(&link->channel, loop, out[0], in[1], &channel_handler) != 0 ||
        uv_pipe_open(&link->error_pipe, err[0]) != 0) {
        dsm_format(why, why_bytes, "cannot read from %s", args[0]);
        return DSM_E_SYSTEM;
    }
    uv_read_start((uv_stream_t *)&link->error_pipe, on_alloc, on_error_read);
    return 0;
}

void dsm_link_send(struct dsm_link *link, Dsm__LaunchMessage__BodyCase body_case, void *body)
{
    Dsm__LaunchMessage message = DSM__LAUNCH_MESSAGE__INIT;
    message.body_case = body_case;
    message.launch = body; /* all members of the union are pointers */
    dsm_channel_send(&link->channel, &message);
}

void dsm_link_hang_up(struct dsm_link *link)
{
    if (!link->is_open || link->process_ended)
        return;
    dsm_channel_close(&link->channel, NULL);
    link->channel_ended = true;
    if (!link->host->is_here)
        uv_process_kill(&link->process, SIGTERM);
}
