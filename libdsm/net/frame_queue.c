/* SPDX-License-Identifier: BSD-3-Clause */
/* frame_queue.c - see frame_queue.h. */
#include "net/frame_queue.h"
#include <dsm/dsm.h>
#include <string.h>
#include <sys/mman.h>

#define FIRST_FRAMES     64u
#define MOST_FRAMES      1024u /* of a chunk */
#define COPIES_PER_CHUNK 16u

struct dsm_frame_chunk {
    struct dsm_frame_chunk *next;
    size_t len_bytes;
};

struct dsm_frame_copy {
    struct dsm_frame_copy *next;
};

void dsm_frame_queue_init(struct dsm_frame_queue *queue)
{
    *queue = (struct dsm_frame_queue){0};
    queue->tail = &queue->head;
}

/* Memory straight from the kernel: malloc is not for signal handlers. */
static void *map_chunk(struct dsm_frame_queue *queue, size_t len_bytes)
{
    struct dsm_frame_chunk *chunk =
        mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED)
        return NULL;
    chunk->next = queue->chunks;
    chunk->len_bytes = len_bytes;
    queue->chunks = chunk;
    return chunk + 1;
}

static struct dsm_queued_frame *take_frame(struct dsm_frame_queue *queue)
{
    if (!queue->free_frames) {
        uint32_t n = queue->n_frames < FIRST_FRAMES  ? FIRST_FRAMES
                     : queue->n_frames < MOST_FRAMES ? queue->n_frames
                                                     : MOST_FRAMES;
        if (queue->n_frames + n > DSM_FRAME_QUEUE_MAX)
            return NULL;
        struct dsm_queued_frame *frames =
            map_chunk(queue, sizeof(struct dsm_frame_chunk) + n * sizeof *frames);
        if (!frames)
            return NULL;
        queue->n_frames += n;
        for (uint32_t i = 0; i < n; i++) {
            frames[i].next = queue->free_frames;
            queue->free_frames = &frames[i];
        }
    }
    struct dsm_queued_frame *frame = queue->free_frames;
    queue->free_frames = frame->next;
    return frame;
}

static void give_frame(struct dsm_frame_queue *queue, struct dsm_queued_frame *frame)
{
    if (frame->is_copy) {
        struct dsm_frame_copy *copy = (struct dsm_frame_copy *)(uintptr_t)frame->payload;
        copy->next = queue->free_copies;
        queue->free_copies = copy;
    }
    frame->next = queue->free_frames;
    queue->free_frames = frame;
}

static uint8_t *take_copy(struct dsm_frame_queue *queue)
{
    if (!queue->free_copies) {
        if (queue->n_copies + COPIES_PER_CHUNK > DSM_FRAME_QUEUE_MAX_COPIES)
            return NULL;
        uint8_t *bytes =
            map_chunk(queue, sizeof(struct dsm_frame_chunk) +
                                 COPIES_PER_CHUNK * (size_t)DSM_FRAME_QUEUE_COPY_BYTES);
        if (!bytes)
            return NULL;
        queue->n_copies += COPIES_PER_CHUNK;
        for (uint32_t i = 0; i < COPIES_PER_CHUNK; i++) {
            struct dsm_frame_copy *copy = (void *)(bytes + i * (size_t)DSM_FRAME_QUEUE_COPY_BYTES);
            copy->next = queue->free_copies;
            queue->free_copies = copy;
        }
    }
    struct dsm_frame_copy *copy = queue->free_copies;
    queue->free_copies = copy->next;
    return (uint8_t *)copy;
}

int dsm_frame_queue_put(struct dsm_frame_queue *queue, const uint8_t *header, const void *payload,
                        uint32_t len_bytes, uint64_t cookie, uint32_t key)
{
    struct dsm_queued_frame *frame = take_frame(queue);
    if (!frame)
        return DSM_E_NOMEM;
    frame->payload = payload;
    frame->is_copy = false;
    if (len_bytes && !cookie) {
        uint8_t *copy = take_copy(queue);
        if (!copy) {
            give_frame(queue, frame);
            return DSM_E_NOMEM;
        }
        memcpy(copy, payload, len_bytes);
        frame->payload = copy;
        frame->is_copy = true;
    }
    memcpy(frame->header, header, sizeof frame->header);
    frame->len_bytes = len_bytes;
    frame->cookie = cookie;
    frame->key = key;
    frame->next = NULL;
    *queue->tail = frame;
    queue->tail = &frame->next;
    return 0;
}

uint64_t dsm_frame_queue_take(struct dsm_frame_queue *queue)
{
    struct dsm_queued_frame *frame = queue->head;
    queue->head = frame->next;
    if (!queue->head)
        queue->tail = &queue->head;
    uint64_t cookie = frame->cookie;
    give_frame(queue, frame);
    return cookie;
}

void dsm_frame_queue_free(struct dsm_frame_queue *queue)
{
    while (queue->chunks) {
        struct dsm_frame_chunk *chunk = queue->chunks;
        queue->chunks = chunk->next;
        munmap(chunk, chunk->len_bytes);
    }
}
