/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dsm.h - the public interface of libdsm.
 *
 * A job is a set of processes, its ranks, that share one address range, the region. Every rank maps
 * the region at the same address, so a pointer into it means the same everywhere, and uses it with
 * plain loads and stores. Memory reads as zero until it is first written.
 *
 * Memory model: between ranks, sequential consistency, for every program, with or without data
 * races. Threads of one rank share its processor's memory and see each other's accesses as on any
 * x86-64 machine (total store order): use atomics or locks between them, as in every threaded
 * program.
 *
 * Threads: every call may be made by any thread of a rank at any time between dsm_init and
 *   dsm_finalize, and by several threads at once, unless its comment says otherwise. No call
 *   but dsm_ring may be made from a signal handler; loads and stores to the region may. In a handler
 *   that interrupted a wait of the library calls that may wait give BUSY (errno EBUSY).
 * Units: sizes are bytes, times are nanoseconds unless the name says otherwise.
 * Ownership: the caller keeps what it passes in; nothing returned needs to be freed unless the
 *   comment says so. Memory inside the region belongs to the job, not to a rank.
 * Errors: calls return 0 or a negative DSM_E code. On failure output arguments are unchanged.
 * System calls: what the C library's functions are given in the region
 *   wrapped:      read, write, send, recv, open, stat, poll, select, ioctl, wait, execve, fread, fwrite
 *                 and about two hundred others behave as on private memory
 *   touch first:  the rest, as syscall(), message queues, printf of 4 KiB and more in one string: use
 *                 private memory, or call dsm_touch just before
 *   refused:      pthread, sem and mtx objects, mprotect, munmap, madvise, mlock, vmsplice, aio, MSG_ZEROCOPY,
 *                 ibv_reg_mr
 *   forbidden:    what the library cannot see: io_uring buffers, other devices' registrations,
 *                 futexes between ranks, stacks
 *   dsm(7) lists every name.
 * Failed accesses: a load or store whose page cannot be had (its owner died, or it did not come in
 *   DSM_FAULT_TIMEOUT seconds) prints one message and raises SIGBUS in the thread that made it.
 */
#ifndef DSM_DSM_H
#define DSM_DSM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DSM_VERSION_MAJOR 0
#define DSM_VERSION_MINOR 1
#define DSM_VERSION_PATCH 0

#if defined(__GNUC__)
#define DSM_API __attribute__((visibility("default")))
#else
#define DSM_API
#endif

/* The one list of errors: name, number, text. */
#define DSM_ERROR_MAP(XX)                                                                          \
    XX(INVAL, 1, "invalid argument")                                                               \
    XX(NOMEM, 2, "out of memory")                                                                  \
    XX(NOSPACE, 3, "the region has no room left")                                                  \
    XX(RANGE, 4, "address or length outside the region")                                           \
    XX(STATE, 5, "not initialised, or already closed")                                             \
    XX(BUSY, 6, "in use")                                                                          \
    XX(TIMEOUT, 7, "timed out")                                                                    \
    XX(PEER, 8, "a peer rank is gone")                                                             \
    XX(CONNECT, 9, "cannot connect")                                                               \
    XX(AUTH, 10, "wrong job token")                                                                \
    XX(MISMATCH, 11, "ranks differ")                                                               \
    XX(PROTO, 12, "malformed or unexpected message")                                               \
    XX(UNSUPPORTED, 13, "not supported here")                                                      \
    XX(SYSTEM, 14, "a system call failed")                                                         \
    XX(LIMIT, 15, "a limit was reached")                                                           \
    XX(NOTHELD, 16, "lock not held by this rank")                                                  \
    XX(DEADLOCK, 17, "would wait for itself")                                                      \
    XX(GONE, 18, "the object was destroyed or its memory freed")                                   \
    XX(KIND, 19, "another kind of object has this address")                                        \
    XX(ABANDONED, 20, "the thread that held it has ended; it is held now")

enum {
#define XX(name, number, text) DSM_E_##name = -(number),
    DSM_ERROR_MAP(XX)
#undef XX
};

/* Version of the library that is running, "major.minor.patch". */
DSM_API const char *dsm_version(void);
/* Text for a DSM_E code; never NULL. */
DSM_API const char *dsm_strerror(int error);
/* Name for a DSM_E code, e.g. "DSM_E_INVAL"; never NULL. */
DSM_API const char *dsm_errname(int error);

