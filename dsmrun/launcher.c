/* SPDX-License-Identifier: BSD-3-Clause */
/* launcher.c - the course of a job: what happens, who failed first, and how it ends. */
#include "config.h"
#include "dsmrun/launcher.h"
#include "dsmrun/launcher_private.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- the end ------------------------------------------------------------------------------- */

static void stop_when_over(struct dsm_launcher *l)
{
    if (l->n_links_over == l->hosts.n_items)
        uv_stop(&l->loop);
}

static bool has_running_rank(const struct dsm_launcher *l, const struct dsm_link *link)
{
    for (uint32_t i = 0; i < link->host->n_ranks; i++) {
        const struct dsm_launcher_rank *rank = &l->ranks[link->host->first_rank + i];
        if (rank->pid && !rank->has_exited)
            return true;
    }
    return false;
}

static void on_end_time(uv_timer_t *timer);

static void advance_end(struct dsm_launcher *l, enum dsm_launcher_end end, uint64_t next_ms)
{
    l->end = end;
    uv_timer_start(&l->end_timer, on_end_time, next_ms, 0);
}

static void judge(struct dsm_launcher *l);

static void on_end_time(uv_timer_t *timer)
{
    struct dsm_launcher *l = timer->data;
    switch (l->end) {
    case DSM_END_NONE:
        return;
    case DSM_END_VERDICT:
        judge(l);
        return;
    case DSM_END_SOON:
        dsm_launcher_send_signal(l, SIGTERM);
        dsm_launcher_send_signal(l, SIGCONT); /* a stopped rank would not notice */
        /* Nobody to wait for there. */
        for (uint32_t i = 0; i < l->hosts.n_items; i++)
            if (!has_running_rank(l, &l->links[i]) && !(l->profile && l->links[i].has_hello))
                dsm_link_hang_up(&l->links[i]);
        advance_end(l, DSM_END_TERM, DSM_LAUNCHER_KILL_MS);
        return;
    case DSM_END_TERM:
        dsm_launcher_send_signal(l, SIGKILL);
        advance_end(l, DSM_END_KILL, DSM_LAUNCHER_GIVE_UP_MS);
        return;
    case DSM_END_KILL:
        for (uint32_t i = 0; i < l->hosts.n_items; i++)
            dsm_link_hang_up(&l->links[i]);
        uv_stop(&l->loop);
        return;
    }
}

void dsm_launcher_fail(struct dsm_launcher *l, int status, uint64_t delay_ms, const char *text)
{
    if (l->has_verdict)
        return;
    l->has_verdict = true;
    l->status = status;
    dsm_log(DSM_LOG_ERROR, "%s", text);
    advance_end(l, DSM_END_SOON, delay_ms);
}

void dsm_launcher_end_now(struct dsm_launcher *l)
{
    if (l->end < DSM_END_TERM)
        advance_end(l, DSM_END_SOON, 0);
    else if (l->end == DSM_END_TERM)
        advance_end(l, DSM_END_TERM, 0);
}

/*
 * Which rank failed first? Where dsmd saw a rank's connection end before everything else, that one:
 * the others may have failed because of it, and been heard before.
 */
static void judge(struct dsm_launcher *l)
{
    uint32_t number = l->first_failed;
    if (l->first_lost != DSM_RANK_NONE && l->ranks[l->first_lost].has_failed)
        number = l->first_lost;
    const struct dsm_launcher_rank *rank = &l->ranks[number];
    dsm_launcher_fail(l, rank->status, 0, rank->text);
}

static void note_failure(struct dsm_launcher *l, uint32_t number, int status)
{
    l->ranks[number].has_failed = true;
    l->ranks[number].status = status;
    if (l->first_failed == DSM_RANK_NONE)
        l->first_failed = number;
    if (!l->has_verdict && l->end == DSM_END_NONE)
        advance_end(l, DSM_END_VERDICT, DSM_LAUNCHER_VERDICT_MS);
}

/* ---- what dsmd's server says --------------------------------------------------------------- */

