/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork.c - what a child of fork finds where the region was.
 *
 * A live view in a child would be a disaster: it has lost its userfaultfd registration, so its
 * stores would go straight into the parent's frames. Both views are therefore MADV_DONTFORK from
 * attach on, and whatever way a child is made, it has nothing there.
 *
 * A private copy is not given. A private mapping of the memfd would not be one: until the child
 * writes to a page it goes on seeing what the parent and its peers store there. Copying in time
 * would cost every readable page at every fork, while the parent is held, for children of which
 * nearly all call exec. What a child needs is copied to private memory before fork.
 *
 * So the child gets a mapping beyond the end of an empty file, for which the kernel raises SIGBUS
 * at the exact address, also where no handler of ours is left. It also keeps the child's own
 * mappings away from addresses that mean shared memory everywhere else.
 */
#define _GNU_SOURCE
#include "trap/fork.h"
#include "base/log.h"
#include "trap/signals.h"
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static enum dsm_fault_result on_child_fault(void *user, const struct dsm_fault *fault)
{
    atomic_bool *has_said = user;
    if (!atomic_exchange(has_said, true))
        dsm_log(DSM_LOG_ERROR,
                "process %d was forked from a rank and has no part in the shared region: %s at "
                "0x%lx fails (copy what a child needs to private memory before fork)",
                dsm_raw_getpid(), fault->is_write ? "the store" : "the load",
                (unsigned long)fault->addr);
    return DSM_FAULT_REFUSE;
}

static atomic_bool child_has_said;
static const struct dsm_trap_config child_config = {.on_fault = on_child_fault,
                                                    .user = &child_has_said};
static const struct dsm_trap_sink child_sink = {
    .config = &child_config, .signal = SIGBUS, .code = BUS_ADRERR};

static void map_nothing(uintptr_t addr, size_t len, int empty_fd)
{
    int flags = MAP_SHARED | MAP_FIXED_NOREPLACE, protection = PROT_READ | PROT_WRITE;
    if (empty_fd < 0) { /* then it is SIGSEGV, without our message */
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
        protection = PROT_NONE;
    }
    /* Fails where an earlier atfork handler has already put something of its own: left alone. */
    dsm_raw_mmap(addr, len, protection, flags, empty_fd, 0);
}

void dsm_fork_child(const struct dsm_trap_sink *sink)
{
    dsm_signal_after_fork_child();
    int fd = (int)dsm_raw_call(SYS_memfd_create, (long)"dsm-forked",
                               MFD_CLOEXEC | MFD_ALLOW_SEALING, 0, 0, 0, 0);
    if (fd >= 0)
        dsm_raw_call(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL, 0, 0, 0);
    uintptr_t addr;
    size_t len;
    while (dsm_view_hand_over(sink, &child_sink, &addr, &len))
        map_nothing(addr, len, fd);
    if (fd >= 0)
        dsm_raw_call(SYS_close, fd, 0, 0, 0, 0, 0);
}
