/* SPDX-License-Identifier: BSD-3-Clause */
/* tools.h - a name by which programs include <dsm/jia.h> for jia_current_time. */
#include <dsm/jia.h>
