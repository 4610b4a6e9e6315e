/* SPDX-License-Identifier: BSD-3-Clause */
/* options.c - see options.h. */
#include "options.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/parse.h"
#include "core/plant.h"

static const struct {
    const char *name, *text;
} plants[] = {{"NONE", ""},
#define XX(name, text) {#name, text},
              DSM_PLANT_MAP(XX)
#undef XX
};

const char *options_plant_name(int plant)
{
    return plants[plant].name;
}

const char *options_plant_text(int plant)
{
    return plants[plant].text;
}

static void usage(FILE *out)
{
    fprintf(
        out,
        "usage: explore [OPTION]...\n"
        "Visits every state that a tiny job can reach, running the real coherence core, and\n"
        "checks each. Without options: the instances of make check.\n"
        "\n"
        "  --all              every instance of the table (hours)\n"
        "  --instance NAME    one of them\n"
        "  --list             name them\n"
        "or an instance of your own:\n"
        "  --ranks N          2 to %u (2)\n"
        "  --pages N          units of memory, 1 to %u (2)\n"
        "  --unit-pages N     pages in a unit, 1 to 32, a power of two (1)\n"
        "  --threads N        a rank, 1 to %u (1)\n"
        "  --ops N            any N accesses a thread (2)\n"
        "  --program TEXT     instead of --ops: what threads do; ranks divided by |, the threads\n"
        "                     of a rank by a comma. R0 load from unit 0, W0 store, Y01 X01 load\n"
        "                     from, store to units 0 and 1 in one instruction, P0 Q0 prefetch to\n"
        "                     read, to write, M N the same of all units, p0 q0 n the\n"
        "                     same, to see the first use, H0 h0 pin, L0 U0 take and "
        "give back "
        "a lock, B barrier,\n"
        "                     m0 i0 try lock 0, wait for it for a while, r0 w0 u0 reader-writer\n"
        "                     lock, V0 S0 s0 semaphore: post, take, take for a while, F0 E0 flag:\n"
        "                     set, await, b0 barrier of threads, G0 tickets, c0 k0 K0 condition:\n"
        "                     wait under lock 0, signal, broadcast, Z0 destroy,\n"
        "                     A all-reduce, C broadcast, D0 drop, * any R or W, ? any access\n"
        "  --evict N          frames a rank may hold, in pages (0: no limit)\n"
        "  --locks N          and objects, 0 to %u; with --ops, accesses are made under lock 0\n"
        "  --reclaim N        mappings that the kernel drops by itself (0)\n"
        "  --crash            any one rank may die at any moment\n"
        "  --migrate          homes look for units that migrate\n"
        "  --keeps-end        what is kept for an instruction may be given up as time passes\n"
        "  --placement KIND   cyclic, block, rank or first-touch (cyclic)\n"
        "  --gaps             a trap and the core's hearing of it are two steps, and so are an\n"
        "                     effect and its end\n"
        "with any of these:\n"
        "  --walks N          N random schedules instead of every state\n"
        "  --seed N           of the first of them (1)\n"
        "  --max-states N     stop there (0: no limit)\n"
        "  --max-memory SIZE  stop there (4G)\n"
        "  --sample N         compare the successors of one in N merged states (64; 0: never)\n"
        "  --no-progress      do not check that the end can be reached from everywhere\n"
        "  --plant NAME       with a fault in the core, which must be found; all: each in turn\n"
        "                     (explore-planted only)\n"
        "  --no-trace         do not print the way to a violation\n"
        "  --help\n"
        "Exit status: 0 all is well, 1 a property is violated or a planted fault not found,\n"
        "2 wrong usage or out of memory.\n",
        WORLD_MAX_RANKS, WORLD_MAX_UNITS, WORLD_MAX_THREADS, WORLD_MAX_LOCKS);
}

__attribute__((noreturn)) static void refuse(const char *option, const char *value,
                                             const char *allowed)
{
    fprintf(stderr, "explore: --%s %s: allowed is %s\n", option, value, allowed);
    exit(2);
}

static uint64_t number(const char *option, const char *value, uint64_t min, uint64_t max)
{
    uint64_t n;
    char allowed[64];

    if (dsm_parse_u64(value, min, max, &n) != 0) {
        snprintf(allowed, sizeof allowed, "%" PRIu64 " to %" PRIu64, min, max);
        refuse(option, value, allowed);
    }
    return n;
}

