/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * member.c - the step function of a job, and all that happens once it runs: heartbeats, leaving,
 * dying, ending. How a job comes to run is in member_form.c.
 */
#include "dsmd/member_private.h"
#include "base/clock.h"
#include "base/log.h"
#include <assert.h>
#include <dsm/dsm.h>
#include <stdlib.h>
#include <string.h>

/* How long an ended job waits for its ranks to close when no lease says so. */
#define END_LINGER_NS (5 * DSM_NS_PER_S)
/* Beyond what a step does for each member: refused strangers and notes. */
#define EXTRA_ACTIONS 8u

struct dsm_member_action *dsm_member_act(struct dsm_member_job *job,
                                         enum dsm_member_action_type type, uint64_t conn)
{
    assert(job->n_actions < job->cap_actions);
    struct dsm_member_action *action = &job->actions[job->n_actions++];
    *action = (struct dsm_member_action){
        .type = type, .conn = conn, .rank = DSM_RANK_NONE, .epoch = job->epoch};
    return action;
}

static int reserve_actions(struct dsm_member_job *job, size_t n)
{
    if (n <= job->cap_actions)
        return 0;
    struct dsm_member_action *grown = realloc(job->actions, n * sizeof *grown);
    if (!grown)
        return DSM_E_NOMEM;
    job->actions = grown;
    job->cap_actions = n;
    return 0;
}

void dsm_member_name(uint32_t rank, const char *host, uint32_t pid, char out[DSM_MEMBER_TEXT_BYTES])
{
    if (rank == DSM_RANK_NONE)
        dsm_format(out, DSM_MEMBER_TEXT_BYTES, "a rank (%s, pid %u)", host, pid);
    else
        dsm_format(out, DSM_MEMBER_TEXT_BYTES, "rank %u (%s, pid %u)", rank, host, pid);
}

void dsm_member_name_of(const struct dsm_member *member, char out[DSM_MEMBER_TEXT_BYTES])
{
    dsm_member_name(member->rank, member->host, member->pid, out);
}

struct dsm_member *dsm_member_find(struct dsm_member_job *job, uint64_t conn)
{
    for (uint32_t i = 0; i < job->n_members; i++)
        if (job->conns[i] == conn)
            return job->members[i].state == DSM_MEMBER_GONE ? NULL : &job->members[i];
    return NULL;
}

void dsm_member_note_deadline(struct dsm_member_job *job, uint64_t deadline_ns)
{
    if (deadline_ns < job->next_ns)
        job->next_ns = deadline_ns;
}

void dsm_member_set_state(struct dsm_member_job *job, struct dsm_member *member,
                          enum dsm_member_state state)
{
#define TO(s) (1u << DSM_MEMBER_##s)
    static const unsigned allowed[] = {
        [DSM_MEMBER_JOINED] = TO(MAPPING) | TO(GONE),
        [DSM_MEMBER_MAPPING] = TO(MAPPING) | TO(ANSWERED) | TO(GONE),
        [DSM_MEMBER_ANSWERED] = TO(MAPPING) | TO(RUNNING) | TO(GONE),
        [DSM_MEMBER_RUNNING] = TO(LEFT) | TO(LOST) | TO(GONE),
        [DSM_MEMBER_LEFT] = TO(GONE),
        [DSM_MEMBER_LOST] = TO(GONE),
        [DSM_MEMBER_GONE] = 0,
    };
#undef TO
    assert(allowed[member->state] & (1u << state));
    member->state = state;
    if (state == DSM_MEMBER_GONE)
        job->n_present--;
}

static uint64_t end_linger_ns(const struct dsm_member_job *job)
{
    return job->config.lease_ns ? job->config.lease_ns : END_LINGER_NS;
}

static void end(struct dsm_member_job *job, uint64_t now_ns, const char *text)
{
    job->state = DSM_JOB_ENDED;
    dsm_format(job->ended_text, sizeof job->ended_text, "%s", text);
    for (uint32_t i = 0; i < job->n_members; i++)
        job->members[i].heard_ns = now_ns;
    dsm_member_note_deadline(job, now_ns + end_linger_ns(job));
}

