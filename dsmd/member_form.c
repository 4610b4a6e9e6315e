/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * member_form.c - how a job comes to run: joins are checked against each other, ranks numbered, a
 * base agreed; and what is said when that does not work out.
 */
#include "dsmd/member_private.h"
#include "base/clock.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <stdlib.h>
#include <string.h>

static void refuse(struct dsm_member_job *job, uint64_t conn, int error, const char *text)
{
    struct dsm_member_action *action = dsm_member_act(job, DSM_MEMBER_ACTION_REFUSE, conn);
    action->error = error;
    dsm_format(action->text, sizeof action->text, "%s", text);
}

/* The stranger alone is turned away. */
static void refuse_stranger(struct dsm_member_job *job, uint64_t conn, int error, const char *text)
{
    refuse(job, conn, error, text);
    struct dsm_member_action *note = dsm_member_act(job, DSM_MEMBER_ACTION_NOTE_REFUSED, conn);
    note->error = error;
    dsm_format(note->text, sizeof note->text, "%s", text);
}

static uint32_t wanted_rank(const struct dsm_member_join *join)
{
    return join->wanted_rank < 0 ? DSM_RANK_NONE : (uint32_t)join->wanted_rank;
}

/* Whether the joining rank is of the same kind as the others; else why not, with both values. */
static bool agrees_with_terms(const struct dsm_member_job *job, const struct dsm_member_join *join,
                              char why[DSM_MEMBER_TEXT_BYTES])
{
    const struct dsm_member_terms *terms = &job->terms;
    char name[DSM_MEMBER_TEXT_BYTES];
    dsm_member_name(wanted_rank(join), join->host, join->pid, name);
    const struct {
        const char *what, *theirs, *ours;
    } texts[] = {
        {"build", join->build, terms->build},
        {"processor", join->cpu, terms->cpu},
    };
    for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(texts[i].theirs, texts[i].ours) == 0)
            continue;
        dsm_format(why, DSM_MEMBER_TEXT_BYTES, "%s has %s %s, %s has %s", name, texts[i].what,
                   texts[i].theirs, terms->who, texts[i].ours);
        return false;
    }
    const struct {
        const char *what;
        uint64_t theirs, ours;
    } numbers[] = {
        {"page size", join->page_bytes, terms->page_bytes},
        {"region size", join->region_bytes, terms->region_bytes},
    };
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i].theirs == numbers[i].ours)
            continue;
        dsm_format(why, DSM_MEMBER_TEXT_BYTES, "%s has %s %lu, %s has %lu", name, numbers[i].what,
                   numbers[i].theirs, terms->who, numbers[i].ours);
        return false;
    }
    if (join->base && terms->base && join->base != terms->base) {
        dsm_format(why, DSM_MEMBER_TEXT_BYTES, "%s wants the base 0x%lx, %s wants 0x%lx", name,
                   join->base, terms->base_who, terms->base);
        return false;
    }
    return true;
}

static int set_terms(struct dsm_member_job *job, const struct dsm_member_join *join)
{
    struct dsm_member_terms *terms = &job->terms;
    char *build = strdup(join->build), *cpu = strdup(join->cpu);
    if (!build || !cpu) {
        free(build);
        free(cpu);
        return DSM_E_NOMEM;
    }
    free(terms->build);
    free(terms->cpu);
    *terms = (struct dsm_member_terms){.build = build,
                                       .cpu = cpu,
                                       .page_bytes = join->page_bytes,
                                       .region_bytes = join->region_bytes};
    dsm_member_name(wanted_rank(join), join->host, join->pid, terms->who);
    return 0;
}

