/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver.h - feeds events to the core and carries out its actions.
 *
 * One lock guards the core and everything the core's actions touch. It is taken with signals
 * blocked (or inside the fault handler, where they are) and held for a step and its actions:
 * mapping calls and queueing sends, never waiting, never flushing sockets. Lock order: a
 * connection's read lock, then this lock, then a connection's send lock.
 *
 * Functions marked (locked) are called with the lock held.
 */
#ifndef DSM_RUNTIME_DRIVER_H
#define DSM_RUNTIME_DRIVER_H

#include <dsm/dsm.h>
#include "base/mutex.h"
#include "core/core.h"
#include "net/net.h"
#include "proto/profile.h"
#include "runtime/hot_waits.h"
#include "runtime/region.h"
#include "runtime/thrash.h"
#include "runtime/thread.h"
#include "trap/trap.h"

/* ---- waiting ------------------------------------------------------------------------------- */

enum dsm_wait_state {
    DSM_WAIT_SPINNING,
    DSM_WAIT_SLEEPING,
    DSM_WAIT_READING, /* this waiter reads the network for everybody */
    DSM_WAIT_DONE,
};

/* One thread's wait, on its stack. */
struct dsm_waiter {
    _Atomic uint32_t word; /* enum dsm_wait_state; the futex */
    int error;             /* valid once DONE */
    dsm_rank_t rank;       /* who is to blame for error, or DSM_RANK_NONE */
    struct dsm_waiter *next, *prev;
    struct dsm_thread *thread;
    struct dsm_waiter *outer; /* the wait of the same thread that a signal interrupted */
    bool in_handler;          /* signals stay blocked throughout */
    int wake_fd;              /* an eventfd to wake it by instead of the futex; -1: none */
    dsm_page_t unit;          /* page waits: the unit; else DSM_PAGE_NONE */
    dsm_rank_t served_by;     /* page waits, profiled: who granted it, or DSM_RANK_NONE */
    _Atomic bool is_blocked;  /* it sleeps in the network */
    /* Since when it sleeps with the program's signals let through; 0: it does not. */
    _Atomic uint64_t open_since_ns;
    _Atomic bool is_away; /* a signal handler keeps its thread; set under the driver's lock */
};

/*
 * The uffd backend: what is kept for a faulting thread, since nobody waits for it on a stack. A
 * thread has one fault at most, so the table is indexed by kernel thread id (below 2^22, the
 * kernel's own limit); only what is touched of it costs memory.
 */
struct dsm_async_fault {
    struct dsm_async_fault *next; /* in driver->async_faults while under way */
    struct dsm_core_thread thread;
    bool is_active, is_write;
    bool was_refused; /* its last fault, at this unit, could not be served */
    dsm_page_t unit;
    uintptr_t addr, ip;
    uint32_t tid;
    uint64_t deadline_ns;
    uint64_t start_ns;
    enum dsm_profile_kind kind; /* profiled, like the next */
    dsm_rank_t served_by;
};
#define DSM_TID_LIMIT (1u << 22)

struct dsm_collective;
struct dsm_locks;
struct dsm_heap;
struct dsm_bell;
struct dsm_sync;
struct dsm_distribute;
struct dsm_work;

/* Everything the driver counts beyond the core's counters; under the lock. */
struct dsm_driver_stats {
    uint64_t fetched_bytes, served_bytes, messages_received;
    uint64_t lock_acquires; /* those that went through the slow path */
    uint64_t lock_timeouts;
    uint64_t barriers;
    uint64_t sync_calls[DSM_SYNC_N_KINDS]; /* on synchronisation objects, and how long they took */
    struct dsm_histogram sync_wait[DSM_SYNC_N_KINDS];
    struct dsm_histogram fault_latency, lock_wait, barrier_wait;
    uint64_t fault_read_ns, fault_write_ns;
    uint64_t work_ns;
    uint64_t n_resting, resting_since_ns; /* threads without work; 0: not all of them are */
    /* Of the threads that use the region: how many there are, and the sum of the times when those
     * that have ended did so minus the times when each began. */
    uint64_t n_threads;
    int64_t thread_ns;
};

