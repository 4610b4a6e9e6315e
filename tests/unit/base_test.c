/* SPDX-License-Identifier: BSD-3-Clause */
/* base_test.c - numbers as people write them, the error list, the formatter of log lines. */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/rng.h"

#define UNTOUCHED 0x5a5a5a5a5a5a5a5aull

START_TEST(sizes_are_read_with_units_of_1024)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"0", 0},
        {"4096", 4096},
        {"18446744073709551615", UINT64_MAX},
        {"64k", 65536},
        {"64K", 65536},
        {"64KiB", 65536},
        {"64kb", 65536},
        {"1.5G", 1610612736},
        {"16TiB", 17592186044416},
        {"2p", 2251799813685248},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t bytes = UNTOUCHED;

        ck_assert_int_eq(dsm_parse_size(cases[i].text, &bytes), 0);
        ck_assert_msg(bytes == cases[i].bytes, "%s", cases[i].text);
    }
}
END_TEST

START_TEST(what_is_no_size_is_refused_and_changes_nothing)
{
    static const char *const texts[] = {"",
                                        " 1",
                                        "-1",
                                        "+1",
                                        "k",
                                        "1x",
                                        "1kk",
                                        "1 k",
                                        "0x10",
                                        "1e3",
                                        "1.5",
                                        "nan",
                                        "1e9k",
                                        "inf",
                                        "16E",
                                        "20000P",
                                        "99999999999999999999"};
    uint64_t bytes = UNTOUCHED;

    ck_assert_int_eq(dsm_parse_size(NULL, &bytes), DSM_E_INVAL);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ck_assert_msg(dsm_parse_size(texts[i], &bytes) == DSM_E_INVAL, "'%s' was taken", texts[i]);
    ck_assert_uint_eq(bytes, UNTOUCHED);
}
END_TEST

START_TEST(whole_numbers_keep_to_their_range)
{
    uint64_t value = UNTOUCHED;
    int64_t number = 7;

    ck_assert_int_eq(dsm_parse_u64("10", 1, 10, &value), 0);
    ck_assert_uint_eq(value, 10);
    ck_assert_int_eq(dsm_parse_u64("0x10", 0, 100, &value), 0);
    ck_assert_uint_eq(value, 16);
    ck_assert_int_eq(dsm_parse_u64("11", 1, 10, &value), DSM_E_LIMIT);
    ck_assert_int_eq(dsm_parse_u64("0", 1, 10, &value), DSM_E_LIMIT);
    ck_assert_int_eq(dsm_parse_u64("18446744073709551616", 0, UINT64_MAX, &value), DSM_E_LIMIT);
    ck_assert_int_eq(dsm_parse_u64("0x", 0, 10, &value), DSM_E_INVAL);
    ck_assert_int_eq(dsm_parse_u64("-1", 0, UINT64_MAX, &value), DSM_E_INVAL);
    ck_assert_int_eq(dsm_parse_u64("1 ", 0, 10, &value), DSM_E_INVAL);
    ck_assert_uint_eq(value, 16);
    ck_assert_int_eq(dsm_parse_i64("-1", -1, 5, &number), 0);
    ck_assert_int_eq(number, -1);
    ck_assert_int_eq(dsm_parse_i64("-2", -1, 5, &number), DSM_E_LIMIT);
    ck_assert_int_eq(dsm_parse_i64("-", -1, 5, &number), DSM_E_INVAL);
    ck_assert_int_eq(number, -1);
}
END_TEST

START_TEST(seconds_are_positive_and_finite)
{
    double seconds = 7;

    ck_assert_int_eq(dsm_parse_seconds("0.25", &seconds), 0);
    ck_assert_double_eq(seconds, 0.25);
    ck_assert_int_eq(dsm_parse_seconds("0", &seconds), DSM_E_INVAL);
    ck_assert_int_eq(dsm_parse_seconds("-1", &seconds), DSM_E_INVAL);
    ck_assert_int_eq(dsm_parse_seconds("inf", &seconds), DSM_E_INVAL);
    ck_assert_int_eq(dsm_parse_seconds("1s", &seconds), DSM_E_INVAL);
    ck_assert_double_eq(seconds, 0.25);
}
END_TEST

