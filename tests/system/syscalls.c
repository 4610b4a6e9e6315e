/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * syscalls.c - the matrix of syscalls.h, on rank 0; rank 1 puts the pages into their states.
 *
 * Usage: dsmrun -n 2 syscalls [NAME...] ; syscalls --list
 */
#define _GNU_SOURCE
#include "syscalls.h"
#include <dsm/dsm.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARENA_PAGES 64

enum command { QUIT, TAKE_PAGES, READ_PAGES, KEEP_TAKING, WRITE_BYTE };

/* What rank 0 asks of rank 1. */
struct control {
    enum command command;
    char *addr;
    size_t n_pages, step_pages;
    char value;
    volatile bool stop;
};

static struct control *control;
static struct test_case *cases;
static struct arena private_arena, shared_arena;
static const char *doing = "starting";
static bool is_taking;

static const char *const state_names[] = {"all absent", "start absent", "end absent", "read-only",
                                          "lost meanwhile"};

void add_case(struct test_case *c)
{
    struct test_case **at = &cases;
    while (*at && strcmp((*at)->name, c->name) < 0)
        at = &(*at)->next;
    c->next = *at;
    *at = c;
}

void fail_at(const char *file, int line, const char *what)
{
    char text[600];
    int n = snprintf(text, sizeof text, "rank %u, %s: %s:%d: %s, errno %d\n", dsm_rank(), doing,
                     file, line, what, errno);
    if (write(STDERR_FILENO, text, (size_t)n) != n)
        _exit(2);
    dsm_abort(1);
}

/* ---- rank 1 ---- */

static void for_pages(enum dsm_access access)
{
    if (control->step_pages == 1) /* all at once */
        CHECK(dsm_touch(control->addr, control->n_pages * PAGE, access) == 0);
    for (size_t i = 0; control->step_pages > 1 && i < control->n_pages; i += control->step_pages)
        CHECK(dsm_touch(control->addr + i * PAGE, 1, access) == 0);
}

static void serve(void)
{
    for (;;) {
        CHECK(dsm_barrier() == 0);
        switch (control->command) {
        case QUIT:
            return;
        case TAKE_PAGES:
            for_pages(DSM_WRITE);
            break;
        case READ_PAGES:
            for_pages(DSM_READ);
            break;
        case KEEP_TAKING:
            while (!control->stop) {
                for_pages(DSM_WRITE);
                sched_yield();
            }
            break;
        case WRITE_BYTE:
            *control->addr = control->value;
            break;
        }
        CHECK(dsm_barrier() == 0);
    }
}

/* ---- rank 0 asks ---- */

static void ask(enum command command, void *addr, size_t n_pages, size_t step_pages)
{
    control->command = command;
    control->addr = addr;
    control->n_pages = n_pages;
    control->step_pages = step_pages;
    control->stop = false;
    CHECK(dsm_barrier() == 0);
}

static void ask_and_wait(enum command command, void *addr, size_t n_pages, size_t step_pages)
{
    ask(command, addr, n_pages, step_pages);
    CHECK(dsm_barrier() == 0);
}

void other_rank_writes(char *p, char value)
{
    control->value = value;
    ask_and_wait(WRITE_BYTE, p, 1, 1);
}

void other_rank_takes(void *p, size_t len)
{
    char *first = (char *)((uintptr_t)p & ~(PAGE - 1));
    ask_and_wait(TAKE_PAGES, first, ((size_t)((char *)p - first) + len + PAGE - 1) / PAGE, 1);
}

/* ---- arenas ---- */

void *room(struct arena *a, size_t len)
{
    size_t half = len < 16 ? 8 : len / 2 < 2048 ? (len / 2 + 7) & ~(size_t)7 : 2048;
    char *first = a->base + a->used_pages * PAGE;
    size_t n_pages = ((PAGE - half + len + PAGE - 1) / PAGE + 1) & ~(size_t)1; /* an even number */
    a->used_pages += n_pages;
    CHECK(a->used_pages <= a->n_pages);
    if (a->is_shared)
        CHECK(dsm_touch(first, n_pages * PAGE, DSM_WRITE) == 0);
    for (size_t i = 0; i < n_pages * PAGE; i++)
        first[i] = (char)(i * 31 + (i >> 8));
    return first + PAGE - half;
}

void *put(struct arena *a, const void *bytes, size_t len)
{
    return memcpy(room(a, len), bytes, len);
}

char *put_string(struct arena *a, const char *s)
{
    return put(a, s, strlen(s) + 1);
}

void settle(struct arena *a)
{
    if (!a->is_shared || !is_taking)
        return;
    control->stop = true;
    CHECK(dsm_barrier() == 0);
    is_taking = false;
}

void arrange(struct arena *a)
{
    if (!a->is_shared)
        return;
    settle(a);
    switch (a->state) {
    case ALL_ABSENT:
        ask_and_wait(TAKE_PAGES, a->base, a->used_pages, 1);
        break;
    case START_ABSENT:
        CHECK(dsm_touch(a->base, a->used_pages * PAGE, DSM_WRITE) == 0);
        ask_and_wait(TAKE_PAGES, a->base, a->used_pages, 2);
        break;
    case END_ABSENT:
        CHECK(dsm_touch(a->base, a->used_pages * PAGE, DSM_WRITE) == 0);
        ask_and_wait(TAKE_PAGES, a->base + PAGE, a->used_pages - 1, 2);
        break;
    case READ_ONLY:
        CHECK(dsm_touch(a->base, a->used_pages * PAGE, DSM_WRITE) == 0);
        ask_and_wait(READ_PAGES, a->base, a->used_pages, 1);
        break;
    case LOST:
        ask(KEEP_TAKING, a->base, a->used_pages, 1);
        is_taking = true;
        break;
    case N_STATES:
        abort();
    }
}

