/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_alone.c - see trap_alone.h. */
#define _GNU_SOURCE
#include "bench/trap_alone.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE_BYTES ((uintptr_t)4096)

/* Bits of a page fault's error code, as the processor reports them (Intel SDM vol. 3, 4.7). */
#define FAULT_PRESENT 1
#define FAULT_WRITE   2

/* For the signal handlers, which get no argument. */
static int sigbus_fd = -1;

static uintptr_t page_of(uintptr_t addr)
{
    return addr & ~(PAGE_BYTES - 1);
}

/* ---- userfaultfd: sigbus and uffd ----------------------------------------------------------- */

static int uffd_map(int fd, uintptr_t page)
{
    struct uffdio_continue map = {.range = {.start = page, .len = PAGE_BYTES}};

    return ioctl(fd, UFFDIO_CONTINUE, &map);
}

static int uffd_protect(int fd, uintptr_t start, size_t len, uint64_t mode)
{
    struct uffdio_writeprotect protect = {.range = {.start = start, .len = len}, .mode = mode};

    return ioctl(fd, UFFDIO_WRITEPROTECT, &protect);
}

static int uffd_open(uint64_t features, uint8_t *app, size_t len)
{
    struct uffdio_api api = {.api = UFFD_API,
                             .features = features | UFFD_FEATURE_MINOR_SHMEM |
                                         UFFD_FEATURE_WP_HUGETLBFS_SHMEM};
    struct uffdio_register region = {.range = {.start = (uintptr_t)app, .len = len},
                                     .mode = UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

    if (fd < 0)
        return -1;
    if (ioctl(fd, UFFDIO_API, &api) == 0 && ioctl(fd, UFFDIO_REGISTER, &region) == 0)
        return fd;
    close(fd);
    return -1;
}

static int uffd_prepare(int fd, uint8_t *app, size_t len)
{
    if (madvise(app, len, MADV_DONTNEED) != 0)
        return -1;
    for (size_t at = 0; at < len; at += 2 * PAGE_BYTES)
        if (uffd_map(fd, (uintptr_t)app + at) != 0 ||
            uffd_protect(fd, (uintptr_t)app + at, PAGE_BYTES, UFFDIO_WRITEPROTECT_MODE_WP) != 0)
            return -1;
    return 0;
}

/* Runs in a signal handler. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    const ucontext_t *user = context;
    uintptr_t page = page_of((uintptr_t)info->si_addr);
    bool is_present = (user->uc_mcontext.gregs[REG_ERR] & FAULT_PRESENT) != 0;

    (void)number;
    if ((is_present ? uffd_protect(sigbus_fd, page, PAGE_BYTES, 0) : uffd_map(sigbus_fd, page)) !=
        0)
        _exit(1);
}

static int sigbus_open(uint8_t *app, size_t len)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

    sigbus_fd = uffd_open(UFFD_FEATURE_SIGBUS, app, len);
    return sigbus_fd < 0 ? -1 : sigaction(SIGBUS, &action, NULL);
}

static int sigbus_prepare(uint8_t *app, size_t len)
{
    return uffd_prepare(sigbus_fd, app, len);
}

static int thread_fd = -1;

static void *serve_events(void *unused)
{
    struct uffd_msg event;

    while (read(thread_fd, &event, sizeof event) == (ssize_t)sizeof event) {
        uintptr_t page = page_of((uintptr_t)event.arg.pagefault.address);
        bool is_present = (event.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) != 0;

        if ((is_present ? uffd_protect(thread_fd, page, PAGE_BYTES, 0)
                        : uffd_map(thread_fd, page)) != 0)
            _exit(1);
    }
    return unused;
}

static int thread_open(uint8_t *app, size_t len)
{
    pthread_t thread;

    thread_fd = uffd_open(0, app, len);
    return thread_fd < 0 || pthread_create(&thread, NULL, serve_events, NULL) != 0 ? -1 : 0;
}

static int thread_prepare(uint8_t *app, size_t len)
{
    return uffd_prepare(thread_fd, app, len);
}

/* ---- segv ----------------------------------------------------------------------------------- */

/* Runs in a signal handler. */
static void on_sigsegv(int number, siginfo_t *info, void *context)
{
    const ucontext_t *user = context;
    bool is_write = (user->uc_mcontext.gregs[REG_ERR] & FAULT_WRITE) != 0;

    (void)number;
    if (mprotect((void *)page_of((uintptr_t)info->si_addr), PAGE_BYTES,
                 is_write ? PROT_READ | PROT_WRITE : PROT_READ) != 0)
        _exit(1);
}

static int segv_open(uint8_t *app, size_t len)
{
    struct sigaction action = {.sa_sigaction = on_sigsegv, .sa_flags = SA_SIGINFO};

    (void)app;
    (void)len;
    return sigaction(SIGSEGV, &action, NULL);
}

static int segv_prepare(uint8_t *app, size_t len)
{
    if (mprotect(app, len, PROT_NONE) != 0)
        return -1;
    for (size_t at = 0; at < len; at += 2 * PAGE_BYTES)
        if (mprotect(app + at, PAGE_BYTES, PROT_READ) != 0)
            return -1;
    return 0;
}

const struct bench_trap_alone bench_traps_alone[BENCH_N_TRAPS_ALONE] = {
    {.name = "sigbus", .open = sigbus_open, .prepare = sigbus_prepare},
    {.name = "uffd", .open = thread_open, .prepare = thread_prepare},
    {.name = "segv", .open = segv_open, .prepare = segv_prepare},
};
