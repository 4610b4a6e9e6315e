/* SPDX-License-Identifier: BSD-3-Clause */
/* text.c - the summary for a terminal. */
#define _GNU_SOURCE
#include "report/report.h"
#include <inttypes.h>
#include <stdlib.h>

#define PLACES_SHOWN  3u
#define OFFSETS_SHOWN 4u

static void print_head(const struct report *r, const char *title, FILE *out)
{
    fprintf(out,
            "%s: %" PRIu32 " ranks, %.3f s, %" PRIu64 " faults (%" PRIu64 " read, %" PRIu64
            " write, %" PRIu64 " upgrade), %.1f MB moved\n",
            title, r->n_ranks, (double)r->span_ns / 1e9,
            r->faults[DSM_PROFILE_READ] + r->faults[DSM_PROFILE_WRITE] +
                r->faults[DSM_PROFILE_UPGRADE],
            r->faults[DSM_PROFILE_READ], r->faults[DSM_PROFILE_WRITE],
            r->faults[DSM_PROFILE_UPGRADE], (double)r->moved_bytes / 1e6);
    if (r->is_cut)
        fprintf(out, "the file is cut off: what follows is of its first part\n");
    for (uint32_t i = 0; i < r->n_ranks; i++) {
        if (!r->ranks[i].is_there)
            fprintf(out, "of rank %" PRIu32 " there is nothing\n", i);
        else if (!r->ranks[i].has_ended)
            fprintf(out, "rank %" PRIu32 " (pid %" PRIu64 ") did not end in good order\n", i,
                    r->ranks[i].pid);
    }
    if (r->dropped)
        fprintf(out,
                "%" PRIu64 " records found no room (DSM_PROFILE_MAX): times and counts of ranks "
                "are complete, units and code are not\n",
                r->dropped);
}

static void print_split(const struct report *r, FILE *out)
{
    fprintf(out,
            "\ntime of each rank, in seconds (waits of all its threads together)\n"
            "  rank    total  compute  read faults  write faults    locks  barriers    other\n");
    for (uint32_t i = 0; i < r->n_ranks; i++) {
        if (!r->ranks[i].is_there)
            continue;
        struct report_split s = report_split_of(r, i);
        fprintf(out, "%6" PRIu32 " %8.3f %8.3f %12.3f %13.3f %8.3f %9.3f %8.3f\n", i, s.total,
                s.compute, s.read, s.write, s.lock, s.barrier, s.sync);
    }
}

static void print_user(const struct report_user *user, FILE *out)
{
    fprintf(out,
            "      rank %" PRIu32 ": %" PRIu64 " read, %" PRIu64 " write, %" PRIu64
            " upgrade, lost %" PRIu64 " times; at",
            user->rank, user->faults[DSM_PROFILE_READ], user->faults[DSM_PROFILE_WRITE],
            user->faults[DSM_PROFILE_UPGRADE], user->losses);
    for (size_t i = 0; i < user->n_offsets && i < OFFSETS_SHOWN; i++)
        fprintf(out, " +0x%" PRIx32, user->offsets[i].at);
    if (user->n_offsets > OFFSETS_SHOWN)
        fprintf(out, " and %zu more", user->n_offsets - OFFSETS_SHOWN);
    fputc('\n', out);
}

static void print_units(const struct report *r, size_t n_top, FILE *out)
{
    fprintf(out, "\nhottest units\n");
    if (r->n_units == 0)
        fprintf(out, "  none: there were no faults\n");
    for (size_t i = 0; i < r->n_units && i < n_top; i++) {
        const struct report_unit *u = &r->units[i];
        char name[160];
        report_name_page(r, u->first_page, u->alloc, name, sizeof name);
        fprintf(out,
                "%4zu. %s (%u KiB): %" PRIu64 " faults, %.3f ms waited, %" PRIu64 " bounces: %s\n",
                i + 1, name, 4u << u->unit_log2, u->faults, (double)u->wait_ns / 1e6, u->bounces,
                report_sharing_text(u->sharing));
        for (size_t j = 0; j < u->n_users; j++)
            if (u->users[j].n_offsets)
                print_user(&u->users[j], out);
        for (size_t j = 0; j < u->n_places && j < PLACES_SHOWN; j++) {
            const struct report_place *p = &u->places[j];
            fprintf(out, "      %s: %" PRIu64 " read, %" PRIu64 " write, %" PRIu64 " upgrade\n",
                    r->codes[p->code].text ? r->codes[p->code].text : "?",
                    p->faults[DSM_PROFILE_READ], p->faults[DSM_PROFILE_WRITE],
                    p->faults[DSM_PROFILE_UPGRADE]);
        }
    }
}

