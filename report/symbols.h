/* SPDX-License-Identifier: BSD-3-Clause */
/* symbols.h - from instructions to lines of source, for dsm-report and dsmtop. */
#ifndef DSM_REPORT_SYMBOLS_H
#define DSM_REPORT_SYMBOLS_H

#include <stdint.h>

/* The programs and libraries that were looked into; zeroes at first. */
struct symbols {
    struct symbols_file *files;
    uint32_t n_files;
};

/*
 * The byte at file_offset of the file at path: "lu.c:142 (update_tile)", "libc.so.6+0x1234
 * (memcpy)". path NULL: what is known is the address alone. To be freed by the caller; NULL: no
 * memory.
 */
char *symbols_describe(struct symbols *symbols, const char *path, uint64_t file_offset,
                       uint64_t ip);
void symbols_close(struct symbols *symbols);

#endif
