/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel.h - messages of launch.proto over a pair of pipes; used by dsmrun and by its supervisors.
 * Everything happens on the loop's thread.
 */
#ifndef DSM_DSMRUN_CHANNEL_H
#define DSM_DSMRUN_CHANNEL_H

#include "launch.pb-c.h"
#include "proto/framing.h"
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define DSM_CHANNEL_MAX_BYTES  (2u << 20) /* one message */
#define DSM_CHANNEL_HIGH_BYTES (1u << 20) /* more unsent than this: stop producing */
#define DSM_CHANNEL_LOW_BYTES  (1u << 18) /* less than this: go on */
#define DSM_CHANNEL_READ_BYTES 65536u

struct dsm_channel_handler {
    void *user;
    void (*on_message)(void *user, const Dsm__LaunchMessage *message);
    /* The other side is gone or speaks nonsense; once, nothing is read afterwards. */
    void (*on_end)(void *user, const char *reason);
    /* Fewer than DSM_CHANNEL_LOW_BYTES are unsent again. May be NULL. */
    void (*on_writable)(void *user);
};

struct dsm_channel {
    uv_pipe_t in, out;
    struct dsm_framing framing;
    struct dsm_channel_handler handler;
    bool has_ended, is_reading, is_closing;
    bool is_deaf; /* the other side reads no more */
    unsigned n_open_handles;
    void (*on_closed)(void *user);
    char read_buf[DSM_CHANNEL_READ_BYTES];
};

/* Takes both descriptors over, also on failure. Errors: SYSTEM. */
int dsm_channel_open(struct dsm_channel *channel, uv_loop_t *loop, int in_fd, int out_fd,
                     const struct dsm_channel_handler *handler);
/* Queues a message; after the end it is thrown away. */
void dsm_channel_send(struct dsm_channel *channel, const Dsm__LaunchMessage *message);
size_t dsm_channel_unsent_bytes(const struct dsm_channel *channel);
/* Reading may be held back; it is on at first. */
void dsm_channel_set_reading(struct dsm_channel *channel, bool on);
/* The channel's memory may go once on_closed has run. What is unsent is lost. */
void dsm_channel_close(struct dsm_channel *channel, void (*on_closed)(void *user));

#endif
