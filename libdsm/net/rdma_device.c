/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_device.c - which device, port and address. An address that rdma_cm can connect to is one of
 * the card's GIDs written as IPv4; on InfiniBand, where GIDs are none, the address of an interface
 * over it (DSM_LISTEN).
 */
#define _GNU_SOURCE
#include "net/rdma.h"
#include "base/log.h"
#include <arpa/inet.h>
#include <dsm/dsm.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_BYTES 512

/* One address of one port. */
struct candidate {
    char device[IBV_SYSFS_NAME_MAX];
    uint32_t port;
    uint32_t gid_index;
    bool is_active;
    bool is_v2;
    bool is_infiniband; /* it has an address if an interface over it has */
    bool has_address;
    enum ibv_mtu mtu;
    struct in_addr address;
};

struct candidates {
    struct candidate *at;
    size_t n;
    size_t n_devices;
    int error; /* errno of the list; 0 */
};

uint32_t dsm_rdma_mtu_bytes(enum ibv_mtu mtu)
{
    return 128u << mtu; /* IBV_MTU_256 is 1 */
}

static bool is_ipv4(const union ibv_gid *gid)
{
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(gid->raw, prefix, sizeof prefix) == 0;
}

static int add(struct candidates *all, const struct candidate *one)
{
    struct candidate *at = realloc(all->at, (all->n + 1) * sizeof *at);
    if (!at)
        return DSM_E_NOMEM;
    all->at = at;
    at[all->n++] = *one;
    return 0;
}

static int add_port(struct candidates *all, struct ibv_context *verbs, const char *device,
                    uint8_t port)
{
    struct ibv_port_attr attr;
    if (ibv_query_port(verbs, port, &attr))
        return 0;
    struct candidate one = {
        .port = port, .is_active = attr.state == IBV_PORT_ACTIVE, .mtu = attr.active_mtu};
    snprintf(one.device, sizeof one.device, "%s", device);
    for (int i = 0; i < attr.gid_tbl_len; i++) {
        struct ibv_gid_entry entry;
        if (ibv_query_gid_ex(verbs, port, (uint32_t)i, &entry, 0))
            continue; /* an empty place */
        one.gid_index = (uint32_t)i;
        one.is_v2 = entry.gid_type == IBV_GID_TYPE_ROCE_V2;
        one.has_address = is_ipv4(&entry.gid);
        memcpy(&one.address, entry.gid.raw + 12, sizeof one.address);
        int error = add(all, &one);
        if (error)
            return error;
    }
    return 0;
}

static int find_all(struct candidates *all)
{
    int n, error = 0;
    *all = (struct candidates){0};
    struct ibv_device **list = ibv_get_device_list(&n);
    if (!list) {
        all->error = errno;
        return 0;
    }
    all->n_devices = (size_t)n;
    for (int i = 0; i < n && !error; i++) {
        struct ibv_context *verbs = ibv_open_device(list[i]);
        struct ibv_device_attr attr;
        if (!verbs)
            continue;
        if (!ibv_query_device(verbs, &attr))
            for (uint8_t port = 1; port <= attr.phys_port_cnt && !error; port++)
                error = add_port(all, verbs, ibv_get_device_name(list[i]), port);
        (void)ibv_close_device(verbs);
    }
    ibv_free_device_list(list);
    return error;
}

/* "rxe0 port 1 GID 1 (10.77.0.1), ..." of those that a rank could use. */
static void describe(const struct candidates *all, char *out, size_t out_bytes)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < all->n && at + 1 < out_bytes; i++) {
        const struct candidate *c = &all->at[i];
        char text[INET_ADDRSTRLEN];
        if (!c->has_address || !c->is_v2)
            continue;
        at += dsm_format(out + at, out_bytes - at, "%s%s port %u GID %u (%s%s)", at ? ", " : "",
                         c->device, c->port, c->gid_index,
                         inet_ntop(AF_INET, &c->address, text, sizeof text),
                         c->is_active ? "" : ", port not active");
    }
    if (at == 0)
        dsm_format(out, out_bytes, "%s",
                   all->n_devices ? "no device with an IPv4 GID for RoCE v2 (give its interface "
                                    "an address, and set it up; over InfiniBand set DSM_LISTEN to "
                                    "the address of an interface over it)"
                                  : "no RDMA device (deploy/soft-roce.sh up makes one of an "
                                    "interface)");
}

int dsm_rdma_probe(char *why, size_t why_bytes)
{
    struct candidates all;
    char list[LIST_BYTES];
    int error = find_all(&all);
    bool is_there = false;
    for (size_t i = 0; !error && i < all.n; i++)
        is_there |= all.at[i].is_active &&
                    (all.at[i].is_infiniband || (all.at[i].has_address && all.at[i].is_v2));
    describe(&all, list, sizeof list);
    if (all.error)
        dsm_format(why, why_bytes, "no RDMA devices here: %s", strerrordesc_np(all.error));
    else
        dsm_format(why, why_bytes, "%s", list);
    free(all.at);
    return error ? error : is_there ? 0 : DSM_E_UNSUPPORTED;
}

/* Does the candidate fit what was asked for, the GID index apart? */
static bool fits(const struct candidate *c, const struct dsm_net_rdma_config *config)
{
    return (!config->device || strcmp(c->device, config->device) == 0) &&
           (!config->port || c->port == config->port);
}

