/* SPDX-License-Identifier: BSD-3-Clause */
/* map_count.h - how many mappings the process has and may have. */
#ifndef DSM_TRAP_MAP_COUNT_H
#define DSM_TRAP_MAP_COUNT_H

#include <stdint.h>

struct dsm_map_count {
    uint64_t limit;  /* vm.max_map_count */
    uint64_t in_use; /* by this process now */
};

/* Where /proc cannot be read: the kernel's default limit, and an eighth of it in use. */
void dsm_map_count_read(struct dsm_map_count *count_out);

#endif
