/* SPDX-License-Identifier: BSD-3-Clause */
/* syscalls.c - brings the families together. */
#include "syscalls/syscalls.h"

bool dsm_syscalls_are_wrapped(void)
{
    return dsm_wraps_bytes && dsm_wraps_streams;
}