long record(struct arena *a, long result)
{
    int error = errno;
    settle(a);
    CHECK(a->n_results < MAX_RESULTS);
    a->results[a->n_results] = result;
    a->errors[a->n_results++] = result < 0 ? error : 0;
    errno = error;
    return result;
}

void *pointer(struct arena *a, void *result)
{
    record(a, result ? 0 : -1);
    return result;
}

void forget(const struct arena *a, void *p, size_t len)
{
    (void)a;
    memset(p, 0, len);
}

int pattern_file(const char *name, size_t len)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    unsigned char block[4096];
    CHECK(fd >= 0);
    for (size_t at = 0; at < len;) {
        size_t n = len - at < sizeof block ? len - at : sizeof block;
        for (size_t i = 0; i < n; i++)
            block[i] = (unsigned char)((at + i) * 7 + ((at + i) >> 12));
        CHECK(write(fd, block, n) == (ssize_t)n);
        at += n;
    }
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

/* ---- the matrix ---- */

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where)
{
    (void)stat, (void)type, (void)where;
    return remove(path);
}

static void remove_directory(const char *path)
{
    CHECK(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

static void run(const struct test_case *c, struct arena *a, const char *directory)
{
    a->used_pages = a->n_results = 0;
    snprintf(a->directory, sizeof a->directory, "%s", directory);
    CHECK(mkdir(directory, 0700) == 0 && chdir(directory) == 0);
    umask(022);
    c->run(a);
    settle(a);
    CHECK(chdir("/") == 0);
    remove_directory(directory);
}

static bool compare(const struct arena *want, const struct arena *got)
{
    bool same = want->n_results == got->n_results && want->used_pages == got->used_pages;
    if (!same)
        fprintf(stderr, "%s: %u calls, on private memory %u\n", doing, got->n_results,
                want->n_results);
    for (unsigned i = 0; same && i < want->n_results; i++) {
        if (want->results[i] == got->results[i] && want->errors[i] == got->errors[i])
            continue;
        fprintf(stderr, "%s: call %u: result %ld, errno %d; on private memory %ld, errno %d\n",
                doing, i, got->results[i], got->errors[i], want->results[i], want->errors[i]);
        same = false;
    }
    for (size_t i = 0; same && i < want->used_pages * PAGE; i++) {
        if (want->base[i] == got->base[i])
            continue;
        fprintf(stderr, "%s: page %zu, byte %zu is 0x%02x; on private memory 0x%02x\n", doing,
                i / PAGE, i % PAGE, (unsigned char)got->base[i], (unsigned char)want->base[i]);
        same = false;
    }
    return same;
}

static unsigned n_runs, n_failed;

static void run_case(const struct test_case *c, const char *directory)
{
    static char what[100];
    doing = what;
    snprintf(what, sizeof what, "%s on private memory", c->name);
    run(c, &private_arena, directory);
    for (int state = 0; state < N_STATES; state++) {
        snprintf(what, sizeof what, "%s, %s", c->name, state_names[state]);
        shared_arena.state = (enum state)state;
        run(c, &shared_arena, directory);
        n_runs++;
        n_failed += !compare(&private_arena, &shared_arena);
    }
}

static void run_by_hand(const struct by_hand *t, const char *directory)
{
    doing = t->name;
    struct test_case c = {t->name, t->run, NULL};
    shared_arena.state = ALL_ABSENT;
    run(&c, &shared_arena, directory);
    n_runs++;
}

static bool is_wanted(const char *name, int n, char **names)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return n == 0;
}

static void run_all(int n, char **names)
{
    char directory[sizeof shared_arena.directory];
    snprintf(directory, sizeof directory, "/tmp/dsm-syscalls.%d", (int)getpid());
    for (const struct test_case *c = cases; c; c = c->next) {
        if (is_wanted(c->name, n, names))
            run_case(c, directory);
    }
    for (const struct by_hand *t = by_hand; t->name; t++) {
        if (is_wanted(t->name, n, names))
            run_by_hand(t, directory);
    }
    printf("%u runs, %u failed\n", n_runs, n_failed);
    if (n_runs == 0)
        fail_at(__FILE__, __LINE__, "no such case");
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (const struct test_case *c = cases; c; c = c->next)
            puts(c->name);
        for (const char *const *name = refused_names; *name; name++)
            puts(*name);
        return 0;
    }
    if (dsm_init(NULL) != 0)
        return 1;
    void *addr;
    CHECK(dsm_size() == 2);
    CHECK(dsm_alloc(sizeof *control, NULL, &addr) == 0);
    control = addr;
    CHECK(dsm_alloc(ARENA_PAGES * PAGE, NULL, &addr) == 0);
    shared_arena = (struct arena){.base = addr, .n_pages = ARENA_PAGES, .is_shared = true};
    private_arena = (struct arena){.n_pages = ARENA_PAGES};
    private_arena.base =
        mmap(NULL, ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(private_arena.base != MAP_FAILED);
    if (dsm_rank() == 1) {
        serve();
    } else {
        run_all(argc - 1, argv + 1);
        control->command = QUIT;
        CHECK(dsm_barrier() == 0);
    }
    CHECK(dsm_finalize() == 0);
    return n_failed != 0;
}
