/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * globals.c - see globals.h.
 *
 * Rank 0 is the home of all pages of the segment. Its bytes get there by stores through the new
 * mapping, page by page: for the protocol these are first writes like any others, made without a
 * message because the home is here. Pages that are zero are left out, so a large .bss costs
 * nothing until it is touched.
 *
 * Nothing of libdsm, libuv or the C library is among the executable's data (executable.c sees to
 * that), so no code that runs between taking the old mapping away and filling the new one looks
 * there. The program's own signal handlers might: signals wait meanwhile.
 */
#define _GNU_SOURCE
#include "runtime/globals.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "runtime/collective.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HOME 0u

/* What survives the driver: a forked child and the end of the job need it. */
static struct {
    uint8_t *addr; /* NULL: not shared */
    size_t len;
    uint8_t *after;     /* what is private again at the end */
    uint8_t *for_child; /* between the handlers of fork */
} globals;

bool dsm_globals_are_shared(void)
{
    return globals.addr != NULL;
}

static uint8_t *map_private(size_t len)
{
    void *p =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static bool is_zero(const uint8_t *page)
{
    const uint64_t *word = (const uint64_t *)(const void *)page;
    for (unsigned i = 0; i < DSM_PAGE_BYTES / sizeof *word; i++)
        if (word[i])
            return false;
    return true;
}

static void copy_pages(uint8_t *to, const uint8_t *from, size_t len)
{
    for (size_t at = 0; at < len; at += DSM_PAGE_BYTES)
        if (!is_zero(from + at))
            memcpy(to + at, from + at, DSM_PAGE_BYTES);
}

/* ---- comparing ----------------------------------------------------------------------------- */

int dsm_globals_compare(struct dsm_driver *d, const struct dsm_executable *ours, char *why,
                        size_t why_bytes)
{
    struct dsm_executable first = *ours;
    int error = dsm_collective_bcast(d, &first, sizeof first, HOME);
    return error ? error : dsm_executable_compare(ours, &first, HOME, why, why_bytes);
}

/* ---- sharing ------------------------------------------------------------------------------- */

static int place(struct dsm_driver *d, uint64_t n_pages)
{
    struct dsm_placement_entry entry = {.first = dsm_region_border(d->region),
                                        .n_pages = n_pages,
                                        .unit_pages = 1,
                                        .kind = DSM_PLACEMENT_RANK,
                                        .rank = HOME,
                                        .block_pages = 1};
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    int error = dsm_placement_add(d->placement, &entry);
    dsm_driver_leave(d, &guard);
    return error;
}

/* The mapping is private and has these bytes again. */
static void put_back(uint8_t *addr, const uint8_t *bytes, size_t len)
{
    /* Not by the C library's name: that is ours, and refuses the region to programs. */
    if (syscall(SYS_mremap, bytes, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, addr) == -1)
        dsm_log(DSM_LOG_ERROR, "the global variables at 0x%lx cannot be mapped again",
                (unsigned long)(uintptr_t)addr);
}

static int swap_mapping(struct dsm_driver *d, uint8_t *addr, size_t len, const uint8_t *saved)
{
    int error = dsm_region_map_globals(d->region, addr);
    if (error)
        return error;
    error = d->trap_ops->attach(d->trap, addr, d->region->frame + d->region->len_bytes,
                                d->region->memfd, len);
    if (error) {
        d->region->globals = NULL;
        put_back(addr, saved, len);
        return error;
    }
    if (d->config.self == HOME)
        copy_pages(addr, saved, len);
    return 0;
}

int dsm_globals_share(struct dsm_driver *d, const struct dsm_executable *e)
{
    uint8_t *addr = (uint8_t *)(uintptr_t)e->data_addr;
    size_t len = e->data_bytes;
    sigset_t all, before;
    uint8_t *saved = map_private(len);
    int32_t result = saved ? place(d, len >> DSM_PAGE_SHIFT) : DSM_E_NOMEM;
    int error = dsm_collective_allreduce(d, &result, 1, DSM_INT32, DSM_MIN);
    if (error || result)
        return error ? error : result;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* ours leaves the traps' signals open */
    copy_pages(saved, addr, len);
    result = swap_mapping(d, addr, len, saved);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!result) {
        globals.addr = addr;
        globals.len = len;
        globals.after = d->config.self == HOME ? NULL : saved;
        if (d->config.self == HOME)
            munmap(saved, len);
    }
    error = dsm_collective_allreduce(d, &result, 1, DSM_INT32, DSM_MIN);
    return error ? error : result;
}

