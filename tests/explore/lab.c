/* SPDX-License-Identifier: BSD-3-Clause */
/* lab.c - see lab.h. */
#include "lab.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/errors.h"
#include "driver.h"
#include "show.h"

/* What passes between events; short beside a hold, which ends by a tick and by nothing else. */
#define INTERVAL_NS (1ull << 36)

#define CORE_MEMORY_FIRST (16u << 10)
#define CORE_MEMORY_LAST  (16u << 20)

/* Signal handlers have no other way to their place of return. */
static sigjmp_buf crash_return;
static volatile sig_atomic_t is_in_core;

static void on_crash(int signal_number)
{
    if (is_in_core) {
        siglongjmp(crash_return, signal_number);
    }
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void catch_crashes(void)
{
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_NODEFER};

    sigaction(SIGABRT, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
}

static struct dsm_core_config core_config(struct lab *lab, uint32_t rank)
{
    return (struct dsm_core_config){
        .self = rank,
        .n_ranks = lab->config.n_ranks,
        .epoch = 1,
        .job = 7,
        .n_pages = (uint64_t)lab->config.n_units * lab->config.unit_pages,
        .frame_limit = lab->config.frame_limit,
        .seed = 1,
        .hold_ns = LAB_HOLD_NS,
        .hold_cap_ns =
            LAB_HOLD_NS, /* no doubling: how long a hold is must not matter, see digest.h */
        .full_after_ns = lab->config.may_be_full ? LAB_HOLD_NS : DSM_FULL_NEVER,
        .prefetch_window = 4,
        .migratory_signs = lab->config.has_migration,
        .placement = lab->placement,
        .advice = &lab->advice[rank],
        .memory_bytes = lab->core_bytes,
        .names_max = 4 * WORLD_MAX_LOCKS, /* little to copy */
    };
}

static int place(struct lab *lab)
{
    const struct world_config *config = &lab->config;
    struct dsm_placement_entry entry = {
        .first = 0,
        .n_pages = (uint64_t)config->n_units * config->unit_pages,
        .unit_pages = config->unit_pages,
        .kind = config->placement,
        .rank = 0,
        .block_pages = config->unit_pages,
    };
    int error = dsm_placement_init(&lab->placement, config->n_ranks);

    return error != 0 ? error : dsm_placement_add(lab->placement, &entry);
}

static void advise(struct lab *lab)
{
    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        uint32_t first = lab->config.is_last_advised ? lab->config.n_units - 1 : 0;

        (void)dsm_advice_grow(&lab->advice[rank], &lab->advised[rank], 1);
        dsm_advice_set(&lab->advice[rank], (dsm_page_t)first * lab->config.unit_pages,
                       (uint64_t)(lab->config.n_units - first) * lab->config.unit_pages,
                       (enum dsm_advice_kind)lab->config.advice[rank]);
    }
}

/* The smallest memory that the core takes: states are copied often. */
static int size_cores(struct lab *lab)
{
    for (lab->core_bytes = CORE_MEMORY_FIRST; lab->core_bytes <= CORE_MEMORY_LAST;
         lab->core_bytes *= 2) {
        struct dsm_core_config config = core_config(lab, 0);
        size_t bytes = dsm_core_memory_bytes(&config);
        void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        struct dsm_core *core;
        if (memory == MAP_FAILED) {
            return DSM_E_NOMEM;
        }
        int error = dsm_core_init(memory, &config, &core);
        munmap(memory, bytes);
        if (error != DSM_E_NOMEM) {
            return error;
        }
    }
    return DSM_E_NOMEM;
}

static int start_core(struct lab *lab, uint32_t rank)
{
    struct dsm_core_config config = core_config(lab, rank);
    size_t bytes = dsm_core_memory_bytes(&config);

    if (lab->memories[rank] == NULL) {
        void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
            return DSM_E_NOMEM;
        }
        lab->memories[rank] = memory;
    } else {
        memset(lab->memories[rank], 0, bytes);
    }
    return dsm_core_init(lab->memories[rank], &config, &lab->cores[rank]);
}

