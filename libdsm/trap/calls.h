/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * calls.h - functions in front of the C library's, each written as one line of a table: its type,
 * and which of its arguments are memory.
 *
 *   CALL(MINUS_ONE, int, stat, (const char *path, struct stat *out), (path, out),
 *        STRING(path), OUT(out, sizeof *out))
 *
 * defines stat(). When no argument is in the region it is one compare for each pointer and a jump
 * to the next stat(). Else each item is taken through private memory (bounce.h). The kinds of
 * failure: MINUS_ONE and NOTHING (NULL) with errno, or the ERROR itself is the result.
 *
 *   STRING(s)             a path, or another short string
 *   IN(p, len)            read
 *   OUT(p, len)           written, all of it, when the call succeeds
 *   OUT_USED(p, len, n)   written, the first n bytes; n may depend on result and ok
 *   INOUT(p, len)         read, and written when the call succeeds
 *   INOUT_USED(p, len, n) read, and then the first n bytes written
 *
 * A file may add kinds of its own: TOUCHES_x (is it in the region?), TAKE_x before the call,
 * GIVE_x after it.
 *
 * The functions have inner names and get those of the C library by label, so that they need not
 * repeat every attribute of its headers, and none of its macros gets in the way.
 */
#ifndef DSM_TRAP_CALLS_H
#define DSM_TRAP_CALLS_H

#include "trap/bounce.h"
#include "trap/next.h"
#include <dsm/dsm.h>
#include <errno.h>

/* What the functions of -D_FORTIFY_SOURCE do when a buffer has not the room that is asked for. */
void __chk_fail(void) __attribute__((noreturn));

/* next_name(): the C library's own. */
#define NEXT(how, type, name, params)                                                              \
    typedef type next_type_##name params;                                                          \
    static struct dsm_next_slot slot_##name = {NULL, #name, DSM_MISSING_##how};                    \
    __attribute__((constructor)) static void find_##name(void)                                     \
    {                                                                                              \
        (void)dsm_next_find(&slot_##name);                                                         \
    }                                                                                              \
    static inline next_type_##name *next_##name(void)                                              \
    {                                                                                              \
        return (next_type_##name *)dsm_next_of(&slot_##name);                                      \
    }

/* The function that programs call by this name. */
#define WRAPPER(type, name, params)                                                                \
    DSM_API type wrap_##name params __asm__(#name);                                                \
    DSM_API type wrap_##name params

#define CALL(how, type, name, params, args, ...)                                                   \
    NEXT(how, type, name, params)                                                                  \
    WRAPPER(type, name, params)                                                                    \
    {                                                                                              \
        if (!(DSM_EACH(TOUCHES_, ||, __VA_ARGS__)))                                                \
            return next_##name() args;                                                             \
        DSM_BOUNCE(bounce);                                                                        \
        DSM_EACH(TAKE_, ;, __VA_ARGS__);                                                           \
        if (bounce.error != 0)                                                                     \
            return FAIL_##how(bounce.error);                                                       \
        type const result = next_##name() args;                                                    \
        const bool ok = IS_OK_##how(result);                                                       \
        (void)ok;                                                                                  \
        DSM_EACH(GIVE_, ;, __VA_ARGS__);                                                           \
        return result;                                                                             \
    }

#define IS_OK_MINUS_ONE(result) ((result) != -1)
#define IS_OK_NOTHING(result)   ((result) != NULL)
#define IS_OK_ERROR(result)     ((result) == 0)
#define FAIL_MINUS_ONE(error)   (errno = (error), -1)
#define FAIL_NOTHING(error)     (errno = (error), NULL)
#define FAIL_ERROR(error)       (error)

#define TOUCHES_STRING(s) dsm_bounce_touches(s, 1)
#define TAKE_STRING(s)    s = dsm_bounce_string(&bounce, s)
#define GIVE_STRING(s)    (void)0

#define TOUCHES_IN(p, len) dsm_bounce_touches(p, len)
#define TAKE_IN(p, len)    p = dsm_bounce_in(&bounce, p, len)
#define GIVE_IN(p, len)    (void)0

#define TOUCHES_OUT(p, len) dsm_bounce_touches(p, len)
#define TAKE_OUT(p, len)    p = dsm_bounce_out(&bounce, p, len)
#define GIVE_OUT(p, len)    dsm_bounce_give(&bounce, p, ok ? (len) : 0)

#define TOUCHES_OUT_USED(p, len, n) dsm_bounce_touches(p, len)
#define TAKE_OUT_USED(p, len, n)    p = dsm_bounce_out(&bounce, p, len)
#define GIVE_OUT_USED(p, len, n)    dsm_bounce_give(&bounce, p, n)

#define TOUCHES_INOUT(p, len) dsm_bounce_touches(p, len)
#define TAKE_INOUT(p, len)    p = dsm_bounce_in(&bounce, p, len)
#define GIVE_INOUT(p, len)    dsm_bounce_give(&bounce, p, ok ? (len) : 0)

#define TOUCHES_INOUT_USED(p, len, n) dsm_bounce_touches(p, len)
#define TAKE_INOUT_USED(p, len, n)    p = dsm_bounce_in(&bounce, p, len)
#define GIVE_INOUT_USED(p, len, n)    dsm_bounce_give(&bounce, p, n)

/* DSM_EACH(X_, SEPARATOR, a, b(c)): X_a SEPARATOR X_b(c). */
#define DSM_EACH(x, separator, ...)                                                                \
    DSM_EACH_PICK(__VA_ARGS__, DSM_EACH_6, DSM_EACH_5, DSM_EACH_4, DSM_EACH_3, DSM_EACH_2,         \
                  DSM_EACH_1, )                                                                    \
    (x, separator, __VA_ARGS__)
#define DSM_EACH_PICK(a, b, c, d, e, f, picked, ...) picked
#define DSM_EACH_1(x, separator, a)                  x##a
#define DSM_EACH_2(x, separator, a, ...)             x##a separator DSM_EACH_1(x, separator, __VA_ARGS__)
#define DSM_EACH_3(x, separator, a, ...)             x##a separator DSM_EACH_2(x, separator, __VA_ARGS__)
#define DSM_EACH_4(x, separator, a, ...)             x##a separator DSM_EACH_3(x, separator, __VA_ARGS__)
#define DSM_EACH_5(x, separator, a, ...)             x##a separator DSM_EACH_4(x, separator, __VA_ARGS__)
#define DSM_EACH_6(x, separator, a, ...)             x##a separator DSM_EACH_5(x, separator, __VA_ARGS__)

#endif
