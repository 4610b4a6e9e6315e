/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bad_calls.c - every public call with arguments that it must refuse, in one table: before dsm_init
 * and after dsm_finalize all of it gives STATE, in between what the row says, also in a signal
 * handler; in a handler that interrupted a wait of the library, BUSY. Nothing is changed by any of
 * it.
 *
 * Run under dsmrun by bad_calls.sh; all ranks do the same. What the library prints is not looked
 * at.
 */
#define _GNU_SOURCE
#include <dsm/dsm.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned n_failed;
static char *shared;  /* 64 KiB of the region */
static char *freed;   /* a block that was freed */
static char *outside; /* behind the region's end */
static char private[64];
static char *freed_small = private; /* the first block of a granule, which was freed */
static char *neighbour;             /* the block behind it */
static uint32_t ranks[] = {0, 0};
static uint32_t no_rank = 1000000;
static uint64_t out64 = 77;
static uint32_t out32 = 77;
static int64_t index_out = 77;
static void *addr_out;

static struct dsm_alloc_options options(enum dsm_placement placement, uint32_t rank, uint64_t unit,
                                        uint64_t block)
{
    struct dsm_alloc_options o;
    dsm_alloc_options_init(NULL);
    dsm_alloc_options_init(&o);
    o.placement = placement;
    o.rank = rank;
    o.unit_bytes = unit;
    o.block_bytes = block;
    return o;
}
static int alloc_with(struct dsm_alloc_options o)
{
    return dsm_alloc(8192, &o, &addr_out);
}
static int alloc_of_size(size_t struct_size)
{
    struct dsm_alloc_options o = options(DSM_PLACE_BLOCK, 0, 4096, 0);
    o.struct_size = struct_size;
    return alloc_with(o);
}
static int stats_of_size(size_t struct_size)
{
    struct dsm_stats s = {.struct_size = struct_size};
    return dsm_stats_get(&s);
}
/* Calls that give a pointer: 0 for one, the errno as a code otherwise. */
static int pointer(void *p)
{
    return p                 ? 0
           : errno == EINVAL ? DSM_E_INVAL
           : errno == ENOMEM ? DSM_E_NOMEM
           : errno == EBUSY  ? DSM_E_BUSY
                             : DSM_E_SYSTEM;
}

static struct dsm_where where_out;
static bool has_joined;