int world_start(struct lab *lab)
{
    memset(&lab->world, 0, sizeof lab->world);
    lab->violation[0] = '\0';
    lab->world.n_reclaims_left = lab->config.n_reclaims;
    lab->world.n_crashes_left = lab->config.n_crashes;
    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        int error = start_core(lab, rank);
        if (error != 0) {
            return error;
        }
        lab->world.ranks[rank].now_ns = 1;
        lab->world.ranks[rank].timer_ns = UINT64_MAX;
    }
    return 0;
}

int lab_open(const struct world_config *config, struct lab **lab_out)
{
    struct lab *lab = calloc(1, sizeof *lab);
    int error;

    if (lab == NULL) {
        return DSM_E_NOMEM;
    }
    lab->config = *config;
    catch_crashes();
    advise(lab);
    if ((error = place(lab)) != 0 || (error = size_cores(lab)) != 0 ||
        (error = world_start(lab)) != 0) {
        lab_close(lab);
        return error;
    }
    lab->actions.capacity = dsm_core_max_actions(lab->cores[0]);
    lab->actions.items = calloc(lab->actions.capacity, sizeof lab->actions.items[0]);
    if (lab->actions.items == NULL) {
        lab_close(lab);
        return DSM_E_NOMEM;
    }
    *lab_out = lab;
    return 0;
}

void lab_close(struct lab *lab)
{
    struct dsm_core_config config = core_config(lab, 0);

    for (uint32_t rank = 0; rank < lab->config.n_ranks; rank++) {
        if (lab->memories[rank] != NULL) {
            munmap(lab->memories[rank], dsm_core_memory_bytes(&config));
        }
    }
    dsm_placement_close(lab->placement);
    free(lab->actions.items);
    free(lab);
}

/*
 * Some time passes after an event with which a hold may have begun, so that holds end one by one,
 * in the order in which they began; but never so much that another one ends.
 */
static void pass_time(struct lab *lab, uint32_t rank, const struct dsm_event *event)
{
    struct world_rank *r = &lab->world.ranks[rank];
    bool may_have_begun = event->type == DSM_EVENT_FAULT || event->type == DSM_EVENT_RESUMED ||
                          event->type == DSM_EVENT_PIN;

    for (uint32_t i = 0; i < lab->actions.n; i++) {
        may_have_begun |= lab->actions.items[i].type == DSM_ACTION_WAKE;
    }
    if (may_have_begun) {
        uint64_t room_ns = (driver_next_moment(lab, rank) - r->now_ns) / 2;
        assert(room_ns > 0);
        r->now_ns += room_ns < INTERVAL_NS ? room_ns : INTERVAL_NS;
    }
}

bool lab_core_step(struct lab *lab, uint32_t rank, const struct dsm_event *event)
{
    struct dsm_event timed = *event;
    int crash, error;

    timed.now_ns = lab->world.ranks[rank].now_ns;
    lab->actions.n = 0;
    if (lab->trace != NULL) {
        show_event(lab, rank, &timed);
    }
    crash = sigsetjmp(crash_return, 0);
    if (crash != 0) {
        is_in_core = 0;
        return lab_violated(lab, "the core of rank %u %s", rank,
                            crash == SIGABRT ? "failed an assertion" : "crashed");
    }
    is_in_core = 1;
    error = dsm_core_step(lab->cores[rank], &timed, &lab->actions);
    is_in_core = 0;
    if (lab->trace != NULL) {
        show_actions(lab, rank);
    }
    if (error != 0 && !(error == DSM_E_BUSY && event->type == DSM_EVENT_PIN)) {
        return lab_violated(lab, "the core of rank %u answers %s", rank, dsm_error_name(error));
    }
    pass_time(lab, rank, event);
    return true;
}

bool lab_violated(struct lab *lab, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(lab->violation, sizeof lab->violation, format, args);
    va_end(args);
    return false;
}

size_t lab_world_bytes(const struct world *world)
{
    return offsetof(struct world, messages) + world->n_messages * sizeof world->messages[0];
}
