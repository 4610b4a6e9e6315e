/* SPDX-License-Identifier: BSD-3-Clause */
/* tmk_misuse.c - programs that use dsm/Tmk.h wrongly, one for each name; run by compat.sh. */
#include <Tmk.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void ignore(int signal)
{
    (void)signal;
}

static void misuse(const char *how)
{
    int local;

    if (strcmp(how, "lock-range") == 0)
        Tmk_lock_acquire(TMK_NLOCKS);
    else if (strcmp(how, "lock-twice") == 0)
        Tmk_lock_acquire(3), Tmk_lock_acquire(3);
    else if (strcmp(how, "release") == 0)
        Tmk_lock_release(3);
    else if (strcmp(how, "barrier-range") == 0)
        Tmk_barrier(TMK_NBARRIERS);
    else if (strcmp(how, "cond-range") == 0)
        Tmk_lock_acquire(1), Tmk_lock_cond_wait(1, TMK_NCONDS);
    else if (strcmp(how, "cond-lock") == 0)
        Tmk_lock_cond_signal(1, 0);
    else if (strcmp(how, "free") == 0)
        Tmk_free((char *)Tmk_malloc(100) + 1);
    else if (strcmp(how, "distribute-local") == 0)
        Tmk_distribute(&local, sizeof local);
    else if (strcmp(how, "distribute-negative") == 0)
        Tmk_distribute(&local, -4);
    else if (strcmp(how, "startup-twice") == 0)
        Tmk_startup(0, NULL);
    else if (strcmp(how, "error") == 0)
        Tmk_errexit("row %d is %s", 5, "bad");
    else if (strcmp(how, "malloc-large") == 0)
        printf("malloc %s\n", Tmk_malloc(0xf0000000u) ? "gave some" : "gave NULL");
    else if (strcmp(how, "sbrk-large") == 0)
        printf("sbrk %s\n", Tmk_sbrk(0xf0000000u) == (void *)-1 ? "gave -1" : "gave some");
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    if (strcmp(argv[1], "before") == 0)
        Tmk_barrier(0);
    if (strcmp(argv[1], "malloc-before") == 0)
        (void)Tmk_malloc(10);
    if (strcmp(argv[1], "sigio") == 0)
        signal(SIGIO, ignore);
    Tmk_startup(argc, argv);
    misuse(argv[1]);
    Tmk_barrier(0);
    if (Tmk_proc_id == 0)
        puts("got through");
    fflush(stdout);
    Tmk_exit(strcmp(argv[1], "status") == 0 ? 7 : 0);
}
