/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_test.c - dsm-bench prints a well-formed table and JSON with every promised measure, and
 * answers a wrong call with one clear line. What the figures are decides nothing here.
 *
 * DSM_BENCH names the program; make check runs in the build tree, where it is bench/dsm-bench.
 */
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_LIMIT_S 240

struct output {
    int status; /* exit status; -1: it ended otherwise */
    char *out, *err;
};

static const char *bench_program(void)
{
    const char *name = getenv("DSM_BENCH");

    return name != NULL ? name : "bench/dsm-bench";
}

static char *read_and_remove(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 20);
    size_t n;

    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(text);
    n = fread(text, 1, (1 << 20) - 1, file);
    text[n] = '\0';
    fclose(file);
    ck_assert_int_eq(unlink(path), 0);
    return text;
}

/* Runs `ENVIRONMENT timeout program ARGUMENTS`, both as a shell reads them. */
static struct output run(const char *environment, const char *arguments)
{
    char out_path[] = "/tmp/dsm-bench-out-XXXXXX", err_path[] = "/tmp/dsm-bench-err-XXXXXX";
    char command[2048];
    int out = mkstemp(out_path), err = mkstemp(err_path), status;
    struct output output;

    ck_assert_int_ge(out, 0);
    ck_assert_int_ge(err, 0);
    close(out);
    close(err);
    snprintf(command, sizeof command, "%s timeout -k 10 %d %s %s >%s 2>%s </dev/null", environment,
             COMMAND_LIMIT_S, bench_program(), arguments, out_path, err_path);
    status = system(command);
    output.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    output.out = read_and_remove(out_path);
    output.err = read_and_remove(err_path);
    return output;
}

static void release(struct output *output)
{
    free(output->out);
    free(output->err);
}

static size_t count_lines(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

/* ---- the results ---------------------------------------------------------------------------- */

static const char *const promised[] = {
    "read_miss",    "write_miss",     "upgrade",    "pingpong",
    "lock_handoff", "lock_retake",    "barrier",    "barrier_dirty256",
    "read_seq",     "read_rand",      "local_hit",  "miss_while_home_computes",
    "kernel_lu",    "kernel_stencil", "kernel_fft", "kernel_radix",
    "kernel_nbody", "kernel_water",   "threads_lu", "migratory",
};

static double positive_number(const json_t *measure, const char *key)
{
    const json_t *value = json_object_get(measure, key);
    double number = json_is_number(value) ? json_number_value(value) : (double)NAN;

    ck_assert_msg(isfinite(number) && number > 0, "%s: %s is %g",
                  json_string_value(json_object_get(measure, "name")), key, number);
    return number;
}

static void check_text(const json_t *measure, const char *key)
{
    const char *text = json_string_value(json_object_get(measure, key));

    ck_assert_msg(text != NULL && text[0] != '\0', "%s has no %s",
                  json_string_value(json_object_get(measure, "name")), key);
}

static void check_measure(const json_t *measure)
{
    static const char *const texts[] = {"name", "trap", "transport", "unit", "floor_name"};
    bool is_more_better = json_is_true(json_object_get(measure, "more_is_better"));
    double median = positive_number(measure, "median"), p99 = positive_number(measure, "p99");
    double floor = positive_number(measure, "floor"), ratio = positive_number(measure, "ratio");

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_text(measure, texts[i]);
    ck_assert_int_ge(json_integer_value(json_object_get(measure, "ranks")), 1);
    ck_assert_int_ge(json_integer_value(json_object_get(measure, "n")), 1);
    /* These are how the figures are made, whatever they are; six digits are written. */
    ck_assert(is_more_better ? p99 <= median * 1.0001 : p99 >= median * 0.9999);
    ck_assert_double_eq_tol(ratio, median / floor, ratio * 1e-4);
    if (json_object_get(measure, "target") != NULL) {
        double target = positive_number(measure, "target");
        bool is_met = json_is_true(json_object_get(measure, "target_met"));

        check_text(measure, "target_text");
        /* Rounding to six digits may move a figure across its target: then either is right. */
        if (fabs(median - target) > 1e-4 * target)
            ck_assert_int_eq(is_met, is_more_better ? median > target : median < target);
    }
}

static const json_t *find_named(const json_t *list, const char *name)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(list, i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "name")), name) == 0)
            return entry;
    }
    return NULL;
}

