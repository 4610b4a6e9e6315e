/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mutex.h - a small futex mutex for the fault path (Drepper, "Futexes are tricky", mutex 2).
 *
 * Signal-handler safe as long as every holder has signals blocked: the handler cannot then interrupt
 * its own holder. Spins briefly before it sleeps, because holders hold it for a microsecond or two.
 */
#ifndef DSM_BASE_MUTEX_H
#define DSM_BASE_MUTEX_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct dsm_mutex {
    _Atomic uint32_t state; /* 0 free, 1 held, 2 held and somebody sleeps */
};

#define DSM_MUTEX_SPINS 200

/* Raw calls: glibc's wrappers are cancellation points, and cancellation would unwind the handler.
 * Returns 0 or a negative errno; the caller's errno stays as it was. */
static inline long dsm_futex(_Atomic uint32_t *word, int op, uint32_t value,
                             const struct timespec *timeout)
{
    long result;
    register const struct timespec *r10 __asm__("r10") = timeout;
    register long r8 __asm__("r8") = 0;
    register long r9 __asm__("r9") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"((long)SYS_futex), "D"(word), "S"((long)op), "d"((long)value), "r"(r10),
                       "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* Sleeps while *word is value, at most timeout (NULL: no limit). May return early. */
static inline void dsm_futex_wait(_Atomic uint32_t *word, uint32_t value,
                                  const struct timespec *timeout)
{
    (void)dsm_futex(word, FUTEX_WAIT_PRIVATE, value, timeout);
}

static inline void dsm_futex_wake(_Atomic uint32_t *word, uint32_t n)
{
    (void)dsm_futex(word, FUTEX_WAKE_PRIVATE, n, NULL);
}

static inline bool dsm_mutex_trylock(struct dsm_mutex *m)
{
    uint32_t free_state = 0;
    return atomic_compare_exchange_strong_explicit(&m->state, &free_state, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void dsm_mutex_lock(struct dsm_mutex *m)
{
    if (dsm_mutex_trylock(m))
        return;
    for (int i = 0; i < DSM_MUTEX_SPINS; i++) {
        __builtin_ia32_pause();
        if (atomic_load_explicit(&m->state, memory_order_relaxed) == 0 && dsm_mutex_trylock(m))
            return;
    }
    while (atomic_exchange_explicit(&m->state, 2, memory_order_acquire) != 0)
        dsm_futex_wait(&m->state, 2, NULL);
}

static inline void dsm_mutex_unlock(struct dsm_mutex *m)
{
    if (atomic_exchange_explicit(&m->state, 0, memory_order_release) == 2)
        dsm_futex_wake(&m->state, 1);
}

#endif
