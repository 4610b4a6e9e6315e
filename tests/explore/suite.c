/* SPDX-License-Identifier: BSD-3-Clause */
/* suite.c - see suite.h. */
#include "suite.h"

#include <string.h>
#include "core/advice.h"
#include "core/plant.h"

#define QUICK   .is_quick = true
#define GAPS    .has_gaps = true
#define MIGRATE .has_migration = true
#define ONE     .n_units = 1, .unit_pages = 1
#define TWO     .n_units = 2, .unit_pages = 1

/* Homes: unit u is at home on rank u mod n. */
/* clang-format off */
const struct suite_instance suite_instances[] = {
    {"two-pages", "***|***", .n_ranks = 2, TWO, QUICK,
     .aim = "all programs of 3 accesses a rank: 2 ranks, 2 pages"},
    {"one-page", "*|**|*", .n_ranks = 3, ONE, QUICK,
     .aim = "3 ranks, 1 page: all programs of 1, 2 and 1 accesses"},
    {"far-home", "|***|***", .n_ranks = 3, ONE, QUICK,
     .aim = "3 ranks, 1 page, at home on the third: all programs of 3 accesses"},
    {"one-page-walks", "***|***|***", .n_ranks = 3, ONE, QUICK, .n_walks = 20000,
     .aim = "3 ranks, 1 page, 3 accesses a rank: random schedules"},
    {"gaps", "**|**", .n_ranks = 2, TWO, GAPS, QUICK,
     .aim = "2 ranks, 2 pages, with traps and effects in two steps each"},
    {"threads", "*,*|*", .n_ranks = 2, ONE, GAPS, QUICK,
     .aim = "two threads of one rank on one page"},
    {"boundary", "X01|X10", .n_ranks = 2, TWO, GAPS, QUICK,
     .aim = "instructions that need two pages, taken in opposite order"},
    {"reclaim", "**|*", .n_ranks = 2, TWO, QUICK, .n_reclaims = 1,
     .aim = "the kernel drops a mapping at any moment"},
    {"chunks", "**|**", .n_ranks = 2, .n_units = 1, .unit_pages = 32, GAPS, QUICK,
     .aim = "a unit that travels in two pieces"},

    {"locks", "L0W0U0L0U0|L0R0U0|L0W0U0", .n_ranks = 3, ONE, .n_locks = 1, QUICK,
     .aim = "a lock goes round three ranks and guards a page"},
    {"lock-threads", "L0U0L0U0,L0U0|L0U0L0U0,L0U0", .n_ranks = 2, ONE, .n_locks = 1, QUICK,
     .aim = "a lock, two threads on each of two ranks"},
    {"two-locks", "L0L1U1U0L1U1|L0L1U0U1|L1U1L0U0", .n_ranks = 3, ONE, .n_locks = 2, QUICK,
     .aim = "two locks"},
    {"lock-try", "m0W0U0m0W0U0|L0W0U0|m0W0U0", .n_ranks = 3, ONE, .n_locks = 1, QUICK,
     .aim = "a lock that is tried"},
    {"lock-timed", "i0W0U0L0U0|i0W0U0,L0U0", .n_ranks = 2, ONE, .n_locks = 1, QUICK,
     .aim = "waits for a lock that are given up at any moment"},
    {"lock-wanted", "L0U0,L0U0L0U0|L0U0L0U0,L0U0|L0U0", .n_ranks = 3, ONE, .n_locks = 1, QUICK,
     .aim = "a lock that is passed on while more threads of its rank want it"},
    {"rwlock", "r0R0u0w0W0u0|w0W0u0|r0R0u0,r0R0u0", .n_ranks = 3, ONE, .n_locks = 1, QUICK,
     .aim = "a reader-writer lock guards a page"},
    {"semaphore", "V0S0V0|V0S0|V0S0", .n_ranks = 3, ONE, .n_locks = 1, QUICK,
     .aim = "a semaphore"},
    {"semaphore-timed", "V0|s0s0,s0|V0", .n_ranks = 3, ONE, .n_locks = 1, QUICK,
     .aim = "waits that are given up when the grant may be on its way"},
    {"flags", "W0F0E1|E0R0F1|E0,E1", .n_ranks = 3, TWO, .n_locks = 2, QUICK,
     .aim = "flags"},
    {"thread-barrier", "b0b0b0|b0b0b0,b0b0b0", .n_ranks = 2, ONE, .n_locks = 1, QUICK,
     .aim = "barriers of threads in a row"},
    {"tickets", "G0G0|G0G0,G0G0", .n_ranks = 2, ONE, .n_locks = 1, QUICK,
     .aim = "indices dealt to threads, twice"},
    {"condition", "L0c0U0|L0k0U0|L0W0U0", .n_ranks = 3, ONE, .n_locks = 1, QUICK,
     .aim = "a condition variable with a lock from elsewhere"},
    {"condition-all", "L0c0U0,L0c0U0|L0K0U0", .n_ranks = 2, ONE, .n_locks = 1, QUICK,
     .aim = "all that wait for a condition go on"},
    {"destroy", "s0s0|V0Z0|V0s0", .n_ranks = 3, ONE, .n_locks = 1, QUICK,
     .aim = "an object is destroyed while others use it"},
    {"crash-sync", "V0s0b1|V0s0b1|s0b1", .n_ranks = 3, TWO, .n_locks = 2, .n_crashes = 1, QUICK,
     .aim = "a rank dies that waits for an object, or manages it"},
    {"crash-rwlock", "w0u0|r0u0|w0u0", .n_ranks = 3, ONE, .n_locks = 1, .n_crashes = 1, QUICK,
     .aim = "a rank dies that waits for, has or manages a reader-writer lock"},

    {"barriers", "*B*B|*BBR0|BBR0", .n_ranks = 3, ONE, QUICK,
     .aim = "barriers between accesses"},
    {"collectives", "ACBA|ACBA|ACBA|ACBA", .n_ranks = 4, ONE, QUICK,
     .aim = "reductions, broadcasts and barriers in a row, with their payloads"},
    {"drop", "**BD0B*|**BB*|BB", .n_ranks = 3, ONE, QUICK,
     .aim = "a unit is given back on all ranks and used again"},

    {"prefetch", "P0P1*|*Q0", .n_ranks = 2, TWO, .placement = DSM_PLACEMENT_RANK, QUICK,
     .aim = "units are asked for ahead, in a run where they have one home"},
    {"runs", "M|*N", .n_ranks = 2, TWO, .placement = DSM_PLACEMENT_RANK, QUICK,
     .aim = "both units are asked for at once, and their bytes leave together or not"},
    {"runs-numbers", "W0W1W1|M|R1", .n_ranks = 3, TWO, .placement = DSM_PLACEMENT_RANK,
     .aim = "units with different histories are asked for at once"},
    {"runs-three", "W1|W0W1|M", .n_ranks = 3, TWO, .placement = DSM_PLACEMENT_RANK,
     .aim = "the same with home and owner elsewhere: one forward for both where that will do"},
    {"runs-walks", "*N|W0W1*|M*", .n_ranks = 3, .n_units = 3, .unit_pages = 1,
     .placement = DSM_PLACEMENT_RANK, GAPS, QUICK, .n_walks = 5000,
     .aim = "runs of units on three ranks: random schedules"},
    {"samples", "q0*p0*|**q0*", .n_ranks = 2, ONE, GAPS, QUICK,
     .aim = "a page asked for ahead whose first use is to be seen"},
    {"samples-three", "W0q0*|R0*|q0*", .n_ranks = 3, ONE, QUICK, .n_reclaims = 1,
     .n_walks = 5000,
     .aim = "the same with two more who ask, and mappings dropped by the kernel: random schedules"},
    {"samples-run", "W0W1nW0|Y01", .n_ranks = 2, TWO, .placement = DSM_PLACEMENT_RANK, QUICK,
     .aim = "units that the other rank reads are asked for in a run to be written again"},
    {"samples-walks", "n**,*|q0**|p0*n*", .n_ranks = 3, TWO, .placement = DSM_PLACEMENT_RANK, GAPS,
     MIGRATE, QUICK, .n_reclaims = 1, .n_walks = 5000,
     .aim = "units asked for ahead on three ranks: random schedules"},
    {"migratory", "R0W0|R0W0R0W0", .n_ranks = 2, ONE, GAPS, MIGRATE, QUICK,
     .aim = "a page that is read and then written, rank after rank"},
    {"migratory-undone", "W0R0R0|R0W0R0W0", .n_ranks = 2, ONE, MIGRATE, QUICK,
     .aim = "a page that is handed over unwritten, and is shared again"},
    {"migratory-far", "|W0R0|R0W0", .n_ranks = 3, ONE, MIGRATE, QUICK,
     .aim = "a page that migrates, at home elsewhere"},
    {"migratory-walks", "W0**|R0W0**|**", .n_ranks = 3, ONE, GAPS, MIGRATE, QUICK, .n_walks = 5000,
     .aim = "a page that begins to migrate, and then any accesses: random schedules"},
    {"migratory-evict", "W0W1|R0W0*|*", .n_ranks = 3, TWO, .frame_limit = 2, MIGRATE, QUICK,
     .n_walks = 5000, .aim = "pages that migrate and are evicted: random schedules"},
    {"migratory-runs", "W0W1|R0W0R1W1|MW1", .n_ranks = 3, TWO, GAPS, MIGRATE, QUICK,
     .placement = DSM_PLACEMENT_RANK, .n_walks = 5000,
     .aim = "pages that migrate are asked for at once: random schedules"},
    {"advice", "R0W0R0|R0W0R0W0", .n_ranks = 2, ONE, GAPS, MIGRATE, QUICK, .advice = "r-",
     .aim = "a page that migrates, and one rank says that it mostly reads it"},
    {"advice-mixed", "R0*|R0W0R0|*R0", .n_ranks = 3, ONE, MIGRATE, QUICK, .n_walks = 5000,
     .advice = "m-r",
     .aim = "a page that one rank calls migratory and another read mostly: random schedules"},
    {"advice-run", "W1|R1W1|MR1", .n_ranks = 3, TWO, MIGRATE, QUICK,
     .placement = DSM_PLACEMENT_RANK, .n_walks = 5000, .advice = "--r", .is_last_advised = true,
     .aim = "two units asked for at once, the second called read mostly: random schedules"},
    {"migratory-crash", "W0R0|R0W0|R0W0R0", .n_ranks = 3, ONE, .n_crashes = 1, MIGRATE, QUICK,
     .n_walks = 5000, .aim = "a rank dies while a page migrates: random schedules"},
    {"pins", "W0H0R0h0|W0H0W0", .n_ranks = 2, ONE, GAPS, QUICK,
     .aim = "a page is pinned, and let go or its time ends"},
    {"pins-two", "W0H0W1H1h0h1|W0W1", .n_ranks = 2, TWO, QUICK,
     .aim = "two pages are pinned one after the other, while another rank wants both"},
    {"pins-threads", "W0H0h0,H0R0h0|W0H0", .n_ranks = 2, ONE, QUICK,
     .aim = "two threads of one rank pin the same page"},
    {"pins-crash", "W0H0W0|W0H0W0", .n_ranks = 2, ONE, .n_crashes = 1, QUICK,
     .aim = "a rank dies that has pinned a page, or waits for one"},
    {"prefetch-three", "P0*|Q0*|", .n_ranks = 3, ONE, QUICK,
     .aim = "the same, at home elsewhere"},
    {"evict-full", "**|*", .n_ranks = 2, TWO, .frame_limit = 1, .may_be_full = true, QUICK,
     .aim = "one frame a rank for two units"},
    {"evict", "**|*", .n_ranks = 2, TWO, .frame_limit = 2, QUICK,
     .aim = "room for all, but a rank begins to free before it is full"},
    {"evict-walks", "***|***|***", .n_ranks = 3, .n_units = 3, .unit_pages = 1, .frame_limit = 2,
     GAPS, QUICK, .n_walks = 5000,
     .aim = "eviction with room for all on 3 ranks, 3 units: random schedules"},
    {"evict-full-walks", "***|***|***", .n_ranks = 3, .n_units = 3, .unit_pages = 1,
     .frame_limit = 1, .may_be_full = true, GAPS, QUICK, .n_walks = 5000,
     .aim = "the same without a frame to spare"},
    {"large-walks", "????,P0??|Q1??,???|?P2?,???|????,Q0??", .n_ranks = 4, .n_units = 3,
     .unit_pages = 1, .n_reclaims = 4, GAPS, QUICK, .n_walks = 2000,
     .aim = "4 ranks, 2 threads each, 3 units: random schedules"},
    {"crash", "***|***", .n_ranks = 2, ONE, .n_crashes = 1, GAPS, QUICK,
     .aim = "a rank dies at any moment"},
    {"crash-chunks", "**|**", .n_ranks = 2, .n_units = 1, .unit_pages = 32, .n_crashes = 1, QUICK,
     .aim = "a rank dies, also between two pieces of a unit"},
    {"crash-collective", "AB|AB|AB", .n_ranks = 3, ONE, .n_crashes = 1, QUICK,
     .aim = "a rank dies before, in or after a collective"},

    {"boundary-end", "X01|X10", .n_ranks = 2, TWO, GAPS, .keeps_end = true,
     .aim = "the same, and what is kept for an instruction may be given up"},
    {"crash-three", "**|*|*", .n_ranks = 3, ONE, .n_crashes = 1,
     .aim = "one of three ranks dies"},
    {"crash-lock", "L0U0|L0U0|L0U0L0U0", .n_ranks = 3, ONE, .n_locks = 1, .n_crashes = 1,
     .aim = "the holder, the manager or a waiter of a lock dies"},
    {"evict-3", "***|***", .n_ranks = 2, TWO, .frame_limit = 2,
     .aim = "eviction: all programs of 3 accesses a rank"},
    {"evict-full-3", "***|***", .n_ranks = 2, TWO, .frame_limit = 1, .may_be_full = true,
     .aim = "the same with one frame a rank"},
    {"one-page-2", "**|**|**", .n_ranks = 3, ONE,
     .aim = "3 ranks, 1 page: all programs of 2 accesses a rank"},
    {"one-page-3", "***|***|***", .n_ranks = 3, ONE,
     .aim = "3 ranks, 1 page: all programs of 3 accesses a rank"},
    {"three-by-two", "*|*|*", .n_ranks = 3, TWO,
     .aim = "3 ranks, 2 pages"},
    {"threads-2", "**,*|**", .n_ranks = 2, ONE, GAPS,
     .aim = "two threads of one rank on one page, more accesses"},
    {"reclaim-2", "**|**", .n_ranks = 2, TWO, .n_reclaims = 1,
     .aim = "the kernel drops a mapping, more accesses"},
    {"migratory-three", "W0|R0W0R0|R0W0", .n_ranks = 3, ONE, MIGRATE,
     .aim = "a page that migrates on three ranks, and is handed over unwritten"},
    {"migratory-3", "**|***|***", .n_ranks = 3, ONE, MIGRATE,
     .aim = "all programs on a page that may migrate"},
    {"threads-two-pages", "**,*|**", .n_ranks = 2, TWO,
     .aim = "two threads of one rank on two pages"},
    {"instructions", "??|??", .n_ranks = 2, TWO,
     .aim = "all programs that also have instructions for two pages"},
    {"boundary-3", "X01|X01|X10", .n_ranks = 3, TWO,
     .aim = "instructions that need two pages on three ranks"},
};
/* clang-format on */
const uint32_t suite_n_instances = sizeof suite_instances / sizeof suite_instances[0];

