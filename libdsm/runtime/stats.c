/* SPDX-License-Identifier: BSD-3-Clause */
/* stats.c - see stats.h. One list names every counter for both formats. */
#define _GNU_SOURCE
#include "runtime/stats.h"
#include "base/clock.h"
#include "base/log.h"
#include "runtime/locks.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTER_MAP(XX)                                                                            \
    XX(faults_read)                                                                                \
    XX(faults_write)                                                                               \
    XX(faults_upgrade)                                                                             \
    XX(faults_local)                                                                               \
    XX(fetched_zero)                                                                               \
    XX(fetched_bytes)                                                                              \
    XX(served_bytes)                                                                               \
    XX(invalidations)                                                                              \
    XX(downgrades)                                                                                 \
    XX(messages_sent)                                                                              \
    XX(messages_received)                                                                          \
    XX(prefetch_asked)                                                                             \
    XX(prefetch_late)                                                                              \
    XX(private_asked)                                                                              \
    XX(pins)                                                                                       \
    XX(pins_ended)                                                                                 \
    XX(ahead_asked)                                                                                \
    XX(ahead_used)                                                                                 \
    XX(ahead_wasted)                                                                               \
    XX(ahead_write_asked)                                                                          \
    XX(ahead_write_used)                                                                           \
    XX(ahead_write_wasted)                                                                         \
    XX(migratory_found)                                                                            \
    XX(migratory_undone)                                                                           \
    XX(migratory_reads)                                                                            \
    XX(migratory_writes)                                                                           \
    XX(evicted_zero)                                                                               \
    XX(evicted_shared)                                                                             \
    XX(evicted_owned)                                                                              \
    XX(frames_bytes)                                                                               \
    XX(frames_peak_bytes)                                                                          \
    XX(lock_acquires)                                                                              \
    XX(lock_retakes)                                                                               \
    XX(lock_timeouts)                                                                              \
    XX(barriers)                                                                                   \
    XX(rwlock_acquires)                                                                            \
    XX(condition_calls)                                                                            \
    XX(semaphore_calls)                                                                            \
    XX(flag_calls)                                                                                 \
    XX(ticket_calls)                                                                               \
    XX(thread_barriers)                                                                            \
    XX(word_calls)                                                                                 \
    XX(net_posts)                                                                                  \
    XX(net_work_requests)                                                                          \
    XX(net_buffer_posts)                                                                           \
    XX(net_received)                                                                               \
    XX(net_sent)                                                                                   \
    XX(net_wakes)                                                                                  \
    XX(net_credits)                                                                                \
    XX(net_landed)                                                                                 \
    XX(net_copied)                                                                                 \
    XX(net_pinned_bytes)                                                                           \
    XX(net_shared)                                                                                 \
    XX(net_bells)                                                                                  \
    XX(time_threads_ns)                                                                            \
    XX(time_compute_ns)                                                                            \
    XX(time_fault_read_ns)                                                                         \
    XX(time_fault_write_ns)                                                                        \
    XX(time_lock_ns)                                                                               \
    XX(time_barrier_ns)                                                                            \
    XX(time_sync_ns)                                                                               \
    XX(time_work_ns)

#define HISTOGRAM_MAP(XX)                                                                          \
    XX(fault_latency)                                                                              \
    XX(lock_wait)                                                                                  \
    XX(barrier_wait)                                                                               \
    XX(rwlock_wait)                                                                                \
    XX(condition_wait)                                                                             \
    XX(semaphore_wait)                                                                             \
    XX(flag_wait)                                                                                  \
    XX(ticket_wait)                                                                                \
    XX(thread_barrier_wait)                                                                        \
    XX(word_wait)

static void add_histogram(struct dsm_histogram *to, const struct dsm_histogram *from)
{
    for (unsigned i = 0; i < DSM_HIST_BUCKETS; i++)
        to->bucket[i] += from->bucket[i];
    to->count += from->count;
    to->total_ns += from->total_ns;
    if (from->max_ns > to->max_ns)
        to->max_ns = from->max_ns;
}

