/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma.c - devices, their ports and the addresses of these. */
#define _GNU_SOURCE
#include "dsm_info/facts.h"
#include "net/rdma_plan.h"
#include <arpa/inet.h>
#include <infiniband/verbs.h>
#include <string.h>

static const char *type_name(uint32_t type)
{
    switch (type) {
    case IBV_GID_TYPE_IB:
        return "InfiniBand";
    case IBV_GID_TYPE_ROCE_V1:
        return "RoCE v1";
    case IBV_GID_TYPE_ROCE_V2:
        return "RoCE v2";
    }
    return "unknown";
}

/* An IPv4 address is in the last four bytes behind ::ffff. */
static void put_address(json_t *gid, const union ibv_gid *raw)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char text[INET6_ADDRSTRLEN];
    json_object_set_new(gid, "gid", json_string(inet_ntop(AF_INET6, raw, text, sizeof text)));
    if (memcmp(raw->raw, mapped, sizeof mapped) == 0)
        json_object_set_new(gid, "address",
                            json_string(inet_ntop(AF_INET, raw->raw + 12, text, sizeof text)));
}

static json_t *describe_gids(struct ibv_context *verbs, uint32_t port, int n_places)
{
    json_t *gids = json_array();
    for (int i = 0; i < n_places; i++) {
        struct ibv_gid_entry entry;
        if (ibv_query_gid_ex(verbs, port, (uint32_t)i, &entry, 0) != 0)
            continue; /* an empty place */
        json_t *gid = json_pack("{s:i, s:s}", "index", i, "type", type_name(entry.gid_type));
        put_address(gid, &entry.gid);
        json_array_append_new(gids, gid);
    }
    return gids;
}

/* The codes count powers of two from 256, which is 1. */
static int mtu_bytes(enum ibv_mtu mtu)
{
    return 128 << mtu;
}

static json_t *describe_port(struct ibv_context *verbs, uint8_t number)
{
    struct ibv_port_attr port;
    if (ibv_query_port(verbs, number, &port) != 0)
        return json_pack("{s:i, s:s, s:[]}", "port", number, "state", "cannot be asked", "gids");
    return json_pack("{s:i, s:s, s:b, s:i, s:i, s:s, s:o}", "port", number, "state",
                     ibv_port_state_str(port.state), "active", port.state == IBV_PORT_ACTIVE, "mtu",
                     mtu_bytes(port.active_mtu), "max_mtu", mtu_bytes(port.max_mtu), "link",
                     port.link_layer == IBV_LINK_LAYER_ETHERNET ? "Ethernet" : "InfiniBand", "gids",
                     describe_gids(verbs, number, port.gid_tbl_len));
}

static json_t *describe_device(struct ibv_device *device)
{
    const char *name = ibv_get_device_name(device);
    struct ibv_context *verbs = ibv_open_device(device);
    struct ibv_device_attr_ex attr;
    if (!verbs)
        return json_pack("{s:s, s:b, s:s, s:[]}", "name", name, "usable", 0, "reason",
                         "it cannot be opened (see the permissions in /dev/infiniband)", "ports");
    if (ibv_query_device_ex(verbs, NULL, &attr) != 0) {
        (void)ibv_close_device(verbs);
        return json_pack("{s:s, s:b, s:s, s:[]}", "name", name, "usable", 0, "reason",
                         "it cannot be asked", "ports");
    }
    char paging[160];
    bool pages = dsm_rdma_plan_on_demand(&attr, DSM_INFO_REGION_BYTES, paging, sizeof paging);
    json_t *ports = json_array();
    for (uint8_t port = 1; port <= attr.orig_attr.phys_port_cnt; port++)
        json_array_append_new(ports, describe_port(verbs, port));
    json_t *found =
        json_pack("{s:s, s:b, s:s, s:b, s:s, s:i, s:i, s:i, s:o}", "name", name, "usable", 1,
                  "reason", "", "on_demand_paging", pages, "paging", paging, "max_queue_pairs",
                  attr.orig_attr.max_qp, "max_work_requests", attr.orig_attr.max_qp_wr,
                  "max_memory_regions", attr.orig_attr.max_mr, "ports", ports);
    (void)ibv_close_device(verbs);
    return found;
}

json_t *dsm_info_rdma_devices(void)
{
    int n = 0;
    json_t *list = json_array();
    struct ibv_device **devices = ibv_get_device_list(&n);
    for (int i = 0; devices && i < n; i++)
        json_array_append_new(list, describe_device(devices[i]));
    if (devices)
        ibv_free_device_list(devices);
    return list;
}
