/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image.h - a copy of the program's global variables in shared memory, which a worker takes over
 * when the ranks do not share them: what fork would have given it.
 */
#ifndef DSM_PARMACS_IMAGE_H
#define DSM_PARMACS_IMAGE_H

#include "runtime/executable.h"

/* NULL when there is no room. */
void *dsm_image_take(const struct dsm_executable *executable);
/* Overwrites the caller's variables and frees the image. */
void dsm_image_put(const struct dsm_executable *executable, void *image);

#endif
