/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_cluster.h - the vocabulary of the transport tests: a few ranks in one process, each with a
 * service thread that runs its loop; frames whose content says where they belong; and waiting for
 * something to have happened.
 *
 * A test frame's header is
 *   0 u64 number, counting from 0 per (source, destination, lane)
 *   8 u32 kind   12 u32 destination of the answer's lane (ECHO)   56 u32 len
 * and its payload a pattern made from source, destination, lane and number. Every endpoint checks
 * order and content of all that it gets; the first thing that is wrong is kept in `failure`.
 */
#ifndef DSM_TESTS_NET_CLUSTER_H
#define DSM_TESTS_NET_CLUSTER_H

#include "net/net.h"
#include <pthread.h>
#include <dsm/dsm.h>
#include <stdatomic.h>

#define TEST_MAX_RANKS   8
#define TEST_LANES       2
#define LANE_REQUEST     0u
#define LANE_REPLY       1u
#define TEST_MAX_COOKIES (1u << 17)
/* Room for the longest pattern, which is made in steps of 8 bytes. */
#define DSM_TEST_PATTERN_BYTES (DSM_NET_MAX_PAYLOAD + 8)

enum kind {
    KIND_PLAIN,
    KIND_DISCARD, /* the receiver wants no payload */
    KIND_ECHO,    /* the receiver answers with a PLAIN frame of the same len on the reply lane */
    KIND_REFUSE,  /* on_header returns an error */
    KIND_FAREWELL /* on_header calls peer_left */
};

struct endpoint {
    const struct dsm_net_ops *ops;
    struct dsm_net *net;
    uint32_t rank;
    uint32_t n_ranks;
    uv_loop_t loop;
    uv_async_t stop;
    uv_async_t settle;
    uint64_t n_settled;
    void (*task)(struct endpoint *e); /* for the service thread, once */
    pthread_t thread;
    bool is_running;
    uint64_t spin_ns;

    pthread_mutex_t lock; /* what a driver's lock would be: taken in callbacks and by senders */
    pthread_cond_t changed;
    uint64_t next_out[TEST_MAX_RANKS][TEST_LANES];
    uint64_t next_in[TEST_MAX_RANKS][TEST_LANES];
    uint64_t payloads_in[TEST_MAX_RANKS][TEST_LANES];
    uint8_t *place[TEST_MAX_RANKS][TEST_LANES]; /* where payloads go, with guards around */
    uint64_t n_frames;
    uint64_t n_on_service; /* handled by the service thread */
    uint64_t n_batches;
    int64_t lead[TEST_LANES]; /* by how many frames a lane was ahead of the other, at most */
    uint64_t n_lost[TEST_MAX_RANKS];
    int lost_error[TEST_MAX_RANKS];
    char lost_why[TEST_MAX_RANKS][300];
    uint64_t next_cookie;
    uint64_t n_sent;
    uint8_t sent[TEST_MAX_COOKIES]; /* how often each cookie came back */
    uint64_t mark;                  /* the test's */
    char failure[300];
};

struct cluster {
    uint32_t n_ranks;
    struct endpoint *at[TEST_MAX_RANKS];
};

/* What differs from a cluster in which all is well; zeros: nothing. */
struct cluster_options {
    double connect_timeout_s;
    uint32_t odd_rank; /* the rank to which the following applies */
    bool has_odd_token;
    const char *odd_build;
    uint32_t odd_n_ranks;
    uint32_t odd_epoch;
    bool has_swapped_addresses; /* it thinks that the others have each other's address */
    uint64_t spin_ns;
    bool is_alone;                 /* the others' addresses lead nowhere */
    const char *address_of_rank_1; /* instead of the real one, for rank 0 */
};

/* tcp: all clusters without shared memory. */
extern bool cluster_is_socket_only;

void cluster_open(struct cluster *cluster, const struct dsm_net_ops *ops, uint32_t n_ranks,
                  const struct cluster_options *options);
void cluster_close(struct cluster *cluster);
/* Ends one endpoint, as when its process ends. */
void endpoint_close(struct endpoint *e);

/* Returns when the service thread has left whatever it was in. */
void endpoint_settle(struct endpoint *e);

/* The same, and it has done the task meanwhile. */
void endpoint_run(struct endpoint *e, void (*task)(struct endpoint *e));

/* Queues one frame; the pattern is made in `payload` (len bytes), unless it
 * is to be discarded. Returns send's
 * result. cookie: 0 or from endpoint_cookie. */
int endpoint_send(struct endpoint *e, uint32_t to, unsigned lane, enum kind kind, uint32_t len,
                  uint8_t *payload, uint64_t cookie);
/* Sends a frame without meaning on the request lane: the error, or 0. */
int endpoint_probe(struct endpoint *e, uint32_t to);
uint64_t endpoint_cookie(struct endpoint *e);
void make_pattern(uint8_t *out, uint32_t len, uint32_t from, uint32_t to, unsigned lane,
                  uint64_t number);

/*
 * Waits until expression holds, looked at under e->lock whenever something happened at e. Gives up
 * after GUARD_S, which only a hang takes.
 */
#define GUARD_S 60
#define endpoint_wait(e, expression)                                                               \
    do {                                                                                           \
        pthread_mutex_lock(&(e)->lock);                                                            \
        struct timespec deadline_ = guard_deadline();                                              \
        while (!(expression) && !(e)->failure[0])                                                  \
            ck_assert_msg(pthread_cond_timedwait(&(e)->changed, &(e)->lock, &deadline_) == 0,      \
                          "rank %u: never came true: %s", (e)->rank, #expression);                 \
        ck_assert_msg(!(e)->failure[0], "%s", (e)->failure);                                       \
        pthread_mutex_unlock(&(e)->lock);                                                          \
    } while (0)
/* The same while this thread reads for the endpoint under a claim. */
#define endpoint_poll_until(e, expression)                                                         \
    do {                                                                                           \
        struct timespec deadline_ = guard_deadline();                                              \
        (e)->ops->claim((e)->net);                                                                 \
        while (!({                                                                                 \
            pthread_mutex_lock(&(e)->lock);                                                        \
            bool holds_ = (expression);                                                            \
            ck_assert_msg(!(e)->failure[0], "%s", (e)->failure);                                   \
            pthread_mutex_unlock(&(e)->lock);                                                      \
            holds_;                                                                                \
        })) {                                                                                      \
            (e)->ops->poll((e)->net, 20000);                                                       \
            ck_assert_msg(is_before(&deadline_), "rank %u: never came true: %s", (e)->rank,        \
                          #expression);                                                            \
        }                                                                                          \
        (e)->ops->release((e)->net);                                                               \
    } while (0)
/* A value of the endpoint's, read as it must be while its threads run. */
#define endpoint_get(e, expression)                                                                \
    ({                                                                                             \
        pthread_mutex_lock(&(e)->lock);                                                            \
        __auto_type value_ = (expression);                                                         \
        pthread_mutex_unlock(&(e)->lock);                                                          \
        value_;                                                                                    \
    })
struct timespec guard_deadline(void);
bool is_before(const struct timespec *deadline);

/* A seed from DSM_TEST_SEED or fresh; printed either way. */
uint64_t test_seed(const char *who);
unsigned count_descriptors(void);

#endif
