/* SPDX-License-Identifier: BSD-3-Clause */
/* command.c - see command.h. */
#include "command.h"

#include "report.h"
#include <dsm/dsm.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_THREADS 1024u

struct wanted {
    uint64_t sizes[COMMAND_MAX_SIZES];
    bool is_sequential;
    uint32_t n_threads; /* 0: ranks */
};

static void usage(const struct command *c, FILE *to)
{
    fprintf(to, "usage: %s", c->kernel->name);
    for (unsigned i = 0; i < COMMAND_MAX_SIZES && c->sizes[i].letter != 0; i++)
        fprintf(to, " [-%c N]", c->sizes[i].letter);
    fprintf(to, " [--sequential | --threads N]\n");
    for (unsigned i = 0; i < COMMAND_MAX_SIZES && c->sizes[i].letter != 0; i++)
        fprintf(to, "  -%c  %s (%" PRIu64 ")\n", c->sizes[i].letter, c->sizes[i].text,
                c->sizes[i].value);
    fprintf(to, "  --sequential  on private memory, without dsm\n"
                "  --threads N   on N threads of this process, without dsm\n");
}

static void set_size(const struct command *c, int letter, const char *text, struct wanted *w)
{
    for (unsigned i = 0; i < COMMAND_MAX_SIZES; i++) {
        const struct command_size *size = &c->sizes[i];
        char option[3] = {'-', (char)letter, 0};

        if (size->letter != letter)
            continue;
        w->sizes[i] = option_number(c->kernel->name, option, text, size->min, size->max);
        if (size->is_power_of_two && (w->sizes[i] & (w->sizes[i] - 1)) != 0) {
            fprintf(stderr, "%s: %s %s is not a power of two\n", c->kernel->name, option, text);
            exit(2);
        }
    }
}

static void parse(int argc, char **argv, const struct command *c, struct wanted *w)
{
    static const struct option options[] = {{"sequential", no_argument, NULL, 'S'},
                                            {"threads", required_argument, NULL, 'T'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    char letters[2 * COMMAND_MAX_SIZES + 2], *at = letters;
    int option;

    for (unsigned i = 0; i < COMMAND_MAX_SIZES && c->sizes[i].letter != 0; i++) {
        w->sizes[i] = c->sizes[i].value;
        *at++ = c->sizes[i].letter;
        *at++ = ':';
    }
    *at++ = 'h';
    *at = '\0';
    while ((option = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        if (option == 'h') {
            usage(c, stdout);
            exit(0);
        }
        if (option == '?') {
            usage(c, stderr);
            exit(2);
        }
        if (option == 'S')
            w->is_sequential = true;
        else if (option == 'T')
            w->n_threads =
                (uint32_t)option_number(c->kernel->name, "--threads", optarg, 1, MAX_THREADS);
        else
            set_size(c, option, optarg, w);
    }
    if (optind < argc) {
        fprintf(stderr, "%s: unexpected argument '%s'\n", c->kernel->name, argv[optind]);
        exit(2);
    }
}

int command_main(int argc, char **argv, const struct command *c)
{
    struct wanted w = {0};
    struct kernel_result result = {0};
    char input[64];
    uint32_t rank = 0, size = 0;
    int err;

    parse(argc, argv, c, &w);
    if (w.is_sequential) {
        err = kernel_run_sequential(c->kernel, w.sizes, true, &result);
    } else if (w.n_threads > 0) {
        err = kernel_run_threads(c->kernel, w.n_threads, w.sizes, true, &result);
    } else {
        if (dsm_init(NULL) < 0)
            return 1;
        rank = dsm_rank();
        size = dsm_size();
        err = kernel_run(c->kernel, w.sizes, true, &result);
    }
    if (rank == 0 && err == 0) {
        int n = snprintf(input, sizeof(input), "%c%" PRIu64, c->sizes[0].letter, w.sizes[0]);

        if (c->sizes[1].letter != 0)
            snprintf(input + n, sizeof(input) - (size_t)n, ",%c%" PRIu64, c->sizes[1].letter,
                     w.sizes[1]);
        report_result(c->kernel->name, input, size, &result);
    }
    if (!w.is_sequential && w.n_threads == 0 && dsm_finalize() < 0)
        return 1;
    return report_status(c->kernel->name, rank, err, &result);
}
