/* SPDX-License-Identifier: BSD-3-Clause */
/* settings.h - what dsm_init was told: the config struct, then the environment, then defaults. */
#ifndef DSM_RUNTIME_SETTINGS_H
#define DSM_RUNTIME_SETTINGS_H

#include "net/net.h"
#include <dsm/dsm.h>

enum dsm_stats_format { DSM_STATS_OFF, DSM_STATS_TEXT, DSM_STATS_JSON };

struct dsm_settings {
    const char *daemon; /* NULL: a job of one */
    uint8_t token[16];
    int32_t rank;
    uint32_t n_ranks;
    uint64_t region_bytes;
    uint64_t base;
    uint64_t mem_max_bytes; /* 0: not given */
    const char *trap;
    const char *transport;
    const char *listen_host;
    struct dsm_net_rdma_config rdma;
    int64_t spin_us;
    uint64_t ahead_bytes;    /* fetched ahead at once, at most; 0: nothing */
    bool is_never_migratory; /* DSM_MIGRATORY=0 */
    bool is_socket_only;     /* DSM_SHM=0 */
    double fault_timeout_s;
    double join_timeout_s;
    bool go_on_after_loss;
    enum dsm_stats_format stats;
    const char *stats_path;   /* NULL: stderr */
    const char *profile_path; /* NULL: no profile */
    uint64_t profile_max_bytes;
};

/* Prints one line about the first value that is wrong. Texts point into config or the environment.
 * Errors: INVAL. */
int dsm_settings_read(const struct dsm_config *config, struct dsm_settings *out);

/* What a rank may hold when DSM_MEM_MAX is not given: 80 % of the smaller of the cgroup's limit and
 * MemAvailable, divided among the ranks of this host. */
uint64_t dsm_settings_default_mem_max(uint32_t n_local_ranks);

#endif
