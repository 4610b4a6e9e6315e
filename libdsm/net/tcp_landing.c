/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp_landing.c - bytes that a rank of this host has asked for are written straight into its memory
 * of the region, a file that both map; its frame's header then says so. See net.h and tcp.h.
 */
#include "net/tcp.h"
#include "net/sys.h"
#include "base/bytes.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define PAGE_BYTES 4096u
#define MAPPED     2u /* times a page has been written: now it is mapped */

/* What there is to tell the owner of bytes: any number but 0. */
#define KEY 1u
/* In len: the payload has been written to its place, of whose page number the low bits lie above
 * the bytes' number, so that a peer that writes elsewhere is found out. */
#define LANDED_BIT 0x80000000u
#define LEN_BITS   17u
#define LEN_MASK   ((1u << LEN_BITS) - 1)
_Static_assert(DSM_NET_MAX_PAYLOAD <= LEN_MASK, "len has room for the page number");

static uint32_t word_of(uint64_t offset, uint32_t len_bytes)
{
    return LANDED_BIT | ((uint32_t)(offset / PAGE_BYTES) << LEN_BITS & ~LANDED_BIT) | len_bytes;
}

int dsm_tcp_set_memory(struct dsm_net *net, void *memory, size_t len_bytes, int fd,
                       uint64_t most_bytes, uint64_t *pinned_out)
{
    (void)most_bytes;
    *pinned_out = 0; /* what peers write to are the caller's own frames */
    if (fd < 0 || net->ring_bytes == 0)
        return 0;
    int error = dsm_shm_name_file(fd, &net->memory_file);
    if (error)
        return error;
    net->memory = memory;
    net->memory_bytes = len_bytes;
    return 0;
}

struct dsm_tcp_memory {
    uint8_t *bytes;            /* as many as ours */
    int fd;                    /* -1: not kept */
    _Atomic uint8_t *n_writes; /* to each page, up to MAPPED */
};

/* Does the range lie in our memory? */
static bool is_inside(const struct dsm_net *net, const void *addr, size_t len_bytes)
{
    uint64_t offset = (uint64_t)((uintptr_t)addr - (uintptr_t)net->memory);
    return offset < net->memory_bytes && len_bytes <= net->memory_bytes - offset;
}

/* A peer that cannot, because it is on another host, takes no notice. */
uint32_t dsm_tcp_landing(struct dsm_net *net, const void *addr, size_t len_bytes)
{
    return is_inside(net, addr, len_bytes) ? KEY : 0;
}

void dsm_tcp_landing_offer(const struct dsm_net *net, struct dsm_hello *hello)
{
    hello->memory_file = net->memory_file;
    hello->memory_bytes = net->memory_bytes;
}

/* What is left of a limited address space is the program's. */
static bool is_space_limited(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY;
}

