/* SPDX-License-Identifier: BSD-3-Clause */
/* profile.c - see profile.h. */
#include "proto/profile.h"
#include "base/bytes.h"
#include <dsm/dsm.h>
#include <string.h>

void dsm_profile_put_header(uint8_t out[DSM_PROFILE_HEADER_BYTES])
{
    memset(out, 0, DSM_PROFILE_HEADER_BYTES);
    memcpy(out, DSM_PROFILE_MAGIC, 8);
    dsm_put_u32(out + 8, DSM_PROFILE_VERSION);
    dsm_put_u32(out + 12, DSM_PROFILE_SLOT_BYTES);
}

void dsm_profile_put_section(uint8_t out[DSM_PROFILE_SECTION_BYTES], uint32_t tag, uint32_t rank,
                             uint64_t room_bytes)
{
    memset(out, 0, DSM_PROFILE_SECTION_BYTES);
    dsm_put_u32(out, tag);
    dsm_put_u32(out + 4, rank);
    dsm_put_u64(out + 8, room_bytes);
}

void dsm_profile_put_slot(uint8_t out[DSM_PROFILE_SLOT_BYTES], const struct dsm_profile_slot *s)
{
    out[0] = s->kind;
    out[1] = s->n_more;
    out[2] = s->unit_log2;
    out[3] = 0;
    dsm_put_u32(out + 4, s->peer);
    dsm_put_u64(out + 8, s->time_ns);
    dsm_put_u64(out + 16, s->a);
    dsm_put_u64(out + 24, s->b);
    dsm_put_u64(out + 32, s->c);
}

static void get_slot(const uint8_t *p, struct dsm_profile_slot *s)
{
    *s = (struct dsm_profile_slot){.kind = p[0],
                                   .n_more = p[1],
                                   .unit_log2 = p[2],
                                   .peer = dsm_get_u32(p + 4),
                                   .time_ns = dsm_get_u64(p + 8),
                                   .a = dsm_get_u64(p + 16),
                                   .b = dsm_get_u64(p + 24),
                                   .c = dsm_get_u64(p + 32)};
}

int dsm_profile_open(struct dsm_profile_reader *r, const void *bytes, size_t len_bytes)
{
    *r = (struct dsm_profile_reader){.bytes = bytes, .len_bytes = len_bytes};
    if (len_bytes < DSM_PROFILE_HEADER_BYTES || memcmp(bytes, DSM_PROFILE_MAGIC, 8) != 0) {
        r->reason = "this is no dsm profile";
        return DSM_E_PROTO;
    }
    r->at = 8;
    r->version = dsm_get_u32(r->bytes + 8);
    if (r->version < DSM_PROFILE_VERSION_LEAST || r->version > DSM_PROFILE_VERSION ||
        dsm_get_u32(r->bytes + 12) != DSM_PROFILE_SLOT_BYTES) {
        r->reason = "this is a profile of another version of dsm: formats 2 and 3 are read";
        return DSM_E_PROTO;
    }
    r->at = r->next_at = DSM_PROFILE_HEADER_BYTES;
    return 0;
}

static int wrong(struct dsm_profile_reader *r, const char *reason)
{
    r->reason = reason;
    return DSM_E_PROTO;
}

/* Counters behind the words for each rank: none in the first version that is read, any number
 * since. */
static bool has_enough_words(const struct dsm_profile_reader *r, uint64_t n, uint64_t n_ranks)
{
    uint64_t least = DSM_PROFILE_WORD_RECEIVED + n_ranks;
    return r->is_cut || n == least || (n > least && r->version > DSM_PROFILE_VERSION_LEAST);
}

/* The next section's header. 1: slots follow, or item has the words; 0: the end. */
static int open_section(struct dsm_profile_reader *r, struct dsm_profile_item *item, bool *is_live)
{
    r->at = r->next_at;
    size_t left = r->len_bytes - r->at;
    const uint8_t *p = r->bytes + r->at;
    if (left < DSM_PROFILE_SECTION_BYTES) {
        r->is_cut |= left > 0;
        return 0;
    }
    uint32_t tag = dsm_get_u32(p);
    uint64_t room = dsm_get_u64(p + 8), n = dsm_get_u64(p + 16);
    *is_live = tag == DSM_PROFILE_TAG_LIVE;
    if (tag == 0 && room == 0) { /* room that was made and not used */
        r->next_at = r->len_bytes;
        return 0;
    }
    if (!*is_live && tag != DSM_PROFILE_TAG_EVENTS)
        return wrong(r, "a section has an unknown tag");
    r->rank = dsm_get_u32(p + 4);
    if (r->rank >= DSM_PROFILE_MAX_RANKS)
        return wrong(r, "a section is of an impossible rank");
    uint64_t entry_bytes = *is_live ? 8 : DSM_PROFILE_SLOT_BYTES;
    if (room < DSM_PROFILE_SECTION_BYTES || n > (room - DSM_PROFILE_SECTION_BYTES) / entry_bytes)
        return wrong(r, "a section has more entries than room");
    if (room > left) {
        /* Room behind the last entry may be missing, entries may not. */
        uint64_t have = (left - DSM_PROFILE_SECTION_BYTES) / entry_bytes;
        if (n > have) {
            r->is_cut = true;
            n = have;
        }
        room = left;
    }
    r->next_at = r->at + (size_t)room;
    r->entry_at = r->at + DSM_PROFILE_SECTION_BYTES;
    r->entries_end = r->entry_at + (size_t)(n * entry_bytes);
    if (!*is_live)
        return 1;
    item->rank = r->rank;
    item->words = r->bytes + r->entry_at;
    item->n_words = (size_t)n;
    r->entry_at = r->entries_end;
    if (n < DSM_PROFILE_WORD_RECEIVED) {
        if (r->is_cut)
            return 0;
        return wrong(r, "a rank's words are too few");
    }
    uint64_t n_ranks = dsm_profile_word(item, DSM_PROFILE_WORD_N_RANKS);
    if (n_ranks > DSM_PROFILE_MAX_RANKS || r->rank >= n_ranks)
        return wrong(r, "a rank is outside its job");
    if (!has_enough_words(r, n, n_ranks))
        return wrong(r, "a rank's words are not as many as its job has ranks");
    return 1;
}

