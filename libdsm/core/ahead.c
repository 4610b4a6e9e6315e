/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ahead.c - fetching ahead by itself: what a thread's faults so far say about its next ones.
 *
 * Per area (an allocation; in the heap, where allocations are not known here, AREA_PAGES of it) and
 * access a thread's last fault and the steps between its last faults are remembered. When the last
 * steps are equal, or repeat in twos, threes or fours (rows of a matrix of which a part is used,
 * two arrays in turn), a stream begins: units along these steps are asked for like a hint's. Random
 * access has no pattern and asks for nothing.
 *
 * Whether that pays is told by a marker: a unit in the middle of what was asked for is not mapped
 * when it comes. Its trap is local and cheap beside all the faults saved; it says that the thread
 * came so far, and the next units, more of them, are asked for while half of the last ones are
 * still ahead of it. A marker that is taken away untouched says the opposite: then there was no
 * use, and others were disturbed. The stream ends, and parts of the region where that happens are
 * left alone for longer and longer, until it pays again; so units that go to and fro are not
 * fetched ahead. In an allocation what is asked for doubles each time; where it is not known how
 * far the pattern goes (in the heap, along rows, for writing) it stays a share of what was passed.
 *
 * In the heap a stream goes to the end of its stripe at first: what is behind may be another
 * rank's. Where the thread itself crosses that border along the stream, it goes on for as far
 * again, then for twice as far, so that of what is nobody's business no more is asked for than was
 * used.
 *
 * For reading to be wrong costs the owner an upgrade at most. For writing it takes copies away from
 * others, so that begins later and smaller, and asks for what this rank owns and others have read:
 * the one who writes it is most likely the one who wrote it. Of other units it asks for a few at
 * once, later still, and for none that this rank has lost to a writer. The marker's state allows
 * writing, but it is mapped read-only, or not at all: its first write tells.
 */
#include "core/state.h"

#include <string.h>

#define FIRST_UNITS      4u
#define FIRST_CAREFUL    2u
#define ADVISED_UNITS    8u /* the first of what the program said it will read */
#define MANY_UNITS       64u
#define MAX_UNITS        128u
#define MAX_WRITES       64u
#define MAX_OTHER_WRITES 4u  /* of units that others own, or nobody yet */
#define OTHERS_AFTER     16u /* units along the stream: before it asks for none of these */
#define SHARE_OF_PASSED  4u  /* where the end is not known, of what the stream has passed */
#define EQUAL_STEPS      3u  /* in a row that make a trend; twice a longer pattern does */
#define EQUAL_WRITES     4u
#define AREA_PAGES       256u /* of the heap: arrays walked through in turn are told apart */
#define LEVEL_OFF        2u   /* wasted and not used again so often: no streams begin */
#define LEVEL_OFF_WRITES 1u
#define LEVEL_WASTED     2u /* one time wasted is worth two used */
#define LEVEL_MAX        6u
#define SKIPS_AT_LEVEL   32u /* streams not begun until the level goes down by one */

/* ---- where a pattern can go on to */

/* The allocation around the page; else the heap between two of them. */
static struct dsm_bounds limits_of(const struct dsm_core *core, dsm_page_t page)
{
    const struct dsm_placement_entry *entry = dsm_placement_find(core->config.placement, page);
    struct dsm_bounds b;

    if (entry)
        b = (struct dsm_bounds){entry->first, entry->first + entry->n_pages};
    else
        dsm_placement_gap(core->config.placement, page, &b.first, &b.end);
    if (b.end > core->config.n_pages)
        b.end = core->config.n_pages;
    return b;
}

static bool is_inside(const struct dsm_bounds *b, dsm_page_t page)
{
    return page >= b->first && page < b->end;
}

/* As far as `reach` from the page both ways, and what they were, within the limits. */
static void widen(struct dsm_stream *stream, dsm_page_t page, uint64_t reach_pages)
{
    dsm_page_t first = page > reach_pages ? page - reach_pages : 0, end = page + reach_pages;

    if (first < stream->bounds.first)
        stream->bounds.first = first > stream->limits.first ? first : stream->limits.first;
    if (end > stream->bounds.end)
        stream->bounds.end = end < stream->limits.end ? end : stream->limits.end;
}

