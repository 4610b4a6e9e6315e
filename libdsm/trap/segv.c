/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * segv.c - the backend of every kernel: SIGSEGV and mprotect on the app view.
 *
 * mprotect splits mappings, and a process has vm.max_map_count of them, which its malloc and its
 * threads need too. So the backend keeps a budget, a share of what was left when a view was
 * attached, and before it would go over, it drops access on a cold piece, which merges mappings.
 * Less access than the caller granted is always safe: the next access traps, the caller finds that
 * its state allows it, and maps it again.
 */
#define _GNU_SOURCE
#include "trap/trap.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/mutex.h"
#include "trap/fork.h"
#include "trap/handler.h"
#include "trap/map_count.h"
#include "trap/modes.h"
#include "trap/raw.h"
#include "trap/views.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE_BYTES         4096ul
#define BUDGET_PERCENT     50
#define BUDGET_MIN         256 /* mappings; an instruction can need 34 pages, each with two edges */
#define BUDGET_MIN_ALLOWED 64  /* below which nothing is left to give up */

struct dsm_trap {
    struct dsm_trap_config config;
    struct dsm_trap_sink sink;
    struct dsm_streaks streaks;
    struct dsm_mutex lock; /* guards the rest; held with signals blocked */
    uint64_t budget;       /* mappings that all views together may take */
    struct dsm_modes modes;
};

/* A handler that interrupts the holder and touches the region would wait for itself. */
static dsm_sigmask_t enter(struct dsm_trap *trap)
{
    dsm_sigmask_t all = DSM_SIGMASK_ALL, before = 0;
    dsm_raw_sigprocmask(SIG_SETMASK, &all, &before);
    dsm_mutex_lock(&trap->lock);
    return before;
}

static void leave(struct dsm_trap *trap, dsm_sigmask_t before)
{
    dsm_mutex_unlock(&trap->lock);
    dsm_raw_sigprocmask(SIG_SETMASK, &before, NULL);
}

static long protect(struct dsm_trap *trap, const struct dsm_mode_range *range, enum dsm_mode mode)
{
    static const int protections[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};
    uintptr_t addr = range->view->addr + range->first * PAGE_BYTES;
    size_t len = range->n_pages * PAGE_BYTES;
    long result = dsm_raw_mprotect(addr, len, protections[mode]);
    if (result == 0)
        dsm_modes_set(&trap->modes, range, mode);
    return result;
}

/* The caller's state allows more than the mapping from here on. */
static long give_up(struct dsm_trap *trap, const struct dsm_mode_range *range)
{
    dsm_streak_revoked(&trap->streaks, range->view->addr + range->first * PAGE_BYTES,
                       range->n_pages * PAGE_BYTES);
    return protect(trap, range, DSM_MODE_NONE);
}

/* Everything goes: one mapping a view is left, and no split is needed on the way. */
static void drop_all(struct dsm_trap *trap)
{
    for (unsigned i = 0; i < DSM_TRAP_MAX_VIEWS; i++) {
        struct dsm_mode_view *view = &trap->modes.views[i];
        struct dsm_mode_range all = {view, 0, view->n_pages};
        if (view->n_pages > 0)
            give_up(trap, &all);
    }
}

/* Gives cold pieces up until growth mappings more fit into the budget; keep is what they are for.
 */
static void make_room(struct dsm_trap *trap, const struct dsm_mode_range *keep, enum dsm_mode mode)
{
    for (;;) {
        int64_t growth = dsm_modes_growth(keep, mode);
        if (growth <= 0 || trap->modes.n_mappings + (uint64_t)growth <= trap->budget)
            return;
        struct dsm_mode_range cold;
        if (!dsm_modes_find_cold(&trap->modes, keep, &cold) || give_up(trap, &cold) != 0) {
            drop_all(trap);
            return;
        }
    }
}

/*
 * ENOMEM means that the program itself has come to the limit since the budget was made: the budget
 * shrinks below what is in use, which gives mappings back to both.
 */
