/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_process.c - how processes end that should, and what becomes of children. */
#define _GNU_SOURCE
#include "trap_suite.h"
#include "trap/raw.h"
#include "trap/streak.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static struct owner owner;

/* How a traced child ended: the last fault signal that it was given, and where. */
struct death {
    int signal; /* that killed it; 0: it did not die of one */
    int exit_status;
    siginfo_t info;
    uintptr_t ip;
    char said[2048]; /* on stderr */
};

static void leave_no_core(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

static void watch(pid_t pid, struct death *death)
{
    int status;
    for (;;) {
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        if (!WIFSTOPPED(status))
            break;
        int signal = WSTOPSIG(status);
        if (signal == SIGSEGV || signal == SIGBUS || signal == SIGABRT) {
            struct user_regs_struct registers;
            ck_assert_int_eq(ptrace(PTRACE_GETSIGINFO, pid, NULL, &death->info), 0);
            ck_assert_int_eq(ptrace(PTRACE_GETREGS, pid, NULL, &registers), 0);
            death->ip = registers.rip;
        }
        ptrace(PTRACE_CONT, pid, NULL, (void *)(uintptr_t)(signal == SIGSTOP ? 0 : signal));
    }
    death->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    death->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/*
 * Runs it in a child, which should not come back from it. Traced, the death has the last fault
 * signal; a child that traps ten thousand times is better left alone, as every signal stops it
 * twice.
 */
static struct death run_to_death(void (*run)(void), bool is_traced)
{
    struct death death = {.signal = 0};
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        leave_no_core();
        /* Check's handler for it kills the whole group: an alarm would look like a SIGKILL. */
        signal(SIGALRM, SIG_DFL);
        if (is_traced) {
            ptrace(PTRACE_TRACEME, 0, NULL, NULL);
            raise(SIGSTOP);
        }
        run();
        _exit(90);
    }
    ck_assert_int_gt(pid, 0);
    close(fds[1]);
    watch(pid, &death);
    ssize_t n = read(fds[0], death.said, sizeof death.said - 1);
    death.said[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    return death;
}

static struct death watch_death(void (*run)(void))
{
    return run_to_death(run, true);
}

/* Addresses that the parent can know beforehand. */
#define WILD ((volatile uint8_t *)0x10123)

__asm__(".text\n.globl trap_suite_store\n.hidden trap_suite_store\ntrap_suite_store:\n"
        "movb $1, (%rdi)\nret\n");
void trap_suite_store(volatile uint8_t *p);

static void use_wild_pointer(void)
{
    owner_open(&owner, suite_ops, 4, true);
    *app_word(&owner, 0) = 1;
    trap_suite_store(WILD);
}

static void assert_died_at_store(const struct death *death, int signal, uintptr_t addr)
{
    ck_assert_msg(death->signal == signal, "signal %d, exit status %d: %s", death->signal,
                  death->exit_status, death->said);
    ck_assert_int_eq(death->info.si_signo, signal);
    ck_assert_uint_eq((uintptr_t)death->info.si_addr, addr);
    ck_assert_uint_eq(death->ip, (uintptr_t)trap_suite_store);
}

START_TEST(wild_pointer_dies_where_it_happened)
{
    struct death death = watch_death(use_wild_pointer);
    assert_died_at_store(&death, SIGSEGV, (uintptr_t)WILD);
    ck_assert_int_eq(death.info.si_code, SEGV_MAPERR);
}
END_TEST

static void use_wild_pointer_ignoring(void)
{
    signal(SIGSEGV, SIG_IGN); /* a fault cannot be ignored */
    use_wild_pointer();
}

START_TEST(ignoring_the_signal_does_not_hide_a_wild_pointer)
{
    struct death death = watch_death(use_wild_pointer_ignoring);
    assert_died_at_store(&death, SIGSEGV, (uintptr_t)WILD);
}
END_TEST

static int address_pipe[2];

/* Tells the parent where it is going to die. */
static void tell(volatile uint8_t *p)
{
    if (write(address_pipe[1], &p, sizeof p) != sizeof p)
        _exit(93);
}

static uintptr_t told(void)
{
    uintptr_t addr;
    ck_assert_int_eq(read(address_pipe[0], &addr, sizeof addr), sizeof addr);
    return addr;
}

static void store_beyond_file(void)
{
    owner_open(&owner, suite_ops, 4, true);
    int fd = memfd_create("short", MFD_CLOEXEC);
    volatile uint8_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    tell(p + 77);
    trap_suite_store(p + 77);
}

START_TEST(store_beyond_a_file_dies_where_it_happened)
{
    ck_assert_int_eq(pipe(address_pipe), 0);
    struct death death = watch_death(store_beyond_file);
    assert_died_at_store(&death, SIGBUS, told());
    ck_assert_int_eq(death.info.si_code, BUS_ADRERR);
}
END_TEST

static void jump_into_region(void)
{
    owner_open(&owner, suite_ops, 4, true);
    *app_word(&owner, 0) = 0xc3; /* ret */
    ((void (*)(void))app_addr(&owner, 0))();
}

START_TEST(region_cannot_be_executed)
{
    struct death death = watch_death(jump_into_region);
    ck_assert_msg(death.signal == SIGSEGV, "signal %d: %s", death.signal, death.said);
    ck_assert_int_eq(death.info.si_code, SEGV_ACCERR);
    ck_assert_uint_eq((uintptr_t)death.info.si_addr, death.ip);
}
END_TEST

static void store_refused(void)
{
    owner_open(&owner, suite_ops, 4, true);
    owner.answer = OWNER_REFUSES;
    tell(owner.app + 2 * PAGE + 99);
    trap_suite_store(owner.app + 2 * PAGE + 99);
}

START_TEST(refused_store_dies_of_sigbus_where_it_happened)
{
    ck_assert_int_eq(pipe(address_pipe), 0);
    struct death death = watch_death(store_refused);
    assert_died_at_store(&death, SIGBUS, told());
    ck_assert_int_eq(death.info.si_code, BUS_ADRERR);
}
END_TEST

static void store_refused_blocking(void)
{
    owner_open(&owner, suite_ops, 4, true);
    owner.answer = OWNER_REFUSES;
    dsm_sigmask_t all = DSM_SIGMASK_ALL;
    dsm_raw_sigprocmask(SIG_BLOCK, &all, NULL); /* behind the interposers' backs */
    *app_word(&owner, 2) = 1;
}

START_TEST(refused_thread_that_blocks_the_signal_ends_the_process)
{
    struct death death = watch_death(store_refused_blocking);
    int want = suite_ops == &dsm_trap_segv ? SIGSEGV : SIGBUS;
    ck_assert_msg(death.signal == want, "signal %d: %s", death.signal, death.said);
}
END_TEST

/* ---- traps without end ---- */

static void trap_for_ever(void)
{
    owner_open(&owner, suite_ops, 4, true);
    owner.answer = OWNER_MAPS_NOT;
    alarm(60);
    if (suite_is_async()) { /* a thread that nobody maps for sleeps; one that is woken in vain loops
                             */
        owner.answer = OWNER_MAPS_LITTLE;
    }
    trap_suite_store((volatile uint8_t *)app_addr(&owner, 1));
}

static void trap_for_ever_on_half_a_grant(void)
{
    owner_open(&owner, suite_ops, 4, true);
    owner.answer = OWNER_MAPS_LITTLE;
    alarm(60);
    trap_suite_store((volatile uint8_t *)app_addr(&owner, 1));
}

static void assert_ended_with_one_message(const struct death *death)
{
    ck_assert_msg(death->signal == SIGABRT, "signal %d: %s", death->signal, death->said);
    char *message = strstr(death->said, "traps for ever");
    ck_assert_ptr_nonnull(message);
    ck_assert_ptr_null(strstr(message + 1, "traps for ever"));
}

START_TEST(trap_without_progress_ends_with_one_message)
{
    struct death death = run_to_death(trap_for_ever, false);
    assert_ended_with_one_message(&death);
    death = run_to_death(trap_for_ever_on_half_a_grant, false);
    assert_ended_with_one_message(&death);
}
END_TEST

/* One address, one instruction, one thread, and every trap with a reason. */
static void lose_again_and_again(void (*take)(struct owner *, size_t, size_t))
{
    enum { ROUNDS = DSM_STREAK_LIMIT + DSM_STREAK_LIMIT / 5 };
    owner_open(&owner, suite_ops, 4, true);
    for (int i = 0; i < ROUNDS; i++) {
        trap_suite_store(owner.app + PAGE);
        take(&owner, 1, 1);
    }
    ck_assert_uint_eq(owner.n_writes, ROUNDS);
    owner_close(&owner);
}

START_TEST(page_taken_away_again_and_again_is_no_loop)
{
    lose_again_and_again(owner_unmap);
}
END_TEST

START_TEST(page_downgraded_again_and_again_is_no_loop)
{
    lose_again_and_again(owner_downgrade);
}
END_TEST

/* ---- children ---- */

static void tell_trap_in_child(void)
{
    owner.ops->after_fork_child(owner.trap);
}

/* The child's exit status, or 128 plus the signal that killed it. */
static int wait_child(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void exit_seven(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    _exit((uintptr_t)info->si_addr == app_addr(&owner, 1) ? 7 : 8);
}

START_TEST(child_of_fork_shares_nothing_and_gets_sigbus)
{
    owner_open(&owner, suite_ops, 4, true);
    pthread_atfork(NULL, NULL, tell_trap_in_child);
    *app_word(&owner, 1) = 41;
    int fds[2];
    char said[1000] = "";
    ck_assert_int_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        leave_no_core();
        *app_word(&owner, 1) = 42;
        _exit(90);
    }
    close(fds[1]);
    ck_assert_int_eq(wait_child(pid), 128 + SIGBUS);
    ck_assert_int_gt(read(fds[0], said, sizeof said - 1), 0);
    ck_assert_ptr_nonnull(strstr(said, "forked"));
    pid = fork(); /* its own handler is told, as of any refused access; also for reading */
    if (pid == 0) {
        struct sigaction action = {.sa_sigaction = exit_seven, .sa_flags = SA_SIGINFO};
        sigaction(SIGBUS, &action, NULL);
        _exit(*app_word(&owner, 1) == 41 ? 91 : 92);
    }
    ck_assert_int_eq(wait_child(pid), 7);
    ck_assert_uint_eq(*frame_word(&owner, 1), 41);
    *app_word(&owner, 1) = 43; /* the parent goes on */
    *app_word(&owner, 2) = 44;
    ck_assert_uint_eq(*frame_word(&owner, 1), 43);
    owner_close(&owner);
}
END_TEST

START_TEST(child_of_a_raw_fork_shares_nothing)
{
    owner_open(&owner, suite_ops, 4, true);
    *app_word(&owner, 1) = 41;
    pid_t pid = _Fork(); /* runs no atfork handlers */
    if (pid == 0) {
        leave_no_core();
        *app_word(&owner, 1) = 42;
        _exit(90);
    }
    ck_assert_int_eq(wait_child(pid), 128 + SIGSEGV);
    pid = _Fork();
    if (pid == 0) {
        leave_no_core();
        *frame_word(&owner, 1) = 42;
        _exit(90);
    }
    ck_assert_int_eq(wait_child(pid), 128 + SIGSEGV);
    ck_assert_uint_eq(*frame_word(&owner, 1), 41);
    ck_assert_uint_eq(*app_word(&owner, 1), 41);
    owner_close(&owner);
}
END_TEST

START_TEST(child_may_work_and_fork_again)
{
    owner_open(&owner, suite_ops, 4, true);
    pthread_atfork(NULL, NULL, tell_trap_in_child);
    *app_word(&owner, 1) = 41;
    pid_t pid = fork();
    if (pid == 0) {
        void *p = malloc(1 << 20);
        memset(p, 1, 1 << 20);
        /* The region's addresses stay empty: no pointer into it finds the child's own data. */
        ck_assert(mmap((void *)owner.app, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                  (void *)owner.app);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            leave_no_core();
            *app_word(&owner, 0) = 42;
            _exit(90);
        }
        _exit(wait_child(grandchild) == 128 + SIGBUS ? 0 : 91);
    }
    ck_assert_int_eq(wait_child(pid), 0);
    ck_assert_uint_eq(*app_word(&owner, 1), 41);
    owner_close(&owner);
}
END_TEST

extern char **environ;

static atomic_bool stop;

static void *take_strings_away(void *argument)
{
    (void)argument;
    while (!stop) {
        uint64_t mask = owner_enter(&owner);
        owner.ops->unmap(owner.trap, app_addr(&owner, 0), 3 * PAGE);
        owner_leave(&owner, mask);
        sched_yield();
    }
    return NULL;
}

START_TEST(spawn_takes_everything_from_absent_pages)
{
    owner_open(&owner, suite_ops, 8, false);
    /* sh -c 'exit 5', with path, vector and strings on pages of their own, taken away again. */
    char **argv = (char **)app_addr(&owner, 0);
    char *path = (char *)app_addr(&owner, 1), *script = (char *)app_addr(&owner, 2);
    pid_t *pid = (pid_t *)app_addr(&owner, 3);
    posix_spawnattr_t *attr = (posix_spawnattr_t *)app_addr(&owner, 4);
    strcpy(path, "/bin/sh");
    strcpy(script, "exit 5");
    argv[0] = path;
    argv[1] = (char[]){"-c"};
    argv[2] = script;
    argv[3] = NULL;
    posix_spawnattr_init(attr);
    owner_unmap(&owner, 0, 8);
    ck_assert_int_eq(posix_spawn(pid, path, NULL, attr, argv, environ), 0);
    pid_t private_pid = *pid;
    ck_assert_int_eq(wait_child(private_pid), 5);
    /* Pages that were read once may be gone when the kernel wants the strings. */
    pthread_t taker;
    ck_assert_int_eq(pthread_create(&taker, NULL, take_strings_away, NULL), 0);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(posix_spawn(pid, path, NULL, attr, argv, environ), 0);
        private_pid = *pid;
        ck_assert_int_eq(wait_child(private_pid), 5);
    }
    stop = true;
    pthread_join(taker, NULL);
    strcpy(path, "sh");
    owner_unmap(&owner, 0, 8);
    ck_assert_int_eq(posix_spawnp(pid, path, NULL, attr, argv, environ), 0);
    private_pid = *pid;
    ck_assert_int_eq(wait_child(private_pid), 5);
    *pid = 77;
    ck_assert_int_eq(posix_spawn(pid, "/does/not/exist", NULL, NULL, argv, environ), ENOENT);
    ck_assert_int_eq(*pid, 77);
    ck_assert_int_eq(WEXITSTATUS(system("exit 6")), 6);
    owner_close(&owner);
}
END_TEST

TCase *trap_process_case(void)
{
    TCase *c = tcase_create("process");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, wild_pointer_dies_where_it_happened);
    tcase_add_test(c, ignoring_the_signal_does_not_hide_a_wild_pointer);
    tcase_add_test(c, store_beyond_a_file_dies_where_it_happened);
    tcase_add_test(c, region_cannot_be_executed);
    tcase_add_test(c, refused_store_dies_of_sigbus_where_it_happened);
    tcase_add_test(c, refused_thread_that_blocks_the_signal_ends_the_process);
    tcase_add_test(c, trap_without_progress_ends_with_one_message);
    tcase_add_test(c, page_taken_away_again_and_again_is_no_loop);
    tcase_add_test(c, page_downgraded_again_and_again_is_no_loop);
    tcase_add_test(c, child_of_fork_shares_nothing_and_gets_sigbus);
    tcase_add_test(c, child_of_a_raw_fork_shares_nothing);
    tcase_add_test(c, child_may_work_and_fork_again);
    tcase_add_test(c, spawn_takes_everything_from_absent_pages);
    return c;
}
