/* SPDX-License-Identifier: BSD-3-Clause */
/* address.c - addresses from and to texts; names are not looked up. */
#define _GNU_SOURCE
#include "net/address.h"
#include "base/parse.h"
#include <dsm/dsm.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void dsm_address_text(const struct sockaddr *address, socklen_t len, char *out, size_t out_bytes)
{
    char host[INET6_ADDRSTRLEN + 8], port[8];
    if (getnameinfo(address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
        snprintf(out, out_bytes, "an unknown address");
    else
        snprintf(out, out_bytes, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int dsm_address_parse(const char *text, struct sockaddr_storage *out, socklen_t *len_out)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 8];
    size_t host_bytes = colon ? (size_t)(colon - text) : 0;
    bool is_bracketed = host_bytes >= 2 && text[0] == '[' && colon[-1] == ']';
    if (is_bracketed) {
        text++;
        host_bytes -= 2;
    }
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *info;
    uint64_t port;
    if (host_bytes == 0 || host_bytes >= sizeof host ||
        dsm_parse_u64(colon + 1, 1, UINT16_MAX, &port))
        return DSM_E_INVAL;
    memcpy(host, text, host_bytes);
    host[host_bytes] = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &info))
        return DSM_E_INVAL;
    memcpy(out, info->ai_addr, info->ai_addrlen);
    *len_out = info->ai_addrlen;
    freeaddrinfo(info);
    return 0;
}
