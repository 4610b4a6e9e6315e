/* SPDX-License-Identifier: BSD-3-Clause */
/* syscalls_times.c - clocks and timers, and what the kernel says of processes. */
#define _GNU_SOURCE
#include "syscalls.h"
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Something was written, and it was what the condition says; it differs from run to run. */
#define LOOKED_AT(p, condition)                                                                    \
    CHECK(condition);                                                                              \
    forget(a, p, sizeof *(p))

/* clang-format off */
CASE(nanosleep)
{
    struct timespec *wanted = put(a, &(struct timespec){0, 1000}, sizeof *wanted);
    struct timespec *left = room(a, sizeof *left);
    RESULT(a, nanosleep(wanted, left));
    wanted->tv_nsec = -1;
    RESULT(a, nanosleep(wanted, left));
}
CASE(clock_nanosleep)
{
    struct timespec *wanted = put(a, &(struct timespec){0, 1000}, sizeof *wanted);
    struct timespec *left = room(a, sizeof *left);
    RESULT(a, clock_nanosleep(CLOCK_MONOTONIC, 0, wanted, left));
    RESULT(a, clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, wanted, left));
    RESULT(a, clock_nanosleep(12345, 0, wanted, left));
}
CASE(clock_gettime)
{
    struct timespec *out = room(a, sizeof *out);
    RESULT(a, clock_gettime(CLOCK_REALTIME, out));
    LOOKED_AT(out, out->tv_sec > 1000000000 && out->tv_nsec < 1000000000);
    RESULT(a, clock_gettime(CLOCK_PROCESS_CPUTIME_ID, out)); /* not in user mode */
    LOOKED_AT(out, out->tv_sec < 100000 && out->tv_nsec < 1000000000);
    RESULT(a, clock_gettime(12345, out));
}
CASE(clock_getres)
{
    struct timespec *out = room(a, sizeof *out);
    RESULT(a, clock_getres(CLOCK_PROCESS_CPUTIME_ID, out));
    RESULT(a, clock_getres(12345, out));
}
CASE(clock_settime) /* a clock that nobody can set */
{
    struct timespec *time = put(a, &(struct timespec){1, 2}, sizeof *time);
    RESULT(a, clock_settime(CLOCK_MONOTONIC, time));
}
CASE(clock_adjtime)
{
    struct timex *t = put(a, &(struct timex){0}, sizeof *t);
    if (RESULT(a, clock_adjtime(CLOCK_REALTIME, t) >= 0)) { /* a container may forbid it */
        LOOKED_AT(t, t->time.tv_sec > 1000000000);
    }
}
CASE(adjtimex)
{
    struct timex *t = put(a, &(struct timex){0}, sizeof *t);
    if (RESULT(a, adjtimex(t) >= 0)) { /* a container may forbid it */
        LOOKED_AT(t, t->time.tv_sec > 1000000000);
    }
}
CASE(gettimeofday)
{
    struct timeval *out = room(a, sizeof *out);
    struct timezone *zone = room(a, sizeof *zone);
    RESULT(a, gettimeofday(out, zone));
    LOOKED_AT(out, out->tv_sec > 1000000000 && out->tv_usec < 1000000);
}
CASE(settimeofday) /* not a time */
{
    struct timeval *time = put(a, &(struct timeval){1, -5}, sizeof *time);
    RESULT(a, settimeofday(time, NULL));
}
CASE(time)
{
    time_t *out = room(a, sizeof *out);
    RESULT(a, time(out) > 1000000000);
    LOOKED_AT(out, *out > 1000000000);
}
CASE(times)
{
    struct tms *out = room(a, sizeof *out);
    RESULT(a, times(out) != -1);
    LOOKED_AT(out, out->tms_utime < 10000000);
}
CASE(getitimer)
{
    struct itimerval *out = room(a, sizeof *out);
    RESULT(a, getitimer(ITIMER_REAL, out));
    RESULT(a, getitimer(-1, out));
}
CASE(setitimer)
{
    struct itimerval value = {{0, 0}, {5000, 0}}, *set = put(a, &value, sizeof value);
    struct itimerval *old = room(a, sizeof *old);
    RESULT(a, setitimer(ITIMER_VIRTUAL, set, old));
    memset(set, 0, sizeof *set);
    RESULT(a, setitimer(ITIMER_VIRTUAL, set, old));
    LOOKED_AT(old, old->it_value.tv_sec >= 4000);
}
/* clang-format on */

/* A timer is made, set and asked, all from the arena. */
static void timers(struct arena *a)
{
    struct sigevent event = {.sigev_notify = SIGEV_NONE}, *e = put(a, &event, sizeof event);
    struct itimerspec value = {{7, 8}, {5000, 6}}, *set = put(a, &value, sizeof value);
    struct itimerspec *old = room(a, sizeof *old);
    timer_t *id = room(a, sizeof *id);
    RESULT(a, timer_create(CLOCK_MONOTONIC, e, id));
    timer_t timer = *id;
    RESULT(a, timer_settime(timer, 0, set, old));
    RESULT(a, timer_gettime(timer, old));
    CHECK(old->it_interval.tv_nsec == 8 && old->it_value.tv_sec > 4000);
    forget(a, old, sizeof *old);
    RESULT(a, timer_delete(timer));
    forget(a, id, sizeof *id);
    RESULT(a, timer_create(12345, e, id));
}

