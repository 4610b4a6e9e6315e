/* SPDX-License-Identifier: BSD-3-Clause */
/* worker.c - one rank that measures: joins, runs floors and measures in slices, hands out results.
 */
#include "bench/worker.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "bench/floor_memory.h"
#include "bench/floor_socket.h"
#include "bench/floor_trap.h"
#include "bench/floor_verbs.h"
#include "bench/machine.h"

#define MAX_SAMPLES_LISTED 16u /* so few are handed on one by one: the kernels' */

const struct bench_effort bench_effort_normal = {
    .n_slices = 10,
    .n_pages = 512,
    .n_rounds = 500,
    .stream_bytes = 32u << 20,
    .local_bytes = 16u << 20,
    .kernel_rounds = 3,
    .lu_size = 1024,
    .lu_block = 64,
    .stencil_size = 2048,
    .stencil_rounds = 50,
    .fft = {1024},
    .radix = {4u << 20},
    .nbody = {16384, 2},
    .water = {512, 10},
};

const struct bench_effort bench_effort_quick = {
    .n_slices = 1,
    .n_pages = 16,
    .n_rounds = 16,
    .stream_bytes = 1u << 20,
    .local_bytes = 1u << 20,
    .kernel_rounds = 1,
    .lu_size = 128,
    .lu_block = 32,
    .stencil_size = 128,
    .stencil_rounds = 4,
    .fft = {32},
    .radix = {4096},
    .nbody = {256, 1},
    .water = {27, 2},
};

/* ---- helpers for measures ------------------------------------------------------------------- */

int bench_alloc_at(const struct bench_worker *worker, uint32_t rank, size_t size,
                   uint64_t unit_bytes, void **addr_out)
{
    struct dsm_alloc_options options;

    dsm_alloc_options_init(&options);
    options.placement = DSM_PLACE_RANK;
    options.rank = rank < worker->n_ranks ? rank : worker->n_ranks - 1;
    options.unit_bytes = unit_bytes;
    return dsm_alloc(size, &options, addr_out);
}

void bench_free_shared(const struct bench_worker *worker, void *addr)
{
    int error = worker->rank == 0 ? dsm_free(addr) : 0;

    if (error != 0)
        fprintf(stderr, "dsm-bench: dsm_free: %s\n", dsm_strerror(error));
}

uint32_t *bench_shuffle(size_t n, uint64_t seed)
{
    uint32_t *order = malloc(n * sizeof *order);

    if (order == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        size_t k = (size_t)dsm_rng_below(&seed, i);
        uint32_t swapped = order[i - 1];

        order[i - 1] = order[k];
        order[k] = swapped;
    }
    return order;
}

/* ---- slices --------------------------------------------------------------------------------- */

static int run_floor(struct bench_worker *worker, enum bench_floor floor,
                     struct bench_samples *samples)
{
    int error = dsm_barrier(), clock_error;

    if (error == 0)
        error = bench_floor_kind(floor)->slice(worker, samples);
    /* Rank 0 alone knows whether a floor is to be had here: all leave it out, or none. */
    clock_error = error;
    if (dsm_bcast(&clock_error, sizeof clock_error, 0) != 0)
        return DSM_E_PEER;
    return error != 0 ? error : clock_error;
}

typedef int bench_slice_fn(struct bench_worker *worker, void *state, struct bench_samples *samples);

static int run_slice(struct bench_worker *worker, bench_slice_fn *slice, void *state,
                     struct bench_samples *samples)
{
    int error = dsm_barrier();

    if (error == 0)
        error = slice(worker, state, samples);
    if (worker->rank == 0)
        bench_traffic_stop(worker);
    if (error == 0)
        error = dsm_barrier();
    if (worker->rank != 0)
        bench_traffic_stop(worker);
    return error;
}

/* ---- results -------------------------------------------------------------------------------- */

static void set_number(json_t *record, const char *key, double value)
{
    /* JSON has no NaN: what could not be measured is null. */
    json_object_set_new(record, key, isfinite(value) ? json_real(value) : json_null());
}

static json_t *new_record(const struct bench_worker *worker, const char *kind, const char *name,
                          const char *text, const char *unit)
{
    json_t *record = json_object();

    json_object_set_new(record, "kind", json_string(kind));
    json_object_set_new(record, "name", json_string(name));
    json_object_set_new(record, "text", json_string(text));
    json_object_set_new(record, "trap", json_string(worker->trap));
    json_object_set_new(record, "transport", json_string(worker->transport));
    json_object_set_new(record, "ranks", json_integer(worker->n_ranks));
    json_object_set_new(record, "unit", json_string(unit));
    return record;
}

