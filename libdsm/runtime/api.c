/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * api.c - the calls of dsm.h: start, end, and thin doors to the parts.
 *
 * The one runtime of the process is the only file-level mutable state besides the thread-local one:
 * signal handlers and callers without a handle need to find it.
 */
#define _GNU_SOURCE
#include <dsm/dsm.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "runtime/api.h"
#include "runtime/bell.h"
#include "runtime/collective.h"
#include "runtime/distribute.h"
#include "runtime/globals.h"
#include "runtime/heap.h"
#include "runtime/membership.h"
#include "runtime/observe.h"
#include "runtime/profile.h"
#include "runtime/publish.h"
#include "runtime/runtime.h"
#include "runtime/service.h"
#include "runtime/settings.h"
#include "runtime/stats.h"
#include "runtime/transports.h"
#include "syscalls/syscalls.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef DSM_BUILD_VERSION
#error "the build passes DSM_BUILD_VERSION"
#endif

enum phase { CLOSED, OPEN, DONE };

struct runtime {
    _Atomic int phase;
    struct dsm_settings settings;
    struct dsm_region region;
    struct dsm_driver driver;
    struct dsm_service service;
    struct dsm_membership *membership;
    struct dsm_job_info info;
    const struct dsm_trap_ops *trap_ops;
    const struct dsm_net_ops *net_ops;
    struct dsm_net *net;
    atomic_bool has_seen_loss; /* dsmd has said so */
};

static struct runtime rt;

const char *dsm_version(void)
{
    return DSM_BUILD_VERSION;
}

const char *dsm_strerror(int error)
{
    return dsm_error_text(error);
}

const char *dsm_errname(int error)
{
    return dsm_error_name(error);
}

const char *dsm_trap_name(void)
{
    return atomic_load(&rt.phase) == OPEN ? rt.trap_ops->name : NULL;
}

const char *dsm_transport_name(void)
{
    return atomic_load(&rt.phase) == OPEN && rt.net ? rt.net_ops->name : NULL;
}

/* ---- the end of a job that went wrong ------------------------------------------------------ */

/* Not exit(): it runs handlers of the program and takes stdio's locks, and a thread may hold those
 * while it waits for a page that will not come. */
static void __attribute__((noreturn)) end_job(int status, const char *why)
{
    if (rt.membership)
        (void)dsm_membership_abort(rt.membership, status, why);
    _exit(status);
}

/* Others know more about a loss and are about to end the job; if they do not, the service thread
 * does. */
static void await_the_end(struct dsm_driver *d, const char *why)
{
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    if (!d->loss_text[0])
        dsm_format(d->loss_text, sizeof d->loss_text, "%s", why);
    dsm_driver_leave(d, &guard);
    dsm_service_report_loss(&rt.service);
}

static void go_on_without(struct dsm_driver *d, uint32_t rank, const char *why)
{
    if (dsm_driver_lose_rank(d, rank, why))
        dsm_log(DSM_LOG_WARN, "%s; going on without it", why);
}

static void on_view(void *user, uint32_t epoch, uint32_t rank, const char *reason)
{
    (void)user;
    (void)epoch;
    if (rt.settings.go_on_after_loss) {
        /* It may live on, cut off from dsmd alone: its connections, and with them its keys to
         * memory here, end before anything of it is given to others. The core hears of it as of a
         * lost lane; in the end, when those are no news, from here. */
        atomic_store(&rt.has_seen_loss, true);
        if (!rt.net || !rt.net_ops->expel(rt.net, rank, reason) ||
            atomic_load(&rt.driver.is_finalizing))
            go_on_without(&rt.driver, rank, reason);
        return;
    }
    if (rt.info.is_managed) {
        /* dsmrun has yet to reap the rank, says what it died of, and ends the others: exiting first
         * would make this rank the one that failed. */
        await_the_end(&rt.driver, reason);
        return;
    }
    /* One message for the job: the lowest of the survivors speaks. */
    if (rt.info.rank == (rank == 0 ? 1u : 0u))
        dsm_log(DSM_LOG_ERROR, "%s; the job ends", reason);
    _exit(1);
}

static void on_left(void *user, uint32_t rank)
{
    (void)user;
    if (rt.net)
        rt.net_ops->peer_left(rt.net, rank);
}

