/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * litmus.c - litmus tests between real processes: no outcome may be seen that sequential
 * consistency forbids. Each rank is one thread of the test; started by dsmrun with 2, 3 and 4
 * ranks.
 *
 * Rounds are done in batches: every slot of a batch has its own x and y, all ranks go through the
 * slots in the same order with a little random delay before each, and one barrier ends the batch.
 * Nothing is ever cleared: in round k the values 0, 1 and 2 of a test are written as 3k, 3k+1 and
 * 3k+2, so that what an earlier round left counts as 0, and is known, so that anything older is
 * seen as well. After the batch one rank in turn looks at all results. Which of the copies the
 * ranks hold when a batch begins is left to chance: each rank reads some of the variables before
 * it. A page that has come stays for some microseconds, long enough for a whole test: so in half of
 * the rounds there is a pause between the operations, in which it can be taken away.
 */
#include <dsm/dsm.h>

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "litmus_model.h"

#define PAGE_BYTES   4096u
#define N_SLOTS      64u
#define MAX_RANKS    16u
#define PACE_NS      60000u /* from slot to slot: who is quick waits for who is slow */
#define MAX_DELAY_NS 16384u
#define MAX_PAUSE_NS 65536u

/* x86 does not tear what one instruction writes, and on a page boundary nobody else has either page
 * while it is written: so a value with two different halves is an error. */
typedef volatile uint64_t litmus_word __attribute__((aligned(1), may_alias));

static uint64_t word_of(uint32_t number)
{
    return number | (uint64_t)number << 32;
}

enum layout { ONE_PAGE, TWO_PAGES, BOUNDARY, N_LAYOUTS };

static const struct {
    const char *name;
    uint32_t pages_per_slot;
    uint32_t at[LITMUS_N_VARS];
} layouts[N_LAYOUTS] = {
    [ONE_PAGE] = {"one page", 1, {128, 2048}},
    [TWO_PAGES] = {"two pages", 2, {128, PAGE_BYTES + 128}},
    [BOUNDARY] = {"boundary", 3, {PAGE_BYTES - 4, 2 * PAGE_BYTES - 4}},
};

/* What one rank saw, in a page of its own; written after a slot has been gone through. */
struct report {
    uint64_t seen[N_SLOTS][LITMUS_MAX_OPS];
};

struct tally {
    uint64_t n_outcomes[LITMUS_N_OUTCOMES];
    uint64_t n_rounds;
    uint64_t n_bad; /* rounds with values that are none of the test's: */
    uint64_t n_torn;
    uint64_t n_ancient; /* older than what the round before left */
};