static int add_member(struct dsm_member_job *job, const struct dsm_member_event *event)
{
    const struct dsm_member_join *join = &event->join;
    if (job->n_members == job->cap_members) {
        uint32_t cap = job->cap_members ? job->cap_members * 2 : 8;
        struct dsm_member *members = realloc(job->members, cap * sizeof *members);
        if (!members)
            return DSM_E_NOMEM;
        job->members = members;
        uint64_t *conns = realloc(job->conns, cap * sizeof *conns);
        if (!conns)
            return DSM_E_NOMEM;
        job->conns = conns;
        job->cap_members = cap;
    }
    struct dsm_member member = {
        .state = DSM_MEMBER_JOINED,
        .conn = event->conn,
        .rank = wanted_rank(join),
        .pid = join->pid,
        .heard_ns = event->now_ns,
        .host = strdup(join->host),
        .host_id = strdup(join->host_id),
    };
    if (!member.host || !member.host_id || dsm_member_transport_note(&member, join) != 0) {
        dsm_member_free_texts(&member);
        return DSM_E_NOMEM;
    }
    job->members[job->n_members] = member;
    job->conns[job->n_members++] = event->conn;
    job->n_present++;
    return 0;
}

/* The wanted numbers first, then whoever takes any, in the order of joining. */
static void number_ranks(struct dsm_member_job *job)
{
    for (uint32_t rank = 0; rank < job->config.n_ranks; rank++)
        job->by_rank[rank] = UINT32_MAX;
    for (uint32_t i = 0; i < job->n_members; i++)
        if (job->members[i].rank != DSM_RANK_NONE)
            job->by_rank[job->members[i].rank] = i;
    uint32_t rank = 0;
    for (uint32_t i = 0; i < job->n_members; i++) {
        if (job->members[i].rank != DSM_RANK_NONE)
            continue;
        while (job->by_rank[rank] != UINT32_MAX)
            rank++;
        job->by_rank[rank] = i;
        job->members[i].rank = rank;
    }
}

/* Ranks with the same host_id get the same number, in the order of ranks. */
static void number_hosts(struct dsm_member_job *job)
{
    uint32_t n_hosts = 0;
    for (uint32_t rank = 0; rank < job->config.n_ranks; rank++) {
        struct dsm_member *member = &job->members[job->by_rank[rank]];
        member->host_index = n_hosts;
        for (uint32_t other = 0; other < rank && member->host_index == n_hosts; other++) {
            const struct dsm_member *earlier = &job->members[job->by_rank[other]];
            if (strcmp(earlier->host_id, member->host_id) == 0)
                member->host_index = earlier->host_index;
        }
        if (member->host_index == n_hosts)
            n_hosts++;
    }
}

static void propose_next(struct dsm_member_job *job, uint64_t now_ns)
{
    uint64_t base = dsm_base_search_next(&job->search);
    if (!base) {
        char text[DSM_MEMBER_TEXT_BYTES];
        dsm_format(text, sizeof text,
                   "no base address for the region that all can map (%u tried): %s", job->round,
                   job->map_failure);
        dsm_member_fail(job, now_ns, DSM_E_RANGE, text);
        return;
    }
    job->base = base;
    job->round++;
    job->n_answers = job->n_mapped = 0;
    for (uint32_t i = 0; i < job->n_members; i++) {
        dsm_member_set_state(job, &job->members[i], DSM_MEMBER_MAPPING);
        struct dsm_member_action *action =
            dsm_member_act(job, DSM_MEMBER_ACTION_PROPOSE, job->members[i].conn);
        action->number = job->round;
        action->base = base;
    }
}

static int begin_agreeing(struct dsm_member_job *job, uint64_t now_ns)
{
    uint32_t *by_rank = calloc(job->config.n_ranks, sizeof *by_rank);
    if (!by_rank)
        return DSM_E_NOMEM;
    job->by_rank = by_rank;
    number_ranks(job);
    number_hosts(job);
    char text[DSM_MEMBER_TEXT_BYTES];
    if (!dsm_member_transport_choose(job, text)) {
        dsm_member_fail(job, now_ns, DSM_E_MISMATCH, text);
        return 0;
    }
    job->state = DSM_JOB_AGREEING;
    dsm_base_search_init(&job->search, job->terms.region_bytes, job->terms.base);
    propose_next(job, now_ns);
    return 0;
}

