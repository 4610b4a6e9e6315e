dnl SPDX-License-Identifier: BSD-3-Clause
dnl threads.m4 - the PARMACS macros that the programs here use, on the threads of one process: what
dnl they are held against. Not for other programs.
divert(-1)

define(MAIN_ENV, `
#include "threads.h"
')
define(MAIN_INITENV, `')
define(MAIN_END, `{ exit(0); }')
define(CREATE, `{ shapes_create((void (*)(void))($1), (long)($2)); }')
define(WAIT_FOR_END, `{ shapes_wait_for_end(); }')

define(G_MALLOC, `shapes_memory($1);')
define(G_FREE, `free($1);')

define(LOCKDEC, `pthread_mutex_t $1;')
define(LOCKINIT, `{ pthread_mutex_init(&($1), NULL); }')
define(LOCK, `{ pthread_mutex_lock(&($1)); }')
define(UNLOCK, `{ pthread_mutex_unlock(&($1)); }')

define(BARDEC, `pthread_barrier_t $1;')
define(BARINIT, `{ pthread_barrier_init(&($1), NULL, (unsigned)($2)); }')
define(BARRIER, `{ pthread_barrier_wait(&($1)); }')

define(CONDVARDEC, `pthread_cond_t $1;')
define(CONDVARINIT, `{ pthread_cond_init(&($1), NULL); }')
define(CONDVARWAIT, `{ pthread_cond_wait(&($1), &($2)); }')
define(CONDVARSIGNAL, `{ pthread_cond_signal(&($1)); }')
define(CONDVARBCAST, `{ pthread_cond_broadcast(&($1)); }')

define(GSDEC, `struct shapes_subscripts $1;')
define(GSINIT, `{ shapes_subscripts_init(&($1)); }')
define(GETSUB, `{ ($2) = shapes_subscript(&($1), (long)($3), (long)($4)); }')

undefine(`len')
undefine(`index')
undefine(`unix')
divert(0)dnl
