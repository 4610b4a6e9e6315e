/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * world.h - a tiny job as the explorer sees it: the cores of all ranks, what their drivers,
 * mappings, frames and threads are doing, and the messages between them.
 *
 * Everything that happens in a world is a step. A step touches the core of one rank, so that its
 * effect can be taken back by restoring that core and the world. What real drivers do at once is
 * cut into steps as small as the contract of the core allows:
 *
 *   thread    a thread does its next access, lock or barrier, or takes its trap
 *   fault     a thread that trapped tells the core (the page may have changed since)
 *   resume    a thread that was woken tells the core and tries again
 *   deliver   the oldest message of one (source, destination, lane) queue reaches the core
 *   received  the bytes of the grant delivered last on that queue are in the frame
 *   effect    the next effect of one unit is carried out (a long send: one chunk of it)
 *   run       the bytes of two or more adjacent units leave in one grant
 *   done      the core hears of the oldest effect carried out
 *   tick      a rank's clock passes the next moment that its core cares about
 *   timer     the core hears that the moment it asked for has come
 *   return    a driver gives a lock back that was recalled
 *   give-up   a thread that waits for a time gives up
 *   reclaim   the kernel drops a mapping by itself
 *   crash     a rank dies: what it has sent may still arrive
 *   view      a rank learns of that; nothing of the dead rank arrives there any more
 *
 * Values. Per unit there is one content version for the whole job, raised by every store. A frame
 * and bytes in flight carry the version they were copied from. Because stores need a read-write
 * mapping and one writer excludes all readers, "every load sees the newest version" is sequential
 * consistency, not just coherence.
 */
#ifndef DSM_TESTS_EXPLORE_WORLD_H
#define DSM_TESTS_EXPLORE_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "core/core.h"
#include "program.h"

#define WORLD_MAX_RANKS    4u
#define WORLD_MAX_UNITS    3u
#define WORLD_MAX_THREADS  2u
#define WORLD_MAX_LOCKS    2u
#define WORLD_MAX_CHUNKS   2u
#define WORLD_MAX_EFFECTS  6u
#define WORLD_MAX_MESSAGES 48u
#define WORLD_MAX_PAYLOADS 8u
#define WORLD_MAX_STEPS    128u

/* One instance: what is explored. Constant while a world lives. */
struct world_config {
    char name[64];
    uint32_t n_ranks, n_units, unit_pages, n_threads, n_locks;
    uint64_t frame_limit; /* pages; 0: none */
    enum dsm_placement_kind placement;
    bool has_trap_gap;               /* a trap and the fault event are two steps */
    bool has_done_gap;               /* an effect and its DONE are two steps */
    bool has_runs;                   /* some program asks for several units at once */
    bool has_migration;              /* homes look for units that migrate */
    uint8_t advice[WORLD_MAX_RANKS]; /* enum dsm_advice_kind: what each says of all units */
    bool is_last_advised;            /* ... or of the last one only */
    bool may_be_full;                /* MEMORY_FULL is a legal answer */
    bool keeps_end;      /* what the upward rule keeps is given up after a long time. Without it,
                            everything must come to its end without that */
    uint32_t n_crashes;  /* ranks that may die in one run; 0 or 1 */
    uint32_t n_reclaims; /* mappings the kernel may drop in one run */
    struct program programs[WORLD_MAX_RANKS][WORLD_MAX_THREADS];
};

enum thread_state {
    THREAD_READY,
    THREAD_TRAPPED, /* trapped on `unit`; the core has not been told */
    THREAD_WAITING, /* for WAKE of `unit` */
    THREAD_WOKEN,
    THREAD_LOCKING,    /* waits for a lock */
    THREAD_COLLECTIVE, /* in a collective */
    THREAD_DROPPING,
    THREAD_SYNC, /* waits for the answer about a synchronisation object */
};

struct world_thread {
    uint8_t state; /* enum thread_state */
    uint8_t pc;    /* next element of its program */
    uint8_t unit;
    uint8_t access;
    struct program_op op; /* chosen for a wildcard and not yet done */
    bool has_op;
    uint8_t kind_of_wait;  /* enum program_op_kind of the collective */
    bool is_queued;        /* SLEEP: in the queue, and the lock has been given back */
    bool is_relocking;     /* SLEEP: woken, and wants its lock again */
    bool has_given_up;     /* told the core so */
    uint8_t held, held_as; /* a reader-writer lock, and the operation that took it; 0: none */
    uint8_t n_met;         /* barriers of threads behind it */
    struct dsm_core_thread core;
};

