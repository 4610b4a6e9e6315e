/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dsm_sim.c - dsm-sim: the real core with very many simulated ranks. Prints what cannot be seen on
 * a few real ones: messages per fault, directory bytes per touched page, depth of a barrier.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/errors.h"
#include "base/parse.h"
#include "base/rng.h"
#include "core/trace.h"
#include "tests/sim/world.h"

#define PAGES_PER_RANK 16u
#define WRITE_PERCENT  30u

struct options {
    uint64_t n_ranks, seed, n_steps;
};

static void usage(FILE *out)
{
    fputs("usage: dsm-sim [--ranks N] [--seed N] [--steps N]\n"
          "Runs the coherence core with many simulated ranks that read and write pages at random,\n"
          "then meet in a barrier.\n"
          "  --ranks N  simulated ranks, 1 to 4096 (1024)\n"
          "  --seed N   everything follows from it (1)\n"
          "  --steps N  accesses of each rank, 1 to 1000000 (20)\n"
          "  --help     this text\n",
          out);
}

static void random_then_barrier(struct sim_world *w, struct sim_thread *t, struct sim_op *op)
{
    const struct options *options = sim_thread_user(t);
    uint64_t done = sim_thread_ops_done(t);

    if (done > options->n_steps)
        return;
    if (done == options->n_steps) {
        op->kind = SIM_OP_COLLECTIVE;
        op->collective = DSM_COLLECTIVE_BARRIER;
        return;
    }
    op->kind = SIM_OP_ACCESS;
    op->n_pages = 1;
    op->pages[0] = dsm_rng_below(sim_rng(w), options->n_ranks * PAGES_PER_RANK);
    op->writes[0] = dsm_rng_below(sim_rng(w), 100) < WRITE_PERCENT;
    op->ip = 1;
}

static void print_results(const struct sim_world *w, const struct options *options)
{
    struct dsm_core_counters sum = {0};
    uint64_t faults, unit_messages = 0;
    dsm_rank_t rank;
    uint8_t type;

    for (rank = 0; rank < options->n_ranks; rank++) {
        struct dsm_core_counters c;

        dsm_core_counters(sim_core(w, rank), &c);
        sum.faults_read += c.faults_read;
        sum.faults_write += c.faults_write;
        sum.faults_upgrade += c.faults_upgrade;
        sum.directory_entries += c.directory_entries;
        sum.directory_bytes += c.directory_bytes;
        for (type = 0; type < DSM_MSG_N_TYPES; type++)
            sum.messages[type] += c.messages[type];
    }
    faults = sum.faults_read + sum.faults_write + sum.faults_upgrade;
    for (type = DSM_MSG_REQUEST; type <= DSM_MSG_REFUSE; type++)
        unit_messages += sum.messages[type];
    printf("ranks                           %lu\n", (unsigned long)options->n_ranks);
    printf("seed                            %lu\n", (unsigned long)options->seed);
    printf("core steps                      %lu\n", (unsigned long)sim_steps(w));
    printf("faults                          %lu\n", (unsigned long)faults);
    if (faults > 0)
        printf("messages per fault              %.2f\n", (double)unit_messages / (double)faults);
    for (type = DSM_MSG_REQUEST; type <= DSM_MSG_REFUSE; type++)
        if (sum.messages[type])
            printf("  %-29s %.2f\n", dsm_trace_message_name(type),
                   (double)sum.messages[type] / (double)faults);
    printf("touched pages                   %lu\n", (unsigned long)sum.directory_entries);
    if (sum.directory_entries > 0)
        printf("directory bytes per page        %.1f\n",
               (double)sum.directory_bytes / (double)sum.directory_entries);
    printf("barrier depth (rounds)          %.1f\n",
           (double)sum.messages[DSM_MSG_COLLECTIVE] / (double)options->n_ranks);
}

static int parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"ranks", required_argument, NULL, 'r'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"steps", required_argument, NULL, 'n'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int c;

    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        uint64_t min = c != 's', max = c == 'r' ? 4096 : c == 'n' ? 1000000 : UINT64_MAX;
        uint64_t *value = c == 'r'   ? &options->n_ranks
                          : c == 's' ? &options->seed
                          : c == 'n' ? &options->n_steps
                                     : NULL;

        if (c == 'h') {
            usage(stdout);
            exit(0);
        }
        if (!value)
            return DSM_E_INVAL; /* getopt has said why */
        if (dsm_parse_u64(optarg, min, max, value)) {
            fprintf(stderr, "dsm-sim: --%s %s: allowed is %lu to %lu\n",
                    c == 'r'   ? "ranks"
                    : c == 's' ? "seed"
                               : "steps",
                    optarg, (unsigned long)min, (unsigned long)max);
            return DSM_E_INVAL;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "dsm-sim: %s: no arguments are taken; see dsm-sim --help\n", argv[optind]);
        return DSM_E_INVAL;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {.n_ranks = 1024, .seed = 1, .n_steps = 20};
    struct sim_config config;
    struct sim_world *w;
    dsm_rank_t rank;
    int status = 0;

    if (parse(argc, argv, &options))
        return 2;
    sim_config_init(&config, (uint32_t)options.n_ranks, options.n_ranks * PAGES_PER_RANK,
                    options.seed);
    config.is_unchecked = true;
    w = sim_open(&config);
    for (rank = 0; rank < options.n_ranks; rank++)
        sim_thread_add(w, rank, random_then_barrier, &options);
    if (sim_run(w, UINT64_MAX)) {
        print_results(w, &options);
    } else {
        fprintf(stderr, "dsm-sim: %s\n", sim_error(w));
        status = 1;
    }
    sim_close(w);
    return status;
}