/* A call, and what it gives inside a job. */
#define TABLE(XX)                                                                                  \
    XX(dsm_alloc(8192, NULL, NULL), INVAL)                                                         \
    XX(dsm_alloc(0, NULL, &addr_out), INVAL)                                                       \
    XX(dsm_alloc(SIZE_MAX, NULL, &addr_out), NOSPACE)                                              \
    XX(dsm_alloc(SIZE_MAX / 2, NULL, &addr_out), NOSPACE)                                          \
    XX(alloc_of_size(0), INVAL)                                                                    \
    XX(alloc_of_size(1000), INVAL)                                                                 \
    XX(alloc_with(options((enum dsm_placement)9, 0, 4096, 0)), INVAL)                              \
    XX(alloc_with(options(DSM_PLACE_RANK, no_rank, 4096, 0)), INVAL)                               \
    XX(alloc_with(options(DSM_PLACE_BLOCK, 0, 4097, 0)), INVAL)                                    \
    XX(alloc_with(options(DSM_PLACE_BLOCK, 0, 2048, 0)), INVAL)                                    \
    XX(alloc_with(options(DSM_PLACE_BLOCK, 0, 4u << 20, 0)), INVAL)                                \
    XX(alloc_with(options(DSM_PLACE_CYCLIC, 0, 8192, 4096)), INVAL)                                \
    XX(dsm_free(private), INVAL)                                                                   \
    XX(dsm_free(outside + 1), INVAL)                                                               \
    XX(dsm_free(shared + 1), INVAL)                                                                \
    XX(dsm_free(shared + 4096), INVAL)                                                             \
    XX(dsm_free(freed + 4096), INVAL)                                                              \
    XX(dsm_free(freed_small), INVAL)                                                               \
    XX(dsm_prefetch(NULL, 1, DSM_READ), RANGE)                                                     \
    XX(dsm_prefetch(private, 1, DSM_READ), RANGE)                                                  \
    XX(dsm_prefetch(outside, 0, DSM_READ), RANGE)                                                  \
    XX(dsm_prefetch(shared, SIZE_MAX, DSM_READ), RANGE)                                            \
    XX(dsm_prefetch(shared, dsm_region_bytes() + 1, DSM_READ), RANGE)                              \
    XX(dsm_prefetch(shared, 1, (enum dsm_access)0), INVAL)                                         \
    XX(dsm_prefetch(shared, 1, (enum dsm_access)7), INVAL)                                         \
    XX(dsm_touch(NULL, 1, DSM_WRITE), RANGE)                                                       \
    XX(dsm_touch(private, 1, DSM_READ), RANGE)                                                     \
    XX(dsm_touch(outside, 1, DSM_WRITE), RANGE)                                                    \
    XX(dsm_touch(shared + 1, SIZE_MAX, DSM_WRITE), RANGE)                                          \
    XX(dsm_touch(shared, dsm_region_bytes() + 1, DSM_READ), RANGE)                                 \
    XX(dsm_touch(shared, 1, (enum dsm_access)0), INVAL)                                            \
    XX(dsm_touch(shared, 1, (enum dsm_access)(DSM_READ | DSM_WRITE)), INVAL)                       \
    XX(dsm_prefetch_by(outside, 1, DSM_READ, 1), RANGE)                                            \
    XX(dsm_prefetch_by(shared, 1, (enum dsm_access)7, 1), INVAL)                                   \
    XX(dsm_prefetch_by(shared, 1, DSM_READ, 0), INVAL)                                             \
    XX(dsm_prefetch_by(shared, 1, DSM_READ, -1), INVAL)                                            \
    XX(dsm_advise(NULL, 1, DSM_ADVICE_NORMAL), RANGE)                                              \
    XX(dsm_advise(private, 1, DSM_ADVICE_PRIVATE), RANGE)                                          \
    XX(dsm_advise(shared, SIZE_MAX, DSM_ADVICE_NORMAL), RANGE)                                     \
    XX(dsm_advise(shared, 1, (enum dsm_advice)5), INVAL)                                           \
    XX(dsm_pin(NULL, 1, DSM_READ, 1), RANGE)                                                       \
    XX(dsm_pin(private, 1, DSM_READ, 1), RANGE)                                                    \
    XX(dsm_pin(shared, SIZE_MAX, DSM_READ, 1), RANGE)                                              \
    XX(dsm_pin(shared, 1, (enum dsm_access)0, 1), INVAL)                                           \
    XX(dsm_pin(shared, 1, DSM_READ, 0), INVAL)                                                     \
    XX(dsm_pin(shared, 1, DSM_READ, DSM_PIN_MAX_NS + 1), INVAL)                                    \
    XX(dsm_unpin(NULL, 1), RANGE)                                                                  \
    XX(dsm_unpin(private, 1), RANGE)                                                               \
    XX(dsm_unpin(shared, SIZE_MAX), RANGE)                                                         \
    XX(dsm_where(NULL, &where_out), RANGE)                                                         \
    XX(dsm_where(outside, &where_out), RANGE)                                                      \
    XX(dsm_where(shared, NULL), INVAL)                                                             \
    XX(dsm_lock(NULL), RANGE)                                                                      \
    XX(dsm_lock(private), RANGE)                                                                   \
    XX(dsm_lock(outside), RANGE)                                                                   \
    XX(dsm_lock_timed(shared, -2), INVAL)                                                          \
    XX(dsm_lock_timed(shared, INT64_MIN), INVAL)                                                   \
    XX(dsm_trylock(NULL), RANGE)                                                                   \
    XX(dsm_unlock(NULL), RANGE)                                                                    \
    XX(dsm_unlock(private), RANGE)                                                                 \
    XX(dsm_unlock(shared), NOTHELD)                                                                \
    XX(dsm_unlock(freed), NOTHELD)                                                                 \
    XX(dsm_rwlock_read(NULL, 0), RANGE)                                                            \
    XX(dsm_rwlock_read(shared, -2), INVAL)                                                         \
    XX(dsm_rwlock_write(outside, 0), RANGE)                                                        \
    XX(dsm_rwlock_write(shared, INT64_MIN), INVAL)                                                 \
    XX(dsm_rwlock_unlock(private), RANGE)                                                          \
    XX(dsm_rwlock_unlock(shared), NOTHELD)                                                         \
    XX(dsm_cond_wait(NULL, shared, 0), RANGE)                                                      \
    XX(dsm_cond_wait(shared, private, 0), RANGE)                                                   \
    XX(dsm_cond_wait(shared, shared, -2), INVAL)                                                   \
    XX(dsm_cond_wait(shared, shared, 0), NOTHELD)                                                  \
    XX(dsm_cond_signal(NULL), RANGE)                                                               \
    XX(dsm_cond_broadcast(private), RANGE)                                                         \
    XX(dsm_sem_set(NULL, 0), RANGE)                                                                \
    XX(dsm_sem_set(shared, UINT64_MAX), INVAL)                                                     \
    XX(dsm_sem_post(outside, 1), RANGE)                                                            \
    XX(dsm_sem_post(shared + 8, UINT64_MAX), LIMIT)                                                \
    XX(dsm_sem_wait(private, 0), RANGE)                                                            \
    XX(dsm_sem_wait(shared + 8, -2), INVAL)                                                        \
    XX(dsm_sem_wait(shared + 8, 0), TIMEOUT)                                                       \
    XX(dsm_sem_wait(shared + 8, 1), TIMEOUT)                                                       \
    XX(dsm_sem_value(NULL, &out64), RANGE)                                                         \
    XX(dsm_flag_set(NULL, 1), RANGE)                                                               \
    XX(dsm_flag_set(shared, UINT64_MAX), INVAL)                                                    \
    XX(dsm_flag_set(shared + 8, 1), KIND)                                                          \
    XX(dsm_flag_clear(private), RANGE)                                                             \
    XX(dsm_flag_add(outside, 1), RANGE)                                                            \
    XX(dsm_flag_add(shared + 16, UINT64_MAX), LIMIT)                                               \
    XX(dsm_flag_await(NULL, 1, 0), RANGE)                                                          \
    XX(dsm_flag_await(shared + 16, 1, -2), INVAL)                                                  \
    XX(dsm_flag_await(shared + 16, 1, 0), TIMEOUT)                                                 \
    XX(dsm_flag_take(NULL, 1, 0), RANGE)                                                           \
    XX(dsm_flag_take(shared + 16, UINT64_MAX, 1), TIMEOUT)                                         \
    XX(dsm_flag_put(NULL, 1, 0), RANGE)                                                            \
    XX(dsm_flag_put(shared + 16, UINT64_MAX, 0), INVAL)                                            \
    XX(dsm_flag_count(private, &out64), RANGE)                                                     \
    XX(dsm_ticket_next(NULL, 1, 1, 0, &index_out), RANGE)                                          \
    XX(dsm_ticket_next(shared, 1, 0, 0, &index_out), INVAL)                                        \
    XX(dsm_ticket_next(shared, UINT64_MAX, 1, 0, &index_out), INVAL)                               \
    XX(dsm_ticket_next(shared, 1, 1, 0, NULL), INVAL)                                              \
    XX(dsm_ticket_next(shared, 1, 1, -2, &index_out), INVAL)                                       \
    XX(dsm_ticket_next(shared + 8, 1, 1, 0, &index_out), KIND)                                     \
    XX(dsm_barrier_threads(NULL, 1, 0), RANGE)                                                     \
    XX(dsm_barrier_threads(shared, 0, 0), INVAL)                                                   \
    XX(dsm_barrier_threads(shared, 1, -2), INVAL)                                                  \
    XX(dsm_barrier_threads(shared + 24, UINT64_MAX, 0), TIMEOUT)                                   \
    XX(dsm_word_fetch_add_u32(NULL, 1, &out32), RANGE)                                             \
    XX(dsm_word_fetch_add_u64(private, 1, &out64), RANGE)                                          \
    XX(dsm_word_exchange_u32(outside, 1, &out32), RANGE)                                           \
    XX(dsm_word_exchange_u64(NULL, 1, &out64), RANGE)                                              \
    XX(dsm_word_compare_swap_u32(NULL, 1, 2, &out32), RANGE)                                       \
    XX(dsm_word_compare_swap_u64(NULL, 1, 2, &out64), RANGE)                                       \
    XX(dsm_word_fetch_add_u64(shared + 8, 1, &out64), KIND)                                        \
    XX(dsm_sync_destroy(NULL), RANGE)                                                              \
    XX(dsm_sync_destroy(outside), RANGE)                                                           \
    XX(dsm_barrier_group(NULL, 1), INVAL)                                                          \
    XX(dsm_barrier_group(ranks, 0), INVAL)                                                         \
    XX(dsm_barrier_group(ranks, 2), INVAL)                                                         \
    XX(dsm_barrier_group(&no_rank, 1), INVAL)                                                      \
    XX(dsm_barrier_group(ranks, UINT32_MAX), INVAL)                                                \
    XX(dsm_bcast(NULL, 8, 0), INVAL)                                                               \
    XX(dsm_bcast(private, 8, no_rank), INVAL)                                                      \
    XX(dsm_allreduce(NULL, 1, DSM_INT32, DSM_SUM), INVAL)                                          \
    XX(dsm_allreduce(private, 1, (enum dsm_type)77, DSM_SUM), INVAL)                               \
    XX(dsm_allreduce(private, 1, DSM_INT32, (enum dsm_op)77), INVAL)                               \
    XX(dsm_allreduce(private, 1, DSM_DOUBLE, DSM_BXOR), INVAL)                                     \
    XX(dsm_allreduce(private, SIZE_MAX, DSM_DOUBLE, DSM_SUM), INVAL)                               \
    XX(dsm_distribute(NULL, 8), INVAL)                                                             \
    XX(dsm_distribute(shared, 8), INVAL)                                                           \
    XX(dsm_distribute(shared - 4, 8), INVAL)                                                       \
    XX(dsm_distribute(private, SIZE_MAX), INVAL)                                                   \
    XX(dsm_allreduce(private, 1, DSM_UINT8, (enum dsm_op)(DSM_BXOR + 1)), INVAL)                   \
    XX(dsm_allreduce(private, 1, DSM_FLOAT, DSM_BAND), INVAL)                                      \
    XX(dsm_ring(no_rank), INVAL)                                                                   \
    XX(dsm_ring(UINT32_MAX), INVAL)                                                                \
    XX(dsm_stats_get(NULL), INVAL)                                                                 \
    XX(stats_of_size(0), INVAL)                                                                    \
    XX(stats_of_size(SIZE_MAX), INVAL)

