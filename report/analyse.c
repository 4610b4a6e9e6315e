/* SPDX-License-Identifier: BSD-3-Clause */
/* analyse.c - from events to what they mean: who fights for which unit, with which code, when. */
#define _GNU_SOURCE
#include "report/analyse.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SHIFT  12
#define OFFSET_STEP 4 /* two ranks that fault within the same 4 bytes want the same data */
/* Ranks that meet at the same bytes in less than one of so many faults fight for different ones:
 * one of them has set up what the other uses. */
#define COMMON_SHARE 4

/* ---- times --------------------------------------------------------------------------------- */

static int by_time(const void *left, const void *right)
{
    const struct report_event *a = left, *b = right;
    return a->time_ns < b->time_ns ? -1 : a->time_ns > b->time_ns;
}

static uint64_t since(uint64_t time, uint64_t start)
{
    return time > start ? time - start : 0;
}

/* One scale for all hosts: by the wall clocks at the start. */
static void align_times(struct report *r)
{
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < r->n_ranks; i++)
        if (r->ranks[i].is_there && r->ranks[i].start_real_ns < first)
            first = r->ranks[i].start_real_ns;
    for (size_t i = 0; i < r->n_events; i++) {
        struct report_event *e = &r->events[i];
        struct report_rank *rank = &r->ranks[e->rank];
        bool is_wait = e->kind != DSM_PROFILE_LOST && e->kind != DSM_PROFILE_DOWNGRADED;
        uint64_t end = e->time_ns + (is_wait ? e->value : 0);
        if (!rank->has_ended && end > rank->end_ns)
            rank->end_ns = end;
        e->time_ns = since(e->time_ns, rank->start_ns) + (rank->start_real_ns - first);
    }
    for (uint32_t i = 0; i < r->n_ranks; i++) {
        const struct report_rank *rank = &r->ranks[i];
        uint64_t end = since(rank->end_ns, rank->start_ns) + (rank->start_real_ns - first);
        if (rank->is_there && end > r->span_ns)
            r->span_ns = end;
    }
    qsort(r->events, r->n_events, sizeof *r->events, by_time);
}

struct report_split report_split_of(const struct report *r, uint32_t number)
{
    const struct report_rank *rank = &r->ranks[number];
    struct report_split s = {
        .total = (double)since(rank->end_ns, rank->start_ns) / 1e9,
        .read = (double)rank->total_ns[DSM_PROFILE_READ] / 1e9,
        .write =
            (double)(rank->total_ns[DSM_PROFILE_WRITE] + rank->total_ns[DSM_PROFILE_UPGRADE]) / 1e9,
        .lock = (double)rank->total_ns[DSM_PROFILE_LOCK] / 1e9,
        .barrier = (double)rank->total_ns[DSM_PROFILE_BARRIER] / 1e9,
        .sync = (double)rank->total_ns[DSM_PROFILE_SYNC] / 1e9,
    };
    /* Several threads may wait at once: then nothing is left to call computing. */
    s.compute = s.total - s.read - s.write - s.lock - s.barrier - s.sync;
    if (s.compute < 0)
        s.compute = 0;
    return s;
}

/* ---- code ---------------------------------------------------------------------------------- */

static int path_index(struct report *r, const char *path, uint32_t *index_out)
{
    for (size_t i = 0; i < r->n_code_paths; i++) {
        if (strcmp(r->code_paths[i], path) == 0) {
            *index_out = (uint32_t)i;
            return 0;
        }
    }
    char **grown = reallocarray(r->code_paths, r->n_code_paths + 1, sizeof *grown);
    if (!grown)
        return DSM_E_NOMEM;
    r->code_paths = grown;
    if (!(grown[r->n_code_paths] = strdup(path)))
        return DSM_E_NOMEM;
    *index_out = (uint32_t)r->n_code_paths++;
    return 0;
}

