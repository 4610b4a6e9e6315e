/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frame_queue.h - frames that wait for a connection to take them: copied headers, payloads that
 * stay the caller's or are copied, memory from a pool that grows in chunks up to a bound. The
 * caller has the lock. Signal-handler safe.
 */
#ifndef DSM_NET_FRAME_QUEUE_H
#define DSM_NET_FRAME_QUEUE_H

#include "net/net.h"

/* A queue: refused with DSM_E_NOMEM beyond. 64 Ki frames are 6 MiB of references. */
#define DSM_FRAME_QUEUE_MAX        (64u << 10)
#define DSM_FRAME_QUEUE_COPY_BYTES 4096u
#define DSM_FRAME_QUEUE_MAX_COPIES 4096u

/* One frame in a queue. */
struct dsm_queued_frame {
    uint8_t header[DSM_NET_HEADER_BYTES];
    const uint8_t *payload;
    uint64_t cookie;
    uint32_t len_bytes;
    uint32_t key;
    bool is_copy; /* payload is ours, from the pool of copies */
    struct dsm_queued_frame *next;
};

struct dsm_frame_chunk;
struct dsm_frame_copy;

struct dsm_frame_queue {
    struct dsm_queued_frame *head;
    struct dsm_queued_frame **tail;
    struct dsm_queued_frame *free_frames;
    struct dsm_frame_copy *free_copies;
    struct dsm_frame_chunk *chunks; /* given back with the queue */
    uint32_t n_frames;              /* made, free or not */
    uint32_t n_copies;
};

void dsm_frame_queue_init(struct dsm_frame_queue *queue);
/* As send in net.h says of payload, cookie and key. Errors: NOMEM. */
int dsm_frame_queue_put(struct dsm_frame_queue *queue, const uint8_t *header, const void *payload,
                        uint32_t len_bytes, uint64_t cookie, uint32_t key);
/* Takes the head off, of which there must be one; its cookie or 0. */
uint64_t dsm_frame_queue_take(struct dsm_frame_queue *queue);
/* Nobody may be using the queue any more. */
void dsm_frame_queue_free(struct dsm_frame_queue *queue);

#endif
