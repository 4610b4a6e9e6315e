/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * messages.c - a peer that knows the format and lies: well-formed messages with likely fields, in
 * any order, into a core that has faults, locks, collectives and drops of its own under way. The
 * core may refuse (DSM_E_PROTO) or ignore; it must not crash, overrun its list or memory, or give
 * an action for a page or rank that does not exist.
 *
 * Usage: messages [FIRST_SEED [N_SEEDS]]. Prints the seed before it starts on it when it fails.
 */
#include "base/errors.h"
#include "base/rng.h"
#include "core/core.h"
#include "wire/frame.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANKS = 3, PAGES = 64, STEPS = 400 };

struct world {
    uint64_t state, now_ns, seed;
    struct dsm_core *core;
    struct dsm_action_list list;
    struct dsm_core_thread threads[3];
    uint32_t requests[8]; /* numbers that the core has used lately */
    unsigned n_requests;
    bool is_in_collective, lock_is_asked[4], lock_is_here[4];
    bool is_caught; /* a lie has changed the state before it was refused: the job ends */
    void *before;   /* the state before the step */
    size_t before_bytes;
    uint64_t serial;
};

static uint64_t random_below(struct world *w, uint64_t n)
{
    w->state ^= w->state << 13;
    w->state ^= w->state >> 7;
    w->state ^= w->state << 17;
    return (w->state >> 11) % n;
}

static void fail(const struct world *w, const char *what, uint64_t value)
{
    fprintf(stderr, "seed %lu: %s (%lu)\n", (unsigned long)w->seed, what, (unsigned long)value);
    exit(1);
}

static uint64_t lock_id(uint64_t index)
{
    return 0x200000000000 + index * 64;
}

static void step(struct world *w, const struct dsm_event *event);

static void note_lock(struct world *w, const struct dsm_action *a)
{
    for (unsigned i = 0; i < 4; i++) {
        if (a->id != lock_id(i))
            continue;
        struct dsm_event back = {
            .type = DSM_EVENT_LOCK_RETURNED, .now_ns = w->now_ns, .lock.id = a->id};
        switch (a->type) {
        case DSM_ACTION_LOCK_LEND:
            w->lock_is_asked[i] = false;
            w->lock_is_here[i] = true;
            break;
        case DSM_ACTION_LOCK_RECALL:
            w->lock_is_here[i] = false;
            step(w, &back);
            break;
        default:
            w->lock_is_asked[i] = false;
        }
    }
}

static void carry_out(struct world *w, const struct dsm_action *a)
{
    struct dsm_event done = {.type = DSM_EVENT_DONE, .now_ns = w->now_ns, .done.unit = a->page};
    switch (a->type) {
    case DSM_ACTION_MAP_READ:
    case DSM_ACTION_MAP_WRITE:
    case DSM_ACTION_DOWNGRADE:
    case DSM_ACTION_UNMAP:
    case DSM_ACTION_PUNCH:
    case DSM_ACTION_SEND_BYTES:
        if (a->page >= PAGES || a->n_pages > PAGES - a->page)
            fail(w, "an effect on a page outside the region", a->page);
        step(w, &done);
        break;
    case DSM_ACTION_DROP_RANGE:
    case DSM_ACTION_RECEIVE:
        if (a->page >= PAGES || a->n_pages > PAGES - a->page ||
            a->message.offset + a->message.len > a->n_pages * DSM_PAGE_BYTES)
            fail(w, "bytes or a drop outside the region", a->page);
        if (a->type == DSM_ACTION_RECEIVE) {
            struct dsm_event received = {.type = DSM_EVENT_RECEIVED,
                                         .now_ns = w->now_ns,
                                         .received = {a->page, a->message.len}};
            step(w, &received);
        }
        break;
    case DSM_ACTION_SEND:
    case DSM_ACTION_COLLECTIVE_SEND:
        if (a->message.type == DSM_MSG_REQUEST)
            w->requests[w->n_requests++ % 8] = a->message.request;
        if (a->to >= RANKS || a->to == 0)
            fail(w, "a message to a rank that does not exist", a->to);
        break;
    case DSM_ACTION_LOCK_LEND:
    case DSM_ACTION_LOCK_RECALL:
    case DSM_ACTION_LOCK_LOST:
        note_lock(w, a);
        break;
    case DSM_ACTION_COLLECTIVE_DONE:
        w->is_in_collective = false;
        break;
    default:
        break;
    }
}

/* Like the driver: the first caller works the list off, what is decided meanwhile appends. */
static void step(struct world *w, const struct dsm_event *event)
{
    static bool is_running;
    int error = dsm_core_step(w->core, event, &w->list);
    if (error && error != DSM_E_PROTO)
        fail(w, dsm_error_text(error), event->type);
    if (error && event->type != DSM_EVENT_MESSAGE)
        w->is_caught = true;
    if (error && !is_running && memcmp(w->before, w->core, w->before_bytes) != 0)
        w->is_caught = true;
    if (is_running)
        return;
    is_running = true;
    for (uint32_t i = 0; i < w->list.n && !w->is_caught; i++) {
        struct dsm_action a = w->list.items[i];
        carry_out(w, &a);
    }
    w->list.n = 0;
    is_running = false;
}