static void timer_descriptors(struct arena *a)
{
    struct itimerspec value = {{7, 8}, {5000, 6}}, *set = put(a, &value, sizeof value);
    struct itimerspec *old = room(a, sizeof *old);
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    RESULT(a, timerfd_settime(fd, 0, set, old));
    RESULT(a, timerfd_gettime(fd, old));
    CHECK(old->it_interval.tv_nsec == 8 && old->it_value.tv_sec > 4000);
    forget(a, old, sizeof *old);
    RESULT(a, timerfd_gettime(-1, old));
    close(fd);
}

/* clang-format off */
CASE(timer_create) { timers(a); }
CASE(timer_gettime) { timers(a); }
CASE(timer_settime) { timers(a); }
CASE(timerfd_gettime) { timer_descriptors(a); }
CASE(timerfd_settime) { timer_descriptors(a); }
/* clang-format on */

/* ---- processes ---- */

static pid_t child_that_exits(int status)
{
    pid_t pid = _Fork();
    if (pid == 0)
        _exit(status);
    CHECK(pid > 0);
    return pid;
}

/* Twice: with a child, and without one. */
#define WAITS(call)                                                                                \
    int *status = room(a, sizeof *status);                                                         \
    struct rusage *usage = room(a, sizeof *usage);                                                 \
    siginfo_t *info = room(a, sizeof *info);                                                       \
    pid_t pid = child_that_exits(17);                                                              \
    (void)usage, (void)info, (void)pid, (void)status;                                              \
    memset(usage, 0, sizeof *usage);                                                               \
    RESULT(a, (call) == pid ? 0 : -1);                                                             \
    forget(a, usage, sizeof *usage);                                                               \
    RESULT(a, (call) > 0 ? 0 : -1)

/* clang-format off */
CASE(wait) { WAITS(wait(status)); }
CASE(waitpid) { WAITS(waitpid(pid, status, 0)); }
CASE(wait3) { WAITS(wait3(status, 0, usage)); }
CASE(wait4) { WAITS(wait4(pid, status, 0, usage)); }
CASE(waitid)
{
    siginfo_t *info = room(a, sizeof *info);
    pid_t pid = child_that_exits(17);
    RESULT(a, waitid(P_PID, (id_t)pid, info, WEXITED));
    CHECK(info->si_pid == pid && info->si_status == 17);
    forget(a, info, sizeof *info);
    RESULT(a, waitid(P_PID, (id_t)pid, info, WEXITED));
}
CASE(getrusage)
{
    struct rusage *out = room(a, sizeof *out);
    RESULT(a, getrusage(RUSAGE_SELF, out));
    LOOKED_AT(out, out->ru_maxrss > 0 && out->ru_maxrss < 1 << 30);
    RESULT(a, getrusage(77, out));
}
CASE(getrlimit) { struct rlimit *r = room(a, sizeof *r); RESULT(a, getrlimit(RLIMIT_CORE, r)); RESULT(a, getrlimit(9999, r)); }
CASE(getrlimit64) { struct rlimit64 *r = room(a, sizeof *r); RESULT(a, getrlimit64(RLIMIT_CORE, r)); }
CASE(setrlimit)
{
    struct rlimit *r = room(a, sizeof *r), now;
    CHECK(getrlimit(RLIMIT_CORE, &now) == 0);
    *r = (struct rlimit){0, now.rlim_max};
    RESULT(a, setrlimit(RLIMIT_CORE, r));
    r->rlim_cur = 5;
    r->rlim_max = 4;
    RESULT(a, setrlimit(RLIMIT_CORE, r));
    CHECK(setrlimit(RLIMIT_CORE, &now) == 0);
}
CASE(setrlimit64)
{
    struct rlimit64 *r = put(a, &(struct rlimit64){5, 4}, sizeof *r);
    RESULT(a, setrlimit64(RLIMIT_CORE, r));
}
#define BOTH_LIMITS(type, call)                                                                    \
    type *r = room(a, sizeof *r), *old = room(a, sizeof *old);                                     \
    CHECK(prlimit64(0, RLIMIT_CORE, NULL, (void *)r) == 0);                                        \
    RESULT(a, call);                                                                               \
    r->rlim_cur = 5;                                                                               \
    r->rlim_max = 4;                                                                               \
    RESULT(a, call)
