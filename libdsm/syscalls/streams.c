/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * streams.c - stdio on shared memory.
 *
 * A stream copies small pieces through its own buffer, in user mode, but hands large ones, and all
 * of an unbuffered stream, straight to the kernel. So these go through a private block, piece by
 * piece, with the stream locked meanwhile: how stdio cuts what it reads and writes is its own
 * affair. fgets, getc, scanf and the others that only ever store what is in the buffer need
 * nothing. getline is another matter: it would hand a shared line that is too short to realloc.
 */
#define _GNU_SOURCE
#include "base/log.h"
#include "syscalls/syscalls.h"
#include "trap/calls.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const bool dsm_wraps_streams = true;

#define SMALL_BYTES 1024

/* clang-format off */
NEXT(NOTHING, size_t, fread, (void *to, size_t size, size_t n, FILE *file))
NEXT(NOTHING, size_t, fread_unlocked, (void *to, size_t size, size_t n, FILE *file))
NEXT(NOTHING, size_t, fwrite, (const void *from, size_t size, size_t n, FILE *file))
NEXT(NOTHING, size_t, fwrite_unlocked, (const void *from, size_t size, size_t n, FILE *file))
NEXT(MINUS_ONE, int, fputs, (const char *s, FILE *file))
NEXT(MINUS_ONE, int, fputs_unlocked, (const char *s, FILE *file))
NEXT(MINUS_ONE, int, puts, (const char *s))
NEXT(MINUS_ONE, ssize_t, getdelim, (char **line, size_t *room, int delimiter, FILE *file))
NEXT(MINUS_ONE, int, setvbuf, (FILE *file, char *buffer, int mode, size_t size))
/* clang-format on */

/* A private place for pieces, and the lock of the stream. */
struct passage {
    FILE *file; /* NULL: the caller's affair */
    struct dsm_private memory;
    char *at;
    size_t room;
    char small[SMALL_BYTES];
};

static void leave(struct passage *p)
{
    dsm_private_give(&p->memory);
    if (p->file)
        funlockfile(p->file);
}

/* Without memory the small place has to do. */
static void enter(struct passage *p, FILE *file, size_t len)
{
    p->memory = (struct dsm_private){NULL, 0};
    p->at = p->small;
    p->room = SMALL_BYTES;
    if (len > SMALL_BYTES && dsm_private_take(&p->memory, DSM_PRIVATE_BLOCK_BYTES) == 0) {
        p->at = p->memory.addr;
        p->room = p->memory.len_bytes;
    }
    p->file = file;
    if (file)
        flockfile(file);
}

/* The bytes read. */
static size_t get(char *to, size_t len, FILE *file, bool is_locked)
{
    struct passage p __attribute__((cleanup(leave)));
    size_t done = 0, n, got;
    enter(&p, is_locked ? NULL : file, len);
    do {
        n = len - done < p.room ? len - done : p.room;
        got = next_fread_unlocked()(p.at, 1, n, file);
        memcpy(to + done, p.at, got);
        done += got;
    } while (got == n && done < len);
    return done;
}

/* The bytes written. */
static size_t put(const char *from, size_t len, FILE *file, bool is_locked)
{
    struct passage p __attribute__((cleanup(leave)));
    size_t done = 0, n, got;
    enter(&p, is_locked ? NULL : file, len);
    do {
        n = len - done < p.room ? len - done : p.room;
        memcpy(p.at, from + done, n);
        got = next_fwrite_unlocked()(p.at, 1, n, file);
        done += got;
    } while (got == n && done < len);
    return done;
}

/* clang-format off */
#define ITEMS(name, qualifier, move, is_locked)                                                    \
    WRAPPER(size_t, name, (qualifier void *buffer, size_t size, size_t n, FILE *file))             \
    {                                                                                              \
        size_t len;                                                                                \
        if (__builtin_mul_overflow(size, n, &len) || len == 0 || !dsm_bounce_touches(buffer, len)) \
            return next_##name()(buffer, size, n, file);                                           \
        size_t done = move(buffer, len, file, is_locked);                                          \
        return done == len ? n : done / size;                                                      \
    }

ITEMS(fread, , get, false)
ITEMS(fread_unlocked, , get, true)
ITEMS(fwrite, const, put, false)
ITEMS(fwrite_unlocked, const, put, true)