/* A unit above one chunk on its way out. */
struct dsm_bulk_send {
    bool is_used;
    uint8_t lane;
    dsm_rank_t to;
    uint32_t at; /* bytes queued so far */
    struct dsm_message message;
};
#define DSM_BULK_SENDS 64

/*
 * Units that were fetched ahead and that nobody waits for yet: mapped together, when the batch of
 * messages they came with is over, or when the run breaks, or when a thread faults.
 */
struct dsm_lazy_maps {
    dsm_page_t first;
    uint32_t unit_pages, n_units;
    bool is_write;
};

/* Room for the actions of several steps: effects are answered while the list is worked off, and
 * carrying an action out may step the core again a few times. */
#define DSM_ACTION_LIST_STEPS 16

struct dsm_driver_config {
    dsm_rank_t self;
    uint32_t n_ranks;
    uint32_t n_local_ranks; /* on this host */
    uint32_t epoch;
    uint32_t job;
    uint64_t mem_max_bytes;
    int64_t spin_us; /* -1: adaptive */
    uint32_t ahead_bytes;
    bool is_never_migratory;
    double fault_timeout_s;
    bool go_on_after_loss; /* DSM_ON_LOSS=continue */
};

struct dsm_driver {
    struct dsm_mutex lock;
    struct dsm_driver_config config;
    struct dsm_region *region;
    struct dsm_placement_table *placement;
    struct dsm_advice_table advice;
    struct dsm_core *core;
    void *core_memory;
    size_t core_memory_bytes;
    struct dsm_action_list actions;
    bool is_running; /* actions are being carried out: further events append to the list */
    dsm_page_t
        faulting_unit; /* the unit whose fault is being stepped, before its waiter is listed */
    bool is_fault_answered;
    int fault_error;
    dsm_rank_t fault_rank;
    bool may_put_off;     /* mappings that nobody waits for may wait for the end of the batch */
    uint8_t *receive_dst; /* where the core wants the payload of the message being stepped */

    const struct dsm_trap_ops *trap_ops;
    struct dsm_trap *trap;
    const struct dsm_net_ops *net_ops; /* NULL in a job of one */
    struct dsm_net *net;
    _Atomic bool has_unsent; /* something was queued since the last flush */

    struct dsm_waiter *waiting; /* all waits of this process, oldest first */
    struct dsm_waiter *reader;  /* the one that reads, or NULL */
    bool is_claimed;            /* the network is claimed for waiting threads */
    _Atomic uint64_t crowded_until_ns, crowded_span_ns; /* no polling until then; see waiters.c */
    struct dsm_async_fault *async_faults;               /* under way */
    struct dsm_async_fault *async_table; /* DSM_TID_LIMIT entries; NULL but for uffd */
    int async_wake_fd;
    _Atomic uint32_t n_threads; /* threads that use the region */
    uint32_t n_processors;
    _Atomic uint64_t recent_wait_ns; /* smoothed length of waits */

    _Atomic uint64_t timer_at_ns; /* the earlier of the two below; UINT64_MAX: none */
    uint64_t core_timer_at_ns;    /* what the core asked for, and what locks did */
    uint64_t locks_timer_at_ns;
    void (*arm_timer)(void *user, uint64_t at_ns);
    void (*wake_service)(void *user); /* the heap or the bell has something to answer */
    void *service;

