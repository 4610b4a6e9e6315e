/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * state.h - what the files of the core share, and nobody else: the state, its nodes, the step.
 *
 * Everything lies in one block and refers to other parts by dsm_ref, so that a state can be copied.
 */
#ifndef DSM_CORE_STATE_H
#define DSM_CORE_STATE_H

#include <assert.h>
#include <dsm/dsm.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "core/arena.h"
#include "core/core.h"
#include "core/plant.h"
#include "core/table.h"

#define DSM_HOLD_DEFAULT_NS     15000u
#define DSM_HOLD_CAP_DEFAULT_NS 10000000u
#define DSM_WINDOW_DEFAULT      1024u
#define DSM_FULL_DEFAULT_NS     1000000000u
#define DSM_KEEP_CAP_HOLDS      100u /* a unit is kept for at most so many times the hold's cap */
#define DSM_HINTS_MAX           8u   /* prefetch ranges that wait for their turn */
#define DSM_LOCKS_AT_LEAST      (1u << 20) /* the arena has room for; more when pages leave room */
#define DSM_TIME_NONE           UINT64_MAX

/*
 * What this rank has of a unit.
 *
 *              zero grant                    upgrade
 *   ABSENT -----------------> ZERO --------------------------> OWNED_WRITE
 *     ^  \---- read grant --> SHARED ------------------------/   |    ^
 *     |   \--- own grant ---> OWNED_READ <---- downgrade --------+    |
 *     |    \-- write grant -------------\----- upgrade ---------------+
 *     |\-- exclusive grant --> OWNED_CLEAN ---- first write ---------/
 *     |                         \--- read by another ---> OWNED_READ
 *     +------ invalidated, handed over, evicted, dropped: from everywhere
 */
enum dsm_copy_state {
    DSM_COPY_ABSENT,      /* nothing; a stale frame may still be there */
    DSM_COPY_ZERO,        /* readable, never written anywhere */
    DSM_COPY_SHARED,      /* readable, somebody else is the owner */
    DSM_COPY_OWNED_READ,  /* readable, this copy is the content */
    DSM_COPY_OWNED_CLEAN, /* readable, no other copy exists: a write asks nobody */
    DSM_COPY_OWNED_WRITE, /* writable: no other copy exists */
    DSM_COPY_N_STATES
};

enum dsm_hold {
    DSM_HOLD_NO,
    DSM_HOLD_AWAIT, /* woken; the hold runs from the first RESUMED */
    DSM_HOLD_RUN,
};

/* Frames by how cheap it is to do without them. */
enum dsm_frame_class {
    DSM_FRAME_STALE,
    DSM_FRAME_ZERO,
    DSM_FRAME_SHARED,
    DSM_FRAME_OWNED,
    DSM_FRAME_N_CLASSES,
    DSM_FRAME_NONE = DSM_FRAME_N_CLASSES
};

enum {
    DSM_COPY_F_MAPPED = 1 << 0,     /* the app view shows it, as far as this rank did that */
    DSM_COPY_F_FRAME = 1 << 1,      /* frame pages are counted: there, or about to be */
    DSM_COPY_F_WAKE = 1 << 2,       /* WAKE is due when no effect is outstanding */
    DSM_COPY_F_FRESH = 1 << 3,      /* granted, and no thread has been woken for it yet */
    DSM_COPY_F_PUNCHING = 1 << 4,   /* its frame is being given back */
    DSM_COPY_F_PUNCH_DUE = 1 << 8,  /* ... by a PUNCH that waits for the effects before it */
    DSM_COPY_F_TIMED = 1 << 5,      /* in the list of units whose orders wait for a hold's end */
    DSM_COPY_F_STARVED = 1 << 6,    /* in the list of units that wait for frames */
    DSM_COPY_F_OFFERED = 1 << 7,    /* offered to another rank, no answer yet or taken */
    DSM_COPY_F_MARKER = 1 << 9,     /* its first use tells that fetching ahead pays; see ahead.c */
    DSM_COPY_F_FOR_WRITE = 1 << 10, /* with MARKER: its first write does */
};

/* One unit at this rank; only for units that were ever touched here. Kept until dropped: `seen`
 * must not be forgotten. */