/* A job that has its ranks, or had them. */
static void refuse_latecomer(struct dsm_member_job *job, const struct dsm_member_event *event,
                             const char *name)
{
    char text[DSM_MEMBER_TEXT_BYTES];
    if (job->state == DSM_JOB_ENDED)
        dsm_format(text, sizeof text, "%s comes too late: the job has ended%s%s", name,
                   *job->ended_text ? ": " : "", job->ended_text);
    else
        dsm_format(text, sizeof text, "%s is one too many: the job has all of its %u ranks", name,
                   job->config.n_ranks);
    refuse_stranger(job, event->conn, DSM_E_LIMIT, text);
}

static const struct dsm_member *find_wanted(const struct dsm_member_job *job, uint32_t rank)
{
    for (uint32_t i = 0; i < job->n_members; i++)
        if (rank != DSM_RANK_NONE && job->members[i].rank == rank)
            return &job->members[i];
    return NULL;
}

/* Everything that can be wrong with a join, told to the joining rank and, where the job cannot
 * complete without it, to all. */
static bool is_refused(struct dsm_member_job *job, const struct dsm_member_event *event,
                       const char *name)
{
    const struct dsm_member_join *join = &event->join;
    char text[DSM_MEMBER_TEXT_BYTES];
    int error = DSM_E_MISMATCH;
    if (job->state != DSM_JOB_FORMING) {
        refuse_latecomer(job, event, name);
        return true;
    }
    const struct dsm_member *holder = find_wanted(job, wanted_rank(join));
    if (holder) {
        dsm_format(text, sizeof text, "%s: the number is taken by %s, pid %u", name, holder->host,
                   holder->pid);
        refuse_stranger(job, event->conn, DSM_E_MISMATCH, text);
        return true;
    }
    if (*job->early_exit) {
        dsm_format(text, sizeof text, "%s", job->early_exit);
        error = DSM_E_PEER;
    } else if (join->n_ranks != job->config.n_ranks) {
        dsm_format(text, sizeof text, "%s asks for a job of %u ranks, %s is of %u", name,
                   join->n_ranks, job->n_members ? job->terms.who : "this job",
                   job->config.n_ranks);
    } else if (join->base && !dsm_base_is_possible(join->base, join->region_bytes)) {
        dsm_format(text, sizeof text,
                   "%s wants %lu bytes at base 0x%lx: allowed are multiples of 0x%lx from 0x%lx to "
                   "0x%lx",
                   name, join->region_bytes, join->base, (uint64_t)DSM_BASE_ALIGN_BYTES,
                   (uint64_t)DSM_BASE_LOWEST, (uint64_t)DSM_BASE_END);
        error = DSM_E_INVAL;
    } else if (job->n_members == 0 || agrees_with_terms(job, join, text)) {
        return false;
    }
    refuse(job, event->conn, error, text);
    dsm_member_fail(job, event->now_ns, error, text);
    return true;
}

int dsm_member_form_join(struct dsm_member_job *job, const struct dsm_member_event *event)
{
    const struct dsm_member_join *join = &event->join;
    char name[DSM_MEMBER_TEXT_BYTES];
    dsm_member_name(wanted_rank(join), join->host, join->pid, name);
    if (is_refused(job, event, name))
        return 0;
    int error = job->n_members == 0 ? set_terms(job, join) : 0;
    if (!error)
        error = add_member(job, event);
    if (error)
        return error;
    if (join->base && !job->terms.base) {
        job->terms.base = join->base;
        memcpy(job->terms.base_who, name, sizeof name);
    }
    if (job->n_members == 1) {
        job->form_deadline_ns =
            event->now_ns +
            (job->config.join_timeout_ns ? job->config.join_timeout_ns : join->join_timeout_ns);
        dsm_member_note_deadline(job, job->form_deadline_ns);
    }
    return job->n_members == job->config.n_ranks ? begin_agreeing(job, event->now_ns) : 0;
}

