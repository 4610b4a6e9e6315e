/* SPDX-License-Identifier: BSD-3-Clause */
/* launcher_start.c - who runs where, which addresses they use, and what each host is told. */
#include "config.h"
#include "dsmrun/launcher_private.h"
#include "base/log.h"
#include "base/parse.h"
#include <dsm/dsm.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Never asks anything: dsmrun has no terminal to give away. */
#define DEFAULT_SSH                                                                                \
    "ssh -T -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5 "                       \
    "-o ServerAliveCountMax=3"

#define MAX_LISTEN_TRIES DSM_SERVER_MAX_LISTENERS

static const char *ssh_command(const struct dsm_launcher *l)
{
    return l->options->ssh ? l->options->ssh : DEFAULT_SSH;
}

/* The address behind a name that ssh's configuration may rename; the name itself where ssh cannot
 * say. */
static void resolve_ssh_name(const struct dsm_launcher *l, const struct dsm_host *host, char *out,
                             size_t out_bytes)
{
    char *command, line[512];
    dsm_format(out, out_bytes, "%s", dsm_host_bare_name(host));
    /* hosts.c lets no character through that a shell would mind. */
    if (asprintf(&command, "exec %s -G %s 2>/dev/null </dev/null", ssh_command(l), host->name) < 0)
        return;
    FILE *answer = popen(command, "re");
    free(command);
    if (!answer)
        return;
    while (fgets(line, sizeof line, answer)) {
        if (strncmp(line, "hostname ", 9) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        dsm_format(out, out_bytes, "%s", line + 9);
    }
    pclose(answer);
}

/* This host's address as each other host sees it. */
static int find_sources(struct dsm_launcher *l)
{
    l->sources = calloc(l->hosts.n_items, sizeof *l->sources);
    if (!l->sources) {
        dsm_log(DSM_LOG_ERROR, "out of memory");
        return DSM_E_NOMEM;
    }
    for (uint32_t i = 0; i < l->hosts.n_items; i++) {
        const struct dsm_host *host = &l->hosts.items[i];
        char name[256], why[DSM_LAUNCHER_TEXT_BYTES];
        if (host->is_here)
            continue;
        if (l->options->listen) {
            dsm_format(l->sources[i], sizeof l->sources[i], "%s", l->options->listen);
            continue;
        }
        resolve_ssh_name(l, host, name, sizeof name);
        int error = dsm_route_source(name, l->sources[i], why, sizeof why);
        if (error) {
            dsm_log(DSM_LOG_ERROR, "host %s: %s", host->name, why);
            return error;
        }
    }
    return 0;
}

int dsm_launcher_find_hosts(struct dsm_launcher *l)
{
    const struct dsm_run_options *o = l->options;
    char why[DSM_LAUNCHER_TEXT_BYTES] = "out of memory";
    int error;
    if (o->hosts)
        error = dsm_hosts_parse(o->hosts, &l->hosts, why, sizeof why);
    else if (o->hostfile)
        error = dsm_hosts_read(o->hostfile, &l->hosts, why, sizeof why);
    else
        error = dsm_hosts_here(&l->hosts);
    l->n_ranks = o->n_ranks;
    if (!error)
        error = dsm_hosts_deal(&l->hosts, &l->n_ranks, why, sizeof why);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "%s%s",
                o->hosts      ? "--host: "
                : o->hostfile ? "--hostfile: "
                              : "",
                why);
        return error;
    }
    return find_sources(l);
}

/* The address of this host that other hosts use; NULL: there are no other hosts. */
static const char *first_source(const struct dsm_launcher *l)
{
    for (uint32_t i = 0; i < l->hosts.n_items; i++)
        if (!l->hosts.items[i].is_here)
            return l->sources[i];
    return NULL;
}

static bool is_listed_before(const struct dsm_launcher *l, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (strcmp(l->sources[i], l->sources[index]) == 0)
            return true;
    return false;
}

/* Loopback alone when every rank is here, else the addresses that the other hosts see. */
static int listen_for_ranks(struct dsm_launcher *l)
{
    char why[DSM_LAUNCHER_TEXT_BYTES];
    int error = 0;
    if (!first_source(l))
        error = dsm_server_listen(l->server, "127.0.0.1", 0, why, sizeof why);
    for (uint32_t i = 0; i < l->hosts.n_items && !error; i++)
        if (!l->hosts.items[i].is_here && !is_listed_before(l, i))
            error = dsm_server_listen(l->server, l->sources[i], 0, why, sizeof why);
    if (error)
        dsm_log(DSM_LOG_ERROR, "%s", why);
    return error;
}

