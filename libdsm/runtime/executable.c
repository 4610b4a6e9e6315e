/* SPDX-License-Identifier: BSD-3-Clause */
/* executable.c - see executable.h. Reads the program headers that the loader keeps. */
#define _GNU_SOURCE
#include "runtime/executable.h"
#include "base/bytes.h"
#include "base/log.h"
#include "core/ids.h"
#include <dlfcn.h>
#include <dsm/dsm.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>

#define ADVICE "build it with dsmcc, or with the flags that dsmcc --showme prints"

static bool is_inside(const struct dl_phdr_info *o, uintptr_t addr)
{
    for (unsigned i = 0; i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &o->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && addr - (o->dlpi_addr + p->p_vaddr) < p->p_memsz)
            return true;
    }
    return false;
}

static void read_build_id(const struct dl_phdr_info *o, struct dsm_build_id *out)
{
    for (unsigned i = 0; i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &o->dlpi_phdr[i];
        if (p->p_type != PT_NOTE)
            continue;
        const uint8_t *at = (const uint8_t *)o->dlpi_addr + p->p_vaddr, *end = at + p->p_memsz;
        uint64_t align = p->p_align == 8 ? 8 : 4;
        while (at + sizeof(ElfW(Nhdr)) <= end) {
            const ElfW(Nhdr) *note = (const void *)at;
            const uint8_t *name = at + sizeof *note;
            const uint8_t *text = name + DSM_ALIGN_UP((uint64_t)note->n_namesz, align);
            if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
                memcmp(name, "GNU", 4) == 0) {
                out->len_bytes =
                    note->n_descsz < DSM_BUILD_ID_BYTES ? note->n_descsz : DSM_BUILD_ID_BYTES;
                memcpy(out->bytes, text, out->len_bytes);
                return;
            }
            at = text + DSM_ALIGN_UP((uint64_t)note->n_descsz, align);
        }
    }
}

/* ---- the executable ------------------------------------------------------------------------ */

struct look {
    struct dsm_executable *out;
    char *why;
    size_t why_bytes;
    uintptr_t in_libc, own_malloc; /* addresses of functions */
    bool has_seen_first;
    int error;
};

static int refuse(struct look *l, const char *what)
{
    dsm_format(l->why, l->why_bytes, "global variables cannot be shared: %s", what);
    return DSM_E_UNSUPPORTED;
}

/* What the dynamic section says. */
struct dynamic {
    const ElfW(Rela) * rela;
    uint64_t rela_bytes;
    const ElfW(Sym) * symbols;
    const char *strings;
    bool binds_now;
};

static void read_dynamic(const struct dl_phdr_info *o, struct dynamic *out)
{
    const ElfW(Dyn) *d = NULL;
    *out = (struct dynamic){0};
    for (unsigned i = 0; i < o->dlpi_phnum; i++)
        if (o->dlpi_phdr[i].p_type == PT_DYNAMIC)
            d = (const void *)(o->dlpi_addr + o->dlpi_phdr[i].p_vaddr);
    /* The loader has made addresses of these values, as it does on every system but a few. */
    for (; d && d->d_tag != DT_NULL; d++) {
        switch (d->d_tag) {
        case DT_RELA:
            out->rela = (const void *)d->d_un.d_ptr;
            break;
        case DT_RELASZ:
            out->rela_bytes = d->d_un.d_val;
            break;
        case DT_SYMTAB:
            out->symbols = (const void *)d->d_un.d_ptr;
            break;
        case DT_STRTAB:
            out->strings = (const void *)d->d_un.d_ptr;
            break;
        case DT_FLAGS:
            out->binds_now |= (d->d_un.d_val & DF_BIND_NOW) != 0;
            break;
        case DT_FLAGS_1:
            out->binds_now |= (d->d_un.d_val & DF_1_NOW) != 0;
            break;
        case DT_BIND_NOW:
            out->binds_now = true;
            break;
        }
    }
}

static int check_relocations(struct look *l, const struct dl_phdr_info *o)
{
    struct dynamic d;
    read_dynamic(o, &d);
    uint64_t n = d.rela && d.symbols ? d.rela_bytes / sizeof *d.rela : 0;
    for (uint64_t i = 0; i < n; i++) {
        if (ELF64_R_TYPE(d.rela[i].r_info) != R_X86_64_COPY)
            continue;
        char text[256];
        dsm_format(text, sizeof text,
                   "the executable keeps %s of another library among its own variables "
                   "(R_X86_64_COPY); compile with -fPIC: " ADVICE,
                   d.strings + d.symbols[ELF64_R_SYM(d.rela[i].r_info)].st_name);
        return refuse(l, text);
    }
    if (!d.binds_now)
        return refuse(l, "the executable binds lazily, which writes among its variables (link with "
                         "-z now): " ADVICE);
    return 0;
}

static int find_data(struct look *l, const struct dl_phdr_info *o)
{
    uint64_t start = 0, end = 0;
    for (unsigned i = 0; i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &o->dlpi_phdr[i];
        uint64_t addr = o->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_GNU_RELRO) /* as the loader: whole pages below the end */
            start = DSM_ALIGN_DOWN(addr + p->p_memsz, (uint64_t)DSM_PAGE_BYTES);
        if (p->p_type == PT_LOAD && (p->p_flags & PF_W))
            end = DSM_ALIGN_UP(addr + p->p_memsz, (uint64_t)DSM_PAGE_BYTES);
        if (p->p_type == PT_LOAD && !l->out->load_addr)
            l->out->load_addr = DSM_ALIGN_DOWN(addr, (uint64_t)DSM_PAGE_BYTES);
    }
    if (!start)
        return refuse(l, "the executable has no RELRO part (link with -z relro -z now): " ADVICE);
    for (unsigned i = 0; i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &o->dlpi_phdr[i];
        uint64_t addr = o->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && !(p->p_flags & PF_W) && addr < end && addr + p->p_memsz > start)
            return refuse(l, "a read-only segment lies among the executable's variables");
    }
    l->out->data_addr = start;
    l->out->data_bytes = end > start ? end - start : 0;
    return 0;
}