/* Likewise, for calls that give pointers; outside a job they fail with EINVAL. */
#define POINTER_TABLE(XX)                                                                          \
    XX(dsm_malloc(SIZE_MAX), NOMEM)                                                                \
    XX(dsm_calloc(SIZE_MAX / 2, 1), NOMEM)                                                         \
    XX(dsm_aligned_alloc(0, 8), INVAL)                                                             \
    XX(dsm_aligned_alloc(3, 8), INVAL)                                                             \
    XX(dsm_aligned_alloc(4u << 20, 8), INVAL)                                                      \
    XX(dsm_aligned_alloc(16, SIZE_MAX), NOMEM)                                                     \
    XX(dsm_realloc(private, 8), INVAL)                                                             \
    XX(dsm_realloc(outside, 8), INVAL)                                                             \
    XX(dsm_realloc(shared + 8, 8), INVAL)                                                          \
    XX(dsm_realloc(freed, 8), INVAL)                                                               \
    XX(dsm_realloc(freed_small, 8), INVAL)                                                         \
    XX(dsm_realloc(shared, SIZE_MAX), NOMEM)

static void expect(const char *when, const char *call, int got, int wanted)
{
    if (got == wanted)
        return;
    n_failed++;
    fprintf(stderr, "FAILED %s: %s is %s, not %s\n", when, call, dsm_errname(got),
            dsm_errname(wanted));
}

