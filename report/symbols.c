/* SPDX-License-Identifier: BSD-3-Clause */
/* symbols.c - from an offset in a program or library to its source, with elfutils' libdw. */
#define _GNU_SOURCE
#include "report/report.h"
#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct code_file {
    Dwfl *dwfl;
    Dwfl_Module *module;
};

static const Dwfl_Callbacks callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .section_address = dwfl_offline_section_address,
};

static void open_file(struct code_file *file, const char *path)
{
    file->dwfl = dwfl_begin(&callbacks);
    if (!file->dwfl)
        return;
    dwfl_report_begin(file->dwfl);
    file->module = dwfl_report_offline(file->dwfl, path, path, -1);
    dwfl_report_end(file->dwfl, NULL, NULL);
}

/* The address that the byte at this offset of the file is loaded at; false: at none. */
static bool address_of(struct code_file *file, uint64_t offset, Dwarf_Addr *addr_out)
{
    GElf_Addr bias;
    Elf *elf = file->module ? dwfl_module_getelf(file->module, &bias) : NULL;
    size_t n = 0;
    if (!elf || elf_getphdrnum(elf, &n) != 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr p;
        if (!gelf_getphdr(elf, (int)i, &p) || p.p_type != PT_LOAD || offset < p.p_offset ||
            offset - p.p_offset >= p.p_filesz)
            continue;
        *addr_out = offset - p.p_offset + p.p_vaddr + bias;
        return true;
    }
    return false;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "lu.c:142 (update_tile)", "libc.so.6+0x1234 (memcpy)", "0x7f.."; NULL: no memory. */
static char *describe(struct code_file *file, const char *path, const struct report_code *code)
{
    char *text = NULL;
    Dwarf_Addr addr;
    int line = 0, result;
    const char *source = NULL, *function = NULL;
    if (!path) {
        result = code->ip ? asprintf(&text, "0x%lx", (unsigned long)code->ip)
                          : asprintf(&text, "unknown");
        return result < 0 ? NULL : text;
    }
    if (address_of(file, code->file_offset, &addr)) {
        Dwfl_Line *found = dwfl_module_getsrc(file->module, addr);
        if (found)
            source = dwfl_lineinfo(found, NULL, &line, NULL, NULL, NULL);
        function = dwfl_module_addrname(file->module, addr);
    }
    if (source)
        result = asprintf(&text, "%s:%d", base_name(source), line);
    else
        result = asprintf(&text, "%s+0x%lx", base_name(path), (unsigned long)code->file_offset);
    if (result < 0 || !function)
        return result < 0 ? NULL : text;
    char *with = NULL;
    result = asprintf(&with, "%s (%s)", text, function);
    free(text);
    return result < 0 ? NULL : with;
}

static void name_one(struct report *r, struct code_file *files, uint32_t index)
{
    struct report_code *code = &r->codes[index];
    const char *path = code->module == REPORT_NONE ? NULL : r->code_paths[code->module];
    struct code_file *file = path ? &files[code->module] : NULL;
    if (code->text)
        return;
    if (file && !file->dwfl)
        open_file(file, path);
    code->text = describe(file, path, code);
}

void report_name_code(struct report *r, size_t n)
{
    struct code_file *files = calloc(r->n_code_paths + 1, sizeof *files);
    uint32_t *top = calloc(n + 1, sizeof *top);
    size_t n_top = files && top ? report_top_codes(r, top, n) : 0;
    for (size_t i = 0; i < n_top; i++)
        name_one(r, files, top[i]);
    for (size_t i = 0; i < n && i < r->n_units && files; i++)
        for (size_t j = 0; j < r->units[i].n_places; j++)
            name_one(r, files, r->units[i].places[j].code);
    for (size_t i = 0; i < n && i < r->n_waits && files; i++)
        for (size_t j = 0; j < r->waits[i].n_places; j++)
            name_one(r, files, r->waits[i].places[j].code);
    for (size_t i = 0; i < r->n_code_paths && files; i++)
        if (files[i].dwfl)
            dwfl_end(files[i].dwfl);
    free(files);
    free(top);
}
