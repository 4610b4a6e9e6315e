/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * raw.h - system calls without the C library around them.
 *
 * The handlers and the interposers use these alone: no errno to save, no cancellation point that
 * could unwind the handler, no lazily bound symbol whose resolver would eat a small stack, and
 * nothing that another library (a sanitizer, a profiler) has put in front of the real call.
 */
#ifndef DSM_TRAP_RAW_H
#define DSM_TRAP_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

/* The result, or a negative errno. Signal-handler safe. */
static inline long dsm_raw_call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static inline long dsm_raw_ioctl(int fd, unsigned long request, void *argument)
{
    return dsm_raw_call(SYS_ioctl, fd, (long)request, (long)argument, 0, 0, 0);
}

static inline long dsm_raw_madvise(uintptr_t addr, size_t len, int advice)
{
    return dsm_raw_call(SYS_madvise, (long)addr, (long)len, advice, 0, 0, 0);
}

static inline long dsm_raw_mprotect(uintptr_t addr, size_t len, int protection)
{
    return dsm_raw_call(SYS_mprotect, (long)addr, (long)len, protection, 0, 0, 0);
}

static inline long dsm_raw_mmap(uintptr_t addr, size_t len, int protection, int flags, int fd,
                                uint64_t offset)
{
    return dsm_raw_call(SYS_mmap, (long)addr, (long)len, protection, flags, fd, (long)offset);
}

static inline uint32_t dsm_raw_gettid(void)
{
    return (uint32_t)dsm_raw_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

static inline int dsm_raw_getpid(void)
{
    return (int)dsm_raw_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

/* A signal set as the kernel sees it: bit n-1 for signal n. */
typedef uint64_t dsm_sigmask_t;
#define DSM_SIGMASK_ALL ((dsm_sigmask_t)-1)

static inline dsm_sigmask_t dsm_sigmask_of(int signal)
{
    return (dsm_sigmask_t)1 << (signal - 1);
}

static inline long dsm_raw_sigprocmask(int how, const dsm_sigmask_t *set, dsm_sigmask_t *old_out)
{
    return dsm_raw_call(SYS_rt_sigprocmask, how, (long)set, (long)old_out, sizeof(dsm_sigmask_t), 0,
                        0);
}

#endif
