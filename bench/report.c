/* SPDX-License-Identifier: BSD-3-Clause */
/* report.c - see report.h. */
#include "bench/report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/machine.h"
#include "bench/samples.h"
#include "bench/worker.h"

#define LOAD_WARNING         0.2
#define LOAD_SAMPLE_MS       400u
#define LOAD_SAMPLE_QUICK_MS 50u

/* LU on twice the processors' number of ranks may take this much longer than on half of them. */
#define LU_RANKS        4
#define LU_BASE_RANKS   2
#define LU_TARGET_RATIO 1.3

struct bench_report {
    json_t *document;
    json_t *kept; /* kernels' records */
    FILE *json_file;
    const char *json_path;
    bool is_quick;
    bool has_floor_head, has_measure_head; /* printed for this group */
};

/* ---- reading records ------------------------------------------------------------------------ */

static const char *text_of(const json_t *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record, key));

    return text != NULL ? text : "";
}

static double number_of(const json_t *record, const char *key)
{
    const json_t *value = json_object_get(record, key);

    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static int ranks_of(const json_t *record)
{
    return (int)json_integer_value(json_object_get(record, "ranks"));
}

/* ---- the table ------------------------------------------------------------------------------ */

/* Three digits that matter, as plain decimals. */
static const char *format_number(double value, char out[24])
{
    if (isnan(value))
        snprintf(out, 24, "-");
    else if (fabs(value) >= 100)
        snprintf(out, 24, "%.0f", value);
    else if (fabs(value) >= 10)
        snprintf(out, 24, "%.1f", value);
    else if (fabs(value) >= 0.1)
        snprintf(out, 24, "%.2f", value);
    else
        snprintf(out, 24, "%.4f", value);
    return out;
}

static void print_floor(struct bench_report *report, const json_t *record)
{
    char median[24], p99[24];

    if (!report->has_floor_head)
        printf("%-25s %-11s %5s %-4s %8s %8s %8s  %s\n", "floor", "", "ranks", "unit", "median",
               "p99", "n", "what");
    report->has_floor_head = true;
    printf("%-25s %-11s %5d %-4s %8s %8s %8d  %s\n", text_of(record, "name"), "", ranks_of(record),
           text_of(record, "unit"), format_number(number_of(record, "median"), median),
           format_number(number_of(record, "p99"), p99), (int)number_of(record, "n"),
           text_of(record, "text"));
}

static void print_end(const json_t *traffic, const char *end)
{
    static const char *const names[] = {"posts", "work_requests", "received",     "sent",
                                        "wakes", "switches",      "buffer_posts", "credits"};
    static const char *const texts[] = {"posts",    "work requests", "received",         "sent",
                                        "wake-ups", "switches",      "posts of buffers", "credits"};
    const json_t *counts = json_object_get(traffic, end);

    printf("  %-9s", end);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        printf("%s %.3f %s", i > 0 ? "," : "", number_of(counts, names[i]), texts[i]);
    putchar('\n');
}

/* What an operation costs the network, below its line. */
static void print_traffic(const json_t *record)
{
    const json_t *traffic = json_object_get(record, "traffic");

    if (traffic == NULL)
        return;
    print_end(traffic, "asker");
    print_end(traffic, "answerer");
}

/* The same done in another way, below its line. */
static void print_beside(const json_t *record)
{
    const json_t *beside = json_object_get(record, "beside");
    char median[24], p99[24], ratio[24], low[24], high[24];

    if (beside == NULL)
        return;
    printf("  beside   %s %s (p99 %s) with %s; the line above is %s x that (%s-%s)\n",
           format_number(number_of(beside, "median"), median), text_of(record, "unit"),
           format_number(number_of(beside, "p99"), p99), text_of(beside, "text"),
           format_number(number_of(beside, "ratio"), ratio),
           format_number(number_of(beside, "ratio_low"), low),
           format_number(number_of(beside, "ratio_high"), high));
}

static void print_measure(struct bench_report *report, const json_t *record)
{
    char median[24], p99[24], floor[24], ratio[24], low[24], high[24], spread[64];

    if (!report->has_measure_head)
        printf("%-25s %-6s %-4s %5s %-4s %8s %8s %8s %6s %-11s  %s\n", "measure", "trap", "net",
               "ranks", "unit", "median", "p99", "floor", "ratio", "(quartiles)",
               "floor is; target");
    report->has_measure_head = true;
    snprintf(spread, sizeof spread, "(%s-%s)", format_number(number_of(record, "ratio_low"), low),
             format_number(number_of(record, "ratio_high"), high));
    printf("%-25s %-6s %-4s %5d %-4s %8s %8s %8s %6s %-11s  %s", text_of(record, "name"),
           text_of(record, "trap"), text_of(record, "transport"), ranks_of(record),
           text_of(record, "unit"), format_number(number_of(record, "median"), median),
           format_number(number_of(record, "p99"), p99),
           format_number(number_of(record, "floor"), floor),
           format_number(number_of(record, "ratio"), ratio), spread, text_of(record, "floor_name"));
    if (json_object_get(record, "target") != NULL)
        printf("; %s: %s", text_of(record, "target_text"),
               json_is_true(json_object_get(record, "target_met")) ? "met" : "missed");
    putchar('\n');
    print_beside(record);
    print_traffic(record);
}

void bench_report_put(void *user, const json_t *record)
{
    struct bench_report *report = user;
    bool is_floor = strcmp(text_of(record, "kind"), "floor") == 0;
    json_t *copy = json_deep_copy(record);

    json_object_del(copy, "kind");
    json_array_append_new(json_object_get(report->document, is_floor ? "floors" : "measures"),
                          copy);
    if (is_floor)
        print_floor(report, record);
    else
        print_measure(report, record);
    fflush(stdout);
}

/* ---- groups --------------------------------------------------------------------------------- */

void bench_report_group(struct bench_report *report, const char *title)
{
    double load = bench_machine_load(report->is_quick ? LOAD_SAMPLE_QUICK_MS : LOAD_SAMPLE_MS);
    json_t *group = json_object();

    printf("\n%s; load of the machine before: %.2f\n", title, load);
    if (load > LOAD_WARNING)
        printf("warning: other programs use %.2f processors (more than %.1f): look at the ratios, "
               "not at the times\n",
               load, LOAD_WARNING);
    fflush(stdout);
    json_object_set_new(group, "title", json_string(title));
    json_object_set_new(group, "load", isfinite(load) ? json_real(load) : json_null());
    json_array_append_new(json_object_get(report->document, "groups"), group);
    report->has_floor_head = report->has_measure_head = false;
}

/* ---- kernels: several jobs become one record ------------------------------------------------ */

void bench_report_keep(void *user, const json_t *record)
{
    struct bench_report *report = user;

    json_array_append_new(report->kept, json_deep_copy(record));
}

void bench_report_keep_beside(struct bench_report *report, const json_t *record,
                              const json_t *floor, const char *floor_name, double most_ratio)
{
    double base = number_of(floor, "median");
    json_t *copy = json_deep_copy(record);

    json_object_set_new(copy, "floor", json_real(base));
    json_object_set_new(copy, "floor_name", json_string(floor_name));
    json_object_set_new(copy, "ratio", json_real(number_of(record, "median") / base));
    json_object_set_new(copy, "most_ratio", json_real(most_ratio));
    json_array_append_new(report->kept, copy);
}

static bool is_same_run(const json_t *a, const json_t *b)
{
    return strcmp(text_of(a, "name"), text_of(b, "name")) == 0 &&
           strcmp(text_of(a, "trap"), text_of(b, "trap")) == 0 && ranks_of(a) == ranks_of(b);
}

static void collect(const json_t *kept, const json_t *like, const char *key,
                    struct bench_samples *samples)
{
    const json_t *record;
    size_t i;

    bench_samples_reserve(samples, json_array_size(kept));
    json_array_foreach(kept, i, record)
    {
        if (is_same_run(record, like) && isfinite(number_of(record, key)))
            bench_samples_add(samples, number_of(record, key));
    }
}

/* Puts the medians over all jobs of this run into its first record. */
static void merge_run(const json_t *kept, json_t *record)
{
    struct bench_samples seconds = {0}, floor = {0}, ratio = {0};
    json_t *list = json_array();

    collect(kept, record, "median", &seconds);
    collect(kept, record, "floor", &floor);
    collect(kept, record, "ratio", &ratio);
    for (size_t i = 0; i < seconds.n; i++)
        json_array_append_new(list, json_real(seconds.value[i]));
    json_object_set_new(record, "samples", list);
    json_object_set_new(record, "n", json_integer((json_int_t)seconds.n));
    if (seconds.n > 0 && floor.n > 0) {
        json_object_set_new(record, "p99", json_real(bench_samples_p99(&seconds, false)));
        json_object_set_new(
            record, "ratio",
            json_real(bench_samples_median(&seconds) / bench_samples_median(&floor)));
        json_object_set_new(record, "ratio_low", json_real(bench_samples_quantile(&ratio, 0.25)));
        json_object_set_new(record, "ratio_high", json_real(bench_samples_quantile(&ratio, 0.75)));
        json_object_set_new(record, "median", json_real(bench_samples_median(&seconds)));
        json_object_set_new(record, "floor", json_real(bench_samples_median(&floor)));
    }
    bench_samples_free(&seconds);
    bench_samples_free(&floor);
    bench_samples_free(&ratio);
}

static bool is_first_of_run(const json_t *kept, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (is_same_run(json_array_get(kept, i), json_array_get(kept, index)))
            return false;
    return true;
}

/* By the median over the pairs of jobs: the load of the machine changes from pair to pair. */
static void set_ratio_target(json_t *record, const json_t *kept)
{
    struct bench_samples ratio = {0};
    double most = number_of(record, "most_ratio");

    if (isnan(most))
        return;
    collect(kept, record, "ratio", &ratio);
    json_object_set_new(record, "ratio", json_real(bench_samples_median(&ratio)));
    json_object_set_new(record, "target", json_real(most * number_of(record, "floor")));
    json_object_set_new(record, "target_met", json_boolean(bench_samples_median(&ratio) <= most));
    json_object_del(record, "most_ratio");
    bench_samples_free(&ratio);
}

/* More ranks than processors must not cost much: LU on 4 against the same on 2, of this run. */
static void set_lu_target(const json_t *merged, json_t *record)
{
    double median = number_of(record, "median"), base_median = (double)NAN;
    const json_t *base;
    size_t i;

    if (strcmp(text_of(record, "name"), "kernel_lu") != 0 || ranks_of(record) != LU_RANKS)
        return;
    json_array_foreach(merged, i, base)
    {
        if (ranks_of(base) == LU_BASE_RANKS && strcmp(text_of(base, "name"), "kernel_lu") == 0 &&
            strcmp(text_of(base, "trap"), text_of(record, "trap")) == 0)
            base_median = number_of(base, "median");
    }
    if (isnan(base_median))
        return;
    json_object_set_new(record, "target", json_real(LU_TARGET_RATIO * base_median));
    json_object_set_new(record, "target_text", json_string("<= 1.3 x the time on 2 ranks"));
    json_object_set_new(record, "target_met",
                        json_boolean(median <= LU_TARGET_RATIO * base_median));
}

void bench_report_put_kept(struct bench_report *report)
{
    json_t *merged = json_array(), *record;
    size_t i;

    json_array_foreach(report->kept, i, record)
    {
        if (is_first_of_run(report->kept, i)) {
            json_t *run = json_deep_copy(record);

            merge_run(report->kept, run);
            set_ratio_target(run, report->kept);
            json_array_append_new(merged, run);
        }
    }
    json_array_foreach(merged, i, record)
    {
        set_lu_target(merged, record);
        bench_report_put(report, record);
    }
    json_array_clear(report->kept);
    json_decref(merged);
}

/* ---- begin and end -------------------------------------------------------------------------- */

static json_t *new_document(const struct bench_options *options)
{
    char kernel[256], model[256];
    json_t *document = json_object(), *machine = json_object();

    bench_machine_kernel(kernel, sizeof kernel);
    bench_machine_model(model, sizeof model);
    printf("dsm-bench %s on %u processors (%s), %s\n", dsm_version(), bench_machine_cpus(), model,
           kernel);
    if (options->is_quick)
        printf("quick: a handful of rounds; the figures say nothing about speed\n");
    json_object_set_new(machine, "processors", json_integer(bench_machine_cpus()));
    json_object_set_new(machine, "model", json_string(model));
    json_object_set_new(machine, "kernel", json_string(kernel));
    json_object_set_new(document, "program", json_string("dsm-bench"));
    json_object_set_new(document, "version", json_string(dsm_version()));
    json_object_set_new(document, "quick", json_boolean(options->is_quick));
    json_object_set_new(document, "machine", machine);
    json_object_set_new(document, "groups", json_array());
    json_object_set_new(document, "floors", json_array());
    json_object_set_new(document, "measures", json_array());
    return document;
}

struct bench_report *bench_report_open(const struct bench_options *options)
{
    struct bench_report *report = calloc(1, sizeof *report);

    if (report == NULL) {
        fprintf(stderr, "dsm-bench: no memory for the report\n");
        return NULL;
    }
    report->json_path = options->json_path;
    report->is_quick = options->is_quick;
    if (options->json_path != NULL) {
        report->json_file = fopen(options->json_path, "we");
        if (report->json_file == NULL) {
            fprintf(stderr, "dsm-bench: --json '%s': %s\n", options->json_path, strerror(errno));
            free(report);
            return NULL;
        }
    }
    report->document = new_document(options);
    report->kept = json_array();
    return report;
}

int bench_report_close(struct bench_report *report)
{
    int error = 0;

    if (report->json_file != NULL) {
        bool is_written = json_dumpf(report->document, report->json_file,
                                     JSON_INDENT(2) | JSON_REAL_PRECISION(6)) == 0 &&
                          fputc('\n', report->json_file) != EOF;

        if (fclose(report->json_file) != 0 || !is_written) {
            fprintf(stderr, "dsm-bench: writing '%s' failed: %s\n", report->json_path,
                    strerror(errno));
            error = DSM_E_SYSTEM;
        }
    }
    json_decref(report->document);
    json_decref(report->kept);
    free(report);
    return error;
}
