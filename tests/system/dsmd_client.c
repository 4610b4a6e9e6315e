/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dsmd_client.c - a rank that does nothing but belong to its job: the tests of dsmd and dsmrun
 * start it. It joins with membership.h alone, prints what it is told, and then acts.
 *
 *   dsmd_client [KEY=VALUE...] [ACTION] [RANK:ACTION...]
 *
 * ACTION, for all ranks or for one:
 *   leave          leave in good order at once and exit 0 (default)
 *   wait           stay until a view (exit 10), an abort (exit with its status) or the loss of dsmd
 *                  (exit 12); leave when all others have left
 *   hold           as wait, but do not react to views and left ranks
 *   exit=N         exit with N without leaving
 *   abort=N        end the job with status N
 *   signal=N       kill itself with that signal
 *   stop           SIGSTOP itself, then as hold
 *   stay=N         as hold, for N milliseconds, then leave
 * KEY: build, page_bytes (not checked here), region, n_ranks, rank, base, timeout; transport,
 * network of it, lacks=WHY it is not to be had, wants=TRANSPORT; unmappable=A-B: refuse bases in
 * [A, B) and offer B; nohole: refuse everything and offer nothing.
 */
#include "base/errors.h"
#include "base/log.h"
#include "base/parse.h"
#include "core/ids.h"
#include "runtime/membership.h"
#include <dsm/dsm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct client {
    uv_loop_t loop;
    uv_async_t stop;
    struct dsm_membership *membership;
    struct dsm_job_info info;
    struct dsm_membership_offer offer;
    const char *action;
    uint64_t bad_from, bad_to;
    bool has_no_hole, reacts;
    uint32_t n_left;
    int exit_status;
    pthread_mutex_t lock; /* with changed: done, set by the service thread */
    pthread_cond_t changed;
    bool is_done;
};

