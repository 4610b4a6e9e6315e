/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * traffic.c - counts what operations cost the network, on two ranks: rank 0 asks, rank 1 answers
 * while it waits in a barrier. Prints the counts and fails when one is above what it should be. No
 * time decides: the counts do not depend on how long anything takes.
 *
 * What is allowed beyond one post and one completion for each operation is said in allow().
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dsm/dsm.h>

#define N           256u
#define PAGE_BYTES  4096u
#define LOCK_STRIDE 64u
/* rdma_tx.c: sends signalled to learn of room in the queue. rdma_rx.c: receive buffers go back by
 * eights at least. */
#define SENDS_PER_SIGNAL 32u
#define BUFFERS_PER_POST 8u
#define N_OPERATIONS     5u

static void check(int error, const char *what)
{
    if (error == 0)
        return;
    fprintf(stderr, "traffic: %s: %s\n", what, dsm_strerror(error));
    dsm_abort(1);
}

static uint8_t *alloc_at_partner(size_t len_bytes)
{
    struct dsm_alloc_options options;
    void *memory;

    dsm_alloc_options_init(&options);
    options.placement = DSM_PLACE_RANK;
    options.rank = 1;
    check(dsm_alloc(len_bytes, &options, &memory), "dsm_alloc");
    return memory;
}

/* ---- operations, each of N ------------------------------------------------------------------- */

static uint8_t *pages, *locks;

static volatile uint64_t *word(unsigned i)
{
    return (volatile uint64_t *)(void *)(pages + (size_t)i * PAGE_BYTES);
}

static void own_pages(uint32_t rank)
{
    for (unsigned i = 0; i < N && rank == 1; i++)
        *word(i) = i;
}

static void share_pages(uint32_t rank)
{
    own_pages(rank);
    check(dsm_barrier(), "dsm_barrier");
    for (unsigned i = 0; i < N && rank == 0; i++)
        (void)*word(i);
}

static void own_locks(uint32_t rank)
{
    for (unsigned i = 0; i < N && rank == 1; i++) {
        check(dsm_lock(locks + (size_t)i * LOCK_STRIDE), "dsm_lock");
        check(dsm_unlock(locks + (size_t)i * LOCK_STRIDE), "dsm_unlock");
    }
}

static void own_nothing(uint32_t rank)
{
    (void)rank;
}

static void read_pages(uint32_t rank)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < N && rank == 0; i++)
        sum += *word(i);
    if (rank == 0 && sum != (uint64_t)N * (N - 1) / 2) {
        fprintf(stderr, "traffic: the pages' sum is %" PRIu64 "\n", sum);
        dsm_abort(1);
    }
}

static void write_pages(uint32_t rank)
{
    for (unsigned i = 0; i < N && rank == 0; i++)
        *word(i) = 0;
}

static void take_locks(uint32_t rank)
{
    for (unsigned i = 0; i < N && rank == 0; i++) {
        check(dsm_lock(locks + (size_t)i * LOCK_STRIDE), "dsm_lock");
        check(dsm_unlock(locks + (size_t)i * LOCK_STRIDE), "dsm_unlock");
    }
}

static void meet(uint32_t rank)
{
    (void)rank;
    for (unsigned i = 0; i < N; i++)
        check(dsm_barrier(), "dsm_barrier");
}

struct operation {
    const char *name;
    void (*prepare)(uint32_t rank);
    void (*run)(uint32_t rank);
    bool has_bytes; /* the answer brings a page */
};

static const struct operation operations[N_OPERATIONS] = {
    {"read miss", own_pages, read_pages, true},   {"write miss", own_pages, write_pages, true},
    {"upgrade", share_pages, write_pages, false}, {"lock hand-over", own_locks, take_locks, false},
    {"barrier", own_nothing, meet, false},
};

/* ---- counting -------------------------------------------------------------------------------- */

struct counts {
    uint64_t posts, work_requests, buffer_posts, received, sent, credits, wakes;
};

static struct counts now(void)
{
    struct dsm_stats s = {.struct_size = sizeof s};

    check(dsm_stats_get(&s), "dsm_stats_get");
    return (struct counts){s.net_posts, s.net_work_requests, s.net_buffer_posts, s.net_received,
                           s.net_sent,  s.net_credits,       s.net_wakes};
}

static struct counts difference(const struct counts *a, const struct counts *b)
{
    return (struct counts){b->posts - a->posts,
                           b->work_requests - a->work_requests,
                           b->buffer_posts - a->buffer_posts,
                           b->received - a->received,
                           b->sent - a->sent,
                           b->credits - a->credits,
                           b->wakes - a->wakes};
}

