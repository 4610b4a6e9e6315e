/* SPDX-License-Identifier: BSD-3-Clause */
/* thread.c - thread-local state and signal masks. */
#define _GNU_SOURCE
#include "runtime/thread.h"
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

_Thread_local struct dsm_thread dsm_thread_self __attribute__((tls_model("initial-exec")));

uint32_t dsm_thread_id(void)
{
    if (dsm_thread_self.tid == 0)
        dsm_thread_self.tid = (uint32_t)syscall(SYS_gettid);
    return dsm_thread_self.tid;
}

/*
 * SIGBUS and SIGSEGV stay deliverable: a fault while they are blocked kills the process. And so
 * does the signal by which the C library makes setuid, setgroups and their like in every thread:
 * the caller waits until each has answered, the service thread and those that wait in a barrier
 * too.
 */
#define SIGNAL_SETXID 33
#define OPEN_SIGNALS                                                                               \
    ((1ull << (SIGBUS - 1)) | (1ull << (SIGSEGV - 1)) | (1ull << (SIGNAL_SETXID - 1)))

void dsm_signals_block(struct dsm_signal_mask *before_out)
{
    uint64_t all = ~OPEN_SIGNALS;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before_out->bits, sizeof all);
}

void dsm_signals_restore(const struct dsm_signal_mask *before)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before->bits, NULL, sizeof before->bits);
}
