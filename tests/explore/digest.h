/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * digest.h - one name for all states that behave alike.
 *
 * A digest is a 128-bit hash of everything in a world that can influence what happens later, after
 * these are renamed so that histories which differ in nothing else meet:
 *
 *   transaction numbers  per unit, over all ranks and messages: their order is kept, their
 *                        distances are not (the core compares them and counts on from the largest).
 *                        Not where runs of units are asked for: there equal numbers of different
 *                        units let a message speak of both
 *   request numbers      the same, per asking rank
 *   moments              passed, or their order among those to come, per rank
 *   content versions     newest or not (no store makes old content new again)
 *   the order of messages in different queues
 *
 * Left out: statistics, where nodes lie in the core's memory, random numbers and repeat counts.
 * Those only steer how long holds last, which is why a lab gives all holds the same length and lets
 * any time pass between two events.
 *
 * Whether two states with one digest do behave alike is itself checked, see search.h.
 */
#ifndef DSM_TESTS_EXPLORE_DIGEST_H
#define DSM_TESTS_EXPLORE_DIGEST_H

#include "lab.h"

#define DIGEST_MAX_TOKENS 1024u

struct digest {
    uint64_t a, b;
};

/* A word of a state on its way into the digest: a value, or a number still to be renamed. */
struct digest_token {
    uint64_t value;
    uint32_t kind;    /* enum digest_kind */
    uint32_t subject; /* unit or rank whose numbers these are */
};

/* What one rank contributes. A step touches one rank: the others' words can be used again. */
struct digest_part {
    uint32_t n;
    struct digest_token tokens[DIGEST_MAX_TOKENS];
};

void digest_rank(const struct lab *lab, uint32_t rank, struct digest_part *part_out);
struct digest digest_world(const struct lab *lab, const struct digest_part *parts);

#endif
