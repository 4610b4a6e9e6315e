/* SPDX-License-Identifier: BSD-3-Clause */
/* floor_verbs.c - see floor_verbs.h. */
#define _GNU_SOURCE
#include "bench/floor_verbs.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/floor_socket.h"
#include "bench/pin.h"
#include "bench/verbs_link.h"

/* After so many looks in vain the partner is waiting for a processor, not for the card. */
#define LOOKS_BEFORE_YIELD  1000u
#define POSTS_PER_SIGNAL    16u
#define STREAM_SAMPLES      4u
#define CHUNKS_PER_SIGNAL   4u
#define SIGNALS_OUTSTANDING 4u /* a stream of 1 MiB under way */

/* ---- completions ----------------------------------------------------------------------------- */

static int take_one(struct ibv_cq *cq, struct ibv_wc *wc)
{
    int n = ibv_poll_cq(cq, 1, wc);

    return n < 0 || (n > 0 && wc->status != IBV_WC_SUCCESS) ? DSM_E_PEER : n;
}

static int spin_for(struct ibv_cq *cq, struct ibv_wc *wc)
{
    unsigned n_looks = 0;

    for (;;) {
        int n = take_one(cq, wc);

        if (n != 0)
            return n < 0 ? n : 0;
        if (++n_looks > LOOKS_BEFORE_YIELD)
            sched_yield();
    }
}

static int sleep_for(struct bench_verbs_end *end, struct ibv_wc *wc)
{
    for (;;) {
        int n = take_one(end->received, wc);
        struct ibv_cq *cq;
        void *context;

        if (n != 0)
            return n < 0 ? n : 0;
        if (ibv_req_notify_cq(end->received, 0) != 0)
            return DSM_E_SYSTEM;
        n = take_one(end->received, wc); /* one that came before makes no event */
        if (n != 0)
            return n < 0 ? n : 0;
        if (ibv_get_cq_event(end->channel, &cq, &context) != 0)
            return DSM_E_SYSTEM;
        ibv_ack_cq_events(cq, 1);
    }
}

static int wait_message(struct bench_verbs_end *end, bool is_polling)
{
    struct ibv_wc wc;
    int error = is_polling ? spin_for(end->received, &wc) : sleep_for(end, &wc);

    return error != 0 ? error : bench_verbs_receive(end, wc.wr_id);
}

/* Completions of what was posted, until no more than n_left signalled requests are out. */
static int wait_sent(struct bench_verbs_end *end, unsigned n_left)
{
    struct ibv_wc wc;
    int error = 0;

    for (; end->n_signalled > n_left && error == 0; end->n_signalled--)
        error = spin_for(end->sent, &wc);
    return error;
}

/* ---- posting --------------------------------------------------------------------------------- */

struct request {
    struct ibv_send_wr wr;
    struct ibv_sge sge;
};

static void make(struct bench_verbs_end *end, struct request *request, enum ibv_wr_opcode opcode,
                 uint32_t at, uint32_t len_bytes)
{
    *request = (struct request){
        .wr = {.sg_list = &request->sge, .num_sge = 1, .opcode = opcode},
        .sge = {(uintptr_t)end->memory + at, len_bytes, end->mr->lkey},
    };
    if (opcode == IBV_WR_SEND && len_bytes <= end->inline_bytes)
        request->wr.send_flags = IBV_SEND_INLINE;
    request->wr.wr.rdma.remote_addr = end->peer_memory + BENCH_VERBS_TARGET_AT;
    request->wr.wr.rdma.rkey = end->peer_key;
}

/* One doorbell. Signalled when asked for, and when a quarter of the queue has not been. */
static int post(struct bench_verbs_end *end, struct request *first, struct request *second,
                bool is_signalled)
{
    struct request *last = second != NULL ? second : first;
    struct ibv_send_wr *bad;

    first->wr.next = second != NULL ? &second->wr : NULL;
    end->n_unsignalled++;
    if (is_signalled || end->n_unsignalled >= POSTS_PER_SIGNAL) {
        last->wr.send_flags |= IBV_SEND_SIGNALED;
        end->n_unsignalled = 0;
        end->n_signalled++;
    }
    return ibv_post_send(end->id->qp, &first->wr, &bad) == 0 ? 0 : DSM_E_PEER;
}

