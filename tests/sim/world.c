/* SPDX-License-Identifier: BSD-3-Clause */
/* world.c - the simulated job's clock, its events in order of time, its checks and its transcript.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/rng.h"
#include "core/trace.h"
#include "tests/sim/world_impl.h"

void sim_config_init(struct sim_config *config, uint32_t n_ranks, uint64_t n_pages, uint64_t seed)
{
    *config = (struct sim_config){
        .n_ranks = n_ranks,
        .n_pages = n_pages,
        .seed = seed,
        .net = {2000, 30000},
        .effect = {100, 2000},
        .done = {0, 1000},
        .resume = {100, 6000},
        .think = {100, 20000},
        .payload = {0, 5000},
        .has_runs = seed % 2,
        .ahead_bytes = seed % 3 ? 0 : 64 << 10,
        .has_migration = seed % 4 != 3,
        .has_advice = seed % 5 < 2,
    };
    /* Jobs differ: on some the lanes are fast and the local effects slow. */
    if (seed % 3 == 1) {
        config->net = (struct sim_delay){500, 3000};
        config->effect = (struct sim_delay){100, 15000};
    }
    if (seed % 5 == 2)
        config->done = (struct sim_delay){0, 40000};
    if (seed % 4 == 1)
        config->payload = (struct sim_delay){0, 60000};
    if (seed % 7 == 3)
        config->resume = (struct sim_delay){100, 60000};
}

void sim_config_init_steady(struct sim_config *config, uint32_t n_ranks, uint64_t n_pages)
{
    *config = (struct sim_config){
        .n_ranks = n_ranks,
        .n_pages = n_pages,
        .seed = 1,
        .hold_ns = DSM_HOLD_NONE,
        .net = {1000, 1000},
        .effect = {10, 10},
        .done = {10, 10},
        .resume = {10, 10},
        .think = {10, 10},
        .payload = {10, 10},
        .is_transcribed = true,
    };
}

uint64_t sim_pick(struct sim_world *w, const struct sim_delay *d)
{
    return d->min_ns + dsm_rng_below(&w->rng, d->max_ns - d->min_ns + 1);
}

void sim_fail(struct sim_world *w, const char *format, ...)
{
    va_list args;
    int n;

    if (w->error[0])
        return;
    n = snprintf(w->error, sizeof w->error,
                 "seed %lu, %lu ns, step %lu: ", (unsigned long)w->config.seed,
                 (unsigned long)w->now_ns, (unsigned long)w->n_steps);
    va_start(args, format);
    vsnprintf(w->error + n, sizeof w->error - (size_t)n, format, args);
    va_end(args);
}

void sim_note(struct sim_world *w, const char *line)
{
    size_t n = strlen(line);

    if (w->transcript_bytes + n + 2 > w->transcript_capacity) {
        w->transcript_capacity = (w->transcript_bytes + n + 2) * 2;
        w->transcript = realloc(w->transcript, w->transcript_capacity);
    }
    memcpy(w->transcript + w->transcript_bytes, line, n);
    w->transcript_bytes += n;
    w->transcript[w->transcript_bytes++] = '\n';
    w->transcript[w->transcript_bytes] = 0;
}

const char *sim_transcript(struct sim_world *w)
{
    free(w->shown);
    w->shown = w->transcript;
    w->transcript = NULL;
    w->transcript_bytes = w->transcript_capacity = 0;
    return w->shown ? w->shown : "";
}