/* A stream that begins at the page, after `walked` pages along its pattern. */
static void set_bounds(const struct dsm_core *core, struct dsm_stream *stream, dsm_page_t page,
                       uint64_t walked_pages)
{
    dsm_page_t stripe = page - page % DSM_HEAP_STRIPE_PAGES;

    stream->limits = stream->bounds = limits_of(core, page);
    if (dsm_placement_find(core->config.placement, page))
        return;
    stream->bounds = (struct dsm_bounds){page, page + 1};
    widen(stream, stripe, 0);
    widen(stream, stripe + DSM_HEAP_STRIPE_PAGES, 0);
    stream->reach_pages = DSM_HEAP_STRIPE_PAGES;
    if (walked_pages >= DSM_HEAP_STRIPE_PAGES) /* it has crossed a border already */
        widen(stream, page, walked_pages);
}

/* ---- where it did not pay */

static struct dsm_ahead_area *area_of(struct dsm_core *core, dsm_page_t page, uint8_t access)
{
    uint64_t hash = (page / DSM_UNIT_MAX_PAGES) * 0x9e3779b97f4a7c15u;

    return &core->ahead_areas[access == DSM_ACCESS_WRITE][hash >> 32 & (DSM_AHEAD_AREAS - 1)];
}

static bool may_begin(struct dsm_core *core, dsm_page_t page, uint8_t access)
{
    struct dsm_ahead_area *area = area_of(core, page, access);

    if (area->level < (access == DSM_ACCESS_WRITE ? LEVEL_OFF_WRITES : LEVEL_OFF))
        return true;
    if (++area->n_skipped == SKIPS_AT_LEVEL) {
        area->n_skipped = 0;
        area->level--;
    }
    return false;
}

void dsm_ahead_unmark(struct dsm_copy *copy)
{
    copy->flags &= (uint16_t) ~(DSM_COPY_F_MARKER | DSM_COPY_F_FOR_WRITE);
    copy->n_ahead = 0;
}

static void count_use(struct dsm_core *core, struct dsm_copy *copy, bool is_used)
{
    bool is_write = dsm_copy_is_write_marker(copy);
    struct dsm_ahead_area *area =
        area_of(core, copy->first, is_write ? DSM_ACCESS_WRITE : DSM_ACCESS_READ);
    uint64_t n_pages = (uint64_t)copy->n_ahead * copy->n_pages;

    dsm_ahead_unmark(copy);
    if (is_used) {
        *(is_write ? &core->counters.ahead_write_used : &core->counters.ahead_used) += n_pages;
        if (area->level > 0)
            area->level--;
    } else {
        *(is_write ? &core->counters.ahead_write_wasted : &core->counters.ahead_wasted) += n_pages;
        area->level = (uint8_t)(area->level < LEVEL_MAX - LEVEL_WASTED ? area->level + LEVEL_WASTED
                                                                       : LEVEL_MAX);
    }
}

/* ---- streams */

static struct dsm_stream *stream_at(struct dsm_core *core, dsm_page_t page, bool is_marker,
                                    uint8_t access)
{
    uint32_t i;

    for (i = 0; i < DSM_STREAMS; i++) {
        struct dsm_stream *stream = &core->streams[i];

        if (stream->n_units > 0 && stream->access == access &&
            (is_marker ? stream->marker : stream->next) == page)
            return stream;
    }
    return NULL;
}

/* Its end is not known, and what is asked for behind it is wasted. */
static bool is_careful(const struct dsm_stream *stream)
{
    return stream->access == DSM_ACCESS_WRITE || stream->reach_pages > 0 ||
           stream->pattern.n_steps > 1;
}

