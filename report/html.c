/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * html.c - one page with everything in it: no script, nothing from elsewhere. Every text that comes
 * from the profile is escaped; the numbers stand in cells that programs can find by their ids.
 */
#define _GNU_SOURCE
#include "report/report.h"
#include "base/log.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static const char style[] =
    ":root{--ink:#1b1f24;--soft:#5b6470;--line:#d6dbe1;--paper:#fff}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#9aa4b0;--line:#39414b;"
    "--paper:#16191d}}"
    "body{font:14px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
    "max-width:72rem;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2.2rem}"
    "table{border-collapse:collapse}th,td{padding:.2rem .6rem;border-bottom:1px solid "
    "var(--line);text-align:right;vertical-align:top}"
    "th{color:var(--soft);font-weight:600}.t{text-align:left}.warn{color:#b3261e}"
    ".soft{color:var(--soft)}code{font:12px ui-monospace,monospace}"
    "svg text{fill:var(--ink);font:10px ui-monospace,monospace}.scroll{overflow-x:auto}"
    ".compute{fill:#7aa874;background:#7aa874}.read{fill:#4c8bd0;background:#4c8bd0}"
    ".write{fill:#d9822b;background:#d9822b}.lock{fill:#9a6fb8;background:#9a6fb8}"
    ".barrier{fill:#9aa4b0;background:#9aa4b0}"
    ".sync{fill:#3f9e97;background:#3f9e97}"
    ".key{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}";

static void put_text(const char *text, FILE *out)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '<')
            fputs("&lt;", out);
        else if (c == '>')
            fputs("&gt;", out);
        else if (c == '&')
            fputs("&amp;", out);
        else if (c == '"')
            fputs("&quot;", out);
        else if (c < ' ' || c >= 0x7f) /* bytes of any encoding, or of none */
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
}

static void put_page_name(const struct report *r, uint64_t page, uint32_t alloc, FILE *out)
{
    char name[160];
    report_name_page(r, page, alloc, name, sizeof name);
    put_text(name, out);
}

static const char *code_text(const struct report *r, uint32_t code)
{
    return r->codes[code].text ? r->codes[code].text : "?";
}

/* ---- the parts ----------------------------------------------------------------------------- */

static void put_head(const struct report *r, const char *title, FILE *out)
{
    uint64_t faults =
        r->faults[DSM_PROFILE_READ] + r->faults[DSM_PROFILE_WRITE] + r->faults[DSM_PROFILE_UPGRADE];
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width\"><title>",
          out);
    put_text(title, out);
    fprintf(out, "</title><style>%s</style></head><body>\n<h1>", style);
    put_text(title, out);
    fprintf(
        out,
        "</h1>\n<p><b id=\"ranks\">%" PRIu32 "</b> ranks, <b id=\"seconds\">%.3f</b> s, "
        "<b id=\"faults\">%" PRIu64 "</b> faults (<b id=\"faults-read\">%" PRIu64
        "</b> read, <b id=\"faults-write\">%" PRIu64 "</b> write, <b "
        "id=\"faults-upgrade\">%" PRIu64 "</b> upgrade), <b id=\"moved\">%.1f</b> MB moved</p>\n",
        r->n_ranks, (double)r->span_ns / 1e9, faults, r->faults[DSM_PROFILE_READ],
        r->faults[DSM_PROFILE_WRITE], r->faults[DSM_PROFILE_UPGRADE], (double)r->moved_bytes / 1e6);
    if (r->is_cut)
        fputs("<p class=\"warn\">The file is cut off: this is of its first part.</p>\n", out);
    for (uint32_t i = 0; i < r->n_ranks; i++) {
        if (!r->ranks[i].is_there)
            fprintf(out, "<p class=\"warn\">Of rank %" PRIu32 " there is nothing.</p>\n", i);
        else if (!r->ranks[i].has_ended)
            fprintf(out, "<p class=\"warn\">Rank %" PRIu32 " did not end in good order.</p>\n", i);
    }
    if (r->dropped)
        fprintf(out,
                "<p class=\"warn\"><b id=\"dropped\">%" PRIu64 "</b> records found no room "
                "(DSM_PROFILE_MAX): times of ranks are complete, units and code are not.</p>\n",
                r->dropped);
}

#define BAR_WIDTH  640.0
#define BAR_HEIGHT 18u