/* The two ways are told apart by what the library counted, not by their times. */
static void check_migration(const json_t *measures)
{
    const json_t *measure = find_named(measures, "migratory");
    const json_t *beside = json_object_get(measure, "beside");
    double other = positive_number(beside, "median"), ratio = positive_number(beside, "ratio");

    check_text(beside, "text");
    positive_number(beside, "ratio_low");
    positive_number(beside, "ratio_high");
    ck_assert_double_eq_tol(ratio, positive_number(measure, "median") / other, ratio * 1e-4);
    ck_assert_int_eq(json_integer_value(json_object_get(beside, "n")),
                     json_integer_value(json_object_get(measure, "n")));
    ck_assert_double_eq(json_number_value(json_object_get(measure, "exclusive_reads")), 1);
    ck_assert(json_is_number(json_object_get(beside, "exclusive_reads")));
    ck_assert_double_eq(json_number_value(json_object_get(beside, "exclusive_reads")), 0);
}

static void check_groups(const json_t *document)
{
    const json_t *groups = json_object_get(document, "groups"), *group;
    size_t i;

    ck_assert_uint_ge(json_array_size(groups), 1);
    json_array_foreach(groups, i, group)
    {
        double load = json_number_value(json_object_get(group, "load"));

        ck_assert(json_is_number(json_object_get(group, "load")));
        ck_assert(isfinite(load) && load >= 0);
    }
}

/* A line of the table that begins with the name. */
static bool has_row(const char *table, const char *name)
{
    size_t len = strlen(name);

    for (const char *line = table; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ' ')
            return true;
    }
    return false;
}

START_TEST(quick_run_has_every_promised_measure_with_its_floor)
{
    char path[] = "/tmp/dsm-bench-json-XXXXXX", arguments[128];
    int fd = mkstemp(path);
    struct output output;
    json_t *document, *measures, *measure;
    json_error_t error;
    size_t i;

    ck_assert_int_ge(fd, 0);
    close(fd);
    snprintf(arguments, sizeof arguments, "--quick --json %s", path);
    output = run("", arguments);
    ck_assert_msg(output.status == 0, "status %d\n%s\n%s", output.status, output.out, output.err);
    document = json_load_file(path, 0, &error);
    unlink(path);
    ck_assert_msg(document != NULL, "line %d: %s", error.line, error.text);
    measures = json_object_get(document, "measures");
    ck_assert(json_is_array(measures));
    for (i = 0; i < sizeof promised / sizeof promised[0]; i++) {
        ck_assert_msg(find_named(measures, promised[i]) != NULL, "%s is not in the JSON",
                      promised[i]);
        ck_assert_msg(has_row(output.out, promised[i]), "%s is not in the table:\n%s", promised[i],
                      output.out);
    }
    json_array_foreach(measures, i, measure) check_measure(measure);
    check_migration(measures);
    ck_assert_ptr_nonnull(strstr(output.out, "with no read granted exclusively; the line above"));
    ck_assert_ptr_nonnull(find_named(json_object_get(document, "floors"), "floor_rt_4k_poll"));
    ck_assert_ptr_nonnull(find_named(json_object_get(document, "floors"), "floor_memcpy"));
    check_groups(document);
    ck_assert_ptr_nonnull(strstr(output.out, "load of the machine"));
    json_decref(document);
    release(&output);
}
END_TEST

START_TEST(only_measures_what_it_names)
{
    char path[] = "/tmp/dsm-bench-json-XXXXXX", arguments[128];
    int fd = mkstemp(path);
    struct output output;
    json_t *document;

    ck_assert_int_ge(fd, 0);
    close(fd);
    snprintf(arguments, sizeof arguments, "--quick --only barrier --ranks 3 --json %s", path);
    output = run("", arguments);
    ck_assert_msg(output.status == 0, "status %d\n%s", output.status, output.err);
    document = json_load_file(path, 0, NULL);
    unlink(path);
    ck_assert_ptr_nonnull(document);
    ck_assert_uint_eq(json_array_size(json_object_get(document, "measures")), 1);
    ck_assert_uint_eq(json_array_size(json_object_get(document, "floors")), 0);
    ck_assert_int_eq(json_integer_value(json_object_get(
                         json_array_get(json_object_get(document, "measures"), 0), "ranks")),
                     3);
    json_decref(document);
    release(&output);
}
END_TEST

