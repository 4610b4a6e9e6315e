/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - dsmtop: what the ranks of a job do, while they do it. */
#define _GNU_SOURCE
#include "config.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"
#include "dsmtop/top.h"
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_DELAY_S 1.0

enum mode { MODE_SCREEN, MODE_TEXT, MODE_JSON, MODE_LIST };

struct options {
    enum mode mode;
    double delay_s;
    uint64_t n_looks; /* 0: until the job ends */
    uint64_t pid, job;
    const char *daemon; /* NULL: that of the job */
};

static const char help_text[] =
    "Usage: dsmtop [option...]\n"
    "Shows what the ranks of a job do: faults, latencies, waits, hot allocations.\n"
    "\n"
    "  -p, --pid PID     the job of which this process is a rank\n"
    "  -j, --job JOB     the job of this number, as --list prints it\n"
    "                    default: of this user's jobs the one that started last\n"
    "      --daemon HOST:PORT  the job of DSM_TOKEN at this dsmd, also where no rank of it is "
    "here\n"
    "  -d, --delay S     seconds between two looks; default 1\n"
    "  -b, --batch       print lines, do not draw\n"
    "      --json        print one JSON object a look\n"
    "  -n, --looks N     end after so many looks; default with --batch and --json 1\n"
    "      --list        list the jobs that have ranks here\n"
    "      --version     print the version\n"
    "      --help        print this\n";

