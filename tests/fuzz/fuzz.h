/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz.h - what a fuzz target brings: a function that takes any bytes and must survive them, and
 * valid inputs to start from.
 *
 * Linked with libFuzzer by --enable-fuzzers (clang), which explores; else with fuzz_main.c, which
 * tries a bounded number of seeded mutations in every make check.
 */
#ifndef DSM_FUZZ_H
#define DSM_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define FUZZ_MAX_BYTES 8192u

/* Returns 0. libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes);

/* Writes valid input number `number` and returns its length; 0: there is no such number. */
size_t fuzz_seed(unsigned number, uint8_t out[FUZZ_MAX_BYTES]);

/* What must hold for every input. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
