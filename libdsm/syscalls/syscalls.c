/* SPDX-License-Identifier: BSD-3-Clause */
/* syscalls.c - brings the families together. */
#include "syscalls/syscalls.h"

bool dsm_syscalls_are_wrapped(void)
{
    return dsm_wraps_bytes && dsm_wraps_descriptors && dsm_wraps_objects && dsm_wraps_paths &&
           dsm_wraps_processes && dsm_wraps_programs && dsm_wraps_refused && dsm_wraps_sockets &&
           dsm_wraps_streams && dsm_wraps_times;
}
