/* SPDX-License-Identifier: BSD-3-Clause */
/* net_rdma_plan_test.c - sizes for every number of ranks, and when nothing has to be pinned. */
#include "net/rdma_plan.h"
#include <check.h>
#include <dsm/dsm.h>
#include <stdlib.h>
#include <string.h>

static const struct ibv_device_attr large = {
    .max_qp = 1 << 17, .max_qp_wr = 1 << 15, .max_srq_wr = 1 << 15, .max_cqe = 1 << 22};

START_TEST(what_is_pinned_peer_by_peer_is_within_what_was_said_at_the_start)
{
    char why[200];
    for (uint32_t n_ranks = 1; n_ranks <= 1024; n_ranks++) {
        struct dsm_rdma_plan plan;
        ck_assert_int_eq(dsm_rdma_plan_make(&large, n_ranks, &plan, why, sizeof why), 0);
        uint64_t slabs = dsm_rdma_slab_bytes(DSM_RDMA_SEND_BUFFERS);
        for (uint32_t peer = 1; peer < n_ranks; peer++)
            for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++)
                slabs += dsm_rdma_slab_bytes(plan.peer_receives[lane]);
        ck_assert_uint_ge(plan.need_bytes, slabs);
        ck_assert_uint_ge(plan.credits, 4);
        ck_assert_uint_eq(plan.depth & (plan.depth - 1), 0);
        ck_assert_uint_gt(plan.peer_receives[0], plan.peer_receives[1]);
        ck_assert_uint_gt(plan.peer_receives[1], plan.credits);
    }
}
END_TEST

START_TEST(a_slab_is_whole_pages_and_holds_its_buffers)
{
    for (uint64_t n = 1; n < 400; n++) {
        ck_assert_uint_eq(dsm_rdma_slab_bytes(n) % 4096, 0);
        ck_assert_uint_ge(dsm_rdma_slab_bytes(n),
                          sizeof(struct dsm_rdma_slab) + n * sizeof(struct dsm_rdma_buffer));
    }
}
END_TEST

START_TEST(queues_shrink_with_the_device_and_end_with_the_numbers)
{
    struct ibv_device_attr small = large;
    struct dsm_rdma_plan plan = {.depth = 77};
    char why[200];
    small.max_qp_wr = 100;
    ck_assert_int_eq(dsm_rdma_plan_make(&small, 4, &plan, why, sizeof why), 0);
    ck_assert_uint_eq(plan.depth, 32);
    small.max_qp = 5;
    plan.depth = 77;
    ck_assert_int_eq(dsm_rdma_plan_make(&small, 4, &plan, why, sizeof why), DSM_E_LIMIT);
    ck_assert_uint_eq(plan.depth, 77);
    ck_assert_ptr_nonnull(strstr(why, "5 queue pairs"));
    ck_assert_ptr_nonnull(strstr(why, "needed are 6"));
}
END_TEST

START_TEST(nothing_is_pinned_only_where_writes_page_on_demand)
{
    const uint64_t len_bytes = 64ull << 30;
    struct ibv_device_attr_ex attr = {.orig_attr.max_mr_size = UINT64_MAX};
    char why[200];
    ck_assert(!dsm_rdma_plan_on_demand(&attr, len_bytes, why, sizeof why));
    ck_assert_str_eq(why, "no paging on demand");
    attr.odp_caps.general_caps = IBV_ODP_SUPPORT;
    attr.odp_caps.per_transport_caps.rc_odp_caps = IBV_ODP_SUPPORT_SEND | IBV_ODP_SUPPORT_READ;
    attr.odp_caps.per_transport_caps.ud_odp_caps = IBV_ODP_SUPPORT_WRITE;
    ck_assert(!dsm_rdma_plan_on_demand(&attr, len_bytes, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "not for writes"));
    attr.odp_caps.per_transport_caps.rc_odp_caps |= IBV_ODP_SUPPORT_WRITE;
    ck_assert(dsm_rdma_plan_on_demand(&attr, len_bytes, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "nothing of the region is pinned"));
    attr.orig_attr.max_mr_size = len_bytes - 1;
    ck_assert(!dsm_rdma_plan_on_demand(&attr, len_bytes, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "at most 65535 MiB"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sizes of the rdma transport");
    TCase *sizes = tcase_create("sizes");
    tcase_add_test(sizes, what_is_pinned_peer_by_peer_is_within_what_was_said_at_the_start);
    tcase_add_test(sizes, a_slab_is_whole_pages_and_holds_its_buffers);
    tcase_add_test(sizes, queues_shrink_with_the_device_and_end_with_the_numbers);
    tcase_add_test(sizes, nothing_is_pinned_only_where_writes_page_on_demand);
    suite_add_tcase(suite, sizes);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
