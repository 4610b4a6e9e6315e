/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_samples_test.c - the statistics that dsm-bench quotes. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "bench/samples.h"

static struct bench_samples of(const double *values, size_t n)
{
    struct bench_samples samples = {0};

    bench_samples_reserve(&samples, n);
    for (size_t i = 0; i < n; i++)
        bench_samples_add(&samples, values[i]);
    return samples;
}

START_TEST(median_is_the_middle_or_between_the_two_middle_ones)
{
    static const double values[] = {5, 1, 4, 2, 100, 3};
    struct bench_samples odd = of(values, 5), even = of(values, 6);

    ck_assert_double_eq(bench_samples_median(&odd), 4);
    ck_assert_double_eq(bench_samples_median(&even), 3.5);
    ck_assert_double_eq(odd.value[0], 5); /* the samples keep their order */
    bench_samples_free(&odd);
    bench_samples_free(&even);
}
END_TEST

START_TEST(quantile_takes_the_nearest_rank_whatever_the_order)
{
    struct bench_samples samples = {0};
    uint64_t seed = 1;

    bench_samples_reserve(&samples, 200);
    for (unsigned i = 0; i < 200; i++)
        bench_samples_add(&samples, i + 1);
    for (size_t i = 199; i > 0; i--) {
        size_t k = (size_t)dsm_rng_below(&seed, i + 1);
        double swapped = samples.value[i];

        samples.value[i] = samples.value[k];
        samples.value[k] = swapped;
    }
    ck_assert_double_eq(bench_samples_quantile(&samples, 0.25), 50);
    ck_assert_double_eq(bench_samples_quantile(&samples, 1), 200);
    ck_assert_double_eq(bench_samples_quantile(&samples, 0), 1);
    ck_assert_double_eq(bench_samples_p99(&samples, false), 198);
    ck_assert_double_eq(bench_samples_p99(&samples, true), 2);
    bench_samples_free(&samples);
}
END_TEST

START_TEST(few_samples_have_their_worst_as_p99)
{
    static const double values[] = {3, 1, 2};
    struct bench_samples samples = of(values, 3);

    ck_assert_double_eq(bench_samples_p99(&samples, false), 3);
    ck_assert_double_eq(bench_samples_p99(&samples, true), 1);
    bench_samples_free(&samples);
}
END_TEST

START_TEST(no_samples_have_no_figures)
{
    struct bench_samples samples = {0};

    ck_assert(isnan(bench_samples_median(&samples)));
    ck_assert(isnan(bench_samples_p99(&samples, false)));
}
END_TEST

START_TEST(clear_keeps_the_room)
{
    static const double values[] = {3, 1, 2};
    struct bench_samples samples = of(values, 3);

    bench_samples_clear(&samples);
    ck_assert_uint_eq(samples.n, 0);
    ck_assert_uint_eq(samples.room, 3);
    bench_samples_add(&samples, 7);
    ck_assert_double_eq(bench_samples_median(&samples), 7);
    bench_samples_free(&samples);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bench samples");
    TCase *tcase = tcase_create("samples");
    SRunner *runner;
    int n_failed;

    tcase_add_test(tcase, median_is_the_middle_or_between_the_two_middle_ones);
    tcase_add_test(tcase, quantile_takes_the_nearest_rank_whatever_the_order);
    tcase_add_test(tcase, few_samples_have_their_worst_as_p99);
    tcase_add_test(tcase, no_samples_have_no_figures);
    tcase_add_test(tcase, clear_keeps_the_room);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
