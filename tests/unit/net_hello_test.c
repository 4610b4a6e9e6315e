/* SPDX-License-Identifier: BSD-3-Clause */
/* net_hello_test.c - the hello's bytes and rules. */
#include "net/hello.h"
#include "base/bytes.h"
#include "hello.pb-c.h"
#include <check.h>
#include <dsm/dsm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct dsm_hello sound(uint32_t rank, uint32_t to_rank)
{
    return (struct dsm_hello){.format_version = DSM_HELLO_FORMAT_VERSION,
                              .token = {0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5, 0x96, 0x87},
                              .rank = rank,
                              .to_rank = to_rank,
                              .n_ranks = 4,
                              .lane = 1,
                              .epoch = 7,
                              .page_bytes = 4096,
                              .attempt = 0x123456789abcdef0,
                              .shared = {0x100000001, 2, 3, 0x400000004},
                              .memory_file = {5, 6, 0x700000007},
                              .bell = {8, 9, 0xa0000000a},
                              .build = "0.1.0 of today"};
}

static int unpack(const uint8_t *packet, size_t packet_bytes, struct dsm_hello *out,
                  const char **reason)
{
    ck_assert_uint_eq(dsm_get_u32(packet) + DSM_HELLO_PREFIX_BYTES, packet_bytes);
    return dsm_hello_unpack(packet + DSM_HELLO_PREFIX_BYTES, packet_bytes - DSM_HELLO_PREFIX_BYTES,
                            out, reason);
}

static void must_be_the_file(const struct dsm_shm_file *is, const struct dsm_shm_file *was)
{
    ck_assert_uint_eq(is->pid, was->pid);
    ck_assert_uint_eq(is->fd, was->fd);
    ck_assert_uint_eq(is->inode, was->inode);
}

START_TEST(hello_survives_the_way)
{
    struct dsm_hello hello = sound(1, 2), back;
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    const char *reason = NULL;
    ck_assert_int_eq(unpack(packet, dsm_hello_pack(&hello, packet), &back, &reason), 0);
    ck_assert_mem_eq(&hello.token, &back.token, 16);
    ck_assert_str_eq(hello.build, back.build);
    ck_assert_uint_eq(back.format_version, DSM_HELLO_FORMAT_VERSION);
    ck_assert_uint_eq(back.rank, 1);
    ck_assert_uint_eq(back.to_rank, 2);
    ck_assert_uint_eq(back.n_ranks, 4);
    ck_assert_uint_eq(back.lane, 1);
    ck_assert_uint_eq(back.epoch, 7);
    ck_assert_uint_eq(back.page_bytes, 4096);
    ck_assert_uint_eq(back.attempt, hello.attempt);
    ck_assert_uint_eq(back.shared.pid_namespace, hello.shared.pid_namespace);
    ck_assert_uint_eq(back.shared.pid, hello.shared.pid);
    ck_assert_uint_eq(back.shared.fd, hello.shared.fd);
    ck_assert_uint_eq(back.shared.nonce, hello.shared.nonce);
    must_be_the_file(&back.memory_file, &hello.memory_file);
    must_be_the_file(&back.bell, &hello.bell);
}
END_TEST

START_TEST(largest_messages_keep_the_limit)
{
    struct dsm_hello hello;
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    memset(&hello, 0xff, sizeof hello);
    memset(hello.build, 'b', sizeof hello.build);
    hello.build[sizeof hello.build - 1] = '\0';
    ck_assert_uint_le(dsm_hello_pack(&hello, packet), sizeof packet);
    struct dsm_hello_answer answer = {.status = DSM_HELLO_ACCEPTED, .hello = hello};
    ck_assert_uint_le(dsm_hello_pack_answer(&answer, packet), sizeof packet);
    answer = (struct dsm_hello_answer){.status = DSM_HELLO_REFUSED, .error = -99999};
    memset(answer.reason, 'r', sizeof answer.reason - 1);
    ck_assert_uint_le(dsm_hello_pack_answer(&answer, packet), sizeof packet);
}
END_TEST

