/* SPDX-License-Identifier: BSD-3-Clause */
/* address.h - addresses of peers as texts: "10.0.0.1:40123", "[::1]:40123". */
#ifndef DSM_NET_ADDRESS_H
#define DSM_NET_ADDRESS_H

#include <stddef.h>
#include <sys/socket.h>

/* Errors: INVAL. */
int dsm_address_parse(const char *text, struct sockaddr_storage *out, socklen_t *len_out);
void dsm_address_text(const struct sockaddr *address, socklen_t len, char *out, size_t out_bytes);

#endif
