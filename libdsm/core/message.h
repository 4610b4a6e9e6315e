/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * message.h - what ranks say to each other on the lanes.
 *
 * struct dsm_message is the decoded form; wire/frame.c lays it out as a fixed 64-byte little-endian
 * header (one cache line). Page bytes, where there are any, follow the header and never pass
 * through the core.
 *
 * Delivery that the protocol relies on: first in, first out per (source, destination, lane). No
 * order between lanes or between sources.
 */
#ifndef DSM_CORE_MESSAGE_H
#define DSM_CORE_MESSAGE_H

#include <stdbool.h>
#include "core/ids.h"

enum dsm_lane {
    DSM_LANE_REQUEST, /* read by the service thread, or by a thread that waits */
    DSM_LANE_REPLY,   /* read only by threads that wait */
};
#define DSM_N_LANES 2

/* clang-format off */
/*
 * What each says, and the lane on which it travels. "either": the reply lane when a thread waits
 * for it, the request lane when nobody does (prefetch), as the asker's DSM_MSG_F_ASYNC flag says.
 *
 * Units: object = first page of the unit.
 *   REQUEST      asker -> home. access, request; count = units in the run (same unit size and home,
 *                consecutive); F_HAS_COPY: the asker holds valid bytes and keeps them until
 *                answered; F_ASYNC; peer (OWN only): the rank that offered the unit: refused when it
 *                is no longer the owner; F_SHARE; key (filled in by the driver)
 *   FORWARD      home -> owner. access (READ, WRITE or OWN), peer = asker, txn, prior, request,
 *                acks = acknowledgements the asker will get; F_NO_BYTES: the asker has valid bytes;
 *                F_EXCLUSIVE; F_ASYNC; count = units of one request for which all of this is the same; key of the request (of the home's own request: filled in by its driver)
 *   INVALIDATE   home -> sharer. peer = writer that gets the ACK, txn, prior, request; F_ASYNC
 *   GRANT        owner or home -> asker. access, txn, request, acks; len = bytes that follow (0:
 *                F_ZERO never written, or F_NO_BYTES use the copy you have); count = units of one
 *                request for which all of this is the same, their bytes one behind the other;
 *                offset, room: units above 64 KiB travel in chunks
 *   ACK          sharer -> writer. txn, request
 *   UNWRITTEN    owner -> home. the unit was granted exclusively for reading (F_EXCLUSIVE), and is
 *                handed over without having been written. Only advice: safe at any time
 *   REFUSE       home -> asker. the unit cannot be granted; request; peer = the owner that is gone,
 *                or RANK_NONE: not offered any more, or not allocated
 *   OFFER        evictor -> candidate. count = units of the run offered
 *   OFFER_REPLY  candidate -> evictor. count = units it will take (0: none), room = pages it has
 *                free
 * Locks: object = lock id (an address).
 *   LOCK_ACQUIRE requester -> manager. request = turn, a number of the requester's; F_ASYNC: the
 *                grant comes on the request lane, since who waits may give up; F_TRY: to be told
 *                when it is not to be had at once
 *   LOCK_FORWARD manager -> last in the queue. request = its turn, peer = next, count = next's turn,
 *                F_ASYNC, F_TRY: of next
 *   LOCK_GRANT   holder -> next. txn = hand-over count (fencing number); F_WANTED: threads of the
 *                holder wait for it again; F_ABANDONED: the thread that held it has ended
 *   LOCK_BUSY    before it in the queue -> one who tries. request = its turn; it keeps its place
 *   LOCK_REFUSE  -> requester. request = its turn; the token was lost with rank `peer`
 *                (DSM_RANK_NONE: one that the sender has not heard of yet), or txn = 1: the manager
 *                has no memory for the lock
 *   LOCK_HERE    holder -> manager. request = its turn; answers a LOCK_REFUSE: the token is here
 * Synchronisation objects: object = byte offset in the region, request = the asker's number.
 *   SYNC_ASK     asker -> manager. acks = operation + 256 * kind (core/sync.h), txn, prior =
 *                operands a and b; F_TRY: not to be queued; F_ASYNC: no answer
 *   SYNC_CANCEL  asker -> manager: the wait is to end
 *   SYNC_ANSWER  manager -> asker. acks = DSM_E code, positive; txn = value; peer = the rank that is
 *                gone; count = 1: not yet the answer: the asker is in the queue
 * Collectives: object = group id, txn = sequence number, count = round.
 *   COLLECTIVE   sender -> partner. len = payload bytes
 * Memory: object = first page, count = pages, txn = serial of the drop.
 *   DROP_BEGIN, DROP_CLEAR manager -> all; DROP_DONE rank -> manager
 * HEAP_*, RING, DISTRIBUTE* and WORK are the runtime's: the core does not know them.
 */
