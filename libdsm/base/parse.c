/* SPDX-License-Identifier: BSD-3-Clause */
/* parse.c - strict: the whole text or nothing. */
#include "base/parse.h"
#include "base/errors.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int dsm_parse_size(const char *text, uint64_t *bytes_out)
{
    if (!text || !isdigit((unsigned char)*text))
        return DSM_E_INVAL;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        return DSM_E_INVAL;
    /* Whole numbers without a unit keep all 64 bits. */
    if (text[strspn(text, "0123456789")] == '\0')
        return dsm_parse_u64(text, 0, UINT64_MAX, bytes_out) < 0 ? DSM_E_INVAL : 0;
    /* No exponents: strtod would take them. */
    if (strcspn(text, "eE") < strlen(text))
        return DSM_E_INVAL;
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    if (errno || !isfinite(number) || !*end)
        return DSM_E_INVAL;
    static const char units[] = "kMGTP";
    double scale = 1;
    const char *u = NULL;
    for (const char *p = units; *p; p++)
        if (tolower((unsigned char)*p) == tolower((unsigned char)*end))
            u = p;
    if (!u)
        return DSM_E_INVAL;
    for (const char *p = units; p <= u; p++)
        scale *= 1024;
    end++;
    if (strcasecmp(end, "ib") == 0)
        end += 2;
    else if (strcasecmp(end, "b") == 0)
        end += 1;
    if (*end)
        return DSM_E_INVAL;
    number *= scale;
    if (number >= 18446744073709551616.0)
        return DSM_E_INVAL;
    *bytes_out = (uint64_t)number;
    return 0;
}

int dsm_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value_out)
{
    if (!text || !isdigit((unsigned char)*text))
        return DSM_E_INVAL;
    char *end;
    errno = 0;
    int base = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10;
    uint64_t v = strtoull(text, &end, base);
    if (*end)
        return DSM_E_INVAL;
    if (errno || v < min || v > max)
        return DSM_E_LIMIT;
    *value_out = v;
    return 0;
}

int dsm_parse_i64(const char *text, int64_t min, int64_t max, int64_t *value_out)
{
    if (!text || (!isdigit((unsigned char)*text) && *text != '-'))
        return DSM_E_INVAL;
    char *end;
    errno = 0;
    int64_t v = strtoll(text, &end, 10);
    if (end == text || *end)
        return DSM_E_INVAL;
    if (errno || v < min || v > max)
        return DSM_E_LIMIT;
    *value_out = v;
    return 0;
}

int dsm_parse_seconds(const char *text, double *seconds_out)
{
    if (!text || !isdigit((unsigned char)*text))
        return DSM_E_INVAL;
    char *end;
    double v = strtod(text, &end);
    if (*end || !isfinite(v) || v <= 0 || v > 1e9)
        return DSM_E_INVAL;
    *seconds_out = v;
    return 0;
}

int dsm_parse_token(const char *text, uint8_t token_out[16])
{
    uint8_t token[16];
    if (!text || strlen(text) != 32)
        return DSM_E_INVAL;
    for (int i = 0; i < 32; i++) {
        int c = tolower((unsigned char)text[i]);
        if (!isxdigit(c))
            return DSM_E_INVAL;
        int v = c <= '9' ? c - '0' : c - 'a' + 10;
        token[i / 2] = (uint8_t)(i % 2 ? token[i / 2] | v : v << 4);
    }
    memcpy(token_out, token, 16);
    return 0;
}
