/* SPDX-License-Identifier: BSD-3-Clause */
/* floor_socket.c - see floor_socket.h. */
#define _GNU_SOURCE
#include "bench/floor_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/pin.h"

#define STREAM_CHUNK_BYTES 65536u
#define ACCEPT_TIMEOUT_S   20
/* After so many looks in vain the partner is waiting for a processor, not for the network. */
#define LOOKS_BEFORE_YIELD 1000u

enum { SOCKET_MAIN, SOCKET_SERVER, N_SOCKETS };

struct bench_link {
    int fd[N_SOCKETS]; /* MAIN: between the main threads; SERVER: to rank 1's server thread */
    pthread_t server;
    bool has_server;
    uint8_t chunk[STREAM_CHUNK_BYTES];
};

/* What rank 0 tells the others, so that nobody else on this machine is taken for rank 1. */
struct invitation {
    uint32_t address; /* in network order */
    uint32_t port;
    uint8_t nonce[16];
};

static int fail(const char *what)
{
    fprintf(stderr, "dsm-bench: raw socket: %s: %s\n", what, strerror(errno));
    return DSM_E_SYSTEM;
}

static int send_all(int fd, const void *data, size_t len)
{
    const uint8_t *p = data;

    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            return DSM_E_PEER;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int receive_all(int fd, void *data, size_t len, bool is_polling)
{
    uint8_t *p = data;
    unsigned n_looks = 0;

    while (len > 0) {
        ssize_t n = recv(fd, p, len, is_polling ? MSG_DONTWAIT : 0);

        if (n < 0 && ++n_looks > LOOKS_BEFORE_YIELD)
            sched_yield();
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return DSM_E_PEER;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* ---- connecting ----------------------------------------------------------------------------- */

/* On loopback, or where ranks on other hosts reach this one: dsmrun says so. */
static int listen_here(struct invitation *invitation)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const char *host = getenv("DSM_LISTEN");
    socklen_t len = sizeof address;
    struct timeval timeout = {.tv_sec = ACCEPT_TIMEOUT_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fail("socket");
    if (host != NULL)
        (void)inet_pton(AF_INET, host, &address.sin_addr);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0 ||
        getrandom(invitation->nonce, sizeof invitation->nonce, 0) !=
            (ssize_t)sizeof invitation->nonce) {
        fail("listen (on DSM_LISTEN, else 127.0.0.1)");
        close(fd);
        return DSM_E_SYSTEM;
    }
    invitation->address = address.sin_addr.s_addr;
    invitation->port = ntohs(address.sin_port);
    return fd;
}

static int set_no_delay(int fd)
{
    int on = 1;

    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 ? 0 : fail("TCP_NODELAY");
}

/* The next connection that knows the nonce. */
static int accept_partner(int listener, const struct invitation *invitation)
{
    for (;;) {
        uint8_t nonce[sizeof invitation->nonce];
        struct timeval timeout = {.tv_sec = ACCEPT_TIMEOUT_S}, none = {0};
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0 && errno == EINTR)
            continue;
        if (fd < 0)
            return fail("accept");
        if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0 &&
            recv(fd, nonce, sizeof nonce, MSG_WAITALL) == (ssize_t)sizeof nonce &&
            memcmp(nonce, invitation->nonce, sizeof nonce) == 0 &&
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none) == 0 &&
            set_no_delay(fd) == 0)
            return fd;
        close(fd);
    }
}

static int connect_partner(const struct invitation *invitation)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = invitation->address,
                                  .sin_port = htons((uint16_t)invitation->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fail("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && set_no_delay(fd) == 0 &&
        send_all(fd, invitation->nonce, sizeof invitation->nonce) == 0)
        return fd;
    fail("connect to rank 0");
    close(fd);
    return DSM_E_CONNECT;
}

static int connect_all(struct bench_link *link, uint32_t rank, int listener,
                       const struct invitation *invitation)
{
    for (int i = 0; i < N_SOCKETS; i++) {
        int fd = rank == 0 ? accept_partner(listener, invitation) : connect_partner(invitation);

        if (fd < 0)
            return fd;
        link->fd[i] = fd;
    }
    return 0;
}