int dsm_launcher_open_server(struct dsm_launcher *l)
{
    const char *token = getenv("DSM_TOKEN");
    l->daemon = getenv("DSM_DAEMON");
    if (l->daemon && *l->daemon) {
        if (token && dsm_parse_token(token, l->token) != 0) {
            dsm_log(DSM_LOG_ERROR, "DSM_TOKEN: allowed are 32 hex digits");
            return DSM_E_INVAL;
        }
        return 0;
    }
    l->daemon = NULL;
    struct dsm_server_config config = {
        .loop = &l->loop,
        .lease_ns = (uint64_t)(l->options->lease_s * 1e9),
        .is_managed = true,
        .user = l,
        .on_note = dsm_launcher_on_note,
    };
    int error = dsm_server_open(&config, &l->server);
    if (!error)
        error = dsm_server_expect(l->server, l->token, l->n_ranks);
    if (error) {
        dsm_log(DSM_LOG_ERROR, "out of memory");
        return error;
    }
    return listen_for_ranks(l);
}

/* ---- environments -------------------------------------------------------------------------- */

struct env_list {
    char **items;
    size_t n_items;
    bool is_short; /* out of memory on the way */
};

static void add_env(struct env_list *list, const char *name, const char *value)
{
    char **grown = realloc(list->items, (list->n_items + 1) * sizeof *grown);
    if (!grown) {
        list->is_short = true;
        return;
    }
    list->items = grown;
    if (asprintf(&grown[list->n_items], "%s=%s", name, value) < 0)
        list->is_short = true;
    else
        list->n_items++;
}

static void add_env_number(struct env_list *list, const char *name, uint64_t value)
{
    char text[24];
    dsm_format(text, sizeof text, "%lu", value);
    add_env(list, name, text);
}

/* dsmd's address as this host sees it. */
static void daemon_address(const struct dsm_launcher *l, uint32_t host_index,
                           char out[DSM_SERVER_ADDRESS_BYTES])
{
    const char *seen = l->sources[host_index];
    uint32_t listener = 0;
    for (uint32_t i = 0; i < host_index && *seen; i++) {
        if (strcmp(l->sources[i], seen) == 0)
            break;
        if (!l->hosts.items[i].is_here && !is_listed_before(l, i))
            listener++;
    }
    dsm_server_address(l->server, listener, out);
}

static void add_token(struct env_list *list, const uint8_t token[DSM_TOKEN_BYTES])
{
    char text[2 * DSM_TOKEN_BYTES + 1];
    for (unsigned i = 0; i < DSM_TOKEN_BYTES; i++)
        dsm_format(text + 2 * i, 3, "%02x", token[i]);
    add_env(list, "DSM_TOKEN", text);
}

static void make_env(const struct dsm_launcher *l, uint32_t host_index, struct env_list *list)
{
    const struct dsm_host *host = &l->hosts.items[host_index];
    /* Other hosts start from their own environment; the library's variables go along. */
    for (char **at = environ; *at && !host->is_here; at++) {
        const char *equals = strchr(*at, '=');
        char name[256];
        if (strncmp(*at, "DSM_", 4) != 0 || !equals || (size_t)(equals - *at) >= sizeof name)
            continue;
        memcpy(name, *at, (size_t)(equals - *at));
        name[equals - *at] = '\0';
        add_env(list, name, equals + 1);
    }
    for (size_t i = 0; i < l->options->n_env; i++) {
        char *equals = strchr(l->options->env[i], '=');
        *equals = '\0';
        add_env(list, l->options->env[i], equals + 1);
        *equals = '=';
    }
    char address[DSM_SERVER_ADDRESS_BYTES];
    if (l->server) {
        daemon_address(l, host_index, address);
        add_env(list, "DSM_DAEMON", address);
    } else {
        add_env(list, "DSM_DAEMON", l->daemon);
    }
    add_token(list, l->token);
    add_env_number(list, "DSM_NRANKS", l->n_ranks);
    add_env_number(list, "DSM_LOCAL_RANKS", host->n_ranks);
    if (host->is_here && first_source(l))
        add_env(list, "DSM_LISTEN", first_source(l));
}

