/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trace.h - events and actions as text, one short sentence each, for transcripts and debugging.
 *
 * Each writes at most out_bytes with the NUL and returns the bytes written without it.
 * Signal-handler safe.
 */
#ifndef DSM_CORE_TRACE_H
#define DSM_CORE_TRACE_H

#include <stddef.h>

#include "core/action.h"
#include "core/event.h"

const char *dsm_trace_message_name(uint8_t type);
const char *dsm_trace_action_name(enum dsm_action_type type);
/* "GRANT read of 4, txn 3, 4096 bytes" */
size_t dsm_trace_message(const struct dsm_message *message, char *out, size_t out_bytes);
/* "2 sends 1: GRANT read of 4, ..." or "2 maps 4 for reading" */
size_t dsm_trace_action(dsm_rank_t self, const struct dsm_action *action, char *out,
                        size_t out_bytes);
/* "1 faults: read of 4" */
size_t dsm_trace_event(dsm_rank_t self, const struct dsm_event *event, char *out, size_t out_bytes);

#endif
