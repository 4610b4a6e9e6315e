/* SPDX-License-Identifier: BSD-3-Clause */
/* machine.h - what the figures depend on besides the code: processors, kernel, and who else runs.
 */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stddef.h>

/* Processors that this process may use. */
unsigned bench_machine_cpus(void);
/* "Linux 6.1.0 x86_64" */
void bench_machine_kernel(char *out, size_t out_bytes);
/* "Intel(R) ...", or "unknown processor" */
void bench_machine_model(char *out, size_t out_bytes);
/*
 * Processors in use over the next sample_ms, in which the caller sleeps: what other programs (and,
 * in a virtual machine, its neighbours) take, as the load average of a machine would count it, but
 * without the memory of what ran before. NaN when it cannot be read.
 */
double bench_machine_load(unsigned sample_ms);

#endif
