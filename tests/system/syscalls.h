/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * syscalls.h - one matrix: every wrapped call, on private memory and on shared memory whose pages
 * are in every state, with the same outcome.
 *
 * A case puts its arguments into an arena, makes its calls through RESULT, and says nothing about
 * what should come out: it is run on a private arena and on shared ones, and results, errno and
 * every byte of the arenas must be the same.
 */
#ifndef TESTS_SYSTEM_SYSCALLS_H
#define TESTS_SYSTEM_SYSCALLS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE ((size_t)4096)

enum state {
    ALL_ABSENT,
    START_ABSENT, /* every item lies across a page boundary; the page where it starts is away */
    END_ABSENT,
    READ_ONLY,
    LOST, /* another rank keeps taking all pages while the call runs */
    N_STATES
};

#define MAX_RESULTS 16

struct arena {
    char *base;
    size_t n_pages, used_pages;
    bool is_shared;
    enum state state;
    unsigned n_results;
    long results[MAX_RESULTS];
    int errors[MAX_RESULTS];
    char directory[64]; /* a fresh one, for files; the working directory, too */
};

struct test_case {
    const char *name;
    void (*run)(struct arena *);
    struct test_case *next;
};

void add_case(struct test_case *c);

#define CASE(id)                                                                                   \
    static void id##_case(struct arena *a);                                                        \
    __attribute__((constructor)) static void id##_add(void)                                        \
    {                                                                                              \
        static struct test_case c = {#id, id##_case, NULL};                                        \
        add_case(&c);                                                                              \
    }                                                                                              \
    static void id##_case(struct arena *a)

/* Room in the arena, across a page boundary when it has 16 bytes or more. */
void *room(struct arena *a, size_t len);
/* The same with these bytes. */
void *put(struct arena *a, const void *bytes, size_t len);
char *put_string(struct arena *a, const char *s);

/* Pages into the state of this run; and out of it, so that the case may look at what came. */
void arrange(struct arena *a);
void settle(struct arena *a);
/* Notes a result, with errno when it is negative. */
long record(struct arena *a, long result);

#define RESULT(a, call) (arrange(a), errno = 0, record(a, (long)(call)))
/* For calls that return a pointer: 0 or -1 is noted. */
#define POINTER(a, call) (arrange(a), errno = 0, pointer(a, call))
void *pointer(struct arena *a, void *result);

/* What differs from run to run, after it was looked at: the bytes are not compared. */
void forget(const struct arena *a, void *p, size_t len);
/* The case itself is wrong, or something that it looked at. */
void fail_at(const char *file, int line, const char *what) __attribute__((noreturn));
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_at(__FILE__, __LINE__, #condition);                                               \
    } while (0)

/* A file of len bytes of a pattern in the case's directory; an open descriptor, at its start. */
int pattern_file(const char *name, size_t len);

/* The other rank's part of a test by hand: it writes value to the byte; returns when it is done. */
void other_rank_writes(char *p, char value);
/* All of these pages are written by the other rank, without changing a byte. */
void other_rank_takes(void *p, size_t len);
/* syscalls_refused.c */
extern const char *const refused_names[]; /* up to a NULL */
void every_refused_call_fails(struct arena *a);

/* Tests by hand, on a shared arena alone. */
extern const struct by_hand {
    const char *name;
    void (*run)(struct arena *);
} by_hand[];

#endif
