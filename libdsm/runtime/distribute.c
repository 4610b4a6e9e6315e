/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * distribute.c - see distribute.h.
 *
 * A piece at a time goes to all ranks, and the next when all have answered: what is on its way is
 * bounded, and the pieces arrive in order. Bytes are moved between addresses of the program and
 * ours through a pipe, which fails with EFAULT instead of faulting.
 */
#define _GNU_SOURCE
#include "runtime/distribute.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "wire/frame.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIECE_BYTES 4096u /* at most what a pipe takes in one go; the transport copies it */

/* On the stack of the calling thread. */
struct distribution {
    struct distribution *next;
    struct dsm_waiter wait;
    uint32_t request, n_left;
    uint8_t *awaited; /* by rank */
    int error;
    dsm_rank_t rank; /* whose error */
};

struct dsm_distribute {
    int pipe[2];
    uint32_t last_request;
    struct distribution *calls; /* under way */
    uint8_t *pieces; /* one for each rank that sends; only what is touched costs memory */
    size_t pieces_bytes;
};

int dsm_distribute_open(struct dsm_driver *d)
{
    struct dsm_distribute *s = calloc(1, sizeof *s);
    if (!s)
        return DSM_E_NOMEM;
    if (pipe2(s->pipe, O_CLOEXEC | O_NONBLOCK)) {
        int error = errno == EMFILE || errno == ENFILE ? DSM_E_LIMIT : DSM_E_SYSTEM;
        free(s);
        return error;
    }
    s->pieces_bytes = (size_t)d->config.n_ranks * PIECE_BYTES;
    void *p = mmap(NULL, s->pieces_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        close(s->pipe[0]);
        close(s->pipe[1]);
        free(s);
        return DSM_E_NOMEM;
    }
    s->pieces = p;
    d->distribute = s;
    return 0;
}

void dsm_distribute_close(struct dsm_driver *d)
{
    struct dsm_distribute *s = d->distribute;
    munmap(s->pieces, s->pieces_bytes);
    close(s->pipe[0]);
    close(s->pipe[1]);
    free(s);
    d->distribute = NULL;
}

/* Copies through the pipe, which is empty before and after. One of the two addresses may be bad:
 * false then. Raw calls: no cancellation, none of our own wrappers. (locked) */
static bool copy_checked(struct dsm_distribute *s, void *to, const void *from, uint32_t len)
{
    uint8_t rest[PIECE_BYTES];
    long n = syscall(SYS_write, s->pipe[1], from, (size_t)len);
    long got = n > 0 ? syscall(SYS_read, s->pipe[0], to, (size_t)n) : n;
    if (n > 0 && got < n)
        (void)!syscall(SYS_read, s->pipe[0], rest, sizeof rest);
    return n == (long)len && got == n;
}

/* ---- the receiver -------------------------------------------------------------------------- */

int dsm_distribute_buffer(struct dsm_driver *d, const struct dsm_message *m, void **dst_out)
{
    if (m->len == 0 || m->len > PIECE_BYTES)
        return DSM_E_PROTO;
    *dst_out = d->distribute->pieces + (size_t)m->from * PIECE_BYTES;
    return 0;
}

void dsm_distribute_on_payload(struct dsm_driver *d, const struct dsm_message *m)
{
    const uint8_t *piece = d->distribute->pieces + (size_t)m->from * PIECE_BYTES;
    int before = errno;
    bool is_done = copy_checked(d->distribute, (void *)(uintptr_t)m->object, piece, m->len);
    struct dsm_message answer = {.type = DSM_MSG_DISTRIBUTED,
                                 .object = m->object,
                                 .request = m->request,
                                 .acks = is_done ? 0 : (uint32_t)-DSM_E_RANGE,
                                 .peer = DSM_RANK_NONE};
    errno = before;
    dsm_driver_send(d, m->from, DSM_LANE_REPLY, &answer);
}

/* ---- the sender ---------------------------------------------------------------------------- */

static void answered(struct dsm_driver *d, struct distribution *c, dsm_rank_t rank, int error)
{
    c->awaited[rank] = 0;
    if (error && !c->error) {
        c->error = error;
        c->rank = rank;
    }
    if (--c->n_left == 0)
        dsm_waiter_complete(d, &c->wait, 0, DSM_RANK_NONE);
}