static int take_slot(struct dsm_profile_reader *r, struct dsm_profile_item *item)
{
    r->at = r->entry_at;
    item->rank = r->rank;
    get_slot(r->bytes + r->at, &item->slot);
    r->entry_at += DSM_PROFILE_SLOT_BYTES;
    const struct dsm_profile_slot *s = &item->slot;
    bool has_text = s->kind == DSM_PROFILE_ALLOC || s->kind == DSM_PROFILE_MODULE;
    bool is_timed = s->kind >= DSM_PROFILE_READ && s->kind < DSM_PROFILE_N_TIMED;
    if (!has_text && !is_timed)
        return wrong(r, "a record is of an unknown kind");
    if (s->n_more && !has_text)
        return wrong(r, "a record of this kind has no text");
    bool is_wait = s->kind >= DSM_PROFILE_LOCK && s->kind <= DSM_PROFILE_SYNC;
    if (is_wait && s->object >= DSM_PROFILE_N_OBJECTS)
        return wrong(r, "a wait is at an object of an unknown kind");
    if (!is_wait && s->unit_log2 > 9)
        return wrong(r, "a unit is larger than 2 MiB");
    item->text[0] = '\0';
    size_t text_bytes = (size_t)s->n_more * DSM_PROFILE_SLOT_BYTES;
    if (text_bytes > r->entries_end - r->entry_at) {
        if (!r->is_cut)
            return wrong(r, "a text goes beyond its section");
        r->entry_at = r->entries_end;
        return 0;
    }
    memcpy(item->text, r->bytes + r->entry_at, text_bytes);
    item->text[text_bytes] = '\0';
    r->entry_at += text_bytes;
    return 1;
}

int dsm_profile_next(struct dsm_profile_reader *r, struct dsm_profile_item *item)
{
    if (r->reason)
        return DSM_E_PROTO;
    for (;;) {
        bool is_live = false;
        if (r->entry_at < r->entries_end) {
            item->is_live = false;
            int got = take_slot(r, item);
            if (got)
                return got;
            continue;
        }
        int got = open_section(r, item, &is_live);
        if (got <= 0)
            return got;
        item->is_live = is_live;
        if (is_live)
            return 1;
    }
}

uint64_t dsm_profile_word(const struct dsm_profile_item *item, size_t index)
{
    return index < item->n_words ? dsm_get_u64(item->words + index * 8) : 0;
}

const char *dsm_profile_counter_name(enum dsm_profile_counter counter)
{
    static const char *const names[] = {
#define XX(name, text) #name,
        DSM_PROFILE_COUNTER_MAP(XX)
#undef XX
    };
    return names[counter];
}

const char *dsm_profile_counter_text(enum dsm_profile_counter counter)
{
    static const char *const texts[] = {
#define XX(name, text) text,
        DSM_PROFILE_COUNTER_MAP(XX)
#undef XX
    };
    return texts[counter];
}

const char *dsm_profile_object_text(enum dsm_profile_object object)
{
    switch (object) {
    case DSM_PROFILE_MUTEX:
        return "lock";
    case DSM_PROFILE_RWLOCK:
        return "reader-writer lock";
    case DSM_PROFILE_RANKS:
        return "barriers of ranks";
    case DSM_PROFILE_THREADS:
        return "barrier of threads";
    case DSM_PROFILE_COLLECTIVE:
        return "broadcasts, reductions, allocations";
    case DSM_PROFILE_CONDITION:
        return "condition variable";
    case DSM_PROFILE_SEMAPHORE:
        return "semaphore";
    case DSM_PROFILE_FLAG:
        return "flag";
    case DSM_PROFILE_TICKETS:
        return "tickets";
    case DSM_PROFILE_WORD:
        return "word";
    case DSM_PROFILE_ANY:
        return "destroyed object";
    case DSM_PROFILE_N_OBJECTS:
        break;
    }
    return "?";
}
