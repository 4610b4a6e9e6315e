/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor.c - see supervisor.h. */
#include "config.h"
#include "dsmrun/supervisor.h"
#include "dsmrun/channel.h"
#include "dsmrun/env.h"
#include "dsmrun/gather.h"
#include "dsmrun/lines.h"
#include "dsmrun/route.h"
#include "dsmrun/spawn.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long output may still come after the last process was killed. */
#define DRAIN_MS 2000u
/* dsmrun says Alive every few seconds where a network is between: silent for this long, it is gone.
 */
#define ALIVE_MS 30000u

struct supervisor;

struct stream {
    struct rank *rank;
    uv_pipe_t pipe;
    bool is_error, is_open;
    struct dsm_lines lines;
};

struct rank {
    struct supervisor *supervisor;
    uint32_t number;
    pid_t pid; /* 0: not running */
    bool has_input;
    uv_pipe_t input;
    bool input_is_open;
    struct stream streams[2];
};

struct supervisor {
    uv_loop_t loop;
    struct dsm_channel channel;
    uv_signal_t child_signal;
    uv_timer_t timer; /* watches dsmrun; at the end, the last output */
    struct rank *ranks;
    uint32_t n_ranks, n_running, n_open_streams;
    bool is_raw, is_paused, watches_alive, is_draining;
    bool is_gathering;   /* profiles are on their way to dsmrun */
    uint32_t n_gathered; /* ranks whose profile was sent */
    struct dsm_gather gather;
    char read_buf[DSM_CHANNEL_READ_BYTES];
};

static void send_body(struct supervisor *s, Dsm__LaunchMessage__BodyCase body_case, void *body)
{
    Dsm__LaunchMessage message = DSM__LAUNCH_MESSAGE__INIT;
    message.body_case = body_case;
    message.launch = body; /* all members of the union are pointers */
    dsm_channel_send(&s->channel, &message);
}

static void send_failed(struct supervisor *s, const char *reason)
{
    Dsm__Failed failed = DSM__FAILED__INIT;
    failed.reason = (char *)reason;
    send_body(s, DSM__LAUNCH_MESSAGE__BODY_FAILED, &failed);
}

/* ---- output -------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct stream *stream = handle->data;
    struct supervisor *s = stream->rank->supervisor;
    *buf = uv_buf_init(s->read_buf, sizeof s->read_buf);
}

static void send_output(void *user, const char *bytes, size_t len_bytes)
{
    struct stream *stream = user;
    struct supervisor *s = stream->rank->supervisor;
    Dsm__Output output = DSM__OUTPUT__INIT;
    output.rank = stream->rank->number;
    output.is_error = stream->is_error;
    output.data = (ProtobufCBinaryData){len_bytes, (uint8_t *)bytes};
    send_body(s, DSM__LAUNCH_MESSAGE__BODY_OUTPUT, &output);
}

static void on_read(uv_stream_t *pipe, ssize_t n_read, const uv_buf_t *buf);

static void set_reading(struct supervisor *s, bool on)
{
    s->is_paused = !on;
    for (uint32_t i = 0; i < s->n_ranks; i++) {
        for (int j = 0; j < 2; j++) {
            struct stream *stream = &s->ranks[i].streams[j];
            if (!stream->is_open)
                continue;
            if (on)
                uv_read_start((uv_stream_t *)&stream->pipe, on_alloc, on_read);
            else
                uv_read_stop((uv_stream_t *)&stream->pipe);
        }
    }
}

static void finish_when_quiet(struct supervisor *s)
{
    if (s->is_draining && s->n_open_streams == 0 && !s->is_gathering)
        uv_stop(&s->loop);
}

static void close_stream(struct stream *stream)
{
    struct supervisor *s = stream->rank->supervisor;
    if (!stream->is_open)
        return;
    stream->is_open = false;
    /* With several ranks an unfinished last line must not run into another rank's next one. */
    dsm_lines_end(&stream->lines, !s->is_raw, send_output, stream);
    uv_close((uv_handle_t *)&stream->pipe, NULL);
    s->n_open_streams--;
    finish_when_quiet(s);
}

