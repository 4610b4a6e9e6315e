/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * world.c - the steps of a world; see world.h. What the steps mean for the drivers of the ranks is
 * in driver.c, the checks are in check.c.
 */
#include "world.h"

#include <string.h>
#include "check.h"
#include "driver.h"
#include "lab.h"

static void add_step(struct step *steps, uint32_t *n, struct step step)
{
    if (*n < WORLD_MAX_STEPS) {
        steps[(*n)++] = step;
    }
}

static void add_thread_steps(const struct lab *lab, uint8_t rank, uint8_t index, struct step *steps,
                             uint32_t *n)
{
    const struct world_thread *thread = &lab->world.ranks[rank].threads[index];
    const struct program *program = &lab->config.programs[rank][index];
    struct step step = {.rank = rank, .index = index};

    switch ((enum thread_state)thread->state) {
    case THREAD_READY:
        if (thread->pc == program->n_ops) {
            return;
        }
        step.kind = STEP_THREAD;
        if (thread->has_op) {
            step.op = thread->op;
            add_step(steps, n, step);
            return;
        }
        struct program_op choices[PROGRAM_MAX_CHOICES];
        uint32_t n_choices =
            program_choices(program->ops[thread->pc], lab->config.n_units, choices);
        for (uint32_t i = 0; i < n_choices; i++) {
            step.op = choices[i];
            add_step(steps, n, step);
        }
        return;
    case THREAD_TRAPPED:
        step.kind = STEP_FAULT;
        add_step(steps, n, step);
        return;
    case THREAD_WOKEN:
        step.kind = STEP_RESUME;
        add_step(steps, n, step);
        return;
    case THREAD_SYNC:
    case THREAD_LOCKING:
        if (driver_can_give_up(lab, rank, index)) {
            add_step(steps, n, (struct step){.kind = STEP_GIVE_UP, .rank = rank, .index = index});
        }
        if (thread->state == THREAD_LOCKING && driver_can_lock(lab, rank, thread->op.a)) {
            step.kind = STEP_THREAD;
            step.op = thread->op;
            add_step(steps, n, step);
        }
        return;
    case THREAD_WAITING:
    case THREAD_COLLECTIVE:
    case THREAD_DROPPING:
        return;
    }
}

static void add_unit_steps(const struct lab *lab, uint8_t rank, struct step *steps, uint32_t *n)
{
    const struct world *world = &lab->world;

    for (uint8_t u = 0; u < lab->config.n_units; u++) {
        const struct world_unit *unit = &world->ranks[rank].units[u];
        if (unit->n_carried_out > 0) {
            add_step(steps, n, (struct step){.kind = STEP_DONE, .rank = rank, .index = u});
        }
        if (unit->n_carried_out < unit->n_effects) {
            add_step(steps, n, (struct step){.kind = STEP_EFFECT, .rank = rank, .index = u});
        }
        if (driver_run_length(lab, rank, u) > 1) {
            add_step(steps, n, (struct step){.kind = STEP_RUN, .rank = rank, .index = u});
        }
        if (world->n_reclaims_left > 0 && unit->access != DSM_ACCESS_NONE) {
            add_step(steps, n, (struct step){.kind = STEP_RECLAIM, .rank = rank, .index = u});
        }
    }
}

static void add_rank_steps(struct lab *lab, uint8_t rank, struct step *steps, uint32_t *n)
{
    const struct world_rank *r = &lab->world.ranks[rank];

    if (lab->world.dead == rank + 1u) {
        return;
    }
    if (lab->world.n_crashes_left > 0) {
        add_step(steps, n, (struct step){.kind = STEP_CRASH, .rank = rank});
    }
    if (lab->world.dead > 0 && (lab->world.has_heard >> rank & 1) == 0) {
        add_step(steps, n, (struct step){.kind = STEP_VIEW, .rank = rank});
    }
    for (uint8_t t = 0; t < lab->config.n_threads; t++) {
        add_thread_steps(lab, rank, t, steps, n);
    }
    add_unit_steps(lab, rank, steps, n);
    for (uint8_t k = 0; k < lab->config.n_locks; k++) {
        if (r->locks[k].is_recalled && r->locks[k].holder == 0) {
            add_step(steps, n, (struct step){.kind = STEP_RETURN, .rank = rank, .index = k});
        }
    }
    if (r->timer_ns <= r->now_ns) {
        add_step(steps, n, (struct step){.kind = STEP_TIMER, .rank = rank});
    }
    if (driver_next_moment(lab, rank) != UINT64_MAX) {
        add_step(steps, n, (struct step){.kind = STEP_TICK, .rank = rank});
    }
}

