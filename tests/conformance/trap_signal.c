/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_signal.c - faults where signals are blocked, handled, or end threads; and on small stacks.
 */
#define _GNU_SOURCE
#include "trap_suite.h"
#include "trap/raw.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static struct owner owner;

static void touch_all(void)
{
    for (size_t page = 0; page < owner.n_pages; page++)
        *app_word(&owner, page) += 1;
}

static void assert_touched(uint64_t times)
{
    for (size_t page = 0; page < owner.n_pages; page++)
        ck_assert_uint_eq(*frame_word(&owner, page), owner_word(page) + times);
}

START_TEST(fault_is_served_with_every_signal_blocked)
{
    sigset_t all, now;
    sigfillset(&all);
    owner_open(&owner, suite_ops, 4, true);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &all, NULL), 0);
    touch_all();
    owner_unmap(&owner, 0, 4);
    ck_assert_int_eq(sigprocmask(SIG_SETMASK, &all, NULL), 0);
    touch_all();
    assert_touched(2);
    ck_assert_int_eq(sigprocmask(SIG_BLOCK, NULL, &now), 0);
    ck_assert_int_eq(sigismember(&now, SIGUSR1), 1); /* the rest does block */
    ck_assert_int_eq(sigismember(&now, SIGTERM), 1);
    ck_assert_int_eq(sigismember(&now, SIGBUS), 0);
    owner_close(&owner);
}
END_TEST

START_TEST(signals_blocked_before_the_trap_opened_are_no_harm)
{
    dsm_sigmask_t all = DSM_SIGMASK_ALL;
    ck_assert_int_eq(dsm_raw_sigprocmask(SIG_BLOCK, &all, NULL), 0); /* as if inherited */
    owner_open(&owner, suite_ops, 4, true);
    touch_all();
    assert_touched(1);
    owner_close(&owner);
}
END_TEST

static void *touch_as_thread(void *argument)
{
    (void)argument;
    touch_all();
    return NULL;
}

START_TEST(thread_created_with_every_signal_blocked_is_served)
{
    sigset_t all;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all);
    owner_open(&owner, suite_ops, 4, true);
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setsigmask_np(&attr, &all), 0);
    ck_assert_int_eq(pthread_create(&thread, &attr, touch_as_thread, NULL), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    assert_touched(1);
    owner_close(&owner);
}
END_TEST

static _Atomic uint32_t n_handled;

static void touch_in_handler(int signal)
{
    (void)signal;
    int saved = errno;
    touch_all();
    errno = saved;
    n_handled++;
}

static void install_full(int signal)
{
    struct sigaction action = {.sa_handler = touch_in_handler};
    sigfillset(&action.sa_mask);
    ck_assert_int_eq(sigaction(signal, &action, NULL), 0);
}

START_TEST(handler_with_a_full_mask_is_served)
{
    install_full(SIGUSR1); /* before the trap opens, and after */
    owner_open(&owner, suite_ops, 4, true);
    install_full(SIGUSR2);
    raise(SIGUSR1);
    owner_unmap(&owner, 0, 4);
    raise(SIGUSR2);
    ck_assert_uint_eq(n_handled, 2);
    assert_touched(2);
    struct sigaction action;
    ck_assert_int_eq(sigaction(SIGUSR2, NULL, &action), 0);
    ck_assert_ptr_eq(action.sa_handler, touch_in_handler);
    ck_assert_int_eq(sigismember(&action.sa_mask, SIGTERM), 1);
    owner_close(&owner);
}
END_TEST

/* As a library does that knows the C library's inner name: past the interposers. */
extern int __sigaction(int, const struct sigaction *, struct sigaction *);

START_TEST(handler_with_a_full_mask_from_behind_our_backs_is_served)
{
    struct sigaction action = {.sa_handler = touch_in_handler};
    sigfillset(&action.sa_mask);
    ck_assert_int_eq(__sigaction(SIGUSR1, &action, NULL), 0);
    owner_open(&owner, suite_ops, 4, true);
    raise(SIGUSR1);
    ck_assert_uint_eq(n_handled, 1);
    assert_touched(1);
    owner_close(&owner);
}
END_TEST

