/* SPDX-License-Identifier: BSD-3-Clause */
/* tenure_test.c - for how long a lock's token is kept, in times of the test's own making. */
#include "runtime/tenure.h"
#include <check.h>

#define SOON DSM_TENURE_SOON_NS

static struct dsm_tenure tenure;
static uint64_t now, holds;

static void set_up(void)
{
    tenure = (struct dsm_tenure){.regrets = 0};
    now = 1000000;
    holds = 5;
    dsm_tenure_arrived(&tenure);
}

/* The token leaves, is asked for after so long, and is here again. */
static void leave_and_return(uint64_t away_ns)
{
    dsm_tenure_left(&tenure, now);
    now += away_ns;
    dsm_tenure_asked(&tenure, now);
    dsm_tenure_arrived(&tenure);
}

static bool is_over(void)
{
    return dsm_tenure_is_over(&tenure, now, holds);
}

static void begin(void)
{
    dsm_tenure_begin(&tenure, now, holds);
}

START_TEST(lock_that_was_never_wanted_back_soon_has_no_tenure)
{
    ck_assert(!dsm_tenure_is_due(&tenure, false));
    for (int i = 0; i < 10; i++)
        leave_and_return(SOON + 1);
    ck_assert(!dsm_tenure_is_due(&tenure, false));
}
END_TEST

START_TEST(lock_wanted_back_soon_twice_has_one)
{
    leave_and_return(SOON);
    ck_assert(!dsm_tenure_is_due(&tenure, false));
    leave_and_return(0);
    ck_assert(dsm_tenure_is_due(&tenure, false));
}
END_TEST

START_TEST(lock_wanted_back_soon_by_chance_has_none)
{
    for (int i = 0; i < 10; i++) {
        leave_and_return(SOON);
        leave_and_return(SOON + 1);
        ck_assert(!dsm_tenure_is_due(&tenure, false));
    }
}
END_TEST

START_TEST(each_departure_is_judged_once)
{
    leave_and_return(SOON);
    dsm_tenure_asked(&tenure, now); /* refused, and asked for again */
    dsm_tenure_asked(&tenure, now);
    ck_assert(!dsm_tenure_is_due(&tenure, false));
}
END_TEST

START_TEST(queue_of_the_rank_gives_a_tenure_at_once)
{
    ck_assert(dsm_tenure_is_due(&tenure, true));
}
END_TEST

START_TEST(there_is_one_tenure_for_each_coming)
{
    begin();
    dsm_tenure_end(&tenure);
    ck_assert(!dsm_tenure_is_due(&tenure, true));
    leave_and_return(SOON + 1);
    ck_assert(dsm_tenure_is_due(&tenure, true));
}
END_TEST

START_TEST(tenure_ends_with_its_holds)
{
    begin();
    holds += DSM_TENURE_HOLDS - 1;
    ck_assert(!is_over());
    holds++;
    ck_assert(is_over());
}
END_TEST

START_TEST(tenure_ends_with_its_time)
{
    begin();
    now += DSM_TENURE_NS - 1;
    ck_assert(!is_over());
    now++;
    ck_assert(is_over());
}
END_TEST

START_TEST(tenure_is_shorter_where_several_threads_share_the_token)
{
    (void)dsm_tenure_is_due(&tenure, true);
    begin();
    holds += DSM_TENURE_HOLDS_SHARED;
    ck_assert(is_over());
    /* ... and no longer so when no queue was seen for a while. */
    for (int i = 0; i < 8; i++)
        leave_and_return(SOON);
    begin();
    holds += DSM_TENURE_HOLDS_SHARED;
    ck_assert(!is_over());
}
END_TEST

START_TEST(token_that_nobody_uses_is_given_up_before_its_time)
{
    begin();
    ck_assert_uint_eq(dsm_tenure_first_look_ns(&tenure, now, holds), now + SOON);
    now += SOON;
    holds++;
    ck_assert_uint_eq(dsm_tenure_look(&tenure, now, holds, true), now + SOON);
    now += SOON;
    ck_assert_uint_eq(dsm_tenure_look(&tenure, now, holds, true), 0);
}
END_TEST

START_TEST(token_that_is_held_is_not_idle)
{
    begin();
    (void)dsm_tenure_first_look_ns(&tenure, now, holds);
    now += SOON;
    ck_assert_uint_eq(dsm_tenure_look(&tenure, now, holds, false), now + SOON);
}
END_TEST

START_TEST(last_look_is_at_the_end)
{
    uint64_t end = now + DSM_TENURE_NS;
    begin();
    now = end - SOON / 2;
    ck_assert_uint_eq(dsm_tenure_first_look_ns(&tenure, now, holds), end);
    now = end;
    holds++;
    ck_assert_uint_eq(dsm_tenure_look(&tenure, now, holds, false), 0);
}
END_TEST

START_TEST(tenures_that_nobody_uses_are_unlearned)
{
    leave_and_return(SOON);
    leave_and_return(SOON);
    begin();
    (void)dsm_tenure_first_look_ns(&tenure, now, holds);
    now += SOON;
    ck_assert_uint_eq(dsm_tenure_look(&tenure, now, holds, true), 0);
    dsm_tenure_arrived(&tenure);
    ck_assert(!dsm_tenure_is_due(&tenure, false));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tenure");
    TCase *tcase = tcase_create("tenure");
    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_test(tcase, lock_that_was_never_wanted_back_soon_has_no_tenure);
    tcase_add_test(tcase, lock_wanted_back_soon_twice_has_one);
    tcase_add_test(tcase, lock_wanted_back_soon_by_chance_has_none);
    tcase_add_test(tcase, each_departure_is_judged_once);
    tcase_add_test(tcase, queue_of_the_rank_gives_a_tenure_at_once);
    tcase_add_test(tcase, there_is_one_tenure_for_each_coming);
    tcase_add_test(tcase, tenure_ends_with_its_holds);
    tcase_add_test(tcase, tenure_ends_with_its_time);
    tcase_add_test(tcase, tenure_is_shorter_where_several_threads_share_the_token);
    tcase_add_test(tcase, token_that_nobody_uses_is_given_up_before_its_time);
    tcase_add_test(tcase, token_that_is_held_is_not_idle);
    tcase_add_test(tcase, last_look_is_at_the_end);
    tcase_add_test(tcase, tenures_that_nobody_uses_are_unlearned);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
