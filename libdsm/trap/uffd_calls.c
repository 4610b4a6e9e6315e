/* SPDX-License-Identifier: BSD-3-Clause */
/* uffd_calls.c - the userfaultfd calls, each with what the kernel really does. */
#define _GNU_SOURCE
#include "trap/uffd_calls.h"
#include "base/errors.h"
#include "base/log.h"
#include "trap/raw.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#define PAGE_BYTES 4096ul

#define FEATURES_NEEDED                                                                            \
    (UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP |      \
     UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

#define IOCTLS_NEEDED                                                                              \
    ((__u64)1 << _UFFDIO_CONTINUE | (__u64)1 << _UFFDIO_WRITEPROTECT | (__u64)1 << _UFFDIO_WAKE)

/* A descriptor, or a negative errno: the system call, then the device that an administrator may
 * have opened to us where the call is forbidden. */
static int new_descriptor(void)
{
    int flags = O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY;
    long fd = dsm_raw_call(SYS_userfaultfd, flags, 0, 0, 0, 0, 0);
    if (fd >= 0 || (fd != -EPERM && fd != -EACCES && fd != -ENOSYS))
        return (int)fd;
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device < 0)
        return (int)fd;
    long from_device = dsm_raw_call(SYS_ioctl, device, USERFAULTFD_IOC_NEW, flags, 0, 0, 0);
    close(device);
    return (int)(from_device >= 0 ? from_device : fd);
}

static void say_forbidden(char *why, size_t why_bytes, int error)
{
    const char *text = "the system call fails";
    if (error == EPERM || error == EACCES)
        text = "forbidden here (seccomp filter or sysctl; allow userfaultfd for the container, or "
               "give access to /dev/userfaultfd)";
    else if (error == ENOSYS)
        text = "not in this kernel, or hidden by a seccomp filter";
    else if (error == EINVAL)
        text = "kernel older than 5.11, without user-mode-only descriptors";
    else if (error == EMFILE || error == ENFILE)
        text = "no file descriptor left (ulimit -n)";
    dsm_format(why, why_bytes, "userfaultfd: %s (errno %d)", text, error);
}

/* UFFDIO_API may be called once only, and fails for features that are not there: so it is asked on
 * a descriptor of its own first. */
static int ask_features(uint64_t *features_out)
{
    int fd = new_descriptor();
    if (fd < 0)
        return fd;
    struct uffdio_api api = {.api = UFFD_API};
    long result = dsm_raw_ioctl(fd, UFFDIO_API, &api);
    close(fd);
    *features_out = api.features;
    return (int)result;
}

int dsm_uffd_open(struct dsm_uffd *uffd_out, uint64_t features, char *why, size_t why_bytes)
{
    uint64_t offered = 0;
    int error = ask_features(&offered);
    if (error < 0) {
        say_forbidden(why, why_bytes, -error);
        return DSM_E_UNSUPPORTED;
    }
    uint64_t needed = FEATURES_NEEDED | features;
    if ((offered & needed) != needed) {
        dsm_format(why, why_bytes,
                   "userfaultfd: this kernel lacks features 0x%lx of 0x%lx (needs Linux 6.4)",
                   (unsigned long)(needed & ~offered), (unsigned long)needed);
        return DSM_E_UNSUPPORTED;
    }
    struct dsm_uffd uffd = {
        .fd = new_descriptor(),
        .is_waking = !(features & UFFD_FEATURE_SIGBUS),
        .features = needed | (offered & UFFD_FEATURE_EXACT_ADDRESS),
    };
    if (uffd.fd < 0) {
        say_forbidden(why, why_bytes, -uffd.fd);
        return DSM_E_UNSUPPORTED;
    }
    struct uffdio_api api = {.api = UFFD_API, .features = uffd.features};
    long result = dsm_raw_ioctl(uffd.fd, UFFDIO_API, &api);
    if (result != 0) {
        dsm_format(why, why_bytes, "userfaultfd: UFFDIO_API fails (errno %d)", (int)-result);
        close(uffd.fd);
        return DSM_E_UNSUPPORTED;
    }
    *uffd_out = uffd;
    return 0;
}

void dsm_uffd_close(struct dsm_uffd *uffd)
{
    if (uffd->fd >= 0)
        close(uffd->fd);
    uffd->fd = -1;
}

int dsm_uffd_register(const struct dsm_uffd *uffd, uintptr_t addr, size_t len)
{
    /* MISSING too: with MINOR and WP alone the first touch of a hole maps a zero page read-write,
     * silently. */
    struct uffdio_register r = {.range = {addr, len},
                                .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR |
                                        UFFDIO_REGISTER_MODE_WP};
    long result = dsm_raw_ioctl(uffd->fd, UFFDIO_REGISTER, &r);
    if (result != 0)
        return dsm_error_from_errno((int)-result);
    if ((r.ioctls & IOCTLS_NEEDED) != IOCTLS_NEEDED) {
        dsm_uffd_unregister(uffd, addr, len);
        return DSM_E_UNSUPPORTED;
    }
    /* What the view showed before it was registered would stay accessible. */
    return dsm_uffd_hide(addr, len);
}

