/* SPDX-License-Identifier: BSD-3-Clause */
/* parse.h - numbers as people write them. */
#ifndef DSM_BASE_PARSE_H
#define DSM_BASE_PARSE_H

#include <stdint.h>

/* "4096", "64k", "1.5G", "16TiB": powers of 1024. DSM_E_INVAL for anything else or on overflow. */
int dsm_parse_size(const char *text, uint64_t *bytes_out);
/* Decimal or 0x…; the whole text; min..max. DSM_E_INVAL, DSM_E_LIMIT. */
int dsm_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value_out);
int dsm_parse_i64(const char *text, int64_t min, int64_t max, int64_t *value_out);
/* Seconds, a decimal number > 0. */
int dsm_parse_seconds(const char *text, double *seconds_out);
/* Exactly 32 hex digits. */
int dsm_parse_token(const char *text, uint8_t token_out[16]);

#endif
