/* SPDX-License-Identifier: BSD-3-Clause */
/* load.c - from the bytes of a profile to ranks, allocations, modules and events. */
#define _GNU_SOURCE
#include "report/report.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <stdlib.h>
#include <string.h>

/* Room for n items where n - 1 are; doubles. NULL: no memory, and the old array stays. */
static void *grow(void *items, size_t n, size_t item_bytes)
{
    if (n & (n - 1))
        return items;
    return reallocarray(items, n ? 2 * n : 1, item_bytes);
}

static void load_counters(struct report_rank *rank, const struct dsm_profile_item *item,
                          size_t first_word)
{
    while (rank->n_counters < DSM_PROFILE_N_COUNTERS &&
           first_word + rank->n_counters < item->n_words) {
        rank->counters[rank->n_counters] = dsm_profile_word(item, first_word + rank->n_counters);
        rank->n_counters++;
    }
}

static int load_rank(struct report *r, const struct dsm_profile_item *item, char *why)
{
    uint32_t n = (uint32_t)dsm_profile_word(item, DSM_PROFILE_WORD_N_RANKS);
    if (item->rank >= n) {
        dsm_format(why, REPORT_WHY_BYTES, "rank %u is not in its job of %u", item->rank, n);
        return DSM_E_PROTO;
    }
    if (!r->ranks) {
        r->ranks = calloc(n, sizeof *r->ranks);
        if (!r->ranks)
            return DSM_E_NOMEM;
        r->n_ranks = n;
    }
    if (r->n_ranks != n) {
        dsm_format(why, REPORT_WHY_BYTES, "ranks of jobs of %u and of %u ranks are mixed",
                   r->n_ranks, n);
        return DSM_E_PROTO;
    }
    struct report_rank *rank = &r->ranks[item->rank];
    if (rank->is_there) {
        dsm_format(why, REPORT_WHY_BYTES, "rank %u is there twice", item->rank);
        return DSM_E_PROTO;
    }
    rank->received = calloc(n, sizeof *rank->received);
    if (!rank->received)
        return DSM_E_NOMEM;
    rank->is_there = true;
    rank->pid = dsm_profile_word(item, DSM_PROFILE_WORD_PID);
    rank->base = dsm_profile_word(item, DSM_PROFILE_WORD_BASE);
    rank->start_ns = dsm_profile_word(item, DSM_PROFILE_WORD_START_NS);
    rank->start_real_ns = dsm_profile_word(item, DSM_PROFILE_WORD_START_REAL_NS);
    rank->end_ns = dsm_profile_word(item, DSM_PROFILE_WORD_END_NS);
    rank->has_ended = rank->end_ns != 0;
    rank->dropped = dsm_profile_word(item, DSM_PROFILE_WORD_DROPPED);
    for (size_t i = 0; i < DSM_PROFILE_N_TIMED; i++) {
        rank->count[i] = dsm_profile_word(item, DSM_PROFILE_WORD_COUNT + i);
        rank->total_ns[i] = dsm_profile_word(item, DSM_PROFILE_WORD_TOTAL_NS + i);
    }
    for (uint32_t i = 0; i < n; i++)
        rank->received[i] = dsm_profile_word(item, DSM_PROFILE_WORD_RECEIVED + i);
    load_counters(rank, item, DSM_PROFILE_WORD_RECEIVED + n);
    return 0;
}

static int load_module(struct report_rank *rank, const struct dsm_profile_item *item)
{
    struct report_module *grown = grow(rank->modules, rank->n_modules, sizeof *grown);
    if (!grown)
        return DSM_E_NOMEM;
    rank->modules = grown;
    char *path = strdup(item->text);
    if (!path)
        return DSM_E_NOMEM;
    grown[rank->n_modules++] =
        (struct report_module){item->slot.a, item->slot.b, item->slot.c, path};
    return 0;
}