static void on_abort(void *user, uint32_t rank, int status, const char *reason)
{
    (void)user;
    (void)rank;
    dsm_log(DSM_LOG_INFO, "the job ends: %s", reason);
    _exit(status);
}

static void show(void *user, const void *live, size_t len_bytes)
{
    struct runtime *r = user;
    dsm_membership_show(r->membership, live, len_bytes);
}

static void on_watched(void *user, uint32_t every_ms)
{
    struct runtime *r = user;
    if (r->service.publish)
        dsm_publish_watch(r->service.publish, every_ms, show, r);
}

static void on_daemon_lost(void *user, const char *reason)
{
    (void)user;
    if (atomic_load(&rt.driver.is_finalizing))
        return;
    dsm_log(DSM_LOG_ERROR, "%s; the job ends", reason);
    _exit(1);
}

/* On the service thread. */
static void on_unexplained_loss(void *user)
{
    (void)user;
    dsm_log(DSM_LOG_ERROR, "%s, and nobody has ended the job since; it ends now",
            rt.driver.loss_text);
    end_job(1, rt.driver.loss_text);
}

/* A lane broke: dsmd knows more about why, so its word is awaited. On the service thread, or on a
 * thread that waits. */
static void on_lane_lost(void *user, uint32_t rank, int error, const char *why)
{
    struct dsm_driver *d = user;
    if (atomic_load(&d->is_finalizing)) {
        /* Normal: it is past the final barrier. If that does not end here too, something of it was
         * lost, and this process must not wait for ever. After a loss the barrier ends with the one
         * that is missing, and nobody needs to hear of those who leave with it. */
        if (atomic_load(&rt.has_seen_loss))
            (void)dsm_driver_lose_rank(d, rank, why);
        else
            await_the_end(d, why);
        return;
    }
    if (error == DSM_E_PROTO || error == DSM_E_AUTH || error == DSM_E_MISMATCH) {
        dsm_log(DSM_LOG_ERROR, "%s; the job ends", why);
        end_job(1, why);
    }
    if (rt.settings.go_on_after_loss)
        go_on_without(d, rank, why);
    else
        await_the_end(d, why);
}

/* ---- start --------------------------------------------------------------------------------- */

static int try_base(void *user, uint64_t base, uint64_t region_bytes, uint64_t *suggestion_out,
                    char *why, size_t why_bytes)
{
    struct runtime *r = user;
    (void)region_bytes;
    dsm_region_unmap_app(&r->region);
    int error = dsm_region_map_app(&r->region, base, suggestion_out);
    if (error)
        dsm_format(why, why_bytes, "0x%lx..0x%lx is not free here", (unsigned long)base,
                   (unsigned long)(base + r->region.len_bytes));
    return error;
}

/* A job of one picks its own base. */
static int map_alone(struct runtime *r)
{
    uint64_t base = r->settings.base ? r->settings.base : 0x200000000000ull, suggestion = 0;
    int error = dsm_region_map_app(&r->region, base, &suggestion);
    if (error && !r->settings.base && suggestion)
        error = dsm_region_map_app(&r->region, suggestion, &suggestion);
    if (error)
        dsm_log(DSM_LOG_ERROR,
                "the region of %lu bytes cannot be mapped at 0x%lx: that range is not "
                "free (see /proc/%d/maps, or set DSM_BASE or a smaller "
                "DSM_REGION_SIZE)",
                (unsigned long)r->region.len_bytes, (unsigned long)base, (int)getpid());
    return error;
}

static uint32_t job_check(const uint8_t token[16])
{
    /* Not secret and not the token: a mistake detector in every header. */
    uint32_t h = 0x811c9dc5u;
    for (int i = 0; i < 16; i++)
        h = (h ^ token[i]) * 0x01000193u;
    return h;
}

