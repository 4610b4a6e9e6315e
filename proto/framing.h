/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * framing.h - length-prefixed messages in a byte stream: a little-endian u32 with the number of
 * bytes, then the bytes. Knows nothing of what is in them, and never keeps more than one message
 * and one read of what follows.
 */
#ifndef DSM_PROTO_FRAMING_H
#define DSM_PROTO_FRAMING_H

#include <stddef.h>
#include <stdint.h>

#define DSM_FRAMING_PREFIX_BYTES 4u

struct dsm_framing {
    uint8_t *buf;
    size_t start_bytes; /* consumed already */
    size_t len_bytes;
    size_t cap_bytes;
    uint32_t max_bytes; /* longest message accepted; may be changed between messages */
};

void dsm_framing_init(struct dsm_framing *framing, uint32_t max_bytes);
void dsm_framing_close(struct dsm_framing *framing);
/* Adds bytes that were read. Error: NOMEM. */
int dsm_framing_push(struct dsm_framing *framing, const void *bytes, size_t len_bytes);
/*
 * The next whole message: 1 and *message_out, which is valid until the next call; 0: not there yet;
 * DSM_E_LIMIT: longer than max_bytes, *len_out says how long. Empty messages are messages.
 */
int dsm_framing_next(struct dsm_framing *framing, const uint8_t **message_out, size_t *len_out);

#endif