static void fill_launch(struct dsm_launcher *l, const struct dsm_host *host, uint32_t host_index,
                        Dsm__LaunchRank *ranks, Dsm__LaunchRank **list, const char *dir,
                        Dsm__Launch *launch)
{
    for (uint32_t i = 0; i < host->n_ranks; i++) {
        dsm__launch_rank__init(&ranks[i]);
        ranks[i].rank = host->first_rank + i;
        ranks[i].has_input = ranks[i].rank == 0;
        list[i] = &ranks[i];
    }
    launch->n_ranks = host->n_ranks;
    launch->ranks = list;
    launch->args = l->options->args;
    while (l->options->args[launch->n_args])
        launch->n_args++;
    launch->dir = (char *)dir;
    launch->is_raw = l->n_ranks == 1 && !l->options->tag_output;
    launch->keep_randomization = l->options->keep_randomization;
    launch->is_profiled = l->options->profile != NULL;
    launch->find_listen = !host->is_here;
    launch->daemon_host = l->sources[host_index];
}

void dsm_launcher_send_launch(struct dsm_launcher *l, struct dsm_link *link)
{
    const struct dsm_host *host = link->host;
    uint32_t host_index = (uint32_t)(link - l->links);
    Dsm__LaunchRank *ranks = calloc(host->n_ranks, sizeof *ranks);
    Dsm__LaunchRank **list = calloc(host->n_ranks, sizeof *list);
    struct env_list env = {0};
    char dir[PATH_MAX];
    make_env(l, host_index, &env);
    if (!ranks || !list || env.is_short) {
        dsm_launcher_fail(l, 1, 0, "out of memory");
    } else if (!l->options->dir && !getcwd(dir, sizeof dir)) {
        dsm_launcher_fail(l, 1, 0, "the current directory has no name any more");
    } else {
        Dsm__Launch launch = DSM__LAUNCH__INIT;
        fill_launch(l, host, host_index, ranks, list, l->options->dir ? l->options->dir : dir,
                    &launch);
        launch.env = env.items;
        launch.n_env = env.n_items;
        dsm_link_send(link, DSM__LAUNCH_MESSAGE__BODY_LAUNCH, &launch);
        if (!host->is_here) {
            Dsm__Alive alive = DSM__ALIVE__INIT;
            dsm_link_send(link, DSM__LAUNCH_MESSAGE__BODY_ALIVE, &alive);
        }
    }
    for (size_t i = 0; i < env.n_items; i++)
        free(env.items[i]);
    free(env.items);
    free(ranks);
    free(list);
}

/* ---- supervisors --------------------------------------------------------------------------- */

static void on_writable(struct dsm_link *link)
{
    (void)link; /* what dsmrun sends is little, and counted elsewhere */
}

/* exec 'path' --supervise, for whatever shell is over there. NULL: out of memory. */
static char *remote_command(const char *path)
{
    char *command = malloc(strlen(path) * 4 + 32);
    if (!command)
        return NULL;
    char *at = stpcpy(command, "exec '");
    for (; *path; path++) {
        if (*path == '\'')
            at = stpcpy(at, "'\\''");
        else
            *at++ = *path;
    }
    strcpy(at, "' --supervise");
    return command;
}

static int own_path(char out[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (n <= 0) {
        dsm_log(DSM_LOG_ERROR, "cannot find dsmrun itself: /proc/self/exe is not readable");
        return DSM_E_SYSTEM;
    }
    out[n] = '\0';
    return 0;
}

int dsm_launcher_open_links(struct dsm_launcher *l)
{
    static const struct dsm_link_handler handler = {
        dsm_launcher_on_message, dsm_launcher_on_error_line, on_writable, dsm_launcher_on_link_end};
    char path[PATH_MAX], *command, *script;
    int error = own_path(path);
    if (error)
        return error;
    command = remote_command(l->options->remote_dsmrun ? l->options->remote_dsmrun : path);
    l->links = calloc(l->hosts.n_items, sizeof *l->links);
    if (!command || !l->links || asprintf(&script, "exec %s \"$@\"", ssh_command(l)) < 0) {
        dsm_log(DSM_LOG_ERROR, "out of memory");
        free(command);
        return DSM_E_NOMEM;
    }
    for (uint32_t i = 0; i < l->hosts.n_items && !error; i++) {
        const struct dsm_host *host = &l->hosts.items[i];
        char why[DSM_LAUNCHER_TEXT_BYTES];
        char *here[] = {path, "--supervise", NULL};
        char *there[] = {"/bin/sh", "-c", script, "ssh", host->name, command, NULL};
        error = dsm_link_open(&l->links[i], &l->loop, host, host->is_here ? here : there, &handler,
                              l, why, sizeof why);
        if (error)
            dsm_log(DSM_LOG_ERROR, "host %s: %s", host->name, why);
    }
    free(script);
    free(command);
    return error;
}