struct dsm_copy {
    union {
        struct dsm_node node;
        struct {
            dsm_page_t first;
            dsm_ref next_in_bucket;
            dsm_rank_t home;
        };
    };
    dsm_txn_t seen; /* number of the last grant that has finished here */
    uint16_t n_pages;
    uint8_t state; /* enum dsm_copy_state; changed by dsm_copy_move alone */
    uint8_t hold;  /* enum dsm_hold */
    uint16_t flags;
    uint8_t n_effects;    /* decided, not DONE */
    uint8_t fault_access; /* a thread waits for the effects, or for frames, and wants this */
    dsm_ref pending;      /* struct dsm_pending */
    dsm_ref answering;    /* struct dsm_order whose answer waits for the effects */
    dsm_ref order_head, order_tail; /* struct dsm_order that wait, oldest first */
    uint32_t n_orders;
    uint16_t n_keeps; /* threads that keep it by the upward rule */
    uint8_t frame_class;
    uint8_t n_ahead; /* of a marker: units it speaks for */
    dsm_rank_t owner_hint;
    dsm_rank_t receiving_from;
    uint32_t receiving_bytes; /* accepted, not RECEIVED */
    dsm_ref frame_prev, frame_next;
    dsm_ref timed_prev, timed_next;
    dsm_ref starved_next;
    uint64_t hold_until_ns;
    uint64_t keep_until_ns;
    uint64_t pin_until_ns; /* with n_pins */
    uint32_t n_pins;
};

/* This rank's request for a unit that is on its way. */
struct dsm_pending {
    uint32_t request;
    uint8_t access;
    bool is_waited; /* a thread waits */
    bool is_async;  /* as the REQUEST said */
    bool is_remote; /* a message was sent or came for it */
    bool has_grant;
    bool is_zero;
    bool is_exclusive; /* access READ: granted as the only copy */
    bool has_copy;
    bool took_frame; /* the frame is counted because of it */
    uint32_t acks_needed, acks_got;
    dsm_txn_t txn; /* from the grant or the first acknowledgement; 0: neither yet */
    uint32_t announced_bytes, received_bytes; /* of the unit */
    dsm_rank_t granted_by;
    dsm_rank_t offered_by; /* access OWN */
};

/* A FORWARD or INVALIDATE: waiting for its turn, or carried out and waiting for the effects. */
struct dsm_order {
    dsm_ref next;
    uint8_t type, access, flags;
    dsm_rank_t peer;
    dsm_txn_t txn, prior;
    uint32_t request, acks, key;
};

/* Directory entry: one unit at its home. */
struct dsm_sharer {
    dsm_rank_t rank;
    dsm_txn_t txn; /* the last grant made to it */
} __attribute__((packed));

#define DSM_DIR_INLINE 2u
struct dsm_dir {
    union {
        struct dsm_node node;
        struct {
            dsm_page_t first;
            dsm_ref next_in_bucket;
            dsm_rank_t owner; /* DSM_RANK_NONE: never written */
        };
    };
    dsm_txn_t txn;       /* the last transaction */
    dsm_txn_t owner_txn; /* the last grant made to the owner */
    /* Whether the unit migrates: see home.c. */
    uint32_t n_sharers : 24, is_migratory : 1, n_signs : 5, n_undone : 2;
    dsm_ref spill; /* array of dsm_directory_slots() sharers when they do not fit inline */
    struct dsm_sharer inline_sharers[DSM_DIR_INLINE]; /* sorted by rank, as the spilled ones */
};
_Static_assert(sizeof(struct dsm_dir) == 64, "a directory entry is one cache line");

struct dsm_list {
    dsm_ref head, tail;
};

enum dsm_lock_state { DSM_LOCK_NONE, DSM_LOCK_ASKED, DSM_LOCK_LENT, DSM_LOCK_RECALLED };

/* A lock that this rank has used, or whose manager it is. Kept: the manager has to know the queue.
 */
