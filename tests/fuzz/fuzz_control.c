/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_control.c - the control plane's byte stream: cut into messages however it arrives, and each
 * message unpacked as either side would.
 */
#include <string.h>
#include <dsm/dsm.h>
#include "fuzz.h"
#include "proto/control.h"
#include "proto/framing.h"

static void take_message(const uint8_t *message, size_t len)
{
    static const enum dsm_control_direction directions[] = {DSM_CONTROL_FROM_RANK,
                                                            DSM_CONTROL_FROM_DAEMON};

    for (size_t i = 0; i < 2; i++) {
        Dsm__Control *control = NULL;
        const char *reason = NULL;
        int err = dsm_control_unpack(message, len, directions[i], &control, &reason);
        uint8_t *packed;
        size_t packed_len;

        if (err < 0) {
            FUZZ_CHECK((err == DSM_E_PROTO && reason != NULL) || err == DSM_E_NOMEM);
            continue;
        }
        FUZZ_CHECK(dsm_control_pack(control, &packed, &packed_len) == 0);
        dsm_control_free(control);
        FUZZ_CHECK(packed_len >= DSM_FRAMING_PREFIX_BYTES);
        /* Unknown fields come back as they were, also those that cannot be read a second time
         * (a tag of 0 in more bytes than it needs). */
        err = dsm_control_unpack(packed + DSM_FRAMING_PREFIX_BYTES,
                                 packed_len - DSM_FRAMING_PREFIX_BYTES, directions[i], &control,
                                 &reason);
        FUZZ_CHECK(err == 0 || err == DSM_E_PROTO);
        if (err == 0)
            dsm_control_free(control);
        free(packed);
    }
}

/* The first byte says in pieces of how many bytes the rest arrives. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
    struct dsm_framing framing;
    size_t piece, at = 1;
    int got = 0;

    if (len_bytes == 0)
        return 0;
    piece = bytes[0] > 0 ? bytes[0] : len_bytes;
    dsm_framing_init(&framing, DSM_CONTROL_MAX_JOIN_BYTES);
    while (at < len_bytes && got >= 0) {
        size_t len = piece < len_bytes - at ? piece : len_bytes - at;
        const uint8_t *message;
        size_t message_len;

        FUZZ_CHECK(dsm_framing_push(&framing, bytes + at, len) == 0);
        at += len;
        while ((got = dsm_framing_next(&framing, &message, &message_len)) == 1) {
            FUZZ_CHECK(message_len <= DSM_CONTROL_MAX_JOIN_BYTES);
            take_message(message, message_len);
        }
        FUZZ_CHECK(got == 0 || (got == DSM_E_LIMIT && message_len > DSM_CONTROL_MAX_JOIN_BYTES));
    }
    dsm_framing_close(&framing);
    return 0;
}

static size_t pack(Dsm__Control *control, uint8_t piece, uint8_t out[FUZZ_MAX_BYTES])
{
    size_t len = 0;

    out[0] = piece;
    FUZZ_CHECK(dsm_control_pack_into(control, out + 1, FUZZ_MAX_BYTES - 1, &len) == 0);
    return len + 1;
}

size_t fuzz_seed(unsigned number, uint8_t out[FUZZ_MAX_BYTES])
{
    static uint8_t token[16] = "0123456789abcde";
    Dsm__Control control = DSM__CONTROL__INIT;
    Dsm__Join join = DSM__JOIN__INIT;
    Dsm__Offer rdma = DSM__OFFER__INIT, tcp = DSM__OFFER__INIT, *offers[2] = {&rdma, &tcp};
    Dsm__Start start = DSM__START__INIT;
    Dsm__Abort end = DSM__ABORT__INIT;
    Dsm__Watch watch = DSM__WATCH__INIT;
    Dsm__Show show = DSM__SHOW__INIT;
    Dsm__Watched watched = DSM__WATCHED__INIT;
    Dsm__Shown shown = DSM__SHOWN__INIT;
    Dsm__Roster roster = DSM__ROSTER__INIT;
    Dsm__Peer peer = DSM__PEER__INIT, *peers[2] = {&peer, &peer};

    switch (number) {
    case 0:
        join.protocol = DSM_CONTROL_PROTOCOL;
        join.token = (ProtobufCBinaryData){.len = sizeof(token), .data = token};
        join.wanted_rank = -1;
        join.n_ranks = 4;
        join.host = "here";
        join.lane_address = "127.0.0.1:4000";
        join.region_bytes = 1u << 30;
        rdma.transport = "rdma";
        rdma.lane_address = "10.77.0.1:4001";
        rdma.network = "10.77.0.0/24";
        tcp.transport = "tcp";
        tcp.reason = "why";
        join.n_offers = 2;
        join.offers = offers;
        join.wanted_transport = "rdma";
        control.body_case = DSM__CONTROL__BODY_JOIN;
        control.join = &join;
        return pack(&control, 0, out);
    case 1:
        start.n_ranks = 4;
        start.rank = 2;
        start.transport = "rdma";
        start.transport_reason = "every rank has it";
        control.body_case = DSM__CONTROL__BODY_START;
        control.start = &start;
        return pack(&control, 3, out);
    case 2:
        end.status = 3;
        end.reason = "why";
        control.body_case = DSM__CONTROL__BODY_ABORT;
        control.abort = &end;
        return pack(&control, 1, out);
    case 3:
        peer.lane_address = "127.0.0.1:4000";
        peer.host = "here";
        roster.n_peers = 2;
        roster.peers = peers;
        control.body_case = DSM__CONTROL__BODY_ROSTER;
        control.roster = &roster;
        return pack(&control, 0, out);
    case 4:
        watch.protocol = DSM_CONTROL_PROTOCOL;
        watch.token = (ProtobufCBinaryData){sizeof token, token};
        watch.every_ms = 1000;
        control.body_case = DSM__CONTROL__BODY_WATCH;
        control.watch = &watch;
        return pack(&control, 0, out);
    case 5:
        shown.rank = 3;
        shown.live = (ProtobufCBinaryData){sizeof token, token};
        control.body_case = DSM__CONTROL__BODY_SHOWN;
        control.shown = &shown;
        return pack(&control, 2, out);
    case 6:
        show.live = (ProtobufCBinaryData){sizeof token, token};
        control.body_case = DSM__CONTROL__BODY_SHOW;
        control.show = &show;
        return pack(&control, 0, out);
    case 7:
        watched.every_ms = 250;
        control.body_case = DSM__CONTROL__BODY_WATCHED;
        control.watched = &watched;
        return pack(&control, 0, out);
    default:
        return 0;
    }
}
