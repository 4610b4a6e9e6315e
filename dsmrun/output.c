/* SPDX-License-Identifier: BSD-3-Clause */
/* output.c - see output.h. */
#include "config.h"
#include "dsmrun/output.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dsm_output_chunk {
    struct dsm_output_chunk *next;
    size_t len_bytes;
    char bytes[];
};

/* 0 or errno. */
static int write_all(int fd, const char *bytes, size_t len_bytes)
{
    while (len_bytes > 0) {
        ssize_t n = write(fd, bytes, len_bytes);
        if (n > 0) {
            bytes += n;
            len_bytes -= (size_t)n;
        } else if (errno == EAGAIN) {
            /* Somebody who shares the descriptor made it non-blocking. */
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

static void *run(void *arg)
{
    struct dsm_output *output = arg;
    pthread_mutex_lock(&output->lock);
    for (;;) {
        while (!output->first && !output->is_ending)
            pthread_cond_wait(&output->changed, &output->lock);
        struct dsm_output_chunk *chunk = output->first;
        if (!chunk)
            break;
        output->first = chunk->next;
        int error = output->write_error;
        pthread_mutex_unlock(&output->lock);
        int new_error = error ? 0 : write_all(output->fd, chunk->bytes, chunk->len_bytes);
        pthread_mutex_lock(&output->lock);
        size_t before = output->queued_bytes;
        output->queued_bytes -= chunk->len_bytes;
        if (new_error)
            output->write_error = new_error;
        if (new_error ||
            (before >= DSM_OUTPUT_LOW_BYTES && output->queued_bytes < DSM_OUTPUT_LOW_BYTES))
            uv_async_send(output->wake);
        free(chunk);
    }
    pthread_mutex_unlock(&output->lock);
    return NULL;
}

int dsm_output_open(struct dsm_output *output, int fd, uv_async_t *wake)
{
    *output = (struct dsm_output){.fd = fd, .wake = wake};
    pthread_mutex_init(&output->lock, NULL);
    pthread_cond_init(&output->changed, NULL);
    return pthread_create(&output->thread, NULL, run, output) == 0 ? 0 : DSM_E_SYSTEM;
}

void dsm_output_write(struct dsm_output *output, const char *prefix, size_t prefix_bytes,
                      const char *bytes, size_t len_bytes)
{
    struct dsm_output_chunk *chunk = malloc(sizeof *chunk + prefix_bytes + len_bytes);
    if (!chunk)
        return;
    chunk->next = NULL;
    chunk->len_bytes = prefix_bytes + len_bytes;
    memcpy(chunk->bytes, prefix, prefix_bytes);
    memcpy(chunk->bytes + prefix_bytes, bytes, len_bytes);
    pthread_mutex_lock(&output->lock);
    if (output->first)
        output->last->next = chunk;
    else
        output->first = chunk;
    output->last = chunk;
    output->queued_bytes += chunk->len_bytes;
    pthread_cond_signal(&output->changed);
    pthread_mutex_unlock(&output->lock);
}

size_t dsm_output_queued_bytes(struct dsm_output *output)
{
    pthread_mutex_lock(&output->lock);
    size_t queued_bytes = output->queued_bytes;
    pthread_mutex_unlock(&output->lock);
    return queued_bytes;
}

int dsm_output_error(struct dsm_output *output)
{
    pthread_mutex_lock(&output->lock);
    int error = output->write_error;
    pthread_mutex_unlock(&output->lock);
    return error;
}

void dsm_output_close(struct dsm_output *output)
{
    pthread_mutex_lock(&output->lock);
    output->is_ending = true;
    pthread_cond_signal(&output->changed);
    pthread_mutex_unlock(&output->lock);
    pthread_join(output->thread, NULL);
    pthread_cond_destroy(&output->changed);
    pthread_mutex_destroy(&output->lock);
}
