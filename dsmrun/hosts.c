/* SPDX-License-Identifier: BSD-3-Clause */
/* hosts.c - see hosts.h. */
#include "config.h"
#include "dsmrun/hosts.h"
#include "dsmrun/route.h"
#include "base/log.h"
#include "base/parse.h"
#include "proto/control.h"
#include <ctype.h>
#include <dsm/dsm.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *dsm_host_bare_name(const struct dsm_host *host)
{
    const char *at = strrchr(host->name, '@');
    return at ? at + 1 : host->name;
}

static int add(struct dsm_hosts *hosts, const char *name, size_t name_bytes, uint32_t n_slots)
{
    struct dsm_host *grown = realloc(hosts->items, (hosts->n_items + 1) * sizeof *grown);
    if (!grown)
        return DSM_E_NOMEM;
    hosts->items = grown;
    struct dsm_host *host = &grown[hosts->n_items];
    *host = (struct dsm_host){.name = strndup(name, name_bytes), .n_slots = n_slots};
    if (!host->name)
        return DSM_E_NOMEM;
    host->is_here = dsm_route_is_here(dsm_host_bare_name(host));
    hosts->n_items++;
    return 0;
}

/* A name that ssh could take for an option, or the shell of a prompt for something else, is none.
 */
static bool is_name(const char *name, size_t n)
{
    if (n == 0 || name[0] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr(".-_@:%", name[i]))
            return false;
    return true;
}

/* name, name:slots or [address]:slots, in n bytes. */
static int add_entry(struct dsm_hosts *hosts, const char *text, size_t n, char *why,
                     size_t why_bytes)
{
    char entry[256];
    if (n >= sizeof entry)
        n = sizeof entry - 1;
    memcpy(entry, text, n);
    entry[n] = '\0';
    char *name = entry, *slots = NULL;
    if (entry[0] == '[' && strchr(entry, ']')) {
        char *end = strchr(entry, ']');
        *end = '\0';
        name++;
        slots = end[1] == ':' ? end + 2 : end[1] ? end + 1 : NULL;
    } else if (strchr(entry, ':') == strrchr(entry, ':') && strchr(entry, ':')) {
        slots = strchr(entry, ':');
        *slots++ = '\0';
    }
    uint64_t n_slots = 0;
    if (!is_name(name, strlen(name)) ||
        (slots && dsm_parse_u64(slots, 1, DSM_CONTROL_MAX_RANKS, &n_slots) != 0)) {
        memcpy(entry, text, n);
        dsm_format(why, why_bytes, "\"%s\": allowed is NAME or NAME:RANKS with 1 to %u ranks",
                   entry, DSM_CONTROL_MAX_RANKS);
        return DSM_E_INVAL;
    }
    int error = add(hosts, name, strlen(name), (uint32_t)n_slots);
    if (error)
        dsm_format(why, why_bytes, "out of memory");
    return error;
}

int dsm_hosts_parse(const char *text, struct dsm_hosts *hosts, char *why, size_t why_bytes)
{
    *hosts = (struct dsm_hosts){0};
    for (;;) {
        size_t n = strcspn(text, ",");
        int error = add_entry(hosts, text, n, why, why_bytes);
        if (error) {
            dsm_hosts_close(hosts);
            return error;
        }
        if (!text[n])
            return 0;
        text += n + 1;
    }
}

/* One line of a host file: nothing, or a host. */
static int add_line(struct dsm_hosts *hosts, char *line, char *why, size_t why_bytes)
{
    line[strcspn(line, "#\n")] = '\0';
    char *save, *name = strtok_r(line, " \t\r", &save);
    if (!name)
        return 0;
    char *slots = strtok_r(NULL, " \t\r", &save);
    char *extra = strtok_r(NULL, " \t\r", &save);
    if (!slots)
        return add_entry(hosts, name, strlen(name), why, why_bytes);
    uint64_t n_slots;
    if (extra || !is_name(name, strlen(name)) || strncmp(slots, "slots=", 6) != 0 ||
        dsm_parse_u64(slots + 6, 1, DSM_CONTROL_MAX_RANKS, &n_slots) != 0) {
        dsm_format(why, why_bytes, "\"%s %s\": allowed is NAME slots=RANKS with 1 to %u ranks",
                   name, slots, DSM_CONTROL_MAX_RANKS);
        return DSM_E_INVAL;
    }
    int error = add(hosts, name, strlen(name), (uint32_t)n_slots);
    if (error)
        dsm_format(why, why_bytes, "out of memory");
    return error;
}

int dsm_hosts_read(const char *path, struct dsm_hosts *hosts, char *why, size_t why_bytes)
{
    *hosts = (struct dsm_hosts){0};
    FILE *file = fopen(path, "re");
    if (!file) {
        dsm_format(why, why_bytes, "%s: %s", path, strerror(errno));
        return DSM_E_SYSTEM;
    }
    char *line = NULL, reason[200];
    size_t line_bytes = 0;
    int error = 0;
    for (unsigned number = 1; !error && getline(&line, &line_bytes, file) >= 0; number++) {
        error = add_line(hosts, line, reason, sizeof reason);
        if (error)
            dsm_format(why, why_bytes, "%s line %u: %s", path, number, reason);
    }
    free(line);
    fclose(file);
    if (!error && hosts->n_items == 0) {
        dsm_format(why, why_bytes, "%s: no host in it", path);
        error = DSM_E_INVAL;
    }
    if (error)
        dsm_hosts_close(hosts);
    return error;
}

int dsm_hosts_here(struct dsm_hosts *hosts)
{
    *hosts = (struct dsm_hosts){0};
    return add(hosts, "localhost", strlen("localhost"), 0);
}

int dsm_hosts_deal(struct dsm_hosts *hosts, uint32_t *n_ranks, char *why, size_t why_bytes)
{
    bool is_limited = false;
    uint64_t room = 0;
    for (uint32_t i = 0; i < hosts->n_items; i++) {
        is_limited = is_limited || hosts->items[i].n_slots;
        room += hosts->items[i].n_slots ? hosts->items[i].n_slots : 1;
    }
    uint64_t n = *n_ranks ? *n_ranks : room;
    if (n > DSM_CONTROL_MAX_RANKS || (is_limited && n > room)) {
        dsm_format(why, why_bytes, "%lu ranks asked for, the hosts have room for %lu", n,
                   is_limited && room < DSM_CONTROL_MAX_RANKS ? room
                                                              : (uint64_t)DSM_CONTROL_MAX_RANKS);
        return DSM_E_LIMIT;
    }
    uint32_t first = 0, n_used = 0;
    for (uint32_t i = 0; i < hosts->n_items; i++) {
        struct dsm_host *host = &hosts->items[i];
        uint64_t h = hosts->n_items;
        uint64_t share = (n * (i + 1) + h - 1) / h - (n * i + h - 1) / h;
        if (is_limited)
            share = host->n_slots ? host->n_slots : 1;
        if (share > n - first)
            share = n - first;
        host->first_rank = first;
        host->n_ranks = (uint32_t)share;
        first += host->n_ranks;
        if (host->n_ranks == 0)
            free(host->name);
        else
            hosts->items[n_used++] = *host;
    }
    hosts->n_items = n_used;
    *n_ranks = (uint32_t)n;
    return 0;
}

void dsm_hosts_close(struct dsm_hosts *hosts)
{
    for (uint32_t i = 0; i < hosts->n_items; i++)
        free(hosts->items[i].name);
    free(hosts->items);
    *hosts = (struct dsm_hosts){0};
}