struct world_effect {
    uint8_t type; /* enum dsm_action_type */
    uint8_t lane;
    uint8_t to;
    bool is_zero;
    struct dsm_message message;
};

struct world_unit {
    uint8_t access; /* what the app view really allows */
    bool has_frame;
    uint8_t n_receiving; /* payloads on their way into the frame */
    uint8_t n_effects;
    uint8_t n_carried_out; /* of the oldest effects; their DONEs have not been heard */
    uint8_t n_chunks_sent;
    uint16_t version[WORLD_MAX_CHUNKS];
    struct world_effect effects[WORLD_MAX_EFFECTS];
};

enum token_state { TOKEN_NONE, TOKEN_ASKED, TOKEN_LENT };

struct world_lock {
    uint8_t token; /* enum token_state */
    bool is_recalled;
    bool is_expected; /* a recall is sure to come: one thread may have it until then */
    bool is_used;     /* taken since it was lent */
    bool is_tried;    /* asked for by one who tries */
    uint8_t holder;   /* thread + 1; 0: none */
    uint8_t n_asked;  /* LOCK_ACQUIREs not yet answered */
};

struct world_payload {
    uint64_t txn;
    uint32_t round;
    uint32_t value;
};

struct world_rank {
    uint64_t now_ns;
    uint64_t timer_ns; /* UINT64_MAX: none */
    struct world_unit units[WORLD_MAX_UNITS];
    struct world_thread threads[WORLD_MAX_THREADS];
    struct world_lock locks[WORLD_MAX_LOCKS];
    uint32_t n_entered; /* collectives this rank has entered */
    uint32_t payload;   /* one hex digit per rank that contributed */
    uint32_t n_payloads;
    struct world_payload payloads[WORLD_MAX_PAYLOADS];
};

struct world_message {
    uint8_t from, to, lane;
    bool is_receiving; /* header delivered, accepted, bytes still coming in */
    uint64_t value;    /* versions of the bytes, 16 bits a unit, or payload of a collective */
    struct dsm_message message;
};

/* What has been done with an object, as far as threads know. */
struct world_object {
    uint8_t n_readers, n_writers;
    uint8_t n_posted, n_taken;
    uint8_t n_arrived;
    uint8_t tickets; /* given, as bits, round by round */
    bool is_set, is_signalled;
};

/* The part outside the cores. Messages last: only the used part is copied. */
struct world {
    uint16_t version[WORLD_MAX_UNITS]; /* newest content; 0: never written */
    bool is_dropping[WORLD_MAX_UNITS]; /* its content means nothing until that is over */
    uint64_t fence[WORLD_MAX_LOCKS];   /* hand-overs of the lock so far */
    struct world_object objects[WORLD_MAX_LOCKS];
    uint32_t n_reclaims_left;
    uint32_t n_crashes_left;
    uint32_t dead;      /* the rank that died + 1; 0: none */
    uint32_t has_heard; /* bit r: rank r knows it */
    uint32_t n_messages;
    struct world_rank ranks[WORLD_MAX_RANKS];
    struct world_message messages[WORLD_MAX_MESSAGES];
};

enum step_kind {
    STEP_THREAD,
    STEP_FAULT,
    STEP_RESUME,
    STEP_DELIVER,
    STEP_RECEIVED,
    STEP_EFFECT,
    STEP_RUN,
    STEP_DONE,
    STEP_TICK,
    STEP_TIMER,
    STEP_RETURN,
    STEP_GIVE_UP,
    STEP_RECLAIM,
    STEP_CRASH,
    STEP_VIEW,
};

struct step {
    uint8_t kind;         /* enum step_kind */
    uint8_t rank;         /* whose core is touched */
    uint8_t index;        /* thread, unit or lock */
    uint8_t message;      /* DELIVER, RECEIVED: place in messages[] */
    struct program_op op; /* THREAD: what it does */
};

struct lab; /* the machinery around a world; lab.h */

/* Starts every core anew and puts the world at its beginning. */
int world_start(struct lab *lab);
/* All steps that are possible now. */
uint32_t world_steps(struct lab *lab, struct step steps[WORLD_MAX_STEPS]);
/* Takes a step and checks all that can be checked after every step. False: a property is violated;
 * lab->violation says which. */
bool world_take(struct lab *lab, const struct step *step);
bool world_is_finished(const struct lab *lab);
/* With no step left: everything must be at rest and known to the home. */
bool world_check_end(struct lab *lab);

#endif