/* One part of a rank's bar; returns where the next begins. */
static double put_bar(const char *name, double x, double seconds, double scale, FILE *out)
{
    double width = seconds * scale;
    if (x + width > BAR_WIDTH)
        width = BAR_WIDTH - x;
    if (width > 0)
        fprintf(out,
                "<rect class=\"%s\" x=\"%.1f\" width=\"%.1f\" height=\"%u\"><title>%s %.3f "
                "s</title></rect>",
                name, x, width, BAR_HEIGHT, name, seconds);
    return x + width;
}

static void put_split_row(const struct report *r, uint32_t rank, double scale, FILE *out)
{
    struct report_split s = report_split_of(r, rank);
    fprintf(out,
            "<tr><td>%" PRIu32 "</td><td id=\"total-%" PRIu32
            "\">%.3f</td><td id=\"compute-%" PRIu32 "\">%.3f</td><td id=\"read-%" PRIu32
            "\">%.3f</td><td id=\"write-%" PRIu32 "\">%.3f</td><td id=\"lock-%" PRIu32
            "\">%.3f</td><td id=\"barrier-%" PRIu32 "\">%.3f</td><td id=\"sync-%" PRIu32
            "\">%.3f</td><td class=\"t\"><svg width=\"%.0f\" height=\"%u\">",
            rank, rank, s.total, rank, s.compute, rank, s.read, rank, s.write, rank, s.lock, rank,
            s.barrier, rank, s.sync, BAR_WIDTH, BAR_HEIGHT);
    double x = put_bar("compute", 0, s.compute, scale, out);
    x = put_bar("read", x, s.read, scale, out);
    x = put_bar("write", x, s.write, scale, out);
    x = put_bar("lock", x, s.lock, scale, out);
    x = put_bar("barrier", x, s.barrier, scale, out);
    put_bar("sync", x, s.sync, scale, out);
    fputs("</svg></td></tr>\n", out);
}

static void put_split(const struct report *r, FILE *out)
{
    static const char *const names[] = {"compute", "read", "write", "lock", "barrier", "sync"};
    double longest = 0;
    fputs("<h2>Time of each rank</h2>\n<p class=\"soft\">Seconds; waits of all threads of a rank "
          "together.",
          out);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        fprintf(out, "<span class=\"key %s\"></span>%s", names[i], names[i]);
    fputs("</p>\n<div class=\"scroll\"><table id=\"split\"><tr><th>rank</th><th>total</th>"
          "<th>compute</th><th>read faults</th><th>write faults</th><th>locks</th>"
          "<th>barriers</th><th>other waits</th><th></th></tr>\n",
          out);
    for (uint32_t i = 0; i < r->n_ranks; i++)
        if (r->ranks[i].is_there)
            longest = fmax(longest, report_split_of(r, i).total);
    for (uint32_t i = 0; i < r->n_ranks; i++)
        if (r->ranks[i].is_there)
            put_split_row(r, i, longest > 0 ? BAR_WIDTH / longest : 0, out);
    fputs("</table></div>\n", out);
}

#define HEAT_LEFT 300u
#define HEAT_CELL 8u
#define HEAT_LINE 12u

