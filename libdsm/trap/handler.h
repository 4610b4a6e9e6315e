/* SPDX-License-Identifier: BSD-3-Clause */
/* handler.h - the signal handler that turns faults into on_fault, and refuses them. */
#ifndef DSM_TRAP_HANDLER_H
#define DSM_TRAP_HANDLER_H

#include <stdint.h>

/* Installs the handler for SIGBUS or SIGSEGV (stop: puts the program's back). Counted.
 * Errors: DSM_E_SYSTEM. */
int dsm_handler_start(int signal);
void dsm_handler_stop(int signal);

/*
 * The thread, which waits for a page at addr, gets SIGBUS for it, as if the processor had raised
 * it. Where it blocks SIGBUS the process ends, as the kernel would end it. Needs
 * dsm_handler_start(SIGBUS).
 * Errors: DSM_E_SYSTEM.
 */
int dsm_handler_refuse_thread(uintptr_t addr, uint32_t thread);

#endif
