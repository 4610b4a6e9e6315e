/* SPDX-License-Identifier: BSD-3-Clause */
/* debian.c - from package lists to a graph. Parsing in place; names point into the text. */
#define _GNU_SOURCE /* pipe2 */
#include "debian.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define APT_LISTS   "/var/lib/apt/lists/*_Packages*"
#define DPKG_STATUS "/var/lib/dpkg/status"
#define APT_HELPER  "/usr/lib/apt/apt-helper"
#define NO_VERTEX   UINT32_MAX

extern char **environ;

/* ---- files ---------------------------------------------------------------------------------- */

struct text {
    char *bytes;
    size_t len, room;
};

/* Appends all that fd gives. */
static int append_all(struct text *text, int fd)
{
    for (;;) {
        ssize_t got;

        if (text->room - text->len < 65536) {
            size_t room = text->room * 2 + 131072;
            char *bytes = realloc(text->bytes, room);

            if (bytes == NULL)
                return -ENOMEM;
            text->bytes = bytes;
            text->room = room;
        }
        got = read(fd, text->bytes + text->len, text->room - text->len - 2);
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0)
            text->len += (size_t)got;
    }
}

/* Compressed lists come through apt's own reader. */
static int append_through_apt(struct text *text, const char *path)
{
    char *const argv[] = {APT_HELPER, "cat-file", (char *)path, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2], err, status = -1;
    pid_t child = -1;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    err = -posix_spawn(&child, APT_HELPER, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (err == 0) {
        err = append_all(text, ends[0]);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
        if (err == 0 && status != 0)
            err = -EIO;
    }
    close(ends[0]);
    return err;
}

static bool ends_with(const char *path, const char *end)
{
    size_t len = strlen(path), end_len = strlen(end);

    return len >= end_len && strcmp(path + len - end_len, end) == 0;
}

static int append_file(struct text *text, const char *path)
{
    static const char *const packed[] = {".lz4", ".xz", ".gz", ".bz2", ".zst", ".lzma"};
    int err, fd;

    for (size_t i = 0; i < sizeof(packed) / sizeof(packed[0]); i++)
        if (ends_with(path, packed[i]) && access(path, R_OK) == 0)
            return append_through_apt(text, path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    err = append_all(text, fd);
    close(fd);
    return err;
}

static int read_files(struct text *text, char *const *paths, size_t n_paths)
{
    for (size_t i = 0; i < n_paths; i++) {
        int err = append_file(text, paths[i]);

        if (err < 0) {
            fprintf(stderr, "cannot read the package list %s: %s\n", paths[i], strerror(-err));
            return -1;
        }
        /* Files end a stanza. */
        memcpy(text->bytes + text->len, "\n\n", 2);
        text->len += 2;
    }
    return 0;
}

/* ---- stanzas -------------------------------------------------------------------------------- */

/* Fields point into the text and end in 0; NULL where the stanza has none. */
struct stanza {
    char *package;
    char *pre_depends;
    char *depends;
    char *provides;
    bool is_absent; /* of dpkg's status: not installed */
};

struct package {
    char *name;
    struct stanza stanza;
    uint32_t order; /* of appearance */
};

/* Takes one field; value is one line with its continuation lines, ended in place. */
static void take_field(struct stanza *stanza, const char *name, char *value)
{
    if (strcmp(name, "Package") == 0)
        stanza->package = value;
    else if (strcmp(name, "Pre-Depends") == 0)
        stanza->pre_depends = value;
    else if (strcmp(name, "Depends") == 0)
        stanza->depends = value;
    else if (strcmp(name, "Provides") == 0)
        stanza->provides = value;
    else if (strcmp(name, "Status") == 0)
        stanza->is_absent = !ends_with(value, " installed");
}

/* Reads the stanza at *at, up to and with its empty line. */
static struct stanza next_stanza(char **at, char *end)
{
    struct stanza stanza = {0};
    char *line = *at;

    while (line < end && *line == '\n')
        line++;
    while (line < end && *line != '\n') {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        char *colon;

        while (stop + 1 < end && (stop[1] == ' ' || stop[1] == '\t'))
            stop = memchr(stop + 1, '\n', (size_t)(end - stop - 1));
        *stop = '\0';
        colon = strchr(line, ':');
        if (colon != NULL) {
            char *value = colon + 1;

            *colon = '\0';
            while (*value == ' ')
                value++;
            take_field(&stanza, line, value);
        }
        line = stop + 1;
    }
    *at = line;
    return stanza;
}

static int by_name_then_order(const void *a, const void *b)
{
    const struct package *x = a, *y = b;
    int names = strcmp(x->name, y->name);

    return names != 0 ? names : (x->order > y->order) - (x->order < y->order);
}

/* All packages, sorted by name, each once. */
static int list_packages(struct text *text, struct package **packages_out, uint32_t *count_out)
{
    struct package *packages = NULL;
    uint32_t count = 0, room = 0, kept = 0;
    char *at = text->bytes, *end = text->bytes + text->len;

    while (at < end) {
        struct stanza stanza = next_stanza(&at, end);

        if (stanza.package == NULL || stanza.is_absent)
            continue;
        if (count == room) {
            struct package *more;

            room = room * 2 + 1024;
            more = realloc(packages, room * sizeof(*more));
            if (more == NULL) {
                free(packages);
                return -1;
            }
            packages = more;
        }
        packages[count] = (struct package){stanza.package, stanza, count};
        count++;
    }
    if (count > 0)
        qsort(packages, count, sizeof(*packages), by_name_then_order);
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(packages[kept - 1].name, packages[i].name) != 0)
            packages[kept++] = packages[i];
    *packages_out = packages;
    *count_out = kept;
    return 0;
}

/* ---- relations ------------------------------------------------------------------------------- */

/* A name inside the text. */
struct span {
    const char *at;
    size_t len;
};

struct provided {
    struct span name;
    uint32_t provider;
};

struct edge {
    uint32_t target;
    uint32_t source;
};

struct builder {
    const struct package *packages;
    uint32_t n_packages;
    struct provided *provided; /* sorted by name */
    size_t n_provided, provided_room;
    struct edge *edges;
    size_t n_edges, edges_room;
    uint32_t n_unmet;
};

/* The next name of a relation field, without version, architecture and profile, which say nothing
 * to us. *is_alternative_out: joined to the one before by `|`. False at the end. */
static bool next_name(const char **at, struct span *name_out, bool *is_alternative_out)
{
    const char *name = *at;

    *is_alternative_out = false;
    while (*name != '\0' && strchr(" \t\n,|", *name) != NULL) {
        if (*name == '|')
            *is_alternative_out = true;
        name++;
    }
    if (*name == '\0')
        return false;
    *name_out = (struct span){name, strcspn(name, " \t\n,|:([<")};
    name += name_out->len;
    *at = name + strcspn(name, ",|");
    return true;
}

static int compare_spans(struct span a, struct span b)
{
    int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_provided_name(const void *a, const void *b)
{
    const struct provided *x = a, *y = b;
    int order = compare_spans(x->name, y->name);

    return order != 0 ? order : (x->provider > y->provider) - (x->provider < y->provider);
}

static int by_target_then_source(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;

    if (x->target != y->target)
        return x->target < y->target ? -1 : 1;
    return (x->source > y->source) - (x->source < y->source);
}

static uint32_t find_package(const struct builder *b, struct span name)
{
    uint32_t low = 0, high = b->n_packages;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const char *there = b->packages[middle].name;
        int order = compare_spans((struct span){there, strlen(there)}, name);

        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NO_VERTEX;
}

/* Index of the first provider of a name; n_provided when there is none. */
static size_t find_provided(const struct builder *b, struct span name)
{
    size_t low = 0, high = b->n_provided;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_spans(b->provided[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < b->n_provided && compare_spans(b->provided[low].name, name) == 0)
        return low;
    return b->n_provided;
}

/* Room for one more element. */
static void *with_room(void *elements, size_t count, size_t *room, size_t size)
{
    void *more = elements;

    if (count == *room) {
        *room = *room * 2 + 1024;
        more = realloc(elements, *room * size);
    }
    return more;
}

static int list_provided(struct builder *b)
{
    for (uint32_t v = 0; v < b->n_packages; v++) {
        const char *at = b->packages[v].stanza.provides;
        struct span name;
        bool is_alternative;

        while (at != NULL && next_name(&at, &name, &is_alternative)) {
            struct provided *more =
                with_room(b->provided, b->n_provided, &b->provided_room, sizeof(*b->provided));

            if (more == NULL)
                return -1;
            b->provided = more;
            b->provided[b->n_provided++] = (struct provided){name, v};
        }
    }
    if (b->n_provided > 0)
        qsort(b->provided, b->n_provided, sizeof(*b->provided), by_provided_name);
    return 0;
}

static int add_edge(struct builder *b, uint32_t source, uint32_t target)
{
    struct edge *more;

    if (source == target)
        return 0;
    more = with_room(b->edges, b->n_edges, &b->edges_room, sizeof(*b->edges));
    if (more == NULL)
        return -1;
    b->edges = more;
    b->edges[b->n_edges++] = (struct edge){target, source};
    return 0;
}

/* The edges of one group of alternatives. */
static int add_group(struct builder *b, uint32_t source, const struct span *names, size_t n_names)
{
    for (size_t i = 0; i < n_names; i++) {
        uint32_t target = find_package(b, names[i]);

        if (target != NO_VERTEX)
            return add_edge(b, source, target);
    }
    for (size_t i = 0; i < n_names; i++) {
        size_t at = find_provided(b, names[i]);

        if (at == b->n_provided)
            continue;
        for (; at < b->n_provided && compare_spans(b->provided[at].name, names[i]) == 0; at++)
            if (add_edge(b, source, b->provided[at].provider) < 0)
                return -1;
        return 0;
    }
    b->n_unmet += n_names > 0;
    return 0;
}

#define ALTERNATIVES_MAX 64

static int add_field(struct builder *b, uint32_t source, const char *field)
{
    struct span group[ALTERNATIVES_MAX], name;
    size_t n_group = 0;
    bool is_alternative;

    while (field != NULL && next_name(&field, &name, &is_alternative)) {
        if (!is_alternative) {
            if (add_group(b, source, group, n_group) < 0)
                return -1;
            n_group = 0;
        }
        if (n_group < ALTERNATIVES_MAX)
            group[n_group++] = name;
    }
    return add_group(b, source, group, n_group);
}

static int list_edges(struct builder *b)
{
    size_t kept = 0;

    for (uint32_t v = 0; v < b->n_packages; v++)
        if (add_field(b, v, b->packages[v].stanza.pre_depends) < 0 ||
            add_field(b, v, b->packages[v].stanza.depends) < 0)
            return -1;
    if (b->n_edges > 0)
        qsort(b->edges, b->n_edges, sizeof(*b->edges), by_target_then_source);
    for (size_t i = 0; i < b->n_edges; i++)
        if (kept == 0 || by_target_then_source(&b->edges[kept - 1], &b->edges[i]) != 0)
            b->edges[kept++] = b->edges[i];
    b->n_edges = kept;
    return 0;
}

/* ---- the graph ------------------------------------------------------------------------------- */

static int make_graph(struct debian *debian, const struct builder *b)
{
    struct kernel_graph *graph = &debian->graph;
    uint32_t n = b->n_packages;

    graph->n_vertices = n;
    graph->in_start = calloc((size_t)n + 1, sizeof(*graph->in_start));
    graph->in_source = calloc(b->n_edges + 1, sizeof(*graph->in_source));
    graph->out_degree = calloc(n, sizeof(*graph->out_degree));
    debian->name = calloc(n, sizeof(*debian->name));
    if (graph->in_start == NULL || graph->in_source == NULL || graph->out_degree == NULL ||
        debian->name == NULL)
        return -1;
    for (uint32_t v = 0; v < n; v++)
        debian->name[v] = b->packages[v].name;
    for (size_t e = 0; e < b->n_edges; e++) {
        graph->in_start[b->edges[e].target + 1]++;
        graph->in_source[e] = b->edges[e].source;
        graph->out_degree[b->edges[e].source]++;
    }
    for (uint32_t v = 0; v < n; v++)
        graph->in_start[v + 1] += graph->in_start[v];
    debian->n_unmet = b->n_unmet;
    return 0;
}

static int build(struct debian *debian, struct text *text)
{
    struct builder b = {0};
    struct package *packages = NULL;
    int err = list_packages(text, &packages, &b.n_packages);

    b.packages = packages;
    if (err == 0 && b.n_packages == 0) {
        fprintf(stderr, "no package in the %u package list%s read\n", debian->n_files,
                debian->n_files == 1 ? "" : "s");
        free(packages);
        return -1;
    }
    if (err == 0)
        err = list_provided(&b);
    if (err == 0)
        err = list_edges(&b);
    if (err == 0)
        err = make_graph(debian, &b);
    if (err < 0)
        fprintf(stderr, "out of memory for the package lists, %zu bytes\n", text->len);
    free(b.edges);
    free(b.provided);
    free(packages);
    return err;
}

int debian_read(struct debian *out, char *const *paths, int n_paths)
{
    static char *const status[] = {DPKG_STATUS};
    struct debian debian = {0};
    struct text text = {0};
    glob_t lists = {0};
    size_t count = (size_t)n_paths;
    int err;

    if (n_paths == 0 && glob(APT_LISTS, 0, NULL, &lists) == 0) {
        paths = lists.gl_pathv;
        count = lists.gl_pathc;
    } else if (n_paths == 0) {
        paths = status;
        count = 1;
    }
    debian.n_files = (uint32_t)count;
    err = read_files(&text, paths, count);
    globfree(&lists);
    debian.text = text.bytes;
    if (err == 0)
        err = build(&debian, &text);
    if (err < 0) {
        debian_close(&debian);
        return -1;
    }
    *out = debian;
    return 0;
}

void debian_close(struct debian *debian)
{
    free(debian->graph.in_start);
    free(debian->graph.in_source);
    free(debian->graph.out_degree);
    free(debian->name);
    free(debian->text);
}
