/* SPDX-License-Identifier: BSD-3-Clause */
/* Tmk.h - the name by which programs include <dsm/Tmk.h>. */
#include <dsm/Tmk.h>
