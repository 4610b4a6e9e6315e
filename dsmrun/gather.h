/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gather.h - the profiles of one host's ranks: a private directory where they are written, and
 * afterwards their sections, one by one, for dsmrun.
 */
#ifndef DSM_DSMRUN_GATHER_H
#define DSM_DSMRUN_GATHER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DSM_GATHER_MAX_BYTES (1u << 20) /* one section */

struct dsm_gather {
    char dir[PATH_MAX]; /* "": none */
    int fd;             /* the file under way; -1: none */
    uint64_t at, end;
    uint8_t section[DSM_GATHER_MAX_BYTES];
};

/* Makes the directory, below TMPDIR. Errors, with one line in why: SYSTEM. */
int dsm_gather_open(struct dsm_gather *gather, char *why, size_t why_bytes);
/* What DSM_PROFILE says to the ranks: ".RANK" is added by them. */
void dsm_gather_path(const struct dsm_gather *gather, char *out, size_t out_bytes);
/* The next section of the rank's file, with its unused room cut off; false: there is none (any
 * more). What a rank left half-written is cut as well. */
bool dsm_gather_next(struct dsm_gather *gather, uint32_t rank, size_t *len_out);
/* Removes the rank's file. */
void dsm_gather_done(struct dsm_gather *gather, uint32_t rank);
void dsm_gather_close(struct dsm_gather *gather);

#endif