static void lie(struct world *w)
{
    struct dsm_message m = {.type = (uint8_t)(1 + random_below(w, DSM_MSG_N_TYPES - 1)),
                            .flags = (uint8_t)(random_below(w, 3) ? 0 : random_below(w, 16)),
                            .access = (uint8_t)(1 + random_below(w, 3)),
                            .epoch = 1,
                            .job = 7,
                            .from = 1 + (dsm_rank_t)random_below(w, RANKS - 1),
                            .object = random_below(w, 40) ? random_below(w, PAGES + 2) : w->state,
                            .txn = random_below(w, 12),
                            .prior = random_below(w, 4),
                            .peer = (dsm_rank_t)random_below(w, RANKS + 1),
                            .acks = (uint32_t)random_below(w, RANKS + 1),
                            .count = 1 + (uint32_t)random_below(w, random_below(w, 3) ? 1 : 40),
                            .request = w->requests[random_below(w, 8)]};
    if (m.type == DSM_MSG_REQUEST || m.type == DSM_MSG_FORWARD)
        m.key = (uint32_t)random_below(w, 3);
    if (m.type >= DSM_MSG_LOCK_ACQUIRE && m.type <= DSM_MSG_LOCK_GRANT)
        m.object = lock_id(random_below(w, 5));
    if (m.type == DSM_MSG_COLLECTIVE) {
        m.object = random_below(w, 4) ? 0 : random_below(w, 3);
        m.txn = random_below(w, 6);
        m.count = (uint32_t)random_below(w, 9);
    }
    if (m.type == DSM_MSG_GRANT && !(m.flags & (DSM_MSG_F_ZERO | DSM_MSG_F_NO_BYTES)))
        m.len = m.room = DSM_PAGE_BYTES * (random_below(w, 4) ? 1 : 4);
    if (m.type == DSM_MSG_GRANT && m.len && m.count * m.len <= DSM_MESSAGE_CHUNK_BYTES)
        m.len *= m.count;
    if (m.type == DSM_MSG_OFFER_REPLY)
        m.room = (uint32_t)random_below(w, 100);
    uint8_t header[DSM_MESSAGE_HEADER_BYTES];
    const char *reason;
    dsm_frame_encode(&m, header);
    if (dsm_frame_decode(header, &m, &reason))
        return; /* stopped at the door */
    struct dsm_event event = {.type = DSM_EVENT_MESSAGE, .now_ns = w->now_ns, .message = &m};
    /* Refused, it has changed nothing, and the next lie may be a better one. */
    w->before_bytes = dsm_core_used_bytes(w->core);
    memcpy(w->before, w->core, w->before_bytes);
    step(w, &event);
}

static void act(struct world *w)
{
    struct dsm_event event = {.now_ns = w->now_ns};
    uint64_t at = random_below(w, 4);
    switch (random_below(w, 6)) {
    case 0:
    case 1:
        event.type = DSM_EVENT_FAULT;
        event.fault.page = random_below(w, PAGES);
        event.fault.access = (uint8_t)(1 + random_below(w, 2));
        event.fault.ip = random_below(w, 3);
        event.fault.thread = &w->threads[random_below(w, 3)];
        break;
    case 2:
        event.type = DSM_EVENT_TIMER;
        break;
    case 3:
        if (w->lock_is_asked[at] || w->lock_is_here[at])
            return;
        w->lock_is_asked[at] = true;
        event.type = DSM_EVENT_LOCK_ACQUIRE;
        event.lock.id = lock_id(at);
        break;
    case 4:
        if (w->is_in_collective)
            return;
        w->is_in_collective = true;
        event.type = DSM_EVENT_COLLECTIVE;
        event.collective.kind = (enum dsm_collective_kind)random_below(w, 3);
        event.collective.n_members = RANKS;
        break;
    default:
        event.type = DSM_EVENT_PREFETCH;
        event.prefetch.first = random_below(w, PAGES);
        event.prefetch.n_pages = 1 + random_below(w, PAGES - event.prefetch.first);
        event.prefetch.access = (uint8_t)(1 + random_below(w, 2));
    }
    step(w, &event);
}

static void run(uint64_t seed)
{
    struct world w = {.state = seed * 0x9e3779b97f4a7c15ull + 1, .seed = seed, .now_ns = 1000};
    struct dsm_placement_table *placement;
    struct dsm_placement_entry large = {.first = 32,
                                        .n_pages = 32,
                                        .unit_pages = 4,
                                        .kind = DSM_PLACEMENT_CYCLIC,
                                        .block_pages = 4};
    if (dsm_placement_init(&placement, RANKS) || dsm_placement_add(placement, &large))
        fail(&w, "set-up", 0);
    struct dsm_core_config config = {.self = 0,
                                     .n_ranks = RANKS,
                                     .epoch = 1,
                                     .job = 7,
                                     .n_pages = PAGES,
                                     .frame_limit = seed % 2 ? 24 : PAGES,
                                     .seed = seed,
                                     .placement = placement};
    void *memory = calloc(1, dsm_core_memory_bytes(&config) + 64);
    void *aligned = (void *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    if (!memory || dsm_core_init(aligned, &config, &w.core))
        fail(&w, "set-up", 1);
    w.list.capacity = 64 * dsm_core_max_actions(w.core);
    w.list.items = malloc(w.list.capacity * sizeof *w.list.items);
    w.before = malloc(dsm_core_memory_bytes(&config));
    if (!w.list.items || !w.before)
        fail(&w, "set-up", 2);
    for (int i = 0; i < STEPS && !w.is_caught; i++) {
        w.now_ns += random_below(&w, 20000);
        if (random_below(&w, 3))
            lie(&w);
        else
            act(&w);
    }
    free(w.before);
    free(w.list.items);
    free(memory);
    dsm_placement_close(placement);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1600;
    for (uint64_t seed = first; seed < first + n; seed++) {
        fprintf(stderr, "seed %lu\r", (unsigned long)seed); /* the last line says where it ended */
        run(seed);
    }
    printf("%lu seeds from %lu\n", (unsigned long)n, (unsigned long)first);
    return 0;
}