int dsm_uffd_unregister(const struct dsm_uffd *uffd, uintptr_t addr, size_t len)
{
    struct uffdio_range range = {addr, len};
    long result = dsm_raw_ioctl(uffd->fd, UFFDIO_UNREGISTER, &range);
    return result == 0 ? 0 : dsm_error_from_errno((int)-result);
}

static long write_protect(const struct dsm_uffd *uffd, uintptr_t addr, size_t len, bool is_on)
{
    struct uffdio_writeprotect w = {.range = {addr, len},
                                    .mode = is_on ? UFFDIO_WRITEPROTECT_MODE_WP
                                                  : UFFDIO_WRITEPROTECT_MODE_DONTWAKE};
    long result;
    do /* EAGAIN: the address space is being changed (fork, mremap) */
        result = dsm_raw_ioctl(uffd->fd, UFFDIO_WRITEPROTECT, &w);
    while (result == -EAGAIN || result == -EINTR);
    return result;
}

/*
 * One CONTINUE maps absent pages until it meets one that is present; that one is EEXIST, and only
 * its protection needs to change. The kernel tells how far it came, and fails with EAGAIN then.
 * Between the two calls the kernel may drop the mapping of that page: then write_protect does
 * nothing, and the next access traps and comes here again.
 */
static long map_pages(const struct dsm_uffd *uffd, uintptr_t addr, size_t len, bool is_write)
{
    uintptr_t at = addr, end = addr + len;
    bool is_rest_open = false; /* the present pages from here on were made writable already */
    while (at < end) {
        struct uffdio_continue c = {.range = {at, end - at},
                                    .mode = UFFDIO_CONTINUE_MODE_DONTWAKE |
                                            (is_write ? 0 : UFFDIO_CONTINUE_MODE_WP)};
        long result = dsm_raw_ioctl(uffd->fd, UFFDIO_CONTINUE, &c);
        if (result == 0)
            return 0;
        if (c.mapped > 0) {
            at += (uintptr_t)c.mapped;
            continue;
        }
        if (result == -EAGAIN || result == -EINTR)
            continue;
        if (result != -EEXIST)
            return result;
        /*
         * Read: a single page, since protecting what is not mapped would cost page tables. Write:
         * all the rest at once, since lifting it from what is not mapped does nothing.
         */
        if (!is_rest_open) {
            result = write_protect(uffd, at, is_write ? end - at : PAGE_BYTES, !is_write);
            if (result != 0)
                return result;
            is_rest_open = is_write;
        }
        at += PAGE_BYTES;
    }
    return 0;
}

void dsm_uffd_wake(const struct dsm_uffd *uffd, uintptr_t addr, size_t len)
{
    struct uffdio_range range = {addr, len};
    dsm_raw_ioctl(uffd->fd, UFFDIO_WAKE, &range);
}

int dsm_uffd_show(const struct dsm_uffd *uffd, uintptr_t addr, size_t len, bool is_write)
{
    long result = map_pages(uffd, addr, len, is_write);
    if (uffd->is_waking) /* one for all: CONTINUE passes over who waits for a page that is there */
        dsm_uffd_wake(uffd, addr, len);
    return result == 0 ? 0 : DSM_E_SYSTEM;
}

int dsm_uffd_protect(const struct dsm_uffd *uffd, uintptr_t addr, size_t len)
{
    return write_protect(uffd, addr, len, true) == 0 ? 0 : DSM_E_SYSTEM;
}

int dsm_uffd_hide(uintptr_t addr, size_t len)
{
    long result = dsm_raw_madvise(addr, len, MADV_DONTNEED);
    if (result == -EINVAL) /* the program has locked its memory (mlockall) */
        result = dsm_raw_madvise(addr, len, MADV_DONTNEED_LOCKED);
    return result == 0 ? 0 : DSM_E_SYSTEM;
}

int dsm_uffd_try(const struct dsm_uffd *uffd, char *why, size_t why_bytes)
{
    const char *step = "memfd_create";
    char *app = MAP_FAILED, *frame = MAP_FAILED;
    int error = DSM_E_SYSTEM;
    int memfd = memfd_create("dsm-trial", MFD_CLOEXEC);
    if (memfd < 0 || ftruncate(memfd, PAGE_BYTES) != 0)
        goto out;
    step = "mmap";
    app = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    frame = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    if (app == MAP_FAILED || frame == MAP_FAILED)
        goto out;
    step = "UFFDIO_REGISTER on a memfd";
    error = dsm_uffd_register(uffd, (uintptr_t)app, PAGE_BYTES);
    if (error != 0)
        goto out;
    frame[0] = 1;
    step = "UFFDIO_CONTINUE with write protection (needs Linux 6.4)";
    error = dsm_uffd_show(uffd, (uintptr_t)app, PAGE_BYTES, false);
    if (error != 0)
        goto out;
    step = "UFFDIO_WRITEPROTECT";
    error = dsm_uffd_show(uffd, (uintptr_t)app, PAGE_BYTES, true);
out:
    if (error != 0)
        dsm_format(why, why_bytes, "userfaultfd: %s does not work here", step);
    if (app != MAP_FAILED)
        munmap(app, PAGE_BYTES);
    if (frame != MAP_FAILED)
        munmap(frame, PAGE_BYTES);
    if (memfd >= 0)
        close(memfd);
    return error == 0 ? 0 : DSM_E_UNSUPPORTED;
}