static int send_word(struct bench_verbs_end *end)
{
    struct request word;
    int error = wait_sent(end, 0); /* out long ago: an answer has come since */

    make(end, &word, IBV_WR_SEND, BENCH_VERBS_SOURCE_AT, sizeof(uint64_t));
    return error != 0 ? error : post(end, &word, NULL, false);
}

/* What the owner of a page does. */
static int send_page(struct bench_verbs_end *end)
{
    struct request page, word;
    int error = wait_sent(end, 0);

    make(end, &page, IBV_WR_RDMA_WRITE, BENCH_VERBS_SOURCE_AT, BENCH_PAGE_BYTES);
    make(end, &word, IBV_WR_SEND, BENCH_VERBS_SOURCE_AT, sizeof(uint64_t));
    return error != 0 ? error : post(end, &page, &word, false);
}

/* ---- round trips ----------------------------------------------------------------------------- */

static int ask(struct bench_verbs_end *end, unsigned n, bool is_polling,
               struct bench_samples *samples)
{
    int error = 0;

    bench_samples_reserve(samples, n);
    for (unsigned i = 0; i < n && error == 0; i++) {
        uint64_t start_ns = dsm_clock_ns();

        error = send_word(end);
        if (error == 0)
            error = wait_message(end, is_polling);
        bench_samples_add(samples, bench_us_since(start_ns));
    }
    return error;
}

static int answer(struct bench_verbs_end *end, unsigned n, bool is_polling, bool has_page)
{
    int error = 0;

    for (unsigned i = 0; i < n && error == 0; i++) {
        error = wait_message(end, is_polling);
        if (error == 0)
            error = has_page ? send_page(end) : send_word(end);
    }
    return error;
}

static int round_trips(struct bench_worker *worker, bool has_page, bool is_polling,
                       struct bench_samples *samples)
{
    struct bench_verbs_end *end = &worker->verbs->ends[BENCH_VERBS_MAIN];
    unsigned n = worker->effort->n_rounds;

    return worker->rank == 0 ? ask(end, n, is_polling, samples)
                             : answer(end, n, is_polling, has_page);
}

static int computing(struct bench_worker *worker, struct bench_samples *samples)
{
    int error;

    if (worker->rank != 0)
        return bench_link_compute_until_stopped(worker);
    error = ask(&worker->verbs->ends[BENCH_VERBS_SERVER], worker->effort->n_rounds, true, samples);
    return error != 0 ? error : bench_link_stop(worker);
}

/* Rank 1: answers each word with a page, asleep in between, whatever the main thread does. */
static void *serve_pages(void *arg)
{
    struct bench_verbs_end *end = arg;

    while (wait_message(end, false) == 0)
        if (send_page(end) != 0)
            break;
    return NULL;
}

/* ---- as perftest has them -------------------------------------------------------------------- */

static int send_there_and_back(struct bench_worker *worker, struct bench_samples *samples)
{
    struct bench_verbs_end *end = &worker->verbs->ends[BENCH_VERBS_MAIN];
    unsigned n = worker->effort->n_rounds;
    struct request page;
    int error = 0;

    bench_samples_reserve(samples, n);
    for (unsigned i = 0; i < n && error == 0; i++) {
        uint64_t start_ns = dsm_clock_ns();

        if (worker->rank != 0)
            error = wait_message(end, true);
        if (error == 0)
            error = wait_sent(end, 0);
        make(end, &page, IBV_WR_SEND, BENCH_VERBS_SOURCE_AT, BENCH_PAGE_BYTES);
        if (error == 0)
            error = post(end, &page, NULL, false);
        if (error == 0 && worker->rank == 0)
            error = wait_message(end, true);
        if (worker->rank == 0)
            bench_samples_add(samples, bench_us_since(start_ns) / 2);
    }
    return error;
}

/* Until the last byte of a page written here is this one: no completion tells. */
static int await_byte(struct bench_verbs_end *end, uint8_t value)
{
    volatile uint8_t *last = end->memory + BENCH_VERBS_TARGET_AT + BENCH_PAGE_BYTES - 1;
    unsigned n_looks = 0;
    struct ibv_wc wc;

    while (*last != value) {
        if (++n_looks <= LOOKS_BEFORE_YIELD)
            continue;
        if (take_one(end->received, &wc) < 0) /* nothing comes any more */
            return DSM_E_PEER;
        sched_yield();
    }
    return 0;
}

