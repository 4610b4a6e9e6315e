/* SPDX-License-Identifier: BSD-3-Clause */
/* chores.c - a list without a lock, a wake-up and a clock. */
#include "net/chores.h"
#include <dsm/dsm.h>

#define TICK_MS 50

int dsm_chores_open(struct dsm_chores *chores, uv_loop_t *loop, void *net, uv_async_cb on_chores,
                    uv_timer_cb on_tick, unsigned *n_handles)
{
    chores->async.data = net;
    chores->tick.data = net;
    chores->on_tick = on_tick;
    if (uv_timer_init(loop, &chores->tick))
        return DSM_E_SYSTEM;
    ++*n_handles;
    if (uv_async_init(loop, &chores->async, on_chores))
        return DSM_E_SYSTEM;
    ++*n_handles;
    return 0;
}

void dsm_chores_ask(struct dsm_chores *chores, struct dsm_chore *chore, unsigned what)
{
    if (atomic_fetch_or(&chore->what, what))
        return; /* in the list already */
    chore->next = atomic_load_explicit(&chores->asked, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&chores->asked, &chore->next, chore))
        ;
    dsm_async_send(&chores->async);
}

void dsm_chores_wake(struct dsm_chores *chores)
{
    dsm_async_send(&chores->async);
}

struct dsm_chore *dsm_chores_take(struct dsm_chores *chores)
{
    return atomic_exchange(&chores->asked, NULL);
}

/* The link is read before the bits are taken: after that the chore may be in the list again. */
struct dsm_chore *dsm_chore_done(struct dsm_chore *chore, unsigned *what_out)
{
    struct dsm_chore *next = chore->next;
    *what_out = atomic_exchange(&chore->what, 0);
    return next;
}

void dsm_chores_start_ticking(struct dsm_chores *chores)
{
    if (chores->is_ticking)
        return;
    chores->is_ticking = true;
    uv_timer_start(&chores->tick, chores->on_tick, TICK_MS, TICK_MS);
}

void dsm_chores_stop_ticking(struct dsm_chores *chores)
{
    chores->is_ticking = false;
    uv_timer_stop(&chores->tick);
}
