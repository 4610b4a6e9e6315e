/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * strings.h - a vector of strings as execve takes it, copied into one private block when any of it
 * is in the region. Strings that are not stay where they are. Signal-handler safe.
 */
#ifndef DSM_TRAP_STRINGS_H
#define DSM_TRAP_STRINGS_H

#include "trap/private.h"

struct dsm_strings {
    char *const *vector; /* for the call: the copy, or what was given */
    struct dsm_private memory;
};

/* vector may be NULL. One that cannot be looked at is left for the call to refuse.
 * Returns 0 or ENOMEM. */
int dsm_strings_open(struct dsm_strings *strings, char *const *vector);
void dsm_strings_close(struct dsm_strings *strings);

#endif
