/* SPDX-License-Identifier: BSD-3-Clause */
/* world_impl.h - what the files of the simulated job share. */
#ifndef DSM_TESTS_SIM_WORLD_IMPL_H
#define DSM_TESTS_SIM_WORLD_IMPL_H

#include "core/invariant.h"
#include "tests/sim/world.h"

/* What a frame holds: nothing, bytes being received, or the version of the last write + 1. */
#define SIM_FRAME_ABSENT 0u
#define SIM_FRAME_MIXED  UINT64_MAX
#define SIM_FRAME_ZERO   1u

enum sim_event_kind {
    SIM_EV_DELIVER,
    SIM_EV_RECEIVED,
    SIM_EV_EFFECT,
    SIM_EV_DONE,
    SIM_EV_TIMER,
    SIM_EV_ATTEMPT,
    SIM_EV_FAULT,
    SIM_EV_RESUMED,
    SIM_EV_VIEW,
    SIM_EV_GIVE_UP,
};

/* Something that will happen; for DELIVER also a message in flight. */
struct sim_event {
    uint64_t at_ns, order;
    enum sim_event_kind kind;
    dsm_rank_t rank;
    struct sim_thread *thread;
    struct dsm_action action; /* EFFECT */
    struct dsm_message m;     /* DELIVER, RECEIVED */
    uint64_t *values;         /* page bytes of m, one number a page; or one number, the payload */
    uint64_t unit;            /* DONE; VIEW: who is gone */
    uint32_t n_units;         /* DONE */
    enum dsm_lane lane;
    uint64_t payload_ns;                         /* when its bytes are all here */
    struct sim_event *flight_prev, *flight_next; /* in flight to rank */
    struct sim_event *blocked_next;
    bool is_kept; /* by a blocked channel */
};

struct sim_channel {
    uint64_t last_ns;
    bool is_blocked;
    struct sim_event *blocked_head, *blocked_tail;
};

enum sim_thread_state {
    SIM_THREAD_RUNS,
    SIM_THREAD_WAITS, /* for a unit */
    SIM_THREAD_WOKEN,
    SIM_THREAD_WAITS_LOCK,
    SIM_THREAD_WAITS_COLLECTIVE,
    SIM_THREAD_WAITS_SYNC,
    SIM_THREAD_ENDED,
};

struct sim_thread {
    struct sim_world *world;
    dsm_rank_t rank;
    sim_program program;
    void *user;
    struct dsm_core_thread core_thread;
    enum sim_thread_state state;
    struct sim_op op;
    bool has_op;
    bool has_failed;
    dsm_page_t fault_page, waits_unit;
    uint8_t fault_access;
    uint64_t n_done;
    uint32_t request; /* its number at its core; 0: none yet */
    int error;        /* of its last SIM_OP_SYNC */
    uint64_t value;
    uint64_t op_began_ns;
    const struct sim_op *script; /* of sim_play; own_op for sim_read and sim_write */
    uint32_t n_script;
    struct sim_op own_op;
    struct sim_thread *next, *next_in_queue;
};

struct sim_lock {
    uint64_t id;
    dsm_rank_t rank;
    bool is_lent, is_recalled, is_asked;
    bool is_expected, is_used; /* a recall will come; a thread had it since it was lent */
    struct sim_thread *holder, *queue;
    struct sim_lock *next;
};

#define SIM_ADVICE_MAX 8u
struct sim_rank {
    struct dsm_advice_table advice;
    struct dsm_advice_range advised[SIM_ADVICE_MAX];
    struct dsm_core *core;
    void *memory;
    size_t memory_bytes;
    bool is_dead;
    uint64_t timer_ns;
    uint8_t *mapped;          /* by page: enum dsm_message_access */
    uint64_t *frames;         /* by page */
    uint64_t *effect_ns;      /* by page: when the last effect decided is carried out */
    uint64_t *done_ns;        /* by page: when its DONE is heard */
    struct sim_event *flight; /* under way to it */
    struct sim_thread *collective_thread;
    uint64_t n_collectives; /* entered, of all ranks */
    uint64_t payload;
    uint64_t mailbox[2][64]; /* by parity and round */
};

struct sim_world {
    struct sim_config config;
    struct dsm_placement_table *placement;
    struct sim_rank *ranks;
    const struct dsm_core **cores;
    struct sim_channel **channels;
    uint64_t *last_write; /* by page: version */
    uint64_t n_versions;
    uint32_t n_requests;
    struct sim_thread *threads;
    struct sim_lock *locks;
    uint64_t *fences; /* by lock id: last number lent */
    size_t n_fences;
    struct sim_event **heap;
    size_t n_heap, heap_capacity;
    uint64_t now_ns, n_events, n_steps, n_delivered;
    uint64_t rng;
    uint32_t n_blocked, n_dropped, n_dead;
    bool may_wait;
    const struct sim_event *delivered; /* the message being handed in */
    struct dsm_action_list actions;    /* of one step; copied before anything else is stepped */
    uint64_t n_failures, longest_wait_ns;
    char *transcript, *shown;
    size_t transcript_bytes, transcript_capacity;
    char error[512];
};

/* world.c */
uint64_t sim_pick(struct sim_world *w, const struct sim_delay *d);
struct sim_event *sim_at(struct sim_world *w, uint64_t at_ns, enum sim_event_kind kind,
                         dsm_rank_t rank);
/* An event that was taken out once happens after all, after those of the same time. */
void sim_push_again(struct sim_world *w, struct sim_event *ev);
void sim_fail(struct sim_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_note(struct sim_world *w, const char *line);
void sim_check_page(struct sim_world *w, dsm_page_t page);

/* driver.c: carries out what the cores decide */
int sim_step(struct sim_world *w, dsm_rank_t rank, struct dsm_event *event);
void sim_do_effect(struct sim_world *w, struct sim_event *ev);
void sim_deliver(struct sim_world *w, struct sim_event *ev);
void sim_received(struct sim_world *w, struct sim_event *ev);

/* threads.c */
void sim_attempt(struct sim_world *w, struct sim_thread *t);
void sim_fault(struct sim_world *w, struct sim_thread *t);
void sim_resumed(struct sim_world *w, struct sim_thread *t);
void sim_wake(struct sim_world *w, dsm_rank_t rank, dsm_page_t unit, bool has_failed);
void sim_lock_lent(struct sim_world *w, dsm_rank_t rank, uint64_t id,
                   const struct dsm_message *grant);
void sim_lock_recalled(struct sim_world *w, dsm_rank_t rank, uint64_t id);
void sim_lock_lost(struct sim_world *w, dsm_rank_t rank, uint64_t id);
void sim_sync_done(struct sim_world *w, dsm_rank_t rank, const struct dsm_action *a);
void sim_give_up(struct sim_world *w, struct sim_thread *t, uint64_t op);
void sim_collective_done(struct sim_world *w, dsm_rank_t rank, const struct dsm_action *a);

#endif
