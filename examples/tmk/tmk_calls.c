/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tmk_calls.c - every call of dsm/Tmk.h, each checked. Prints one line, exits 0 when all is right.
 *
 * Written as a TreadMarks program is: every process runs main, and its globals are its own but for
 * what is distributed.
 */
#include <Tmk.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 200

struct shared {
    int sum;
    int queue[16];
    int n_queued, n_taken;
    int turn;
} * shared;
int numbers[3000];
volatile int go;
char *grown;

static void must(int is_right, const char *what)
{
    if (!is_right)
        Tmk_errexit("process %u: %s is wrong", Tmk_proc_id, what);
}

static void check_memory(void)
{
    if (Tmk_proc_id == 0) {
        shared = Tmk_malloc(sizeof *shared);
        must(shared != NULL, "an allocation");
        Tmk_distribute(&shared, sizeof shared);
        for (int i = 0; i < 3000; i++)
            numbers[i] = i * i;
        Tmk_distribute(numbers, sizeof numbers);
        Tmk_distribute(shared, sizeof *shared); /* is shared already */
        Tmk_distribute(&shared, 0);
    }
    Tmk_barrier(0);
    must(shared != NULL, "a distributed pointer");
    for (int i = 0; i < 3000; i++)
        must(numbers[i] == i * i, "a distributed array");
    /* Any process allocates, another one frees; small pieces are larger than asked for. */
    if (Tmk_proc_id == Tmk_nprocs - 1) {
        grown = Tmk_malloc(1);
        memset(grown, 'x', 28);
        Tmk_distribute(&grown, sizeof grown);
    }
    Tmk_barrier(1);
    must(grown[27] == 'x', "the smallest piece");
    Tmk_barrier(0);
    if (Tmk_proc_id == 0)
        Tmk_free(grown);
    Tmk_barrier(TMK_NBARRIERS - 1);
    char *mine = Tmk_sbrk(5000);
    must(mine != (char *)-1, "Tmk_sbrk");
    memset(mine, (int)Tmk_proc_id + 1, 5000);
    Tmk_barrier(0);
    for (int i = 0; i < 5000; i++)
        must(mine[i] == (char)(Tmk_proc_id + 1), "memory by Tmk_sbrk");
    Tmk_barrier(0);
}

/* All distribute at once, each its own slot. */
static void check_crossing(void)
{
    static int slots[TMK_NPROCS];

    for (int round = 1; round <= 20; round++) {
        slots[Tmk_proc_id] = round;
        Tmk_distribute(&slots[Tmk_proc_id], sizeof(int));
        Tmk_barrier(0);
        for (unsigned p = 0; p < Tmk_nprocs; p++)
            must(slots[p] == round, "what others distributed");
        Tmk_barrier(0);
    }
}

/* The others sleep until a flag is distributed, or compute. */
static void check_flag(void)
{
    if (Tmk_proc_id == 0) {
        go = 1;
        Tmk_distribute((const void *)&go, sizeof go);
    } else if (Tmk_proc_id % 2 == 1) {
        sigset_t none;
        sigemptyset(&none);
        while (!go)
            sigsuspend(&none);
    } else {
        while (!go)
            ;
    }
    Tmk_barrier(0);
}

static void check_locks(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        Tmk_lock_acquire(TMK_NLOCKS - 1);
        shared->sum++;
        Tmk_lock_release(TMK_NLOCKS - 1);
    }
    Tmk_barrier(0);
    must(shared->sum == (int)(Tmk_nprocs * ROUNDS), "a sum under a lock");
}

/* A bounded queue: process 0 fills it, all take from it. */
static void check_conditions(void)
{
    enum { lock = 5, not_empty = 0, not_full = TMK_NCONDS - 1, passed = 1 };
    int n_items = 100 * (int)Tmk_nprocs, sum = 0;

    for (int i = 0; Tmk_proc_id == 0 && i < n_items; i++) {
        Tmk_lock_acquire(lock);
        while (shared->n_queued == 16 && Tmk_nprocs > 1)
            Tmk_lock_cond_wait(lock, not_full);
        if (Tmk_nprocs == 1)
            shared->n_queued = 0;
        shared->queue[shared->n_queued++] = i;
        Tmk_lock_cond_signal(lock, not_empty);
        Tmk_lock_release(lock);
    }
    for (int done = 0; Tmk_proc_id != 0 && !done;) {
        Tmk_lock_acquire(lock);
        while (shared->n_queued == 0 && shared->n_taken < n_items)
            Tmk_lock_cond_wait(lock, not_empty);
        done = shared->n_taken == n_items;
        if (!done) {
            sum += shared->queue[--shared->n_queued];
            if (++shared->n_taken == n_items)
                Tmk_lock_cond_broadcast(lock, not_empty);
            Tmk_lock_cond_signal(lock, not_full);
        }
        Tmk_lock_release(lock);
    }
    Tmk_lock_acquire(lock);
    shared->sum += sum;
    Tmk_lock_release(lock);
    Tmk_barrier(0);
    int expected = Tmk_nprocs > 1 ? n_items * (n_items - 1) / 2 : 0;
    must(shared->sum == (int)(Tmk_nprocs * ROUNDS) + expected, "the sum of what was queued");
    /* In turns, by broadcast. */
    for (int round = 0; round < 10; round++) {
        Tmk_lock_acquire(lock);
        while (shared->turn % (int)Tmk_nprocs != (int)Tmk_proc_id)
            Tmk_lock_cond_wait(lock, passed);
        shared->turn++;
        Tmk_lock_cond_broadcast(lock, passed);
        Tmk_lock_release(lock);
    }
    Tmk_barrier(0);
    must(shared->turn == 10 * (int)Tmk_nprocs, "the number of turns");
}

int main(int argc, char **argv)
{
    int option, end_all = 0;

    while ((option = getopt(argc, argv, "x")) != -1)
        end_all = option == 'x';
    Tmk_startup(argc, argv);
    must(Tmk_page_size == 4096 && Tmk_npages > 0 && Tmk_nprocs <= TMK_NPROCS, "a number");
    check_memory();
    check_crossing();
    check_flag();
    check_locks();
    check_conditions();
    must(Tmk_stat.acquires >= ROUNDS && Tmk_stat.arrivals > 40 && !Tmk_stat.diffs, "a statistic");
    must(Tmk_nprocs == 1 || Tmk_stat.messages > 0, "a statistic");
    if (Tmk_proc_id == 0) {
        printf("tmk_calls: %u processes: right\n", Tmk_nprocs);
        Tmk_free(shared);
        Tmk_err("process %d says goodbye", 0);
    }
    if (end_all && Tmk_proc_id == 0)
        Tmk_errexit("process %u ends them all\n", Tmk_proc_id);
    Tmk_exit(0);
}