/* ---- start and end ------------------------------------------------------------------------- */

/* Values of 0, NULL or -1 mean: take the environment variable, then the default. */
struct dsm_config {
    size_t struct_size;     /* set by dsm_config_init */
    const char *daemon;     /* DSM_DAEMON: host:port of dsmd; none: a job of one rank */
    const char *token;      /* DSM_TOKEN: 32 hex digits naming and guarding the job */
    int64_t rank;           /* DSM_RANK: -1 lets dsmd number the ranks */
    uint32_t n_ranks;       /* DSM_NRANKS: ranks in the job */
    uint64_t region_bytes;  /* DSM_REGION_SIZE: default 64 GiB, up to 16 TiB */
    uint64_t base;          /* DSM_BASE: where the region starts; default: agreed by the ranks */
    uint64_t mem_max_bytes; /* DSM_MEM_MAX: frames this rank may hold */
    const char *trap;       /* DSM_TRAP: auto, sigbus, uffd or segv */
    const char *transport;  /* DSM_TRANSPORT: auto, tcp or rdma */
    int64_t spin_us;        /* DSM_SPIN_US: how long a waiting thread polls; -1 adaptive */
    double fault_timeout_s; /* DSM_FAULT_TIMEOUT: default 60 */
    double join_timeout_s;  /* DSM_JOIN_TIMEOUT: default 60 */
};

DSM_API void dsm_config_init(struct dsm_config *config); /* NULL: nothing */

/*
 * Joins the job and maps the region; returns when every rank has. config may be NULL.
 * Once per process. Prints one line on stderr on failure.
 * Errors: INVAL, STATE, AUTH, MISMATCH, CONNECT, TIMEOUT, NOMEM, RANGE, SYSTEM, UNSUPPORTED.
 */
DSM_API int dsm_init(const struct dsm_config *config);

/*
 * Leaves the job: collective, waits until every rank has called it, serving pages meanwhile.
 * The region is unmapped afterwards. Errors: STATE, PEER.
 */
DSM_API int dsm_finalize(void);

/* Ends the whole job now: every rank exits with status. Does not return. */
DSM_API void dsm_abort(int status) __attribute__((noreturn));

DSM_API uint32_t dsm_rank(void); /* this process, 0..dsm_size()-1; 0 before dsm_init */
DSM_API uint32_t dsm_size(void); /* ranks in the job; 1 before dsm_init */
DSM_API void *dsm_base(void);    /* first address of the region; NULL before dsm_init */
DSM_API uint64_t dsm_region_bytes(void);

/* ---- memory -------------------------------------------------------------------------------- */

enum dsm_placement {
    DSM_PLACE_BLOCK,       /* one contiguous block of units per rank (default) */
    DSM_PLACE_CYCLIC,      /* blocks of block_bytes dealt round-robin from rank `rank` */
    DSM_PLACE_RANK,        /* everything at rank `rank` */
    DSM_PLACE_FIRST_TOUCH, /* directory dealt cyclically; the first writer becomes the owner */
};

struct dsm_alloc_options {
    size_t struct_size; /* set by dsm_alloc_options_init */
    enum dsm_placement placement;
    uint32_t rank;        /* see the placements */
    uint64_t block_bytes; /* CYCLIC: multiple of unit_bytes; 0: one unit */
    uint64_t unit_bytes;  /* coherence unit: a power of two, 4 KiB to 2 MiB; 0: 4 KiB */
    const char *name;     /* for reports; copied, 31 bytes kept; may be NULL */
};

DSM_API void dsm_alloc_options_init(struct dsm_alloc_options *options); /* NULL: nothing */

/*
 * Collective allocation: every rank calls it with the same arguments, in the same order, one thread
 * each; all get the same address, aligned to the unit. Zeroed. options may be NULL.
 * Errors: INVAL, NOSPACE, MISMATCH (ranks passed different arguments), STATE, PEER.
 */
DSM_API int dsm_alloc(size_t size, const struct dsm_alloc_options *options, void **addr_out);

/*
 * Allocation by one rank, at any time; the pointer is valid on every rank. NULL when there is no
 * room, with errno ENOMEM. Alignment 16; from 4 KiB on page-aligned. dsm_malloc'ed memory that was
 * used before is not zero, as with malloc. Small blocks of different ranks never share a page.
 */
