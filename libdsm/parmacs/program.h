/* SPDX-License-Identifier: BSD-3-Clause */
/* program.h - the process model of PARMACS programs: what the parts of this folder share. */
#ifndef DSM_PARMACS_PROGRAM_H
#define DSM_PARMACS_PROGRAM_H

#include "runtime/driver.h"
#include <stdbool.h>

/* The driver; ends the job with one line that names the macro when MAIN_INITENV has not run. */
struct dsm_driver *dsm_program_enter(const char *macro);
/* The same for what may be used from the start of main() on. */
void dsm_program_enter_early(const char *macro);
/* Ends the job with one line, as printf. */
void dsm_program_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* The word that hands out process ids, in shared memory. */
uint32_t *dsm_program_next_pid(void);
/* The calling thread has no process id: another round begins. */
void dsm_program_forget_pid(void);

#endif
