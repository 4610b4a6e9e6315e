/* SPDX-License-Identifier: BSD-3-Clause */
/* uffd_ops.c - attaching and mapping for the sigbus and uffd backends. */
#define _GNU_SOURCE
#include "trap/uffd_ops.h"
#include "base/errors.h"
#include "base/log.h"
#include "trap/raw.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

int dsm_uffd_probe(uint64_t features, char *why, size_t why_bytes)
{
    struct dsm_uffd uffd;
    int error = dsm_uffd_open(&uffd, features, why, why_bytes);
    if (error != 0)
        return error;
    error = dsm_uffd_try(&uffd, why, why_bytes);
    dsm_uffd_close(&uffd);
    return error;
}

int dsm_uffd_trap_new(const char *name, uint64_t features, const struct dsm_trap_config *config,
                      struct dsm_trap **trap_out)
{
    struct dsm_trap *trap = calloc(1, sizeof *trap);
    if (!trap)
        return DSM_E_NOMEM;
    char why[256];
    int error = dsm_uffd_open(&trap->uffd, features, why, sizeof why);
    if (error != 0) {
        dsm_log(DSM_LOG_ERROR, "trap %s: %s", name, why);
        free(trap);
        return error;
    }
    trap->config = *config;
    trap->sink.config = &trap->config;
    trap->sink.streaks = &trap->streaks;
    trap->streaks.counts_mapped_only = trap->uffd.is_waking;
    trap->stop_fd = trap->wait_fd = -1;
    *trap_out = trap;
    return 0;
}

void dsm_uffd_trap_free(struct dsm_trap *trap)
{
    dsm_uffd_close(&trap->uffd);
    free(trap);
}

int dsm_uffd_attach(struct dsm_trap *trap, void *app, void *frame, int memfd, size_t len)
{
    (void)memfd;
    uintptr_t addr = (uintptr_t)app;
    int error = dsm_view_advise(app, frame, len);
    if (error != 0)
        return error;
    /* Known before it traps: another thread may touch it at once. */
    error = dsm_view_add(addr, len, &trap->sink);
    if (error != 0)
        return error;
    error = dsm_uffd_register(&trap->uffd, addr, len);
    if (error != 0)
        dsm_view_remove(addr, len);
    return error;
}

/*
 * The handler thread may still hold events of threads that were served together with others and
 * have long gone on. None of them is handed on once the view is gone; one that is being handed on
 * now is waited for.
 */
static void wait_for_handler(struct dsm_trap *trap)
{
    dsm_sigmask_t all = DSM_SIGMASK_ALL, before = 0;
    dsm_raw_sigprocmask(SIG_SETMASK, &all, &before);
    dsm_mutex_lock(&trap->handling);
    dsm_mutex_unlock(&trap->handling);
    dsm_raw_sigprocmask(SIG_SETMASK, &before, NULL);
}

int dsm_uffd_detach(struct dsm_trap *trap, void *app, size_t len)
{
    uintptr_t addr = (uintptr_t)app;
    int error = dsm_view_remove(addr, len);
    if (error != 0)
        return error;
    wait_for_handler(trap);
    /* Without traps the kernel would let every access through to the frames. */
    long result = dsm_raw_mprotect(addr, len, PROT_NONE);
    error = dsm_uffd_unregister(&trap->uffd, addr, len);
    return result != 0 ? DSM_E_SYSTEM : error;
}

static int show(struct dsm_trap *trap, uintptr_t addr, size_t len, bool is_write)
{
    if (trap->uffd.is_waking) /* before the threads wake and may trap again */
        dsm_streak_mapped(&trap->streaks, addr, len);
    return dsm_uffd_show(&trap->uffd, addr, len, is_write);
}

int dsm_uffd_map_read(struct dsm_trap *trap, uintptr_t addr, size_t len)
{
    return show(trap, addr, len, false);
}

int dsm_uffd_map_write(struct dsm_trap *trap, uintptr_t addr, size_t len)
{
    return show(trap, addr, len, true);
}

int dsm_uffd_downgrade(struct dsm_trap *trap, uintptr_t addr, size_t len)
{
    dsm_streak_revoked(&trap->streaks, addr, len); /* first: the traps may come at once */
    return dsm_uffd_protect(&trap->uffd, addr, len);
}

int dsm_uffd_unmap(struct dsm_trap *trap, uintptr_t addr, size_t len)
{
    dsm_streak_revoked(&trap->streaks, addr, len);
    return dsm_uffd_hide(addr, len);
}
