/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * signals.h - who handles SIGBUS and SIGSEGV: the traps first, then the program.
 *
 * The traps need their handler in place and the two signals unblocked, whatever the program does.
 * So the program's own wishes are remembered here (the interposers of interpose.c bring them), and
 * a signal that is none of the traps' goes on to what the program asked for.
 */
#ifndef DSM_TRAP_SIGNALS_H
#define DSM_TRAP_SIGNALS_H

#include "trap/raw.h"
#include <signal.h>

/* Signals that a trap may use: never blocked in a process that is linked with the library. */
#define DSM_TRAP_SIGNALS (dsm_sigmask_of(SIGBUS) | dsm_sigmask_of(SIGSEGV))

/*
 * True, and each in the file of interposers that it names: who uses the traps refers to them, so
 * that a static library brings its interposers along even where the program itself calls none of
 * them.
 */
extern const bool dsm_interposes_signals, dsm_interposes_threads, dsm_interposes_waits;

/*
 * Puts handler in front of the program's handler of SIGBUS or SIGSEGV, with all signals blocked
 * while it runs, and unblocks the signal in the calling thread. Counted: as many stops as starts.
 * Masks of handlers that the program installed earlier lose the two signals.
 * Errors: DSM_E_BUSY (guarded already, by another handler), DSM_E_SYSTEM.
 */
int dsm_signal_guard_start(int signal, void (*handler)(int, siginfo_t *, void *));
/* Puts back what the program wants, when it was the last. */
void dsm_signal_guard_stop(int signal);
/* In the only thread of a forked child: nobody else holds the locks any more. */
void dsm_signal_after_fork_child(void);

/*
 * Signal-handler safe. Runs what the program wants for this signal: its handler, with the mask that
 * it would have had; or the default action, which kills the process on return from the handler, at
 * the interrupted instruction and with this siginfo.
 */
void dsm_signal_pass_on(int signal, siginfo_t *info, void *context);

/* True when the thread of this process blocks the signal; false where it cannot be asked, or ends.
 */
bool dsm_signal_is_blocked(int signal, uint32_t thread);
/* The default action of the signal, now, in the calling thread. */
void dsm_signal_die(int signal, siginfo_t *info) __attribute__((noreturn));

/*
 * sigaction as the program sees it: 0 or a negative errno. action and old_out may be NULL.
 * Not to be called inside the traps' own handler.
 */
int dsm_signal_action(int signal, const struct sigaction *action, struct sigaction *old_out);

#endif
