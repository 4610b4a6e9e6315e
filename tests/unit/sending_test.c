/* SPDX-License-Identifier: BSD-3-Clause */
/* sending_test.c - what becomes of a message that the transport does not take. */
#define _GNU_SOURCE
#include "base/log.h"
#include "runtime/sending.h"
#include "wire/frame.h"
#include <check.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct dsm_driver driver;
static int answer; /* of the transport */
static unsigned n_sent, n_flushed;
static uint8_t sent[DSM_MESSAGE_HEADER_BYTES];

static int take(struct dsm_net *net, uint32_t to, unsigned lane, const uint8_t *header,
                const void *payload, uint64_t cookie, uint32_t key)
{
    (void)net, (void)to, (void)lane, (void)payload, (void)cookie, (void)key;
    if (answer == 0)
        memcpy(sent, header, sizeof sent);
    n_sent++;
    return answer;
}

static void flush(struct dsm_net *net)
{
    (void)net;
    n_flushed++;
}

static void set_up(void)
{
    static const struct dsm_net_ops ops = {.send = take, .flush = flush};
    memset(&driver, 0, sizeof driver);
    driver.net_ops = &ops;
    driver.net = (struct dsm_net *)&driver; /* only handed on */
    driver.config.self = 2;
    driver.config.epoch = 3;
    driver.config.job = 4;
    answer = 0;
    n_sent = n_flushed = 0;
    dsm_log_setup("error", "sending_test");
}

static void ring(dsm_rank_t to)
{
    struct dsm_message m = {.type = DSM_MSG_RING};
    dsm_driver_send(&driver, to, DSM_LANE_REQUEST, &m);
}

START_TEST(message_says_who_sent_it_and_is_flushed_once)
{
    struct dsm_message m;
    const char *reason;
    ring(1);
    ck_assert_int_eq(dsm_frame_decode(sent, &m, &reason), 0);
    ck_assert_uint_eq(m.type, DSM_MSG_RING);
    ck_assert_uint_eq(m.from, 2);
    ck_assert_uint_eq(m.epoch, 3);
    ck_assert_uint_eq(m.job, 4);
    dsm_driver_flush(&driver);
    dsm_driver_flush(&driver);
    ck_assert_uint_eq(n_flushed, 1);
}
END_TEST

START_TEST(message_to_a_lost_rank_is_left_out_and_told)
{
    struct dsm_message m = {.type = DSM_MSG_RING};
    answer = DSM_E_PEER;
    ck_assert_int_eq(dsm_driver_send_frame(&driver, 1, DSM_LANE_REQUEST, &m, NULL, 0), DSM_E_PEER);
    ring(1);
    ck_assert_uint_eq(n_sent, 2);
}
END_TEST

/* In a process of its own, whose standard error is read here. */
START_TEST(rank_that_cannot_keep_a_message_ends_with_one_line)
{
    int ends[2], status;
    char text[512];
    size_t n = 0;
    ssize_t got;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        if (dup2(ends[1], STDERR_FILENO) < 0)
            _exit(1);
        answer = DSM_E_NOMEM;
        ring(7);
        _exit(0); /* it went on */
    }
    close(ends[1]);
    while ((got = read(ends[0], text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_ptr_nonnull(strstr(text, "for rank 7"));
    ck_assert_ptr_nonnull(strstr(text, "this rank ends"));
    ck_assert_ptr_eq(strchr(text, '\n'), text + n - 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sending");
    TCase *tcase = tcase_create("sending");
    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_test(tcase, message_says_who_sent_it_and_is_flushed_once);
    tcase_add_test(tcase, message_to_a_lost_rank_is_left_out_and_told);
    tcase_add_test(tcase, rank_that_cannot_keep_a_message_ends_with_one_line);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
