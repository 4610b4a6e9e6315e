/* SPDX-License-Identifier: BSD-3-Clause */
/* tmk.c - dsm/Tmk.h: start, end, memory, locks, barriers, conditions. */
#define _GNU_SOURCE
#include "tmk_private.h"
#include <stdio.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

unsigned Tmk_proc_id, Tmk_nprocs = 1, Tmk_page_size = COMPAT_PAGE, Tmk_npages;
struct Tmk_stat Tmk_stat;

/* Locks are named by addresses in a range that nobody touches; a step of 16 bytes suits libdsm's
 * cache of recent locks. */
#define LOCK_STEP 16u

/* Programs ask for less than they use, and have always got this much. */
#define MALLOC_MIN_BYTES 32u

/* A queue of processes, by number + 1; guarded by the lock that the condition belongs to. */
struct cond {
    uint32_t first, last;
};

/* A process waits for one condition at a time. On a page of its own, which lives there. */
struct sleeper {
    uint32_t is_woken;
    uint32_t next;
    char pad[COMPAT_PAGE - 8];
};

/* The space behind Tmk_sbrk. */
struct breaks {
    char *first;
    uint64_t bytes;
    uint64_t used;
};

static struct {
    uint8_t *lock_names;
    struct cond (*conds)[TMK_NCONDS];
    struct sleeper *sleepers;
    struct breaks *breaks;
    uint8_t is_held[TMK_NLOCKS];
    unsigned n_held;
} tmk;

/* ---- start and end ------------------------------------------------------------------------- */

/* What follows "--". How many processes there are and where is dsmrun's affair. */
static unsigned read_options(int argc, char *const *argv)
{
    unsigned n_wanted = 0;
    int i = 1;

    while (i < argc && strcmp(argv[i], "--") != 0)
        i++;
    for (i++; i < argc; i++) {
        const char *option = argv[i];
        if (strcmp(option, "-s") == 0)
            setenv("DSM_STATS", "text", 0);
        else if (strncmp(option, "-n", 2) == 0)
            n_wanted = (unsigned)strtoul(option[2]      ? option + 2
                                         : i + 1 < argc ? argv[i + 1]
                                                        : "0",
                                         NULL, 10);
    }
    return n_wanted;
}

static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    dsm_compat_say(format, args);
    va_end(args);
}

void Tmk_startup(int argc, char *const *argv)
{
    unsigned n_wanted = read_options(argc, argv);

    dsm_compat_open("Tmk_startup", TMK_NPROCS);
    Tmk_proc_id = dsm_rank();
    Tmk_nprocs = dsm_size();
    uint64_t n_pages = dsm_region_bytes() / COMPAT_PAGE;
    Tmk_npages = n_pages < UINT_MAX ? (unsigned)n_pages : UINT_MAX;
    if (n_wanted && n_wanted != Tmk_nprocs && Tmk_proc_id == 0)
        say("-n %u is ignored: the job has %u process%s; dsmrun -n %u starts %u", n_wanted,
            Tmk_nprocs, Tmk_nprocs == 1 ? "" : "es", n_wanted, n_wanted);
    tmk.lock_names = dsm_compat_table(TMK_NLOCKS * LOCK_STEP, DSM_PLACE_BLOCK);
    tmk.conds = dsm_compat_table(TMK_NLOCKS * sizeof *tmk.conds, DSM_PLACE_CYCLIC);
    tmk.sleepers = dsm_compat_table(Tmk_nprocs * sizeof *tmk.sleepers, DSM_PLACE_BLOCK);
    tmk.breaks = dsm_compat_table(sizeof *tmk.breaks, DSM_PLACE_RANK);
    tmk_distribute_open();
    dsm_compat_check(dsm_barrier(), "Tmk_startup");
}

void Tmk_exit(int status)
{
    dsm_compat_need_open("Tmk_exit");
    Tmk_barrier(0); /* nobody distributes after this */
    tmk_distribute_close();
    dsm_compat_close("Tmk_exit");
    exit(status);
}

void Tmk_err(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    dsm_compat_say(format, args);
    va_end(args);
}

void Tmk_errexit(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    dsm_compat_say(format, args);
    va_end(args);
    dsm_compat_end(1);
}

/* ---- memory -------------------------------------------------------------------------------- */

void *Tmk_malloc(unsigned size)
{
    dsm_compat_need_open("Tmk_malloc");
    tmk_distribute_is_seen();
    return dsm_malloc(size < MALLOC_MIN_BYTES ? MALLOC_MIN_BYTES : size);
}

void Tmk_free(void *addr)
{
    dsm_compat_need_open("Tmk_free");
    int error = dsm_free(addr);
    if (error == DSM_E_INVAL)
        dsm_compat_end(1); /* has said it */
    dsm_compat_check(error, "Tmk_free");
}

/* Most programs never ask, so the space is taken when one does: an eighth of the region, of which
 * only what is touched is paid for. */
