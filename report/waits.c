/* SPDX-License-Identifier: BSD-3-Clause */
/* waits.c - at which locks, barriers and other objects calls waited, how long, and where the calls
 * are. */
#define _GNU_SOURCE
#include "report/analyse.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <stdlib.h>

static bool is_wait(const struct report_event *e)
{
    return e->kind >= DSM_PROFILE_LOCK && e->kind <= DSM_PROFILE_SYNC;
}

static bool has_name(enum dsm_profile_object object)
{
    return object != DSM_PROFILE_RANKS && object != DSM_PROFILE_COLLECTIVE;
}

static struct report_wait *wait_of(struct report *r, struct index_table *table,
                                   const struct report_event *e)
{
    enum dsm_profile_object object = (enum dsm_profile_object)e->unit_log2;
    uint64_t offset = has_name(object) ? e->offset : 0;
    struct index_slot *slot = report_index_of(table, offset, object, r->n_waits);
    if (!slot)
        return NULL;
    if (slot->index == r->n_waits) {
        struct report_wait *grown = r->waits;
        if ((r->n_waits & (r->n_waits - 1)) == 0)
            grown = reallocarray(r->waits, r->n_waits ? 2 * r->n_waits : 1, sizeof *grown);
        if (!grown)
            return NULL;
        r->waits = grown;
        grown[r->n_waits++] =
            (struct report_wait){.object = object, .offset = offset, .alloc = REPORT_NONE};
    }
    return &r->waits[slot->index];
}

static int note_place(struct report_wait *w, uint32_t code, uint64_t wait_ns)
{
    size_t i = 0;
    while (i < w->n_places && w->places[i].code != code)
        i++;
    if (i == w->n_places) {
        struct report_wait_place *grown = reallocarray(w->places, i + 1, sizeof *grown);
        if (!grown)
            return DSM_E_NOMEM;
        w->places = grown;
        grown[w->n_places++] = (struct report_wait_place){.code = code};
    }
    w->places[i].count++;
    w->places[i].wait_ns += wait_ns;
    return 0;
}

static int count_wait(struct report *r, struct index_table *waits, struct index_table *codes,
                      const struct report_event *e)
{
    struct report_wait *w = wait_of(r, waits, e);
    uint32_t code;
    if (!w || report_find_code(r, codes, e, &code) != 0)
        return DSM_E_NOMEM;
    w->alloc = has_name(w->object) ? e->alloc : REPORT_NONE;
    w->count++;
    w->wait_ns += e->value;
    if (e->value > w->longest_ns)
        w->longest_ns = e->value;
    return note_place(w, code, e->value);
}

static int by_time(const void *left, const void *right)
{
    const struct report_wait *a = left, *b = right;
    if (a->wait_ns != b->wait_ns)
        return a->wait_ns > b->wait_ns ? -1 : 1;
    if (a->object != b->object)
        return a->object < b->object ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static int by_place(const void *left, const void *right)
{
    const struct report_wait_place *a = left, *b = right;
    if (a->wait_ns != b->wait_ns)
        return a->wait_ns > b->wait_ns ? -1 : 1;
    return a->code < b->code ? -1 : a->code > b->code;
}

int report_count_waits(struct report *r, struct index_table *codes)
{
    struct index_table waits = {0};
    int error = 0;
    for (size_t i = 0; i < r->n_events && !error; i++)
        if (is_wait(&r->events[i]))
            error = count_wait(r, &waits, codes, &r->events[i]);
    free(waits.slots);
    for (size_t i = 0; i < r->n_waits && !error; i++)
        qsort(r->waits[i].places, r->waits[i].n_places, sizeof *r->waits[i].places, by_place);
    if (r->n_waits && !error)
        qsort(r->waits, r->n_waits, sizeof *r->waits, by_time);
    return error;
}

void report_name_wait(const struct report *r, const struct report_wait *w, char *out,
                      size_t out_bytes)
{
    char name[160] = "";
    if (has_name(w->object))
        report_name_offset(r, w->offset, w->alloc, name, sizeof name);
    dsm_format(out, out_bytes, "%s%s%s", dsm_profile_object_text(w->object), *name ? " " : "",
               name);
}
