/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tmk_distribute.c - dsm/Tmk.h: a global variable is copied into all other processes, whatever they
 * are doing.
 *
 * Each process has an outbox in shared memory, with one distribution at a time. Who distributes
 * fills it in, rings all others and sleeps until the last one has rung back. A process that is rung
 * gets a SIGIO in its main thread, whose handler makes the copy: by loads and stores, and with
 * dsm_ring, which is all that libdsm allows there. The main thread, because a program that sleeps
 * in sigpause must be interrupted, and because one that computes has no other thread.
 *
 * A program that looks at its variable, finds it unchanged and then calls sigpause may get the
 * signal in between. So the signal is repeated a few times, later and later, unless the program
 * makes a call meanwhile.
 *
 * A variable is named by its distance from where the executable was loaded, which may differ.
 */
#define _GNU_SOURCE
#include "tmk_private.h"
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* On pages of their own, which live at their process. */
struct outbox {
    uint64_t number; /* of the distribution, from 1 */
    uint64_t offset, bytes;
    char *copy;
    uint32_t n_done;
    char pad[COMPAT_PAGE - 36];
};

#define FIRST_REPEAT_NS 10000000u
#define N_REPEATS       10

static struct {
    struct outbox *outboxes;
    uint64_t *seen; /* number of the last distribution taken, of each process */
    _Atomic uint64_t rang[(TMK_NPROCS + 63) / 64];
    pthread_t main_thread;
    uintptr_t load_addr, data_first, data_end; /* of the executable */
    timer_t timer;
    _Atomic uint32_t n_repeats; /* still to come */
} dist;

/* ---- the receiving side -------------------------------------------------------------------- */

/* On libdsm's thread. */
static void on_ring(uint32_t from)
{
    atomic_fetch_or(&dist.rang[from / 64], 1ull << from % 64);
    pthread_kill(dist.main_thread, SIGIO);
}

/* In the signal handler. */
static void take_from(uint32_t from)
{
    struct outbox *box = &dist.outboxes[from];
    uint64_t number = __atomic_load_n(&box->number, __ATOMIC_SEQ_CST);

    if (from == Tmk_proc_id || number == dist.seen[from])
        return; /* rung for another reason */
    dist.seen[from] = number;
    memcpy((void *)(dist.load_addr + box->offset), box->copy, box->bytes);
    atomic_store(&dist.n_repeats, N_REPEATS);
    if (__atomic_add_fetch(&box->n_done, 1, __ATOMIC_SEQ_CST) == Tmk_nprocs - 1)
        (void)dsm_ring(from); /* fails only when it is gone */
}

static void repeat_later(void)
{
    uint32_t left = atomic_load(&dist.n_repeats);

    if (!left)
        return;
    atomic_store(&dist.n_repeats, left - 1);
    uint64_t ns = (uint64_t)FIRST_REPEAT_NS << (N_REPEATS - left);
    struct itimerspec t = {.it_value = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)}};
    timer_settime(dist.timer, 0, &t, NULL);
}

static void on_sigio(int signal)
{
    int saved = errno;

    (void)signal;
    for (uint32_t i = 0; i < sizeof dist.rang / sizeof *dist.rang; i++) {
        uint64_t rang = atomic_exchange(&dist.rang[i], 0);
        for (; rang; rang &= rang - 1)
            take_from(i * 64 + (uint32_t)__builtin_ctzll(rang));
    }
    repeat_later();
    errno = saved;
}

void tmk_distribute_is_seen(void)
{
    atomic_store_explicit(&dist.n_repeats, 0, memory_order_relaxed);
}

/* ---- start and end ------------------------------------------------------------------------- */

/* The first object is the executable: where it was loaded, and what of it can be written. */
static int find_globals(struct dl_phdr_info *info, size_t bytes, void *user)
{
    (void)bytes;
    (void)user;
    dist.load_addr = info->dlpi_addr;
    dist.data_first = UINTPTR_MAX;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_W))
            continue;
        if (dist.load_addr + p->p_vaddr < dist.data_first)
            dist.data_first = dist.load_addr + p->p_vaddr;
        if (dist.load_addr + p->p_vaddr + p->p_memsz > dist.data_end)
            dist.data_end = dist.load_addr + p->p_vaddr + p->p_memsz;
    }
    return 1;
}

