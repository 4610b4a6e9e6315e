/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * action.h - what the core decides, in the order in which it is to be carried out.
 *
 * Effects (MAP_READ .. PUNCH, SEND_BYTES) belong to a unit, are carried out in the order decided
 * and each is answered by one DONE event for the unit; between the decision and DONE the unit is
 * busy. Everything else needs no answer, and nothing else in a list depends on the effects of that
 * list: what must follow an effect (an acknowledgement, WAKE) comes from the step that hears its
 * DONE. SEND_BYTES is carried out when its last byte has left, which may be much later than its
 * turn in the list; so no effect of a unit is decided behind it before its DONE.
 */
#ifndef DSM_CORE_ACTION_H
#define DSM_CORE_ACTION_H

#include "core/message.h"

enum dsm_action_type {
    /* effects on unit: [page, page + n_pages) */
    DSM_ACTION_MAP_READ,   /* is_zero: make the (zero) frame exist first */
    DSM_ACTION_MAP_WRITE,  /* likewise */
    DSM_ACTION_DOWNGRADE,  /* read-write becomes read-only */
    DSM_ACTION_UNMAP,      /* no access; the bytes stay in the frame */
    DSM_ACTION_PUNCH,      /* give the frame back; after UNMAP */
    DSM_ACTION_SEND_BYTES, /* message (a GRANT) to `to` on `lane` with the unit's bytes; done when
                              the last byte has left. message.len = message.room = bytes of the
                              unit; the driver cuts it in chunks, sent in ascending order of offset,
                              each with message.key. Of adjacent units whose messages differ in
                              nothing but the unit it may make one GRANT, message.count = units, up
                              to DSM_MESSAGE_CHUNK_BYTES */
    /* no answer needed */
    DSM_ACTION_SEND,        /* message to `to` on `lane`, no bytes */
    DSM_ACTION_RECEIVE,     /* the payload of the GRANT just handed in goes into the frame of unit
                               `page` at message.offset, or of all its units, n_pages in all */
    DSM_ACTION_DISCARD,     /* ... is thrown away */
    DSM_ACTION_WAKE,        /* threads that wait for unit `page` try again; RESUMED for each */
    DSM_ACTION_LOST,        /* unit `page` cannot be had: its waiters fail; error, rank say why */
    DSM_ACTION_TIMER,       /* wake me at at_ns (replaces the one before); UINT64_MAX: no need */
    DSM_ACTION_LOCK_LEND,   /* the token of lock `id` is here: the driver's until LOCK_RETURNED;
                               message.txn = fencing number, message.flags: F_WANTED: a LOCK_RECALL
                               is sure to follow; F_ABANDONED; F_ENDED */
    DSM_ACTION_LOCK_RECALL, /* another rank waits: give it back as soon as no thread holds it; with
                               message.flags F_TRY: LOCK_HELD when that is not now */
    DSM_ACTION_LOCK_LOST,   /* lock `id` cannot be had: error, rank */
    DSM_ACTION_LOCK_BUSY, /* lock `id` is not to be had at once: who tried gives up. It is still on
                             its way */
    DSM_ACTION_SYNC_DONE, /* request `id` has its answer: error, rank, message.txn = value */
    DSM_ACTION_SYNC_QUEUED,        /* request `id` is in the queue of its object */
    DSM_ACTION_COLLECTIVE_SEND,    /* message to `to`; the driver adds the payload of the collective
                                      when has_payload */
    DSM_ACTION_COLLECTIVE_COMBINE, /* fold the payload received in round message.count into ours */
    DSM_ACTION_COLLECTIVE_TAKE,    /* our payload is the one received in round message.count */
    DSM_ACTION_COLLECTIVE_DONE,    /* error 0, or DSM_E_PEER with rank. All of these: group `id`,
                                      message.txn = number of the collective in its group */
    DSM_ACTION_DROP_RANGE,  /* pages [page, page + n_pages): unmap and give back, allocations there
                               end. Carried out at once, no DONE. No unit there is pending or busy */
    DSM_ACTION_DROPPED,     /* the drop with serial `id` is complete on all ranks */
    DSM_ACTION_MEMORY_FULL, /* unit `page`: no rank has room; its waiters fail with DSM_E_NOMEM */
};

struct dsm_action {
    enum dsm_action_type type;
    uint8_t lane;
    bool is_zero;
    bool has_payload;
    dsm_rank_t to;   /* destination of a send */
    dsm_rank_t rank; /* LOST and friends: who is gone, or DSM_RANK_NONE */
    int error;
    dsm_page_t page;
    uint64_t n_pages;
    uint64_t id;
    uint64_t at_ns;
    struct dsm_message message;
};

/* Room is given by the caller: at least dsm_core_max_actions(). */
struct dsm_action_list {
    struct dsm_action *items;
    uint32_t n;
    uint32_t capacity;
};

#endif