/* ---- private again ------------------------------------------------------------------------- */

static bool was_written(struct dsm_driver *d, dsm_page_t page)
{
    struct dsm_core_unit_info info;
    struct dsm_driver_guard guard;
    if (d->config.self != HOME)
        return true; /* only the home knows */
    dsm_driver_enter(d, &guard);
    dsm_core_inspect(d->core, page, &info);
    dsm_driver_leave(d, &guard);
    return info.owner_hint != DSM_RANK_NONE;
}

static void fetch_ahead(struct dsm_driver *d, uint64_t n_pages)
{
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    struct dsm_event event = {.type = DSM_EVENT_PREFETCH,
                              .now_ns = dsm_clock_ns(),
                              .prefetch = {.first = dsm_region_border(d->region),
                                           .n_pages = n_pages,
                                           .access = DSM_ACCESS_READ}};
    dsm_driver_step(d, &event);
    dsm_driver_leave(d, &guard);
}

/* The bytes as all see them now; NULL when there is no memory for them. */
static uint8_t *copy_shared(struct dsm_driver *d)
{
    uint8_t *copy = map_private(globals.len);
    dsm_page_t first = dsm_region_border(d->region);
    if (!copy)
        return NULL;
    if (d->config.self != HOME)
        fetch_ahead(d, globals.len >> DSM_PAGE_SHIFT);
    for (size_t at = 0; at < globals.len; at += DSM_PAGE_BYTES)
        if (was_written(d, first + (at >> DSM_PAGE_SHIFT)) && !is_zero(globals.addr + at))
            memcpy(copy + at, globals.addr + at, DSM_PAGE_BYTES);
    return copy;
}

void dsm_globals_collect(struct dsm_driver *d)
{
    if (globals.addr && d->config.self == HOME && !globals.after)
        globals.after = copy_shared(d);
}

void dsm_globals_make_private(struct dsm_driver *d)
{
    sigset_t all, before;
    uint8_t *bytes = globals.after;
    if (!globals.addr)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    d->trap_ops->detach(d->trap, globals.addr, globals.len);
    if (bytes)
        put_back(globals.addr, bytes, globals.len);
    else
        dsm_log(DSM_LOG_ERROR,
                "no memory for a private copy of the %lu bytes of global variables: what runs at "
                "exit will not find them",
                (unsigned long)globals.len);
    globals.addr = NULL;
    globals.after = NULL;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- fork ---------------------------------------------------------------------------------- */

static pthread_mutex_t forking = PTHREAD_MUTEX_INITIALIZER; /* from the first handler to the last */

void dsm_globals_before_fork(struct dsm_driver *d)
{
    pthread_mutex_lock(&forking);
    globals.for_child = d && globals.addr ? copy_shared(d) : NULL;
}

void dsm_globals_after_fork_in_parent(void)
{
    if (globals.for_child)
        munmap(globals.for_child, globals.len);
    globals.for_child = NULL;
    pthread_mutex_unlock(&forking);
}

void dsm_globals_after_fork_in_child(void)
{
    if (globals.for_child)
        put_back(globals.addr, globals.for_child, globals.len);
    globals.for_child = NULL;
    globals.addr = NULL;
    pthread_mutex_unlock(&forking);
}
