/* SPDX-License-Identifier: BSD-3-Clause */
/* name_code.c - lines of source for the code that is printed. */
#define _GNU_SOURCE
#include "report/report.h"
#include "report/symbols.h"
#include <stdlib.h>

static void name_one(struct report *r, struct symbols *symbols, uint32_t index)
{
    struct report_code *code = &r->codes[index];
    const char *path = code->module == REPORT_NONE ? NULL : r->code_paths[code->module];
    if (!code->text)
        code->text = symbols_describe(symbols, path, code->file_offset, code->ip);
}

void report_name_code(struct report *r, size_t n)
{
    struct symbols symbols = {0};
    uint32_t *top = calloc(n + 1, sizeof *top);
    size_t n_top = top ? report_top_codes(r, top, n) : 0;
    for (size_t i = 0; i < n_top; i++)
        name_one(r, &symbols, top[i]);
    for (size_t i = 0; i < n && i < r->n_units; i++)
        for (size_t j = 0; j < r->units[i].n_places; j++)
            name_one(r, &symbols, r->units[i].places[j].code);
    for (size_t i = 0; i < n && i < r->n_waits; i++)
        for (size_t j = 0; j < r->waits[i].n_places; j++)
            name_one(r, &symbols, r->waits[i].places[j].code);
    symbols_close(&symbols);
    free(top);
}
