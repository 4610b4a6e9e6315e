/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report.h - what dsm-report knows of a job: what the file says (load.c), what follows from it
 * (analyse.c), and where the code is (symbols.c). text.c and html.c print it.
 */
#ifndef DSM_REPORT_REPORT_H
#define DSM_REPORT_REPORT_H

#include "proto/profile.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define REPORT_WHY_BYTES 400u
#define REPORT_NONE      UINT32_MAX

/* ---- what the file says -------------------------------------------------------------------- */

struct report_module {
    uint64_t start, end, file_offset;
    char *path;
};

struct report_rank {
    bool is_there;
    uint64_t pid, base, start_ns, start_real_ns, end_ns;
    bool has_ended; /* in good order */
    uint64_t dropped;
    uint64_t count[DSM_PROFILE_N_TIMED], total_ns[DSM_PROFILE_N_TIMED];
    uint64_t *received; /* from each rank, bytes */
    size_t n_counters;  /* 0 in a file of an earlier version */
    uint64_t counters[DSM_PROFILE_N_COUNTERS];
    struct report_module *modules;
    size_t n_modules;
};

struct report_alloc {
    uint64_t offset, len_bytes;
    char *name;
};

struct report_event {
    uint64_t time_ns; /* since the job's first rank started; ranks of all hosts on one scale */
    uint64_t offset, ip, value; /* value: latency in ns; LOST and DOWNGRADED: pages */
    uint32_t rank, peer;
    uint32_t alloc; /* that held the offset then; REPORT_NONE */
    uint8_t kind;
    uint8_t unit_log2; /* or enum dsm_profile_object */
};

/* ---- what follows -------------------------------------------------------------------------- */

struct report_code {
    uint32_t module; /* index of report.code_paths; REPORT_NONE: unknown instruction */
    uint64_t file_offset;
    uint64_t ip;             /* where nothing more is known */
    uint64_t count, wait_ns; /* of faults */
    char *text; /* "file.c:12 (function)", or the best there is; of those that are printed */
};

/* Four bytes of a unit. */
struct report_offset {
    uint32_t at;
    uint32_t faults;
};

/* One rank at one unit. */
struct report_user {
    uint32_t rank;
    uint64_t faults[DSM_PROFILE_UPGRADE + 1]; /* by kind */
    uint64_t losses, wait_ns;
    struct report_offset *offsets; /* where it faulted: sorted */
    size_t n_offsets;
};

/* The code that faulted at a unit. */
struct report_place {
    uint32_t code; /* index of report.codes */
    uint64_t faults[DSM_PROFILE_UPGRADE + 1];
};

enum report_sharing {
    REPORT_NOT_SHARED,
    REPORT_READ_SHARED,
    REPORT_TRUE_SHARED,
    REPORT_FALSE_SHARED
};

struct report_unit {
    uint64_t first_page;
    uint8_t unit_log2;
    uint32_t alloc;
    uint64_t faults, wait_ns;
    uint64_t bounces; /* how often it went from one rank to another for a write, or after one */
    uint32_t last_rank;
    bool last_was_write;
    enum report_sharing sharing;
    struct report_user *users;
    size_t n_users;
    struct report_place *places;
    size_t n_places;
};

/* The code that waited at an object. */
struct report_wait_place {
    uint32_t code;
    uint64_t count, wait_ns;
};

/* A lock, a barrier, or another object at which calls waited. */
struct report_wait {
    enum dsm_profile_object object;
    uint64_t offset; /* of its name; not of RANKS and COLLECTIVE, which are one each */
    uint32_t alloc;
    uint64_t count, wait_ns, longest_ns;
    struct report_wait_place *places; /* the longest first */
    size_t n_places;
};

#define REPORT_HEAT_COLUMNS 96u
#define REPORT_HEAT_ROWS    64u

struct report {
    uint32_t n_ranks;
    struct report_rank *ranks;
    struct report_alloc *allocs;
    size_t n_allocs;
    struct report_event *events; /* in order of time */
    size_t n_events, room_events;
    bool is_cut;
    /* analyse.c */
    uint64_t span_ns;
    uint64_t faults[DSM_PROFILE_UPGRADE + 1], dropped, moved_bytes;
    char **code_paths;
    size_t n_code_paths;
    struct report_code *codes;
    size_t n_codes;
    struct report_unit *units; /* the most faulted at first */
    size_t n_units;
    struct report_wait *waits; /* the longest first */
    size_t n_waits;
    uint32_t heat[REPORT_HEAT_ROWS][REPORT_HEAT_COLUMNS];
    uint64_t heat_first[REPORT_HEAT_ROWS]; /* page with which a row begins */
    uint32_t heat_alloc[REPORT_HEAT_ROWS];
    uint32_t n_heat_rows, heat_max;
};

/* Adds what the bytes of a file say. Errors, with one line in why: PROTO, NOMEM. */
int report_load(struct report *report, const void *bytes, size_t len_bytes,
                char why[REPORT_WHY_BYTES]);
/* Errors: NOMEM. */
int report_analyse(struct report *report);
/* Names the code of the n_top hottest units, waits and instructions. */
void report_name_code(struct report *report, size_t n_top);
void report_free(struct report *report);

/* codes sorted by count, the indices of the most frequent n (or fewer); the number of them. */
size_t report_top_codes(const struct report *report, uint32_t *indices_out, size_t n);
const char *report_sharing_text(enum report_sharing sharing);
/* "matrix + 0x1000", "dsm_malloc + 0x..." of a page. */
void report_name_page(const struct report *report, uint64_t page, uint32_t alloc, char *out,
                      size_t out_bytes);

/* "lock word + 0x10", "barrier". */
void report_name_wait(const struct report *report, const struct report_wait *wait, char *out,
                      size_t out_bytes);

/* Whether the file has counters; whether some rank has more than 0 of this one. */
bool report_has_counters(const struct report *report);
bool report_has_counter(const struct report *report, enum dsm_profile_counter counter);

struct report_split {
    double total, compute, read, write, lock, barrier, sync; /* seconds */
};
struct report_split report_split_of(const struct report *report, uint32_t rank);

/* text.c, html.c: true when all was written. title: what was read. */
bool report_print_text(const struct report *report, const char *title, size_t n_top, FILE *out);
bool report_print_html(const struct report *report, const char *title, size_t n_top, FILE *out);

#endif
