/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * launcher.h - one job: starts dsmd's server in this process (unless DSM_DAEMON names another), a
 * supervisor on every host and through them the ranks; passes on input, output and signals; ends
 * the job when a rank fails, and says which one and of what.
 */
#ifndef DSM_DSMRUN_LAUNCHER_H
#define DSM_DSMRUN_LAUNCHER_H

#include "dsmrun/options.h"

/* Returns the exit status of dsmrun. */
int dsm_launcher_run(const struct dsm_run_options *options);

#endif
