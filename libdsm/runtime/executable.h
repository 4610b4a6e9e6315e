/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * executable.h - what the program's file is and where it lies: the range of its global variables,
 * and everything that must be equal on all ranks, or must not be, for them to be shared.
 */
#ifndef DSM_RUNTIME_EXECUTABLE_H
#define DSM_RUNTIME_EXECUTABLE_H

#include <stddef.h>
#include <stdint.h>

#define DSM_BUILD_ID_BYTES 32u /* longer ones are compared up to here */

struct dsm_build_id {
    uint8_t bytes[DSM_BUILD_ID_BYTES];
    uint32_t len_bytes; /* 0: the file has none */
};

/* Compared between ranks byte by byte: zeroed before it is filled. */
struct dsm_executable {
    uint64_t load_addr; /* of the file's first segment */
    uint64_t data_addr; /* whole pages: from the end of RELRO to the end of the last RW segment */
    uint64_t data_bytes;
    struct dsm_build_id id, libc_id;
};

/*
 * Looks at the running process. Refuses, with one line in why, an executable whose data cannot be
 * shared: copy relocations, lazy binding, no RELRO, no build id, libdsm or an allocator of the
 * program's own inside it. Errors: UNSUPPORTED.
 */
int dsm_executable_read(struct dsm_executable *out, char *why, size_t why_bytes);

/* 0 when equal, else DSM_E_MISMATCH with one line in why that shows both sides; theirs is rank's.
 */
int dsm_executable_compare(const struct dsm_executable *ours, const struct dsm_executable *theirs,
                           uint32_t rank, char *why, size_t why_bytes);

#endif
