/* SPDX-License-Identifier: BSD-3-Clause */
/* wire_frame_test.c - the header's bytes, and what is not believed of them. */
#include "wire/frame.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "net/hello.h"
#include "net/net.h"
#include <check.h>
#include <dsm/dsm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static struct dsm_message sound(uint8_t type)
{
    struct dsm_message m = {.type = type,
                            .access = DSM_ACCESS_READ,
                            .epoch = 1,
                            .from = 2,
                            .job = 3,
                            .object = 4096,
                            .count = 1};
    if (type == DSM_MSG_GRANT) {
        m.len = m.room = DSM_PAGE_BYTES;
    }
    return m;
}

static void assert_equal(const struct dsm_message *a, const struct dsm_message *b)
{
    ck_assert_uint_eq(a->type, b->type);
    ck_assert_uint_eq(a->flags, b->flags);
    ck_assert_uint_eq(a->access, b->access);
    ck_assert_uint_eq(a->epoch, b->epoch);
    ck_assert_uint_eq(a->from, b->from);
    ck_assert_uint_eq(a->job, b->job);
    ck_assert_uint_eq(a->object, b->object);
    ck_assert_uint_eq(a->txn, b->txn);
    ck_assert_uint_eq(a->prior, b->prior);
    ck_assert_uint_eq(a->peer, b->peer);
    ck_assert_uint_eq(a->acks, b->acks);
    ck_assert_uint_eq(a->count, b->count);
    ck_assert_uint_eq(a->request, b->request);
    ck_assert_uint_eq(a->len, b->len);
    ck_assert_uint_eq(a->offset, b->offset);
    ck_assert_uint_eq(a->room, b->room);
    ck_assert_uint_eq(a->key, b->key);
}

/* The layout is a promise to other builds: spelled out, byte by byte. */
START_TEST(header_is_laid_out_as_documented)
{
    static const uint8_t expected[DSM_MESSAGE_HEADER_BYTES] = {
        DSM_MSG_GRANT, 0x01, 0x02, DSM_FRAME_VERSION, /* type flags access version */
        0x14,          0x13, 0x12, 0x11,              /* epoch */
        0x24,          0x23, 0x22, 0x21,              /* from */
        0x34,          0x33, 0x32, 0x31,              /* job */
        0x48,          0x47, 0x46, 0x45,
        0x44,          0x43, 0x02, 0x00, /* object */
        0x58,          0x57, 0x56, 0x55,
        0x54,          0x53, 0x52, 0x51, /* txn */
        0x68,          0x67, 0x66, 0x65,
        0x64,          0x63, 0x62, 0x61, /* prior */
        0x74,          0x73, 0x72, 0x71, /* peer */
        0x84,          0x83, 0x82, 0x81, /* acks */
        0x01,          0x00, 0x00, 0x00, /* count */
        0xa4,          0xa3, 0xa2, 0xa1, /* request */
        0x00,          0x10, 0x00, 0x00, /* len */
        0x03,          0x20, 0x00, 0x00, /* 3 pages in, of 8 */
    };
    const struct dsm_message m = {.type = DSM_MSG_GRANT,
                                  .flags = DSM_MSG_F_ASYNC,
                                  .access = DSM_ACCESS_WRITE,
                                  .epoch = 0x11121314,
                                  .from = 0x21222324,
                                  .job = 0x31323334,
                                  .object = 0x0002434445464748,
                                  .txn = 0x5152535455565758,
                                  .prior = 0x6162636465666768,
                                  .peer = 0x71727374,
                                  .acks = 0x81828384,
                                  .count = 1,
                                  .request = 0xa1a2a3a4,
                                  .len = 4096,
                                  .offset = 3 * 4096,
                                  .room = 8 * 4096};
    uint8_t bytes[DSM_MESSAGE_HEADER_BYTES];
    dsm_frame_encode(&m, bytes);
    ck_assert_mem_eq(bytes, expected, sizeof expected);
    struct dsm_message back;
    const char *reason;
    ck_assert_int_eq(dsm_frame_decode(bytes, &back, &reason), 0);
    assert_equal(&m, &back);
}
END_TEST