static void set_samples(json_t *record, const struct bench_samples *samples, bool is_more_better)
{
    json_object_set_new(record, "n", json_integer((json_int_t)samples->n));
    set_number(record, "median", bench_samples_median(samples));
    set_number(record, "p99", bench_samples_p99(samples, is_more_better));
    json_object_set_new(record, "more_is_better", json_boolean(is_more_better));
}

static void put_floor(struct bench_worker *worker, const struct bench_floor_kind *kind,
                      const struct bench_samples *samples, const struct bench_sink *sink)
{
    json_t *record = new_record(worker, "floor", kind->name, kind->text, kind->unit);

    set_samples(record, samples, kind->is_more_better);
    sink->put(sink->user, record);
    json_decref(record);
}

/* ---- a floor by itself ---------------------------------------------------------------------- */

static int measure_floor(struct bench_worker *worker, enum bench_floor floor,
                         const struct bench_sink *sink)
{
    const struct bench_floor_kind *kind = bench_floor_kind(floor);
    struct bench_samples samples = {0};
    int error = 0;

    if (kind->is_verbs && worker->verbs == NULL) {
        if (worker->rank == 0)
            fprintf(stderr, "dsm-bench: %s: the transport is %s, left out (--transport rdma)\n",
                    kind->name, worker->transport);
        return 0;
    }
    for (unsigned slice = 0; slice <= worker->effort->n_slices && error == 0; slice++) {
        if (slice == 1)
            bench_samples_clear(&samples); /* the first one only warmed up */
        worker->slice = slice;
        error = run_floor(worker, floor, &samples);
    }
    if (error == DSM_E_UNSUPPORTED) {
        error = 0;
        if (worker->rank == 0)
            fprintf(stderr, "dsm-bench: %s: not supported here, left out\n", kind->name);
    } else if (error == 0 && worker->rank == 0) {
        put_floor(worker, kind, &samples, sink);
    }
    bench_samples_free(&samples);
    return error;
}

/* ---- a measure with its floors -------------------------------------------------------------- */

struct run {
    const struct bench_measure *measure;
    struct bench_samples samples; /* of the whole run */
    struct bench_samples floor[BENCH_MAX_TERMS];
    struct bench_samples slice_ratio; /* one ratio for each slice */
    struct bench_samples beside;      /* what slice_beside took */
    struct bench_samples beside_ratio;
};

static double term_scale(const struct bench_worker *worker, const struct bench_term *term)
{
    return term->is_per_level ? ceil(log2((double)worker->n_ranks)) : 1;
}

static bool has_term(const struct bench_measure *measure, unsigned i)
{
    return i < BENCH_MAX_TERMS && measure->floor[i].factor > 0;
}

/* The floor's sum; with is_target, weighed by the target's factors. */
static double floor_sum(const struct bench_worker *worker, const struct bench_measure *measure,
                        const struct bench_samples *floor, bool is_target)
{
    double sum = 0;

    for (unsigned i = 0; has_term(measure, i); i++) {
        const struct bench_term *term = &measure->floor[i];

        sum += (is_target ? term->target_factor : term->factor) * term_scale(worker, term) *
               bench_samples_median(&floor[i]);
    }
    return sum;
}

static void floor_text(const struct bench_worker *worker, const struct bench_measure *measure,
                       char *out, size_t out_bytes)
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; has_term(measure, i) && used < out_bytes; i++) {
        const struct bench_term *term = &measure->floor[i];
        const char *text = bench_floor_kind(bench_floor_resolve(worker, term->floor))->text;
        double factor = term->factor * term_scale(worker, term);

        if (factor == 1)
            used +=
                (size_t)snprintf(out + used, out_bytes - used, "%s%s", i > 0 ? " + " : "", text);
        else
            used += (size_t)snprintf(out + used, out_bytes - used, "%s%g x %s", i > 0 ? " + " : "",
                                     factor, text);
    }
}

static void set_target(const struct bench_worker *worker, const struct run *run, json_t *record)
{
    const struct bench_measure *measure = run->measure;
    double median = bench_samples_median(&run->samples), target;

    if (measure->target_text == NULL ||
        (measure->target_ranks != 0 && measure->target_ranks != worker->n_ranks))
        return;
    target = measure->target_value > 0 ? measure->target_value
                                       : floor_sum(worker, measure, run->floor, true);
    set_number(record, "target", target);
    json_object_set_new(record, "target_text", json_string(measure->target_text));
    json_object_set_new(
        record, "target_met",
        json_boolean(measure->is_more_better ? median >= target : median <= target));
}

