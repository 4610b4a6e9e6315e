/* SPDX-License-Identifier: BSD-3-Clause */
/* env.h - environments as arrays of "NAME=value", made for exec. */
#ifndef DSM_DSMRUN_ENV_H
#define DSM_DSMRUN_ENV_H

#include <stddef.h>

/* base with the n entries on top; NULL: out of memory. dsm_env_free. */
char **dsm_env_merge(char *const *base, char *const *entries, size_t n);
/* A copy of base in which name has that value; NULL: out of memory. */
char **dsm_env_with(char *const *base, const char *name, const char *value);
void dsm_env_free(char **env);

#endif
