/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * world.h - a simulated job: N real cores, and everything round them made up. Virtual clock, lanes
 * that keep the order per (source, destination, lane) and nothing else, effects that take time,
 * threads that run programs. All of it follows from the seed.
 *
 * A page's content is a version number. Every write makes a new one; every read must return that of
 * the last write. Invariants are checked after every step. The first thing that goes wrong stops
 * the world and is kept in `error`.
 */
#ifndef DSM_TESTS_SIM_WORLD_H
#define DSM_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/core.h"

#define SIM_OP_PAGES 4

enum sim_op_kind {
    SIM_OP_ACCESS, /* one instruction: all its pages must be there at the same moment */
    SIM_OP_LOCK,
    SIM_OP_UNLOCK,
    SIM_OP_COLLECTIVE, /* of all ranks: collective, root */
    SIM_OP_SYNC,       /* an object: id, sync_kind, sync_op, a, b; patience_ns */
    SIM_OP_PREFETCH,   /* pages[0], n_pages; writes[0] */
    SIM_OP_END,
};

struct sim_op {
    enum sim_op_kind kind;
    uint32_t n_pages;
    dsm_page_t pages[SIM_OP_PAGES];
    bool writes[SIM_OP_PAGES];
    uint64_t ip;
    uint64_t id; /* lock, or object */
    enum dsm_sync_kind sync_kind;
    enum dsm_sync_op sync_op;
    uint64_t a, b;
    uint64_t patience_ns; /* 0: waits to the end */
    enum dsm_collective_kind collective;
    uint32_t root;
};

struct sim_world;
struct sim_thread;

/* Says what the thread does next. */
typedef void (*sim_program)(struct sim_world *w, struct sim_thread *t, struct sim_op *op_out);

struct sim_delay {
    uint64_t min_ns, max_ns;
};

struct sim_config {
    uint32_t n_ranks;
    uint64_t n_pages;
    uint64_t seed;
    uint64_t frame_limit; /* of every rank; 0: none */
    uint64_t hold_ns;     /* as in struct dsm_core_config */
    uint32_t prefetch_window;
    uint32_t ahead_bytes;
    bool has_migration; /* homes look for units that migrate */
    bool has_advice;    /* each rank gives some about a few pages */
    struct sim_delay net, effect, done, resume, think, payload;
    bool has_runs; /* bytes of adjacent units leave in one grant, now and then */
    bool is_transcribed;
    bool is_unchecked; /* no invariants after every step: for very many ranks */
};

/* Filled with delays for a random run. */
void sim_config_init(struct sim_config *config, uint32_t n_ranks, uint64_t n_pages, uint64_t seed);
/* All delays 1,000 ns, so that a transcript follows from the program alone; no hold. */
void sim_config_init_steady(struct sim_config *config, uint32_t n_ranks, uint64_t n_pages);

struct sim_world *sim_open(const struct sim_config *config);
void sim_close(struct sim_world *w);
/* Before anything runs. The world owns the table. */
struct dsm_placement_table *sim_placement(struct sim_world *w);

struct sim_thread *sim_thread_add(struct sim_world *w, dsm_rank_t rank, sim_program program,
                                  void *user);
void *sim_thread_user(const struct sim_thread *t);
dsm_rank_t sim_thread_rank(const struct sim_thread *t);
/* Of its last SIM_OP_SYNC. A thread goes on after every error but PEER and GONE. */
int sim_thread_error(const struct sim_thread *t);
uint64_t sim_thread_value(const struct sim_thread *t);
uint64_t sim_thread_ops_done(const struct sim_thread *t);

/* Runs until nothing is left to happen, something is wrong, or the virtual time is over. False when
 * something is wrong; sim_error says what. A thread that waits when nothing is left is wrong. */
bool sim_run(struct sim_world *w, uint64_t for_ns);
const char *sim_error(const struct sim_world *w);

/* ---- the vocabulary of scenarios */
/* One access by a thread of its own, from now on. */
struct sim_thread *sim_read(struct sim_world *w, dsm_rank_t rank, dsm_page_t page);
struct sim_thread *sim_write(struct sim_world *w, dsm_rank_t rank, dsm_page_t page);
/* The operations one after the other, by a thread of its own. ops is kept by the caller. */
struct sim_thread *sim_play(struct sim_world *w, dsm_rank_t rank, const struct sim_op *ops,
                            uint32_t n_ops);
void sim_prefetch(struct sim_world *w, dsm_rank_t rank, dsm_page_t first, uint64_t n_pages,
                  uint8_t access);
void sim_prefetch_by(struct sim_world *w, dsm_rank_t rank, dsm_page_t first, uint64_t n_pages,
                     uint8_t access, uint64_t deadline_ns);
void sim_advise(struct sim_world *w, dsm_rank_t rank, dsm_page_t first, uint64_t n_pages,
                enum dsm_advice_kind kind);
/* 0, or BUSY. */
int sim_pin(struct sim_world *w, dsm_rank_t rank, dsm_page_t page, uint8_t access,
            uint64_t until_ns);
void sim_unpin(struct sim_world *w, dsm_rank_t rank, dsm_page_t page);
/* Begins a drop of the range, managed by the rank. */
void sim_drop(struct sim_world *w, dsm_rank_t rank, dsm_page_t first, uint64_t n_pages,
              uint64_t serial);
uint32_t sim_drops_done(const struct sim_world *w);
/* What is sent there waits until it is unblocked. */
void sim_block(struct sim_world *w, dsm_rank_t from, dsm_rank_t to, enum dsm_lane lane);
void sim_unblock(struct sim_world *w, dsm_rank_t from, dsm_rank_t to, enum dsm_lane lane);
/* The kernel drops a mapping by itself. */
void sim_reclaim(struct sim_world *w, dsm_rank_t rank, dsm_page_t page);
/* The rank is gone: its threads stop, what it sent and is to get vanishes, all others learn it. */
void sim_kill(struct sim_world *w, dsm_rank_t rank);
/* From now on a thread that waits when nothing is left to happen is no error. */
void sim_allow_waiting(struct sim_world *w);
/* A message that the rank did not send. Returns what the step of `to` answered. */
int sim_forge(struct sim_world *w, dsm_rank_t to, const struct dsm_message *m);
void sim_message_init(const struct sim_world *w, struct dsm_message *m, dsm_rank_t from,
                      enum dsm_message_type type, uint64_t object);
bool sim_is_waiting(const struct sim_thread *t);
bool sim_has_failed(const struct sim_thread *t);         /* LOST or MEMORY_FULL */
uint64_t sim_failures(const struct sim_world *w);        /* threads that failed so */
uint64_t sim_longest_wait_ns(const struct sim_world *w); /* of a thread for its instruction */

/* What was decided since the last call, one line each. */
const char *sim_transcript(struct sim_world *w);

uint64_t sim_now_ns(const struct sim_world *w);
const struct dsm_core *sim_core(const struct sim_world *w, dsm_rank_t rank);
uint64_t sim_steps(const struct sim_world *w);
uint64_t sim_messages(const struct sim_world *w); /* delivered, type by type in the counters */
uint64_t *sim_rng(struct sim_world *w);

#endif
