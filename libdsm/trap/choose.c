/* SPDX-License-Identifier: BSD-3-Clause */
/* choose.c - which backend a process uses, asked of the running kernel. */
#include "trap/trap.h"
#include "base/errors.h"
#include "base/log.h"
#include <string.h>

/* In the order in which auto tries them. */
static const struct {
    const struct dsm_trap_ops *ops;
    bool is_automatic; /* uffd wakes a thread for every fault: only when asked for by name */
    const char *merit;
} backends[] = {
    {&dsm_trap_sigbus, true, "userfaultfd with SIGBUS works here"},
    {&dsm_trap_uffd, false, "userfaultfd works here"},
    {&dsm_trap_segv, true, "SIGSEGV and mprotect work everywhere"},
};

#define N_BACKENDS (sizeof backends / sizeof backends[0])

static int choose_named(const char *name, const struct dsm_trap_ops **ops_out, char *why,
                        size_t why_bytes)
{
    for (unsigned i = 0; i < N_BACKENDS; i++) {
        if (strcmp(name, backends[i].ops->name) != 0)
            continue;
        char reason[256];
        int error = backends[i].ops->probe(reason, sizeof reason);
        if (error != 0) {
            dsm_format(why, why_bytes, "trap %s: %s", name, reason);
            return error;
        }
        dsm_format(why, why_bytes, "%s: asked for by name", name);
        *ops_out = backends[i].ops;
        return 0;
    }
    dsm_format(why, why_bytes, "trap \"%s\": allowed are auto, sigbus, uffd and segv", name);
    return DSM_E_INVAL;
}

int dsm_trap_choose(const char *name, const struct dsm_trap_ops **ops_out, char *why,
                    size_t why_bytes)
{
    if (name && *name && strcmp(name, "auto") != 0)
        return choose_named(name, ops_out, why, why_bytes);

    /* Why the better ones were passed over goes into the log line of the one that is taken. */
    char reasons[768];
    size_t used = 0;
    reasons[0] = '\0';
    for (unsigned i = 0; i < N_BACKENDS; i++) {
        if (!backends[i].is_automatic)
            continue;
        char reason[256];
        if (backends[i].ops->probe(reason, sizeof reason) == 0) {
            dsm_format(why, why_bytes, "%s: %s%s", backends[i].ops->name, backends[i].merit,
                       reasons);
            *ops_out = backends[i].ops;
            return 0;
        }
        used += dsm_format(reasons + used, sizeof reasons - used, "; not %s: %s",
                           backends[i].ops->name, reason);
    }
    dsm_format(why, why_bytes, "no trap works here%s", reasons);
    return DSM_E_UNSUPPORTED;
}