START_TEST(list_names_every_promised_measure)
{
    struct output output = run("", "--list");

    ck_assert_int_eq(output.status, 0);
    for (size_t i = 0; i < sizeof promised / sizeof promised[0]; i++)
        ck_assert_msg(has_row(output.out, promised[i]), "%s is not listed", promised[i]);
    release(&output);
}
END_TEST

/* ---- wrong calls ---------------------------------------------------------------------------- */

struct refusal {
    const char *environment, *arguments;
    const char *text; /* in the one line */
};

static const struct refusal refusals[] = {
    {"", "--frob", "unknown option '--frob'"},
    {"", "--only", "--only needs a value"},
    {"", "--only read_miss,frob", "--only 'frob'"},
    {"", "--only ''", "--only ''"},
    {"", "--trap frob", "--trap 'frob': allowed: auto, sigbus"},
    {"", "--transport frob", "--transport 'frob': allowed: auto, tcp, rdma"},
    {"", "--ranks 0", "--ranks '0': allowed: 1 to 1024"},
    {"", "--ranks 2x", "--ranks '2x': allowed: 1 to 1024"},
    {"", "--ranks 1 --only read_miss", "read_miss needs at least 2"},
    {"", "--json /nowhere/at/all", "--json '/nowhere/at/all'"},
    {"", "stray", "unexpected argument 'stray'"},
};

START_TEST(wrong_call_is_answered_with_one_line)
{
    const struct refusal *refusal = &refusals[_i];
    struct output output = run(refusal->environment, refusal->arguments);

    ck_assert_msg(output.status > 0 && output.status < 124, "%s: status %d", refusal->arguments,
                  output.status);
    ck_assert_msg(count_lines(output.err) == 1 && strstr(output.err, refusal->text) != NULL,
                  "%s: expected one line with: %s; said: %s", refusal->arguments, refusal->text,
                  output.err);
    release(&output);
}
END_TEST

START_TEST(missing_dsmrun_is_told_with_its_path)
{
    struct output output = run("DSMRUN=/nowhere/dsmrun", "--quick --only lock_retake");

    ck_assert_int_eq(output.status, 1);
    ck_assert_ptr_nonnull(strstr(output.err, "cannot start '/nowhere/dsmrun'"));
    release(&output);
}
END_TEST

START_TEST(job_that_fails_fails_the_run)
{
    struct output output = run("DSMRUN=false", "--quick --only lock_retake");

    ck_assert_int_eq(output.status, 1);
    ck_assert_ptr_nonnull(strstr(output.err, "failed (status 1, 0 records)"));
    release(&output);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bench");
    TCase *results = tcase_create("results"), *wrong = tcase_create("wrong calls");
    SRunner *runner;
    int n_failed;

    if (access(bench_program(), X_OK) != 0) {
        fprintf(stderr, "%s: %s (DSM_BENCH=path names another)\n", bench_program(),
                strerror(errno));
        return EXIT_FAILURE;
    }
    tcase_set_timeout(results, COMMAND_LIMIT_S + 20);
    tcase_add_test(results, quick_run_has_every_promised_measure_with_its_floor);
    tcase_add_test(results, only_measures_what_it_names);
    tcase_add_test(results, list_names_every_promised_measure);
    tcase_set_timeout(wrong, 30);
    tcase_add_loop_test(wrong, wrong_call_is_answered_with_one_line, 0,
                        (int)(sizeof refusals / sizeof refusals[0]));
    tcase_add_test(wrong, missing_dsmrun_is_told_with_its_path);
    tcase_add_test(wrong, job_that_fails_fails_the_run);
    suite_add_tcase(suite, results);
    suite_add_tcase(suite, wrong);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