static const struct option long_options[] = {
    {"pid", required_argument, NULL, 'p'},
    {"job", required_argument, NULL, 'j'},
    {"daemon", required_argument, NULL, 'D'},
    {"delay", required_argument, NULL, 'd'},
    {"batch", no_argument, NULL, 'b'},
    {"json", no_argument, NULL, 'J'},
    {"looks", required_argument, NULL, 'n'},
    {"list", no_argument, NULL, 'L'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int wrong(const char *option, const char *value, const char *allowed)
{
    dsm_log(DSM_LOG_ERROR, "%s %s: allowed is %s", option, value, allowed);
    return 2;
}

/* -1: fine; else the exit status. */
static int take(struct options *o, int option, const char *value)
{
    char *end;
    switch (option) {
    case 'p':
        return dsm_parse_u64(value, 1, INT32_MAX, &o->pid)
                   ? wrong("--pid", value, "the number of a process")
                   : -1;
    case 'j':
        o->job = strtoul(value, &end, 16);
        return !*value || *end || o->job == 0 || o->job > UINT32_MAX
                   ? wrong("--job", value, "a number that --list prints")
                   : -1;
    case 'd':
        return dsm_parse_seconds(value, &o->delay_s) || o->delay_s < 0.1 || o->delay_s > 3600
                   ? wrong("--delay", value, "0.1 to 3600 seconds")
                   : -1;
    case 'n':
        return dsm_parse_u64(value, 1, UINT32_MAX, &o->n_looks)
                   ? wrong("--looks", value, "a number of at least 1")
                   : -1;
    case 'D':
        o->daemon = value;
        return -1;
    case 'b':
        o->mode = MODE_TEXT;
        return -1;
    case 'J':
        o->mode = MODE_JSON;
        return -1;
    case 'L':
        o->mode = MODE_LIST;
        return -1;
    case 'V':
        puts("dsmtop " PACKAGE_VERSION);
        return 0;
    case 'h':
        fputs(help_text, stdout);
        return 0;
    }
    return 2;
}

static int parse(int argc, char **argv, struct options *o)
{
    int option, status = -1;
    opterr = 0;
    while (status < 0 &&
           (option = getopt_long(argc, argv, ":p:j:d:bn:", long_options, NULL)) != -1) {
        if (option == ':')
            dsm_log(DSM_LOG_ERROR, "option %s needs a value; dsmtop --help lists all",
                    argv[optind - 1]);
        else if (option == '?')
            dsm_log(DSM_LOG_ERROR, "unknown option %s; dsmtop --help lists all", argv[optind - 1]);
        status = option == ':' || option == '?' ? 2 : take(o, option, optarg);
    }
    if (status < 0 && optind < argc) {
        dsm_log(DSM_LOG_ERROR, "unexpected argument %s; dsmtop --help lists the options",
                argv[optind]);
        return 2;
    }
    return status;
}

static void pause_for(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    (void)nanosleep(&t, NULL);
}

static int run_batch(struct top *top, const struct options *o)
{
    uint64_t looks = o->n_looks ? o->n_looks : 1;
    for (uint64_t i = 0; i < looks; i++) {
        size_t at = 0;
        if (i > 0) {
            pause_for(o->delay_s);
            if (top_look(top) != 0)
                return 1;
        }
        if (!top_next(top, &at))
            return 0; /* the job has ended */
        if (!(o->mode == MODE_JSON ? top_print_json : top_print_text)(top, stdout)) {
            dsm_log(DSM_LOG_ERROR, "standard output cannot be written");
            return 1;
        }
    }
    return 0;
}

/* The job named by DSM_TOKEN at a dsmd: whatever is on this host is not looked at. */
static int open_named(struct top *top, const struct options *o)
{
    struct top_daemon daemon;
    const char *token = getenv("DSM_TOKEN");
    if (!token || dsm_parse_token(token, daemon.token) != 0) {
        dsm_log(DSM_LOG_ERROR, "--daemon %s: DSM_TOKEN must name the job: 32 hex digits",
                o->daemon);
        return 2;
    }
    if (strlen(o->daemon) >= sizeof daemon.address)
        return wrong("--daemon", o->daemon, "host:port");
    dsm_format(daemon.address, sizeof daemon.address, "%s", o->daemon);
    top->only_remote = true;
    return top_remote_open(top, &daemon, o->delay_s) == 0 ? 0 : 1;
}

/* Ranks that are not here: dsmd knows of them, and a rank that is here knows where it is. */
static void open_others(struct top *top, const struct options *o)
{
    struct top_daemon daemon;
    const struct top_rank *rank = NULL, *next;
    size_t at = 0, n = 0;
    while ((next = top_next(top, &at))) {
        rank = next;
        n++;
    }
    if (!rank || n >= rank->now.n_ranks || !top_daemon_of(rank->pid, &daemon))
        return;
    uint32_t n_ranks = rank->now.n_ranks;
    if (top_remote_open(top, &daemon, o->delay_s) != 0)
        dsm_log(DSM_LOG_WARN, "so only %zu of %u ranks are shown: those on this host", n, n_ranks);
}

static int choose(struct top *top, const struct options *o)
{
    if (o->daemon)
        return open_named(top, o);
    if (!top_choose(top, (pid_t)o->pid, (uint32_t)o->job)) {
        dsm_log(DSM_LOG_ERROR, "no such job of this user has ranks on this host%s",
                o->pid || o->job ? " (dsmtop --list lists what there is)" : "");
        return 1;
    }
    open_others(top, o);
    return 0;
}

static int run(struct top *top, const struct options *o)
{
    if (!o->daemon && top_look(top) != 0)
        return 1;
    if (o->mode == MODE_LIST)
        return top_print_list(top, stdout) ? 0 : 1;
    int status = choose(top, o);
    if (status != 0)
        return status;
    if (o->mode != MODE_SCREEN)
        return run_batch(top, o);
    if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO)) {
        dsm_log(DSM_LOG_ERROR, "this is no terminal: use --batch or --json");
        return 2;
    }
    return top_run_screen(top, o->delay_s);
}

int main(int argc, char **argv)
{
    struct options options = {.delay_s = DEFAULT_DELAY_S};
    struct top top = {0};
    dsm_log_setup(NULL, "dsmtop");
    int status = parse(argc, argv, &options);
    if (status < 0)
        status = run(&top, &options);
    top_close(&top);
    return status;
}
