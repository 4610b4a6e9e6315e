/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ahead.c - fetching ahead by itself: what a thread's faults so far say about its next ones.
 *
 * Per allocation a thread's last fault and the steps between its last faults are remembered. When
 * most of these steps are the same (a majority among the last few, so that a stray fault does not
 * hide the trend: Leap, Al Maruf and Chowdhury, ATC 2020), a stream begins: units along that step
 * are asked for like a hint's. Random access has no trend and asks for nothing.
 *
 * Whether that pays is told by a marker: the unit in the middle of what was asked for is not mapped
 * when it comes. Its trap is local and cheap beside all the faults saved; it says that the thread
 * came so far, and the next units, twice as many, are asked for while half of the last ones are
 * still ahead of it. A marker that is taken away untouched says the opposite: then there was no
 * use, and others were disturbed. Parts of the region where that happens are left alone for longer
 * and longer, until it pays again; so units that go to and fro are not fetched ahead.
 *
 * Only for reading: to be wrong about that costs the owner an upgrade at most.
 */
#include "core/state.h"

#include <string.h>

#define FIRST_UNITS    4u
#define ADVISED_UNITS  8u /* the first of what the program said it will read */
#define MAX_UNITS      128u
#define LEVEL_OFF      3u /* wasted so many times more often than used: no streams begin */
#define LEVEL_MAX      6u
#define SKIPS_AT_LEVEL 32u /* streams not begun until the level goes down by one */

/* ---- where a trend can go on to */

/* The allocation around the page. Outside of any, the stripe: neighbours belong to others. */
static struct dsm_bounds bounds_of(const struct dsm_core *core, dsm_page_t page)
{
    const struct dsm_placement_entry *entry = dsm_placement_find(core->config.placement, page);
    struct dsm_bounds b = {page - page % DSM_HEAP_STRIPE_PAGES, 0};

    if (entry)
        b.first = entry->first;
    b.end = b.first + (entry ? entry->n_pages : DSM_HEAP_STRIPE_PAGES);
    if (b.end > core->config.n_pages)
        b.end = core->config.n_pages;
    return b;
}

/* How many steps from `next` on stay inside. */
static uint32_t steps_inside(const struct dsm_bounds *b, dsm_page_t next, int64_t step_pages,
                             uint32_t most)
{
    uint64_t room;

    if (next < b->first || next >= b->end)
        return 0;
    room = step_pages > 0 ? (b->end - 1 - next) / (uint64_t)step_pages
                          : (next - b->first) / (uint64_t)-step_pages;
    return room + 1 < most ? (uint32_t)room + 1 : most;
}

/* ---- where it did not pay */

static struct dsm_ahead_area *area_of(struct dsm_core *core, dsm_page_t page)
{
    uint64_t hash = (page / DSM_UNIT_MAX_PAGES) * 0x9e3779b97f4a7c15u;

    return &core->ahead_areas[hash >> 32 & (DSM_AHEAD_AREAS - 1)];
}

static bool may_begin(struct dsm_core *core, dsm_page_t page)
{
    struct dsm_ahead_area *area = area_of(core, page);

    if (area->level < LEVEL_OFF)
        return true;
    if (++area->n_skipped == SKIPS_AT_LEVEL) {
        area->n_skipped = 0;
        area->level--;
    }
    return false;
}

static void count_use(struct dsm_core *core, struct dsm_copy *copy, bool is_used)
{
    struct dsm_ahead_area *area = area_of(core, copy->first);
    uint64_t n_pages = (uint64_t)copy->n_ahead * copy->n_pages;

    copy->flags &= (uint16_t)~DSM_COPY_F_MARKER;
    copy->n_ahead = 0;
    if (is_used) {
        core->counters.ahead_used += n_pages;
        if (area->level > 0)
            area->level--;
    } else {
        core->counters.ahead_wasted += n_pages;
        if (area->level < LEVEL_MAX)
            area->level++;
    }
}

/* ---- streams */

static struct dsm_stream *stream_at(struct dsm_core *core, dsm_page_t page, bool is_marker)
{
    uint32_t i;

    for (i = 0; i < DSM_STREAMS; i++) {
        struct dsm_stream *stream = &core->streams[i];

        if (stream->n_units > 0 && (is_marker ? stream->marker : stream->next) == page)
            return stream;
    }
    return NULL;
}

static uint32_t most_units(const struct dsm_core *core, uint32_t unit_pages)
{
    uint64_t n = core->config.ahead_bytes / ((uint64_t)unit_pages * DSM_PAGE_BYTES);

    return n > MAX_UNITS ? MAX_UNITS : n > 0 ? (uint32_t)n : 1;
}

static void mark(struct dsm_core *core, const struct dsm_stream *stream, uint32_t n_units)
{
    struct dsm_unit unit = dsm_placement_unit(core->config.placement, stream->marker);
    struct dsm_copy *copy;

    if (unit.first != stream->marker || unit.n_pages > core->config.n_pages - unit.first)
        return;
    copy = dsm_copy_get(core, &unit);
    if (copy->state != DSM_COPY_ABSENT || copy->pending || copy->n_effects > 0)
        return;
    copy->flags |= DSM_COPY_F_MARKER;
    copy->n_ahead = (uint8_t)n_units;
}

