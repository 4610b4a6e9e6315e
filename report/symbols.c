/* SPDX-License-Identifier: BSD-3-Clause */
/* symbols.c - from an offset in a program or library to its source, with elfutils' libdw. */
#define _GNU_SOURCE
#include "report/symbols.h"
#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct symbols_file {
    char *path;
    Dwfl *dwfl;
    Dwfl_Module *module;
};

static const Dwfl_Callbacks callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .section_address = dwfl_offline_section_address,
};

static void open_file(struct symbols_file *file, const char *path)
{
    file->dwfl = dwfl_begin(&callbacks);
    if (!file->dwfl)
        return;
    dwfl_report_begin(file->dwfl);
    file->module = dwfl_report_offline(file->dwfl, path, path, -1);
    dwfl_report_end(file->dwfl, NULL, NULL);
}

/* The address that the byte at this offset of the file is loaded at; false: at none. */
static bool address_of(struct symbols_file *file, uint64_t offset, Dwarf_Addr *addr_out)
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

/* NULL: no memory. */
static struct symbols_file *find_file(struct symbols *s, const char *path)
{
    for (uint32_t i = 0; i < s->n_files; i++)
        if (strcmp(s->files[i].path, path) == 0)
            return &s->files[i];
    struct symbols_file *grown = reallocarray(s->files, s->n_files + 1, sizeof *grown);
    if (!grown)
        return NULL;
    s->files = grown;
    struct symbols_file file = {.path = strdup(path)};
    if (!file.path)
        return NULL;
    open_file(&file, path);
    grown[s->n_files++] = file;
    return &grown[s->n_files - 1];
}

static char *describe_address(uint64_t ip)
{
    char *text = NULL;
    int result = ip ? asprintf(&text, "0x%lx", (unsigned long)ip) : asprintf(&text, "unknown");
    return result < 0 ? NULL : text;
}

char *symbols_describe(struct symbols *s, const char *path, uint64_t file_offset, uint64_t ip)
{
    char *text = NULL, *with = NULL;
    Dwarf_Addr addr;
    int line = 0, result;
    const char *source = NULL, *function = NULL;
    if (!path)
        return describe_address(ip);
    struct symbols_file *file = find_file(s, path);
    if (file && address_of(file, file_offset, &addr)) {
        Dwfl_Line *found = dwfl_module_getsrc(file->module, addr);
        if (found)
            source = dwfl_lineinfo(found, NULL, &line, NULL, NULL, NULL);
        function = dwfl_module_addrname(file->module, addr);
    }
    if (source)
        result = asprintf(&text, "%s:%d", base_name(source), line);
    else
        result = asprintf(&text, "%s+0x%lx", base_name(path), (unsigned long)file_offset);
    if (result < 0 || !function)
        return result < 0 ? NULL : text;
    result = asprintf(&with, "%s (%s)", text, function);
    free(text);
    return result < 0 ? NULL : with;
}

void symbols_close(struct symbols *s)
{
    for (uint32_t i = 0; i < s->n_files; i++) {
        if (s->files[i].dwfl)
            dwfl_end(s->files[i].dwfl);
        free(s->files[i].path);
    }
    free(s->files);
    *s = (struct symbols){0};
}