static uint32_t most_units(const struct dsm_core *core, const struct dsm_stream *stream,
                           uint32_t unit_pages)
{
    uint64_t n = core->config.ahead_bytes / ((uint64_t)unit_pages * DSM_PAGE_BYTES);
    uint64_t most = stream->access == DSM_ACCESS_READ ? MAX_UNITS
                    : stream->is_own                  ? MAX_WRITES
                                                      : MAX_OTHER_WRITES;
    uint64_t share = stream->n_passed / SHARE_OF_PASSED;

    if (is_careful(stream) && most > share)
        most = share > FIRST_CAREFUL ? share : FIRST_CAREFUL;
    return n > most ? (uint32_t)most : n > 0 ? (uint32_t)n : 1;
}

static struct dsm_hint hint_of(const struct dsm_stream *stream)
{
    return (struct dsm_hint){.next = stream->next,
                             .pattern = stream->pattern,
                             .deadline_ns = DSM_TIME_NONE,
                             .access = stream->access,
                             .kind = stream->is_own || stream->n_passed < OTHERS_AFTER
                                         ? DSM_HINT_AHEAD_OWN
                                         : DSM_HINT_AHEAD};
}

void dsm_ahead_mark(struct dsm_core *core, dsm_page_t first, uint8_t access, uint32_t n_units)
{
    struct dsm_unit unit = dsm_placement_unit(core->config.placement, first);
    struct dsm_copy *copy = dsm_copy_get(core, &unit);

    dsm_ahead_unmark(copy);
    copy->flags |= DSM_COPY_F_MARKER;
    if (access == DSM_ACCESS_WRITE)
        copy->flags |= DSM_COPY_F_FOR_WRITE;
    copy->n_ahead = (uint8_t)n_units;
}

/* Of the n units asked for next the marker is the first from the middle on that will be asked for
 * (of many from the quarter on: so long a part takes longer to come than a round trip), or the last
 * before. Returns how many will be. */
static uint32_t mark_one(struct dsm_core *core, struct dsm_stream *stream, uint32_t unit_pages,
                         uint32_t n)
{
    struct dsm_hint hint = hint_of(stream);
    struct dsm_pattern pattern = stream->pattern;
    dsm_page_t page = stream->next;
    uint32_t place = n < MANY_UNITS ? n / 2 : n / 4, i, marker = 0, n_wanted = 0;

    stream->marker = DSM_PAGE_NONE;
    for (i = 0; i < n; i++) {
        struct dsm_unit unit = dsm_placement_unit(core->config.placement, page);

        if (unit.first == page && dsm_prefetch_wants(core, &unit, &hint)) {
            if (n_wanted == 0 || marker < place) {
                marker = i;
                stream->marker = page;
            }
            n_wanted++;
        }
        dsm_pattern_step(&pattern, &page, unit_pages);
    }
    if (n_wanted > 1)
        dsm_ahead_mark(core, stream->marker, stream->access, n_wanted);
    else
        stream->marker = DSM_PAGE_NONE;
    return n_wanted;
}

/* How many units from `next` on are inside, and where the stream is behind them. */
static uint32_t units_inside(const struct dsm_stream *stream, uint32_t unit_pages,
                             struct dsm_pattern *pattern_out, dsm_page_t *next_out)
{
    uint32_t n = 0;

    *pattern_out = stream->pattern;
    *next_out = stream->next;
    while (n < stream->n_units && is_inside(&stream->bounds, *next_out)) {
        dsm_pattern_step(pattern_out, next_out, unit_pages);
        n++;
    }
    return n;
}

static void end(struct dsm_stream *stream)
{
    memset(stream, 0, sizeof *stream);
}

