/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * profile.h - the format of profile files (.dsmprof), and the reader that believes nothing.
 *
 * A file is a header of 64 bytes and sections, all integers little-endian:
 *
 *   header   0 "DSMPROF\n"   8 u32 version (3)   12 u32 bytes of a slot (40)   the rest 0
 *   section  0 u32 tag       4 u32 rank          8 u64 bytes to the next section's start
 *           16 u64 entries in use                the rest of its 64 bytes 0; then the entries
 *
 * "LIVE" sections, one a rank, hold u64 words: those of enum dsm_profile_word, then for every rank
 * of the job the page bytes received from it, then those of enum dsm_profile_counter: what a reader
 * does not know of these it leaves alone, so more may be added at the end. (Version 2 had none of
 * them; it is read as well.) "EVNT" sections hold slots, in order of time:
 *
 *   0 u8 kind   1 u8 continuation slots that follow   3 u8 0
 *   2 u8 log2 of the unit's pages, or what was waited at (enum dsm_profile_object)
 *   4 u32 peer (0xffffffff: none)   8 u64 monotonic time, ns   16 u64 a   24 u64 b   32 u64 c
 *
 * with a, b and c as enum dsm_profile_kind says. A continuation slot is 40 bytes of text, padded
 * with zeroes.
 *
 * A rank writes such a file by plain stores into a mapping of it, counting entries up after each
 * one: so a rank that is killed leaves a valid file. dsmrun joins the sections of all ranks behind
 * one header. Sections may come in any order; those of one rank are in order of time.
 */
#ifndef DSM_PROTO_PROFILE_H
#define DSM_PROTO_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DSM_PROFILE_MAGIC         "DSMPROF\n"
#define DSM_PROFILE_VERSION       3u
#define DSM_PROFILE_VERSION_LEAST 2u /* that is still read */
#define DSM_PROFILE_HEADER_BYTES  64u
#define DSM_PROFILE_SECTION_BYTES 64u
#define DSM_PROFILE_SLOT_BYTES    40u
#define DSM_PROFILE_TEXT_BYTES    (255u * DSM_PROFILE_SLOT_BYTES)
#define DSM_PROFILE_MAX_RANKS     65536u
#define DSM_PROFILE_TAG_LIVE      0x4556494cu /* "LIVE" */
#define DSM_PROFILE_TAG_EVENTS    0x544e5645u /* "EVNT" */
#define DSM_PROFILE_NO_PEER       UINT32_MAX

/* What was waited at. */
enum dsm_profile_object {
    DSM_PROFILE_MUTEX, /* of dsm_lock */
    DSM_PROFILE_RWLOCK,
    DSM_PROFILE_RANKS,   /* dsm_barrier and dsm_barrier_group */
    DSM_PROFILE_THREADS, /* dsm_barrier_threads */
    DSM_PROFILE_COLLECTIVE,
    DSM_PROFILE_CONDITION,
    DSM_PROFILE_SEMAPHORE,
    DSM_PROFILE_FLAG,
    DSM_PROFILE_TICKETS,
    DSM_PROFILE_WORD,
    DSM_PROFILE_ANY, /* dsm_sync_destroy */
    DSM_PROFILE_N_OBJECTS
};

/* "lock", "barriers of ranks". */
const char *dsm_profile_object_text(enum dsm_profile_object object);

enum dsm_profile_kind {
    /* a: byte offset in the region, b: instruction (0: not known), c: latency in ns. peer: who
     * answered */
    DSM_PROFILE_READ = 1, /* a fault: the page was not here */
    DSM_PROFILE_WRITE,
    DSM_PROFILE_UPGRADE, /* here for reading, wanted for writing */
    /* a: offset of the first byte, c: pages. peer: for whom, where that is known */
    DSM_PROFILE_LOST,       /* access taken away */
    DSM_PROFILE_DOWNGRADED, /* write access taken away */
    /* A call waited. a: offset of the object's address, where it has one; b: instruction; c: how
     * long. MUTEX and RWLOCK; RANKS, THREADS and COLLECTIVE; the others */
    DSM_PROFILE_LOCK,
    DSM_PROFILE_BARRIER,
    DSM_PROFILE_SYNC,
    DSM_PROFILE_N_TIMED,    /* kinds below have their words in LIVE */
    DSM_PROFILE_ALLOC = 16, /* a: offset, b: bytes; text: name */
    DSM_PROFILE_MODULE,     /* a: first address, b: end, c: offset in the file; text: path */
};

