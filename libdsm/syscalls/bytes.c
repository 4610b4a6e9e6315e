/* SPDX-License-Identifier: BSD-3-Clause */
/* bytes.c - read, write and their relatives. */
#define _GNU_SOURCE
#include "syscalls/syscalls.h"
#include "syscalls/transfer.h"
#include "trap/calls.h"
#include <limits.h>

const bool dsm_wraps_bytes = true;

/* clang-format off */
NEXT(MINUS_ONE, ssize_t, read, (int fd, void *buffer, size_t len))
NEXT(MINUS_ONE, ssize_t, write, (int fd, const void *buffer, size_t len))
NEXT(MINUS_ONE, ssize_t, pread, (int fd, void *buffer, size_t len, off_t offset))
NEXT(MINUS_ONE, ssize_t, pwrite, (int fd, const void *buffer, size_t len, off_t offset))
NEXT(MINUS_ONE, ssize_t, readv, (int fd, const struct iovec *buffers, int n))
NEXT(MINUS_ONE, ssize_t, writev, (int fd, const struct iovec *buffers, int n))
NEXT(MINUS_ONE, ssize_t, preadv, (int fd, const struct iovec *buffers, int n, off_t offset))
NEXT(MINUS_ONE, ssize_t, pwritev, (int fd, const struct iovec *buffers, int n, off_t offset))
NEXT(MINUS_ONE, ssize_t, preadv2,
     (int fd, const struct iovec *buffers, int n, off_t offset, int flags))
NEXT(MINUS_ONE, ssize_t, pwritev2,
     (int fd, const struct iovec *buffers, int n, off_t offset, int flags))
/* clang-format on */

enum form {
    PLAIN,  /* read, write; readv and writev for more than one buffer */
    VECTOR, /* readv, writev */
    AT,     /* the same two with an offset */
    VECTOR_AT,
    FLAGS, /* preadv2, pwritev2 */
};

struct operation {
    enum form form;
    bool is_write;
    int fd;
    off_t offset;
    int flags;
};

static ssize_t call_vector(const struct operation *o, const struct iovec *buffers, int n,
                           size_t done_bytes)
{
    off_t offset = o->offset + (off_t)done_bytes;
    switch (o->form) {
    case PLAIN:
    case VECTOR:
        return o->is_write ? next_writev()(o->fd, buffers, n) : next_readv()(o->fd, buffers, n);
    case AT:
    case VECTOR_AT:
        return o->is_write ? next_pwritev()(o->fd, buffers, n, offset)
                           : next_preadv()(o->fd, buffers, n, offset);
    case FLAGS:
        break;
    }
    if (o->offset == -1) /* where the file stands */
        offset = -1;
    return o->is_write ? next_pwritev2()(o->fd, buffers, n, offset, o->flags)
                       : next_preadv2()(o->fd, buffers, n, offset, o->flags);
}

static ssize_t call(void *context, const struct iovec *buffers, size_t n, size_t done_bytes)
{
    const struct operation *o = context;
    off_t offset = o->offset + (off_t)done_bytes;
    if (n == 1 && o->form == PLAIN)
        return o->is_write ? next_write()(o->fd, buffers->iov_base, buffers->iov_len)
                           : next_read()(o->fd, buffers->iov_base, buffers->iov_len);
    if (n == 1 && o->form == AT)
        return o->is_write ? next_pwrite()(o->fd, buffers->iov_base, buffers->iov_len, offset)
                           : next_pread()(o->fd, buffers->iov_base, buffers->iov_len, offset);
    return call_vector(o, buffers, (int)n, done_bytes);
}

#ifndef RWF_ATOMIC
#define RWF_ATOMIC 0x40
#endif

static ssize_t move(struct operation *o, const struct iovec *buffers, size_t n)
{
    struct dsm_transfer transfer = {
        .is_write = o->is_write,
        .in_one = (o->flags & RWF_ATOMIC) != 0,
        .fd = o->fd,
        .buffers = buffers,
        .n_buffers = n,
        .call = call,
        .context = o,
    };
    return dsm_transfer(&transfer);
}

/* No inlining: the fast path stays a compare and a jump. */
static __attribute__((noinline)) ssize_t move_one(struct operation o, const void *buffer,
                                                  size_t len)
{
    struct iovec one = {(void *)buffer, len};
    if (dsm_transfer_is_shared(&one, 1))
        return move(&o, &one, 1);
    return call(&o, &one, 1, 0);
}