/* Asks for the next units of the stream, or ends it. */
static void ask_on(struct dsm_step *s, struct dsm_stream *stream, uint32_t unit_pages)
{
    struct dsm_core *core = s->core;
    struct dsm_hint hint = hint_of(stream);
    struct dsm_pattern pattern;
    dsm_page_t next;
    uint32_t n = units_inside(stream, unit_pages, &pattern, &next);
    uint64_t *asked = stream->access == DSM_ACCESS_WRITE ? &core->counters.ahead_write_asked
                                                         : &core->counters.ahead_asked;

    if (!is_inside(&stream->limits, stream->next) ||
        dsm_is_dead(core, dsm_placement_unit(core->config.placement, stream->next).home)) {
        end(stream);
        return;
    }
    if (n == 0) { /* at a border in the heap: it goes on if the thread crosses it */
        stream->marker = DSM_PAGE_NONE;
        return;
    }
    *asked += (uint64_t)mark_one(core, stream, unit_pages, n) * unit_pages;
    hint.left_pages = (uint64_t)n * unit_pages;
    dsm_prefetch_put(core, hint);
    stream->next = next;
    stream->pattern = pattern;
    stream->n_passed += n;
    n = most_units(core, stream, unit_pages);
    stream->n_units = 2 * stream->n_units < n ? 2 * stream->n_units : n;
}

static void begin(struct dsm_step *s, const struct dsm_copy *copy, uint8_t access,
                  const struct dsm_pattern *pattern, uint32_t n_units, uint64_t walked_pages)
{
    struct dsm_core *core = s->core;
    struct dsm_stream *stream = &core->streams[core->next_stream++ % DSM_STREAMS];
    uint32_t most;

    *stream = (struct dsm_stream){.next = copy->first,
                                  .marker = DSM_PAGE_NONE,
                                  .pattern = *pattern,
                                  .access = access,
                                  .is_own = access == DSM_ACCESS_WRITE &&
                                            copy->state == DSM_COPY_OWNED_READ};
    set_bounds(core, stream, copy->first, walked_pages);
    most = most_units(core, stream, copy->n_pages);
    stream->n_units = most < n_units ? most : n_units;
    dsm_pattern_step(&stream->pattern, &stream->next, copy->n_pages);
    ask_on(s, stream, copy->n_pages);
}

/* The thread went where the stream goes, past all that was asked for. */
static void catch_up(struct dsm_step *s, struct dsm_stream *stream, const struct dsm_copy *copy)
{
    if (stream->reach_pages > 0 && !is_inside(&stream->bounds, copy->first)) {
        widen(stream, copy->first, stream->reach_pages);
        stream->reach_pages *= 2;
    }
    if (stream->access == DSM_ACCESS_WRITE)
        stream->is_own = copy->state == DSM_COPY_OWNED_READ;
    dsm_pattern_step(&stream->pattern, &stream->next, copy->n_pages);
    stream->n_passed++;
    ask_on(s, stream, copy->n_pages);
}

/* ---- a thread's faults */

static struct dsm_core_trail *trail_of(const struct dsm_core *core, struct dsm_core_thread *thread,
                                       dsm_page_t page, uint8_t access)
{
    const struct dsm_placement_entry *entry = dsm_placement_find(core->config.placement, page);
    dsm_page_t area = (entry ? entry->first : page - page % AREA_PAGES) + 1;
    struct dsm_core_trail *trail;
    uint32_t i;

    for (i = 0; i < DSM_THREAD_TRAILS; i++)
        if (thread->trails[i].area == area && thread->trails[i].access == access)
            return &thread->trails[i];
    trail = &thread->trails[thread->next_trail++ % DSM_THREAD_TRAILS];
    *trail = (struct dsm_core_trail){.area = area, .last = page, .access = access};
    return trail;
}

/* Whether the last n steps are there and repeat after `period`. */
static bool repeats(const struct dsm_core_trail *trail, uint32_t period, uint32_t n)
{
    uint32_t i;

    for (i = 0; i < n; i++)
        if (trail->steps[i] == 0 || (i >= period && trail->steps[i] != trail->steps[i - period]))
            return false;
    return true;
}

/* How the last steps go on; false: there is no pattern. walked_out: pages along it so far. */
static bool find_pattern(const struct dsm_core_trail *trail, uint32_t unit_pages,
                         struct dsm_pattern *pattern_out, uint64_t *walked_out)
{
    uint32_t n_equal = trail->access == DSM_ACCESS_WRITE ? EQUAL_WRITES : EQUAL_STEPS, period, i;
    int64_t sum = 0;

