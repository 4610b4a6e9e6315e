/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * program.h - what a thread does, as a short text.
 *
 *   R0  load from unit 0            X01 one instruction that stores to units 0 and 1, trapping on 0
 *   W0  store to unit 0                 first (X10: on 1 first)
 *   P0  prefetch for reading        Y01 one instruction that loads from both
 *   Q0  prefetch for writing        M N the same of all units   L0 U0  take, give back lock 0
 *   p0 q0 n  like P0, Q0 and N, and the (first) unit is left for its first use to be seen
 *   H0  pin unit 0 if it can be written here, for a while   h0  let go of it
 *   B   barrier of all ranks        A   all-reduce     C   broadcast from rank 0
 *   D0  drop unit 0 on all ranks (rank 0 only, when nobody uses the unit)
 *   m0  try lock 0, i0 wait for it and maybe give up: without it, all up to U0 is left out
 *   r0 w0 u0  take object 0 as a reader-writer lock for reading, for writing, give it back
 *   V0 S0  post, take a semaphore        s0  take, and maybe give up
 *   F0 E0  set a flag, wait for it       b0  barrier of all threads that have programs
 *   G0  tickets 0 and 1 between all threads, until there are none left
 *   c0  under lock 0: wait for condition 0 until k0 (signal) or K0 (broadcast) has been
 *   Z0  destroy object 0
 *   *   any of R and W on any unit  ?   any of R, W, X, Y
 *
 * A wildcard is a choice made when the thread gets there, so that one run covers all programs of
 * that shape and shares the states they have in common.
 */
#ifndef DSM_TESTS_EXPLORE_PROGRAM_H
#define DSM_TESTS_EXPLORE_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRAM_MAX_OPS     12u
#define PROGRAM_MAX_CHOICES 24u

enum program_op_kind {
    OP_LOAD,
    OP_STORE,
    OP_LOAD_TWO,
    OP_STORE_TWO,
    OP_PREFETCH_READ,
    OP_PREFETCH_WRITE,
    OP_PREFETCH_READ_ALL,
    OP_PREFETCH_WRITE_ALL,
    OP_SAMPLE_READ,
    OP_SAMPLE_WRITE,
    OP_SAMPLE_WRITE_ALL,
    OP_PIN,
    OP_UNPIN,
    OP_LOCK,
    OP_UNLOCK,
    OP_BARRIER,
    OP_ALLREDUCE,
    OP_BCAST,
    OP_DROP,
    OP_LOCK_TRY,
    OP_LOCK_TIMED,
    OP_READ_LOCK,
    OP_WRITE_LOCK,
    OP_RW_UNLOCK,
    OP_POST,
    OP_TAKE,
    OP_TAKE_TIMED,
    OP_SET_FLAG,
    OP_AWAIT,
    OP_MEET,
    OP_TICKETS,
    OP_SLEEP,
    OP_SIGNAL,
    OP_BROADCAST,
    OP_DESTROY,
    OP_ANY_SINGLE,
    OP_ANY,
};

struct program_op {
    uint8_t kind; /* enum program_op_kind */
    uint8_t a, b; /* units, or a lock */
};

struct program {
    uint32_t n_ops;
    struct program_op ops[PROGRAM_MAX_OPS];
};

/* Text as above, spaces allowed. False, with a line in why, when it is wrong. */
bool program_parse(const char *text, uint32_t n_units, uint32_t n_locks,
                   struct program *program_out, char *why, size_t why_bytes);
/* The operations that op stands for; one for all but wildcards. */
uint32_t program_choices(struct program_op op, uint32_t n_units,
                         struct program_op choices[PROGRAM_MAX_CHOICES]);
void program_op_text(struct program_op op, char out[8]);
void program_text(const struct program *program, char *out, size_t out_bytes);

#endif