/* Where an instruction lies in its file: the same for all ranks. */
static int place_code(struct report *r, const struct report_event *e, struct report_code *code)
{
    const struct report_rank *rank = &r->ranks[e->rank];
    *code = (struct report_code){.module = REPORT_NONE, .file_offset = e->ip, .ip = e->ip};
    for (size_t i = 0; i < rank->n_modules && e->ip; i++) {
        const struct report_module *m = &rank->modules[i];
        if (e->ip < m->start || e->ip >= m->end)
            continue;
        code->file_offset = e->ip - m->start + m->file_offset;
        return path_index(r, m->path, &code->module);
    }
    return 0;
}

int report_find_code(struct report *r, struct index_table *table, const struct report_event *e,
                     uint32_t *index_out)
{
    struct report_code code;
    if (place_code(r, e, &code) != 0)
        return DSM_E_NOMEM;
    struct index_slot *slot = report_index_of(table, code.module, code.file_offset, r->n_codes);
    if (!slot)
        return DSM_E_NOMEM;
    if (slot->index == r->n_codes) {
        struct report_code *grown = reallocarray(r->codes, r->n_codes + 1, sizeof *grown);
        if (!grown)
            return DSM_E_NOMEM;
        r->codes = grown;
        grown[r->n_codes++] = code;
    }
    *index_out = slot->index;
    return 0;
}

static const struct report *sorted_report; /* qsort has no argument to pass; one thread */

static int by_count(const void *left, const void *right)
{
    const struct report_code *a = &sorted_report->codes[*(const uint32_t *)left];
    const struct report_code *b = &sorted_report->codes[*(const uint32_t *)right];
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return a->file_offset < b->file_offset ? -1 : a->file_offset > b->file_offset;
}

size_t report_top_codes(const struct report *r, uint32_t *indices_out, size_t n)
{
    uint32_t *all = calloc(r->n_codes ? r->n_codes : 1, sizeof *all);
    if (!all)
        return 0;
    size_t n_faulting = 0; /* others only waited */
    for (size_t i = 0; i < r->n_codes; i++)
        if (r->codes[i].count)
            all[n_faulting++] = (uint32_t)i;
    sorted_report = r;
    qsort(all, n_faulting, sizeof *all, by_count);
    if (n > n_faulting)
        n = n_faulting;
    memcpy(indices_out, all, n * sizeof *all);
    free(all);
    return n;
}

/* ---- units --------------------------------------------------------------------------------- */

static struct report_user *user_of(struct report_unit *u, uint32_t rank)
{
    for (size_t i = 0; i < u->n_users; i++)
        if (u->users[i].rank == rank)
            return &u->users[i];
    struct report_user *grown = reallocarray(u->users, u->n_users + 1, sizeof *grown);
    if (!grown)
        return NULL;
    u->users = grown;
    grown[u->n_users] = (struct report_user){.rank = rank};
    return &grown[u->n_users++];
}

static int note_offset(struct report_user *user, uint32_t offset)
{
    size_t low = 0, high = user->n_offsets;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (user->offsets[middle].at < offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < user->n_offsets && user->offsets[low].at == offset) {
        user->offsets[low].faults++;
        return 0;
    }
    struct report_offset *grown = reallocarray(user->offsets, user->n_offsets + 1, sizeof *grown);
    if (!grown)
        return DSM_E_NOMEM;
    user->offsets = grown;
    memmove(grown + low + 1, grown + low, (user->n_offsets - low) * sizeof *grown);
    grown[low] = (struct report_offset){offset, 1};
    user->n_offsets++;
    return 0;
}

static int note_place(struct report_unit *u, uint32_t code, uint8_t kind)
{
    size_t i = 0;
    while (i < u->n_places && u->places[i].code != code)
        i++;
    if (i == u->n_places) {
        struct report_place *grown = reallocarray(u->places, u->n_places + 1, sizeof *grown);
        if (!grown)
            return DSM_E_NOMEM;
        u->places = grown;
        grown[u->n_places++] = (struct report_place){.code = code};
    }
    u->places[i].faults[kind]++;
    return 0;
}

