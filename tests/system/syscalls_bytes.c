/* SPDX-License-Identifier: BSD-3-Clause */
/* syscalls_bytes.c - read, write and their relatives, and stdio. */
#define _GNU_SOURCE
#include "syscalls.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* What -D_FORTIFY_SOURCE calls. */
ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __pread_chk(int, void *, size_t, off_t, size_t);
ssize_t __pread64_chk(int, void *, size_t, off_t, size_t);
size_t __fread_chk(void *, size_t, size_t, size_t, FILE *);
size_t __fread_unlocked_chk(void *, size_t, size_t, size_t, FILE *);

/* Several sizes from one open file; the last one comes short. */
#define READS(call)                                                                                \
    int fd = pattern_file("data", 9000);                                                           \
    static const size_t sizes[] = {0, 1, 600, 1024, 1025, 5000, 3000};                             \
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {                                    \
        size_t len = sizes[i];                                                                     \
        char *buffer = room(a, len);                                                               \
        RESULT(a, call);                                                                           \
    }                                                                                              \
    close(fd)

/* clang-format off */
CASE(read) { READS(read(fd, buffer, len)); }
CASE(__read_chk) { READS(__read_chk(fd, buffer, len, len)); }
CASE(pread) { READS(pread(fd, buffer, len, 7000)); }
CASE(pread64) { READS(pread64(fd, buffer, len, 7000)); }
CASE(__pread_chk) { READS(__pread_chk(fd, buffer, len, 7000, len)); }
CASE(__pread64_chk) { READS(__pread64_chk(fd, buffer, len, 8999, len)); }
/* clang-format on */

/* What the file holds in the end is a result, too. */
static void record_file(struct arena *a, const char *name)
{
    char bytes[20000];
    int fd = open(name, O_RDONLY);
    ssize_t n = read(fd, bytes, sizeof bytes);
    long sum = n;
    for (ssize_t i = 0; i < n; i++)
        sum = sum * 31 + bytes[i];
    CHECK(n >= 0);
    close(fd);
    errno = 0;
    record(a, sum & INT64_MAX);
}

#define WRITES(call)                                                                               \
    int fd = open("data", O_RDWR | O_CREAT, 0600);                                                 \
    static const size_t sizes[] = {0, 1, 512, 1025, 6000};                                         \
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {                                    \
        size_t len = sizes[i];                                                                     \
        const char *buffer = room(a, len);                                                         \
        RESULT(a, call);                                                                           \
    }                                                                                              \
    close(fd);                                                                                     \
    record_file(a, "data")

/* clang-format off */
CASE(write) { WRITES(write(fd, buffer, len)); }
CASE(pwrite) { WRITES(pwrite(fd, buffer, len, (off_t)len * 2)); }
CASE(pwrite64) { WRITES(pwrite64(fd, buffer, len, (off_t)len + 3)); }
/* clang-format on */

static const volatile int too_many = -1;

/* Ten buffers, shared and not, more than fit the stack; and the vector itself. */
static struct iovec *vector(struct arena *a, char *outside, int *n_out)
{
    struct iovec v[10];
    for (int i = 0; i < 10; i++) {
        size_t len = (size_t)(i * 37 % 10) * 60;
        v[i].iov_base = i % 3 == 1 ? outside + i * 600 : room(a, len);
        v[i].iov_len = len;
    }
    *n_out = 10;
    return put(a, v, sizeof v);
}

#define READ_VECTORS(call)                                                                         \
    int fd = pattern_file("data", 2000), n;                                                        \
    char outside[6000] = "";                                                                       \
    struct iovec *v = vector(a, outside, &n);                                                      \
    RESULT(a, call);                                                                               \
    RESULT(a, call);                                                                               \
    put(a, outside, sizeof outside);                                                               \
    forget(a, v, (size_t)n * sizeof *v); /* pointers */                                            \
    close(fd)

/* clang-format off */
CASE(readv) { READ_VECTORS(readv(fd, v, n)); }
CASE(preadv) { READ_VECTORS(preadv(fd, v, n, 400)); }
CASE(preadv64) { READ_VECTORS(preadv64(fd, v, n, 1990)); }
CASE(preadv2) { READ_VECTORS(preadv2(fd, v, n, -1, 0)); }
CASE(preadv64v2) { READ_VECTORS(preadv64v2(fd, v, n, 100, 0)); }
/* clang-format on */

#define WRITE_VECTORS(call)                                                                        \
    int fd = pattern_file("data", 100), n;                                                         \
    char outside[6000];                                                                            \
    memset(outside, 'o', sizeof outside);                                                          \
    struct iovec *v = vector(a, outside, &n);                                                      \
    RESULT(a, call);                                                                               \
    RESULT(a, call);                                                                               \
    RESULT(a, writev(fd, v, too_many));                                                            \
    forget(a, v, (size_t)n * sizeof *v); /* pointers */                                            \
    close(fd);                                                                                     \
    record_file(a, "data")

/* clang-format off */
CASE(writev) { WRITE_VECTORS(writev(fd, v, n)); }
CASE(pwritev) { WRITE_VECTORS(pwritev(fd, v, n, 400)); }
CASE(pwritev64) { WRITE_VECTORS(pwritev64(fd, v, n, 40)); }
CASE(pwritev2) { WRITE_VECTORS(pwritev2(fd, v, n, 0, RWF_APPEND)); }
CASE(pwritev64v2) { WRITE_VECTORS(pwritev64v2(fd, v, n, -1, 0)); }
/* clang-format on */