START_TEST(answers_survive_the_way)
{
    struct dsm_hello_answer answers[] = {
        {.status = DSM_HELLO_ACCEPTED, .hello = sound(3, 0)},
        {.status = DSM_HELLO_REFUSED, .error = DSM_E_MISMATCH, .reason = "builds differ"},
        {.status = DSM_HELLO_YIELD},
    };
    for (unsigned i = 0; i < 3; i++) {
        struct dsm_hello_answer back;
        uint8_t packet[DSM_HELLO_PACKET_BYTES];
        const char *reason = "";
        size_t n = dsm_hello_pack_answer(&answers[i], packet);
        ck_assert_int_eq(dsm_hello_unpack_answer(packet + DSM_HELLO_PREFIX_BYTES,
                                                 n - DSM_HELLO_PREFIX_BYTES, &back, &reason),
                         0);
        ck_assert_int_eq(back.status, answers[i].status);
        ck_assert_int_eq(back.error, answers[i].error);
        ck_assert_str_eq(back.reason, answers[i].reason);
        ck_assert_uint_eq(back.hello.rank, answers[i].hello.rank);
        ck_assert_str_eq(back.hello.build, answers[i].hello.build);
    }
}
END_TEST

/* Packs by hand what dsm_hello_pack would not. */
static size_t pack_odd(uint8_t *out, const uint8_t *token, size_t token_bytes, const char *build)
{
    Dsm__Hello message = DSM__HELLO__INIT;
    message.token.data = (uint8_t *)(uintptr_t)token;
    message.token.len = token_bytes;
    message.build = (char *)(uintptr_t)build;
    return dsm__hello__pack(&message, out);
}

START_TEST(malformed_hello_is_refused)
{
    static const uint8_t token[17] = {0};
    struct dsm_hello before, after;
    char long_build[DSM_HELLO_BUILD_BYTES + 1];
    uint8_t bytes[512];
    const char *reason = NULL;
    memset(long_build, 'b', sizeof long_build);
    long_build[DSM_HELLO_BUILD_BYTES] = '\0';
    memset(&before, 0x33, sizeof before);
    memcpy(&after, &before, sizeof after);
    struct {
        size_t token_bytes;
        const char *build, *reason;
    } const odd[] = {{15, "b", "the token is not 16 bytes"},
                     {17, "b", "the token is not 16 bytes"},
                     {0, "b", "the token is not 16 bytes"},
                     {16, "two\nlines", "the build is too long or not printable"},
                     {16, "\x1b[31mred", "the build is too long or not printable"},
                     {16, long_build, "the build is too long or not printable"}};
    for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
        size_t n = pack_odd(bytes, token, odd[i].token_bytes, odd[i].build);
        ck_assert_int_eq(dsm_hello_unpack(bytes, n, &after, &reason), DSM_E_PROTO);
        ck_assert_str_eq(reason, odd[i].reason);
        ck_assert_mem_eq(&before, &after, sizeof before);
    }
    ck_assert_int_eq(dsm_hello_unpack((const uint8_t *)"\xff\xff", 2, &after, &reason),
                     DSM_E_PROTO);
    ck_assert_str_eq(reason, "it does not parse");
}
END_TEST

START_TEST(malformed_answer_is_refused)
{
    Dsm__HelloAnswer message = DSM__HELLO_ANSWER__INIT;
    struct dsm_hello_answer answer;
    uint8_t bytes[512];
    const char *reason;
    size_t n = dsm__hello_answer__pack(&message, bytes); /* accepted, and no hello */
    ck_assert_int_eq(dsm_hello_unpack_answer(bytes, n, &answer, &reason), DSM_E_PROTO);
    message.status = DSM__HELLO_ANSWER__STATUS__REFUSED; /* for no error */
    n = dsm__hello_answer__pack(&message, bytes);
    ck_assert_int_eq(dsm_hello_unpack_answer(bytes, n, &answer, &reason), DSM_E_PROTO);
    message.error = DSM_E_AUTH;
    message.reason = (char *)(uintptr_t) "two\nlines";
    n = dsm__hello_answer__pack(&message, bytes);
    ck_assert_int_eq(dsm_hello_unpack_answer(bytes, n, &answer, &reason), DSM_E_PROTO);
    message.status = (Dsm__HelloAnswer__Status)3;
    n = dsm__hello_answer__pack(&message, bytes);
    ck_assert_int_eq(dsm_hello_unpack_answer(bytes, n, &answer, &reason), DSM_E_PROTO);
    ck_assert_str_eq(reason, "unknown status");
}
END_TEST