void dsm_launcher_on_note(void *user, uint64_t job_number, const struct dsm_member_action *note)
{
    struct dsm_launcher *l = user;
    char text[DSM_LAUNCHER_TEXT_BYTES];
    (void)job_number; /* there is one */
    switch (note->type) {
    case DSM_MEMBER_ACTION_NOTE_REFUSED:
        if (!l->has_verdict) /* else they come too late to what has failed */
            dsm_log(DSM_LOG_WARN, "refused: %s", note->text);
        return;
    case DSM_MEMBER_ACTION_NOTE_FAILED:
        dsm_format(text, sizeof text, "the job cannot start: %s", note->text);
        dsm_launcher_fail(l, 1, 0, text);
        return;
    case DSM_MEMBER_ACTION_NOTE_LOST:
        if (l->first_lost == DSM_RANK_NONE)
            l->first_lost = note->rank;
        return;
    case DSM_MEMBER_ACTION_NOTE_DIED:
        if (l->first_lost == DSM_RANK_NONE)
            l->first_lost = note->rank; /* its exit was heard before its connection closed */
        /* Of a rank that failed by itself its process tells. */
        if (l->ranks[note->rank].has_failed)
            return;
        memcpy(l->ranks[note->rank].text, note->text, sizeof l->ranks[note->rank].text);
        note_failure(l, note->rank, 1);
        return;
    case DSM_MEMBER_ACTION_NOTE_ABORTED:
        dsm_launcher_fail(l, note->status & 255, DSM_LAUNCHER_KILL_MS / 2, note->text);
        return;
    default: /* started, over: no news; the rest is for connections */
        return;
    }
}

/* ---- what the hosts say -------------------------------------------------------------------- */

static void on_started(struct dsm_launcher *l, const Dsm__Started *started)
{
    l->ranks[started->rank].pid = started->pid;
    dsm_launcher_check_input(l);
}

static void name_rank(const struct dsm_launcher *l, uint32_t number, const struct dsm_link *link,
                      char *out, size_t out_bytes)
{
    dsm_format(out, out_bytes, "rank %u (%s, pid %u)", number,
               link->host->is_here ? link->host_name : link->host->name, l->ranks[number].pid);
}

static void on_exited(struct dsm_launcher *l, const struct dsm_link *link,
                      const Dsm__Exited *exited)
{
    struct dsm_launcher_rank *rank = &l->ranks[exited->rank];
    char name[DSM_LAUNCHER_TEXT_BYTES];
    if (rank->has_exited)
        return;
    rank->has_exited = true;
    l->n_exited++;
    name_rank(l, exited->rank, link, name, sizeof name);
    if (exited->signal)
        dsm_format(rank->text, sizeof rank->text, "%s died of signal %u (%s)%s", name,
                   exited->signal, strsignal((int)exited->signal),
                   exited->has_core ? ", core dumped" : "");
    else
        dsm_format(rank->text, sizeof rank->text, "%s exited with status %u", name, exited->status);
    bool is_success = exited->signal == 0 && exited->status == 0;
    if (!is_success)
        note_failure(l, exited->rank,
                     exited->signal ? 128 + (int)exited->signal : (int)exited->status);
    if (l->server)
        dsm_server_exited(l->server, l->token, exited->rank, is_success, rank->text);
}

static void on_hello(struct dsm_launcher *l, struct dsm_link *link, const Dsm__Hello *hello)
{
    if (strcmp(hello->build, PACKAGE_VERSION) != 0) {
        char text[DSM_LAUNCHER_TEXT_BYTES];
        dsm_format(text, sizeof text, "host %s: dsmrun there is %s, here it is %s",
                   link->host->name, hello->build, PACKAGE_VERSION);
        dsm_launcher_fail(l, 1, 0, text);
        return;
    }
    dsm_format(link->host_name, sizeof link->host_name, "%s", hello->host);
    dsm_launcher_send_launch(l, link);
}

static void on_failed(struct dsm_launcher *l, const struct dsm_link *link,
                      const Dsm__Failed *failed)
{
    char text[DSM_LAUNCHER_TEXT_BYTES];
    if (link->host->is_here)
        dsm_format(text, sizeof text, "%s", failed->reason);
    else
        dsm_format(text, sizeof text, "host %s: %s", link->host->name, failed->reason);
    dsm_launcher_fail(l, 127, 0, text);
}

/* A supervisor may only speak of its own ranks. */
static bool is_rank_of(const struct dsm_link *link, uint32_t number)
{
    return number >= link->host->first_rank &&
           number - link->host->first_rank < link->host->n_ranks;
}

