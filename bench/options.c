/* SPDX-License-Identifier: BSD-3-Clause */
/* options.c - see options.h. */
#include "bench/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dsm/dsm.h>

#include "base/parse.h"
#include "bench/worker.h"

#define MAX_RANKS  1024u
#define EXIT_USAGE 2

enum {
    OPTION_ONLY = 256,
    OPTION_TRAP,
    OPTION_TRANSPORT,
    OPTION_RANKS,
    OPTION_JSON,
    OPTION_QUICK,
    OPTION_LIST,
    OPTION_WORKER,
    OPTION_HELP,
    OPTION_VERSION,
};

static const struct option long_options[] = {
    {"only", required_argument, NULL, OPTION_ONLY},
    {"trap", required_argument, NULL, OPTION_TRAP},
    {"transport", required_argument, NULL, OPTION_TRANSPORT},
    {"ranks", required_argument, NULL, OPTION_RANKS},
    {"json", required_argument, NULL, OPTION_JSON},
    {"quick", no_argument, NULL, OPTION_QUICK},
    {"list", no_argument, NULL, OPTION_LIST},
    {"worker", no_argument, NULL, OPTION_WORKER},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {0},
};

static const char help_text[] =
    "Usage: dsm-bench [OPTION]...\n"
    "Measures libdsm on this machine and prints each figure beside its floor, what the machine\n"
    "itself takes for the same exchange, measured in the same run.\n"
    "\n"
    "  --only NAME,...    these measures and floors alone (see --list)\n"
    "  --trap T,...       auto, sigbus, uffd or segv; several are measured one after the other\n"
    "  --transport T      auto, tcp or rdma\n"
    "  --ranks N          with N ranks instead of what each measure lists\n"
    "  --json FILE        writes the results as JSON as well\n"
    "  --quick            a handful of rounds: shows that it works, says nothing about speed\n"
    "  --list             names of measures and floors\n"
    "  --help, --version\n"
    "\n"
    "It starts dsmrun for the ranks that it needs: the one beside it, or the one that the\n"
    "environment variable DSMRUN names, or the one in PATH. Started by dsmrun itself, it measures\n"
    "with the ranks it finds.\n";

static int complain(const char *option, const char *value, const char *allowed)
{
    fprintf(stderr, "dsm-bench: %s '%s': allowed: %s\n", option, value, allowed);
    return DSM_E_INVAL;
}

static bool is_floor(const char *name)
{
    for (unsigned i = 0; i < BENCH_N_FLOORS; i++)
        if (strcmp(bench_floor_kind(i)->name, name) == 0)
            return true;
    return false;
}

static bool is_one_of(const char *text, const char *const *allowed)
{
    while (*allowed != NULL)
        if (strcmp(text, *allowed++) == 0)
            return true;
    return false;
}

static int parse_names(struct bench_options *options, const char *text)
{
    char *rest, *name;

    free(options->only_text);
    options->n_names = 0;
    options->only_text = rest = strdup(text);
    if (rest == NULL)
        return DSM_E_NOMEM;
    while ((name = strsep(&rest, ",")) != NULL) {
        if (!is_floor(name) && bench_measure_find(name) == NULL)
            return complain("--only", name, "the names that --list prints");
        if (options->n_names == BENCH_MAX_NAMES)
            return complain("--only", text, "at most 64 names");
        options->names[options->n_names++] = name;
    }
    return 0;
}

static int parse_traps(struct bench_options *options, const char *text)
{
    static const char *const allowed[] = {"auto", "sigbus", "uffd", "segv", NULL};
    char *rest, *name;

    free(options->trap_text);
    options->n_traps = 0;
    options->trap_text = rest = strdup(text);
    if (rest == NULL)
        return DSM_E_NOMEM;
    while ((name = strsep(&rest, ",")) != NULL) {
        if (!is_one_of(name, allowed) || options->n_traps == BENCH_MAX_TRAPS)
            return complain("--trap", name, "auto, sigbus, uffd, segv, four of them at most");
        options->traps[options->n_traps++] = name;
    }
    return 0;
}

