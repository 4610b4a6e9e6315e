/* SPDX-License-Identifier: BSD-3-Clause */
/* sending.c - see sending.h. */
#include "runtime/sending.h"
#include "base/errors.h"
#include "base/log.h"
#include "wire/frame.h"
#include <stdlib.h>

/* dsmrun or dsmd sees this rank end, and tells the others. */
static void __attribute__((noreturn)) end_for_full_queue(dsm_rank_t to, unsigned type)
{
    dsm_log(DSM_LOG_ERROR,
            "cannot keep message type %u for rank %u: too many wait for it already, or memory is "
            "short; this rank ends, because without it ranks would wait for ever",
            type, to);
    abort();
}

int dsm_driver_send_frame(struct dsm_driver *d, dsm_rank_t to, unsigned lane,
                          const struct dsm_message *m, const void *payload, uint64_t cookie)
{
    uint8_t header[DSM_MESSAGE_HEADER_BYTES];
    dsm_frame_encode(m, header);
    uint32_t key = payload ? m->key : 0; /* without bytes it is in the header */
    int error =
        d->net ? d->net_ops->send(d->net, to, lane, header, payload, cookie, key) : DSM_E_PEER;
    if (error == DSM_E_NOMEM)
        end_for_full_queue(to, m->type);
    atomic_store_explicit(&d->has_unsent, true, memory_order_release);
    return error;
}

void dsm_driver_send_bytes(struct dsm_driver *d, dsm_rank_t to, enum dsm_lane lane,
                           struct dsm_message *m, const void *payload)
{
    m->epoch = d->config.epoch;
    m->job = d->config.job;
    m->from = d->config.self;
    dsm_driver_send_frame(d, to, lane, m, payload, 0); /* a lost peer is told by on_lost */
}

void dsm_driver_send(struct dsm_driver *d, dsm_rank_t to, enum dsm_lane lane, struct dsm_message *m)
{
    dsm_driver_send_bytes(d, to, lane, m, NULL);
}

void dsm_driver_flush(struct dsm_driver *d)
{
    /* on_sent may queue the next chunk of a bulk transfer while the one before is flushed. */
    while (atomic_load_explicit(&d->has_unsent, memory_order_acquire)) {
        atomic_store(&d->has_unsent, false);
        if (d->net)
            d->net_ops->flush(d->net);
    }
}