static void put_heat_row(const struct report *r, uint32_t row, FILE *out)
{
    fprintf(out, "<text x=\"0\" y=\"%u\">", row * HEAT_LINE + 10);
    put_page_name(r, r->heat_first[row], r->heat_alloc[row], out);
    fputs("</text>", out);
    for (uint32_t column = 0; column < REPORT_HEAT_COLUMNS; column++) {
        uint32_t n = r->heat[row][column];
        if (n == 0)
            continue;
        double share = r->heat_max > 1 ? log((double)n) / log((double)r->heat_max) : 1;
        double from = (double)r->span_ns / 1e9 * column / REPORT_HEAT_COLUMNS;
        fprintf(out,
                "<rect class=\"heat\" x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"hsl(%.0f "
                "85%% 50%%)\" data-n=\"%" PRIu32 "\"><title>%" PRIu32 " faults from %.3f s, ",
                HEAT_LEFT + column * HEAT_CELL, row * HEAT_LINE, HEAT_CELL, HEAT_LINE - 1,
                220 - 220 * share, n, n, from);
        put_page_name(r, r->heat_first[row], r->heat_alloc[row], out);
        fputs("</title></rect>", out);
    }
    fputc('\n', out);
}

static void put_heat(const struct report *r, FILE *out)
{
    fprintf(
        out,
        "<h2>Pages over time</h2>\n<p class=\"soft\">Faults of all ranks from 0 to %.3f s, blue: "
        "few, red: %" PRIu32 " in a cell. A row is an equal share of the units that were "
        "faulted at, named by its first.</p>\n<div class=\"scroll\"><svg id=\"heat\" "
        "width=\"%u\" height=\"%u\">\n",
        (double)r->span_ns / 1e9, r->heat_max, HEAT_LEFT + REPORT_HEAT_COLUMNS * HEAT_CELL,
        (r->n_heat_rows ? r->n_heat_rows : 1) * HEAT_LINE);
    for (uint32_t row = 0; row < r->n_heat_rows; row++)
        put_heat_row(r, row, out);
    fputs("</svg></div>\n", out);
}

static void put_unit(const struct report *r, size_t index, FILE *out)
{
    const struct report_unit *u = &r->units[index];
    fprintf(out, "<tr id=\"unit-%zu\"><td>%zu</td><td class=\"t\">", index, index + 1);
    put_page_name(r, u->first_page, u->alloc, out);
    fprintf(out,
            "<br><span class=\"soft\">%u KiB</span></td><td>%" PRIu64
            "</td><td>%.3f</td><td>%" PRIu64 "</td><td class=\"t%s\">%s</td><td class=\"t\">",
            4u << u->unit_log2, u->faults, (double)u->wait_ns / 1e6, u->bounces,
            u->sharing == REPORT_FALSE_SHARED ? " warn" : "", report_sharing_text(u->sharing));
    for (size_t i = 0; i < u->n_users; i++) {
        const struct report_user *user = &u->users[i];
        if (!user->n_offsets)
            continue;
        fprintf(out,
                "rank %" PRIu32 ": %" PRIu64 " read, %" PRIu64 " write, %" PRIu64
                " upgrade <span class=\"soft\">at",
                user->rank, user->faults[DSM_PROFILE_READ], user->faults[DSM_PROFILE_WRITE],
                user->faults[DSM_PROFILE_UPGRADE]);
        for (size_t j = 0; j < user->n_offsets && j < 4; j++)
            fprintf(out, " +0x%" PRIx32, user->offsets[j].at);
        if (user->n_offsets > 4)
            fprintf(out, " and %zu more", user->n_offsets - 4);
        fputs("</span><br>", out);
    }
    fputs("</td><td class=\"t\">", out);
    for (size_t i = 0; i < u->n_places && i < 4; i++) {
        fputs("<code>", out);
        put_text(code_text(r, u->places[i].code), out);
        fputs("</code><br>", out);
    }
    fputs("</td></tr>\n", out);
}

static void put_units(const struct report *r, size_t n_top, FILE *out)
{
    fputs("<h2>Hottest units</h2>\n<p class=\"soft\">A bounce is a change from one rank to another "
          "for a write, or after one. False sharing: a writer and others, never at the same 8 "
          "bytes; keep such data in units of their own.</p>\n<div class=\"scroll\"><table "
          "id=\"units\"><tr><th></th><th class=\"t\">unit</th><th>faults</th><th>waited, ms</th>"
          "<th>bounces</th><th class=\"t\">sharing</th><th class=\"t\">ranks</th><th "
          "class=\"t\">code</th></tr>\n",
          out);
    for (size_t i = 0; i < r->n_units && i < n_top; i++)
        put_unit(r, i, out);
    fputs("</table></div>\n", out);
}

static void put_codes(const struct report *r, size_t n_top, FILE *out)
{
    uint32_t *top = calloc(n_top + 1, sizeof *top);
    size_t n = top ? report_top_codes(r, top, n_top) : 0;
    fputs("<h2>Hottest code</h2>\n<table id=\"code\"><tr><th class=\"t\">code</th><th>faults</th>"
          "<th>waited, ms</th></tr>\n",
          out);
    for (size_t i = 0; i < n; i++) {
        fputs("<tr><td class=\"t\"><code>", out);
        put_text(code_text(r, top[i]), out);
        fprintf(out, "</code></td><td>%" PRIu64 "</td><td>%.3f</td></tr>\n", r->codes[top[i]].count,
                (double)r->codes[top[i]].wait_ns / 1e6);
    }
    fputs("</table>\n", out);
    free(top);
}

static void put_waits(const struct report *r, size_t n_top, FILE *out)
{
    fputs(
        "<h2>Longest waits</h2>\n<p class=\"soft\">Calls that waited at locks, barriers and other "
        "objects, on all ranks together; a lock that is taken again where it was held last does "
        "not "
        "wait.</p>\n<div class=\"scroll\"><table id=\"waits\"><tr><th class=\"t\">object</th>"
        "<th>waits</th><th>waited, ms</th><th>longest, ms</th><th class=\"t\">code</th></tr>\n",
        out);
    for (size_t i = 0; i < r->n_waits && i < n_top; i++) {
        const struct report_wait *w = &r->waits[i];
        char name[200];
        report_name_wait(r, w, name, sizeof name);
        fputs("<tr><td class=\"t\">", out);
        put_text(name, out);
        fprintf(out, "</td><td>%" PRIu64 "</td><td>%.3f</td><td>%.3f</td><td class=\"t\">",
                w->count, (double)w->wait_ns / 1e6, (double)w->longest_ns / 1e6);
        for (size_t j = 0; j < w->n_places && j < 4; j++) {
            fputs("<code>", out);
            put_text(code_text(r, w->places[j].code), out);
            fprintf(out, "</code> %.3f ms<br>", (double)w->places[j].wait_ns / 1e6);
        }
        fputs("</td></tr>\n", out);
    }
    fputs("</table></div>\n", out);
}

static uint64_t most_received(const struct report *r)
{
    uint64_t most = 1;
    for (uint32_t i = 0; i < r->n_ranks; i++)
        for (uint32_t j = 0; j < r->n_ranks && r->ranks[i].is_there; j++)
            if (r->ranks[i].received[j] > most)
                most = r->ranks[i].received[j];
    return most;
}

static void put_traffic(const struct report *r, FILE *out)
{
    uint64_t most = most_received(r);
    fputs("<h2>Traffic between ranks</h2>\n<p class=\"soft\">Page bytes received, KiB: by the rank "
          "of the line, from the rank of the column.</p>\n<div class=\"scroll\"><table "
          "id=\"traffic\"><tr><th>rank</th>",
          out);
    for (uint32_t j = 0; j < r->n_ranks; j++)
        fprintf(out, "<th>%" PRIu32 "</th>", j);
    fputs("</tr>\n", out);
    for (uint32_t i = 0; i < r->n_ranks; i++) {
        if (!r->ranks[i].is_there)
            continue;
        fprintf(out, "<tr><th>%" PRIu32 "</th>", i);
        for (uint32_t j = 0; j < r->n_ranks; j++)
            fprintf(out,
                    "<td id=\"traffic-%" PRIu32 "-%" PRIu32
                    "\" style=\"background:hsl(28 80%% 50%% / %.2f)\">%" PRIu64 "</td>",
                    i, j, 0.7 * (double)r->ranks[i].received[j] / (double)most,
                    r->ranks[i].received[j] >> 10);
        fputs("</tr>\n", out);
    }
    fputs("</table></div>\n", out);
}

static void put_counter(const struct report *r, enum dsm_profile_counter c, FILE *out)
{
    const char *name = dsm_profile_counter_name(c);
    fprintf(out, "<tr><th class=\"t\"><code>%s</code></th>", name);
    for (uint32_t i = 0; i < r->n_ranks; i++)
        if (r->ranks[i].n_counters > c)
            fprintf(out, "<td id=\"%s-%" PRIu32 "\">%" PRIu64 "</td>", name, i,
                    r->ranks[i].counters[c]);
        else
            fputs("<td>-</td>", out);
    fprintf(out, "<td class=\"t\">%s</td></tr>\n", dsm_profile_counter_text(c));
}

static void put_counters(const struct report *r, FILE *out)
{
    fputs("<h2>Fetched ahead, migrated, pinned</h2>\n<p class=\"soft\">What the library did by "
          "itself and by advice, and whether it paid, as dsm_stats counts it; what no rank did is "
          "left out.</p>\n",
          out);
    if (!report_has_counters(r))
        fputs("<p class=\"warn\">Not in a file of this version.</p>\n", out);
    fputs("<div class=\"scroll\"><table id=\"counters\"><tr><th class=\"t\">rank</th>", out);
    for (uint32_t i = 0; i < r->n_ranks; i++)
        fprintf(out, "<th>%" PRIu32 "</th>", i);
    fputs("<th></th></tr>\n", out);
    for (unsigned c = 0; c < DSM_PROFILE_N_COUNTERS; c++)
        if (report_has_counter(r, c))
            put_counter(r, c, out);
    fputs("</table></div>\n", out);
}

bool report_print_html(const struct report *r, const char *title, size_t n_top, FILE *out)
{
    put_head(r, title, out);
    put_split(r, out);
    put_heat(r, out);
    put_units(r, n_top, out);
    put_codes(r, n_top, out);
    put_waits(r, n_top, out);
    put_traffic(r, out);
    put_counters(r, out);
    fputs("</body></html>\n", out);
    return fflush(out) == 0 && !ferror(out);
}