/* What has an answer in every state of the library. */
static void ask_what_never_fails(const char *when, bool is_open)
{
    expect(when, "dsm_version", dsm_version() && dsm_version()[0], 1);
    expect(when, "dsm_strerror", dsm_strerror(INT32_MIN) != NULL, 1);
    expect(when, "dsm_errname", dsm_errname(INT32_MAX) != NULL, 1);
    expect(when, "dsm_trap_name", dsm_trap_name() != NULL, is_open);
    expect(when, "dsm_transport_name", dsm_transport_name() != NULL && !is_open, 0);
    expect(when, "dsm_on_ring", dsm_on_ring(NULL, NULL), is_open ? 0 : DSM_E_STATE);
    expect(when, "dsm_rank", dsm_rank() < dsm_size(), 1);
    expect(when, "dsm_base", dsm_base() != NULL, is_open);
    expect(when, "dsm_region_bytes", dsm_region_bytes() != 0, is_open);
}

static void refuse_all(const char *when, bool is_open)
{
#define XX(call, code) expect(when, #call, (call), is_open ? DSM_E_##code : DSM_E_STATE);
    TABLE(XX)
#undef XX
    if (has_joined)
        expect(when, "dsm_init a second time", dsm_init(NULL), DSM_E_STATE);
#define XX(call, code) expect(when, #call, pointer(call), is_open ? DSM_E_##code : DSM_E_INVAL);
    POINTER_TABLE(XX)
#undef XX
    ask_what_never_fails(when, is_open);
    if (out64 != 77 || out32 != 77 || index_out != 77 || addr_out) {
        n_failed++;
        fprintf(stderr, "FAILED %s: a call that failed has changed an output\n", when);
    }
}

