/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shm.h - two streams of bytes, one each way, through memory that two processes of one host share.
 *
 * Each stream is a ring with one writer and one reader, who are in different processes in general;
 * a call of one side is made by one thread at a time (the caller's locks). Bytes that are written
 * are there at once and stay there when the writer ends. Nobody is woken here: a side that is about
 * to sleep asks for a bell (dsm_shm_want_bytes, dsm_shm_want_room), and the other side, having
 * written or read, learns that it has to ring (dsm_shm_is_bell_due, dsm_shm_is_room_bell_due), by
 * whatever means both have.
 *
 * The memory is a sealed memfd of the one that makes it; the other opens it through /proc, which
 * takes the same user and a common process namespace. What the other side writes into the control
 * fields is checked like anything else that comes from a peer (-EPROTO).
 *
 * Signal-handler safe but for create, open and close.
 */
#ifndef DSM_NET_SHM_H
#define DSM_NET_SHM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define DSM_SHM_RING_MIN_BYTES (64u << 10)
#define DSM_SHM_RING_MAX_BYTES (1u << 20)

struct dsm_shm_control; /* in the shared memory */

/* One side of one stream. */
struct dsm_shm_end {
    struct dsm_shm_control *control;
    uint8_t *data;
    uint64_t size_bytes;       /* of the ring, a power of two */
    _Atomic uint64_t position; /* bytes that this side has written or read so far */
};

/* What the other side needs to find the memory: said in the hello. */
struct dsm_shm_name {
    uint64_t pid_namespace; /* its number; 0: nothing is offered */
    uint32_t pid;
    uint32_t fd;
    uint64_t nonce; /* random; in the memory, too */
};

/* A memfd that its process lets others map, or a pipe that it lets them write into: said in the
 * hello as well. */
struct dsm_shm_file {
    uint32_t pid;
    uint32_t fd;
    uint64_t inode; /* 0: none */
};

struct dsm_shm {
    void *memory;
    size_t len_bytes;
    uint64_t nonce;
    int fd; /* the maker's, until dsm_shm_close_name; else -1 */
    struct dsm_shm_end tx, rx;
};

/* Makes the memory, with rings of ring_bytes (a power of two between the limits). Errors: NOMEM,
 * SYSTEM, LIMIT (RLIMIT_FSIZE), INVAL. */
int dsm_shm_create(struct dsm_shm *shm, size_t ring_bytes, uint64_t nonce,
                   struct dsm_shm_name *name_out);
/* The memory that a peer has made. Errors: MISMATCH (not in this namespace, or something else lies
 * there), SYSTEM; why: one line. */
int dsm_shm_open(struct dsm_shm *shm, const struct dsm_shm_name *name, char *why, size_t why_bytes);
/* The other side has opened it, or will not. */
void dsm_shm_close_name(struct dsm_shm *shm);
void dsm_shm_close(struct dsm_shm *shm);

/* How others find a file of this process. Errors: SYSTEM. */
int dsm_shm_name_file(int fd, struct dsm_shm_file *file_out);
/* Opens a peer's file of this host, which must have len_bytes, and maps all of it. To be closed
 * with dsm_sys_close and munmap. Errors: MISMATCH (something else lies there), NOMEM, SYSTEM; why:
 * one line. */
int dsm_shm_open_file(const struct dsm_shm_file *file, uint64_t len_bytes, int *fd_out,
                      void **memory_out, char *why, size_t why_bytes);

/* Opens a peer's pipe of this host, for both ways. To be closed with dsm_sys_close. Errors:
 * MISMATCH (something else lies there), SYSTEM; why: one line. */
int dsm_shm_open_pipe(const struct dsm_shm_file *file, int *fd_out, char *why, size_t why_bytes);

/* Moves what there is room for, or what is there, and returns the bytes; -EAGAIN: none; -EPROTO:
 * the other side has spoiled the ring. */
long dsm_shm_write(struct dsm_shm_end *tx, const struct iovec *iov, size_t n_iov);
long dsm_shm_read(struct dsm_shm_end *rx, const struct iovec *iov, size_t n_iov);
/* Any thread. */
bool dsm_shm_has_bytes(const struct dsm_shm_end *rx);
bool dsm_shm_is_empty(const struct dsm_shm_end *tx);

/* The reader: from now on the next write takes a bell. True: something is there already. */
bool dsm_shm_want_bytes(struct dsm_shm_end *rx);
/* The reader looks by itself again. */
void dsm_shm_want_no_bytes(struct dsm_shm_end *rx);
/* The writer, after a write: must it ring? Says so once for each time it was wanted. */
bool dsm_shm_is_bell_due(struct dsm_shm_end *tx);

/* The writer: from now on the next read takes a bell. True: there is room already. */
bool dsm_shm_want_room(struct dsm_shm_end *tx);
/* The reader, after a read: must it ring? */
bool dsm_shm_is_room_bell_due(struct dsm_shm_end *rx);

#endif
