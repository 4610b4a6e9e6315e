/* SPDX-License-Identifier: BSD-3-Clause */
/* bell.c - see bell.h. */
#define _GNU_SOURCE
#include "runtime/bell.h"
#include "base/errors.h"
#include <pthread.h>
#include <stdlib.h>

struct dsm_bell {
    pthread_mutex_t calling; /* held during the handler: a handler that was replaced is over */
    dsm_ring_handler handler;
    void *user;
    uint32_t n_words;
    uint64_t rang[]; /* ranks that rang and were not answered yet; under the driver's lock */
};

int dsm_bell_open(struct dsm_driver *d)
{
    uint32_t n_words = (d->config.n_ranks + 63) / 64;
    struct dsm_bell *b = calloc(1, sizeof *b + n_words * sizeof b->rang[0]);
    if (!b)
        return DSM_E_NOMEM;
    b->n_words = n_words;
    pthread_mutex_init(&b->calling, NULL);
    d->bell = b;
    return 0;
}

void dsm_bell_close(struct dsm_driver *d)
{
    pthread_mutex_destroy(&d->bell->calling);
    free(d->bell);
    d->bell = NULL;
}

void dsm_bell_set_handler(struct dsm_driver *d, dsm_ring_handler handler, void *user)
{
    pthread_mutex_lock(&d->bell->calling);
    d->bell->handler = handler;
    d->bell->user = user;
    pthread_mutex_unlock(&d->bell->calling);
    if (d->wake_service)
        d->wake_service(d->service); /* for rings that came before there was a handler */
}

void dsm_bell_on_ring(struct dsm_driver *d, dsm_rank_t from)
{
    d->bell->rang[from / 64] |= 1ull << from % 64;
    if (d->wake_service)
        d->wake_service(d->service);
}

int dsm_bell_ring(struct dsm_driver *d, dsm_rank_t to)
{
    struct dsm_driver_guard guard;
    int error = 0;
    dsm_driver_enter(d, &guard);
    if (dsm_driver_is_dead(d, to)) {
        error = DSM_E_PEER;
    } else if (to == d->config.self) {
        dsm_bell_on_ring(d, to);
    } else {
        struct dsm_message m = {.type = DSM_MSG_RING};
        dsm_driver_send(d, to, DSM_LANE_REQUEST, &m);
    }
    dsm_driver_leave(d, &guard);
    return error;
}

void dsm_bell_serve(struct dsm_driver *d)
{
    struct dsm_bell *b = d->bell;
    pthread_mutex_lock(&b->calling);
    for (uint32_t i = 0; b->handler && i < b->n_words; i++) {
        struct dsm_driver_guard guard;
        dsm_driver_enter(d, &guard);
        uint64_t rang = b->rang[i];
        b->rang[i] = 0;
        dsm_driver_leave(d, &guard);
        for (; rang; rang &= rang - 1)
            b->handler(b->user, i * 64 + (uint32_t)__builtin_ctzll(rang));
    }
    pthread_mutex_unlock(&b->calling);
}