static void finish(struct client *c, int status)
{
    pthread_mutex_lock(&c->lock);
    if (!c->is_done)
        c->exit_status = status;
    c->is_done = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static int try_base(void *user, uint64_t base, uint64_t region_bytes, uint64_t *suggestion_out,
                    char *why, size_t why_bytes)
{
    struct client *c = user;
    (void)region_bytes;
    if (c->has_no_hole || (base >= c->bad_from && base < c->bad_to)) {
        dsm_format(why, why_bytes, "something is mapped there");
        *suggestion_out = c->has_no_hole ? 0 : c->bad_to;
        return DSM_E_RANGE;
    }
    return 0;
}

static void on_view(void *user, uint32_t epoch, uint32_t dead_rank, const char *reason)
{
    struct client *c = user;
    printf("rank %u: view %u without rank %u: %s\n", c->info.rank, epoch, dead_rank, reason);
    fflush(stdout);
    if (c->reacts)
        finish(c, 10);
}

static void on_left(void *user, uint32_t rank)
{
    struct client *c = user;
    printf("rank %u: rank %u left\n", c->info.rank, rank);
    fflush(stdout);
    if (++c->n_left == c->info.n_ranks - 1 && c->reacts)
        finish(c, 0);
}

static void on_abort(void *user, uint32_t rank, int status, const char *reason)
{
    struct client *c = user;
    printf("rank %u: aborted by %d with %d: %s\n", c->info.rank, (int)rank, status, reason);
    fflush(stdout);
    finish(c, status);
}

static void on_daemon_lost(void *user, const char *reason)
{
    struct client *c = user;
    printf("rank %u: %s\n", c->info.rank, reason);
    fflush(stdout);
    finish(c, 12);
}

static void on_stop(uv_async_t *async)
{
    uv_stop(async->loop);
}

static void *serve(void *arg)
{
    struct client *c = arg;
    uv_run(&c->loop, UV_RUN_DEFAULT);
    return NULL;
}

static int number_after(const char *text)
{
    return atoi(strchr(text, '=') + 1);
}

/* Returns the exit status; 0 after leaving in good order. */
static int act(struct client *c)
{
    if (strncmp(c->action, "exit=", 5) == 0)
        _exit(number_after(c->action));
    if (strncmp(c->action, "abort=", 6) == 0) {
        int status = number_after(c->action);
        int error = dsm_membership_abort(c->membership, status, "the test wants it");
        if (error)
            printf("rank %u: abort: %s\n", c->info.rank, dsm_error_text(error));
        _exit(status);
    }
    if (strncmp(c->action, "signal=", 7) == 0)
        kill(getpid(), number_after(c->action));
    if (strcmp(c->action, "stop") == 0)
        kill(getpid(), SIGSTOP);
    if (strcmp(c->action, "leave") != 0) {
        struct timespec until;
        bool is_over = false;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec +=
            strncmp(c->action, "stay=", 5) == 0 ? number_after(c->action) / 1000 : 1000000;
        pthread_mutex_lock(&c->lock);
        while (!c->is_done && !is_over)
            is_over = pthread_cond_timedwait(&c->changed, &c->lock, &until) != 0;
        pthread_mutex_unlock(&c->lock);
        if (c->exit_status)
            return c->exit_status;
    }
    int error = dsm_membership_leave(c->membership, 5000);
    if (error)
        printf("rank %u: leave failed: %d\n", c->info.rank, error);
    return error ? 13 : 0;
}

static const char *env_or(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value ? value : fallback;
}

static void take_key(struct client *c, struct dsm_membership_config *config, const char *key,
                     const char *value)
{
    if (strcmp(key, "build") == 0)
        config->build = value;
    else if (strcmp(key, "transport") == 0)
        c->offer.transport = value;
    else if (strcmp(key, "network") == 0)
        c->offer.network = value;
    else if (strcmp(key, "lacks") == 0)
        c->offer = (struct dsm_membership_offer){c->offer.transport, "", "", value};
    else if (strcmp(key, "wants") == 0)
        config->wanted_transport = value;
    else if (strcmp(key, "region") == 0)
        dsm_parse_size(value, &config->region_bytes);
    else if (strcmp(key, "n_ranks") == 0)
        config->n_ranks = (uint32_t)atoi(value);
    else if (strcmp(key, "rank") == 0)
        config->wanted_rank = atoi(value);
    else if (strcmp(key, "base") == 0)
        config->base = strtoull(value, NULL, 0);
    else if (strcmp(key, "timeout") == 0)
        config->join_timeout_s = atof(value);
    else if (strcmp(key, "unmappable") == 0)
        sscanf(value, "%li-%li", (long *)&c->bad_from, (long *)&c->bad_to);
    else if (strcmp(key, "nohole") == 0)
        c->has_no_hole = true;
}

/* Arguments are of the form [RANK:]ACTION or [RANK:]KEY=VALUE; those of another rank are skipped.
 */
static void take_arguments(struct client *c, struct dsm_membership_config *config, int argc,
                           char **argv)
{
    static const char *const keys[] = {"build",      "transport", "network", "lacks", "wants",
                                       "region",     "n_ranks",   "rank",    "base",  "timeout",
                                       "unmappable", "nohole",    NULL};
    for (int i = 1; i < argc; i++) {
        char *text = argv[i], *colon = strchr(text, ':');
        if (colon && colon < text + strcspn(text, "=")) {
            if (atoi(text) != config->wanted_rank)
                continue;
            text = colon + 1;
        }
        const char *const *key = keys;
        size_t n = strcspn(text, "=");
        while (*key && (strlen(*key) != n || strncmp(*key, text, n) != 0))
            key++;
        if (*key)
            take_key(c, config, *key, text[n] ? text + n + 1 : "");
        else
            c->action = text;
    }
}

int main(int argc, char **argv)
{
    static struct client client;
    struct client *c = &client;
    c->action = "leave";
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    dsm_log_setup(getenv("DSM_LOG"), "client");
    struct dsm_membership_config config = {
        .daemon = getenv("DSM_DAEMON"),
        .wanted_rank = atoi(env_or("DSM_RANK", "-1")),
        .n_ranks = (uint32_t)atoi(env_or("DSM_NRANKS", "1")),
        .region_bytes = 1ull << 30,
        .base = strtoull(env_or("DSM_BASE", "0"), NULL, 0),
        .build = "test",
        .offers = &c->offer,
        .n_offers = 1,
        .trap = "none",
        .join_timeout_s = atof(env_or("DSM_JOIN_TIMEOUT", "20")),
        .handler = {c, try_base, on_view, on_left, on_abort, on_daemon_lost, NULL},
    };
    char address[80];
    dsm_format(address, sizeof address, "%s:%d", env_or("DSM_LISTEN", "127.0.0.1"), 1000);
    c->offer = (struct dsm_membership_offer){"tcp", address, "", ""};
    if (dsm_parse_token(env_or("DSM_TOKEN", ""), config.token) != 0)
        return 2;
    take_arguments(c, &config, argc, argv);
    uv_loop_init(&c->loop);
    uv_async_init(&c->loop, &c->stop, on_stop);
    int error = dsm_membership_join(&config, &c->loop, &c->membership, &c->info);
    if (error) {
        printf("join failed: %s\n", dsm_error_name(error));
        return 11;
    }
    c->reacts = strcmp(c->action, "wait") == 0;
    printf("rank %u of %u: epoch %u base 0x%llx local %u pid %d address %s\n", c->info.rank,
           c->info.n_ranks, c->info.epoch, (unsigned long long)c->info.base, c->info.n_local,
           (int)getpid(), c->info.addresses[c->info.rank]);
    fflush(stdout);
    pthread_t thread;
    pthread_create(&thread, NULL, serve, c);
    int status = act(c);
    uv_async_send(&c->stop);
    pthread_join(thread, NULL);
    dsm_membership_close(c->membership);
    uv_close((uv_handle_t *)&c->stop, NULL);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&c->loop) != 0) {
        printf("rank %u: handles left open\n", c->info.rank);
        return 14;
    }
    return status;
}
