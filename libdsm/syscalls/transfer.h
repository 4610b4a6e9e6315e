/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transfer.h - the calls that move bytes between a descriptor and buffers of which some lie in the
 * region.
 *
 * One call stays one call: the buffers that are shared are replaced by private ones, all others
 * stay, so a writev stays one writev and a datagram one datagram. A buffer that is only in part in
 * the region is cut there, and the kernel judges the rest. After reading, only the bytes that came
 * are copied back. What is larger than DSM_TRANSFER_PIECE_BYTES, and for a file or a stream where
 * short results are part of the game, goes in pieces of that size, so that the private memory
 * stays bounded.
 */
#ifndef DSM_SYSCALLS_TRANSFER_H
#define DSM_SYSCALLS_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#define DSM_TRANSFER_PIECE_BYTES ((size_t)16 << 20)

struct dsm_transfer {
    bool is_write; /* from the buffers to fd */
    bool in_one;   /* never in pieces */
    int fd;
    const struct iovec *buffers; /* in private memory; the lengths add up to SSIZE_MAX at most */
    size_t n_buffers;
    /*
     * Makes the call: its result, or -1 with errno. done_bytes have been moved by earlier pieces.
     * There is more than one buffer only where there was, or where one was cut.
     */
    ssize_t (*call)(void *context, const struct iovec *buffers, size_t n_buffers,
                    size_t done_bytes);
    void *context;
};

/* True when the transfer has to be made by dsm_transfer. Buffers that the kernel refuses as a whole
 * (too many, too long) are left to it. */
bool dsm_transfer_is_shared(const struct iovec *buffers, size_t n_buffers);

/* The result of the call, -1 with errno; ENOMEM when there is no private memory.
 * Signal-handler safe, and a cancellation point where the call is. */
ssize_t dsm_transfer(const struct dsm_transfer *transfer);

#endif
