/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main.c - dsm-bench: measures the library on this machine, each figure beside its floor.
 *
 * The program started by the user asks dsmrun for jobs of as many ranks as the measures want; their
 * ranks are this program again, as workers. What a measure does is in measure_*.c, what it is held
 * against in floor_*.c, slices and statistics in worker.c, the table and the JSON in report.c.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/launch.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/worker.h"

#define JOB_TIMEOUT_S       600u
#define QUICK_JOB_TIMEOUT_S 60u
#define MAX_JOB_RANKS       1024u
#define DEFAULT_FLOOR_RANKS 2u

/* ---- what to run ---------------------------------------------------------------------------- */

static bool runs_with(const struct bench_options *options, const struct bench_measure *measure,
                      uint32_t n_ranks)
{
    if (!bench_options_has(options, measure->name) || measure->min_ranks > n_ranks)
        return false;
    if (options->n_ranks != 0)
        return options->n_ranks == n_ranks;
    for (unsigned i = 0; i < BENCH_MAX_RANKS_LISTED; i++)
        if (measure->ranks[i] == n_ranks)
            return true;
    return false;
}

static bool floor_runs_with(const struct bench_options *options,
                            const struct bench_floor_kind *kind, uint32_t n_ranks)
{
    uint32_t wanted = options->n_ranks != 0 ? options->n_ranks : DEFAULT_FLOOR_RANKS;

    return bench_options_has(options, kind->name) && n_ranks == wanted &&
           kind->min_ranks <= n_ranks;
}

static void append_name(char **only, const char *name)
{
    char *longer = NULL;

    if (asprintf(&longer, "%s%s%s", *only != NULL ? *only : "", *only != NULL ? "," : "", name) <
        0) {
        fprintf(stderr, "dsm-bench: no memory for the names of measures\n");
        exit(1);
    }
    free(*only);
    *only = longer;
}

/* The measures (and floors) of a job of n_ranks; NULL: none. free() it. */
static char *list_names(const struct bench_options *options, uint32_t n_ranks)
{
    char *only = NULL;

    for (unsigned i = 0; i < BENCH_N_FLOORS; i++) {
        const struct bench_floor_kind *kind = bench_floor_kind(i);
        /* The kernels' sequential programs are long and run beside the kernels anyway. */
        bool is_long = i >= BENCH_FLOOR_LU && i <= BENCH_FLOOR_WATER;

        if (floor_runs_with(options, kind, n_ranks) && (!is_long || options->n_names > 0))
            append_name(&only, kind->name);
    }
    for (unsigned i = 0; bench_measures[i] != NULL; i++)
        if (!bench_measures[i]->is_kernel && runs_with(options, bench_measures[i], n_ranks))
            append_name(&only, bench_measures[i]->name);
    return only;
}

/* ---- running it ----------------------------------------------------------------------------- */

struct session {
    const struct bench_options *options;
    struct bench_paths paths;
    struct bench_report *report;
    const char *trap;
    int error; /* the first one; the other groups run nevertheless */
};

/* False when it failed. */
static bool run_job(struct session *session, uint32_t n_ranks, const char *only,
                    void (*put)(void *user, const json_t *record))
{
    struct bench_job job = {
        .n_ranks = n_ranks,
        .trap = session->trap,
        .transport = session->options->transport,
        .only = only,
        .is_quick = session->options->is_quick,
        .timeout_s = session->options->is_quick ? QUICK_JOB_TIMEOUT_S : JOB_TIMEOUT_S,
    };
    struct bench_sink sink = {.put = put, .user = session->report};
    int error = bench_launch_run(&session->paths, &job, &sink);

    if (session->error == 0)
        session->error = error;
    return error == 0;
}

static void run_group(struct session *session, uint32_t n_ranks)
{
    char title[128], *only = list_names(session->options, n_ranks);

    if (only == NULL)
        return;
    snprintf(title, sizeof title, "%u ranks, trap %s, transport %s", n_ranks, session->trap,
             session->options->transport);
    bench_report_group(session->report, title);
    run_job(session, n_ranks, only, bench_report_put);
    free(only);
}