struct dsm_lock {
    struct dsm_node node;  /* key: the lock's id */
    uint64_t fencing;      /* hand-overs so far, as of the last grant here */
    struct dsm_list queue; /* at the manager: struct dsm_lock_place. The token is at one of them, or
                              on its way between two */
    dsm_rank_t next;       /* who gets the token after this rank; DSM_RANK_NONE: nobody asked */
    uint32_t turn;         /* the request number with which this rank asked; 0: it did not */
    uint32_t next_turn;    /* of `next` */
    dsm_rank_t giver;      /* at the manager: who passed the token to the first in the queue */
    uint8_t state;         /* enum dsm_lock_state */
    uint8_t next_flags;    /* of `next`: F_ASYNC, F_TRY */
    uint8_t lent_flags;    /* for who takes it next: F_ABANDONED, F_ENDED */
    bool is_lost;          /* at the manager: the token went with a rank */
};

struct dsm_lock_place {
    dsm_ref next;
    dsm_rank_t rank;
    uint32_t turn;
};

/* A synchronisation object, at its manager. Kept until it is destroyed or its memory is freed. */
struct dsm_sync_object {
    struct dsm_node node; /* key: byte offset of its name in the region */
    uint64_t value;
    struct dsm_list waits; /* struct dsm_sync_wait, oldest first */
    uint32_t n_waits;
    dsm_ref holds;        /* RWLOCK: struct dsm_sync_hold, one a rank */
    dsm_rank_t lost_rank; /* with is_lost */
    uint32_t n_dead;      /* ranks that were gone when it was made anew */
    uint8_t kind;         /* enum dsm_sync_kind; NONE: whatever it is used as next */
    bool has_writer;
    bool is_abandoned; /* a thread ended that held it for writing; the next one is told */
    bool is_lost;      /* a rank that held it for writing is gone */
};

/* In the queue of an object, or in that of the answers. */
struct dsm_sync_wait {
    uint64_t id; /* of its object */
    dsm_ref next;
    dsm_rank_t rank;
    uint32_t request;
    uint8_t op;           /* enum dsm_sync_op */
    int error;            /* of the answer, and its value */
    dsm_rank_t lost_rank; /* with PEER */
    uint64_t a, b, value;
};

struct dsm_sync_hold {
    dsm_ref next;
    dsm_rank_t rank;
    uint32_t n_readers;
    bool is_writer;
};

/* What this rank has asked a manager and has no answer to. */
struct dsm_sync_ask {
    struct dsm_node node; /* key: the request's number */
    uint64_t id;
    dsm_rank_t manager;
};

#define DSM_SYNC_ANSWERS_MAX 64u /* of those that waited, sent in one step */
#define DSM_SYNC_ERROR_MAX   1000u

/* Ranks that do collectives together; kept, since its sequence goes on. */
struct dsm_group {
    struct dsm_node node;      /* key: the group's id */
    uint64_t sequence;         /* of the collective entered last */
    const dsm_rank_t *members; /* the caller's, while it is in; NULL: all ranks */
    uint32_t n_members, self_index, root_index;
    uint32_t position; /* rounds passed */
    uint8_t kind;      /* enum dsm_collective_kind */
    bool is_in, is_sent, has_payload;
    /* By parity of the sequence: rounds whose message is here, and those with a payload. */
    uint64_t arrived[2], arrived_payload[2];
};

/*
 * A range that is being dropped, at every rank; at the manager also who has answered.
 *
 *   NEW --begin--> FINISHING --own requests ended--> QUIET --clear--> CLEARING --effects done-->
 * CLEARED
 */
enum dsm_drop_phase {
    DSM_DROP_NEW, /* at the manager, before its own DROP_BEGIN */
    DSM_DROP_FINISHING,
    DSM_DROP_QUIET,
    DSM_DROP_CLEARING,
    DSM_DROP_CLEARED, /* at the manager, until all have */
};

struct dsm_drop {
    dsm_ref next;
    dsm_rank_t manager;
    uint64_t serial;
    dsm_page_t first;
    uint64_t n_pages;
    uint64_t n_waiting; /* FINISHING: units with a request; CLEARING: with effects */
    dsm_ref answered;   /* at the manager: uint8_t[n_ranks], rounds answered */
    uint8_t round;      /* at the manager: 1, 2 */
    uint8_t phase;      /* enum dsm_drop_phase */
};

