/* SPDX-License-Identifier: BSD-3-Clause */
/* processes.c - what the kernel tells a process of itself and its children, and pending signals. */
#define _GNU_SOURCE
#include "syscalls/syscalls.h"
#include "trap/calls.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>

const bool dsm_wraps_processes = true;

/* Written when there was a child to tell of. */
#define CHILD(p) OUT_USED(p, sizeof *(p), result > 0 ? sizeof *(p) : 0)

/* clang-format off */
CALL(MINUS_ONE, pid_t, wait, (int *status), (status), CHILD(status))
CALL(MINUS_ONE, pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options),
     CHILD(status))
CALL(MINUS_ONE, pid_t, wait3, (int *status, int options, struct rusage *usage),
     (status, options, usage), CHILD(status), CHILD(usage))
CALL(MINUS_ONE, pid_t, wait4, (pid_t pid, int *status, int options, struct rusage *usage),
     (pid, status, options, usage), CHILD(status), CHILD(usage))
CALL(MINUS_ONE, int, waitid, (idtype_t type, id_t id, siginfo_t *info, int options),
     (type, id, info, options), INOUT(info, sizeof *info))

CALL(MINUS_ONE, int, getrusage, (int who, struct rusage *out), (who, out), OUT(out, sizeof *out))
CALL(MINUS_ONE, int, getrlimit, (int what, struct rlimit *out), (what, out), OUT(out, sizeof *out))
CALL(MINUS_ONE, int, getrlimit64, (int what, struct rlimit *out), (what, out),
     OUT(out, sizeof *out))
CALL(MINUS_ONE, int, setrlimit, (int what, const struct rlimit *value), (what, value),
     IN(value, sizeof *value))
CALL(MINUS_ONE, int, setrlimit64, (int what, const struct rlimit *value), (what, value),
     IN(value, sizeof *value))
CALL(MINUS_ONE, int, prlimit,
     (pid_t pid, int what, const struct rlimit *value, struct rlimit *old),
     (pid, what, value, old), IN(value, sizeof *value), OUT(old, sizeof *old))
CALL(MINUS_ONE, int, prlimit64,
     (pid_t pid, int what, const struct rlimit *value, struct rlimit *old),
     (pid, what, value, old), IN(value, sizeof *value), OUT(old, sizeof *old))
CALL(MINUS_ONE, int, uname, (struct utsname *out), (out), OUT(out, sizeof *out))
CALL(MINUS_ONE, int, sysinfo, (struct sysinfo *out), (out), OUT(out, sizeof *out))

CALL(MINUS_ONE, int, getgroups, (int n, gid_t *out), (n, out),
     OUT_USED(out, n > 0 ? (size_t)n * sizeof *out : 0, ok && n > 0 ? (size_t)result * sizeof *out : 0))
CALL(MINUS_ONE, int, setgroups, (size_t n, const gid_t *groups), (n, groups),
     IN(groups, n * sizeof *groups))
CALL(MINUS_ONE, int, getresuid, (uid_t *real, uid_t *effective, uid_t *saved),
     (real, effective, saved),
     OUT(real, sizeof *real), OUT(effective, sizeof *effective), OUT(saved, sizeof *saved))
CALL(MINUS_ONE, int, getresgid, (gid_t *real, gid_t *effective, gid_t *saved),
     (real, effective, saved),
     OUT(real, sizeof *real), OUT(effective, sizeof *effective), OUT(saved, sizeof *saved))

CALL(MINUS_ONE, int, sched_getaffinity, (pid_t pid, size_t len, cpu_set_t *out), (pid, len, out),
     OUT(out, len))
CALL(MINUS_ONE, int, sched_setaffinity, (pid_t pid, size_t len, const cpu_set_t *set),
     (pid, len, set), IN(set, len))
CALL(ERROR, int, pthread_getaffinity_np, (pthread_t thread, size_t len, cpu_set_t *out),
     (thread, len, out), OUT(out, len))
CALL(ERROR, int, pthread_setaffinity_np, (pthread_t thread, size_t len, const cpu_set_t *set),
     (thread, len, set), IN(set, len))
CALL(MINUS_ONE, int, sched_getparam, (pid_t pid, struct sched_param *out), (pid, out),
     OUT(out, sizeof *out))
CALL(MINUS_ONE, int, sched_setparam, (pid_t pid, const struct sched_param *value), (pid, value),
     IN(value, sizeof *value))
CALL(MINUS_ONE, int, sched_setscheduler,
     (pid_t pid, int policy, const struct sched_param *value), (pid, policy, value),
     IN(value, sizeof *value))
CALL(MINUS_ONE, int, sched_rr_get_interval, (pid_t pid, struct timespec *out), (pid, out),
     OUT(out, sizeof *out))

CALL(MINUS_ONE, ssize_t, getrandom, (void *out, size_t len, unsigned flags), (out, len, flags),
     OUT_USED(out, len, ok ? (size_t)result : 0))
CALL(MINUS_ONE, int, getentropy, (void *out, size_t len), (out, len), OUT(out, len))

CALL(MINUS_ONE, int, sigpending, (sigset_t *out), (out), OUT(out, sizeof(long)))
CALL(ERROR, int, sigwait, (const sigset_t *set, int *signal_out), (set, signal_out),
     IN(set, sizeof *set), OUT(signal_out, sizeof *signal_out))
CALL(MINUS_ONE, int, sigwaitinfo, (const sigset_t *set, siginfo_t *info), (set, info),
     IN(set, sizeof *set), INOUT(info, sizeof *info))
CALL(MINUS_ONE, int, sigtimedwait,
     (const sigset_t *set, siginfo_t *info, const struct timespec *timeout), (set, info, timeout),
     IN(set, sizeof *set), INOUT(info, sizeof *info), IN(timeout, sizeof *timeout))
/* clang-format on */
