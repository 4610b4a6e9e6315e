/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pipeline.c - producer and consumer threads with a bounded buffer between them.
 *
 * On every rank T threads produce and T consume; what thread t of rank r produces goes to thread t
 * of rank r + 1. Between the two is a ring of slots, and each slot's address names a lock. Both
 * walk round the ring hand over hand: they take the next slot's lock before they let go of this
 * one's. So the producer can neither be overtaken by its consumer nor lap it, and whoever is early
 * sleeps in the queue of a lock: no counters, no polling. (With two slots each could wait for the
 * other.)
 */
#include <dsm/dsm.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "kernels/report.h"

#define SLOTS 8u
#define WORDS 511u /* of payload: a slot fills a page, so that no two share one */

struct slot {
    uint64_t number;
    uint64_t words[WORDS];
};

struct ring {
    struct slot slots[SLOTS];
};

struct worker {
    pthread_t thread;
    struct ring *ring;
    uint64_t items;
    uint64_t first_word;
    uint64_t wrong; /* the consumer's count of words that were not as produced */
};

static pthread_barrier_t first_slots_held, everybody_holds;

static void check(int err, const char *what)
{
    if (err == 0)
        return;
    fprintf(stderr, "pipeline: %s: %s\n", what, dsm_strerror(err));
    dsm_abort(1);
}

static uint64_t word_of(uint64_t first_word, uint64_t item, uint64_t word)
{
    return first_word + item * WORDS + word;
}

static void step_to(struct ring *ring, uint64_t next)
{
    check(dsm_lock(&ring->slots[next % SLOTS]), "dsm_lock");
    check(dsm_unlock(&ring->slots[(next + SLOTS - 1) % SLOTS]), "dsm_unlock");
}

static void *produce(void *arg)
{
    struct worker *me = arg;

    check(dsm_lock(&me->ring->slots[0]), "dsm_lock");
    pthread_barrier_wait(&first_slots_held);
    pthread_barrier_wait(&everybody_holds);
    for (uint64_t item = 0; item < me->items; item++) {
        struct slot *slot = &me->ring->slots[item % SLOTS];

        slot->number = item;
        for (uint64_t w = 0; w < WORDS; w++)
            slot->words[w] = word_of(me->first_word, item, w);
        step_to(me->ring, item + 1);
    }
    check(dsm_unlock(&me->ring->slots[me->items % SLOTS]), "dsm_unlock");
    return NULL;
}

static void *consume(void *arg)
{
    struct worker *me = arg;

    /* The slot before the producer's first one: it cannot go round before the consumer moves. */
    check(dsm_lock(&me->ring->slots[SLOTS - 1]), "dsm_lock");
    pthread_barrier_wait(&first_slots_held);
    pthread_barrier_wait(&everybody_holds);
    for (uint64_t item = 0; item < me->items; item++) {
        const struct slot *slot = &me->ring->slots[item % SLOTS];

        step_to(me->ring, item + SLOTS);
        me->wrong += slot->number != item;
        for (uint64_t w = 0; w < WORDS; w++)
            me->wrong += slot->words[w] != word_of(me->first_word, item, w);
    }
    check(dsm_unlock(&me->ring->slots[(me->items + SLOTS - 1) % SLOTS]), "dsm_unlock");
    return NULL;
}

/* Starts this rank's workers and waits until they are through. */
static uint64_t run(struct ring *rings, uint64_t n_threads, uint64_t items)
{
    uint32_t rank = dsm_rank(), before = (dsm_rank() + dsm_size() - 1) % dsm_size();
    struct worker *workers = calloc(2 * n_threads, sizeof(*workers));
    uint64_t wrong = 0;

    if (workers == NULL)
        check(DSM_E_NOMEM, "threads");
    pthread_barrier_init(&first_slots_held, NULL, (unsigned)(2 * n_threads + 1));
    pthread_barrier_init(&everybody_holds, NULL, (unsigned)(2 * n_threads + 1));
    for (uint64_t t = 0; t < 2 * n_threads; t++) {
        bool is_producer = t < n_threads;
        uint64_t ring = (is_producer ? rank : before) * n_threads + t % n_threads;

        workers[t].ring = &rings[ring];
        workers[t].items = items;
        workers[t].first_word = ring << 40;
        if (pthread_create(&workers[t].thread, NULL, is_producer ? produce : consume,
                           &workers[t]) != 0)
            check(DSM_E_SYSTEM, "pthread_create");
    }
    /* Nobody walks before every first slot, on every rank, is held. */
    pthread_barrier_wait(&first_slots_held);
    check(dsm_barrier(), "dsm_barrier");
    pthread_barrier_wait(&everybody_holds);
    for (uint64_t t = 0; t < 2 * n_threads; t++) {
        pthread_join(workers[t].thread, NULL);
        wrong += workers[t].wrong;
    }
    pthread_barrier_destroy(&everybody_holds);
    pthread_barrier_destroy(&first_slots_held);
    free(workers);
    return wrong;
}

int main(int argc, char **argv)
{
    uint64_t n_threads = 2, items = 1000, wrong;
    void *addr;
    int option;

    while ((option = getopt(argc, argv, "t:i:")) != -1) {
        if (option == 't') {
            n_threads = option_number("pipeline", "-t", optarg, 1, 256);
        } else if (option == 'i') {
            items = option_number("pipeline", "-i", optarg, 1, 1000000);
        } else {
            fprintf(stderr, "usage: pipeline [-t threads] [-i items]\n");
            return 2;
        }
    }
    if (dsm_init(NULL) < 0)
        return 1;
    check(dsm_alloc(dsm_size() * n_threads * sizeof(struct ring), NULL, &addr), "dsm_alloc");
    wrong = run(addr, n_threads, items);
    check(dsm_allreduce(&wrong, 1, DSM_UINT64, DSM_SUM), "dsm_allreduce");
    if (dsm_rank() == 0)
        printf("%u ranks, %" PRIu64 " producers and consumers each, %" PRIu64
               " slots through every ring: %s\n",
               dsm_size(), n_threads, items, wrong == 0 ? "all as produced" : "WRONG");
    return dsm_finalize() < 0 || wrong != 0;
}
