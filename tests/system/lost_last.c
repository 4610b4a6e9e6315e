/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lost_last.c - a rank dies when the others are about to leave, or in the midst of it. They go on
 * after losses (DSM_ON_LOSS=continue), so dsm_finalize tells them and they end by themselves.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>

#include <dsm/dsm.h>

/* A page for each rank. */
static volatile char *word(void *memory, uint32_t rank)
{
    return (volatile char *)memory + rank * 4096;
}

int main(void)
{
    void *memory;
    if (dsm_init(NULL) < 0 || dsm_alloc(3 * 4096, NULL, &memory) < 0 || dsm_barrier() < 0)
        return 2;
    *word(memory, dsm_rank()) = 1; /* past the barrier, for which it needs everybody */
    if (dsm_rank() == 2) {
        while (!*word(memory, 0) || !*word(memory, 1))
            sched_yield();
        (void)raise(SIGKILL);
    }
    int error = dsm_finalize();
    printf("finalize: %s\n", error ? dsm_errname(error) : "well");
    return 0;
}
