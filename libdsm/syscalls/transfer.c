/* SPDX-License-Identifier: BSD-3-Clause */
/* transfer.c - cuts buffers at the region's edges, replaces what is shared, and copies it. */
#define _GNU_SOURCE
#include "syscalls/transfer.h"
#include "trap/bounce.h"
#include "trap/raw.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define N_SMALL     8
#define SMALL_BYTES 1024

/* One call: a window of the buffers. */
struct piece {
    size_t len_bytes;
    bool is_last;
    size_t n_parts;
    struct iovec *parts; /* for the kernel */
    void **shared;       /* for each part: where its copy belongs; NULL: it is no copy */
    struct dsm_private memory;
    struct iovec small_parts[N_SMALL];
    void *small_shared[N_SMALL];
    _Alignas(16) unsigned char small[SMALL_BYTES];
};

/* Walks over the buffers, cut where they enter or leave the region. */
struct walk {
    const struct iovec *buffers;
    size_t n_buffers;
    size_t index;
    size_t at; /* within the buffer */
};

struct part {
    char *addr;
    size_t len_bytes; /* 0: the end */
    bool is_shared;
};

static struct part next_part(struct walk *w)
{
    while (w->index < w->n_buffers && w->at == w->buffers[w->index].iov_len) {
        w->index++;
        w->at = 0;
    }
    if (w->index == w->n_buffers)
        return (struct part){NULL, 0, false};
    uintptr_t addr = (uintptr_t)w->buffers[w->index].iov_base + w->at, start, end;
    size_t left = w->buffers[w->index].iov_len - w->at;
    struct part part = {(char *)addr, left, false};
    if (dsm_bounce_touches(part.addr, left) && dsm_view_part(addr, left, &start, &end)) {
        part.is_shared = start == addr;
        part.len_bytes = (part.is_shared ? end : start) - addr;
    }
    w->at += part.len_bytes;
    return part;
}

bool dsm_transfer_is_shared(const struct iovec *buffers, size_t n_buffers)
{
    uintptr_t start, end;
    size_t total = 0;
    bool shared = false;
    if (n_buffers > IOV_MAX)
        return false;
    for (size_t i = 0; i < n_buffers; i++) {
        uintptr_t addr = (uintptr_t)buffers[i].iov_base;
        size_t len = buffers[i].iov_len;
        if (__builtin_add_overflow(total, len, &total) || total > SSIZE_MAX)
            return false;
        shared |=
            dsm_bounce_touches(buffers[i].iov_base, len) && dsm_view_part(addr, len, &start, &end);
    }
    return shared;
}

/* A copy is aligned as its original is, as far as a page, for descriptors that ask for that. */
static size_t place(size_t used, const struct part *part)
{
    uintptr_t addr = (uintptr_t)part->addr | 4096;
    size_t alignment = addr & -addr;
    if (alignment < 16)
        alignment = 16;
    return (used + alignment - 1) & -alignment;
}

/* How much of the buffers from walk on makes one piece, in parts and in private bytes. */
static void measure(struct piece *p, struct walk w, size_t max_bytes, size_t *private_out)
{
    size_t used = 0;
    p->len_bytes = p->n_parts = 0;
    p->is_last = true;
    for (;;) {
        struct part part = next_part(&w);
        if (part.len_bytes == 0)
            break;
        if (p->len_bytes == max_bytes) {
            p->is_last = false;
            break;
        }
        if (part.len_bytes > max_bytes - p->len_bytes) {
            part.len_bytes = max_bytes - p->len_bytes;
            p->is_last = false;
        }
        if (part.is_shared)
            used = place(used, &part) + part.len_bytes;
        p->len_bytes += part.len_bytes;
        p->n_parts++;
        if (!p->is_last)
            break;
    }
    *private_out = used;
}

/* Blocks of whole sectors are for files that may have been opened with O_DIRECT: on pages. */
static bool wants_pages(size_t private_bytes)
{
    return private_bytes > SMALL_BYTES || private_bytes % 512 == 0;
}

static int take_memory(struct piece *p, size_t private_bytes, unsigned char **at_out)
{
    size_t table = 0;
    p->parts = p->small_parts;
    p->shared = p->small_shared;
    *at_out = p->small;
    if (p->n_parts > N_SMALL)
        table = p->n_parts * (sizeof *p->parts + sizeof *p->shared);
    if (table == 0 && !wants_pages(private_bytes))
        return 0;
    size_t data = (table + 4095) & ~(size_t)4095;
    int error = dsm_private_take(&p->memory, data + private_bytes);
    if (error != 0)
        return error;
    *at_out = (unsigned char *)p->memory.addr + data;
    if (table > 0) {
        p->parts = p->memory.addr;
        p->shared = (void **)(p->parts + p->n_parts);
    }
    return 0;
}

