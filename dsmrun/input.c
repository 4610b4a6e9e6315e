/* SPDX-License-Identifier: BSD-3-Clause */
/* input.c - see input.h. */
#include "config.h"
#include "dsmrun/input.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

/* Bytes read; 0 at the end and on errors, among them EIO: a terminal that belongs to others now. */
static size_t read_chunk(int fd, char *buf)
{
    for (;;) {
        ssize_t n = read(fd, buf, DSM_INPUT_CHUNK_BYTES);
        if (n >= 0)
            return (size_t)n;
        if (errno == EAGAIN)
            poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1);
        else if (errno != EINTR)
            return 0;
    }
}

static void *run(void *arg)
{
    struct dsm_input *input = arg;
    size_t len_bytes;
    do {
        len_bytes = read_chunk(input->fd, input->buf);
        pthread_mutex_lock(&input->lock);
        input->len_bytes = len_bytes;
        input->is_full = true;
        uv_async_send(input->wake);
        while (input->is_full)
            pthread_cond_wait(&input->changed, &input->lock);
        pthread_mutex_unlock(&input->lock);
    } while (len_bytes > 0);
    return NULL;
}

int dsm_input_open(struct dsm_input *input, int fd, uv_async_t *wake)
{
    input->fd = fd;
    input->wake = wake;
    input->is_full = input->is_ended = false;
    pthread_mutex_init(&input->lock, NULL);
    pthread_cond_init(&input->changed, NULL);
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(&thread, &attr, run, input);
    pthread_attr_destroy(&attr);
    return error ? DSM_E_SYSTEM : 0;
}

bool dsm_input_get(struct dsm_input *input, const char **bytes_out, size_t *len_out)
{
    pthread_mutex_lock(&input->lock);
    bool is_there = input->is_full && !input->is_ended;
    if (is_there) {
        *bytes_out = input->buf;
        *len_out = input->len_bytes;
        input->is_ended = input->len_bytes == 0;
    }
    pthread_mutex_unlock(&input->lock);
    return is_there;
}

void dsm_input_next(struct dsm_input *input)
{
    pthread_mutex_lock(&input->lock);
    input->is_full = false;
    pthread_cond_signal(&input->changed);
    pthread_mutex_unlock(&input->lock);
}
