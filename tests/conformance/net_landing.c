/* SPDX-License-Identifier: BSD-3-Clause */
/* net_landing.c - bytes written straight to their place in a peer's memory. */
#include "tests/conformance/net_node.h"
#include <string.h>

START_TEST(bytes_are_written_to_the_place_that_a_key_opens)
{
    static const uint32_t lens[] = {1, 64, 4096, 65536};
    struct node nodes[2];
    open_pair(nodes, NULL);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t offset = i * 65536u;
        /* Our own memory is not registered for the first: that goes through a buffer. */
        if (i > 1)
            (void)key_of(&nodes[0], offset, lens[i]);
        uint32_t key = key_of(&nodes[1], offset, lens[i]);
        memset(nodes[0].memory + offset, (int)(0xa1 + i), lens[i]);
        send_bytes(&nodes[0], offset, offset, lens[i], key);
        await(&nodes[1], &nodes[1].n_payloads, i + 1);
        await(&nodes[0], &nodes[0].n_sent, i + 1);
        ck_assert_uint_eq(counters_of(&nodes[1]).landed, i + 1);
        ck_assert_int_eq(memcmp(nodes[0].memory, nodes[1].memory, MEMORY_BYTES), 0);
    }
    close_pair(nodes);
}
END_TEST

START_TEST(bytes_that_landed_and_are_not_wanted_make_no_payload)
{
    struct node nodes[2];
    open_pair(nodes, NULL);
    uint32_t key = key_of(&nodes[1], 0, 4096);
    send_bytes(&nodes[0], 0, UINT64_MAX, 4096, key);
    await(&nodes[1], &nodes[1].n_headers, 1);
    await(&nodes[0], &nodes[0].n_sent, 1);
    send_bytes(&nodes[0], 0, 0, 4096, key); /* all is well after it */
    await(&nodes[1], &nodes[1].n_payloads, 1);
    ck_assert_uint_eq(nodes[1].n_headers, 2);
    close_pair(nodes);
}
END_TEST

START_TEST(peer_that_writes_where_nobody_asked_is_lost)
{
    struct node nodes[2];
    open_pair(nodes, NULL);
    uint32_t key = key_of(&nodes[1], 0, 8192);
    send_bytes(&nodes[0], 0, 4096, 4096, key); /* it belongs at 4096, and was written at 0 */
    await(&nodes[1], &nodes[1].n_lost, 1);
    ck_assert_int_eq(nodes[1].lost_error, DSM_E_PROTO);
    ck_assert_ptr_nonnull(strstr(nodes[1].lost_why, "nobody asked"));
    ck_assert_uint_eq(nodes[1].n_payloads, 0);
    await(&nodes[0], &nodes[0].n_lost, 1);
    await(&nodes[0], &nodes[0].n_sent, 1);
    close_pair(nodes);
}
END_TEST

TCase *net_landing(void)
{
    TCase *tcase = tcase_create("landing");
    tcase_add_test(tcase, bytes_are_written_to_the_place_that_a_key_opens);
    tcase_add_test(tcase, bytes_that_landed_and_are_not_wanted_make_no_payload);
    tcase_add_test(tcase, peer_that_writes_where_nobody_asked_is_lost);
    return tcase;
}
