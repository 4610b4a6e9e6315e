/* SPDX-License-Identifier: BSD-3-Clause */
/* channel.c - see channel.h. */
#include "config.h"
#include "dsmrun/channel.h"
#include "base/bytes.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <stdlib.h>
#include <unistd.h>

struct send_request {
    uv_write_t write;
    struct dsm_channel *channel;
    uint8_t bytes[];
};

static void end(struct dsm_channel *channel, const char *reason)
{
    if (channel->has_ended || channel->is_closing)
        return;
    channel->has_ended = true;
    uv_read_stop((uv_stream_t *)&channel->in);
    channel->handler.on_end(channel->handler.user, reason);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct dsm_channel *channel = handle->data;
    *buf = uv_buf_init(channel->read_buf, sizeof channel->read_buf);
}

/* Hands over whole messages while somebody wants them. */
static void deliver(struct dsm_channel *channel)
{
    while (!channel->has_ended && !channel->is_closing && channel->is_reading) {
        const uint8_t *bytes;
        size_t len_bytes;
        int got = dsm_framing_next(&channel->framing, &bytes, &len_bytes);
        if (got == 0)
            return;
        Dsm__LaunchMessage *message =
            got > 0 ? dsm__launch_message__unpack(NULL, len_bytes, bytes) : NULL;
        if (!message || message->body_case == DSM__LAUNCH_MESSAGE__BODY__NOT_SET) {
            if (message)
                dsm__launch_message__free_unpacked(message, NULL);
            end(channel, "sent something that is not of dsmrun's launch protocol");
            return;
        }
        channel->handler.on_message(channel->handler.user, message);
        dsm__launch_message__free_unpacked(message, NULL);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n_read, const uv_buf_t *buf)
{
    struct dsm_channel *channel = stream->data;
    if (n_read < 0) {
        end(channel, n_read == UV_EOF ? "closed its channel" : uv_strerror((int)n_read));
        return;
    }
    if (dsm_framing_push(&channel->framing, buf->base, (size_t)n_read) != 0) {
        end(channel, "could not be heard: out of memory");
        return;
    }
    deliver(channel);
}

void dsm_channel_set_reading(struct dsm_channel *channel, bool on)
{
    if (on == channel->is_reading || channel->has_ended || channel->is_closing)
        return;
    channel->is_reading = on;
    if (!on) {
        uv_read_stop((uv_stream_t *)&channel->in);
        return;
    }
    deliver(channel);
    if (channel->is_reading && !channel->has_ended && !channel->is_closing)
        uv_read_start((uv_stream_t *)&channel->in, on_alloc, on_read);
}

int dsm_channel_open(struct dsm_channel *channel, uv_loop_t *loop, int in_fd, int out_fd,
                     const struct dsm_channel_handler *handler)
{
    *channel = (struct dsm_channel){.handler = *handler};
    dsm_framing_init(&channel->framing, DSM_CHANNEL_MAX_BYTES);
    uv_pipe_init(loop, &channel->in, 0);
    uv_pipe_init(loop, &channel->out, 0);
    channel->in.data = channel->out.data = channel;
    channel->n_open_handles = 2;
    int error = uv_pipe_open(&channel->in, in_fd);
    if (error)
        close(in_fd);
    int out_error = uv_pipe_open(&channel->out, out_fd);
    if (out_error)
        close(out_fd);
    if (error || out_error)
        return DSM_E_SYSTEM;
    dsm_channel_set_reading(channel, true);
    return 0;
}

static void on_written(uv_write_t *write, int status)
{
    struct send_request *request = (struct send_request *)write;
    struct dsm_channel *channel = request->channel;
    free(request);
    if (channel->is_closing)
        return;
    /* What the other side said before it went is still to be read: that decides the end. */
    if (status < 0)
        channel->is_deaf = true;
    else if (channel->handler.on_writable &&
             dsm_channel_unsent_bytes(channel) < DSM_CHANNEL_LOW_BYTES)
        channel->handler.on_writable(channel->handler.user);
}

void dsm_channel_send(struct dsm_channel *channel, const Dsm__LaunchMessage *message)
{
    if (channel->has_ended || channel->is_closing || channel->is_deaf)
        return;
    size_t len_bytes = dsm__launch_message__get_packed_size(message);
    struct send_request *request =
        len_bytes <= DSM_CHANNEL_MAX_BYTES
            ? malloc(sizeof *request + DSM_FRAMING_PREFIX_BYTES + len_bytes)
            : NULL;
    if (!request) {
        end(channel, "could not be told: the message is too long or memory is out");
        return;
    }
    request->channel = channel;
    dsm_put_u32(request->bytes, (uint32_t)len_bytes);
    dsm__launch_message__pack(message, request->bytes + DSM_FRAMING_PREFIX_BYTES);
    uv_buf_t buf =
        uv_buf_init((char *)request->bytes, (unsigned)(DSM_FRAMING_PREFIX_BYTES + len_bytes));
    int error = uv_write(&request->write, (uv_stream_t *)&channel->out, &buf, 1, on_written);
    if (error) {
        free(request);
        channel->is_deaf = true;
    }
}

size_t dsm_channel_unsent_bytes(const struct dsm_channel *channel)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&channel->out);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct dsm_channel *channel = handle->data;
    if (--channel->n_open_handles > 0)
        return;
    dsm_framing_close(&channel->framing);
    if (channel->on_closed)
        channel->on_closed(channel->handler.user);
}

void dsm_channel_close(struct dsm_channel *channel, void (*on_closed)(void *user))
{
    if (channel->is_closing)
        return;
    channel->is_closing = true;
    channel->on_closed = on_closed;
    uv_close((uv_handle_t *)&channel->in, on_handle_closed);
    uv_close((uv_handle_t *)&channel->out, on_handle_closed);
}
