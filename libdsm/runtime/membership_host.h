/* SPDX-License-Identifier: BSD-3-Clause */
/* membership_host.h - what a rank tells dsmd of the machine it runs on; dsm_membership_cpu is in
 * membership.h. */
#ifndef DSM_RUNTIME_MEMBERSHIP_HOST_H
#define DSM_RUNTIME_MEMBERSHIP_HOST_H

#include "runtime/membership.h"

#define DSM_HOST_TEXT_BYTES 128u

/* For messages to people. */
void dsm_membership_host_name(char out[DSM_HOST_TEXT_BYTES]);
/* Equal on ranks that share processors. */
void dsm_membership_host_id(char out[DSM_HOST_TEXT_BYTES]);

#endif
