/* SPDX-License-Identifier: BSD-3-Clause */
/* macros.c - memory and synchronisation of PARMACS programs: doors to dsm.h that end the job with
 * one line where the macro's user could not look at an error. */
#define _GNU_SOURCE
#include "parmacs/program.h"
#include "runtime/api.h"
#include "runtime/heap.h"
#include "runtime/thread.h"
#include <dsm/dsm.h>
#include <dsm/parmacs.h>
#include <time.h>

/* Waits are the macro's, where the program has it, and not those of the calls below: until check().
 */
#define NOTE_MACRO()                                                                               \
    do {                                                                                           \
        DSM_NOTE_CALLER();                                                                         \
        dsm_thread_self.is_in_macro = true;                                                        \
    } while (0)

static void check(const char *macro, const void *addr, int error)
{
    dsm_thread_self.is_in_macro = false;
    unsigned long at = (unsigned long)(uintptr_t)addr;
    switch (error) {
    case 0:
        return;
    case DSM_E_RANGE:
        dsm_program_fail("%s: 0x%lx is not shared: it takes a global variable or memory from "
                         "G_MALLOC (with private globals, the latter)",
                         macro, at);
    case DSM_E_DEADLOCK:
        dsm_program_fail("%s: this worker holds the lock 0x%lx already", macro, at);
    case DSM_E_ABANDONED:
        dsm_program_fail("%s: the worker that held the lock 0x%lx has ended without UNLOCK", macro,
                         at);
    case DSM_E_KIND:
        dsm_program_fail("%s: at 0x%lx is another kind of object", macro, at);
    case DSM_E_MISMATCH:
        dsm_program_fail("%s: workers came to 0x%lx with different counts", macro, at);
    case DSM_E_NOTHELD:
        dsm_program_fail("%s: this worker does not hold the lock 0x%lx", macro, at);
    default:
        dsm_program_fail("%s(0x%lx): %s", macro, at, dsm_strerror(error));
    }
}

void *dsm_parmacs_malloc(size_t size)
{
    dsm_program_enter_early("G_MALLOC");
    return dsm_malloc(size);
}

void dsm_parmacs_free(void *ptr)
{
    dsm_program_enter_early("G_FREE");
    if (dsm_free(ptr) < 0)
        dsm_program_fail("G_FREE: 0x%lx is not memory from G_MALLOC",
                         (unsigned long)(uintptr_t)ptr);
}

size_t dsm_program_usable_bytes(void *ptr)
{
    uint64_t bytes = 0;
    if (dsm_api_refusal() || dsm_heap_size(dsm_api_driver(), ptr, &bytes))
        return 0;
    return bytes;
}

void dsm_parmacs_lock(const void *lock)
{
    (void)dsm_program_enter("LOCK");
    NOTE_MACRO();
    check("LOCK", lock, dsm_lock(lock));
}

void dsm_parmacs_unlock(const void *lock)
{
    (void)dsm_program_enter("UNLOCK");
    check("UNLOCK", lock, dsm_unlock(lock));
}

static uint64_t count_of(const char *macro, long n)
{
    if (n < 1)
        dsm_program_fail("%s for %ld workers: at least 1 is needed", macro, n);
    return (uint64_t)n;
}

void dsm_parmacs_barrier(const void *barrier, long n)
{
    (void)dsm_program_enter("BARRIER");
    NOTE_MACRO();
    check("BARRIER", barrier, dsm_barrier_threads(barrier, count_of("BARRIER", n), DSM_FOREVER));
}

void dsm_parmacs_object_init(const void *object)
{
    (void)dsm_program_enter("BARINIT or GSINIT");
    NOTE_MACRO();
    check("BARINIT or GSINIT", object, dsm_sync_destroy(object));
}

void dsm_parmacs_pause_init(const void *pause)
{
    (void)dsm_program_enter("PAUSEINIT");
    NOTE_MACRO();
    check("PAUSEINIT", pause, dsm_flag_clear(pause));
}

void dsm_parmacs_pause_set(const void *pause)
{
    (void)dsm_program_enter("SETPAUSE");
    NOTE_MACRO();
    check("SETPAUSE", pause, dsm_flag_add(pause, 1));
}

void dsm_parmacs_pause_wait(const void *pause)
{
    (void)dsm_program_enter("WAITPAUSE");
    NOTE_MACRO();
    check("WAITPAUSE", pause, dsm_flag_take(pause, 1, DSM_FOREVER));
}

void dsm_parmacs_condvar_wait(const void *condvar, const void *lock)
{
    (void)dsm_program_enter("CONDVARWAIT");
    NOTE_MACRO();
    check("CONDVARWAIT", condvar, dsm_cond_wait(condvar, lock, DSM_FOREVER));
}

void dsm_parmacs_condvar_signal(const void *condvar)
{
    (void)dsm_program_enter("CONDVARSIGNAL");
    NOTE_MACRO();
    check("CONDVARSIGNAL", condvar, dsm_cond_signal(condvar));
}

void dsm_parmacs_condvar_broadcast(const void *condvar)
{
    (void)dsm_program_enter("CONDVARBCAST");
    NOTE_MACRO();
    check("CONDVARBCAST", condvar, dsm_cond_broadcast(condvar));
}

long dsm_parmacs_getsub(const void *subscript, long max, long n)
{
    int64_t index = -1;
    uint64_t n_workers = count_of("GETSUB", n);
    (void)dsm_program_enter("GETSUB");
    NOTE_MACRO();
    if (max < 0)
        dsm_program_fail("GETSUB up to %ld: the last subscript is at least 0", max);
    check("GETSUB", subscript,
          dsm_ticket_next(subscript, (uint64_t)max + 1, n_workers, DSM_FOREVER, &index));
    return (long)index;
}

unsigned long dsm_parmacs_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (unsigned long)now.tv_sec * 1000000ul + (unsigned long)now.tv_nsec / 1000ul;
}

long dsm_parmacs_home(void)
{
    (void)dsm_program_enter("GET_HOME");
    return (long)dsm_rank();
}

static _Thread_local long own_pid = -1;

long dsm_parmacs_pid(void)
{
    (void)dsm_program_enter("GET_PID");
    if (own_pid < 0)
        own_pid = (long)dsm_fetch_add_u32(dsm_program_next_pid(), 1);
    return own_pid;
}

void dsm_program_forget_pid(void)
{
    own_pid = -1;
}