enum { DSM_VIEW_LEARNT = 1, DSM_VIEW_DONE };

/* A message of this rank to itself, handled before the step ends. */
struct dsm_local_message {
    dsm_ref next;
    struct dsm_message message;
};

/* Steps from unit to unit that repeat. */
#define DSM_PATTERN_STEPS 4u
struct dsm_pattern {
    int64_t step_pages[DSM_PATTERN_STEPS];
    uint32_t n_steps; /* 0: to the next unit, always */
    uint32_t at;      /* the step to take next */
};

enum dsm_hint_kind {
    DSM_HINT_ASKED,     /* the program did */
    DSM_HINT_AHEAD,     /* fetched ahead; for writing not what this rank has lost to others */
    DSM_HINT_AHEAD_OWN, /* only upgrades of what this rank owns */
};

struct dsm_hint {
    dsm_page_t next;
    uint64_t left_pages; /* of units asked for, or passed over */
    struct dsm_pattern pattern;
    uint64_t deadline_ns; /* DSM_TIME_NONE: none; they are kept in this order */
    uint8_t access;
    uint8_t kind; /* enum dsm_hint_kind */
};

/* Fetching ahead: what was asked for along one pattern. */
#define DSM_STREAMS     16u
#define DSM_AHEAD_AREAS 64u
struct dsm_bounds {
    dsm_page_t first, end;
};
struct dsm_stream {
    struct dsm_bounds limits; /* of the allocation, or of the heap between two allocations */
    struct dsm_bounds bounds; /* within them: where it has been seen to go, and as far again */
    dsm_page_t next;          /* the first not asked for yet */
    dsm_page_t marker;        /* of what was asked for last */
    struct dsm_pattern pattern;
    uint64_t reach_pages; /* how much further the bounds are set next */
    uint64_t n_passed;    /* units asked for, and come to without */
    uint32_t n_units;     /* to ask for next; 0: unused */
    uint8_t access;
    bool is_own; /* for writing: only upgrades of what this rank owns */
};
/* Parts of the region, by a hash: how much less fetching ahead paid there than it cost. */
struct dsm_ahead_area {
    uint8_t level, n_skipped;
};

/* Owned units offered to a rank that has not answered yet. */
#define DSM_OFFERS_MAX 4u
struct dsm_offer {
    dsm_page_t first;
    dsm_rank_t rank;
    uint32_t count, unit_pages;
};

struct dsm_core {
    struct dsm_core_config config;
    struct dsm_arena arena;
    struct dsm_table copies, directory, locks, groups, objects, asks;
    uint64_t reserve_bytes; /* of the arena: what one step may need */
    uint64_t dead_at;       /* uint8_t[n_ranks]: 0, DSM_VIEW_LEARNT, DSM_VIEW_DONE */
    uint64_t room_at;       /* uint32_t[n_ranks]: pages free there, as last heard */
    uint32_t n_dead;
    bool knows_of_loss;   /* from a view, or from a peer that had it first */
    dsm_rank_t lost_rank; /* then: the one heard of last */
    uint32_t max_actions;
    uint32_t next_request;
    uint64_t rng;
    struct dsm_list local;
    dsm_ref timed;        /* copies whose orders wait for the end of a hold */
    uint64_t timer_at_ns; /* as last asked for */
    struct dsm_list frames[DSM_FRAME_N_CLASSES]; /* oldest first; not those being punched */
    uint64_t class_pages[DSM_FRAME_N_CLASSES];
    uint64_t punching_pages, offered_pages;
    uint64_t asked_pages; /* another rank asked for so much room just now */
    uint64_t tries_at;    /* uint8_t[n_ranks]: 1: had no room when asked in this sweep */
    uint64_t retry_at_ns; /* when to look again for units that may go */
    uint32_t sweep;       /* how often everybody was asked since something moved */
    uint64_t full_at_ns;  /* when memory is said to be full if nothing moves until then */
    dsm_rank_t next_candidate;
    struct dsm_list starved; /* copies whose fault waits for frames, oldest first */
    struct dsm_offer offers[DSM_OFFERS_MAX];
    uint32_t n_offers;
    uint32_t prefetch_in_flight;          /* units */
    uint32_t demands_in_flight;           /* units that a thread asked for itself */
    struct dsm_hint hints[DSM_HINTS_MAX]; /* the first n_hints are in use, most urgent first */
    uint32_t n_hints;
    struct dsm_stream streams[DSM_STREAMS];
    struct dsm_ahead_area ahead_areas[2][DSM_AHEAD_AREAS]; /* for reading, for writing */
    uint32_t next_stream;
    uint32_t run_actions;    /* most actions that one run may need */
    uint32_t n_dead_done;    /* of n_dead: all units looked at */
    dsm_ref drops;           /* struct dsm_drop, in no order */
    struct dsm_list answers; /* struct dsm_sync_wait, to be sent */
    bool has_backlog;    /* work was left for a TIMER event, for want of room in the action list */
    uint32_t max_orders; /* longest queue of orders so far */
    struct dsm_core_counters counters;
};

