/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thread.h - what the runtime keeps for each thread of the program.
 *
 * Thread-local with the initial-exec model: the dynamic models may allocate at first use, which a
 * fault handler must not do.
 */
#ifndef DSM_RUNTIME_THREAD_H
#define DSM_RUNTIME_THREAD_H

#include "core/event.h"
#include <stdbool.h>
#include <stdint.h>

struct dsm_waiter;
struct dsm_lock_record;
struct dsm_rw_hold;

#define DSM_THREAD_LOCK_CACHE                                                                      \
    8 /* a direct-mapped cache in front of the lock table, not a limit                             \
       */

struct dsm_thread {
    struct dsm_core_thread core;
    struct dsm_waiter *top; /* innermost wait of this thread; under the driver's lock */
    uint32_t tid;           /* kernel thread id; 0: not known yet */
    uint32_t n_locks;       /* held by it */
    bool has_exit_key;      /* its end will be noticed by locks and objects */
    struct dsm_rw_hold *rw_holds;
    uintptr_t caller; /* the program's instruction that made the call under way, for the profile */
    bool is_in_macro; /* caller is that of the macro around the call */
    bool is_counted;  /* in the driver's count of threads that use the region */
    struct {
        uint64_t id;
        struct dsm_lock_record *record;
        uint64_t generation;
    } locks[DSM_THREAD_LOCK_CACHE];
};

extern _Thread_local struct dsm_thread dsm_thread_self __attribute__((tls_model("initial-exec")));

/*
 * Notes which instruction of the program made a call that may wait. In the public function itself,
 * or in what is always inlined into it. (The instruction before the one that it returns to is the
 * call.)
 */
#define DSM_NOTE_CALLER() dsm_thread_note_caller((uintptr_t)__builtin_return_address(0) - 1)

static inline __attribute__((always_inline)) void dsm_thread_note_caller(uintptr_t ip)
{
    if (!dsm_thread_self.is_in_macro)
        dsm_thread_self.caller = ip;
}

/* Kernel thread id, cached. Signal-handler safe. */
uint32_t dsm_thread_id(void);

/* All signals blocked and the mask given back later; raw system calls. Signal-handler safe. */
struct dsm_signal_mask {
    uint64_t bits;
};
void dsm_signals_block(struct dsm_signal_mask *before_out);
void dsm_signals_restore(const struct dsm_signal_mask *before);

#endif
