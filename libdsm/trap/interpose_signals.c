/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * interpose_signals.c - the C library's functions for handlers and masks, in front of the C
 * library.
 *
 * A program may install its own SIGBUS and SIGSEGV handlers and block every signal, before or after
 * the region exists: the traps stay in front, the program's handler gets what is not theirs, and
 * the two signals are never blocked, neither by a mask nor while a handler runs. Blocking them
 * could only ever have delayed a kill(1): a fault that meets a blocked signal ends the process.
 *
 * What the program hands over is read and written here, in user mode, where it may be in the
 * region. Everything is done with raw calls and static state that is right when zero: these
 * functions are used before any constructor has run. Masks that bypass them are the caller's
 * affair: raw system calls, setcontext with a mask made by hand, and sigwait for SIGBUS or SIGSEGV,
 * which needs them blocked.
 */
#define _GNU_SOURCE
#include "trap/signals.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

const bool dsm_interposes_signals = true;

/* Signals whose handlers, when installed by signal(), shall interrupt system calls. */
static _Atomic dsm_sigmask_t interrupting;

static int fail(int error)
{
    errno = error;
    return -1;
}

DSM_API int sigaction(int signal, const struct sigaction *restrict action,
                      struct sigaction *restrict old_out)
{
    struct sigaction want, old;
    if (action)
        want = *action;
    int result = dsm_signal_action(signal, action ? &want : NULL, &old);
    if (result != 0)
        return fail(-result);
    if (old_out)
        *old_out = old;
    return 0;
}

static sighandler_t install(int signal, sighandler_t handler, int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, old;
    sigemptyset(&action.sa_mask);
    if (handler == SIG_ERR || signal < 1)
        return fail(EINVAL), SIG_ERR;
    if (!(flags & SA_NODEFER))
        sigaddset(&action.sa_mask, signal);
    int result = dsm_signal_action(signal, &action, &old);
    if (result != 0)
        return fail(-result), SIG_ERR;
    return old.sa_handler;
}

DSM_API sighandler_t signal(int number, sighandler_t handler)
{
    bool interrupts = number > 0 && number <= 64 && (interrupting & dsm_sigmask_of(number));
    return install(number, handler, interrupts ? 0 : SA_RESTART);
}

DSM_API sighandler_t ssignal(int number, sighandler_t handler)
{
    return signal(number, handler);
}

DSM_API sighandler_t bsd_signal(int number, sighandler_t handler);
DSM_API sighandler_t bsd_signal(int number, sighandler_t handler)
{
    return signal(number, handler);
}

/* What signal() means under -D_XOPEN_SOURCE without the default features. */
DSM_API sighandler_t __sysv_signal(int number, sighandler_t handler)
{
    return install(number, handler, (int)(SA_RESETHAND | SA_NODEFER));
}

DSM_API sighandler_t sysv_signal(int number, sighandler_t handler)
{
    return __sysv_signal(number, handler);
}

DSM_API int siginterrupt(int signal, int interrupts)
{
    struct sigaction action;
    int result = dsm_signal_action(signal, NULL, &action);
    if (result != 0)
        return fail(-result);
    if (interrupts) {
        interrupting |= dsm_sigmask_of(signal);
        action.sa_flags &= ~SA_RESTART;
    } else {
        interrupting &= ~dsm_sigmask_of(signal);
        action.sa_flags |= SA_RESTART;
    }
    result = dsm_signal_action(signal, &action, NULL);
    return result == 0 ? 0 : fail(-result);
}

/* Signals that the C library keeps for itself: cancellation and setuid in all threads. */
#define LIBRARY_SIGNALS (dsm_sigmask_of(32) | dsm_sigmask_of(33))

static int change_mask(int how, const sigset_t *set, sigset_t *old_out)
{
    dsm_sigmask_t mask = 0, old = 0;
    if (set) {
        memcpy(&mask, set, sizeof mask);
        if (how != SIG_UNBLOCK)
            mask &= ~(DSM_TRAP_SIGNALS | LIBRARY_SIGNALS);
    }
    long result = dsm_raw_sigprocmask(how, set ? &mask : NULL, &old);
    if (result != 0)
        return (int)-result;
    if (old_out) {
        sigemptyset(old_out);
        memcpy(old_out, &old, sizeof old);
    }
    return 0;
}

DSM_API int pthread_sigmask(int how, const sigset_t *restrict set, sigset_t *restrict old_out)
{
    return change_mask(how, set, old_out);
}

DSM_API int sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict old_out)
{
    int error = change_mask(how, set, old_out);
    return error == 0 ? 0 : fail(error);
}

/* The old calls of BSD and System V, which change masks and handlers inside the C library. */

static int change_int_mask(int how, int bits)
{
    sigset_t set, old;
    dsm_sigmask_t mask = (unsigned)bits;
    sigemptyset(&set);
    memcpy(&set, &mask, sizeof mask);
    int error = change_mask(how, &set, &old);
    if (error != 0)
        return fail(error);
    memcpy(&mask, &old, sizeof mask);
    return (int)(unsigned)mask;
}

DSM_API int sigblock(int bits)
{
    return change_int_mask(SIG_BLOCK, bits);
}

DSM_API int sigsetmask(int bits)
{
    return change_int_mask(SIG_SETMASK, bits);
}

DSM_API int sighold(int signal)
{
    sigset_t set;
    sigemptyset(&set);
    if (sigaddset(&set, signal) != 0)
        return -1;
    return sigprocmask(SIG_BLOCK, &set, NULL);
}

DSM_API int sigignore(int signal)
{
    struct sigaction action = {.sa_handler = SIG_IGN};
    int result = dsm_signal_action(signal, &action, NULL);
    return result == 0 ? 0 : fail(-result);
}

DSM_API sighandler_t sigset(int signal, sighandler_t disposition)
{
    sigset_t set, old_mask;
    struct sigaction old;
    sigemptyset(&set);
    if (disposition == SIG_ERR || sigaddset(&set, signal) != 0)
        return fail(EINVAL), SIG_ERR;
    if (disposition == SIG_HOLD) {
        change_mask(SIG_BLOCK, &set, &old_mask);
        int result = dsm_signal_action(signal, NULL, &old);
        if (result != 0)
            return fail(-result), SIG_ERR;
    } else {
        struct sigaction action = {.sa_handler = disposition};
        int result = dsm_signal_action(signal, &action, &old);
        if (result != 0)
            return fail(-result), SIG_ERR;
        change_mask(SIG_UNBLOCK, &set, &old_mask);
    }
    return sigismember(&old_mask, signal) == 1 ? SIG_HOLD : old.sa_handler;
}
