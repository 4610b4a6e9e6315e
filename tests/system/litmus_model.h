/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * litmus_model.h - the litmus tests, and what sequential consistency allows them.
 *
 * A test is a few threads with a few loads and stores each on two variables, x and y, that are 0 at
 * first. An outcome is what the loads saw and what x and y are at the end. Which outcomes are
 * allowed is computed: all interleavings of the threads' operations are run through. Outcomes that
 * also come about when each thread runs without interruption are serial; an allowed outcome that is
 * not serial shows that the threads really met.
 */
#ifndef DSM_TESTS_LITMUS_MODEL_H
#define DSM_TESTS_LITMUS_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define LITMUS_MAX_THREADS 4u
#define LITMUS_MAX_OPS     2u
#define LITMUS_MAX_LOADS   4u
#define LITMUS_N_VARS      2u
#define LITMUS_N_VALUES    3u   /* 0, 1, 2 */
#define LITMUS_N_OUTCOMES  729u /* 3^(loads + variables) */

struct litmus_op {
    bool is_store;
    uint8_t var;   /* 0: x, 1: y */
    uint8_t value; /* of a store */
};

struct litmus_test {
    const char *name;
    const char *text;
    uint32_t n_threads;
    uint32_t n_ops[LITMUS_MAX_THREADS];
    struct litmus_op ops[LITMUS_MAX_THREADS][LITMUS_MAX_OPS];
};

extern const struct litmus_test litmus_tests[];
extern const uint32_t litmus_n_tests;

struct litmus_outcomes {
    bool is_allowed[LITMUS_N_OUTCOMES];
    bool is_serial[LITMUS_N_OUTCOMES];
};

void litmus_enumerate(const struct litmus_test *test, struct litmus_outcomes *outcomes_out);
/* loads: what the loads saw, thread by thread; last: x and y at the end; all values 0 to 2. */
uint32_t litmus_outcome(const struct litmus_test *test, const uint8_t *loads, const uint8_t *last);
/* "P1:x=1 P1:y=0 x=1 y=1" */
void litmus_outcome_text(const struct litmus_test *test, uint32_t outcome, char *out,
                         uint32_t out_bytes);

#endif
