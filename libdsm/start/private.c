/* SPDX-License-Identifier: BSD-3-Clause */
/* private.c - linked in by dsmcc --private-globals. */
#include <dsm/parmacs.h>

const char dsm_parmacs_private_globals = 1;
