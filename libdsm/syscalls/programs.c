/* SPDX-License-Identifier: BSD-3-Clause */
/* programs.c - exec, system and popen. (posix_spawn: trap/interpose_threads.c.) */
#define _GNU_SOURCE
#include "syscalls/syscalls.h"
#include "trap/calls.h"
#include "trap/strings.h"
#include <alloca.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

const bool dsm_wraps_programs = true;

/* clang-format off */
NEXT(MINUS_ONE, int, execve, (const char *path, char *const *argv, char *const *envp))
NEXT(MINUS_ONE, int, execvpe, (const char *file, char *const *argv, char *const *envp))
NEXT(MINUS_ONE, int, fexecve, (int fd, char *const *argv, char *const *envp))
NEXT(MINUS_ONE, int, execveat,
     (int dir, const char *path, char *const *argv, char *const *envp, int flags))
NEXT(MINUS_ONE, int, system, (const char *command))
NEXT(NOTHING, FILE *, popen, (const char *command, const char *mode))
/* clang-format on */

/* What a new program gets. */
struct program {
    struct dsm_strings path, arguments, environment;
};

static void close_program(struct program *p)
{
    dsm_strings_close(&p->environment);
    dsm_strings_close(&p->arguments);
    dsm_strings_close(&p->path);
}

#define PROGRAM(name) struct program name __attribute__((cleanup(close_program)))

/* path_vector: the path and NULL. Returns 0 or ENOMEM. */
static int open_program(struct program *p, char *const *path_vector, char *const *argv,
                        char *const *envp)
{
    int error = dsm_strings_open(&p->path, path_vector);
    p->arguments.memory = p->environment.memory = (struct dsm_private){NULL, 0};
    if (error == 0)
        error = dsm_strings_open(&p->arguments, argv);
    if (error == 0)
        error = dsm_strings_open(&p->environment, envp);
    return error;
}

WRAPPER(int, execve, (const char *path, char *const *argv, char *const *envp))
{
    PROGRAM(p);
    int error = open_program(&p, (char *const[]){(char *)path, NULL}, argv, envp);
    if (error != 0)
        return FAIL_MINUS_ONE(error);
    return next_execve()(p.path.vector[0], p.arguments.vector, p.environment.vector);
}

WRAPPER(int, execvpe, (const char *file, char *const *argv, char *const *envp))
{
    PROGRAM(p);
    int error = open_program(&p, (char *const[]){(char *)file, NULL}, argv, envp);
    if (error != 0)
        return FAIL_MINUS_ONE(error);
    return next_execvpe()(p.path.vector[0], p.arguments.vector, p.environment.vector);
}

WRAPPER(int, execveat, (int dir, const char *path, char *const *argv, char *const *envp, int flags))
{
    PROGRAM(p);
    int error = open_program(&p, (char *const[]){(char *)path, NULL}, argv, envp);
    if (error != 0)
        return FAIL_MINUS_ONE(error);
    return next_execveat()(dir, p.path.vector[0], p.arguments.vector, p.environment.vector, flags);
}

WRAPPER(int, fexecve, (int fd, char *const *argv, char *const *envp))
{
    PROGRAM(p);
    int error = open_program(&p, NULL, argv, envp);
    if (error != 0)
        return FAIL_MINUS_ONE(error);
    return next_fexecve()(fd, p.arguments.vector, p.environment.vector);
}

WRAPPER(int, execv, (const char *path, char *const *argv))
{
    return wrap_execve(path, argv, environ);
}

WRAPPER(int, execvp, (const char *file, char *const *argv))
{
    return wrap_execvpe(file, argv, environ);
}

/* The arguments of execl and its like as a vector on the stack, as the C library makes it. */
#define LISTED(vector, first)                                                                      \
    va_list counted, listed;                                                                       \
    size_t n = 1;                                                                                  \
    va_start(counted, first);                                                                      \
    va_copy(listed, counted);                                                                      \
    for (const char *s = first; s; n++)                                                            \
        s = va_arg(counted, char *);                                                               \
    va_end(counted);                                                                               \
    char **vector = alloca((n + 1) * sizeof *vector);                                              \
    vector[0] = (char *)first;                                                                     \
    for (size_t i = 1; i < n; i++)                                                                 \
    vector[i] = va_arg(listed, char *)

WRAPPER(int, execl, (const char *path, const char *first, ...))
{
    LISTED(vector, first);
    va_end(listed);
    return wrap_execve(path, vector, environ);
}

WRAPPER(int, execlp, (const char *file, const char *first, ...))
{
    LISTED(vector, first);
    va_end(listed);
    return wrap_execvpe(file, vector, environ);
}

WRAPPER(int, execle, (const char *path, const char *first, ...))
{
    LISTED(vector, first);
    char *const *envp = va_arg(listed, char *const *);
    va_end(listed);
    return wrap_execve(path, vector, envp);
}

WRAPPER(int, system, (const char *command))
{
    PROGRAM(p);
    int error = open_program(&p, (char *const[]){(char *)command, NULL}, NULL, NULL);
    if (error != 0)
        return FAIL_MINUS_ONE(error);
    return next_system()(p.path.vector[0]);
}

WRAPPER(FILE *, popen, (const char *command, const char *mode))
{
    PROGRAM(p);
    int error = open_program(&p, (char *const[]){(char *)command, NULL}, NULL, NULL);
    if (error != 0)
        return FAIL_NOTHING(error);
    return next_popen()(p.path.vector[0], mode);
}
