/* SPDX-License-Identifier: BSD-3-Clause */
/* route.c - see route.h. */
#include "config.h"
#include "dsmrun/route.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

int dsm_route_source(const char *host, char out[DSM_ROUTE_ADDRESS_BYTES], char *why,
                     size_t why_bytes)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    int error = getaddrinfo(host, "9", &hints, &found);
    if (error) {
        dsm_format(why, why_bytes, "cannot find the host %s: %s", host, gai_strerror(error));
        return DSM_E_CONNECT;
    }
    struct sockaddr_storage source;
    socklen_t len = sizeof source;
    int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    /* Connecting a datagram socket only looks up the route. */
    bool is_known = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0 &&
                    getsockname(fd, (struct sockaddr *)&source, &len) == 0 &&
                    getnameinfo((struct sockaddr *)&source, len, out, DSM_ROUTE_ADDRESS_BYTES, NULL,
                                0, NI_NUMERICHOST) == 0;
    int failed = errno;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
    if (is_known)
        return 0;
    dsm_format(why, why_bytes, "no route to the host %s: %s", host, strerror(failed));
    return DSM_E_CONNECT;
}

bool dsm_route_is_here(const char *host)
{
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    return strcasecmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "::1") == 0 || strcasecmp(host, name) == 0;
}
