/* SPDX-License-Identifier: BSD-3-Clause */
/* syscalls_hand.c - what the matrix cannot say: pages that go away at a known point of a call. */
#define _GNU_SOURCE
#include "syscalls.h"
#include <dsm/dsm.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

struct reader {
    int fd;
    char *buffer;
    size_t len;
    long result;
    int error;
    _Atomic int tid;
};

static void *read_some(void *argument)
{
    struct reader *r = argument;
    r->tid = gettid();
    r->result = read(r->fd, r->buffer, r->len);
    r->error = errno;
    return NULL;
}

/* Until the thread sleeps in a read: its state, and the system call that it is in. */
static void wait_until_it_reads(const struct reader *r)
{
    char path[64], text[64];
    for (;;) {
        while (r->tid == 0)
            usleep(1000);
        snprintf(path, sizeof path, "/proc/self/task/%d/syscall", r->tid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        CHECK(n > 0);
        text[n] = '\0';
        if (strncmp(text, "0 ", 2) == 0)
            return;
        usleep(1000);
    }
}

static void start(struct reader *r, pthread_t *thread)
{
    CHECK(pthread_create(thread, NULL, read_some, r) == 0);
    wait_until_it_reads(r);
}

/* The pages go away while the call sleeps, and bytes that it does not write are another rank's. */
static void blocked_read_loses_its_pages(struct arena *a)
{
    int fds[2];
    pthread_t thread;
    struct reader r = {.buffer = room(a, 9000), .len = 9000};
    CHECK(pipe(fds) == 0);
    r.fd = fds[0];
    memset(r.buffer, '-', 9000);
    start(&r, &thread);
    other_rank_takes(r.buffer, 9000);
    other_rank_writes(r.buffer + 100, 'x');
    other_rank_writes(r.buffer + 8999, 'y');
    CHECK(write(fds[1], "0123456789", 10) == 10);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(r.result == 10);
    CHECK(memcmp(r.buffer, "0123456789-", 11) == 0);
    CHECK(r.buffer[99] == '-' && r.buffer[100] == 'x' && r.buffer[101] == '-');
    CHECK(r.buffer[8999] == 'y');
    close(fds[0]);
    close(fds[1]);
}

/* As often as there are private blocks, and many times more. */
static void blocked_read_can_be_cancelled(struct arena *a)
{
    int fds[2];
    struct rlimit before, limit;
    CHECK(pipe(fds) == 0);
    CHECK(getrlimit(RLIMIT_DATA, &before) == 0);
    struct reader r = {.fd = fds[0], .buffer = room(a, 9000), .len = 9000};
    pthread_t thread;
    void *result;
    for (int i = 0; i < 40; i++) {
        r.tid = 0;
        start(&r, &thread);
        CHECK(pthread_cancel(thread) == 0);
        CHECK(pthread_join(thread, &result) == 0);
        CHECK(result == PTHREAD_CANCELED);
        if (i == 9) { /* from here on every block that is lost is missed */
            char line[200];
            long kib = 0;
            FILE *f = fopen("/proc/self/status", "r");
            while (fgets(line, sizeof line, f))
                (void)sscanf(line, "VmData: %ld", &kib);
            fclose(f);
            limit = before;
            limit.rlim_cur = ((rlim_t)kib << 10) + (20 << 20);
            CHECK(setrlimit(RLIMIT_DATA, &limit) == 0);
        }
    }
    CHECK(setrlimit(RLIMIT_DATA, &before) == 0);
    close(fds[0]);
    close(fds[1]);
}

static void bad_pointers_are_efault(struct arena *a)
{
    char *end = (char *)dsm_base() + dsm_region_bytes(), *in = room(a, 16);
    char *volatile bad = (char *)16; /* volatile, or the compiler sees it */
    volatile size_t too_much = SIZE_MAX;
    int fds[2], pair[2];
    struct iovec v[2] = {{in, 3}, {end, 100}};
    CHECK(pipe(fds) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    memcpy(in, "abc", 3);
    memcpy(end - 4, "last", 4);
    other_rank_takes(end - 4, 4);
    /* Beyond the region: what a kernel without us says of a buffer that ends in nothing. */
    CHECK(write(pair[0], end - 4, 8) == -1 && errno == EFAULT);
    CHECK(writev(pair[0], v, 2) == -1 && errno == EFAULT);
    CHECK(writev(pair[0], (struct iovec *)bad, 2) == -1 && errno == EFAULT);
    CHECK(writev(pair[0], (struct iovec *)(end + PAGE), 2) == -1 && errno == EFAULT);
    CHECK(write(pair[0], end, 8) == -1 && errno == EFAULT);
    CHECK(send(pair[0], "z", 1, 0) == 1);
    CHECK(read(pair[1], bad, 1) == -1 && errno == EFAULT);
    other_rank_takes(end - 4, 4);
    CHECK(write(fds[1], end - 4, 4) == 4);
    other_rank_takes(end - 4, 4);
    CHECK(read(fds[0], end - 4, 8) == 4); /* more room than there is, and no use of it */
    CHECK(memcmp(end - 4, "last", 4) == 0);
    CHECK(write(fds[1], in, too_much) == -1 && errno == EFAULT);
    CHECK(write(-1, in, 3) == -1 && errno == EBADF);
    for (int i = 0; i < 2; i++) {
        close(fds[i]);
        close(pair[i]);
    }
}

/* Private memory of a few pieces is enough for a file of any size. */
static void large_files_need_little_memory(struct arena *a)
{
    const size_t len = (size_t)48 << 20;
    struct rlimit before, limit;
    char line[200];
    long kib = 0;
    char *big = dsm_malloc(len), *again = dsm_malloc(len);
    (void)a;
    CHECK(big && again);
    int fd = pattern_file("data", len);
    FILE *f = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, f))
        (void)sscanf(line, "VmData: %ld", &kib);
    fclose(f);
    CHECK(getrlimit(RLIMIT_DATA, &before) == 0);
    limit = before;
    limit.rlim_cur = ((rlim_t)kib << 10) + (24 << 20);
    CHECK(setrlimit(RLIMIT_DATA, &limit) == 0);
    CHECK(read(fd, big, len) == (ssize_t)len);
    CHECK(read(fd, big, len) == 0);
    for (size_t i = 0; i < len; i += 4093)
        CHECK(big[i] == (char)(i * 7 + (i >> 12)));
    int copy = open("copy", O_RDWR | O_CREAT, 0600);
    struct iovec v[2] = {{big, len / 3}, {big + len / 3, len - len / 3}};
    CHECK(pwritev(copy, v, 2, 5) == (ssize_t)len);
    CHECK(pread(copy, again, len, 5) == (ssize_t)len);
    CHECK(memcmp(big, again, len) == 0);
    f = fopen("data", "r+");
    memset(again, 0, len);
    CHECK(fread(again, 1, len, f) == len);
    CHECK(memcmp(big, again, len) == 0);
    rewind(f);
    CHECK(fwrite(again, len, 1, f) == 1);
    fclose(f);
    CHECK(setrlimit(RLIMIT_DATA, &before) == 0);
    close(fd);
    close(copy);
    CHECK(dsm_free(big) == 0 && dsm_free(again) == 0);
}