void dsm_member_form_answer(struct dsm_member_job *job, struct dsm_member *member,
                            const struct dsm_member_event *event)
{
    if (job->state != DSM_JOB_AGREEING || member->state != DSM_MEMBER_MAPPING ||
        event->answer.round != job->round)
        return;
    dsm_member_set_state(job, member, DSM_MEMBER_ANSWERED);
    job->n_answers++;
    if (event->answer.is_mapped) {
        job->n_mapped++;
    } else {
        char name[DSM_MEMBER_TEXT_BYTES];
        dsm_member_name_of(member, name);
        size_t n = dsm_format(job->map_failure, sizeof job->map_failure,
                              "%s cannot map %lu bytes at 0x%lx: %s; it offers ", name,
                              job->terms.region_bytes, job->base, event->answer.reason);
        dsm_format(job->map_failure + n, sizeof job->map_failure - n,
                   event->answer.suggestion ? "0x%lx" : "no hole", event->answer.suggestion);
        dsm_base_search_suggest(&job->search, event->answer.suggestion);
    }
    if (job->n_answers < job->config.n_ranks)
        return;
    if (job->n_mapped == job->config.n_ranks)
        dsm_member_start(job, event->now_ns);
    else
        propose_next(job, event->now_ns);
}

void dsm_member_form_withdraw(struct dsm_member_job *job, struct dsm_member *member,
                              const struct dsm_member_event *event)
{
    dsm_member_set_state(job, member, DSM_MEMBER_GONE);
    if (job->state == DSM_JOB_AGREEING || job->config.is_managed) {
        char name[DSM_MEMBER_TEXT_BYTES], text[DSM_MEMBER_TEXT_BYTES];
        dsm_member_name_of(member, name);
        dsm_format(text, sizeof text, "%s %s while the job was formed", name, event->closed_reason);
        dsm_member_fail(job, event->now_ns, DSM_E_PEER, text);
        return;
    }
    /* Ranks started by hand: another process may take the place. */
    size_t at = (size_t)(member - job->members);
    dsm_member_free_texts(member);
    job->n_members--;
    memmove(member, member + 1, (job->n_members - at) * sizeof *member);
    memmove(job->conns + at, job->conns + at + 1, (job->n_members - at) * sizeof *job->conns);
}

/* "0, 3-5, 9": the numbers nobody asked for. */
static void list_missing(const struct dsm_member_job *job, char *out, size_t out_bytes)
{
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t first = 0; first < job->config.n_ranks; first++) {
        uint32_t last = first;
        while (last < job->config.n_ranks && !find_wanted(job, last))
            last++;
        if (last == first)
            continue;
        const char *comma = used ? ", " : "";
        if (used + 32 > out_bytes) {
            dsm_format(out + used, out_bytes - used, "%s...", comma);
            return;
        }
        if (last - first == 1)
            used += dsm_format(out + used, out_bytes - used, "%s%u", comma, first);
        else
            used += dsm_format(out + used, out_bytes - used, "%s%u-%u", comma, first, last - 1);
        first = last;
    }
}

void dsm_member_form_timeout(struct dsm_member_job *job, uint64_t now_ns)
{
    char text[DSM_MEMBER_TEXT_BYTES], list[160];
    uint32_t n_ranks = job->config.n_ranks;
    if (job->state == DSM_JOB_AGREEING) {
        const struct dsm_member *silent = NULL;
        for (uint32_t i = 0; i < job->n_members && !silent; i++)
            if (job->members[i].state == DSM_MEMBER_MAPPING)
                silent = &job->members[i];
        char name[DSM_MEMBER_TEXT_BYTES];
        dsm_member_name_of(silent, name);
        dsm_format(
            text, sizeof text,
            "%u of %u ranks did not say in time whether they can map the region; the first is "
            "%s",
            n_ranks - job->n_answers, n_ranks, name);
    } else {
        bool is_numbered = true;
        for (uint32_t i = 0; i < job->n_members; i++)
            is_numbered = is_numbered && job->members[i].rank != DSM_RANK_NONE;
        list_missing(job, list, sizeof list);
        dsm_format(text, sizeof text, "the job is not complete in time: %u of %u ranks missing%s%s",
                   n_ranks - job->n_members, n_ranks, is_numbered ? ": " : "",
                   is_numbered ? list : "");
    }
    dsm_member_fail(job, now_ns, DSM_E_TIMEOUT, text);
}