static int plant_of(const char *name)
{
    if (strcmp(name, "all") == 0) {
        return OPTIONS_ALL_PLANTS;
    }
    for (int i = 0; i < DSM_PLANT_N; i++) {
        if (strcasecmp(name, plants[i].name) == 0) {
            return i;
        }
    }
    fprintf(stderr, "explore: --plant %s: allowed are all", name);
    for (int i = 1; i < DSM_PLANT_N; i++) {
        fprintf(stderr, ", %s", plants[i].name);
    }
    fprintf(stderr, "\n");
    exit(2);
}

static enum dsm_placement_kind placement_of(const char *name)
{
    static const char *const names[] = {
        [DSM_PLACEMENT_BLOCK] = "block",
        [DSM_PLACEMENT_CYCLIC] = "cyclic",
        [DSM_PLACEMENT_RANK] = "rank",
        [DSM_PLACEMENT_FIRST_TOUCH] = "first-touch",
    };

    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return (enum dsm_placement_kind)i;
        }
    }
    refuse("placement", name, "cyclic, block, rank or first-touch");
}

/* The same for all threads: n_ops accesses, each under the lock where there is one. */
static void write_programs(struct options *o, uint32_t n_threads, uint32_t n_ops)
{
    size_t n = 0;

    for (uint32_t i = 0; i < o->own.n_ranks * n_threads; i++) {
        const char *divider = i == 0 ? "" : i % n_threads == 0 ? "|" : ",";
        n += (size_t)snprintf(o->programs + n, sizeof o->programs - n, "%s", divider);
        for (uint32_t k = 0; k < n_ops; k++) {
            n += (size_t)snprintf(o->programs + n, sizeof o->programs - n, "%s",
                                  o->own.n_locks > 0 ? "L0*U0" : "*");
        }
    }
}

enum { OPT_BASE = 256, OPT_OWN = 300 };
enum {
    OPT_ALL = OPT_BASE,
    OPT_INSTANCE,
    OPT_LIST,
    OPT_WALKS,
    OPT_SEED,
    OPT_MAX_STATES,
    OPT_MAX_MEMORY,
    OPT_SAMPLE,
    OPT_NO_PROGRESS,
    OPT_PLANT,
    OPT_NO_TRACE,
    OPT_HELP,
    OPT_RANKS = OPT_OWN,
    OPT_PAGES,
    OPT_UNIT_PAGES,
    OPT_THREADS,
    OPT_OPS,
    OPT_PROGRAM,
    OPT_EVICT,
    OPT_LOCKS,
    OPT_RECLAIM,
    OPT_CRASH,
    OPT_PLACEMENT,
    OPT_GAPS,
    OPT_KEEPS_END,
    OPT_MIGRATE,
};

static const struct option long_options[] = {
    {"all", no_argument, NULL, OPT_ALL},
    {"instance", required_argument, NULL, OPT_INSTANCE},
    {"list", no_argument, NULL, OPT_LIST},
    {"walks", required_argument, NULL, OPT_WALKS},
    {"seed", required_argument, NULL, OPT_SEED},
    {"max-states", required_argument, NULL, OPT_MAX_STATES},
    {"max-memory", required_argument, NULL, OPT_MAX_MEMORY},
    {"sample", required_argument, NULL, OPT_SAMPLE},
    {"no-progress", no_argument, NULL, OPT_NO_PROGRESS},
    {"plant", required_argument, NULL, OPT_PLANT},
    {"no-trace", no_argument, NULL, OPT_NO_TRACE},
    {"help", no_argument, NULL, OPT_HELP},
    {"ranks", required_argument, NULL, OPT_RANKS},
    {"pages", required_argument, NULL, OPT_PAGES},
    {"unit-pages", required_argument, NULL, OPT_UNIT_PAGES},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"ops", required_argument, NULL, OPT_OPS},
    {"program", required_argument, NULL, OPT_PROGRAM},
    {"evict", required_argument, NULL, OPT_EVICT},
    {"locks", required_argument, NULL, OPT_LOCKS},
    {"reclaim", required_argument, NULL, OPT_RECLAIM},
    {"crash", no_argument, NULL, OPT_CRASH},
    {"placement", required_argument, NULL, OPT_PLACEMENT},
    {"gaps", no_argument, NULL, OPT_GAPS},
    {"keeps-end", no_argument, NULL, OPT_KEEPS_END},
    {"migrate", no_argument, NULL, OPT_MIGRATE},
    {NULL, 0, NULL, 0},
};

