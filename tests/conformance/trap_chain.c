/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_chain.c - the program's own handlers of SIGBUS and SIGSEGV, and refused faults. */
#define _GNU_SOURCE
#include "trap_suite.h"
#include "trap/raw.h"
#include "trap/signals.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static struct owner owner;

/* What the program's handler saw last. */
static struct {
    _Atomic uint32_t n;
    int signal, code;
    uintptr_t addr, ip;
    dsm_sigmask_t mask;
} seen;
static sigjmp_buf back;

static void note(int signal, siginfo_t *info, void *context)
{
    seen.n++;
    seen.signal = signal;
    seen.code = info->si_code;
    seen.addr = (uintptr_t)info->si_addr;
    seen.ip = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    dsm_raw_sigprocmask(SIG_BLOCK, NULL, &seen.mask);
}

static void note_and_jump(int signal, siginfo_t *info, void *context)
{
    note(signal, info, context);
    siglongjmp(back, 1);
}

static void touch_and_jump(int signal, siginfo_t *info, void *context)
{
    note(signal, info, context);
    *app_word(&owner, 3) += 1; /* the handler may use the region */
    siglongjmp(back, 1);
}

static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigaddset(&action.sa_mask, SIGUSR1);
    ck_assert_int_eq(sigaction(signal, &action, NULL), 0);
}

/* A page that exists beyond the end of its file: SIGBUS; and one that is not mapped: SIGSEGV. */
static volatile uint8_t *beyond_file(void)
{
    int fd = memfd_create("short", MFD_CLOEXEC);
    volatile uint8_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne((void *)p, MAP_FAILED);
    close(fd);
    return p;
}

static volatile uint8_t *unmapped(void)
{
    void *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    munmap(p, PAGE);
    return p;
}

/* Touches a foreign address and asserts that the program's handler saw it as it happened. */
static void assert_foreign(volatile uint8_t *p, int signal, int code)
{
    uint32_t n = seen.n;
    if (sigsetjmp(back, 1) == 0) {
        *p = 1;
        ck_abort_msg("the access went through");
    }
    ck_assert_uint_eq(seen.n, n + 1);
    ck_assert_int_eq(seen.signal, signal);
    ck_assert_int_eq(seen.code, code);
    ck_assert_uint_eq(seen.addr, (uintptr_t)p);
}

static void assert_region_works(void)
{
    uint32_t n = seen.n;
    owner_unmap(&owner, 0, 4);
    *app_word(&owner, 1) += 1;
    ck_assert_uint_gt(*app_word(&owner, 1), owner_word(1));
    ck_assert_uint_eq(seen.n, n);
}

START_TEST(handlers_from_before_get_what_is_not_ours)
{
    install(SIGSEGV, note_and_jump, 0);
    install(SIGBUS, note_and_jump, 0);
    owner_open(&owner, suite_ops, 4, true);
    assert_region_works();
    assert_foreign(unmapped() + 123, SIGSEGV, SEGV_MAPERR);
    assert_foreign(beyond_file() + 45, SIGBUS, BUS_ADRERR);
    assert_region_works();
    owner_close(&owner);
    assert_foreign(beyond_file(), SIGBUS, BUS_ADRERR); /* installed again, for itself */
    assert_foreign(unmapped(), SIGSEGV, SEGV_MAPERR);
}
END_TEST

START_TEST(handlers_installed_later_stand_behind_ours)
{
    struct sigaction old;
    owner_open(&owner, suite_ops, 4, true);
    ck_assert_int_eq(sigaction(SIGBUS, NULL, &old), 0);
    ck_assert_ptr_eq(old.sa_handler, SIG_DFL); /* ours is not to be seen */
    install(SIGSEGV, note_and_jump, 0);
    install(SIGBUS, note_and_jump, SA_RESTART);
    ck_assert_int_eq(sigaction(SIGBUS, NULL, &old), 0);
    ck_assert_ptr_eq(old.sa_sigaction, note_and_jump);
    ck_assert_int_eq(old.sa_flags, SA_SIGINFO | SA_RESTART);
    ck_assert_int_eq(sigismember(&old.sa_mask, SIGUSR1), 1);
    assert_region_works();
    assert_foreign(unmapped() + 1, SIGSEGV, SEGV_MAPERR);
    assert_foreign(beyond_file() + 2, SIGBUS, BUS_ADRERR);
    ck_assert(seen.mask & dsm_sigmask_of(SIGUSR1)); /* its own mask was in force */
    ck_assert(!(seen.mask & dsm_sigmask_of(SIGUSR2)));
    ck_assert_ptr_eq(signal(SIGBUS, SIG_DFL), (void *)note_and_jump);
    ck_assert_ptr_eq(signal(SIGSEGV, SIG_IGN), (void *)note_and_jump);
    ck_assert_ptr_eq(signal(SIGSEGV, SIG_DFL), SIG_IGN);
    assert_region_works();
    owner_close(&owner);
}
END_TEST

