/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_hello.c - what strangers say first on a lane, and what they answer. */
#include <string.h>
#include <dsm/dsm.h>
#include "fuzz.h"
#include "net/hello.h"

static const struct dsm_hello mine = {.format_version = DSM_HELLO_FORMAT_VERSION,
                                      .token = "0123456789abcde",
                                      .rank = 0,
                                      .n_ranks = 4,
                                      .page_bytes = 4096,
                                      .build = "build"};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    struct dsm_hello hello, repeated;
    struct dsm_hello_answer answer;
    const char *reason = NULL;
    char why[300];
    size_t len;
    int err;

    memset(&hello, 0x5a, sizeof(hello));
    err = dsm_hello_unpack(bytes, len_bytes, &hello, &reason);
    if (err == 0) {
        FUZZ_CHECK(memchr(hello.build, '\0', sizeof(hello.build)) != NULL);
        err = dsm_hello_check(&mine, &hello, why, sizeof(why));
        FUZZ_CHECK(err == 0 || err == DSM_E_AUTH || err == DSM_E_MISMATCH);
        FUZZ_CHECK(err == 0 || memchr(why, '\0', sizeof(why)) != NULL);
        len = dsm_hello_pack(&hello, packet);
        FUZZ_CHECK(len <= sizeof(packet));
        FUZZ_CHECK(dsm_hello_unpack(packet + DSM_HELLO_PREFIX_BYTES, len - DSM_HELLO_PREFIX_BYTES,
                                    &repeated, &reason) == 0);
        FUZZ_CHECK(memcmp(hello.token, repeated.token, sizeof(hello.token)) == 0);
        FUZZ_CHECK(hello.rank == repeated.rank && hello.attempt == repeated.attempt);
        FUZZ_CHECK(strcmp(hello.build, repeated.build) == 0);
    } else {
        FUZZ_CHECK(err == DSM_E_PROTO && reason != NULL);
    }
    err = dsm_hello_unpack_answer(bytes, len_bytes, &answer, &reason);
    if (err == 0) {
        FUZZ_CHECK(answer.status <= DSM_HELLO_YIELD);
        FUZZ_CHECK(answer.status != DSM_HELLO_REFUSED ||
                   memchr(answer.reason, '\0', sizeof(answer.reason)) != NULL);
        FUZZ_CHECK(dsm_hello_pack_answer(&answer, packet) <= sizeof(packet));
    } else {
        FUZZ_CHECK(err == DSM_E_PROTO && reason != NULL);
    }
    return 0;
}

size_t fuzz_seed(unsigned number, uint8_t out[FUZZ_MAX_BYTES])
{
    struct dsm_hello hello = mine;
    struct dsm_hello_answer answer = {.status = DSM_HELLO_ACCEPTED, .hello = mine};
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    size_t len;

    hello.rank = 1;
    hello.attempt = 5;
    switch (number) {
    case 0:
        len = dsm_hello_pack(&hello, packet);
        break;
    case 1:
        len = dsm_hello_pack_answer(&answer, packet);
        break;
    case 2:
        answer.status = DSM_HELLO_REFUSED;
        answer.error = DSM_E_AUTH;
        strcpy(answer.reason, "wrong token");
        len = dsm_hello_pack_answer(&answer, packet);
        break;
    default:
        return 0;
    }
    memcpy(out, packet + DSM_HELLO_PREFIX_BYTES, len - DSM_HELLO_PREFIX_BYTES);
    return len - DSM_HELLO_PREFIX_BYTES;
}
