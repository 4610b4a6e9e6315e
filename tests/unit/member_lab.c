/* SPDX-License-Identifier: BSD-3-Clause */
/* member_lab.c - see member_lab.h. */
#include "member_lab.h"
#include "base/clock.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lab_open(struct lab *lab, uint32_t n_ranks, uint64_t lease_ms, bool is_managed)
{
    memset(lab, 0, sizeof *lab);
    lab->now_ms = 1000;
    struct dsm_member_job_config config = {
        .n_ranks = n_ranks,
        .lease_ns = lease_ms * DSM_NS_PER_MS,
        .is_managed = is_managed,
        .exit_grace_ns = 200 * DSM_NS_PER_MS,
    };
    lab->job = dsm_member_job_new(&config);
    if (!lab->job)
        abort();
    lab->join = (struct dsm_member_join){
        .n_ranks = n_ranks,
        .host = "h",
        .host_id = "h",
        .lane_address = "127.0.0.1:1",
        .build = "b",
        .page_bytes = 4096,
        .cpu = "c",
        .region_bytes = 1 << 30,
        .transport = "tcp",
        .join_timeout_ns = 60 * DSM_NS_PER_S,
    };
}

void lab_close(struct lab *lab)
{
    dsm_member_job_free(lab->job);
}

static void __attribute__((format(printf, 2, 3))) say(struct lab *lab, const char *format, ...)
{
    size_t used = strlen(lab->text);
    va_list args;
    va_start(args, format);
    vsnprintf(lab->text + used, sizeof lab->text - used, format, args);
    va_end(args);
}

static void say_action(struct lab *lab, const struct dsm_member_action *a)
{
    unsigned to = (unsigned)a->conn;
    switch (a->type) {
    case DSM_MEMBER_ACTION_REFUSE:
        say(lab, "%u: refuse %d %s\n", to, a->error, a->text);
        return;
    case DSM_MEMBER_ACTION_PROPOSE:
        say(lab, "%u: propose %u 0x%llx\n", to, (unsigned)a->number, (unsigned long long)a->base);
        return;
    case DSM_MEMBER_ACTION_START:
        say(lab, "%u: start rank %u epoch %u\n", to, a->rank, a->epoch);
        return;
    case DSM_MEMBER_ACTION_VIEW:
        say(lab, "%u: view %u without %u: %s\n", to, a->epoch, a->rank, a->text);
        return;
    case DSM_MEMBER_ACTION_LEFT:
        say(lab, "%u: left %u\n", to, a->rank);
        return;
    case DSM_MEMBER_ACTION_ABORTED:
        say(lab, "%u: aborted by %d with %d: %s\n", to, (int)a->rank, a->status, a->text);
        return;
    case DSM_MEMBER_ACTION_REPLY:
        say(lab, "%u: reply %u\n", to, (unsigned)a->number);
        return;
    case DSM_MEMBER_ACTION_DROP:
        say(lab, "%u: drop\n", to);
        return;
    case DSM_MEMBER_ACTION_NOTE_REFUSED:
        say(lab, "note: refused %d %s\n", a->error, a->text);
        return;
    case DSM_MEMBER_ACTION_NOTE_STARTED:
        say(lab, "note: started, %s\n", a->text);
        return;
    case DSM_MEMBER_ACTION_NOTE_FAILED:
        say(lab, "note: failed %d %s\n", a->error, a->text);
        return;
    case DSM_MEMBER_ACTION_NOTE_LOST:
        say(lab, "note: lost %u\n", a->rank);
        return;
    case DSM_MEMBER_ACTION_NOTE_DIED:
        say(lab, "note: died %u: %s\n", a->rank, a->text);
        return;
    case DSM_MEMBER_ACTION_NOTE_ABORTED:
        say(lab, "note: aborted by %d with %d: %s\n", (int)a->rank, a->status, a->text);
        return;
    case DSM_MEMBER_ACTION_NOTE_OVER:
        say(lab, "note: over\n");
        return;
    }
}