START_TEST(a_token_is_32_hex_digits)
{
    uint8_t token[16] = {0}, expected[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                             0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

    ck_assert_int_eq(dsm_parse_token("00112233445566778899aabbCCDDEEFF", token), 0);
    ck_assert_mem_eq(token, expected, 16);
    ck_assert_int_eq(dsm_parse_token("00112233445566778899aabbccddeef", token), DSM_E_INVAL);
    ck_assert_int_eq(dsm_parse_token("00112233445566778899aabbccddeeff0", token), DSM_E_INVAL);
    ck_assert_int_eq(dsm_parse_token("00112233445566778899aabbccddeefg", token), DSM_E_INVAL);
    ck_assert_int_eq(dsm_parse_token(NULL, token), DSM_E_INVAL);
    ck_assert_mem_eq(token, expected, 16);
}
END_TEST

START_TEST(every_error_has_a_name_and_a_text_of_its_own)
{
    static const int errors[] = {
#define XX(name, number, text) DSM_E_##name,
        DSM_ERROR_MAP(XX)
#undef XX
    };
    size_t count = sizeof(errors) / sizeof(errors[0]);

    for (size_t i = 0; i < count; i++) {
        ck_assert_int_lt(errors[i], 0);
        ck_assert_ptr_nonnull(strstr(dsm_error_name(errors[i]), "DSM_E_"));
        for (size_t j = 0; j < i; j++) {
            ck_assert_int_ne(errors[i], errors[j]);
            ck_assert_str_ne(dsm_error_name(errors[i]), dsm_error_name(errors[j]));
            ck_assert_str_ne(dsm_error_text(errors[i]), dsm_error_text(errors[j]));
        }
    }
    ck_assert_str_eq(dsm_error_text(-1000), "unknown error");
    ck_assert_str_eq(dsm_error_text(0), "success");
    ck_assert_int_eq(dsm_error_from_errno(ECONNREFUSED), DSM_E_CONNECT);
    ck_assert_int_eq(dsm_error_from_errno(EPERM), DSM_E_SYSTEM);
}
END_TEST

/* The formatter against the C library's, over random arguments. */
START_TEST(the_formatter_agrees_with_printf)
{
    uint64_t state = 20250101;
    const char *replay = getenv("BASE_TEST_SEED");

    if (replay != NULL)
        state = strtoull(replay, NULL, 10);
    printf("BASE_TEST_SEED=%llu\n", (unsigned long long)state);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = dsm_rng_next(&state) >> dsm_rng_below(&state, 64);
        char ours[200], theirs[200];
        size_t len;

        len = dsm_format(ours, sizeof(ours), "%d %u %x %08x %5d %ld %lu %llx %zu %c %s%%",
                         (int)bits, (unsigned)bits, (unsigned)bits, (unsigned)bits,
                         (int)(bits % 1000), (long)bits, (unsigned long)bits,
                         (unsigned long long)bits, (size_t)bits, (int)('a' + bits % 26), "text");
        snprintf(theirs, sizeof(theirs), "%d %u %x %08x %5d %ld %lu %llx %zu %c %s%%", (int)bits,
                 (unsigned)bits, (unsigned)bits, (unsigned)bits, (int)(bits % 1000), (long)bits,
                 (unsigned long)bits, (unsigned long long)bits, (size_t)bits,
                 (int)('a' + bits % 26), "text");
        ck_assert_str_eq(ours, theirs);
        ck_assert_uint_eq(len, strlen(ours));
    }
}
END_TEST

START_TEST(a_line_too_long_is_cut_and_ended)
{
    char out[8];

    memset(out, 'x', sizeof(out));
    ck_assert_uint_le(dsm_format(out, sizeof(out), "%s", "0123456789"), 7);
    ck_assert_str_eq(out, "0123456");
}
END_TEST

START_TEST(integers_lie_in_memory_with_the_low_byte_first)
{
    uint8_t bytes[8];

    dsm_put_u32(bytes, 0x01020304u);
    ck_assert_uint_eq(bytes[0], 4);
    ck_assert_uint_eq(dsm_get_u32(bytes), 0x01020304u);
    dsm_put_u64(bytes, 0x0102030405060708ull);
    ck_assert_uint_eq(bytes[7], 1);
    ck_assert_uint_eq(dsm_get_u64(bytes), 0x0102030405060708ull);
    ck_assert_uint_eq(DSM_ALIGN_UP(4097u, 4096u), 8192);
    ck_assert_uint_eq(DSM_ALIGN_DOWN(8191u, 4096u), 4096);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base");
    TCase *tcase = tcase_create("base");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, sizes_are_read_with_units_of_1024);
    tcase_add_test(tcase, what_is_no_size_is_refused_and_changes_nothing);
    tcase_add_test(tcase, whole_numbers_keep_to_their_range);
    tcase_add_test(tcase, seconds_are_positive_and_finite);
    tcase_add_test(tcase, a_token_is_32_hex_digits);
    tcase_add_test(tcase, every_error_has_a_name_and_a_text_of_its_own);
    tcase_add_test(tcase, the_formatter_agrees_with_printf);
    tcase_add_test(tcase, a_line_too_long_is_cut_and_ended);
    tcase_add_test(tcase, integers_lie_in_memory_with_the_low_byte_first);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
