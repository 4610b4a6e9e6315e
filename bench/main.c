/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main.c - dsm-bench: measures the library on this machine, each figure beside its floor.
 *
 * The program started by the user asks dsmrun for jobs of as many ranks as the measures want; their
 * ranks are this program again, as workers. What a measure does is in measure_*.c, what it is held
 * against in floor_*.c, slices and statistics in worker.c, the table and the JSON in report.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/launch.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/worker.h"

#define JOB_TIMEOUT_S       600u
#define QUICK_JOB_TIMEOUT_S 60u
#define MAX_JOB_RANKS       1024u
#define DEFAULT_FLOOR_RANKS 2u
#define PROFILED_PAIRS      9u

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
        bool is_foreign = kind->is_verbs && strcmp(options->transport, "rdma") != 0;

        if (floor_runs_with(options, kind, n_ranks) &&
            ((!is_long && !is_foreign) || options->n_names > 0))
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

static int run_job_to(struct session *session, uint32_t n_ranks, const char *only,
                      const char *profile, const struct bench_sink *sink)
{
    struct bench_job job = {
        .n_ranks = n_ranks,
        .trap = session->trap,
        .transport = session->options->transport,
        .only = only,
        .profile = profile,
        .is_quick = session->options->is_quick,
        .timeout_s = session->options->is_quick ? QUICK_JOB_TIMEOUT_S : JOB_TIMEOUT_S,
    };
    int error = bench_launch_run(&session->paths, &job, sink);

    if (session->error == 0)
        session->error = error;
    return error;
}

/* False when it failed. */
static bool run_job(struct session *session, uint32_t n_ranks, const char *only,
                    void (*put)(void *user, const json_t *record))
{
    struct bench_sink sink = {.put = put, .user = session->report};

    return run_job_to(session, n_ranks, only, NULL, &sink) == 0;
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

/* ---- with a profile and without ------------------------------------------------------------- */

static void keep_record(void *user, const json_t *record)
{
    json_t **kept = user;

    json_decref(*kept);
    *kept = json_deep_copy(record);
}

/* Two jobs, one after the other, and the record of the profiled one with the other's time as floor.
 */
static bool run_profiled_pair(struct session *session, const struct bench_measure *measure,
                              uint32_t n_ranks, const char *profile, bool is_profiled_first)
{
    json_t *records[2] = {NULL, NULL}; /* without, with */
    bool is_well = true;

    for (unsigned i = 0; i < 2 && is_well; i++) {
        unsigned which = (i == 0) == is_profiled_first;
        struct bench_sink sink = {.put = keep_record, .user = &records[which]};

        is_well = run_job_to(session, n_ranks, which ? measure->name : measure->unprofiled,
                             which ? profile : NULL, &sink) == 0;
    }
    if (is_well && records[0] != NULL && records[1] != NULL)
        bench_report_keep_beside(session->report, records[1], records[0],
                                 "the same without a profile", measure->most_ratio);
    json_decref(records[0]);
    json_decref(records[1]);
    return is_well;
}

static void run_profiled(struct session *session, const struct bench_measure *measure)
{
    unsigned n_pairs = session->options->is_quick ? 1 : PROFILED_PAIRS;
    const char *directory = getenv("TMPDIR");
    char title[128], profile[PATH_MAX];
    bool is_well = true;
    int fd = -1;

    if (!bench_options_has(session->options, measure->name))
        return;
    if (snprintf(profile, sizeof profile, "%s/dsm-bench-XXXXXX",
                 directory != NULL && *directory != '\0' ? directory : "/tmp") < PATH_MAX)
        fd = mkostemp(profile, O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "dsm-bench: cannot make %s for profiles: %s\n", profile, strerror(errno));
        session->error = DSM_E_SYSTEM;
        return;
    }
    close(fd);
    snprintf(title, sizeof title, "%s, %u pairs of jobs, trap %s, transport %s", measure->name,
             n_pairs, session->trap, session->options->transport);
    bench_report_group(session->report, title);
    for (unsigned pair = 0; pair < n_pairs && is_well; pair++)
        for (uint32_t n = 1; n <= MAX_JOB_RANKS && is_well; n++)
            if (runs_with(session->options, measure, n))
                is_well = run_profiled_pair(session, measure, n, profile, pair % 2 == 1);
    bench_report_put_kept(session->report);
    (void)unlink(profile);
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
            if (bench_measures[k]->unprofiled != NULL)
                run_profiled(&session, bench_measures[k]);
            else if (bench_measures[k]->is_kernel)
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
