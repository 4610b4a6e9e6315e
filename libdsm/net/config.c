/* SPDX-License-Identifier: BSD-3-Clause */
/* config.c - checks that are the same for every transport. */
#include "net/config.h"
#include "net/hello.h"
#include "base/clock.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define MAX_CONNECT_TIMEOUT_S 86400.0
#define MAX_RANKS             65536u

int dsm_net_check_config(const char *transport, const struct dsm_net_config *config)
{
    if (config->n_ranks == 0 || config->n_ranks > MAX_RANKS)
        dsm_log(DSM_LOG_ERROR, "%s: a job of %u ranks; 1 to %u are possible", transport,
                config->n_ranks, MAX_RANKS);
    else if (!(config->connect_timeout_s >= 0 &&
               config->connect_timeout_s <= MAX_CONNECT_TIMEOUT_S))
        dsm_log(DSM_LOG_ERROR, "%s: the connect timeout must be between 0 and 86400 seconds",
                transport);
    else if (!config->loop || !config->build || strlen(config->build) >= DSM_HELLO_BUILD_BYTES)
        dsm_log(DSM_LOG_ERROR, "%s: a loop and a build text of less than %u bytes are needed",
                transport, DSM_HELLO_BUILD_BYTES);
    else
        return 0;
    return DSM_E_INVAL;
}

uint64_t dsm_net_connect_timeout_ns(const struct dsm_net_config *config, double default_s)
{
    double s = config->connect_timeout_s > 0 ? config->connect_timeout_s : default_s;
    return (uint64_t)(s * 1e9);
}

uint64_t dsm_net_random_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = dsm_clock_ns() ^ (uint64_t)getpid() << 32;
    return seed;
}