static int join(struct runtime *r)
{
    if (!r->settings.daemon) {
        const struct dsm_net_ops *ops[DSM_NET_MAX_TRANSPORTS];
        size_t n;
        char why[160];
        int error = dsm_net_list(r->settings.transport, ops, &n, why, sizeof why);
        if (error)
            dsm_log(DSM_LOG_ERROR, "%s", why);
        r->info = (struct dsm_job_info){.n_ranks = 1, .epoch = 1, .n_local = 1};
        return error ? error : map_alone(r);
    }
    struct dsm_net_handler handler;
    atomic_store(&r->has_seen_loss, false);
    dsm_driver_net_handler(&r->driver, &handler);
    handler.on_lost = on_lane_lost;
    struct dsm_net_config net = {.self = UINT32_MAX,
                                 .rdma = r->settings.rdma,
                                 .is_socket_only = r->settings.is_socket_only,
                                 .n_ranks = r->settings.n_ranks,
                                 .epoch = 1,
                                 .listen_host = r->settings.listen_host,
                                 .build = DSM_BUILD_VERSION,
                                 .loop = &r->service.loop};
    memcpy(net.token, r->settings.token, sizeof net.token);
    struct dsm_transports transports;
    int error = dsm_transports_open(&transports, r->settings.transport, &net, &handler);
    if (error)
        return error;
    struct dsm_membership_config member = {
        .daemon = r->settings.daemon,
        .wanted_rank = r->settings.rank,
        .n_ranks = r->settings.n_ranks,
        .region_bytes = r->settings.region_bytes,
        .base = r->settings.base,
        .build = DSM_BUILD_VERSION,
        .offers = transports.offers,
        .n_offers = transports.n_items,
        .wanted_transport = transports.wanted,
        .trap = r->trap_ops->name,
        .join_timeout_s = r->settings.join_timeout_s,
        .handler = {r, try_base, on_view, on_left, on_abort, on_daemon_lost, on_watched},
    };
    memcpy(member.token, r->settings.token, sizeof member.token);
    error = dsm_membership_join(&member, &r->service.loop, &r->membership, &r->info);
    if (!error) {
        dsm_transports_take(&transports, r->info.transport, &r->net_ops, &r->net);
        if (r->info.rank == 0)
            dsm_log(DSM_LOG_INFO, "transport %s: %s", r->net_ops->name, r->info.transport_reason);
    }
    dsm_transports_close(&transports);
    return error;
}

/* What this rank may hold of the region in frames, beside what the transport keeps in memory on its
 * own account: half of all at most, and the largest unit must fit into the rest. */
static int share_memory(const struct runtime *r, uint64_t *frames_bytes_out)
{
    const uint64_t unit_bytes = (uint64_t)DSM_UNIT_MAX_PAGES << DSM_PAGE_SHIFT;
    uint64_t all = r->settings.mem_max_bytes ? r->settings.mem_max_bytes
                                             : dsm_settings_default_mem_max(r->info.n_local);
    uint64_t most_pinned =
        all < 2 * unit_bytes ? all - (all < unit_bytes ? all : unit_bytes) : all / 2;
    uint64_t pinned = 0;
    int error = 0;
    /* Where the job goes on after a loss, the lost rank may run yet. */
    int fd = r->settings.go_on_after_loss ? -1 : r->region.memfd;
    if (r->net && r->net_ops->set_memory)
        error = r->net_ops->set_memory(r->net, r->region.frame, dsm_region_total_bytes(&r->region),
                                       fd, most_pinned, &pinned);
    *frames_bytes_out = DSM_ALIGN_DOWN(all - pinned, (uint64_t)DSM_PAGE_BYTES);
    return error;
}

static int open_driver(struct runtime *r)
{
    uint64_t frames_bytes;
    int error = share_memory(r, &frames_bytes);
    if (error)
        return error;
    struct dsm_driver_config config = {
        .self = r->info.rank,
        .n_ranks = r->info.n_ranks,
        .n_local_ranks = r->info.n_local,
        .epoch = r->info.epoch,
        .job = job_check(r->settings.token),
        .mem_max_bytes = frames_bytes,
        .spin_us = r->settings.spin_us,
        .ahead_bytes = (uint32_t)r->settings.ahead_bytes,
        /* With the only copy a rank that merely read takes the content along when it dies. */
        .is_never_migratory = r->settings.is_never_migratory || r->settings.go_on_after_loss,
        .fault_timeout_s = r->settings.fault_timeout_s,
        .go_on_after_loss = r->settings.go_on_after_loss,
    };
    return dsm_driver_open(&r->driver, &config, &r->region);
}

static int start_profile(struct runtime *r)
{
    struct dsm_profile_config config = {
        .path = r->settings.profile_path,
        .rank = r->info.rank,
        .n_ranks = r->info.n_ranks,
        .base = (uint64_t)(uintptr_t)r->region.app,
        .max_bytes = r->settings.profile_max_bytes,
    };
    return config.path ? dsm_profile_start(&r->driver.profile, &config) : 0;
}