DSM_API void *dsm_malloc(size_t size);
DSM_API void *dsm_calloc(size_t count, size_t size);
DSM_API void *dsm_realloc(void *ptr, size_t size);
DSM_API void *dsm_aligned_alloc(size_t alignment, size_t size); /* a power of two up to 2 MiB */

/*
 * Frees what dsm_alloc, dsm_malloc and friends gave; any one rank calls it, once. Large blocks:
 * every copy on every rank is dropped and the memory given back. NULL is ignored.
 * Errors: INVAL (not the start of a live block: printed as well), STATE.
 */
DSM_API int dsm_free(void *ptr);

enum dsm_access { DSM_READ = 1, DSM_WRITE = 2 };

/*
 * Fetches a range ahead without waiting; a hint, never an error for a range inside the region.
 * Errors: INVAL, RANGE, STATE.
 */
DSM_API int dsm_prefetch(const void *addr, size_t len, enum dsm_access access);

/*
 * The same for a range that is needed within so many nanoseconds from now (above 0). When more is
 * hinted than can be on its way at once, the earliest deadline goes first, and hints without one
 * last; pages that have not been asked for by then are given up (prefetch_late in the statistics).
 * Errors: INVAL, RANGE, STATE.
 */
DSM_API int dsm_prefetch_by(const void *addr, size_t len, enum dsm_access access,
                            int64_t within_ns);

enum dsm_advice {
    DSM_ADVICE_NORMAL,      /* as found out by the protocol itself */
    DSM_ADVICE_MIGRATORY,   /* read, then written: a read fault asks for writing at once, which saves
                               the second fault. Two ranks that only read take it from each other */
    DSM_ADVICE_READ_MOSTLY, /* a read never takes it from another rank, and what is behind a fault is
                               fetched ahead at once, without waiting for a trend */
    DSM_ADVICE_WRITE_ONCE,  /* the same, as much at once as DSM_FETCH_AHEAD allows. To write it again
                               costs what it always costs; reading at random fetches much too much */
    DSM_ADVICE_PRIVATE,     /* of this rank: fetched for writing now; what other ranks ask for they
                               get, which is counted (private_asked in the statistics) and told once
                               in the log. DSM_PLACE_RANK makes a rank the home; an advice does not */
};

/*
 * Says how this rank is going to use a range; other ranks may say something else, or nothing. The
 * home of the memory stays where it is, and nothing is ever wrong because of an advice: only faster
 * or slower. It holds for whole coherence units, until another advice or until the memory is freed.
 * Errors: INVAL, NOMEM, RANGE, STATE.
 */
DSM_API int dsm_advise(const void *addr, size_t len, enum dsm_advice advice);

/* The longest time for which a pin lasts. */
#define DSM_PIN_MAX_NS ((int64_t)1000000000)

/*
 * Waits until every unit of the range is here with that access, and keeps them here: until
 * dsm_unpin, and no longer than for_ns from the call on (above 0, at most DSM_PIN_MAX_NS). Meanwhile
 * this rank takes no fault in the range (dsm_stats_get: faults_read, _write and _upgrade stay as
 * they are, unless the kernel drops a mapping), and ranks that want what would take a page away
 * wait: readers for what is pinned for writing, writers for all. So pin little, for a short time.
 * The range is taken from its first unit to its last; ranks that pin ranges in different orders
 * wait for each other until one's time is over. Pins of several threads on a unit add up; while
 * another rank waits for it the first pin's time is not made longer. A pin ends with its rank.
 * A page that cannot be had is a failed access, as with dsm_touch.
 * Errors: INVAL, NOMEM (more than half of what this rank may hold), RANGE, STATE, TIMEOUT (for_ns
 * was over before all was here; nothing is pinned).
 */
DSM_API int dsm_pin(const void *addr, size_t len, enum dsm_access access, int64_t for_ns);

/* Lets go of a range that was pinned with one call; of what is not pinned, nothing happens. Errors:
 * RANGE, STATE. */
DSM_API int dsm_unpin(const void *addr, size_t len);

