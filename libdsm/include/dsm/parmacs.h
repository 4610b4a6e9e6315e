/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * parmacs.h - what the macros of share/dsm/parmacs.m4 expand to. Programs do not include it
 * themselves: MAIN_ENV and EXTERN_ENV do.
 *
 * Rank 0 runs main(). The other ranks wait until CREATE hands them a function, run it in a thread,
 * and serve pages until rank 0 ends. From MAIN_INITENV on the program's global variables are shared
 * between all ranks. See dsmcc(1).
 *
 * Synchronisation objects are known by their address, which lies in a global variable or in memory
 * from G_MALLOC; nothing is stored there. A mistake (a lock released that is not held, an address
 * that is not shared, a call before MAIN_INITENV) prints one line and ends the job with status 1.
 */
#ifndef DSM_PARMACS_H
#define DSM_PARMACS_H

/* Not dsm.h: old programs have a type "bool" of their own. */
#include <assert.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L && !defined(__STDC_NO_ATOMICS__)
#include <stdatomic.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifndef DSM_API
#if defined(__GNUC__)
#define DSM_API __attribute__((visibility("default")))
#else
#define DSM_API
#endif
#endif

#ifndef PAGE_SIZE
#define PAGE_SIZE 4096
#endif

/* ---- the program --------------------------------------------------------------------------- */

/* Defined by MAIN_ENV: by it the start object of dsmcc knows a program of this kind. */
extern const char dsm_parmacs_main_env;
/* Defined by dsmcc --private-globals. */
extern const char dsm_parmacs_private_globals;

enum {
    DSM_PROGRAM_PARMACS = 1 << 0, /* MAIN_ENV is in it */
    DSM_PROGRAM_PRIVATE = 1 << 1, /* built with --private-globals */
    DSM_PROGRAM_ASAN = 1 << 2,    /* instrumented, with state among the program's variables */
    DSM_PROGRAM_TSAN = 1 << 3,
    DSM_PROGRAM_MSAN = 1 << 4,
    DSM_PROGRAM_GCOV = 1 << 5,
    DSM_PROGRAM_PROFILE = 1 << 6,
};

typedef int dsm_main_function(int argc, char **argv, char **envp);

/* Called by the start object in the place of main; flags: DSM_PROGRAM_. Returns main's status;
 * other ranks than 0 end inside, when the program is of this kind. */
DSM_API int dsm_program_run(unsigned flags, int argc, char **argv, char **envp,
                            dsm_main_function *program);

/* malloc_usable_size for shared memory, for the start object of dsmcc --shared-malloc; 0 for what
 * is no live block. */
DSM_API size_t dsm_program_usable_bytes(void *ptr);

DSM_API void dsm_parmacs_initenv(void);
DSM_API void dsm_parmacs_end(void) __attribute__((noreturn)); /* exit(0) */
/* One worker on the next rank. */
DSM_API void dsm_parmacs_create(void (*function)(void));
/* n - 1 workers on ranks 1, 2, ... and round again, and then the function in the caller. */
DSM_API void dsm_parmacs_create_team(void (*function)(void), long n);
/* Until n workers have ended that were not waited for before, or all; after create_team all. */
DSM_API void dsm_parmacs_wait_for_end(long n);
DSM_API long dsm_parmacs_pid(void); /* 0, 1, 2, ... in the order of the first calls of this round */
DSM_API long dsm_parmacs_home(void);           /* the caller's rank */
DSM_API unsigned long dsm_parmacs_clock(void); /* microseconds since 1970 */

/* ---- memory -------------------------------------------------------------------------------- */

DSM_API void *dsm_parmacs_malloc(size_t size);
DSM_API void dsm_parmacs_free(void *ptr);

/* ---- synchronisation ----------------------------------------------------------------------- */

DSM_API void dsm_parmacs_lock(const void *lock);
DSM_API void dsm_parmacs_unlock(const void *lock);
DSM_API void dsm_parmacs_barrier(const void *barrier, long n); /* n workers, on any ranks */
/* A count of events: set adds one, wait takes one and waits for it where there is none. */
DSM_API void dsm_parmacs_pause_init(const void *pause);
DSM_API void dsm_parmacs_pause_set(const void *pause);
DSM_API void dsm_parmacs_pause_wait(const void *pause);
DSM_API void dsm_parmacs_condvar_wait(const void *condvar, const void *lock);
DSM_API void dsm_parmacs_condvar_signal(const void *condvar);
DSM_API void dsm_parmacs_condvar_broadcast(const void *condvar);
/*
 * Subscripts 0..max dealt among n workers; -1 when there are none left, as soon as all n have come
 * for one; then it begins again.
 */
DSM_API long dsm_parmacs_getsub(const void *subscript, long max, long n);
/* A barrier or a subscript as at its first use. */
DSM_API void dsm_parmacs_object_init(const void *object);

#ifdef __cplusplus
}
#endif

#endif