/* ---- events in order of time */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_push(struct sim_world *w, struct sim_event *ev)
{
    size_t i;

    if (w->n_heap == w->heap_capacity) {
        w->heap_capacity = w->heap_capacity ? w->heap_capacity * 2 : 1024;
        w->heap = realloc(w->heap, w->heap_capacity * sizeof(struct sim_event *));
    }
    for (i = w->n_heap++; i > 0 && is_before(ev, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = ev;
}

static struct sim_event *heap_pop(struct sim_world *w)
{
    struct sim_event *first = w->heap[0], *last = w->heap[--w->n_heap];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < w->n_heap) {
        if (child + 1 < w->n_heap && is_before(w->heap[child + 1], w->heap[child]))
            child++;
        if (!is_before(w->heap[child], last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return first;
}

struct sim_event *sim_at(struct sim_world *w, uint64_t at_ns, enum sim_event_kind kind,
                         dsm_rank_t rank)
{
    struct sim_event *ev = calloc(1, sizeof *ev);

    ev->at_ns = at_ns;
    ev->order = w->n_events++;
    ev->kind = kind;
    ev->rank = rank;
    heap_push(w, ev);
    return ev;
}

void sim_push_again(struct sim_world *w, struct sim_event *ev)
{
    ev->order = w->n_events++;
    heap_push(w, ev);
}

static void free_event(struct sim_event *ev)
{
    free(ev->values);
    free(ev);
}

/* ---- life */

static void open_rank(struct sim_world *w, dsm_rank_t rank)
{
    struct sim_rank *r = &w->ranks[rank];
    struct dsm_core_config config = {.self = rank,
                                     .n_ranks = w->config.n_ranks,
                                     .epoch = 1,
                                     .job = 77,
                                     .n_pages = w->config.n_pages,
                                     .frame_limit = w->config.frame_limit,
                                     .seed = w->config.seed,
                                     .hold_ns = w->config.hold_ns,
                                     .prefetch_window = w->config.prefetch_window,
                                     .ahead_bytes = w->config.ahead_bytes,
                                     .migratory_signs = w->config.has_migration,
                                     .placement = w->placement};

    r->advice = (struct dsm_advice_table){.ranges = r->advised, .capacity = SIM_ADVICE_MAX};
    config.advice = &r->advice;
    for (uint32_t i = 0; w->config.has_advice && i < 4; i++)
        sim_advise(w, rank, (w->config.seed * 7 + rank * 3 + i * 5) % w->config.n_pages, 1,
                   (enum dsm_advice_kind)(1 + (w->config.seed + rank + i) % 4));
    r->memory_bytes = dsm_core_memory_bytes(&config);
    r->memory = mmap(NULL, r->memory_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r->memory == MAP_FAILED || dsm_core_init(r->memory, &config, &r->core))
        abort();
    r->timer_ns = UINT64_MAX;
    r->mapped = calloc(w->config.n_pages, sizeof *r->mapped);
    r->frames = calloc(w->config.n_pages, sizeof *r->frames);
    r->effect_ns = calloc(w->config.n_pages, sizeof *r->effect_ns);
    r->done_ns = calloc(w->config.n_pages, sizeof *r->done_ns);
    w->cores[rank] = r->core;
}

struct sim_world *sim_open(const struct sim_config *config)
{
    struct sim_world *w = calloc(1, sizeof *w);
    size_t n = config->n_ranks;
    dsm_rank_t rank;

    w->config = *config;
    w->rng = config->seed;
    w->ranks = calloc(n, sizeof *w->ranks);
    w->cores = calloc(n, sizeof *w->cores);
    w->channels = calloc(n * n * DSM_N_LANES, sizeof(struct sim_channel *));
    w->last_write = calloc(config->n_pages, sizeof *w->last_write);
    w->n_fences = 1024;
    w->fences = calloc(w->n_fences, sizeof *w->fences);
    if (dsm_placement_init(&w->placement, config->n_ranks))
        abort();
    for (rank = 0; rank < n; rank++)
        open_rank(w, rank);
    w->actions.capacity = dsm_core_max_actions(w->ranks[0].core);
    w->actions.items = calloc(w->actions.capacity, sizeof *w->actions.items);
    return w;
}

static void close_channel(struct sim_channel *c)
{
    if (!c)
        return;
    while (c->blocked_head) {
        struct sim_event *ev = c->blocked_head;

        c->blocked_head = ev->blocked_next;
        free_event(ev);
    }
    free(c);
}

void sim_close(struct sim_world *w)
{
    size_t n = w->config.n_ranks, i;

    while (w->n_heap)
        free_event(w->heap[--w->n_heap]);
    for (i = 0; i < n * n * DSM_N_LANES; i++)
        close_channel(w->channels[i]);
    for (i = 0; i < n; i++) {
        struct sim_rank *r = &w->ranks[i];

        munmap(r->memory, r->memory_bytes);
        free(r->mapped);
        free(r->frames);
        free(r->effect_ns);
        free(r->done_ns);
    }
    while (w->threads) {
        struct sim_thread *t = w->threads;

        w->threads = t->next;
        free(t);
    }
    while (w->locks) {
        struct sim_lock *l = w->locks;

        w->locks = l->next;
        free(l);
    }
    dsm_placement_close(w->placement);
    free(w->ranks);
    free(w->cores);
    free(w->channels);
    free(w->last_write);
    free(w->fences);
    free(w->heap);
    free(w->transcript);
    free(w->shown);
    free(w->actions.items);
    free(w);
}

/* ---- checks */

static uint8_t mapped_of(void *user, dsm_rank_t rank, dsm_page_t page)
{
    struct sim_world *w = user;

    return w->ranks[rank].mapped[page];
}

static const struct dsm_message *in_flight_to(void *user, dsm_rank_t to, uint32_t index)
{
    struct sim_world *w = user;
    struct sim_event *ev = w->ranks[to].flight;

    while (ev && index--)
        ev = ev->flight_next;
    return ev ? &ev->m : NULL;
}

void sim_check_page(struct sim_world *w, dsm_page_t page)
{
    struct dsm_invariant_world view = {.cores = w->cores,
                                       .n_ranks = w->config.n_ranks,
                                       .user = w,
                                       .mapped = mapped_of,
                                       .in_flight = in_flight_to};
    enum dsm_invariant violated;

    if (w->config.is_unchecked || page >= w->config.n_pages)
        return;
    violated = dsm_invariant_check_unit(&view, page);
    if (violated != DSM_INVARIANT_NONE)
        sim_fail(w, "page %lu: violated: %s", (unsigned long)page, dsm_invariant_text(violated));
}

/* ---- running */

static void learn_loss(struct sim_world *w, struct sim_event *ev)
{
    struct dsm_event event = {
        .type = DSM_EVENT_VIEW, .now_ns = w->now_ns, .view.rank = (dsm_rank_t)ev->unit};

    sim_step(w, ev->rank, &event);
}

static void hear_timer(struct sim_world *w, struct sim_event *ev)
{
    struct dsm_event event = {.type = DSM_EVENT_TIMER, .now_ns = w->now_ns};

    if (w->ranks[ev->rank].timer_ns != ev->unit)
        return; /* asked for another time since */
    w->ranks[ev->rank].timer_ns = UINT64_MAX;
    sim_step(w, ev->rank, &event);
}

static void hear_done(struct sim_world *w, struct sim_event *ev)
{
    struct dsm_event event = {
        .type = DSM_EVENT_DONE, .now_ns = w->now_ns, .done = {ev->unit, ev->n_units}};

    sim_step(w, ev->rank, &event);
}

static void happen(struct sim_world *w, struct sim_event *ev)
{
    if (w->ranks[ev->rank].is_dead && ev->kind != SIM_EV_DELIVER)
        return;
    switch (ev->kind) {
    case SIM_EV_DELIVER:
        sim_deliver(w, ev);
        return;
    case SIM_EV_RECEIVED:
        sim_received(w, ev);
        return;
    case SIM_EV_EFFECT:
        sim_do_effect(w, ev);
        return;
    case SIM_EV_DONE:
        hear_done(w, ev);
        return;
    case SIM_EV_TIMER:
        hear_timer(w, ev);
        return;
    case SIM_EV_ATTEMPT:
        sim_attempt(w, ev->thread);
        return;
    case SIM_EV_FAULT:
        sim_fault(w, ev->thread);
        return;
    case SIM_EV_RESUMED:
        sim_resumed(w, ev->thread);
        return;
    case SIM_EV_GIVE_UP:
        sim_give_up(w, ev->thread, ev->unit);
        return;
    case SIM_EV_VIEW:
        learn_loss(w, ev);
        return;
    }
}

static void check_nobody_waits(struct sim_world *w)
{
    static const char *const names[] = {"runs",
                                        "waits for a unit",
                                        "was woken",
                                        "waits for a lock",
                                        "waits in a collective",
                                        "waits for an object",
                                        "ended"};
    struct sim_thread *t;

    if (w->n_blocked || w->may_wait)
        return;
    for (t = w->threads; t; t = t->next) {
        if (t->state == SIM_THREAD_ENDED || w->ranks[t->rank].is_dead)
            continue;
        sim_fail(w, "nothing is left to happen, but a thread of rank %u %s (unit %lu)", t->rank,
                 names[t->state], (unsigned long)t->waits_unit);
    }
}

bool sim_run(struct sim_world *w, uint64_t for_ns)
{
    uint64_t until_ns = for_ns > UINT64_MAX - w->now_ns ? UINT64_MAX : w->now_ns + for_ns;

    while (w->n_heap && !w->error[0] && w->heap[0]->at_ns <= until_ns) {
        struct sim_event *ev = heap_pop(w);

        w->now_ns = ev->at_ns;
        happen(w, ev);
        if (!ev->is_kept)
            free_event(ev);
    }
    if (until_ns != UINT64_MAX && w->now_ns < until_ns && !w->error[0])
        w->now_ns = until_ns;
    if (!w->n_heap && !w->error[0])
        check_nobody_waits(w);
    return !w->error[0];
}

void sim_allow_waiting(struct sim_world *w)
{
    w->may_wait = true;
}

const char *sim_error(const struct sim_world *w)
{
    return w->error;
}

/* ---- small questions */

struct dsm_placement_table *sim_placement(struct sim_world *w)
{
    return w->placement;
}

uint64_t sim_now_ns(const struct sim_world *w)
{
    return w->now_ns;
}

const struct dsm_core *sim_core(const struct sim_world *w, dsm_rank_t rank)
{
    return w->ranks[rank].core;
}

uint64_t sim_steps(const struct sim_world *w)
{
    return w->n_steps;
}

uint64_t sim_messages(const struct sim_world *w)
{
    return w->n_delivered;
}

uint64_t *sim_rng(struct sim_world *w)
{
    return &w->rng;
}