/* Waits with everything but SIGUSR1 blocked: the handler that ends it runs under that mask. */
static void wait_by_sigsuspend(const sigset_t *mask)
{
    sigsuspend(mask);
}

static void wait_by_ppoll(const sigset_t *mask)
{
    ppoll(NULL, 0, NULL, mask);
}

static void wait_by_pselect(const sigset_t *mask)
{
    pselect(0, NULL, NULL, NULL, NULL, mask);
}

START_TEST(handler_that_ends_a_wait_with_a_mask_is_served)
{
    void (*const waits[])(const sigset_t *) = {wait_by_sigsuspend, wait_by_ppoll, wait_by_pselect};
    sigset_t usr1, mask;
    owner_open(&owner, suite_ops, 4, true);
    struct sigaction action = {.sa_handler = touch_in_handler};
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    sigfillset(&mask);
    sigdelset(&mask, SIGUSR1);
    for (unsigned i = 0; i < 3; i++) {
        owner_unmap(&owner, 0, 4);
        raise(SIGUSR1); /* pending until the wait opens it */
        waits[i](&mask);
        ck_assert_uint_eq(n_handled, i + 1);
    }
    assert_touched(3);
    owner_close(&owner);
}
END_TEST

START_TEST(faults_under_a_storm_of_signals_are_served)
{
    enum { ROUNDS = 400 };
    owner_open(&owner, suite_ops, 16, true);
    struct sigaction action = {.sa_handler = touch_in_handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        for (size_t page = 0; page < owner.n_pages; page++)
            __atomic_fetch_add(app_word(&owner, page) + 1, 1, __ATOMIC_SEQ_CST);
        owner_unmap(&owner, 0, 16);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    for (size_t page = 0; page < owner.n_pages; page++)
        ck_assert_uint_eq(frame_word(&owner, page)[1], ROUNDS);
    assert_touched(n_handled);
    ck_assert_uint_gt(n_handled, 0);
    owner_close(&owner);
}
END_TEST

START_TEST(stdio_copies_from_and_to_absent_pages)
{
    owner_open(&owner, suite_ops, 8, true);
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    static char buffer[1 << 16];
    setvbuf(file, buffer, _IOFBF, sizeof buffer); /* copied in user mode, under the stream's lock */
    ck_assert_uint_eq(fwrite((void *)owner.app, PAGE, 4, file), 4);
    ck_assert_int_gt(fprintf(file, "%s", (char *)app_addr(&owner, 5)), 0);
    rewind(file);
    ck_assert_uint_eq(fread((void *)app_addr(&owner, 6), 8, 1, file), 1);
    ck_assert_uint_eq(*frame_word(&owner, 6), owner_word(0));
    ck_assert_int_gt(snprintf((char *)app_addr(&owner, 7), PAGE, "%d %s", 5, "five"), 0);
    ck_assert_str_eq((char *)owner.frame + 7 * PAGE, "5 five");
    fclose(file);
    owner_close(&owner);
}
END_TEST

static void *touch_without_end(void *cancel_type)
{
    pthread_setcanceltype((int)(intptr_t)cancel_type, NULL);
    for (;;) {
        for (size_t page = 0; page < owner.n_pages; page++)
            *app_word(&owner, page) += 1;
        pthread_testcancel();
    }
    return NULL;
}

static void cancel_threads(int cancel_type)
{
    enum { ROUNDS = 200 };
    owner_open(&owner, suite_ops, 8, true);
    for (int i = 0; i < ROUNDS; i++) {
        pthread_t thread;
        void *result;
        uint32_t n_faults = owner.n_faults;
        pthread_create(&thread, NULL, touch_without_end, (void *)(intptr_t)cancel_type);
        owner_wait_faults(&owner, n_faults + (uint32_t)(i % 8)); /* somewhere among them */
        pthread_cancel(thread);
        pthread_join(thread, &result);
        ck_assert_ptr_eq(result, PTHREAD_CANCELED);
        owner_unmap(&owner, 0, 8); /* waits for ever if the thread took the lock with it */
    }
    touch_all();
    owner_close(&owner);
}

START_TEST(cancelled_thread_leaves_no_fault_half_done)
{
    cancel_threads(PTHREAD_CANCEL_DEFERRED);
}
END_TEST

START_TEST(asynchronously_cancelled_thread_leaves_no_fault_half_done)
{
    cancel_threads(PTHREAD_CANCEL_ASYNCHRONOUS);
}
END_TEST

#define SMALL_STACK 16384 /* the least that pthread_attr_setstack takes */
#define PAINT       0xa5

static size_t unpainted(const uint8_t *stack)
{
    size_t n = 0;
    while (n < SMALL_STACK && stack[n] == PAINT)
        n++;
    return n;
}

/*
 * The kernel's frame for the signal ends at the context; what lies below it is the handler's: ours,
 * and the suite's own on_fault.
 */
START_TEST(handler_needs_four_kilobytes_of_a_sixteen_kilobyte_stack)
{
    if (SUITE_SANITIZED) {
        printf("SKIPPED, NOT TESTED: small stacks: a sanitizer's frames are too large\n");
        return;
    }
    static uint8_t stack[SMALL_STACK] __attribute__((aligned(4096)));
    pthread_attr_t attr;
    pthread_t thread;
    owner_open(&owner, suite_ops, 4, true);
    touch_all(); /* what is bound lazily, is bound */
    owner_unmap(&owner, 0, 4);
    memset(stack, PAINT, sizeof stack);
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setstack(&attr, stack, sizeof stack), 0);
    ck_assert_int_eq(pthread_create(&thread, &attr, touch_as_thread, NULL), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    assert_touched(2);
    if (!suite_is_async()) {
        uintptr_t lowest = (uintptr_t)stack + unpainted(stack);
        uintptr_t context = (uintptr_t)owner.last.context;
        ck_assert_uint_gt(context, (uintptr_t)stack);
        ck_assert_uint_lt(context, (uintptr_t)stack + sizeof stack);
        printf("%s: the handler took %zu bytes of stack\n", suite_ops->name,
               (size_t)(context - lowest));
        ck_assert_uint_le(context - lowest, 4096);
    }
    owner_close(&owner);
}
END_TEST

START_TEST(stack_in_the_region_is_refused)
{
    pthread_attr_t attr;
    pthread_t thread;
    owner_open(&owner, suite_ops, 16, true);
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setstack(&attr, (void *)owner.app, 8 * PAGE), 0);
    ck_assert_int_eq(pthread_create(&thread, &attr, touch_as_thread, NULL), EINVAL);
    pthread_attr_destroy(&attr);
    stack_t alternate = {.ss_sp = (void *)owner.app, .ss_size = 8 * PAGE};
    ck_assert_int_eq(sigaltstack(&alternate, NULL), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_uint_eq(owner.n_faults, 0);
    owner_close(&owner);
}
END_TEST

START_TEST(thread_number_may_be_written_to_an_absent_page)
{
    owner_open(&owner, suite_ops, 4, true);
    pthread_t *thread = (pthread_t *)(app_addr(&owner, 3) + 64); /* not where it counts */
    ck_assert_int_eq(pthread_create(thread, NULL, touch_as_thread, NULL), 0);
    pthread_t copy = *thread;
    pthread_join(copy, NULL);
    owner_close(&owner);
}
END_TEST

TCase *trap_signal_case(void)
{
    TCase *c = tcase_create("signal");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, fault_is_served_with_every_signal_blocked);
    tcase_add_test(c, signals_blocked_before_the_trap_opened_are_no_harm);
    tcase_add_test(c, thread_created_with_every_signal_blocked_is_served);
    tcase_add_test(c, handler_with_a_full_mask_is_served);
    tcase_add_test(c, handler_with_a_full_mask_from_behind_our_backs_is_served);
    tcase_add_test(c, handler_that_ends_a_wait_with_a_mask_is_served);
    tcase_add_test(c, faults_under_a_storm_of_signals_are_served);
    tcase_add_test(c, stdio_copies_from_and_to_absent_pages);
    tcase_add_test(c, cancelled_thread_leaves_no_fault_half_done);
    tcase_add_test(c, asynchronously_cancelled_thread_leaves_no_fault_half_done);
    tcase_add_test(c, handler_needs_four_kilobytes_of_a_sixteen_kilobyte_stack);
    tcase_add_test(c, stack_in_the_region_is_refused);
    tcase_add_test(c, thread_number_may_be_written_to_an_absent_page);
    return c;
}