/* One job for each number of ranks, again and again, so that noise hits all numbers alike. */
static void run_kernel(struct session *session, const struct bench_measure *measure)
{
    const struct bench_effort *effort =
        session->options->is_quick ? &bench_effort_quick : &bench_effort_normal;
    char title[128];
    bool is_well = true;

    if (!bench_options_has(session->options, measure->name))
        return;
    snprintf(title, sizeof title, "%s, %u jobs each, trap %s, transport %s", measure->name,
             effort->kernel_rounds, session->trap, session->options->transport);
    bench_report_group(session->report, title);
    for (unsigned round = 0; round < effort->kernel_rounds && is_well; round++)
        for (uint32_t n = 1; n <= MAX_JOB_RANKS && is_well; n++)
            if (runs_with(session->options, measure, n))
                is_well = run_job(session, n, measure->name, bench_report_keep);
    bench_report_put_kept(session->report);
}

static int run_everything(const struct bench_options *options)
{
    struct session session = {.options = options};
    int error;

    if (bench_launch_find(&session.paths) != 0)
        return 1;
    session.report = bench_report_open(options);
    if (session.report == NULL)
        return 1;
    for (size_t i = 0; i < options->n_traps; i++) {
        session.trap = options->traps[i];
        for (uint32_t n = 1; n <= MAX_JOB_RANKS; n++)
            run_group(&session, n);
        for (unsigned k = 0; bench_measures[k] != NULL; k++)
            if (bench_measures[k]->is_kernel)
                run_kernel(&session, bench_measures[k]);
    }
    error = bench_report_close(session.report);
    return session.error != 0 || error != 0 ? 1 : 0;
}

/* ---- as a rank ------------------------------------------------------------------------------ */

static void print_record(void *user, const json_t *record)
{
    (void)user;
    json_dumpf(record, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    putchar('\n');
    fflush(stdout);
}

static const struct bench_effort *effort_of(const struct bench_options *options)
{
    return options->is_quick ? &bench_effort_quick : &bench_effort_normal;
}

static int run_worker(const struct bench_options *options)
{
    struct bench_sink sink = {.put = print_record};

    return bench_worker_run(bench_options_has, options, effort_of(options), &sink);
}

/* Started by dsmrun without --worker: rank 0 reports what is measured with the ranks there are. */
static int run_inside_job(const struct bench_options *options)
{
    struct bench_sink sink = {.put = bench_report_put};
    struct bench_report *report = NULL;
    const char *rank = getenv("DSM_RANK");
    int status, error = 0;

    if (rank != NULL && strcmp(rank, "0") == 0) {
        report = bench_report_open(options);
        if (report == NULL)
            return 1;
        bench_report_group(report, "inside a job");
        sink.user = report;
    }
    status = bench_worker_run(bench_options_has, options, effort_of(options), &sink);
    if (report != NULL)
        error = bench_report_close(report);
    return status != 0 || error != 0 ? 1 : 0;
}

static int print_list(void)
{
    for (unsigned i = 0; bench_measures[i] != NULL; i++)
        printf("%-25s %s\n", bench_measures[i]->name, bench_measures[i]->text);
    for (unsigned i = 0; i < BENCH_N_FLOORS; i++)
        printf("%-25s %s\n", bench_floor_kind(i)->name, bench_floor_kind(i)->text);
    return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct bench_options options;
    int status;

    if (bench_options_parse(argc, argv, &options, &status) == 0) {
        if (options.is_list)
            status = print_list();
        else if (options.is_worker)
            status = run_worker(&options);
        else if (getenv("DSM_DAEMON") != NULL && getenv("DSM_RANK") != NULL)
            status = run_inside_job(&options);
        else
            status = run_everything(&options);
    }
    bench_options_free(&options);
    return status;
}
