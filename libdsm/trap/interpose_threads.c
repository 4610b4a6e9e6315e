/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * interpose_threads.c - pthread_create, posix_spawn and sigaltstack in front of the C library.
 *
 * The kernel cannot put the frame of a signal onto a page that is not there, so no stack may lie in
 * the region. And the C library writes the results of posix_spawn, and the kernel reads its
 * strings, while every signal is blocked, so both go through private memory.
 */
#define _GNU_SOURCE
#include "base/log.h"
#include "trap/next.h"
#include "trap/signals.h"
#include "trap/strings.h"
#include "trap/views.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <pthread.h>
#include <spawn.h>
#include <string.h>

const bool dsm_interposes_threads = true;

static bool is_shared(const void *p, size_t len)
{
    return dsm_view_overlaps((uintptr_t)p, len);
}

static void say_no_next(const char *name)
{
    dsm_log(DSM_LOG_ERROR,
            "%s: the C library's own is not to be found; a program linked with -static needs "
            "-Wl,-u,__pthread_create,-u,__posix_spawn,-u,__posix_spawnp",
            name);
}

/* ---- stacks ---- */

typedef int create_function(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
extern create_function __pthread_create __attribute__((weak));

DSM_API int pthread_create(pthread_t *restrict thread_out, const pthread_attr_t *restrict attr,
                           void *(*start)(void *), void *restrict argument)
{
    static void *_Atomic cache;
    create_function *next = dsm_next(&cache, "pthread_create", __pthread_create);
    if (!next) {
        say_no_next("pthread_create");
        return EAGAIN;
    }
    void *stack;
    size_t stack_bytes;
    if (attr && pthread_attr_getstack(attr, &stack, &stack_bytes) == 0 &&
        is_shared(stack, stack_bytes)) {
        dsm_log(DSM_LOG_ERROR,
                "pthread_create: the stack at 0x%lx, %zu bytes, lies in the shared region, where "
                "no stack can be",
                (unsigned long)stack, stack_bytes);
        return EINVAL;
    }
    if (!is_shared(thread_out, sizeof *thread_out))
        return next(thread_out, attr, start, argument);
    pthread_t thread;
    int error = next(&thread, attr, start, argument);
    if (error == 0)
        *thread_out = thread;
    return error;
}

DSM_API int sigaltstack(const stack_t *restrict stack, stack_t *restrict old_out)
{
    stack_t want, old;
    if (stack) {
        want = *stack;
        if (!(want.ss_flags & SS_DISABLE) && is_shared(want.ss_sp, want.ss_size)) {
            dsm_log(DSM_LOG_ERROR,
                    "sigaltstack: the stack at 0x%lx, %zu bytes, lies in the shared region, where "
                    "no stack can be",
                    (unsigned long)want.ss_sp, want.ss_size);
            errno = EINVAL;
            return -1;
        }
    }
    long result =
        dsm_raw_call(SYS_sigaltstack, (long)(stack ? &want : NULL), (long)&old, 0, 0, 0, 0);
    if (result != 0) {
        errno = (int)-result;
        return -1;
    }
    if (old_out)
        *old_out = old;
    return 0;
}

DSM_API int pthread_attr_setsigmask_np(pthread_attr_t *attr, const sigset_t *mask)
{
    static void *_Atomic cache;
    int (*next)(pthread_attr_t *, const sigset_t *) =
        dsm_next(&cache, "pthread_attr_setsigmask_np", NULL);
    if (!next) {
        say_no_next("pthread_attr_setsigmask_np");
        return ENOSYS;
    }
    if (!mask)
        return next(attr, NULL);
    sigset_t open = *mask;
    sigdelset(&open, SIGBUS);
    sigdelset(&open, SIGSEGV);
    return next(attr, &open);
}

/* ---- posix_spawn ---- */

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *,
                           const posix_spawnattr_t *, char *const *, char *const *);
extern spawn_function __posix_spawn __attribute__((weak));
extern spawn_function __posix_spawnp __attribute__((weak));

static int spawn(spawn_function *next, pid_t *pid_out, const char *path,
                 const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
                 char *const *argv, char *const *envp)
{
    struct dsm_strings paths, arguments, environment;
    char *const path_vector[] = {(char *)path, NULL};
    pid_t pid = 0;
    int error = dsm_strings_open(&paths, path_vector);
    if (error != 0)
        return error;
    error = dsm_strings_open(&arguments, argv);
    if (error != 0)
        goto close_paths;
    error = dsm_strings_open(&environment, envp);
    if (error != 0)
        goto close_arguments;
    posix_spawn_file_actions_t own_actions;
    posix_spawnattr_t own_attr;
    if (actions && is_shared(actions, sizeof *actions)) {
        own_actions = *actions;
        actions = &own_actions;
    }
    if (attr && is_shared(attr, sizeof *attr)) {
        own_attr = *attr;
        attr = &own_attr;
    }
    error = next(&pid, paths.vector[0], actions, attr, arguments.vector, environment.vector);
    if (error == 0 && pid_out)
        *pid_out = pid;
    dsm_strings_close(&environment);
close_arguments:
    dsm_strings_close(&arguments);
close_paths:
    dsm_strings_close(&paths);
    return error;
}

DSM_API int posix_spawn(pid_t *restrict pid_out, const char *restrict path,
                        const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *restrict attr, char *const argv[restrict],
                        char *const envp[restrict])
{
    static void *_Atomic cache;
    spawn_function *next = dsm_next(&cache, "posix_spawn", __posix_spawn);
    if (!next) {
        say_no_next("posix_spawn");
        return ENOSYS;
    }
    return spawn(next, pid_out, path, actions, attr, argv, envp);
}

DSM_API int posix_spawnp(pid_t *pid_out, const char *file,
                         const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
                         char *const argv[], char *const envp[])
{
    static void *_Atomic cache;
    spawn_function *next = dsm_next(&cache, "posix_spawnp", __posix_spawnp);
    if (!next) {
        say_no_next("posix_spawnp");
        return ENOSYS;
    }
    return spawn(next, pid_out, file, actions, attr, argv, envp);
}