/* clang-format on */
#define DSM_MESSAGE_MAP(XX)                                                                        \
    XX(REQUEST, request)                                                                           \
    XX(FORWARD, request)                                                                           \
    XX(INVALIDATE, request)                                                                        \
    XX(GRANT, either)                                                                              \
    XX(ACK, either)                                                                                \
    XX(REFUSE, either)                                                                             \
    XX(OFFER, request)                                                                             \
    XX(OFFER_REPLY, request)                                                                       \
    XX(LOCK_ACQUIRE, request)                                                                      \
    XX(LOCK_FORWARD, request)                                                                      \
    XX(LOCK_GRANT, either)                                                                         \
    XX(COLLECTIVE, reply)                                                                          \
    XX(DROP_BEGIN, request)                                                                        \
    XX(DROP_CLEAR, request)                                                                        \
    XX(DROP_DONE, request)                                                                         \
    XX(HEAP_ASK, request)  /* runtime: ask the address-space manager (rank 0) */                   \
    XX(HEAP_ANSWER, reply) /* runtime: its answer */                                               \
    XX(HEAP_FREE, request) /* runtime: a block freed by a rank that did not allocate it */         \
    XX(RING, request)      /* runtime: a doorbell; carries nothing else */                         \
    XX(LOCK_REFUSE, request)                                                                       \
    XX(LOCK_HERE, request)                                                                         \
    XX(LOCK_BUSY, request)                                                                         \
    XX(SYNC_ASK, request)                                                                          \
    XX(SYNC_CANCEL, request)                                                                       \
    XX(SYNC_ANSWER, reply)                                                                         \
    XX(WORK, request)       /* runtime: a function to run, and that it has ended */                \
    XX(DISTRIBUTE, request) /* runtime: bytes for the private address object */                    \
    XX(DISTRIBUTED, reply)  /* runtime: its answer; acks = DSM_E code, positive */                 \
    XX(UNWRITTEN, request)

enum dsm_message_type {
    DSM_MSG_NONE = 0,
#define XX(name, lane) DSM_MSG_##name,
    DSM_MESSAGE_MAP(XX)
#undef XX
        DSM_MSG_N_TYPES
};

enum dsm_message_access {
    DSM_ACCESS_NONE = 0,
    DSM_ACCESS_READ = 1,
    DSM_ACCESS_WRITE = 2,
    DSM_ACCESS_OWN = 3, /* ownership without exclusivity: takes over an evicted unit */
};

enum {
    DSM_MSG_F_ASYNC = 1 << 0,     /* nobody waits: answer on the request lane */
    DSM_MSG_F_HAS_COPY = 1 << 1,  /* the asker's copy is valid */
    DSM_MSG_F_NO_BYTES = 1 << 2,  /* the grant needs no bytes */
    DSM_MSG_F_ZERO = 1 << 3,      /* never written: all zero, no bytes */
    DSM_MSG_F_TRY = 1 << 4,       /* the asker does not want to wait */
    DSM_MSG_F_SHARE = 1 << 4,     /* REQUEST: to be read only, never as the only copy */
    DSM_MSG_F_WANTED = 1 << 5,    /* the giver's threads wait for it again */
    DSM_MSG_F_ABANDONED = 1 << 6, /* the thread that held it has ended */
    DSM_MSG_F_ENDED = 1 << 7,     /* LOCK_GRANT: destroyed; who waits is told, and it goes on */
    DSM_MSG_F_EXCLUSIVE = 1 << 7, /* access READ: the asker becomes the owner, with the only copy */
};

struct dsm_message {
    uint8_t type;   /* enum dsm_message_type */
    uint8_t flags;  /* DSM_MSG_F_ */
    uint8_t access; /* enum dsm_message_access */
    uint32_t epoch; /* view in which it was sent */
    dsm_rank_t from;
    uint32_t job;    /* check value derived from the job token */
    uint64_t object; /* unit, lock or group */
    dsm_txn_t txn;
    dsm_txn_t prior;  /* number of the last grant that the home made to the destination */
    dsm_rank_t peer;  /* asker, writer, next */
    uint32_t acks;    /* acknowledgements to await */
    uint32_t count;   /* units, pages or round */
    uint32_t request; /* the asker's request number */
    uint32_t len;     /* bytes that follow the header */
    uint32_t offset;  /* of these bytes in the unit */
    uint32_t room;    /* OFFER_REPLY: free pages; GRANT: bytes of the whole unit; else 0 */
    uint32_t key;     /* REQUEST, FORWARD: the transport's, opaque here: lets the bytes be written
                         straight into the asker's frame, for this request alone; 0: none. In the
                         message of SEND_BYTES as well, but not in the GRANT's header */
};

#define DSM_MESSAGE_HEADER_BYTES 64u
#define DSM_MESSAGE_CHUNK_BYTES  65536u

#endif
