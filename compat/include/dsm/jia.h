/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * jia.h - the calls of JIAJIA, on libdsm: its programs compile unchanged. See dsm-jia(3).
 *
 * Every process runs main from the start, and its global variables are its own. Shared memory reads
 * as zero until it is first written. The memory is sequentially consistent, which is stronger than
 * scope consistency: locks are needed for mutual exclusion alone.
 *
 * Calls whose arguments make no sense print one line and end the job with status 1.
 */
#ifndef DSM_JIA_H
#define DSM_JIA_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define JIA_API __attribute__((visibility("default")))
#else
#define JIA_API
#endif

#define JIA_MAXLOCKS 65536 /* lock ids are below; LOCKINIT deals out those from the middle on */
#define JIA_MAXCVS   1024  /* condition variables */

JIA_API extern int jiapid;   /* this process, 0..jiahosts-1 */
JIA_API extern int jiahosts; /* processes */
JIA_API extern int jia_pid;  /* jiapid, as older programs name it */

/* ---- start and end ---- */

JIA_API void jia_init(int argc, char **argv);
JIA_API void jia_exit(void); /* waits for all; returns */
/* A message on stderr, and the end of all processes. */
JIA_API void jia_error(const char *format, ...);
JIA_API void jia_errexit(const char *format, ...);

/* ---- memory: called by all processes in the same order with the same arguments ---- */

/* size bytes, dealt in blocks of `block` to one process after the other from `start` on. Both sizes
 * are rounded up to whole pages, and the last block is there whole. */
JIA_API unsigned long jia_alloc3(int size, int block, int start);
JIA_API unsigned long jia_alloc(int size);
JIA_API unsigned long jia_alloc1(int size);
JIA_API unsigned long jia_alloc2(int size, int block);
JIA_API unsigned long jia_alloc2p(int size, int host);
JIA_API unsigned long jia_alloc3b(int size, int *blocks, int start);
JIA_API unsigned long jia_alloc4(int size, int *blocks, int n, int start);
JIA_API unsigned long jia_alloc_random(int size);
JIA_API unsigned long jia_alloc_array(int size, int *hosts, int n);
/* Given back when every process has called it. */
JIA_API void jia_free(void *addr);

/* ---- synchronisation ---- */

JIA_API void jia_lock(int id);
JIA_API void jia_unlock(int id);

/* Some programs pass an argument, which says nothing. */
#if defined(__cplusplus) || (defined(__STDC_VERSION__) && __STDC_VERSION__ > 201710L)
JIA_API void jia_barrier(...);
#else
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#endif
JIA_API void jia_barrier();
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#endif
JIA_API void jia_wait(void);

/* A condition variable stays set until it is reset; waiting for one that is set returns at once. */
JIA_API void jia_setcv(int cv);
JIA_API void jia_resetcv(int cv);
JIA_API void jia_waitcv(int cv);

/* ---- messages ---- */

/* Does not wait for the receiver. */
JIA_API void jia_send(char *buf, int len, int to, int tag);
/* Bytes received, at most len; the rest of a longer message is lost. -1: from anybody, any tag. */
JIA_API int jia_recv(char *buf, int len, int from, int tag);
JIA_API void jia_bcast(char *buf, int len, int root);
/* count values of everybody's snd, combined into root's rcv. op: a type plus an operation. */
JIA_API void jia_reduce(char *snd, char *rcv, int count, int op, int root);
#define JIA_INT    0
#define JIA_FLOAT  10
#define JIA_DOUBLE 20
#define JIA_SUM    0
#define JIA_MAX    1
#define JIA_MIN    2

/* ---- time, hints ---- */

JIA_API double jia_clock(void); /* seconds since jia_init, or since the first call before it */
JIA_API unsigned long jia_current_time(void); /* nanoseconds of the monotonic clock */
JIA_API unsigned int jia_startstat(void);     /* microseconds, by jia_clock; see DSM_STATS */
JIA_API unsigned int jia_stopstat(void);

#define OFF       0
#define ON        1
#define HMIG      0
#define ADWD      1
#define BROADCAST 2
#define LOADBAL   3
#define WVEC      4
JIA_API void jia_config(int what, int on_or_off); /* a hint; changes nothing */

/* The range [*begin, *end) becomes this process's share of it. */
JIA_API void jia_divtask(int *begin, int *end);
JIA_API void jia_loadcheck(void); /* changes nothing */

/* Announcements of writes; not needed here. */
#define jia_wtnt(addr, len) ((void)0)
#define jia_wtntw(addr)     ((void)0)
#define jia_wtntd(addr)     ((void)0)

/* ---- macros for programs that were written with the ANL macros ---- */

#define MAIN_ENV
#define MAIN_DEC
#define EXTERN_ENV
#define MAIN_INITENV(...) jia_init(argc, argv)
#define MAIN_END          jia_exit()
#define WAIT_FOR_END(n)   jia_barrier()

#define LOCKDEC(l)  int l;
#define LOCKINIT(l) ((l) = jia_new_lock())
#define LOCK(l)     jia_lock(l)
#define UNLOCK(l)   jia_unlock(l)

#define ALOCKDEC(l, n) int l[n];
#define ALOCKINIT(l, n)                                                                            \
    do {                                                                                           \
        int jia_i_;                                                                                \
        for (jia_i_ = 0; jia_i_ < (n); jia_i_++)                                                   \
            (l)[jia_i_] = jia_new_lock();                                                          \
    } while (0)
#define ALOCK(l, i)   jia_lock((l)[i])
#define AULOCK(l, i)  jia_unlock((l)[i])
#define AUNLOCK(l, i) jia_unlock((l)[i])

#define BARDEC(b)     int b;
#define BARINIT(b)    ((b) = 0)
#define BARRIER(b, n) jia_barrier()

/* Self-scheduling: i becomes the next index up to and with max; at the end, when all processes have
 * come there, -1, and the indices begin again. */
#define GSDEC(s)             int s;
#define GSINIT(s)            ((s) = jia_new_subscript())
#define GETSUB(s, i, max, n) ((i) = jia_next_subscript((s), (max)))

#define G_MALLOC(size) jia_alloc(size)
#define CLOCK(t)       ((t) = jia_startstat())

/* What the macros call. Ids are the same everywhere where all processes ask in the same order. */
JIA_API int jia_new_lock(void);
JIA_API int jia_new_subscript(void);
JIA_API int jia_next_subscript(int id, int max);

#ifdef __cplusplus
}
#endif

#endif