static void on_read(uv_stream_t *pipe, ssize_t n_read, const uv_buf_t *buf)
{
    struct stream *stream = pipe->data;
    struct supervisor *s = stream->rank->supervisor;
    if (n_read < 0) {
        close_stream(stream);
        return;
    }
    if (s->is_raw)
        send_output(stream, buf->base, (size_t)n_read);
    else if (dsm_lines_push(&stream->lines, buf->base, (size_t)n_read, send_output, stream) != 0)
        send_output(stream, buf->base, (size_t)n_read);
    if (!s->is_paused && dsm_channel_unsent_bytes(&s->channel) > DSM_CHANNEL_HIGH_BYTES)
        set_reading(s, false);
}

static void on_drain_time(uv_timer_t *timer)
{
    struct supervisor *s = timer->data;
    if (s->is_gathering)
        uv_timer_start(timer, on_drain_time, DRAIN_MS, 0);
    else
        uv_stop(&s->loop);
}

static void watch_drain(struct supervisor *s)
{
    uv_timer_start(&s->timer, on_drain_time, DRAIN_MS, 0);
}

/* ---- profiles ------------------------------------------------------------------------------ */

static void remove_profiles(struct supervisor *s)
{
    for (uint32_t i = s->n_gathered; i < s->n_ranks; i++)
        dsm_gather_done(&s->gather, s->ranks[i].number);
    dsm_gather_close(&s->gather);
}

/* Sends what dsmrun takes for now. */
static void gather(struct supervisor *s)
{
    while (s->is_gathering && s->n_gathered < s->n_ranks) {
        uint32_t rank = s->ranks[s->n_gathered].number;
        size_t len_bytes;
        if (dsm_channel_unsent_bytes(&s->channel) > DSM_CHANNEL_HIGH_BYTES)
            return; /* goes on in on_writable */
        if (!dsm_gather_next(&s->gather, rank, &len_bytes)) {
            dsm_gather_done(&s->gather, rank);
            s->n_gathered++;
            continue;
        }
        Dsm__Profile profile = DSM__PROFILE__INIT;
        profile.rank = rank;
        profile.section = (ProtobufCBinaryData){len_bytes, s->gather.section};
        send_body(s, DSM__LAUNCH_MESSAGE__BODY_PROFILE, &profile);
    }
    if (!s->is_gathering)
        return;
    s->is_gathering = false;
    dsm_gather_close(&s->gather);
    finish_when_quiet(s);
}

static void on_writable(void *user)
{
    struct supervisor *s = user;
    gather(s);
    if (!s->is_paused)
        return;
    set_reading(s, true);
    if (s->is_draining)
        watch_drain(s);
}

/* ---- input --------------------------------------------------------------------------------- */

struct input_request {
    uv_write_t write;
    struct rank *rank;
    size_t len_bytes;
    uint8_t bytes[];
};

static void tell_taken(struct supervisor *s, size_t n_bytes)
{
    Dsm__InputTaken taken = DSM__INPUT_TAKEN__INIT;
    taken.n_bytes = (uint32_t)n_bytes;
    send_body(s, DSM__LAUNCH_MESSAGE__BODY_INPUT_TAKEN, &taken);
}

static void close_input(struct rank *rank)
{
    if (!rank->input_is_open)
        return;
    rank->input_is_open = false;
    uv_close((uv_handle_t *)&rank->input, NULL);
}

static void on_input_written(uv_write_t *write, int status)
{
    struct input_request *request = (struct input_request *)write;
    /* What the rank does not want is taken all the same, or dsmrun would wait. */
    tell_taken(request->rank->supervisor, request->len_bytes);
    if (status < 0)
        close_input(request->rank);
    free(request);
}

static void on_input_shutdown(uv_shutdown_t *shutdown, int status)
{
    (void)status;
    close_input(shutdown->data);
    free(shutdown);
}