static int set_mode(struct dsm_trap *trap, const struct dsm_mode_range *range, enum dsm_mode mode)
{
    for (;;) {
        make_room(trap, range, mode);
        long result = protect(trap, range, mode);
        if (result == 0)
            return 0;
        if (result != -ENOMEM)
            return DSM_E_SYSTEM;
        if (trap->budget <= BUDGET_MIN_ALLOWED)
            break;
        trap->budget -= trap->budget / 4;
        if (trap->modes.n_mappings > trap->budget)
            dsm_log(DSM_LOG_WARN,
                    "trap segv: the program needs the mappings that vm.max_map_count leaves: "
                    "keeping %lu from now on",
                    (unsigned long)trap->budget);
    }
    drop_all(trap);
    return protect(trap, range, mode) == 0 ? 0 : DSM_E_LIMIT;
}

static int set_modes(struct dsm_trap *trap, uintptr_t addr, size_t len, enum dsm_mode mode)
{
    dsm_sigmask_t before = enter(trap);
    struct dsm_mode_range range = dsm_modes_range(&trap->modes, addr, len);
    int error = range.view ? set_mode(trap, &range, mode) : DSM_E_RANGE;
    leave(trap, before);
    return error;
}

static int segv_map_read(struct dsm_trap *trap, uintptr_t addr, size_t len)
{
    return set_modes(trap, addr, len, DSM_MODE_READ);
}

static int segv_map_write(struct dsm_trap *trap, uintptr_t addr, size_t len)
{
    return set_modes(trap, addr, len, DSM_MODE_WRITE);
}

/*
 * Taking access away must not fail. Where splitting is refused to the last, the whole view goes:
 * its ends are ends of mappings already.
 */
static int take_away(struct dsm_trap *trap, const struct dsm_mode_range *range, enum dsm_mode mode)
{
    if (set_mode(trap, range, mode) == 0)
        return 0;
    struct dsm_mode_range all = {range->view, 0, range->view->n_pages};
    return give_up(trap, &all) == 0 ? 0 : DSM_E_SYSTEM;
}

/* Only the pages that are writable now: those given up stay without access. */
static int segv_downgrade(struct dsm_trap *trap, uintptr_t addr, size_t len)
{
    dsm_streak_revoked(&trap->streaks, addr, len); /* first: the traps may come at once */
    dsm_sigmask_t before = enter(trap);
    struct dsm_mode_range range = dsm_modes_range(&trap->modes, addr, len);
    int error = range.view ? 0 : DSM_E_RANGE;
    size_t end = range.first + range.n_pages;
    for (size_t at = range.first; error == 0 && at < end;) {
        const uint8_t *modes = range.view->modes;
        size_t next = at;
        while (next < end && modes[next] == DSM_MODE_WRITE)
            next++;
        if (next > at) {
            struct dsm_mode_range run = {range.view, at, next - at};
            error = take_away(trap, &run, DSM_MODE_READ);
        }
        at = next + (next == at);
    }
    leave(trap, before);
    return error;
}

static int segv_unmap(struct dsm_trap *trap, uintptr_t addr, size_t len)
{
    dsm_streak_revoked(&trap->streaks, addr, len); /* first: the traps may come at once */
    dsm_sigmask_t before = enter(trap);
    struct dsm_mode_range range = dsm_modes_range(&trap->modes, addr, len);
    int error = range.view ? take_away(trap, &range, DSM_MODE_NONE) : DSM_E_RANGE;
    leave(trap, before);
    return error;
}

static int segv_probe(char *why, size_t why_bytes)
{
    (void)why, (void)why_bytes;
    return 0; /* signals and mprotect are everywhere */
}