struct bench {
    char *slots[N_LAYOUTS];
    struct report *reports[MAX_RANKS];
    uint64_t *left; /* [slot * 2 + var]: what the round before left */
    uint32_t round;
    uint64_t rng;
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

__attribute__((noreturn)) static void fail(const char *what, int error)
{
    fprintf(stderr, "litmus: rank %u: %s: %s\n", dsm_rank(), what, dsm_strerror(error));
    dsm_abort(1);
}

static void meet(void)
{
    int error = dsm_barrier();

    if (error != 0) {
        fail("barrier", error);
    }
}

static litmus_word *var_of(const struct bench *b, enum layout layout, uint32_t slot, uint32_t var)
{
    return (litmus_word *)(b->slots[layout] +
                           (size_t)slot * layouts[layout].pages_per_slot * PAGE_BYTES +
                           layouts[layout].at[var]);
}

/* Roles go round, so that each rank, home or not, is each thread of a test in turn. */
static uint32_t role_of(const struct bench *b, uint32_t rank, uint32_t slot)
{
    return (rank + slot + b->round) % dsm_size();
}

/* ---- the run ------------------------------------------------------------------------------- */

static void wait_until(uint64_t until_ns)
{
    while (now_ns() < until_ns) {
        __builtin_ia32_pause();
    }
}

static void go_through_slots(struct bench *b, const struct litmus_test *test, enum layout layout,
                             uint64_t seen[N_SLOTS][LITMUS_MAX_OPS])
{
    uint64_t started_ns = now_ns();

    for (uint32_t slot = 0; slot < N_SLOTS; slot++) {
        uint32_t role = role_of(b, dsm_rank(), slot);
        if (role >= test->n_threads) {
            continue;
        }
        litmus_word *vars[LITMUS_N_VARS] = {var_of(b, layout, slot, 0), var_of(b, layout, slot, 1)};
        wait_until(started_ns + slot * PACE_NS + next_random(&b->rng) % MAX_DELAY_NS);
        uint64_t pause_ns = next_random(&b->rng) % (2 * MAX_PAUSE_NS);
        for (uint32_t i = 0; i < test->n_ops[role]; i++) {
            struct litmus_op op = test->ops[role][i];
            if (i > 0 && pause_ns < MAX_PAUSE_NS) {
                wait_until(now_ns() + pause_ns);
            }
            if (op.is_store) {
                *vars[op.var] = word_of(3 * b->round + op.value);
            } else {
                seen[slot][i] = *vars[op.var];
            }
        }
    }
}

/* Leaves read copies here and there. */
static void warm_up(struct bench *b, enum layout layout)
{
    for (uint32_t slot = 0; slot < N_SLOTS; slot++) {
        uint64_t choice = next_random(&b->rng);
        for (uint32_t var = 0; var < LITMUS_N_VARS; var++) {
            if ((choice >> var & 1) != 0 && (choice >> 8 & 1) != 0) {
                (void)*var_of(b, layout, slot, var);
            }
        }
    }
}

/* ---- looking at it ------------------------------------------------------------------------- */

/* 0, 1 or 2; what is none of these is counted. */
static bool value_of(const struct bench *b, uint64_t word, uint64_t left, struct tally *tally,
                     uint8_t *value_out)
{
    uint32_t number = (uint32_t)word, first = 3 * b->round;

    if (word != word_of(number) || number > first + 2) {
        tally->n_torn++;
        return false;
    }
    if (number <= first && word != left) {
        tally->n_ancient++;
        return false;
    }
    *value_out = (uint8_t)(number > first ? number - first : 0);
    return true;
}

static void look_at_slot(struct bench *b, const struct litmus_test *test, enum layout layout,
                         uint32_t slot, struct tally *tally)
{
    uint8_t loads[LITMUS_MAX_LOADS], last[LITMUS_N_VARS];
    uint64_t *left = &b->left[slot * LITMUS_N_VARS], now[LITMUS_N_VARS];
    uint32_t n_loads = 0;
    bool is_good = true;

    for (uint32_t role = 0; role < test->n_threads; role++) {
        uint32_t n_ranks = dsm_size();
        uint32_t rank = (role + 2 * n_ranks - slot % n_ranks - b->round % n_ranks) % n_ranks;
        for (uint32_t i = 0; i < test->n_ops[role]; i++) {
            struct litmus_op op = test->ops[role][i];
            if (!op.is_store) {
                is_good &= value_of(b, b->reports[rank]->seen[slot][i], left[op.var], tally,
                                    &loads[n_loads++]);
            }
        }
    }
    for (uint32_t var = 0; var < LITMUS_N_VARS; var++) {
        now[var] = *var_of(b, layout, slot, var);
        is_good &= value_of(b, now[var], left[var], tally, &last[var]);
    }
    memcpy(left, now, sizeof now);
    tally->n_rounds++;
    if (is_good) {
        tally->n_outcomes[litmus_outcome(test, loads, last)]++;
    } else {
        tally->n_bad++;
    }
}

static void run_batch(struct bench *b, const struct litmus_test *test, enum layout layout,
                      struct tally *tally)
{
    uint64_t seen[N_SLOTS][LITMUS_MAX_OPS] = {{0}};