/*
 * Waits until every page of the range is here, readable or writable, without changing a byte: what a
 * system call needs that the library does not stand in front of (see above). Another rank may take
 * a page again at once. A page that cannot be had is a failed access. Errors: INVAL, RANGE, STATE.
 */
DSM_API int dsm_touch(const void *addr, size_t len, enum dsm_access access);

enum dsm_page_state { DSM_STATE_NONE, DSM_STATE_READ, DSM_STATE_WRITE };

struct dsm_where {
    uint64_t unit_addr; /* first address of the coherence unit */
    uint64_t unit_bytes;
    enum dsm_page_state state; /* what this rank may do without a fault */
    bool is_owner;             /* this rank's copy is the content */
    bool is_zero;              /* never written, as far as this rank knows */
    uint32_t home;             /* rank that keeps the directory entry */
    uint32_t owner;      /* by the directory when this rank is the home, else the last one known
                            here; UINT32_MAX when unknown or never written */
    uint64_t alloc_addr; /* allocation: first address, bytes, name; 0 when none is known here */
    uint64_t alloc_bytes;
    char alloc_name[32];
};

/* What this rank knows about an address. Errors: INVAL, RANGE, STATE. */
DSM_API int dsm_where(const void *addr, struct dsm_where *where_out);

/* ---- synchronisation ----------------------------------------------------------------------- */

/*
 * Locks and objects are named by any address inside the region; the memory there is not touched.
 * A lock and one object of another kind may have the same name. Objects begin as 0 (free, cleared,
 * not signalled) at their first use, are kept by the home of their address, and end with
 * dsm_sync_destroy or when the memory is freed. Nobody polls: who waits sleeps, in a queue, and those
 * who compete are served in the order in which they came.
 *
 * timeout_ns: how long to wait at most; 0: not at all; DSM_FOREVER. TIMEOUT when it was not enough.
 *
 * Errors of all calls on objects: STATE, RANGE (not an address of the region), INVAL (a timeout below
 * DSM_FOREVER, a count that is not allowed), KIND (another kind of object has the name), NOMEM, PEER
 * (the manager is gone, or a rank was lost while this thread waited; see each kind), GONE (destroyed,
 * or its memory freed, while this thread waited). Calls that wait also: TIMEOUT.
 */
#define DSM_FOREVER ((int64_t)-1)

/*
 * Mutual exclusion between all threads of all ranks. Queued, first come first served between ranks;
 * kept at the rank that held it last, where taking it again costs no message. Not recursive.
 * dsm_lock, dsm_lock_timed: RANGE, STATE, NOMEM, PEER, DEADLOCK (this thread holds it), GONE (it
 *   was destroyed, or its memory freed, meanwhile; it is not held; for a word in a freed block of up
 *   to 32 KiB see dsm(3)), TIMEOUT, ABANDONED: the thread
 *   that held it before has ended without giving it back; the caller HOLDS it now, and what it
 *   guards may be half changed.
 * dsm_unlock: RANGE, STATE, NOTHELD (this thread does not hold it).
 */
DSM_API int dsm_lock(const void *addr);
DSM_API int dsm_lock_timed(const void *addr, int64_t timeout_ns);
DSM_API int dsm_unlock(const void *addr);
static inline int dsm_trylock(const void *addr)
{
    return dsm_lock_timed(addr, 0);
}

/*
 * Many readers or one writer. Readers and writers are served in one queue, so neither starves; a
 * thread holds it once. Errors besides: DEADLOCK (this thread holds it), ABANDONED (as dsm_lock; the
 * caller holds it), NOTHELD; PEER from then on when a rank is lost that held it for writing.
 */
DSM_API int dsm_rwlock_read(const void *addr, int64_t timeout_ns);
DSM_API int dsm_rwlock_write(const void *addr, int64_t timeout_ns);
DSM_API int dsm_rwlock_unlock(const void *addr);

/*
 * Condition variables, with any dsm_lock lock that the caller holds: gives it back, sleeps until it
 * is signalled, and returns holding it again, with every result but two: NOTHELD (it was not held)
 * and PEER or NOMEM where the lock itself could not be had again (dsm_unlock then says NOTHELD). Who
 * is signalled is put into the lock's queue and woken when it is its turn. ABANDONED: as dsm_lock.
 * dsm_cond_signal wakes the one that has slept longest; the caller need not hold the lock.
 */
