/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * launcher_progress.c - what a start that takes long is waiting for, for somebody who watches a
 * terminal: hosts that have not answered yet, then ranks that have not joined. Nothing is said
 * where standard error is no terminal, and nothing while nothing has changed.
 */
#include "dsmrun/launcher_private.h"
#include "base/log.h"
#include <unistd.h>

#define PROGRESS_MS 2000u

static uint32_t count_silent(const struct dsm_launcher *l, const struct dsm_link **first_out)
{
    uint32_t n = 0;
    for (uint32_t i = l->hosts.n_items; i-- > 0;) {
        if (l->links[i].has_hello)
            continue;
        *first_out = &l->links[i];
        n++;
    }
    return n;
}

static void on_progress_time(uv_timer_t *timer)
{
    struct dsm_launcher *l = timer->data;
    const struct dsm_link *link = NULL;
    uint32_t n_silent = count_silent(l, &link);
    uint32_t n_joined = l->server ? dsm_server_n_joined(l->server, l->token) : 0;
    if (l->has_verdict || l->end != DSM_END_NONE || n_joined == l->n_ranks) {
        uv_timer_stop(timer);
        return;
    }
    uint64_t now = (uint64_t)n_silent << 32 | n_joined;
    if (now == l->progress_told)
        return;
    l->progress_told = now;
    if (n_silent)
        dsm_log(DSM_LOG_WARN, "waiting for %s%s to answer (%u of %u hosts have)", link->host->name,
                n_silent > 1 ? " and others" : "", l->hosts.n_items - n_silent, l->hosts.n_items);
    else if (n_joined)
        dsm_log(DSM_LOG_WARN, "%u of %u ranks have joined", n_joined, l->n_ranks);
}

void dsm_launcher_open_progress(struct dsm_launcher *l)
{
    uv_timer_init(&l->loop, &l->progress_timer);
    l->progress_timer.data = l;
    uv_unref((uv_handle_t *)&l->progress_timer);
    if (isatty(STDERR_FILENO))
        uv_timer_start(&l->progress_timer, on_progress_time, PROGRESS_MS, PROGRESS_MS);
}
