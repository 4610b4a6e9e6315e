/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * signals.c - the dispositions of SIGBUS and SIGSEGV, and the way on to the program's handlers.
 *
 * Works before any constructor has run and without the dynamic linker's help: raw calls, and state
 * that is right when zero.
 */
#define _GNU_SOURCE
#include "trap/signals.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/mutex.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#ifndef SA_RESTORER
#define SA_RESTORER 0x04000000
#endif

struct kernel_action {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    dsm_sigmask_t mask;
};

/*
 * The kernel wants a return trampoline from us. Debuggers and the unwinders of C++ and of
 * pthread_cancel know a signal frame by exactly these bytes, and look for them only where no unwind
 * table covers the address before: hence the nop.
 */
void dsm_signal_restorer(void);
__asm__(".text\n"
        ".p2align 4\n"
        "nop\n"
        ".globl dsm_signal_restorer\n"
        ".hidden dsm_signal_restorer\n"
        ".type dsm_signal_restorer,@function\n"
        "dsm_signal_restorer:\n"
        "movq $15, %rax\n"
        "syscall\n"
        ".size dsm_signal_restorer, .-dsm_signal_restorer\n");

/*
 * What the program wants for one signal. The handler reads it without a lock, field by field: a
 * reader may see the handler of one sigaction and the mask or flags of the next, which costs
 * nothing, because every handler is called with three arguments whatever its flags say.
 */
struct guard {
    void (*_Atomic ours)(int, siginfo_t *, void *); /* NULL: the program's own is installed */
    void (*_Atomic handler)(int, siginfo_t *, void *);
    _Atomic unsigned long flags;
    _Atomic dsm_sigmask_t mask;
    uint32_t n_starts;
};

static struct guard guard_sigbus, guard_sigsegv;
static struct dsm_mutex guard_lock; /* held with signals blocked */

static struct guard *guard_of(int signal)
{
    if (signal == SIGBUS)
        return &guard_sigbus;
    return signal == SIGSEGV ? &guard_sigsegv : NULL;
}

static long raw_sigaction(int signal, const struct kernel_action *action,
                          struct kernel_action *old_out)
{
    return dsm_raw_call(SYS_rt_sigaction, signal, (long)action, (long)old_out,
                        sizeof(dsm_sigmask_t), 0, 0);
}

static dsm_sigmask_t lock_guards(void)
{
    dsm_sigmask_t all = DSM_SIGMASK_ALL, before = 0;
    dsm_raw_sigprocmask(SIG_SETMASK, &all, &before);
    dsm_mutex_lock(&guard_lock);
    return before;
}

static void unlock_guards(dsm_sigmask_t before)
{
    dsm_mutex_unlock(&guard_lock);
    dsm_raw_sigprocmask(SIG_SETMASK, &before, NULL);
}

static bool is_function(void (*handler)(int, siginfo_t *, void *))
{
    return (void *)handler != (void *)SIG_DFL && (void *)handler != (void *)SIG_IGN;
}

/*
 * SA_ONSTACK only when the program's own handler asks for it: a stack overflow can then be reported
 * from the alternate stack as before, and otherwise faults do not depend on how large that stack
 * happens to be. SA_RESTART unless the program's own handler wants interrupted calls to fail.
 */
static long install_ours(int signal, struct guard *guard)
{
    unsigned long theirs = is_function(guard->handler) ? guard->flags : SA_RESTART;
    struct kernel_action action = {
        .handler = guard->ours,
        .flags = SA_SIGINFO | SA_RESTORER | (theirs & (SA_RESTART | SA_ONSTACK)),
        .restorer = dsm_signal_restorer,
        .mask = DSM_SIGMASK_ALL,
    };
    return raw_sigaction(signal, &action, NULL);
}

static void remember(struct guard *guard, const struct kernel_action *action)
{
    guard->flags = action->flags;
    guard->mask = action->mask & ~DSM_TRAP_SIGNALS;
    guard->handler = action->handler;
}

/* Handlers installed before the guard may still block our signals while they run. */
static void open_masks(void)
{
    for (int signal = 1; signal < 65; signal++) {
        struct kernel_action action;
        if (raw_sigaction(signal, NULL, &action) != 0 || !(action.mask & DSM_TRAP_SIGNALS) ||
            !is_function(action.handler))
            continue;
        struct guard *guard = guard_of(signal);
        if (guard && guard->ours)
            continue; /* ours, with its full mask */
        action.mask &= ~DSM_TRAP_SIGNALS;
        raw_sigaction(signal, &action, NULL);
    }
}

int dsm_signal_guard_start(int signal, void (*handler)(int, siginfo_t *, void *))
{
    struct guard *guard = guard_of(signal);
    if (!guard)
        return DSM_E_INVAL;
    dsm_sigmask_t before = lock_guards();
    int error = 0;
    if (guard->n_starts > 0) {
        error = guard->ours == handler ? 0 : DSM_E_BUSY;
    } else {
        struct kernel_action action;
        open_masks();
        if (raw_sigaction(signal, NULL, &action) != 0) {
            error = DSM_E_SYSTEM;
        } else {
            remember(guard, &action);
            guard->ours = handler;
            if (install_ours(signal, guard) != 0) {
                guard->ours = NULL;
                error = DSM_E_SYSTEM;
            }
        }
    }
    if (error == 0) {
        guard->n_starts++;
        before &= ~DSM_TRAP_SIGNALS;
    }
    unlock_guards(before);
    return error;
}

