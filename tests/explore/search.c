/* SPDX-License-Identifier: BSD-3-Clause */
/* search.c - see search.h. */
#include "search.h"

#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/errors.h"
#include "base/rng.h"
#include "show.h"
#include "store.h"

#define DEFAULT_MAX_BYTES (4ull << 30)
#define NO_PARENT         UINT32_MAX

/* A merged state whose successors are to be those of the state with this number. */
struct comparison {
    uint32_t number;
    uint64_t summary;
};

struct search {
    struct lab *lab;
    const struct search_limits *limits;
    struct search_result *result;
    struct store_visited visited;
    struct store_queue queue;  /* states to be expanded */
    struct store_queue merged; /* states to be compared, after their number */
    struct store_image image;
    struct store_numbers edges;       /* successors' numbers, states in order of number */
    struct store_numbers edge_starts; /* first edge of each expanded state */
    struct store_numbers summaries;   /* of the successors of each expanded state, two words each */
    struct comparison *comparisons;
    uint64_t n_comparisons, n_comparisons_capacity;
    uint64_t rng;
    struct digest_part parts[WORLD_MAX_RANKS];
    /* the state being expanded */
    struct world world;
    uint8_t *cores[WORLD_MAX_RANKS];
    size_t core_bytes[WORLD_MAX_RANKS];
};

/* ---- one state and its successors ------------------------------------------------------------ */

static struct digest digest_of_lab(struct search *s)
{
    for (uint32_t rank = 0; rank < s->lab->config.n_ranks; rank++) {
        digest_rank(s->lab, rank, &s->parts[rank]);
    }
    return digest_world(s->lab, s->parts);
}

static void save(struct search *s)
{
    memcpy(&s->world, &s->lab->world, lab_world_bytes(&s->lab->world));
    for (uint32_t rank = 0; rank < s->lab->config.n_ranks; rank++) {
        s->core_bytes[rank] = dsm_core_used_bytes(s->lab->cores[rank]);
        memcpy(s->cores[rank], s->lab->memories[rank], s->core_bytes[rank]);
    }
}

/* A step touches the world and one core. */
static void restore(struct search *s, uint32_t rank)
{
    memcpy(&s->lab->world, &s->world, lab_world_bytes(&s->world));
    memcpy(s->lab->memories[rank], s->cores[rank], s->core_bytes[rank]);
}

/*
 * The digest after a step of rank. A store makes other ranks' frames old, and so changes their
 * words as well: then all are computed anew.
 */
static struct digest digest_after(struct search *s, uint32_t rank, struct digest_part *mine)
{
    struct lab *lab = s->lab;
    struct digest digest;

    if (memcmp(lab->world.version, s->world.version, sizeof s->world.version) != 0) {
        struct digest_part *parts = malloc(lab->config.n_ranks * sizeof *parts);
        if (parts == NULL) {
            abort();
        }
        for (uint32_t r = 0; r < lab->config.n_ranks; r++) {
            digest_rank(lab, r, &parts[r]);
        }
        digest = digest_world(lab, parts);
        free(parts);
        return digest;
    }
    memcpy(mine, &s->parts[rank], sizeof *mine);
    digest_rank(lab, rank, &s->parts[rank]);
    digest = digest_world(lab, s->parts);
    memcpy(&s->parts[rank], mine, sizeof *mine);
    return digest;
}

static uint64_t add_to_summary(uint64_t summary, struct digest digest, const struct step *step)
{
    uint64_t word = (digest.a ^ (uint64_t)step->kind << 56 ^ (uint64_t)step->rank << 48) *
                    0x9e3779b97f4a7c15ull;

    return summary + (word ^ word >> 29); /* a sum: the order of the steps does not matter */
}

/*
 * What the successors of the lab's state are, for comparison alone. A violation here is not
 * reported: the search will come to it, or the comparison fails.
 */
static uint64_t summarise(struct search *s)
{
    struct step steps[WORLD_MAX_STEPS];
    uint64_t summary = 0;
    uint32_t n = world_steps(s->lab, steps);
    static struct digest_part mine; /* too large for comfort on the stack */

    digest_of_lab(s);
    save(s);
    for (uint32_t i = 0; i < n; i++) {
        struct digest digest = {1, 1};
        if (world_take(s->lab, &steps[i])) {
            digest = digest_after(s, steps[i].rank, &mine);
        }
        summary = add_to_summary(summary, digest, &steps[i]);
        restore(s, steps[i].rank);
    }
    return summary;
}

