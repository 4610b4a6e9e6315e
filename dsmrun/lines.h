/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lines.h - makes whole lines of what arrives in pieces. A line longer than DSM_LINES_MAX_BYTES is
 * handed on in pieces of that size.
 */
#ifndef DSM_DSMRUN_LINES_H
#define DSM_DSMRUN_LINES_H

#include <stdbool.h>
#include <stddef.h>

#define DSM_LINES_MAX_BYTES (1u << 20)

struct dsm_lines {
    char *buf;
    size_t len_bytes, cap_bytes;
};

/* Gets one or more whole lines, or a piece of one that is too long. */
typedef void (*dsm_lines_sink)(void *user, const char *bytes, size_t len_bytes);

/* Errors: NOMEM. */
int dsm_lines_push(struct dsm_lines *lines, const char *bytes, size_t len_bytes,
                   dsm_lines_sink sink, void *user);
/* What is left, as the last line; with a newline added when it had none and add_newline. */
void dsm_lines_end(struct dsm_lines *lines, bool add_newline, dsm_lines_sink sink, void *user);

#endif