    for (period = 1; period <= DSM_PATTERN_STEPS; period++)
        if (repeats(trail, period, period == 1 ? n_equal : 2 * period))
            break;
    if (period > DSM_PATTERN_STEPS)
        return false;
    *pattern_out = (struct dsm_pattern){.n_steps = period};
    for (i = 0; i < period; i++) {
        pattern_out->step_pages[i] = trail->steps[period - 1 - i];
        sum += trail->steps[i];
    }
    *walked_out = (uint64_t)(sum < 0 ? -sum : sum) * (period == 1 ? n_equal : 2);
    if (period == 1 && sum == unit_pages)
        pattern_out->n_steps = 0;
    return sum != 0;
}
_Static_assert(2 * DSM_PATTERN_STEPS <= DSM_TRAIL_STEPS, "a pattern is seen twice");

static void follow(struct dsm_step *s, const struct dsm_copy *copy, uint8_t access,
                   struct dsm_core_thread *thread)
{
    struct dsm_core_trail *trail = trail_of(s->core, thread, copy->first, access);
    int64_t step = (int64_t)(copy->first - trail->last);
    enum dsm_advice_kind advice = dsm_advice_of(s->core, copy->first);
    struct dsm_pattern pattern = {0};
    uint64_t walked_pages = 0;

    if (dsm_advice_is_shared(advice)) { /* no need to see a pattern */
        if (access == DSM_ACCESS_READ && may_begin(s->core, copy->first, access))
            begin(s, copy, access, &pattern,
                  advice == DSM_ADVICE_KIND_WRITE_ONCE ? MAX_UNITS : ADVISED_UNITS, 0);
        return;
    }
    if (step == 0)
        return;
    memmove(&trail->steps[1], &trail->steps[0], (DSM_TRAIL_STEPS - 1) * sizeof trail->steps[0]);
    trail->steps[0] = step;
    trail->last = copy->first;
    if (find_pattern(trail, copy->n_pages, &pattern, &walked_pages) &&
        may_begin(s->core, copy->first, access))
        begin(s, copy, access, &pattern, access == DSM_ACCESS_WRITE ? FIRST_CAREFUL : FIRST_UNITS,
              walked_pages);
}

/* The thread came to what tells that fetching ahead paid. */
static void use_marker(struct dsm_step *s, struct dsm_copy *copy)
{
    uint8_t access = dsm_copy_is_write_marker(copy) ? DSM_ACCESS_WRITE : DSM_ACCESS_READ;
    struct dsm_stream *stream = stream_at(s->core, copy->first, true, access);

    count_use(s->core, copy, true);
    if (stream)
        ask_on(s, stream, copy->n_pages);
}

void dsm_ahead_fault(struct dsm_step *s, struct dsm_copy *copy, uint8_t access,
                     struct dsm_core_thread *thread)
{
    struct dsm_core *core = s->core;
    struct dsm_stream *stream;

    if (core->config.ahead_bytes == 0 || !thread)
        return;
    if (dsm_copy_is_read_marker(copy) ||
        (dsm_copy_is_write_marker(copy) && access == DSM_ACCESS_WRITE))
        use_marker(s, copy);
    else if (access == DSM_ACCESS_READ && dsm_copy_is_write_marker(copy))
        return;
    if (copy->pending || dsm_copy_allows(copy, access))
        return;
    stream = stream_at(core, copy->first, false, access);
    if (stream)
        catch_up(s, stream, copy);
    else
        follow(s, copy, access, thread);
}

void dsm_ahead_lose(struct dsm_core *core, struct dsm_copy *copy)
{
    uint8_t access = dsm_copy_is_write_marker(copy) ? DSM_ACCESS_WRITE : DSM_ACCESS_READ;
    struct dsm_stream *stream;

    if (!(copy->flags & DSM_COPY_F_MARKER))
        return;
    stream = stream_at(core, copy->first, true, access);
    if (stream)
        end(stream);
    count_use(core, copy, false);
}
