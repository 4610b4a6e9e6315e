/* SPDX-License-Identifier: BSD-3-Clause */
/* jia.c - dsm/jia.h: start, end, locks, barriers, condition variables, hints, time. */
#define _GNU_SOURCE
#include "jia_private.h"
#include <stdatomic.h>

int jiapid, jiahosts = 1, jia_pid;

/* Locks are named by addresses in a range that nobody touches: first the program's, then ours. A
 * step of 16 bytes suits libdsm's cache of recent locks. */
#define LOCK_STEP     16u
#define FIRST_NEW     (JIA_MAXLOCKS / 2) /* the program's own numbers are small */
#define MAX_SUBSCRIPT 1024

/* One page each: who waits for one is not disturbed by who uses another. */
struct cv {
    _Atomic uint64_t is_set;
    uint64_t waiting[(COMPAT_PAGE - 8) / 8]; /* bit set of processes; under the cv's lock */
};
#define MAX_PROCESSES (64 * (COMPAT_PAGE - 8) / 8)

struct subscript {
    int64_t next;
    char pad[56];
};

static struct {
    uint8_t *lock_names;
    struct cv *cvs;
    struct subscript *subscripts;
    uint8_t is_held[JIA_MAXLOCKS];
    unsigned n_held;
    int new_locks, new_subscripts;
    uint64_t start_ns;
} jia;

static const void *lock_name(unsigned id)
{
    return jia.lock_names + (size_t)id * LOCK_STEP;
}

void jia_table_lock(unsigned id)
{
    dsm_compat_check(dsm_lock(lock_name(JIA_MAXLOCKS + id)), "a lock of the library");
}

void jia_table_unlock(unsigned id)
{
    dsm_compat_check(dsm_unlock(lock_name(JIA_MAXLOCKS + id)), "a lock of the library");
}

/* ---- start and end ------------------------------------------------------------------------- */

void jia_init(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    dsm_compat_open("jia_init", MAX_PROCESSES);
    jiapid = jia_pid = (int)dsm_rank();
    jiahosts = (int)dsm_size();
    uint64_t n_names = JIA_MAXLOCKS + JIA_TABLE_LOCKS + dsm_size();
    jia.lock_names = dsm_compat_table(n_names * LOCK_STEP, DSM_PLACE_BLOCK);
    jia.cvs = dsm_compat_table(JIA_MAXCVS * sizeof *jia.cvs, DSM_PLACE_CYCLIC);
    jia.subscripts = dsm_compat_table(MAX_SUBSCRIPT * sizeof *jia.subscripts, DSM_PLACE_CYCLIC);
    jia_messages_open();
    dsm_compat_check(dsm_barrier(), "jia_init");
    if (!jia.start_ns)
        jia.start_ns = dsm_compat_now_ns();
}

void jia_exit(void)
{
    dsm_compat_need_open("jia_exit");
    if (jia.n_held)
        dsm_compat_fail("jia_exit: %u lock%s held", jia.n_held, jia.n_held == 1 ? " is" : "s are");
    dsm_compat_close("jia_exit");
    jia_memory_close();
}

void jia_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    dsm_compat_say(format, args);
    va_end(args);
    dsm_compat_end(1);
}

void jia_errexit(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    dsm_compat_say(format, args);
    va_end(args);
    dsm_compat_end(1);
}

/* ---- locks and barriers -------------------------------------------------------------------- */

static void check_lock(int id, const char *call)
{
    dsm_compat_need_open(call);
    if (id < 0 || id >= JIA_MAXLOCKS)
        dsm_compat_fail("%s(%d): lock ids are 0 to %d", call, id, JIA_MAXLOCKS - 1);
}

void jia_lock(int id)
{
    check_lock(id, "jia_lock");
    if (jia.is_held[id])
        dsm_compat_fail("jia_lock(%d): this process holds it already", id);
    dsm_compat_check(dsm_lock(lock_name((unsigned)id)), "jia_lock");
    jia.is_held[id] = 1;
    jia.n_held++;
}

void jia_unlock(int id)
{
    check_lock(id, "jia_unlock");
    if (!jia.is_held[id])
        dsm_compat_fail("jia_unlock(%d): this process does not hold it", id);
    jia.is_held[id] = 0;
    jia.n_held--;
    dsm_compat_check(dsm_unlock(lock_name((unsigned)id)), "jia_unlock");
}

static void meet(const char *call)
{
    dsm_compat_need_open(call);
    if (jia.n_held)
        dsm_compat_fail("%s: called with %u lock%s held", call, jia.n_held,
                        jia.n_held == 1 ? "" : "s");
    dsm_compat_check(dsm_barrier(), call);
}