struct dsm_step {
    struct dsm_core *core;
    struct dsm_action_list *out;
    uint64_t now_ns;
    int error; /* of a message to this rank itself */
};

/* ---- nodes */
static inline void *dsm_at(const struct dsm_core *core, dsm_ref ref)
{
    return dsm_arena_at((void *)(uintptr_t)core, ref);
}
static inline dsm_ref dsm_ref_of(const struct dsm_core *core, const void *node)
{
    return (dsm_ref)((uint64_t)((const char *)node - (const char *)core) / DSM_ARENA_GRAIN);
}
/* Never fails: every step begins with reserve_bytes at hand. */
static inline dsm_ref dsm_take(struct dsm_core *core, size_t bytes)
{
    dsm_ref ref = dsm_arena_take(&core->arena, core, (uint32_t)bytes);

    assert(ref);
    return ref;
}
static inline void dsm_give(struct dsm_core *core, dsm_ref ref, size_t bytes)
{
    dsm_arena_give(&core->arena, core, ref, (uint32_t)bytes);
}

static inline uint32_t *dsm_core_room(struct dsm_core *core)
{
    return (uint32_t *)(void *)((char *)core + core->room_at);
}

/* ---- core.c: actions */
/* Handles what this rank has sent to itself. Not from inside the handling of a message. */
void dsm_step_run_local(struct dsm_step *s);
struct dsm_action *dsm_emit(struct dsm_step *s, enum dsm_action_type type);
/* The message is filled in but for what its type needs; to this rank itself it is queued inside. */
struct dsm_message *dsm_emit_send(struct dsm_step *s, dsm_rank_t to, enum dsm_lane lane,
                                  enum dsm_message_type type, uint64_t object);
void dsm_message_fill(const struct dsm_core *core, struct dsm_message *m,
                      enum dsm_message_type type, uint64_t object);
/* An effect on the unit: it is busy until DONE. */
struct dsm_action *dsm_emit_effect(struct dsm_step *s, struct dsm_copy *copy,
                                   enum dsm_action_type type);
static inline uint32_t dsm_step_room(const struct dsm_step *s)
{
    return s->out->capacity - s->out->n;
}
static inline bool dsm_is_dead(const struct dsm_core *core, dsm_rank_t rank)
{
    return core->n_dead && ((const uint8_t *)core + core->dead_at)[rank];
}
static inline enum dsm_lane dsm_answer_lane(uint8_t flags)
{
    return flags & DSM_MSG_F_ASYNC ? DSM_LANE_REQUEST : DSM_LANE_REPLY;
}

static inline enum dsm_advice_kind dsm_advice_of(const struct dsm_core *core, dsm_page_t unit)
{
    const struct dsm_advice_range *range =
        core->config.advice ? dsm_advice_find(core->config.advice, unit) : NULL;

    return range ? (enum dsm_advice_kind)range->kind : DSM_ADVICE_KIND_NORMAL;
}
/* It is read, and hardly ever written. */
static inline bool dsm_advice_is_shared(enum dsm_advice_kind kind)
{
    return kind == DSM_ADVICE_KIND_READ_MOSTLY || kind == DSM_ADVICE_KIND_WRITE_ONCE;
}

