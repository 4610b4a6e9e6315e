/* SPDX-License-Identifier: BSD-3-Clause */
/* env.c - see env.h. */
#include "config.h"
#include "dsmrun/env.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dsm_env_free(char **env)
{
    for (char **at = env; at && *at; at++)
        free(*at);
    free(env);
}

static bool is_same_name(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");
    return n == strcspn(b, "=") && strncmp(a, b, n) == 0;
}

/* Replaces the entry with that name, or appends. */
static bool put(char **env, size_t *n, const char *entry)
{
    char *copy = strdup(entry);
    if (!copy)
        return false;
    for (size_t i = 0; i < *n; i++) {
        if (is_same_name(env[i], entry)) {
            free(env[i]);
            env[i] = copy;
            return true;
        }
    }
    env[(*n)++] = copy;
    return true;
}

char **dsm_env_merge(char *const *base, char *const *entries, size_t n_entries)
{
    size_t n_base = 0, n = 0;
    while (base[n_base])
        n_base++;
    char **env = calloc(n_base + n_entries + 1, sizeof *env);
    bool is_complete = env != NULL;
    for (size_t i = 0; is_complete && i < n_base; i++)
        is_complete = put(env, &n, base[i]);
    for (size_t i = 0; is_complete && i < n_entries; i++)
        is_complete = put(env, &n, entries[i]);
    if (!is_complete) {
        dsm_env_free(env);
        return NULL;
    }
    return env;
}

char **dsm_env_with(char *const *base, const char *name, const char *value)
{
    char *entry;
    if (asprintf(&entry, "%s=%s", name, value) < 0)
        return NULL;
    char **env = dsm_env_merge(base, &entry, 1);
    free(entry);
    return env;
}