void dsm_member_fail(struct dsm_member_job *job, uint64_t now_ns, int error, const char *text)
{
    struct dsm_member_action *action;
    for (uint32_t i = 0; i < job->n_members; i++) {
        if (job->members[i].state == DSM_MEMBER_GONE)
            continue;
        action = dsm_member_act(job, DSM_MEMBER_ACTION_REFUSE, job->members[i].conn);
        action->error = error;
        dsm_format(action->text, sizeof action->text, "%s", text);
    }
    action = dsm_member_act(job, DSM_MEMBER_ACTION_NOTE_FAILED, DSM_MEMBER_CONN_NONE);
    action->error = error;
    dsm_format(action->text, sizeof action->text, "%s", text);
    end(job, now_ns, text);
}

void dsm_member_start(struct dsm_member_job *job, uint64_t now_ns)
{
    job->state = DSM_JOB_RUNNING;
    job->epoch = 1;
    for (uint32_t rank = 0; rank < job->config.n_ranks; rank++) {
        struct dsm_member *member = &job->members[job->by_rank[rank]];
        dsm_member_set_state(job, member, DSM_MEMBER_RUNNING);
        member->heard_ns = now_ns;
        dsm_member_act(job, DSM_MEMBER_ACTION_START, member->conn)->rank = rank;
    }
    struct dsm_member_action *note =
        dsm_member_act(job, DSM_MEMBER_ACTION_NOTE_STARTED, DSM_MEMBER_CONN_NONE);
    dsm_format(note->text, sizeof note->text, "transport %s: %s", job->transport,
               job->transport_reason);
    if (job->config.lease_ns)
        dsm_member_note_deadline(job, now_ns + job->config.lease_ns);
}

/* Tells every rank that still runs. */
static void tell_all(struct dsm_member_job *job, enum dsm_member_action_type type, uint32_t rank,
                     int32_t status, const char *text)
{
    for (uint32_t i = 0; i < job->n_members; i++) {
        if (job->members[i].state != DSM_MEMBER_RUNNING || job->members[i].rank == rank)
            continue;
        struct dsm_member_action *action = dsm_member_act(job, type, job->members[i].conn);
        action->rank = rank;
        action->status = status;
        dsm_format(action->text, sizeof action->text, "%s", text);
    }
}

/* The death of one rank, told to all others. The member is GONE already. */
static void publish_death(struct dsm_member_job *job, const struct dsm_member *member,
                          const char *reason)
{
    job->epoch++;
    tell_all(job, DSM_MEMBER_ACTION_VIEW, member->rank, 0, reason);
    struct dsm_member_action *note =
        dsm_member_act(job, DSM_MEMBER_ACTION_NOTE_DIED, DSM_MEMBER_CONN_NONE);
    note->rank = member->rank;
    dsm_format(note->text, sizeof note->text, "%s", reason);
}

static void on_closed_while_running(struct dsm_member_job *job, struct dsm_member *member,
                                    const struct dsm_member_event *event)
{
    if (member->exit_text) {
        dsm_member_set_state(job, member, DSM_MEMBER_GONE);
        publish_death(job, member, member->exit_text);
        return;
    }
    char name[DSM_MEMBER_TEXT_BYTES], reason[DSM_MEMBER_TEXT_BYTES];
    dsm_member_name_of(member, name);
    dsm_format(reason, sizeof reason, "%s %s without leaving the job", name, event->closed_reason);
    char *kept = job->config.is_managed && job->config.exit_grace_ns ? strdup(reason) : NULL;
    if (kept) {
        /* The kernel closes a dying process's sockets just before its parent can learn how it
         * ended; a short wait makes the one message say so. */
        free(member->lost_reason);
        member->lost_reason = kept;
        dsm_member_set_state(job, member, DSM_MEMBER_LOST);
        dsm_member_act(job, DSM_MEMBER_ACTION_NOTE_LOST, DSM_MEMBER_CONN_NONE)->rank = member->rank;
        member->deadline_ns = event->now_ns + job->config.exit_grace_ns;
        dsm_member_note_deadline(job, member->deadline_ns);
        return;
    }
    dsm_member_set_state(job, member, DSM_MEMBER_GONE);
    publish_death(job, member, reason);
}