/* Every rank tells of a collective allocation: kept once. */
static int load_alloc(struct report *r, const struct dsm_profile_item *item)
{
    for (size_t i = r->n_allocs; i-- > 0;) {
        const struct report_alloc *a = &r->allocs[i];
        if (a->offset == item->slot.a && a->len_bytes == item->slot.b &&
            strcmp(a->name, item->text) == 0)
            return 0;
    }
    struct report_alloc *grown = grow(r->allocs, r->n_allocs, sizeof *grown);
    if (!grown)
        return DSM_E_NOMEM;
    r->allocs = grown;
    char *name = strdup(item->text);
    if (!name)
        return DSM_E_NOMEM;
    grown[r->n_allocs++] = (struct report_alloc){item->slot.a, item->slot.b, name};
    return 0;
}

static int load_event(struct report *r, const struct dsm_profile_item *item)
{
    if (r->n_events == r->room_events) {
        size_t room = r->room_events ? 2 * r->room_events : 1024;
        struct report_event *grown = reallocarray(r->events, room, sizeof *grown);
        if (!grown)
            return DSM_E_NOMEM;
        r->events = grown;
        r->room_events = room;
    }
    const struct dsm_profile_slot *s = &item->slot;
    r->events[r->n_events++] = (struct report_event){
        .time_ns = s->time_ns,
        .offset = s->a,
        .ip = s->b,
        .value = s->c,
        .rank = item->rank,
        .peer = s->peer,
        .alloc = REPORT_NONE,
        .kind = s->kind,
        .unit_log2 = s->unit_log2,
    };
    return 0;
}

static int load_item(struct report *r, const struct dsm_profile_item *item, char *why)
{
    if (item->is_live)
        return load_rank(r, item, why);
    if (item->rank >= r->n_ranks || !r->ranks[item->rank].is_there) {
        dsm_format(why, REPORT_WHY_BYTES, "records of rank %u come before what it says of itself",
                   item->rank);
        return DSM_E_PROTO;
    }
    switch (item->slot.kind) {
    case DSM_PROFILE_ALLOC:
        return load_alloc(r, item);
    case DSM_PROFILE_MODULE:
        return load_module(&r->ranks[item->rank], item);
    default:
        return load_event(r, item);
    }
}

int report_load(struct report *r, const void *bytes, size_t len_bytes, char why[REPORT_WHY_BYTES])
{
    struct dsm_profile_reader reader;
    struct dsm_profile_item *item = malloc(sizeof *item);
    int error = item ? dsm_profile_open(&reader, bytes, len_bytes) : DSM_E_NOMEM, got = 0;
    dsm_format(why, REPORT_WHY_BYTES, "out of memory");
    while (!error && (got = dsm_profile_next(&reader, item)) > 0)
        error = load_item(r, item, why);
    if (item && (error == DSM_E_PROTO || got < 0) && reader.reason) {
        dsm_format(why, REPORT_WHY_BYTES, "%s (at byte %zu)", reader.reason, reader.at);
        error = DSM_E_PROTO;
    }
    if (!error)
        r->is_cut |= reader.is_cut;
    free(item);
    return error;
}

void report_free(struct report *r)
{
    for (uint32_t i = 0; i < r->n_ranks; i++) {
        for (size_t j = 0; j < r->ranks[i].n_modules; j++)
            free(r->ranks[i].modules[j].path);
        free(r->ranks[i].modules);
        free(r->ranks[i].received);
    }
    for (size_t i = 0; i < r->n_allocs; i++)
        free(r->allocs[i].name);
    for (size_t i = 0; i < r->n_units; i++) {
        for (size_t j = 0; j < r->units[i].n_users; j++)
            free(r->units[i].users[j].offsets);
        free(r->units[i].users);
        free(r->units[i].places);
    }
    for (size_t i = 0; i < r->n_waits; i++)
        free(r->waits[i].places);
    for (size_t i = 0; i < r->n_codes; i++)
        free(r->codes[i].text);
    for (size_t i = 0; i < r->n_code_paths; i++)
        free(r->code_paths[i]);
    free(r->ranks);
    free(r->allocs);
    free(r->events);
    free(r->units);
    free(r->waits);
    free(r->codes);
    free(r->code_paths);
    *r = (struct report){0};
}
