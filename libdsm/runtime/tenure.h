/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tenure.h - for how long a rank keeps a lock's token that another rank waits for.
 *
 * A crossing costs a message or two, often the waking of a thread, and then faults on what the lock
 * protects. Where threads of several ranks take a lock again and again at intervals shorter than
 * that, one crossing for each acquisition is all that happens. So the token, once come, is kept for
 * a bounded tenure: for so many holds or so long a time, whichever ends first (lock cohorting:
 * Dice, Marathe and Shavit, PPoPP 2012, with time as a second bound). It is given up early when the
 * lock was free for about a crossing's time.
 *
 * That threads here will take it again soon is certain while one waits in the rank's own queue.
 * Otherwise it is learned from what happened when the token was given away: that a thread here
 * asked for it again within a crossing's time, several times more often than not.
 *
 * Decisions alone: no clock, no lock, no message; locks.c asks. Times in nanoseconds; holds is a
 * count of all times that the lock was had by threads of this rank.
 */
#ifndef DSM_RUNTIME_TENURE_H
#define DSM_RUNTIME_TENURE_H

#include <stdbool.h>
#include <stdint.h>

#define DSM_TENURE_NS      400000u
#define DSM_TENURE_SOON_NS 100000u /* about what a crossing costs, with the faults behind it */
#define DSM_TENURE_HOLDS   64u
/* Where several threads of the rank want the lock: which of them has most of a tenure is chance. */
#define DSM_TENURE_HOLDS_SHARED 16u

struct dsm_tenure {
    _Atomic uint64_t
        until_ns;        /* 0: none runs; read by releasing threads without the driver's lock */
    uint64_t first_hold; /* the count of holds when it began */
    uint64_t seen_holds; /* ... when it was last looked at */
    uint64_t left_ns;    /* when the token was given away last; 0: never */
    uint8_t regrets;     /* of late; see tenure.c */
    uint8_t n_shared;    /* several threads wanted it: for so many comings it is so still */
    bool was_had;        /* since the token came */
};

/* The token has come. */
void dsm_tenure_arrived(struct dsm_tenure *tenure);
/* The token is given away. */
void dsm_tenure_left(struct dsm_tenure *tenure, uint64_t now_ns);
/* A thread here wants the token, which is elsewhere. */
void dsm_tenure_asked(struct dsm_tenure *tenure, uint64_t now_ns);
/* Whether a tenure is to begin at the next release. */
bool dsm_tenure_is_due(struct dsm_tenure *tenure, bool has_queue);
void dsm_tenure_begin(struct dsm_tenure *tenure, uint64_t now_ns, uint64_t holds);
void dsm_tenure_end(struct dsm_tenure *tenure);
/* Of one that runs. */
bool dsm_tenure_is_over(const struct dsm_tenure *tenure, uint64_t now_ns, uint64_t holds);
/*
 * Somebody waits for the token, and a tenure runs: when to look whether the lock is used at all.
 * The look says when to look again, or 0: the token is to be given up.
 */
uint64_t dsm_tenure_first_look_ns(struct dsm_tenure *tenure, uint64_t now_ns, uint64_t holds);
uint64_t dsm_tenure_look(struct dsm_tenure *tenure, uint64_t now_ns, uint64_t holds, bool is_free);

#endif
