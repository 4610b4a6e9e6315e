/* SPDX-License-Identifier: BSD-3-Clause */
/* litmus_model.c - see litmus_model.h. */
#include "litmus_model.h"

#include <stdio.h>
#include <string.h>

#define WX(v)                                                                                      \
    {                                                                                              \
        true, 0, v                                                                                 \
    }
#define WY(v)                                                                                      \
    {                                                                                              \
        true, 1, v                                                                                 \
    }
#define RX                                                                                         \
    {                                                                                              \
        false, 0, 0                                                                                \
    }
#define RY                                                                                         \
    {                                                                                              \
        false, 1, 0                                                                                \
    }

/* Names as in Alglave, Maranget, Tautschnig, "Herding Cats", TOPLAS 36(2), 2014. */
const struct litmus_test litmus_tests[] = {
    {"SB", "x=1; r=y || y=1; s=x", 2, {2, 2}, {{WX(1), RY}, {WY(1), RX}}},
    {"MP", "x=1; y=1 || r=y; s=x", 2, {2, 2}, {{WX(1), WY(1)}, {RY, RX}}},
    {"LB", "r=x; y=1 || s=y; x=1", 2, {2, 2}, {{RX, WY(1)}, {RY, WX(1)}}},
    {"CoRR", "x=1 || r=x; s=x", 2, {1, 2}, {{WX(1)}, {RX, RX}}},
    {"CoWW", "x=1; x=2 || r=x; s=x", 2, {2, 2}, {{WX(1), WX(2)}, {RX, RX}}},
    {"2+2W", "x=1; y=2 || y=1; x=2", 2, {2, 2}, {{WX(1), WY(2)}, {WY(1), WX(2)}}},
    {"R", "x=1; y=1 || y=2; r=x", 2, {2, 2}, {{WX(1), WY(1)}, {WY(2), RX}}},
    {"S", "x=2; y=1 || r=y; x=1", 2, {2, 2}, {{WX(2), WY(1)}, {RY, WX(1)}}},
    {"WRC", "x=1 || r=x; y=1 || s=y; t=x", 3, {1, 2, 2}, {{WX(1)}, {RX, WY(1)}, {RY, RX}}},
    {"IRIW",
     "x=1 || y=1 || r=x; s=y || t=y; u=x",
     4,
     {1, 1, 2, 2},
     {{WX(1)}, {WY(1)}, {RX, RY}, {RY, RX}}},
};
const uint32_t litmus_n_tests = sizeof litmus_tests / sizeof litmus_tests[0];

struct machine {
    const struct litmus_test *test;
    struct litmus_outcomes *outcomes;
    bool is_serial; /* only whole threads */
    uint8_t memory[LITMUS_N_VARS];
    uint8_t pc[LITMUS_MAX_THREADS];
    uint8_t seen[LITMUS_MAX_THREADS][LITMUS_MAX_OPS];
};

static uint32_t count_loads(const struct litmus_test *test)
{
    uint32_t n = 0;

    for (uint32_t t = 0; t < test->n_threads; t++) {
        for (uint32_t i = 0; i < test->n_ops[t]; i++) {
            n += !test->ops[t][i].is_store;
        }
    }
    return n;
}

uint32_t litmus_outcome(const struct litmus_test *test, const uint8_t *loads, const uint8_t *last)
{
    uint32_t outcome = last[0] + LITMUS_N_VALUES * last[1];

    for (uint32_t i = count_loads(test); i-- > 0;) {
        outcome = outcome * LITMUS_N_VALUES + loads[i];
    }
    return outcome;
}

static void note_end(const struct machine *m)
{
    uint8_t loads[LITMUS_MAX_LOADS];
    uint32_t n = 0;

    for (uint32_t t = 0; t < m->test->n_threads; t++) {
        for (uint32_t i = 0; i < m->test->n_ops[t]; i++) {
            if (!m->test->ops[t][i].is_store) {
                loads[n++] = m->seen[t][i];
            }
        }
    }
    uint32_t outcome = litmus_outcome(m->test, loads, m->memory);
    m->outcomes->is_allowed[outcome] = true;
    if (m->is_serial) {
        m->outcomes->is_serial[outcome] = true;
    }
}

static void do_op(struct machine *m, uint32_t thread)
{
    uint8_t at = m->pc[thread]++;
    struct litmus_op op = m->test->ops[thread][at];

    if (op.is_store) {
        m->memory[op.var] = op.value;
    } else {
        m->seen[thread][at] = m->memory[op.var];
    }
}

/* One operation, or in serial runs one thread, after the other, in every order. */
static void run_on(struct machine m)
{
    bool is_end = true;

    for (uint32_t t = 0; t < m.test->n_threads; t++) {
        if (m.pc[t] == m.test->n_ops[t]) {
            continue;
        }
        struct machine next = m;
        is_end = false;
        do {
            do_op(&next, t);
        } while (m.is_serial && next.pc[t] < m.test->n_ops[t]);
        run_on(next);
    }
    if (is_end) {
        note_end(&m);
    }
}

void litmus_enumerate(const struct litmus_test *test, struct litmus_outcomes *outcomes_out)
{
    memset(outcomes_out, 0, sizeof *outcomes_out);
    run_on((struct machine){.test = test, .outcomes = outcomes_out});
    run_on((struct machine){.test = test, .outcomes = outcomes_out, .is_serial = true});
}

void litmus_outcome_text(const struct litmus_test *test, uint32_t outcome, char *out,
                         uint32_t out_bytes)
{
    uint32_t n = 0;

    out[0] = '\0';
    for (uint32_t t = 0; t < test->n_threads; t++) {
        for (uint32_t i = 0; i < test->n_ops[t]; i++) {
            if (test->ops[t][i].is_store) {
                continue;
            }
            n += (uint32_t)snprintf(out + n, n < out_bytes ? out_bytes - n : 0, "P%u:%c=%u ", t,
                                    "xy"[test->ops[t][i].var], outcome % LITMUS_N_VALUES);
            outcome /= LITMUS_N_VALUES;
        }
    }
    snprintf(out + n, n < out_bytes ? out_bytes - n : 0, "x=%u y=%u", outcome % LITMUS_N_VALUES,
             outcome / LITMUS_N_VALUES);
}