START_TEST(every_difference_is_named_with_both_values)
{
    const struct dsm_hello mine = sound(2, 1);
    struct dsm_hello theirs = sound(1, 2);
    char why[DSM_HELLO_REASON_BYTES];
    ck_assert_int_eq(dsm_hello_check(&mine, &theirs, why, sizeof why), 0);
    theirs.lane = 2;
    ck_assert_int_eq(dsm_hello_check(&mine, &theirs, why, sizeof why), DSM_E_MISMATCH);
    ck_assert_str_eq(why, "it says lane 2, there are 0 and 1");
    theirs.to_rank = 3;
    ck_assert_int_eq(dsm_hello_check(&mine, &theirs, why, sizeof why), DSM_E_MISMATCH);
    ck_assert_str_eq(why, "rank 1 wants rank 3, this is rank 2");
    theirs.rank = 2;
    ck_assert_int_eq(dsm_hello_check(&mine, &theirs, why, sizeof why), DSM_E_MISMATCH);
    ck_assert_str_eq(why, "it says rank 2, which is this rank");
    theirs.rank = 4;
    ck_assert_int_eq(dsm_hello_check(&mine, &theirs, why, sizeof why), DSM_E_MISMATCH);
    ck_assert_str_eq(why, "it says rank 4, the job has 0 to 3");
    theirs.epoch = 6;
    ck_assert_int_eq(dsm_hello_check(&mine, &theirs, why, sizeof why), DSM_E_MISMATCH);
    ck_assert_str_eq(why, "epochs differ: rank 4 is in 6, rank 2 in 7");
    theirs.n_ranks = 5;
    ck_assert_int_eq(dsm_hello_check(&mine, &theirs, why, sizeof why), DSM_E_MISMATCH);
    ck_assert_str_eq(why, "job sizes differ: rank 4 has 5 ranks, rank 2 4");
    theirs.page_bytes = 16384;
    ck_assert_int_eq(dsm_hello_check(&mine, &theirs, why, sizeof why), DSM_E_MISMATCH);
    ck_assert_str_eq(why, "page sizes differ: rank 4 has 16384 bytes, rank 2 4096");
    strcpy(theirs.build, "0.2.0");
    ck_assert_int_eq(dsm_hello_check(&mine, &theirs, why, sizeof why), DSM_E_MISMATCH);
    ck_assert_str_eq(why, "builds differ: rank 4 has \"0.2.0\", rank 2 \"0.1.0 of today\"");
    theirs.format_version = DSM_HELLO_FORMAT_VERSION + 1;
    char wanted[DSM_HELLO_REASON_BYTES];
    snprintf(wanted, sizeof wanted, "frame format: rank 4 has version %u, rank 2 version %u",
             DSM_HELLO_FORMAT_VERSION + 1, DSM_HELLO_FORMAT_VERSION);
    ck_assert_int_eq(dsm_hello_check(&mine, &theirs, why, sizeof why), DSM_E_MISMATCH);
    ck_assert_str_eq(why, wanted);
    /* The token comes first: who has not got it learns of no other difference. */
    for (unsigned i = 0; i < 16; i++) {
        struct dsm_hello wrong = theirs;
        wrong.token[i] ^= 1;
        ck_assert_int_eq(dsm_hello_check(&mine, &wrong, why, sizeof why), DSM_E_AUTH);
        ck_assert_str_eq(why, "wrong job token");
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hello");
    TCase *hello = tcase_create("hello");
    tcase_add_test(hello, hello_survives_the_way);
    tcase_add_test(hello, largest_messages_keep_the_limit);
    tcase_add_test(hello, answers_survive_the_way);
    tcase_add_test(hello, malformed_hello_is_refused);
    tcase_add_test(hello, malformed_answer_is_refused);
    tcase_add_test(hello, every_difference_is_named_with_both_values);
    suite_add_tcase(suite, hello);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