static int open_memory(const struct dsm_net *net, const struct dsm_hello *theirs,
                       struct dsm_tcp_memory **memory_out, char *why, size_t why_bytes)
{
    struct dsm_tcp_memory *memory = calloc(1, sizeof *memory);
    uint64_t n_pages = net->memory_bytes / PAGE_BYTES + 1;
    void *bytes;
    if (theirs->memory_bytes != net->memory_bytes) { /* not of the same layout as ours */
        dsm_format(why, why_bytes, "it has %lu bytes, ours %lu", theirs->memory_bytes,
                   net->memory_bytes);
        free(memory);
        return DSM_E_MISMATCH;
    }
    uint8_t *n_writes = mmap(NULL, n_pages, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int error = memory && n_writes != MAP_FAILED
                    ? dsm_shm_open_file(&theirs->memory_file, theirs->memory_bytes, &memory->fd,
                                        &bytes, why, why_bytes)
                    : DSM_E_NOMEM;
    if (error) {
        if (n_writes != MAP_FAILED)
            munmap(n_writes, n_pages);
        free(memory);
        return error;
    }
    if (!dsm_tcp_is_file_to_spare(net, memory->fd)) { /* the mapping does without */
        dsm_sys_close(memory->fd);
        memory->fd = -1;
    }
    memory->bytes = bytes;
    memory->n_writes = (_Atomic uint8_t *)n_writes;
    *memory_out = memory;
    return 0;
}

void dsm_tcp_landing_open(struct dsm_tcp_peer *peer, const struct dsm_hello *theirs)
{
    const struct dsm_net *net = peer->conns[0].net;
    char why[DSM_TCP_WHY_BYTES] = "out of memory";
    if (peer->memory || theirs->memory_file.inode == 0 || net->memory_bytes == 0 ||
        is_space_limited())
        return;
    if (open_memory(net, theirs, &peer->memory, why, sizeof why))
        dsm_log(DSM_LOG_INFO,
                "rank %u: the memory of rank %u cannot be had, it copies what it asks for: %s",
                net->self, peer->rank, why);
}

void dsm_tcp_landing_close(struct dsm_tcp_peer *peer)
{
    const struct dsm_net *net = peer->conns[0].net;
    struct dsm_tcp_memory *memory = peer->memory;
    if (!memory)
        return;
    munmap(memory->bytes, net->memory_bytes);
    munmap((void *)memory->n_writes, net->memory_bytes / PAGE_BYTES + 1);
    if (memory->fd >= 0)
        dsm_sys_close(memory->fd);
    free(memory);
    peer->memory = NULL;
}

/* ---- the writer ---- */

bool dsm_tcp_landing_is_due(const struct dsm_tcp_conn *conn, const struct dsm_queued_frame *frame)
{
    return frame->key && frame->len_bytes && conn->shm && conn->peer->memory &&
           is_inside(conn->net, frame->payload, frame->len_bytes);
}

struct dsm_tcp_landing dsm_tcp_landing_take(const struct dsm_tcp_conn *conn,
                                            struct dsm_queued_frame *frame)
{
    struct dsm_tcp_landing landing = {(uint64_t)(frame->payload - conn->net->memory),
                                      frame->len_bytes};
    dsm_put_u32(frame->header + DSM_NET_LEN_AT, word_of(landing.offset, landing.len_bytes));
    frame->len_bytes = 0;
    return landing;
}

/* How often the first of the pages has been written by us, at most MAPPED; all once more now. */
static unsigned count_writes(struct dsm_tcp_memory *memory, const struct dsm_tcp_landing *landing)
{
    uint64_t first = landing->offset / PAGE_BYTES;
    uint64_t last = (landing->offset + landing->len_bytes - 1) / PAGE_BYTES;
    uint8_t n = atomic_load_explicit(&memory->n_writes[first], memory_order_relaxed);
    for (uint64_t i = first; n < MAPPED && i <= last; i++)
        atomic_store_explicit(&memory->n_writes[i], (uint8_t)(n + 1), memory_order_relaxed);
    return n;
}

/* Beyond the limit of a file's size there would be a signal, not an error; the program may set it
 * whenever it likes. */
static bool write_file(const struct dsm_tcp_memory *memory, const uint8_t *from,
                       const struct dsm_tcp_landing *landing)
{
    struct rlimit limit;
    if (memory->fd < 0 || getrlimit(RLIMIT_FSIZE, &limit) ||
        landing->offset + landing->len_bytes > limit.rlim_cur)
        return false;
    return dsm_sys_pwrite(memory->fd, from, landing->len_bytes, landing->offset) ==
           (long)landing->len_bytes;
}

/* A read fault maps those pages around that there are, where a write fault maps one. */
static void map_around(const volatile uint8_t *bytes, uint32_t len_bytes)
{
    (void)bytes[0];
    (void)bytes[len_bytes - 1];
}

/*
 * Pages that the peer has no memory for as yet are cheaper made by a write to the file: that takes
 * no fault for each, and does not clear what is overwritten. (2.0 us a page in runs of 16, beside
 * 5.3 by a copy through the mapping; of pages that are there and mapped, 1.5 and 0.8.)
 */
void dsm_tcp_landing_copy(const struct dsm_tcp_conn *conn, const struct dsm_tcp_landing *landing)
{
    struct dsm_tcp_memory *memory = conn->peer->memory;
    const uint8_t *from = conn->net->memory + landing->offset;
    uint8_t *to = memory->bytes + landing->offset;
    unsigned n_writes = count_writes(memory, landing);
    if (n_writes == 0 && write_file(memory, from, landing))
        return;
    if (n_writes < MAPPED)
        map_around(to, landing->len_bytes);
    memcpy(to, from, landing->len_bytes);
}

/* ---- the reader ---- */

uint32_t dsm_tcp_landing_told(const struct dsm_tcp_conn *conn, uint8_t *header)
{
    uint32_t word = dsm_get_u32(header + DSM_NET_LEN_AT);
    if (!conn->shm || !conn->net->memory || !(word & LANDED_BIT))
        return 0;
    dsm_put_u32(header + DSM_NET_LEN_AT, word & LEN_MASK);
    return word;
}

bool dsm_tcp_landing_is_place(const struct dsm_net *net, uint32_t word, const void *dst)
{
    uint64_t offset = (uint64_t)((uintptr_t)dst - (uintptr_t)net->memory);
    return is_inside(net, dst, word & LEN_MASK) && word_of(offset, word & LEN_MASK) == word;
}
