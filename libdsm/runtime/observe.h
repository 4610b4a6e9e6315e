/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * observe.h - what the driver does is noted here for those who look: the profile, when there is
 * one, and the watch for thrashing. Decides nothing and changes nothing of the driver's.
 *
 * All functions under the driver's lock and signal-handler safe, unless they say otherwise.
 */
#ifndef DSM_RUNTIME_OBSERVE_H
#define DSM_RUNTIME_OBSERVE_H

#include "runtime/driver.h"
#include "runtime/thrash.h"

/* Before the fault is stepped: what it is, by what is here. */
enum dsm_profile_kind dsm_observe_fault_kind(const struct dsm_driver *driver,
                                             const struct dsm_event *event);
struct dsm_observed_fault {
    enum dsm_profile_kind kind;
    uintptr_t addr, ip;
    dsm_page_t unit;
    dsm_rank_t served_by;
    uint64_t start_ns, end_ns;
    bool was_away; /* other ranks had to be asked */
};
void dsm_observe_fault(struct dsm_driver *driver, const struct dsm_observed_fault *fault);

/* A message's header has come, and is about to be stepped. */
void dsm_observe_message(struct dsm_driver *driver, const struct dsm_message *message);
void dsm_observe_received(struct dsm_driver *driver, dsm_rank_t from, uint32_t len_bytes);
/* UNMAP, DOWNGRADE and PUNCH, before they are carried out. */
void dsm_observe_loss(struct dsm_driver *driver, const struct dsm_action *action);
/* MAP_READ and MAP_WRITE likewise. */
void dsm_observe_map(struct dsm_driver *driver, const struct dsm_action *action);
/* A call of this thread waited, at the object named by this offset in the region (0: by none). */
void dsm_observe_wait(struct dsm_driver *driver, enum dsm_profile_object object, uint64_t offset,
                      uint64_t start_ns, uint64_t end_ns);
void dsm_observe_alloc(struct dsm_driver *driver, dsm_page_t first, uint64_t n_pages,
                       const char *name);

/*
 * What is to be told to the user, once, is noted under the lock and told without it: take, unlock,
 * tell. Signal-handler safe both.
 */
struct dsm_observed_trouble {
    struct dsm_trouble trouble;
    struct dsm_where where;
};
bool dsm_observe_take(struct dsm_driver *driver, struct dsm_observed_trouble *out);
void dsm_observe_tell(const struct dsm_driver *driver, const struct dsm_observed_trouble *trouble);

/* Records what the core has counted so far; without the lock. */
void dsm_observe_counters(struct dsm_driver *driver);
/* Prepares what recording needs next; on the service thread, without the lock. */
void dsm_observe_serve(struct dsm_driver *driver);

#endif
