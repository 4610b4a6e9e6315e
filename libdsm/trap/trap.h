/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trap.h - the contract of the trap backends (sigbus, uffd, segv).
 *
 * A trap knows pages, access and bytes of one process, never who owns a page. It turns an access
 * that the mapping forbids into one call of on_fault, and changes what the mapping allows when
 * told.
 *
 * Two views of one memfd: the app view (trapped, at the job's address, MAP_SHARED) and the frame
 * view (always read-write, anywhere). The caller creates both; the trap attaches to the app view.
 *
 * Threads: open, attach, detach, close from one thread. map_*, downgrade, unmap, from any thread,
 * also inside a signal handler, but never two at once for the same page: the caller serialises
 * (the driver's lock). on_fault is called
 *   - by sigbus and segv: in the signal handler of the faulting thread, all signals blocked. It
 *     returns when the access may be tried again, or not at all.
 *   - by uffd: on the backend's handler thread, with is_async set. It starts the work and
 *     returns at once; a later map_* of that page lets the faulting thread go on.
 *
 * Nothing here allocates after attach.
 *
 * The same page may trap again at any time although the caller's state allows the access: the
 * kernel takes mappings back (reclaim), and segv gives them up to stay within vm.max_map_count.
 * on_fault then maps it again. A thread that traps at one place for ever, with no call taking the
 * page away, ends the process with a message (streak.h).
 *
 * While a trap is open SIGBUS (and SIGSEGV for segv) come here first and what is not ours goes on
 * to the program's handler or the default action; neither signal is ever blocked (signals.h and the
 * interposers). System calls do not trap: on a page without access they fail with EFAULT. (That is
 * why calls.h and libdsm/syscalls keep the region's addresses from them.)
 */
#ifndef DSM_TRAP_TRAP_H
#define DSM_TRAP_TRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dsm_fault {
    uintptr_t addr;  /* exact address, inside an attached view */
    uintptr_t ip;    /* instruction; 0 when not known (uffd) */
    uint32_t thread; /* kernel thread id */
    bool is_write;
    bool is_async; /* do not wait in on_fault */
    void *context; /* sigbus, segv: the ucontext_t; uffd: NULL */
};

enum dsm_fault_result {
    DSM_FAULT_RETRY,  /* the access may be tried again (sigbus, segv) or will be woken (uffd) */
    DSM_FAULT_REFUSE, /* cannot be had: the thread gets SIGBUS with its original address */
};

struct dsm_trap_config {
    enum dsm_fault_result (*on_fault)(void *user, const struct dsm_fault *fault);
    void *user;
    /*
     * uffd only; may be NULL. Runs the handler thread's waiting: returns when uffd_fd is readable
     * or when nothing is left to do, so that the owner can wait on its own descriptors at the same
     * time. uffd_fd is for waiting alone (an epoll): readable when there are faults, or at close.
     */
    void (*wait)(void *user, int uffd_fd);
    uint32_t map_budget_percent; /* segv: share of what vm.max_map_count leaves; 0: 50 */
};

struct dsm_trap;

struct dsm_trap_ops {
    const char *name;
    /* Asks the running kernel. 0, or DSM_E_UNSUPPORTED with the reason and the remedy in why. */
    int (*probe)(char *why, size_t why_bytes);
    int (*open)(const struct dsm_trap_config *config, struct dsm_trap **trap_out);
    /*
     * From now on accesses to [app, app+len) trap. All pages start without access. Both views are
     * told MADV_NOHUGEPAGE, MADV_DONTDUMP and MADV_DONTFORK. frame may be NULL.
     * Errors: BUSY (overlaps an attached view), LIMIT (too many views; segv: vm.max_map_count
     * leaves too little), NOMEM, SYSTEM.
     */
    int (*attach)(struct dsm_trap *trap, void *app, void *frame, int memfd, size_t len);
    /*
     * Nobody uses the view any more. It is left without access: no trap and no way through. No
     * on_fault for it runs when this returns; the caller holds no lock that on_fault takes.
     */
    int (*detach)(struct dsm_trap *trap, void *app, size_t len);
    /*
     * Pages [addr, addr+len) become readable / read-write in the app view, whatever they were
     * before (absent, read-only, dropped by the kernel). The frame pages exist: the caller touched
     * them through the frame view. Wakes who waits for them. Idempotent. Signal-handler safe.
     * map_read leaves a page that was read-write readable, as downgrade would.
     * addr is an app-view address. Returns 0, DSM_E_LIMIT (segv budget: the pages are left without
     * access; less access is always safe) or DSM_E_SYSTEM.
     */
    int (*map_read)(struct dsm_trap *trap, uintptr_t addr, size_t len);
    int (*map_write)(struct dsm_trap *trap, uintptr_t addr, size_t len);
    /*
     * Read-write pages become read-only. When it returns no store can reach the frame. Pages that
     * were never mapped stay without access, but may cost page tables: leave them out.
     */
    int (*downgrade)(struct dsm_trap *trap, uintptr_t addr, size_t len);
    /* No access. When it returns no load or store can reach the frame. The bytes stay. */
    int (*unmap)(struct dsm_trap *trap, uintptr_t addr, size_t len);
    /*
     * uffd: the fault of `thread` at addr, which still waits, cannot be served: wakes it with
     * SIGBUS. Others that wait for the page are not disturbed. The other backends: no-op.
     */
    int (*refuse)(struct dsm_trap *trap, uintptr_t addr, uint32_t thread);
    /*
     * uffd: threads that wait for the page at addr try their accesses again, and their faults are
     * reported once more. NULL with the other backends.
     */
    void (*retry)(struct dsm_trap *trap, uintptr_t addr);
    /*
     * In the child of fork, from an atfork handler, and nothing else there afterwards: touching the
     * region ends in one message and SIGBUS (fork.c says why not in a copy). Without it, in the
     * child of a raw clone, it is SIGSEGV: the views are not there.
     */
    void (*after_fork_child)(struct dsm_trap *trap);
    void (*close)(struct dsm_trap *trap);
};

extern const struct dsm_trap_ops dsm_trap_sigbus;
extern const struct dsm_trap_ops dsm_trap_uffd;
extern const struct dsm_trap_ops dsm_trap_segv;

/*
 * name: "auto" or NULL (sigbus, then segv), or a backend. On success why says which and why, for
 * the log. Errors: INVAL (unknown name; why lists the allowed ones), UNSUPPORTED.
 */
int dsm_trap_choose(const char *name, const struct dsm_trap_ops **ops_out, char *why,
                    size_t why_bytes);

#endif