static void gather_sync(const struct dsm_driver_stats *s, struct dsm_stats *out)
{
    out->rwlock_acquires = s->sync_calls[DSM_SYNC_RWLOCK];
    out->condition_calls = s->sync_calls[DSM_SYNC_CONDITION];
    out->semaphore_calls = s->sync_calls[DSM_SYNC_SEMAPHORE];
    out->flag_calls = s->sync_calls[DSM_SYNC_FLAG];
    out->ticket_calls = s->sync_calls[DSM_SYNC_TICKETS];
    out->thread_barriers = s->sync_calls[DSM_SYNC_BARRIER];
    out->word_calls = s->sync_calls[DSM_SYNC_WORD32] + s->sync_calls[DSM_SYNC_WORD64];
    out->rwlock_wait = s->sync_wait[DSM_SYNC_RWLOCK];
    out->condition_wait = s->sync_wait[DSM_SYNC_CONDITION];
    out->semaphore_wait = s->sync_wait[DSM_SYNC_SEMAPHORE];
    out->flag_wait = s->sync_wait[DSM_SYNC_FLAG];
    out->ticket_wait = s->sync_wait[DSM_SYNC_TICKETS];
    out->thread_barrier_wait = s->sync_wait[DSM_SYNC_BARRIER];
    out->word_wait = s->sync_wait[DSM_SYNC_WORD32];
    add_histogram(&out->word_wait, &s->sync_wait[DSM_SYNC_WORD64]);
}

static void gather_net(const struct dsm_driver *d, struct dsm_stats *out)
{
    struct dsm_net_counters c;
    if (!d->net || !d->net_ops->counters)
        return;
    d->net_ops->counters(d->net, &c);
    out->net_posts = c.doorbells;
    out->net_work_requests = c.work_requests;
    out->net_buffer_posts = c.receives;
    out->net_received = c.completions_request + c.completions_reply;
    out->net_sent = c.completions_send;
    out->net_wakes = c.wakes_request + c.wakes_reply + c.wakes_send;
    out->net_credits = c.credits;
    out->net_landed = c.landed;
    out->net_copied = c.eager;
    out->net_pinned_bytes = c.pinned_bytes;
    out->net_shared = c.shared;
    out->net_bells = c.bells;
}

/* Waits that are counted already, of kinds[n]. */
static uint64_t sync_ns(const struct dsm_driver_stats *s, const enum dsm_sync_kind *kinds,
                        unsigned n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += s->sync_wait[kinds[i]].total_ns;
    return sum;
}

static void gather_time(const struct dsm_driver_stats *s, uint64_t now_ns, struct dsm_stats *out)
{
    static const enum dsm_sync_kind others[] = {DSM_SYNC_CONDITION, DSM_SYNC_SEMAPHORE,
                                                DSM_SYNC_FLAG,      DSM_SYNC_TICKETS,
                                                DSM_SYNC_WORD32,    DSM_SYNC_WORD64};
    out->time_work_ns = s->work_ns + (s->resting_since_ns ? now_ns - s->resting_since_ns : 0);
    out->time_threads_ns =
        (uint64_t)((int64_t)(s->n_threads * now_ns) + s->thread_ns) + out->time_work_ns;
    out->time_fault_read_ns = s->fault_read_ns;
    out->time_fault_write_ns = s->fault_write_ns;
    out->time_lock_ns = s->lock_wait.total_ns + s->sync_wait[DSM_SYNC_RWLOCK].total_ns;
    out->time_barrier_ns = s->barrier_wait.total_ns + s->sync_wait[DSM_SYNC_BARRIER].total_ns;
    out->time_sync_ns = sync_ns(s, others, sizeof others / sizeof *others);
    uint64_t waited = out->time_fault_read_ns + out->time_fault_write_ns + out->time_lock_ns +
                      out->time_barrier_ns + out->time_sync_ns + out->time_work_ns;
    /* A handler's fault inside a wait counts twice. */
    out->time_compute_ns = out->time_threads_ns > waited ? out->time_threads_ns - waited : 0;
}

