/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * globals.h - the program's global variables as the second segment of the region.
 *
 * Only programs of the PARMACS kind ask for it (parmacs.h). What the executable's data contain on
 * rank 0 when it is shared is what everybody sees from then on.
 *
 * The calls are for the thread that starts and ends the job, while no other thread of the program
 * runs.
 */
#ifndef DSM_RUNTIME_GLOBALS_H
#define DSM_RUNTIME_GLOBALS_H

#include "runtime/driver.h"
#include "runtime/executable.h"

/* Collective: compares with rank 0's executable. Errors: MISMATCH (here; why says what), PEER. */
int dsm_globals_compare(struct dsm_driver *driver, const struct dsm_executable *executable,
                        char *why, size_t why_bytes);

/*
 * Collective: puts the second segment over the executable's data, with rank 0's bytes. Needs a
 * region opened with room for it. Errors: NOMEM, SYSTEM, LIMIT, PEER.
 */
int dsm_globals_share(struct dsm_driver *driver, const struct dsm_executable *executable);
bool dsm_globals_are_shared(void);

/* Rank 0 takes a copy of the bytes that all see, while the others still serve pages. */
void dsm_globals_collect(struct dsm_driver *driver);
/* Ends it for this rank, when no rank asks for pages any more and the trap is still open: the data
 * are private again; at rank 0 with what it collected, elsewhere as before dsm_globals_share. */
void dsm_globals_make_private(struct dsm_driver *driver);

/* Around fork: the child gets a private copy. */
void dsm_globals_before_fork(struct dsm_driver *driver);
void dsm_globals_after_fork_in_parent(void);
void dsm_globals_after_fork_in_child(void);

#endif