    b->round++;
    meet();
    go_through_slots(b, test, layout, seen);
    memcpy(b->reports[dsm_rank()]->seen, seen, sizeof seen);
    meet();
    if (dsm_rank() == b->round % dsm_size()) {
        for (uint32_t slot = 0; slot < N_SLOTS; slot++) {
            look_at_slot(b, test, layout, slot, tally);
        }
    } else {
        warm_up(b, layout);
    }
}

/* ---- results ------------------------------------------------------------------------------- */

/* True when nothing forbidden was seen. */
static bool print_result(const struct litmus_test *test, enum layout layout,
                         const struct tally *tally, double seconds)
{
    struct litmus_outcomes outcomes;
    uint64_t n_forbidden = tally->n_bad, n_met = 0;
    uint32_t n_kinds = 0, n_allowed = 0;
    char text[80];

    litmus_enumerate(test, &outcomes);
    for (uint32_t i = 0; i < LITMUS_N_OUTCOMES; i++) {
        n_allowed += outcomes.is_allowed[i];
        n_kinds += outcomes.is_allowed[i] && tally->n_outcomes[i] > 0;
        n_forbidden += outcomes.is_allowed[i] ? 0 : tally->n_outcomes[i];
        n_met += outcomes.is_allowed[i] && !outcomes.is_serial[i] ? tally->n_outcomes[i] : 0;
    }
    printf("%-5s %-10s %8" PRIu64 " rounds %4" PRIu64 " forbidden %7.3f%% met in the window"
           "  %2u of %2u allowed outcomes %6.1f s\n",
           test->name, layouts[layout].name, tally->n_rounds, n_forbidden,
           100.0 * (double)n_met / (double)tally->n_rounds, n_kinds, n_allowed, seconds);
    for (uint32_t i = 0; i < LITMUS_N_OUTCOMES; i++) {
        if (!outcomes.is_allowed[i] && tally->n_outcomes[i] > 0) {
            litmus_outcome_text(test, i, text, sizeof text);
            printf("FORBIDDEN: %s (%s): %s: %" PRIu64 " times\n", test->name, test->text, text,
                   tally->n_outcomes[i]);
        }
    }
    if (tally->n_bad > 0) {
        printf("FORBIDDEN: %s: %" PRIu64 " torn values, %" PRIu64
               " values older than the round before\n",
               test->name, tally->n_torn, tally->n_ancient);
    }
    fflush(stdout);
    return n_forbidden == 0;
}

static bool run_test(struct bench *b, const struct litmus_test *test, enum layout layout,
                     uint64_t n_rounds)
{
    struct tally *tally = calloc(1, sizeof *tally);
    uint64_t started_ns = now_ns();
    bool is_good = true;
    int error;

    if (tally == NULL) {
        fail("tally", DSM_E_NOMEM);
    }
    for (uint64_t n = 0; n < n_rounds; n += N_SLOTS) {
        run_batch(b, test, layout, tally);
    }
    error = dsm_allreduce(tally, sizeof *tally / sizeof(uint64_t), DSM_UINT64, DSM_SUM);
    if (error != 0) {
        fail("all-reduce", error);
    }
    if (dsm_rank() == 0) {
        is_good = print_result(test, layout, tally, (double)(now_ns() - started_ns) / 1e9);
    }
    free(tally);
    return is_good;
}

/* ---- start --------------------------------------------------------------------------------- */

static void *allocate(size_t size, enum dsm_placement placement, const char *name)
{
    struct dsm_alloc_options options;
    void *addr;

    dsm_alloc_options_init(&options);
    options.placement = placement;
    options.name = name;
    int error = dsm_alloc(size, &options, &addr);
    if (error != 0) {
        fail("dsm_alloc", error);
    }
    return addr;
}

static void set_up(struct bench *b, uint64_t seed)
{
    char *reports = allocate(dsm_size() * PAGE_BYTES, DSM_PLACE_BLOCK, "reports");

    _Static_assert(sizeof(struct report) <= PAGE_BYTES, "a report is a page");
    memset(b, 0, sizeof *b);
    b->rng = seed + dsm_rank();
    for (uint32_t layout = 0; layout < N_LAYOUTS; layout++) {
        b->slots[layout] = allocate((size_t)N_SLOTS * layouts[layout].pages_per_slot * PAGE_BYTES,
                                    DSM_PLACE_CYCLIC, layouts[layout].name);
    }
    for (uint32_t rank = 0; rank < dsm_size(); rank++) {
        b->reports[rank] = (struct report *)(void *)(reports + (size_t)rank * PAGE_BYTES);
    }
}

static uint64_t parse_number(const char *option, const char *text, uint64_t max)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0' || n > max) {
        fprintf(stderr, "litmus: --%s %s: allowed is 0 to %" PRIu64 "\n", option, text, max);
        exit(2);
    }
    return n;
}

struct options {
    uint64_t n_rounds, seed;
    const char *only;
};

static void parse_options(int argc, char **argv, struct options *o)
{
    static const struct option long_options[] = {
        {"rounds", required_argument, NULL, 'r'},
        {"seed", required_argument, NULL, 's'},
        {"only", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    *o = (struct options){.n_rounds = 10000, .seed = 1};
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'r':
            o->n_rounds = parse_number("rounds", optarg, 100000000);
            break;
        case 's':
            o->seed = parse_number("seed", optarg, UINT64_MAX / 2);
            break;
        case 'o':
            o->only = optarg;
            break;
        case 'h':
            printf("usage: dsmrun -n N litmus [--rounds N] [--seed N] [--only NAME]\n"
                   "Runs the litmus tests for N threads (2, 3 or 4), so many rounds each (10000)\n"
                   "in three layouts. Exit status 1 when a forbidden outcome was seen.\n");
            exit(0);
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct options options;
    struct bench bench;
    uint32_t n_run = 0;
    bool is_good = true;

    parse_options(argc, argv, &options);
    if (dsm_init(NULL) != 0) {
        return 2;
    }
    if (dsm_size() > MAX_RANKS) {
        fprintf(stderr, "litmus: %u ranks, at most %u\n", dsm_size(), MAX_RANKS);
        dsm_abort(2);
    }
    set_up(&bench, options.seed);
    for (uint32_t layout = 0; layout < N_LAYOUTS; layout++) {
        bench.left = allocate(N_SLOTS * LITMUS_N_VARS * sizeof(uint64_t), DSM_PLACE_RANK, "left");
        bench.round = 0;
        for (uint32_t i = 0; i < litmus_n_tests; i++) {
            const struct litmus_test *test = &litmus_tests[i];
            if (test->n_threads == dsm_size() &&
                (options.only == NULL || strcmp(options.only, test->name) == 0)) {
                n_run++;
                is_good &= run_test(&bench, test, (enum layout)layout, options.n_rounds);
            }
        }
    }
    if (dsm_finalize() != 0) {
        return 2;
    }
    if (n_run == 0) {
        fprintf(stderr, "litmus: no test for %u ranks%s%s\n", dsm_size(),
                options.only ? " is called " : "", options.only ? options.only : "");
        return 2;
    }
    return is_good ? 0 : 1;
}
