/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * facts.h - what dsm_info finds out: each subject a JSON value, from which both reports are made.
 * A value that could not be had (no memory) is NULL, as jansson hands it on.
 */
#ifndef DSM_INFO_FACTS_H
#define DSM_INFO_FACTS_H

#include <jansson.h>

/* Kernel, processors, memory. */
json_t *dsm_info_machine(void);
/* Limits of this process and of the machine, each with what it is for, and what to do where it is
 * not enough. */
json_t *dsm_info_limits(void);
/* The features that the kernel's userfaultfd offers to this user, or why there is none. */
json_t *dsm_info_userfaultfd(void);
/* Devices, their ports and addresses. rdma.c, or rdma_none.c without the libraries. */
/* What dsm_init takes when DSM_REGION_SIZE is not given. */
#define DSM_INFO_REGION_BYTES (64ull << 30)

json_t *dsm_info_rdma_devices(void);

/* All of it as text. */
void dsm_info_print(const json_t *facts);

#endif
