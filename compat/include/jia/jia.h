/* SPDX-License-Identifier: BSD-3-Clause */
/* jia.h - the name by which programs include <dsm/jia.h>. */
#include <dsm/jia.h>