/* ---- page_table.c */
struct dsm_copy *dsm_copy_find(const struct dsm_core *core, dsm_page_t first);
/* The index'th unit of the run that begins with `first`; NULL: not known, or of another size. */
struct dsm_copy *dsm_copy_in_run(const struct dsm_core *core, const struct dsm_copy *first,
                                 uint32_t index);
struct dsm_copy *dsm_copy_get(struct dsm_core *core, const struct dsm_unit *unit);
void dsm_copy_move(struct dsm_core *core, struct dsm_copy *copy, enum dsm_copy_state to);
void dsm_copy_set_frame(struct dsm_core *core, struct dsm_copy *copy, bool has_frame);
void dsm_copy_touch(struct dsm_core *core, struct dsm_copy *copy);
/* The unit is forgotten; it is neither pending nor busy. */
void dsm_copy_erase(struct dsm_step *s, struct dsm_copy *copy);
static inline uint8_t dsm_copy_access(const struct dsm_copy *copy)
{
    return copy->state == DSM_COPY_OWNED_WRITE ? DSM_ACCESS_WRITE
           : copy->state == DSM_COPY_ABSENT    ? DSM_ACCESS_NONE
                                               : DSM_ACCESS_READ;
}
/* Whether the program here may have the access without anybody being asked. */
static inline bool dsm_copy_allows(const struct dsm_copy *copy, uint8_t access)
{
    return dsm_copy_access(copy) >= access || copy->state == DSM_COPY_OWNED_CLEAN;
}
/* Its first read or write is to be seen: it is not mapped. */
static inline bool dsm_copy_is_read_marker(const struct dsm_copy *copy)
{
    return (copy->flags & (DSM_COPY_F_MARKER | DSM_COPY_F_FOR_WRITE)) == DSM_COPY_F_MARKER;
}
/* Its first write is to be seen: it is not mapped for writing, whatever its state allows. */
static inline bool dsm_copy_is_write_marker(const struct dsm_copy *copy)
{
    return copy->flags & DSM_COPY_F_FOR_WRITE;
}
static inline bool dsm_copy_is_owned(const struct dsm_copy *copy)
{
    return copy->state >= DSM_COPY_OWNED_READ;
}
static inline struct dsm_pending *dsm_copy_pending(const struct dsm_core *core,
                                                   const struct dsm_copy *copy)
{
    return copy->pending ? dsm_at(core, copy->pending) : NULL;
}
static inline uint32_t dsm_copy_bytes(const struct dsm_copy *copy)
{
    return (uint32_t)copy->n_pages * DSM_PAGE_BYTES;
}

/* ---- directory.c */
struct dsm_dir *dsm_directory_find(const struct dsm_core *core, dsm_page_t first);
struct dsm_dir *dsm_directory_get(struct dsm_core *core, dsm_page_t first);
void dsm_directory_erase(struct dsm_core *core, struct dsm_dir *dir);
struct dsm_sharer *dsm_directory_sharers(const struct dsm_core *core, const struct dsm_dir *dir);
bool dsm_directory_has_sharer(const struct dsm_core *core, const struct dsm_dir *dir,
                              dsm_rank_t rank);
void dsm_directory_add_sharer(struct dsm_core *core, struct dsm_dir *dir, dsm_rank_t rank,
                              dsm_txn_t txn);
void dsm_directory_remove_sharer(struct dsm_core *core, struct dsm_dir *dir, dsm_rank_t rank);
void dsm_directory_clear_sharers(struct dsm_core *core, struct dsm_dir *dir);
uint32_t dsm_directory_slots(uint32_t n_sharers);

/* ---- requester.c: this rank asks */
void dsm_request_fault(struct dsm_step *s, struct dsm_copy *copy, uint8_t access);
/* Marks the unit as asked for; the caller sends the REQUEST. */
struct dsm_pending *dsm_request_open(struct dsm_step *s, struct dsm_copy *copy, uint8_t access,
                                     uint32_t request, bool is_async);
