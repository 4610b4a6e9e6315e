/* SPDX-License-Identifier: BSD-3-Clause */
/* hot_waits.c - see hot_waits.h. */
#include "runtime/hot_waits.h"

/* The place's own slot, a free one, or that of the place that has waited least. A few dozen
 * compares, after a wait of microseconds. */
static struct dsm_live_wait *slot_of(struct dsm_hot_waits *w, uint32_t object, uint64_t addr,
                                     uint64_t ip)
{
    struct dsm_live_wait *least = &w->places[0];
    for (uint32_t i = 0; i < w->n_places; i++) {
        struct dsm_live_wait *p = &w->places[i];
        if (p->ip == ip && p->addr == addr && p->object == object)
            return p;
        if (p->wait_ns < least->wait_ns)
            least = p;
    }
    if (w->n_places < DSM_HOT_WAITS)
        least = &w->places[w->n_places++];
    *least = (struct dsm_live_wait){.addr = addr, .ip = ip, .object = object};
    return least;
}

void dsm_hot_waits_note(struct dsm_hot_waits *w, enum dsm_profile_object object, uint64_t addr,
                        uint64_t ip, uint64_t wait_ns)
{
    struct dsm_live_wait *p = slot_of(w, (uint32_t)object, addr, ip);
    p->count++;
    p->wait_ns += wait_ns;
}

uint32_t dsm_hot_waits_top(const struct dsm_hot_waits *w, struct dsm_live_wait *out, uint32_t n)
{
    uint32_t n_out = 0;
    for (uint32_t i = 0; i < w->n_places; i++) {
        uint32_t at = n_out < n ? n_out++ : n;
        for (; at > 0 && out[at - 1].wait_ns < w->places[i].wait_ns; at--)
            if (at < n)
                out[at] = out[at - 1];
        if (at < n)
            out[at] = w->places[i];
    }
    return n_out;
}