void *Tmk_sbrk(unsigned size)
{
    struct breaks *b = tmk.breaks;
    void *addr = (void *)-1;

    dsm_compat_need_open("Tmk_sbrk");
    dsm_compat_check(dsm_lock(b), "Tmk_sbrk");
    if (!b->first) {
        uint64_t bytes = dsm_region_bytes() / 8;
        b->first = dsm_malloc(bytes);
        b->bytes = b->first ? bytes : 0;
    }
    if (b->first && size <= b->bytes - b->used) {
        addr = b->first + b->used;
        b->used += size;
    }
    dsm_compat_check(dsm_unlock(b), "Tmk_sbrk");
    return addr;
}

/* ---- synchronisation ----------------------------------------------------------------------- */

/* The counters are unsigned ints, and wrap. */
static void take_statistics(void)
{
    struct dsm_stats s = {.struct_size = sizeof s};

    if (dsm_stats_get(&s))
        return;
    Tmk_stat.messages = (unsigned)s.messages_sent;
    Tmk_stat.bytes = (unsigned)s.fetched_bytes;
    Tmk_stat.faults = (unsigned)(s.faults_read + s.faults_write + s.faults_upgrade);
}

void Tmk_barrier(unsigned id)
{
    dsm_compat_need_open("Tmk_barrier");
    if (id >= TMK_NBARRIERS)
        dsm_compat_fail("Tmk_barrier(%u): barriers are 0 to %d", id, TMK_NBARRIERS - 1);
    tmk_distribute_is_seen();
    dsm_compat_check(dsm_barrier(), "Tmk_barrier");
    Tmk_stat.arrivals++;
    take_statistics();
}

static const void *lock_name(unsigned id, const char *call)
{
    dsm_compat_need_open(call);
    if (id >= TMK_NLOCKS)
        dsm_compat_fail("%s(%u): locks are 0 to %d", call, id, TMK_NLOCKS - 1);
    tmk_distribute_is_seen();
    return tmk.lock_names + (size_t)id * LOCK_STEP;
}

void Tmk_lock_acquire(unsigned id)
{
    const void *lock = lock_name(id, "Tmk_lock_acquire");

    if (tmk.is_held[id])
        dsm_compat_fail("Tmk_lock_acquire(%u): this process holds it already", id);
    dsm_compat_check(dsm_lock(lock), "Tmk_lock_acquire");
    tmk.is_held[id] = 1;
    Tmk_stat.acquires++;
}

void Tmk_lock_release(unsigned id)
{
    const void *lock = lock_name(id, "Tmk_lock_release");

    if (!tmk.is_held[id])
        dsm_compat_fail("Tmk_lock_release(%u): this process does not hold it", id);
    tmk.is_held[id] = 0;
    dsm_compat_check(dsm_unlock(lock), "Tmk_lock_release");
}

static struct cond *find_cond(unsigned lock, unsigned cond, const char *call)
{
    (void)lock_name(lock, call);
    if (cond >= TMK_NCONDS)
        dsm_compat_fail("%s(%u, %u): conditions are 0 to %d", call, lock, cond, TMK_NCONDS - 1);
    if (!tmk.is_held[lock])
        dsm_compat_fail("%s(%u, %u): this process does not hold the lock", call, lock, cond);
    return &tmk.conds[lock][cond];
}

void Tmk_lock_cond_wait(unsigned lock, unsigned cond)
{
    struct cond *c = find_cond(lock, cond, "Tmk_lock_cond_wait");
    struct sleeper *me = &tmk.sleepers[Tmk_proc_id];

    me->is_woken = 0;
    me->next = 0;
    if (c->first)
        tmk.sleepers[c->last - 1].next = Tmk_proc_id + 1;
    else
        c->first = Tmk_proc_id + 1;
    c->last = Tmk_proc_id + 1;
    Tmk_lock_release(lock);
    while (!__atomic_load_n(&me->is_woken, __ATOMIC_SEQ_CST))
        dsm_compat_wait_for_ring();
    Tmk_lock_acquire(lock);
}

/* Wakes the first in the queue; false: there is none. */
static bool wake_one(struct cond *c)
{
    uint32_t first = c->first;

    if (!first)
        return false;
    c->first = tmk.sleepers[first - 1].next;
    __atomic_store_n(&tmk.sleepers[first - 1].is_woken, 1, __ATOMIC_SEQ_CST);
    dsm_compat_ring(first - 1);
    return true;
}

void Tmk_lock_cond_signal(unsigned lock, unsigned cond)
{
    (void)wake_one(find_cond(lock, cond, "Tmk_lock_cond_signal"));
}

void Tmk_lock_cond_broadcast(unsigned lock, unsigned cond)
{
    struct cond *c = find_cond(lock, cond, "Tmk_lock_cond_broadcast");

    while (wake_one(c))
        ;
}