static void in_handler(int signo)
{
    (void)signo;
    refuse_all("in a signal handler", true);
}

static _Atomic int n_interrupted;

static void in_wait(int signo)
{
    (void)signo;
    if (dsm_sem_value(shared + 8, NULL) != DSM_E_BUSY)
        return; /* the wait has not begun */
    expect("in a wait", "dsm_lock", dsm_lock(shared), DSM_E_BUSY);
    expect("in a wait", "dsm_sem_post", dsm_sem_post(shared + 8, 1), DSM_E_BUSY);
    expect("in a wait", "dsm_barrier", dsm_barrier(), DSM_E_BUSY);
    expect("in a wait", "dsm_malloc", pointer(dsm_malloc(8)), DSM_E_BUSY);
    expect("in a wait", "dsm_free", dsm_free(shared), DSM_E_BUSY);
    expect("in a wait", "dsm_alloc", dsm_alloc(8, NULL, &addr_out), DSM_E_BUSY);
    shared[8192 + dsm_rank()]++; /* loads and stores may */
    n_interrupted++;
}

static void *wait_for_post(void *arg)
{
    (void)arg;
    expect("in a wait", "dsm_sem_wait", dsm_sem_wait(shared + 32 + 8 * dsm_rank(), DSM_FOREVER), 0);
    return NULL;
}

/* A thread waits, and is interrupted until it has been so in its wait. */
static void interrupt_a_wait(void)
{
    pthread_t thread;
    struct sigaction action = {.sa_handler = in_wait};
    sigaction(SIGUSR2, &action, NULL);
    if (pthread_create(&thread, NULL, wait_for_post, NULL))
        abort();
    while (n_interrupted == 0) {
        const struct timespec pause = {0, 1000000};
        pthread_kill(thread, SIGUSR2);
        (void)nanosleep(&pause, NULL);
    }
    expect("after a wait", "dsm_sem_post", dsm_sem_post(shared + 32 + 8 * dsm_rank(), 1), 0);
    pthread_join(thread, NULL);
}

