/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hold.c - progress: how long a grant stays with a thread before others may take it.
 *
 * Hold: a fresh grant stays for hold_ns from the moment the woken thread goes on, so that the
 * instruction can be carried out once. If no thread goes on, hold_cap_ns from WAKE bounds it.
 *
 * Upward rule: an instruction that needs several units faults on them one after the other. While
 * its thread waits for unit q, the lower-numbered units granted to it for this instruction are kept
 * until q is granted, and then held together with it. Waits go upward only, so there is no circle;
 * with higher-numbered units kept as well, two ranks that take two units in opposite order would
 * stop each other, and with none kept they would take them from each other for ever.
 *
 * Doubling: when a unit was lost while its thread waited for another one of the same instruction,
 * and is faulted again there, the instruction cannot have been carried out; its holds double, with
 * jitter, up to hold_cap_ns. (A mere second fault at the same instruction says nothing: a loop that
 * polls a flag does that, and long holds would only delay who sets the flag.)
 *
 * Pins: the program says how long a unit is to stay (dsm_pin). The time is bounded by the caller,
 * and a pin is not made longer while somebody waits for the unit, so nobody is starved.
 *
 * What a thread was granted is in struct dsm_core_thread, the driver's; a unit only counts its
 * keeps.
 */
#include "core/state.h"

#include <string.h>

enum { KEPT = 1, LOST = 2 }; /* values of dsm_core_thread.kept */

static struct dsm_copy *granted_copy(const struct dsm_core *core,
                                     const struct dsm_core_thread *thread, uint32_t i)
{
    return thread->granted[i] ? dsm_copy_find(core, thread->granted[i] - 1) : NULL;
}

static uint64_t cap_ns(const struct dsm_core *core)
{
    return core->config.hold_cap_ns;
}

/* hold_ns << repeats, and up to half of it more when it is not the first time. */
static uint64_t hold_for_ns(struct dsm_core *core, const struct dsm_core_thread *thread)
{
    uint64_t ns = core->config.hold_ns;
    uint32_t i;

    if (ns == DSM_HOLD_NONE)
        return 0;
    if (!thread || thread->repeats == 0)
        return ns;
    for (i = 0; i < thread->repeats && ns < cap_ns(core); i++)
        ns *= 2;
    ns += dsm_rng_below(&core->rng, ns / 2 + 1);
    return ns < cap_ns(core) ? ns : cap_ns(core);
}

/* When the hold or keep ends or ended, whichever is later; 0: there is none. */
static uint64_t last_end_ns(const struct dsm_copy *copy)
{
    uint64_t end = copy->hold != DSM_HOLD_NO ? copy->hold_until_ns : 0;

    if (copy->n_keeps > 0 && copy->keep_until_ns > end)
        end = copy->keep_until_ns;
    if (copy->n_pins > 0 && dsm_planted(DSM_PLANT_PIN_FOREVER))
        return DSM_TIME_NONE;
    return copy->n_pins > 0 && copy->pin_until_ns > end ? copy->pin_until_ns : end;
}

uint64_t dsm_hold_end_ns(const struct dsm_step *s, const struct dsm_copy *copy)
{
    uint64_t end = last_end_ns(copy);

    return end > s->now_ns ? end : 0;
}

/* A thread has been woken for a fresh grant. */
void dsm_hold_begin(struct dsm_step *s, struct dsm_copy *copy)
{
    if (s->core->config.hold_ns == DSM_HOLD_NONE)
        return;
    copy->hold = DSM_HOLD_AWAIT;
    copy->hold_until_ns = s->now_ns + cap_ns(s->core);
}

int dsm_hold_pin(struct dsm_step *s, struct dsm_copy *copy, uint8_t access, uint64_t until_ns)
{
    if (dsm_copy_access(copy) < access || !(copy->flags & DSM_COPY_F_MAPPED) ||
        (access == DSM_ACCESS_WRITE && dsm_copy_is_write_marker(copy)))
        return DSM_E_BUSY;
    if (copy->n_pins > 0 && copy->pin_until_ns <= s->now_ns && copy->order_head)
        return DSM_E_BUSY; /* it is about to go */
    if (copy->n_pins == 0 || (copy->pin_until_ns < until_ns && !copy->order_head))
        copy->pin_until_ns = until_ns;
    copy->n_pins++;
    s->core->counters.pins++;
    return 0;
}