enum dsm_profile_word {
    DSM_PROFILE_WORD_N_RANKS,
    DSM_PROFILE_WORD_PID,
    DSM_PROFILE_WORD_BASE,     /* of the region */
    DSM_PROFILE_WORD_START_NS, /* monotonic */
    DSM_PROFILE_WORD_START_REAL_NS,
    DSM_PROFILE_WORD_END_NS,  /* monotonic; 0: it did not end in good order */
    DSM_PROFILE_WORD_DROPPED, /* records that found no room */
    DSM_PROFILE_WORD_COUNT,   /* of each timed kind, also of those dropped */
    DSM_PROFILE_WORD_TOTAL_NS = DSM_PROFILE_WORD_COUNT + DSM_PROFILE_N_TIMED,
    DSM_PROFILE_WORD_RECEIVED = DSM_PROFILE_WORD_TOTAL_NS + DSM_PROFILE_N_TIMED,
};

/* Those of struct dsm_stats that say what the library did by itself or by advice, and whether it
 * paid. Written four times a second and at the end. */
#define DSM_PROFILE_COUNTER_MAP(XX)                                                                \
    XX(prefetch_asked, "units hinted or fetched ahead")                                            \
    XX(prefetch_late, "pages hinted and given up at their deadline")                               \
    XX(ahead_asked, "pages fetched ahead")                                                         \
    XX(ahead_used, "pages fetched ahead and used, by samples")                                     \
    XX(ahead_wasted, "pages fetched ahead and lost unused, by samples")                            \
    XX(migratory_found, "units found to migrate, at their home")                                   \
    XX(migratory_undone, "units found not to migrate any more, handed on unwritten")               \
    XX(migratory_reads, "units granted as the only copy at a read")                                \
    XX(migratory_writes, "of these written without asking")                                        \
    XX(pins, "units pinned")                                                                       \
    XX(pins_ended, "units whose pin ended by its time while others waited")                        \
    XX(private_asked, "units advised private that other ranks asked for")                          \
    XX(evicted_zero, "units given up for memory, never written")                                   \
    XX(evicted_shared, "units given up for memory, copies")                                        \
    XX(evicted_owned, "units given up for memory, moved to another rank")                          \
    XX(ahead_write_asked, "pages asked for ahead to be written")                                   \
    XX(ahead_write_used, "pages asked for ahead and written, by samples")                          \
    XX(ahead_write_wasted, "pages asked for ahead and lost unwritten, by samples")

enum dsm_profile_counter {
#define XX(name, text) DSM_PROFILE_COUNTER_##name,
    DSM_PROFILE_COUNTER_MAP(XX)
#undef XX
        DSM_PROFILE_N_COUNTERS
};

/* "migratory_reads", "units granted as the only copy at a read". */
const char *dsm_profile_counter_name(enum dsm_profile_counter counter);
const char *dsm_profile_counter_text(enum dsm_profile_counter counter);

struct dsm_profile_slot {
    uint8_t kind, n_more;
    union {
        uint8_t unit_log2;
        uint8_t object; /* of waits */
    };
    uint32_t peer;
    uint64_t time_ns, a, b, c;
};

void dsm_profile_put_header(uint8_t out[DSM_PROFILE_HEADER_BYTES]);
void dsm_profile_put_section(uint8_t out[DSM_PROFILE_SECTION_BYTES], uint32_t tag, uint32_t rank,
                             uint64_t room_bytes);
void dsm_profile_put_slot(uint8_t out[DSM_PROFILE_SLOT_BYTES], const struct dsm_profile_slot *slot);

/* ---- reading --------------------------------------------------------------------------------- */

struct dsm_profile_reader {
    const uint8_t *bytes;
    size_t len_bytes, at;
    uint32_t version;
    bool is_cut;        /* the file ends inside a section: what was whole has been handed out */
    const char *reason; /* after an error: one line, with at */
    /* the section under way */
    uint32_t rank;
    size_t entry_at, entries_end, next_at;
};

struct dsm_profile_item {
    uint32_t rank;
    bool is_live; /* words and n_words; else slot */
    const uint8_t *words;
    size_t n_words;
    struct dsm_profile_slot slot;
    char text[DSM_PROFILE_TEXT_BYTES + 1]; /* of ALLOC and MODULE */
};

/* Errors, with reader->reason: PROTO (no profile, another version). */
int dsm_profile_open(struct dsm_profile_reader *reader, const void *bytes, size_t len_bytes);
/* 1: an item; 0: the end; PROTO, with reader->reason and reader->at. */
int dsm_profile_next(struct dsm_profile_reader *reader, struct dsm_profile_item *item);
uint64_t dsm_profile_word(const struct dsm_profile_item *item, size_t index);

#endif