static int count_fault(struct report *r, struct index_table *units, struct index_table *codes,
                       const struct report_event *e)
{
    uint64_t page = e->offset >> PAGE_SHIFT, first = page >> e->unit_log2 << e->unit_log2;
    struct index_slot *slot = report_index_of(units, first, e->unit_log2, r->n_units);
    if (!slot)
        return DSM_E_NOMEM;
    if (slot->index == r->n_units) {
        struct report_unit *grown = r->units;
        if ((r->n_units & (r->n_units - 1)) == 0)
            grown = reallocarray(r->units, r->n_units ? 2 * r->n_units : 1, sizeof *grown);
        if (!grown)
            return DSM_E_NOMEM;
        r->units = grown;
        grown[r->n_units++] = (struct report_unit){
            .first_page = first, .unit_log2 = e->unit_log2, .last_rank = REPORT_NONE};
    }
    struct report_unit *u = &r->units[slot->index];
    bool is_write = e->kind != DSM_PROFILE_READ;
    if (u->last_rank != REPORT_NONE && u->last_rank != e->rank && (is_write || u->last_was_write))
        u->bounces++;
    u->last_rank = e->rank;
    u->last_was_write = is_write;
    u->faults++;
    u->wait_ns += e->value;
    u->alloc = e->alloc;
    r->faults[e->kind]++;
    struct report_user *user = user_of(u, e->rank);
    uint32_t code;
    if (!user || report_find_code(r, codes, e, &code) != 0)
        return DSM_E_NOMEM;
    r->codes[code].count++;
    r->codes[code].wait_ns += e->value;
    user->faults[e->kind]++;
    user->wait_ns += e->value;
    uint32_t at = (uint32_t)(e->offset - (first << PAGE_SHIFT));
    int error = note_offset(user, at / OFFSET_STEP * OFFSET_STEP);
    return error ? error : note_place(u, code, e->kind);
}

/* Losses name a first page and a number of pages, of one unit or of several in a row. */
static int count_loss(struct report *r, struct index_table *units, const struct report_event *e)
{
    uint64_t page = e->offset >> PAGE_SHIFT, end = page + e->value;
    if (e->value > r->n_units) /* a range dropped at once: not fought for */
        return 0;
    while (page < end) {
        uint32_t log2 = 0;
        const struct index_slot *slot = NULL;
        for (; log2 <= 9 && units->n_slots; log2++) {
            slot = report_find_slot(units, page, log2);
            if (slot->index != REPORT_NONE)
                break;
        }
        if (slot && slot->index != REPORT_NONE) {
            struct report_user *user = user_of(&r->units[slot->index], e->rank);
            if (!user)
                return DSM_E_NOMEM;
            user->losses++;
            page += 1ull << log2;
        } else {
            page++;
        }
    }
    return 0;
}

static uint64_t writes_of(const struct report_user *user)
{
    return user->faults[DSM_PROFILE_WRITE] + user->faults[DSM_PROFILE_UPGRADE];
}

/* Is what both fault at a fair part of what the one with fewer faults does? */
static bool is_for_the_same(const struct report_user *a, const struct report_user *b)
{
    uint64_t common = 0, of_a = a->faults[DSM_PROFILE_READ] + writes_of(a),
             of_b = b->faults[DSM_PROFILE_READ] + writes_of(b);
    for (size_t i = 0, j = 0; i < a->n_offsets && j < b->n_offsets;) {
        const struct report_offset *left = &a->offsets[i], *right = &b->offsets[j];
        if (left->at == right->at)
            common += left->faults < right->faults ? left->faults : right->faults;
        i += left->at <= right->at;
        j += right->at <= left->at;
    }
    return COMMON_SHARE * common >= (of_a < of_b ? of_a : of_b);
}