static int open_trap(struct runtime *r)
{
    struct dsm_driver *d = &r->driver;
    struct dsm_trap_config config = {
        .on_fault = dsm_driver_on_fault, .user = d, .wait = dsm_driver_trap_wait};
    int error = r->trap_ops->retry ? dsm_driver_open_async(d) : 0;
    if (!error)
        error = r->trap_ops->open(&config, &d->trap);
    if (error)
        return error;
    d->trap_ops = r->trap_ops;
    error = r->trap_ops->attach(d->trap, r->region.app, r->region.frame, r->region.memfd,
                                r->region.len_bytes);
    if (error) {
        r->trap_ops->close(d->trap);
        d->trap = NULL;
    }
    return error;
}

static void close_all(struct runtime *r, bool has_driver)
{
    struct dsm_driver *d = &r->driver;
    if (r->membership)
        dsm_membership_close(r->membership);
    r->membership = NULL;
    if (r->net)
        r->net_ops->close(r->net);
    r->net = NULL;
    if (has_driver) {
        if (d->trap) {
            d->trap_ops->detach(d->trap, r->region.app, r->region.len_bytes);
            d->trap_ops->close(d->trap);
        }
        if (d->profile)
            dsm_profile_stop(d->profile);
        dsm_driver_close(d);
    }
    dsm_region_close(&r->region);
    dsm_service_close(&r->service);
}

static void before_fork(void)
{
    /* NULL: no rank, or not any more. */
    dsm_globals_before_fork(dsm_api_driver());
}

static void after_fork_in_child(void)
{
    dsm_globals_after_fork_in_child();
    if (atomic_load(&rt.phase) != OPEN)
        return;
    atomic_store(&rt.phase, DONE); /* the child is no rank */
    rt.trap_ops->after_fork_child(rt.driver.trap);
}

int dsm_init(const struct dsm_config *config)
{
    return dsm_runtime_init(config, 0);
}

int dsm_runtime_init(const struct dsm_config *config, uint64_t globals_bytes)
{
    static bool was_forked_once;
    char why[512];
    int closed = CLOSED;
    (void)dsm_log_setup(NULL, "dsm");
    if (dsm_log_setup(getenv("DSM_LOG"), "dsm")) {
        dsm_log(DSM_LOG_ERROR, "DSM_LOG=%s: allowed is error, warn, info or debug",
                getenv("DSM_LOG"));
        return DSM_E_INVAL;
    }
    if (atomic_load(&rt.phase) != CLOSED) {
        dsm_log(DSM_LOG_ERROR, "dsm_init was called a second time");
        return DSM_E_STATE;
    }
    int error = dsm_settings_read(config, &rt.settings);
    if (error)
        return error;
    dsm_streams_realloc = dsm_realloc;
    if (!dsm_syscalls_are_wrapped())
        return DSM_E_STATE;
    dsm_waiters_setup();
    error = dsm_trap_choose(rt.settings.trap, &rt.trap_ops, why, sizeof why);
    dsm_log(error ? DSM_LOG_ERROR : DSM_LOG_INFO, "%s", why);
    if (error)
        return error;
    error = dsm_region_open(&rt.region, rt.settings.region_bytes, globals_bytes, why, sizeof why);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "%s", why);
        return error;
    }
    error = dsm_service_open(&rt.service);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "cannot set up the service loop: %s", dsm_error_text(error));
        dsm_region_close(&rt.region);
        return error;
    }
    error = join(&rt);
    if (error) { /* was logged where it happened */
        close_all(&rt, false);
        return error;
    }
    char who[64];
    dsm_format(who, sizeof who, "dsm[%u]", rt.info.rank);
    (void)dsm_log_setup(NULL, who);
    if ((error = open_driver(&rt))) {
        dsm_log(DSM_LOG_ERROR, "cannot set up the driver for %lu bytes: %s",
                (unsigned long)rt.region.len_bytes, dsm_error_text(error));
        close_all(&rt, false);
        return error;
    }
    if (rt.net) {
        rt.driver.net = rt.net;
        rt.driver.net_ops = rt.net_ops;
        error = rt.net_ops->set_peers(rt.net, rt.info.rank, rt.info.addresses);
    }
    if (!error)
        error = start_profile(&rt);
    if (!error)
        error = open_trap(&rt);
    rt.service.on_unexplained_loss = on_unexplained_loss;
    if (!error)
        error = dsm_service_start(&rt.service, &rt.driver);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "cannot start the rank (trap %s): %s", rt.trap_ops->name,
                dsm_error_text(error));
        close_all(&rt, true);
        return error;
    }
    if (!was_forked_once)
        pthread_atfork(before_fork, dsm_globals_after_fork_in_parent, after_fork_in_child);
    was_forked_once = true;
    atomic_compare_exchange_strong(&rt.phase, &closed, OPEN);
    dsm_log(DSM_LOG_INFO, "rank %u of %u: region of %lu MiB at 0x%lx, trap %s, transport %s",
            rt.info.rank, rt.info.n_ranks, (unsigned long)(rt.region.len_bytes >> 20),
            (unsigned long)(uintptr_t)rt.region.app, rt.trap_ops->name,
            rt.net ? rt.net_ops->name : "none");
    return 0;
}