DSM_API int dsm_cond_wait(const void *cond, const void *lock, int64_t timeout_ns);
DSM_API int dsm_cond_signal(const void *cond);
DSM_API int dsm_cond_broadcast(const void *cond);

/* Semaphores, up to INT64_MAX; set gives the value, e.g. the first. post: LIMIT when it would be
 * exceeded. dsm_sem_value: value_out may be NULL. */
DSM_API int dsm_sem_set(const void *sem, uint64_t value);
DSM_API int dsm_sem_post(const void *sem, uint64_t n);
DSM_API int dsm_sem_wait(const void *sem, int64_t timeout_ns);
DSM_API int dsm_sem_value(const void *sem, uint64_t *value_out);

/*
 * Flags that count, up to INT64_MAX (a flag that is set counts 1).
 * set, clear, add: change the count. await: waits until it is at least at_least, and leaves it.
 * take: waits until it is at least n, then subtracts n. put: waits until it is 0, then sets it.
 * add: LIMIT.
 */
DSM_API int dsm_flag_set(const void *flag, uint64_t count);
DSM_API int dsm_flag_clear(const void *flag);
DSM_API int dsm_flag_add(const void *flag, uint64_t n);
DSM_API int dsm_flag_await(const void *flag, uint64_t at_least, int64_t timeout_ns);
DSM_API int dsm_flag_take(const void *flag, uint64_t n, int64_t timeout_ns);
DSM_API int dsm_flag_put(const void *flag, uint64_t count, int64_t timeout_ns);
DSM_API int dsm_flag_count(const void *flag, uint64_t *count_out);

/*
 * Self-scheduling: each call gives the next index of 0..n_tickets-1, to one of n_threads threads that
 * share the work. When all are given, a call waits until every thread has come for one in vain; then
 * all get -1, and the indices begin again at 0. Errors besides: MISMATCH (others wait with other
 * numbers), PEER from then on when a rank was lost.
 */
DSM_API int dsm_ticket_next(const void *tickets, uint64_t n_tickets, uint64_t n_threads,
                            int64_t timeout_ns, int64_t *index_out);

/*
 * Waits until n_threads threads, of any ranks, have come: several of a rank may. One that gives up
 * (TIMEOUT) does not count. Errors besides: MISMATCH (others wait with another number), PEER from
 * then on when a rank was lost. To use a barrier or tickets after a loss, destroy them first.
 */
DSM_API int dsm_barrier_threads(const void *barrier, uint64_t n_threads, int64_t timeout_ns);

/*
 * Atomic words by handle: each is one message to its manager and back, and no page moves. They are
 * not the memory at that address. *before_out: the value before; may be NULL.
 */
DSM_API int dsm_word_fetch_add_u32(const void *word, uint32_t v, uint32_t *before_out);
DSM_API int dsm_word_fetch_add_u64(const void *word, uint64_t v, uint64_t *before_out);
DSM_API int dsm_word_exchange_u32(const void *word, uint32_t v, uint32_t *before_out);
DSM_API int dsm_word_exchange_u64(const void *word, uint64_t v, uint64_t *before_out);
/* Becomes desired where it is expected. */
DSM_API int dsm_word_compare_swap_u32(const void *word, uint32_t expected, uint32_t desired,
                                      uint32_t *before_out);
DSM_API int dsm_word_compare_swap_u64(const void *word, uint64_t expected, uint64_t desired,
                                      uint64_t *before_out);

/*
 * Ends the object, of whatever kind: those who wait get GONE, its next use begins anew. No error
 * when there is none. A lock of dsm_lock is ended as well when the calling thread holds it: it is
 * held no longer, and all threads in its queue, on whatever rank, have got GONE, or are about to,
 * when the call returns. A lock that another thread holds, or none, is left as it is.
 */
DSM_API int dsm_sync_destroy(const void *addr);

/*
 * Every rank calls it (one thread each) and returns when all have. Errors: STATE, BUSY (another
 * thread of this rank is in it), PEER (a rank died or left; printed with both names).
 */
DSM_API int dsm_barrier(void);
/* The same for the n_ranks different ranks listed, all passing the same list. Also INVAL. */
DSM_API int dsm_barrier_group(const uint32_t *ranks, uint32_t n_ranks);

