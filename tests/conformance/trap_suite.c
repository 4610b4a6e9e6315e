/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_suite.c - runs the trap suite, as root and as an ordinary user. */
#define _GNU_SOURCE
#include "trap_suite.h"
#include "base/clock.h"
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ORDINARY_USER 65534 /* nobody */
#define EXIT_SKIPPED  77

const struct dsm_trap_ops *suite_ops;
static uint64_t seed;

bool suite_is_async(void)
{
    return suite_ops == &dsm_trap_uffd;
}

uint64_t suite_seed(void)
{
    return seed;
}

/* A sanitizer's handlers are there from the start; the tests mean a program without any. */
static void reset_handlers(void)
{
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
}

static int run(const char *who)
{
    char name[64], why[512];
    snprintf(name, sizeof name, "trap %s as %s", suite_ops->name, who);
    if (suite_ops->probe(why, sizeof why) != 0) {
        printf("SKIPPED, NOT TESTED: %s: %s\n", name, why);
        return EXIT_SKIPPED;
    }
    Suite *suite = suite_create(name);
    TCase *cases[] = {trap_access_case(), trap_race_case(),    trap_signal_case(),
                      trap_chain_case(),  trap_process_case(), trap_limit_case()};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tcase_add_checked_fixture(cases[i], reset_handlers, NULL);
        suite_add_tcase(suite, cases[i]);
    }
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? 0 : 1;
}

static int run_as_ordinary_user(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) != 0 ||
            setresgid(ORDINARY_USER, ORDINARY_USER, ORDINARY_USER) != 0 ||
            setresuid(ORDINARY_USER, ORDINARY_USER, ORDINARY_USER) != 0) {
            perror("cannot become an ordinary user");
            _exit(1);
        }
        /* Changing the user hides /proc/self from itself, which no ordinary program meets. */
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
        int status = run("an ordinary user");
        fflush(NULL);
        _exit(status);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        printf("the run as an ordinary user did not end by itself\n");
        return 1;
    }
    return WEXITSTATUS(status);
}

int trap_suite_main(const struct dsm_trap_ops *ops)
{
    suite_ops = ops;
    const char *text = getenv("TRAP_SEED");
    seed = text ? strtoull(text, NULL, 0) : dsm_clock_ns();
    printf("trap suite over %s: TRAP_SEED=%llu replays this run\n", ops->name,
           (unsigned long long)seed);
    if (geteuid() != 0) {
        printf("NOT ROOT: tested as user %u only; run as root to test both\n", geteuid());
        return run("this user");
    }
    int as_root = run("root"), as_user = run_as_ordinary_user();
    /* A failure beats a skip, and a skip is not a pass. */
    if (as_root == 1 || as_user == 1)
        return 1;
    return as_root != 0 ? as_root : as_user;
}
