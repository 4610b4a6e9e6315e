/* SPDX-License-Identifier: BSD-3-Clause */
/* thrash_test.c - when moving memory is told to be more than using it; in times of its own making.
 */
#include "runtime/thrash.h"
#include <check.h>

static struct dsm_thrash *thrash;
static struct dsm_trouble trouble;

static void open_with(uint64_t n_pages, uint64_t limit_pages)
{
    trouble = (struct dsm_trouble){0};
    ck_assert_int_eq(dsm_thrash_open(&thrash, n_pages, limit_pages), 0);
}

/* n times: waited for, held, lost. How often it was told. */
static unsigned bounce(dsm_page_t unit, unsigned n, uint64_t wait_ns, uint64_t hold_ns,
                       uint64_t *now_ns)
{
    unsigned told = 0;
    for (unsigned i = 0; i < n; i++) {
        *now_ns += wait_ns;
        dsm_thrash_granted(thrash, unit, wait_ns, *now_ns);
        *now_ns += hold_ns;
        told += dsm_thrash_lost(thrash, unit, *now_ns, &trouble);
    }
    return told;
}

START_TEST(unit_that_is_waited_for_longer_than_it_is_here_is_told_once)
{
    uint64_t now = 1000;
    open_with(1 << 20, 0);
    ck_assert_uint_eq(bounce(77, DSM_THRASH_BOUNCES - 1, 30000, 10000, &now), 0);
    ck_assert_uint_eq(bounce(77, 1, 30000, 10000, &now), 1);
    ck_assert_int_eq(trouble.kind, DSM_TROUBLE_BOUNCES);
    ck_assert_uint_eq(trouble.unit, 77);
    ck_assert_uint_eq(trouble.bounces, DSM_THRASH_BOUNCES);
    ck_assert_uint_eq(trouble.waited_ns, DSM_THRASH_BOUNCES * 30000ull);
    ck_assert_uint_eq(trouble.held_ns, DSM_THRASH_BOUNCES * 10000ull);
    ck_assert_uint_eq(bounce(77, 3 * DSM_THRASH_BOUNCES, 30000, 10000, &now), 0);
    dsm_thrash_close(thrash);
}
END_TEST

START_TEST(unit_that_is_used_longer_than_it_is_waited_for_is_not_told)
{
    uint64_t now = 1000;
    open_with(1 << 20, 0);
    ck_assert_uint_eq(bounce(77, 4 * DSM_THRASH_BOUNCES, 10000, 10001, &now), 0);
    dsm_thrash_close(thrash);
}
END_TEST

START_TEST(rare_bounces_are_not_told_however_many_they_become)
{
    uint64_t now = 1000, apart = DSM_THRASH_WINDOW_NS / DSM_THRASH_BOUNCES + 1000;
    open_with(1 << 20, 0);
    ck_assert_uint_eq(bounce(77, 5 * DSM_THRASH_BOUNCES, apart, 1, &now), 0);
    dsm_thrash_close(thrash);
}
END_TEST

START_TEST(hot_unit_is_found_among_many_that_bounce_now_and_then)
{
    uint64_t now = 1000;
    unsigned told = 0;
    open_with(1 << 20, 0);
    /* Ten thousand others, ten for each slot, each as often as the hot one in a hundred times. */
    for (unsigned i = 0; i < 2 * DSM_THRASH_BOUNCES && !told; i++) {
        told += bounce(500000, 1, 1000, 10, &now);
        for (unsigned j = 0; j < 100 && i % 100 == 0; j++)
            ck_assert_uint_eq(bounce(i + j, 1, 1000, 10, &now), 0);
    }
    ck_assert_uint_eq(told, 1);
    ck_assert_uint_eq(trouble.unit, 500000);
    dsm_thrash_close(thrash);
}
END_TEST

/* So many passes over n units, of which those that do not fit are given up. */
static unsigned pass(unsigned passes, uint64_t n, bool is_evicting)
{
    unsigned told = 0;
    for (unsigned p = 0; p < passes; p++) {
        for (uint64_t unit = 0; unit < n; unit++) {
            told += dsm_thrash_fetched(thrash, unit, 1, &trouble);
            if (is_evicting)
                dsm_thrash_evicted(thrash, unit);
        }
    }
    return told;
}

START_TEST(rank_that_fetches_again_what_it_gave_up_is_told_once)
{
    open_with(4096, 100);
    /* The first pass fetches nothing again; 200 pages a pass, 16 times 100 are told. */
    ck_assert_uint_eq(pass(8, 200, true), 0);
    ck_assert_uint_eq(pass(1, 200, true), 1);
    ck_assert_int_eq(trouble.kind, DSM_TROUBLE_MEMORY);
    ck_assert_uint_eq(trouble.refetched_pages, 1600);
    ck_assert_uint_eq(trouble.limit_pages, 100);
    ck_assert_uint_eq(pass(100, 200, true), 0);
    dsm_thrash_close(thrash);
}
END_TEST

START_TEST(reading_once_through_more_than_fits_is_not_told)
{
    open_with(1 << 20, 16);
    ck_assert_uint_eq(pass(1, 1 << 20, true), 0);
    dsm_thrash_close(thrash);
}
END_TEST

START_TEST(rank_without_a_limit_is_never_told_of_memory)
{
    open_with(4096, 0);
    ck_assert_uint_eq(pass(100, 200, true), 0);
    dsm_thrash_close(thrash);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("thrash");
    TCase *units = tcase_create("units"), *memory = tcase_create("memory");
    tcase_add_test(units, unit_that_is_waited_for_longer_than_it_is_here_is_told_once);
    tcase_add_test(units, unit_that_is_used_longer_than_it_is_waited_for_is_not_told);
    tcase_add_test(units, rare_bounces_are_not_told_however_many_they_become);
    tcase_add_test(units, hot_unit_is_found_among_many_that_bounce_now_and_then);
    tcase_add_test(memory, rank_that_fetches_again_what_it_gave_up_is_told_once);
    tcase_add_test(memory, reading_once_through_more_than_fits_is_not_told);
    tcase_add_test(memory, rank_without_a_limit_is_never_told_of_memory);
    suite_add_tcase(suite, units);
    suite_add_tcase(suite, memory);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