/* The merged states that were set aside while a state was expanded. */
static int summarise_merged(struct search *s)
{
    const uint64_t *words;
    size_t n;

    while (store_queue_pop(&s->merged, &words, &n)) {
        if (s->n_comparisons == s->n_comparisons_capacity) {
            uint64_t capacity = s->n_comparisons_capacity ? s->n_comparisons_capacity * 2 : 1024;
            struct comparison *grown = realloc(s->comparisons, capacity * sizeof *grown);
            if (grown == NULL) {
                return DSM_E_NOMEM;
            }
            s->comparisons = grown;
            s->n_comparisons_capacity = capacity;
        }
        store_image_unpack(&s->image, s->lab, words + 1, n - 1);
        s->comparisons[s->n_comparisons++] = (struct comparison){(uint32_t)words[0], summarise(s)};
    }
    return 0;
}

/* ---- traces ---------------------------------------------------------------------------------- */

/* Takes the lab from the state before to the state with this digest, telling how. */
static bool follow(struct search *s, uint32_t number, uint32_t step_number)
{
    struct step steps[WORLD_MAX_STEPS];
    struct digest wanted = s->visited.digests[number];
    uint32_t n = world_steps(s->lab, steps);
    FILE *trace = s->lab->trace;
    static struct digest_part mine;

    digest_of_lab(s);
    save(s);
    for (uint32_t i = 0; i < n; i++) {
        s->lab->trace = NULL;
        bool is_right = world_take(s->lab, &steps[i]);
        if (is_right) {
            struct digest digest = digest_after(s, steps[i].rank, &mine);
            is_right = digest.a == wanted.a && digest.b == wanted.b;
        }
        restore(s, steps[i].rank);
        s->lab->trace = trace;
        if (is_right) {
            show_step(s->lab, step_number, &steps[i]);
            return world_take(s->lab, &steps[i]);
        }
    }
    fprintf(trace, "      (the trace breaks off: states with one digest behaved differently)\n");
    return false;
}

static void tell_header(struct lab *lab)
{
    fprintf(lab->trace, "instance %s\n", lab->config.name);
    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        for (uint32_t t = 0; t < lab->config.n_threads; t++) {
            char text[160];
            program_text(&lab->config.programs[rank][t], text, sizeof text);
            fprintf(lab->trace, "      rank %u thread %u: %s\n", rank, t, text);
        }
    }
}

/* The way from the start to state `number`, and from there `last`, when there is one. */
static void tell(struct search *s, uint32_t number, const struct step *last, FILE *trace)
{
    char violation[LAB_VIOLATION_BYTES];
    uint32_t n = 0, *path = NULL;

    if (trace == NULL) {
        return;
    }
    memcpy(violation, s->result->violation, sizeof violation);
    for (uint32_t at = number; at != NO_PARENT; at = s->visited.parents[at]) {
        n++;
    }
    path = malloc(n * sizeof path[0]);
    if (path == NULL || world_start(s->lab) != 0) {
        free(path);
        return;
    }
    uint32_t at = number;
    for (uint32_t i = n; i-- > 0; at = s->visited.parents[at]) {
        path[i] = at;
    }
    s->lab->trace = trace;
    tell_header(s->lab);
    bool is_there = true;
    for (uint32_t i = 1; i < n && is_there; i++) {
        is_there = follow(s, path[i], i);
    }
    if (is_there && last != NULL) {
        show_step(s->lab, n, last);
        world_take(s->lab, last);
    }
    show_world(s->lab);
    fprintf(trace, "VIOLATION: %s\n", violation);
    s->lab->trace = NULL;
    free(path);
}

static void violate(struct search *s, const char *text)
{
    s->result->is_violated = true;
    snprintf(s->result->violation, sizeof s->result->violation, "%s", text);
}

/* ---- the search ------------------------------------------------------------------------------ */

/* The lab is in a state found from state `parent`. */
static int find(struct search *s, uint32_t parent, struct digest digest, uint32_t *number_out)
{
    bool is_new;
    int error = store_visited_add(&s->visited, digest, parent, number_out, &is_new);

    if (error != 0) {
        return error;
    }
    if (is_new) {
        store_image_pack(&s->image, s->lab);
        return store_queue_push(&s->queue, s->image.packed + 1, s->image.n_packed - 1);
    }
    if (s->limits->sample > 0 && dsm_rng_below(&s->rng, s->limits->sample) == 0) {
        store_image_pack(&s->image, s->lab);
        s->image.packed[0] = *number_out;
        return store_queue_push(&s->merged, s->image.packed, s->image.n_packed);
    }
    return 0;
}

