/* SPDX-License-Identifier: BSD-3-Clause */
/* framing.c - cuts a byte stream into messages. */
#include "proto/framing.h"
#include "base/bytes.h"
#include <dsm/dsm.h>
#include <stdlib.h>
#include <string.h>

void dsm_framing_init(struct dsm_framing *framing, uint32_t max_bytes)
{
    *framing = (struct dsm_framing){.max_bytes = max_bytes};
}

void dsm_framing_close(struct dsm_framing *framing)
{
    free(framing->buf);
    *framing = (struct dsm_framing){.max_bytes = framing->max_bytes};
}

int dsm_framing_push(struct dsm_framing *framing, const void *bytes, size_t len_bytes)
{
    if (len_bytes == 0)
        return 0;
    if (framing->start_bytes > 0) {
        framing->len_bytes -= framing->start_bytes;
        memmove(framing->buf, framing->buf + framing->start_bytes, framing->len_bytes);
        framing->start_bytes = 0;
    }
    size_t need = framing->len_bytes + len_bytes;
    if (need > framing->cap_bytes) {
        size_t cap = framing->cap_bytes ? framing->cap_bytes : 512;
        while (cap < need)
            cap *= 2;
        uint8_t *grown = realloc(framing->buf, cap);
        if (!grown)
            return DSM_E_NOMEM;
        framing->buf = grown;
        framing->cap_bytes = cap;
    }
    memcpy(framing->buf + framing->len_bytes, bytes, len_bytes);
    framing->len_bytes = need;
    return 0;
}

int dsm_framing_next(struct dsm_framing *framing, const uint8_t **message_out, size_t *len_out)
{
    size_t have = framing->len_bytes - framing->start_bytes;
    if (have < DSM_FRAMING_PREFIX_BYTES)
        return 0;
    const uint8_t *at = framing->buf + framing->start_bytes;
    size_t len = dsm_get_u32(at);
    if (len > framing->max_bytes) {
        *len_out = len;
        return DSM_E_LIMIT;
    }
    if (have - DSM_FRAMING_PREFIX_BYTES < len)
        return 0;
    framing->start_bytes += DSM_FRAMING_PREFIX_BYTES + len;
    *message_out = at + DSM_FRAMING_PREFIX_BYTES;
    *len_out = len;
    return 1;
}
