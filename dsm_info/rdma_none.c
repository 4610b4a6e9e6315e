/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_none.c - the devices that a build without the libraries can see. */
#include "dsm_info/facts.h"

json_t *dsm_info_rdma_devices(void)
{
    return json_array();
}