START_TEST(handler_of_the_program_may_fault_in_the_region)
{
    owner_open(&owner, suite_ops, 4, true);
    install(SIGBUS, touch_and_jump, 0);
    install(SIGSEGV, touch_and_jump, 0);
    for (int i = 0; i < 10; i++) {
        owner_unmap(&owner, 0, 4);
        assert_foreign(beyond_file(), SIGBUS, BUS_ADRERR);
        owner_unmap(&owner, 0, 4);
        assert_foreign(unmapped(), SIGSEGV, SEGV_MAPERR);
    }
    ck_assert_uint_eq(*frame_word(&owner, 3), owner_word(3) + 20);
    owner_close(&owner);
}
END_TEST

START_TEST(one_shot_handlers_run_once)
{
    owner_open(&owner, suite_ops, 4, true);
    install(SIGBUS, note_and_jump, (int)SA_RESETHAND);
    assert_foreign(beyond_file(), SIGBUS, BUS_ADRERR);
    struct sigaction old;
    sigaction(SIGBUS, NULL, &old);
    ck_assert_ptr_eq(old.sa_handler, SIG_DFL);
    assert_region_works();
    owner_close(&owner);
}
END_TEST

START_TEST(signals_that_somebody_sends_reach_the_program)
{
    owner_open(&owner, suite_ops, 4, true);
    install(SIGBUS, note, 0);
    install(SIGSEGV, note, 0);
    raise(SIGBUS);
    ck_assert_uint_eq(seen.n, 1);
    ck_assert_int_eq(seen.code, SI_TKILL);
    kill(getpid(), SIGSEGV);
    ck_assert_uint_eq(seen.n, 2);
    ck_assert_int_eq(seen.signal, SIGSEGV);
    signal(SIGBUS, SIG_IGN);
    raise(SIGBUS);
    ck_assert_uint_eq(seen.n, 2);
    assert_region_works();
    owner_close(&owner);
}
END_TEST

/* Never ends; the compiler is not to see that. */
static volatile bool is_deep_enough;

static uint32_t overflow(uint32_t depth)
{
    volatile uint8_t frame[512];
    frame[depth % 512] = 1;
    if (is_deep_enough)
        return depth;
    return overflow(depth + 1) + frame[depth % 512];
}

START_TEST(stack_overflow_is_reported_on_the_alternate_stack)
{
    static uint8_t alternate[65536];
    owner_open(&owner, suite_ops, 4, true);
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    ck_assert_int_eq(sigaltstack(&stack, NULL), 0);
    install(SIGSEGV, note_and_jump, SA_ONSTACK);
    if (sigsetjmp(back, 1) == 0)
        ck_abort_msg("depth %u", overflow(0));
    ck_assert_uint_eq(seen.n, 1);
    ck_assert_int_eq(seen.signal, SIGSEGV);
    assert_region_works();
    owner_close(&owner);
}
END_TEST

/* ---- refused faults ---- */

static void assert_refused(size_t page)
{
    uint32_t n = seen.n;
    volatile uint8_t *p = owner.app + page * PAGE + 321;
    if (sigsetjmp(back, 1) == 0) {
        *p = 3;
        ck_abort_msg("the access went through");
    }
    ck_assert_uint_eq(seen.n, n + 1);
    ck_assert_int_eq(seen.signal, SIGBUS);
    ck_assert_int_eq(seen.code, BUS_ADRERR);
    ck_assert_uint_eq(seen.addr, (uintptr_t)p);
}

START_TEST(refused_fault_is_a_sigbus_with_its_address)
{
    owner_open(&owner, suite_ops, 4, true);
    install(SIGBUS, note_and_jump, 0);
    owner.answer = OWNER_REFUSES;
    assert_refused(2);
    assert_refused(0);
    owner.answer = OWNER_SERVES;
    assert_region_works();
    owner_close(&owner);
}
END_TEST

static volatile uintptr_t refused_ip;

static void note_ip_and_go_on(int signal, siginfo_t *info, void *context)
{
    note(signal, info, context);
    refused_ip = seen.ip;
    owner.answer = OWNER_SERVES;
}

START_TEST(refused_access_is_tried_again_when_the_handler_returns)
{
    owner_open(&owner, suite_ops, 4, true);
    install(SIGBUS, note_ip_and_go_on, 0);
    owner.answer = OWNER_REFUSES;
    uintptr_t ip;
    __asm__ volatile("lea 1f(%%rip), %0\n1: movb $3, (%1)"
                     : "=&r"(ip)
                     : "r"(app_addr(&owner, 1) + 8)
                     : "memory");
    ck_assert_uint_eq(seen.n, 1);
    ck_assert_uint_eq(refused_ip, ip);
    ck_assert_uint_eq(owner.frame[PAGE + 8], 3);
    owner_close(&owner);
}
END_TEST