/* Small ones, so that make check can afford to look for every fault. */
static const char *const plant_instances[DSM_PLANT_N] = {
    [DSM_PLANT_DEFER_BEHIND_REQUEST] = "two-pages",
    [DSM_PLANT_IGNORE_PRIOR] = "two-pages",
    [DSM_PLANT_DROP_EARLY_ACK] = "one-page",
    [DSM_PLANT_FORGET_SHARER] = "two-pages",
    [DSM_PLANT_SWAP_EFFECTS] = "two-pages",
    [DSM_PLANT_LOCK_PASSED_TWICE] = "locks",
    [DSM_PLANT_NO_DOWNGRADE] = "two-pages",
    [DSM_PLANT_EARLY_WRITE] = "two-pages",
    [DSM_PLANT_HONOUR_ANY_COPY] = "two-pages",
    [DSM_PLANT_DROP_OWNED] = "evict",
    [DSM_PLANT_KEEP_ALL] = "boundary",
    [DSM_PLANT_OTHER_KEY] = "one-page",
    [DSM_PLANT_RUN_FIRST_PRIOR] = "runs-three",
    [DSM_PLANT_RUN_OWN_NUMBERS] = "runs-numbers",
    [DSM_PLANT_READ_WHILE_WRITTEN] = "rwlock",
    [DSM_PLANT_TAKE_LEAVES] = "semaphore-timed",
    [DSM_PLANT_BARRIER_EARLY] = "thread-barrier",
    [DSM_PLANT_CANCEL_TWICE] = "semaphore-timed",
    [DSM_PLANT_WANTED_ALWAYS] = "lock-wanted",
    [DSM_PLANT_CLEAN_STAYS] = "migratory-undone",
    [DSM_PLANT_SAMPLE_STAYS] = "samples",
    [DSM_PLANT_PIN_FOREVER] = "pins",
    [DSM_PLANT_EXCLUSIVE_STAYS] = "migratory",
    [DSM_PLANT_ADVICE_UNSAID] = "advice",
};

