/* SPDX-License-Identifier: BSD-3-Clause */
/* log.c - the formatter and the one writer to stderr. Signal-handler safe. */
#include "base/log.h"
#include "base/errors.h"
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DSM_LOG_LINE_BYTES 1000

/* Set once before threads start. */
static enum dsm_log_level log_level = DSM_LOG_WARN;
static char log_who[64] = "dsm";

int dsm_log_setup(const char *level_name, const char *who)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if (who)
        snprintf(log_who, sizeof log_who, "%s", who);
    if (!level_name || !*level_name)
        return 0;
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(level_name, names[i]) == 0) {
            log_level = (enum dsm_log_level)i;
            return 0;
        }
    }
    return DSM_E_INVAL;
}

struct out {
    char *at;
    char *end; /* room for the NUL stays */
};

static void put(struct out *o, char c)
{
    if (o->at < o->end)
        *o->at++ = c;
}

static void put_number(struct out *o, uint64_t v, unsigned base, bool is_negative, int width,
                       bool zero)
{
    char digits[24];
    int n = 0;
    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    if (is_negative && zero)
        put(o, '-');
    for (int i = n + is_negative; i < width; i++)
        put(o, zero ? '0' : ' ');
    if (is_negative && !zero)
        put(o, '-');
    while (n)
        put(o, digits[--n]);
}

size_t dsm_vformat(char *out, size_t out_bytes, const char *format, va_list args)
{
    struct out o = {out, out + out_bytes - 1};
    for (const char *f = format; *f; f++) {
        if (*f != '%') {
            put(&o, *f);
            continue;
        }
        f++;
        bool zero = *f == '0';
        int width = 0, longs = 0;
        while (*f >= '0' && *f <= '9')
            width = width * 10 + (*f++ - '0');
        for (; *f == 'l' || *f == 'z'; f++)
            longs++;
        switch (*f) {
        case 's': {
            const char *s = va_arg(args, const char *);
            for (s = s ? s : "(null)"; *s; s++)
                put(&o, *s);
            break;
        }
        case 'c':
            put(&o, (char)va_arg(args, int));
            break;
        case 'd': {
            int64_t v = longs ? va_arg(args, int64_t) : va_arg(args, int);
            put_number(&o, v < 0 ? -(uint64_t)v : (uint64_t)v, 10, v < 0, width, zero);
            break;
        }
        case 'u':
        case 'x': {
            uint64_t v = longs ? va_arg(args, uint64_t) : va_arg(args, unsigned);
            put_number(&o, v, *f == 'x' ? 16 : 10, false, width, zero);
            break;
        }
        case '\0':
            f--;
            break;
        default:
            put(&o, *f);
        }
    }
    *o.at = '\0';
    return (size_t)(o.at - out);
}

size_t dsm_format(char *out, size_t out_bytes, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t n = dsm_vformat(out, out_bytes, format, args);
    va_end(args);
    return n;
}

void dsm_log(enum dsm_log_level level, const char *format, ...)
{
    if (level > log_level)
        return;
    int saved = errno;
    char line[DSM_LOG_LINE_BYTES];
    size_t n = dsm_format(line, sizeof line - 1, "%s: ", log_who);
    va_list args;
    va_start(args, format);
    n += dsm_vformat(line + n, sizeof line - 1 - n, format, args);
    va_end(args);
    line[n++] = '\n';
    for (size_t done = 0; done < n;) {
        long r = syscall(SYS_write, STDERR_FILENO, line + done, n - done);
        if (r < 0 && errno != EINTR)
            break; /* nowhere left to say it */
        if (r > 0)
            done += (size_t)r;
    }
    errno = saved;
}
