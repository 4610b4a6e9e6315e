/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_owner.c - see trap_owner.h. */
#define _GNU_SOURCE
#include "trap_owner.h"
#include "trap/raw.h"
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_OWNERS 20

/* All owners of the process: a fault of a shared trap belongs to the one whose view it is in. */
static struct owner *owners[MAX_OWNERS];

uint64_t owner_word(size_t page)
{
    return 0x1d5c0000000000ull + page;
}

uint64_t owner_enter(struct owner *o)
{
    dsm_sigmask_t all = DSM_SIGMASK_ALL, before = 0;
    dsm_raw_sigprocmask(SIG_SETMASK, &all, &before);
    dsm_mutex_lock(&o->lock);
    return before;
}

void owner_leave(struct owner *o, uint64_t mask)
{
    dsm_mutex_unlock(&o->lock);
    dsm_raw_sigprocmask(SIG_SETMASK, &mask, NULL);
}

static struct owner *find(uintptr_t addr)
{
    for (unsigned i = 0; i < MAX_OWNERS; i++) {
        struct owner *o = owners[i];
        if (o && addr >= (uintptr_t)o->app && addr < app_addr(o, o->n_pages))
            return o;
    }
    return NULL;
}

static void count_fault(struct owner *o)
{
    o->n_faults++;
    dsm_futex_wake(&o->n_faults, INT_MAX);
}

void owner_wait_faults(struct owner *o, uint32_t n)
{
    for (uint32_t now; (now = o->n_faults) < n;)
        dsm_futex_wait(&o->n_faults, now, NULL);
}

/* With the lock held. */
static void serve(struct owner *o, const struct dsm_fault *fault)
{
    size_t page = (fault->addr - (uintptr_t)o->app) / PAGE;
    bool is_write = fault->is_write && o->answer != OWNER_MAPS_LITTLE;
    o->last = *fault;
    count_fault(o);
    (*(fault->is_write ? &o->n_writes : &o->n_reads))++;
    if (!o->is_filled[page]) {
        o->is_filled[page] = true;
        o->n_fills++;
        *frame_word(o, page) = o->fills ? owner_word(page) : *frame_word(o, page);
    }
    if (o->states[page] < (is_write ? PAGE_WRITE : PAGE_READ))
        o->states[page] = is_write ? PAGE_WRITE : PAGE_READ;
    /* The state may be higher than this fault needs: the mapping was lost. */
    int error = o->states[page] == PAGE_WRITE ? o->ops->map_write(o->trap, app_addr(o, page), PAGE)
                                              : o->ops->map_read(o->trap, app_addr(o, page), PAGE);
    if (error != 0)
        _exit(91);
}

static enum dsm_fault_result on_fault(void *user, const struct dsm_fault *fault)
{
    (void)user;
    struct owner *o = find(fault->addr);
    if (!o)
        _exit(92);
    enum owner_answer answer = o->answer;
    if (answer == OWNER_REFUSES || answer == OWNER_MAPS_NOT) {
        o->last = *fault;
        count_fault(o);
        return answer == OWNER_REFUSES ? DSM_FAULT_REFUSE : DSM_FAULT_RETRY;
    }
    uint64_t mask = owner_enter(o);
    serve(o, fault);
    owner_leave(o, mask);
    return DSM_FAULT_RETRY;
}

static void make_views(struct owner *o)
{
    size_t len = o->n_pages * PAGE;
    o->memfd = memfd_create("owner", MFD_CLOEXEC);
    ck_assert_int_ge(o->memfd, 0);
    ck_assert_int_eq(ftruncate(o->memfd, (off_t)len), 0);
    o->app = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, o->memfd, 0);
    o->frame = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, o->memfd, 0);
    ck_assert_ptr_ne((void *)o->app, MAP_FAILED);
    ck_assert_ptr_ne((void *)o->frame, MAP_FAILED);
    o->states = calloc(o->n_pages, 1);
    o->is_filled = calloc(o->n_pages, sizeof(bool));
    unsigned i = 0;
    while (owners[i])
        ck_assert_uint_lt(++i, MAX_OWNERS);
    owners[i] = o;
}

void owner_open_with(struct owner *o, const struct dsm_trap_ops *ops, size_t n_pages, bool fills,
                     struct dsm_trap_config config)
{
    *o = (struct owner){.ops = ops, .n_pages = n_pages, .fills = fills, .owns_trap = true};
    config.on_fault = on_fault;
    ck_assert_int_eq(ops->open(&config, &o->trap), 0);
    make_views(o);
    ck_assert_int_eq(
        ops->attach(o->trap, (void *)o->app, (void *)o->frame, o->memfd, n_pages * PAGE), 0);
}

void owner_open(struct owner *o, const struct dsm_trap_ops *ops, size_t n_pages, bool fills)
{
    owner_open_with(o, ops, n_pages, fills, (struct dsm_trap_config){.user = NULL});
}

void owner_open_more(struct owner *o, struct owner *first, size_t n_pages, bool fills)
{
    *o = (struct owner){.ops = first->ops, .trap = first->trap, .n_pages = n_pages, .fills = fills};
    make_views(o);
    ck_assert_int_eq(
        o->ops->attach(o->trap, (void *)o->app, (void *)o->frame, o->memfd, n_pages * PAGE), 0);
}

void owner_close(struct owner *o)
{
    size_t len = o->n_pages * PAGE;
    ck_assert_int_eq(o->ops->detach(o->trap, (void *)o->app, len), 0);
    if (o->owns_trap)
        o->ops->close(o->trap);
    for (unsigned i = 0; i < MAX_OWNERS; i++) {
        if (owners[i] == o)
            owners[i] = NULL;
    }
    munmap((void *)o->app, len);
    munmap((void *)o->frame, len);
    close(o->memfd);
    free(o->states);
    free(o->is_filled);
}

void owner_downgrade(struct owner *o, size_t first, size_t n)
{
    uint64_t mask = owner_enter(o);
    int error = o->ops->downgrade(o->trap, app_addr(o, first), n * PAGE);
    for (size_t page = first; page < first + n; page++) {
        if (o->states[page] == PAGE_WRITE)
            o->states[page] = PAGE_READ;
    }
    owner_leave(o, mask);
    ck_assert_int_eq(error, 0);
}

void owner_unmap(struct owner *o, size_t first, size_t n)
{
    uint64_t mask = owner_enter(o);
    int error = o->ops->unmap(o->trap, app_addr(o, first), n * PAGE);
    memset(o->states + first, PAGE_NONE, n);
    owner_leave(o, mask);
    ck_assert_int_eq(error, 0);
}

void owner_map(struct owner *o, size_t first, size_t n, bool is_write)
{
    uint64_t mask = owner_enter(o);
    for (size_t page = first; page < first + n; page++) {
        if (!o->is_filled[page])
            *frame_word(o, page) = o->fills ? owner_word(page) : *frame_word(o, page);
        o->is_filled[page] = true;
    }
    int error =
        (is_write ? o->ops->map_write : o->ops->map_read)(o->trap, app_addr(o, first), n * PAGE);
    memset(o->states + first, is_write ? PAGE_WRITE : PAGE_READ, n);
    owner_leave(o, mask);
    ck_assert_int_eq(error, 0);
}

bool owner_is_present(const struct owner *o, size_t page)
{
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &entry, sizeof entry, (off_t)(app_addr(o, page) / PAGE * 8)), 8);
    close(fd);
    return entry >> 63;
}
