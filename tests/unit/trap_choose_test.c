/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_choose_test.c - which backend is taken, also where userfaultfd is forbidden. */
#define _GNU_SOURCE
#include "base/errors.h"
#include "trap/trap.h"
#include <check.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct dsm_trap_ops *ops;
static char why[1024];

/* As a container's filter does it: this call fails with this error, from here on. */
static void forbid(int call, int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = filter};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* The device would be a way round the filter, for who may open it. */
static void forbid_userfaultfd(int error)
{
    forbid(SYS_userfaultfd, error);
    forbid(SYS_openat, EACCES);
}

START_TEST(auto_takes_sigbus_where_it_works)
{
    if (dsm_trap_sigbus.probe(why, sizeof why) != 0) {
        ck_assert_int_eq(dsm_trap_choose("auto", &ops, why, sizeof why), 0);
        ck_assert_ptr_eq(ops, &dsm_trap_segv);
        return;
    }
    const char *const names[] = {"auto", NULL, ""};
    for (unsigned i = 0; i < 3; i++) {
        ops = NULL;
        ck_assert_int_eq(dsm_trap_choose(names[i], &ops, why, sizeof why), 0);
        ck_assert_ptr_eq(ops, &dsm_trap_sigbus);
        ck_assert_ptr_nonnull(strstr(why, "sigbus"));
    }
}
END_TEST

START_TEST(name_takes_that_backend)
{
    ck_assert_int_eq(dsm_trap_choose("segv", &ops, why, sizeof why), 0);
    ck_assert_ptr_eq(ops, &dsm_trap_segv);
    if (dsm_trap_uffd.probe(why, sizeof why) == 0) {
        ck_assert_int_eq(dsm_trap_choose("uffd", &ops, why, sizeof why), 0);
        ck_assert_ptr_eq(ops, &dsm_trap_uffd);
    }
}
END_TEST

START_TEST(unknown_name_is_told_with_those_allowed)
{
    ops = NULL;
    ck_assert_int_eq(dsm_trap_choose("sigill", &ops, why, sizeof why), DSM_E_INVAL);
    ck_assert_ptr_null(ops);
    ck_assert_ptr_nonnull(strstr(why, "\"sigill\""));
    ck_assert_ptr_nonnull(strstr(why, "auto, sigbus, uffd and segv"));
}
END_TEST

START_TEST(forbidden_userfaultfd_falls_back_and_says_why)
{
    const int errors[] = {EPERM, EACCES, ENOSYS};
    forbid_userfaultfd(errors[_i]);
    ck_assert_int_eq(dsm_trap_choose("auto", &ops, why, sizeof why), 0);
    ck_assert_ptr_eq(ops, &dsm_trap_segv);
    ck_assert_msg(strstr(why, "segv:") && strstr(why, "not sigbus: userfaultfd"), "%s", why);
    ck_assert_ptr_nonnull(strstr(why, errors[_i] == ENOSYS ? "not in this kernel" : "forbidden"));
    ops = NULL;
    ck_assert_int_eq(dsm_trap_choose("sigbus", &ops, why, sizeof why), DSM_E_UNSUPPORTED);
    ck_assert_ptr_null(ops);
    ck_assert_ptr_nonnull(strstr(why, "userfaultfd"));
    ck_assert_int_eq(dsm_trap_choose("uffd", &ops, why, sizeof why), DSM_E_UNSUPPORTED);
    struct dsm_trap_config config = {.on_fault = NULL};
    struct dsm_trap *trap = NULL;
    ck_assert_int_eq(dsm_trap_sigbus.open(&config, &trap), DSM_E_UNSUPPORTED);
    ck_assert_ptr_null(trap);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trap choice");
    TCase *c = tcase_create("choice");
    tcase_add_test(c, auto_takes_sigbus_where_it_works);
    tcase_add_test(c, name_takes_that_backend);
    tcase_add_test(c, unknown_name_is_told_with_those_allowed);
    tcase_add_loop_test(c, forbidden_userfaultfd_falls_back_and_says_why, 0, 3);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed != 0;
}