/*
 * First in, first out per (source, destination, lane): only the oldest of each queue can move.
 * Nobody reads the reply lane of a rank while none of its threads waits: an answer sent there to a
 * rank that does not wait shows up as a deadlock or as a message left over.
 */
static void add_message_steps(const struct lab *lab, struct step *steps, uint32_t *n)
{
    const struct world *world = &lab->world;
    bool is_seen[WORLD_MAX_RANKS][WORLD_MAX_RANKS][DSM_N_LANES] = {{{false}}};

    for (uint32_t i = 0; i < world->n_messages; i++) {
        const struct world_message *m = &world->messages[i];
        if (is_seen[m->from][m->to][m->lane]) {
            continue;
        }
        is_seen[m->from][m->to][m->lane] = true;
        if (m->lane == DSM_LANE_REPLY && !driver_has_waiter(lab, m->to)) {
            continue;
        }
        add_step(steps, n,
                 (struct step){.kind = m->is_receiving ? STEP_RECEIVED : STEP_DELIVER,
                               .rank = m->to,
                               .message = (uint8_t)i});
    }
}

uint32_t world_steps(struct lab *lab, struct step steps[WORLD_MAX_STEPS])
{
    uint32_t n = 0;

    for (uint8_t rank = 0; rank < lab->config.n_ranks; rank++) {
        add_rank_steps(lab, rank, steps, &n);
    }
    add_message_steps(lab, steps, &n);
    return n;
}

static bool take(struct lab *lab, const struct step *step)
{
    switch ((enum step_kind)step->kind) {
    case STEP_THREAD:
        return driver_thread(lab, step->rank, step->index, step->op);
    case STEP_FAULT:
        return driver_fault(lab, step->rank, step->index);
    case STEP_RESUME:
        return driver_resume(lab, step->rank, step->index);
    case STEP_DELIVER:
        return driver_deliver(lab, step->message);
    case STEP_RECEIVED:
        return driver_received(lab, step->message);
    case STEP_EFFECT:
        return driver_effect(lab, step->rank, step->index);
    case STEP_RUN:
        return driver_run(lab, step->rank, step->index);
    case STEP_DONE:
        return driver_done(lab, step->rank, step->index);
    case STEP_TICK:
        lab->world.ranks[step->rank].now_ns = driver_next_moment(lab, step->rank);
        return true;
    case STEP_TIMER:
        return driver_timer(lab, step->rank);
    case STEP_RETURN:
        return driver_return(lab, step->rank, step->index);
    case STEP_GIVE_UP:
        return driver_give_up(lab, step->rank, step->index);
    case STEP_RECLAIM:
        lab->world.n_reclaims_left--;
        lab->world.ranks[step->rank].units[step->index].access = DSM_ACCESS_NONE;
        return true;
    case STEP_CRASH:
        driver_crash(lab, step->rank);
        return true;
    case STEP_VIEW:
        return driver_view(lab, step->rank);
    }
    return lab_violated(lab, "no such step");
}

bool world_take(struct lab *lab, const struct step *step)
{
    return take(lab, step) && check_mappings(lab);
}

bool world_is_finished(const struct lab *lab)
{
    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        for (uint32_t t = 0; t < lab->config.n_threads; t++) {
            const struct world_thread *thread = &lab->world.ranks[rank].threads[t];
            /* What a dead rank took with it is not always seen: drivers end such waits by their
             * timeout. */
            if (thread->state == THREAD_WAITING && lab->world.dead > 0) {
                continue;
            }
            if (thread->state != THREAD_READY ||
                thread->pc != lab->config.programs[rank][t].n_ops) {
                return false;
            }
        }
    }
    return true;
}
