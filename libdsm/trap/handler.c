/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handler.c - from a signal to on_fault or to the program's own handler.
 *
 * Everything here runs with all signals blocked on whatever stack the program was using, which may
 * be a thread's 16 KiB: raw calls, small frames, no lock.
 */
#define _GNU_SOURCE
#include "trap/handler.h"
#include "base/errors.h"
#include "base/log.h"
#include "trap/signals.h"
#include "trap/views.h"
#include <errno.h>
#include <ucontext.h>

#define PAGE_FAULT_WRITE 2 /* bit of the processor's error code; the others are not looked at */

/*
 * How a thread is told that its fault was refused. The kernel lets nobody send a fault's siginfo to
 * another thread, so a queued signal carries the address, where a fault would have it, and this
 * mark; the handler there makes a fault of it again. (UFFDIO_POISON would do without, but it hits
 * every thread that touches the page, leaves the page poisoned, needs Linux 6.6 and reports broken
 * memory in the kernel's log.)
 */
static char refusal_mark;

static bool is_refusal(const siginfo_t *info)
{
    return info->si_signo == SIGBUS && info->si_code == SI_QUEUE &&
           info->si_value.sival_ptr == &refusal_mark;
}

int dsm_handler_refuse_thread(uintptr_t addr, uint32_t thread)
{
    siginfo_t info = {.si_signo = SIGBUS, .si_code = SI_QUEUE};
    info.si_value.sival_ptr = &refusal_mark;
    info.si_addr = (void *)addr; /* in the place of si_pid and si_uid */
    if (dsm_signal_is_blocked(SIGBUS, thread)) {
        dsm_log(DSM_LOG_ERROR,
                "thread %u blocks SIGBUS and waits for the page at 0x%lx, which "
                "cannot be had",
                thread, (unsigned long)addr);
        dsm_signal_die(SIGBUS, &info);
    }
    long result =
        dsm_raw_call(SYS_rt_tgsigqueueinfo, dsm_raw_getpid(), thread, SIGBUS, (long)&info, 0, 0);
    return result == 0 || result == -ESRCH ? 0 : DSM_E_SYSTEM; /* ESRCH: it has ended */
}

/* The thread gets SIGBUS for the address that it could not have, whatever signal the trap uses. */
static void refuse(const siginfo_t *info, void *context)
{
    siginfo_t bus = {.si_signo = SIGBUS, .si_code = BUS_ADRERR};
    bus.si_addr = info->si_addr;
    dsm_signal_pass_on(SIGBUS, &bus, context);
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    const greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    struct dsm_fault fault = {
        .addr = (uintptr_t)info->si_addr,
        .ip = (uintptr_t)registers[REG_RIP],
        .is_write = (registers[REG_ERR] & PAGE_FAULT_WRITE) != 0,
        .context = context,
    };
    const struct dsm_trap_sink *sink = info->si_code > 0 ? dsm_view_find(fault.addr) : NULL;

    if (is_refusal(info)) {
        refuse(info, context);
        errno = saved_errno;
        return;
    }
    /*
     * Not ours: signals that somebody sent, broken memory (BUS_MCEERR_*), addresses elsewhere, and
     * a jump into the region, which no mapping would ever satisfy.
     */
    if (!sink || sink->signal != signal || sink->code != info->si_code || fault.addr == fault.ip) {
        dsm_signal_pass_on(signal, info, context);
    } else {
        fault.thread = dsm_raw_gettid();
        if (sink->streaks)
            dsm_streak_check(sink->streaks, &fault);
        if (sink->config->on_fault(sink->config->user, &fault) == DSM_FAULT_REFUSE)
            refuse(info, context);
    }
    errno = saved_errno;
}

int dsm_handler_start(int signal)
{
    if (!dsm_interposes_signals || !dsm_interposes_threads || !dsm_interposes_waits)
        return DSM_E_STATE;
    return dsm_signal_guard_start(signal, on_signal);
}

void dsm_handler_stop(int signal)
{
    dsm_signal_guard_stop(signal);
}
