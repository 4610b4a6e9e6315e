/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * supervisor.h - dsmrun's other half: runs on every host of a job, this one included, starts the
 * ranks there, passes on output, input and signals, and kills everything when dsmrun is gone.
 */
#ifndef DSM_DSMRUN_SUPERVISOR_H
#define DSM_DSMRUN_SUPERVISOR_H

/* Speaks launch.proto on standard input and output until its ranks have ended. Returns the exit
 * status of the process. */
int dsm_supervisor_run(void);

#endif