void dsm_hold_unpin(struct dsm_step *s, struct dsm_copy *copy)
{
    if (copy->n_pins == 0)
        return; /* its time was over, and it has been taken away since */
    copy->n_pins--;
    if (copy->n_pins == 0 && copy->order_head)
        dsm_holder_settle(s, copy);
}

static void give_up_keeps(struct dsm_step *s, struct dsm_core_thread *thread)
{
    uint32_t i;

    for (i = 0; i < thread->n_granted; i++) {
        struct dsm_copy *copy;

        if (thread->kept[i] != KEPT)
            continue;
        thread->kept[i] = 0;
        copy = granted_copy(s->core, thread, i);
        if (!copy || copy->n_keeps == 0)
            continue;
        copy->n_keeps--;
        if (copy->order_head)
            dsm_holder_settle(s, copy);
    }
}

/* The thread has all it waited for: what it kept is held with the newest, long enough for all. */
static void hold_kept(struct dsm_step *s, struct dsm_core_thread *thread, uint64_t until_ns)
{
    uint32_t i;

    for (i = 0; i < thread->n_granted; i++) {
        struct dsm_copy *copy = granted_copy(s->core, thread, i);

        if (thread->kept[i] != KEPT || !copy || copy->state == DSM_COPY_ABSENT)
            continue;
        if (copy->hold == DSM_HOLD_NO || copy->hold_until_ns < until_ns) {
            copy->hold = DSM_HOLD_RUN;
            copy->hold_until_ns = until_ns;
        }
    }
}

static int find_granted(const struct dsm_core_thread *thread, dsm_page_t first)
{
    uint32_t i;

    for (i = 0; i < thread->n_granted; i++)
        if (thread->granted[i] == first + 1)
            return (int)i;
    return -1;
}

static void remove_granted(struct dsm_core_thread *thread, uint32_t at)
{
    uint32_t after = thread->n_granted - at - 1;

    memmove(&thread->granted[at], &thread->granted[at + 1], after * sizeof thread->granted[0]);
    memmove(&thread->kept[at], &thread->kept[at + 1], after * sizeof thread->kept[0]);
    thread->n_granted--;
    thread->granted[thread->n_granted] = 0;
    thread->kept[thread->n_granted] = 0;
}

static void add_granted(struct dsm_core_thread *thread, dsm_page_t first)
{
    int at = find_granted(thread, first);

    if (at >= 0)
        remove_granted(thread, (uint32_t)at);
    else if (thread->n_granted == DSM_THREAD_KEEPS)
        remove_granted(thread, 0);
    thread->granted[thread->n_granted] = first + 1;
    thread->kept[thread->n_granted] = 0;
    thread->n_granted++;
}

static void keep_lower(struct dsm_step *s, struct dsm_core_thread *thread, dsm_page_t first)
{
    uint64_t until_ns = s->now_ns + cap_ns(s->core) * DSM_KEEP_CAP_HOLDS;
    uint32_t i;

    for (i = 0; i < thread->n_granted; i++) {
        struct dsm_copy *copy = granted_copy(s->core, thread, i);
        bool is_lower = thread->granted[i] - 1 < first || dsm_planted(DSM_PLANT_KEEP_ALL);

        if (!copy || !is_lower || copy->first == first || copy->state == DSM_COPY_ABSENT ||
            copy->n_keeps == UINT16_MAX)
            continue;
        thread->kept[i] = KEPT;
        copy->n_keeps++;
        copy->keep_until_ns = until_ns;
    }
}

void dsm_hold_fault(struct dsm_step *s, dsm_page_t first, uint64_t ip,
                    struct dsm_core_thread *thread)
{
    int at;

    if (!thread || s->core->config.hold_ns == DSM_HOLD_NONE)
        return;
    give_up_keeps(s, thread); /* only if its last wait ended without RESUMED */
    if (thread->ip != ip) {
        memset(thread, 0, offsetof(struct dsm_core_thread, next_trail));
        thread->ip = ip;
    }
    at = find_granted(thread, first);
    if (at >= 0 && thread->kept[at] == LOST) {
        thread->kept[at] = 0;
        thread->repeats++;
    }
    thread->waiting = first + 1;
    keep_lower(s, thread, first);
}

