/* SPDX-License-Identifier: BSD-3-Clause */
/* work.c - see work.h. */
#define _GNU_SOURCE
#include "runtime/work.h"
#include "base/clock.h"
#include <stdlib.h>

struct dsm_work {
    _Atomic uint32_t n_arrived; /* ever; the futex */
    struct dsm_work_item *ring; /* this and the rest under the driver's lock */
    uint32_t first, n, capacity;
};

int dsm_work_open(struct dsm_driver *d, uint32_t limit)
{
    struct dsm_work *w = calloc(1, sizeof *w);
    if (!w)
        return DSM_E_NOMEM;
    w->capacity = limit + 1; /* and DSM_WORK_OVER */
    w->ring = calloc(w->capacity, sizeof *w->ring);
    if (!w->ring) {
        free(w);
        return DSM_E_NOMEM;
    }
    d->work = w;
    return 0;
}

void dsm_work_close(struct dsm_driver *d)
{
    if (d->work)
        free(d->work->ring);
    free(d->work);
    d->work = NULL;
}

static int push(struct dsm_work *w, const struct dsm_work_item *item)
{
    if (!w || w->n == w->capacity)
        return DSM_E_PROTO;
    w->ring[(w->first + w->n++) % w->capacity] = *item;
    atomic_fetch_add(&w->n_arrived, 1);
    dsm_futex_wake(&w->n_arrived, 1);
    return 0;
}

int dsm_work_on_message(struct dsm_driver *d, const struct dsm_message *m)
{
    struct dsm_work_item item = {
        .kind = (enum dsm_work_kind)m->count, .from = m->from, .addr = m->object, .image = m->txn};
    bool is_known = m->count >= DSM_WORK_RUN && m->count <= DSM_WORK_OVER;
    bool is_for_rank_0 = m->count == DSM_WORK_ENDED;
    if (!is_known || is_for_rank_0 != (d->config.self == 0))
        return DSM_E_PROTO;
    return push(d->work, &item);
}

void dsm_work_send(struct dsm_driver *d, dsm_rank_t to, const struct dsm_work_item *item)
{
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    if (to == d->config.self) {
        struct dsm_work_item own = *item;
        own.from = to;
        (void)push(d->work, &own); /* rank 0 keeps to the limit that the ring was made for */
    } else {
        struct dsm_message m = {
            .type = DSM_MSG_WORK, .count = item->kind, .object = item->addr, .txn = item->image};
        dsm_driver_send(d, to, DSM_LANE_REQUEST, &m);
    }
    dsm_driver_leave(d, &guard);
}

void dsm_work_take(struct dsm_driver *d, struct dsm_work_item *item_out)
{
    struct dsm_work *w = d->work;
    for (;;) {
        struct dsm_driver_guard guard;
        uint32_t seen = atomic_load(&w->n_arrived);
        dsm_driver_enter(d, &guard);
        bool has_item = w->n > 0;
        if (has_item) {
            *item_out = w->ring[w->first];
            w->first = (w->first + 1) % w->capacity;
            w->n--;
        }
        dsm_driver_leave(d, &guard);
        if (has_item)
            return;
        dsm_waiters_thread_rests(d);
        dsm_futex_wait(&w->n_arrived, seen, NULL);
        dsm_waiters_thread_works(d);
    }
}
