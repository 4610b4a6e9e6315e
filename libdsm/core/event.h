/* SPDX-License-Identifier: BSD-3-Clause */
/* event.h - what the core is told. Every event carries the time. */
#ifndef DSM_CORE_EVENT_H
#define DSM_CORE_EVENT_H

#include "core/message.h"
#include "core/sync.h"

/*
 * What the core remembers of one application thread, for the upward-waiting rule. Owned by the
 * driver (thread-local), zeroed at first, written by the core alone.
 */
#define DSM_THREAD_KEEPS  8
#define DSM_THREAD_TRAILS 8
#define DSM_TRAIL_STEPS   8
/* The last faults of a thread in one area with one access. */
struct dsm_core_trail {
    dsm_page_t area;                /* its first page + 1; 0: unused */
    dsm_page_t last;                /* unit */
    int64_t steps[DSM_TRAIL_STEPS]; /* in pages, newest first; 0: not yet that many */
    uint8_t access;
};
struct dsm_core_thread {
    uint64_t ip;                          /* instruction of the last fault */
    dsm_page_t waiting;                   /* unit it waits for + 1; 0: none */
    dsm_page_t granted[DSM_THREAD_KEEPS]; /* units granted at this instruction + 1, newest last */
    uint8_t kept[DSM_THREAD_KEEPS];       /* granted[i] is kept until `waiting` is granted */
    uint32_t n_granted;
    uint32_t repeats; /* a unit lost and faulted again at the same instruction */
    /* From here on of all instructions. */
    uint32_t next_trail;
    struct dsm_core_trail trails[DSM_THREAD_TRAILS];
};

enum dsm_event_type {
    DSM_EVENT_FAULT, /* fault: a thread trapped. It waits for WAKE, LOST or MEMORY_FULL of the unit.
                        Where nothing is missing the step only gives MAP_*, and the step that hears
                        its DONE gives WAKE */
    DSM_EVENT_RESUMED, /* resumed: a thread that was woken goes on now: the hold runs from here.
                          Also for every thread that waited when LOST or MEMORY_FULL came, before
                          its failure is delivered: what it kept is given up */
    DSM_EVENT_PREFETCH,
    DSM_EVENT_PIN, /* pin: the unit stays as it is until the time given, or UNPIN: who would take it
                      away waits. BUSY: it is not here with that access */
    DSM_EVENT_UNPIN,    /* pin */
    DSM_EVENT_MESSAGE,  /* a header from a peer. For GRANT with bytes the step answers with RECEIVE
                           or DISCARD, and RECEIVED follows when the bytes are in the frame. A
                           COLLECTIVE with bytes is handed in when the bytes are here */
    DSM_EVENT_RECEIVED, /* unit, len: of one GRANT, so maybe of several units from this one on */
    DSM_EVENT_DONE,     /* unit: the oldest effect of this unit not yet done has been carried out;
                           n_units: and of so many adjacent ones of its size in all (0: 1) */
    DSM_EVENT_TIMER,    /* the time asked for by TIMER has come */
    DSM_EVENT_VIEW,     /* a rank is gone */
    DSM_EVENT_LOCK_ACQUIRE,  /* lock: the driver wants the token */
    DSM_EVENT_LOCK_RETURNED, /* lock: the driver gives the token back after LOCK_RECALL */
    DSM_EVENT_LOCK_HELD,     /* lock: after LOCK_RECALL: a thread holds it, it will take a while */
    DSM_EVENT_SYNC,          /* sync: an operation on a synchronisation object. SYNC_DONE answers */
    DSM_EVENT_SYNC_CANCEL,   /* sync: request is to end early; its SYNC_DONE is still to come */
    DSM_EVENT_SYNC_FORGET,   /* forget: memory that was freed; objects named by it are destroyed */
    DSM_EVENT_COLLECTIVE,    /* collective: a thread of this rank enters one */
    DSM_EVENT_DROP,          /* drop: this rank (the manager of the region's space) starts a drop of
                                the range on all ranks; DROPPED comes when all have */
};

enum dsm_collective_kind {
    DSM_COLLECTIVE_BARRIER,   /* dissemination: ceil(log2 n) rounds */
    DSM_COLLECTIVE_BCAST,     /* the same rounds; a rank that has the payload passes it on */
    DSM_COLLECTIVE_ALLREDUCE, /* binomial tree up to member 0, then down */
};

struct dsm_event {
    enum dsm_event_type type;
    uint64_t now_ns;
    union {
        struct {
            dsm_page_t page;                /* any page of the unit */
            uint8_t access;                 /* DSM_ACCESS_READ or _WRITE */
            uint64_t ip;                    /* 0: unknown */
            struct dsm_core_thread *thread; /* NULL: no upward rule for it */
        } fault;
        struct {
            dsm_page_t page;
            struct dsm_core_thread *thread;
        } resumed;
        struct {
            dsm_page_t first;
            uint64_t n_pages;
            uint8_t access;
            uint64_t deadline_ns; /* given up when it has not been asked for by then; 0: never */
            bool is_sample; /* the first unit is left for its first use to be seen, as ahead.c does
                             */
        } prefetch;
        struct {
            dsm_page_t page; /* any of the unit */
            uint8_t access;
            uint64_t until_ns;
        } pin;
        const struct dsm_message *message;
        struct {
            dsm_page_t unit;
            uint32_t len;
        } received;
        struct {
            dsm_page_t unit;
            uint32_t n_units;
        } done;
        struct {
            dsm_rank_t rank;
        } view;
        struct {
            uint64_t id;
            bool is_async;     /* ACQUIRE: the thread may give up while the token is on its way */
            bool is_try;       /* ACQUIRE: LOCK_BUSY comes when it is not to be had at once */
            bool wants_again;  /* RETURNED: ACQUIRE follows at once */
            bool is_abandoned; /* RETURNED: the thread that held it has ended */
            /* RETURNED: it was destroyed by a rank that asks for it again at once, and has not come
             * back to it yet */
            bool is_ended;
        } lock;
        struct {
            uint64_t id;      /* byte offset in the region */
            uint32_t request; /* the driver's number for it, not in use; 0: no answer wanted */
            enum dsm_sync_kind kind;
            enum dsm_sync_op op;
            uint64_t a, b;
            bool is_try; /* TIMEOUT where it would have to wait */
        } sync;
        struct {
            uint64_t first, n_bytes; /* offsets in the region */
        } forget;
        struct {
            uint64_t group; /* 0: all ranks */
            enum dsm_collective_kind kind;
            const dsm_rank_t *members; /* NULL for group 0; else kept by the caller until
                                          COLLECTIVE_DONE */
            uint32_t n_members;
            uint32_t self_index;
            uint32_t root_index; /* BCAST */
        } collective;
        struct {
            dsm_page_t first;
            uint64_t n_pages;
            uint64_t serial; /* handed back with DROPPED */
        } drop;
    };
};

#endif
