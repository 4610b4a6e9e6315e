/* SPDX-License-Identifier: BSD-3-Clause */
/* jia_private.h - between the files of libdsm-jia. */
#ifndef DSM_COMPAT_JIA_PRIVATE_H
#define DSM_COMPAT_JIA_PRIVATE_H

#include <dsm/jia.h>
#include "session.h"

void jia_barrier(void); /* the header leaves its parameters open */

/* Locks of the library itself: one for each condition variable, then one for each process's
 * messages. */
#define JIA_TABLE_LOCKS         JIA_MAXCVS
#define JIA_INBOX_LOCK(process) (JIA_MAXCVS + (unsigned)(process))
void jia_table_lock(unsigned id);
void jia_table_unlock(unsigned id);

void jia_messages_open(void);
void jia_memory_close(void);

#endif