/* A line of dsm_malloc's grows by dsm_realloc; memory that is no such block stays as it is. */
static void shared_lines_grow(struct arena *a)
{
    size_t size = 16, fixed_size = 16;
    char *line = dsm_malloc(size), *fixed = room(a, fixed_size), *before = fixed;
    CHECK(line);
    FILE *f = fopen("data", "w+");
    for (int i = 0; i < 70000; i++)
        CHECK(putc(i == 69999 ? '\n' : 'a' + i % 23, f) != EOF);
    rewind(f);
    memset(fixed, '-', fixed_size);
    CHECK(getline(&line, &size, f) == 70000);
    CHECK(size >= 70001 && line[69999] == '\n' && line[70000] == '\0');
    for (int i = 0; i < 69999; i++)
        CHECK(line[i] == 'a' + i % 23);
    CHECK(dsm_free(line) == 0);
    rewind(f);
    errno = 0;
    CHECK(getline(&fixed, &fixed_size, f) == -1 && errno == EINVAL);
    CHECK(fixed == before && fixed_size == 16 && fixed[0] == '-' && fixed[15] == '-');
    /* Of no room: a new, private one. */
    fixed_size = 0;
    rewind(f);
    CHECK(getline(&fixed, &fixed_size, f) == 70000 && fixed != before);
    free(fixed);
    fclose(f);
}

/* Two writers of two buffers each: the pairs stay together. */
static void *write_pairs(void *argument)
{
    struct iovec *v = argument;
    for (int i = 0; i < 200; i++)
        CHECK(writev((int)v[2].iov_len, v, 2) == 200);
    return NULL;
}

static void writev_is_one_write(struct arena *a)
{
    int fds[2];
    pthread_t threads[2];
    struct iovec v[2][3];
    char record[200];
    CHECK(pipe(fds) == 0);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++)
            v[i][k] = (struct iovec){memset(room(a, 100), 'a' + i, 100), 100};
        v[i][2] = (struct iovec){NULL, (size_t)fds[1]};
    }
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, write_pairs, v[i]) == 0);
    for (int i = 0; i < 400; i++) {
        CHECK(read(fds[0], record, sizeof record) == sizeof record);
        for (int k = 1; k < 200; k++)
            CHECK(record[k] == record[0]);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        close(fds[i]);
    }
}

static void datagram_is_one_datagram(struct arena *a)
{
    int pair[2];
    char *out = room(a, 20000), *in = room(a, 20000);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    for (int i = 0; i < 20000; i++)
        out[i] = (char)(i * 11);
    struct iovec v[2] = {{out, 7000}, {out + 7000, 13000}};
    for (int round = 0; round < 2; round++) {
        other_rank_takes(out, 20000);
        other_rank_takes(in, 20000);
        CHECK((round ? writev(pair[0], v, 2) : write(pair[0], out, 20000)) == 20000);
        CHECK(read(pair[1], in, 20000) == 20000);
        CHECK(memcmp(in, out, 20000) == 0);
    }
    close(pair[0]);
    close(pair[1]);
}

static void zero_copy_is_refused(struct arena *a)
{
    int pair[2];
    char *buffer = room(a, 100);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK(send(pair[0], buffer, 100, MSG_ZEROCOPY) == -1 && errno == EOPNOTSUPP);
    CHECK(send(pair[0], "private", 7, MSG_ZEROCOPY) == 7);
    close(pair[0]);
    close(pair[1]);
}

const struct by_hand by_hand[] = {
    {"blocked_read_loses_its_pages", blocked_read_loses_its_pages},
    {"blocked_read_can_be_cancelled", blocked_read_can_be_cancelled},
    {"bad_pointers_are_efault", bad_pointers_are_efault},
    {"large_files_need_little_memory", large_files_need_little_memory},
    {"shared_lines_grow", shared_lines_grow},
    {"writev_is_one_write", writev_is_one_write},
    {"datagram_is_one_datagram", datagram_is_one_datagram},
    {"zero_copy_is_refused", zero_copy_is_refused},
    {"refused", every_refused_call_fails},
    {NULL, NULL},
};
