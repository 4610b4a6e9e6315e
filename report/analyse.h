/* SPDX-License-Identifier: BSD-3-Clause */
/* analyse.h - what the parts of the analysis share: analyse.c (units), waits.c, index.c. */
#ifndef DSM_REPORT_ANALYSE_H
#define DSM_REPORT_ANALYSE_H

#include "report/report.h"

/* A hash table from a pair of numbers to an index. */
struct index_slot {
    uint64_t a, b;
    uint32_t index; /* REPORT_NONE: empty */
};

struct index_table {
    struct index_slot *slots;
    size_t n_slots, n_used; /* n_slots: a power of two */
};

/* The slot of (a, b), or the empty one where it would be; in a table that has slots. */
struct index_slot *report_find_slot(const struct index_table *table, uint64_t a, uint64_t b);
/* The slot of (a, b), with index `fresh` when it is new; NULL: no memory. */
struct index_slot *report_index_of(struct index_table *table, uint64_t a, uint64_t b, size_t fresh);

/* The index in report->codes of the event's instruction. Errors: NOMEM. */
int report_find_code(struct report *report, struct index_table *codes,
                     const struct report_event *event, uint32_t *index_out);
/* Fills report->waits. Errors: NOMEM. */
int report_count_waits(struct report *report, struct index_table *codes);
/* "matrix + 0x10" */
void report_name_offset(const struct report *report, uint64_t offset, uint32_t alloc, char *out,
                        size_t out_bytes);

#endif
