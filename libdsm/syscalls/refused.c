/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * refused.c - calls that cannot be had with memory of the region, refused with one message: memory
 * that the kernel or a device would go on using after the call, and changes to the mapping.
 */
#define _GNU_SOURCE
#include "base/log.h"
#include "syscalls/syscalls.h"
#include "syscalls/transfer.h"
#include "trap/calls.h"
#include <aio.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>

const bool dsm_wraps_refused = true;

static void say(atomic_bool *has_said, const char *name, const void *p, const char *why)
{
    if (!atomic_exchange(has_said, true))
        dsm_log(DSM_LOG_ERROR, "%s: refused for 0x%lx, which is in the shared region: %s", name,
                (unsigned long)(uintptr_t)p, why);
}

/* As an item of CALL: it never gets to the call. */
#define TOUCHES_REFUSED(p, len, name, why) dsm_bounce_touches(p, len)
#define TAKE_REFUSED(p, len, name, why)                                                            \
    do {                                                                                           \
        static atomic_bool has_said;                                                               \
        if (dsm_bounce_touches(p, len)) {                                                          \
            say(&has_said, name, p, why);                                                          \
            bounce.error = EINVAL;                                                                 \
        }                                                                                          \
    } while (0)
#define GIVE_REFUSED(p, len, name, why) (void)0

#define MAPPING "the library keeps the protection and the mapping of its pages"
#define KEPT    "it would go on being used after the call, when another rank may have got the page"

/* clang-format off */
CALL(MINUS_ONE, int, mprotect, (void *p, size_t len, int protection), (p, len, protection),
     REFUSED(p, len, "mprotect", MAPPING))
CALL(MINUS_ONE, int, pkey_mprotect, (void *p, size_t len, int protection, int key),
     (p, len, protection, key), REFUSED(p, len, "pkey_mprotect", MAPPING))
CALL(MINUS_ONE, int, munmap, (void *p, size_t len), (p, len), REFUSED(p, len, "munmap", MAPPING))
CALL(MINUS_ONE, int, madvise, (void *p, size_t len, int advice), (p, len, advice),
     REFUSED(p, len, "madvise", MAPPING))
CALL(ERROR, int, posix_madvise, (void *p, size_t len, int advice), (p, len, advice),
     REFUSED(p, len, "posix_madvise", MAPPING))
CALL(MINUS_ONE, int, mlock, (const void *p, size_t len), (p, len),
     REFUSED(p, len, "mlock", MAPPING))
CALL(MINUS_ONE, int, mlock2, (const void *p, size_t len, unsigned flags), (p, len, flags),
     REFUSED(p, len, "mlock2", MAPPING))
CALL(MINUS_ONE, int, munlock, (const void *p, size_t len), (p, len),
     REFUSED(p, len, "munlock", MAPPING))
CALL(MINUS_ONE, int, aio_read, (struct aiocb *request), (request),
     REFUSED(request, sizeof *request, "aio_read", KEPT),
     REFUSED((void *)request->aio_buf, request->aio_nbytes, "aio_read", KEPT))
CALL(MINUS_ONE, int, aio_write, (struct aiocb *request), (request),
     REFUSED(request, sizeof *request, "aio_write", KEPT),
     REFUSED((void *)request->aio_buf, request->aio_nbytes, "aio_write", KEPT))

/* Of libibverbs. */
CALL(NOTHING, void *, ibv_reg_mr, (void *domain, void *p, size_t len, int access),
     (domain, p, len, access), REFUSED(p, len, "ibv_reg_mr", KEPT))
CALL(NOTHING, void *, ibv_reg_mr_iova2,
     (void *domain, void *p, size_t len, uint64_t iova, unsigned access),
     (domain, p, len, iova, access), REFUSED(p, len, "ibv_reg_mr_iova2", KEPT))

NEXT(MINUS_ONE, ssize_t, vmsplice, (int fd, const struct iovec *buffers, size_t n, unsigned flags))
NEXT(MINUS_ONE, void *, mremap, (void *p, size_t len, size_t new_len, int flags, void *to))
/* clang-format on */

WRAPPER(ssize_t, vmsplice, (int fd, const struct iovec *buffers, size_t n, unsigned flags))
{
    static atomic_bool has_said;
    size_t vector_bytes = n * sizeof *buffers;
    if (!dsm_bounce_is_needed() || n == 0 || n > IOV_MAX)
        return next_vmsplice()(fd, buffers, n, flags);
    if (dsm_bounce_touches(buffers, vector_bytes) ||
        (dsm_bounce_is_readable(buffers, vector_bytes) && dsm_transfer_is_shared(buffers, n))) {
        say(&has_said, "vmsplice", buffers->iov_base, KEPT);
        return FAIL_MINUS_ONE(EINVAL);
    }
    return next_vmsplice()(fd, buffers, n, flags);
}

WRAPPER(void *, mremap, (void *p, size_t len, size_t new_len, int flags, void *to))
{
    static atomic_bool has_said;
    bool moves_into = (flags & MREMAP_FIXED) && dsm_bounce_touches(to, new_len);
    if (dsm_bounce_touches(p, len) || moves_into) {
        say(&has_said, "mremap", moves_into ? to : p, MAPPING);
        errno = EINVAL;
        return MAP_FAILED;
    }
    return next_mremap()(p, len, new_len, flags, to);
}
