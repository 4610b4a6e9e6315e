/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * syscalls.h - the C library's functions that give memory to the kernel, in front of the C library.
 *
 * Each file is a family, and says so by a constant: the runtime refers to all of them, so that a
 * static library brings its wrappers along even for names that the program itself does not use, but
 * other libraries do.
 */
#ifndef DSM_SYSCALLS_SYSCALLS_H
#define DSM_SYSCALLS_SYSCALLS_H

#include <stdbool.h>
#include <stddef.h>

extern const bool dsm_wraps_bytes, dsm_wraps_descriptors, dsm_wraps_objects, dsm_wraps_paths,
    dsm_wraps_processes, dsm_wraps_programs, dsm_wraps_refused, dsm_wraps_sockets,
    dsm_wraps_streams, dsm_wraps_times;

/* What getline makes a shared line larger with; the runtime's. NULL: they stay as they are. */
extern void *(*dsm_streams_realloc)(void *block, size_t len_bytes);

/* True: every family is linked in. */
bool dsm_syscalls_are_wrapped(void);

#endif