static void give_input(struct rank *rank, const ProtobufCBinaryData *data)
{
    struct input_request *request =
        rank->input_is_open && data->len ? malloc(sizeof *request + data->len) : NULL;
    if (!request) {
        tell_taken(rank->supervisor, data->len);
        return;
    }
    request->rank = rank;
    request->len_bytes = data->len;
    memcpy(request->bytes, data->data, data->len);
    uv_buf_t buf = uv_buf_init((char *)request->bytes, (unsigned)data->len);
    if (uv_write(&request->write, (uv_stream_t *)&rank->input, &buf, 1, on_input_written) != 0) {
        tell_taken(rank->supervisor, data->len);
        free(request);
    }
}

/* The end of input comes after all of it. */
static void end_input(struct rank *rank)
{
    uv_shutdown_t *shutdown = rank->input_is_open ? malloc(sizeof *shutdown) : NULL;
    if (!shutdown)
        return;
    shutdown->data = rank;
    if (uv_shutdown(shutdown, (uv_stream_t *)&rank->input, on_input_shutdown) != 0) {
        free(shutdown);
        close_input(rank);
    }
}

static void on_input(struct supervisor *s, const Dsm__Input *input)
{
    for (uint32_t i = 0; i < s->n_ranks; i++) {
        if (!s->ranks[i].has_input)
            continue;
        if (input->data.len == 0)
            end_input(&s->ranks[i]);
        else
            give_input(&s->ranks[i], &input->data);
        return;
    }
    tell_taken(s, input->data.len);
}

/* ---- processes ----------------------------------------------------------------------------- */

static void signal_all(struct supervisor *s, int signal)
{
    for (uint32_t i = 0; i < s->n_ranks; i++)
        if (s->ranks[i].pid)
            kill(-s->ranks[i].pid, signal);
}

/* dsmrun is gone: nobody is left to tell. */
static _Noreturn void end_everything(struct supervisor *s)
{
    signal_all(s, SIGKILL);
    dsm_spawn_kill_descendants();
    if (s->gather.dir[0])
        remove_profiles(s);
    _exit(1);
}

/* Every rank of this host has ended: what they started ends too, and the pipes with it. */
static void drain(struct supervisor *s)
{
    s->is_draining = true;
    dsm_spawn_kill_descendants();
    s->is_gathering = s->gather.dir[0] != '\0';
    gather(s);
    if (s->is_paused)
        return; /* dsmrun is slow to take the output; it says when it goes on */
    watch_drain(s);
    finish_when_quiet(s);
}

static void report_exit(struct supervisor *s, struct rank *rank, int wait_status)
{
    Dsm__Exited exited = DSM__EXITED__INIT;
    exited.rank = rank->number;
    exited.pid = (uint32_t)rank->pid;
    if (WIFSIGNALED(wait_status)) {
        exited.signal = (uint32_t)WTERMSIG(wait_status);
        exited.has_core = WCOREDUMP(wait_status);
    } else {
        exited.status = (uint32_t)WEXITSTATUS(wait_status);
    }
    send_body(s, DSM__LAUNCH_MESSAGE__BODY_EXITED, &exited);
    rank->pid = 0;
    if (--s->n_running == 0)
        drain(s);
}

static void on_child(uv_signal_t *handle, int signum)
{
    (void)signum;
    struct supervisor *s = handle->data;
    int wait_status;
    pid_t pid;
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
        for (uint32_t i = 0; i < s->n_ranks; i++)
            if (s->ranks[i].pid == pid)
                report_exit(s, &s->ranks[i], wait_status);
}

static void open_stream(struct supervisor *s, struct rank *rank, int index, int fd)
{
    struct stream *stream = &rank->streams[index];
    stream->rank = rank;
    stream->is_error = index == 1;
    uv_pipe_init(&s->loop, &stream->pipe, 0);
    stream->pipe.data = stream;
    if (uv_pipe_open(&stream->pipe, fd) != 0)
        close(fd);
    stream->is_open = true;
    s->n_open_streams++;
    uv_read_start((uv_stream_t *)&stream->pipe, on_alloc, on_read);
}