static void on_closed(struct dsm_member_job *job, struct dsm_member *member,
                      const struct dsm_member_event *event)
{
    if (job->state == DSM_JOB_FORMING || job->state == DSM_JOB_AGREEING)
        dsm_member_form_withdraw(job, member, event);
    else if (job->state == DSM_JOB_RUNNING && member->state == DSM_MEMBER_RUNNING)
        on_closed_while_running(job, member, event);
    else if (member->state != DSM_MEMBER_LOST)
        dsm_member_set_state(job, member, DSM_MEMBER_GONE);
}

static void on_leave(struct dsm_member_job *job, struct dsm_member *member,
                     const struct dsm_member_event *event)
{
    if (member->state != DSM_MEMBER_RUNNING)
        return;
    uint32_t rank = member->rank;
    dsm_member_act(job, DSM_MEMBER_ACTION_LEFT, member->conn)->rank = rank;
    dsm_member_set_state(job, member, DSM_MEMBER_LEFT);
    member->heard_ns = event->now_ns;
    if (job->state == DSM_JOB_RUNNING)
        tell_all(job, DSM_MEMBER_ACTION_LEFT, rank, 0, "");
}

static void on_abort(struct dsm_member_job *job, struct dsm_member *member,
                     const struct dsm_member_event *event)
{
    if (job->state == DSM_JOB_ENDED)
        return;
    char name[DSM_MEMBER_TEXT_BYTES], text[DSM_MEMBER_TEXT_BYTES];
    dsm_member_name_of(member, name);
    dsm_format(text, sizeof text, "%s ended the job with status %d: %s", name, event->abort.status,
               *event->abort.reason ? event->abort.reason : "no reason given");
    if (job->state != DSM_JOB_RUNNING) {
        dsm_member_fail(job, event->now_ns, DSM_E_PEER, text);
        return;
    }
    tell_all(job, DSM_MEMBER_ACTION_ABORTED, member->rank, event->abort.status, text);
    struct dsm_member_action *note =
        dsm_member_act(job, DSM_MEMBER_ACTION_NOTE_ABORTED, DSM_MEMBER_CONN_NONE);
    note->rank = member->rank;
    note->status = event->abort.status;
    dsm_format(note->text, sizeof note->text, "%s", text);
    end(job, event->now_ns, text);
}

static void on_exited(struct dsm_member_job *job, const struct dsm_member_event *event)
{
    uint32_t rank = event->exited.rank;
    char text[DSM_MEMBER_TEXT_BYTES];
    dsm_format(text, sizeof text, "%s%s", event->exited.text,
               event->exited.is_success ? " without leaving the job (dsm_finalize)" : "");
    struct dsm_member *member = NULL;
    for (uint32_t i = 0; i < job->n_members; i++)
        if (job->members[i].rank == rank && job->members[i].state != DSM_MEMBER_GONE)
            member = &job->members[i];
    if (job->state == DSM_JOB_FORMING && !member) {
        dsm_format(job->early_exit, sizeof job->early_exit,
                   "%s before it joined the job; the others wait for it", event->exited.text);
        if (job->n_present > 0)
            dsm_member_fail(job, event->now_ns, DSM_E_PEER, job->early_exit);
        return;
    }
    if (!member)
        return;
    if (member->state == DSM_MEMBER_LOST) {
        dsm_member_set_state(job, member, DSM_MEMBER_GONE);
        if (job->state == DSM_JOB_RUNNING)
            publish_death(job, member, text);
        return;
    }
    /* The connection is still open: its last words may be on the way, or the process that ended was
     * only the parent of the rank. */
    free(member->exit_text);
    member->exit_text = strdup(text);
}

static void on_stop(struct dsm_member_job *job, const struct dsm_member_event *event)
{
    static const char text[] = "dsmd is stopping";
    if (job->state == DSM_JOB_ENDED)
        return;
    if (job->state != DSM_JOB_RUNNING) {
        dsm_member_fail(job, event->now_ns, DSM_E_PEER, text);
        return;
    }
    tell_all(job, DSM_MEMBER_ACTION_ABORTED, DSM_RANK_NONE, 1, text);
    struct dsm_member_action *note =
        dsm_member_act(job, DSM_MEMBER_ACTION_NOTE_ABORTED, DSM_MEMBER_CONN_NONE);
    note->status = 1;
    dsm_format(note->text, sizeof note->text, "%s", text);
    end(job, event->now_ns, text);
}