static void put_beside(const struct run *run, json_t *record)
{
    const struct bench_measure *measure = run->measure;
    double median = bench_samples_median(&run->beside);
    json_t *beside;

    if (measure->slice_beside == NULL)
        return;
    beside = json_object();
    json_object_set_new(beside, "text", json_string(measure->beside_text));
    set_samples(beside, &run->beside, measure->is_more_better);
    set_number(beside, "ratio", bench_samples_median(&run->samples) / median);
    set_number(beside, "ratio_low", bench_samples_quantile(&run->beside_ratio, 0.25));
    set_number(beside, "ratio_high", bench_samples_quantile(&run->beside_ratio, 0.75));
    json_object_set_new(record, "beside", beside);
}

static int put_measure(struct bench_worker *worker, const struct run *run, void *state,
                       const struct bench_sink *sink)
{
    const struct bench_measure *measure = run->measure;
    json_t *record = new_record(worker, "measure", measure->name, measure->text, measure->unit);
    int error = bench_traffic_put(worker, record);
    double floor;
    char text[256];

    if (error != 0 || worker->rank != 0) {
        json_decref(record);
        return error;
    }
    floor = floor_sum(worker, measure, run->floor, false);
    set_samples(record, &run->samples, measure->is_more_better);
    floor_text(worker, measure, text, sizeof text);
    set_number(record, "floor", floor);
    json_object_set_new(record, "floor_name", json_string(text));
    set_number(record, "ratio", bench_samples_median(&run->samples) / floor);
    set_number(record, "ratio_low", bench_samples_quantile(&run->slice_ratio, 0.25));
    set_number(record, "ratio_high", bench_samples_quantile(&run->slice_ratio, 0.75));
    set_target(worker, run, record);
    put_beside(run, record);
    if (measure->put != NULL)
        measure->put(state, record);
    if (run->samples.n <= MAX_SAMPLES_LISTED && measure->is_kernel) {
        json_t *list = json_array();

        for (size_t i = 0; i < run->samples.n; i++)
            json_array_append_new(list, json_real(run->samples.value[i]));
        json_object_set_new(record, "samples", list);
    }
    sink->put(sink->user, record);
    json_decref(record);
    return 0;
}

static void append(struct bench_samples *to, const struct bench_samples *from)
{
    bench_samples_reserve(to, from->n);
    for (size_t i = 0; i < from->n; i++)
        bench_samples_add(to, from->value[i]);
}

static void append_ratio(struct bench_samples *ratios, double median, double base)
{
    bench_samples_reserve(ratios, 1);
    bench_samples_add(ratios, median / base);
}

/* Its traffic is not the measure's. */
static int run_beside(struct bench_worker *worker, const struct bench_measure *measure, void *state,
                      struct bench_samples *samples)
{
    struct bench_traffic traffic = worker->traffic;
    int error = 0;

    if (measure->slice_beside != NULL)
        error = run_slice(worker, measure->slice_beside, state, samples);
    worker->traffic = traffic;
    return error;
}

/* One slice of the measure, and one of what is beside it: before it in two pairs of four, so that
 * each of both is as often next to the floors. */
static int run_slices(struct bench_worker *worker, const struct bench_measure *measure, void *state,
                      struct bench_samples *samples, struct bench_samples *beside)
{
    bool is_beside_first = worker->slice / 2 % 2 == 1;
    int error = is_beside_first ? run_beside(worker, measure, state, beside) : 0;

    if (error == 0)
        error = run_slice(worker, measure->slice, state, samples);
    if (error == 0 && !is_beside_first)
        error = run_beside(worker, measure, state, beside);
    return error;
}

/*
 * One slice of the measure and one of each floor. Every second time the floors come after the
 * measure, so that neither always runs on the warmer machine.
 */
static int run_pair(struct bench_worker *worker, struct run *run, void *state, bool is_kept)
{
    const struct bench_measure *measure = run->measure;
    struct bench_samples samples = {0}, beside = {0}, floor[BENCH_MAX_TERMS] = {{0}};
    bool is_floor_first = worker->slice % 2 == 0;
    int error = is_floor_first ? 0 : run_slices(worker, measure, state, &samples, &beside);

    for (unsigned i = 0; has_term(measure, i) && error == 0; i++)
        error = run_floor(worker, bench_floor_resolve(worker, measure->floor[i].floor), &floor[i]);
    if (error == 0 && is_floor_first)
        error = run_slices(worker, measure, state, &samples, &beside);
    if (error == 0 && is_kept)
        bench_traffic_keep(worker, samples.n);
    if (error == 0 && is_kept && worker->rank == 0) {
        append(&run->samples, &samples);
        for (unsigned i = 0; has_term(measure, i); i++)
            append(&run->floor[i], &floor[i]);
        append_ratio(&run->slice_ratio, bench_samples_median(&samples),
                     floor_sum(worker, measure, floor, false));
        append(&run->beside, &beside);
        append_ratio(&run->beside_ratio, bench_samples_median(&samples),
                     bench_samples_median(&beside));
    }
    bench_samples_free(&samples);
    bench_samples_free(&beside);
    for (unsigned i = 0; i < BENCH_MAX_TERMS; i++)
        bench_samples_free(&floor[i]);
    return error;
}

