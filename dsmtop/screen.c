/* SPDX-License-Identifier: BSD-3-Clause */
/* screen.c - dsmtop on a terminal. */
#define _GNU_SOURCE
#include "dsmtop/top.h"
#include <inttypes.h>
#include <ncurses.h>

#define HEAD_LINES 3 /* above the ranks */
#define ALLOCS     4
#define WAITS      4

static size_t count_ranks(const struct top *t)
{
    size_t at = 0, n = 0;
    while (top_next(t, &at))
        n++;
    return n;
}

static void draw_rank(int line, const struct top_rank *rank)
{
    struct top_rates r = top_rates_of(rank);
    mvprintw(line, 0,
             "%5" PRIu32 " %7" PRIu32
             " %8.0f %8.0f %7.0f %8.1f %8.2f %8.2f %8.0f %5.1f %5.1f %5.1f %9.1f %s",
             rank->now.rank, rank->now.pid, r.reads, r.writes, r.upgrades, r.latency_us, r.in_mb,
             r.out_mb, r.lock_waits, 100 * r.lock_share, 100 * r.barrier_share, 100 * r.sync_share,
             r.memory_mb, rank->now.host);
}

static void draw(struct top *t, size_t first)
{
    struct dsm_live_alloc allocs[DSM_LIVE_ALLOCS];
    size_t n_allocs = top_allocs(t, allocs), at = 0, number = 0;
    int room = LINES - HEAD_LINES - ALLOCS - WAITS - 4, line = HEAD_LINES;
    const struct top_rank *rank;
    struct top_wait waits[DSM_LIVE_WAITS];
    erase();
    mvprintw(0, 0, "dsmtop: job %08" PRIx32 ", %zu ranks   q: quit, up and down: scroll", t->job,
             count_ranks(t));
    attron(A_REVERSE);
    mvprintw(HEAD_LINES - 1, 0,
             " rank     pid  reads/s writes/s upgrd/s  mean us  MB/s in MB/s out  locks/s lock%% "
             "barr%% sync%% memory MB host");
    attroff(A_REVERSE);
    while ((rank = top_next(t, &at)) && line < HEAD_LINES + room)
        if (number++ >= first)
            draw_rank(line++, rank);
    mvprintw(++line, 0, "hottest allocations, by faults since the start");
    for (size_t i = 0; i < n_allocs && i < ALLOCS && line + 1 < LINES; i++)
        mvprintw(++line, 0, "%12" PRIu64 " %10.1f MB  0x%" PRIx64 "  %s", allocs[i].faults,
                 (double)allocs[i].bytes / 1e6, allocs[i].addr, allocs[i].name);
    size_t n_waits = top_waits(t, waits);
    line++;
    if (line + 1 < LINES)
        mvprintw(++line, 0, "longest waits since the start");
    for (size_t i = 0; i < n_waits && i < WAITS && line + 1 < LINES; i++)
        mvprintw(++line, 0, "%12.3f s %10" PRIu64 "x  %s  %s", (double)waits[i].sum.wait_ns / 1e9,
                 waits[i].sum.count, waits[i].object, waits[i].code);
    refresh();
}

int top_run_screen(struct top *t, double delay_s)
{
    size_t first = 0;
    int status = 0;
    if (!initscr())
        return 1;
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    timeout((int)(delay_s * 1000));
    for (;;) {
        draw(t, first);
        int key = getch();
        if (key == 'q')
            break;
        if (key == KEY_DOWN && first + 1 < count_ranks(t))
            first++;
        else if (key == KEY_UP && first > 0)
            first--;
        if (key != ERR)
            continue; /* a key, or the terminal has another size: the numbers stay */
        if (top_look(t) != 0) {
            status = 1;
            break;
        }
        if (count_ranks(t) == 0)
            break; /* the job has ended */
    }
    endwin();
    return status;
}