int dsm_distribute_on_answer(struct dsm_driver *d, const struct dsm_message *m)
{
    for (struct distribution *c = d->distribute->calls; c; c = c->next) {
        if (c->request != m->request || !c->awaited[m->from])
            continue;
        answered(d, c, m->from, m->acks ? DSM_E_RANGE : 0);
        return 0;
    }
    return DSM_E_PROTO;
}

void dsm_distribute_on_dead(struct dsm_driver *d, dsm_rank_t rank)
{
    for (struct distribution *c = d->distribute->calls; c; c = c->next)
        if (c->awaited[rank])
            answered(d, c, rank, DSM_E_PEER);
}

/* (locked) */
static void send_piece(struct dsm_driver *d, struct distribution *c, uint64_t addr,
                       const uint8_t *bytes, uint32_t len)
{
    c->request = ++d->distribute->last_request;
    for (dsm_rank_t rank = 0; rank < d->config.n_ranks; rank++) {
        struct dsm_message m = {.type = DSM_MSG_DISTRIBUTE,
                                .object = addr,
                                .request = c->request,
                                .len = len,
                                .peer = DSM_RANK_NONE};
        if (rank == d->config.self)
            continue;
        if (dsm_driver_is_dead(d, rank)) {
            c->error = DSM_E_PEER;
            c->rank = rank;
            continue;
        }
        c->awaited[rank] = 1;
        c->n_left++;
        dsm_driver_send_bytes(d, rank, DSM_LANE_REQUEST, &m, bytes);
    }
}

/* Sends one piece and waits until everybody has it. */
static int distribute_piece(struct dsm_driver *d, struct distribution *c, const void *addr,
                            uint32_t len)
{
    uint8_t bytes[PIECE_BYTES];
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    if (!copy_checked(d->distribute, bytes, addr, len)) {
        dsm_driver_leave(d, &guard);
        c->rank = d->config.self;
        return DSM_E_RANGE;
    }
    c->next = d->distribute->calls;
    d->distribute->calls = c;
    dsm_waiter_add(d, &c->wait, DSM_PAGE_NONE, false);
    send_piece(d, c, (uintptr_t)addr, bytes, len);
    if (c->n_left) {
        dsm_mutex_unlock(&d->lock);
        dsm_driver_flush(d);
        (void)dsm_waiter_wait(d, &c->wait, UINT64_MAX, &guard.mask);
        dsm_mutex_lock(&d->lock);
    }
    dsm_waiter_remove(d, &c->wait);
    struct distribution **at = &d->distribute->calls;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    dsm_driver_leave(d, &guard);
    return c->error;
}

static bool is_byte_readable(struct dsm_driver *d, const uint8_t *addr)
{
    struct dsm_driver_guard guard;
    uint8_t byte;
    dsm_driver_enter(d, &guard);
    bool is_there = copy_checked(d->distribute, &byte, addr, 1);
    dsm_driver_leave(d, &guard);
    return is_there;
}

/* All of it, before anything is written elsewhere: a length that is wrong would take what lies
 * behind the variable on the other ranks. */
static bool is_readable(struct dsm_driver *d, const uint8_t *addr, size_t len)
{
    for (size_t at = 0; at < len; at += DSM_PAGE_BYTES)
        if (!is_byte_readable(d, addr + at))
            return false;
    return len == 0 || is_byte_readable(d, addr + len - 1);
}

int dsm_distribute_send(struct dsm_driver *d, const void *addr, size_t len)
{
    struct distribution c = {.rank = DSM_RANK_NONE};
    c.awaited = calloc(d->config.n_ranks, 1);
    if (!c.awaited)
        return DSM_E_NOMEM;
    int error = 0;
    if (!is_readable(d, addr, len)) {
        error = DSM_E_RANGE;
        c.rank = d->config.self;
    }
    for (size_t at = 0; at < len && !error; at += PIECE_BYTES)
        error = distribute_piece(d, &c, (const uint8_t *)addr + at,
                                 (uint32_t)(len - at < PIECE_BYTES ? len - at : PIECE_BYTES));
    free(c.awaited);
    if (error == DSM_E_RANGE)
        dsm_log(DSM_LOG_ERROR, "%lu bytes at 0x%lx cannot be distributed: not %s on rank %u",
                (unsigned long)len, (unsigned long)(uintptr_t)addr,
                c.rank == d->config.self ? "readable" : "writable", c.rank);
    return error;
}
