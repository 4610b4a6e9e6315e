/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sync.h - the kinds of synchronisation objects and what can be asked of them.
 *
 * An object is a number with a queue, kept by the home of the address that names it. Every kind is
 * a choice of the same few operations: wait until the number allows it, then change it.
 */
#ifndef DSM_CORE_SYNC_H
#define DSM_CORE_SYNC_H

/* Name, and the operations that it has. */
#define DSM_SYNC_KIND_MAP(XX)                                                                      \
    XX(RWLOCK, DSM_SYNC_BIT(READ_LOCK) | DSM_SYNC_BIT(WRITE_LOCK) | DSM_SYNC_BIT(READ_UNLOCK) |    \
                   DSM_SYNC_BIT(WRITE_UNLOCK) | DSM_SYNC_BIT(ABANDON))                             \
    XX(CONDITION, DSM_SYNC_BIT(SLEEP) | DSM_SYNC_BIT(SIGNAL))                                      \
    XX(SEMAPHORE, DSM_SYNC_BIT(ADD) | DSM_SYNC_BIT(SET) | DSM_SYNC_BIT(TAKE) | DSM_SYNC_BIT(GET))  \
    XX(FLAG, DSM_SYNC_BIT(ADD) | DSM_SYNC_BIT(SET) | DSM_SYNC_BIT(TAKE) | DSM_SYNC_BIT(GET) |      \
                 DSM_SYNC_BIT(AWAIT) | DSM_SYNC_BIT(PUT))                                          \
    XX(TICKETS, DSM_SYNC_BIT(TICKET))                                                              \
    XX(BARRIER, DSM_SYNC_BIT(ARRIVE))                                                              \
    XX(WORD32, DSM_SYNC_BIT(WRAP_ADD) | DSM_SYNC_BIT(SWAP) | DSM_SYNC_BIT(COMPARE_SWAP))           \
    XX(WORD64, DSM_SYNC_BIT(WRAP_ADD) | DSM_SYNC_BIT(SWAP) | DSM_SYNC_BIT(COMPARE_SWAP))

enum dsm_sync_kind {
    DSM_SYNC_NONE,
#define XX(name, operations) DSM_SYNC_##name,
    DSM_SYNC_KIND_MAP(XX)
#undef XX
        DSM_SYNC_N_KINDS
};

/* a and b are its operands; the answer's value is what the number was before, where nothing else is
 * said. */
enum dsm_sync_op {
    DSM_SYNC_OP_NONE,
    DSM_SYNC_OP_READ_LOCK,
    DSM_SYNC_OP_WRITE_LOCK,
    DSM_SYNC_OP_READ_UNLOCK,
    DSM_SYNC_OP_WRITE_UNLOCK,
    DSM_SYNC_OP_ABANDON, /* WRITE_UNLOCK by a thread that ended: the next one is told */
    DSM_SYNC_OP_SLEEP,   /* waits for a SIGNAL; told when it is in the queue */
    DSM_SYNC_OP_SIGNAL,  /* wakes the first a sleepers; value: how many were woken */
    DSM_SYNC_OP_ADD,     /* LIMIT when it would exceed DSM_SYNC_MAX */
    DSM_SYNC_OP_SET,
    DSM_SYNC_OP_GET,
    DSM_SYNC_OP_TAKE,   /* waits until it is at least a, then subtracts a */
    DSM_SYNC_OP_AWAIT,  /* waits until it is at least a */
    DSM_SYNC_OP_PUT,    /* waits until it is 0, then sets it to a */
    DSM_SYNC_OP_TICKET, /* the next index below a. At the end waits until b have come there:
                           all get DSM_SYNC_NO_TICKET, and the indices begin again */
    DSM_SYNC_OP_ARRIVE, /* waits until a have arrived; value: how often that was so before */
    DSM_SYNC_OP_WRAP_ADD,
    DSM_SYNC_OP_SWAP,
    DSM_SYNC_OP_COMPARE_SWAP, /* where it is a, sets it to b */
    DSM_SYNC_OP_DESTROY,      /* of every kind: ends the waits; value: how many */
    DSM_SYNC_N_OPS
};

#define DSM_SYNC_BIT(name) (1u << DSM_SYNC_OP_##name)
#define DSM_SYNC_MAX       ((uint64_t)INT64_MAX)
#define DSM_SYNC_NO_TICKET UINT64_MAX

#endif
