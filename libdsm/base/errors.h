/* SPDX-License-Identifier: BSD-3-Clause */
/* errors.h - names and texts of the DSM_E codes; errno turned into ours. */
#ifndef DSM_BASE_ERRORS_H
#define DSM_BASE_ERRORS_H

#include <dsm/dsm.h>

/* The DSM_E code for an errno of a system call. Signal-handler safe. */
int dsm_error_from_errno(int error);
/* As dsm_strerror and dsm_errname, for the inner libraries. Signal-handler safe. */
const char *dsm_error_text(int error);
const char *dsm_error_name(int error);

#endif
