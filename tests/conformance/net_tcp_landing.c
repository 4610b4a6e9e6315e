/* SPDX-License-Identifier: BSD-3-Clause */
/* net_tcp_landing.c - bytes that tcp writes into the memory of a rank of this host. */
#define _GNU_SOURCE
#include "tests/conformance/net_node.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RUN_BYTES 65536u

static void punch(struct node *n)
{
    ck_assert_int_eq(
        fallocate(n->memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, MEMORY_BYTES), 0);
}

/* Where there is no memory yet, where there is, where it has gone again. */
START_TEST(bytes_arrive_however_often_their_place_is_written)
{
    struct node nodes[2];
    unsigned n = 0;
    open_pair(nodes, NULL);
    for (unsigned round = 0; round < 6; round++) {
        memset(nodes[0].memory, (int)(0x11 + round), MEMORY_BYTES);
        if (round == 4)
            punch(&nodes[1]);
        for (uint64_t offset = 0; offset < MEMORY_BYTES; offset += RUN_BYTES) {
            send_bytes(&nodes[0], offset, offset, RUN_BYTES, key_of(&nodes[1], offset, RUN_BYTES));
            await(&nodes[1], &nodes[1].n_payloads, ++n);
        }
        ck_assert_int_eq(memcmp(nodes[0].memory, nodes[1].memory, MEMORY_BYTES), 0);
    }
    ck_assert_uint_eq(counters_of(&nodes[1]).landed, n);
    close_pair(nodes);
}
END_TEST

/* Other payload may have a key, too: what is copied by the way in which it came. */
START_TEST(bytes_from_elsewhere_follow_their_header)
{
    struct node nodes[2];
    uint8_t *other = malloc(RUN_BYTES), *own;
    open_pair(nodes, NULL);
    ck_assert_ptr_nonnull(other);
    memset(other, 0x42, RUN_BYTES);
    own = nodes[0].memory;
    nodes[0].memory = other;
    send_bytes(&nodes[0], 0, 4096, RUN_BYTES, key_of(&nodes[1], 4096, RUN_BYTES));
    await(&nodes[1], &nodes[1].n_payloads, 1);
    await(&nodes[0], &nodes[0].n_sent, 1);
    nodes[0].memory = own;
    ck_assert_int_eq(memcmp(other, nodes[1].memory + 4096, RUN_BYTES), 0);
    ck_assert_uint_eq(nodes[1].memory[0], 0);
    ck_assert_uint_eq(counters_of(&nodes[1]).landed, 0);
    close_pair(nodes);
    free(other);
}
END_TEST

START_TEST(memory_that_is_not_offered_is_not_written)
{
    struct node nodes[2];
    node_is_private = true;
    open_pair(nodes, NULL);
    ck_assert_uint_eq(node_ops->landing(nodes[1].net, nodes[1].memory, 4096), 0);
    memset(nodes[0].memory, 0x37, RUN_BYTES);
    send_bytes(&nodes[0], 0, 0, RUN_BYTES, 1);
    await(&nodes[1], &nodes[1].n_payloads, 1);
    await(&nodes[0], &nodes[0].n_sent, 1);
    ck_assert_int_eq(memcmp(nodes[0].memory, nodes[1].memory, RUN_BYTES), 0);
    ck_assert_uint_eq(counters_of(&nodes[1]).landed, 0);
    ck_assert_uint_eq(counters_of(&nodes[1]).shared, 2); /* its frames go through memory even so */
    close_pair(nodes);
    node_is_private = false;
}
END_TEST

START_TEST(no_key_opens_what_lies_outside)
{
    struct node nodes[2];
    open_pair(nodes, NULL);
    const uint8_t *memory = nodes[1].memory;
    struct dsm_net *net = nodes[1].net;
    ck_assert_uint_ne(node_ops->landing(net, memory + MEMORY_BYTES - 4096, 4096), 0);
    ck_assert_uint_eq(node_ops->landing(net, memory + MEMORY_BYTES - 4096, 4097), 0);
    ck_assert_uint_eq(node_ops->landing(net, memory + MEMORY_BYTES, 1), 0);
    ck_assert_uint_eq(node_ops->landing(net, memory - 4096, 4096), 0);
    ck_assert_uint_eq(node_ops->landing(net, memory, SIZE_MAX), 0);
    close_pair(nodes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tcp landing");
    TCase *tcase = tcase_create("between ranks of one host");
    node_ops = &dsm_net_tcp;
    tcase_add_test(tcase, bytes_arrive_however_often_their_place_is_written);
    tcase_add_test(tcase, bytes_from_elsewhere_follow_their_header);
    tcase_add_test(tcase, memory_that_is_not_offered_is_not_written);
    tcase_add_test(tcase, no_key_opens_what_lies_outside);
    suite_add_tcase(suite, net_landing());
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed != 0;
}
