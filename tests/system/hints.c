/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hints.c - what the library does about how memory is used, between real processes; run under
 * dsmrun by hints.sh.
 *
 * Usage: hints SCENARIO. Exits 0 when every check held on this rank; prints what did not.
 */
#include <dsm/dsm.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE  4096u
#define PAGES 64u

static uint64_t *data; /* PAGES pages, one word used in each */

static void fail(int line, const char *what, int64_t value)
{
    fprintf(stderr, "rank %u: hints.c:%d: %s (%" PRId64 ")\n", dsm_rank(), line, what, value);
    dsm_abort(1);
}
#define CHECK(condition, value)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail(__LINE__, #condition, (int64_t)(value));                                          \
    } while (0)
#define OK(call)                                                                                   \
    do {                                                                                           \
        int error_ = (call);                                                                       \
        if (error_)                                                                                \
            fail(__LINE__, #call, error_);                                                         \
    } while (0)

static volatile uint64_t *word(unsigned page)
{
    return &data[(size_t)page * PAGE / sizeof *data];
}

static struct dsm_stats stats(void)
{
    struct dsm_stats s = {.struct_size = sizeof s};
    OK(dsm_stats_get(&s));
    return s;
}

static uint64_t sum_of(uint64_t mine)
{
    OK(dsm_allreduce(&mine, 1, DSM_UINT64, DSM_SUM));
    return mine;
}

static void set_up(void)
{
    struct dsm_alloc_options options;
    dsm_alloc_options_init(&options);
    options.placement = DSM_PLACE_RANK;
    OK(dsm_alloc((size_t)PAGES * PAGE, &options, (void **)&data));
}

/* Rank after rank adds one to every page. */
static void pass_round(unsigned n_rounds)
{
    for (unsigned turn = 0; turn < n_rounds * dsm_size(); turn++) {
        if (turn % dsm_size() == dsm_rank())
            for (unsigned page = 0; page < PAGES; page++) {
                uint64_t have = *word(page);
                CHECK(have == turn, have);
                *word(page) = have + 1;
            }
        OK(dsm_barrier());
    }
}

/* After three signs all reads bring the only copy, and all writes are local. */
static void migrate(void)
{
    enum { ROUNDS = 6, SIGNS = 3 };
    pass_round(ROUNDS);
    struct dsm_stats s = stats();
    uint64_t n_turns = ROUNDS * dsm_size();
    uint64_t found = sum_of(s.migratory_found), undone = sum_of(s.migratory_undone);
    uint64_t reads = sum_of(s.migratory_reads), writes = sum_of(s.migratory_writes);
    CHECK(found == PAGES, found);
    CHECK(undone == 0, undone);
    CHECK(reads == PAGES * (n_turns - 1 - SIGNS), reads); /* the first writes, others upgrade */
    CHECK(writes == reads, writes);
    /* Read by all, written by nobody any more: shared again. */
    for (unsigned rank = 0; rank < dsm_size(); rank++) {
        if (rank == dsm_rank())
            for (unsigned page = 0; page < PAGES; page++)
                CHECK(*word(page) == n_turns, *word(page));
        OK(dsm_barrier());
    }
    undone = sum_of(stats().migratory_undone);
    CHECK(undone == PAGES, undone);
}

static void migrate_off(void)
{
    pass_round(4);
    struct dsm_stats s = stats();
    uint64_t n = sum_of(s.migratory_found + s.migratory_reads);
    CHECK(n == 0, n);
}

/* Rank 0 holds pages that the others want to write; while it does it takes no fault. */
static void pin(void)
{
    for (unsigned page = 0; page < PAGES && dsm_rank() == dsm_size() - 1; page++)
        *word(page) = page;
    OK(dsm_barrier());
    if (dsm_rank() == 0) {
        int error;
        while ((error = dsm_pin(data, (size_t)PAGES * PAGE, DSM_WRITE, DSM_PIN_MAX_NS)))
            CHECK(error == DSM_E_TIMEOUT, error); /* on a machine that is very busy */
        struct dsm_stats before = stats();
        for (unsigned round = 0; round < 100; round++)
            for (unsigned page = 0; page < PAGES; page++)
                __atomic_fetch_add(word(page), 1, __ATOMIC_SEQ_CST);
        struct dsm_stats after = stats();
        OK(dsm_unpin(data, (size_t)PAGES * PAGE));
        CHECK(before.pins >= PAGES, before.pins);
        /* A pin that the time has ended tells nothing. */
        if (after.pins_ended == 0 && stats().pins_ended == 0)
            CHECK(after.faults_read + after.faults_write + after.faults_upgrade ==
                      before.faults_read + before.faults_write + before.faults_upgrade,
                  after.faults_write);
    } else {
        for (unsigned page = 0; page < PAGES; page++)
            __atomic_fetch_add(word(page), 1000000, __ATOMIC_SEQ_CST);
    }
    OK(dsm_barrier());
    for (unsigned page = 0; page < PAGES; page++) {
        uint64_t wanted = page + 100 + 1000000 * (uint64_t)(dsm_size() - 1);
        CHECK(*word(page) == wanted, *word(page));
    }
}

/* All ranks pin the same two ranges in opposite orders, for ever shorter than they would need: each
 * call comes back, with the pins or without. */
static void pin_crossed(void)
{
    enum { HALF = PAGES / 2 };
    unsigned n_got = 0;
    for (unsigned round = 0; round < 20; round++) {
        unsigned first = (dsm_rank() + round) % 2 * HALF, other = HALF - first;
        int error = dsm_pin((void *)word(first), (size_t)HALF * PAGE, DSM_WRITE, 20000000);
        CHECK(error == 0 || error == DSM_E_TIMEOUT, error);
        if (error)
            continue;
        error = dsm_pin((void *)word(other), (size_t)HALF * PAGE, DSM_WRITE, 20000000);
        CHECK(error == 0 || error == DSM_E_TIMEOUT, error);
        n_got += !error;
        if (!error)
            OK(dsm_unpin((void *)word(other), (size_t)HALF * PAGE));
        OK(dsm_unpin((void *)word(first), (size_t)HALF * PAGE));
    }
    (void)sum_of(n_got);
}

/* Read then written, each page once on each rank: one fault instead of two from the first time on.
 */
static void advise_migratory(void)
{
    OK(dsm_advise(data, (size_t)PAGES * PAGE, DSM_ADVICE_MIGRATORY));
    OK(dsm_barrier());
    pass_round(3);
    struct dsm_stats s = stats();
    CHECK(s.faults_upgrade == 0, s.faults_upgrade);
    CHECK(s.faults_read == 3 * PAGES, s.faults_read);
    CHECK(sum_of(s.migratory_found) == 0, s.migratory_found);
}

/* What others read of what rank 0 has called its own is counted, and told once. */
static void advise_private(void)
{
    if (dsm_rank() == 0)
        OK(dsm_advise(data, (size_t)PAGES * PAGE, DSM_ADVICE_PRIVATE));
    for (unsigned page = 0; page < PAGES && dsm_rank() == 0; page++)
        *word(page) = page;
    OK(dsm_barrier());
    for (unsigned page = 0; page < PAGES && dsm_rank() == 1; page += 2)
        CHECK(*word(page) == page, *word(page));
    OK(dsm_barrier());
    uint64_t asked = sum_of(stats().private_asked);
    CHECK(asked == PAGES / 2, asked);
    OK(dsm_advise(data, (size_t)PAGES * PAGE, DSM_ADVICE_NORMAL));
    if (dsm_rank() == 0)
        for (unsigned page = 0; page < PAGES; page++)
            *word(page) = 0;
    OK(dsm_barrier());
    for (unsigned page = 0; page < PAGES && dsm_rank() == 1; page++)
        CHECK(*word(page) == 0, *word(page));
    OK(dsm_barrier());
    asked = sum_of(stats().private_asked);
    CHECK(asked == PAGES / 2, asked);
}

/* With time enough all is asked for ahead. */
static void prefetch_by(void)
{
    for (unsigned page = 0; page < PAGES && dsm_rank() == 0; page++)
        *word(page) = page + 1;
    OK(dsm_barrier());
    if (dsm_rank() == 1) {
        OK(dsm_prefetch_by(data, (size_t)PAGES * PAGE, DSM_READ, (int64_t)100 * 1000000000));
        for (unsigned page = 0; page < PAGES; page++)
            CHECK(*word(page) == page + 1, *word(page));
        struct dsm_stats s = stats();
        CHECK(s.prefetch_asked == PAGES, s.prefetch_asked);
        CHECK(s.prefetch_late == 0, s.prefetch_late);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} scenarios[] = {
    {"migrate", migrate},
    {"migrate-off", migrate_off},
    {"pin", pin},
    {"pin-crossed", pin_crossed},
    {"prefetch-by", prefetch_by},
    {"advise-migratory", advise_migratory},
    {"advise-private", advise_private},
};

int main(int argc, char **argv)
{
    OK(dsm_init(NULL));
    set_up();
    for (size_t i = 0; argc == 2 && i < sizeof scenarios / sizeof scenarios[0]; i++)
        if (strcmp(argv[1], scenarios[i].name) == 0) {
            scenarios[i].run();
            OK(dsm_barrier());
            OK(dsm_finalize());
            return 0;
        }
    fprintf(stderr, "usage: hints SCENARIO\n");
    return 2;
}
