/* SPDX-License-Identifier: BSD-3-Clause */
/* route.h - which of this host's addresses another host sees. Asks the kernel's routing table,
 * sends nothing. */
#ifndef DSM_DSMRUN_ROUTE_H
#define DSM_DSMRUN_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#define DSM_ROUTE_ADDRESS_BYTES 64u

/* The local address on the way to host (a name or an address). Errors, with one line in why:
 * CONNECT (unknown or unreachable). */
int dsm_route_source(const char *host, char out[DSM_ROUTE_ADDRESS_BYTES], char *why,
                     size_t why_bytes);
/* Whether host names this machine: "localhost", a loopback address, its own host name. */
bool dsm_route_is_here(const char *host);

#endif
