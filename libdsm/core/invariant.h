/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * invariant.h - what must hold after every step, by name, over all ranks of a simulated job.
 *
 * For the simulator and the explorer: they know the messages in flight and what is really mapped.
 */
#ifndef DSM_CORE_INVARIANT_H
#define DSM_CORE_INVARIANT_H

#include "core/core.h"

struct dsm_invariant_world {
    const struct dsm_core *const *cores; /* NULL: this rank is gone */
    uint32_t n_ranks;
    void *user;
    /* What the app view of the rank really allows: DSM_ACCESS_NONE, READ or WRITE. */
    uint8_t (*mapped)(void *user, dsm_rank_t rank, dsm_page_t page);
    /* The index'th message under way to the rank (any lane), or NULL after the last. */
    const struct dsm_message *(*in_flight)(void *user, dsm_rank_t to, uint32_t index);
};

#define DSM_INVARIANT_MAP(XX)                                                                      \
    XX(ONE_WRITER_OR_READERS, "one writer or many readers")                                        \
    XX(ONE_OWNER, "one owner")                                                                     \
    XX(MAPPED_IS_ALLOWED, "nothing is mapped that the state does not allow")                       \
    XX(COPY_IS_KNOWN, "every copy is known to the home")                                           \
    XX(QUEUE_IS_BOUNDED, "every queue within its bound")                                           \
    XX(FRAMES_ADD_UP, "the frames counted are those held")

enum dsm_invariant {
    DSM_INVARIANT_NONE,
#define XX(name, text) DSM_INVARIANT_##name,
    DSM_INVARIANT_MAP(XX)
#undef XX
};

const char *dsm_invariant_text(enum dsm_invariant invariant);

/* The first invariant that the unit of this page violates, or NONE. */
enum dsm_invariant dsm_invariant_check_unit(const struct dsm_invariant_world *world,
                                            dsm_page_t page);
/* What concerns one rank alone. */
enum dsm_invariant dsm_invariant_check_rank(const struct dsm_core *core);

#endif