/* All successors of state `number`, which the lab is in. */
static int expand(struct search *s, uint32_t number, FILE *trace)
{
    struct step steps[WORLD_MAX_STEPS];
    uint32_t n = world_steps(s->lab, steps);
    uint64_t summary = 0;
    static struct digest_part mine;

    if (n == 0) {
        s->result->n_ends++;
        if (!world_check_end(s->lab)) {
            violate(s, s->lab->violation);
            tell(s, number, NULL, trace);
            return 0;
        }
    }
    digest_of_lab(s);
    save(s);
    if (store_numbers_push(&s->edge_starts, (uint32_t)s->edges.n) != 0) {
        return DSM_E_NOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        s->result->n_transitions++;
        if (!world_take(s->lab, &steps[i])) {
            violate(s, s->lab->violation);
            tell(s, number, &steps[i], trace);
            return 0;
        }
        struct digest digest = digest_after(s, steps[i].rank, &mine);
        uint32_t successor;
        int error = find(s, number, digest, &successor);
        if (error != 0 ||
            (s->limits->has_progress && (error = store_numbers_push(&s->edges, successor)) != 0)) {
            return error;
        }
        summary = add_to_summary(summary, digest, &steps[i]);
        restore(s, steps[i].rank);
    }
    if (s->limits->sample > 0 &&
        (store_numbers_push(&s->summaries, (uint32_t)summary) != 0 ||
         store_numbers_push(&s->summaries, (uint32_t)(summary >> 32)) != 0)) {
        return DSM_E_NOMEM;
    }
    return summarise_merged(s);
}

static uint64_t bytes_in_use(const struct search *s)
{
    return store_visited_bytes(&s->visited) + s->queue.n_bytes + s->merged.n_bytes +
           (s->edges.capacity + s->edge_starts.capacity + s->summaries.capacity) *
               sizeof(uint32_t) +
           s->n_comparisons_capacity * sizeof s->comparisons[0];
}

static int walk_breadth_first(struct search *s, FILE *trace)
{
    uint64_t max_bytes = s->limits->max_bytes ? s->limits->max_bytes : DEFAULT_MAX_BYTES;
    uint64_t end_of_level = 1;
    const uint64_t *words;
    size_t n;
    uint32_t number;
    int error = find(s, NO_PARENT, digest_of_lab(s), &number);

    for (number = 0; error == 0 && !s->result->is_violated; number++) {
        if (!store_queue_pop(&s->queue, &words, &n)) {
            s->result->is_complete = true;
            return 0;
        }
        if (number == end_of_level) {
            s->result->depth++;
            end_of_level = s->visited.n;
        }
        store_image_unpack(&s->image, s->lab, words, n);
        error = expand(s, number, trace);
        uint64_t bytes = bytes_in_use(s);
        s->result->peak_bytes = bytes > s->result->peak_bytes ? bytes : s->result->peak_bytes;
        /* The table of digests doubles: half of the limit is where that could pass it. */
        if ((s->limits->max_states > 0 && s->visited.n >= s->limits->max_states) ||
            bytes > max_bytes || s->edges.n > UINT32_MAX - WORLD_MAX_STEPS) {
            return error;
        }
    }
    return error;
}

static void check_merged(struct search *s, FILE *trace)
{
    for (uint64_t i = 0; i < s->n_comparisons && !s->result->is_violated; i++) {
        uint64_t number = s->comparisons[i].number;
        if (2 * number + 1 >= s->summaries.n) {
            continue; /* not expanded: the search was cut short */
        }
        uint64_t summary =
            s->summaries.items[2 * number] | (uint64_t)s->summaries.items[2 * number + 1] << 32;
        s->result->n_compared++;
        if (summary != s->comparisons[i].summary) {
            violate(s, "the explorer itself: two states with one digest have different successors "
                       "(something that matters is missing in dsm_core_canon)");
            tell(s, (uint32_t)number, NULL, trace);
        }
    }
}

/* Backwards from the ends, in as many passes as it takes; most steps lead to higher numbers. */
static int check_progress(struct search *s, FILE *trace)
{
    uint64_t n = s->visited.n;
    uint8_t *can_end = calloc(n, 1);
    bool is_changed = true;

    if (can_end == NULL) {
        return DSM_E_NOMEM;
    }
    while (is_changed) {
        is_changed = false;
        for (uint64_t i = n; i-- > 0;) {
            uint64_t from = s->edge_starts.items[i];
            uint64_t to = i + 1 < n ? s->edge_starts.items[i + 1] : s->edges.n;
            bool can = from == to;
            for (uint64_t e = from; e < to && !can && !can_end[i]; e++) {
                can = can_end[s->edges.items[e]] != 0;
            }
            if (can && !can_end[i]) {
                can_end[i] = 1;
                is_changed = true;
            }
        }
    }
    s->result->is_progress_checked = true;
    for (uint64_t i = 0; i < n; i++) {
        if (!can_end[i]) {
            violate(s, "no way leads from this state to the end of the programs");
            tell(s, (uint32_t)i, NULL, trace);
            break;
        }
    }
    free(can_end);
    return 0;
}

