/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frame.h - the 64-byte header of every lane message, laid out in one place.
 *
 * Little-endian:
 *   0 u8 type   1 u8 flags   2 u8 access   3 u8 format version (DSM_FRAME_VERSION)
 *   4 u32 epoch  8 u32 from  12 u32 job
 *  16 u64 object  24 u64 txn  32 u64 prior
 *  40 u32 peer  44 u32 acks  48 u32 count  52 u32 request  56 u32 len
 *  60 u32 GRANT: bits 0..9 offset in the unit, bits 10..19 bytes of the whole unit, both in pages;
 *         OFFER_REPLY: room; REQUEST, FORWARD: key; other types: 0
 */
#ifndef DSM_WIRE_FRAME_H
#define DSM_WIRE_FRAME_H

#include "core/message.h"

#define DSM_FRAME_VERSION 3

/* Signal-handler safe. */
void dsm_frame_encode(const struct dsm_message *message, uint8_t out[DSM_MESSAGE_HEADER_BYTES]);

/*
 * Checks everything that can be checked without knowing the job: type, version, flags, access, that
 * len, offset and count are within the limits of their type. Returns 0 or DSM_E_PROTO; then
 * *reason_out is a static text. Signal-handler safe.
 */
int dsm_frame_decode(const uint8_t in[DSM_MESSAGE_HEADER_BYTES], struct dsm_message *message_out,
                     const char **reason_out);

#endif
