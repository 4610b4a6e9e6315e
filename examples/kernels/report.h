/* SPDX-License-Identifier: BSD-3-Clause */
/* report.h - what the examples' command lines and closing lines have in common. */
#ifndef DSM_EXAMPLES_REPORT_H
#define DSM_EXAMPLES_REPORT_H

#include "kernels.h"

/* Ends the program with one line unless text is a whole number from min to max. */
uint64_t option_number(const char *program, const char *option, const char *text, uint64_t min,
                       uint64_t max);

/* The line that scripts read: `result name=... input=... ranks=... seconds=... verified=yes|no
 * faults=... bytes=... checksum=...`. ranks is 0 for the sequential computation. */
void report_result(const char *name, const char *input, uint32_t n_ranks,
                   const struct kernel_result *result);

/* The program's exit status: 0 only when the result was verified; rank 0 says so when it was not.
 */
int report_status(const char *name, uint32_t rank, int error, const struct kernel_result *result);

#endif