/* Every process must have its globals at the same distances: the same executable. */
static void compare_executables(void)
{
    int64_t low[2] = {(int64_t)(dist.data_first - dist.load_addr),
                      (int64_t)(dist.data_end - dist.load_addr)};
    int64_t high[2] = {low[0], low[1]}, mine[2] = {low[0], low[1]};

    dsm_compat_check(dsm_allreduce(low, 2, DSM_INT64, DSM_MIN), "Tmk_startup");
    dsm_compat_check(dsm_allreduce(high, 2, DSM_INT64, DSM_MAX), "Tmk_startup");
    if (memcmp(low, high, sizeof low) != 0 && memcmp(mine, low, sizeof low) == 0)
        dsm_compat_fail(
            "Tmk_startup: the processes run different executables: the global variables "
            "end at 0x%lx here, at 0x%lx elsewhere",
            (unsigned long)mine[1], (unsigned long)high[1]);
}

static void catch_sigio(void)
{
    struct sigaction before, action = {.sa_handler = on_sigio, .sa_flags = SA_RESTART};

    if (sigaction(SIGIO, NULL, &before) != 0)
        dsm_compat_fail("Tmk_startup: sigaction: %s", strerror(errno));
    if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        dsm_compat_fail("Tmk_startup: the program handles SIGIO, which Tmk_distribute needs");
    sigset_t io;
    sigemptyset(&io);
    sigaddset(&io, SIGIO);
    if (sigaction(SIGIO, &action, NULL) != 0 || pthread_sigmask(SIG_UNBLOCK, &io, NULL) != 0)
        dsm_compat_fail("Tmk_startup: SIGIO cannot be caught: %s", strerror(errno));
}

void tmk_distribute_open(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGIO};

    dl_iterate_phdr(find_globals, NULL);
    compare_executables();
    dist.main_thread = pthread_self();
    dist.seen = calloc(Tmk_nprocs, sizeof *dist.seen);
    if (!dist.seen)
        dsm_compat_fail("Tmk_startup: out of memory for %u processes", Tmk_nprocs);
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, &dist.timer) != 0)
        dsm_compat_fail("Tmk_startup: timer_create: %s", strerror(errno));
    dist.outboxes = dsm_compat_table(Tmk_nprocs * sizeof *dist.outboxes, DSM_PLACE_BLOCK);
    catch_sigio();
    dsm_compat_on_ring(on_ring);
}

void tmk_distribute_close(void)
{
    dsm_compat_on_ring(NULL);
    timer_delete(dist.timer);
    signal(SIGIO, SIG_IGN); /* one may be on its way */
    free(dist.seen);
}

/* ---- the distributing side ----------------------------------------------------------------- */

void Tmk_distribute(const void *addr, int size)
{
    uintptr_t first = (uintptr_t)addr, base = (uintptr_t)dsm_base();

    dsm_compat_need_open("Tmk_distribute");
    tmk_distribute_is_seen();
    if (size < 0)
        dsm_compat_fail("Tmk_distribute(%p, %d): the size must not be negative", addr, size);
    if (first - base < dsm_region_bytes() || Tmk_nprocs == 1 || size == 0)
        return; /* shared as it is, or nobody to tell */
    if (first < dist.data_first || first >= dist.data_end ||
        (uintptr_t)size > dist.data_end - first)
        dsm_compat_fail(
            "Tmk_distribute(%p, %d): only global variables of the program have the same "
            "place in every process",
            addr, size);
    struct outbox *box = &dist.outboxes[Tmk_proc_id];
    box->copy = dsm_malloc((size_t)size);
    if (!box->copy)
        dsm_compat_fail("Tmk_distribute: no room for %d bytes: raise DSM_REGION_SIZE", size);
    memcpy(box->copy, addr, (size_t)size);
    box->offset = first - dist.load_addr;
    box->bytes = (uint64_t)size;
    box->n_done = 0;
    __atomic_store_n(&box->number, box->number + 1, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < Tmk_nprocs; i++) {
        if (i != Tmk_proc_id)
            dsm_compat_ring(i);
    }
    while (__atomic_load_n(&box->n_done, __ATOMIC_SEQ_CST) != Tmk_nprocs - 1)
        dsm_compat_wait_for_ring();
    dsm_compat_check(dsm_free(box->copy), "Tmk_distribute");
}
