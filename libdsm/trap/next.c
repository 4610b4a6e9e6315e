/* SPDX-License-Identifier: BSD-3-Clause */
/* next.c - looks up what stands behind the interposers of calls.h. */
#define _GNU_SOURCE
#include "trap/next.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>

/* Called as the C library's functions, whatever their parameters. */
static intptr_t missing_minus_one(void)
{
    errno = ENOSYS;
    return -1;
}

static intptr_t missing_nothing(void)
{
    errno = ENOSYS;
    return 0;
}

static intptr_t missing_error(void)
{
    return ENOSYS;
}

static void *missing(enum dsm_missing how)
{
    switch (how) {
    case DSM_MISSING_MINUS_ONE:
        return (void *)missing_minus_one;
    case DSM_MISSING_NOTHING:
        return (void *)missing_nothing;
    case DSM_MISSING_ERROR:
        break;
    }
    return (void *)missing_error;
}

/*
 * For a name of several versions, RTLD_NEXT finds the first one, of the first glibc for x86-64.
 * Where that one does something else than the one that programs are linked with today, its version
 * is here.
 */
static const char *version_of(const char *name)
{
    static const struct {
        const char *name, *version;
    } versions[] = {
        {"pthread_cond_broadcast", "GLIBC_2.3.2"},
        {"pthread_cond_destroy", "GLIBC_2.3.2"},
        {"pthread_cond_init", "GLIBC_2.3.2"},
        {"pthread_cond_signal", "GLIBC_2.3.2"},
        {"pthread_cond_timedwait", "GLIBC_2.3.2"},
        {"pthread_cond_wait", "GLIBC_2.3.2"},
        {"nftw", "GLIBC_2.3.3"},
        {"nftw64", "GLIBC_2.3.3"},
        {"realpath", "GLIBC_2.3"},
        {"ibv_reg_mr", "IBVERBS_1.1"},
    };
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        if (strcmp(versions[i].name, name) == 0)
            return versions[i].version;
    }
    return NULL;
}

void *dsm_next_find(struct dsm_next_slot *slot)
{
    int saved_errno = errno;
    const char *version = version_of(slot->name);
    void *function = version ? dlvsym(RTLD_NEXT, slot->name, version) : NULL;
    if (!function)
        function = dlsym(RTLD_NEXT, slot->name);
    if (!function)
        function = missing(slot->missing);
    atomic_store_explicit(&slot->function, function, memory_order_relaxed);
    errno = saved_errno;
    return function;
}