CASE(prlimit) { BOTH_LIMITS(struct rlimit, prlimit(0, RLIMIT_CORE, r, old)); }
CASE(prlimit64) { BOTH_LIMITS(struct rlimit64, prlimit64(0, RLIMIT_CORE, r, old)); }
CASE(uname) { struct utsname *out = room(a, sizeof *out); RESULT(a, uname(out)); }
CASE(sysinfo)
{
    struct sysinfo *out = room(a, sizeof *out);
    RESULT(a, sysinfo(out));
    LOOKED_AT(out, out->totalram > 0 && out->mem_unit > 0);
}
CASE(getgroups)
{
    volatile int too_few = -1;
    gid_t *out = room(a, 70000 * sizeof *out / 16);
    RESULT(a, getgroups(4000, out));
    RESULT(a, getgroups(0, out));
    RESULT(a, getgroups(too_few, out));
}
CASE(setgroups) /* more than there may be */
{
    gid_t *groups = room(a, 64);
    RESULT(a, setgroups(70000, groups) == -1);
}
CASE(getresuid)
{
    uid_t *r = room(a, 4), *e = room(a, 4), *s = room(a, 4);
    RESULT(a, getresuid(r, e, s));
}
CASE(getresgid)
{
    gid_t *r = room(a, 4), *e = room(a, 4), *s = room(a, 4);
    RESULT(a, getresgid(r, e, s));
}
#define CPUS(get, set)                                                                             \
    cpu_set_t *cpus = room(a, sizeof *cpus);                                                       \
    memset(cpus, 0, sizeof *cpus);                                                                 \
    RESULT(a, get);                                                                                \
    RESULT(a, set);                                                                                \
    CPU_ZERO(cpus);                                                                                \
    RESULT(a, set)
CASE(sched_getaffinity) { CPUS(sched_getaffinity(0, sizeof *cpus, cpus), 0); }
CASE(sched_setaffinity)
{
    CPUS(sched_getaffinity(0, sizeof *cpus, cpus), sched_setaffinity(0, sizeof *cpus, cpus));
}
CASE(pthread_getaffinity_np)
{
    CPUS(pthread_getaffinity_np(pthread_self(), sizeof *cpus, cpus), 0);
}
CASE(pthread_setaffinity_np)
{
    CPUS(pthread_getaffinity_np(pthread_self(), sizeof *cpus, cpus),
         pthread_setaffinity_np(pthread_self(), sizeof *cpus, cpus));
}
CASE(sched_getparam) { struct sched_param *p = room(a, sizeof *p); RESULT(a, sched_getparam(0, p)); }
CASE(sched_setparam)
{
    struct sched_param *p = put(a, &(struct sched_param){0}, sizeof *p);
    RESULT(a, sched_setparam(0, p));
    p->sched_priority = 1;
    RESULT(a, sched_setparam(0, p));
}
CASE(sched_setscheduler)
{
    struct sched_param *p = put(a, &(struct sched_param){1}, sizeof *p);
    RESULT(a, sched_setscheduler(0, SCHED_OTHER, p));
}
CASE(sched_rr_get_interval)
{
    struct timespec *t = room(a, sizeof *t);
    RESULT(a, sched_rr_get_interval(0, t));
    LOOKED_AT(t, t->tv_nsec >= 0);
}
CASE(getrandom)
{
    char *out = room(a, 3000), none[3000] = "";
    RESULT(a, getrandom(out, 3000, 0));
    CHECK(memcmp(out + 2000, none, 1000) != 0);
    forget(a, out, 3000);
}
CASE(getentropy)
{
    char *out = room(a, 200), none[200] = "";
    RESULT(a, getentropy(out, 200));
    CHECK(memcmp(out, none, 200) != 0);
    forget(a, out, 200);
    RESULT(a, getentropy(out, 300));
}

/* ---- signals that are not handled ---- */

#define PENDING(call)                                                                              \
    sigset_t *set = room(a, sizeof *set);                                                          \
    siginfo_t *info = room(a, sizeof *info);                                                       \
    struct timespec *t = put(a, &(struct timespec){0, 1000}, sizeof *t);                           \
    int *number = room(a, sizeof *number);                                                         \
    sigset_t private_set;                                                                          \
    (void)info, (void)number, (void)t;                                                             \
    memset(set, 0, sizeof *set);                                                                   \
    sigemptyset(&private_set);                                                                     \
    sigaddset(&private_set, SIGUSR2);                                                              \
    sigaddset(set, SIGUSR2);                                                                       \
    CHECK(pthread_sigmask(SIG_BLOCK, &private_set, NULL) == 0);                                    \
    CHECK(pthread_kill(pthread_self(), SIGUSR2) == 0);                                             \
    RESULT(a, call);                                                                               \
    forget(a, info, sizeof *info);                                                                 \
    CHECK(sigtimedwait(&private_set, NULL, &(struct timespec){0, 0}) != 77)
CASE(sigpending) { PENDING(sigpending(set)); }
CASE(sigwait) { PENDING(sigwait(set, number)); }
CASE(sigwaitinfo) { PENDING(sigwaitinfo(set, info)); }
CASE(sigtimedwait) { PENDING(sigtimedwait(set, info, t)); RESULT(a, sigtimedwait(set, info, t)); }
/* clang-format on */