enum dsm_type {
    DSM_INT32,
    DSM_INT64,
    DSM_UINT32,
    DSM_UINT64,
    DSM_FLOAT,
    DSM_DOUBLE,
    DSM_INT8,
    DSM_INT16,
    DSM_UINT8,
    DSM_UINT16
};
enum dsm_op { DSM_SUM, DSM_MIN, DSM_MAX, DSM_PROD, DSM_BAND, DSM_BOR, DSM_BXOR };

/*
 * Collectives over all ranks on private or shared memory, one thread each, same arguments.
 * The result of a reduction is bitwise the same on every rank. Integers wrap around; BAND, BOR and
 * BXOR are for them alone. Errors: INVAL, STATE, BUSY, PEER.
 */
DSM_API int dsm_bcast(void *buf, size_t len, uint32_t root);
DSM_API int dsm_allreduce(void *buf, size_t count, enum dsm_type type, enum dsm_op op);

/*
 * Copies len bytes of this rank's private memory into that of all other ranks, at the same address,
 * e.g. a global variable where all ranks run the same executable at the same place. They do not take
 * part: the bytes are there when the call returns. Not for the region. Nothing is sent when part of it
 * is not readable here; after another failure some pieces of 4 KiB may have arrived. Errors: STATE,
 * BUSY, NOMEM, INVAL (NULL, or inside the region), RANGE (the address is not readable here, or not
 * writable on a rank: printed), PEER.
 */
DSM_API int dsm_distribute(const void *addr, size_t len);

/*
 * Doorbells: dsm_ring tells a rank that there is something for it to look at, and waits for nobody.
 * The handler of that rank is called soon after, with who rang, on a thread of the library with all
 * signals blocked: it may set private variables, post a semaphore or send a signal to a thread, and
 * must not wait, touch the region or make calls of this header. Rings that were not answered yet
 * are one. They wait until there is a handler. What was written to the region before a ring is
 * there for whoever looks after it. dsm_ring may be called from signal handlers.
 * dsm_on_ring (NULL: no handler): when it returns, the handler before is not running any more.
 * Errors: STATE, INVAL (no such rank), PEER.
 */
typedef void (*dsm_ring_handler)(void *user, uint32_t from);
DSM_API int dsm_on_ring(dsm_ring_handler handler, void *user);
DSM_API int dsm_ring(uint32_t rank);

/* Atomic on plain shared memory, naturally aligned; sequentially consistent; mix with loads and
 * stores. They take the page read-write and use the processor's locked instruction. */
