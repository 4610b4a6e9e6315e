/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * jia_memory.c - dsm/jia.h: allocation. Where a page lives at first is a matter of speed alone, so
 * the patterns that libdsm does not have become the nearest that it has.
 */
#define _GNU_SOURCE
#include "jia_private.h"
#include <stdlib.h>

/* Behind the program's bytes is one page that counts the processes that freed them: a process that
 * is done must not wait for the others, and the last one gives them back. */
struct allocation {
    void *addr;
    uint32_t *n_freed;
};

static struct {
    struct allocation *list;
    size_t n, capacity;
    uint32_t next_host; /* for jia_alloc_random and the like: the same everywhere */
} memory;

void jia_memory_close(void)
{
    free(memory.list);
    memory.list = NULL;
    memory.n = memory.capacity = 0;
}

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

static void check_positive(int value, const char *what, const char *call)
{
    dsm_compat_need_open(call);
    if (value <= 0)
        dsm_compat_fail("%s: the %s is %d; it must be at least 1", call, what, value);
}

static void check_host(int host, const char *call)
{
    if (host < 0 || host >= jiahosts)
        dsm_compat_fail("%s: there is no process %d; they are 0 to %d", call, host, jiahosts - 1);
}

static void note(void *addr, uint64_t bytes)
{
    if (memory.n == memory.capacity) {
        size_t capacity = memory.capacity ? 2 * memory.capacity : 64;
        struct allocation *list = realloc(memory.list, capacity * sizeof *list);
        if (!list)
            dsm_compat_fail("out of memory for the list of %lu allocations",
                            (unsigned long)capacity);
        memory.list = list;
        memory.capacity = capacity;
    }
    memory.list[memory.n++] = (struct allocation){addr, (uint32_t *)((char *)addr + bytes)};
}

/* Blocks dealt from `host` on. */
static unsigned long deal(int size, int block, int host, const char *call)
{
    check_positive(size, "size", call);
    check_positive(block, "block", call);
    check_host(host, call);
    uint64_t block_bytes = round_up((uint64_t)block, COMPAT_PAGE);
    uint64_t bytes = round_up(round_up((uint64_t)size, COMPAT_PAGE), block_bytes);
    struct dsm_alloc_options options;
    void *addr = NULL;

    dsm_alloc_options_init(&options);
    options.placement = block_bytes >= bytes ? DSM_PLACE_RANK : DSM_PLACE_CYCLIC;
    options.rank = (uint32_t)host;
    options.block_bytes = block_bytes;
    options.name = call;
    int error = dsm_alloc(bytes + COMPAT_PAGE, &options, &addr);
    if (error == DSM_E_NOSPACE)
        dsm_compat_fail("%s: no room for %lu bytes in the region of %lu: raise DSM_REGION_SIZE",
                        call, (unsigned long)bytes, (unsigned long)dsm_region_bytes());
    dsm_compat_check(error, call);
    note(addr, bytes);
    return (unsigned long)addr;
}

unsigned long jia_alloc3(int size, int block, int start)
{
    return deal(size, block, start, "jia_alloc3");
}

unsigned long jia_alloc(int size)
{
    return deal(size, COMPAT_PAGE, 0, "jia_alloc");
}

unsigned long jia_alloc1(int size)
{
    return deal(size, size, 0, "jia_alloc1");
}

unsigned long jia_alloc2(int size, int block)
{
    return deal(size, block, 0, "jia_alloc2");
}

unsigned long jia_alloc2p(int size, int host)
{
    return deal(size, size, host, "jia_alloc2p");
}

unsigned long jia_alloc3b(int size, int *blocks, int start)
{
    return deal(size, blocks ? blocks[0] : 0, start, "jia_alloc3b");
}

unsigned long jia_alloc4(int size, int *blocks, int n, int start)
{
    check_positive(n, "number of blocks", "jia_alloc4");
    return deal(size, blocks ? blocks[0] : 0, start, "jia_alloc4");
}

unsigned long jia_alloc_random(int size)
{
    dsm_compat_need_open("jia_alloc_random");
    return deal(size, size, (int)(memory.next_host++ % (uint32_t)jiahosts), "jia_alloc_random");
}

unsigned long jia_alloc_array(int size, int *hosts, int n)
{
    check_positive(n, "number of processes", "jia_alloc_array");
    return deal(size, COMPAT_PAGE, hosts ? hosts[0] : 0, "jia_alloc_array");
}

void jia_free(void *addr)
{
    dsm_compat_need_open("jia_free");
    for (size_t i = memory.n; i-- > 0;) {
        if (memory.list[i].addr != addr)
            continue;
        uint32_t *n_freed = memory.list[i].n_freed;
        memory.list[i] = memory.list[--memory.n];
        if (__atomic_add_fetch(n_freed, 1, __ATOMIC_SEQ_CST) == dsm_size())
            dsm_compat_check(dsm_free(addr), "jia_free");
        return;
    }
    dsm_compat_fail("jia_free(%p): not the start of memory that this process has allocated", addr);
}
