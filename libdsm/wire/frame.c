/* SPDX-License-Identifier: BSD-3-Clause */
/* frame.c - the header's bytes: the one place that lays them out, and the first check on what a
 * peer sends. What depends on the job (ranks, epoch, state of a unit) is left to the receiver. */
#include "wire/frame.h"
#include "base/bytes.h"
#include <assert.h>
#include <dsm/dsm.h>

enum {
    AT_TYPE = 0,
    AT_FLAGS = 1,
    AT_ACCESS = 2,
    AT_VERSION = 3,
    AT_EPOCH = 4,
    AT_FROM = 8,
    AT_JOB = 12,
    AT_OBJECT = 16,
    AT_TXN = 24,
    AT_PRIOR = 32,
    AT_PEER = 40,
    AT_ACKS = 44,
    AT_COUNT = 48,
    AT_REQUEST = 52,
    AT_LEN = 56,
    AT_TAIL = 60,
};

#define PAGE_FLAGS (DSM_MSG_F_ASYNC | DSM_MSG_F_HAS_COPY | DSM_MSG_F_NO_BYTES | DSM_MSG_F_ZERO)
#define LOCK_FLAGS (DSM_MSG_F_ASYNC | DSM_MSG_F_TRY | DSM_MSG_F_WANTED | DSM_MSG_F_ABANDONED)
#define PAGES_BITS 10
#define PAGES_MASK ((1u << PAGES_BITS) - 1)
/* Keeps page * 4096 and page + count within 64 bits. */
#define MAX_PAGE (UINT64_MAX >> (DSM_PAGE_SHIFT + 1))

/* What the fields of a type may hold. */
struct rule {
    bool is_known;
    bool has_access; /* READ, WRITE or OWN; otherwise NONE..OWN */
    bool has_pages;  /* object is a page number */
    bool has_count;  /* count is at least 1 */
    bool may_carry;  /* payload may follow */
    bool has_room;   /* the last word is room */
    bool is_sync;    /* flags are LOCK_FLAGS, else PAGE_FLAGS */
    bool has_key;    /* ... or key */
    uint8_t more_flags;
};

static const struct rule rules[DSM_MSG_N_TYPES] = {
    [DSM_MSG_REQUEST] = {.is_known = true,
                         .more_flags = DSM_MSG_F_SHARE,
                         .has_access = true,
                         .has_pages = true,
                         .has_count = true,
                         .has_key = true},
    [DSM_MSG_FORWARD] = {.is_known = true,
                         .more_flags = DSM_MSG_F_EXCLUSIVE,
                         .has_access = true,
                         .has_pages = true,
                         .has_count = true,
                         .has_key = true},
    [DSM_MSG_INVALIDATE] = {.is_known = true, .has_pages = true},
    [DSM_MSG_GRANT] = {.is_known = true,
                       .more_flags = DSM_MSG_F_EXCLUSIVE,
                       .has_access = true,
                       .has_pages = true,
                       .has_count = true,
                       .may_carry = true},
    [DSM_MSG_ACK] = {.is_known = true, .has_pages = true},
    [DSM_MSG_REFUSE] = {.is_known = true, .has_pages = true},
    [DSM_MSG_UNWRITTEN] = {.is_known = true, .has_pages = true},
    [DSM_MSG_OFFER] = {.is_known = true, .has_pages = true, .has_count = true},
    [DSM_MSG_OFFER_REPLY] = {.is_known = true, .has_pages = true, .has_room = true},
    [DSM_MSG_LOCK_ACQUIRE] = {.is_known = true, .is_sync = true},
    [DSM_MSG_LOCK_FORWARD] = {.is_known = true, .is_sync = true},
    [DSM_MSG_LOCK_GRANT] = {.is_known = true, .is_sync = true, .more_flags = DSM_MSG_F_ENDED},
    [DSM_MSG_LOCK_REFUSE] = {.is_known = true},
    [DSM_MSG_LOCK_HERE] = {.is_known = true},
    [DSM_MSG_LOCK_BUSY] = {.is_known = true},
    [DSM_MSG_SYNC_ASK] = {.is_known = true, .is_sync = true},
    [DSM_MSG_SYNC_CANCEL] = {.is_known = true},
    [DSM_MSG_SYNC_ANSWER] = {.is_known = true},
    [DSM_MSG_DISTRIBUTE] = {.is_known = true, .may_carry = true},
    [DSM_MSG_DISTRIBUTED] = {.is_known = true},
    [DSM_MSG_COLLECTIVE] = {.is_known = true, .may_carry = true},
    [DSM_MSG_DROP_BEGIN] = {.is_known = true, .has_pages = true, .has_count = true},
    [DSM_MSG_DROP_CLEAR] = {.is_known = true, .has_pages = true, .has_count = true},
    [DSM_MSG_DROP_DONE] = {.is_known = true, .has_pages = true},
    [DSM_MSG_HEAP_ASK] = {.is_known = true},
    [DSM_MSG_HEAP_ANSWER] = {.is_known = true},
    [DSM_MSG_HEAP_FREE] = {.is_known = true},
    [DSM_MSG_RING] = {.is_known = true},
    [DSM_MSG_WORK] = {.is_known = true},
};