/* The vector itself may be shared, too. */
static __attribute__((noinline)) ssize_t move_many(struct operation o, const struct iovec *buffers,
                                                   int n)
{
    size_t vector_bytes = n > 0 ? (size_t)n * sizeof *buffers : 0;
    DSM_BOUNCE(bounce);
    if (n > 0 && n <= IOV_MAX) {
        buffers = dsm_bounce_in(&bounce, buffers, vector_bytes);
        if (bounce.error != 0)
            return FAIL_MINUS_ONE(bounce.error);
        if ((bounce.n_items > 0 || dsm_bounce_is_readable(buffers, vector_bytes)) &&
            dsm_transfer_is_shared(buffers, (size_t)n))
            return move(&o, buffers, (size_t)n);
    }
    return call_vector(&o, buffers, n, 0);
}

/* clang-format off */
#define ONE(name, inner, is_write, qualifier)                                                      \
    WRAPPER(ssize_t, name, (int fd, qualifier void *buffer, size_t len))                           \
    {                                                                                              \
        if (!dsm_bounce_touches(buffer, len))                                                      \
            return next_##inner()(fd, buffer, len);                                                \
        return move_one((struct operation){PLAIN, is_write, fd, 0, 0}, buffer, len);               \
    }

#define ONE_AT(name, inner, is_write, qualifier)                                                   \
    WRAPPER(ssize_t, name, (int fd, qualifier void *buffer, size_t len, off_t offset))             \
    {                                                                                              \
        if (!dsm_bounce_touches(buffer, len))                                                      \
            return next_##inner()(fd, buffer, len, offset);                                        \
        return move_one((struct operation){AT, is_write, fd, offset, 0}, buffer, len);             \
    }

#define MANY(name, inner, is_write)                                                                \
    WRAPPER(ssize_t, name, (int fd, const struct iovec *buffers, int n))                           \
    {                                                                                              \
        if (!dsm_bounce_is_needed())                                                               \
            return next_##inner()(fd, buffers, n);                                                 \
        return move_many((struct operation){VECTOR, is_write, fd, 0, 0}, buffers, n);              \
    }

#define MANY_AT(name, inner, is_write)                                                             \
    WRAPPER(ssize_t, name, (int fd, const struct iovec *buffers, int n, off_t offset))             \
    {                                                                                              \
        if (!dsm_bounce_is_needed())                                                               \
            return next_##inner()(fd, buffers, n, offset);                                         \
        return move_many((struct operation){VECTOR_AT, is_write, fd, offset, 0}, buffers, n);      \
    }

#define MANY_FLAGS(name, inner, is_write)                                                          \
    WRAPPER(ssize_t, name,                                                                         \
            (int fd, const struct iovec *buffers, int n, off_t offset, int flags))                 \
    {                                                                                              \
        if (!dsm_bounce_is_needed())                                                               \
            return next_##inner()(fd, buffers, n, offset, flags);                                  \
        return move_many((struct operation){FLAGS, is_write, fd, offset, flags}, buffers, n);      \
    }

ONE(read, read, false, )
ONE(write, write, true, const)
ONE_AT(pread, pread, false, )
ONE_AT(pread64, pread, false, )
ONE_AT(pwrite, pwrite, true, const)
ONE_AT(pwrite64, pwrite, true, const)
MANY(readv, readv, false)
MANY(writev, writev, true)
MANY_AT(preadv, preadv, false)
MANY_AT(preadv64, preadv, false)
MANY_AT(pwritev, pwritev, true)
MANY_AT(pwritev64, pwritev, true)
MANY_FLAGS(preadv2, preadv2, false)
MANY_FLAGS(preadv64v2, preadv2, false)
MANY_FLAGS(pwritev2, pwritev2, true)
MANY_FLAGS(pwritev64v2, pwritev2, true)

/* What -D_FORTIFY_SOURCE makes of them. */
WRAPPER(ssize_t, __read_chk, (int fd, void *buffer, size_t len, size_t room))
{
    if (len > room)
        __chk_fail();
    return wrap_read(fd, buffer, len);
}

#define ONE_AT_CHECKED(name)                                                                       \
    WRAPPER(ssize_t, name, (int fd, void *buffer, size_t len, off_t offset, size_t room))          \
    {                                                                                              \
        if (len > room)                                                                            \
            __chk_fail();                                                                          \
        return wrap_pread(fd, buffer, len, offset);                                                \
    }

ONE_AT_CHECKED(__pread_chk)
ONE_AT_CHECKED(__pread64_chk)
/* clang-format on */
