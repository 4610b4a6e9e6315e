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

#endif
