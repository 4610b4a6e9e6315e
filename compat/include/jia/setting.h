/* SPDX-License-Identifier: BSD-3-Clause */
/* setting.h - included by programs that use nothing of it. */
#include <dsm/jia.h>