static void close_search(struct search *s)
{
    store_visited_close(&s->visited);
    store_queue_close(&s->queue);
    store_queue_close(&s->merged);
    store_image_close(&s->image);
    store_numbers_close(&s->edges);
    store_numbers_close(&s->edge_starts);
    store_numbers_close(&s->summaries);
    free(s->comparisons);
    for (uint32_t rank = 0; rank < WORLD_MAX_RANKS; rank++) {
        free(s->cores[rank]);
    }
    free(s);
}

static int open_search(struct lab *lab, struct search **search_out)
{
    struct search *s = calloc(1, sizeof *s);

    if (s == NULL) {
        return DSM_E_NOMEM;
    }
    s->lab = lab;
    s->rng = 1;
    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        s->cores[rank] = malloc(lab->core_bytes);
        if (s->cores[rank] == NULL) {
            close_search(s);
            return DSM_E_NOMEM;
        }
    }
    if (store_visited_open(&s->visited) != 0 || store_image_open(&s->image, lab) != 0) {
        close_search(s);
        return DSM_E_NOMEM;
    }
    *search_out = s;
    return 0;
}

int search_all(struct lab *lab, const struct search_limits *limits, FILE *trace,
               struct search_result *result_out)
{
    uint64_t started_ns = dsm_clock_ns();
    struct search_result result = {0};
    struct search *s;
    int error = world_start(lab);

    if (error != 0 || (error = open_search(lab, &s)) != 0) {
        return error;
    }
    s->limits = limits;
    s->result = &result;
    error = walk_breadth_first(s, trace);
    if (error == 0 && !result.is_violated) {
        check_merged(s, trace);
    }
    if (error == 0 && !result.is_violated && result.is_complete && limits->has_progress) {
        error = check_progress(s, trace);
    }
    result.n_states = s->visited.n;
    result.seconds = (double)(dsm_clock_ns() - started_ns) / 1e9;
    close_search(s);
    if (error == 0) {
        *result_out = result;
    }
    return error;
}

/* ---- random walks ---------------------------------------------------------------------------- */

#define WALK_MAX_STEPS 20000u

/* One schedule; the seed alone says which. False: violation, after n_steps_out steps. */
static bool walk(struct lab *lab, uint64_t seed, struct search_result *result)
{
    struct step steps[WORLD_MAX_STEPS];
    uint64_t rng = seed;
    uint32_t n, n_taken = 0;

    while ((n = world_steps(lab, steps)) > 0) {
        const struct step *step = &steps[dsm_rng_below(&rng, n)];
        if (++n_taken > WALK_MAX_STEPS) {
            return lab_violated(lab, "no end after %u steps taken at random", WALK_MAX_STEPS);
        }
        if (lab->trace != NULL) {
            show_step(lab, n_taken, step);
        }
        result->n_transitions++;
        if (!world_take(lab, step)) {
            return false;
        }
    }
    result->n_ends++;
    result->depth = n_taken > result->depth ? n_taken : result->depth;
    return world_check_end(lab);
}

int search_walks(struct lab *lab, uint64_t n_walks, uint64_t seed, FILE *trace,
                 struct search_result *result_out)
{
    uint64_t started_ns = dsm_clock_ns();
    struct search_result result = {0};

    for (uint64_t i = 0; i < n_walks && !result.is_violated; i++) {
        int error = world_start(lab);
        if (error != 0) {
            return error;
        }
        result.n_walks++;
        if (walk(lab, seed + i, &result)) {
            continue;
        }
        result.is_violated = true;
        snprintf(result.violation, sizeof result.violation, "walk with seed %llu: %.340s",
                 (unsigned long long)(seed + i), lab->violation);
        if (trace != NULL && world_start(lab) == 0) {
            struct search_result again = {0};
            lab->trace = trace;
            tell_header(lab);
            walk(lab, seed + i, &again);
            show_world(lab);
            fprintf(trace, "VIOLATION: %s\n", result.violation);
            lab->trace = NULL;
        }
    }
    result.seconds = (double)(dsm_clock_ns() - started_ns) / 1e9;
    *result_out = result;
    return 0;
}