/* False sharing: a writer and another rank meet at the unit, and none of them at the same bytes but
 * for a few times. */
static enum report_sharing judge(const struct report_unit *u)
{
    size_t n_faulting = 0;
    bool has_conflict = false, has_common = false;
    for (size_t i = 0; i < u->n_users; i++) {
        n_faulting += u->users[i].n_offsets > 0;
        for (size_t j = 0; j < i; j++) {
            if (!writes_of(&u->users[i]) && !writes_of(&u->users[j]))
                continue;
            if (!u->users[i].n_offsets || !u->users[j].n_offsets)
                continue;
            has_conflict = true;
            has_common |= is_for_the_same(&u->users[i], &u->users[j]);
        }
    }
    if (!has_conflict || u->bounces == 0)
        return n_faulting > 1 ? REPORT_READ_SHARED : REPORT_NOT_SHARED;
    return has_common ? REPORT_TRUE_SHARED : REPORT_FALSE_SHARED;
}

const char *report_sharing_text(enum report_sharing sharing)
{
    switch (sharing) {
    case REPORT_NOT_SHARED:
        return "one rank";
    case REPORT_READ_SHARED:
        return "not fought for";
    case REPORT_TRUE_SHARED:
        return "true sharing";
    case REPORT_FALSE_SHARED:
        return "false sharing";
    }
    return "";
}

static int by_faults(const void *left, const void *right)
{
    const struct report_unit *a = left, *b = right;
    if (a->faults != b->faults)
        return a->faults > b->faults ? -1 : 1;
    return a->first_page < b->first_page ? -1 : a->first_page > b->first_page;
}