/*
 * Beyond N. Rank 0 may see the other's message of the barrier that ends the counting before it
 * stops; rank 1 begins and ends with a barrier, and may see the message of the broadcast behind it
 * as well. Sends are signalled from time to time to learn of room, and a few completions may still
 * come of what was sent before. Nothing may be told but with messages that go anyway.
 */
static struct counts allow(const struct operation *operation, uint32_t rank)
{
    bool is_asker = rank == 0, has_bytes = operation->has_bytes && !is_asker;
    uint64_t n = is_asker ? N : N + 2, n_received = is_asker ? N + 1 : N + 3;

    return (struct counts){
        .posts = n,
        .work_requests = has_bytes ? 2 * n : n, /* the bytes, and the header behind them */
        .buffer_posts = n_received / BUFFERS_PER_POST + 4, /* two lanes: two queues */
        .received = n_received,
        .sent = (has_bytes ? n : n / SENDS_PER_SIGNAL) + 4,
        .credits = 0,
        .wakes = UINT64_MAX, /* they tell how long things took */
    };
}

static bool is_above(const char *operation, const char *end, const char *what, uint64_t count,
                     uint64_t allowed)
{
    if (count <= allowed)
        return false;
    printf("FAIL: %s, %s: %" PRIu64 " %s, at most %" PRIu64 " are allowed for %u operations\n",
           operation, end, count, what, allowed, N);
    return true;
}

static bool report(const struct operation *operation, uint32_t rank, const struct counts *c)
{
    struct counts most = allow(operation, rank);
    const char *end = rank == 0 ? "asker" : "answerer", *name = operation->name;
    bool is_rdma = strcmp(dsm_transport_name(), "rdma") == 0, is_bad;

    printf("%-15s %-9s %5" PRIu64 " posts, %5" PRIu64 " work requests, %5" PRIu64
           " posts of buffers, %5" PRIu64 " received, %5" PRIu64 " sent, %5" PRIu64
           " credits, %5" PRIu64 " wake-ups\n",
           name, end, c->posts, c->work_requests, c->buffer_posts, c->received, c->sent, c->credits,
           c->wakes);
    is_bad = is_above(name, end, "posts", c->posts, most.posts);
    /* How many reads of a socket bring a message is the kernel's business. */
    if (is_rdma) {
        is_bad |= is_above(name, end, "work requests", c->work_requests, most.work_requests);
        is_bad |= is_above(name, end, "posts of buffers", c->buffer_posts, most.buffer_posts);
        is_bad |= is_above(name, end, "completions of receives", c->received, most.received);
        is_bad |= is_above(name, end, "completions of sends", c->sent, most.sent);
        is_bad |= is_above(name, end, "messages with credits", c->credits, most.credits);
    }
    /* A transport that counts nothing would pass. */
    return is_bad | (c->posts < N / 2);
}

/* One operation, N times; the other rank's counts come by broadcast. Whether all is well. */
static bool measure(const struct operation *operation, uint32_t rank)
{
    struct counts start, end, mine, other;
    bool is_bad;

    operation->prepare(rank);
    check(dsm_barrier(), "dsm_barrier");
    start = now();
    check(dsm_barrier(), "dsm_barrier"); /* rank 0 asks before rank 1 counts, otherwise */
    if (rank == 0)
        start = now();
    operation->run(rank);
    end = now();
    check(dsm_barrier(), "dsm_barrier");
    if (rank != 0)
        end = now();
    mine = other = difference(&start, &end);
    check(dsm_bcast(&other, sizeof other, 1), "dsm_bcast");
    if (rank != 0)
        return true;
    is_bad = report(operation, 0, &mine);
    is_bad |= report(operation, 1, &other);
    return !is_bad;
}

int main(void)
{
    unsigned n_above = 0;
    uint32_t rank;

    if (dsm_init(NULL) != 0)
        return 1;
    rank = dsm_rank();
    if (dsm_size() != 2) {
        fprintf(stderr, "traffic: it takes 2 ranks, these are %" PRIu32 "\n", dsm_size());
        dsm_abort(2);
    }
    pages = alloc_at_partner((size_t)N * PAGE_BYTES);
    locks = alloc_at_partner((size_t)N * LOCK_STRIDE);
    for (unsigned i = 0; i < N_OPERATIONS; i++)
        n_above += !measure(&operations[i], rank);
    if (rank == 0)
        printf("traffic: %u operations, %u above what is allowed\n", N_OPERATIONS, n_above);
    fflush(stdout);
    check(dsm_finalize(), "dsm_finalize");
    return n_above != 0;
}