/* What was lost while the thread waited is marked: to fault on it again means no progress. */
static void mark_lost(struct dsm_step *s, struct dsm_core_thread *thread)
{
    uint32_t i;

    for (i = 0; i < thread->n_granted; i++) {
        struct dsm_copy *copy = granted_copy(s->core, thread, i);

        if (!copy || copy->state == DSM_COPY_ABSENT)
            thread->kept[i] = LOST;
    }
}

void dsm_hold_resumed(struct dsm_step *s, dsm_page_t first, struct dsm_core_thread *thread)
{
    struct dsm_copy *copy = dsm_copy_find(s->core, first);
    bool is_granted = copy && copy->state != DSM_COPY_ABSENT;
    uint64_t until_ns;

    if (s->core->config.hold_ns == DSM_HOLD_NONE)
        return;
    until_ns = s->now_ns + hold_for_ns(s->core, thread);
    if (is_granted && copy->hold == DSM_HOLD_AWAIT) {
        copy->hold = DSM_HOLD_RUN;
        copy->hold_until_ns = until_ns;
    }
    if (thread && thread->waiting == first + 1) {
        thread->waiting = 0;
        if (is_granted)
            hold_kept(s, thread, until_ns);
        give_up_keeps(s, thread);
        mark_lost(s, thread);
        if (is_granted)
            add_granted(thread, first);
    }
    if (copy && copy->order_head)
        dsm_holder_settle(s, copy);
}

/* The unit's orders wait for the end of its hold or keep. */
void dsm_hold_wait(struct dsm_step *s, struct dsm_copy *copy)
{
    struct dsm_core *core = s->core;

    if (copy->flags & DSM_COPY_F_TIMED)
        return;
    copy->flags |= DSM_COPY_F_TIMED;
    copy->timed_prev = 0;
    copy->timed_next = core->timed;
    if (core->timed)
        ((struct dsm_copy *)dsm_at(core, core->timed))->timed_prev = dsm_ref_of(core, copy);
    core->timed = dsm_ref_of(core, copy);
}

void dsm_hold_forget(struct dsm_step *s, struct dsm_copy *copy)
{
    struct dsm_core *core = s->core;

    if (!(copy->flags & DSM_COPY_F_TIMED))
        return;
    copy->flags &= (uint16_t)~DSM_COPY_F_TIMED;
    if (copy->timed_prev)
        ((struct dsm_copy *)dsm_at(core, copy->timed_prev))->timed_next = copy->timed_next;
    else
        core->timed = copy->timed_next;
    if (copy->timed_next)
        ((struct dsm_copy *)dsm_at(core, copy->timed_next))->timed_prev = copy->timed_prev;
    copy->timed_prev = copy->timed_next = 0;
}

void dsm_hold_on_timer(struct dsm_step *s)
{
    dsm_ref ref = s->core->timed;

    s->core->timer_at_ns = DSM_TIME_NONE;
    while (ref) {
        struct dsm_copy *copy = dsm_at(s->core, ref);

        ref = copy->timed_next; /* settle may take this unit out, never another one */
        if (dsm_hold_end_ns(s, copy) > 0)
            continue;
        if (dsm_step_room(s) < s->core->config.n_ranks + 16) {
            s->core->has_backlog = true;
            return;
        }
        dsm_hold_forget(s, copy);
        dsm_holder_settle(s, copy);
    }
}

void dsm_hold_set_timer(struct dsm_step *s)
{
    struct dsm_core *core = s->core;
    uint64_t at_ns = DSM_TIME_NONE;
    dsm_ref ref = core->timed;

    while (ref) {
        struct dsm_copy *copy = dsm_at(core, ref);
        uint64_t end_ns = last_end_ns(copy); /* may be past: then TIMER is about to come */

        ref = copy->timed_next;
        if (!copy->order_head || end_ns == 0)
            dsm_hold_forget(s, copy);
        else if (end_ns < at_ns)
            at_ns = end_ns;
    }
    if (core->retry_at_ns < at_ns)
        at_ns = core->retry_at_ns;
    if (core->has_backlog)
        at_ns = 0;
    if (at_ns == core->timer_at_ns)
        return;
    core->timer_at_ns = at_ns;
    dsm_emit(s, DSM_ACTION_TIMER)->at_ns = at_ns;
}
