/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chores.h - what other threads ask of the loop's thread about a peer, and the clock by which that
 * thread looks at deadlines. Shared by the transports.
 */
#ifndef DSM_NET_CHORES_H
#define DSM_NET_CHORES_H

#include "base/async.h"
#include <stdatomic.h>
#include <stdbool.h>

/* In a peer. */
struct dsm_chore {
    atomic_uint what; /* a set of bits, the transport's */
    struct dsm_chore *next;
};

struct dsm_chores {
    _Atomic(struct dsm_chore *) asked;
    uv_async_t async;
    uv_timer_t tick;
    uv_timer_cb on_tick;
    bool is_ticking;
};

/* n_handles is counted up for each handle that is open then, tick first, whatever is returned.
 * Their data is net. Errors: SYSTEM. */
int dsm_chores_open(struct dsm_chores *chores, uv_loop_t *loop, void *net, uv_async_cb on_chores,
                    uv_timer_cb on_tick, unsigned *n_handles);
/* Any thread, also in a signal handler. */
void dsm_chores_ask(struct dsm_chores *chores, struct dsm_chore *chore, unsigned what);
void dsm_chores_wake(struct dsm_chores *chores);
/* The loop's thread: all that was asked; then one after the other, until NULL. */
struct dsm_chore *dsm_chores_take(struct dsm_chores *chores);
struct dsm_chore *dsm_chore_done(struct dsm_chore *chore, unsigned *what_out);
/* The loop's thread: on_tick again and again, until stopped. */
void dsm_chores_start_ticking(struct dsm_chores *chores);
void dsm_chores_stop_ticking(struct dsm_chores *chores);

#endif
