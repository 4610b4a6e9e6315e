/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hello.h - what is said on a lane before the first frame: packing, unpacking and the rules for who
 * may talk to whom. No sockets here. The messages are in proto/hello.proto.
 */
#ifndef DSM_NET_HELLO_H
#define DSM_NET_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "net/shm.h"

/* Of the frames that follow; the same as DSM_FRAME_VERSION, which this layer does not know. */
#define DSM_HELLO_FORMAT_VERSION 3u
#define DSM_HELLO_MAX_BYTES      512u /* of a message; a stranger may send no more */
#define DSM_HELLO_PREFIX_BYTES   4u
#define DSM_HELLO_PACKET_BYTES   (DSM_HELLO_PREFIX_BYTES + DSM_HELLO_MAX_BYTES)
#define DSM_HELLO_BUILD_BYTES    96
#define DSM_HELLO_REASON_BYTES   200
#define DSM_HELLO_WHY_BYTES      300

struct dsm_hello {
    uint32_t format_version;
    uint8_t token[16];
    uint32_t rank;
    uint32_t to_rank;
    uint32_t n_ranks;
    uint32_t lane;
    uint32_t epoch;
    uint32_t page_bytes;
    uint64_t attempt;
    char build[DSM_HELLO_BUILD_BYTES];
    /* rdma alone: */
    uint64_t memory_addr;
    uint32_t credits;
    /* rdma: of the memory at memory_addr; tcp: of the file; 0: none */
    uint64_t memory_bytes;
    /* tcp alone: memory that is offered, or that the answering rank has opened; zeros: none */
    struct dsm_shm_name shared;
    struct dsm_shm_file memory_file;
    struct dsm_shm_file bell; /* a pipe; zeros: none */
};

enum dsm_hello_status { DSM_HELLO_ACCEPTED, DSM_HELLO_REFUSED, DSM_HELLO_YIELD };

struct dsm_hello_answer {
    enum dsm_hello_status status;
    int error;
    char reason[DSM_HELLO_REASON_BYTES];
    struct dsm_hello hello; /* ACCEPTED */
};

/* Who this rank is, to all of its peers. */
struct dsm_hello_self {
    uint32_t rank, n_ranks, epoch;
    const uint8_t *token; /* 16 bytes */
    const char *build;
};
/* The hello that this rank says, but for what only one transport has. */
struct dsm_hello dsm_hello_of(const struct dsm_hello_self *self, uint32_t to_rank,
                              uint64_t attempt);

/* Connections that were refused. */
struct dsm_refusals {
    uint64_t n;
    char last[DSM_HELLO_WHY_BYTES];
};
/* Logs one more, loudly if that is news: a port scanner is not to fill the log, connections of one
 * attempt are refused for one reason, and what on_lost tells (PEER) need not be told twice. */
void dsm_refusals_note(struct dsm_refusals *refusals, uint32_t self, const char *who, int error,
                       const char *why);

/* Prefix and message; returns the bytes of both. Texts are cut to their size. */
size_t dsm_hello_pack(const struct dsm_hello *hello, uint8_t out[DSM_HELLO_PACKET_BYTES]);
size_t dsm_hello_pack_answer(const struct dsm_hello_answer *answer,
                             uint8_t out[DSM_HELLO_PACKET_BYTES]);

/* The message without its prefix. 0, or DSM_E_PROTO and a static *reason_out; NOMEM. */
int dsm_hello_unpack(const uint8_t *bytes, size_t len_bytes, struct dsm_hello *hello_out,
                     const char **reason_out);
int dsm_hello_unpack_answer(const uint8_t *bytes, size_t len_bytes,
                            struct dsm_hello_answer *answer_out, const char **reason_out);

/*
 * May `theirs` talk to `mine`? 0, or AUTH (the token, compared in constant time and first of all),
 * or MISMATCH with one line that names both values. mine: rank, n_ranks, token, ...; its to_rank,
 * lane and attempt do not matter.
 */
int dsm_hello_check(const struct dsm_hello *mine, const struct dsm_hello *theirs, char *why,
                    size_t why_bytes);

#endif