/* Asks for the next units of the stream, or ends it. */
static void ask_on(struct dsm_step *s, struct dsm_stream *stream, uint32_t unit_pages)
{
    struct dsm_core *core = s->core;
    uint32_t n = steps_inside(&stream->bounds, stream->next, stream->step_pages, stream->n_units);
    bool is_run = stream->step_pages == unit_pages;

    if (n == 0 ||
        dsm_is_dead(core, dsm_placement_unit(core->config.placement, stream->next).home)) {
        memset(stream, 0, sizeof *stream);
        return;
    }
    stream->marker = stream->next + (uint64_t)(stream->step_pages * (int64_t)(n / 2));
    if (n > 1)
        mark(core, stream, n);
    core->counters.ahead_asked += (uint64_t)n * unit_pages;
    dsm_prefetch_put(core, (struct dsm_hint){.next = stream->next,
                                             .left_pages = (uint64_t)n * unit_pages,
                                             .step_pages = is_run ? 0 : stream->step_pages,
                                             .deadline_ns = DSM_TIME_NONE,
                                             .access = DSM_ACCESS_READ});
    stream->next += (uint64_t)(stream->step_pages * (int64_t)n);
    n = most_units(core, unit_pages);
    stream->n_units = 2 * stream->n_units < n ? 2 * stream->n_units : n;
}

static void begin(struct dsm_step *s, const struct dsm_copy *copy, int64_t step_pages,
                  uint32_t n_units)
{
    struct dsm_core *core = s->core;
    uint32_t most = most_units(core, copy->n_pages);
    struct dsm_stream *stream = &core->streams[core->next_stream++ % DSM_STREAMS];

    *stream = (struct dsm_stream){.bounds = bounds_of(core, copy->first),
                                  .next = copy->first + (uint64_t)step_pages,
                                  .marker = DSM_PAGE_NONE,
                                  .step_pages = step_pages,
                                  .n_units = most < n_units ? most : n_units};
    ask_on(s, stream, copy->n_pages);
}

/* ---- a thread's faults */

static struct dsm_core_trail *trail_of(const struct dsm_core *core, struct dsm_core_thread *thread,
                                       dsm_page_t page)
{
    dsm_page_t area = bounds_of(core, page).first + 1;
    struct dsm_core_trail *trail;
    uint32_t i;

    for (i = 0; i < DSM_THREAD_TRAILS; i++)
        if (thread->trails[i].area == area)
            return &thread->trails[i];
    trail = &thread->trails[thread->next_trail++ % DSM_THREAD_TRAILS];
    *trail = (struct dsm_core_trail){.area = area, .last = page};
    return trail;
}

/* The step that most of the last ones were; 0: there is none. */
static int64_t trend(const struct dsm_core_trail *trail)
{
    uint32_t i, k;

    for (i = 0; i < 2; i++) {
        uint32_t n = 0;

        for (k = 0; k < DSM_TRAIL_STEPS; k++)
            n += trail->steps[k] == trail->steps[i];
        if (2 * n > DSM_TRAIL_STEPS && trail->steps[i] != 0)
            return trail->steps[i];
    }
    return 0;
}

static void follow(struct dsm_step *s, const struct dsm_copy *copy, struct dsm_core_thread *thread)
{
    struct dsm_core_trail *trail = trail_of(s->core, thread, copy->first);
    int64_t step = (int64_t)(copy->first - trail->last);
    enum dsm_advice_kind advice = dsm_advice_of(s->core, copy->first);

    if (dsm_advice_is_shared(advice)) { /* no need to see a trend */
        if (may_begin(s->core, copy->first))
            begin(s, copy, copy->n_pages,
                  advice == DSM_ADVICE_KIND_WRITE_ONCE ? MAX_UNITS : ADVISED_UNITS);
        return;
    }
    if (step == 0)
        return;
    memmove(&trail->steps[1], &trail->steps[0], (DSM_TRAIL_STEPS - 1) * sizeof trail->steps[0]);
    trail->steps[0] = step;
    trail->last = copy->first;
    step = trend(trail);
    if (step != 0 && may_begin(s->core, copy->first))
        begin(s, copy, step, FIRST_UNITS);
}

void dsm_ahead_fault(struct dsm_step *s, struct dsm_copy *copy, uint8_t access,
                     struct dsm_core_thread *thread)
{
    struct dsm_core *core = s->core;
    bool is_marker = copy->flags & DSM_COPY_F_MARKER;
    struct dsm_stream *stream;

    if (core->config.ahead_bytes == 0 || !thread)
        return;
    if (is_marker)
        count_use(core, copy, true);
    else if (access != DSM_ACCESS_READ || copy->state != DSM_COPY_ABSENT || copy->pending)
        return;
    stream = stream_at(core, copy->first, is_marker);
    if (stream && !is_marker) /* it has run past all that was asked for */
        stream->next += (uint64_t)stream->step_pages;
    if (stream)
        ask_on(s, stream, copy->n_pages);
    else if (!is_marker)
        follow(s, copy, thread);
}

void dsm_ahead_lose(struct dsm_core *core, struct dsm_copy *copy)
{
    if (copy->flags & DSM_COPY_F_MARKER)
        count_use(core, copy, false);
}