static void print_codes(const struct report *r, size_t n_top, FILE *out)
{
    uint32_t *top = calloc(n_top + 1, sizeof *top);
    size_t n = top ? report_top_codes(r, top, n_top) : 0;
    fprintf(out, "\nhottest code\n");
    for (size_t i = 0; i < n; i++) {
        const struct report_code *c = &r->codes[top[i]];
        fprintf(out, "%4zu. %s: %" PRIu64 " faults, %.3f ms waited\n", i + 1,
                c->text ? c->text : "?", c->count, (double)c->wait_ns / 1e6);
    }
    free(top);
}

static void print_waits(const struct report *r, size_t n_top, FILE *out)
{
    fprintf(out, "\nlongest waits at locks, barriers and the like\n");
    if (r->n_waits == 0)
        fprintf(out, "  none\n");
    for (size_t i = 0; i < r->n_waits && i < n_top; i++) {
        const struct report_wait *w = &r->waits[i];
        char name[200];
        report_name_wait(r, w, name, sizeof name);
        fprintf(out, "%4zu. %s: %" PRIu64 " times, %.3f ms, the longest %.3f ms\n", i + 1, name,
                w->count, (double)w->wait_ns / 1e6, (double)w->longest_ns / 1e6);
        for (size_t j = 0; j < w->n_places && j < PLACES_SHOWN; j++)
            fprintf(out, "      %s: %" PRIu64 " times, %.3f ms\n",
                    r->codes[w->places[j].code].text ? r->codes[w->places[j].code].text : "?",
                    w->places[j].count, (double)w->places[j].wait_ns / 1e6);
    }
}

static void print_traffic(const struct report *r, FILE *out)
{
    fprintf(out, "\npage bytes received, KiB: by the rank of the line, from each rank\n  rank");
    for (uint32_t j = 0; j < r->n_ranks; j++)
        fprintf(out, " %9" PRIu32, j);
    fputc('\n', out);
    for (uint32_t i = 0; i < r->n_ranks; i++) {
        if (!r->ranks[i].is_there)
            continue;
        fprintf(out, "%6" PRIu32, i);
        for (uint32_t j = 0; j < r->n_ranks; j++)
            fprintf(out, " %9" PRIu64, r->ranks[i].received[j] >> 10);
        fputc('\n', out);
    }
}

static void print_counters(const struct report *r, FILE *out)
{
    unsigned n = 0;
    fprintf(out, "\nfetched ahead, migrated, pinned and the like, of each rank\n");
    for (unsigned c = 0; c < DSM_PROFILE_N_COUNTERS; c++) {
        if (!report_has_counter(r, c))
            continue;
        n++;
        fprintf(out, "  %-17s", dsm_profile_counter_name(c));
        for (uint32_t i = 0; i < r->n_ranks; i++)
            if (r->ranks[i].n_counters > c)
                fprintf(out, " %9" PRIu64, r->ranks[i].counters[c]);
            else
                fprintf(out, " %9s", "-");
        fprintf(out, "  %s\n", dsm_profile_counter_text(c));
    }
    if (n == 0)
        fprintf(out, report_has_counters(r) ? "  none\n" : "  not in a file of this version\n");
}

bool report_print_text(const struct report *r, const char *title, size_t n_top, FILE *out)
{
    print_head(r, title, out);
    print_split(r, out);
    print_units(r, n_top, out);
    print_codes(r, n_top, out);
    print_waits(r, n_top, out);
    if (r->n_ranks > 1)
        print_traffic(r, out);
    print_counters(r, out);
    return fflush(out) == 0 && !ferror(out);
}