/* When this member's time is up, as things stand. */
static uint64_t deadline_of(const struct dsm_member_job *job, const struct dsm_member *member)
{
    if (member->state == DSM_MEMBER_GONE)
        return UINT64_MAX;
    if (member->state == DSM_MEMBER_LOST)
        return member->deadline_ns;
    if (job->state == DSM_JOB_ENDED)
        return member->heard_ns + end_linger_ns(job);
    if (job->state != DSM_JOB_RUNNING || job->config.lease_ns == 0)
        return UINT64_MAX;
    return member->heard_ns + job->config.lease_ns;
}

/* One member's time is up. */
static void expire(struct dsm_member_job *job, struct dsm_member *member, uint64_t now_ns)
{
    if (member->state == DSM_MEMBER_LOST) {
        dsm_member_set_state(job, member, DSM_MEMBER_GONE);
        if (job->state == DSM_JOB_RUNNING)
            publish_death(job, member, member->lost_reason);
        return;
    }
    bool is_death = job->state == DSM_JOB_RUNNING && member->state == DSM_MEMBER_RUNNING;
    dsm_member_set_state(job, member, DSM_MEMBER_GONE);
    if (!is_death) {
        dsm_member_act(job, DSM_MEMBER_ACTION_DROP, member->conn);
        return;
    }
    char name[DSM_MEMBER_TEXT_BYTES], reason[DSM_MEMBER_TEXT_BYTES];
    dsm_member_name_of(member, name);
    dsm_format(reason, sizeof reason, "%s was silent for %lu ms (lease %lu ms)", name,
               (uint64_t)((now_ns - member->heard_ns) / DSM_NS_PER_MS),
               (uint64_t)(job->config.lease_ns / DSM_NS_PER_MS));
    struct dsm_member_action *refuse = dsm_member_act(job, DSM_MEMBER_ACTION_REFUSE, member->conn);
    refuse->error = DSM_E_TIMEOUT;
    dsm_format(refuse->text, sizeof refuse->text, "%s", reason);
    publish_death(job, member, reason);
}

/*
 * A daemon that did not run for a while has heard nobody, and would accuse everyone at once. Nor
 * may the ranks of this machine have run. All leases begin anew.
 */
static void forgive_own_absence(struct dsm_member_job *job, uint64_t now_ns)
{
    if (now_ns - job->next_ns <= job->config.lease_ns / 4)
        return;
    for (uint32_t i = 0; i < job->n_members; i++)
        job->members[i].heard_ns = now_ns;
}

static void on_tick(struct dsm_member_job *job, uint64_t now_ns)
{
    if (now_ns < job->next_ns)
        return;
    if (job->state == DSM_JOB_FORMING || job->state == DSM_JOB_AGREEING) {
        job->next_ns = UINT64_MAX;
        if (now_ns >= job->form_deadline_ns)
            dsm_member_form_timeout(job, now_ns);
        else
            dsm_member_note_deadline(job, job->form_deadline_ns);
        return;
    }
    forgive_own_absence(job, now_ns);
    job->next_ns = UINT64_MAX;
    /* One at a time, so that a step has a bounded number of actions; the next is due at once. */
    struct dsm_member *expired = NULL;
    for (uint32_t i = 0; i < job->n_members; i++) {
        uint64_t deadline_ns = deadline_of(job, &job->members[i]);
        if (deadline_ns <= now_ns && !expired)
            expired = &job->members[i];
        else
            dsm_member_note_deadline(job, deadline_ns);
    }
    if (expired)
        expire(job, expired, now_ns);
}

static void dispatch_to_member(struct dsm_member_job *job, const struct dsm_member_event *event)
{
    struct dsm_member *member = dsm_member_find(job, event->conn);
    if (!member)
        return;
    if (event->now_ns > member->heard_ns && job->state != DSM_JOB_ENDED)
        member->heard_ns = event->now_ns;
    switch (event->type) {
    case DSM_MEMBER_EVENT_ANSWER:
        dsm_member_form_answer(job, member, event);
        break;
    case DSM_MEMBER_EVENT_BEAT:
        dsm_member_act(job, DSM_MEMBER_ACTION_REPLY, member->conn)->number = event->beat_number;
        break;
    case DSM_MEMBER_EVENT_LEAVE:
        on_leave(job, member, event);
        break;
    case DSM_MEMBER_EVENT_ABORT:
        on_abort(job, member, event);
        break;
    case DSM_MEMBER_EVENT_CLOSED:
        on_closed(job, member, event);
        break;
    case DSM_MEMBER_EVENT_JOIN:
    case DSM_MEMBER_EVENT_EXITED:
    case DSM_MEMBER_EVENT_TICK:
    case DSM_MEMBER_EVENT_STOP:
        break;
    }
}