static inline uint32_t dsm_fetch_add_u32(volatile uint32_t *p, uint32_t v)
{
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);
}
static inline uint64_t dsm_fetch_add_u64(volatile uint64_t *p, uint64_t v)
{
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);
}
static inline uint64_t dsm_exchange_u64(volatile uint64_t *p, uint64_t v)
{
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
}
static inline uint32_t dsm_exchange_u32(volatile uint32_t *p, uint32_t v)
{
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
}
/* True when *p was *expected and is now desired; else *expected becomes what was there. */
static inline bool dsm_compare_swap_u32(volatile uint32_t *p, uint32_t *expected, uint32_t desired)
{
    return __atomic_compare_exchange_n(p, expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}
static inline bool dsm_compare_swap_u64(volatile uint64_t *p, uint64_t *expected, uint64_t desired)
{
    return __atomic_compare_exchange_n(p, expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

/* ---- seeing inside ------------------------------------------------------------------------- */

/* What was chosen, e.g. "sigbus" and "tcp"; NULL before dsm_init. */
DSM_API const char *dsm_trap_name(void);
DSM_API const char *dsm_transport_name(void);

#define DSM_HIST_BUCKETS 32 /* bucket i counts times in [2^i, 2^(i+1)) ns; the last is open */

struct dsm_histogram {
    uint64_t count;
    uint64_t total_ns;
    uint64_t max_ns;
    uint64_t bucket[DSM_HIST_BUCKETS];
};

struct dsm_stats {
    size_t struct_size;   /* set by the caller: sizeof(struct dsm_stats) */
    uint64_t faults_read; /* traps taken for a page not here */
    uint64_t faults_write;
    uint64_t faults_upgrade; /* here for reading, wanted for writing */
    uint64_t faults_local;   /* of all these: finished without a message */
    uint64_t fetched_zero;   /* grants of never-written pages, no bytes */
    uint64_t fetched_bytes;  /* page bytes received */
    uint64_t served_bytes;   /* page bytes sent */
    uint64_t invalidations;  /* copies this rank lost to a writer */
    uint64_t downgrades;     /* pages this rank stopped writing because of a reader */
    uint64_t messages_sent;
    uint64_t messages_received;
    uint64_t prefetch_asked; /* units, hinted or fetched ahead by itself */
    uint64_t prefetch_late;  /* pages hinted and given up at their deadline */
    uint64_t private_asked;  /* units advised private that others asked for */
    uint64_t pins;           /* units pinned; of these, ended by their time while others waited */
    uint64_t pins_ended;
    /* Pages fetched ahead by itself (DSM_FETCH_AHEAD); of these, told by samples: used, and taken
     * away before any use. */
    uint64_t ahead_asked, ahead_used, ahead_wasted;
    /* The same of pages asked for to be written. */
    uint64_t ahead_write_asked, ahead_write_used, ahead_write_wasted;
    /* Units (DSM_MIGRATORY): found to migrate by this rank as their home, and found not to any more;
     * granted to this rank as the only copy when it read, and of these written without asking. */
    uint64_t migratory_found, migratory_undone, migratory_reads, migratory_writes;
    uint64_t evicted_zero, evicted_shared, evicted_owned; /* units, by the memory limit */
    uint64_t frames_bytes;                                /* bytes of frames held now */
    uint64_t frames_peak_bytes;
    uint64_t lock_acquires, lock_retakes; /* retakes: of these, found cached here */
    uint64_t lock_timeouts;    /* not among them */
    uint64_t rwlock_acquires;  /* calls on synchronisation objects, by kind, with their waits below */
    uint64_t condition_calls;
    uint64_t semaphore_calls;
    uint64_t flag_calls;
    uint64_t ticket_calls;
    uint64_t thread_barriers;
    uint64_t word_calls;
    uint64_t barriers;
    struct dsm_histogram fault_latency;
    struct dsm_histogram lock_wait;
    struct dsm_histogram barrier_wait;
    struct dsm_histogram rwlock_wait;
    struct dsm_histogram condition_wait;
    struct dsm_histogram semaphore_wait;
    struct dsm_histogram flag_wait;
    struct dsm_histogram ticket_wait;
    struct dsm_histogram thread_barrier_wait;
    struct dsm_histogram word_wait;
    /* What the messages cost this rank; a figure that the transport does not count is 0. */
    uint64_t net_posts;         /* times something was handed to the card, or written to a socket or ring */
    uint64_t net_work_requests; /* rdma: sends and writes in these posts */
    uint64_t net_buffer_posts;  /* rdma: times receive buffers were handed to the card */
    uint64_t net_received;      /* rdma: completions of receives; tcp: reads that brought something */
    uint64_t net_sent;          /* rdma: completions of sends and writes */
    uint64_t net_wakes;         /* rdma: events that woke a thread for a completion */
    uint64_t net_credits;       /* rdma: messages sent only to tell how many may come */
    uint64_t net_landed;        /* frames received whose bytes the sender had written to their place */
    uint64_t net_copied;        /* rdma: frames sent whose bytes went through buffers */
    uint64_t net_pinned_bytes;  /* rdma: of the region, registered now */
    uint64_t net_shared;        /* tcp: lanes to ranks of this host that go through memory (DSM_SHM) */
    uint64_t net_bells;         /* tcp: times a rank behind such a lane had to be woken */
    /* Where the time of the threads went that use the region, in nanoseconds, each from its first
     * use: the sum, and what of it was spent waiting (write faults are upgrades too; locks
     * reader-writer ones too; barriers those of ranks and of threads and other collectives; sync
     * other objects; work, in PARMACS programs, for a worker to run or to end). The rest counts as
     * computing. */
    uint64_t time_threads_ns, time_compute_ns, time_fault_read_ns, time_fault_write_ns;
    uint64_t time_lock_ns, time_barrier_ns, time_sync_ns, time_work_ns;
};

/* Counters of this rank since dsm_init. Errors: INVAL, STATE. */
DSM_API int dsm_stats_get(struct dsm_stats *stats_out);

#ifdef __cplusplus
}
#endif

#endif
