/* SPDX-License-Identifier: BSD-3-Clause */
/* fork.h - the region in a forked child. */
#ifndef DSM_TRAP_FORK_H
#define DSM_TRAP_FORK_H

#include "trap/views.h"

/* In the child, for every view of this sink: touching it ends in one message and SIGBUS. */
void dsm_fork_child(const struct dsm_trap_sink *sink);

#endif
