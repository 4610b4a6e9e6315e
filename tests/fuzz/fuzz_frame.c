/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_frame.c - the header of a lane message: what is accepted means the same when packed again.
 */
#include <string.h>
#include <dsm/dsm.h>
#include "fuzz.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
    uint8_t header[DSM_MESSAGE_HEADER_BYTES] = {0}, again[DSM_MESSAGE_HEADER_BYTES];
    struct dsm_message message, repeated;
    const char *reason = NULL;
    int err;

    memset(&message, 0x5a, sizeof(message));
    memset(&repeated, 0x5a, sizeof(repeated));
    memcpy(header, bytes, len_bytes < sizeof(header) ? len_bytes : sizeof(header));
    err = dsm_frame_decode(header, &message, &reason);
    if (err < 0) {
        FUZZ_CHECK(err == DSM_E_PROTO && reason != NULL);
        return 0;
    }
    FUZZ_CHECK(message.type > 0 && message.type < DSM_MSG_N_TYPES);
    FUZZ_CHECK(message.len <= DSM_UNIT_MAX_PAGES * DSM_PAGE_BYTES);
    FUZZ_CHECK(message.key == 0 || message.type == DSM_MSG_REQUEST ||
               message.type == DSM_MSG_FORWARD);
    dsm_frame_encode(&message, again);
    FUZZ_CHECK(dsm_frame_decode(again, &repeated, &reason) == 0);
    FUZZ_CHECK(memcmp(&message, &repeated, sizeof(message)) == 0);
    return 0;
}

size_t fuzz_seed(unsigned number, uint8_t out[FUZZ_MAX_BYTES])
{
    struct dsm_message message = {.type = (uint8_t)(number % DSM_MSG_N_TYPES),
                                  .access = DSM_ACCESS_READ,
                                  .from = 1,
                                  .object = 77,
                                  .txn = 3,
                                  .count = 1};

    if (number >= DSM_MSG_N_TYPES)
        return 0;
    if (message.type == DSM_MSG_GRANT)
        message.len = message.room = DSM_PAGE_BYTES;
    if (message.type == DSM_MSG_REQUEST || message.type == DSM_MSG_FORWARD)
        message.key = 0x89abcdef;
    dsm_frame_encode(&message, out);
    return DSM_MESSAGE_HEADER_BYTES;
}
