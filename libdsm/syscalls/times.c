/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * times.c - clocks, sleeps and timers. The kernel's page of code answers most questions about
 * clocks in user mode, where the region works; but not on every machine, and not for every clock.
 */
#define _GNU_SOURCE
#include "syscalls/syscalls.h"
#include "trap/calls.h"
#include <signal.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <time.h>

const bool dsm_wraps_times = true;

/* clang-format off */
CALL(MINUS_ONE, int, nanosleep, (const struct timespec *wanted, struct timespec *left),
     (wanted, left),
     IN(wanted, sizeof *wanted), OUT_USED(left, sizeof *left, !ok && errno == EINTR ? sizeof *left : 0))
CALL(ERROR, int, clock_nanosleep,
     (clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left),
     (clock, flags, wanted, left),
     IN(wanted, sizeof *wanted),
     OUT_USED(left, sizeof *left, result == EINTR && !(flags & TIMER_ABSTIME) ? sizeof *left : 0))
CALL(MINUS_ONE, int, clock_gettime, (clockid_t clock, struct timespec *out), (clock, out),
     OUT(out, sizeof *out))
CALL(MINUS_ONE, int, clock_getres, (clockid_t clock, struct timespec *out), (clock, out),
     OUT(out, sizeof *out))
CALL(MINUS_ONE, int, clock_settime, (clockid_t clock, const struct timespec *time), (clock, time),
     IN(time, sizeof *time))
CALL(MINUS_ONE, int, clock_adjtime, (clockid_t clock, struct timex *time), (clock, time),
     INOUT(time, sizeof *time))
CALL(MINUS_ONE, int, adjtimex, (struct timex *time), (time), INOUT(time, sizeof *time))
CALL(MINUS_ONE, int, gettimeofday, (struct timeval *out, void *zone_out), (out, zone_out),
     OUT(out, sizeof *out), OUT(zone_out, sizeof(struct timezone)))
CALL(MINUS_ONE, int, settimeofday, (const struct timeval *time, const struct timezone *zone),
     (time, zone), IN(time, sizeof *time), IN(zone, sizeof *zone))
CALL(MINUS_ONE, time_t, time, (time_t *out), (out), OUT(out, sizeof *out))
CALL(MINUS_ONE, clock_t, times, (struct tms *out), (out), OUT(out, sizeof *out))
CALL(MINUS_ONE, int, getitimer, (int which, struct itimerval *out), (which, out),
     OUT(out, sizeof *out))
CALL(MINUS_ONE, int, setitimer, (int which, const struct itimerval *value, struct itimerval *old),
     (which, value, old), IN(value, sizeof *value), OUT(old, sizeof *old))
CALL(MINUS_ONE, int, timer_create, (clockid_t clock, struct sigevent *event, timer_t *out),
     (clock, event, out), IN(event, sizeof *event), OUT(out, sizeof *out))
CALL(MINUS_ONE, int, timer_gettime, (timer_t timer, struct itimerspec *out), (timer, out),
     OUT(out, sizeof *out))
CALL(MINUS_ONE, int, timer_settime,
     (timer_t timer, int flags, const struct itimerspec *value, struct itimerspec *old),
     (timer, flags, value, old), IN(value, sizeof *value), OUT(old, sizeof *old))
CALL(MINUS_ONE, int, timerfd_gettime, (int fd, struct itimerspec *out), (fd, out),
     OUT(out, sizeof *out))
CALL(MINUS_ONE, int, timerfd_settime,
     (int fd, int flags, const struct itimerspec *value, struct itimerspec *old),
     (fd, flags, value, old), IN(value, sizeof *value), OUT(old, sizeof *old))
/* clang-format on */
