/* SPDX-License-Identifier: BSD-3-Clause */
/* lines.c - see lines.h. */
#include "config.h"
#include "dsmrun/lines.h"
#include <dsm/dsm.h>
#include <stdlib.h>
#include <string.h>

static int reserve(struct dsm_lines *lines, size_t need)
{
    size_t cap = lines->cap_bytes ? lines->cap_bytes : 256;
    if (need <= lines->cap_bytes)
        return 0;
    while (cap < need)
        cap *= 2;
    char *grown = realloc(lines->buf, cap);
    if (!grown)
        return DSM_E_NOMEM;
    lines->buf = grown;
    lines->cap_bytes = cap;
    return 0;
}

int dsm_lines_push(struct dsm_lines *lines, const char *bytes, size_t len_bytes,
                   dsm_lines_sink sink, void *user)
{
    const char *newline = memrchr(bytes, '\n', len_bytes);
    size_t n_whole = newline ? (size_t)(newline - bytes) + 1 : 0;
    if (n_whole > 0 && lines->len_bytes == 0) {
        sink(user, bytes, n_whole);
    } else if (n_whole > 0) {
        int error = reserve(lines, lines->len_bytes + n_whole);
        if (error)
            return error;
        memcpy(lines->buf + lines->len_bytes, bytes, n_whole);
        sink(user, lines->buf, lines->len_bytes + n_whole);
        lines->len_bytes = 0;
    }
    size_t n_rest = len_bytes - n_whole;
    int error = reserve(lines, lines->len_bytes + n_rest + 1); /* 1: a newline at the end */
    if (error)
        return error;
    memcpy(lines->buf + lines->len_bytes, bytes + n_whole, n_rest);
    lines->len_bytes += n_rest;
    if (lines->len_bytes >= DSM_LINES_MAX_BYTES) {
        sink(user, lines->buf, lines->len_bytes);
        lines->len_bytes = 0;
    }
    return 0;
}

void dsm_lines_end(struct dsm_lines *lines, bool add_newline, dsm_lines_sink sink, void *user)
{
    if (lines->len_bytes > 0) {
        if (add_newline)
            lines->buf[lines->len_bytes++] = '\n';
        sink(user, lines->buf, lines->len_bytes);
    }
    free(lines->buf);
    *lines = (struct dsm_lines){0};
}