static int by_user_rank(const void *left, const void *right)
{
    const struct report_user *a = left, *b = right;
    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

static uint64_t place_faults(const struct report_place *p)
{
    return p->faults[DSM_PROFILE_READ] + p->faults[DSM_PROFILE_WRITE] +
           p->faults[DSM_PROFILE_UPGRADE];
}

static int by_place(const void *left, const void *right)
{
    const struct report_place *a = left, *b = right;
    uint64_t m = place_faults(a), n = place_faults(b);
    if (m != n)
        return m > n ? -1 : 1;
    return a->code < b->code ? -1 : a->code > b->code;
}

static bool is_fault(const struct report_event *e)
{
    return e->kind >= DSM_PROFILE_READ && e->kind <= DSM_PROFILE_UPGRADE;
}

static int count_units(struct report *r, struct index_table *codes)
{
    struct index_table units = {0};
    int error = 0;
    for (size_t i = 0; i < r->n_events && !error; i++)
        if (is_fault(&r->events[i]))
            error = count_fault(r, &units, codes, &r->events[i]);
    for (size_t i = 0; i < r->n_events && !error; i++)
        if (r->events[i].kind == DSM_PROFILE_LOST || r->events[i].kind == DSM_PROFILE_DOWNGRADED)
            error = count_loss(r, &units, &r->events[i]);
    free(units.slots);
    for (size_t i = 0; i < r->n_units && !error; i++) {
        struct report_unit *u = &r->units[i];
        u->sharing = judge(u);
        qsort(u->users, u->n_users, sizeof *u->users, by_user_rank);
        if (u->n_places)
            qsort(u->places, u->n_places, sizeof *u->places, by_place);
    }
    return error;
}

/* ---- the heat map -------------------------------------------------------------------------- */

static int by_page(const void *left, const void *right)
{
    const struct report_unit *a = left, *b = right;
    return a->first_page < b->first_page ? -1 : a->first_page > b->first_page;
}

static uint32_t row_of(const struct report *r, uint64_t page)
{
    uint32_t low = 0, high = r->n_heat_rows;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (r->heat_first[middle] <= page)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Rows hold equally many of the units that were faulted at; r->units is in order of pages. */
static void fill_heat(struct report *r)
{
    r->n_heat_rows = r->n_units < REPORT_HEAT_ROWS ? (uint32_t)r->n_units : REPORT_HEAT_ROWS;
    for (uint32_t row = 0; row < r->n_heat_rows; row++) {
        const struct report_unit *u = &r->units[r->n_units * row / r->n_heat_rows];
        r->heat_first[row] = u->first_page;
        r->heat_alloc[row] = u->alloc;
    }
    for (size_t i = 0; i < r->n_events; i++) {
        const struct report_event *e = &r->events[i];
        if (!is_fault(e))
            continue;
        double share = r->span_ns ? (double)e->time_ns / (double)r->span_ns : 0;
        /* A forged file may have events far behind its end. */
        uint32_t column =
            share < 1 ? (uint32_t)(share * REPORT_HEAT_COLUMNS) : REPORT_HEAT_COLUMNS - 1;
        uint32_t row = row_of(r, e->offset >> PAGE_SHIFT);
        if (++r->heat[row][column] > r->heat_max)
            r->heat_max = r->heat[row][column];
    }
}

/* ---- all of it ----------------------------------------------------------------------------- */

static void find_allocs(struct report *r)
{
    /* The last that was told and holds it: addresses are used again after dsm_free. */
    for (size_t i = 0; i < r->n_events; i++) {
        struct report_event *e = &r->events[i];
        for (size_t j = r->n_allocs; j-- > 0 && e->alloc == REPORT_NONE;)
            if (e->offset - r->allocs[j].offset < r->allocs[j].len_bytes)
                e->alloc = (uint32_t)j;
    }
}

void report_name_offset(const struct report *r, uint64_t offset, uint32_t alloc, char *out,
                        size_t out_bytes)
{
    if (alloc == REPORT_NONE)
        dsm_format(out, out_bytes, "dsm_malloc, region + 0x%lx", (unsigned long)offset);
    else if (r->allocs[alloc].name[0])
        dsm_format(out, out_bytes, "%s + 0x%lx", r->allocs[alloc].name,
                   (unsigned long)(offset - r->allocs[alloc].offset));
    else
        dsm_format(out, out_bytes, "dsm_alloc(%lu) + 0x%lx",
                   (unsigned long)r->allocs[alloc].len_bytes,
                   (unsigned long)(offset - r->allocs[alloc].offset));
}

void report_name_page(const struct report *r, uint64_t page, uint32_t alloc, char *out,
                      size_t out_bytes)
{
    report_name_offset(r, page << PAGE_SHIFT, alloc, out, out_bytes);
}

int report_analyse(struct report *r)
{
    if (r->n_events)
        align_times(r);
    else
        r->span_ns = 0;
    find_allocs(r);
    struct index_table codes = {0};
    int error = count_units(r, &codes);
    if (!error)
        error = report_count_waits(r, &codes);
    free(codes.slots);
    if (error)
        return error;
    for (uint32_t i = 0; i < r->n_ranks; i++) {
        r->dropped += r->ranks[i].dropped;
        for (uint32_t j = 0; j < r->n_ranks && r->ranks[i].is_there; j++)
            r->moved_bytes += r->ranks[i].received[j];
    }
    if (r->n_units) {
        qsort(r->units, r->n_units, sizeof *r->units, by_page);
        fill_heat(r);
        qsort(r->units, r->n_units, sizeof *r->units, by_faults);
    }
    return 0;
}

bool report_has_counters(const struct report *r)
{
    for (uint32_t i = 0; i < r->n_ranks; i++)
        if (r->ranks[i].n_counters > 0)
            return true;
    return false;
}

bool report_has_counter(const struct report *r, enum dsm_profile_counter counter)
{
    for (uint32_t i = 0; i < r->n_ranks; i++)
        if (r->ranks[i].n_counters > (size_t)counter && r->ranks[i].counters[counter] > 0)
            return true;
    return false;
}
