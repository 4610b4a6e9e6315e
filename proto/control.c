/* SPDX-License-Identifier: BSD-3-Clause */
/* control.c - packing and the checks on everything that comes from outside. */
#include "proto/control.h"
#include "proto/framing.h"
#include "base/bytes.h"
#include <dsm/dsm.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static bool is_text(const char *text)
{
    size_t n = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++, n++)
        if (*c < ' ' || *c == 0x7f)
            return false;
    return n < DSM_CONTROL_MAX_TEXT_BYTES;
}

static const char *check_offers(const Dsm__Join *m)
{
    if (m->n_offers > DSM_CONTROL_MAX_OFFERS)
        return "join: too many transports";
    for (size_t i = 0; i < m->n_offers; i++) {
        const Dsm__Offer *offer = m->offers[i];
        if (!is_text(offer->transport) || !is_text(offer->lane_address) ||
            !is_text(offer->network) || !is_text(offer->reason))
            return "join: a text of a transport is too long or not printable";
        if (!*offer->transport)
            return "join: a transport without a name";
        for (size_t other = 0; other < i; other++)
            if (strcmp(offer->transport, m->offers[other]->transport) == 0)
                return "join: a transport is named twice";
    }
    return NULL;
}

static const char *check_join(const Dsm__Join *m)
{
    /* A stranger's other fields may mean something else; the receiver refuses by this number. */
    if (m->protocol != DSM_CONTROL_PROTOCOL)
        return NULL;
    if (m->token.len != 16)
        return "join: the token is not 16 bytes";
    if (m->n_ranks == 0 || m->n_ranks > DSM_CONTROL_MAX_RANKS)
        return "join: number of ranks out of range";
    if (m->wanted_rank < -1 || m->wanted_rank >= (int64_t)m->n_ranks)
        return "join: wanted rank out of range";
    if (m->region_bytes < DSM_CONTROL_MIN_REGION || m->region_bytes > DSM_CONTROL_MAX_REGION)
        return "join: region size out of range";
    if (!is_text(m->host) || !is_text(m->host_id) || !is_text(m->lane_address) ||
        !is_text(m->build) || !is_text(m->cpu) || !is_text(m->transport) || !is_text(m->trap) ||
        !is_text(m->wanted_transport))
        return "join: a text is too long or not printable";
    if (!*m->host || (!*m->lane_address && m->n_offers == 0))
        return "join: host or lane address missing";
    return check_offers(m);
}

static const char *check_roster(const Dsm__Roster *m)
{
    if (m->n_peers == 0 || m->n_peers > DSM_CONTROL_MAX_RANKS)
        return "roster: number of ranks out of range";
    for (size_t i = 0; i < m->n_peers; i++)
        if (!is_text(m->peers[i]->lane_address) || !is_text(m->peers[i]->host))
            return "roster: a text is too long or not printable";
    return NULL;
}

static const char *check_start(const Dsm__Start *m)
{
    if (m->n_ranks == 0 || m->n_ranks > DSM_CONTROL_MAX_RANKS || m->rank >= m->n_ranks)
        return "start: rank out of range";
    if (!is_text(m->transport) || !is_text(m->transport_reason))
        return "start: a text is too long or not printable";
    return NULL;
}

static const char *check_watch(const Dsm__Watch *m)
{
    if (m->protocol != DSM_CONTROL_PROTOCOL) /* the receiver refuses by this number */
        return NULL;
    if (m->token.len != 16)
        return "watch: the token is not 16 bytes";
    if (m->every_ms < DSM_CONTROL_MIN_WATCH_MS || m->every_ms > DSM_CONTROL_MAX_WATCH_MS)
        return "watch: interval out of range";
    return NULL;
}