static int start_rank(struct supervisor *s, struct rank *rank, const Dsm__LaunchRank *wanted,
                      const Dsm__Launch *launch, char **args, char **env)
{
    char number[16], why[300];
    dsm_format(number, sizeof number, "%u", wanted->rank);
    rank->supervisor = s;
    rank->number = wanted->rank;
    rank->has_input = wanted->has_input;
    char **rank_env = dsm_env_with(env, "DSM_RANK", number);
    if (!rank_env) {
        send_failed(s, "out of memory");
        return DSM_E_NOMEM;
    }
    struct dsm_spawn_spec spec = {args, rank_env, launch->dir, wanted->has_input,
                                  launch->keep_randomization};
    struct dsm_spawn spawn;
    int error = dsm_spawn_rank(&spec, &spawn, why, sizeof why);
    dsm_env_free(rank_env);
    if (error) {
        send_failed(s, why);
        return error;
    }
    rank->pid = spawn.pid;
    s->n_running++;
    open_stream(s, rank, 0, spawn.out_fd);
    open_stream(s, rank, 1, spawn.err_fd);
    if (spawn.in_fd >= 0) {
        uv_pipe_init(&s->loop, &rank->input, 0);
        rank->input.data = rank;
        rank->input_is_open = uv_pipe_open(&rank->input, spawn.in_fd) == 0;
        if (!rank->input_is_open)
            close(spawn.in_fd);
    }
    Dsm__Started started = DSM__STARTED__INIT;
    started.rank = rank->number;
    started.pid = (uint32_t)rank->pid;
    send_body(s, DSM__LAUNCH_MESSAGE__BODY_STARTED, &started);
    return 0;
}

/* Tells the ranks where to write their profiles; takes env over. */
static char **add_profile(struct supervisor *s, char **env)
{
    char path[PATH_MAX], why[PATH_MAX + 200];
    if (dsm_gather_open(&s->gather, why, sizeof why) != 0) {
        send_failed(s, why);
        dsm_env_free(env);
        return NULL;
    }
    dsm_gather_path(&s->gather, path, sizeof path);
    char **with = dsm_env_with(env, "DSM_PROFILE", path);
    dsm_env_free(env);
    return with;
}

/* The environment of this host's ranks, but for their numbers. */
static char **make_env(struct supervisor *s, const Dsm__Launch *launch)
{
    char **env = dsm_env_merge(environ, launch->env, launch->n_env);
    if (env && launch->is_profiled)
        env = add_profile(s, env);
    if (!env || !launch->find_listen)
        return env;
    char address[DSM_ROUTE_ADDRESS_BYTES];
    char why[300];
    if (dsm_route_source(launch->daemon_host, address, why, sizeof why) != 0) {
        send_failed(s, why);
        dsm_env_free(env);
        return NULL;
    }
    char **with = dsm_env_with(env, "DSM_LISTEN", address);
    dsm_env_free(env);
    return with;
}

static void on_launch(struct supervisor *s, const Dsm__Launch *launch)
{
    if (s->ranks || launch->n_ranks == 0 || launch->n_args == 0) {
        send_failed(s, "the launch message came out of turn");
        return;
    }
    char **args = calloc(launch->n_args + 1, sizeof *args);
    char **env = make_env(s, launch);
    s->ranks = calloc(launch->n_ranks, sizeof *s->ranks);
    if (args && env && s->ranks) {
        memcpy(args, launch->args, launch->n_args * sizeof *args);
        s->n_ranks = (uint32_t)launch->n_ranks;
        s->is_raw = launch->is_raw;
        for (uint32_t i = 0; i < s->n_ranks; i++)
            if (start_rank(s, &s->ranks[i], launch->ranks[i], launch, args, env) != 0)
                break;
    }
    free(args);
    dsm_env_free(env);
    /* When nothing could be started dsmrun has been told, and hangs up. */
}

