/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * jia_macros.c - the ANL macros of dsm/jia.h: a histogram whose rows are dealt out by
 * self-scheduling, counted under an array of locks. Checked; prints one line.
 */
#include <jia.h>
#include <stdio.h>

#define ROWS    300
#define COLUMNS 12
#define BINS    16

MAIN_ENV

struct shared {
    int bins[BINS];
    int rows_done;
    BARDEC(start)
};

static int bin_of(int row, int column)
{
    return (row * 7 + column * 13) % BINS;
}

int main(int argc, char **argv)
{
    EXTERN_ENV
    LOCKDEC(done_lock)
    ALOCKDEC(bin_locks, BINS)
    GSDEC(rows)
    unsigned int began, ended;
    int row, is_right = 1;

    CLOCK(began);
    MAIN_INITENV(, 1000000);
    struct shared *all = (struct shared *)G_MALLOC(sizeof *all);
    LOCKINIT(done_lock);
    ALOCKINIT(bin_locks, BINS);
    BARINIT(all->start);
    GSINIT(rows);
    BARRIER(all->start, jiahosts);
    for (int round = 1; round <= 2; round++) { /* the indices begin again */
        for (;;) {
            GETSUB(rows, row, ROWS - 1, jiahosts);
            if (row < 0)
                break;
            for (int column = 0; column < COLUMNS; column++) {
                int bin = bin_of(row, column);
                ALOCK(bin_locks, bin);
                all->bins[bin]++;
                AULOCK(bin_locks, bin);
            }
            LOCK(done_lock);
            all->rows_done++;
            UNLOCK(done_lock);
        }
    }
    WAIT_FOR_END(jiahosts - 1);
    CLOCK(ended);
    if (jiapid == 0) {
        int expected[BINS] = {0};
        for (row = 0; row < ROWS; row++)
            for (int column = 0; column < COLUMNS; column++)
                expected[bin_of(row, column)] += 2;
        for (int bin = 0; bin < BINS; bin++)
            is_right &= all->bins[bin] == expected[bin];
        is_right &= all->rows_done == 2 * ROWS && ended >= began;
        printf("jia_macros: %d processes: %s\n", jiahosts, is_right ? "right" : "WRONG");
    }
    MAIN_END;
    return !is_right;
}