/* Everything goes on as before. */
static void use_it(void)
{
    unsigned char pattern[64];
    uint64_t sum = 1;
    memset(pattern, 0x5a, sizeof pattern);
    expect("afterwards", "the memory", memcmp(shared, pattern, sizeof pattern), 0);
    expect("afterwards", "a block beside a freed one", memcmp(neighbour, pattern, 64), 0);
    expect("afterwards", "dsm_lock", dsm_lock(shared), 0);
    expect("afterwards", "dsm_unlock", dsm_unlock(shared), 0);
    expect("afterwards", "dsm_allreduce", dsm_allreduce(&sum, 1, DSM_UINT64, DSM_SUM), 0);
    expect("afterwards", "the sum", (int)sum, (int)dsm_size());
    void *p = dsm_malloc(100);
    expect("afterwards", "dsm_malloc", p == NULL, 0);
    expect("afterwards", "dsm_free", dsm_free(p), 0);
    expect("afterwards", "dsm_free(NULL)", dsm_free(NULL), 0);
    expect("afterwards", "dsm_barrier", dsm_barrier(), 0);
}

/* Of the last rank, for everybody. */
static void free_a_small_block(void)
{
    if (dsm_rank() == dsm_size() - 1) {
        freed_small = dsm_malloc(100);
        neighbour = dsm_malloc(100);
        memset(neighbour, 0x5a, 64);
        expect("inside", "dsm_free", dsm_free(freed_small), 0);
    }
    dsm_bcast(&freed_small, sizeof freed_small, dsm_size() - 1);
    dsm_bcast(&neighbour, sizeof neighbour, dsm_size() - 1);
    expect("inside", "the start of a granule", (uintptr_t)freed_small % 65536 != 0, 0);
}

static void bad_configs(void)
{
    struct dsm_config config;
    dsm_config_init(NULL);
    dsm_config_init(&config);
    config.struct_size = 3;
    expect("at start", "struct_size 3", dsm_init(&config), DSM_E_INVAL);
    dsm_config_init(&config);
    config.trap = "mousetrap";
    expect("at start", "trap mousetrap", dsm_init(&config), DSM_E_INVAL);
    dsm_config_init(&config);
    config.region_bytes = UINT64_MAX;
    expect("at start", "a region of 2^64-1 bytes", dsm_init(&config), DSM_E_INVAL);
}

/* Outside a job dsm_abort ends this process alone. */
static void end_at_once(const char *when)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0)
        dsm_abort(47);
    expect(when, "waitpid", waitpid(pid, &status, 0) == pid, 1);
    expect(when, "dsm_abort", WIFEXITED(status) ? WEXITSTATUS(status) : -1, 47);
}

int main(void)
{
    void *p = NULL;
    end_at_once("before dsm_init");
    refuse_all("before dsm_init", false);
    bad_configs();
    expect("before", "dsm_rank", (int)dsm_rank(), 0);
    expect("before", "dsm_size", (int)dsm_size(), 1);
    expect("before", "dsm_base", dsm_base() != NULL, 0);
    expect("before", "dsm_finalize", dsm_finalize(), DSM_E_STATE);
    if (dsm_init(NULL) || dsm_alloc(65536, NULL, &p))
        return 2;
    has_joined = true;
    shared = p;
    outside = (char *)dsm_base() + dsm_region_bytes();
    freed = dsm_malloc(200000);
    if (dsm_free(freed))
        return 2;
    free_a_small_block();
    if (dsm_rank() == 0)
        memset(shared, 0x5a, 64);
    expect("inside", "dsm_sem_set", dsm_sem_set(shared + 8, 0), 0);
    expect("inside", "dsm_flag_set", dsm_flag_set(shared + 16, 0), 0);
    if (dsm_barrier() || dsm_free(freed) != DSM_E_INVAL)
        return 2;
    expect("inside", "dsm_calloc(SIZE_MAX, 2)", pointer(dsm_calloc(SIZE_MAX, 2)), DSM_E_NOMEM);
    refuse_all("inside", true);
    struct sigaction action = {.sa_handler = in_handler};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    dsm_barrier();
    interrupt_a_wait();
    dsm_barrier();
    use_it();
    expect("at the end", "dsm_finalize", dsm_finalize(), 0);
    refuse_all("after dsm_finalize", false);
    expect("at the end", "dsm_finalize again", dsm_finalize(), DSM_E_STATE);
    end_at_once("after dsm_finalize");
    if (n_failed)
        printf("%u calls were wrong\n", n_failed);
    else
        printf("all were refused\n");
    return n_failed ? 1 : 0;
}
