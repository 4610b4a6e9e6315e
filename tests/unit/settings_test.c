/* SPDX-License-Identifier: BSD-3-Clause */
/* settings_test.c - what dsm_init takes from the config struct and the environment, and refuses. */
#include "runtime/settings.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const names[] = {
    "DSM_DAEMON",  "DSM_TOKEN",       "DSM_RANK",        "DSM_NRANKS",        "DSM_REGION_SIZE",
    "DSM_BASE",    "DSM_MEM_MAX",     "DSM_TRAP",        "DSM_TRANSPORT",     "DSM_SPIN_US",
    "DSM_STATS",   "DSM_LISTEN",      "DSM_ON_LOSS",     "DSM_FAULT_TIMEOUT", "DSM_JOIN_TIMEOUT",
    "DSM_PROFILE", "DSM_PROFILE_MAX", "DSM_FETCH_AHEAD", "DSM_MIGRATORY", "DSM_SHM",
};

static void clear_environment(void)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

START_TEST(defaults_are_a_job_of_one)
{
    struct dsm_settings s;
    clear_environment();
    ck_assert_int_eq(dsm_settings_read(NULL, &s), 0);
    ck_assert_ptr_null(s.daemon);
    ck_assert_uint_eq(s.n_ranks, 1);
    ck_assert_uint_eq(s.region_bytes, 64ull << 30);
    ck_assert_int_eq(s.spin_us, -1);
    ck_assert_uint_eq(s.ahead_bytes, 512u << 10);
    setenv("DSM_FETCH_AHEAD", "0", 1);
    ck_assert_int_eq(dsm_settings_read(NULL, &s), 0);
    ck_assert_uint_eq(s.ahead_bytes, 0);
    ck_assert(!s.go_on_after_loss);
    ck_assert_int_eq(s.stats, DSM_STATS_OFF);
}
END_TEST

START_TEST(config_wins_over_environment)
{
    struct dsm_config config;
    struct dsm_settings s;
    clear_environment();
    setenv("DSM_REGION_SIZE", "1G", 1);
    setenv("DSM_SPIN_US", "5", 1);
    setenv("DSM_STATS", "json:/tmp/x", 1);
    dsm_config_init(&config);
    config.region_bytes = 3u << 20;
    ck_assert_int_eq(dsm_settings_read(&config, &s), 0);
    ck_assert_uint_eq(s.region_bytes, 3u << 20);
    ck_assert_int_eq(s.spin_us, 5);
    ck_assert_int_eq(s.stats, DSM_STATS_JSON);
    ck_assert_str_eq(s.stats_path, "/tmp/x");
}
END_TEST

START_TEST(wrong_values_are_refused)
{
    static const char *const wrong[][2] = {
        {"DSM_NRANKS", "0"},
        {"DSM_NRANKS", "65537"},
        {"DSM_NRANKS", "two"},
        {"DSM_NRANKS", "2"}, /* without a daemon */
        {"DSM_RANK", "1"},
        {"DSM_RANK", "x"},
        {"DSM_REGION_SIZE", "0"},
        {"DSM_REGION_SIZE", "17T"},
        {"DSM_REGION_SIZE", "-1"},
        {"DSM_REGION_SIZE", "1Q"},
        {"DSM_BASE", "0x12345"},
        {"DSM_BASE", "0x900000000000"},
        {"DSM_MEM_MAX", "4k"},
        {"DSM_MEM_MAX", "much"},
        {"DSM_SPIN_US", "-1"},
        {"DSM_SPIN_US", "1e9"},
        {"DSM_FETCH_AHEAD", "17M"},
        {"DSM_FETCH_AHEAD", "-1"},
        {"DSM_MIGRATORY", "yes"},
        {"DSM_SHM", "off"},
        {"DSM_FETCH_AHEAD", "off"},
        {"DSM_FAULT_TIMEOUT", "0"},
        {"DSM_JOIN_TIMEOUT", "soon"},
        {"DSM_ON_LOSS", "maybe"},
        {"DSM_STATS", "yaml"},
        {"DSM_PROFILE_MAX", "1M"},
        {"DSM_PROFILE_MAX", "lots"},
        {"DSM_DAEMON", "127.0.0.1:1"}, /* without a token */
    };
    struct dsm_settings s;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        clear_environment();
        setenv(wrong[i][0], wrong[i][1], 1);
        ck_assert_msg(dsm_settings_read(NULL, &s) == DSM_E_INVAL, "%s=%s was taken", wrong[i][0],
                      wrong[i][1]);
    }
    struct dsm_config config;
    clear_environment();
    dsm_config_init(&config);
    config.struct_size = 8;
    ck_assert_int_eq(dsm_settings_read(&config, &s), DSM_E_INVAL);
}
END_TEST

START_TEST(memory_limit_is_shared_by_the_ranks_of_a_host)
{
    uint64_t one = dsm_settings_default_mem_max(1), four = dsm_settings_default_mem_max(4);
    ck_assert_uint_gt(one, 1u << 20);
    ck_assert_uint_gt(four, 0);
    ck_assert_uint_lt(four, one / 2);
    ck_assert_uint_eq(four % 4096, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("settings");
    TCase *tcase = tcase_create("settings");
    tcase_add_test(tcase, defaults_are_a_job_of_one);
    tcase_add_test(tcase, config_wins_over_environment);
    tcase_add_test(tcase, wrong_values_are_refused);
    tcase_add_test(tcase, memory_limit_is_shared_by_the_ranks_of_a_host);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
