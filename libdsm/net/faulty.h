/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * faulty.h - a transport for tests that wraps another and makes a bad network of it, within what
 * net.h promises: frames are late by random times, so that those of different peers and lanes
 * overtake each other (never those of one source, destination and lane), and peers can be cut off.
 * The contract of net.h, except that it is not for signal handlers.
 */
#ifndef DSM_NET_FAULTY_H
#define DSM_NET_FAULTY_H

#include "net/net.h"

extern const struct dsm_net_ops dsm_net_faulty_tcp;
extern const struct dsm_net_ops dsm_net_faulty_loop;

/* For transports opened from now on. The same seed and the same sends make the same delays. */
struct dsm_net_faulty_plan {
    uint64_t seed;
    uint32_t max_delay_us;
    uint32_t late_percent; /* of the frames; the others leave at once, behind those before them */
};
void dsm_net_faulty_set_plan(const struct dsm_net_faulty_plan *plan);

/* From now on nothing goes to the peer nor comes from it; on_lost says so, before this returns. The
 * other side learns nothing. Any thread, no lock of the driver held. */
void dsm_net_faulty_cut(struct dsm_net *net, uint32_t rank);

#endif