static int run_measure(struct bench_worker *worker, const struct bench_measure *measure,
                       const struct bench_sink *sink)
{
    struct run run = {.measure = measure};
    /* Kernels are long: no slice is thrown away, and the job is started several times instead. */
    unsigned n_slices = measure->is_kernel ? 0 : worker->effort->n_slices;
    void *state = NULL;
    int error = measure->open == NULL ? 0 : measure->open(worker, &state);

    if (error != 0)
        return error;
    bench_traffic_clear(worker);
    for (unsigned slice = 0; slice <= n_slices && error == 0; slice++) {
        worker->slice = slice;
        error = run_pair(worker, &run, state, slice > 0 || n_slices == 0);
    }
    if (error == 0)
        error = put_measure(worker, &run, state, sink);
    if (error == 0)
        error = dsm_barrier();
    if (error == 0 && measure->close != NULL)
        measure->close(worker, state);
    bench_samples_free(&run.samples);
    bench_samples_free(&run.slice_ratio);
    bench_samples_free(&run.beside);
    bench_samples_free(&run.beside_ratio);
    for (unsigned i = 0; i < BENCH_MAX_TERMS; i++)
        bench_samples_free(&run.floor[i]);
    return error;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int measure_selected(struct bench_worker *worker,
                            bool (*is_selected)(const void *user, const char *name),
                            const void *user, const struct bench_sink *sink)
{
    for (unsigned i = 0; i < BENCH_N_FLOORS; i++) {
        const struct bench_floor_kind *kind = bench_floor_kind(i);
        int error = 0;

        if (kind->min_ranks <= worker->n_ranks && is_selected(user, kind->name))
            error = measure_floor(worker, i, sink);
        if (error != 0) {
            fprintf(stderr, "dsm-bench: rank %u: %s: %s\n", worker->rank, kind->name,
                    dsm_strerror(error));
            return error;
        }
    }
    for (unsigned i = 0; bench_measures[i] != NULL; i++) {
        const struct bench_measure *measure = bench_measures[i];
        int error = 0;

        if (measure->min_ranks <= worker->n_ranks && is_selected(user, measure->name))
            error = run_measure(worker, measure, sink);
        if (error != 0) {
            fprintf(stderr, "dsm-bench: rank %u: %s: %s\n", worker->rank, measure->name,
                    dsm_strerror(error));
            return error;
        }
    }
    return 0;
}

static int open_floors(struct bench_worker *worker)
{
    int error = worker->n_ranks > 1 ? bench_link_open(worker) : 0;

    if (error == 0)
        error = bench_verbs_open(worker);
    if (error == 0 && worker->rank == 0)
        error = bench_memory_open(worker);
    return error;
}

int bench_worker_run(bool (*is_selected)(const void *user, const char *name), const void *user,
                     const struct bench_effort *effort, const struct bench_sink *sink)
{
    struct bench_worker worker = {.effort = effort};
    /* Before the library has its handlers and threads, in every rank: ranks are numbered later. */
    int error = bench_trap_helper_start(&worker);

    if (error == 0)
        error = dsm_init(NULL);
    if (error != 0) {
        bench_trap_helper_stop(&worker);
        return 1;
    }
    worker.rank = dsm_rank();
    worker.n_ranks = dsm_size();
    worker.trap = dsm_trap_name();
    worker.transport = dsm_transport_name();
    worker.is_oversubscribed = worker.n_ranks > bench_machine_cpus();
    if (worker.rank != 0)
        bench_trap_helper_stop(&worker);
    error = open_floors(&worker);
    if (error == 0)
        error = measure_selected(&worker, is_selected, user, sink);
    if (error != 0)
        dsm_abort(1); /* the other ranks would wait for this one */
    bench_verbs_close(&worker);
    bench_link_close(&worker);
    bench_memory_close(&worker);
    bench_trap_helper_stop(&worker);
    error = dsm_finalize();
    return error == 0 ? 0 : 1;
}
