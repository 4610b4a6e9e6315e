/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sigbus.c - the default backend: userfaultfd with UFFD_FEATURE_SIGBUS.
 *
 * The kernel sends SIGBUS to the faulting thread, which resolves the page itself in its handler: no
 * thread to wake, no event to read.
 */
#include "trap/fork.h"
#include "trap/handler.h"
#include "trap/uffd_ops.h"
#include <signal.h>

static int sigbus_probe(char *why, size_t why_bytes)
{
    return dsm_uffd_probe(UFFD_FEATURE_SIGBUS, why, why_bytes);
}

static int sigbus_open(const struct dsm_trap_config *config, struct dsm_trap **trap_out)
{
    struct dsm_trap *trap;
    int error = dsm_uffd_trap_new("sigbus", UFFD_FEATURE_SIGBUS, config, &trap);
    if (error != 0)
        return error;
    trap->sink.signal = SIGBUS;
    trap->sink.code = BUS_ADRERR;
    error = dsm_handler_start(SIGBUS);
    if (error != 0) {
        dsm_uffd_trap_free(trap);
        return error;
    }
    *trap_out = trap;
    return 0;
}

static int sigbus_refuse(struct dsm_trap *trap, uintptr_t addr, uint32_t thread)
{
    (void)trap, (void)addr, (void)thread;
    return 0;
}

static void sigbus_after_fork_child(struct dsm_trap *trap)
{
    /* It would act on the parent's address space. */
    dsm_uffd_close(&trap->uffd);
    dsm_fork_child(&trap->sink);
}

static void sigbus_close(struct dsm_trap *trap)
{
    dsm_handler_stop(SIGBUS);
    dsm_uffd_trap_free(trap);
}

const struct dsm_trap_ops dsm_trap_sigbus = {
    .name = "sigbus",
    .probe = sigbus_probe,
    .open = sigbus_open,
    .attach = dsm_uffd_attach,
    .detach = dsm_uffd_detach,
    .map_read = dsm_uffd_map_read,
    .map_write = dsm_uffd_map_write,
    .downgrade = dsm_uffd_downgrade,
    .unmap = dsm_uffd_unmap,
    .refuse = sigbus_refuse,
    .after_fork_child = sigbus_after_fork_child,
    .close = sigbus_close,
};
