dnl SPDX-License-Identifier: BSD-3-Clause
dnl parmacs.m4 - the ANL/PARMACS macros on libdsm. Expand a program with
dnl     m4 .../share/dsm/parmacs.m4 program.c.in >program.c
dnl and compile and link it with dsmcc; dsmcc(1) says what each macro does.
divert(-1)

dnl ---- the program: MAIN_ENV once, in the file of main(); EXTERN_ENV in the others ----

define(ENV, `')
define(EXTERN_ENV, `
#include <dsm/parmacs.h>
')
define(MAIN_ENV, `
#include <dsm/parmacs.h>
const char dsm_parmacs_main_env = 1;
')
define(MAIN_INITENV, `{ dsm_parmacs_initenv(); }')
define(MAIN_END, `{ dsm_parmacs_end(); }')
dnl CREATE(function) or CREATE(function, workers with the caller)
define(CREATE, `{ ifelse(`$2', `', `dsm_parmacs_create((void (*)(void))($1));',
	`dsm_parmacs_create_team((void (*)(void))($1), (long)($2));') }')
define(WAIT_FOR_END, `{ dsm_parmacs_wait_for_end((long)($1)); }')
define(GET_PID, `{ ($1) = dsm_parmacs_pid(); }')
define(GET_HOME, `{ ($1) = dsm_parmacs_home(); }')
define(SET_HOME, `{ ; }')
define(CLOCK, `{ ($1) = dsm_parmacs_clock(); }')

dnl ---- memory ----

dnl G_MALLOC and NU_MALLOC end their statement; the _F forms are for expressions.
define(G_MALLOC, `dsm_parmacs_malloc($1);')
define(G_MALLOC_F, `dsm_parmacs_malloc($1)')
define(G_FREE, `dsm_parmacs_free((void *)($1));')
define(NU_MALLOC, `dsm_parmacs_malloc($1);')
define(NU_MALLOC_F, `dsm_parmacs_malloc($1)')
define(NU_FREE, `dsm_parmacs_free((void *)($1));')

dnl ---- locks ----

define(LOCKDEC, `unsigned long $1;')
define(LOCKINIT, `{ ; }')
define(LOCK, `{ dsm_parmacs_lock(&($1)); }')
define(UNLOCK, `{ dsm_parmacs_unlock(&($1)); }')

define(NLOCKDEC, `unsigned long $1;')
define(NLOCKINIT, `{ ; }')
define(NLOCK, `{ dsm_parmacs_lock(&($1)); }')
define(NUNLOCK, `{ dsm_parmacs_unlock(&($1)); }')

define(ALOCKDEC, `unsigned long $1[$2];')
define(ALOCKINIT, `{ ; }')
define(ALOCK, `{ dsm_parmacs_lock(&($1)[$2]); }')
define(AULOCK, `{ dsm_parmacs_unlock(&($1)[$2]); }')
define(AGETL, `(($1)[$2])')

dnl ---- barriers ----

define(BARDEC, `unsigned long $1;')
define(BARINIT, `{ dsm_parmacs_object_init(&($1)); }')
define(BARRIER, `{ dsm_parmacs_barrier(&($1), (long)($2)); }')
define(BARINCLUDE, `{ ; }')
define(BAREXCLUDE, `{ ; }')

dnl ---- events: SETPAUSE adds one, WAITPAUSE takes one; CLEARPAUSE after it has nothing to do ----

define(PAUSEDEC, `unsigned long $1;')
define(PAUSEINIT, `{ dsm_parmacs_pause_init(&($1)); }')
define(CLEARPAUSE, `{ ; }')
define(SETPAUSE, `{ dsm_parmacs_pause_set(&($1)); }')
define(WAITPAUSE, `{ dsm_parmacs_pause_wait(&($1)); }')
define(EVENT, `{ dsm_parmacs_pause_set(&($1)); }')
define(PAUSE, `{ dsm_parmacs_pause_wait(&($1)); }')

dnl ---- condition variables ----

define(CONDVARDEC, `unsigned long $1;')
define(CONDVARINIT, `{ ; }')
define(CONDVARWAIT, `{ dsm_parmacs_condvar_wait(&($1), &($2)); }')
define(CONDVARSIGNAL, `{ dsm_parmacs_condvar_signal(&($1)); }')
define(CONDVARBCAST, `{ dsm_parmacs_condvar_broadcast(&($1)); }')

dnl ---- self-scheduling: GETSUB(gs, subscript, last subscript, workers) ----

define(GSDEC, `unsigned long $1;')
define(GSINIT, `{ dsm_parmacs_object_init(&($1)); }')
define(GETSUB, `{ ($2) = dsm_parmacs_getsub(&($1), (long)($3), (long)($4)); }')
define(NU_GSDEC, `unsigned long $1;')
define(NU_GSINIT, `{ dsm_parmacs_object_init(&($1)); }')
define(NU_GETSUB, `{ ($2) = dsm_parmacs_getsub(&($1), (long)($3), (long)($4)); }')
define(ADEC, `long $1;')
define(AINIT, `{ ; }')
define(PROBEND, `{ ; }')

dnl ---- order of plain accesses: memory is sequentially consistent between ranks ----

define(RELEASE_FENCE, `{ __atomic_thread_fence(__ATOMIC_RELEASE); }')
define(ACQUIRE_FENCE, `{ __atomic_thread_fence(__ATOMIC_ACQUIRE); }')
define(FULL_FENCE, `{ __atomic_thread_fence(__ATOMIC_SEQ_CST); }')

dnl ---- simulators and tracers that are not there ----

define(AUG_ON, `')
define(AUG_OFF, `')
define(AUG_DELAY, `{ sleep($1); }')
define(AUG_SET_LOLIMIT, `;')
define(AUG_SET_HILIMIT, `;')
define(TRACE_ON, `')
define(TRACE_OFF, `')
define(REF_TRACE_ON, `')
define(REF_TRACE_OFF, `')
define(DYN_TRACE_ON, `;')
define(DYN_TRACE_OFF, `;')
define(DYN_REF_TRACE_ON, `;')
define(DYN_REF_TRACE_OFF, `;')
define(DYN_SIM_ON, `;')
define(DYN_SIM_OFF, `;')
define(DYN_SCHED_ON, `;')
define(DYN_SCHED_OFF, `;')
define(ST_LOG, `{ ; }')
define(RESET_STATISTICS, `')
define(ALLOCATE_PAGE, `')
define(ALLOCATE_RANGE, `')
define(NEWPROC, `')
define(SPLASH3_ROI_BEGIN, `')
define(SPLASH3_ROI_END, `')

dnl Names of m4 that C programs use for their own things.
undefine(`len')
undefine(`index')
undefine(`unix')
divert(0)dnl
