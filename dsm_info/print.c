/* SPDX-License-Identifier: BSD-3-Clause */
/* print.c - the facts as text. */
#include "dsm_info/facts.h"
#include <stdbool.h>
#include <stdio.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static long long number_of(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static bool is_set(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static double gib(long long bytes)
{
    return (double)bytes / (double)(1 << 30);
}

static void print_machine(const json_t *m)
{
    printf("%s: kernel %s, %lld processors (%s), %.1f GiB of memory, %.1f available\n",
           text_of(m, "host"), text_of(m, "kernel"), number_of(m, "processors"),
           text_of(m, "instruction_set"), gib(number_of(m, "memory_bytes")),
           gib(number_of(m, "memory_available_bytes")));
}

/* Backends of one kind: name, yes or no, and the reason. */
static void print_choices(const char *title, const json_t *list)
{
    size_t i;
    json_t *one;
    printf("\n%s\n", title);
    json_array_foreach(list, i, one)
        printf("  %-8s %-4s %s\n", text_of(one, "name"), is_set(one, "usable") ? "yes" : "no",
               text_of(one, "detail"));
}

static void print_port(const json_t *port)
{
    size_t i;
    json_t *gid;
    printf("    port %lld: %s, %s, MTU %lld of %lld\n", number_of(port, "port"),
           text_of(port, "state"), text_of(port, "link"), number_of(port, "mtu"),
           number_of(port, "max_mtu"));
    json_array_foreach(json_object_get(port, "gids"), i, gid)
    {
        const char *address = text_of(gid, "address");
        printf("      GID %lld: %s, %s\n", number_of(gid, "index"),
               *address ? address : text_of(gid, "gid"), text_of(gid, "type"));
    }
}

static void print_devices(const json_t *list)
{
    size_t i, j;
    json_t *device, *port;
    printf("\nRDMA devices\n");
    if (json_array_size(list) == 0)
        printf("  none\n");
    json_array_foreach(list, i, device)
    {
        if (!is_set(device, "usable")) {
            printf("  %s: %s\n", text_of(device, "name"), text_of(device, "reason"));
            continue;
        }
        printf("  %s: %lld queue pairs, %lld work requests in each, %lld memory regions; %s\n",
               text_of(device, "name"), number_of(device, "max_queue_pairs"),
               number_of(device, "max_work_requests"), number_of(device, "max_memory_regions"),
               text_of(device, "paging"));
        json_array_foreach(json_object_get(device, "ports"), j, port) print_port(port);
    }
}

static void print_limits(const json_t *list)
{
    size_t i;
    json_t *limit;
    printf("\nLimits\n");
    json_array_foreach(list, i, limit)
    {
        const json_t *value = json_object_get(limit, "value");
        char number[32];
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        printf("  %-28s %-14s %s\n", text_of(limit, "name"),
               json_is_null(value)      ? "not there"
               : json_is_integer(value) ? number
                                        : json_string_value(value),
               is_set(limit, "enough") ? "" : "too low");
        if (!is_set(limit, "enough"))
            printf("    for %s: %s\n", text_of(limit, "what_for"), text_of(limit, "advice"));
    }
}

static void print_userfaultfd(const json_t *u)
{
    size_t i;
    json_t *feature;
    printf("\nuserfaultfd%s%s\n ", is_set(u, "usable") ? "" : ": ", text_of(u, "reason"));
    json_array_foreach(json_object_get(u, "features"), i, feature)
        printf(" %s", json_string_value(feature));
    printf("\n");
}

void dsm_info_print(const json_t *facts)
{
    const json_t *trap = json_object_get(facts, "auto_trap");
    printf("libdsm %s on ", text_of(facts, "version"));
    print_machine(json_object_get(facts, "machine"));
    print_choices("Transports (a job takes the first that all its ranks have)",
                  json_object_get(facts, "transports"));
    print_devices(json_object_get(facts, "rdma_devices"));
    print_choices("Traps", json_object_get(facts, "traps"));
    printf("  %-8s %-4s %s\n", "auto", is_set(trap, "usable") ? "yes" : "no",
           text_of(trap, "detail"));
    print_userfaultfd(json_object_get(facts, "userfaultfd"));
    print_limits(json_object_get(facts, "limits"));
}
