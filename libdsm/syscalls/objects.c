/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * objects.c - the C library's mutexes, conditions, barriers and semaphores, refused in the region.
 *
 * They sleep by futex, which works within one process: between ranks nobody would be woken, and
 * between the threads of one rank the kernel would find no page. So every call on such an object
 * fails with EINVAL, and the first one of a name says what to use. Times in the region go through
 * private memory, because the kernel reads them.
 */
#define _GNU_SOURCE
#include "base/log.h"
#include "syscalls/syscalls.h"
#include "trap/calls.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <threads.h>
#include <time.h>

const bool dsm_wraps_objects = true;

static void say(atomic_bool *has_said, const char *name, const void *p, const char *instead)
{
    if (!atomic_exchange(has_said, true))
        dsm_log(DSM_LOG_ERROR,
                "%s: the object at 0x%lx lies in the shared region, where the C library's work in "
                "one rank at most: use %s",
                name, (unsigned long)(uintptr_t)p, instead);
}

#define IS_OK_THREADS(result) ((result) == thrd_success)
#define FAIL_THREADS(error)   thrd_error
#define DSM_MISSING_THREADS   DSM_MISSING_ERROR

/* An item of CALL: it never gets to the call. */
#define TOUCHES_OBJECT(p, name, instead) dsm_bounce_touches(p, sizeof *(p))
#define TAKE_OBJECT(p, name, instead)                                                              \
    do {                                                                                           \
        static atomic_bool has_said;                                                               \
        if (dsm_bounce_touches(p, sizeof *(p))) {                                                  \
            say(&has_said, name, p, instead);                                                      \
            bounce.error = EINVAL;                                                                 \
        }                                                                                          \
    } while (0)
#define GIVE_OBJECT(p, name, instead) (void)0

#define TIME(t) IN(t, sizeof *(t))

#define LOCK      "dsm_lock, dsm_lock_timed and dsm_unlock"
#define RWLOCK    "dsm_rwlock_read, dsm_rwlock_write and dsm_rwlock_unlock"
#define WAIT      "dsm_cond_wait, dsm_cond_signal and dsm_cond_broadcast"
#define BARRIER   "dsm_barrier, dsm_barrier_threads or dsm_barrier_group"
#define SEMAPHORE "dsm_sem_set, dsm_sem_wait and dsm_sem_post"

