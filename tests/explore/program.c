/* SPDX-License-Identifier: BSD-3-Clause */
/* program.c - see program.h. */
#include "program.h"

#include <stdio.h>
#include <string.h>

static const struct {
    char letter;
    uint8_t kind;
    uint8_t n_units;
    bool has_lock;
} op_letters[] = {
    {'R', OP_LOAD, 1, false},
    {'W', OP_STORE, 1, false},
    {'Y', OP_LOAD_TWO, 2, false},
    {'X', OP_STORE_TWO, 2, false},
    {'P', OP_PREFETCH_READ, 1, false},
    {'Q', OP_PREFETCH_WRITE, 1, false},
    {'M', OP_PREFETCH_READ_ALL, 0, false},
    {'N', OP_PREFETCH_WRITE_ALL, 0, false},
    {'p', OP_SAMPLE_READ, 1, false},
    {'q', OP_SAMPLE_WRITE, 1, false},
    {'n', OP_SAMPLE_WRITE_ALL, 0, false},
    {'H', OP_PIN, 1, false},
    {'h', OP_UNPIN, 1, false},
    {'L', OP_LOCK, 0, true},
    {'U', OP_UNLOCK, 0, true},
    {'B', OP_BARRIER, 0, false},
    {'A', OP_ALLREDUCE, 0, false},
    {'C', OP_BCAST, 0, false},
    {'D', OP_DROP, 1, false},
    {'m', OP_LOCK_TRY, 0, true},
    {'i', OP_LOCK_TIMED, 0, true},
    {'r', OP_READ_LOCK, 0, true},
    {'w', OP_WRITE_LOCK, 0, true},
    {'u', OP_RW_UNLOCK, 0, true},
    {'V', OP_POST, 0, true},
    {'S', OP_TAKE, 0, true},
    {'s', OP_TAKE_TIMED, 0, true},
    {'F', OP_SET_FLAG, 0, true},
    {'E', OP_AWAIT, 0, true},
    {'b', OP_MEET, 0, true},
    {'G', OP_TICKETS, 0, true},
    {'c', OP_SLEEP, 0, true},
    {'k', OP_SIGNAL, 0, true},
    {'K', OP_BROADCAST, 0, true},
    {'Z', OP_DESTROY, 0, true},
    {'*', OP_ANY_SINGLE, 0, false},
    {'?', OP_ANY, 0, false},
};
#define N_LETTERS (sizeof op_letters / sizeof op_letters[0])

static bool parse_digit(const char **at, uint32_t limit, uint8_t *out)
{
    if (**at < '0' || **at > '9' || (uint32_t)(**at - '0') >= limit) {
        return false;
    }
    *out = (uint8_t)(*(*at)++ - '0');
    return true;
}

static bool parse_op(const char **at, uint32_t n_units, uint32_t n_locks, struct program_op *op)
{
    for (size_t i = 0; i < N_LETTERS; i++) {
        if (**at != op_letters[i].letter) {
            continue;
        }
        (*at)++;
        op->kind = op_letters[i].kind;
        if (op_letters[i].has_lock) {
            return parse_digit(at, n_locks, &op->a);
        }
        return (op_letters[i].n_units < 1 || parse_digit(at, n_units, &op->a)) &&
               (op_letters[i].n_units < 2 || parse_digit(at, n_units, &op->b));
    }
    return false;
}

bool program_parse(const char *text, uint32_t n_units, uint32_t n_locks,
                   struct program *program_out, char *why, size_t why_bytes)
{
    struct program program = {0};

    for (const char *at = text; *at != '\0';) {
        if (*at == ' ') {
            at++;
            continue;
        }
        const char *start = at;
        struct program_op op = {0};
        if (program.n_ops == PROGRAM_MAX_OPS) {
            snprintf(why, why_bytes, "program \"%s\": more than %u operations", text,
                     PROGRAM_MAX_OPS);
            return false;
        }
        if (!parse_op(&at, n_units, n_locks, &op)) {
            snprintf(
                why, why_bytes,
                "program \"%s\": \"%.3s\" is no operation on %u units and %u locks; see --help",
                text, start, n_units, n_locks);
            return false;
        }
        program.ops[program.n_ops++] = op;
    }
    *program_out = program;
    return true;
}

uint32_t program_choices(struct program_op op, uint32_t n_units,
                         struct program_op choices[PROGRAM_MAX_CHOICES])
{
    uint32_t n = 0;

    if (op.kind != OP_ANY_SINGLE && op.kind != OP_ANY) {
        choices[0] = op;
        return 1;
    }
    for (uint8_t u = 0; u < n_units; u++) {
        choices[n++] = (struct program_op){OP_LOAD, u, 0};
        choices[n++] = (struct program_op){OP_STORE, u, 0};
        for (uint8_t v = 0; op.kind == OP_ANY && v < n_units; v++) {
            if (v != u) {
                choices[n++] = (struct program_op){OP_LOAD_TWO, u, v};
                choices[n++] = (struct program_op){OP_STORE_TWO, u, v};
            }
        }
    }
    return n;
}

void program_op_text(struct program_op op, char out[8])
{
    for (size_t i = 0; i < N_LETTERS; i++) {
        if (op_letters[i].kind != op.kind) {
            continue;
        }
        if (op_letters[i].n_units == 2) {
            snprintf(out, 8, "%c%u%u", op_letters[i].letter, op.a % 10u, op.b % 10u);
        } else if (op_letters[i].n_units == 1 || op_letters[i].has_lock) {
            snprintf(out, 8, "%c%u", op_letters[i].letter, op.a % 10u);
        } else {
            snprintf(out, 8, "%c", op_letters[i].letter);
        }
        return;
    }
    snprintf(out, 8, "!");
}

void program_text(const struct program *program, char *out, size_t out_bytes)
{
    size_t n = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < program->n_ops && n + 10 < out_bytes; i++) {
        char op[8];
        program_op_text(program->ops[i], op);
        n += (size_t)snprintf(out + n, out_bytes - n, "%s%s", i ? " " : "", op);
    }
}
