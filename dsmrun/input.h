/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * input.h - reads standard input from a thread of its own, which may block there for good (files,
 * terminals and pipes alike), one chunk at a time: the next is read when the last one was taken.
 */
#ifndef DSM_DSMRUN_INPUT_H
#define DSM_DSMRUN_INPUT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define DSM_INPUT_CHUNK_BYTES 65536u

struct dsm_input {
    int fd;
    uv_async_t *wake;     /* sent when a chunk is there */
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    bool is_full; /* buf holds a chunk; len_bytes 0: the end of input */
    bool is_ended;
    size_t len_bytes;
    char buf[DSM_INPUT_CHUNK_BYTES];
};

/* The thread is never joined: input and wake must live as long as the process. Errors: SYSTEM. */
int dsm_input_open(struct dsm_input *input, int fd, uv_async_t *wake);
/* The chunk that is there: true, and *len_out 0 at the end of input, once. Valid until
 * dsm_input_next. */
bool dsm_input_get(struct dsm_input *input, const char **bytes_out, size_t *len_out);
/* The chunk was taken: read on. */
void dsm_input_next(struct dsm_input *input);

#endif