START_TEST(length_is_where_the_transport_reads_it)
{
    uint8_t bytes[DSM_MESSAGE_HEADER_BYTES];
    struct dsm_message m = sound(DSM_MSG_COLLECTIVE);
    m.len = 0x1234;
    dsm_frame_encode(&m, bytes);
    ck_assert_uint_eq(DSM_NET_HEADER_BYTES, DSM_MESSAGE_HEADER_BYTES);
    ck_assert_uint_eq(DSM_NET_MAX_PAYLOAD, DSM_MESSAGE_CHUNK_BYTES);
    ck_assert_uint_eq(dsm_get_u32(bytes + DSM_NET_LEN_AT), 0x1234);
    ck_assert_uint_eq(DSM_HELLO_FORMAT_VERSION, DSM_FRAME_VERSION);
}
END_TEST

START_TEST(every_type_survives_the_way)
{
    for (uint8_t type = 1; type < DSM_MSG_N_TYPES; type++) {
        struct dsm_message m = sound(type), back;
        uint8_t bytes[DSM_MESSAGE_HEADER_BYTES];
        const char *reason = "";
        if (type == DSM_MSG_OFFER_REPLY)
            m.room = 0x87654321;
        if (type == DSM_MSG_REQUEST || type == DSM_MSG_FORWARD)
            m.key = 0x89abcdef;
        dsm_frame_encode(&m, bytes);
        ck_assert_msg(dsm_frame_decode(bytes, &back, &reason) == 0, "type %u: %s", type, reason);
        assert_equal(&m, &back);
    }
}
END_TEST

START_TEST(grant_of_any_chunk_of_any_unit_survives_the_way)
{
    for (uint32_t unit_pages = 1; unit_pages <= DSM_UNIT_MAX_PAGES; unit_pages *= 2) {
        uint32_t unit_bytes = unit_pages * DSM_PAGE_BYTES;
        for (uint32_t offset = 0; offset < unit_bytes; offset += DSM_MESSAGE_CHUNK_BYTES) {
            struct dsm_message m = sound(DSM_MSG_GRANT), back;
            uint8_t bytes[DSM_MESSAGE_HEADER_BYTES];
            const char *reason;
            m.room = unit_bytes;
            m.offset = offset;
            m.len = unit_bytes - offset < DSM_MESSAGE_CHUNK_BYTES ? unit_bytes - offset
                                                                  : DSM_MESSAGE_CHUNK_BYTES;
            dsm_frame_encode(&m, bytes);
            ck_assert_int_eq(dsm_frame_decode(bytes, &back, &reason), 0);
            assert_equal(&m, &back);
        }
    }
}
END_TEST

/* Decodes a sound frame of the type after `change` and says why it is refused. */
static const char *refusal(uint8_t type, unsigned at, unsigned n_bytes, uint64_t value)
{
    struct dsm_message m = sound(type), before, after;
    uint8_t bytes[DSM_MESSAGE_HEADER_BYTES];
    const char *reason = NULL;
    dsm_frame_encode(&m, bytes);
    for (unsigned i = 0; i < n_bytes; i++)
        bytes[at + i] = (uint8_t)(value >> (8 * i));
    memset(&before, 0x77, sizeof before);
    memcpy(&after, &before, sizeof after);
    ck_assert_int_eq(dsm_frame_decode(bytes, &after, &reason), DSM_E_PROTO);
    ck_assert_mem_eq(&before, &after, sizeof before); /* outputs change only on success */
    ck_assert_ptr_nonnull(reason);
    return reason;
}