int dsm_member_job_step(struct dsm_member_job *job, const struct dsm_member_event *event,
                        struct dsm_member_actions *actions_out)
{
    job->n_actions = 0;
    int error = reserve_actions(job, job->n_members + EXTRA_ACTIONS);
    if (error)
        return error;
    switch (event->type) {
    case DSM_MEMBER_EVENT_JOIN:
        error = dsm_member_form_join(job, event);
        if (error)
            return error;
        break;
    case DSM_MEMBER_EVENT_EXITED:
        on_exited(job, event);
        break;
    case DSM_MEMBER_EVENT_TICK:
        on_tick(job, event->now_ns);
        break;
    case DSM_MEMBER_EVENT_STOP:
        on_stop(job, event);
        break;
    case DSM_MEMBER_EVENT_ANSWER:
    case DSM_MEMBER_EVENT_BEAT:
    case DSM_MEMBER_EVENT_LEAVE:
    case DSM_MEMBER_EVENT_ABORT:
    case DSM_MEMBER_EVENT_CLOSED:
        dispatch_to_member(job, event);
        break;
    }
    bool is_unused = job->state == DSM_JOB_FORMING && job->config.is_managed;
    if (job->n_present == 0 && !job->is_over && !is_unused) {
        job->is_over = true;
        job->state = DSM_JOB_ENDED;
        job->next_ns = UINT64_MAX;
        dsm_member_act(job, DSM_MEMBER_ACTION_NOTE_OVER, DSM_MEMBER_CONN_NONE);
    }
    *actions_out = (struct dsm_member_actions){job->actions, job->n_actions};
    return 0;
}

struct dsm_member_job *dsm_member_job_new(const struct dsm_member_job_config *config)
{
    struct dsm_member_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->config = *config;
    job->next_ns = UINT64_MAX;
    return job;
}

void dsm_member_free_texts(struct dsm_member *member)
{
    free(member->host);
    free(member->host_id);
    free(member->offers);
    free(member->lost_reason);
    free(member->exit_text);
}

void dsm_member_job_free(struct dsm_member_job *job)
{
    if (!job)
        return;
    for (uint32_t i = 0; i < job->n_members; i++)
        dsm_member_free_texts(&job->members[i]);
    free(job->members);
    free(job->conns);
    free(job->by_rank);
    free(job->actions);
    free(job->terms.build);
    free(job->terms.cpu);
    free(job);
}

uint64_t dsm_member_job_next_ns(const struct dsm_member_job *job)
{
    return job->next_ns;
}

enum dsm_member_job_state dsm_member_job_state(const struct dsm_member_job *job)
{
    return job->state;
}

bool dsm_member_job_is_over(const struct dsm_member_job *job)
{
    return job->is_over;
}

uint32_t dsm_member_job_n_joined(const struct dsm_member_job *job)
{
    bool has_started = job->state == DSM_JOB_RUNNING || job->state == DSM_JOB_ENDED;
    return has_started ? job->config.n_ranks : job->n_present;
}

const struct dsm_member_job_config *dsm_member_job_config(const struct dsm_member_job *job)
{
    return &job->config;
}

uint32_t dsm_member_job_epoch(const struct dsm_member_job *job)
{
    return job->epoch;
}

uint64_t dsm_member_job_base(const struct dsm_member_job *job)
{
    return job->base;
}

const char *dsm_member_job_transport(const struct dsm_member_job *job)
{
    return job->transport;
}

const char *dsm_member_job_transport_reason(const struct dsm_member_job *job)
{
    return job->transport_reason;
}

uint64_t dsm_member_job_region_bytes(const struct dsm_member_job *job)
{
    return job->terms.region_bytes;
}

const struct dsm_member *dsm_member_job_rank(const struct dsm_member_job *job, uint32_t rank)
{
    return &job->members[job->by_rank[rank]];
}
