/* SPDX-License-Identifier: BSD-3-Clause */
/* api_sync.c - the synchronisation calls of dsm.h: checks, and doors to locks.c and sync.c. */
#include <dsm/dsm.h>
#include "runtime/api.h"
#include "runtime/locks.h"
#include "runtime/sync.h"
#include "runtime/thread.h"

/* Inlined into the public functions, so that the caller they see is the program's. */
#define INLINE static inline __attribute__((always_inline))

/* A name is valid: *offset_out is its offset in the region. */
INLINE int check(struct dsm_driver *d, const void *addr, int64_t timeout_ns, uint64_t *offset_out)
{
    int error = dsm_api_refusal();
    if (error)
        return error;
    DSM_NOTE_CALLER();
    if (!dsm_region_has(d->region, (uintptr_t)addr))
        return DSM_E_RANGE;
    if (timeout_ns < DSM_FOREVER)
        return DSM_E_INVAL;
    *offset_out = dsm_region_offset(d->region, (uintptr_t)addr);
    return 0;
}

/* For an argument that no call takes; outside a job that is the error. */
static int invalid(void)
{
    int error = dsm_api_refusal();
    return error ? error : DSM_E_INVAL;
}

/* One operation on an object of the kind. */
INLINE int operate(const void *addr, enum dsm_sync_kind kind, enum dsm_sync_op op, uint64_t a,
                   uint64_t b, int64_t timeout_ns, uint64_t *value_out)
{
    struct dsm_driver *d = dsm_api_driver();
    struct dsm_sync_request request = {.kind = kind, .op = op, .a = a, .b = b};
    int error = check(d, addr, timeout_ns, &request.id);
    return error ? error : dsm_sync_call(d, &request, timeout_ns, value_out);
}