void dsm_signal_guard_stop(int signal)
{
    struct guard *guard = guard_of(signal);
    dsm_sigmask_t before = lock_guards();
    if (--guard->n_starts == 0) {
        struct kernel_action action = {
            .handler = guard->handler,
            .flags = guard->flags | SA_RESTORER,
            .restorer = dsm_signal_restorer,
            .mask = guard->mask,
        };
        raw_sigaction(signal, &action, NULL);
        guard->ours = NULL;
    }
    unlock_guards(before);
}

void dsm_signal_after_fork_child(void)
{
    guard_lock.state = 0;
}

int dsm_signal_action(int signal, const struct sigaction *action, struct sigaction *old_out)
{
    /* 32 and 33 are the C library's own. */
    if (signal < 1 || signal > 64 || signal == 32 || signal == 33)
        return -EINVAL;
    struct kernel_action want = {.handler = NULL}, old;
    if (action) {
        want.handler = action->sa_sigaction;
        want.flags = (unsigned long)(unsigned)action->sa_flags | SA_RESTORER;
        want.restorer = dsm_signal_restorer;
        memcpy(&want.mask, &action->sa_mask, sizeof want.mask);
        want.mask &= ~DSM_TRAP_SIGNALS;
    }
    dsm_sigmask_t before = lock_guards();
    struct guard *guard = guard_of(signal);
    long result;
    if (guard && guard->ours) {
        old = (struct kernel_action){
            .handler = guard->handler, .flags = guard->flags, .mask = guard->mask};
        result = 0;
        if (action) {
            remember(guard, &want);
            result = install_ours(signal, guard);
        }
    } else {
        result = raw_sigaction(signal, action ? &want : NULL, &old);
    }
    unlock_guards(before);
    if (result != 0)
        return (int)result;
    if (old_out) {
        memset(old_out, 0, sizeof *old_out);
        old_out->sa_sigaction = old.handler;
        old_out->sa_flags = (int)(old.flags & ~(unsigned long)SA_RESTORER);
        memcpy(&old_out->sa_mask, &old.mask, sizeof old.mask);
    }
    return 0;
}

/*
 * The default action, at the place of the fault: the signal is sent again to this thread and stays
 * pending, because everything is blocked here, until the handler has returned to the interrupted
 * instruction. Merely letting the instruction fault again would not do: another thread may have
 * made the address valid meanwhile. (For process 1 of a container the kernel drops a signal that is
 * sent, but not one that a fault raises: then the instruction does fault again.)
 */
static void die_on_return(int signal, siginfo_t *info)
{
    struct kernel_action action = {.flags = SA_RESTORER, .restorer = dsm_signal_restorer};
    raw_sigaction(signal, &action, NULL);
    dsm_raw_call(SYS_rt_tgsigqueueinfo, dsm_raw_getpid(), dsm_raw_gettid(), signal, (long)info, 0,
                 0);
}

void dsm_signal_die(int signal, siginfo_t *info)
{
    dsm_sigmask_t open = dsm_sigmask_of(signal);
    die_on_return(signal, info);
    dsm_raw_sigprocmask(SIG_UNBLOCK, &open, NULL);
    for (;;) /* process 1 of a container, whom no signal kills */
        dsm_raw_call(SYS_exit_group, 128 + signal, 0, 0, 0, 0, 0);
}

/*
 * Field 32 of /proc/self/task/TID/stat (proc(5)), decimal, for the signals below 32. Counted from
 * the last parenthesis, because a thread's name, field 2, may hold anything.
 */
/* proc(5), /proc/PID/stat; PF_EXITING of the kernel's sched.h, the same since Linux 2.6. */
#define FLAGS_FIELD     9
#define TASK_IS_EXITING 0x4u

bool dsm_signal_is_blocked(int signal, uint32_t thread)
{
    char text[512];
    dsm_format(text, sizeof text, "/proc/self/task/%u/stat", thread);
    int fd = (int)dsm_raw_call(SYS_openat, AT_FDCWD, (long)text, O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0)
        return false;
    long n = dsm_raw_call(SYS_read, fd, (long)text, sizeof text - 1, 0, 0, 0);
    dsm_raw_call(SYS_close, fd, 0, 0, 0, 0, 0);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 32; field++) {
        at = strchr(at + 1, ' ');
        if (at && field + 1 == FLAGS_FIELD && (strtoull(at, NULL, 10) & TASK_IS_EXITING) != 0)
            return false;
    }
    return at && (strtoull(at, NULL, 10) & dsm_sigmask_of(signal)) != 0;
}

void dsm_signal_pass_on(int signal, siginfo_t *info, void *context)
{
    struct guard *guard = guard_of(signal);
    void (*handler)(int, siginfo_t *, void *) = guard->handler;
    unsigned long flags = guard->flags;
    bool is_sent = info->si_code <= 0; /* by kill and friends, not raised by a fault */

    if ((void *)handler == (void *)SIG_IGN && is_sent)
        return;
    if (!is_function(handler)) {
        die_on_return(signal, info);
        return;
    }
    if (flags & SA_RESETHAND)
        guard->handler = NULL;
    /*
     * The signal itself stays open although the program may not have asked for SA_NODEFER: its
     * handler may touch the region.
     */
    dsm_sigmask_t mask;
    memcpy(&mask, &((ucontext_t *)context)->uc_sigmask, sizeof mask);
    mask = (mask | guard->mask) & ~DSM_TRAP_SIGNALS;
    dsm_raw_sigprocmask(SIG_SETMASK, &mask, NULL);
    handler(signal, info, context);
}