static _Atomic uint32_t waiting_thread;
static atomic_bool is_refused;

static void mark_and_end(int signal, siginfo_t *info, void *context)
{
    note(signal, info, context);
    is_refused = true;
    pthread_exit(NULL);
}

static void *touch_for_ever(void *argument)
{
    (void)argument;
    waiting_thread = dsm_raw_gettid();
    *app_word(&owner, 1) = 1;
    return NULL;
}

START_TEST(waiting_thread_is_refused_from_outside)
{
    if (!suite_is_async())
        return; /* the others answer inside on_fault */
    pthread_t thread, other;
    owner_open(&owner, suite_ops, 4, true);
    install(SIGBUS, mark_and_end, 0);
    owner.answer = OWNER_MAPS_NOT;
    pthread_create(&thread, NULL, touch_for_ever, NULL);
    owner_wait_faults(&owner, 1);
    uint32_t victim = waiting_thread;
    pthread_create(&other, NULL, touch_for_ever, NULL);
    owner_wait_faults(&owner, 2);
    ck_assert_int_eq(suite_ops->refuse(owner.trap, app_addr(&owner, 1), victim), 0);
    pthread_join(thread, NULL);
    ck_assert(is_refused);
    ck_assert_uint_eq(seen.n, 1);
    ck_assert_int_eq(seen.code, BUS_ADRERR);
    ck_assert_uint_eq(seen.addr, app_addr(&owner, 1));
    /* The other thread waits for the same page: it was not meant, and is served. */
    owner.answer = OWNER_SERVES;
    owner_map(&owner, 1, 1, true);
    pthread_join(other, NULL);
    ck_assert_uint_eq(seen.n, 1);
    ck_assert_uint_eq(*frame_word(&owner, 1), 1);
    ck_assert_int_eq(suite_ops->refuse(owner.trap, app_addr(&owner, 1), victim), 0); /* is gone */
    owner_close(&owner);
}
END_TEST

static void *end_with_blocked_signal(void *argument)
{
    sigset_t set;
    (void)argument;
    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    waiting_thread = dsm_raw_gettid();
    return NULL;
}

/* A thread can be joined before the kernel has forgotten it: of these, one in some hundreds. */
START_TEST(thread_that_ends_blocks_no_signal)
{
    for (unsigned i = 0; i < 5000; i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, end_with_blocked_signal, NULL), 0);
        pthread_join(thread, NULL);
        ck_assert(!dsm_signal_is_blocked(SIGBUS, waiting_thread));
    }
}
END_TEST

START_TEST(waiting_thread_tries_again_when_told)
{
    ck_assert_int_eq(suite_ops->retry != NULL, suite_is_async());
    if (!suite_is_async())
        return;
    pthread_t thread;
    owner_open(&owner, suite_ops, 4, true);
    owner.answer = OWNER_MAPS_NOT;
    pthread_create(&thread, NULL, touch_for_ever, NULL);
    owner_wait_faults(&owner, 1);
    suite_ops->retry(owner.trap, app_addr(&owner, 2)); /* nobody waits there */
    suite_ops->retry(owner.trap, app_addr(&owner, 1) + 100);
    owner_wait_faults(&owner, 2);
    ck_assert_uint_eq(owner.last.thread, waiting_thread);
    owner.answer = OWNER_SERVES;
    suite_ops->retry(owner.trap, app_addr(&owner, 1));
    pthread_join(thread, NULL);
    ck_assert_uint_eq(*frame_word(&owner, 1), 1);
    owner_close(&owner);
}
END_TEST

TCase *trap_chain_case(void)
{
    TCase *c = tcase_create("chain");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, handlers_from_before_get_what_is_not_ours);
    tcase_add_test(c, handlers_installed_later_stand_behind_ours);
    tcase_add_test(c, handler_of_the_program_may_fault_in_the_region);
    tcase_add_test(c, one_shot_handlers_run_once);
    tcase_add_test(c, signals_that_somebody_sends_reach_the_program);
    tcase_add_test(c, stack_overflow_is_reported_on_the_alternate_stack);
    tcase_add_test(c, refused_fault_is_a_sigbus_with_its_address);
    tcase_add_test(c, refused_access_is_tried_again_when_the_handler_returns);
    tcase_add_test(c, waiting_thread_is_refused_from_outside);
    tcase_add_test(c, thread_that_ends_blocks_no_signal);
    tcase_add_test(c, waiting_thread_tries_again_when_told);
    return c;
}