void dsm_request_drop(struct dsm_step *s, struct dsm_copy *copy);
void dsm_request_lose(struct dsm_step *s, struct dsm_copy *copy, int error, dsm_rank_t rank);
uint32_t dsm_request_number(struct dsm_core *core);
int dsm_request_on_grant(struct dsm_step *s, const struct dsm_message *m);
int dsm_request_on_ack(struct dsm_step *s, const struct dsm_message *m);
int dsm_request_on_refuse(struct dsm_step *s, const struct dsm_message *m);
void dsm_request_on_received(struct dsm_step *s, dsm_page_t first, uint32_t len_bytes);

/* ---- holder.c: others ask for what this rank has */
int dsm_holder_on_order(struct dsm_step *s, const struct dsm_message *m);
void dsm_holder_on_done(struct dsm_step *s, dsm_page_t first, uint32_t n_units);
/* Goes on with what waited for the unit, as far as it may. */
void dsm_holder_settle(struct dsm_step *s, struct dsm_copy *copy);
/* Takes the copy away from the program here. True when an effect does it, false when nothing was
 * mapped. */
bool dsm_holder_take_away(struct dsm_step *s, struct dsm_copy *copy);
void dsm_holder_forget_orders(struct dsm_core *core, struct dsm_copy *copy);
/* The order waits for a grant that was lost with the rank: the asker is told, or gets its
 * acknowledgement. */
void dsm_holder_turn_away(struct dsm_step *s, const struct dsm_copy *copy,
                          const struct dsm_order *order, dsm_rank_t rank);

/* ---- evict.c */
/* Gives the frame of a unit without copy back, unless it is wanted again already. */
void dsm_evict_punch(struct dsm_step *s, struct dsm_copy *copy);
void dsm_evict_punched(struct dsm_step *s, struct dsm_copy *copy);
void dsm_evict_set_offered(struct dsm_core *core, struct dsm_copy *copy, bool is_offered);
/* Whether so many pages of frames can be had without pressing anybody. */
bool dsm_evict_has_spare(const struct dsm_core *core, uint64_t n_pages);
bool dsm_evict_reserve(struct dsm_step *s, struct dsm_copy *copy, uint8_t access);
void dsm_evict_forget(struct dsm_core *core, struct dsm_copy *copy);
int dsm_evict_on_offer(struct dsm_step *s, const struct dsm_message *m);
int dsm_evict_on_offer_reply(struct dsm_step *s, const struct dsm_message *m);
void dsm_evict_on_dead(struct dsm_step *s, dsm_rank_t rank);
void dsm_evict_continue(struct dsm_step *s);

/* ---- ahead.c */
/* A thread faults; before the request. */
void dsm_ahead_fault(struct dsm_step *s, struct dsm_copy *copy, uint8_t access,
                     struct dsm_core_thread *thread);
/* The unit is about to be asked for: its first use is to be seen, and speaks for n_units. */
void dsm_ahead_mark(struct dsm_core *core, dsm_page_t first, uint8_t access, uint32_t n_units);
/* No trap will tell. */
void dsm_ahead_unmark(struct dsm_copy *copy);
/* The copy is taken away, or may not be written any more. */
void dsm_ahead_lose(struct dsm_core *core, struct dsm_copy *copy);

/* ---- prefetch.c */
/* Whether the hint would ask for the unit. */
bool dsm_prefetch_wants(const struct dsm_core *core, const struct dsm_unit *unit,
                        const struct dsm_hint *hint);
void dsm_pattern_step(struct dsm_pattern *pattern, dsm_page_t *page, uint64_t unit_pages);
void dsm_prefetch_put(struct dsm_core *core, struct dsm_hint hint);
int dsm_prefetch_add(struct dsm_step *s, const struct dsm_event *event);
void dsm_prefetch_continue(struct dsm_step *s);
/* The range is being dropped: no hint may ask for it later, when it is somebody else's. */
void dsm_prefetch_forget(struct dsm_core *core, dsm_page_t first, uint64_t n_pages);

/* ---- drop.c */
bool dsm_drop_covers(const struct dsm_core *core, dsm_page_t page);
int dsm_drop_start(struct dsm_step *s, const struct dsm_event *event);
int dsm_drop_on_begin(struct dsm_step *s, const struct dsm_message *m);
int dsm_drop_on_clear(struct dsm_step *s, const struct dsm_message *m);
int dsm_drop_on_done(struct dsm_step *s, const struct dsm_message *m);
void dsm_drop_on_dead(struct dsm_step *s, dsm_rank_t rank);
void dsm_drop_continue(struct dsm_step *s);
void dsm_drop_request_ended(struct dsm_step *s, const struct dsm_copy *copy);
bool dsm_drop_effects_ended(struct dsm_step *s, const struct dsm_copy *copy);