/* ---- dsmrun -------------------------------------------------------------------------------- */

static void on_alive_time(uv_timer_t *timer)
{
    end_everything(timer->data);
}

static void watch_alive(struct supervisor *s)
{
    if (!s->is_draining)
        uv_timer_start(&s->timer, on_alive_time, ALIVE_MS, 0);
}

static void on_signal(struct supervisor *s, uint32_t number)
{
    if (number == 0 || number >= NSIG)
        return;
    /* What ranks left behind is killed when the last of them is reaped (drain): to do it here would
     * reap the ranks as well, and dsmrun would wait in vain to hear of their ends. */
    signal_all(s, (int)number);
    /* dsmrun stops itself after this: its silence means nothing until it goes on. */
    if (number == SIGSTOP)
        uv_timer_stop(&s->timer);
}

static void on_message(void *user, const Dsm__LaunchMessage *message)
{
    struct supervisor *s = user;
    if (s->watches_alive)
        watch_alive(s);
    switch (message->body_case) {
    case DSM__LAUNCH_MESSAGE__BODY_LAUNCH:
        on_launch(s, message->launch);
        return;
    case DSM__LAUNCH_MESSAGE__BODY_INPUT:
        on_input(s, message->input);
        return;
    case DSM__LAUNCH_MESSAGE__BODY_SIGNAL:
        on_signal(s, message->signal->number);
        return;
    case DSM__LAUNCH_MESSAGE__BODY_ALIVE:
        s->watches_alive = true;
        watch_alive(s);
        return;
    default: /* a supervisor's own kind of message, or one of a later version */
        return;
    }
}

static void on_end(void *user, const char *reason)
{
    (void)reason;
    end_everything(user);
}

static void send_hello(struct supervisor *s)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    Dsm__Hello hello = DSM__HELLO__INIT;
    hello.build = PACKAGE_VERSION;
    hello.host = host;
    hello.pid = (uint32_t)getpid();
    send_body(s, DSM__LAUNCH_MESSAGE__BODY_HELLO, &hello);
}

static void on_sent_all(void *user)
{
    struct supervisor *s = user;
    if (dsm_channel_unsent_bytes(&s->channel) == 0)
        uv_stop(&s->loop);
}

int dsm_supervisor_run(void)
{
    static struct supervisor supervisor; /* one per process, too large for the stack */
    struct supervisor *s = &supervisor;
    signal(SIGPIPE, SIG_IGN);
    /* The terminal's signals are for dsmrun, which passes them on. */
    setsid();
    /* What a rank leaves behind becomes our child, and is found at the end. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (uv_loop_init(&s->loop) != 0)
        return 1;
    uv_timer_init(&s->loop, &s->timer);
    s->timer.data = s;
    uv_signal_init(&s->loop, &s->child_signal);
    s->child_signal.data = s;
    uv_signal_start(&s->child_signal, on_child, SIGCHLD);
    /* Ranks must not inherit the channel, and nothing may print into it. */
    int in_fd = fcntl(0, F_DUPFD_CLOEXEC, 3), out_fd = fcntl(1, F_DUPFD_CLOEXEC, 3);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (in_fd < 0 || out_fd < 0 || null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0) {
        dsm_log(DSM_LOG_ERROR, "cannot set up the channel to dsmrun: %s", strerror(errno));
        return 1;
    }
    close(null_fd);
    struct dsm_channel_handler handler = {s, on_message, on_end, on_writable};
    if (dsm_channel_open(&s->channel, &s->loop, in_fd, out_fd, &handler) != 0) {
        dsm_log(DSM_LOG_ERROR, "the channel to dsmrun is no pipe: --supervise is for dsmrun alone");
        return 1;
    }
    send_hello(s);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    s->channel.handler.on_writable = on_sent_all;
    while (dsm_channel_unsent_bytes(&s->channel) > 0)
        uv_run(&s->loop, UV_RUN_ONCE);
    return 0;
}