void dsm_frame_encode(const struct dsm_message *message, uint8_t out[DSM_MESSAGE_HEADER_BYTES])
{
    uint32_t tail = 0;
    if (message->type == DSM_MSG_GRANT) {
        /* Our own core made them: whole pages within the largest unit. */
        assert(message->offset % DSM_PAGE_BYTES == 0 && message->room % DSM_PAGE_BYTES == 0);
        assert(message->offset >> DSM_PAGE_SHIFT <= DSM_UNIT_MAX_PAGES);
        assert(message->room >> DSM_PAGE_SHIFT <= DSM_UNIT_MAX_PAGES);
        tail = message->offset >> DSM_PAGE_SHIFT | message->room >> DSM_PAGE_SHIFT << PAGES_BITS;
    } else if (rules[message->type].has_room) {
        tail = message->room;
    } else if (rules[message->type].has_key) {
        tail = message->key;
    }
    out[AT_TYPE] = message->type;
    out[AT_FLAGS] = message->flags;
    out[AT_ACCESS] = message->access;
    out[AT_VERSION] = DSM_FRAME_VERSION;
    dsm_put_u32(out + AT_EPOCH, message->epoch);
    dsm_put_u32(out + AT_FROM, message->from);
    dsm_put_u32(out + AT_JOB, message->job);
    dsm_put_u64(out + AT_OBJECT, message->object);
    dsm_put_u64(out + AT_TXN, message->txn);
    dsm_put_u64(out + AT_PRIOR, message->prior);
    dsm_put_u32(out + AT_PEER, message->peer);
    dsm_put_u32(out + AT_ACKS, message->acks);
    dsm_put_u32(out + AT_COUNT, message->count);
    dsm_put_u32(out + AT_REQUEST, message->request);
    dsm_put_u32(out + AT_LEN, message->len);
    dsm_put_u32(out + AT_TAIL, tail);
}

/* The payload of a grant: whole pages inside the unit, or none for a reason that is given. */
static const char *check_grant(const struct dsm_message *m)
{
    bool is_zero = m->flags & DSM_MSG_F_ZERO, has_none = m->flags & DSM_MSG_F_NO_BYTES;
    if (is_zero && has_none)
        return "grant both zero and without bytes";
    if (m->room > DSM_UNIT_MAX_PAGES * DSM_PAGE_BYTES)
        return "grant of a unit larger than 2 MiB";
    if (is_zero || has_none)
        return m->len || m->offset ? "grant without bytes has a payload" : NULL;
    if (m->len == 0 || m->len % DSM_PAGE_BYTES)
        return "payload of a grant is not whole pages";
    if (m->count > 1 && (m->offset || m->len / m->count != m->room || m->len % m->count))
        return "payload of a grant is not that of its units";
    if (m->count == 1 && (m->offset > m->room || m->len > m->room - m->offset))
        return "payload of a grant leaves its unit";
    return NULL;
}

static const char *check(const struct dsm_message *m, uint8_t version, uint32_t tail)
{
    if (version != DSM_FRAME_VERSION)
        return "other frame format version";
    if (m->type >= DSM_MSG_N_TYPES || !rules[m->type].is_known)
        return "unknown message type";
    const struct rule *rule = &rules[m->type];
    if (m->flags & ~((rule->is_sync ? LOCK_FLAGS : PAGE_FLAGS) | rule->more_flags))
        return "unknown flag";
    if (m->access > DSM_ACCESS_OWN || (rule->has_access && m->access == DSM_ACCESS_NONE))
        return "access out of range";
    if (m->len > DSM_MESSAGE_CHUNK_BYTES)
        return "payload larger than 64 KiB";
    if (m->len && !rule->may_carry)
        return "payload where none may be";
    if (rule->has_pages && m->object > MAX_PAGE)
        return "page number out of range";
    if (rule->has_count && m->count == 0)
        return "run of no units or pages";
    if (m->type == DSM_MSG_GRANT)
        return tail >> (2 * PAGES_BITS) ? "spare bits are set" : check_grant(m);
    return tail && !rule->has_room && !rule->has_key ? "spare bits are set" : NULL;
}

int dsm_frame_decode(const uint8_t in[DSM_MESSAGE_HEADER_BYTES], struct dsm_message *message_out,
                     const char **reason_out)
{
    uint32_t tail = dsm_get_u32(in + AT_TAIL);
    bool is_grant = in[AT_TYPE] == DSM_MSG_GRANT;
    bool has_key = in[AT_TYPE] < DSM_MSG_N_TYPES && rules[in[AT_TYPE]].has_key;
    struct dsm_message m = {
        .type = in[AT_TYPE],
        .flags = in[AT_FLAGS],
        .access = in[AT_ACCESS],
        .epoch = dsm_get_u32(in + AT_EPOCH),
        .from = dsm_get_u32(in + AT_FROM),
        .job = dsm_get_u32(in + AT_JOB),
        .object = dsm_get_u64(in + AT_OBJECT),
        .txn = dsm_get_u64(in + AT_TXN),
        .prior = dsm_get_u64(in + AT_PRIOR),
        .peer = dsm_get_u32(in + AT_PEER),
        .acks = dsm_get_u32(in + AT_ACKS),
        .count = dsm_get_u32(in + AT_COUNT),
        .request = dsm_get_u32(in + AT_REQUEST),
        .len = dsm_get_u32(in + AT_LEN),
        .offset = is_grant ? (tail & PAGES_MASK) << DSM_PAGE_SHIFT : 0,
        .room = is_grant  ? (tail >> PAGES_BITS & PAGES_MASK) << DSM_PAGE_SHIFT
                : has_key ? 0
                          : tail,
        .key = has_key ? tail : 0,
    };
    const char *reason = check(&m, in[AT_VERSION], tail);
    if (reason) {
        *reason_out = reason;
        return DSM_E_PROTO;
    }
    *message_out = m;
    return 0;
}