const struct suite_instance *suite_for_plant(int plant)
{
    for (uint32_t i = 0; plant_instances[plant] != NULL && i < suite_n_instances; i++) {
        if (strcmp(suite_instances[i].name, plant_instances[plant]) == 0) {
            return &suite_instances[i];
        }
    }
    return NULL;
}

static enum dsm_advice_kind advice_of(char letter)
{
    return letter == 'r'   ? DSM_ADVICE_KIND_READ_MOSTLY
           : letter == 'm' ? DSM_ADVICE_KIND_MIGRATORY
                           : DSM_ADVICE_KIND_NORMAL;
}

/* One program of the text into *program_out; returns where it stopped, or NULL. */
static const char *parse_one(const char *at, const struct suite_instance *instance,
                             struct program *program_out, char *why, size_t why_bytes)
{
    char text[128];
    size_t n = strcspn(at, "|,");

    if (n >= sizeof text) {
        snprintf(why, why_bytes, "a program of %zu letters; %zu are allowed", n, sizeof text - 1);
        return NULL;
    }
    memcpy(text, at, n);
    text[n] = '\0';
    if (!program_parse(text, instance->n_units, instance->n_locks, program_out, why, why_bytes)) {
        return NULL;
    }
    return at + n;
}

bool suite_config(const struct suite_instance *instance, struct world_config *config_out, char *why,
                  size_t why_bytes)
{
    struct world_config config = {
        .n_ranks = instance->n_ranks,
        .n_units = instance->n_units,
        .unit_pages = instance->unit_pages,
        .n_threads = 1,
        .n_locks = instance->n_locks,
        .frame_limit = instance->frame_limit,
        .placement = instance->placement,
        .has_trap_gap = instance->has_gaps,
        .has_done_gap = instance->has_gaps,
        .has_migration = instance->has_migration,
        .is_last_advised = instance->is_last_advised,
        .may_be_full = instance->may_be_full,
        .keeps_end = instance->keeps_end,
        .n_reclaims = instance->n_reclaims,
        .n_crashes = instance->n_crashes,
    };
    uint32_t rank = 0, thread = 0;

    for (uint32_t i = 0; instance->advice != NULL && i < config.n_ranks; i++) {
        config.advice[i] = (uint8_t)advice_of(instance->advice[i]);
    }
    config.has_runs = strpbrk(instance->programs, "MN") != NULL;
    snprintf(config.name, sizeof config.name, "%s", instance->name);
    for (const char *at = instance->programs;; at++) {
        if (rank >= config.n_ranks || thread >= WORLD_MAX_THREADS) {
            snprintf(why, why_bytes, "programs \"%s\": more than %u ranks or %u threads a rank",
                     instance->programs, config.n_ranks, WORLD_MAX_THREADS);
            return false;
        }
        at = parse_one(at, instance, &config.programs[rank][thread], why, why_bytes);
        if (at == NULL) {
            return false;
        }
        config.n_threads = thread + 1 > config.n_threads ? thread + 1 : config.n_threads;
        if (*at == '\0') {
            break;
        }
        thread = *at == ',' ? thread + 1 : 0;
        rank += *at == '|';
    }
    *config_out = config;
    return true;
}
