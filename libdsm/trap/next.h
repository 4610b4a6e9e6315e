/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * next.h - the C library's own function behind one of our interposers.
 *
 * The dynamic linker knows it as the next definition of the name. A program that is linked with
 * -static has no dynamic linker: there the C library's inner name serves, which the program pulls
 * in with -Wl,-u,__pthread_create,-u,__posix_spawn,-u,__posix_spawnp.
 */
#ifndef DSM_TRAP_NEXT_H
#define DSM_TRAP_NEXT_H

#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>

/* fallback: the inner name, a weak reference. NULL when there is neither. */
static inline void *dsm_next(void *_Atomic *cache, const char *name, void *fallback)
{
    void *function = *cache;
    if (!function) {
        function = dlsym(RTLD_NEXT, name);
        if (!function)
            function = fallback;
        *cache = function;
    }
    return function;
}

/*
 * The same for the functions of calls.h. All are looked up when the library is loaded, because
 * dlsym is not for signal handlers; a call that comes before that looks up its own.
 */
enum dsm_missing { DSM_MISSING_MINUS_ONE, DSM_MISSING_NOTHING, DSM_MISSING_ERROR };

struct dsm_next_slot {
    void *_Atomic function;
    const char *name;
    enum dsm_missing missing; /* how a call fails, with ENOSYS, where there is no such function */
};

/* Fills the slot. Never NULL. */
void *dsm_next_find(struct dsm_next_slot *slot);

static inline void *dsm_next_of(struct dsm_next_slot *slot)
{
    void *function = atomic_load_explicit(&slot->function, memory_order_relaxed);
    return __builtin_expect(function != NULL, 1) ? function : dsm_next_find(slot);
}

#endif