void dsm_launcher_on_message(struct dsm_link *link, const Dsm__LaunchMessage *message)
{
    struct dsm_launcher *l = link->user;
    switch (message->body_case) {
    case DSM__LAUNCH_MESSAGE__BODY_HELLO:
        on_hello(l, link, message->hello);
        return;
    case DSM__LAUNCH_MESSAGE__BODY_STARTED:
        if (is_rank_of(link, message->started->rank))
            on_started(l, message->started);
        return;
    case DSM__LAUNCH_MESSAGE__BODY_OUTPUT:
        if (is_rank_of(link, message->output->rank))
            dsm_launcher_on_output(l, message->output);
        return;
    case DSM__LAUNCH_MESSAGE__BODY_INPUT_TAKEN:
        dsm_launcher_on_input_taken(l, message->input_taken->n_bytes);
        return;
    case DSM__LAUNCH_MESSAGE__BODY_EXITED:
        if (is_rank_of(link, message->exited->rank))
            on_exited(l, link, message->exited);
        return;
    case DSM__LAUNCH_MESSAGE__BODY_PROFILE:
        if (is_rank_of(link, message->profile->rank))
            dsm_launcher_on_profile(l, message->profile);
        if (l->end == DSM_END_KILL) /* the host answers */
            advance_end(l, DSM_END_KILL, DSM_LAUNCHER_GIVE_UP_MS);
        return;
    case DSM__LAUNCH_MESSAGE__BODY_FAILED:
        on_failed(l, link, message->failed);
        return;
    default: /* dsmrun's own kind of message, or one of a later version */
        return;
    }
}

void dsm_launcher_on_link_end(struct dsm_link *link, const char *reason)
{
    struct dsm_launcher *l = link->user;
    char text[DSM_LAUNCHER_TEXT_BYTES];
    bool is_complete = true;
    for (uint32_t i = 0; i < link->host->n_ranks; i++)
        is_complete = is_complete && l->ranks[link->host->first_rank + i].has_exited;
    l->n_links_over++;
    if (!is_complete) {
        dsm_format(text, sizeof text, "host %s: %s: %s", link->host->name,
                   link->has_hello ? "lost" : "cannot start ranks there", reason);
        dsm_launcher_fail(l, 1, 0, text);
    }
    stop_when_over(l);
}

/* ---- start and end ------------------------------------------------------------------------- */

static int make_token(struct dsm_launcher *l)
{
    if (getrandom(l->token, sizeof l->token, 0) == (ssize_t)sizeof l->token)
        return 0;
    dsm_log(DSM_LOG_ERROR, "cannot get random bytes for the job token: %s", strerror(errno));
    return DSM_E_SYSTEM;
}

static int start(struct dsm_launcher *l)
{
    int error = dsm_launcher_find_hosts(l);
    if (error)
        return error;
    l->ranks = calloc(l->n_ranks, sizeof *l->ranks);
    if (!l->ranks) {
        dsm_log(DSM_LOG_ERROR, "out of memory");
        return DSM_E_NOMEM;
    }
    for (uint32_t i = 0; i < l->hosts.n_items; i++)
        for (uint32_t j = 0; j < l->hosts.items[i].n_ranks; j++)
            l->ranks[l->hosts.items[i].first_rank + j] =
                (struct dsm_launcher_rank){.host_index = i, .at_line_start = {true, true}};
    error = dsm_launcher_open_server(l);
    if (!error)
        error = dsm_launcher_open_io(l);
    if (!error)
        error = dsm_launcher_open_links(l);
    return error;
}

int dsm_launcher_run(const struct dsm_run_options *options)
{
    static struct dsm_launcher launcher; /* one per process, too large for the stack */
    struct dsm_launcher *l = &launcher;
    l->options = options;
    l->first_failed = l->first_lost = DSM_RANK_NONE;
    if (uv_loop_init(&l->loop) != 0) {
        dsm_log(DSM_LOG_ERROR, "cannot make an event loop: %s", strerror(errno));
        return 1;
    }
    uv_timer_init(&l->loop, &l->end_timer);
    l->end_timer.data = l;
    if (dsm_launcher_open_profile(l) != 0)
        return 2;
    if (make_token(l) != 0 || start(l) != 0)
        return 1;
    dsm_launcher_open_progress(l);
    dsm_launcher_start_input(l);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    /* A failure whose verdict had not been spoken when the last host finished. */
    if (l->end == DSM_END_VERDICT)
        judge(l);
    dsm_launcher_close_io(l);
    dsm_launcher_close_profile(l);
    return l->status;
}