static int parse_ranks(struct bench_options *options, const char *text)
{
    uint64_t n;

    if (dsm_parse_u64(text, 1, MAX_RANKS, &n) != 0)
        return complain("--ranks", text, "1 to 1024");
    options->n_ranks = (uint32_t)n;
    return 0;
}

/* --only asks for something that --ranks does not allow. */
static int check_ranks(const struct bench_options *options)
{
    for (size_t i = 0; i < options->n_names && options->n_ranks != 0; i++) {
        const struct bench_measure *measure = bench_measure_find(options->names[i]);
        uint32_t min_ranks = measure != NULL ? measure->min_ranks : 1;

        for (unsigned k = 0; measure == NULL && k < BENCH_N_FLOORS; k++)
            if (strcmp(bench_floor_kind(k)->name, options->names[i]) == 0)
                min_ranks = bench_floor_kind(k)->min_ranks;
        if (options->n_ranks < min_ranks) {
            fprintf(stderr, "dsm-bench: --ranks %u: %s needs at least %u\n", options->n_ranks,
                    options->names[i], min_ranks);
            return DSM_E_INVAL;
        }
    }
    return 0;
}

static int apply(struct bench_options *options, int option, char **argv, int *status_out)
{
    static const char *const transports[] = {"auto", "tcp", "rdma", NULL};

    switch (option) {
    case OPTION_ONLY:
        return parse_names(options, optarg);
    case OPTION_TRAP:
        return parse_traps(options, optarg);
    case OPTION_TRANSPORT:
        options->transport = optarg;
        return is_one_of(optarg, transports) ? 0 : complain("--transport", optarg, "auto, tcp, rdma");
    case OPTION_RANKS:
        return parse_ranks(options, optarg);
    case OPTION_JSON:
        options->json_path = optarg;
        return optarg[0] != '\0' ? 0 : complain("--json", optarg, "the name of a file");
    case OPTION_QUICK:
        options->is_quick = true;
        return 0;
    case OPTION_LIST:
        options->is_list = true;
        return 0;
    case OPTION_WORKER:
        options->is_worker = true;
        return 0;
    case OPTION_HELP:
        fputs(help_text, stdout);
        *status_out = 0;
        return 1;
    case OPTION_VERSION:
        printf("dsm-bench %s\n", dsm_version());
        *status_out = 0;
        return 1;
    case ':':
        fprintf(stderr, "dsm-bench: %s needs a value (see --help)\n", argv[optind - 1]);
        return DSM_E_INVAL;
    default:
        fprintf(stderr, "dsm-bench: unknown option '%s' (see --help)\n", argv[optind - 1]);
        return DSM_E_INVAL;
    }
}

int bench_options_parse(int argc, char **argv, struct bench_options *options, int *status_out)
{
    int option, error = 0;

    *options = (struct bench_options){.transport = "auto", .traps = {"auto"}, .n_traps = 1};
    *status_out = EXIT_USAGE;
    opterr = 0;
    while (error == 0 && (option = getopt_long(argc, argv, ":", long_options, NULL)) != -1)
        error = apply(options, option, argv, status_out);
    if (error == 0 && optind < argc) {
        fprintf(stderr, "dsm-bench: unexpected argument '%s' (see --help)\n", argv[optind]);
        error = DSM_E_INVAL;
    }
    if (error == 0)
        error = check_ranks(options);
    return error;
}

void bench_options_free(struct bench_options *options)
{
    free(options->only_text);
    free(options->trap_text);
}

bool bench_options_has(const void *user, const char *name)
{
    const struct bench_options *options = user;

    for (size_t i = 0; i < options->n_names; i++)
        if (strcmp(options->names[i], name) == 0)
            return true;
    return options->n_names == 0;
}
