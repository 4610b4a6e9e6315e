/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uffd_calls.h - userfaultfd as the sigbus and uffd backends use it: opening, registering, and the
 * loops round the calls that change what a page of the app view allows.
 *
 * The headers that we compile with may be older than the kernel that we run on: what they lack is
 * defined here, and whether it works is asked of the running kernel.
 */
#ifndef DSM_TRAP_UFFD_CALLS_H
#define DSM_TRAP_UFFD_CALLS_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef UFFD_FEATURE_EXACT_ADDRESS
#define UFFD_FEATURE_EXACT_ADDRESS (1 << 11)
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#ifndef UFFDIO_CONTINUE_MODE_WP /* Linux 6.4 */
#define UFFDIO_CONTINUE_MODE_WP ((__u64)1 << 1)
#endif

struct dsm_uffd {
    int fd;
    bool is_waking;    /* threads sleep in faults: wake those of a range that changes */
    uint64_t features; /* those that are on */
};

/*
 * Opens a userfaultfd with the features both backends need and those given. For faults of user mode
 * alone: any user may have that; and a fault of the kernel could not be refused, because a thread
 * that waits for a page in the middle of a system call spins there instead of taking a signal.
 * System calls on absent pages fail with EFAULT, as they do with every backend. On failure why says
 * what was refused and what helps. Errors: DSM_E_UNSUPPORTED.
 */
int dsm_uffd_open(struct dsm_uffd *uffd_out, uint64_t features, char *why, size_t why_bytes);
void dsm_uffd_close(struct dsm_uffd *uffd);

/* Registers [addr, addr+len) of a shared memfd mapping; every page starts without access. */
int dsm_uffd_register(const struct dsm_uffd *uffd, uintptr_t addr, size_t len);
int dsm_uffd_unregister(const struct dsm_uffd *uffd, uintptr_t addr, size_t len);

/* As map_read and map_write, downgrade, and unmap of trap.h. Signal-handler safe. */
int dsm_uffd_show(const struct dsm_uffd *uffd, uintptr_t addr, size_t len, bool is_write);
int dsm_uffd_protect(const struct dsm_uffd *uffd, uintptr_t addr, size_t len);
int dsm_uffd_hide(uintptr_t addr, size_t len);
/* Threads that wait for these pages go on. Signal-handler safe. */
void dsm_uffd_wake(const struct dsm_uffd *uffd, uintptr_t addr, size_t len);

/*
 * Tries every call of this file on one page: a kernel before 6.4 knows userfaultfd but cannot show
 * a page read-only. On failure why says which call failed. Errors: DSM_E_UNSUPPORTED.
 */
int dsm_uffd_try(const struct dsm_uffd *uffd, char *why, size_t why_bytes);

#endif
