/* SPDX-License-Identifier: BSD-3-Clause */
/* stats.h - gathers what the core, the driver and the locks count, and prints it. */
#ifndef DSM_RUNTIME_STATS_H
#define DSM_RUNTIME_STATS_H

#include "runtime/driver.h"
#include "runtime/settings.h"

/* Takes the driver's lock. */
void dsm_stats_gather(struct dsm_driver *driver, struct dsm_stats *out);
/* The report at the end: stderr, or settings->stats_path with ".RANK" added. Prints one line when
 * the file cannot be written. */
void dsm_stats_report(struct dsm_driver *driver, const struct dsm_settings *settings,
                      const char *transport, const char *transport_reason);

#endif
