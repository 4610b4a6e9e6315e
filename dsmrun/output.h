/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * output.h - writes to standard output or standard error from a thread of its own: a reader that
 * does not read (a pager, a stopped terminal) must not stop dsmrun, which answers heartbeats. The
 * descriptor stays blocking, since others share it.
 */
#ifndef DSM_DSMRUN_OUTPUT_H
#define DSM_DSMRUN_OUTPUT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define DSM_OUTPUT_HIGH_BYTES (4u << 20) /* more queued than this: stop producing */
#define DSM_OUTPUT_LOW_BYTES  (1u << 20) /* less than this: go on */

struct dsm_output_chunk;

struct dsm_output {
    int fd;
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct dsm_output_chunk *first, *last;
    size_t queued_bytes;
    bool is_ending;
    int write_error;  /* errno of the first write that failed; what follows is thrown away */
    uv_async_t *wake; /* sent when there is room again, and on the error */
};

/* Errors: SYSTEM. */
int dsm_output_open(struct dsm_output *output, int fd, uv_async_t *wake);
/* Queues a copy of the pieces, which stay together. Never waits. Out of memory: thrown away. */
void dsm_output_write(struct dsm_output *output, const char *prefix, size_t prefix_bytes,
                      const char *bytes, size_t len_bytes);
size_t dsm_output_queued_bytes(struct dsm_output *output);
/* errno of the first write that failed, or 0. */
int dsm_output_error(struct dsm_output *output);
/* Writes what is queued, which may wait for the reader, and ends the thread. */
void dsm_output_close(struct dsm_output *output);

#endif