/* Options that shape an instance of its own. */
static void parse_own(struct options *o, int option, const char *name, const char *value,
                      uint32_t *n_threads, uint32_t *n_ops)
{
    o->has_own = true;
    switch (option) {
    case OPT_RANKS:
        o->own.n_ranks = (uint32_t)number(name, value, 2, WORLD_MAX_RANKS);
        return;
    case OPT_PAGES:
        o->own.n_units = (uint32_t)number(name, value, 1, WORLD_MAX_UNITS);
        return;
    case OPT_UNIT_PAGES:
        o->own.unit_pages = (uint32_t)number(name, value, 1, 32);
        if ((o->own.unit_pages & (o->own.unit_pages - 1)) != 0) {
            refuse(name, value, "a power of two, 1 to 32");
        }
        return;
    case OPT_THREADS:
        *n_threads = (uint32_t)number(name, value, 1, WORLD_MAX_THREADS);
        return;
    case OPT_OPS:
        *n_ops = (uint32_t)number(name, value, 1, PROGRAM_MAX_OPS / 3);
        return;
    case OPT_PROGRAM:
        if (snprintf(o->programs, sizeof o->programs, "%s", value) >= (int)sizeof o->programs) {
            refuse(name, value, "at most 511 letters");
        }
        return;
    case OPT_EVICT:
        o->own.frame_limit = number(name, value, 0, 1024);
        return;
    case OPT_LOCKS:
        o->own.n_locks = (uint32_t)number(name, value, 0, WORLD_MAX_LOCKS);
        return;
    case OPT_RECLAIM:
        o->own.n_reclaims = (uint32_t)number(name, value, 0, 8);
        return;
    case OPT_CRASH:
        o->own.n_crashes = 1;
        return;
    case OPT_PLACEMENT:
        o->own.placement = placement_of(value);
        return;
    case OPT_GAPS:
        o->own.has_gaps = true;
        return;
    case OPT_KEEPS_END:
        o->own.keeps_end = true;
        return;
    case OPT_MIGRATE:
        o->own.has_migration = true;
        return;
    }
}

static void parse_common(struct options *o, int option, const char *name, const char *value)
{
    switch (option) {
    case OPT_ALL:
        o->is_all = true;
        return;
    case OPT_INSTANCE:
        o->instance = value;
        return;
    case OPT_LIST:
        o->is_list = true;
        return;
    case OPT_WALKS:
        o->n_walks = number(name, value, 1, UINT64_MAX / 2);
        return;
    case OPT_SEED:
        o->seed = number(name, value, 0, UINT64_MAX / 2);
        return;
    case OPT_MAX_STATES:
        o->limits.max_states = number(name, value, 0, UINT32_MAX / 2);
        return;
    case OPT_MAX_MEMORY:
        if (dsm_parse_size(value, &o->limits.max_bytes) != 0) {
            refuse(name, value, "a size like 512M or 4G");
        }
        return;
    case OPT_SAMPLE:
        o->limits.sample = (uint32_t)number(name, value, 0, UINT32_MAX);
        return;
    case OPT_NO_PROGRESS:
        o->limits.has_progress = false;
        return;
    case OPT_PLANT:
        o->plant = plant_of(value);
        return;
    case OPT_NO_TRACE:
        o->has_trace = false;
        return;
    case OPT_HELP:
        usage(stdout);
        exit(0);
    default: /* getopt has said what is wrong */
        fprintf(stderr, "explore: see --help\n");
        exit(2);
    }
}

void options_parse(int argc, char **argv, struct options *options_out)
{
    struct options *o = options_out;
    uint32_t n_threads = 1, n_ops = 2;
    int option, index = 0;

    *o = (struct options){
        .own = {.name = "own", .n_ranks = 2, .n_units = 2, .unit_pages = 1, .aim = ""},
        .has_trace = true,
        .seed = 1,
        .limits = {.sample = 64, .has_progress = true},
    };
    o->own.placement = DSM_PLACEMENT_CYCLIC;
    while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (option >= OPT_OWN) {
            parse_own(o, option, long_options[index].name, optarg, &n_threads, &n_ops);
        } else {
            parse_common(o, option, long_options[index].name, optarg);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "explore: %s: no such argument; see --help\n", argv[optind]);
        exit(2);
    }
    if (o->has_own && o->programs[0] == '\0') {
        write_programs(o, n_threads, n_ops);
    }
    o->own.programs = o->programs;
    /* With a frame to spare somewhere there is always a rank that a unit can move to. */
    o->own.may_be_full =
        o->own.frame_limit * o->own.n_ranks <= (uint64_t)o->own.n_units * o->own.unit_pages;
}
