/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * control.h - limits of the control protocol, and the one place where its messages are packed and
 * where what came from outside is checked. The messages are in control.proto.
 */
#ifndef DSM_PROTO_CONTROL_H
#define DSM_PROTO_CONTROL_H

#include "control.pb-c.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DSM_CONTROL_PROTOCOL       1u
#define DSM_CONTROL_MAX_JOIN_BYTES 4096u      /* what a stranger may send */
#define DSM_CONTROL_MAX_RANK_BYTES 65536u     /* what a rank may send when it has joined */
#define DSM_CONTROL_MAX_BYTES      (2u << 20) /* a roster of DSM_CONTROL_MAX_RANKS */
#define DSM_CONTROL_MAX_RANKS      4096u
#define DSM_CONTROL_MAX_OFFERS     8u
#define DSM_CONTROL_MAX_TEXT_BYTES 300u /* every string in every message */
#define DSM_CONTROL_MIN_WATCH_MS   100u
#define DSM_CONTROL_MAX_WATCH_MS   3600000u
#define DSM_CONTROL_MIN_REGION     (1ull << 20)
#define DSM_CONTROL_MAX_REGION     (16ull << 40)

/* A message from dsmd to a rank, or the other way round. */
enum dsm_control_direction { DSM_CONTROL_FROM_RANK, DSM_CONTROL_FROM_DAEMON };

/*
 * Unpacks and checks one message: that it is one that this side sends, lengths of strings and of
 * the token, that strings are one printable line, ranges of numbers. What depends on the job is
 * left to the receiver. 0 and *message_out (dsm_control_free), or DSM_E_PROTO and a static
 * *reason_out.
 */
int dsm_control_unpack(const uint8_t *bytes, size_t len_bytes, enum dsm_control_direction direction,
                       Dsm__Control **message_out, const char **reason_out);
void dsm_control_free(Dsm__Control *message);

/* Length prefix and message in fresh memory (free). Error: NOMEM. */
int dsm_control_pack(const Dsm__Control *message, uint8_t **bytes_out, size_t *len_out);
/* The same into out, without allocation; signal-handler safe. Error: LIMIT when it does not fit. */
int dsm_control_pack_into(const Dsm__Control *message, uint8_t *out, size_t out_bytes,
                          size_t *len_out);

/* Copies text and makes it fit for the wire: at most DSM_CONTROL_MAX_TEXT_BYTES with the NUL,
 * control characters become '?'. Returns out. Signal-handler safe. */
char *dsm_control_clean_text(const char *text, char out[DSM_CONTROL_MAX_TEXT_BYTES]);

#endif
