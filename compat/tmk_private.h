/* SPDX-License-Identifier: BSD-3-Clause */
/* tmk_private.h - between the files of libdsm-tmk. */
#ifndef DSM_COMPAT_TMK_PRIVATE_H
#define DSM_COMPAT_TMK_PRIVATE_H

#include <dsm/Tmk.h>
#include "session.h"

/* tmk_distribute.c: between open and close other processes may distribute to this one. Called while
 * nobody can be distributing. */
void tmk_distribute_open(void);
void tmk_distribute_close(void);
/* The program has made a call, so it is not about to sleep without having seen what came. */
void tmk_distribute_is_seen(void);

#endif
