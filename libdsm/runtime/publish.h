/* SPDX-License-Identifier: BSD-3-Clause */
/* publish.h - shows what this rank does to dsmtop (proto/live.h). */
#ifndef DSM_RUNTIME_PUBLISH_H
#define DSM_RUNTIME_PUBLISH_H

#include "runtime/driver.h"

struct dsm_publish;

/* NULL: there is no room for it, which was said at level INFO; the rank runs all the same. */
struct dsm_publish *dsm_publish_open(struct dsm_driver *driver);
void dsm_publish_close(struct dsm_publish *publish);
/* Hands it to show as well, at most every so many ms; 0: no more. On the service thread. */
typedef void (*dsm_publish_show)(void *user, const void *live, size_t len_bytes);
void dsm_publish_watch(struct dsm_publish *publish, uint32_t every_ms, dsm_publish_show show,
                       void *user);
/* What is so now. On the service thread; takes the driver's lock. */
void dsm_publish_now(struct dsm_publish *publish);

#endif
