/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * floor_verbs.h - raw verbs between rank 0 and rank 1: what a message costs on the card without the
 * library. The same two processes that are measured do it.
 */
#ifndef BENCH_FLOOR_VERBS_H
#define BENCH_FLOOR_VERBS_H

#include "bench/worker.h"

enum bench_verbs_floor {
    BENCH_VERBS_PAGE_POLL, /* 8 B sent, 4 KiB written and 8 B sent back: what a miss does */
    BENCH_VERBS_WORD_POLL, /* 8 B sent, 8 B sent back */
    BENCH_VERBS_PAGE_SLEEP,
    BENCH_VERBS_WORD_SLEEP,
    BENCH_VERBS_PAGE_COMPUTING, /* the partner computes, a sleeping thread of it answers */
    BENCH_VERBS_STREAM,
    BENCH_VERBS_SEND,     /* half of 4 KiB sent there and back, as ib_send_lat */
    BENCH_VERBS_WRITE,    /* half of 4 KiB written there and back, as ib_write_lat */
    BENCH_VERBS_READ,     /* 4 KiB read, as ib_read_lat */
    BENCH_VERBS_READ_ASK, /* 4 KiB read, 8 B sent in the same post and 8 B back: both awaited */
};

/*
 * Collective over all ranks; only ranks 0 and 1 are connected. Leaves worker->verbs NULL, on all
 * ranks, where the build has no RDMA, the job's transport is another, or a connection cannot be
 * made; the last is told. Errors: NOMEM, PEER.
 */
int bench_verbs_open(struct bench_worker *worker);
void bench_verbs_close(struct bench_worker *worker);
/* Collective. Needs worker->verbs. Errors: PEER. */
int bench_verbs_run(struct bench_worker *worker, enum bench_verbs_floor floor,
                    struct bench_samples *samples);

#endif