/* ---- view.c */
int dsm_view_lose(struct dsm_step *s, dsm_rank_t rank);
void dsm_view_note_loss(struct dsm_core *core, dsm_rank_t rank);
void dsm_view_continue(struct dsm_step *s);

/* ---- home.c */
int dsm_home_on_request(struct dsm_step *s, const struct dsm_message *m);
int dsm_home_on_unwritten(struct dsm_step *s, const struct dsm_message *m);

/* ---- lock.c */
dsm_rank_t dsm_lock_manager(const struct dsm_core *core, uint64_t id);
int dsm_lock_acquire(struct dsm_step *s, const struct dsm_event *event);
int dsm_lock_returned(struct dsm_step *s, const struct dsm_event *event);
int dsm_lock_on_acquire(struct dsm_step *s, const struct dsm_message *m);
int dsm_lock_on_forward(struct dsm_step *s, const struct dsm_message *m);
int dsm_lock_on_grant(struct dsm_step *s, const struct dsm_message *m);
int dsm_lock_on_refuse(struct dsm_step *s, const struct dsm_message *m);
int dsm_lock_on_here(struct dsm_step *s, const struct dsm_message *m);
bool dsm_lock_on_dead(struct dsm_step *s, dsm_rank_t rank);

int dsm_lock_held(struct dsm_step *s, uint64_t id);
int dsm_lock_on_busy(struct dsm_step *s, const struct dsm_message *m);

/* ---- sync.c */
dsm_rank_t dsm_sync_manager(const struct dsm_core *core, uint64_t id);
int dsm_sync_ask(struct dsm_step *s, const struct dsm_event *event);
int dsm_sync_cancel(struct dsm_step *s, const struct dsm_event *event);
int dsm_sync_on_ask(struct dsm_step *s, const struct dsm_message *m);
int dsm_sync_on_cancel(struct dsm_step *s, const struct dsm_message *m);
int dsm_sync_on_answer(struct dsm_step *s, const struct dsm_message *m);
/* Sends the answers that are due. */
void dsm_sync_continue(struct dsm_step *s);
/* Memory that is freed: bytes [first, first + n_bytes) of the region. */
void dsm_sync_forget(struct dsm_core *core, uint64_t first, uint64_t n_bytes);
bool dsm_sync_on_dead(struct dsm_step *s, dsm_rank_t rank);

/* ---- collective.c */
int dsm_collective_enter(struct dsm_step *s, const struct dsm_event *event);
int dsm_collective_on_message(struct dsm_step *s, const struct dsm_message *m);
/* Ends those that wait for a rank that is gone. */
void dsm_collective_on_dead(struct dsm_step *s);

/* ---- hold.c */
void dsm_hold_fault(struct dsm_step *s, dsm_page_t first, uint64_t ip,
                    struct dsm_core_thread *thread);
void dsm_hold_resumed(struct dsm_step *s, dsm_page_t first, struct dsm_core_thread *thread);
void dsm_hold_begin(struct dsm_step *s, struct dsm_copy *copy);
/* When the hold or keep of the unit ends; 0: it is neither held nor kept any more. */
uint64_t dsm_hold_end_ns(const struct dsm_step *s, const struct dsm_copy *copy);
void dsm_hold_wait(struct dsm_step *s, struct dsm_copy *copy);
/* Errors: BUSY (not here with that access). */
int dsm_hold_pin(struct dsm_step *s, struct dsm_copy *copy, uint8_t access, uint64_t until_ns);
void dsm_hold_unpin(struct dsm_step *s, struct dsm_copy *copy);
void dsm_hold_forget(struct dsm_step *s, struct dsm_copy *copy);
void dsm_hold_on_timer(struct dsm_step *s);
/* The TIMER action, where the time to ask for has changed. */
void dsm_hold_set_timer(struct dsm_step *s);

#endif