void dsm_stats_gather(struct dsm_driver *d, struct dsm_stats *out)
{
    struct dsm_core_counters c;
    struct dsm_driver_guard guard;
    dsm_driver_enter(d, &guard);
    dsm_core_counters(d->core, &c);
    struct dsm_driver_stats s = d->stats;
    uint64_t retakes = dsm_locks_retakes(d), now_ns = dsm_clock_ns();
    dsm_driver_leave(d, &guard);
    *out = (struct dsm_stats){
        .struct_size = sizeof *out,
        .faults_read = c.faults_read,
        .faults_write = c.faults_write,
        .faults_upgrade = c.faults_upgrade,
        .faults_local = c.faults_local,
        .fetched_zero = c.fetched_zero,
        .fetched_bytes = s.fetched_bytes,
        .served_bytes = s.served_bytes,
        .invalidations = c.invalidations,
        .downgrades = c.downgrades,
        .messages_received = s.messages_received,
        .prefetch_asked = c.prefetch_asked,
        .prefetch_late = c.prefetch_late,
        .private_asked = c.private_asked,
        .pins = c.pins,
        .pins_ended = c.pins_ended,
        .ahead_asked = c.ahead_asked,
        .ahead_used = c.ahead_used,
        .ahead_wasted = c.ahead_wasted,
        .ahead_write_asked = c.ahead_write_asked,
        .ahead_write_used = c.ahead_write_used,
        .ahead_write_wasted = c.ahead_write_wasted,
        .migratory_found = c.migratory_found,
        .migratory_undone = c.migratory_undone,
        .migratory_reads = c.migratory_reads,
        .migratory_writes = c.migratory_writes,
        .evicted_zero = c.evicted_zero,
        .evicted_shared = c.evicted_shared,
        .evicted_owned = c.evicted_owned,
        .frames_bytes = c.frames_pages * DSM_PAGE_BYTES,
        .frames_peak_bytes = c.frames_peak_pages * DSM_PAGE_BYTES,
        .lock_acquires = s.lock_acquires + retakes,
        .lock_retakes = retakes,
        .lock_timeouts = s.lock_timeouts,
        .barriers = s.barriers,
        .fault_latency = s.fault_latency,
        .lock_wait = s.lock_wait,
        .barrier_wait = s.barrier_wait,
    };
    gather_sync(&s, out);
    gather_net(d, out);
    gather_time(&s, now_ns, out);
    for (unsigned i = 0; i < DSM_MSG_N_TYPES; i++)
        out->messages_sent += c.messages[i];
}

/* Upper end of the bucket in which the share-th part of all samples ends. */
static double quantile_us(const struct dsm_histogram *h, double share)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i < DSM_HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if ((double)seen >= share * (double)h->count)
            return (double)(2ull << i) / 1e3;
    }
    return (double)h->max_ns / 1e3;
}

struct report {
    uint32_t rank;
    const char *transport, *transport_reason;
    const struct dsm_stats *stats;
};

static void print_time(FILE *f, const struct dsm_stats *s)
{
    const struct {
        const char *name;
        uint64_t ns;
    } part[] = {{"computing", s->time_compute_ns},        {"read faults", s->time_fault_read_ns},
                {"write faults", s->time_fault_write_ns}, {"locks", s->time_lock_ns},
                {"barriers", s->time_barrier_ns},         {"other objects", s->time_sync_ns},
                {"without work", s->time_work_ns}};
    double all = s->time_threads_ns ? (double)s->time_threads_ns : 1;
    fprintf(f, "  %-20s %12.3f s of threads:", "time", (double)s->time_threads_ns / 1e9);
    for (unsigned i = 0; i < sizeof part / sizeof *part; i++)
        fprintf(f, "%s %s %.1f %%", i ? "," : "", part[i].name, 100 * (double)part[i].ns / all);
    fputc('\n', f);
}

