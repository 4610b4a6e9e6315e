/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * verbs_link.h - two raw queue pairs between rank 0 and rank 1 and their memory, for floor_verbs.c.
 * rdma_cm connects them over the address of the job's device.
 */
#ifndef BENCH_VERBS_LINK_H
#define BENCH_VERBS_LINK_H

#include <infiniband/verbs.h>
#include <pthread.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/worker.h"

#define BENCH_VERBS_DEPTH       64u /* of a send queue */
#define BENCH_VERBS_RECEIVES    16u
#define BENCH_VERBS_CHUNK_BYTES 65536u

enum { BENCH_VERBS_MAIN, BENCH_VERBS_SERVER, BENCH_N_VERBS_ENDS };

/* One queue pair. */
struct bench_verbs_end {
    struct rdma_cm_id *id;
    struct ibv_comp_channel *channel; /* of receives */
    struct ibv_cq *received, *sent;
    struct ibv_pd *pd;
    struct ibv_mr *mr;
    uint8_t *memory;
    uint32_t inline_bytes;
    uint64_t peer_memory; /* laid out as ours */
    uint32_t peer_key;
    unsigned n_unsignalled, n_signalled; /* posted and not known to be out */
};

struct bench_verbs {
    struct bench_verbs_end ends[BENCH_N_VERBS_ENDS]; /* SERVER: to rank 1's server thread */
    struct rdma_cm_id *listener;
    pthread_t server;
    bool has_server;
};

/* Where things are in an end's memory. */
#define BENCH_VERBS_SOURCE_AT  0u
#define BENCH_VERBS_TARGET_AT  BENCH_VERBS_CHUNK_BYTES
#define BENCH_VERBS_RECEIVE_AT (2 * BENCH_VERBS_CHUNK_BYTES)
#define BENCH_VERBS_BYTES      (BENCH_VERBS_RECEIVE_AT + BENCH_VERBS_RECEIVES * BENCH_PAGE_BYTES)

/* Collective over all ranks. An error of rank 0 or 1 is told; nothing is left but for close. */
int bench_verbs_link_open(struct bench_worker *worker, struct bench_verbs *verbs);
void bench_verbs_link_close(struct bench_verbs *verbs);
/* The receive buffer of this number, for the next message. */
int bench_verbs_receive(struct bench_verbs_end *end, uint64_t number);

#endif