    struct dsm_locks *locks;
    struct dsm_sync *sync;
    struct dsm_distribute *distribute;
    struct dsm_collective *collective;
    struct dsm_heap *heap;
    struct dsm_bell *bell;
    struct dsm_work *work; /* NULL: not that kind of program */
    struct dsm_driver_stats stats;
    struct dsm_thrash *thrash;
    struct dsm_trouble trouble; /* to be told */
    bool has_trouble;
    struct dsm_hot_waits hot_waits;
    struct dsm_profile *profile; /* NULL: nobody asked for one */
    void (*wake_profile)(void *service);
    dsm_page_t cause_unit; /* profiled: the last message about a page, and for whom it was */
    dsm_rank_t cause_rank;
    struct dsm_bulk_send bulk[DSM_BULK_SENDS];
    struct dsm_lazy_maps lazy;
    bool has_losses;
    uint64_t *dead_ranks; /* bit set */
    _Atomic bool is_finalizing;
    _Atomic bool is_closed;
    char loss_text[256]; /* the first loss, for messages */
};

/* Before trap and net exist. Errors: NOMEM, INVAL. */
int dsm_driver_open(struct dsm_driver *driver, const struct dsm_driver_config *config,
                    struct dsm_region *region);
/* What the uffd backend needs besides. Errors: NOMEM, SYSTEM. */
int dsm_driver_open_async(struct dsm_driver *driver);
/* After trap and net are closed. */
void dsm_driver_close(struct dsm_driver *driver);

/* The tables to give to trap and net; what a lost peer means (on_lost) is for the caller to say. */
enum dsm_fault_result dsm_driver_on_fault(void *driver, const struct dsm_fault *fault);
void dsm_driver_trap_wait(void *driver, int uffd_fd);
void dsm_driver_net_handler(struct dsm_driver *driver, struct dsm_net_handler *handler_out);

/* Steps the core and carries out what it decides. 0 or DSM_E_PROTO for an event that is a message a
 * correct peer would not have sent. (locked) */
int dsm_driver_step(struct dsm_driver *driver, const struct dsm_event *event);
/* Queues a message that the core knows nothing of (HEAP_*, RING) to another rank.
 * Signal-handler safe. */
void dsm_driver_send(struct dsm_driver *driver, dsm_rank_t to, enum dsm_lane lane,
                     struct dsm_message *message);
/* Of the net handler: a payload given to send has left, or never will. */
void dsm_driver_on_sent(void *driver, uint64_t cookie);
/* Maps what was put off; the core hears of each unit. (locked) */
void dsm_driver_map_lazy(struct dsm_driver *driver);
/* The same with m->len bytes behind it, 4096 at most, which are copied. */
void dsm_driver_send_bytes(struct dsm_driver *driver, dsm_rank_t to, enum dsm_lane lane,
                           struct dsm_message *message, const void *payload);
/* Pushes what was queued to the sockets. Not under the lock. */
void dsm_driver_flush(struct dsm_driver *driver);
/* When locks want to be called (dsm_locks_on_timer); UINT64_MAX: not. (locked) */
void dsm_driver_set_locks_timer(struct dsm_driver *driver, uint64_t at_ns);
/* The core's timer and that of locks, if their time has come. Takes the lock. */
void dsm_driver_timer(struct dsm_driver *driver, uint64_t now_ns);
/* The thread goes on without it, or fails: out of the list, and the core hears of it. (locked) */
void dsm_driver_end_async_fault(struct dsm_driver *driver, struct dsm_async_fault *fault,
                                uint64_t now_ns);
/* A fault has ended, after so long. (locked) */
void dsm_driver_count_fault(struct dsm_driver *driver, bool is_write, uint64_t ns);
/* A rank is gone. Takes the lock; once per rank; true the first time. */
bool dsm_driver_lose_rank(struct dsm_driver *driver, dsm_rank_t rank, const char *why);
bool dsm_driver_is_dead(const struct dsm_driver *driver, dsm_rank_t rank);

/* ---- frames.c ------------------------------------------------------------------------------ */