/* Returns 0 or an errno. Moves the walk to the end of the piece. */
static int open_piece(struct piece *p, struct walk *w, size_t max_bytes, bool is_write)
{
    size_t private_bytes, used = 0, left;
    unsigned char *private;
    measure(p, *w, max_bytes, &private_bytes);
    if (p->n_parts > IOV_MAX)
        return EINVAL; /* as many buffers as there may be, and more by cutting */
    int error = take_memory(p, private_bytes, &private);
    if (error != 0)
        return error;
    left = p->len_bytes;
    for (size_t i = 0; i < p->n_parts; i++) {
        struct part part = next_part(w);
        if (part.len_bytes > left) {
            w->at -= part.len_bytes - left;
            part.len_bytes = left;
        }
        left -= part.len_bytes;
        p->parts[i] = (struct iovec){part.addr, part.len_bytes};
        p->shared[i] = part.is_shared ? part.addr : NULL;
        if (!part.is_shared)
            continue;
        used = place(used, &part);
        p->parts[i].iov_base = private + used;
        used += part.len_bytes;
        if (is_write)
            memcpy(p->parts[i].iov_base, part.addr, part.len_bytes);
    }
    return 0;
}

static void give_bytes(const struct piece *p, size_t n_bytes)
{
    for (size_t i = 0; i < p->n_parts && n_bytes > 0; i++) {
        size_t n = p->parts[i].iov_len < n_bytes ? p->parts[i].iov_len : n_bytes;
        if (p->shared[i])
            memcpy(p->shared[i], p->parts[i].iov_base, n);
        n_bytes -= n;
    }
}

static void close_piece(struct piece *p)
{
    dsm_private_give(&p->memory);
}

/*
 * Files and block devices keep what one piece did when the next one fails. So do, for writing,
 * pipes, terminals and stream sockets. Reading from those, a large buffer costs no memory that is
 * not filled.
 */
static bool takes_pieces(const struct dsm_transfer *t)
{
    struct stat stat;
    int type = 0;
    socklen_t type_bytes = sizeof type;
    if (t->in_one || dsm_raw_call(SYS_fstat, t->fd, (long)&stat, 0, 0, 0, 0) != 0)
        return false;
    if (S_ISREG(stat.st_mode) || S_ISBLK(stat.st_mode))
        return true;
    if (!t->is_write)
        return false;
    if (S_ISFIFO(stat.st_mode) || S_ISCHR(stat.st_mode))
        return true;
    return dsm_raw_call(SYS_getsockopt, t->fd, SOL_SOCKET, SO_TYPE, (long)&type, (long)&type_bytes,
                        0) == 0 &&
           type == SOCK_STREAM;
}

static size_t piece_bytes(const struct dsm_transfer *t)
{
    size_t total = 0;
    for (size_t i = 0; i < t->n_buffers; i++)
        total += t->buffers[i].iov_len;
    return total > DSM_TRANSFER_PIECE_BYTES && takes_pieces(t) ? DSM_TRANSFER_PIECE_BYTES : total;
}

/* The bytes moved, or -1 with errno. */
static ssize_t move_piece(const struct dsm_transfer *t, struct walk *w, size_t max_bytes,
                          size_t done_bytes, bool *is_over_out)
{
    struct piece p __attribute__((cleanup(close_piece)));
    p.memory = (struct dsm_private){NULL, 0};
    *is_over_out = true;
    int error = open_piece(&p, w, max_bytes, t->is_write);
    if (error != 0) {
        errno = error;
        return -1;
    }
    ssize_t n = t->call(t->context, p.parts, p.n_parts, done_bytes);
    if (n > 0 && !t->is_write) /* more than there is room for: MSG_TRUNC */
        give_bytes(&p, (size_t)n < p.len_bytes ? (size_t)n : p.len_bytes);
    *is_over_out = p.is_last || n < 0 || (size_t)n < p.len_bytes;
    return n;
}

ssize_t dsm_transfer(const struct dsm_transfer *t)
{
    struct walk walk = {t->buffers, t->n_buffers, 0, 0};
    size_t max_bytes = piece_bytes(t), done = 0;
    int saved_errno = errno;
    for (bool is_over = false; !is_over;) {
        ssize_t n = move_piece(t, &walk, max_bytes, done, &is_over);
        if (n < 0 && done == 0)
            return -1;
        if (n < 0)
            errno = saved_errno; /* what was moved counts; the next call will say it again */
        else
            done += (size_t)n;
    }
    return (ssize_t)done;
}