static int write_there_and_back(struct bench_worker *worker, struct bench_samples *samples)
{
    struct bench_verbs_end *end = &worker->verbs->ends[BENCH_VERBS_MAIN];
    uint8_t *target = end->memory + BENCH_VERBS_TARGET_AT + BENCH_PAGE_BYTES - 1;
    uint8_t *source = end->memory + BENCH_VERBS_SOURCE_AT + BENCH_PAGE_BYTES - 1;
    unsigned n = worker->effort->n_rounds;
    struct bench_samples unused = {0};
    struct request page;
    int error;

    *target = 0; /* at both ends, before either writes */
    error = worker->rank == 0 ? ask(end, 1, true, &unused) : answer(end, 1, true, false);
    bench_samples_free(&unused);
    bench_samples_reserve(samples, n);
    for (unsigned i = 0; i < n && error == 0; i++) {
        uint8_t value = (uint8_t)(i % 255 + 1);
        uint64_t start_ns = dsm_clock_ns();

        if (worker->rank != 0)
            error = await_byte(end, value);
        if (error == 0)
            error = wait_sent(end, 0);
        *source = value;
        make(end, &page, IBV_WR_RDMA_WRITE, BENCH_VERBS_SOURCE_AT, BENCH_PAGE_BYTES);
        if (error == 0)
            error = post(end, &page, NULL, false);
        if (error == 0 && worker->rank == 0)
            error = await_byte(end, value);
        if (worker->rank == 0)
            bench_samples_add(samples, bench_us_since(start_ns) / 2);
    }
    return error;
}

/* The partner's processor does nothing, or, with_word, answers a word sent in the same post. */
static int read_pages(struct bench_worker *worker, bool with_word, struct bench_samples *samples)
{
    struct bench_verbs_end *end = &worker->verbs->ends[BENCH_VERBS_MAIN];
    unsigned n = worker->effort->n_rounds;
    struct request page, word;
    int error = 0;

    if (worker->rank != 0)
        return answer(end, with_word ? n : 1, true, false);
    bench_samples_reserve(samples, n);
    error = wait_sent(end, 0);
    for (unsigned i = 0; i < n && error == 0; i++) {
        uint64_t start_ns = dsm_clock_ns();

        make(end, &page, IBV_WR_RDMA_READ, BENCH_VERBS_TARGET_AT, BENCH_PAGE_BYTES);
        make(end, &word, IBV_WR_SEND, BENCH_VERBS_SOURCE_AT, sizeof(uint64_t));
        error = with_word ? post(end, &word, &page, true) : post(end, &page, NULL, true);
        if (error == 0)
            error = wait_sent(end, 0);
        if (error == 0 && with_word)
            error = wait_message(end, true);
        bench_samples_add(samples, bench_us_since(start_ns));
    }
    if (error == 0 && !with_word) { /* the partner may stop polling */
        error = send_word(end);
        if (error == 0)
            error = wait_message(end, true);
    }
    return error;
}

/* ---- stream ---------------------------------------------------------------------------------- */

/* Chunks written one behind the other; a word behind the last. */
static int write_stream(struct bench_verbs_end *end, uint64_t bytes)
{
    uint64_t n_chunks = bytes / BENCH_VERBS_CHUNK_BYTES;
    struct request chunk, word;
    int error = wait_sent(end, 0);

    for (uint64_t i = 1; i <= n_chunks && error == 0; i++) {
        make(end, &chunk, IBV_WR_RDMA_WRITE, BENCH_VERBS_SOURCE_AT, BENCH_VERBS_CHUNK_BYTES);
        make(end, &word, IBV_WR_SEND, BENCH_VERBS_SOURCE_AT, sizeof(uint64_t));
        error = wait_sent(end, SIGNALS_OUTSTANDING);
        if (error == 0)
            error = post(end, &chunk, i == n_chunks ? &word : NULL, i % CHUNKS_PER_SIGNAL == 0);
    }
    return error;
}

