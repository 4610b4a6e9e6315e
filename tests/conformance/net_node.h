/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_node.h - the vocabulary of the tests of memory that a peer may write to: two ranks with some,
 * each with a service thread.
 */
#ifndef DSM_TESTS_NET_NODE_H
#define DSM_TESTS_NET_NODE_H

#include "net/net.h"
#include <check.h>
#include <dsm/dsm.h>
#include <pthread.h>
#include <time.h>

#define MEMORY_BYTES (1u << 20)
#define CHUNK_BYTES  (256u << 10) /* what is registered as a whole */
#define OFFSET_AT    16 /* u64 in the test's headers: where the payload goes; UINT64_MAX: nowhere */
#define NODE_GUARD_S 60
#define NODE_COOKIE  7

struct node {
    struct dsm_net *net;
    uint8_t *memory;
    int memory_fd;
    uint64_t most_bytes;  /* UINT64_MAX, or set between open and start */
    uint64_t pinned_most; /* what the transport keeps of it */
    uv_loop_t loop;
    uv_async_t stop;
    uv_async_t run;
    pthread_t thread;
    pthread_mutex_t lock; /* what the driver's lock would be */
    void (*task)(struct node *n);
    unsigned n_run;
    unsigned n_headers, n_payloads, n_sent, n_lost;
    unsigned n_asked;    /* whether something is unused */
    unsigned n_unpinned; /* chunks that were let go and given back */
    bool is_unused;      /* what it answers */
    int lost_error;
    uint32_t lost_rank;
    char lost_why[300];
};

/* Of nodes that are opened from now on: */
extern const struct dsm_net_ops *node_ops;
extern double node_connect_timeout_s; /* 0: what the transport takes */
extern bool node_is_private;          /* set_memory is told no file */
/* 0, or what open returned; then there is nothing to close. */
int node_open(struct node *n, uint32_t rank, const struct dsm_net_rdma_config *rdma);
void node_address(struct node *n, char *out, size_t out_bytes);
/* Its service thread runs when this returns. */
void node_start(struct node *n, uint32_t rank, const char *const *addresses);
void node_close(struct node *n);
void open_pair(struct node nodes[2], const struct dsm_net_rdma_config *rdma);
void close_pair(struct node nodes[2]);

bool is_late(time_t since);
/* Waits until *count of n is value. */
void await(struct node *n, const unsigned *count, unsigned value);
/* Has the service thread do it. */
void node_run(struct node *n, void (*task)(struct node *n));
/* Asks until there is one; the loop's thread registers it meanwhile. */
uint32_t key_of(struct node *n, uint64_t offset, size_t len_bytes);
/* From our memory at from, told to belong at to; the error of send. */
int try_send_bytes(struct node *n, uint32_t rank, uint64_t from, uint64_t to, uint32_t len,
                   uint32_t key);
/* The same to rank 1, without an error. */
void send_bytes(struct node *n, uint64_t from, uint64_t to, uint32_t len, uint32_t key);
struct dsm_net_counters counters_of(struct node *n);
/* Bytes of its memory that there are. */
uint64_t resident_bytes(const struct node *n);

/* net_landing.c: for every transport that can write into a peer's memory. */
TCase *net_landing(void);
/* net_rdma_memory.c, net_rdma_loss.c */
TCase *net_rdma_landing(void);
TCase *net_rdma_pinning(void);
TCase *net_rdma_choosing(void);
TCase *net_rdma_loss(void);
TCase *net_rdma_strangers(void);

#endif