static const struct candidate *choose(const struct candidates *all,
                                      const struct dsm_net_rdma_config *config,
                                      const char *listen_host)
{
    struct in_addr wanted;
    bool has_wanted = listen_host && inet_pton(AF_INET, listen_host, &wanted) == 1;
    const struct candidate *best = NULL;
    for (size_t i = 0; i < all->n; i++) {
        const struct candidate *c = &all->at[i];
        if (!fits(c, config) || !c->has_address || !c->is_active)
            continue;
        if (!c->is_v2 || (config->has_gid_index && c->gid_index != config->gid_index))
            continue;
        if (has_wanted && c->address.s_addr == wanted.s_addr)
            return c;
        best = best ? best : c;
    }
    return best;
}

/* Which of what was asked for does not exist; what does. */
static int refuse(const struct candidates *all, const struct dsm_net_rdma_config *config)
{
    char list[LIST_BYTES];
    bool has_device = false, has_port = false, has_gid = false;
    for (size_t i = 0; i < all->n; i++) {
        const struct candidate *c = &all->at[i];
        has_device |= !config->device || strcmp(c->device, config->device) == 0;
        has_port |= fits(c, config);
        has_gid |= fits(c, config) && config->has_gid_index && c->gid_index == config->gid_index;
    }
    describe(all, list, sizeof list);
    if (all->error)
        dsm_log(DSM_LOG_ERROR, "rdma: no RDMA devices here: %s", strerrordesc_np(all->error));
    else if (config->device && !has_device)
        dsm_log(DSM_LOG_ERROR, "DSM_RDMA_DEVICE=%s: no such device; there is: %s", config->device,
                list);
    else if (config->port && !has_port)
        dsm_log(DSM_LOG_ERROR, "DSM_RDMA_PORT=%u: no such port; there is: %s", config->port, list);
    else if (config->has_gid_index)
        dsm_log(DSM_LOG_ERROR, "DSM_RDMA_GID_INDEX=%u: %s; there is: %s", config->gid_index,
                has_gid ? "that GID is no IPv4 address for RoCE v2, or its port is not active"
                        : "no such GID",
                list);
    else
        dsm_log(DSM_LOG_ERROR, "rdma: no address to listen on: %s", list);
    return all->n_devices && (config->device || config->port || config->has_gid_index)
               ? DSM_E_INVAL
               : DSM_E_UNSUPPORTED;
}

/* InfiniBand: GIDs are no addresses; rdma_cm finds the device of an interface over it. */
static bool choose_by_address(const struct dsm_net_rdma_config *config, const char *listen_host,
                              struct dsm_rdma_place *out)
{
    struct rdma_cm_id *id;
    struct ibv_port_attr port;
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (!listen_host || inet_pton(AF_INET, listen_host, &address.sin_addr) != 1)
        return false;
    struct rdma_event_channel *channel = rdma_create_event_channel();
    if (!channel)
        return false;
    bool is_found = false;
    if (!rdma_create_id(channel, &id, NULL, RDMA_PS_TCP)) {
        is_found = !rdma_bind_addr(id, (struct sockaddr *)&address) && id->verbs &&
                   !ibv_query_port(id->verbs, id->port_num, &port) &&
                   port.state == IBV_PORT_ACTIVE &&
                   (!config->device ||
                    strcmp(config->device, ibv_get_device_name(id->verbs->device)) == 0) &&
                   (!config->port || config->port == id->port_num) && !config->has_gid_index;
        if (is_found) {
            snprintf(out->device, sizeof out->device, "%s", ibv_get_device_name(id->verbs->device));
            out->port = id->port_num;
            out->gid_index = 0;
            out->mtu = port.active_mtu;
            out->address = address;
        }
        (void)rdma_destroy_id(id);
    }
    rdma_destroy_event_channel(channel);
    return is_found;
}

static int set_mtu(const struct dsm_net_rdma_config *config, struct dsm_rdma_place *place)
{
    if (!config->mtu)
        return 0;
    for (int mtu = IBV_MTU_256; mtu <= (int)place->mtu; mtu++) {
        if (config->mtu == dsm_rdma_mtu_bytes((enum ibv_mtu)mtu)) {
            place->mtu = (enum ibv_mtu)mtu;
            return 0;
        }
    }
    dsm_log(DSM_LOG_ERROR,
            "DSM_RDMA_MTU=%u: allowed are the powers of two from 256 to 4096, and at most %u on %s "
            "port %u now (an Ethernet interface with an MTU of 4200 or more allows 4096)",
            config->mtu, dsm_rdma_mtu_bytes(place->mtu), place->device, place->port);
    return DSM_E_INVAL;
}

int dsm_rdma_place_choose(const struct dsm_net_rdma_config *config, const char *listen_host,
                          struct dsm_rdma_place *out)
{
    struct candidates all;
    struct dsm_rdma_place place = {.address.sin_family = AF_INET};
    int error = find_all(&all);
    const struct candidate *found = error ? NULL : choose(&all, config, listen_host);
    if (found) {
        memcpy(place.device, found->device, sizeof place.device);
        place.port = found->port;
        place.gid_index = found->gid_index;
        place.mtu = found->mtu;
        place.address.sin_addr = found->address;
    } else if (!error && !choose_by_address(config, listen_host, &place)) {
        error = refuse(&all, config);
    }
    free(all.at);
    if (!error)
        error = set_mtu(config, &place);
    if (!error)
        *out = place;
    return error;
}