/* The value goes through private memory: *out may be shared, or wrong, and is stored to last. */
#define OPERATE_OUT(T, addr, kind, op, a, b, timeout_ns, out)                                      \
    do {                                                                                           \
        uint64_t value_ = 0;                                                                       \
        int error_ = operate(addr, DSM_SYNC_##kind, DSM_SYNC_OP_##op, a, b, timeout_ns, &value_);  \
        if (!error_ && (out))                                                                      \
            *(out) = (T)value_;                                                                    \
        return error_;                                                                             \
    } while (0)

/* ---- locks */

INLINE int take_lock(const void *addr, int64_t timeout_ns)
{
    struct dsm_driver *d = dsm_api_driver();
    uint64_t offset;
    int error = check(d, addr, timeout_ns, &offset);
    return error ? error : dsm_locks_acquire(d, (uintptr_t)addr, timeout_ns);
}

int dsm_lock_timed(const void *addr, int64_t timeout_ns)
{
    return take_lock(addr, timeout_ns);
}

int dsm_lock(const void *addr)
{
    return take_lock(addr, DSM_FOREVER);
}

int dsm_unlock(const void *addr)
{
    struct dsm_driver *d = dsm_api_driver();
    uint64_t offset;
    int error = check(d, addr, 0, &offset);
    return error ? error : dsm_locks_release(d, (uintptr_t)addr);
}

INLINE int rw_lock(const void *addr, bool is_write, int64_t timeout_ns)
{
    struct dsm_driver *d = dsm_api_driver();
    uint64_t offset;
    int error = check(d, addr, timeout_ns, &offset);
    return error ? error : dsm_sync_rw_lock(d, offset, is_write, timeout_ns);
}

int dsm_rwlock_read(const void *addr, int64_t timeout_ns)
{
    return rw_lock(addr, false, timeout_ns);
}

int dsm_rwlock_write(const void *addr, int64_t timeout_ns)
{
    return rw_lock(addr, true, timeout_ns);
}

int dsm_rwlock_unlock(const void *addr)
{
    struct dsm_driver *d = dsm_api_driver();
    uint64_t offset;
    int error = check(d, addr, 0, &offset);
    return error ? error : dsm_sync_rw_unlock(d, offset);
}

/* ---- condition variables */

int dsm_cond_wait(const void *cond, const void *lock, int64_t timeout_ns)
{
    struct dsm_driver *d = dsm_api_driver();
    uint64_t id, lock_offset;
    int error = check(d, cond, timeout_ns, &id);
    if (!error)
        error = check(d, lock, timeout_ns, &lock_offset);
    if (error)
        return error;
    if (!dsm_locks_is_held(d, (uintptr_t)lock))
        return DSM_E_NOTHELD;
    return dsm_sync_cond_wait(d, id, (uintptr_t)lock, timeout_ns);
}

int dsm_cond_signal(const void *cond)
{
    return operate(cond, DSM_SYNC_CONDITION, DSM_SYNC_OP_SIGNAL, 1, 0, DSM_FOREVER, NULL);
}

int dsm_cond_broadcast(const void *cond)
{
    return operate(cond, DSM_SYNC_CONDITION, DSM_SYNC_OP_SIGNAL, UINT64_MAX, 0, DSM_FOREVER, NULL);
}

/* ---- semaphores and flags */

int dsm_sem_set(const void *sem, uint64_t value)
{
    if (value > DSM_SYNC_MAX)
        return invalid();
    return operate(sem, DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_SET, value, 0, DSM_FOREVER, NULL);
}

int dsm_sem_post(const void *sem, uint64_t n)
{
    return operate(sem, DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_ADD, n, 0, DSM_FOREVER, NULL);
}

int dsm_sem_wait(const void *sem, int64_t timeout_ns)
{
    return operate(sem, DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_TAKE, 1, 0, timeout_ns, NULL);
}

int dsm_sem_value(const void *sem, uint64_t *value_out)
{
    OPERATE_OUT(uint64_t, sem, SEMAPHORE, GET, 0, 0, DSM_FOREVER, value_out);
}

int dsm_flag_set(const void *flag, uint64_t count)
{
    if (count > DSM_SYNC_MAX)
        return invalid();
    return operate(flag, DSM_SYNC_FLAG, DSM_SYNC_OP_SET, count, 0, DSM_FOREVER, NULL);
}

int dsm_flag_clear(const void *flag)
{
    return operate(flag, DSM_SYNC_FLAG, DSM_SYNC_OP_SET, 0, 0, DSM_FOREVER, NULL);
}

int dsm_flag_add(const void *flag, uint64_t n)
{
    return operate(flag, DSM_SYNC_FLAG, DSM_SYNC_OP_ADD, n, 0, DSM_FOREVER, NULL);
}

int dsm_flag_await(const void *flag, uint64_t at_least, int64_t timeout_ns)
{
    return operate(flag, DSM_SYNC_FLAG, DSM_SYNC_OP_AWAIT, at_least, 0, timeout_ns, NULL);
}

int dsm_flag_take(const void *flag, uint64_t n, int64_t timeout_ns)
{
    return operate(flag, DSM_SYNC_FLAG, DSM_SYNC_OP_TAKE, n, 0, timeout_ns, NULL);
}

int dsm_flag_put(const void *flag, uint64_t count, int64_t timeout_ns)
{
    if (count > DSM_SYNC_MAX)
        return invalid();
    return operate(flag, DSM_SYNC_FLAG, DSM_SYNC_OP_PUT, count, 0, timeout_ns, NULL);
}

int dsm_flag_count(const void *flag, uint64_t *count_out)
{
    OPERATE_OUT(uint64_t, flag, FLAG, GET, 0, 0, DSM_FOREVER, count_out);
}

/* ---- tickets, barriers of threads */

int dsm_ticket_next(const void *tickets, uint64_t n_tickets, uint64_t n_threads, int64_t timeout_ns,
                    int64_t *index_out)
{
    if (dsm_api_driver() && dsm_region_has(dsm_api_driver()->region, (uintptr_t)tickets) &&
        (n_threads == 0 || n_tickets > DSM_SYNC_MAX || !index_out))
        return invalid();
    OPERATE_OUT(int64_t, tickets, TICKETS, TICKET, n_tickets, n_threads, timeout_ns, index_out);
}

int dsm_barrier_threads(const void *barrier, uint64_t n_threads, int64_t timeout_ns)
{
    if (n_threads == 0)
        return invalid();
    return operate(barrier, DSM_SYNC_BARRIER, DSM_SYNC_OP_ARRIVE, n_threads, 0, timeout_ns, NULL);
}

/* ---- words */

int dsm_word_fetch_add_u32(const void *word, uint32_t v, uint32_t *before_out)
{
    OPERATE_OUT(uint32_t, word, WORD32, WRAP_ADD, v, 0, DSM_FOREVER, before_out);
}

int dsm_word_fetch_add_u64(const void *word, uint64_t v, uint64_t *before_out)
{
    OPERATE_OUT(uint64_t, word, WORD64, WRAP_ADD, v, 0, DSM_FOREVER, before_out);
}

int dsm_word_exchange_u32(const void *word, uint32_t v, uint32_t *before_out)
{
    OPERATE_OUT(uint32_t, word, WORD32, SWAP, v, 0, DSM_FOREVER, before_out);
}

int dsm_word_exchange_u64(const void *word, uint64_t v, uint64_t *before_out)
{
    OPERATE_OUT(uint64_t, word, WORD64, SWAP, v, 0, DSM_FOREVER, before_out);
}

int dsm_word_compare_swap_u32(const void *word, uint32_t expected, uint32_t desired,
                              uint32_t *before_out)
{
    OPERATE_OUT(uint32_t, word, WORD32, COMPARE_SWAP, expected, desired, DSM_FOREVER, before_out);
}

int dsm_word_compare_swap_u64(const void *word, uint64_t expected, uint64_t desired,
                              uint64_t *before_out)
{
    OPERATE_OUT(uint64_t, word, WORD64, COMPARE_SWAP, expected, desired, DSM_FOREVER, before_out);
}

int dsm_sync_destroy(const void *addr)
{
    struct dsm_driver *d = dsm_api_driver();
    uint64_t offset;
    int error = check(d, addr, DSM_FOREVER, &offset);
    if (!error)
        error = dsm_locks_end(d, (uintptr_t)addr);
    return error ? error
                 : operate(addr, DSM_SYNC_NONE, DSM_SYNC_OP_DESTROY, 0, 0, DSM_FOREVER, NULL);
}
