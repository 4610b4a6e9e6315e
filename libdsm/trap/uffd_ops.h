/* SPDX-License-Identifier: BSD-3-Clause */
/* uffd_ops.h - what the two userfaultfd backends have in common: all but how a fault arrives. */
#ifndef DSM_TRAP_UFFD_OPS_H
#define DSM_TRAP_UFFD_OPS_H

#include "base/mutex.h"
#include "trap/trap.h"
#include "trap/uffd_calls.h"
#include "trap/views.h"
#include <pthread.h>

struct dsm_trap {
    struct dsm_trap_config config;
    struct dsm_trap_sink sink;
    struct dsm_streaks streaks;
    struct dsm_uffd uffd;
    /* uffd alone */
    int stop_fd; /* an eventfd that ends the thread */
    int wait_fd; /* an epoll of stop_fd and the userfaultfd: what the owner's wait is given */
    pthread_t thread;
    struct dsm_mutex handling; /* held, with signals blocked, while an event is handed on */
};

/* Opens and tries everything with these features, and closes it again. */
int dsm_uffd_probe(uint64_t features, char *why, size_t why_bytes);
/* A trap with its descriptor; says on stderr why there is none. */
int dsm_uffd_trap_new(const char *name, uint64_t features, const struct dsm_trap_config *config,
                      struct dsm_trap **trap_out);
void dsm_uffd_trap_free(struct dsm_trap *trap);

/* The members of struct dsm_trap_ops. */
int dsm_uffd_attach(struct dsm_trap *trap, void *app, void *frame, int memfd, size_t len);
int dsm_uffd_detach(struct dsm_trap *trap, void *app, size_t len);
int dsm_uffd_map_read(struct dsm_trap *trap, uintptr_t addr, size_t len);
int dsm_uffd_map_write(struct dsm_trap *trap, uintptr_t addr, size_t len);
int dsm_uffd_downgrade(struct dsm_trap *trap, uintptr_t addr, size_t len);
int dsm_uffd_unmap(struct dsm_trap *trap, uintptr_t addr, size_t len);

#endif
