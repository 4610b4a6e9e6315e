/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_streak_test.c - which traps count towards a loop. */
#include "trap/streak.h"
#include <check.h>

#define PAGE 4096ul
#define ADDR 0x7000001234ul

static struct dsm_streaks streaks;

static uint32_t trap_at(uint32_t thread, uintptr_t addr, uintptr_t ip)
{
    struct dsm_fault fault = {.addr = addr, .ip = ip, .thread = thread};
    return dsm_streak_count(&streaks, &fault);
}

START_TEST(same_place_counts_up)
{
    for (uint32_t i = 1; i <= 100; i++)
        ck_assert_uint_eq(trap_at(5, ADDR, 0x400), i);
}
END_TEST

START_TEST(another_address_instruction_or_thread_starts_anew)
{
    ck_assert_uint_eq(trap_at(5, ADDR, 0x400), 1);
    ck_assert_uint_eq(trap_at(5, ADDR, 0x400), 2);
    ck_assert_uint_eq(trap_at(5, ADDR + 8, 0x400), 1);
    ck_assert_uint_eq(trap_at(5, ADDR + 8, 0x404), 1);
    ck_assert_uint_eq(trap_at(6, ADDR + 8, 0x404), 1);
    ck_assert_uint_eq(trap_at(5, ADDR + 8, 0x404), 2); /* threads do not disturb each other */
    ck_assert_uint_eq(trap_at(6, ADDR + 8, 0x404), 2);
}
END_TEST

START_TEST(page_that_was_taken_away_explains_the_trap)
{
    for (int i = 0; i < 50; i++) {
        ck_assert_uint_eq(trap_at(5, ADDR, 0x400), 1);
        dsm_streak_revoked(&streaks, ADDR & ~(PAGE - 1), PAGE);
    }
    ck_assert_uint_eq(trap_at(5, ADDR, 0x400), 1);
    dsm_streak_revoked(&streaks, (ADDR & ~(PAGE - 1)) + PAGE, PAGE); /* another page does not */
    ck_assert_uint_eq(trap_at(5, ADDR, 0x400), 2);
    dsm_streak_revoked(&streaks, ADDR & ~0xffffffful, 0x10000000); /* a large range does */
    ck_assert_uint_eq(trap_at(5, ADDR, 0x400), 1);
}
END_TEST

START_TEST(trap_long_after_the_last_is_no_loop)
{
    ck_assert_uint_eq(trap_at(5, ADDR, 0x400), 1);
    ck_assert_uint_eq(trap_at(5, ADDR, 0x400), 2);
    streaks.slots[5].last_ns -= 2 * DSM_STREAK_GAP_NS;
    ck_assert_uint_eq(trap_at(5, ADDR, 0x400), 1);
}
END_TEST

START_TEST(sleeper_that_signals_interrupt_does_not_count)
{
    streaks.counts_mapped_only = true;
    for (int i = 0; i < 50; i++)
        ck_assert_uint_eq(trap_at(5, ADDR, 0), 1);
    dsm_streak_mapped(&streaks, ADDR & ~(PAGE - 1), PAGE);
    ck_assert_uint_eq(trap_at(5, ADDR, 0), 2);
    ck_assert_uint_eq(trap_at(5, ADDR, 0), 2);
    dsm_streak_mapped(&streaks, ADDR & ~(PAGE - 1), PAGE);
    ck_assert_uint_eq(trap_at(5, ADDR, 0), 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trap streak");
    TCase *c = tcase_create("streak");
    tcase_add_test(c, same_place_counts_up);
    tcase_add_test(c, another_address_instruction_or_thread_starts_anew);
    tcase_add_test(c, page_that_was_taken_away_explains_the_trap);
    tcase_add_test(c, trap_long_after_the_last_is_no_loop);
    tcase_add_test(c, sleeper_that_signals_interrupt_does_not_count);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed != 0;
}