/* clang-format off */
#define ON(how, type, name, object, instead)                                                       \
    CALL(how, int, name, (type *object), (object), OBJECT(object, #name, instead))
#define ON_WITH(how, type, name, object, instead, other)                                           \
    CALL(how, int, name, (type *object, other), (object, with), OBJECT(object, #name, instead))
#define ON_UNTIL(how, type, name, object, instead)                                                 \
    CALL(how, int, name, (type *object, const struct timespec *end), (object, end),                \
         OBJECT(object, #name, instead), TIME(end))
#define ON_CLOCK(how, type, name, object, instead)                                                 \
    CALL(how, int, name, (type *object, clockid_t clock, const struct timespec *end),              \
         (object, clock, end), OBJECT(object, #name, instead), TIME(end))

ON_WITH(ERROR, pthread_mutex_t, pthread_mutex_init, mutex, LOCK, const pthread_mutexattr_t *with)
ON(ERROR, pthread_mutex_t, pthread_mutex_destroy, mutex, LOCK)
ON(ERROR, pthread_mutex_t, pthread_mutex_lock, mutex, LOCK)
ON(ERROR, pthread_mutex_t, pthread_mutex_trylock, mutex, LOCK)
ON_UNTIL(ERROR, pthread_mutex_t, pthread_mutex_timedlock, mutex, LOCK)
ON_CLOCK(ERROR, pthread_mutex_t, pthread_mutex_clocklock, mutex, LOCK)
ON(ERROR, pthread_mutex_t, pthread_mutex_unlock, mutex, LOCK)

ON_WITH(ERROR, pthread_rwlock_t, pthread_rwlock_init, lock, RWLOCK,
        const pthread_rwlockattr_t *with)
ON(ERROR, pthread_rwlock_t, pthread_rwlock_destroy, lock, RWLOCK)
ON(ERROR, pthread_rwlock_t, pthread_rwlock_rdlock, lock, RWLOCK)
ON(ERROR, pthread_rwlock_t, pthread_rwlock_wrlock, lock, RWLOCK)
ON(ERROR, pthread_rwlock_t, pthread_rwlock_tryrdlock, lock, RWLOCK)
ON(ERROR, pthread_rwlock_t, pthread_rwlock_trywrlock, lock, RWLOCK)
ON_UNTIL(ERROR, pthread_rwlock_t, pthread_rwlock_timedrdlock, lock, RWLOCK)
ON_UNTIL(ERROR, pthread_rwlock_t, pthread_rwlock_timedwrlock, lock, RWLOCK)
ON_CLOCK(ERROR, pthread_rwlock_t, pthread_rwlock_clockrdlock, lock, RWLOCK)
ON_CLOCK(ERROR, pthread_rwlock_t, pthread_rwlock_clockwrlock, lock, RWLOCK)
ON(ERROR, pthread_rwlock_t, pthread_rwlock_unlock, lock, RWLOCK)

ON_WITH(ERROR, pthread_cond_t, pthread_cond_init, condition, WAIT, const pthread_condattr_t *with)
ON(ERROR, pthread_cond_t, pthread_cond_destroy, condition, WAIT)
ON(ERROR, pthread_cond_t, pthread_cond_signal, condition, WAIT)
ON(ERROR, pthread_cond_t, pthread_cond_broadcast, condition, WAIT)
CALL(ERROR, int, pthread_cond_wait, (pthread_cond_t *condition, pthread_mutex_t *mutex),
     (condition, mutex), OBJECT(condition, "pthread_cond_wait", WAIT),
     OBJECT(mutex, "pthread_cond_wait", LOCK))
CALL(ERROR, int, pthread_cond_timedwait,
     (pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *end),
     (condition, mutex, end), OBJECT(condition, "pthread_cond_timedwait", WAIT),
     OBJECT(mutex, "pthread_cond_timedwait", LOCK), TIME(end))
CALL(ERROR, int, pthread_cond_clockwait,
     (pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
      const struct timespec *end),
     (condition, mutex, clock, end), OBJECT(condition, "pthread_cond_clockwait", WAIT),
     OBJECT(mutex, "pthread_cond_clockwait", LOCK), TIME(end))

CALL(ERROR, int, pthread_barrier_init,
     (pthread_barrier_t *barrier, const pthread_barrierattr_t *with, unsigned n),
     (barrier, with, n), OBJECT(barrier, "pthread_barrier_init", BARRIER))
ON(ERROR, pthread_barrier_t, pthread_barrier_destroy, barrier, BARRIER)
ON(ERROR, pthread_barrier_t, pthread_barrier_wait, barrier, BARRIER)

CALL(MINUS_ONE, int, sem_init, (sem_t *semaphore, int is_process_shared, unsigned value),
     (semaphore, is_process_shared, value), OBJECT(semaphore, "sem_init", SEMAPHORE))
ON(MINUS_ONE, sem_t, sem_destroy, semaphore, SEMAPHORE)
ON(MINUS_ONE, sem_t, sem_wait, semaphore, SEMAPHORE)
ON(MINUS_ONE, sem_t, sem_trywait, semaphore, SEMAPHORE)
ON_UNTIL(MINUS_ONE, sem_t, sem_timedwait, semaphore, SEMAPHORE)
ON_CLOCK(MINUS_ONE, sem_t, sem_clockwait, semaphore, SEMAPHORE)
ON(MINUS_ONE, sem_t, sem_post, semaphore, SEMAPHORE)

/* Of <threads.h>. */
ON_WITH(THREADS, mtx_t, mtx_init, mutex, LOCK, int with)
ON(THREADS, mtx_t, mtx_lock, mutex, LOCK)
ON(THREADS, mtx_t, mtx_trylock, mutex, LOCK)
ON_UNTIL(THREADS, mtx_t, mtx_timedlock, mutex, LOCK)
ON(THREADS, mtx_t, mtx_unlock, mutex, LOCK)
ON(THREADS, cnd_t, cnd_init, condition, WAIT)
ON(THREADS, cnd_t, cnd_signal, condition, WAIT)
ON(THREADS, cnd_t, cnd_broadcast, condition, WAIT)
CALL(THREADS, int, cnd_wait, (cnd_t *condition, mtx_t *mutex), (condition, mutex),
     OBJECT(condition, "cnd_wait", WAIT),
     OBJECT(mutex, "cnd_wait", LOCK))
CALL(THREADS, int, cnd_timedwait, (cnd_t *condition, mtx_t *mutex, const struct timespec *end),
     (condition, mutex, end), OBJECT(condition, "cnd_timedwait", WAIT),
     OBJECT(mutex, "cnd_timedwait", LOCK), TIME(end))
/* clang-format on */
