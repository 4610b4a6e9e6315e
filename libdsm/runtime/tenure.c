/* SPDX-License-Identifier: BSD-3-Clause */
/* tenure.c - see tenure.h. */
#include "runtime/tenure.h"
#include <stdatomic.h>

/* A token that was wanted back soon counts one up, one that was not counts one down, and a tenure
 * that nobody used two. So a lock that is had in turns by chance gets none. */
#define REGRETS_ENOUGH 2u
#define REGRETS_MAX    4u
#define SHARED_FOR     8u

static uint64_t until_ns(const struct dsm_tenure *t)
{
    return atomic_load_explicit(&t->until_ns, memory_order_relaxed);
}

static void set_until_ns(struct dsm_tenure *t, uint64_t ns)
{
    atomic_store_explicit(&t->until_ns, ns, memory_order_relaxed);
}

static void regret_less(struct dsm_tenure *t, uint8_t by)
{
    t->regrets = t->regrets > by ? (uint8_t)(t->regrets - by) : 0;
}

void dsm_tenure_arrived(struct dsm_tenure *t)
{
    set_until_ns(t, 0);
    t->was_had = false;
    if (t->n_shared > 0)
        t->n_shared--;
}

void dsm_tenure_left(struct dsm_tenure *t, uint64_t now_ns)
{
    set_until_ns(t, 0);
    t->left_ns = now_ns;
}

void dsm_tenure_asked(struct dsm_tenure *t, uint64_t now_ns)
{
    if (t->left_ns == 0)
        return;
    if (now_ns - t->left_ns > DSM_TENURE_SOON_NS)
        regret_less(t, 1);
    else if (t->regrets < REGRETS_MAX)
        t->regrets++;
    t->left_ns = 0; /* each departure is judged once */
}

bool dsm_tenure_is_due(struct dsm_tenure *t, bool has_queue)
{
    if (has_queue)
        t->n_shared = SHARED_FOR;
    return !t->was_had && (has_queue || t->regrets >= REGRETS_ENOUGH);
}

void dsm_tenure_begin(struct dsm_tenure *t, uint64_t now_ns, uint64_t holds)
{
    t->was_had = true;
    t->first_hold = holds;
    set_until_ns(t, now_ns + DSM_TENURE_NS);
}

void dsm_tenure_end(struct dsm_tenure *t)
{
    set_until_ns(t, 0);
}

bool dsm_tenure_is_over(const struct dsm_tenure *t, uint64_t now_ns, uint64_t holds)
{
    uint64_t most = t->n_shared ? DSM_TENURE_HOLDS_SHARED : DSM_TENURE_HOLDS;

    return now_ns >= until_ns(t) || holds - t->first_hold >= most;
}

static uint64_t next_look_ns(const struct dsm_tenure *t, uint64_t now_ns)
{
    uint64_t soon_ns = now_ns + DSM_TENURE_SOON_NS;

    return soon_ns < until_ns(t) ? soon_ns : until_ns(t);
}

uint64_t dsm_tenure_first_look_ns(struct dsm_tenure *t, uint64_t now_ns, uint64_t holds)
{
    t->seen_holds = holds;
    return next_look_ns(t, now_ns);
}

uint64_t dsm_tenure_look(struct dsm_tenure *t, uint64_t now_ns, uint64_t holds, bool is_free)
{
    bool is_idle = is_free && holds == t->seen_holds;

    t->seen_holds = holds;
    if (is_idle)
        regret_less(t, 2);
    if (is_idle || dsm_tenure_is_over(t, now_ns, holds))
        return 0;
    return next_look_ns(t, now_ns);
}