#define ITEMS_CHECKED(name, inner)                                                                 \
    WRAPPER(size_t, name, (void *buffer, size_t room, size_t size, size_t n, FILE *file))          \
    {                                                                                              \
        size_t len;                                                                                \
        if (__builtin_mul_overflow(size, n, &len) || len > room)                                   \
            __chk_fail();                                                                          \
        return wrap_##inner(buffer, size, n, file);                                                \
    }

ITEMS_CHECKED(__fread_chk, fread)
ITEMS_CHECKED(__fread_unlocked_chk, fread_unlocked)

WRAPPER(int, fputs, (const char *s, FILE *file))
{
    if (!dsm_bounce_touches(s, 1))
        return next_fputs()(s, file);
    size_t len = strlen(s);
    return put(s, len, file, false) == len ? 1 : EOF;
}

WRAPPER(int, fputs_unlocked, (const char *s, FILE *file))
{
    if (!dsm_bounce_touches(s, 1))
        return next_fputs_unlocked()(s, file);
    size_t len = strlen(s);
    return put(s, len, file, true) == len ? 1 : EOF;
}
/* clang-format on */

/* ---- lines --------------------------------------------------------------------------------- */

void *(*dsm_streams_realloc)(void *block, size_t len_bytes);

static void drop(char **line)
{
    free(*line);
}

/* The line is private at first: only then is it known how long it is. */
static ssize_t get_line(char **line, size_t *room, int delimiter, FILE *file)
{
    char *copy __attribute__((cleanup(drop))) = NULL;
    size_t copy_room = 0;
    ssize_t len = next_getdelim()(&copy, &copy_room, delimiter, file);
    if (len < 0)
        return len;
    size_t needed = (size_t)len + 1;
    if (needed > *room) {
        size_t larger = needed > 2 * *room ? needed : 2 * *room;
        errno = ENOMEM;
        void *grown = dsm_streams_realloc ? dsm_streams_realloc(*line, larger) : NULL;
        if (!grown)
            return -1;
        *line = grown;
        *room = larger;
    }
    memcpy(*line, copy, needed);
    return len;
}

/* A line of no room is not looked at: the C library makes a new one. */
#define LINE(name, params, delimiter)                                                              \
    WRAPPER(ssize_t, name, params)                                                                 \
    {                                                                                              \
        if (!line || !room || !*line || *room == 0 || !dsm_bounce_touches(*line, 1))               \
            return next_getdelim()(line, room, delimiter, file);                                   \
        return get_line(line, room, delimiter, file);                                              \
    }

/* clang-format off */
LINE(getdelim, (char **line, size_t *room, int delimiter, FILE *file), delimiter)
LINE(__getdelim, (char **line, size_t *room, int delimiter, FILE *file), delimiter)
LINE(getline, (char **line, size_t *room, FILE *file), '\n')
/* clang-format on */

static void unlock(FILE **file)
{
    funlockfile(*file);
}

WRAPPER(int, puts, (const char *s))
{
    if (!dsm_bounce_touches(s, 1))
        return next_puts()(s);
    size_t len = strlen(s);
    FILE *file __attribute__((cleanup(unlock))) = stdout;
    flockfile(file);
    if (put(s, len, file, true) != len || putc_unlocked('\n', file) == EOF)
        return EOF;
    return len + 1 > (size_t)INT32_MAX ? INT32_MAX : (int)(len + 1);
}

/* The kernel would read and write a stream's buffer for as long as the stream is open. A stream
 * need not take the buffer that it is offered, says the C standard: then it has one of its own. */
static char *private_buffer(char *buffer, size_t size)
{
    static atomic_bool has_said;
    if (!dsm_bounce_touches(buffer, size))
        return buffer;
    if (!atomic_exchange(&has_said, true))
        dsm_log(DSM_LOG_INFO,
                "setvbuf: the buffer at 0x%lx, %zu bytes, lies in the shared region; the stream "
                "gets a private one",
                (unsigned long)(uintptr_t)buffer, size);
    return NULL;
}

WRAPPER(int, setvbuf, (FILE * file, char *buffer, int mode, size_t size))
{
    return next_setvbuf()(file, private_buffer(buffer, size), mode, size);
}

WRAPPER(void, setbuffer, (FILE * file, char *buffer, size_t size))
{
    (void)next_setvbuf()(file, private_buffer(buffer, size), buffer ? _IOFBF : _IONBF, size);
}

WRAPPER(void, setbuf, (FILE * file, char *buffer))
{
    (void)next_setvbuf()(file, private_buffer(buffer, BUFSIZ), buffer ? _IOFBF : _IONBF, BUFSIZ);
}