static void step(struct lab *lab, struct dsm_member_event *event)
{
    event->now_ns = lab->now_ms * DSM_NS_PER_MS;
    if (dsm_member_job_step(lab->job, event, &lab->last) != 0)
        abort();
    for (size_t i = 0; i < lab->last.n_items; i++)
        say_action(lab, &lab->last.items[i]);
}

void lab_join(struct lab *lab, uint64_t conn, int32_t wanted_rank)
{
    struct dsm_member_event event = {.type = DSM_MEMBER_EVENT_JOIN, .conn = conn};
    event.join = lab->join;
    event.join.wanted_rank = wanted_rank;
    event.join.pid = 100 + (uint32_t)conn;
    step(lab, &event);
}

void lab_answer(struct lab *lab, uint64_t conn, uint32_t round, uint64_t suggestion)
{
    struct dsm_member_event event = {.type = DSM_MEMBER_EVENT_ANSWER, .conn = conn};
    event.answer.round = round;
    event.answer.is_mapped = suggestion == LAB_MAPPED;
    event.answer.suggestion = suggestion == LAB_MAPPED ? 0 : suggestion;
    event.answer.reason = suggestion == LAB_MAPPED ? "" : "taken";
    step(lab, &event);
}

void lab_beat(struct lab *lab, uint64_t conn, uint64_t number)
{
    step(lab, &(struct dsm_member_event){
                  .type = DSM_MEMBER_EVENT_BEAT, .conn = conn, .beat_number = number});
}

void lab_leave(struct lab *lab, uint64_t conn)
{
    step(lab, &(struct dsm_member_event){.type = DSM_MEMBER_EVENT_LEAVE, .conn = conn});
}

void lab_abort(struct lab *lab, uint64_t conn, int32_t status)
{
    struct dsm_member_event event = {.type = DSM_MEMBER_EVENT_ABORT, .conn = conn};
    event.abort.status = status;
    event.abort.reason = "why";
    step(lab, &event);
}

void lab_closed(struct lab *lab, uint64_t conn)
{
    step(lab, &(struct dsm_member_event){
                  .type = DSM_MEMBER_EVENT_CLOSED, .conn = conn, .closed_reason = "hung up"});
}

void lab_exited(struct lab *lab, uint32_t rank, bool is_success, const char *text)
{
    struct dsm_member_event event = {.type = DSM_MEMBER_EVENT_EXITED};
    event.exited.rank = rank;
    event.exited.is_success = is_success;
    event.exited.text = text;
    step(lab, &event);
}

void lab_stop(struct lab *lab)
{
    step(lab, &(struct dsm_member_event){.type = DSM_MEMBER_EVENT_STOP});
}

void lab_pass(struct lab *lab, uint64_t ms)
{
    uint64_t until_ms = lab->now_ms + ms;
    for (;;) {
        uint64_t next_ns = dsm_member_job_next_ns(lab->job);
        uint64_t next_ms = next_ns == UINT64_MAX ? UINT64_MAX : next_ns / DSM_NS_PER_MS;
        if (next_ms > until_ms)
            break;
        lab->now_ms = next_ms > lab->now_ms ? next_ms : lab->now_ms;
        step(lab, &(struct dsm_member_event){.type = DSM_MEMBER_EVENT_TICK});
    }
    lab->now_ms = until_ms;
}

void lab_stall(struct lab *lab, uint64_t ms)
{
    lab->now_ms += ms;
    while (dsm_member_job_next_ns(lab->job) <= lab->now_ms * DSM_NS_PER_MS)
        step(lab, &(struct dsm_member_event){.type = DSM_MEMBER_EVENT_TICK});
}

void lab_run(struct lab *lab, uint32_t n_ranks)
{
    for (uint32_t i = 0; i < n_ranks; i++)
        lab_join(lab, i + 1, (int32_t)i);
    for (uint32_t i = 0; i < n_ranks; i++)
        lab_answer(lab, i + 1, 1, LAB_MAPPED);
    if (dsm_member_job_state(lab->job) != DSM_JOB_RUNNING)
        abort();
    lab->text[0] = '\0';
}

const char *lab_take(struct lab *lab)
{
    static char taken[sizeof lab->text];
    memcpy(taken, lab->text, sizeof taken);
    lab->text[0] = '\0';
    return taken;
}