/* Gives the memory of frames back, or clears it where it must stay. Errors: SYSTEM. (locked) */
int dsm_frames_give_back(struct dsm_driver *driver, dsm_page_t first, uint64_t n_pages);
/* Makes frames that were never written exist. (locked) */
void dsm_frames_make_zero(struct dsm_driver *driver, dsm_page_t first, uint64_t n_pages);
/* Of the net handler. They take the lock. */
bool dsm_frames_is_unused(void *driver, const void *addr, size_t len_bytes);
void dsm_frames_on_unpinned(void *driver, const void *addr, size_t len_bytes);

/* Lock with signals blocked, for threads outside the fault handler. */
struct dsm_driver_guard {
    struct dsm_signal_mask mask;
};
void dsm_driver_enter(struct dsm_driver *driver, struct dsm_driver_guard *guard);
void dsm_driver_leave(struct dsm_driver *driver, struct dsm_driver_guard *guard);

/* ---- waiters.c ----------------------------------------------------------------------------- */

/* Puts a wait into the list; makes it the reader when there is none. (locked) */
void dsm_waiter_add(struct dsm_driver *driver, struct dsm_waiter *waiter, dsm_page_t unit,
                    bool in_handler);
/*
 * Waits until the waiter is done or deadline_ns (UINT64_MAX: none). Called without the lock;
 * signals blocked. mask: what to sleep with, NULL to keep them blocked. Returns its error or
 * DSM_E_TIMEOUT. The waiter stays in the list.
 */
int dsm_waiter_wait(struct dsm_driver *driver, struct dsm_waiter *waiter, uint64_t deadline_ns,
                    const struct dsm_signal_mask *mask);
/* Claims the network for the waiter if it is the reader: before it polls. Takes the lock. */
void dsm_waiter_claim(struct dsm_driver *driver, const struct dsm_waiter *waiter);
/* Takes it out and hands the reading on. (locked) */
void dsm_waiter_remove(struct dsm_driver *driver, struct dsm_waiter *waiter);
/* (locked) */
void dsm_waiter_complete(struct dsm_driver *driver, struct dsm_waiter *waiter, int error,
                         dsm_rank_t rank);
/* uffd: the thread faulted, maybe in a signal handler that interrupted its wait; its fault has
 * ended. (locked) */
void dsm_waiters_thread_is_stuck(struct dsm_driver *driver, uint32_t tid);
void dsm_waiters_thread_goes_on(struct dsm_driver *driver);
/* From time to time: takes the reading from a thread that a signal handler keeps. Takes the lock.
 */
void dsm_waiters_watch(struct dsm_driver *driver);
/* Completes all that wait for the unit. (locked) */
void dsm_waiters_wake_unit(struct dsm_driver *driver, dsm_page_t unit, int error, dsm_rank_t rank);
/* How long a wait may poll before it sleeps; 0 when the host is oversubscribed. */
uint64_t dsm_waiters_spin_ns(const struct dsm_driver *driver);
/* The same for the service thread, which works beside threads that compute: it polls only on a
 * processor that nobody else wants. On theirs it would keep the very thread from going on whose
 * request it has just answered. */
uint64_t dsm_service_spin_ns(const struct dsm_driver *driver);
/* Once, before any thread faults. */
void dsm_waiters_setup(void);
/* Counts the calling thread among those that use the region, until it ends. */
void dsm_waiters_count_thread(struct dsm_driver *driver);
/* The calling thread has no work until the second call: till then it is not counted, neither its
 * time nor as one that wants a processor. */
void dsm_waiters_thread_rests(struct dsm_driver *driver);
void dsm_waiters_thread_works(struct dsm_driver *driver);

/* add, step(event), wait, remove, all in one, for calls outside the fault handler. Returns the
 * waiter's error. */
int dsm_driver_call(struct dsm_driver *driver, struct dsm_waiter *waiter,
                    const struct dsm_event *event);

void dsm_histogram_add(struct dsm_histogram *histogram, uint64_t ns);

#endif