static int stream(struct bench_worker *worker, struct bench_samples *samples)
{
    struct bench_verbs_end *end = &worker->verbs->ends[BENCH_VERBS_MAIN];
    uint64_t bytes = worker->effort->stream_bytes / STREAM_SAMPLES;
    bool is_polling = !worker->is_oversubscribed;
    int error = 0;

    bench_samples_reserve(samples, STREAM_SAMPLES);
    for (unsigned i = 0; i < STREAM_SAMPLES && error == 0; i++) {
        uint64_t start_ns = dsm_clock_ns();

        /* Asked for, as a sequential read would: the first answer's way is in the time. */
        if (worker->rank == 0)
            error = send_word(end);
        if (error == 0)
            error = wait_message(end, is_polling);
        if (error == 0 && worker->rank != 0)
            error = write_stream(end, bytes);
        if (worker->rank == 0)
            bench_samples_add(samples, (double)bytes / (double)(dsm_clock_ns() - start_ns));
    }
    return error;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int run(struct bench_worker *worker, enum bench_verbs_floor floor,
               struct bench_samples *samples)
{
    switch (floor) {
    case BENCH_VERBS_PAGE_POLL:
        return round_trips(worker, true, true, samples);
    case BENCH_VERBS_WORD_POLL:
        return round_trips(worker, false, true, samples);
    case BENCH_VERBS_PAGE_SLEEP:
        return round_trips(worker, true, false, samples);
    case BENCH_VERBS_WORD_SLEEP:
        return round_trips(worker, false, false, samples);
    case BENCH_VERBS_PAGE_COMPUTING:
        return computing(worker, samples);
    case BENCH_VERBS_STREAM:
        return stream(worker, samples);
    case BENCH_VERBS_SEND:
        return send_there_and_back(worker, samples);
    case BENCH_VERBS_WRITE:
        return write_there_and_back(worker, samples);
    case BENCH_VERBS_READ:
        return read_pages(worker, false, samples);
    case BENCH_VERBS_READ_ASK:
        return read_pages(worker, true, samples);
    }
    return DSM_E_INVAL;
}

int bench_verbs_run(struct bench_worker *worker, enum bench_verbs_floor floor,
                    struct bench_samples *samples)
{
    bool is_asleep = floor == BENCH_VERBS_PAGE_SLEEP || floor == BENCH_VERBS_WORD_SLEEP;
    struct bench_pin pin = {0};
    int error;

    if (worker->rank > 1)
        return 0;
    if (!is_asleep)
        bench_pin(worker, &pin);
    error = run(worker, floor, samples);
    bench_unpin(&pin);
    return error;
}

int bench_verbs_open(struct bench_worker *worker)
{
    struct bench_verbs *verbs;
    int error;

    worker->verbs = NULL;
    if (worker->n_ranks < 2 || strcmp(worker->transport, "rdma") != 0)
        return 0;
    verbs = calloc(1, sizeof *verbs);
    if (verbs == NULL)
        return DSM_E_NOMEM;
    error = bench_verbs_link_open(worker, verbs);
    if (error == 0 && worker->rank == 1) {
        verbs->has_server = pthread_create(&verbs->server, NULL, serve_pages,
                                           &verbs->ends[BENCH_VERBS_SERVER]) == 0;
        error = verbs->has_server ? 0 : DSM_E_NOMEM;
    }
    worker->verbs = verbs;
    if (error == DSM_E_PEER || error == DSM_E_NOMEM)
        return error;
    if (error != 0) { /* on all ranks alike */
        bench_verbs_close(worker);
        if (worker->rank == 0)
            fprintf(stderr, "dsm-bench: no raw verbs: floors are those of TCP\n");
    }
    return 0;
}

void bench_verbs_close(struct bench_worker *worker)
{
    struct bench_verbs *verbs = worker->verbs;
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};

    if (verbs == NULL)
        return;
    if (verbs->has_server) { /* its receives come back, in error */
        (void)ibv_modify_qp(verbs->ends[BENCH_VERBS_SERVER].id->qp, &attr, IBV_QP_STATE);
        (void)pthread_join(verbs->server, NULL);
    }
    bench_verbs_link_close(verbs);
    free(verbs);
    worker->verbs = NULL;
}