static bool is_open(void)
{
    return atomic_load_explicit(&rt.phase, memory_order_acquire) == OPEN;
}

struct dsm_driver *dsm_api_driver(void)
{
    return is_open() ? &rt.driver : NULL;
}

int dsm_api_refusal(void)
{
    if (!is_open())
        return DSM_E_STATE;
    /* A handler that interrupted a wait of this thread: what the wait stands in is not finished. */
    return dsm_thread_self.top ? DSM_E_BUSY : 0;
}

void dsm_runtime_fail(int status, const char *why)
{
    bool is_said = false;
    if (is_open() && rt.membership && rt.info.is_managed) {
        /* dsmrun prints it; when it does not listen any more, another rank was first. */
        int error = dsm_membership_abort(rt.membership, status, why);
        is_said = error == 0 || error == DSM_E_PEER;
    }
    dsm_log(is_said ? DSM_LOG_INFO : DSM_LOG_ERROR, "%s", why);
    if (is_open() && !is_said)
        end_job(status, why);
    _exit(status);
}

int dsm_finalize(void)
{
    if (!is_open())
        return DSM_E_STATE;
    /* From here on peers may close their connections: those that are past the barrier. */
    dsm_globals_collect(&rt.driver);
    atomic_store(&rt.driver.is_finalizing, true);
    DSM_NOTE_CALLER();
    int error = dsm_collective_barrier(&rt.driver);
    dsm_stats_report(&rt.driver, &rt.settings, rt.net ? rt.net_ops->name : "none",
                     rt.net ? rt.info.transport_reason : "a job of one rank");
    dsm_observe_counters(&rt.driver);
    atomic_store(&rt.phase, DONE);
    if (rt.membership)
        (void)dsm_membership_leave(rt.membership, 2000); /* dsmd may be gone first: no harm */
    dsm_service_stop(&rt.service);
    dsm_globals_make_private(&rt.driver);
    close_all(&rt, true);
    return error;
}

void dsm_abort(int status)
{
    if (is_open() && rt.membership)
        (void)dsm_membership_abort(rt.membership, status, "dsm_abort was called");
    fflush(NULL);
    _exit(status);
}

uint32_t dsm_rank(void)
{
    return is_open() ? rt.info.rank : 0;
}

uint32_t dsm_size(void)
{
    return is_open() ? rt.info.n_ranks : 1;
}

void *dsm_base(void)
{
    return is_open() ? rt.region.app : NULL;
}

uint64_t dsm_region_bytes(void)
{
    return is_open() ? rt.region.len_bytes : 0;
}

/* ---- memory -------------------------------------------------------------------------------- */

int dsm_alloc(size_t size, const struct dsm_alloc_options *options, void **addr_out)
{
    struct dsm_alloc_options defaults;
    int error = dsm_api_refusal();
    if (error)
        return error;
    DSM_NOTE_CALLER();
    if (!addr_out)
        return DSM_E_INVAL;
    if (!options) {
        dsm_alloc_options_init(&defaults);
        options = &defaults;
    }
    if (options->struct_size != sizeof *options)
        return DSM_E_INVAL;
    return dsm_heap_alloc_collective(&rt.driver, size, options, addr_out);
}

static void *allocate(size_t size, size_t alignment)
{
    void *addr = NULL;
    int error = dsm_api_refusal();
    if (!error)
        error = dsm_heap_alloc(&rt.driver, size ? size : 1, alignment, &addr);
    if (error)
        errno = error == DSM_E_STATE ? EINVAL : error == DSM_E_BUSY ? EBUSY : ENOMEM;
    return error ? NULL : addr;
}

