/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store.h - where a search keeps what it has seen: digests by number, and a queue of packed states.
 */
#ifndef DSM_TESTS_EXPLORE_STORE_H
#define DSM_TESTS_EXPLORE_STORE_H

#include <stddef.h>
#include "base/errors.h"
#include "digest.h"

/* ---- visited states, numbered in the order in which they were found */
struct store_visited {
    struct digest *digests;
    uint32_t *parents; /* number of the state from which it was found first */
    uint32_t *slots;   /* number + 1; 0: free */
    uint64_t n, capacity, n_slots;
};

int store_visited_open(struct store_visited *visited);
void store_visited_close(struct store_visited *visited);
/* The number of the state; *is_new_out when it was not there. Errors: NOMEM, LIMIT (2^32 states).
 */
int store_visited_add(struct store_visited *visited, struct digest digest, uint32_t parent,
                      uint32_t *number_out, bool *is_new_out);
uint64_t store_visited_bytes(const struct store_visited *visited);

/* ---- a state as what differs from a base state of the same lab */
struct store_image {
    size_t n_words; /* capacity */
    uint64_t *base;
    uint64_t *scratch;
    uint64_t *packed;
    size_t n_packed;
};

int store_image_open(struct store_image *image, const struct lab *lab);
void store_image_close(struct store_image *image);
/* The lab's state into image->packed[1 .. n_packed); packed[0] is the caller's. */
void store_image_pack(struct store_image *image, const struct lab *lab);
/* Back from n words. */
void store_image_unpack(struct store_image *image, struct lab *lab, const uint64_t *words,
                        size_t n);

/* ---- first in, first out */
struct store_block;
struct store_queue {
    struct store_block *head, *tail;
    uint64_t n_bytes;
};

int store_queue_push(struct store_queue *queue, const uint64_t *words, size_t n);
/* The oldest; valid until the next pop. False: empty. */
bool store_queue_pop(struct store_queue *queue, const uint64_t **words_out, size_t *n_out);
void store_queue_close(struct store_queue *queue);

/* ---- growing array of 32-bit numbers */
struct store_numbers {
    uint32_t *items;
    uint64_t n, capacity;
};

int store_numbers_push(struct store_numbers *numbers, uint32_t value);
void store_numbers_close(struct store_numbers *numbers);

#endif
