/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_uffd.c - the uffd backend under the trap suite. */
#include "trap_suite.h"

int main(void)
{
    return trap_suite_main(&dsm_trap_uffd);
}