void jia_barrier(void)
{
    meet("jia_barrier");
}

void jia_wait(void)
{
    dsm_compat_need_open("jia_wait");
    dsm_compat_check(dsm_barrier(), "jia_wait"); /* allowed inside critical sections */
}

int jia_new_lock(void)
{
    if (jia.new_locks == JIA_MAXLOCKS - FIRST_NEW)
        dsm_compat_fail("LOCKINIT: more than %d locks", JIA_MAXLOCKS - FIRST_NEW);
    return FIRST_NEW + jia.new_locks++;
}

/* ---- condition variables ------------------------------------------------------------------- */

/* The cv's lock is taken, and given back with jia_table_unlock(id). */
static struct cv *enter_cv(int id, const char *call)
{
    dsm_compat_need_open(call);
    if (id < 0 || id >= JIA_MAXCVS)
        dsm_compat_fail("%s(%d): condition variables are 0 to %d", call, id, JIA_MAXCVS - 1);
    jia_table_lock((unsigned)id);
    return &jia.cvs[id];
}

void jia_setcv(int id)
{
    struct cv *cv = enter_cv(id, "jia_setcv");

    atomic_store(&cv->is_set, 1);
    for (uint32_t i = 0; i <= (dsm_size() - 1) / 64; i++) {
        uint64_t waiting = cv->waiting[i];
        if (waiting)
            cv->waiting[i] = 0;
        for (; waiting; waiting &= waiting - 1)
            dsm_compat_ring(i * 64 + (uint32_t)__builtin_ctzll(waiting));
    }
    jia_table_unlock((unsigned)id);
}

void jia_resetcv(int id)
{
    struct cv *cv = enter_cv(id, "jia_resetcv");

    atomic_store(&cv->is_set, 0);
    jia_table_unlock((unsigned)id);
}

void jia_waitcv(int id)
{
    uint32_t self = (uint32_t)jiapid;
    struct cv *cv = enter_cv(id, "jia_waitcv");
    bool must_wait = !atomic_load(&cv->is_set);

    if (must_wait)
        cv->waiting[self / 64] |= 1ull << self % 64;
    jia_table_unlock((unsigned)id);
    /* Out of the list: it was set, though it may have been reset since. */
    while (must_wait) {
        dsm_compat_wait_for_ring();
        must_wait = __atomic_load_n(&cv->waiting[self / 64], __ATOMIC_SEQ_CST) >> self % 64 & 1;
    }
}

/* ---- self-scheduling ----------------------------------------------------------------------- */

int jia_new_subscript(void)
{
    if (jia.new_subscripts == MAX_SUBSCRIPT)
        dsm_compat_fail("GSINIT: more than %d", MAX_SUBSCRIPT);
    return jia.new_subscripts++;
}

int jia_next_subscript(int id, int max)
{
    dsm_compat_need_open("GETSUB");
    if (id < 0 || id >= MAX_SUBSCRIPT)
        dsm_compat_fail("GETSUB: %d was not made by GSINIT", id);
    int64_t *next = &jia.subscripts[id].next;
    int64_t mine = __atomic_fetch_add(next, 1, __ATOMIC_SEQ_CST);

    if (mine <= max)
        return (int)mine;
    /* Nobody asks between the two meetings. */
    meet("GETSUB");
    if (jiapid == 0)
        __atomic_store_n(next, 0, __ATOMIC_SEQ_CST);
    meet("GETSUB");
    return -1;
}

/* ---- time and hints ------------------------------------------------------------------------ */

static uint64_t elapsed_ns(void)
{
    uint64_t now = dsm_compat_now_ns();

    if (!jia.start_ns)
        jia.start_ns = now;
    return now - jia.start_ns;
}

double jia_clock(void)
{
    return (double)elapsed_ns() / 1e9;
}

unsigned long jia_current_time(void)
{
    return dsm_compat_now_ns();
}

unsigned int jia_startstat(void)
{
    return (unsigned int)(elapsed_ns() / 1000);
}

unsigned int jia_stopstat(void)
{
    return (unsigned int)(elapsed_ns() / 1000);
}

void jia_config(int what, int on_or_off)
{
    (void)what;
    (void)on_or_off;
}

void jia_divtask(int *begin, int *end)
{
    dsm_compat_need_open("jia_divtask");
    int64_t first = *begin, n = (int64_t)*end - *begin;

    if (n < 0)
        dsm_compat_fail("jia_divtask(%d, %d): the end comes before the beginning", *begin, *end);
    *begin = (int)(first + n * jiapid / jiahosts);
    *end = (int)(first + n * (jiapid + 1) / jiahosts);
}

void jia_loadcheck(void)
{
    dsm_compat_need_open("jia_loadcheck");
}
