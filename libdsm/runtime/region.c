/* SPDX-License-Identifier: BSD-3-Clause */
/* region.c - see region.h. Says what the limits of this process are when they are too small. */
#define _GNU_SOURCE
#include "runtime/region.h"
#include "base/bytes.h"
#include "base/errors.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* kernel 6.3 */
#endif

static int check_limit(int resource, const char *name, uint64_t need_bytes, char *why,
                       size_t why_bytes)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur >= need_bytes)
        return 0;
    dsm_format(
        why, why_bytes,
        "a region of %lu bytes needs %s of at least %lu bytes, it is %lu (raise it, or pass a "
        "smaller DSM_REGION_SIZE)",
        (unsigned long)(need_bytes / (resource == RLIMIT_AS ? 2 : 1)), name,
        (unsigned long)need_bytes, (unsigned long)limit.rlim_cur);
    return DSM_E_LIMIT;
}

static void advise(void *addr, uint64_t len)
{
    /* Best effort: a kernel without huge pages or dump control has nothing to switch off. */
    (void)madvise(addr, len, MADV_NOHUGEPAGE);
    (void)madvise(addr, len, MADV_DONTDUMP);
}

int dsm_region_open(struct dsm_region *region, uint64_t heap_bytes, uint64_t globals_bytes,
                    char *why, size_t why_bytes)
{
    uint64_t len_bytes = heap_bytes + globals_bytes;
    int error = check_limit(RLIMIT_FSIZE, "RLIMIT_FSIZE (ulimit -f)", len_bytes, why, why_bytes);
    if (!error)
        error = check_limit(RLIMIT_AS, "RLIMIT_AS (ulimit -v)", 2 * len_bytes, why, why_bytes);
    if (error)
        return error;

    int memfd = memfd_create("dsm-region", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    if (memfd < 0 && errno == EINVAL)
        memfd = memfd_create("dsm-region", MFD_CLOEXEC);
    if (memfd < 0) {
        dsm_format(why, why_bytes, "memfd_create failed: %s", strerror(errno));
        return dsm_error_from_errno(errno);
    }
    if (ftruncate(memfd, (off_t)len_bytes)) {
        dsm_format(why, why_bytes, "a memfd of %lu bytes is refused: %s", (unsigned long)len_bytes,
                   strerror(errno));
        error = dsm_error_from_errno(errno);
        goto close_memfd;
    }
    void *frame =
        mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memfd, 0);
    if (frame == MAP_FAILED) {
        dsm_format(why, why_bytes,
                   "mapping %lu bytes of address space failed: %s (see ulimit -v and "
                   "vm.overcommit_memory, or pass a smaller DSM_REGION_SIZE)",
                   (unsigned long)len_bytes, strerror(errno));
        error = dsm_error_from_errno(errno);
        goto close_memfd;
    }
    advise(frame, len_bytes);
    *region = (struct dsm_region){
        .frame = frame, .len_bytes = heap_bytes, .globals_bytes = globals_bytes, .memfd = memfd};
    return 0;

close_memfd:
    close(memfd);
    return error;
}

int dsm_region_map_app(struct dsm_region *region, uint64_t base, uint64_t *suggestion_out)
{
    void *want = (void *)(uintptr_t)base;
    void *app = mmap(want, region->len_bytes, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, region->memfd, 0);
    if (app == want) {
        advise(app, region->len_bytes);
        region->app = app;
        return 0;
    }
    if (app != MAP_FAILED) /* kernel older than 4.17: the address was a hint */
        munmap(app, region->len_bytes);
    /* Where would it fit? Ask the kernel by trying, rounded to 2 MiB. */
    uint64_t step = 2u << 20;
    void *hole = mmap(NULL, region->len_bytes + step, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *suggestion_out = 0;
    if (hole != MAP_FAILED) {
        munmap(hole, region->len_bytes + step);
        *suggestion_out = DSM_ALIGN_UP((uint64_t)(uintptr_t)hole, step);
    }
    return DSM_E_RANGE;
}

void dsm_region_unmap_app(struct dsm_region *region)
{
    if (region->app)
        munmap(region->app, region->len_bytes);
    region->app = NULL;
}

int dsm_region_map_globals(struct dsm_region *region, uint8_t *addr)
{
    void *p = mmap(addr, region->globals_bytes, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_NORESERVE | MAP_FIXED, region->memfd, (off_t)region->len_bytes);
    if (p == MAP_FAILED)
        return DSM_E_SYSTEM;
    region->globals = addr;
    return 0;
}

void dsm_region_materialise(const struct dsm_region *region, dsm_page_t first, uint64_t n_pages)
{
    /* A read through a shared mapping of a hole allocates the page. */
    for (uint64_t i = 0; i < n_pages; i++)
        (void)*(volatile uint8_t *)(region->frame + ((first + i) << DSM_PAGE_SHIFT));
}

int dsm_region_punch(const struct dsm_region *region, dsm_page_t first, uint64_t n_pages)
{
    long r = syscall(SYS_fallocate, region->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     (off_t)(first << DSM_PAGE_SHIFT), (off_t)(n_pages << DSM_PAGE_SHIFT));
    return r ? DSM_E_SYSTEM : 0;
}

void dsm_region_close(struct dsm_region *region)
{
    dsm_region_unmap_app(region);
    munmap(region->frame, dsm_region_total_bytes(region));
    close(region->memfd);
    region->memfd = -1;
}