/* Rank 1: answers each word with a page, asleep in between, whatever the main thread does. */
static void *serve_pages(void *arg)
{
    struct bench_link *link = arg;
    static const uint8_t page[BENCH_PAGE_BYTES] = {7};
    uint64_t word;

    while (receive_all(link->fd[SOCKET_SERVER], &word, sizeof word, false) == 0)
        if (send_all(link->fd[SOCKET_SERVER], page, sizeof page) != 0)
            break;
    return NULL;
}

int bench_link_open(struct bench_worker *worker)
{
    struct invitation invitation = {0};
    struct bench_link *link = calloc(1, sizeof *link);
    int listener = -1, error;

    if (link == NULL)
        return DSM_E_NOMEM;
    link->fd[SOCKET_MAIN] = link->fd[SOCKET_SERVER] = -1;
    worker->link = link;
    if (worker->rank == 0) {
        listener = listen_here(&invitation);
        if (listener < 0)
            return listener;
    }
    error = dsm_bcast(&invitation, sizeof invitation, 0);
    if (error == 0 && worker->rank <= 1)
        error = connect_all(link, worker->rank, listener, &invitation);
    if (listener >= 0)
        close(listener);
    if (error == 0 && worker->rank == 1) {
        link->has_server = pthread_create(&link->server, NULL, serve_pages, link) == 0;
        error = link->has_server ? 0 : fail("pthread_create");
    }
    return error;
}

void bench_link_close(struct bench_worker *worker)
{
    struct bench_link *link = worker->link;

    if (link == NULL)
        return;
    for (int i = 0; i < N_SOCKETS; i++)
        if (link->fd[i] >= 0)
            shutdown(link->fd[i], SHUT_RDWR); /* ends the server thread's recv */
    if (link->has_server)
        pthread_join(link->server, NULL);
    for (int i = 0; i < N_SOCKETS; i++)
        if (link->fd[i] >= 0)
            close(link->fd[i]);
    free(link);
    worker->link = NULL;
}

/* ---- round trips ---------------------------------------------------------------------------- */

static int ask_on(int fd, unsigned n_rounds, size_t answer_bytes, bool is_polling, uint8_t *buffer,
                  struct bench_samples *samples)
{
    bench_samples_reserve(samples, n_rounds);
    for (uint64_t i = 0; i < n_rounds; i++) {
        uint64_t start_ns = dsm_clock_ns();

        if (send_all(fd, &i, sizeof i) != 0 ||
            receive_all(fd, buffer, answer_bytes, is_polling) != 0)
            return DSM_E_PEER;
        bench_samples_add(samples, bench_us_since(start_ns));
    }
    return 0;
}

static int answer_on(int fd, unsigned n_rounds, size_t answer_bytes, bool is_polling,
                     const uint8_t *buffer)
{
    for (unsigned i = 0; i < n_rounds; i++) {
        uint64_t word;

        if (receive_all(fd, &word, sizeof word, is_polling) != 0 ||
            send_all(fd, buffer, answer_bytes) != 0)
            return DSM_E_PEER;
    }
    return 0;
}

static int round_trips(struct bench_worker *worker, size_t answer_bytes, bool is_polling,
                       struct bench_samples *samples)
{
    struct bench_link *link = worker->link;
    unsigned n = worker->effort->n_rounds;
    struct bench_pin pin = {0};
    int error = 0;

    if (is_polling)
        bench_pin(worker, &pin);
    if (worker->rank == 0)
        error = ask_on(link->fd[SOCKET_MAIN], n, answer_bytes, is_polling, link->chunk, samples);
    else if (worker->rank == 1)
        error = answer_on(link->fd[SOCKET_MAIN], n, answer_bytes, is_polling, link->chunk);
    bench_unpin(&pin);
    return error;
}

int bench_floor_rt_page_poll(struct bench_worker *worker, struct bench_samples *samples)
{
    return round_trips(worker, BENCH_PAGE_BYTES, true, samples);
}

int bench_floor_rt_word_poll(struct bench_worker *worker, struct bench_samples *samples)
{
    return round_trips(worker, sizeof(uint64_t), true, samples);
}

