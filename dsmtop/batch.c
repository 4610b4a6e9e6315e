/* SPDX-License-Identifier: BSD-3-Clause */
/* batch.c - what dsmtop knows, for files and programs. */
#define _GNU_SOURCE
#include "dsmtop/top.h"
#include "base/log.h"
#include <inttypes.h>
#include <jansson.h>

bool top_print_list(const struct top *t, FILE *out)
{
    fprintf(out, "job       ranks here  of  lowest pid\n");
    for (size_t i = 0; i < t->n_ranks;) {
        const struct dsm_live *first = &t->ranks[i].now;
        size_t n = 0;
        uint32_t pid = first->pid;
        for (; i < t->n_ranks && t->ranks[i].now.job == first->job; i++, n++)
            if (t->ranks[i].now.pid < pid)
                pid = t->ranks[i].now.pid;
        fprintf(out, "%08" PRIx32 " %11zu %3" PRIu32 " %11" PRIu32 "\n", first->job, n,
                first->n_ranks, pid);
    }
    return fflush(out) == 0;
}

bool top_print_text(struct top *t, FILE *out)
{
    struct dsm_live_alloc allocs[DSM_LIVE_ALLOCS];
    const struct top_rank *rank;
    size_t at = 0, n;
    fprintf(out,
            "job %08" PRIx32 "\n  rank     pid   reads/s  writes/s  upgrd/s  mean us   MB/s in  "
            "MB/s out  locks/s  lock %%  barr %%  sync %%  memory MB  host\n",
            t->job);
    while ((rank = top_next(t, &at))) {
        struct top_rates r = top_rates_of(rank);
        fprintf(out,
                "%6" PRIu32 " %7" PRIu32 " %9.0f %9.0f %8.0f %8.1f %9.2f %9.2f %8.0f %7.1f %7.1f "
                "%7.1f %10.1f  %s\n",
                rank->now.rank, rank->now.pid, r.reads, r.writes, r.upgrades, r.latency_us, r.in_mb,
                r.out_mb, r.lock_waits, 100 * r.lock_share, 100 * r.barrier_share,
                100 * r.sync_share, r.memory_mb, rank->now.host);
    }
    n = top_allocs(t, allocs);
    fprintf(out, "hottest allocations, by faults since the start\n");
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%12" PRIu64 "  %10.1f MB  0x%" PRIx64 "  %s\n", allocs[i].faults,
                (double)allocs[i].bytes / 1e6, allocs[i].addr, allocs[i].name);
    struct top_wait waits[DSM_LIVE_WAITS];
    n = top_waits(t, waits);
    fprintf(out, "longest waits since the start\n");
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%10.3f s %10" PRIu64 " times  %s  %s\n", (double)waits[i].sum.wait_ns / 1e9,
                waits[i].sum.count, waits[i].object, waits[i].code);
    return fflush(out) == 0;
}

static json_t *rank_json(const struct top_rank *rank)
{
    struct top_rates r = top_rates_of(rank);
    const struct dsm_stats *s = &rank->now.stats;
    return json_pack(
        "{s:I,s:I,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}",
        "rank", (json_int_t)rank->now.rank, "pid", (json_int_t)rank->now.pid, "host",
        rank->now.host, "is_here", rank->fd >= 0, "faults_read", (json_int_t)s->faults_read,
        "faults_write", (json_int_t)s->faults_write, "faults_upgrade",
        (json_int_t)s->faults_upgrade, "lock_acquires", (json_int_t)s->lock_acquires, "barriers",
        (json_int_t)s->barriers, "seconds", r.seconds, "reads_per_s", r.reads, "writes_per_s",
        r.writes, "upgrades_per_s", r.upgrades, "latency_us", r.latency_us, "in_mb_per_s", r.in_mb,
        "out_mb_per_s", r.out_mb, "lock_waits_per_s", r.lock_waits, "lock_share", r.lock_share,
        "barrier_share", r.barrier_share, "sync_share", r.sync_share, "memory_mb", r.memory_mb);
}

/* Names are bytes: what is no UTF-8 goes as the empty text. */
static json_t *text_json(const char *text)
{
    json_t *json = json_string(text);
    return json ? json : json_string("");
}

static json_t *waits_json(struct top *t)
{
    struct top_wait waits[DSM_LIVE_WAITS];
    json_t *list = json_array();
    size_t n = top_waits(t, waits);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            list, json_pack("{s:o,s:o,s:I,s:f}", "object", text_json(waits[i].object), "code",
                            text_json(waits[i].code), "times", (json_int_t)waits[i].sum.count,
                            "seconds", (double)waits[i].sum.wait_ns / 1e9));
    return list;
}

bool top_print_json(struct top *t, FILE *out)
{
    struct dsm_live_alloc allocs[DSM_LIVE_ALLOCS];
    json_t *ranks = json_array(), *list = json_array();
    const struct top_rank *rank;
    size_t at = 0, n = top_allocs(t, allocs);
    char job[16];
    uint32_t n_ranks = 0;
    while ((rank = top_next(t, &at))) {
        n_ranks = rank->now.n_ranks;
        json_array_append_new(ranks, rank_json(rank));
    }
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(
            list, json_pack("{s:o,s:I,s:I,s:I}", "name", text_json(allocs[i].name), "addr",
                            (json_int_t)allocs[i].addr, "bytes", (json_int_t)allocs[i].bytes,
                            "faults", (json_int_t)allocs[i].faults));
    }
    dsm_format(job, sizeof job, "%08x", t->job);
    json_t *all = json_pack("{s:s,s:I,s:o,s:o,s:o}", "job", job, "n_ranks", (json_int_t)n_ranks,
                            "ranks", ranks, "allocations", list, "waits", waits_json(t));
    bool is_written = all && json_dumpf(all, out, JSON_COMPACT | JSON_REAL_PRECISION(6)) == 0 &&
                      fputc('\n', out) != EOF && fflush(out) == 0;
    json_decref(all);
    return is_written;
}
