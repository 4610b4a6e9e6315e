/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - runs the instances asked for and prints what was visited, one line each. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/errors.h"
#include "core/plant.h"
#include "options.h"

#ifdef DSM_PLANT
int dsm_plant_active;
#endif

static void print_result(const struct suite_instance *instance, const struct search_result *r,
                         bool is_walk, uint64_t seed)
{
    if (is_walk) {
        printf("%-18s %10" PRIu64 " schedules %12" PRIu64 " steps  seeds from %-10" PRIu64
               " %7.1f s  %s\n",
               instance->name, r->n_walks, r->n_transitions, seed, r->seconds,
               r->is_violated ? "VIOLATED" : "ok");
    } else {
        printf("%-18s %10" PRIu64 " states %15" PRIu64 " steps  depth %3u  ends %4" PRIu64
               " %7.1f s  %s%s%s\n",
               instance->name, r->n_states, r->n_transitions, r->depth, r->n_ends, r->seconds,
               r->is_violated   ? "VIOLATED"
               : r->is_complete ? "ok"
                                : "ok so far, NOT COMPLETE",
               r->is_progress_checked || r->is_violated || !r->is_complete
                   ? ""
                   : ", progress not checked",
               r->n_compared > 0 || r->is_violated ? "" : ", merging not checked");
    }
    fflush(stdout);
}

/* Exit status 2 for what is no result. */
static void run(const struct options *options, const struct suite_instance *instance, FILE *trace,
                struct search_result *result_out)
{
    uint64_t n_walks = options->n_walks > 0 ? options->n_walks : instance->n_walks;
    struct world_config config;
    struct lab *lab;
    char why[200];
    int error;

    if (!suite_config(instance, &config, why, sizeof why)) {
        fprintf(stderr, "explore: %s\n", why);
        exit(2);
    }
    error = lab_open(&config, &lab);
    if (error == 0) {
        error = n_walks > 0 ? search_walks(lab, n_walks, options->seed, trace, result_out)
                            : search_all(lab, &options->limits, trace, result_out);
        lab_close(lab);
    }
    if (error != 0) {
        fprintf(stderr, "explore: %s: %s\n", instance->name, dsm_error_text(error));
        exit(2);
    }
    print_result(instance, result_out, n_walks > 0, options->seed);
}

static bool is_wanted(const struct options *options, const struct suite_instance *instance)
{
    if (options->instance != NULL) {
        return strcmp(options->instance, instance->name) == 0;
    }
    return options->is_all || instance->is_quick;
}

/* The next instance asked for after the one with this index; own ones count as the last. */
static const struct suite_instance *next(const struct options *options, uint32_t *index)
{
    if (options->has_own) {
        return (*index)++ == 0 ? &options->own : NULL;
    }
    while (*index < suite_n_instances) {
        const struct suite_instance *instance = &suite_instances[(*index)++];
        if (is_wanted(options, instance)) {
            return instance;
        }
    }
    return NULL;
}

static int run_all(const struct options *options)
{
    const struct suite_instance *instance;
    struct search_result result, sum = {0};
    uint32_t index = 0;
    int n_bad = 0;

    while ((instance = next(options, &index)) != NULL) {
        run(options, instance, options->has_trace ? stdout : NULL, &result);
        sum.n_states += result.n_states;
        sum.n_transitions += result.n_transitions;
        sum.n_compared += result.n_compared;
        sum.seconds += result.seconds;
        n_bad += result.is_violated;
    }
    printf("all: %" PRIu64 " states, %" PRIu64 " steps, %" PRIu64
           " merged states compared, %.1f s, %d violated\n",
           sum.n_states, sum.n_transitions, sum.n_compared, sum.seconds, n_bad);
    return n_bad == 0 ? 0 : 1;
}

#ifdef DSM_PLANT
/* The instance asked for, or the one in which the fault is known to show. */
static bool find_plant(const struct options *options, int plant)
{
    const struct suite_instance *instance = suite_for_plant(plant);
    struct search_result result = {0};
    uint32_t index = 0;

    if (options->has_own || options->instance != NULL) {
        instance = next(options, &index);
    }
    dsm_plant_active = plant;
    printf("planted: %s (%s)\n", options_plant_name(plant), options_plant_text(plant));
    if (instance != NULL) {
        FILE *trace = options->plant != OPTIONS_ALL_PLANTS && options->has_trace ? stdout : NULL;
        run(options, instance, trace, &result);
    }
    printf("%s: %s\n", result.is_violated ? "found" : "NOT FOUND",
           result.is_violated ? result.violation
           : instance != NULL ? "nothing was violated"
                              : "no instance is known in which it shows");
    return result.is_violated;
}

static int run_plants(const struct options *options)
{
    int n_found = 0, n = 0;

    for (int plant = 1; plant < DSM_PLANT_N; plant++) {
        if (options->plant == OPTIONS_ALL_PLANTS || options->plant == plant) {
            n++;
            n_found += find_plant(options, plant);
        }
    }
    printf("%d of %d planted faults found\n", n_found, n);
    return n_found == n ? 0 : 1;
}
#endif

int main(int argc, char **argv)
{
    struct options options;

    options_parse(argc, argv, &options);
    if (options.is_list) {
        for (uint32_t i = 0; i < suite_n_instances; i++) {
            printf("%-18s %-30s %s%s\n", suite_instances[i].name, suite_instances[i].programs,
                   suite_instances[i].aim, suite_instances[i].is_quick ? "" : " (--all)");
        }
        return 0;
    }
    uint32_t index = 0;
    if (next(&options, &index) == NULL) {
        fprintf(stderr, "explore: --instance %s: --list names those there are\n", options.instance);
        return 2;
    }
#ifdef DSM_PLANT
    return options.plant == DSM_PLANT_NONE ? run_all(&options) : run_plants(&options);
#else
    if (options.plant != DSM_PLANT_NONE) {
        fprintf(stderr,
                "explore: --plant: this program runs the sound core; use explore-planted\n");
        return 2;
    }
    return run_all(&options);
#endif
}
