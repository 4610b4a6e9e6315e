/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.h - one line per message on stderr, "dsm[rank]: text", in one write call.
 *
 * dsm_log formats with a subset of printf that needs no allocation and no locale: %s %d %u %x %c %%
 * with l, ll and z, width and 0, and is signal-handler safe. Lines are cut at 1,000 bytes.
 */
#ifndef DSM_BASE_LOG_H
#define DSM_BASE_LOG_H

#include <stdarg.h>
#include <stddef.h>

enum dsm_log_level { DSM_LOG_ERROR, DSM_LOG_WARN, DSM_LOG_INFO, DSM_LOG_DEBUG };

/* What is printed: up to this level. Default WARN; DSM_LOG=error|warn|info|debug is read by
 * dsm_log_setup. */
int dsm_log_setup(const char *level_name, const char *who);
void dsm_log(enum dsm_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The formatter alone; always terminates out; returns the bytes written without the NUL. */
size_t dsm_format(char *out, size_t out_bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
size_t dsm_vformat(char *out, size_t out_bytes, const char *format, va_list args);

#endif