/* NULL when the message is sound. */
static const char *check(const Dsm__Control *m, enum dsm_control_direction direction)
{
    static const char bad_text[] = "a text is too long or not printable";
    bool is_from_rank = true;
    const char *reason = NULL;
    switch (m->body_case) {
    case DSM__CONTROL__BODY_JOIN:
        reason = check_join(m->join);
        break;
    case DSM__CONTROL__BODY_MAPPED:
        reason = is_text(m->mapped->reason) ? NULL : bad_text;
        break;
    case DSM__CONTROL__BODY_BEAT:
    case DSM__CONTROL__BODY_LEAVE:
        break;
    case DSM__CONTROL__BODY_ABORT:
        reason = is_text(m->abort->reason) ? NULL : bad_text;
        break;
    case DSM__CONTROL__BODY_SHOW:
        reason = m->show->live.len ? NULL : "show: empty";
        break;
    case DSM__CONTROL__BODY_WATCH:
        reason = check_watch(m->watch);
        break;
    case DSM__CONTROL__BODY_REFUSE:
        is_from_rank = false;
        reason = !is_text(m->refuse->reason) ? bad_text
                 : m->refuse->error >= 0     ? "refuse: error code out of range"
                                             : NULL;
        break;
    case DSM__CONTROL__BODY_PROPOSE:
        is_from_rank = false;
        break;
    case DSM__CONTROL__BODY_ROSTER:
        is_from_rank = false;
        reason = check_roster(m->roster);
        break;
    case DSM__CONTROL__BODY_START:
        is_from_rank = false;
        reason = check_start(m->start);
        break;
    case DSM__CONTROL__BODY_VIEW:
        is_from_rank = false;
        reason = is_text(m->view->reason) ? NULL : bad_text;
        break;
    case DSM__CONTROL__BODY_LEFT:
    case DSM__CONTROL__BODY_BEAT_REPLY:
        is_from_rank = false;
        break;
    case DSM__CONTROL__BODY_WATCHED:
        is_from_rank = false;
        reason = m->watched->every_ms > DSM_CONTROL_MAX_WATCH_MS ? "watched: interval out of range"
                                                                 : NULL;
        break;
    case DSM__CONTROL__BODY_SHOWN:
        is_from_rank = false;
        reason = m->shown->rank >= DSM_CONTROL_MAX_RANKS ? "shown: rank out of range"
                 : !m->shown->live.len                   ? "shown: empty"
                                                         : NULL;
        break;
    case DSM__CONTROL__BODY_ABORTED:
        is_from_rank = false;
        reason = is_text(m->aborted->reason) ? NULL : bad_text;
        break;
    case DSM__CONTROL__BODY__NOT_SET:
    case _DSM__CONTROL__BODY__CASE_IS_INT_SIZE:
        return "empty or unknown message";
    }
    if (is_from_rank != (direction == DSM_CONTROL_FROM_RANK))
        return "message of the other side";
    return reason;
}

int dsm_control_unpack(const uint8_t *bytes, size_t len_bytes, enum dsm_control_direction direction,
                       Dsm__Control **message_out, const char **reason_out)
{
    Dsm__Control *message = dsm__control__unpack(NULL, len_bytes, bytes);
    if (!message) {
        *reason_out = "not a control message";
        return DSM_E_PROTO;
    }
    const char *reason = check(message, direction);
    if (reason) {
        dsm_control_free(message);
        *reason_out = reason;
        return DSM_E_PROTO;
    }
    *message_out = message;
    return 0;
}

void dsm_control_free(Dsm__Control *message)
{
    dsm__control__free_unpacked(message, NULL);
}

int dsm_control_pack_into(const Dsm__Control *message, uint8_t *out, size_t out_bytes,
                          size_t *len_out)
{
    size_t len = dsm__control__get_packed_size(message);
    if (len > DSM_CONTROL_MAX_BYTES || len + DSM_FRAMING_PREFIX_BYTES > out_bytes)
        return DSM_E_LIMIT;
    dsm_put_u32(out, (uint32_t)len);
    dsm__control__pack(message, out + DSM_FRAMING_PREFIX_BYTES);
    *len_out = len + DSM_FRAMING_PREFIX_BYTES;
    return 0;
}

int dsm_control_pack(const Dsm__Control *message, uint8_t **bytes_out, size_t *len_out)
{
    size_t need = dsm__control__get_packed_size(message) + DSM_FRAMING_PREFIX_BYTES;
    uint8_t *bytes = malloc(need);
    if (!bytes)
        return DSM_E_NOMEM;
    int error = dsm_control_pack_into(message, bytes, need, len_out);
    if (error) {
        free(bytes);
        return error;
    }
    *bytes_out = bytes;
    return 0;
}

char *dsm_control_clean_text(const char *text, char out[DSM_CONTROL_MAX_TEXT_BYTES])
{
    size_t n = 0;
    for (; text[n] && n < DSM_CONTROL_MAX_TEXT_BYTES - 1; n++)
        out[n] = (unsigned char)text[n] < ' ' || text[n] == 0x7f ? '?' : text[n];
    out[n] = '\0';
    return out;
}