int bench_floor_rt_page_sleep(struct bench_worker *worker, struct bench_samples *samples)
{
    return round_trips(worker, BENCH_PAGE_BYTES, false, samples);
}

int bench_floor_rt_word_sleep(struct bench_worker *worker, struct bench_samples *samples)
{
    return round_trips(worker, sizeof(uint64_t), false, samples);
}

int bench_floor_rt_page_computing(struct bench_worker *worker, struct bench_samples *samples)
{
    struct bench_link *link = worker->link;
    struct bench_pin pin;
    int error = 0;

    bench_pin(worker, &pin); /* the server thread goes where the scheduler likes */
    if (worker->rank == 0) {
        error = ask_on(link->fd[SOCKET_SERVER], worker->effort->n_rounds, BENCH_PAGE_BYTES, true,
                       link->chunk, samples);
        if (error == 0)
            error = bench_link_stop(worker);
    } else if (worker->rank == 1) {
        error = bench_link_compute_until_stopped(worker);
    }
    bench_unpin(&pin);
    return error;
}

/* ---- stream --------------------------------------------------------------------------------- */

#define STREAM_SAMPLES 4u

static int stream_once(struct bench_worker *worker, uint64_t bytes, bool is_polling)
{
    struct bench_link *link = worker->link;
    int fd = link->fd[SOCKET_MAIN], error = 0;

    for (uint64_t done = 0; done < bytes && error == 0; done += STREAM_CHUNK_BYTES)
        error = worker->rank == 0 ? receive_all(fd, link->chunk, STREAM_CHUNK_BYTES, is_polling)
                                  : send_all(fd, link->chunk, STREAM_CHUNK_BYTES);
    return error;
}

int bench_floor_stream(struct bench_worker *worker, struct bench_samples *samples)
{
    struct bench_link *link = worker->link;
    uint64_t bytes = worker->effort->stream_bytes / STREAM_SAMPLES, word = 0;
    bool is_polling = !worker->is_oversubscribed;
    struct bench_pin pin;
    int error = 0;

    if (worker->rank > 1)
        return 0;
    bench_pin(worker, &pin);
    bench_samples_reserve(samples, STREAM_SAMPLES);
    for (unsigned i = 0; i < STREAM_SAMPLES && error == 0; i++) {
        uint64_t start_ns = dsm_clock_ns();

        /* Asked for, as a sequential read would: the first answer's way is in the time. */
        error = worker->rank == 0
                    ? send_all(link->fd[SOCKET_MAIN], &word, sizeof word)
                    : receive_all(link->fd[SOCKET_MAIN], &word, sizeof word, is_polling);
        if (error == 0)
            error = stream_once(worker, bytes, is_polling);
        if (worker->rank == 0)
            bench_samples_add(samples, (double)bytes / (double)(dsm_clock_ns() - start_ns));
    }
    bench_unpin(&pin);
    return error;
}

/* ---- what rank 1 does meanwhile ------------------------------------------------------------- */

int bench_link_stop(struct bench_worker *worker)
{
    uint64_t word = 0;

    return send_all(worker->link->fd[SOCKET_MAIN], &word, sizeof word);
}

int bench_link_sleep_until_stopped(struct bench_worker *worker)
{
    uint64_t word;

    return receive_all(worker->link->fd[SOCKET_MAIN], &word, sizeof word, false);
}

int bench_link_compute_until_stopped(struct bench_worker *worker)
{
    int fd = worker->link->fd[SOCKET_MAIN];
    volatile double sum = 0;
    uint64_t word;

    for (;;) {
        ssize_t n;

        /* About 0.2 ms of arithmetic for each look at the socket. */
        for (int i = 0; i < 100000; i++)
            sum = sum + i * 0.5;
        n = recv(fd, &word, sizeof word, MSG_DONTWAIT);
        if (n == (ssize_t)sizeof word)
            return 0;
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return DSM_E_PEER;
        if (n > 0) /* part of the word: the rest is on its way */
            return receive_all(fd, &word, sizeof word - (size_t)n, false);
    }
}