void *dsm_malloc(size_t size)
{
    return allocate(size, 16);
}

void *dsm_aligned_alloc(size_t alignment, size_t size)
{
    if (alignment == 0 || (alignment & (alignment - 1)) || alignment > 2u << 20) {
        errno = EINVAL;
        return NULL;
    }
    return allocate(size, alignment);
}

void *dsm_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *addr = allocate(bytes, 16);
    /* Large blocks come with fresh, zero pages. */
    if (addr && bytes <= DSM_GRANULE_BYTES / 2)
        memset(addr, 0, bytes);
    return addr;
}

void *dsm_realloc(void *ptr, size_t size)
{
    uint64_t have;
    if (!ptr)
        return dsm_malloc(size);
    if (dsm_api_refusal() || !dsm_region_has_heap(&rt.region, (uintptr_t)ptr) ||
        dsm_heap_size(&rt.driver, ptr, &have)) {
        errno = EINVAL;
        return NULL;
    }
    if (size <= have && size >= have / 2)
        return ptr;
    void *fresh = dsm_malloc(size);
    if (!fresh)
        return NULL;
    memcpy(fresh, ptr, size < have ? size : have);
    (void)dsm_free(ptr);
    return fresh;
}

int dsm_free(void *ptr)
{
    if (!ptr)
        return 0;
    int error = dsm_api_refusal();
    if (error)
        return error;
    error = dsm_region_has_heap(&rt.region, (uintptr_t)ptr) ? dsm_heap_free(&rt.driver, ptr)
                                                            : DSM_E_INVAL;
    if (error == DSM_E_INVAL)
        dsm_log(DSM_LOG_ERROR, "dsm_free(0x%lx): no live block starts there",
                (unsigned long)(uintptr_t)ptr);
    return error;
}

/* ---- synchronisation ----------------------------------------------------------------------- */

int dsm_barrier(void)
{
    int error = dsm_api_refusal();
    DSM_NOTE_CALLER();
    return error ? error : dsm_collective_barrier(&rt.driver);
}

int dsm_barrier_group(const uint32_t *ranks, uint32_t n_ranks)
{
    int error = dsm_api_refusal();
    DSM_NOTE_CALLER();
    return error ? error : dsm_collective_barrier_group(&rt.driver, ranks, n_ranks);
}

int dsm_bcast(void *buf, size_t len, uint32_t root)
{
    int error = dsm_api_refusal();
    DSM_NOTE_CALLER();
    return error ? error : dsm_collective_bcast(&rt.driver, buf, len, root);
}

int dsm_allreduce(void *buf, size_t count, enum dsm_type type, enum dsm_op op)
{
    int error = dsm_api_refusal();
    DSM_NOTE_CALLER();
    return error ? error : dsm_collective_allreduce(&rt.driver, buf, count, type, op);
}

int dsm_distribute(const void *addr, size_t len)
{
    int error = dsm_api_refusal();
    if (error)
        return error;
    uintptr_t first = (uintptr_t)addr, base = (uintptr_t)rt.region.app;
    uintptr_t globals = (uintptr_t)rt.region.globals; /* shared ones are in the region as well */
    if (!addr || len > UINTPTR_MAX - first ||
        (first < base + rt.region.len_bytes && base < first + len) ||
        (globals && first < globals + rt.region.globals_bytes && globals < first + len))
        return DSM_E_INVAL;
    return dsm_distribute_send(&rt.driver, addr, len);
}

int dsm_on_ring(dsm_ring_handler handler, void *user)
{
    if (!is_open())
        return DSM_E_STATE;
    dsm_bell_set_handler(&rt.driver, handler, user);
    return 0;
}

int dsm_ring(uint32_t rank)
{
    if (!is_open())
        return DSM_E_STATE;
    return rank < rt.info.n_ranks ? dsm_bell_ring(&rt.driver, rank) : DSM_E_INVAL;
}

int dsm_stats_get(struct dsm_stats *out)
{
    if (!is_open())
        return DSM_E_STATE;
    if (!out || out->struct_size != sizeof *out)
        return DSM_E_INVAL;
    struct dsm_stats s;
    dsm_stats_gather(&rt.driver, &s); /* first into private memory: out may be shared */
    *out = s;
    return 0;
}