START_TEST(what_no_rank_can_have_meant_is_refused)
{
    ck_assert_str_eq(refusal(DSM_MSG_ACK, 0, 1, 0), "unknown message type");
    ck_assert_str_eq(refusal(DSM_MSG_ACK, 0, 1, DSM_MSG_N_TYPES), "unknown message type");
    ck_assert_str_eq(refusal(DSM_MSG_ACK, 0, 1, 255), "unknown message type");
    ck_assert_str_eq(refusal(DSM_MSG_ACK, 1, 1, 0x10), "unknown flag");
    ck_assert_str_eq(refusal(DSM_MSG_ACK, 1, 1, 0x80), "unknown flag");
    ck_assert_str_eq(refusal(DSM_MSG_ACK, 2, 1, 4), "access out of range");
    ck_assert_str_eq(refusal(DSM_MSG_REQUEST, 2, 1, 0), "access out of range");
    ck_assert_str_eq(refusal(DSM_MSG_ACK, 3, 1, DSM_FRAME_VERSION + 1),
                     "other frame format version");
    ck_assert_str_eq(refusal(DSM_MSG_REQUEST, 16, 8, UINT64_MAX), "page number out of range");
    ck_assert_str_eq(refusal(DSM_MSG_REQUEST, 48, 4, 0), "run of no units or pages");
    ck_assert_str_eq(refusal(DSM_MSG_DROP_BEGIN, 48, 4, 0), "run of no units or pages");
    ck_assert_str_eq(refusal(DSM_MSG_COLLECTIVE, 56, 4, 65537), "payload larger than 64 KiB");
    ck_assert_str_eq(refusal(DSM_MSG_ACK, 56, 4, 1), "payload where none may be");
    ck_assert_str_eq(refusal(DSM_MSG_ACK, 60, 4, 1), "spare bits are set");
    ck_assert_str_eq(refusal(DSM_MSG_INVALIDATE, 60, 4, 1), "spare bits are set");
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 60, 4, 1u << 20 | 1u << 10), "spare bits are set");
}
END_TEST

START_TEST(grant_whose_bytes_are_not_in_its_unit_is_refused)
{
    const char *const leaves = "payload of a grant leaves its unit";
    const char *const ragged = "payload of a grant is not whole pages";
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 56, 4, 0), ragged);
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 56, 4, 4095), ragged);
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 56, 4, 8192), leaves);
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 60, 4, 1u << 10 | 1), leaves);
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 60, 4, 512u << 10 | 1023), leaves);
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 60, 4, 0), leaves);
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 48, 4, 2),
                     "payload of a grant is not that of its units");
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 48, 4, 0), "run of no units or pages");
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 60, 4, 513u << 10),
                     "grant of a unit larger than 2 MiB");
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 1, 1, DSM_MSG_F_ZERO),
                     "grant without bytes has a payload");
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 1, 1, DSM_MSG_F_NO_BYTES),
                     "grant without bytes has a payload");
    ck_assert_str_eq(refusal(DSM_MSG_GRANT, 1, 1, DSM_MSG_F_ZERO | DSM_MSG_F_NO_BYTES),
                     "grant both zero and without bytes");
}
END_TEST

/* What is accepted means exactly one message: encoding it gives the same bytes. */
START_TEST(accepted_bytes_are_encoded_the_same)
{
    uint64_t seed = 0, n_accepted = 0;
    const char *text = getenv("DSM_TEST_SEED");
    if (text)
        seed = strtoull(text, NULL, 0);
    else
        ck_assert_int_eq(getrandom(&seed, sizeof seed, 0), sizeof seed);
    printf("accepted_bytes_are_encoded_the_same: DSM_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < 300000; i++) {
        struct dsm_message m = sound((uint8_t)(1 + dsm_rng_below(&seed, DSM_MSG_N_TYPES - 1)));
        uint8_t bytes[DSM_MESSAGE_HEADER_BYTES], again[DSM_MESSAGE_HEADER_BYTES];
        const char *reason;
        dsm_frame_encode(&m, bytes);
        for (uint64_t n = dsm_rng_below(&seed, 5); n > 0; n--)
            bytes[dsm_rng_below(&seed, sizeof bytes)] = (uint8_t)dsm_rng_next(&seed);
        if (dsm_frame_decode(bytes, &m, &reason))
            continue;
        n_accepted++;
        dsm_frame_encode(&m, again);
        ck_assert_mem_eq(bytes, again, sizeof bytes);
    }
    ck_assert_uint_gt(n_accepted, 50000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frame");
    TCase *frame = tcase_create("frame");
    tcase_add_test(frame, header_is_laid_out_as_documented);
    tcase_add_test(frame, length_is_where_the_transport_reads_it);
    tcase_add_test(frame, every_type_survives_the_way);
    tcase_add_test(frame, grant_of_any_chunk_of_any_unit_survives_the_way);
    tcase_add_test(frame, what_no_rank_can_have_meant_is_refused);
    tcase_add_test(frame, grant_whose_bytes_are_not_in_its_unit_is_refused);
    tcase_add_test(frame, accepted_bytes_are_encoded_the_same);
    suite_add_tcase(suite, frame);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