static int look_at_program(struct look *l, const struct dl_phdr_info *o)
{
    static const char own_state;
    if (is_inside(o, (uintptr_t)&own_state))
        return refuse(l, "libdsm is linked statically, and its own state would be among them (link "
                         "with the shared library)");
    if (is_inside(o, l->own_malloc))
        return refuse(l, "the program brings a malloc of its own, whose state would be among them "
                         "(leave it out, or use DSM_GLOBALS=private)");
    int error = check_relocations(l, o);
    if (!error)
        error = find_data(l, o);
    read_build_id(o, &l->out->id);
    if (!error && l->out->id.len_bytes == 0)
        error = refuse(l, "the executable has no build id, by which ranks compare it (link with "
                          "--build-id): " ADVICE);
    return error;
}

static int look_at(struct dl_phdr_info *o, size_t size, void *user)
{
    struct look *l = user;
    (void)size;
    if (!l->has_seen_first) { /* the loader lists the executable first */
        l->has_seen_first = true;
        l->error = look_at_program(l, o);
    } else if (is_inside(o, l->in_libc)) {
        read_build_id(o, &l->out->libc_id);
    }
    return l->error;
}

int dsm_executable_read(struct dsm_executable *out, char *why, size_t why_bytes)
{
    struct dsm_executable e;
    memset(&e, 0, sizeof e);
    struct look l = {.out = &e,
                     .why = why,
                     .why_bytes = why_bytes,
                     .in_libc = (uintptr_t)dlsym(RTLD_DEFAULT, "gnu_get_libc_version"),
                     .own_malloc = (uintptr_t)dlsym(RTLD_DEFAULT, "malloc")};
    dl_iterate_phdr(look_at, &l);
    if (!l.error)
        *out = e;
    return l.error;
}

/* ---- comparing ----------------------------------------------------------------------------- */

static void show(const struct dsm_build_id *id, char text[2 * DSM_BUILD_ID_BYTES + 8])
{
    static const char digits[] = "0123456789abcdef";
    if (id->len_bytes == 0) {
        memcpy(text, "none", 5);
        return;
    }
    uint32_t n = id->len_bytes < DSM_BUILD_ID_BYTES ? id->len_bytes : DSM_BUILD_ID_BYTES;
    for (uint32_t i = 0; i < n; i++) {
        text[2 * i] = digits[id->bytes[i] >> 4];
        text[2 * i + 1] = digits[id->bytes[i] & 15];
    }
    text[2 * n] = '\0';
}

static bool is_same(const struct dsm_build_id *a, const struct dsm_build_id *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Whose randomisation it is that keeps the addresses from being equal, and the remedy. Whether it
 * can be switched off is tried: containers let a process ask what it has, and refuse the change. */
static void explain_randomisation(uint32_t rank, char *text, size_t text_bytes)
{
    int now = personality(0xffffffff);
    if (now >= 0 && now & ADDR_NO_RANDOMIZE) {
        dsm_format(text, text_bytes, "randomisation is on in rank %u", rank);
        return;
    }
    if (now >= 0 && personality((unsigned long)now | ADDR_NO_RANDOMIZE) >= 0) {
        (void)personality((unsigned long)now);
        dsm_format(text, text_bytes,
                   "randomisation is on (dsmrun switches it off, unless --randomize is given; or "
                   "link with -no-pie)");
        return;
    }
    dsm_format(
        text, text_bytes,
        "randomisation is on and cannot be switched off here (personality: %s): allow that, in a "
        "container by its seccomp profile, or link with -no-pie",
        strerror(errno));
}

int dsm_executable_compare(const struct dsm_executable *ours, const struct dsm_executable *theirs,
                           uint32_t rank, char *why, size_t why_bytes)
{
    char mine[2 * DSM_BUILD_ID_BYTES + 8], other[2 * DSM_BUILD_ID_BYTES + 8];
    bool is_libc = is_same(&ours->id, &theirs->id);
    if (!is_libc || !is_same(&ours->libc_id, &theirs->libc_id)) {
        show(is_libc ? &ours->libc_id : &ours->id, mine);
        show(is_libc ? &theirs->libc_id : &theirs->id, other);
        dsm_format(why, why_bytes, "%s here has build id %s, that of rank %u %s: all ranks must %s",
                   is_libc ? "the C library" : "the executable", mine, rank, other,
                   is_libc ? "use the same" : "run the same file");
        return DSM_E_MISMATCH;
    }
    if (ours->load_addr != theirs->load_addr || ours->data_addr != theirs->data_addr ||
        ours->data_bytes != theirs->data_bytes) {
        char cause[224];
        explain_randomisation(rank, cause, sizeof cause);
        dsm_format(why, why_bytes,
                   "the executable was loaded at 0x%lx here and at 0x%lx in rank %u: address space "
                   "%s",
                   (unsigned long)ours->load_addr, (unsigned long)theirs->load_addr, rank, cause);
        return DSM_E_MISMATCH;
    }
    return 0;
}