/* ---- stdio ---- */

#define STREAM_READS(call)                                                                         \
    close(pattern_file("data", 70000));                                                            \
    FILE *f = fopen("data", "r");                                                                  \
    static const size_t counts[] = {0, 1, 100, 5000, 3000};                                        \
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {                                  \
        size_t n = counts[i];                                                                      \
        char *buffer = room(a, n * 7);                                                             \
        RESULT(a, call);                                                                           \
        record(a, ftell(f) + 1000000 * feof(f));                                                   \
    }                                                                                              \
    fclose(f)

/* clang-format off */
CASE(fread) { STREAM_READS(fread(buffer, 7, n, f)); }
CASE(fread_unlocked) { STREAM_READS((fread_unlocked)(buffer, 7, n, f)); }
CASE(__fread_chk) { STREAM_READS(__fread_chk(buffer, n * 7, 7, n, f)); }
CASE(__fread_unlocked_chk) { STREAM_READS(__fread_unlocked_chk(buffer, n * 7, 7, n, f)); }
/* clang-format on */

#define LINE_READS(len, call)                                                                      \
    close(pattern_file("data", 9000));                                                            \
    FILE *f = fopen("data", "r");                                                                  \
    for (int i = 0; i < 4; i++) {                                                                  \
        char *buffer = room(a, len), *line = buffer;                                               \
        size_t size = (len);                                                                       \
        RESULT(a, call);                                                                           \
        CHECK(line == buffer && size == (len));                                                    \
        record(a, ftell(f) + 1000000 * feof(f));                                                   \
    }                                                                                              \
    fclose(f)

/* clang-format off */
CASE(getline) { LINE_READS(600, getline(&line, &size, f)); }
CASE(getdelim) { LINE_READS(9001, getdelim(&line, &size, 10, f)); }
CASE(__getdelim) { LINE_READS(600, __getdelim(&line, &size, 7, f)); }
/* clang-format on */

/* Not wrapped, and safe: these store what is in the stream's own buffer. */
static long get_s(char *line, FILE *f, int mode)
{
    setvbuf(f, NULL, mode, 4096);
    return fgets(line, 600, f) ? (long)strlen(line) : -1;
}

/* clang-format off */
CASE(safe_fgets) { LINE_READS(600, get_s(line, f, _IOFBF)); }
CASE(safe_fgets_unbuffered) { LINE_READS(600, get_s(line, f, _IONBF)); }
CASE(safe_fscanf) { LINE_READS(600, fscanf(f, "%500c", line)); }
/* clang-format on */

#define STREAM_WRITES(mode, size, call)                                                            \
    FILE *f = fopen("data", "w");                                                                  \
    setvbuf(f, NULL, mode, 4096);                                                                  \
    static const size_t counts[] = {0, 1, 100, 6000};                                              \
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {                                  \
        size_t n = counts[i];                                                                      \
        char *buffer = room(a, n * (size) + 1);                                                    \
        buffer[n * (size)] = '\0';                                                                 \
        RESULT(a, call);                                                                           \
    }                                                                                              \
    fclose(f);                                                                                     \
    record_file(a, "data")

/* clang-format off */
CASE(fwrite) { STREAM_WRITES(_IOFBF, 3, fwrite(buffer, 3, n, f)); }
CASE(fwrite_unlocked) { STREAM_WRITES(_IONBF, 3, (fwrite_unlocked)(buffer, 3, n, f)); }
/* clang-format on */

#define STREAM_STRINGS(mode, call)                                                                 \
    STREAM_WRITES(mode, 1, (memset(buffer, (int)('a' + i), n), arrange(a), call))

/* clang-format off */
CASE(fputs) { STREAM_STRINGS(_IONBF, fputs(buffer, f)); }
CASE(fputs_unlocked) { STREAM_STRINGS(_IOLBF, fputs_unlocked(buffer, f)); }
/* clang-format on */

CASE(puts)
{
    FILE *f = fopen("data", "w"), *before = stdout;
    char *s = room(a, 10000);
    memset(s, 's', 9999);
    s[9999] = '\0';
    stdout = f;
    RESULT(a, puts(s));
    RESULT(a, puts(put_string(a, "")));
    stdout = before;
    fclose(f);
    record_file(a, "data");
}

/* The stream works, and does not use a buffer that is shared: the arena is private memory's. */
#define BUFFERS(call, buffer_bytes)                                                                \
    FILE *f = fopen("data", "w+");                                                                 \
    char *buffer = room(a, buffer_bytes);                                                          \
    call;                                                                                          \
    RESULT(a, fprintf(f, "%d\n", 12345));                                                          \
    RESULT(a, fseek(f, 1, SEEK_SET));                                                              \
    RESULT(a, getc(f));                                                                            \
    CHECK(__fbufsize(f) > 1);                                                                      \
    fclose(f);                                                                                     \
    forget(a, buffer, buffer_bytes);                                                               \
    record_file(a, "data")

/* clang-format off */
CASE(setvbuf) { BUFFERS(RESULT(a, setvbuf(f, buffer, _IOFBF, 5000)), 5000); }
CASE(setbuf) { BUFFERS((arrange(a), setbuf(f, buffer), settle(a)), BUFSIZ); }
CASE(setbuffer) { BUFFERS((arrange(a), setbuffer(f, buffer, 5000), settle(a)), 5000); }
/* clang-format on */
