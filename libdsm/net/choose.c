/* SPDX-License-Identifier: BSD-3-Clause */
/* choose.c - the list of transports, and the network that an address belongs to. */
#define _GNU_SOURCE
#include "net/net.h"
#include "base/log.h"
#include <arpa/inet.h>
#include <dsm/dsm.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

/* In the order in which a job prefers them. A further transport takes its place here. */
static const struct dsm_net_ops *const transports[] = {&dsm_net_rdma, &dsm_net_tcp};
_Static_assert(sizeof transports / sizeof *transports == DSM_NET_MAX_TRANSPORTS, "one list");

int dsm_net_list(const char *name, const struct dsm_net_ops *ops_out[DSM_NET_MAX_TRANSPORTS],
                 size_t *n_out, char *why, size_t why_bytes)
{
    bool is_auto = !name || strcmp(name, "auto") == 0;
    size_t n = 0;
    for (size_t i = 0; i < DSM_NET_MAX_TRANSPORTS; i++)
        if (is_auto || strcmp(name, transports[i]->name) == 0)
            ops_out[n++] = transports[i];
    if (n == 0) {
        dsm_format(why, why_bytes, "transport \"%s\": allowed are auto, tcp and rdma", name);
        return DSM_E_INVAL;
    }
    *n_out = n;
    return 0;
}

/* The bytes of an IPv4 or IPv6 address; 0: of another family. */
static size_t address_bytes(const struct sockaddr *a, const uint8_t **bytes_out)
{
    if (a && a->sa_family == AF_INET) {
        *bytes_out = (const uint8_t *)&((const struct sockaddr_in *)a)->sin_addr;
        return 4;
    }
    if (a && a->sa_family == AF_INET6) {
        *bytes_out = (const uint8_t *)&((const struct sockaddr_in6 *)a)->sin6_addr;
        return 16;
    }
    return 0;
}

void dsm_net_network_of(const char *address, char *out, size_t out_bytes)
{
    char ip[INET6_ADDRSTRLEN + 2];
    uint8_t wanted[16], network[16];
    const char *colon = strrchr(address, ':');
    size_t ip_bytes = colon ? (size_t)(colon - address) : 0;
    struct ifaddrs *interfaces;
    out[0] = '\0';
    if (address[0] == '[' && ip_bytes > 2) {
        address++;
        ip_bytes -= 2;
    }
    if (ip_bytes == 0 || ip_bytes >= sizeof ip)
        return;
    memcpy(ip, address, ip_bytes);
    ip[ip_bytes] = '\0';
    int family = strchr(ip, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(family, ip, wanted) != 1 || getifaddrs(&interfaces) != 0)
        return;
    for (const struct ifaddrs *i = interfaces; i; i = i->ifa_next) {
        const uint8_t *own, *mask;
        size_t n = address_bytes(i->ifa_addr, &own);
        if (n == 0 || i->ifa_addr->sa_family != family || memcmp(own, wanted, n) != 0 ||
            address_bytes(i->ifa_netmask, &mask) != n)
            continue;
        unsigned prefix = 0;
        for (size_t byte = 0; byte < n; byte++) {
            network[byte] = own[byte] & mask[byte];
            prefix += (unsigned)__builtin_popcount(mask[byte]);
        }
        if (inet_ntop(family, network, ip, sizeof ip))
            dsm_format(out, out_bytes, "%s/%u", ip, prefix);
        break;
    }
    freeifaddrs(interfaces);
}