static void print_text(FILE *f, const struct report *report)
{
    const struct dsm_stats *s = report->stats;
    fprintf(f, "dsm statistics of rank %" PRIu32 ", transport %s (%s)\n", report->rank,
            report->transport, report->transport_reason);
#define XX(name) fprintf(f, "  %-20s %12" PRIu64 "\n", #name, s->name);
    COUNTER_MAP(XX)
#undef XX
#define XX(name)                                                                                   \
    if (s->name.count)                                                                             \
        fprintf(f,                                                                                 \
                "  %-20s %12" PRIu64                                                               \
                " times, mean %.1f us, half below %.1f, 99 %% below %.1f, max %.1f\n",             \
                #name, s->name.count, (double)s->name.total_ns / (double)s->name.count / 1e3,      \
                quantile_us(&s->name, 0.5), quantile_us(&s->name, 0.99),                           \
                (double)s->name.max_ns / 1e3);
    HISTOGRAM_MAP(XX)
#undef XX
    print_time(f, s);
}

static void print_histogram(FILE *f, const char *name, const struct dsm_histogram *h)
{
    fprintf(f,
            ",\"%s\":{\"count\":%" PRIu64 ",\"total_ns\":%" PRIu64 ",\"max_ns\":%" PRIu64
            ",\"buckets\":[",
            name, h->count, h->total_ns, h->max_ns);
    for (unsigned i = 0; i < DSM_HIST_BUCKETS; i++)
        fprintf(f, "%s%" PRIu64, i ? "," : "", h->bucket[i]);
    fprintf(f, "]}");
}

/* One printable line, as a string of JSON. */
static void print_string(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

/* Flat and nearly all numbers, which is why a library would not make it simpler. */
static void print_json(FILE *f, const struct report *report)
{
    const struct dsm_stats *s = report->stats;
    fprintf(f, "{\"rank\":%" PRIu32 ",\"transport\":", report->rank);
    print_string(f, report->transport);
    fputs(",\"transport_reason\":", f);
    print_string(f, report->transport_reason);
#define XX(name) fprintf(f, ",\"%s\":%" PRIu64, #name, s->name);
    COUNTER_MAP(XX)
#undef XX
#define XX(name) print_histogram(f, #name, &s->name);
    HISTOGRAM_MAP(XX)
#undef XX
    fprintf(f, "}\n");
}

void dsm_stats_report(struct dsm_driver *d, const struct dsm_settings *settings,
                      const char *transport, const char *transport_reason)
{
    if (settings->stats == DSM_STATS_OFF)
        return;
    struct dsm_stats s;
    char *text = NULL;
    size_t text_bytes = 0;
    dsm_stats_gather(d, &s);
    const struct report report = {d->config.self, transport, transport_reason, &s};
    FILE *memory = open_memstream(&text, &text_bytes); /* one write: ranks share a terminal */
    if (!memory)
        return;
    if (settings->stats == DSM_STATS_TEXT)
        print_text(memory, &report);
    else
        print_json(memory, &report);
    fclose(memory);
    FILE *out = stderr;
    char path[4096];
    if (settings->stats_path) {
        snprintf(path, sizeof path, "%s.%" PRIu32, settings->stats_path, d->config.self);
        out = fopen(path, "we");
        if (!out) {
            dsm_log(DSM_LOG_ERROR, "statistics cannot be written to %s: %s", path, strerror(errno));
            free(text);
            return;
        }
    }
    size_t written = fwrite(text, 1, text_bytes, out);
    bool failed = written != text_bytes || fflush(out) != 0;
    if (out != stderr)
        failed |= fclose(out) != 0;
    if (failed)
        dsm_log(DSM_LOG_ERROR, "statistics were not written completely: %s", strerror(errno));
    free(text);
}
