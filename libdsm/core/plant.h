/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plant.h - faults planted on purpose, to see that the explorer and the simulator find them.
 *
 * dsm_planted is constant false unless the core is compiled with -DDSM_PLANT; the test program then
 * defines dsm_plant_active (0: none).
 */
#ifndef DSM_CORE_PLANT_H
#define DSM_CORE_PLANT_H

#include <stdbool.h>

#define DSM_PLANT_MAP(XX)                                                                          \
    XX(DEFER_BEHIND_REQUEST, "an invalidate waits behind an own request")                          \
    XX(IGNORE_PRIOR, "the grant number of a forward or invalidate is ignored")                     \
    XX(DROP_EARLY_ACK, "an acknowledgement that comes before the grant is not counted")            \
    XX(FORGET_SHARER, "the directory forgets a sharer")                                            \
    XX(SWAP_EFFECTS, "the acknowledgement is sent before the copy is unmapped")                    \
    XX(LOCK_PASSED_TWICE, "a lock that was passed on is kept as well")                             \
    XX(NO_DOWNGRADE, "the owner stays writable after serving a reader")                            \
    XX(EARLY_WRITE, "a writer does not wait for its acknowledgements")                             \
    XX(HONOUR_ANY_COPY, "an upgrade is granted without bytes to a rank that is no sharer")         \
    XX(DROP_OWNED, "an owned unit is evicted as if it were a clean copy")                          \
    XX(KEEP_ALL, "a waiting thread keeps higher units as well as lower ones")                      \
    XX(OTHER_KEY, "bytes are sent with the key of an earlier request")                             \
    XX(RUN_FIRST_PRIOR, "a run of forwards has the grant number of its first unit")                \
    XX(RUN_OWN_NUMBERS, "the units of a run are numbered each for itself")                         \
    XX(READ_WHILE_WRITTEN, "a reader is let in while a writer holds a reader-writer lock")         \
    XX(TAKE_LEAVES, "who takes from a semaphore leaves what was taken")                            \
    XX(BARRIER_EARLY, "a barrier of threads lets go one short")                                    \
    XX(CANCEL_TWICE, "a wait that was granted is told besides that it was cancelled")              \
    XX(WANTED_ALWAYS, "a lock is said to be wanted again when it is not")                          \
    XX(CLEAN_STAYS, "who read exclusively may still write alone after another has read")           \
    XX(SAMPLE_STAYS, "a unit asked for ahead may still be written alone after another has read")   \
    XX(EXCLUSIVE_STAYS, "who hands a unit over to an exclusive reader keeps a copy")               \
    XX(PIN_FOREVER, "a pin does not end with its time")                                            \
    XX(ADVICE_UNSAID, "what a rank calls read mostly it asks for without saying so")

enum dsm_plant {
    DSM_PLANT_NONE,
#define XX(name, text) DSM_PLANT_##name,
    DSM_PLANT_MAP(XX)
#undef XX
        DSM_PLANT_N
};

#ifdef DSM_PLANT
extern int dsm_plant_active;
static inline bool dsm_planted(enum dsm_plant plant)
{
    return dsm_plant_active == (int)plant;
}
#else
#define dsm_planted(plant) (false)
#endif

#endif
