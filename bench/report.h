/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report.h - results on their way out: a line of the table for each record as it comes, and one
 * JSON document at the end.
 *
 * A record is what a worker hands to its sink: kind ("floor" or "measure"), name, text, trap,
 * transport, ranks, unit, n, median, p99, more_is_better, and for measures floor, floor_name,
 * ratio, ratio_low, ratio_high, and target, target_text, target_met where there is a target.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <jansson.h>
#include <stdbool.h>

#include "bench/options.h"

struct bench_report;

/* Prints what the figures depend on. Opens the JSON file, so that a name that cannot be written is
 * told before the measuring. NULL: told. */
struct bench_report *bench_report_open(const struct bench_options *options);
/* A line above the next records; measures the machine's load and warns. */
void bench_report_group(struct bench_report *report, const char *title);
/* Prints and keeps a record. A sink's put; user is the report. */
void bench_report_put(void *user, const json_t *record);
/*
 * Keeps a record of a kernel's job without printing; several of one name, trap and number of ranks
 * become one when bench_report_put_kept is called, which prints them.
 */
void bench_report_keep(void *user, const json_t *record);
/* Keeps a kernel's record with the time of another as its floor; most_ratio: the target. */
void bench_report_keep_beside(struct bench_report *report, const json_t *record,
                              const json_t *floor, const char *floor_name, double most_ratio);
void bench_report_put_kept(struct bench_report *report);
/* Writes the JSON file. Errors: SYSTEM (told). */
int bench_report_close(struct bench_report *report);

#endif
