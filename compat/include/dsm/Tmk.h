/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tmk.h - the calls of TreadMarks, on libdsm: its programs compile unchanged. See dsm-tmk(3).
 *
 * Every process runs main from the start, and its global variables are its own. Shared memory reads
 * as zero until it is first written. The memory is sequentially consistent, which is stronger than
 * release consistency: locks are needed for mutual exclusion alone.
 *
 * Calls whose arguments make no sense print one line and end the job with status 1.
 */
#ifndef DSM_TMK_H
#define DSM_TMK_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TMK_API      __attribute__((visibility("default")))
#define TMK_NORETURN __attribute__((noreturn))
#else
#define TMK_API
#define TMK_NORETURN
#endif

/* Numbers of processes, barriers, locks and, for each lock, conditions; ids are below. */
#define TMK_NPROCS    256
#define TMK_NBARRIERS 1024
#define TMK_NLOCKS    16384
#define TMK_NCONDS    16

TMK_API extern unsigned Tmk_proc_id;   /* this process, 0..Tmk_nprocs-1 */
TMK_API extern unsigned Tmk_nprocs;    /* processes */
TMK_API extern unsigned Tmk_page_size; /* bytes */
TMK_API extern unsigned Tmk_npages;    /* of shared memory */

/* ---- start and end ---- */

/* Arguments after "--" are the system's: -s prints statistics at the end; the rest is for dsmrun to
 * decide and ignored. */
TMK_API void Tmk_startup(int argc, char *const *argv);
TMK_API void Tmk_exit(int status) TMK_NORETURN;                 /* waits for all */
TMK_API void Tmk_err(const char *format, ...);                  /* a message on stderr */
TMK_API void Tmk_errexit(const char *format, ...) TMK_NORETURN; /* and the end of all processes */

/* ---- memory ---- */

/* By any one process; the pointer is valid in all of them. NULL: no room. */
TMK_API void *Tmk_malloc(unsigned size);
TMK_API void Tmk_free(void *addr);
/* size more bytes behind those given before, by any process; (void *)-1: no room. */
TMK_API void *Tmk_sbrk(unsigned size);
/*
 * Copies the caller's bytes to the same global variable of all other processes, whatever these do
 * meanwhile; each gets a SIGIO. When it returns the bytes are there.
 */
TMK_API void Tmk_distribute(const void *addr, int size);

/* ---- synchronisation ---- */

TMK_API void Tmk_barrier(unsigned id);
TMK_API void Tmk_lock_acquire(unsigned id);
TMK_API void Tmk_lock_release(unsigned id);
/* As in a monitor: by a process that has the lock. */
TMK_API void Tmk_lock_cond_wait(unsigned lock, unsigned cond);
TMK_API void Tmk_lock_cond_signal(unsigned lock, unsigned cond);
TMK_API void Tmk_lock_cond_broadcast(unsigned lock, unsigned cond);

/* ---- statistics of this process, as of the last barrier ---- */

struct Tmk_stat {
    unsigned acquires; /* locks taken */
    unsigned arrivals; /* at barriers */
    unsigned messages; /* sent */
    unsigned bytes;    /* of pages, received */
    unsigned faults;
    unsigned diffs, twins; /* always 0: pages move whole */
};
TMK_API extern struct Tmk_stat Tmk_stat;

#ifdef __cplusplus
}
#endif

#endif