static int segv_open(const struct dsm_trap_config *config, struct dsm_trap **trap_out)
{
    struct dsm_trap *trap = calloc(1, sizeof *trap);
    if (!trap)
        return DSM_E_NOMEM;
    trap->config = *config;
    trap->sink = (struct dsm_trap_sink){
        .config = &trap->config, .streaks = &trap->streaks, .signal = SIGSEGV, .code = SEGV_ACCERR};
    int error = dsm_handler_start(SIGSEGV);
    if (error != 0)
        goto free_trap;
    error = dsm_handler_start(SIGBUS); /* a refused access ends as SIGBUS, with every backend */
    if (error != 0)
        goto stop_segv;
    *trap_out = trap;
    return 0;
stop_segv:
    dsm_handler_stop(SIGSEGV);
free_trap:
    free(trap);
    return error;
}

/* Counts the mappings of the process, which must not grow between here and the end of attach. */
static int make_budget(struct dsm_trap *trap)
{
    uint32_t percent = trap->config.map_budget_percent;
    struct dsm_map_count count;
    dsm_map_count_read(&count);
    /* Ours, and the one that is being attached, are not the program's. */
    uint64_t others =
        count.in_use > trap->modes.n_mappings + 1 ? count.in_use - trap->modes.n_mappings - 1 : 0;
    uint64_t left = count.limit > others ? count.limit - others : 0;
    uint64_t budget = left * (percent ? percent : BUDGET_PERCENT) / 100;
    if (budget < BUDGET_MIN) {
        dsm_log(DSM_LOG_ERROR,
                "trap segv: vm.max_map_count is %lu and %lu mappings are in use: a share of %lu is "
                "too small, %u are needed (raise it: sysctl -w vm.max_map_count=262144)",
                (unsigned long)count.limit, (unsigned long)others, (unsigned long)budget,
                BUDGET_MIN);
        return DSM_E_LIMIT;
    }
    trap->budget = budget;
    return 0;
}

static int segv_attach(struct dsm_trap *trap, void *app, void *frame, int memfd, size_t len)
{
    (void)memfd;
    uintptr_t addr = (uintptr_t)app;
    int error = make_budget(trap);
    if (error != 0)
        return error;
    error = dsm_view_advise(app, frame, len);
    if (error != 0)
        return error;
    dsm_sigmask_t before = enter(trap);
    error = dsm_modes_add(&trap->modes, addr, len);
    leave(trap, before);
    if (error != 0)
        return error;
    /* Known before it traps: another thread may touch it at once. */
    error = dsm_view_add(addr, len, &trap->sink);
    if (error != 0)
        goto remove_modes;
    if (dsm_raw_mprotect(addr, len, PROT_NONE) != 0) {
        error = DSM_E_SYSTEM;
        goto remove_view;
    }
    return 0;
remove_view:
    dsm_view_remove(addr, len);
remove_modes:
    dsm_modes_remove(&trap->modes, addr);
    return error;
}

static int segv_detach(struct dsm_trap *trap, void *app, size_t len)
{
    uintptr_t addr = (uintptr_t)app;
    int error = segv_unmap(trap, addr, len);
    int view_error = dsm_view_remove(addr, len);
    dsm_sigmask_t before = enter(trap);
    dsm_modes_remove(&trap->modes, addr);
    leave(trap, before);
    return error != 0 ? error : view_error;
}

static int segv_refuse(struct dsm_trap *trap, uintptr_t addr, uint32_t thread)
{
    (void)trap, (void)addr, (void)thread;
    return 0;
}

static void segv_after_fork_child(struct dsm_trap *trap)
{
    dsm_fork_child(&trap->sink);
}

static void segv_close(struct dsm_trap *trap)
{
    dsm_handler_stop(SIGBUS);
    dsm_handler_stop(SIGSEGV);
    free(trap);
}

const struct dsm_trap_ops dsm_trap_segv = {
    .name = "segv",
    .probe = segv_probe,
    .open = segv_open,
    .attach = segv_attach,
    .detach = segv_detach,
    .map_read = segv_map_read,
    .map_write = segv_map_write,
    .downgrade = segv_downgrade,
    .unmap = segv_unmap,
    .refuse = segv_refuse,
    .after_fork_child = segv_after_fork_child,
    .close = segv_close,
};
