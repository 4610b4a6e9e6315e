/* SPDX-License-Identifier: BSD-3-Clause */
/* ids.h - the scalars that name things. Numbers only; no code. */
#ifndef DSM_CORE_IDS_H
#define DSM_CORE_IDS_H

#include <stdint.h>

typedef uint64_t dsm_page_t; /* a 4 KiB page of the region, by number */
typedef uint32_t dsm_rank_t; /* a process of the job, 0..n-1 */
typedef uint64_t dsm_txn_t;  /* number a home gave to a transaction on one unit; 0: none yet */

#define DSM_PAGE_BYTES     4096u
#define DSM_PAGE_SHIFT     12
#define DSM_UNIT_MAX_PAGES 512u /* 2 MiB */
#define DSM_RANK_NONE      UINT32_MAX
#define DSM_PAGE_NONE      UINT64_MAX

#endif
